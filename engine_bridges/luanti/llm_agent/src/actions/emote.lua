-- emote: a gesture that everybody near sees: a line in the chat, a turn of the body, an animation.
local A = ...

local NAMES = { "wave", "nod", "shake_head", "bow", "shrug", "laugh", "cry", "dance" }
local MAX_WATCHERS = 16
local HOP = 4
local HOPS = { dance = true, laugh = true }

local function seen(npc, what)
	local name = npc.name or npc.id
	local lines = {
		wave = A.S("* @1 waves.", name),
		nod = A.S("* @1 nods.", name),
		shake_head = A.S("* @1 shakes their head.", name),
		bow = A.S("* @1 bows.", name),
		shrug = A.S("* @1 shrugs.", name),
		laugh = A.S("* @1 laughs.", name),
		cry = A.S("* @1 cries.", name),
		dance = A.S("* @1 dances.", name),
	}
	return lines[what]
end

-- Where a definition names an animation for the gesture, it is shown: emotes = {wave = {x=, y=, speed=}}.
local function animate(npc, object, what)
	local frames = (npc.def.emotes or {})[what]
	if type(frames) == "table" and tonumber(frames.x) and tonumber(frames.y) then
		local speed = tonumber(frames.speed) or 30
		object:set_animation({ x = frames.x, y = frames.y }, speed, 0, false)
	end
end

local function hop(npc, object)
	local velocity = object:get_velocity()
	if velocity and math.abs(velocity.y) < 0.1 and not A.movement.problem(npc) then
		object:set_velocity({ x = velocity.x, y = HOP, z = velocity.z })
	end
end

function A.npcs.fields.emotes(value)
	return type(value) == "table", "a table like {wave = {x = 200, y = 220, speed = 30}}"
end

A.actions.register("emote", {
	description = "make a gesture",
	safe = true,
	player = false,
	args = {
		type = "object",
		properties = { gesture = { type = "string", enum = NAMES } },
		required = { "gesture" },
	},
	run = function(npc, player, args)
		local object = A.npcs.object(npc.id)
		local pos = object and object:get_pos()
		if not pos then
			return false, "you have no body here"
		end
		if player and player:get_pos() and not A.movement.moving(npc.id) and not A.movement.problem(npc) then
			object:set_yaw(core.dir_to_yaw(vector.direction(pos, player:get_pos())))
		end
		animate(npc, object, args.gesture)
		if HOPS[args.gesture] then
			hop(npc, object)
		end
		for i, one in ipairs(A.npcs.players_near(pos, A.settings.hear_radius)) do
			if i > MAX_WATCHERS then
				break
			end
			core.chat_send_player(one:get_player_name(), seen(npc, args.gesture))
		end
		return true, "they saw it"
	end,
})
