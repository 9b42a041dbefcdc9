// Lines that the game says by itself when the server is away or late, so that no NPC stays silent.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "backoff.h"
#include "bounds.h"

namespace palaver {

class Canned {
public:
    explicit Canned(std::uint64_t seed) : random_(seed) {}

    /// Adds a line for one NPC, or (with an empty name) for all that have none of their own.
    bool add(std::string_view npc, std::string_view line) {
        if (lines_ >= kMaxLines || line.empty() || line.size() > kMaxTextBytes) {
            return false;
        }
        ++lines_;
        sets_[std::string(npc)].lines.emplace_back(line);
        return true;
    }

    /// Returns a line of an NPC, never the same twice in a row; nothing where there is none.
    std::string_view pick(std::string_view npc) {
        auto set = sets_.find(npc);
        if (set == sets_.end()) {
            set = sets_.find(std::string_view());
        }
        if (set == sets_.end()) {
            return {};
        }
        const std::vector<std::string>& lines = set->second.lines;
        std::size_t& last = set->second.last;
        const bool again = lines.size() > 1 && last < lines.size();
        // One of the others: those before the last keep their place, those behind it move up.
        std::size_t pick = random_.below(lines.size() - (again ? 1 : 0));
        pick += again && pick >= last ? 1 : 0;
        last = pick;
        return lines[pick];
    }

private:
    struct Set {
        std::vector<std::string> lines;
        std::size_t last = static_cast<std::size_t>(-1);
    };

    std::map<std::string, Set, std::less<>> sets_;
    std::size_t lines_ = 0;
    Random random_;
};

}  // namespace palaver
