// The two interfaces that a host implements: `Wire` is its WebSocket, `Sink` is its game.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "json_value.h"

namespace palaver {

/// The host's WebSocket. The host calls `Session::opened`, `received` and `closed` for what happens
/// to it, from the thread that calls everything else of the session.
class Wire {
public:
    virtual ~Wire() = default;
    /// Opens a new connection with the subprotocol `palaver.v1`.
    virtual void dial() = 0;
    /// Sends one text frame; it is ASCII.
    virtual void send(std::string_view frame) = 0;
    /// Closes the connection. Nothing that it still reports may be passed on.
    virtual void hang_up(int code) = 0;
};

enum class Phase : std::uint8_t {
    idle,      ///< Not begun.
    waiting,   ///< Will dial again when the wait is over.
    dialing,   ///< `Wire::dial` was called.
    greeting,  ///< Connected; the session is not there yet.
    open,      ///< All is well.
    over,      ///< Ended; it will not dial again by itself.
};

inline const char* name_of(Phase phase) {
    constexpr const char* kNames[] = {"idle", "waiting", "dialing", "greeting", "open", "over"};
    return kNames[static_cast<std::size_t>(phase)];
}

enum class Ending : std::uint8_t {
    completed,  ///< All of it was said.
    truncated,  ///< The server cut it at the end of a sentence.
    cancelled,  ///< The game stopped it.
    rescued,    ///< A backend died in the middle; another ended the line.
    local,      ///< The server was away, late or refused: a canned line was said instead.
    failed,     ///< Nobody said anything, or the rest of it is lost.
};

inline const char* name_of(Ending ending) {
    constexpr const char* kNames[] = {"completed", "truncated", "cancelled",
                                      "rescued",   "local",     "failed"};
    return kNames[static_cast<std::size_t>(ending)];
}

/// How a turn ended. The views hold during the call only, as in all calls of `Sink`.
struct Done {
    std::string_view turn, npc;
    Ending ending = Ending::failed;
    std::string_view text;     ///< All that was said.
    std::string_view backend;  ///< Who spoke; empty for `local` and `failed`.
    std::string_view code;     ///< Why it is `local` or `failed`: away, late, lost, or an error's.
    std::string_view message;
    Value served;              ///< The whole `turn.done`; nothing for `local` and `failed`.
};

/// An action of an NPC. Where `confirm` is set, `Session::answer` must be called soon.
struct Call {
    std::string_view turn, npc, call, name;
    Value args;
    bool confirm = false;
};

/// The host's game. All of it is called from within calls of the session, in the order of what
/// happened; the session may be called back.
class Sink {
public:
    virtual ~Sink() = default;
    virtual void on_phase(Phase phase, std::string_view why) {
        static_cast<void>(phase), static_cast<void>(why);
    }
    /// The session is there: `fresh` says whether it is a new one, whose `seq` begins at 1.
    virtual void on_session(std::string_view session, bool fresh) {
        static_cast<void>(session), static_cast<void>(fresh);
    }
    virtual void on_accepted(std::string_view turn, std::string_view npc, std::string_view tier) {
        static_cast<void>(turn), static_cast<void>(npc), static_cast<void>(tier);
    }
    virtual void on_delta(std::string_view turn, std::string_view text) = 0;
    virtual void on_sentence(std::string_view turn, std::size_t index, std::size_t start,
                             std::string_view text) {
        static_cast<void>(turn), static_cast<void>(index);
        static_cast<void>(start), static_cast<void>(text);
    }
    virtual void on_emotion(std::string_view turn, std::string_view name, double intensity) {
        static_cast<void>(turn), static_cast<void>(name), static_cast<void>(intensity);
    }
    virtual void on_action(const Call& call) { static_cast<void>(call); }
    /// The end of a turn: exactly once for every turn that was asked for.
    virtual void on_done(const Done& done) = 0;
    /// Something was not done; for the log.
    virtual void on_error(std::string_view code, std::string_view message) {
        static_cast<void>(code), static_cast<void>(message);
    }
};

}  // namespace palaver
