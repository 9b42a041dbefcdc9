-- A small world for the tests of what NPCs do: items, inventories, players, bodies, ground.
--
-- Called with the path of the mod and a function that reads JSON; returns a table `world` that tests steer, with the mod's private
-- table in `world.A`. Only what the parts of DEEDS call is here, and it behaves as the engine does.
local path, parse_json = ...

local world = { now = 1000, clock = 1000000, sent = {}, chat = {}, logged = {}, forms = {}, started = {},
	cancelled = {}, punches = {}, paths = {}, searches = 0, settings = {}, protected = false }

-- Vectors ----------------------------------------------------------------------------------------

vector = {}
function vector.new(x, y, z)
	return { x = x, y = y, z = z }
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

core = { registered_items = {}, registered_aliases = {}, registered_nodes = {}, settings = {} }
minetest = core

function world.item(name, description, more)
	local def = { description = description, stack_max = 99, groups = {} }
	for key, value in pairs(more or {}) do
		def[key] = value
	end
	core.registered_items[name] = def
end

local Stack = {}
Stack.__index = Stack

function ItemStack(given)
	if type(given) == "table" then
		local copy = setmetatable({}, Stack)
		for key, value in pairs(given) do
			copy[key] = value
		end
		return copy
	end
	local name, count, wear = (given or ""):match("^(%S*)%s*(%d*)%s*(%d*)")
	count = tonumber(count) or (name ~= "" and 1 or 0)
	return setmetatable({ name = count > 0 and name or "", count = count, wear = tonumber(wear) or 0, meta = {} },
		Stack)
end
function Stack:is_empty()
	return self.count == 0
end
function Stack:get_name()
	return self.count > 0 and self.name or ""
end
function Stack:get_count()
	return self.count
end
function Stack:get_wear()
	return self.wear
end
function Stack:get_stack_max()
	return (core.registered_items[self.name] or {}).stack_max or 99
end
function Stack:get_meta()
	return { to_table = function()
		return { fields = self.meta }
	end }
end
function Stack:take_item(count)
	local taken = ItemStack(self)
	taken.count = math.min(count or 1, self.count)
	self.count = self.count - taken.count
	if self.count == 0 then
		self.name, self.meta = "", {}
	end
	return taken
end

local function inventory(size)
	local list = {}
	for i = 1, size do
		list[i] = ItemStack("")
	end
	return {
		get_list = function(_, name)
			local copy = {}
			for i, stack in ipairs(name == "main" and list or {}) do
				copy[i] = ItemStack(stack)
			end
			return copy
		end,
		set_list = function(_, name, new)
			assert(name == "main" and #new == size)
			for i = 1, size do
				assert(new[i]:get_count() <= new[i]:get_stack_max(), "a stack is too large")
				list[i] = ItemStack(new[i])
			end
		end,
	}
end

-- Objects ----------------------------------------------------------------------------------------

local players, bodies, creatures = {}, {}, {}

local function object(pos)
	local self = { pos = pos, velocity = vector.new(0, 0, 0), yaw = 0, hp = 20 }
	function self:get_pos()
		return not self.gone and vector.new(self.pos.x, self.pos.y, self.pos.z) or nil
	end
	function self:get_velocity()
		return not self.gone and vector.new(self.velocity.x, self.velocity.y, self.velocity.z) or nil
	end
	function self:set_velocity(v)
		self.velocity = v
	end
	function self:get_properties()
		return { collisionbox = { -0.3, -0.5, -0.3, 0.3, 1.3, 0.3 } }
	end
	function self:set_yaw(yaw)
		self.yaw = yaw
	end
	function self:set_animation(frames)
		self.frames = frames
	end
	function self:get_hp()
		return self.hp
	end
	function self:is_player()
		return self.name ~= nil
	end
	function self:get_luaentity()
		return self.entity
	end
	function self:punch(by, _, caps)
		table.insert(world.punches, { by = by, damage = caps.damage_groups.fleshy })
		self.hp = self.hp - caps.damage_groups.fleshy
	end
	return self
end

function world.player(name, pos, size)
	local player = object(pos or vector.new(0, 0, 0))
	player.name, player.inventory, player.wielded = name, inventory(size or 32), ""
	function player:get_player_name()
		return self.name
	end
	function player:get_inventory()
		return not self.gone and self.inventory or nil
	end
	function player:get_wielded_item()
		return ItemStack(self.wielded)
	end
	players[name] = player
	return player
end

function world.put(player, text, meta)
	local list = player.inventory:get_list("main")
	for i, stack in ipairs(list) do
		if stack:is_empty() then
			list[i] = ItemStack(text)
			list[i].meta = meta or {}
			player.inventory:set_list("main", list)
			return
		end
	end
	error("no room")
end

function world.total(player, name)
	local sum = 0
	for _, stack in ipairs(player.inventory:get_list("main")) do
		sum = sum + (stack:get_name() == name and stack:get_count() or 0)
	end
	return sum
end

function world.leave(player)
	player.gone, players[player.name] = true, nil
	for _, fn in ipairs(world.on_leave) do
		fn(player)
	end
end

function world.body(id, pos, entity)
	local body = object(pos or vector.new(1, 0, 0))
	body.entity = entity or { name = "llm_agent:npc", npc_id = id, object = body }
	bodies[id] = body
	return body
end

function world.creature(name, pos)
	local one = object(pos)
	one.entity = { name = name, object = one }
	table.insert(creatures, one)
	return one
end

-- The engine -------------------------------------------------------------------------------------

world.on_leave, world.on_fields, world.commands, world.on_loaded = {}, {}, {}, {}

function core.get_player_by_name(name)
	return players[name]
end
function core.get_connected_players()
	local list = {}
	for _, player in pairs(players) do
		table.insert(list, player)
	end
	table.sort(list, function(a, b)
		return a.name < b.name
	end)
	return list
end
function core.chat_send_player(name, text)
	table.insert(world.chat, { name, text })
end
function core.register_on_mods_loaded(fn)
	table.insert(world.on_loaded, fn)
end
function core.register_on_leaveplayer(fn)
	table.insert(world.on_leave, fn)
end
function core.register_on_player_receive_fields(fn)
	table.insert(world.on_fields, fn)
end
core.registered_chatcommands = {}
function core.register_chatcommand(name, def)
	world.commands[name], core.registered_chatcommands[name] = def, def
end
function core.show_formspec(name, formname, form)
	table.insert(world.forms, { name = name, formname = formname, form = form })
end
function core.formspec_escape(text)
	return (text:gsub("[\\%[%];,$]", "\\%0"))
end
function core.explode_textlist_event(text)
	local kind, index = text:match("^(%u+):(%d+)")
	return { type = kind or "INV", index = tonumber(index) }
end
function core.is_protected()
	return world.protected
end
function core.check_player_privs(_, priv)
	return world.settings[priv] == true
end
function core.settings:get_bool(name, default)
	local value = world.settings[name]
	if value == nil then
		return default
	end
	return value
end
function core.dir_to_yaw(dir)
	return -math.atan2(dir.x, dir.z)
end
function core.get_objects_inside_radius(pos, radius)
	local list = {}
	for _, one in ipairs(creatures) do
		if not one.gone and vector.distance(pos, one.pos) <= radius then
			table.insert(list, one)
		end
	end
	return list
end

-- Ground: solid below y = 0 (node -1 is the floor), air above, and what tests put somewhere.
world.nodes = {}
core.registered_nodes = {
	air = { walkable = false },
	stone = { walkable = true },
	lava = { walkable = false, damage_per_second = 4, groups = { lava = 3 } },
	water = { walkable = false, liquidtype = "source" },
}
function world.node(x, y, z, name)
	world.nodes[("%d,%d,%d"):format(x, y, z)] = name
end
function core.get_node_or_nil(pos)
	local at = vector.round(pos)
	return { name = world.nodes[("%d,%d,%d"):format(at.x, at.y, at.z)] or (at.y < 0 and "stone" or "air") }
end
function core.find_path(from, to, round)
	world.searches = world.searches + 1
	world.search = { from = from, to = to, round = round }
	return world.found
end

core.parse_json = parse_json

local store = {}
function core.get_mod_storage()
	return {
		get_string = function(_, key)
			return store[key] or ""
		end,
		set_string = function(_, key, value)
			store[key] = value ~= "" and value or nil
		end,
	}
end
world.store = store

-- The mod ----------------------------------------------------------------------------------------

local npcs = {}

-- Loads the mod's parts (again: what is in mod storage stays).
function world.load()
	llm_agent = {}
	local A = { api = core, path = path, steps = {} }
	world.A = A
	world.on_leave, world.on_fields, world.commands, world.on_loaded = {}, {}, {}, {}
	core.registered_chatcommands = { quests = world.other_quests }
	function A.log(level, text)
		table.insert(world.logged, { level, text })
	end
	function A.now()
		return world.now
	end
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
	A.settings = { hear_radius = 8, talk_radius = 6, npc_talks = true, npc_talk_cooldown_s = 60,
		allow_attack = world.settings.allow_attack == true }
	for _, part in ipairs({ "protect", "json", "text" }) do
		A[part] = assert(loadfile(path .. "/src/" .. part .. ".lua"))(A)
	end
	A.facts = { providers = { npc = {}, player = {}, game = {} } }
	A.link = {
		send = function(message, opts)
			table.insert(world.sent, { message = message, now = opts and opts.now })
		end,
		state = function()
			return { state = world.down and "down" or "up" }
		end,
	}
	A.turns = {
		of_npc = function(id)
			return world.open_turns and world.open_turns[id] or {}
		end,
		cancel = function(id, heard)
			table.insert(world.cancelled, { id, heard })
		end,
	}
	A.npcs = { fields = {}, listeners = {} }
	function A.npcs.get(id)
		return npcs[id]
	end
	function A.npcs.object(id)
		return bodies[id] and not bodies[id].gone and bodies[id] or nil
	end
	function A.npcs.of_object(body)
		for id, one in pairs(bodies) do
			if one == body then
				return npcs[id]
			end
		end
	end
	function A.npcs.near(pos, radius)
		local list = {}
		for id, npc in pairs(npcs) do
			local body = A.npcs.object(id)
			if body and vector.distance(pos, body.pos) <= radius then
				table.insert(list, { npc = npc, object = body, distance = vector.distance(pos, body.pos) })
			end
		end
		table.sort(list, function(a, b)
			return a.npc.id < b.npc.id
		end)
		return list
	end
	function A.npcs.players_near(pos, radius)
		local list = {}
		for _, player in ipairs(core.get_connected_players()) do
			if vector.distance(pos, player.pos) <= radius then
				table.insert(list, player)
			end
		end
		return list
	end
	function A.npcs.messages(npc)
		return { { type = "npc.upsert", npc = npc.id } }
	end
	function A.npcs.speak(id, player, what, opts)
		if world.silent then
			return nil, world.silent
		end
		table.insert(world.started, { npc = id, player = player, what = what, opts = opts })
		return "t" .. #world.started
	end
	A.actions = assert(loadfile(path .. "/src/actions.lua"))(A)
	A.trade.clock = function()
		return world.clock
	end
	A.talks = assert(loadfile(path .. "/src/talks.lua"))(A)
	for _, fn in ipairs(world.on_loaded) do
		fn()
	end
end

function world.npc(id, def, name)
	npcs[id] = { id = id, def = def, name = name or def.name or id, busy = 0, context = {} }
	return npcs[id]
end

-- Carries out an action, as on a `turn.action`; returns the answer.
local calls = 0
function world.act(npc, player, name, args, text, call, age_ms)
	calls = calls + 1
	local before = #world.sent
	world.A.actions.on_action({ id = world.turn or "turn" .. calls, npc = npc, player = player, text = text },
		{ call = call or "turn." .. calls, name = name, args = args, age_ms = age_ms })
	return #world.sent - before, world.sent[#world.sent].message
end

-- Lets time pass: bodies move as their velocity says, and stop at what is solid.
function world.step(seconds)
	local left = seconds
	while left > 1e-6 do
		local dtime = math.min(0.1, left)
		left = left - dtime
		world.now, world.clock = world.now + dtime, world.clock + dtime
		for _, body in pairs(bodies) do
			local v, p = body.velocity, body.pos
			local to = vector.new(p.x + v.x * dtime, p.y + v.y * dtime, p.z + v.z * dtime)
			local function free(at)
				return not core.registered_nodes[core.get_node_or_nil(at).name].walkable
			end
			if free(vector.new(to.x, p.y, to.z)) then
				p.x, p.z = to.x, to.z
			elseif free(vector.new(to.x, p.y + 1, to.z)) and v.y > 0 then
				p.x, p.y, p.z = to.x, p.y + 1, to.z
			end
			if p.y > 0 and free(vector.new(p.x, p.y - 1, p.z)) then
				p.y = p.y - 1
			end
			v.y = 0
		end
		for _, one in ipairs(world.A.steps) do
			one.fn(dtime)
		end
	end
end

-- The ware shop of the tests.
world.item("", "hand")
world.item("air", "Air", { groups = { not_in_creative_inventory = 1 } })
world.item("default:apple", "Apple")
world.item("farming:bread", "Bread\nFills you")
world.item("default:mese_crystal", "Mese Crystal")
world.item("default:mese_crystal_fragment", "\27(T@default)Mese Crystal Fragment\27E")
world.item("default:sword_wood", "Wooden Sword", { stack_max = 1 })
world.item("default:sword_stone", "Stone Sword", { stack_max = 1 })
world.item("default:lava_flowing", "Flowing Lava", { groups = { not_in_creative_inventory = 1 } })
world.item("flowers:rose", "Red Rose", { groups = { flower = 1, flora = 1 } })
world.item("flowers:mushroom_brown", "Brown Mushroom")
world.item("alchemy:elixir", "Elixir of Breath")
core.registered_aliases["apple"] = "default:apple"
core.registered_aliases["old:bread"] = "farming:bread"

return world
