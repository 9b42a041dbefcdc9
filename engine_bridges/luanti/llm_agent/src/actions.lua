-- What NPCs can do in the world: the registry of actions, and how one is carried out.
--
-- A model proposes an action, the server checks it against what is declared here, and the game has
-- the last word: `run` accepts or refuses it in the same step, and only then does the NPC speak on.
local A = ...

local actions = {}
A.actions = actions

-- The server holds the text behind an action that long. Polling is slow: two steps and a linger.
local CONFIRM_MS = 1500
-- The way here and back, after Palaver has given a message out. Who would be answered later than that
-- has said already that it did not happen.
local WAY_MS = 400
local RANGE = 12
local MAX_SEEN = 512
local MAX_MESSAGE = 200

local path = A.path .. "/src/"
local arguments = assert(loadfile(path .. "actions/arguments.lua"))(A)
local offers = assert(loadfile(path .. "actions/offers.lua"))(A)
actions.heard, actions.too_many = offers.heard, offers.too_many

local registered, names = {}, {}
local seen, seen_ring, seen_at = {}, {}, 0
local warned = {}

-- Registry ---------------------------------------------------------------------------------------

local function schema_of(def, npc)
	if type(def.args) == "function" then
		return def.args(npc)
	end
	return def.args
end

local function problem_of(name, def)
	if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") or #name > 64 then
		return "its name must be of letters, digits and _"
	elseif type(def) ~= "table" or type(def.run) ~= "function" then
		return "its definition needs a function `run`"
	elseif type(def.description) ~= "string" or #def.description > 500 then
		return "it needs a `description` of at most 500 bytes, in words for the model"
	elseif def.args ~= nil and type(def.args) ~= "table" and type(def.args) ~= "function" then
		return "`args` must be a JSON Schema, or a function that returns one"
	end
end

-- Registers an action; see the README. Returns true, or false and why not (also in the log).
function actions.register(name, def)
	local problem = problem_of(name, def)
	if problem then
		A.log("error", ("the action %s is not registered: %s"):format(tostring(name), problem))
		return false, problem
	end
	if not registered[name] then
		table.insert(names, name)
	end
	local copy = {}
	for key, value in pairs(def) do
		copy[key] = value
	end
	copy.args = copy.args or { type = "object" }
	registered[name] = copy
	return true
end

local function usable(name, npc)
	local def = registered[name]
	if not def then
		return nil
	end
	if def.usable then
		local ok, yes = A.protect.call("action " .. name, def.usable, npc)
		return ok and yes and def or nil
	end
	return def
end

-- The names of the actions that this NPC may use: those its definition lists, else all that are
-- marked as safe and that make sense for it (nobody trades without goods).
function actions.of(npc)
	local listed = npc.def and npc.def.actions
	local found = {}
	for _, name in ipairs(listed or names) do
		local def = usable(name, npc)
		if def and (listed or def.safe) then
			table.insert(found, name)
		elseif listed and not registered[name] and not warned[name] then
			warned[name] = true
			A.log("warning", ("the NPC %s has an unknown action %q"):format(npc.id, tostring(name)))
		end
	end
	return found
end

-- A schema as the wire takes it: an empty list or object would be written as null.
local function sendable(schema)
	if next(schema.properties or {}) == nil then
		return nil
	end
	local copy = {}
	for key, value in pairs(schema) do
		copy[key] = (type(value) ~= "table" or next(value) ~= nil) and value or nil
	end
	return copy
end

-- What is declared of the actions of an NPC, as in the wire message.
function actions.specs(npc)
	local list = {}
	for _, name in ipairs(actions.of(npc)) do
		local def = registered[name]
		local ok, schema = A.protect.call("action " .. name, schema_of, def, npc)
		if ok then
			local confirm = def.confirm ~= false
			table.insert(list, {
				name = name,
				description = def.description,
				args = sendable(schema),
				confirm = confirm,
				confirm_ms = confirm and CONFIRM_MS or nil,
			})
		end
	end
	return list
end

-- The wire message that declares the actions of an NPC, by the NPC or its id.
function actions.message(npc)
	npc = type(npc) == "table" and npc or A.npcs.get(npc)
	return { type = "actions.set", npc = npc.id, actions = actions.specs(npc) }
end

-- Carrying out -----------------------------------------------------------------------------------

local function distance_to(npc, player)
	local object = A.npcs.object(npc.id)
	local from, to = object and object:get_pos(), player:get_pos()
	return from and to and vector.distance(from, to) or 0
end

local function player_problem(def, npc, player, player_name)
	if not player or not player:get_pos() then
		return player_name and "the player has left" or "there is no player to do that with"
	elseif player:get_hp() <= 0 then
		return "the player is dead"
	elseif distance_to(npc, player) > (def.range or RANGE) then
		return "the player is too far away"
	end
end

local function allowed(npc, name)
	for _, one in ipairs(actions.of(npc)) do
		if one == name then
			return registered[name]
		end
	end
end

-- Carries out one action for an NPC and returns whether it was accepted, and words for the model.
function actions.perform(npc, player_name, name, given, ctx)
	local def = npc and allowed(npc, name)
	if not def then
		return false, "you cannot do that"
	end
	local player = player_name and core.get_player_by_name(player_name) or nil
	if def.player ~= false then
		local problem = player_problem(def, npc, player, player_name)
		if problem then
			return false, problem
		end
	end
	local args, problem = arguments.read(schema_of(def, npc), given)
	if not args then
		return false, problem
	end
	ctx = ctx or {}
	ctx.npc, ctx.player_name = npc.id, player_name
	ctx.offered = function(item)
		local most = player and offers.amount(ctx, player, item) or 0
		return most > 0, most
	end
	return def.run(npc, player, args, ctx)
end

local function remember(key)
	seen_at = seen_at % MAX_SEEN + 1
	if seen_ring[seen_at] then
		seen[seen_ring[seen_at]] = nil
	end
	seen_ring[seen_at] = key
	seen[key] = true
end

local function too_late(name, message)
	local def = registered[name]
	local age_ms = tonumber(message.age_ms)
	return def and def.confirm ~= false and age_ms ~= nil and age_ms > CONFIRM_MS - WAY_MS
end

-- Handles a `turn.action`: runs it once, and answers it once, in this step.
function actions.on_action(turn, message)
	local call = message.call
	if type(call) ~= "string" then
		return
	end
	local key = turn.id .. "|" .. call
	if seen[key] then
		return
	end
	remember(key)
	local name = tostring(message.name)
	local fine, ok, words
	if too_late(name, message) then
		fine, ok, words = true, false, "it took too long"
	else
		fine, ok, words = A.protect.call("action " .. name, function()
			local ctx = { turn = turn.id, call = call, text = turn.text }
			return actions.perform(A.npcs.get(turn.npc), turn.player, name, message.args, ctx)
		end)
	end
	if not fine then
		ok, words = false, "that does not work now"
	end
	A.link.send({
		type = "action.result",
		turn = turn.id,
		call = call,
		ok = ok == true,
		message = words and A.text.line(tostring(words), MAX_MESSAGE) or nil,
	}, { now = true })
	A.log("info", ("%s: %s %s (%s)"):format(turn.npc, A.text.line(name, 64), ok and "done" or "refused",
		words or ""))
end

-- Whether an action moves this body now: its entity then leaves it alone.
function actions.step(entity)
	return A.movement.moving(entity.npc_id, entity.object)
end

-- Parts ------------------------------------------------------------------------------------------

A.items = assert(loadfile(path .. "actions/lookup.lua"))(A)
A.trade = assert(loadfile(path .. "trade.lua"))(A)
A.quests = assert(loadfile(path .. "quests.lua"))(A)
A.movement = assert(loadfile(path .. "actions/movement.lua"))(A)
for _, name in ipairs({ "items", "trade", "fight", "emote", "quests" }) do
	assert(loadfile(path .. "actions/" .. name .. ".lua"))(A)
end
if rawget(_G, "llm_agent") then
	llm_agent.register_action = actions.register
end

return actions
