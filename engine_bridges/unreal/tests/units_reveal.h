// Text that appears as it is spoken.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "palaver_core/palaver_core.h"

namespace {

using palaver::Reveal;

TEST_CASE("text appears by characters, however often the game looks") {
    for (const palaver::Millis frame : {1, 7, 16, 33, 100}) {
        Reveal reveal(50);
        reveal.add(std::string(100, 'x'));
        std::string seen;
        palaver::Millis now = 5'000;
        for (; now <= 6'000; now += frame) {
            seen += reveal.tick(now);
        }
        CHECK(seen.size() >= 44);
        CHECK(seen.size() <= 50);
        seen += reveal.tick(7'500);
        CHECK(seen.size() == 100);
        CHECK_FALSE(reveal.is_over());
        reveal.finish();
        CHECK(reveal.is_over());
    }
}

TEST_CASE("a letter of several bytes appears whole") {
    Reveal reveal(10);
    reveal.add("\xC3\xA9\xF0\x9F\x98\x80z");
    reveal.tick(0);
    CHECK(reveal.tick(100) == "\xC3\xA9");
    CHECK(reveal.tick(200) == "\xF0\x9F\x98\x80");
    CHECK(reveal.heard_chars() == 2);
    CHECK(reveal.interrupt() == "\xC3\xA9\xF0\x9F\x98\x80");
    CHECK(reveal.tick(900).empty());
    CHECK(reveal.is_over());
}

TEST_CASE("waiting for text is not made up for later") {
    Reveal reveal(10);
    reveal.add("ab");
    reveal.tick(0);
    CHECK(reveal.tick(10'000) == "ab");
    reveal.add(std::string(50, 'x'));
    CHECK(reveal.tick(10'100).size() == 1);
}

TEST_CASE("text appears with its speech, one sentence after the other") {
    Reveal reveal(1'000, true);
    reveal.add("One two. Three!");
    reveal.tick(0);
    CHECK(reveal.tick(5'000).empty());
    CHECK(reveal.voice(0, 8, 800));
    CHECK(reveal.voice(9, 6, 1'200));
    CHECK_FALSE(reveal.voice(3, 2, 100));
    CHECK(reveal.tick(5'400) == "One ");
    CHECK(reveal.heard_chars() == 4);
    // At 800 ms the first sentence is over; the space before the second takes a millisecond.
    CHECK(reveal.tick(5'800) == "two.");
    CHECK(reveal.tick(6'401) == " Thr");
    CHECK(reveal.interrupt() == "One two. Thr");
}

TEST_CASE("without further speech the rest appears by characters") {
    Reveal reveal(10, true);
    reveal.add("abc");
    reveal.tick(0);
    CHECK(reveal.tick(1'000).empty());
    reveal.without_voice();
    CHECK(reveal.tick(1'100) == "a");
    CHECK(reveal.skip() == "bc");
    reveal.finish();
    CHECK(reveal.is_over());
}

TEST_CASE("a clock that goes back, and more text than the protocol has, do no harm") {
    Reveal reveal(10);
    for (int times = 0; times < 100; ++times) {
        reveal.add(std::string(1'000, 'x'));
    }
    CHECK(reveal.text().size() <= palaver::kMaxTextBytes);
    reveal.tick(1'000);
    CHECK(reveal.tick(500).empty());
    CHECK(reveal.tick(1'100) == "x");
    CHECK(reveal.tick(INT64_MAX / 100'000).size() > 1'000);
}

}  // namespace
