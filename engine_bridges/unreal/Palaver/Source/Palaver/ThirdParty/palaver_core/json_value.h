// A JSON document as it was read: one list of nodes and one buffer of text, both used again for the
// next message, so that reading allocates nothing once they have grown to the usual size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace palaver {

enum class Kind : std::uint8_t { null, boolean, number, string, array, object };

/// Where a string lies in a document's text.
struct Span {
    std::uint32_t at = 0;
    std::uint32_t size = 0;
};

/// One value. `first` is its first child, `next` its next sibling; 0, the root, stands for none.
struct Node {
    Kind kind = Kind::null;
    bool truth = false;
    bool whole = false;  ///< A number without a fraction that fits into 64 bits.
    double number = 0;
    std::int64_t integer = 0;
    Span text;
    Span key;
    std::uint32_t first = 0;
    std::uint32_t next = 0;
};

class Value;

/// Holds what `read_json` made of a text. Values point into it, and hold until it is read anew.
class Document {
public:
    Value root() const;

    std::vector<Node> nodes;
    std::string text;

    std::string_view at(Span span) const {
        return std::string_view(text).substr(span.at, span.size);
    }
};

/// A value of a document, or nothing. Asking nothing, or a value of another kind, gives what is
/// given as `otherwise`: code that reads a message needs no checks of its own.
class Value {
public:
    Value() = default;
    Value(const Document* document, std::uint32_t index) : document_(document), index_(index) {}

    Kind kind() const { return document_ ? node().kind : Kind::null; }
    bool exists() const { return document_ != nullptr; }
    bool is(Kind wanted) const { return document_ != nullptr && node().kind == wanted; }

    std::string_view text(std::string_view otherwise = {}) const {
        return is(Kind::string) ? document_->at(node().text) : otherwise;
    }
    double number(double otherwise = 0) const {
        return is(Kind::number) ? node().number : otherwise;
    }
    /// 20.0 is an integer too: some engines know no others.
    std::int64_t integer(std::int64_t otherwise = 0) const {
        return is_integer() ? node().integer : otherwise;
    }
    bool is_integer() const { return is(Kind::number) && node().whole; }
    bool truth(bool otherwise = false) const {
        return is(Kind::boolean) ? node().truth : otherwise;
    }

    /// Returns a field of an object; of several with the same key the last, as Python does.
    Value operator[](std::string_view key) const {
        Value found;
        for (Value field = first(); is(Kind::object) && field.exists(); field = field.next()) {
            if (field.key() == key) {
                found = field;
            }
        }
        return found;
    }
    /// Returns the first item of an array or the first field of an object.
    Value first() const { return step(document_ ? node().first : 0); }
    /// Returns the next item or field.
    Value next() const { return step(document_ ? node().next : 0); }
    std::string_view key() const {
        return document_ ? document_->at(node().key) : std::string_view();
    }

private:
    const Node& node() const { return document_->nodes[index_]; }
    Value step(std::uint32_t index) const { return index ? Value(document_, index) : Value(); }

    const Document* document_ = nullptr;
    std::uint32_t index_ = 0;
};

inline Value Document::root() const {
    return nodes.empty() ? Value() : Value(this, 0);
}

}  // namespace palaver
