-- The actions follow and go_to, and what a place is called.
local A, movement = ...

local LOOK = 24
local MAX_LOOKED_AT = 16
local GO_S = 60

local function body_free(npc)
	return npc.def.walks ~= false
end

local function sorted_places(npc)
	local list = {}
	for name in pairs(npc.def.places or {}) do
		table.insert(list, tostring(name))
	end
	table.sort(list)
	return list
end

-- Anything can be a place in a definition; only what is one is walked to.
local function position(value)
	if type(value) ~= "table" or not (tonumber(value.x) and tonumber(value.y) and tonumber(value.z)) then
		return nil
	end
	return { x = tonumber(value.x), y = tonumber(value.y), z = tonumber(value.z) }
end

local function words(text)
	return (text:lower():gsub("^%s*the%s+", ""):gsub("^%s*my%s+", ""):gsub("_", " "):gsub("%s+$", ""))
end

local function place_of(npc, wanted)
	for _, name in ipairs(sorted_places(npc)) do
		local known = words(name)
		if known == wanted or known:find(wanted, 1, true) or wanted:find(known, 1, true) then
			return position(npc.def.places[name])
		end
	end
end

-- Another NPC by its name: as far as one can see, and wherever it goes.
local function neighbour(npc, wanted)
	local pos = A.npcs.object(npc.id):get_pos()
	for i, one in ipairs(A.npcs.near(pos, LOOK)) do
		if i > MAX_LOOKED_AT then
			return nil
		end
		local other = one.npc or one
		local name = words(tostring(other.name or other.id))
		if other.id ~= npc.id and (name:find(wanted, 1, true) or words(other.id) == wanted) then
			return function()
				local object = A.npcs.object(other.id)
				return object and object:get_pos()
			end
		end
	end
end

local function follow_player(name)
	return function()
		local player = core.get_player_by_name(name)
		return player and player:get_pos()
	end
end

local function goal_of(npc, player, text)
	local wanted = words(text)
	if wanted == "" then
		return nil
	end
	if player and (wanted == "player" or wanted == words(player:get_player_name())) then
		return follow_player(player:get_player_name())
	end
	local pos = place_of(npc, wanted)
	if not pos and (wanted == "home" or wanted == "back") then
		local object = A.npcs.object(npc.id)
		pos = object and movement.home(object)
	end
	local x, y, z = text:match("^%s*(%-?%d+),%s*(%-?%d+),%s*(%-?%d+)%s*$")
	if x then
		pos = { x = tonumber(x), y = tonumber(y), z = tonumber(z) }
	end
	if pos then
		return function()
			return pos
		end
	end
	return neighbour(npc, wanted)
end

local function a_flag(value)
	return type(value) == "boolean", "true or false"
end

A.npcs.fields.walks = a_flag
A.npcs.fields.movable = a_flag

function A.npcs.fields.places(value)
	return type(value) == "table", "a table like {well = {x = 1, y = 2, z = 3}}"
end

function A.npcs.fields.follow_s(value)
	return type(value) == "number", "a number of seconds from 5 to 600"
end

A.actions.register("follow", {
	description = "walk along with the player, or stop doing so",
	safe = true,
	usable = body_free,
	args = {
		type = "object",
		properties = { on = { type = "boolean", default = true, description = "false to stop" } },
	},
	run = function(npc, player, args)
		if not args.on then
			movement.stop(npc.id, "stopped")
			return true, "you stay here"
		end
		local seconds = math.max(5, math.min(600, tonumber(npc.def.follow_s) or 120))
		local ok, why = movement.start(npc, {
			goal = follow_player(player:get_player_name()),
			near = 2.5,
			seconds = seconds,
			stay = true,
		})
		return ok, why or "you follow"
	end,
})

A.actions.register("go_to", {
	description = "walk to a place or to somebody near you",
	safe = true,
	player = false,
	usable = body_free,
	args = function(npc)
		local places = sorted_places(npc)
		local known = #places > 0 and ", " .. table.concat(places, ", ", 1, math.min(8, #places)) or ""
		return {
			type = "object",
			properties = {
				place = {
					type = "string",
					description = "home, player" .. known .. ", or a name",
					maxLength = 60,
					examples = { places[1] or "home" },
				},
			},
			required = { "place" },
		}
	end,
	run = function(npc, player, args)
		local problem = movement.problem(npc)
		if problem then
			return false, problem
		end
		local goal = goal_of(npc, player, args.place)
		if not goal then
			return false, ('you know no place "%s" here'):format(args.place)
		end
		local ok, why = movement.start(npc, { goal = goal, near = 1.5, seconds = GO_S })
		return ok, why or "you are on your way"
	end,
})
