-- What players said to NPCs lately: their own words are what allows an NPC to take something.
local A = ...

local M = {}

local MAX_HEARD = 4
local HEARD_S = 300
local MAX_TALKERS = 256
-- What a word about an item allows, where it names no number: a model that misunderstands "I like
-- apples" must not carry them all away.
local SOME = 5

local NUMBERS = { all = math.huge, every = math.huge, everything = math.huge, alle = math.huge, alles = math.huge }
for i, word in ipairs({ "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
	"twelve" }) do
	NUMBERS[word] = i
end

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

-- How many of an item a text speaks of: the largest number in it.
local function amount(text, item)
	if not A.items.mentions(text, item) then
		return 0
	end
	local most
	for word in text:lower():gmatch("%w+") do
		local number = tonumber(word:match("^%d+$")) or NUMBERS[word]
		most = number and math.max(most or 0, number) or most
	end
	return most or SOME
end

-- How many of an item the player has offered: what they said of it lately, or hold in the hand.
function M.amount(ctx, player, item)
	local held = player:get_wielded_item()
	local most = A.items.resolve(held:get_name()) == item and held:get_count() or 0
	most = math.max(most, amount(ctx.text, item))
	for _, one in ipairs(heard[ctx.npc .. "|" .. ctx.player_name] or {}) do
		if A.now() - one.at < HEARD_S then
			most = math.max(most, amount(one.text, item))
		end
	end
	return most
end

-- Words for the model where it wants more than was offered, or nil.
function M.too_many(most, count, item)
	if count > most then
		return ("the player spoke of only %s; ask how many"):format(A.items.counted(most, item))
	end
end

return M
