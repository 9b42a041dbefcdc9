// Waits, canned lines, frames, the outbox and the state.
#pragma once

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "palaver_core/palaver_core.h"

namespace {

TEST_CASE("waits are random, grow to the cap, and begin anew after a stable connection") {
    palaver::Backoff backoff(1, 250, 10'000);
    std::set<palaver::Millis> seen;
    const palaver::Millis ceilings[] = {500, 1'000, 2'000, 4'000, 8'000, 10'000, 10'000};
    for (const palaver::Millis ceiling : ceilings) {
        const palaver::Millis wait = backoff.next(0);
        CHECK(backoff.ceiling() == ceiling);
        CHECK(wait >= 0);
        CHECK(wait <= ceiling);
        seen.insert(wait);
    }
    CHECK(seen.size() > 4);
    CHECK(backoff.next(60'000) <= 250);
    for (int attempt = 0; attempt < 1'000; ++attempt) {
        backoff.next(0);
    }
    CHECK(backoff.ceiling() == 10'000);
}

TEST_CASE("the whole range of a wait is used") {
    palaver::Backoff backoff(9, 1'000, 1'000);
    palaver::Millis least = 1'000, most = 0;
    for (int attempt = 0; attempt < 500; ++attempt) {
        const palaver::Millis wait = backoff.next(0);
        least = (std::min)(least, wait);
        most = (std::max)(most, wait);
    }
    CHECK(least < 50);
    CHECK(most > 950);
}

TEST_CASE("the rate of the server is kept") {
    palaver::Pace pace;
    pace.restart(10, 0);
    int taken = 0;
    for (palaver::Millis now = 0; now <= 1'000; now += 10) {
        taken += pace.take(now) ? 1 : 0;
    }
    // Ten at once, and ten more in a second.
    CHECK(taken >= 19);
    CHECK(taken <= 20);
}

TEST_CASE("a canned line is the NPC's own, and never the same twice in a row") {
    palaver::Canned canned(3);
    CHECK(canned.pick("vlad").empty());
    CHECK(canned.add("", "Hm."));
    CHECK(canned.pick("vlad") == "Hm.");
    CHECK(canned.add("vlad", "A."));
    CHECK(canned.add("vlad", "B."));
    CHECK(canned.add("vlad", "C."));
    std::set<std::string> seen;
    std::string last;
    for (int times = 0; times < 100; ++times) {
        const std::string line(canned.pick("vlad"));
        CHECK(line != last);
        last = line;
        seen.insert(line);
    }
    CHECK(seen == std::set<std::string>{"A.", "B.", "C."});
    CHECK(canned.pick("mina") == "Hm.");
    while (canned.add("other", "x")) {
    }
    CHECK_FALSE(canned.add("vlad", "D."));
}

TEST_CASE("a message in pieces is put together, and one too large is thrown away") {
    palaver::Frame frame;
    CHECK_FALSE(frame.add("{\"a\"", false));
    CHECK(frame.add(":1}", true));
    CHECK(frame.text() == "{\"a\":1}");
    const std::string piece(100'000, 'x');
    for (int pieces = 0; pieces < 50; ++pieces) {
        CHECK_FALSE(frame.add(piece, false));
        CHECK(frame.text().size() <= palaver::kMaxMessageBytes);
    }
    CHECK_FALSE(frame.add(piece, true));
    CHECK(frame.add("{}", true));
    CHECK(frame.text() == "{}");
}

palaver::Draft small(const std::string& name) {
    palaver::Npc npc;
    npc.npc = name;
    npc.persona = "p";
    return write(npc);
}

TEST_CASE("a pong confirms what was sent before its ping, and nothing else") {
    palaver::Outbox outbox;
    CHECK(outbox.put(small("a"), {}, false, true));
    CHECK(outbox.put(palaver::Draft("turn.start"), "t", true));
    std::vector<std::string> frames;
    while (outbox.has_next()) {
        frames.emplace_back(outbox.next());
    }
    REQUIRE(frames.size() == 3);
    CHECK(frames[0].find("\"id\":\"m1\"") != std::string::npos);
    CHECK(frames[2] == "{\"type\":\"ping\",\"nonce\":\"b1\"}");
    int settled = 0;
    outbox.pong("b7", [&](const palaver::Request&) { ++settled; });
    outbox.pong("nonsense", [&](const palaver::Request&) { ++settled; });
    CHECK(settled == 0);
    outbox.pong("b1", [&](const palaver::Request& one) { settled += one.is_state ? 1 : 10; });
    CHECK(settled == 1);
    CHECK(outbox.size() == 1);
    outbox.accepted("t");
    CHECK(outbox.size() == 0);
}

TEST_CASE("after a cut everything that is not confirmed is sent again, in order") {
    palaver::Outbox outbox;
    for (const char* name : {"a", "b", "c"}) {
        CHECK(outbox.put(small(name)));
    }
    const std::string first(outbox.next());
    const std::string second(outbox.next());
    outbox.reconnected();
    CHECK(outbox.next() == first);
    CHECK(outbox.next() == second);
    CHECK(outbox.next().find("\"c\"") != std::string_view::npos);
}

TEST_CASE("the outbox is bounded, in messages and in bytes") {
    palaver::Outbox outbox;
    std::size_t taken = 0;
    while (outbox.put(small("a"))) {
        ++taken;
    }
    CHECK(taken == palaver::kMaxWaiting);
    palaver::Outbox bytes;
    taken = 0;
    while (bytes.put(small(std::string(50'000, 'x')))) {
        ++taken;
    }
    CHECK(taken <= palaver::kMaxWaitingBytes / 50'000);
    CHECK_FALSE(outbox.put(small(std::string(70'000, 'x'))));
}

TEST_CASE("the state is told again as it is now, split to fit") {
    palaver::State state;
    CHECK(state.note(
        R"({"type":"npc.upsert","id":"m1","npc":"v","persona":"p","facts":{"a":1,"b":2}})"));
    CHECK(state.note(R"({"type":"facts.update","npc":"v","set":{"a":3},"unset":["a","b"]})"));
    CHECK(state.note(R"({"type":"npc.upsert","npc":"gone","persona":"p","facts":{"x":1}})"));
    CHECK(state.note(R"({"type":"actions.set","npc":"gone","actions":[]})"));
    CHECK(state.note(R"({"type":"npc.remove","npc":"gone"})"));
    CHECK(state.note(R"({"type":"save.mark","save":"slot 2"})"));
    std::string all;
    for (palaver::Draft& draft : state.messages(60'000)) {
        all += draft.finish() + "\n";
    }
    CHECK(all == "{\"type\":\"npc.upsert\",\"npc\":\"v\",\"persona\":\"p\"}\n"
                 "{\"type\":\"facts.update\",\"npc\":\"v\",\"set\":{\"a\":3}}\n");
    CHECK(state.save == "slot 2");
    const std::string word(700, 'w');
    for (int fact = 0; fact < 10; ++fact) {
        CHECK(state.note("{\"type\":\"facts.update\",\"set\":{\"f" + std::to_string(fact) +
                         "\":\"" + word + "\"}}"));
    }
    std::size_t parts = 0;
    for (palaver::Draft& draft : state.messages(3'000)) {
        const std::string frame = draft.finish();
        CHECK(frame.size() <= 3'000);
        parts += frame.find("\"w") != std::string::npos || frame.find(word) != std::string::npos;
    }
    CHECK(parts == 5);
}

TEST_CASE("the state is bounded, and what goes makes room") {
    palaver::State state;
    const std::string word(50'000, 'w');
    int kept = 0;
    const auto tell = [&](int npc) {
        return state.note("{\"type\":\"npc.upsert\",\"npc\":\"" + std::to_string(npc) +
                          "\",\"persona\":\"" + word + "\"}");
    };
    while (tell(kept)) {
        ++kept;
    }
    CHECK(state.bytes() <= palaver::kMaxStateBytes);
    CHECK(kept > 70);
    for (int npc = 0; npc < kept; ++npc) {
        CHECK(state.note("{\"type\":\"npc.remove\",\"npc\":\"" + std::to_string(npc) + "\"}"));
    }
    CHECK(state.bytes() == 0);
    CHECK(tell(1));
}

}  // namespace
