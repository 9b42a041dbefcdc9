// The turns that are not over, and the actions that wait for a verdict.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bounds.h"
#include "messages.h"
#include "utf8.h"

namespace palaver {

/// One turn as the client knows it.
struct Turn {
    std::string id;
    std::string npc;
    std::string text;          ///< All that was said so far.
    Millis begun = 0;          ///< When it was asked for.
    Millis touched = 0;        ///< When something of it came last.
    Millis answer_ms = 0;      ///< Until a canned line is said.
    Millis away_ms = 0;        ///< The same, where there is no connection.
    bool accepted = false;
    bool cancelled = false;    ///< The game wants no more of it.
    bool withdrawn = false;    ///< The server will never hear of it.
};

class Turns {
public:
    Turns() { open_.reserve(kMaxTurns); }

    /// Notes a new turn; returns null where there are too many, or one of the same id.
    Turn* add(std::string_view id, const Ask& ask, Millis now) {
        if (open_.size() >= kMaxTurns || id.size() > kMaxIdBytes || find(id) != nullptr) {
            return nullptr;
        }
        Turn turn;
        turn.id = id;
        turn.npc = ask.npc;
        turn.begun = turn.touched = now;
        turn.answer_ms = ask.answer_ms;
        turn.away_ms = ask.away_ms;
        open_.push_back(std::move(turn));
        return &open_.back();
    }

    Turn* find(std::string_view id) {
        for (Turn& turn : open_) {
            if (turn.id == id) {
                return &turn;
            }
        }
        return nullptr;
    }

    /// Takes a turn out: it is over. Its actions wait no longer.
    bool take(std::string_view id, Turn& out) {
        for (auto turn = open_.begin(); turn != open_.end(); ++turn) {
            if (turn->id == id) {
                out = std::move(*turn);
                open_.erase(turn);
                forget_calls(out.id);
                return true;
            }
        }
        return false;
    }

    /// Adds text; what goes beyond the protocol's bound is left out.
    static std::string_view add_text(Turn& turn, std::string_view piece) {
        const std::size_t room = kMaxTextBytes - turn.text.size();
        if (piece.size() > room) {
            std::size_t size = room;
            while (size > 0 && is_continuation(piece[size])) {
                --size;
            }
            piece = piece.substr(0, size);
        }
        turn.text.append(piece);
        return piece;
    }

    /// Returns the id of a turn for which `over(turn)` holds, or nothing.
    template <class Over>
    std::string first(Over over) const {
        for (const Turn& turn : open_) {
            if (over(turn)) {
                return turn.id;
            }
        }
        return {};
    }

    /// Notes an action that waits for a verdict; the oldest makes room.
    void wait_for(std::string_view turn, std::string_view call) {
        if (calls_.size() >= kMaxCalls) {
            calls_.erase(calls_.begin());
        }
        if (call.size() <= kMaxIdBytes) {
            calls_.emplace_back(turn, call);
        }
    }
    /// Returns whether an action waits for a verdict, and ends that.
    bool answer(std::string_view turn, std::string_view call) {
        const auto found = std::find_if(calls_.begin(), calls_.end(), [&](const auto& one) {
            return one.first == turn && one.second == call;
        });
        if (found == calls_.end()) {
            return false;
        }
        calls_.erase(found);
        return true;
    }

    std::size_t size() const { return open_.size(); }

private:
    void forget_calls(std::string_view turn) {
        calls_.erase(std::remove_if(calls_.begin(), calls_.end(),
                                    [&](const auto& one) { return one.first == turn; }),
                     calls_.end());
    }

    std::vector<Turn> open_;
    std::vector<std::pair<std::string, std::string>> calls_;
};

}  // namespace palaver
