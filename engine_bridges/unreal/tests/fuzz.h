// One input for the fuzzers: what a hostile server may send, to the reader and to a whole session.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "palaver_core/palaver_core.h"

namespace fuzz {

/// Takes everything in and counts what it is given.
struct Drain : palaver::Wire, palaver::Sink {
    void dial() override {}
    void send(std::string_view frame) override { bytes += frame.size(); }
    void hang_up(int) override {}
    void on_delta(std::string_view, std::string_view text) override { bytes += text.size(); }
    void on_done(const palaver::Done& done) override { bytes += done.text.size(), ++ends; }
    void on_action(const palaver::Call& call) override {
        bytes += palaver::JsonWriter().copy(call.args).take().size();
    }

    std::size_t bytes = 0;
    std::size_t ends = 0;
};

inline void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

/// What was read and written is read again, and written in the same words.
inline void reader(std::string_view input) {
    palaver::Document document;
    if (!palaver::read_json(input, document)) {
        return;
    }
    require(document.nodes.size() <= palaver::kMaxNodes);
    const std::string once = palaver::JsonWriter().copy(document.root()).take();
    for (const char byte : once) {
        require(byte >= 0x20 && byte < 0x7F);
    }
    // ASCII may be six times as long, and then beyond the bound.
    if (once.size() <= palaver::kMaxMessageBytes) {
        require(palaver::read_json(once, document));
        require(palaver::JsonWriter().copy(document.root()).take() == once);
    }
    palaver::State state;
    state.note(input);
    for (palaver::Draft& draft : state.messages(60'000)) {
        require(palaver::read_json(draft.finish(), document));
    }
}

/// Lines are messages of the server; an empty one is a cut, after which the game connects again.
inline void session(std::string_view input) {
    constexpr std::string_view kReady =
        R"({"type":"session.ready","session":"s","limits":{"message_bytes":60000}})";
    Drain drain;
    palaver::Start start;
    palaver::Session session(drain, drain, start, 1);
    palaver::Millis now = 0;
    palaver::Action action;
    action.name = "give_item", action.confirm = true;
    session.canned().add("", "Hm.");
    session.start(now);
    session.opened(now);
    session.received(now, kReady);
    session.upsert_npc({"vlad", "vampire", "", "", {{"hunger", palaver::Data::integer(1)}}});
    session.set_actions("", {action});
    palaver::Ask ask;
    ask.npc = "vlad";
    std::size_t asked = 0;
    for (const char* turn : {"t1", "t2", "t3"}) {
        asked += session.ask(ask, turn).empty() ? 0 : 1;
    }
    while (!input.empty()) {
        const std::size_t end = input.find('\n');
        const std::string_view line = input.substr(0, end);
        input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
        if (line.empty()) {
            session.closed(now, 1006);
            session.tick(now += 10'000);
            session.opened(now);
        } else {
            session.received(now, line);
        }
        session.tick(now += 10);
        require(session.turns() <= palaver::kMaxTurns);
        require(session.unconfirmed() <= palaver::kMaxWaiting + palaver::kMaxTurns);
    }
    session.close();
    // Whatever the server did: every turn has ended, and once.
    require(drain.ends == asked);
}

inline void once(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    if (size > 0 && (data[0] & 1) != 0) {
        session(input.substr(1));
    } else {
        reader(input.substr(size > 0 ? 1 : 0));
    }
}

}  // namespace fuzz
