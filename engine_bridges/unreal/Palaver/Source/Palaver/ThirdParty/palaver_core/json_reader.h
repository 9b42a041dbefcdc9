// Reads JSON that a stranger wrote: bounded in size, depth and number of values, without recursion
// deeper than kMaxDepth, and tolerant where that does no harm (bad UTF-8 and lone surrogates become
// U+FFFD, control characters in strings are taken as they are, a byte order mark is skipped).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bounds.h"
#include "json_number.h"
#include "json_value.h"
#include "utf8.h"

namespace palaver {

class JsonReader {
public:
    JsonReader(std::string_view source, Document& into) : source_(source), document_(into) {}

    /// Reads the whole source; returns false where it is not JSON or larger than the bounds. The
    /// document is empty then.
    bool read() {
        document_.nodes.clear();
        document_.text.clear();
        if (source_.substr(0, 3) == "\xEF\xBB\xBF") {
            at_ = 3;
        }
        std::uint32_t root = 0;
        bool good = source_.size() <= kMaxMessageBytes && value(root, 0);
        space();
        good = good && at_ == source_.size();
        if (!good) {
            document_.nodes.clear();
        }
        return good;
    }

private:
    bool value(std::uint32_t& index, int depth) {
        space();
        if (at_ >= source_.size() || document_.nodes.size() >= kMaxNodes || depth > kMaxDepth) {
            return false;
        }
        index = static_cast<std::uint32_t>(document_.nodes.size());
        document_.nodes.emplace_back();
        switch (source_[at_]) {
            case '{': return children(index, Kind::object, '}', depth);
            case '[': return children(index, Kind::array, ']', depth);
            case '"': {
                Span text;
                const bool good = string(text);
                node(index).kind = Kind::string;
                node(index).text = text;
                return good;
            }
            case 't': node(index).truth = true; return word(index, "true", Kind::boolean);
            case 'f': return word(index, "false", Kind::boolean);
            case 'n': return word(index, "null", Kind::null);
            default: return number(index);
        }
    }

    bool children(std::uint32_t parent, Kind kind, char end, int depth) {
        node(parent).kind = kind;
        ++at_;
        space();
        if (take(end)) {
            return true;
        }
        std::uint32_t before = 0;
        for (;;) {
            Span key;
            if (kind == Kind::object) {
                space();
                if (at_ >= source_.size() || source_[at_] != '"' || !string(key)) {
                    return false;
                }
                space();
                if (!take(':')) {
                    return false;
                }
            }
            std::uint32_t child = 0;
            if (!value(child, depth + 1)) {
                return false;
            }
            node(child).key = key;
            (before ? node(before).next : node(parent).first) = child;
            before = child;
            space();
            if (take(end)) {
                return true;
            }
            if (!take(',')) {
                return false;
            }
        }
    }

    bool string(Span& span) {
        const auto begin = static_cast<std::uint32_t>(document_.text.size());
        ++at_;
        while (at_ < source_.size() && source_[at_] != '"') {
            if (source_[at_] != '\\') {
                append_code_point(document_.text, next_code_point(source_, at_));
            } else if (!escape()) {
                return false;
            }
        }
        span = {begin, static_cast<std::uint32_t>(document_.text.size()) - begin};
        return take('"');
    }

    bool escape() {
        ++at_;
        if (at_ >= source_.size()) {
            return false;
        }
        const char letter = source_[at_++];
        switch (letter) {
            case '"': case '\\': case '/': document_.text += letter; return true;
            case 'b': document_.text += '\b'; return true;
            case 'f': document_.text += '\f'; return true;
            case 'n': document_.text += '\n'; return true;
            case 'r': document_.text += '\r'; return true;
            case 't': document_.text += '\t'; return true;
            case 'u': break;
            default: return false;
        }
        std::uint32_t point = 0;
        if (!hex(point)) {
            return false;
        }
        // The second half of a pair; without one, append_code_point writes U+FFFD.
        if (point >= 0xD800 && point <= 0xDBFF && source_.substr(at_, 2) == "\\u") {
            const std::size_t back = at_;
            std::uint32_t low = 0;
            at_ += 2;
            if (!hex(low)) {
                return false;
            }
            if (low >= 0xDC00 && low <= 0xDFFF) {
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            } else {
                at_ = back;
            }
        }
        append_code_point(document_.text, point);
        return true;
    }

    bool hex(std::uint32_t& point) {
        point = 0;
        for (int digit = 0; digit < 4; ++digit, ++at_) {
            const char c = at_ < source_.size() ? source_[at_] : ' ';
            const char lower = static_cast<char>(c | 0x20);
            if (c >= '0' && c <= '9') {
                point = point * 16 + static_cast<std::uint32_t>(c - '0');
            } else if (lower >= 'a' && lower <= 'f') {
                point = point * 16 + static_cast<std::uint32_t>(lower - 'a' + 10);
            } else {
                return false;
            }
        }
        return true;
    }

    bool word(std::uint32_t index, std::string_view wanted, Kind kind) {
        node(index).kind = kind;
        const bool good = source_.substr(at_, wanted.size()) == wanted;
        at_ += good ? wanted.size() : 0;
        return good;
    }

    bool number(std::uint32_t index) {
        NumberReader reader(source_, at_);
        const bool good = reader.read(node(index));
        at_ = reader.at();
        return good;
    }

    bool take(char wanted) {
        const bool there = at_ < source_.size() && source_[at_] == wanted;
        at_ += there ? 1 : 0;
        return there;
    }

    void space() {
        while (at_ < source_.size() && std::string_view(" \t\r\n").find(source_[at_]) !=
                                           std::string_view::npos) {
            ++at_;
        }
    }

    Node& node(std::uint32_t index) { return document_.nodes[index]; }

    std::string_view source_;
    Document& document_;
    std::size_t at_ = 0;
};

/// Reads a text into a document; returns whether it was JSON within the bounds.
inline bool read_json(std::string_view source, Document& into) {
    return JsonReader(source, into).read();
}

}  // namespace palaver
