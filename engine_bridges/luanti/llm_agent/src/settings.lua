-- The mod's settings: `llm_agent.<name>` in minetest.conf, read once and checked.
--
-- A value that cannot be used is replaced by the default, with a line in the log that says so.

local A = ...
local api = A.api
local settings = {}

local PREFIX = "llm_agent."

-- The engine's own limit of parallel requests is shared by all mods: two are left to the others.
local LEFT_TO_OTHERS = 2
local MOST_REQUESTS = 62

local function complain(name, value, why, used)
	A.log("warning", ("setting %s%s = %q %s; using %s. Change it in minetest.conf and restart.")
		:format(PREFIX, name, value, why, tostring(used)))
end

local function text(name, default, check)
	local value = api.settings:get(PREFIX .. name)
	if value == nil or value == "" then
		return default
	end
	local why = check and check(value)
	if why then
		complain(name, value, why, default == "" and "none" or default)
		return default
	end
	return value
end

local function number(name, default, least, most, whole)
	local raw = api.settings:get(PREFIX .. name)
	if raw == nil or raw == "" then
		return default
	end
	local value = tonumber(raw)
	-- NaN is the only number that is not itself.
	if not value or value ~= value then
		complain(name, raw, "is not a number", default)
		return default
	end
	if value < least or value > most or (whole and value % 1 ~= 0) then
		local used = math.max(least, math.min(most, value))
		used = whole and math.floor(used) or used
		complain(name, raw, ("must be %sfrom %g to %g"):format(whole and "whole, " or "", least, most), used)
		return used
	end
	return value
end

local function flag(name, default)
	local raw = api.settings:get(PREFIX .. name)
	if raw == nil or raw == "" then
		return default
	end
	local word = raw:lower():match("^%s*(.-)%s*$")
	if word == "true" or word == "yes" or word == "on" or word == "1" then
		return true
	end
	if word == "false" or word == "no" or word == "off" or word == "0" then
		return false
	end
	complain(name, raw, "is neither true nor false", default)
	return default
end

local function check_url(value)
	if value:find("[%c%s]") or not value:match("^https?://[^/]+") then
		return "is not an address such as http://127.0.0.1:8765"
	end
end

local function check_token(value)
	-- The engine would put a line break into the request as a header of its own.
	if value:find("%c") then
		return "holds a line break or another control character"
	end
end

--- Whether the server takes `value` as a language: fr, pt_BR, zh-Hans-CN.
function settings.is_language(value)
	local first, rest = value:match("^(%a+)(.*)$")
	if not first or #first < 2 or #first > 8 or #value > 35 then
		return false
	end
	for part in rest:gmatch("[-_]([^-_]*)") do
		if #part < 1 or #part > 8 or part:find("%W") then
			return false
		end
	end
	return rest == "" or rest:find("^[-_]") ~= nil
end

local function check_lang(value)
	if not settings.is_language(value) then
		return "is not a language such as fr"
	end
end

local function check_game(value)
	if #value > 128 or value:find("%c") then
		return "must have at most 128 characters"
	end
end

local function world_name()
	local path = api.get_worldpath and api.get_worldpath() or ""
	local name = path:match("([^/\\]+)[/\\]*$") or "default"
	name = name:gsub("%c", ""):sub(1, 128)
	return name ~= "" and name or "default"
end

local url = text("url", "http://127.0.0.1:8765", check_url):gsub("/+$", "")
settings.url = url
local host = url:match("^https?://%[?([^/%]]+)")
if not host:match("^[%d%.:]+$") and not url:match("^https?://%[") then
	A.log("warning", ("setting %surl names a host, %q: where that cannot be resolved, requests of all"
		.. " mods stand still. Write its address, as in http://127.0.0.1:8765."):format(PREFIX, host))
end

settings.token = text("token", "", check_token)
settings.game = text("game", world_name(), check_game)
settings.lang = text("lang", "", check_lang)

-- How long a request is held: for a turn's first words, and for whatever comes next.
settings.hold_ms = number("hold_ms", 2000, 100, 10000, true)
settings.wait_ms = number("wait_ms", 8000, 100, 25000, true)
settings.linger_ms = number("linger_ms", 150, 0, 1000, true)

-- When a canned line takes over: no words by then, and no end by then.
settings.first_words_s = number("first_words_s", 2.5, 0.5, 60)
settings.turn_s = number("turn_s", 20, 1, 300)

local limit = tonumber(api.settings:get("curl_parallel_limit") or "")
limit = limit and limit == limit and limit or 8
local most = math.max(1, math.min(MOST_REQUESTS, math.floor(limit) - LEFT_TO_OTHERS))
settings.max_requests = number("max_requests", most, 1, most, true)
settings.queue = number("queue", 64, 1, 1000, true)

settings.chars_per_s = number("chars_per_s", 40, 1, 1000)
settings.bubble = flag("bubble", true)
settings.hear_radius = number("hear_radius", 8, 1, 100)
settings.talk_radius = number("talk_radius", 6, 1, 100)
settings.facts_radius = number("facts_radius", 12, 1, 100)
settings.cooldown_s = number("cooldown_s", 1, 0, 3600)
settings.npc_talks = flag("npc_talks", true)
settings.npc_talk_cooldown_s = number("npc_talk_cooldown_s", 60, 1, 86400)
settings.allow_attack = flag("allow_attack", false)

return settings
