-- The NPCs: who is registered, where their bodies are, and the API that other mods call.
local A = ...

local M = {}
A.npcs = M

local define = assert(loadfile(A.path .. "/src/npcs/define.lua"))(A)

local npcs, order = {}, {}
local owners = setmetatable({}, {__mode = "k"}) -- body -> NPC

-- Other modules add the fields of a definition that they understand.
M.fields = define.fields

-- Who is told what an NPC says: {name, on_start, on_text, on_done}, each with (npc, turn[, shown]).
M.listeners = {}

--- The NPC with this id, or nil.
function M.get(id)
	return npcs[id]
end

--- All NPCs, in the order of their registration.
function M.all()
	local list = {}
	for i, id in ipairs(order) do
		list[i] = npcs[id]
	end
	return list
end

--- What other mods may see of an NPC: a copy.
function M.public(npc)
	local context = {}
	for key, value in pairs(npc.context) do
		context[key] = value
	end
	return {
		id = npc.id,
		name = npc.name,
		persona = npc.persona,
		tier = npc.def.tier,
		zone = npc.def.zone,
		context = context,
		pos = M.pos(npc.id),
		busy = npc.busy > 0,
		last_spoke = npc.last_spoke,
	}
end

-- Bodies -----------------------------------------------------------------------------------------

--- Make an object the body of an NPC; from now on it speaks there.
function M.add_body(npc, object)
	local before = owners[object]
	if before and before ~= npc then
		M.drop_body(object)
	end
	owners[object] = npc
	for _, body in ipairs(npc.bodies) do
		if body == object then
			return
		end
	end
	table.insert(npc.bodies, 1, object)
end

--- An object is an NPC no longer.
function M.drop_body(object)
	local npc = owners[object]
	owners[object] = nil
	for i, body in ipairs(npc and npc.bodies or {}) do
		if body == object then
			table.remove(npc.bodies, i)
			return
		end
	end
end

--- The NPC that an object is the body of, or nil.
function M.of_object(object)
	return owners[object]
end

--- The bodies that are in the world now.
function M.bodies(npc)
	for i = #npc.bodies, 1, -1 do
		-- A removed object stays a userdata whose methods return nothing.
		if not npc.bodies[i]:get_pos() then
			owners[npc.bodies[i]] = nil
			table.remove(npc.bodies, i)
		end
	end
	return npc.bodies
end

--- The body of an NPC: the one nearest to `near`, else the one last used; nil where there is none.
function M.object(id, near)
	local npc = npcs[id]
	if not npc then
		return nil
	end
	local bodies = M.bodies(npc)
	if not near then
		return npc.body and npc.body:get_pos() and npc.body or bodies[1]
	end
	local best, least
	for _, body in ipairs(bodies) do
		local distance = vector.distance(near, body:get_pos())
		if not least or distance < least then
			best, least = body, distance
		end
	end
	return best
end

--- Where an NPC is, or nil.
function M.pos(id)
	local object = M.object(id)
	return object and object:get_pos() or nil
end

--- The NPCs around a place as {npc, object, distance}, the nearest first; of one with several bodies the
-- nearest. The engine looks: a world may have hundreds, and few of them are here.
function M.near(pos, radius)
	local list, found = {}, {}
	for _, object in ipairs(core.get_objects_inside_radius(pos, radius)) do
		local npc, at = owners[object], object:get_pos()
		local distance = npc and at and vector.distance(pos, at)
		local entry = found[npc]
		if distance and not entry then
			entry = {npc = npc, object = object, distance = distance}
			found[npc] = entry
			list[#list + 1] = entry
		elseif distance and distance < entry.distance then
			entry.object, entry.distance = object, distance
		end
	end
	table.sort(list, function(a, b)
		if a.distance ~= b.distance then
			return a.distance < b.distance
		end
		return a.npc.id < b.npc.id
	end)
	return list
end

-- {player, x, y, z} of all players, looked up once a step: hundreds of bodies ask who is near.
local crowd

local function look_around()
	crowd = {}
	for _, player in ipairs(core.get_connected_players()) do
		local at = player:get_pos()
		if at then
			crowd[#crowd + 1] = {player = player, x = at.x, y = at.y, z = at.z}
		end
	end
end

--- The players around a place.
function M.players_near(pos, radius)
	if not crowd then
		look_around()
	end
	local list = {}
	for _, one in ipairs(crowd) do
		local x, y, z = one.x - pos.x, one.y - pos.y, one.z - pos.z
		-- Who has left since has no position any more.
		if x * x + y * y + z * z <= radius * radius and one.player:get_pos() then
			list[#list + 1] = one.player
		end
	end
	return list
end

-- The first of the mod's steps, so that the others see where everybody is now.
table.insert(A.steps, 1, {name = "npcs.crowd", fn = function()
	crowd = nil
end})

-- What Palaver has to know -----------------------------------------------------------------------

local introduced, greeted = {}, {}

local function introduction(npc)
	local list = {{
		type = "npc.upsert",
		npc = npc.id,
		persona = npc.persona,
		tier = npc.def.tier,
		zone = npc.def.zone,
	}}
	if A.actions and A.actions.message then
		local ok, message = A.protect.call("npcs.actions", A.actions.message, npc)
		list[2] = ok and message or nil
	end
	return list
end

local function acquaintance(name)
	local info = core.get_player_information and core.get_player_information(name)
	local lang = A.settings.lang ~= "" and A.settings.lang or info and info.lang_code
	-- It is what the client says; the server would refuse nonsense, and with it the player.
	if type(lang) ~= "string" or not A.settings.is_language(lang) then
		lang = nil
	end
	return {type = "player.upsert", player = name, name = name, lang = lang}
end

local function append(list, more)
	for _, message in ipairs(more) do
		list[#list + 1] = message
	end
	return list
end

--- The messages to send before a turn of `npc` with `player` (an ObjectRef or nil).
function M.messages(npc, player)
	local list = {}
	if not introduced[npc.id] then
		introduced[npc.id] = true
		append(list, introduction(npc))
	end
	local name = player and player:get_player_name()
	if name and not greeted[name] then
		greeted[name] = true
		list[#list + 1] = acquaintance(name)
	end
	return append(list, A.facts.messages(npc, player))
end

--- Everything a new session has to hear: the NPCs and players met so far, and their facts.
function M.state_messages()
	local list = {}
	for _, id in ipairs(order) do
		if introduced[id] then
			append(list, introduction(npcs[id]))
		end
	end
	for name in pairs(greeted) do
		list[#list + 1] = acquaintance(name)
	end
	return append(list, A.facts.replay())
end

A.link.on_fresh(M.state_messages)

core.register_on_leaveplayer(A.protect.wrap("npcs.on_leave", function(player)
	local name = player:get_player_name()
	greeted[name] = nil
	for _, message in ipairs(A.facts.take_back("player:" .. name)) do
		A.link.send(message)
	end
	for _, id in ipairs(order) do
		npcs[id].seen[name] = nil
	end
	M.drop_player(name)
end))

-- Registration -----------------------------------------------------------------------------------

--- Add a checked NPC; a later registration of the same id replaces the earlier one.
function M.add(npc)
	local before = npcs[npc.id]
	if before then
		npc.bodies, npc.body, npc.context = before.bodies, before.body, before.context
		for _, body in ipairs(npc.bodies) do
			owners[body] = npc
		end
		introduced[npc.id] = nil
		A.log("info", ("the NPC %s is defined anew"):format(npc.id))
	else
		table.insert(order, npc.id)
	end
	npcs[npc.id] = npc
end

M.define = define
assert(loadfile(A.path .. "/src/npcs/speak.lua"))(A, M)
assert(loadfile(A.path .. "/src/npcs/attach.lua"))(A, M)
assert(loadfile(A.path .. "/src/npcs/api.lua"))(A, M)

return M
