-- What there is to tell of the world: the facts that every NPC gets without a line of code.
--
-- Loaded by facts.lua, whose providers these are.
local A, facts = ...

local M = {}

local MAX_ITEMS = 32
local MAX_NEARBY = 8

local function where(pos)
	return ("%d, %d, %d"):format(math.floor(pos.x + 0.5), math.floor(pos.y + 0.5),
		math.floor(pos.z + 0.5))
end

local function percent(object)
	local most = (object:get_properties() or {}).hp_max or 0
	if most <= 0 then
		return nil
	end
	return math.max(0, math.min(100, math.floor(object:get_hp() * 100 / most + 0.5)))
end

-- "mobs_animal:sheep_black" -> "sheep black"
local function spoken(name)
	return ((name or ""):gsub("^.*:", ""):gsub("[_%.]+", " "))
end

-- The first line of an item's description, without colours, as a player reads it.
local function title_of(item)
	local def = core.registered_items[item]
	local text = def and (def.short_description or def.description) or ""
	if core.get_translated_string then
		text = core.get_translated_string("en", text)
	end
	text = A.text.clean(text:match("^[^\n]*") or "", 60)
	if text == "" then
		return spoken(item)
	end
	return text
end
M.title_of = title_of

--- Sums up item stacks (an inventory list, or `{["default:apple"] = 3}`): the `MAX_ITEMS` kinds of
-- which there are most as {item, count, name}, and a line about the rest or nil.
function M.inventory(list)
	local counts = {}
	for key, stack in pairs(list or {}) do
		local name, count
		if type(key) == "string" then
			name, count = key, type(stack) == "number" and stack or 1
		elseif type(stack) == "string" then
			name, count = stack:match("^(%S+)%s*(%d*)")
			count = tonumber(count) or 1
		elseif stack and not stack:is_empty() then
			name, count = stack:get_name(), stack:get_count()
		end
		if name and name ~= "" and count > 0 then
			counts[name] = (counts[name] or 0) + count
		end
	end
	local items = {}
	for name, count in pairs(counts) do
		items[#items + 1] = {item = name, count = count}
	end
	table.sort(items, function(a, b)
		if a.count ~= b.count then
			return a.count > b.count
		end
		return a.item < b.item
	end)
	local kinds, rest = 0, 0
	for i = #items, MAX_ITEMS + 1, -1 do
		kinds, rest = kinds + 1, rest + items[i].count
		items[i] = nil
	end
	for _, entry in ipairs(items) do
		entry.name = title_of(entry.item)
	end
	return items, kinds > 0 and ("%d more kinds of things, %d in all"):format(kinds, rest) or nil
end

-- {name, kind, distance} of something near, or nil for what nobody would mention.
local function thing(object, pos)
	local at = object:get_pos()
	if not at then
		return nil
	end
	local distance = math.floor(vector.distance(pos, at) + 0.5)
	if object:is_player() then
		return {name = object:get_player_name(), kind = "player", distance = distance}
	end
	local npc = A.npcs.of_object(object)
	if npc then
		return {name = npc.name, kind = "npc", distance = distance}
	end
	local entity = object:get_luaentity()
	if not entity or type(entity.name) ~= "string" then
		return nil
	end
	if entity.name == "__builtin:item" then
		local item = (entity.itemstring or ""):match("^%S+")
		return item and {name = title_of(item), kind = "item", distance = distance}
	elseif entity.name:sub(1, 2) == "__" then
		return nil
	end
	return {name = spoken(entity.name), kind = "creature", distance = distance}
end

--- What is around `pos` but for `own`: at most eight, nearest first.
function M.nearby(pos, radius, own)
	local list = {}
	for _, object in ipairs(core.get_objects_inside_radius(pos, radius)) do
		local entry = object ~= own and thing(object, pos)
		if entry then
			list[#list + 1] = entry
		end
	end
	table.sort(list, function(a, b)
		if a.distance ~= b.distance then
			return a.distance < b.distance
		end
		return a.name < b.name
	end)
	for i = #list, MAX_NEARBY + 1, -1 do
		list[i] = nil
	end
	return list
end

local HOURS = {{5, "night"}, {7, "dawn"}, {11, "morning"}, {13, "noon"}, {17, "afternoon"},
	{20, "evening"}, {24, "night"}}

--- The game's time: {hour, time_of_day, night}.
function M.time()
	local hour = math.floor((core.get_timeofday() or 0.5) * 24) % 24
	for _, part in ipairs(HOURS) do
		if hour < part[1] then
			return {hour = hour, time_of_day = part[2], night = part[2] == "night"}
		end
	end
end

-- Weather comes from the game where it has some: VoxeLibre and Mineclonia.
local function weather()
	local mod = rawget(_G, "mcl_weather")
	local now = type(mod) == "table" and (type(mod.get_weather) == "function" and mod.get_weather()
		or mod.state)
	if type(now) ~= "string" then
		return {}
	end
	return {weather = now == "none" and "clear" or now, storm = now == "thunder"}
end

local function of_npc(npc)
	local told = {}
	local object = A.npcs.object(npc.id)
	local pos = object and object:get_pos()
	if pos then
		told.position = where(pos)
		told.health = percent(object)
		told.nearby = M.nearby(pos, A.settings.facts_radius, object)
	end
	if type(npc.def.inventory) == "table" then
		told.inventory, told.inventory_more = M.inventory(npc.def.inventory)
	end
	return told
end

local function of_player(_, player)
	local inventory = player:get_inventory()
	local items, more = M.inventory(inventory and inventory:get_list("main"))
	local wielded = player:get_wielded_item()
	return {
		name = player:get_player_name(),
		inventory = items,
		inventory_more = more,
		wielded = not wielded:is_empty() and title_of(wielded:get_name()) or nil,
		health = percent(player),
		position = where(player:get_pos()),
	}
end

-- What the author of the NPC says comes after what is seen, and so wins.
local function of_author(npc, player)
	local own = npc.def.facts
	if type(own) == "function" then
		own = own(A.npcs.public(npc), player)
	end
	return own
end

table.insert(facts.providers.game, {name = "time", fn = M.time})
table.insert(facts.providers.game, {name = "weather", fn = weather})
table.insert(facts.providers.npc, {name = "body", fn = of_npc})
table.insert(facts.providers.npc, {name = "author", fn = of_author})
table.insert(facts.providers.npc, {name = "context", fn = function(npc) return npc.context end})
table.insert(facts.providers.player, {name = "player", fn = of_player})

return M
