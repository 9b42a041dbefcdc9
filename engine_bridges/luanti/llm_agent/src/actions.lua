-- What NPCs can do in the world: the registry of actions, and how one is carried out.
--
-- A model proposes an action, the server checks it against what is declared here, and the game has
-- the last word: `run` accepts or refuses it in the same step, and only then does the NPC speak on.
local A = ...

local actions = {}
A.actions = actions

-- The server holds the text behind an action that long. Polling is slow: two steps and a linger.
local CONFIRM_MS = 1500
local RANGE = 12
local MAX_SEEN = 512
local MAX_MESSAGE = 200
local MAX_HEARD = 4
local HEARD_S = 300
local MAX_TALKERS = 256

local registered, names = {}, {}
local seen, seen_ring, seen_at = {}, {}, 0
local heard, heard_order = {}, {}
local warned = {}

-- Arguments --------------------------------------------------------------------------------------

local function is_whole(value)
	return value == math.floor(value) and math.abs(value) < 2 ^ 53
end

local function fits_type(kind, value)
	if kind == "integer" or kind == "number" then
		value = tonumber(value)
		local finite = value and value == value and math.abs(value) < math.huge
		return finite and (kind == "number" or is_whole(value)) or false, value
	end
	return type(value) == kind, value
end

local function argument(key, schema, value)
	local fits
	fits, value = fits_type(schema.type, value)
	if not fits then
		return nil, key .. " must be a " .. (schema.type == "integer" and "whole number" or tostring(schema.type))
	end
	if schema.type == "string" then
		value = A.text.line(value, schema.maxLength or 200)
		if value == "" then
			return nil, key .. " is empty"
		end
	elseif type(value) == "number" then
		if schema.minimum and value < schema.minimum then
			return nil, ("%s must be at least %d"):format(key, schema.minimum)
		elseif schema.maximum and value > schema.maximum then
			return nil, ("%s must be at most %d"):format(key, schema.maximum)
		end
	end
	if schema.enum then
		for _, one in ipairs(schema.enum) do
			if one == value then
				return value
			end
		end
		return nil, key .. " must be one of: " .. table.concat(schema.enum, ", ")
	end
	return value
end

-- The arguments as `run` gets them: known ones only, of the right kind, with defaults; or nil and
-- why not. The server has checked them already, but the game believes nobody.
function actions.arguments(schema, given)
	local args = {}
	if type(given) ~= "table" then
		given = {}
	end
	for key, one in pairs(schema.properties or {}) do
		local value = given[key]
		if value == nil then
			value = one.default
		end
		if value ~= nil then
			local problem
			args[key], problem = argument(key, one, value)
			if problem then
				return nil, problem
			end
		end
	end
	for _, key in ipairs(schema.required or {}) do
		if args[key] == nil then
			return nil, key .. " is missing"
		end
	end
	return args
end

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
	copy.args = copy.args or { type = "object", properties = {} }
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
				args = schema,
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

-- What players said ------------------------------------------------------------------------------

-- Remembers what a player said to an NPC: their own words are what allows it to take something.
function actions.heard(npc_id, player_name, text)
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
local function offered(ctx, player, item)
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

-- Carrying out -----------------------------------------------------------------------------------

local function distance_to(npc, player)
	local object = A.npcs.object(npc.id)
	local from, to = object and object:get_pos(), player:get_pos()
	return from and to and vector.distance(from, to) or 0
end

local function player_problem(def, npc, player)
	if not player or not player:get_pos() then
		return "the player has left"
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
		local problem = player_problem(def, npc, player)
		if problem then
			return false, problem
		end
	end
	local args, problem = actions.arguments(schema_of(def, npc), given)
	if not args then
		return false, problem
	end
	ctx = ctx or {}
	ctx.npc, ctx.player_name = npc.id, player_name
	ctx.offered = function(item)
		return player ~= nil and offered(ctx, player, item)
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
	local fine, ok, words = A.protect.call("action " .. name, function()
		local ctx = { turn = turn.id, call = call, text = turn.text }
		return actions.perform(A.npcs.get(turn.npc), turn.player, name, message.args, ctx)
	end)
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
	A.log("info", ("%s: %s %s (%s)"):format(turn.npc, name, ok and "done" or "refused", words or ""))
end

-- Whether an action moves this body now: its entity then leaves it alone.
function actions.step(entity)
	return A.movement.moving(entity.npc_id)
end

-- Parts ------------------------------------------------------------------------------------------

local path = A.path .. "/src/"
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
