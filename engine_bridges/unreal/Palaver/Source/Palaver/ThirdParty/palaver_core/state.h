// What the game has told the server, to tell it again to a new session after a reset.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bounds.h"
#include "json_reader.h"
#include "messages.h"

namespace palaver {

class State {
public:
    /// Takes in a message that the server has handled; returns false where the bound is reached,
    /// and the message would be missing after a reset.
    bool note(std::string_view frame) {
        if (!read_json(frame, document_)) {
            return false;
        }
        const Value message = document_.root();
        const std::string_view type = message["type"].text();
        if (bytes_ + frame.size() > kMaxStateBytes && type != "npc.remove") {
            return false;
        }
        if (type == "npc.upsert" || type == "player.upsert") {
            const std::string_view what = type == "npc.upsert" ? "npc" : "player";
            const std::string_view name = message[what].text();
            merge(what == "npc" ? npcs_ : players_, name, message, true);
            merge(facts_, target(what, name), message["facts"], false);
        } else if (type == "npc.remove") {
            const std::string name(message["npc"].text());
            drop(npcs_, name);
            drop(facts_, target("npc", name));
            drop(actions_, name);
        } else if (type == "facts.update") {
            update(message);
        } else if (type == "actions.set") {
            const std::string name(message["npc"].text());
            drop(actions_, name);
            set(actions_[name], "actions", Data::copy(message["actions"]).json());
        } else if (type == "save.mark") {
            save = std::string(message["save"].text());
        }
        return true;
    }

    /// Returns what a new session has to be told, in an order in which it can be understood.
    /// @param message_bytes  Largest message of the new session; facts are split to fit.
    std::vector<Draft> messages(std::size_t message_bytes) const {
        std::vector<Draft> all;
        all.reserve(npcs_.size() + players_.size() + facts_.size() + actions_.size());
        whole(all, "npc.upsert", npcs_);
        whole(all, "player.upsert", players_);
        const std::size_t room = message_bytes > 2'000 ? message_bytes - 1'000 : 1'000;
        for (const auto& [of, fields] : facts_) {
            split(all, of, fields, room);
        }
        for (const auto& [npc, fields] : actions_) {
            Draft draft("actions.set");
            draft.writer.text_if("npc", npc).key("actions").raw(fields.at("actions"));
            all.push_back(std::move(draft));
        }
        return all;
    }

    std::size_t bytes() const { return bytes_; }

    std::string save;  ///< The memory branch the session is on.

private:
    /// JSON by name of the field, as it is sent.
    using Fields = std::map<std::string, std::string, std::less<>>;
    using Table = std::map<std::string, Fields, std::less<>>;

    static constexpr std::size_t kEntryBytes = 64;  ///< What a field costs besides its bytes.

    static std::string target(std::string_view what, std::string_view name) {
        return std::string(what) + ":" + std::string(name);
    }

    void set(Fields& fields, std::string_view name, const std::string& json) {
        std::string& place = fields[std::string(name)];
        bytes_ -= place.empty() ? 0 : name.size() + place.size() + kEntryBytes;
        place = json;
        bytes_ += name.size() + place.size() + kEntryBytes;
    }

    void unset(Fields& fields, std::string_view name) {
        const auto place = fields.find(name);
        if (place != fields.end()) {
            bytes_ -= name.size() + place->second.size() + kEntryBytes;
            fields.erase(place);
        }
    }

    void merge(Table& table, std::string_view name, Value from, bool is_message) {
        if (!from.first().exists()) {
            return;
        }
        Fields& fields = table[std::string(name)];
        for (Value field = from.first(); field.exists(); field = field.next()) {
            const std::string_view key = field.key();
            if (!is_message || (key != "id" && key != "type" && key != "facts")) {
                set(fields, key, Data::copy(field).json());
            }
        }
    }

    /// As the server does it: first what goes, then what comes.
    void update(Value message) {
        std::string of = "game:";
        for (const std::string_view what : {"player", "npc"}) {
            if (message[what].is(Kind::string)) {
                of = target(what, message[what].text());
            }
        }
        for (Value name = message["unset"].first(); name.exists(); name = name.next()) {
            const auto fields = facts_.find(of);
            if (fields != facts_.end()) {
                unset(fields->second, name.text());
            }
        }
        merge(facts_, of, message["set"], false);
    }

    void drop(Table& table, const std::string& name) {
        const auto place = table.find(name);
        if (place != table.end()) {
            while (!place->second.empty()) {
                unset(place->second, std::string(place->second.begin()->first));
            }
            table.erase(place);
        }
    }

    static void whole(std::vector<Draft>& all, std::string_view type, const Table& table) {
        for (const auto& [name, fields] : table) {
            Draft draft(type);
            for (const auto& [key, json] : fields) {
                draft.writer.key(key).raw(json);
            }
            all.push_back(std::move(draft));
        }
    }

    static void split(std::vector<Draft>& all, std::string_view of, const Fields& fields,
                      std::size_t room) {
        const std::size_t colon = of.find(':');
        for (auto at = fields.begin(); at != fields.end();) {
            Draft draft("facts.update");
            if (of.substr(0, colon) != "game") {
                draft.writer.text(of.substr(0, colon), of.substr(colon + 1));
            }
            draft.writer.key("set").open('{');
            const std::size_t empty = draft.writer.str().size();
            while (at != fields.end()) {
                // A name may become six times as long when it is written in ASCII.
                const std::size_t cost = at->first.size() * 6 + at->second.size();
                const std::size_t used = draft.writer.str().size();
                if (used > empty && used + cost > room) {
                    break;
                }
                draft.writer.key(at->first).raw(at->second);
                ++at;
            }
            draft.writer.close('}');
            all.push_back(std::move(draft));
        }
    }

    Document document_;
    Table npcs_, players_, facts_, actions_;
    std::size_t bytes_ = 0;
};

}  // namespace palaver
