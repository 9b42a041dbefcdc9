-- What players said to NPCs lately: their own words are what allows an NPC to take something.
local A = ...

local M = {}

local MAX_HEARD = 4
local HEARD_S = 300
local MAX_TALKERS = 256

local heard, heard_order = {}, {}

-- Remembers what a player said to an NPC.
function M.heard(npc_id, player_name, text)
	if type(text) ~= "string" or text == "" then
		return
	end
	local key = npc_id .. "|" .. player_name
	local said = heard[key]
	if not said then
		said = {}
		heard[key] = said
		table.insert(heard_order, key)
		if #heard_order > MAX_TALKERS then
			heard[table.remove(heard_order, 1)] = nil
		end
	end
	table.insert(said, { text = text, at = A.now() })
	if #said > MAX_HEARD then
		table.remove(said, 1)
	end
end

-- Whether the player offered that item: named it lately, or holds it in the hand.
function M.offered(ctx, player, item)
	if A.items.resolve(player:get_wielded_item():get_name()) == item then
		return true
	end
	if A.items.mentions(ctx.text, item) then
		return true
	end
	for _, one in ipairs(heard[ctx.npc .. "|" .. ctx.player_name] or {}) do
		if A.now() - one.at < HEARD_S and A.items.mentions(one.text, item) then
			return true
		end
	end
	return false
end

return M
