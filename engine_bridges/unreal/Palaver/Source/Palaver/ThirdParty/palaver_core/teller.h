// What the game tells the server, and what it asks: the outgoing half of a session.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dialogue.h"
#include "messages.h"
#include "outbox.h"
#include "sink.h"

namespace palaver {

/// The part of `Session` that a game calls while it runs. What cannot be sent now waits, and is
/// sent again after a cut. False, or an empty id: it is too large, or too much waits already.
class Teller {
public:
    bool upsert_npc(const Npc& npc) { return put_state(write(npc)); }
    bool upsert_player(const Player& player) { return put_state(write(player)); }
    bool remove_npc(const std::string& npc) {
        Draft draft("npc.remove");
        draft.writer.text("npc", npc);
        dialogue_.forget(npc);
        return put_state(std::move(draft));
    }
    /// @param what  `npc`, `player`, or nothing for facts of the game.
    bool update_facts(std::string_view what, std::string_view name, const Facts& set,
                      const std::vector<std::string>& unset = {}) {
        Draft draft("facts.update");
        if (!what.empty()) {
            draft.writer.text(what, name);
        }
        draft.facts("set", set).texts("unset", unset);
        return put_state(std::move(draft));
    }
    /// @param npc  For this NPC only; nothing for all.
    bool set_actions(const std::string& npc, const std::vector<Action>& actions) {
        const bool fits = put_state(write_actions(npc, actions));
        if (fits) {
            dialogue_.declare(npc, actions);
        }
        return fits;
    }
    bool mark_save(std::string_view save) {
        Draft draft("save.mark");
        draft.writer.text("save", save);
        return put_state(std::move(draft));
    }

    /// Starts a turn and returns its id; `Sink::on_done` follows exactly once.
    /// @param id  An own id, unique in the session, or nothing.
    std::string ask(const Ask& ask, std::string id = {}) {
        if (id.empty()) {
            id = "c" + std::to_string(seed_ % 1'000'000'007u) + "-" + std::to_string(++turns_made_);
        }
        if (dialogue_.turns.add(id, ask, now_) == nullptr) {
            return {};
        }
        if (!outbox_.put(write(ask, id), id, true)) {
            Turn refused;
            dialogue_.turns.take(id, refused);
            return {};
        }
        pump();
        return id;
    }

    /// Stops a turn. Nothing more of it is passed on but its end.
    /// @param heard  The beginning of its text that was really shown or spoken; see `Reveal`.
    bool cancel(const std::string& id, std::string_view heard) {
        Turn* turn = dialogue_.turns.find(id);
        if (turn != nullptr) {
            turn->cancelled = true;
            turn->withdrawn = outbox_.withdraw(id);
            if (turn->withdrawn) {
                return true;
            }
        }
        Draft draft("turn.cancel");
        draft.writer.text("turn", id).text("heard", heard);
        return put(std::move(draft), id, true);
    }
    /// The reply was heard to its end; for clients with the capability `heard`.
    bool heard(std::string_view turn) {
        Draft draft("turn.heard");
        draft.writer.text("turn", turn);
        return put(std::move(draft), turn);
    }
    /// @param kind  `skip`, `like`, `dislike` or `report`.
    bool feedback(std::string_view turn, std::string_view kind, std::string_view note = {}) {
        Draft draft("turn.feedback");
        draft.writer.text("turn", turn).text("kind", kind).text_if("note", note);
        return put(std::move(draft), turn);
    }
    /// Accepts or refuses an action, before it is carried out. False also where nobody waits.
    bool answer(std::string_view turn, std::string_view call, bool ok,
                std::string_view message = {}) {
        Draft draft("action.result");
        draft.writer.text("turn", turn).text("call", call).truth("ok", ok);
        draft.writer.text_if("message", message);
        return dialogue_.turns.answer(turn, call) && put(std::move(draft), turn);
    }

    Canned& canned() { return dialogue_.canned; }
    std::size_t turns() const { return dialogue_.turns.size(); }
    std::size_t unconfirmed() const { return outbox_.size(); }

protected:
    Teller(Sink& sink, std::uint64_t seed)
        : dialogue_(sink, outbox_, seed ^ 0x5EEDu), seed_(seed) {}
    ~Teller() = default;

    /// Sends what can be sent.
    virtual void pump() = 0;

    Outbox outbox_;
    Dialogue dialogue_;
    Millis now_ = 0;

private:
    bool put(Draft draft, std::string_view turn, bool reserved = false) {
        const bool fits = outbox_.put(std::move(draft), turn, false, false, reserved);
        pump();
        return fits;
    }
    bool put_state(Draft draft) {
        const bool fits = outbox_.put(std::move(draft), {}, false, true);
        pump();
        return fits;
    }

    std::uint64_t seed_;
    std::uint64_t turns_made_ = 0;
};

}  // namespace palaver
