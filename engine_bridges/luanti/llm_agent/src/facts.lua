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
local MAX_PARTS = 200 -- entries of one table that are looked at

-- Other modules add {name = ..., fn = function(npc, player) -> facts}; see the bottom of this file
-- and of src/senses.lua.
M.providers = {npc = {}, player = {}, game = {}}

-- What Palaver knows: told["npc:elder_willow"].health = {print = "100", value = 100}.
local told = {}
local warned = {}

local function warn_once(key, text)
	if not warned[key] then
		warned[key] = true
		A.log("warning", text)
	end
end

-- Turns anything into what JSON can carry, or nil.
local function plain(value, depth)
	local kind = type(value)
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
	local copy, parts = {}, 0
	if #value > 0 then
		for _, part in ipairs(value) do
			local ok = plain(part, depth + 1)
			if ok ~= nil then
				copy[#copy + 1] = ok
			end
			if #copy >= MAX_PARTS then
				break
			end
		end
	else
		for key, part in pairs(value) do
			local ok
			if type(key) == "string" and #key <= 128 then
				ok = plain(part, depth + 1)
			end
			if ok ~= nil then
				copy[A.text.clean(key, 128)] = ok
				parts = parts + 1
			end
			if parts >= MAX_PARTS then
				break
			end
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
	local ok = plain(value, 1)
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

-- The message that brings Palaver up to date, or nil where nothing changed.
local function changes(scope, facts, target)
	local known = told[scope] or {}
	local now, count = {}, 0
	for key, value in pairs(facts) do
		value = usable(scope, key, value)
		if value ~= nil and count < MAX_FACTS then
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
	for key in pairs(known) do
		if now[key] == nil then
			unset[#unset + 1] = key
		end
	end
	told[scope] = now
	if next(set) == nil and #unset == 0 then
		return nil
	end
	local message = {type = "facts.update", npc = target.npc, player = target.player}
	if next(set) ~= nil then
		message.set = set
	end
	if #unset > 0 then
		table.sort(unset)
		message.unset = unset
	end
	return message
end

--- The `facts.update` messages to send before a turn of `npc` with `player` (an ObjectRef or nil).
function M.messages(npc, player)
	local list = {}
	list[#list + 1] = changes("game", gather("game", npc, player, {}), {})
	list[#list + 1] = changes("npc:" .. npc.id, gather("npc", npc, player, {}), {npc = npc.id})
	if player then
		local name = player:get_player_name()
		list[#list + 1] = changes("player:" .. name, gather("player", npc, player, {}),
			{player = name})
	end
	return list
end

--- Everything told so far as messages, for a server that has forgotten it.
function M.replay()
	local list = {}
	for scope, facts in pairs(told) do
		if next(facts) ~= nil then
			local kind, id = scope:match("^(%a+):?(.*)$")
			local message = {type = "facts.update", set = {}}
			if kind ~= "game" then
				message[kind] = id
			end
			for key, fact in pairs(facts) do
				message.set[key] = fact.value
			end
			list[#list + 1] = message
		end
	end
	return list
end

--- Assume that Palaver knows nothing, of one scope (as "player:sam") or at all.
function M.forget(scope)
	if scope then
		told[scope] = nil
	else
		told = {}
	end
end

A.senses = assert(loadfile(A.path .. "/src/senses.lua"))(A, M)

return M
