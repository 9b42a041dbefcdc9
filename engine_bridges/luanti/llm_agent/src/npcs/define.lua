-- What a mod may write into `register_npc`, and the checks of it.
--
-- Loaded by npcs.lua.
local A = ...

local M = {}

local COLOURS = {"#ffd479", "#a5e075", "#7fd6ff", "#f5a3c7", "#c9b6ff", "#ffb07c", "#8fe3c8", "#e8e27a"}
local MAX_CANNED = 100

local function text_of(max)
	return function(value)
		return type(value) == "string" and value ~= "" and #value <= max,
			("a text of 1 to %d bytes"):format(max)
	end
end

local function texts_of(max, most)
	return function(value)
		local expected = ("a list of 1 to %d texts of at most %d bytes"):format(most, max)
		if type(value) ~= "table" or #value < 1 or #value > most then
			return false, expected
		end
		for _, one in ipairs(value) do
			if type(one) ~= "string" or one == "" or #one > max then
				return false, expected
			end
		end
		return true
	end
end

local function kind_of(...)
	local kinds = {...}
	return function(value)
		for _, kind in ipairs(kinds) do
			if type(value) == kind then
				return true
			end
		end
		return false, "a " .. table.concat(kinds, " or a ")
	end
end

local function id(value)
	return M.is_id(value), "an id of 1 to 64 letters, digits and _ - . :"
end

-- Field of a definition -> function(value) -> whether it is right, what is expected. Other modules
-- of this mod add theirs.
M.fields = {
	name = text_of(60),
	persona = id,
	tier = id,
	zone = text_of(128),
	greeting = text_of(500),
	canned = texts_of(500, MAX_CANNED),
	facts = kind_of("table", "function"),
	inventory = kind_of("table"),
	radius = function(value)
		return type(value) == "number" and value >= 1 and value <= 64, "a number from 1 to 64"
	end,
	colour = function(value)
		return type(value) == "string" and value:match("^#%x%x%x%x%x%x$") ~= nil,
			"a colour like \"#ffd479\""
	end,
	actions = function(value)
		if type(value) == "table" and #value == 0 and next(value) == nil then
			return true -- an NPC that only talks
		end
		return texts_of(64, 64)(value)
	end,
	egg = kind_of("boolean"),
	visual = text_of(40),
	visual_size = kind_of("table"),
	mesh = text_of(200),
	texture = text_of(1000),
	textures = texts_of(1000, 20),
	collisionbox = kind_of("table"),
	-- Understood by the other parts of the mod, which check what is in them.
	goods = kind_of("table", "function"),
	quests = kind_of("table", "boolean"),
	talks = kind_of("table", "boolean"),
	mood = kind_of("string"),
}

--- Whether a value can be the id of an NPC.
function M.is_id(value)
	return type(value) == "string" and #value >= 1 and #value <= 64
		and value:match("^[%w_%-%.:]+$") ~= nil
end

--- Whether a value is a table of facts; else what is wrong with it.
function M.is_facts(value)
	if type(value) ~= "table" then
		return false, "the facts must be a table like {mood = \"worried\"}, got a " .. type(value)
	end
	for key in pairs(value) do
		if type(key) ~= "string" or #key > 64 or not key:match("^[%a_][%w_]*$") then
			return false, ("the name of a fact is made of letters, digits and _, got %q")
				:format(tostring(key))
		end
	end
	return true
end

-- "elder_willow" -> "Elder Willow"
local function titled(word)
	return (word:gsub("^.*:", ""):gsub("[_%-%.]+", " "):gsub("(%a)(%w*)", function(first, rest)
		return first:upper() .. rest
	end))
end

-- The same colour for the same NPC, in every world.
local function colour_of(word)
	local sum = 0
	for i = 1, #word do
		sum = (sum * 31 + word:byte(i)) % 100003
	end
	return COLOURS[sum % #COLOURS + 1]
end

--- The NPC of a definition, or nil and what is wrong with it.
function M.npc(name, def)
	if not M.is_id(name) then
		return nil, ("the id must be a text of 1 to 64 letters, digits and _ - . :, got %s")
			:format(type(name) == "string" and ("%q"):format(name) or "a " .. type(name))
	elseif type(def) ~= "table" then
		return nil, ("the definition of %q must be a table, got a %s"):format(name, type(def))
	end
	local copy, unknown = {}, {}
	for field, value in pairs(def) do
		local check = M.fields[field]
		if check then
			local right, expected = check(value)
			if not right then
				return nil, ("`%s` of %q must be %s, got %s"):format(field, name, expected,
					type(value) == "string" and ("%q"):format(value) or "a " .. type(value))
			end
		else
			unknown[#unknown + 1] = tostring(field)
		end
		copy[field] = value
	end
	if type(def.facts) == "table" then
		local right, wrong = M.is_facts(def.facts)
		if not right then
			return nil, ("`facts` of %q: %s"):format(name, wrong)
		end
	end
	if #unknown > 0 then
		table.sort(unknown)
		A.log("warning", ("register_npc(%q): nobody reads %s; the README lists the fields")
			:format(name, table.concat(unknown, ", ")))
	end
	return {
		id = name,
		def = copy,
		name = def.name or titled(name),
		persona = def.persona or name,
		colour = def.colour or colour_of(name),
		context = {},
		bodies = {},
		seen = {},
		busy = 0,
	}
end

return M
