// What becomes of turns: the server's messages about them, canned lines when it is away or late,
// and exactly one end for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "canned.h"
#include "outbox.h"
#include "sink.h"
#include "turns.h"

namespace palaver {

class Dialogue {
public:
    Dialogue(Sink& sink, Outbox& outbox, std::uint64_t seed)
        : canned(seed), sink_(sink), outbox_(outbox) {}

    /// Takes in a `turn.*` message, each once and in order.
    void receive(Value message, Millis now) {
        const std::string_view type = message["type"].text();
        const std::string_view id = message["turn"].text();
        Turn* turn = turns.find(id);
        if (turn == nullptr) {
            return;
        }
        turn->touched = now;
        if (type == "turn.accepted") {
            outbox_.accepted(id);
            if (!turn->accepted) {
                turn->accepted = true;
                sink_.on_accepted(id, message["npc"].text(), message["tier"].text());
            }
        } else if (type == "turn.done") {
            done(*turn, message, id);
        } else if (turn->cancelled) {
            return;  // On its way before the server knew; nobody wants to see it.
        } else if (type == "turn.delta") {
            const std::string_view piece = Turns::add_text(*turn, message["text"].text());
            if (!piece.empty()) {
                sink_.on_delta(id, piece);
            }
        } else if (type == "turn.sentence") {
            sink_.on_sentence(id, size(message["index"]), size(message["start"]),
                              message["text"].text());
        } else if (type == "turn.emotion") {
            sink_.on_emotion(id, message["name"].text(), message["intensity"].number());
        } else if (type == "turn.action") {
            act(*turn, message, id);
        }
    }

    /// Ends the turns whose time is over.
    /// @param open   Whether there is a session at this moment.
    /// @param over   Whether there will never be one again.
    /// @param since  Since when there is none.
    void expire(Millis now, bool open, bool over, Millis since) {
        for (std::size_t guard = 0; guard <= 2 * kMaxTurns; ++guard) {
            const char* why = nullptr;
            const std::string id = turns.first([&](const Turn& turn) {
                why = overdue(turn, now, open, over, since);
                return why != nullptr;
            });
            if (id.empty()) {
                return;
            }
            abandon(id, std::string_view(why) != "cancelled");
            finish(id, why, why_text(why));
        }
    }

    /// Ends a turn that the server will not answer: with a canned line, where there is one and
    /// nothing was said yet.
    void finish(std::string_view name, std::string_view code, std::string_view message) {
        Turn turn;
        if (!turns.take(name, turn)) {
            return;
        }
        Done end;
        end.ending = turn.cancelled ? Ending::cancelled : Ending::failed;
        std::string line;
        if (turn.text.empty() && !turn.cancelled) {
            line = canned.pick(turn.npc);
        }
        if (!line.empty()) {
            turn.text = line;
            end.ending = Ending::local;
            sink_.on_delta(turn.id, turn.text);
            sink_.on_sentence(turn.id, 0, 0, turn.text);
        }
        end.turn = turn.id, end.npc = turn.npc, end.text = turn.text;
        end.code = code, end.message = message;
        sink_.on_done(end);
    }

    /// Ends what ended with the server's session: turns that it had accepted.
    void lose_accepted() {
        for (std::size_t guard = 0; guard <= kMaxTurns; ++guard) {
            const std::string id = turns.first([](const Turn& turn) { return turn.accepted; });
            if (id.empty()) {
                return;
            }
            finish(id, "lost", "the turn was lost with its session");
        }
    }

    /// Notes which of the declared actions wait for a verdict.
    void declare(const std::string& npc, const std::vector<Action>& actions) {
        std::vector<std::string>& names = confirm_[npc];
        names.clear();
        for (const Action& action : actions) {
            if (action.confirm) {
                names.push_back(action.name);
            }
        }
    }
    void forget(const std::string& npc) { confirm_.erase(npc); }

    Turns turns;
    Canned canned;

private:
    static std::size_t size(Value value) {
        return static_cast<std::size_t>((std::max)(std::int64_t{0}, value.integer()));
    }

    static const char* overdue(const Turn& turn, Millis now, bool open, bool over, Millis since) {
        if (turn.withdrawn) {
            return "cancelled";
        }
        if (over) {
            return "away";
        }
        if (!turn.text.empty() || turn.cancelled) {
            return now - turn.touched >= kQuietMs ? "lost" : nullptr;
        }
        if (open) {
            return now - turn.begun >= turn.answer_ms ? "late" : nullptr;
        }
        return now - (std::max)(turn.begun, since) >= turn.away_ms ? "away" : nullptr;
    }

    static const char* why_text(std::string_view code) {
        return code == "late"        ? "the server did not answer in time"
               : code == "away"      ? "there is no connection to the server"
               : code == "cancelled" ? "it was cancelled before it was sent"
                                     : "no word of the turn for too long";
    }

    void done(Turn& turn, Value message, std::string_view id) {
        const std::string_view whole = message["text"].text();
        const bool continues = whole.substr(0, turn.text.size()) == turn.text;
        if (!turn.cancelled && continues && whole.size() > turn.text.size()) {
            // Not of the protocol, but then the game still sees all of the text.
            sink_.on_delta(id, Turns::add_text(turn, whole.substr(turn.text.size())));
        }
        outbox_.accepted(id);
        Turn over;
        if (!turns.take(id, over)) {
            return;
        }
        const std::string_view status = message["status"].text();
        Done end;
        end.turn = id, end.npc = over.npc, end.text = whole;
        end.backend = message["served_by"]["backend"].text();
        end.served = message;
        end.ending = status == "truncated"   ? Ending::truncated
                     : status == "cancelled" ? Ending::cancelled
                     : status == "rescued"   ? Ending::rescued
                                             : Ending::completed;
        sink_.on_done(end);
    }

    void act(const Turn& turn, Value message, std::string_view id) {
        const std::string npc = turn.npc;
        Call call;
        call.turn = id, call.npc = npc;
        call.call = message["call"].text(), call.name = message["name"].text();
        call.args = message["args"];
        call.confirm = confirms("", call.name) || confirms(npc, call.name);
        if (call.confirm) {
            turns.wait_for(id, call.call);
        }
        sink_.on_action(call);
    }

    bool confirms(std::string_view npc, std::string_view name) const {
        const auto names = confirm_.find(npc);
        return names != confirm_.end() &&
               std::find(names->second.begin(), names->second.end(), name) != names->second.end();
    }

    /// The server need not go on with a turn that ends here.
    void abandon(const std::string& id, bool tell) {
        if (!outbox_.withdraw(id) && tell) {
            Draft draft("turn.cancel");
            draft.writer.text("turn", id).text("heard", "");
            outbox_.put(std::move(draft), id, false, false, true);
        }
    }

    Sink& sink_;
    Outbox& outbox_;
    std::map<std::string, std::vector<std::string>, std::less<>> confirm_;
};

}  // namespace palaver
