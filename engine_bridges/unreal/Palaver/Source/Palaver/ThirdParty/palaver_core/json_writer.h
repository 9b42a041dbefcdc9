// Writes JSON as the protocol wants it: one line, pure ASCII.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "json_value.h"
#include "utf8.h"

namespace palaver {

/// Writes one value after the other; commas come by themselves.
class JsonWriter {
public:
    JsonWriter& open(char bracket) { return comma(), out_ += bracket, *this; }
    JsonWriter& close(char bracket) { return out_ += bracket, *this; }
    JsonWriter& key(std::string_view name) { return text(name), out_ += ':', *this; }

    JsonWriter& text(std::string_view value) {
        comma();
        out_ += '"';
        for (std::size_t at = 0; at < value.size();) {
            point(next_code_point(value, at));
        }
        out_ += '"';
        return *this;
    }
    JsonWriter& integer(std::int64_t value) {
        char digits[24];
        std::snprintf(digits, sizeof digits, "%lld", static_cast<long long>(value));
        return comma(), out_ += digits, *this;
    }
    /// JSON has no word for infinity and what is no number; they become null.
    JsonWriter& number(double value) {
        char digits[40];
        std::snprintf(digits, sizeof digits, "%.15g", value);
        comma();
        const std::size_t from = out_.size();
        out_ += value - value == 0 ? digits : "null";
        // Some locales write a comma; snprintf follows them.
        for (std::size_t at = from; at < out_.size(); ++at) {
            out_[at] = out_[at] == ',' ? '.' : out_[at];
        }
        return *this;
    }
    JsonWriter& truth(bool value) { return comma(), out_ += value ? "true" : "false", *this; }
    JsonWriter& null() { return comma(), out_ += "null", *this; }
    /// Takes text that is JSON already.
    JsonWriter& raw(std::string_view json) { return comma(), out_.append(json), *this; }

    JsonWriter& text(std::string_view name, std::string_view value) {
        return key(name).text(value);
    }
    /// Leaves the field out where there is nothing to say.
    JsonWriter& text_if(std::string_view name, std::string_view value) {
        return value.empty() ? *this : text(name, value);
    }
    JsonWriter& integer(std::string_view name, std::int64_t value) {
        return key(name).integer(value);
    }
    JsonWriter& number(std::string_view name, double value) { return key(name).number(value); }
    JsonWriter& truth(std::string_view name, bool value) { return key(name).truth(value); }

    /// Copies a value that was read.
    JsonWriter& copy(Value value) {
        switch (value.kind()) {
            case Kind::null: return null();
            case Kind::boolean: return truth(value.truth());
            case Kind::number:
                return value.is_integer() ? integer(value.integer()) : number(value.number());
            case Kind::string: return text(value.text());
            case Kind::array:
            case Kind::object: break;
        }
        const bool object = value.is(Kind::object);
        open(object ? '{' : '[');
        for (Value item = value.first(); item.exists(); item = item.next()) {
            if (object) {
                key(item.key());
            }
            copy(item);
        }
        return close(object ? '}' : ']');
    }

    const std::string& str() const { return out_; }
    std::string take() { return static_cast<std::string&&>(out_); }

private:
    void comma() {
        const char last = out_.empty() ? '{' : out_.back();
        if (last != '{' && last != '[' && last != ':') {
            out_ += ',';
        }
    }

    void unit(std::uint32_t value) {
        char digits[8];
        std::snprintf(digits, sizeof digits, "\\u%04x", static_cast<unsigned>(value & 0xFFFFu));
        out_ += digits;
    }

    void point(std::uint32_t value) {
        if (value == '"' || value == '\\') {
            out_ += '\\';
            out_ += static_cast<char>(value);
        } else if (value == '\n') {
            out_ += "\\n";
        } else if (value >= 0x20 && value < 0x7F) {
            out_ += static_cast<char>(value);
        } else if (value < 0x10000) {
            unit(value);
        } else {
            unit(0xD800 + ((value - 0x10000) >> 10));
            unit(0xDC00 + ((value - 0x10000) & 0x3FF));
        }
    }

    std::string out_;
};

}  // namespace palaver
