// What the programs of the tests share: commands as JSON lines in, events as JSON lines out. A
// command is a message of the protocol, as the game would cause it; the core's own reader and
// writer are used for both.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "palaver_core/palaver_core.h"

namespace tests {

inline void print(palaver::JsonWriter& line) {
    const std::string text = line.close('}').take();
    std::fprintf(stdout, "%s\n", text.c_str());
    std::fflush(stdout);
}

/// A game that prints what it is told.
class Console : public palaver::Sink {
public:
    using View = std::string_view;

    void on_phase(palaver::Phase phase, View why) override {
        palaver::JsonWriter out = event("phase");
        print(out.text("phase", name_of(phase)).text("why", why));
    }
    void on_session(View session, bool fresh) override {
        palaver::JsonWriter out = event("session");
        print(out.text("session", session).truth("fresh", fresh));
    }
    void on_accepted(View turn, View npc, View tier) override {
        palaver::JsonWriter out = event("accepted");
        print(out.text("turn", turn).text("npc", npc).text("tier", tier));
    }
    void on_delta(View turn, View text) override {
        palaver::JsonWriter out = event("delta");
        print(out.text("turn", turn).text("text", text));
    }
    void on_sentence(View turn, std::size_t index, std::size_t start, View text) override {
        palaver::JsonWriter out = event("sentence");
        out.text("turn", turn).integer("index", static_cast<std::int64_t>(index));
        print(out.integer("start", static_cast<std::int64_t>(start)).text("text", text));
    }
    void on_emotion(View turn, View name, double intensity) override {
        palaver::JsonWriter out = event("emotion");
        print(out.text("turn", turn).text("name", name).number("intensity", intensity));
    }
    void on_action(const palaver::Call& call) override {
        palaver::JsonWriter out = event("action");
        out.text("turn", call.turn).text("npc", call.npc).text("call", call.call);
        print(out.text("name", call.name).key("args").copy(call.args).truth("confirm",
                                                                            call.confirm));
    }
    void on_done(const palaver::Done& done) override {
        palaver::JsonWriter out = event("done");
        out.text("turn", done.turn).text("npc", done.npc).text("ending", name_of(done.ending));
        out.text("text", done.text).text("backend", done.backend);
        print(out.text("code", done.code).text("message", done.message));
    }
    void on_error(View code, View message) override {
        palaver::JsonWriter out = event("error");
        print(out.text("code", code).text("message", message));
    }

    static palaver::JsonWriter event(View name) {
        palaver::JsonWriter out;
        out.open('{').text("event", name);
        return out;
    }
};

inline std::string str(palaver::Value value) {
    return std::string(value.text());
}

inline std::vector<std::string> strings(palaver::Value list) {
    std::vector<std::string> all;
    for (palaver::Value item = list.first(); item.exists(); item = item.next()) {
        all.push_back(str(item));
    }
    return all;
}

inline palaver::Facts facts(palaver::Value object) {
    palaver::Facts all;
    for (palaver::Value field = object.first(); field.exists(); field = field.next()) {
        all.emplace_back(std::string(field.key()), palaver::Data::copy(field));
    }
    return all;
}

inline palaver::Start start_of(palaver::Value m) {
    palaver::Start start;
    start.client = m["client"]["name"].text("test");
    start.engine = str(m["client"]["engine"]);
    start.token = str(m["token"]);
    start.game = m["game"].text("default");
    start.save = str(m["save"]);
    start.capabilities = strings(m["capabilities"]);
    start.retry_base_ms = m["retry_base_ms"].integer(palaver::kRetryBaseMs);
    start.retry_cap_ms = m["retry_cap_ms"].integer(palaver::kRetryCapMs);
    return start;
}

inline bool set_actions(palaver::Session& session, palaver::Value m) {
    std::vector<palaver::Action> actions;
    for (palaver::Value one = m["actions"].first(); one.exists(); one = one.next()) {
        palaver::Action action;
        action.name = str(one["name"]);
        action.description = str(one["description"]);
        action.args = palaver::Data::copy(one["args"]);
        action.confirm = one["confirm"].truth();
        action.confirm_ms = static_cast<int>(one["confirm_ms"].integer(500));
        actions.push_back(action);
    }
    return session.set_actions(str(m["npc"]), actions);
}

inline bool ask(palaver::Session& session, palaver::Value m) {
    palaver::Ask ask;
    ask.npc = str(m["npc"]);
    ask.is_cue = m["cue"].exists();
    ask.text = str(ask.is_cue ? m["cue"] : m["text"]);
    ask.player = str(m["player"]);
    ask.speaker = str(m["speaker"]);
    ask.lang = str(m["lang"]);
    ask.priority = str(m["priority"]);
    ask.audience = strings(m["audience"]);
    ask.first_text_ms = m["first_text_ms"].integer();
    ask.seed = m["seed"].integer(-1);
    ask.answer_ms = m["answer_ms"].integer(palaver::kAnswerMs);
    ask.away_ms = m["away_ms"].integer(palaver::kAwayMs);
    return !session.ask(ask, str(m["turn"])).empty();
}

/// Does what a command says; returns false where it is none, or the session refuses it.
inline bool obey(palaver::Session& session, palaver::Value m) {
    const std::string_view type = m["type"].text();
    const std::string turn = str(m["turn"]);
    if (type == "npc.upsert") {
        return session.upsert_npc({str(m["npc"]), str(m["persona"]), str(m["tier"]),
                                   str(m["zone"]), facts(m["facts"])});
    }
    if (type == "player.upsert") {
        return session.upsert_player({str(m["player"]), str(m["name"]), str(m["zone"]),
                                      str(m["lang"]), facts(m["facts"])});
    }
    if (type == "npc.remove") {
        return session.remove_npc(str(m["npc"]));
    }
    if (type == "facts.update") {
        const char* what = m["npc"].exists() ? "npc" : m["player"].exists() ? "player" : "";
        return session.update_facts(what, m[what].text(), facts(m["set"]), strings(m["unset"]));
    }
    if (type == "actions.set") {
        return set_actions(session, m);
    }
    if (type == "turn.start") {
        return ask(session, m);
    }
    if (type == "turn.cancel") {
        return session.cancel(turn, m["heard"].text());
    }
    if (type == "turn.heard") {
        return session.heard(turn);
    }
    if (type == "turn.feedback") {
        return session.feedback(turn, m["kind"].text(), m["note"].text());
    }
    if (type == "action.result") {
        return session.answer(turn, m["call"].text(), m["ok"].truth(), m["message"].text());
    }
    if (type == "save.mark") {
        return session.mark_save(m["save"].text());
    }
    if (type == "canned") {
        return session.canned().add(m["npc"].text(), m["line"].text());
    }
    if (type == "session.end") {
        session.close();
        return true;
    }
    return false;
}

}  // namespace tests
