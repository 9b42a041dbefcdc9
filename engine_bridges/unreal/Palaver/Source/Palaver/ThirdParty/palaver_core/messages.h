// What a client says: plain structs, and the JSON of each. What is left empty is left out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bounds.h"
#include "data.h"

namespace palaver {

/// Who connects, and to what.
struct Start {
    std::string client = "palaver-cpp";
    std::string version = kVersion;
    std::string engine;
    std::string token;
    std::string game = "default";
    std::string save;
    std::vector<std::string> capabilities = {"sentence", "emotion", "action"};
    Millis retry_base_ms = kRetryBaseMs;  ///< The n-th attempt comes after 0 to base * 2^n,
    Millis retry_cap_ms = kRetryCapMs;    ///< but after no more than this.
};

struct Npc {
    std::string npc, persona, tier, zone;
    Facts facts;
};

struct Player {
    std::string player, name, zone, lang;
    Facts facts;
};

/// Something the engine can carry out. With `confirm`, what is said after it waits for
/// `Session::answer`, at most `confirm_ms`.
struct Action {
    std::string name, description;
    Data args;  ///< A JSON Schema of an object; null for no arguments.
    bool confirm = false;
    int confirm_ms = 500;
};

/// Somebody said `text` to an NPC, or (with `is_cue`) something happened, and the NPC answers.
struct Ask {
    std::string npc, text, player, speaker, lang, priority;
    bool is_cue = false;
    std::vector<std::string> audience;
    std::int64_t first_text_ms = 0;  ///< A shorter limit for the first words than the tier's.
    std::int64_t seed = -1;
    Millis answer_ms = kAnswerMs;  ///< Until the client itself says a canned line.
    Millis away_ms = kAwayMs;      ///< The same, where there is no connection.
};

/// One message being written. The core adds `id` and the closing brace when it is sent.
class Draft {
public:
    explicit Draft(std::string_view type) { writer.open('{').text("type", type); }

    Draft& texts(std::string_view name, const std::vector<std::string>& values) {
        writer.key(name).open('[');
        for (const std::string& value : values) {
            writer.text(value);
        }
        writer.close(']');
        return *this;
    }
    Draft& facts(std::string_view name, const Facts& values) {
        writer.key(name).open('{');
        for (const auto& [key, value] : values) {
            writer.key(key).raw(value.json());
        }
        writer.close('}');
        return *this;
    }
    std::string finish() { return writer.close('}').take(); }

    JsonWriter writer;
};

/// The first message of a connection; with a `session`, one that goes on with it.
inline std::string write_hello(const Start& start, std::string_view session,
                               std::int64_t last_seq) {
    Draft draft(session.empty() ? "session.start" : "session.resume");
    if (session.empty()) {
        draft.writer.integer("protocol", kProtocol);
    } else {
        draft.writer.text("session", session).integer("last_seq", last_seq);
    }
    draft.writer.key("client").open('{').text("name", start.client);
    draft.writer.text("version", start.version).text("engine", start.engine).close('}');
    draft.writer.text_if("token", start.token).text_if("game", start.game);
    draft.writer.text_if("save", start.save);
    return draft.texts("capabilities", start.capabilities).finish();
}

inline Draft write(const Npc& npc) {
    Draft draft("npc.upsert");
    draft.writer.text("npc", npc.npc).text("persona", npc.persona);
    draft.writer.text_if("tier", npc.tier).text_if("zone", npc.zone);
    return npc.facts.empty() ? draft : draft.facts("facts", npc.facts);
}

inline Draft write(const Player& player) {
    Draft draft("player.upsert");
    draft.writer.text("player", player.player).text_if("name", player.name);
    draft.writer.text_if("zone", player.zone).text_if("lang", player.lang);
    return player.facts.empty() ? draft : draft.facts("facts", player.facts);
}

inline Draft write_actions(std::string_view npc, const std::vector<Action>& actions) {
    Draft draft("actions.set");
    draft.writer.text_if("npc", npc).key("actions").open('[');
    for (const Action& action : actions) {
        draft.writer.open('{').text("name", action.name);
        draft.writer.text_if("description", action.description);
        if (action.args.json() != "null") {
            draft.writer.key("args").raw(action.args.json());
        }
        if (action.confirm) {
            draft.writer.truth("confirm", true).integer("confirm_ms", action.confirm_ms);
        }
        draft.writer.close('}');
    }
    draft.writer.close(']');
    return draft;
}

inline Draft write(const Ask& ask, std::string_view turn) {
    Draft draft("turn.start");
    draft.writer.text("turn", turn).text("npc", ask.npc).text_if("player", ask.player);
    draft.writer.text(ask.is_cue ? "cue" : "text", ask.text).text_if("speaker", ask.speaker);
    if (!ask.audience.empty()) {
        draft.texts("audience", ask.audience);
    }
    draft.writer.text_if("lang", ask.lang).text_if("priority", ask.priority);
    if (ask.first_text_ms > 0) {
        draft.writer.integer("first_text_ms", ask.first_text_ms);
    }
    if (ask.seed >= 0) {
        draft.writer.integer("seed", ask.seed);
    }
    return draft;
}

}  // namespace palaver
