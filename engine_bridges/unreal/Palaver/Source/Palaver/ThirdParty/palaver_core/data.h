// Plain data of the game: values of facts, schemas and arguments, kept as the JSON that is sent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_reader.h"
#include "json_writer.h"

namespace palaver {

class Data {
public:
    Data() : json_("null") {}

    static Data text(std::string_view value) { return Data(JsonWriter().text(value).take()); }
    static Data integer(std::int64_t value) { return Data(JsonWriter().integer(value).take()); }
    static Data number(double value) { return Data(JsonWriter().number(value).take()); }
    static Data truth(bool value) { return Data(JsonWriter().truth(value).take()); }
    static Data copy(Value value) { return Data(JsonWriter().copy(value).take()); }

    /// Takes JSON text, such as a schema or a list; what is no JSON becomes null.
    static Data parse(std::string_view json) {
        Document document;
        return read_json(json, document) ? copy(document.root()) : Data();
    }

    const std::string& json() const { return json_; }

private:
    explicit Data(std::string json) : json_(std::move(json)) {}

    std::string json_;
};

/// Facts by name.
using Facts = std::vector<std::pair<std::string, Data>>;

}  // namespace palaver
