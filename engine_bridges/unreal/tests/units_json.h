// Reading and writing.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "palaver_core/palaver_core.h"

namespace {

using palaver::Document;
using palaver::JsonWriter;
using palaver::Kind;
using palaver::read_json;

/// Reads and writes again; "no" where it is no JSON.
std::string again(std::string_view source) {
    Document document;
    return read_json(source, document) ? JsonWriter().copy(document.root()).take() : "no";
}

TEST_CASE("what is read is written again in the same words") {
    for (const char* same :
         {"null", "true", "false", "0", "-7", "9223372036854775807", "1.5", "-0.25", "[]", "{}",
          "\"\"", "[1,[2,{\"a\":[]}]]", "{\"a\":{\"b\":null},\"c\":\"d\"}", "\"\\\"\\\\\\n\""}) {
        CHECK(again(same) == same);
    }
}

TEST_CASE("what is written is ASCII") {
    CHECK(again("\"\xC3\xA9\"") == "\"\\u00e9\"");
    CHECK(again("\"\xF0\x9F\x98\x80\"") == "\"\\ud83d\\ude00\"");
    CHECK(again("\"\\uD83D\\uDE00\"") == "\"\\ud83d\\ude00\"");
    CHECK(again("\"\\u0007\x7F\"") == "\"\\u0007\\u007f\"");
}

TEST_CASE("letters that are none are replaced, and harm nothing") {
    for (const char* bad : {"\"\xFF\"", "\"\xC3\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"",
                            "\"\\ud83d\"", "\"\\ude00\"", "\"\xF4\x90\x80\x80\""}) {
        CHECK(again(bad).find("\\ufffd") == 1);
    }
    CHECK(again("\"\\ud83d\\u0041\"") == "\"\\ufffdA\"");
}

TEST_CASE("spaces, a byte order mark and 20.0 are tolerated") {
    CHECK(again("\xEF\xBB\xBF { \"a\" :\t[ 1 , 2 ]\r\n} ") == "{\"a\":[1,2]}");
    Document document;
    REQUIRE(read_json(R"({"a": 20.0, "b": 2e1, "c": 20.5, "d": 1e300, "e": 1e400})", document));
    const palaver::Value root = document.root();
    CHECK(root["a"].integer() == 20);
    CHECK(root["a"].is_integer());
    CHECK(root["b"].integer() == 20);
    CHECK_FALSE(root["c"].is_integer());
    CHECK(root["c"].number() == 20.5);
    CHECK_FALSE(root["d"].is_integer());
    CHECK(root["e"].number() > 1e300);
}

TEST_CASE("numbers are read as they are meant") {
    Document document;
    for (const double number : {0.1, 0.85, 123.456, 1e-7, 2.5e10, -0.001}) {
        char text[40];
        std::snprintf(text, sizeof text, "%.15g", number);
        REQUIRE(read_json(text, document));
        CHECK(document.root().number() == doctest::Approx(number).epsilon(1e-14));
    }
    REQUIRE(read_json("1e-400", document));
    CHECK(document.root().number() == 0);
    CHECK(JsonWriter().number(1e308 * 10).take() == "null");
}

TEST_CASE("what is not JSON is refused") {
    for (const char* bad :
         {"", " ", "{", "[1,", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "\"", "\"\\x\"",
          "\"\\u12\"", "tru", "nul", "01x", "-", "1.", "1e", "[]]", "{} {}",
          "{\"a\":1,}", "[,]", "+1", "'a'"}) {
        CHECK_MESSAGE(again(bad) == "no", bad);
    }
}

TEST_CASE("size, depth and number of values are bounded") {
    CHECK(again(std::string(30, '[') + std::string(30, ']')) != "no");
    CHECK(again(std::string(40, '[') + std::string(40, ']')) == "no");
    CHECK(again(std::string(100'000, '[')) == "no");
    std::string many = "[0";
    for (std::size_t count = 0; count < palaver::kMaxNodes; ++count) {
        many += ",0";
    }
    CHECK(again(many + "]") == "no");
    const std::string large(palaver::kMaxMessageBytes, 'x');
    CHECK(again("\"" + large + "\"") == "no");
}

TEST_CASE("what is missing or of another kind reads as nothing") {
    Document document;
    REQUIRE(read_json("{\"a\": [1], \"b\": 1, \"b\": \"two\", \"n\": null}", document));
    const palaver::Value root = document.root();
    CHECK(root["b"].text() == "two");
    CHECK(root["zzz"]["deeper"].text("otherwise") == "otherwise");
    CHECK(root["a"].text("otherwise") == "otherwise");
    CHECK(root["a"]["b"].integer(7) == 7);
    CHECK(root["n"].truth(true));
    CHECK(palaver::Value().first().exists() == false);
}

TEST_CASE("offsets count code points") {
    const std::string text = "a\xC3\xA9\xF0\x9F\x98\x80z";
    CHECK(palaver::count_code_points(text) == 4);
    CHECK(palaver::first_code_points(text, 3) == text.substr(0, 7));
    CHECK(palaver::first_code_points(text, 99) == text);
}

}  // namespace
