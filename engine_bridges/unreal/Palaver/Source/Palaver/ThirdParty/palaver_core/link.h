// The connection of a session: when to dial, when to give up, what a close means, which message is
// the next. It knows nothing of turns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "backoff.h"
#include "bounds.h"
#include "messages.h"
#include "sink.h"

namespace palaver {

/// Why another attempt would end in the same way, or null where one may help.
inline const char* why_final(int close_code) {
    switch (close_code) {
        case 1008: return "the server refuses this client";
        case 1009: return "a message was larger than the server takes; send less at once";
        case 4400: return "the server does not understand this client; use versions that fit";
        case 4401: return "the server does not accept the token; set the right one";
        case 4409: return "the session was resumed by another client; give each one its own";
        default: return nullptr;
    }
}

/// What the order of a message with `seq` says.
enum class Order : std::uint8_t { next, repeated, gap };

/// What the clock asks for.
enum class Due : std::uint8_t { nothing, dial, too_slow, silent, ping };

class Link {
public:
    Link(Wire& wire, Sink& sink, Start start, std::uint64_t seed)
        : wire_(wire), sink_(sink), start_(std::move(start)),
          backoff_(seed, start_.retry_base_ms, start_.retry_cap_ms) {}

    void dial(Millis now) {
        give_up_at_ = now + kConnectMs;
        opened_at_ = -1;
        enter(Phase::dialing, {});
        wire_.dial();
    }

    /// There is a connection: says who connects, and which session goes on.
    /// @param save  The memory branch, for a reset.
    void greet(Millis now, const std::string& save) {
        heard_at = now;
        if (!save.empty()) {
            // Not `save.mark`, which would fork the branch once more.
            start_.save = save;
        }
        enter(Phase::greeting, {});
        wire_.send(write_hello(start_, session, last_seq));
    }

    /// The server has answered: the session is there.
    void open(Millis now) {
        opened_at_ = now;
        sent_at = now;
        enter(Phase::open, {});
    }

    /// A new session: its messages are counted from 1.
    void begin_session(std::string_view id) {
        session = id;
        last_seq = 0;
    }

    /// There is no connection any more; another attempt comes after a random wait.
    void lose(Millis now, std::string_view why) {
        if (phase_ == Phase::open) {
            away_since = now;
        }
        const Millis lived = opened_at_ < 0 ? 0 : now - opened_at_;
        retry_at_ = now + backoff_.next(lived);
        enter(Phase::waiting, why);
    }

    void end(std::string_view why) { enter(Phase::over, why); }

    /// Whether there is a connection that has to be closed by us.
    bool has_wire() const {
        return phase_ == Phase::dialing || phase_ == Phase::greeting || phase_ == Phase::open;
    }

    /// Takes note of a `seq`.
    Order count(std::int64_t seq) {
        if (seq <= last_seq) {
            return Order::repeated;
        }
        if (seq > last_seq + 1) {
            return Order::gap;
        }
        last_seq = seq;
        return Order::next;
    }

    Due due(Millis now) const {
        switch (phase_) {
            case Phase::waiting: return now >= retry_at_ ? Due::dial : Due::nothing;
            case Phase::dialing:
            case Phase::greeting: return now >= give_up_at_ ? Due::too_slow : Due::nothing;
            case Phase::open:
                if (now - heard_at >= kPingMs + kPongMs) {
                    return Due::silent;
                }
                return now - sent_at >= kPingMs ? Due::ping : Due::nothing;
            case Phase::idle:
            case Phase::over: break;
        }
        return Due::nothing;
    }

    Phase phase() const { return phase_; }
    bool is_open() const { return phase_ == Phase::open; }

    std::string session;        ///< Empty before the first; keep it secret.
    std::int64_t last_seq = 0;  ///< The last `seq` that was received.
    Millis heard_at = 0;        ///< When the server was heard last.
    Millis sent_at = 0;         ///< When something was sent last.
    Millis away_since = 0;      ///< Since when there is no session, while there is none.

private:
    void enter(Phase phase, std::string_view why) {
        phase_ = phase;
        sink_.on_phase(phase, why);
    }

    Wire& wire_;
    Sink& sink_;
    Start start_;
    Backoff backoff_;
    Phase phase_ = Phase::idle;
    Millis give_up_at_ = 0;
    Millis retry_at_ = 0;
    Millis opened_at_ = -1;
};

}  // namespace palaver
