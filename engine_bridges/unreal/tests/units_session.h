// The session: what it sends and tells, with a socket and a clock of the test.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "palaver_core/palaver_core.h"

namespace {

/// A socket that only writes down, and a game that does so too.
struct Desk : palaver::Wire, palaver::Sink {
    void dial() override { log.push_back("dial"); }
    void send(std::string_view frame) override { sent.emplace_back(frame); }
    void hang_up(int code) override { log.push_back("hang up " + std::to_string(code)); }
    void on_phase(palaver::Phase phase, std::string_view) override {
        log.push_back(name_of(phase));
    }
    void on_delta(std::string_view turn, std::string_view text) override {
        log.push_back(std::string(turn) + ": " + std::string(text));
    }
    void on_action(const palaver::Call& call) override {
        log.push_back("action " + std::string(call.call) + (call.confirm ? "?" : ""));
    }
    void on_done(const palaver::Done& done) override {
        log.push_back(std::string(done.turn) + " " + name_of(done.ending) + " " +
                      std::string(done.code));
        if (then) {
            then();
        }
    }
    void on_error(std::string_view code, std::string_view) override {
        log.push_back("error " + std::string(code));
    }

    bool told(const std::string& line) const { return count(line) > 0; }
    std::size_t count(const std::string& line) const {
        return static_cast<std::size_t>(std::count(log.begin(), log.end(), line));
    }
    std::size_t sends(const std::string& part) const {
        std::size_t times = 0;
        for (const std::string& frame : sent) {
            times += frame.find(part) != std::string::npos ? 1 : 0;
        }
        return times;
    }

    std::vector<std::string> sent, log;
    void (*then)() = nullptr;
};

palaver::Ask hello() {
    palaver::Ask ask;
    ask.npc = "vlad";
    ask.text = "Hello.";
    return ask;
}

/// A session that is open, and the server at its other end.
struct Table {
    Table() {
        session.start(now);
        greet("session.ready", "s1");
    }
    void greet(const std::string& type, const std::string& id) {
        session.opened(now);
        say("{\"type\":\"" + type + "\",\"session\":\"" + id +
            "\",\"limits\":{\"message_bytes\":60000,\"messages_per_s\":200}}");
    }
    void say(const std::string& frame) { session.received(now, frame); }
    void turn(const std::string& type, int seq, const std::string& id,
              const std::string& more = "") {
        say("{\"type\":\"turn." + type + "\",\"seq\":" + std::to_string(seq) + ",\"turn\":\"" + id +
            "\"" + more + "}");
    }
    void pass(palaver::Millis ms) { session.tick(now += ms); }
    void redial() {
        while (session.link().phase() == palaver::Phase::waiting) {
            pass(50);
        }
    }
    void pong() {
        for (std::size_t at = desk.sent.size(); at-- > 0;) {
            const std::size_t nonce = desk.sent[at].find("\"nonce\":");
            if (nonce != std::string::npos) {
                say("{\"type\":\"pong\"," + desk.sent[at].substr(nonce));
                return;
            }
        }
    }

    Desk desk;
    palaver::Start start;
    palaver::Session session{desk, desk, start, 42};
    palaver::Millis now = 1'000;
};

TEST_CASE("a turn runs from the question to its end") {
    Table t;
    CHECK(t.desk.sends("session.start") == 1);
    const std::string id = t.session.ask(hello());
    CHECK(t.desk.sends("\"turn.start\",\"turn\":\"" + id + "\"") == 1);
    t.turn("accepted", 1, id);
    t.turn("delta", 2, id, ",\"text\":\"Good \"");
    t.turn("delta", 3, id, ",\"text\":\"evening.\"");
    t.turn("done", 4, id, ",\"status\":\"completed\",\"text\":\"Good evening.\"");
    t.pass(100'000);
    CHECK(t.desk.count(id + ": Good ") == 1);
    CHECK(t.desk.count(id + " completed ") == 1);
    CHECK(t.session.turns() == 0);
}

TEST_CASE("what was seen already is ignored, and a gap leads to a resume") {
    Table t;
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("delta", 2, "t1", ",\"text\":\"One.\"");
    t.turn("delta", 2, "t1", ",\"text\":\"One.\"");
    t.turn("accepted", 1, "t1");
    CHECK(t.desk.count("t1: One.") == 1);
    t.turn("delta", 4, "t1", ",\"text\":\"Three.\"");
    CHECK_FALSE(t.desk.told("t1: Three."));
    CHECK(t.desk.told("hang up 1000"));
    t.redial();
    t.greet("session.resumed", "s1");
    CHECK(t.desk.sends("\"session.resume\",\"session\":\"s1\",\"last_seq\":2") == 1);
    t.turn("delta", 3, "t1", ",\"text\":\"Two.\"");
    t.turn("delta", 4, "t1", ",\"text\":\"Three.\"");
    CHECK(t.desk.told("t1: Three."));
}

TEST_CASE("types and fields of a newer server are ignored, but counted") {
    Table t;
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1", ",\"mood\":{\"a\":[1]}");
    t.turn("hologram", 2, "t1", ",\"text\":\"zzz\"");
    t.say("{\"type\":\"weather\",\"seq\":99}");
    t.say("[1,2]");
    t.say("rubbish");
    t.turn("delta", 3, "t1", ",\"text\":\"One.\"");
    CHECK(t.desk.told("t1: One."));
    CHECK(t.session.link().last_seq == 3);
    CHECK(t.desk.count("error bad_message") == 1);
}

TEST_CASE("a reset tells the state again before the turns, and ends what was lost") {
    Table t;
    t.session.upsert_npc({"vlad", "vampire", "", "", {{"hunger", palaver::Data::integer(3)}}});
    t.session.mark_save("slot");
    t.pong();
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("delta", 2, "t1", ",\"text\":\"Half\"");
    t.session.closed(t.now, 1001);
    t.session.ask(hello(), "t2");
    t.desk.sent.clear();
    t.redial();
    t.greet("session.reset", "s2");
    CHECK(t.desk.told("t1 failed lost"));
    REQUIRE(t.desk.sent.size() == 4);
    CHECK(t.desk.sent[0].find("\"save\":\"slot\"") != std::string::npos);
    CHECK(t.desk.sent[1].find("npc.upsert") != std::string::npos);
    CHECK(t.desk.sent[2].find("\"set\":{\"hunger\":3}") != std::string::npos);
    CHECK(t.desk.sends("turn.start") == 0);
    t.pong();
    CHECK(t.desk.sends("\"turn\":\"t2\"") == 1);
    t.turn("accepted", 1, "t2");
    t.turn("done", 2, "t2", ",\"status\":\"completed\",\"text\":\"Yes.\"");
    CHECK(t.desk.told("t2 completed "));
    CHECK(t.session.unconfirmed() == 0);
}

TEST_CASE("a server that is late is replaced by a canned line, and told to stop") {
    Table t;
    t.session.canned().add("", "Hm.");
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.pass(palaver::kAnswerMs - 1);
    CHECK_FALSE(t.desk.told("t1: Hm."));
    t.pass(1);
    CHECK(t.desk.told("t1: Hm."));
    CHECK(t.desk.count("t1 local late") == 1);
    CHECK(t.desk.sends("\"turn.cancel\",\"turn\":\"t1\",\"heard\":\"\"") == 1);
    t.turn("delta", 2, "t1", ",\"text\":\"Late.\"");
    t.turn("done", 3, "t1", ",\"text\":\"Late.\"");
    CHECK_FALSE(t.desk.told("t1: Late."));
    CHECK(t.desk.count("t1 local late") == 1);
}

TEST_CASE("a turn that is not sent in time never is") {
    Table t;
    t.session.closed(t.now, 1006);
    t.session.ask(hello(), "t1");
    t.pass(palaver::kAwayMs - 100);
    CHECK_FALSE(t.desk.told("t1 failed away"));
    t.pass(100);
    CHECK(t.desk.told("t1 failed away"));
    t.redial();
    t.greet("session.resumed", "s1");
    CHECK(t.desk.sends("turn.") == 0);
}

TEST_CASE("a text that has begun waits for the connection") {
    Table t;
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("delta", 2, "t1", ",\"text\":\"Half\"");
    t.session.closed(t.now, 1006);
    t.pass(palaver::kQuietMs - 1);
    CHECK_FALSE(t.desk.told("t1 failed lost"));
    t.pass(1);
    CHECK(t.desk.told("t1 failed lost"));
}

TEST_CASE("an interruption says what was heard, and shows nothing more") {
    Table t;
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("delta", 2, "t1", ",\"text\":\"One two\"");
    CHECK(t.session.cancel("t1", "One"));
    CHECK(t.desk.sends("\"turn.cancel\",\"turn\":\"t1\",\"heard\":\"One\"") == 1);
    t.turn("delta", 3, "t1", ",\"text\":\" three.\"");
    CHECK_FALSE(t.desk.told("t1:  three."));
    t.turn("done", 4, "t1", ",\"status\":\"cancelled\",\"text\":\"One two three.\"");
    CHECK(t.desk.told("t1 cancelled "));
    // After the end it still counts: the player heard less than the server said.
    CHECK(t.session.cancel("t1", "One"));
    CHECK(t.desk.sends("turn.cancel") == 2);
}

TEST_CASE("a turn cancelled before it was sent is never sent, and still ends") {
    Table t;
    t.session.closed(t.now, 1006);
    t.session.ask(hello(), "t1");
    t.session.cancel("t1", "");
    t.pass(1);
    CHECK(t.desk.told("t1 cancelled cancelled"));
    t.redial();
    t.greet("session.resumed", "s1");
    CHECK(t.desk.sends("turn.") == 0);
}

TEST_CASE("an action that waits is answered once; others are not") {
    Table t;
    palaver::Action give, wave;
    give.name = "give", give.confirm = true, wave.name = "wave";
    CHECK(t.session.set_actions("", {give, wave}));
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("action", 2, "t1", ",\"call\":\"c1\",\"name\":\"give\",\"args\":{}");
    t.turn("action", 3, "t1", ",\"call\":\"c2\",\"name\":\"wave\",\"args\":{}");
    CHECK(t.desk.told("action c1?"));
    CHECK(t.desk.told("action c2"));
    CHECK(t.session.answer("t1", "c1", false, "no bread"));
    CHECK(t.desk.sends("\"call\":\"c1\",\"ok\":false,\"message\":\"no bread\"") == 1);
    CHECK_FALSE(t.session.answer("t1", "c1", true));
    CHECK_FALSE(t.session.answer("t1", "c2", true));
    CHECK_FALSE(t.session.answer("t2", "c1", true));
}

TEST_CASE("silence is met with a ping, and more of it with a new connection") {
    Table t;
    t.pass(palaver::kPingMs);
    CHECK(t.desk.sends("\"ping\"") == 1);
    t.pong();
    t.pass(palaver::kPingMs);
    CHECK(t.desk.sends("\"ping\"") == 2);
    t.pass(palaver::kPongMs);
    CHECK(t.session.link().phase() == palaver::Phase::waiting);
    t.redial();
    CHECK(t.session.link().phase() == palaver::Phase::dialing);
    t.pass(palaver::kConnectMs);
    CHECK(t.session.link().phase() == palaver::Phase::waiting);
}

TEST_CASE("some closes are final, others are not") {
    for (const int code : {1008, 1009, 4400, 4401, 4409}) {
        Table t;
        t.session.ask(hello(), "t1");
        t.session.closed(t.now, code);
        t.pass(100'000);
        CHECK(t.session.link().phase() == palaver::Phase::over);
        CHECK(t.desk.count("dial") == 1);
        CHECK(t.desk.told("t1 failed away"));
    }
    for (const int code : {1000, 1001, 1006, 1011, 4408, 4413, 4429}) {
        Table t;
        t.session.closed(t.now, code);
        t.redial();
        CHECK(t.desk.count("dial") == 2);
    }
}

TEST_CASE("a refused turn ends with the reason, or a canned line") {
    Table t;
    t.session.ask(hello(), "t1");
    t.say(R"({"type":"error","code":"overloaded","re":"m1","turn":"t1","message":"m"})");
    CHECK(t.desk.told("t1 failed overloaded"));
    t.session.canned().add("vlad", "Later.");
    t.session.ask(hello(), "t2");
    t.say("{\"type\":\"error\",\"code\":\"overloaded\",\"turn\":\"t2\",\"message\":\"m\"}");
    CHECK(t.desk.told("t2: Later."));
    CHECK(t.desk.told("t2 local overloaded"));
    CHECK(t.session.unconfirmed() == 0);
}

TEST_CASE("turns are bounded, and a name is used once") {
    Table t;
    CHECK(t.session.ask(hello(), "t") == "t");
    CHECK(t.session.ask(hello(), "t").empty());
    std::size_t open = 1;
    while (!t.session.ask(hello()).empty()) {
        ++open;
    }
    CHECK(open == palaver::kMaxTurns);
    t.pass(palaver::kAnswerMs);
    CHECK(t.session.turns() == 0);
    CHECK_FALSE(t.session.ask(hello()).empty());
}

Table* table = nullptr;

TEST_CASE("the game may ask, cancel and close from within what it is told") {
    Table t;
    table = &t;
    t.desk.then = [] {
        table->session.ask(hello());
        table->session.cancel("t1", "");
    };
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    t.turn("done", 2, "t1", ",\"text\":\"Yes.\"");
    CHECK(t.desk.sends("turn.start") == 2);
    t.desk.then = [] { table->session.close(); };
    t.pass(palaver::kAnswerMs);
    CHECK(t.session.link().phase() == palaver::Phase::over);
    CHECK(t.session.turns() == 0);
    CHECK(t.desk.sends("session.end") == 1);
}

TEST_CASE("a text beyond the bound is cut at a whole letter") {
    Table t;
    t.session.ask(hello(), "t1");
    t.turn("accepted", 1, "t1");
    std::string piece;
    for (int times = 0; times < 5'000; ++times) {
        piece += "\xE2\x82\xAC";
    }
    for (int seq = 2; seq < 6; ++seq) {
        t.turn("delta", seq, "t1", ",\"text\":\"" + piece + "\"");
    }
    std::size_t bytes = 0;
    for (const std::string& line : t.desk.log) {
        bytes += line.compare(0, 4, "t1: ") == 0 ? line.size() - 4 : 0;
    }
    CHECK(bytes == palaver::kMaxTextBytes - palaver::kMaxTextBytes % 3);
}

}  // namespace
