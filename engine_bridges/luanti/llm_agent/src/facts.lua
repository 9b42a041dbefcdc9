-- What Palaver is told about the world with a turn: only what changed since it was last told.
--
-- A fact is a name and a plain value (string, number, boolean, list or map). Every fact is at most
-- 4,000 bytes of JSON, so that the inventory of a hoarder never fills a message.
local A = ...

local M = {}

local MAX_BYTES = 4000
local MAX_FACTS = 60 -- of one NPC or player; Palaver refuses more than its `limits.facts`
local MAX_TEXT = 1000
local MAX_DEPTH = 5
local MAX_PARTS = 1000 -- of one fact that are looked at: somebody may give us half of the game
local MESSAGE_BYTES = 40000 -- a message with more is refused as a whole

-- Other modules add {name = ..., fn = function(npc, player) -> facts}; see the bottom of this file
-- and of src/senses.lua.
M.providers = {npc = {}, player = {}, game = {}}

-- What Palaver knows: told["npc:elder_willow"].health = {print = "100", value = 100}.
local told = {}

-- Names of facts may be made up in a running game, and so be without end.
local MAX_WARNINGS = 100
local warned, warnings = {}, 0

local function warn_once(key, text)
	if not warned[key] and warnings < MAX_WARNINGS then
		warned[key] = true
		warnings = warnings + 1
		A.log("warning", text)
	end
end

-- Turns anything into what JSON can carry, or nil. `budget.left` is how many parts may still be looked at.
local function plain(value, depth, budget)
	local kind = type(value)
	budget.left = budget.left - 1
	if kind == "string" then
		return A.text.clean(value, MAX_TEXT)
	elseif kind == "boolean" then
		return value
	elseif kind == "number" then
		-- Infinity and NaN have no JSON; whole numbers over 2^53 would lose digits.
		if value ~= value or value > 2 ^ 53 or value < -2 ^ 53 then
			return nil
		end
		return value
	elseif kind ~= "table" or depth > MAX_DEPTH then
		return nil
	end
	local copy, is_list = {}, #value > 0
	for key, part in (is_list and ipairs or pairs)(value) do
		if budget.left <= 0 then
			break
		end
		local ok
		if is_list or type(key) == "string" and #key <= 128 then
			ok = plain(part, depth + 1, budget)
		end
		if ok ~= nil then
			copy[is_list and #copy + 1 or A.text.clean(key, 128)] = ok
		end
	end
	return copy
end

-- The same text for the same value, whatever order `pairs` has today.
local function print_of(value)
	if type(value) ~= "table" then
		return type(value) == "string" and ("%q"):format(value) or tostring(value)
	end
	local parts = {}
	if #value > 0 then
		for i, part in ipairs(value) do
			parts[i] = print_of(part)
		end
		return "[" .. table.concat(parts, ",") .. "]"
	end
	for key, part in pairs(value) do
		parts[#parts + 1] = ("%q"):format(key) .. ":" .. print_of(part)
	end
	table.sort(parts)
	return "{" .. table.concat(parts, ",") .. "}"
end

-- Makes a value fit, or returns nil: lists lose their end, texts are cut.
local function fit(value)
	local function size(part)
		return #(A.json.encode(part) or "")
	end
	if type(value) == "string" then
		while size(value) > MAX_BYTES do
			value = A.text.cut(value, math.floor(A.text.len(value) * 0.75))
		end
		return value
	end
	if type(value) ~= "table" or size(value) <= MAX_BYTES then
		return value
	end
	local copy, left = {}, MAX_BYTES - 2
	for _, part in ipairs(value) do
		left = left - size(part) - 1
		if left < 0 then
			break
		end
		copy[#copy + 1] = part
	end
	if #copy > 0 then
		return copy
	end
	return nil
end

local function usable(scope, key, value)
	if type(key) ~= "string" or #key > 64 or not key:match("^[%a_][%w_]*$") then
		warn_once("key" .. tostring(key), ("the fact %q of %s is left out: a name is made of "
			.. "letters, digits and _"):format(tostring(key), scope))
		return nil
	end
	local ok = plain(value, 1, {left = MAX_PARTS})
	if type(ok) == "table" and next(ok) == nil then
		-- The engine writes {} as null; a fact that is not there says the same and is no surprise.
		return nil
	end
	local small
	if ok ~= nil then
		small = fit(ok)
	end
	if small == nil and type(value) ~= "table" then
		warn_once("value" .. key, ("the fact %q of %s is left out: it is a %s"):format(key, scope,
			type(value)))
	elseif small == nil and ok ~= nil then
		warn_once("value" .. key, ("the fact %q of %s is left out: it is larger than %d bytes")
			:format(key, scope, MAX_BYTES))
	end
	return small
end

-- All facts of one scope, from everybody who knows some.
local function gather(kind, npc, player, into)
	for _, provider in ipairs(M.providers[kind]) do
		local ok, facts = A.protect.call("facts." .. provider.name, provider.fn, npc, player)
		if ok and type(facts) == "table" then
			for key, value in pairs(facts) do
				into[key] = value
			end
		end
	end
	return into
end

local function sorted_keys(map)
	local keys = {}
	for key in pairs(map) do
		keys[#keys + 1] = key
	end
	table.sort(keys, function(a, b)
		return tostring(a) < tostring(b)
	end)
	return keys
end

-- Adds the messages that set and unset facts of a scope to a list: none where there are none, several where
-- one would be too large.
local function append_updates(list, scope, set, unset)
	local kind, id = scope:match("^(%a+):?(.*)$")
	local message, bytes
	local function begin()
		message, bytes = {type = "facts.update"}, 0
		if kind ~= "game" then
			message[kind] = id
		end
		list[#list + 1] = message
	end
	if unset and #unset > 0 then
		begin()
		message.unset = unset
	end
	for _, key in ipairs(sorted_keys(set)) do
		local size = #key + #(A.json.encode(set[key]) or "")
		if not message or bytes + size > MESSAGE_BYTES then
			begin()
		end
		message.set = message.set or {}
		message.set[key], bytes = set[key], bytes + size
	end
end

-- Adds the messages that bring Palaver up to date about a scope.
local function append_changes(list, scope, facts)
	local known = told[scope] or {}
	local now, count = {}, 0
	-- In order, so that of too many facts it is always the same ones that are told.
	for _, key in ipairs(sorted_keys(facts)) do
		local value = count < MAX_FACTS and usable(scope, key, facts[key])
		if count < MAX_FACTS and value ~= nil then
			now[key] = {print = print_of(value), value = value}
			count = count + 1
		end
	end
	local set, unset = {}, {}
	for key, fact in pairs(now) do
		if not known[key] or known[key].print ~= fact.print then
			set[key] = fact.value
		end
	end
	for _, key in ipairs(sorted_keys(known)) do
		if now[key] == nil then
			unset[#unset + 1] = key
		end
	end
	told[scope] = now
	append_updates(list, scope, set, unset)
end

--- The `facts.update` messages to send before a turn of `npc` with `player` (an ObjectRef or nil).
function M.messages(npc, player)
	local list = {}
	append_changes(list, "game", gather("game", npc, player, {}))
	append_changes(list, "npc:" .. npc.id, gather("npc", npc, player, {}))
	if player then
		append_changes(list, "player:" .. player:get_player_name(), gather("player", npc, player, {}))
	end
	return list
end

--- Everything told so far as messages, for a server that has forgotten it.
function M.replay()
	local list = {}
	for scope, facts in pairs(told) do
		local set = {}
		for key, fact in pairs(facts) do
			set[key] = fact.value
		end
		append_updates(list, scope, set)
	end
	return list
end

--- The messages that take back what was told of a scope (as "player:sam"), which is over. Else what a player
-- carried at the last talk would still be true when they come back without it.
function M.take_back(scope)
	local list = {}
	append_updates(list, scope, {}, sorted_keys(told[scope] or {}))
	told[scope] = nil
	return list
end

A.senses = assert(loadfile(A.path .. "/src/senses.lua"))(A, M)

return M
