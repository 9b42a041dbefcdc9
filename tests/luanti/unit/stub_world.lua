-- A world for the tests of what players see: bodies, players, forms, chat, nametags.
--
-- Called with the path of the mod; returns a table `world` that tests steer. The mod's private table is
-- `world.A`; its parts are the real ones but for `link` and `turns`, whose turns a test speaks with
-- `world.speak(turn, text)` and `world.finish(turn, text)`.
local path = ...

local world = {clock = 100, chat = {}, forms = {}, closed = {}, logged = {}, started = {}, cancelled = {},
	conf = {}, items = {}, entities = {}, commands = {}, privileges = {}, hooks = {}, objects = {},
	sent = {}, loading = "some_mod", link = {state = "up", failures = 0, requests = 3, inflight = 1,
	queued = 0}, tod = 0.5, protected = false, retried = 0, resynced = 0}

-- Vectors ----------------------------------------------------------------------------------------

vector = {}
function vector.new(x, y, z)
	return {x = x, y = y, z = z}
end
function vector.distance(a, b)
	return math.sqrt((a.x - b.x) ^ 2 + (a.y - b.y) ^ 2 + (a.z - b.z) ^ 2)
end
function vector.round(v)
	return vector.new(math.floor(v.x + 0.5), math.floor(v.y + 0.5), math.floor(v.z + 0.5))
end
function vector.direction(a, b)
	local d = math.max(vector.distance(a, b), 1e-9)
	return vector.new((b.x - a.x) / d, (b.y - a.y) / d, (b.z - a.z) / d)
end

-- Items ------------------------------------------------------------------------------------------

core = {registered_items = {}, registered_nodes = {}, registered_chatcommands = world.commands}
minetest = core

local Stack = {}
Stack.__index = Stack
function ItemStack(text)
	local name, count = (text or ""):match("^(%S*)%s*(%d*)")
	return setmetatable({name = name, count = name == "" and 0 or tonumber(count) or 1}, Stack)
end
function Stack:is_empty()
	return self.count == 0
end
function Stack:get_name()
	return self.name
end
function Stack:get_count()
	return self.count
end
function Stack:take_item()
	self.count = self.count - 1
end

-- Objects ----------------------------------------------------------------------------------------

local Object = {}
Object.__index = Object
function Object:get_pos()
	return self.pos and vector.new(self.pos.x, self.pos.y, self.pos.z)
end
function Object:set_pos(pos)
	self.pos = pos
end
function Object:get_luaentity()
	return self.entity
end
function Object:is_player()
	return self.player_name ~= nil
end
function Object:get_player_name()
	return self.player_name or ""
end
function Object:get_properties()
	if not self.pos then
		return nil
	end
	return self.properties
end
function Object:set_properties(properties)
	self.changes = self.changes + 1
	for key, value in pairs(properties) do
		self.properties[key] = value
	end
end
function Object:get_hp()
	return self.hp
end
function Object:get_yaw()
	return self.yaw
end
function Object:set_yaw(yaw)
	self.yaw = yaw
end
function Object:set_armor_groups(groups)
	self.armor = groups
end
function Object:set_acceleration(acceleration)
	self.acceleration = acceleration
end
function Object:get_velocity()
	return self.velocity
end
function Object:set_velocity(velocity)
	self.velocity = velocity
end
function Object:set_animation(range)
	self.frames = range
end
function Object:remove()
	if self.entity and self.entity.on_deactivate then
		self.entity:on_deactivate(true)
	end
	self.pos = nil
end
function Object:get_wielded_item()
	return ItemStack(self.wielded)
end
function Object:get_player_control()
	return {sneak = false}
end
function Object:get_look_dir()
	return vector.new(0, 0, 1)
end
function Object:get_inventory()
	local object = self
	return {get_list = function(_, name)
		if name ~= "main" then
			return nil
		end
		local list = {}
		for i, text in ipairs(object.main) do
			list[i] = ItemStack(text)
		end
		return list
	end}
end

local function object(pos, more)
	local one = setmetatable({pos = pos, properties = {hp_max = 20, nametag = ""}, hp = 20, changes = 0,
		velocity = vector.new(0, 0, 0), main = {}}, Object)
	for key, value in pairs(more or {}) do
		one[key] = value
	end
	table.insert(world.objects, one)
	return one
end

local players = {}
function world.join(name, pos)
	local player = object(pos, {player_name = name, privs = {shout = true, interact = true}})
	table.insert(players, player)
	return player
end
function world.leave(name)
	for i, player in ipairs(players) do
		if player.player_name == name then
			for _, fn in ipairs(world.hooks.leaveplayer or {}) do
				fn(player)
			end
			table.remove(players, i)
			player.pos = nil
		end
	end
end
-- A mob of another mod, whose definition is a prototype as in the engine.
function world.mob(name, pos, proto)
	local one = object(pos)
	one.entity = setmetatable({object = one, name = name}, {__index = proto or {}})
	return one
end
function core.add_entity(pos, name, staticdata)
	local def = world.entities[name]
	local one = object(pos)
	one.entity = setmetatable({object = one, name = name}, {__index = def})
	def.on_activate(one.entity, staticdata or "", 0)
	return one
end
function core.get_connected_players()
	return players
end
function core.get_player_by_name(name)
	for _, player in ipairs(players) do
		if player.player_name == name then
			return player
		end
	end
end
function core.get_objects_inside_radius(pos, radius)
	local list = {}
	for _, one in ipairs(world.objects) do
		if one.pos and vector.distance(pos, one.pos) <= radius then
			table.insert(list, one)
		end
	end
	return list
end

-- The engine's functions -------------------------------------------------------------------------

local function hook(name)
	core["register_on_" .. name] = function(fn)
		world.hooks[name] = world.hooks[name] or {}
		table.insert(world.hooks[name], fn)
	end
end
for _, name in ipairs({"leaveplayer", "joinplayer", "chat_message", "player_receive_fields", "mods_loaded"}) do
	hook(name)
end
core.settings = {get = function(_, key) return world.conf[key] end, get_bool = function(_, key, default)
	if world.conf[key] == nil then
		return default
	end
	return world.conf[key] == "true"
end}
function core.get_current_modname()
	return world.loading
end
function core.get_modpath(name)
	return name == "llm_agent" and path or nil
end
function core.get_worldpath()
	return "/worlds/test"
end
function core.get_timeofday()
	return world.tod
end
function core.log(level, text)
	table.insert(world.logged, level .. ": " .. text)
end
function core.chat_send_player(name, text)
	table.insert(world.chat, {name = name, text = text})
end
function core.colorize(colour, text)
	return "\27(c@" .. colour .. ")" .. text .. "\27(c@#ffffff)"
end
function core.show_formspec(name, formname, formspec)
	table.insert(world.forms, {player = name, name = formname, text = formspec, at = world.clock})
end
function core.close_formspec(name, formname)
	table.insert(world.closed, {player = name, name = formname})
end
-- As the engine's own: builtin/common/misc_helpers.lua.
function core.formspec_escape(text)
	return (text:gsub("\\", "\\\\"):gsub("%]", "\\]"):gsub("%[", "\\["):gsub(";", "\\;"):gsub(",", "\\,"))
end
function core.get_player_information(name)
	return {lang_code = world.lang or "", name = name}
end
function core.check_player_privs(name, privs)
	local player = core.get_player_by_name(name)
	for priv in pairs(privs) do
		if not player or not player.privs[priv] then
			return false
		end
	end
	return true
end
function core.pos_to_string(pos)
	return ("(%d,%d,%d)"):format(pos.x, pos.y, pos.z)
end
function core.string_to_pos(text)
	local x, y, z = text:match("^%(([-%d.]+),([-%d.]+),([-%d.]+)%)$")
	return x and vector.new(tonumber(x), tonumber(y), tonumber(z)) or nil
end
function core.dir_to_yaw(dir)
	return math.atan2(-dir.x, dir.z)
end
function core.register_entity(name, def)
	world.entities[name] = def
end
function core.register_craftitem(name, def)
	world.items[name:gsub("^:", "")] = def
end
function core.register_chatcommand(name, def)
	world.commands[name] = def
end
function core.register_privilege(name, def)
	world.privileges[name] = def
end
function core.get_node()
	return {name = "air"}
end
function core.get_node_or_nil()
	return world.under and {name = world.under}
end
core.registered_nodes.stone = {walkable = true}
function core.is_protected()
	return world.protected
end
function core.record_protection_violation() end
function core.is_creative_enabled()
	return false
end
function core.get_us_time()
	return world.clock * 1e6
end

-- The mod ------------------------------------------------------------------------------------------

llm_agent = {version = "test"}
local A = {api = core, name = "llm_agent", path = path, version = "test", steps = {}}
world.A = A
-- As strict as the engine's: parameters in order, none missing, none too many.
function A.S(text, ...)
	local parts, count, at = {...}, select("#", ...), 0
	text = text:gsub("@(%d)", function(i)
		at = at + 1
		assert(tonumber(i) == at, "parameters out of order: " .. text)
		assert(parts[at] ~= nil, "not enough parameters: " .. text)
		return parts[at] .. ""
	end)
	assert(at == count, "too many parameters: " .. text)
	return text
end
function A.log(level, text)
	core.log(level, text)
end
function A.now()
	return world.clock
end

local function load(name)
	A[name] = assert(loadfile(path .. "/src/" .. name .. ".lua"))(A)
end

world.part = load

local open = {}
local function stand_ins()
	A.link = {
		state = function() return world.link end,
		send = function(message) table.insert(world.sent, message) return true end,
		on_fresh = function(fn) world.fresh = fn end,
		retry = function() world.retried = world.retried + 1 end,
		resync = function() world.resynced = world.resynced + 1 end,
	}
	A.turns = {}
	function A.turns.start(job)
		if world.refuse then
			return nil, world.refuse
		end
		local turn = {id = "t" .. #world.started + 1, npc = job.npc, player = job.player, text = job.text,
			all = "", shown = "", state = "open", job = job, by = "palaver"}
		table.insert(world.started, turn)
		open[turn.id] = turn
		return turn
	end
	function A.turns.open()
		local count = 0
		for _ in pairs(open) do
			count = count + 1
		end
		return count
	end
	function A.turns.of_player(name)
		local list = {}
		for _, turn in pairs(open) do
			if turn.player == name then
				table.insert(list, turn)
			end
		end
		return list
	end
	function A.turns.cancel(id, heard)
		table.insert(world.cancelled, {id = id, heard = heard})
		local turn = open[id]
		if turn then
			open[id] = nil
			turn.job.on_done(turn)
		end
		return turn ~= nil
	end
end

--- Reveals more of a turn's text.
function world.speak(turn, text)
	turn.shown, turn.all = text, text
	turn.job.on_text(turn, text)
end

--- Ends a turn, with its whole text.
function world.finish(turn, text)
	if text then
		world.speak(turn, text)
	end
	open[turn.id] = nil
	turn.job.on_done(turn)
end

--- Loads the mod's parts; `examples` too where wanted.
function world.load(examples)
	for _, name in ipairs({"settings", "protect", "json", "text", "stats", "canned"}) do
		load(name)
	end
	stand_ins()
	for _, name in ipairs({"facts", "npcs", "bubble", "dialogue", "chat", "entity", "commands"}) do
		load(name)
	end
	if examples then
		load("examples")
	end
end

--- Lets time pass, in server steps.
function world.pass(seconds, step)
	step = step or 0.1
	local stop = world.clock + seconds
	while world.clock < stop - 1e-6 do
		world.clock = world.clock + step
		for _, one in ipairs(A.steps) do
			assert(A.protect.call(one.name, one.fn, step))
		end
		for _, one in ipairs(world.objects) do
			if one.pos and one.entity and one.entity.on_step then
				one.entity:on_step(step)
			end
		end
	end
end

--- A player types a chat line; whether a mod swallowed it.
function world.type(name, line)
	for _, fn in ipairs(world.hooks.chat_message) do
		if fn(name, line) then
			return true
		end
	end
	return false
end

--- A player's form sends fields.
function world.fields(name, formname, fields)
	for _, fn in ipairs(world.hooks.player_receive_fields) do
		if fn(core.get_player_by_name(name), formname, fields) then
			return true
		end
	end
	return false
end

return world
