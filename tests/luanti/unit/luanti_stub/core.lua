-- A stand-in for the engine: its clock stands still until a test moves it, and it has no network.
--
-- Called with the functions that Python gives; returns `core`. What is registered is in
-- `core.registered[kind]`, a list of the arguments.

local py = ...

core = {
	registered = {}, players = {},
	registered_items = {}, registered_nodes = {}, registered_aliases = {}, registered_tools = {},
	registered_craftitems = {}, registered_entities = {}, registered_chatcommands = {},
	registered_on_chat_messages = {},
}
minetest = core

-- Every `register_...` that is not written out below only remembers what it was given.
setmetatable(core, {__index = function(_, key)
	local kind = type(key) == "string" and key:match("^register_(.+)$")
	if kind then
		return function(...)
			core.registered[kind] = core.registered[kind] or {}
			table.insert(core.registered[kind], {...})
		end
	end
end})

function core.register_entity(name, def)
	def.__index = def
	core.registered_entities[name] = def
end

function core.register_chatcommand(name, def)
	core.registered_chatcommands[name] = def
end

function core.register_craftitem(name, def)
	def.name = name
	core.registered_items[name], core.registered_craftitems[name] = def, def
end

function core.register_node(name, def)
	def.name = name
	core.registered_items[name], core.registered_nodes[name] = def, def
end

-- The game itself ----------------------------------------------------------------------------------

core.settings = {}

function core.settings:get(name)
	return py.setting(name)
end

function core.settings:get_bool(name, default)
	local value = py.setting(name)
	if value == nil then
		return default
	end
	return value == "true"
end

function core.get_current_modname()
	return "llm_agent"
end

function core.get_modpath(name)
	return name == "llm_agent" and py.mod or nil
end

function core.get_worldpath()
	return "/worlds/meadow"
end

function core.get_version()
	return {project = "Minetest", string = "5.6.1"}
end

function core.get_us_time()
	return py.now() * 1e6
end

function core.log(level, text)
	py.log(level, text)
end

-- HTTP, as the engine gives it to the main chunk of a mod in secure.http_mods.
if py.http then
	function core.request_http_api()
		return py.allowed() and {
			fetch_async = function(request) return py.fetch_async(request) end,
			fetch_async_get = function(handle) return py.fetch_async_get(handle) end,
		} or nil
	end
end

function core.parse_json(...)
	return py.parse_json(...)
end

function core.write_json(...)
	return py.write_json(...)
end

function core.get_translator()
	return function(text, ...)
		local args = {...}
		text = text:gsub("@(%d)", function(n) return tostring(args[tonumber(n)] or "") end)
		return "\27(T@llm_agent)" .. text .. "\27E"
	end
end

function core.get_translated_string(lang, text)
	text = text:gsub("\27%([^)]*%)", ""):gsub("\27E", "")
	return py.translate(lang, text) or text
end

local storage = {}

function core.get_mod_storage()
	return {
		get_string = function(_, key) return storage[key] or "" end,
		set_string = function(_, key, value) storage[key] = value ~= "" and value or nil end,
		get_int = function(_, key) return tonumber(storage[key]) or 0 end,
		set_int = function(_, key, value) storage[key] = tostring(value) end,
	}
end

local jobs = {}

function core.after(seconds, fn, ...)
	local job = {at = py.now() + seconds, fn = fn, args = {...}}
	table.insert(jobs, job)
	return {cancel = function() job.fn = function() end end}
end

--- One server step: what waits by `core.after` first, as in the engine, then all globalsteps.
function core.step(dtime)
	local now = jobs
	jobs = {}
	for _, job in ipairs(now) do
		if py.now() >= job.at then
			job.fn(unpack(job.args))
		else
			table.insert(jobs, job)
		end
	end
	for _, one in ipairs(core.registered.globalstep or {}) do
		one[1](dtime)
	end
end

--- Calls what was registered by `register_<kind>`; returns what the first of them returned.
function core.run(kind, ...)
	local result
	for i, one in ipairs(core.registered[kind] or {}) do
		local answer = one[1](...)
		if i == 1 then
			result = answer
		end
	end
	return result
end

-- Players ------------------------------------------------------------------------------------------

function core.get_player_by_name(name)
	return core.players[name]
end

function core.get_connected_players()
	local list = {}
	for _, player in pairs(core.players) do
		table.insert(list, player)
	end
	table.sort(list, function(a, b) return a:get_player_name() < b:get_player_name() end)
	return list
end

function core.get_player_information(name)
	return core.players[name] and {lang_code = core.players[name].lang or ""} or nil
end

return core
