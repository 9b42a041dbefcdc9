-- The body of an NPC: the entity `llm_agent:npc`, and the spawn eggs that set it into the world.
--
-- What is kept in the map is the NPC's id, a text, and behind it the home of one that has walked away. If a
-- world has an NPC that no mod registers any more, its body stays where it is, silent, and wakes up when
-- somebody registers it again.
local A = ...

local M = {}

local NAME = "llm_agent:npc"
local GRAVITY = {x = 0, y = -9.81, z = 0}
local NOWHERE = {x = 0, y = 0, z = 0}
local TICK_S = 0.5
local FALL = -20 -- nodes a second: there is no ground, as in a world that is not made yet
local NOTICE = 5 -- nodes; it looks at who comes that near
local ANIMATIONS = {
	stand = {x = 0, y = 79, speed = 30},
	walk = {x = 168, y = 187, speed = 30},
	mine = {x = 189, y = 198, speed = 30},
}
local BOX = {-0.3, 0, -0.3, 0.3, 1.75, 0.3}

-- The game's own figure walks and waves; ours, for games without it, stands.
local ANIMATED = core.get_modpath("player_api") ~= nil

local function look_of(npc)
	local def = npc and npc.def or {}
	local texture = def.texture or "llm_agent_npc.png"
	return {
		visual = def.visual or "mesh",
		mesh = (not def.visual or def.visual == "mesh")
			and (def.mesh or (ANIMATED and "character.b3d" or "llm_agent_npc.obj")) or nil,
		textures = def.textures or {texture},
		visual_size = def.visual_size or {x = 1, y = 1, z = 1},
		collisionbox = def.collisionbox or BOX,
		selectionbox = def.collisionbox or BOX,
		nametag = npc and npc.name or "",
		nametag_color = npc and npc.colour or "#ffffff",
		nametag_bgcolor = false,
		infotext = npc and "" or A.S("An NPC that is no longer known here"),
	}
end

--- Turn an object towards a place.
function M.face(object, pos)
	local from = object:get_pos()
	if from and pos and (math.abs(pos.x - from.x) > 0.1 or math.abs(pos.z - from.z) > 0.1) then
		object:set_yaw(core.dir_to_yaw(vector.direction(from, pos)))
	end
end

local Body = {
	initial_properties = {
		physical = true,
		collide_with_objects = false,
		stepheight = 1.1,
		hp_max = 20,
		makes_footstep_sound = true,
		static_save = true,
		visual = "mesh",
		mesh = "llm_agent_npc.obj",
		textures = {"llm_agent_npc.png"},
		collisionbox = BOX,
		selectionbox = BOX,
	},
	npc_id = "",
	clock = 0,
}

--- Dress the body as its NPC looks now.
function Body:dress()
	local npc = A.npcs.get(self.npc_id)
	self.object:set_properties(look_of(npc))
	self.animation = nil
	self:animate("stand")
	if npc then
		A.npcs.add_body(npc, self.object)
	end
end

--- Show "stand", "walk" or "mine".
function Body:animate(name)
	local range = ANIMATIONS[name]
	if range and self.animation ~= name then
		self.animation = name
		self.object:set_animation(range, range.speed, 0, true)
	end
end

function Body:get_staticdata()
	return self.npc_id .. (self.home and " " .. core.pos_to_string(self.home) or "")
end

local warned = {} -- ids: a block of the map is loaded again and again

local function warn_of_unknown(id, pos)
	if not warned[id] then
		warned[id] = true
		A.log("warning", ("the NPC %q at %s is in the map, but no mod registers it; it stays silent. "
			.. "Remove it with /llm_agent remove %s"):format(id, core.pos_to_string(vector.round(pos)), id))
	end
end

function Body:on_activate(staticdata)
	local kept = type(staticdata) == "string" and staticdata or ""
	local id, home = kept:match("^(%S+) (%(.*%))$")
	if A.npcs.define.is_id(id or kept) then
		self.npc_id, self.home = id or kept, home and core.string_to_pos(home)
	end
	-- Those of one block are loaded together, but need not look around in the same step.
	self.clock = math.random() * TICK_S
	self.object:set_armor_groups({immortal = 1})
	self.object:set_acceleration(GRAVITY)
	self:dress()
	if not A.npcs.get(self.npc_id) then
		warn_of_unknown(self.npc_id, self.object:get_pos())
	end
end

function Body:on_deactivate()
	A.npcs.drop_body(self.object)
end

function Body:on_rightclick(clicker)
	if clicker and clicker:is_player() then
		A.dialogue.open(clicker, self.npc_id, self.object)
	end
end

-- Nobody kills it by accident. An admin takes it back with its egg in the hand.
function Body:on_punch(puncher)
	if puncher and puncher:is_player() then
		local name = puncher:get_player_name()
		local held = puncher:get_wielded_item():get_name()
		if held == M.egg_name(self.npc_id)
				and core.check_player_privs(name, {llm_agent_admin = true}) then
			M.remove(self.object)
		end
	end
	return true
end

local function on_ground(pos)
	local node = core.get_node_or_nil({x = pos.x, y = pos.y - 0.5, z = pos.z})
	local def = node and core.registered_nodes[node.name]
	return def ~= nil and def.walkable ~= false
end

-- Falling for ever helps nobody: where there is no ground it hangs in the air where it was set, until there is.
function Body:hold()
	local velocity, pos = self.object:get_velocity(), self.object:get_pos()
	if self.hangs and on_ground(pos) then
		self.hangs = nil
		self.object:set_acceleration(GRAVITY)
	end
	if velocity.y > -0.1 then
		self.ground = pos
	elseif velocity.y < FALL then
		self.object:set_velocity(NOWHERE)
		self.object:set_acceleration(NOWHERE)
		self.hangs = true
		self.object:set_pos(self.ground or pos)
	end
end

function Body:on_step(dtime)
	self.clock = self.clock + dtime
	if self.clock < TICK_S then
		return
	end
	self.clock = 0
	self:hold()
	if A.movement and A.movement.moving(self.npc_id, self.object) then
		return -- who walks looks where they go
	end
	local npc, pos = A.npcs.get(self.npc_id), self.object:get_pos()
	if npc and pos then
		local near = A.npcs.players_near(pos, NOTICE)[1]
		if near then
			M.face(self.object, near:get_pos())
		end
	end
end

local protected = {}
for key, value in pairs(Body) do
	protected[key] = value
end
for _, key in ipairs({"on_activate", "on_deactivate", "on_rightclick", "on_step"}) do
	protected[key] = A.protect.wrap("entity." .. key, Body[key])
end
-- True: the engine takes no health away.
protected.on_punch = A.protect.wrap("entity.on_punch", Body.on_punch, true)
protected.get_staticdata = A.protect.wrap("entity.get_staticdata", Body.get_staticdata, "")
core.register_entity(NAME, protected)

--- Set an NPC into the world. Returns its ObjectRef, or nil.
function M.spawn(id, pos, look_at)
	local object = core.add_entity(pos, NAME, id)
	if object and look_at then
		M.face(object, look_at)
	end
	return object
end

--- Take a body out of the world; of another mod's mob only the voice is taken.
function M.remove(object)
	local entity = object:get_luaentity()
	A.npcs.detach(object)
	if entity and entity.name == NAME then
		object:remove()
		return true
	end
	return false
end

--- The bodies with this id around a place, known or not.
function M.find(id, pos, radius)
	local list = {}
	for _, object in ipairs(core.get_objects_inside_radius(pos, radius)) do
		local entity = object:get_luaentity()
		if entity and entity.name == NAME and entity.npc_id == id then
			list[#list + 1] = object
		end
	end
	return list
end

-- Spawn eggs -----------------------------------------------------------------------------------------

--- The item that sets an NPC into the world.
function M.egg_name(id)
	return "llm_agent:egg_" .. id:gsub("[^%w_]", "_")
end

local function place(id, stack, placer, pointed)
	if pointed.type ~= "node" or not placer then
		return nil
	end
	local under = core.get_node(pointed.under)
	local def = core.registered_nodes[under.name]
	-- A chest or a door is opened, not covered with villagers, unless one sneaks.
	if def and def.on_rightclick and placer:is_player() and not placer:get_player_control().sneak then
		return def.on_rightclick(pointed.under, under, placer, stack, pointed) or stack
	end
	local name = placer:get_player_name()
	local pos = pointed.above
	-- Nobody can kill it, so in creative mode, where eggs are free, it would be there for ever.
	if name ~= "" and not core.check_player_privs(name, {llm_agent_admin = true}) then
		core.chat_send_player(name, A.S("You need the privilege @1 to place an NPC.", "llm_agent_admin"))
		return nil
	elseif core.is_protected(pos, name) then
		core.record_protection_violation(pos, name)
		return nil
	elseif not M.spawn(id, {x = pos.x, y = pos.y - 0.5, z = pos.z}, placer:get_pos()) then
		return nil
	end
	if name == "" or not core.is_creative_enabled(name) then
		stack:take_item()
	end
	return stack
end

--- Make the spawn egg of an NPC; only while mods load.
function M.register_egg(npc)
	local id = npc.id
	-- The colon lets another mod's registration make an item of this one.
	core.register_craftitem(":" .. M.egg_name(id), {
		description = A.S("Spawn egg: @1", npc.name),
		inventory_image = "llm_agent_egg.png^[multiply:" .. npc.colour .. "^llm_agent_egg_face.png",
		groups = {spawn_egg = 1},
		on_place = A.protect.wrap("entity.on_place", function(stack, placer, pointed)
			return place(id, stack, placer, pointed)
		end),
	})
end

return M
