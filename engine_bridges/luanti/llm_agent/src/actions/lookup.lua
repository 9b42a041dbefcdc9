-- Items by the words of a model ("healing herbs").
local A = ...

local items = {}
local index -- list of {name, set, list, count}, made once all mods are loaded
local by_word -- the same by the beginnings of their words, so that a search looks at few
local MAX_QUERY_WORDS = 6

local STOP = {} -- as `stem` leaves them
for word in ("a an the of som any my your its piec bit few"):gmatch("%a+") do
	STOP[word] = true
end

-- What models call things that few games have under that name.
local GROUPS = { herb = "flower", flower = "flower", plant = "flora", log = "tree", plank = "wood" }

-- Words ------------------------------------------------------------------------------------------

-- One form for "rose" and "roses", "axe" and "axes", "box" and "boxes"; nobody sees it.
local function stem(word)
	if #word > 4 and word:match("ies$") then
		return word:sub(1, -4) .. "y"
	elseif #word > 3 and word:match("es$") then
		return word:sub(1, -3)
	elseif #word > 3 and word:match("s$") and not word:match("[su]s$") then
		word = word:sub(1, -2)
	end
	return #word > 2 and word:match("^(.-)e?$") or word
end

local function words_of(text)
	local list, set = {}, {}
	for word in text:lower():gmatch("[%w\128-\255]+") do
		word = stem(word)
		if not STOP[word] and not set[word] then
			set[word] = true
			table.insert(list, word)
		end
	end
	return list, set
end

local function without_escapes(text)
	return (text:gsub("\27%b()", ""):gsub("\27.", ""))
end

-- The name of an item as people say it: "mese crystal fragment".
function items.plain(name)
	local def = core.registered_items[name]
	local text = def and (def.short_description or def.description) or ""
	text = without_escapes(text):match("[^\n]*") or ""
	if text:match("^%s*$") then
		text = name:gsub("^[^:]*:", ""):gsub("_", " ")
	end
	return A.text.line(text:lower(), 60)
end

-- "3 apples", as well as that can be said without a dictionary.
function items.counted(count, name)
	local head, tail = items.plain(name):match("^(.-)( of .*)$")
	head = head or items.plain(name)
	if count ~= 1 and not head:match("s$") then
		local hisses = head:match("ch$") or head:match("sh$") or head:match("x$")
		head = head .. (hisses and "es" or "s")
	end
	return ("%d %s%s"):format(count, head, tail or "")
end

-- Finding ----------------------------------------------------------------------------------------

-- The registered name behind a name or an alias, or nil.
function items.resolve(name)
	if type(name) ~= "string" or name == "" then
		return nil
	end
	name = core.registered_aliases[name] or name
	return core.registered_items[name] and name or nil
end

local function entry(name)
	local list, set = words_of(items.plain(name) .. " " .. name:gsub("^[^:]*:", ""):gsub("_", " "))
	local plain = words_of(items.plain(name))
	return { name = name, set = set, list = list, count = #plain }
end

-- Words are alike where one begins the other and has at least so many letters.
local ALIKE = 4

local function build()
	index, by_word = {}, {}
	for name, def in pairs(core.registered_items) do
		local hidden = (def.groups or {}).not_in_creative_inventory or 0
		if name:find(":", 1, true) and hidden == 0 then
			table.insert(index, entry(name))
		end
	end
	table.sort(index, function(a, b)
		return a.name < b.name
	end)
	for _, one in ipairs(index) do
		for _, word in ipairs(one.list) do
			local key = word:sub(1, ALIKE)
			local list = by_word[key] or {}
			by_word[key] = list
			if list[#list] ~= one then
				table.insert(list, one)
			end
		end
	end
end
items.build = build

local function word_score(word, one)
	if one.set[word] then
		return 1
	end
	for _, other in ipairs(one.list) do
		local short = math.min(#word, #other)
		if short >= ALIKE and word:sub(1, short) == other:sub(1, short) then
			return 0.8
		end
	end
	return 0
end

-- How well an entry answers to these words, from 0 to 1; the last one is the thing itself.
local function score(words, one)
	if word_score(words[#words], one) == 0 then
		return 0
	end
	local sum = 0
	for _, word in ipairs(words) do
		sum = sum + word_score(word, one)
	end
	return math.min(1, 2 * sum / (#words + math.max(1, one.count)))
end

local function best(words, entries)
	local top, found = 0, {}
	for _, one in ipairs(entries) do
		local value = score(words, one)
		if value > top + 0.001 then
			top, found = value, { one }
		elseif value > 0 and value > top - 0.001 then
			table.insert(found, one)
		end
	end
	return top, found
end

local function some_names(entries)
	local list = {}
	for i = 1, math.min(3, #entries) do
		list[i] = items.plain(entries[i].name)
	end
	return table.concat(list, ", ")
end

-- Something of the group that the words are about: what has most of the other words, then the
-- plainest name.
local function in_group(words)
	local group = GROUPS[words[#words]]
	local top, found = -1, nil
	for _, one in ipairs(group and index or {}) do
		if ((core.registered_items[one.name] or {}).groups or {})[group] then
			local sum = 0
			for _, word in ipairs(words) do
				sum = sum + word_score(word, one)
			end
			if sum > top or (sum == top and #one.name < #found) then
				top, found = sum, one.name
			end
		end
	end
	return found
end

-- Whether every word is one of the item's own.
local function all_of(words, one)
	for _, word in ipairs(words) do
		if not one.set[word] then
			return false
		end
	end
	return true
end

-- Finds an item by its name, an alias or plain words. `known`, a set of names, is what these two
-- most likely speak of (goods, an inventory): it is searched first, and more kindly.
-- With `any` one of several that fit as well will do ("mushrooms"), else they are named in the refusal.
-- Returns the registered name, or nil and words for the model.
function items.find(text, known, any)
	text = A.text.line(tostring(text or ""), 80)
	local name = items.resolve(text) or items.resolve(text:lower():gsub("^%s+", ""):gsub("%s+$", ""))
	if name then
		return name
	end
	-- "3 bread", "bread x3", "mod:bread" of a mod that is not there; "bag of flour" is about flour's bag.
	local asked = text:gsub("^%s*%d+%s*x?%s+", ""):gsub("%s+x?%d+%s*$", ""):gsub("^%s*[%w_]+:", "")
	local words = words_of((asked:gsub("^(.-)%s+of%s+(.+)$", "%2 %1")))
	while #words > MAX_QUERY_WORDS do
		table.remove(words, 1)
	end
	if #words == 0 then
		return nil, "name an item"
	end
	local near = {}
	for one in pairs(known or {}) do
		table.insert(near, entry(one))
	end
	table.sort(near, function(a, b)
		return a.name < b.name
	end)
	local top, found = best(words, near)
	if top >= 0.4 and #found == 1 then
		return found[1].name
	elseif top >= 0.4 then
		return nil, "say which: " .. some_names(found)
	end
	if not index then
		build()
	end
	top, found = best(words, by_word[words[#words]:sub(1, ALIKE)] or {})
	if top > 0.5 or (top >= 0.4 and #found == 1) then
		-- Several that answer as well are the same thing in several mods, or colours of it.
		if #found == 1 or top > 0.9 then
			return found[1].name
		end
	end
	if any and found[1] and all_of(words, found[1]) then
		return found[1].name
	end
	name = in_group(words)
	if name then
		return name
	elseif #found > 0 then
		return nil, ('there is no "%s"; there is: %s'):format(text, some_names(found))
	end
	return nil, ('there is no "%s" in this world'):format(text)
end

-- Whether it can be found or made in the game at all: not a creature of other mods' inner workings.
function items.obtainable(name)
	local def = core.registered_items[name]
	local hidden = def and (def.groups or {}).not_in_creative_inventory or 0
	return def ~= nil and hidden == 0 and name:find(":", 1, true) ~= nil
end

-- Whether a text names this item, by any of its own words but the most general.
function items.mentions(text, name)
	if type(text) ~= "string" or text == "" then
		return false
	end
	local _, said = words_of(text:sub(1, 500))
	for _, word in ipairs(entry(name).list) do
		if #word > 1 and said[word] then
			return true
		end
	end
	return false
end

assert(loadfile(A.path .. "/src/actions/inventory.lua"))(A, items)
core.register_on_mods_loaded(A.protect.wrap("items.build", build))

return items
