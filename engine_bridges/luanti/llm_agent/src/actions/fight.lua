-- attack: off unless the server's owner allows it, and never more than a few blows.
local A = ...

local MAX_BLOWS = 4
local BLOW_S = 1
local FIGHT_S = 15
local REACH, SIGHT, LEASH = 2.5, 8, 16
local MAX_LOOKED_AT = 32
local MAX_DAMAGE = 4

local fights = {}

-- Why nobody may be attacked there, in words for the model, or nil.
local function forbidden(pos)
	if not A.settings.allow_attack then
		return "fighting is not allowed here"
	elseif core.is_protected(pos, "") then
		return "this place is protected"
	end
end

local function player_problem(player)
	local name = player:get_player_name()
	if not core.settings:get_bool("enable_damage", true) or not core.settings:get_bool("enable_pvp", true) then
		return "fighting players is not allowed here"
	elseif (core.is_creative_enabled and core.is_creative_enabled(name)) or core.check_player_privs(name, "creative") then
		return "the player cannot be hurt"
	elseif player:get_hp() <= 0 then
		return "the player is dead"
	end
end

-- Whether a creature belongs to somebody: a player must not talk an NPC into killing another's dog.
local function owned(entity)
	return entity.tamed or entity.owner ~= nil and entity.owner ~= ""
end

-- A creature near the NPC whose name holds that word; never another NPC, a pet, or a thing of the engine.
local function creature(pos, wanted)
	for i, object in ipairs(core.get_objects_inside_radius(pos, SIGHT)) do
		if i > MAX_LOOKED_AT then
			return nil
		end
		local entity = object:get_luaentity()
		local name = entity and (entity.name or ""):lower()
		local alive = name and name:sub(1, 2) ~= "__" and object:get_hp() > 0 and not owned(entity)
		if alive and not name:match("^llm_agent:") and not A.npcs.of_object(object) then
			if name:gsub("^[^:]*:", ""):gsub("_", " "):find(wanted, 1, true) then
				return object
			end
		end
	end
end

local function target_of(player, pos, text)
	local wanted = text:lower():gsub("^%s*the%s+", ""):gsub("_", " "):gsub("%s+$", "")
	if wanted == "player" or (player and wanted == player:get_player_name():lower()) then
		if not player then
			return nil, "the player has left"
		end
		return player, player_problem(player)
	end
	local found = wanted ~= "" and creature(pos, wanted)
	if not found then
		return nil, ('there is no "%s" near you'):format(text)
	end
	return found
end

local function still_fair(fight, object, target)
	local here, there = object:get_pos(), target:get_pos()
	if not here or not there or vector.distance(here, fight.home) > LEASH or forbidden(there) then
		return nil
	elseif target:is_player() and player_problem(target) or target:get_hp() <= 0 then
		return nil
	end
	return vector.distance(here, there)
end

-- The walk that belongs to it ends too; where it has ended by itself, another one may have begun.
local function finish(npc_id, fight)
	fights[npc_id] = nil
	if fight.ends > 0 then
		A.movement.stop(npc_id, "stopped")
	end
end

local function blow(npc_id, fight)
	local object = fight.object
	local far = A.now() < fight.ends and still_fair(fight, object, fight.target)
	if not far or fight.blows >= MAX_BLOWS then
		return finish(npc_id, fight)
	end
	if far > REACH or A.now() < fight.next then
		return
	end
	fight.blows, fight.next = fight.blows + 1, A.now() + BLOW_S
	local dir = vector.direction(object:get_pos(), fight.target:get_pos())
	fight.target:punch(object, BLOW_S, {
		full_punch_interval = BLOW_S,
		damage_groups = { fleshy = fight.damage },
	}, dir)
end

table.insert(A.steps, {
	name = "fight",
	fn = function()
		for npc_id, fight in pairs(fights) do
			if not A.protect.call("fight", blow, npc_id, fight) then
				finish(npc_id, fight)
			end
		end
	end,
})

function A.npcs.fields.damage(value)
	return type(value) == "number", ("a number from 1 to %d"):format(MAX_DAMAGE)
end

A.actions.register("attack", {
	description = "attack the player or a creature near you; a last resort",
	usable = function()
		return A.settings.allow_attack == true
	end,
	player = false,
	args = {
		type = "object",
		properties = {
			target = { type = "string", description = "player, or a creature near you", maxLength = 60,
				examples = { "player" } },
		},
		required = { "target" },
	},
	run = function(npc, player, args)
		local problem = A.movement.problem(npc)
		if problem then
			return false, problem
		end
		local object = A.npcs.object(npc.id)
		local pos = object:get_pos()
		local target, why = target_of(player, pos, args.target)
		why = why or forbidden(pos) or forbidden(target:get_pos())
		if why then
			return false, why
		elseif vector.distance(pos, target:get_pos()) > SIGHT then
			return false, "that is too far away"
		end
		local fight = {
			object = object,
			target = target,
			home = pos,
			blows = 0,
			next = A.now(),
			ends = A.now() + FIGHT_S,
			damage = math.max(1, math.min(MAX_DAMAGE, tonumber(npc.def.damage) or 2)),
		}
		local ok
		ok, why = A.movement.start(npc, {
			goal = function()
				return fight.ends > 0 and target:get_pos() or nil
			end,
			near = REACH - 0.5,
			seconds = FIGHT_S,
			stay = true,
			on_end = function()
				fight.ends = 0
			end,
		})
		if not ok then
			return false, why
		end
		fights[npc.id] = fight
		return true, "you attack"
	end,
})
