-- Palaver's NPCs for Luanti and Minetest 5.6 or later: loads the parts of the mod in order.
--
-- Every part is `src/<name>.lua`: it gets the mod's private table `A`, and what it returns becomes
-- `A.<name>`. Only the public API is in the global `llm_agent`.

local name = core.get_current_modname()
local path = core.get_modpath(name)

-- Must stand in the main chunk of init.lua: anywhere else the engine gives nil. The function itself
-- is missing where the engine was built without cURL. `link` takes it out of the table at once.
local http = core.request_http_api and core.request_http_api()

llm_agent = {version = "0.1.0"}

local A = {
	api = core,
	http = http,
	name = name,
	path = path,
	version = llm_agent.version,
	S = core.get_translator(name),
	-- What happens in every server step, in this order: {name = ..., fn = function(dtime)}.
	steps = {},
}

function A.log(level, text)
	core.log(level, "[llm_agent] " .. text)
end

function A.now()
	return core.get_us_time() / 1e6
end

local parts = {
	"settings", "protect", "json", "text", "stats", "canned",
	"requests", "outbox", "exchange", "watch", "backoff", "session", "link", "typewriter", "turns",
	"facts", "npcs", "bubble", "actions", "dialogue", "chat", "talks", "entity", "commands",
	"examples",
}

for _, part in ipairs(parts) do
	A[part] = assert(loadfile(path .. "/src/" .. part .. ".lua"))(A)
end

core.register_globalstep(A.protect.wrap("globalstep", function(dtime)
	for _, step in ipairs(A.steps) do
		A.protect.call(step.name, step.fn, dtime)
	end
end))
