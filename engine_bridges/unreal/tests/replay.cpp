// A game whose network and clock are its standard input: for replaying transcripts.
//
//     {"type": "session.start", ...}      first line: who connects
//     {"type": "opened"}                  the connection is there
//     {"type": "frame", "frame": "..."}   a message of the server
//     {"type": "closed", "code": 1006}    the connection is gone
//     {"type": "tick", "ms": 500}         time passes
//     any other message of a client       the game does this
//
// Every line is answered by events and, at the end, by {"event": "ready", "ok": true}.

#include "commands.h"

namespace {

class Paper : public palaver::Wire {
public:
    void dial() override {
        palaver::JsonWriter out = tests::Console::event("dial");
        tests::print(out);
    }
    void send(std::string_view frame) override {
        palaver::JsonWriter out = tests::Console::event("send");
        tests::print(out.text("frame", frame));
    }
    void hang_up(int code) override {
        palaver::JsonWriter out = tests::Console::event("hang_up");
        tests::print(out.integer("code", code));
    }
};

bool read_line(std::string& line) {
    line.clear();
    for (int c = std::getchar(); c != EOF; c = std::getchar()) {
        if (c == '\n') {
            return true;
        }
        line += static_cast<char>(c);
    }
    return false;
}

}  // namespace

int main() {
    std::string line;
    palaver::Document command;
    if (!read_line(line) || !palaver::read_json(line, command)) {
        return 2;
    }
    Paper wire;
    tests::Console sink;
    palaver::Session session(wire, sink, tests::start_of(command.root()), 7);
    palaver::Millis now = 1'000;
    session.start(now);
    bool ok = true;
    do {
        palaver::JsonWriter out = tests::Console::event("ready");
        tests::print(out.truth("ok", ok));
        if (!read_line(line) || !palaver::read_json(line, command)) {
            break;
        }
        const palaver::Value m = command.root();
        const std::string_view type = m["type"].text();
        ok = true;
        if (type == "opened") {
            session.opened(now);
        } else if (type == "frame") {
            session.received(now, m["frame"].text());
        } else if (type == "closed") {
            session.closed(now, static_cast<int>(m["code"].integer()), m["reason"].text());
        } else if (type == "tick") {
            now += m["ms"].integer();
            session.tick(now);
        } else {
            ok = tests::obey(session, m);
        }
    } while (true);
    return 0;
}
