-- Lines for the moments when Palaver cannot answer: nobody is left standing without a word.

local A = ...
local canned = {}

local S = A.S

-- NPCs whose last line is remembered; beyond that the memory starts again.
local REMEMBERED = 1000

--- The general lines by reason, with the mod's translations.
canned.lines = {
	-- Palaver does not answer.
	away = {
		S("Forgive me, my thoughts are far away today."),
		S("Hm? Ask me again in a while."),
		S("I cannot find the words just now."),
	},
	-- It answers too late.
	late = {
		S("Let me think about that for a while."),
		S("That is not easy to say. Ask me later."),
		S("Give me a moment, would you?"),
	},
	-- Too many want to be answered.
	busy = {
		S("Not now, I am busy."),
		S("One after the other, please."),
		S("Come back a little later."),
	},
	-- The player asks too fast.
	cooldown = {
		S("Slowly, slowly. One thing at a time."),
		S("You talk faster than I can listen."),
	},
}

local last, remembered = {}, 0

-- As the player's game shows it: text that grows letter by letter cannot hold the escapes by which
-- the client would translate it.
local function plain(line, player)
	local api = A.api
	if player and api.get_translated_string and api.get_player_information then
		local info = api.get_player_information(player)
		if info and type(info.lang_code) == "string" then
			line = api.get_translated_string(info.lang_code, line)
		end
	end
	return A.text.clean(line, 300)
end

local function own(npc)
	local known = A.npcs and A.npcs.get and A.npcs.get(npc)
	local lines = known and known.def and known.def.canned
	if type(lines) == "table" and type(lines[1]) == "string" then
		return lines
	end
end

--- A line for an NPC: one of its own (`canned` of its definition), else a general one; never the same
-- twice in a row where there are two.
-- @param why "away", "late", "busy", "cooldown", or "http" or "refused" (both as "away")
-- @param player the name of who reads it, or nil
function canned.line(npc, why, player)
	local ok, lines = A.protect.call("canned", own, npc)
	lines = ok and lines or canned.lines[why] or canned.lines.away
	local pick = math.random(#lines)
	if #lines > 1 and lines[pick] == last[npc] then
		pick = pick % #lines + 1
	end
	if last[npc] == nil then
		remembered = remembered + 1
		if remembered > REMEMBERED then
			last, remembered = {}, 1
		end
	end
	last[npc] = lines[pick]
	local done, text = A.protect.call("canned", plain, tostring(lines[pick]), player)
	return done and text ~= "" and text or "..."
end

return canned
