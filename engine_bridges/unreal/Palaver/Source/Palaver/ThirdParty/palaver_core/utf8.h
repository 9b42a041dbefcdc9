// UTF-8: offsets of the protocol count code points, strings of C++ count bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace palaver {

inline constexpr std::uint32_t kReplacement = 0xFFFD;

inline bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u;
}

/// Appends a code point; what is none becomes U+FFFD.
inline void append_code_point(std::string& out, std::uint32_t point) {
    if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
        point = kReplacement;
    }
    if (point < 0x80) {
        out += static_cast<char>(point);
    } else if (point < 0x800) {
        out += static_cast<char>(0xC0 | (point >> 6));
        out += static_cast<char>(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        out += static_cast<char>(0xE0 | (point >> 12));
        out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (point & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | (point >> 18));
        out += static_cast<char>(0x80 | ((point >> 12) & 0x3F));
        out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (point & 0x3F));
    }
}

/// Reads the code point at `at` and moves `at` behind it. Bytes that are no UTF-8 read as U+FFFD,
/// and `at` always moves, by at least one and never past the end.
inline std::uint32_t next_code_point(std::string_view text, std::size_t& at) {
    const auto lead = static_cast<unsigned char>(text[at++]);
    if (lead < 0x80) {
        return lead;
    }
    int more = 0;
    std::uint32_t point = 0;
    std::uint32_t least = 0;
    if ((lead & 0xE0u) == 0xC0u) {
        more = 1, point = lead & 0x1Fu, least = 0x80;
    } else if ((lead & 0xF0u) == 0xE0u) {
        more = 2, point = lead & 0x0Fu, least = 0x800;
    } else if ((lead & 0xF8u) == 0xF0u) {
        more = 3, point = lead & 0x07u, least = 0x10000;
    } else {
        return kReplacement;
    }
    for (; more > 0; --more) {
        if (at >= text.size() || !is_continuation(text[at])) {
            return kReplacement;
        }
        point = (point << 6) | (static_cast<unsigned char>(text[at++]) & 0x3Fu);
    }
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < least || point > 0x10FFFF || surrogate ? kReplacement : point;
}

/// Returns how many code points a valid text has.
inline std::size_t count_code_points(std::string_view text) {
    std::size_t count = 0;
    for (const char byte : text) {
        count += is_continuation(byte) ? 0u : 1u;
    }
    return count;
}

/// Returns the byte offset that lies `count` code points behind the byte offset `from`.
inline std::size_t skip_code_points(std::string_view text, std::size_t from, std::size_t count) {
    std::size_t at = from;
    while (at < text.size() && count > 0) {
        ++at;
        while (at < text.size() && is_continuation(text[at])) {
            ++at;
        }
        --count;
    }
    return at;
}

/// Returns the first `count` code points of a text.
inline std::string_view first_code_points(std::string_view text, std::size_t count) {
    return text.substr(0, skip_code_points(text, 0, count));
}

}  // namespace palaver
