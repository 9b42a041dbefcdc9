// One session with a Palaver server: what a host holds. It is told of time and of its socket, and
// calls `Wire` and `Sink`. Not for several threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "dialogue.h"
#include "link.h"
#include "outbox.h"
#include "state.h"
#include "teller.h"

namespace palaver {

class Session final : public Teller {
public:
    /// @param seed  Any number that differs from game to game: for waits, choices and turn ids.
    Session(Wire& wire, Sink& sink, const Start& start, std::uint64_t seed)
        : Teller(sink, seed), wire_(wire), sink_(sink), link_(wire, sink, start, seed) {
        state_.save = start.save;
    }

    // What the host tells of time and of its socket.

    void start(Millis now) {
        now_ = link_.away_since = now;
        if (!link_.has_wire()) {
            link_.dial(now);
        }
    }

    /// To be called often, such as once a frame.
    void tick(Millis now) {
        now_ = (std::max)(now_, now);
        switch (link_.due(now_)) {
            case Due::dial: link_.dial(now_); break;
            case Due::too_slow: drop("the server does not answer in time"); break;
            case Due::silent: drop("the server is silent"); break;
            case Due::ping:
                link_.sent_at = now_;
                wire_.send(outbox_.ping());
                break;
            case Due::nothing: break;
        }
        const bool over = link_.phase() == Phase::over;
        dialogue_.expire(now_, link_.is_open(), over, link_.away_since);
        pump();
    }

    /// The connection that `Wire::dial` asked for is there.
    void opened(Millis now) {
        now_ = (std::max)(now_, now);
        if (link_.phase() == Phase::dialing) {
            link_.greet(now_, state_.save);
        }
    }

    /// A whole text message has come.
    void received(Millis now, std::string_view frame) {
        now_ = (std::max)(now_, now);
        if (link_.phase() != Phase::greeting && !link_.is_open()) {
            return;
        }
        link_.heard_at = now_;
        if (!read_json(frame, document_)) {
            sink_.on_error("bad_message", "ignored a message that is not JSON, or too large");
            return;
        }
        const Value message = document_.root();
        if (link_.is_open()) {
            serve(message, message["type"].text());
        } else {
            answer_to_greeting(message, message["type"].text());
        }
        pump();
    }

    /// The connection has ended, or could not be made (then the code is 1006).
    void closed(Millis now, int code, std::string_view reason = {}) {
        now_ = (std::max)(now_, now);
        if (!link_.has_wire()) {
            return;
        }
        const char* final = why_final(code);
        if (final != nullptr) {
            link_.end(final);
        } else {
            link_.lose(now_, reason.empty() ? "the connection ended" : reason);
        }
    }

    /// Ends the session for good; open turns end too.
    void close() {
        if (link_.is_open()) {
            wire_.send(Draft("session.end").finish());
        }
        if (link_.has_wire()) {
            wire_.hang_up(1000);
        }
        link_.end("closed");
        dialogue_.expire(now_, false, true, now_);
        outbox_.clear();
    }

    const Link& link() const { return link_; }

private:
    void pump() override {
        while (link_.is_open() && outbox_.has_next() && pace_.take(now_)) {
            link_.sent_at = now_;
            wire_.send(outbox_.next());
        }
    }

    void drop(std::string_view why) {
        wire_.hang_up(1000);
        link_.lose(now_, why);
    }

    void answer_to_greeting(Value message, std::string_view type) {
        if (type == "session.resumed") {
            outbox_.reconnected();
            open(message, false);
        } else if (type == "session.ready" || type == "session.reset") {
            const bool again = !link_.session.empty();
            const std::string_view id = message["session"].text();
            if (id.empty() || id.size() > kMaxIdBytes) {
                end("the server does not follow the protocol");
                return;
            }
            link_.begin_session(id);
            const std::int64_t bytes = message["limits"]["message_bytes"].integer(kMessageBytes);
            outbox_.message_bytes = static_cast<std::size_t>(
                (std::clamp)(bytes, std::int64_t{1'000}, std::int64_t{kMaxMessageBytes}));
            if (again) {
                dialogue_.lose_accepted();
                const auto lost = [this](std::string_view turn) {
                    return dialogue_.turns.find(turn) == nullptr;
                };
                outbox_.reset(state_.messages(outbox_.message_bytes), lost);
            } else {
                outbox_.reconnected();
            }
            open(message, true);
        } else if (type == "error" && message["retryable"].truth()) {
            drop(message["message"].text());
        } else if (type == "error") {
            sink_.on_error(message["code"].text(), message["message"].text());
            end(message["message"].text());
        }
    }

    void open(Value message, bool fresh) {
        const double per_s = message["limits"]["messages_per_s"].number(0);
        per_s_ = per_s > 0 ? per_s : per_s_;
        pace_.restart(per_s_, now_);
        link_.open(now_);
        sink_.on_session(link_.session, fresh);
    }

    void end(std::string_view why) {
        wire_.hang_up(1000);
        link_.end(why);
    }

    void serve(Value message, std::string_view type) {
        if (type.substr(0, 5) == "turn." && message["seq"].is_integer()) {
            const Order order = link_.count(message["seq"].integer());
            if (order == Order::next) {
                // Counted even where nobody understands it: a newer server has more types.
                dialogue_.receive(message, now_);
            } else if (order == Order::gap) {
                drop("a message is missing");
            }
        } else if (type == "pong") {
            outbox_.pong(message["nonce"].text(), [this](const Request& request) {
                if (request.is_state && !state_.note(request.frame)) {
                    sink_.on_error("too_large", "the client keeps no more; this would be missing "
                                                "after a reset");
                }
            });
        } else if (type == "error") {
            refuse(message);
        }
    }

    void refuse(Value message) {
        Request request;
        const std::string_view code = message["code"].text();
        const std::string_view words = message["message"].text();
        sink_.on_error(code, words);
        if (outbox_.refused(message["re"].text(), message["turn"].text(), request) &&
            request.starts_turn) {
            dialogue_.finish(request.turn, code, words);
        }
    }

    Wire& wire_;
    Sink& sink_;
    State state_;
    Link link_;
    Pace pace_;
    Document document_;
    double per_s_ = 200;
};

}  // namespace palaver
