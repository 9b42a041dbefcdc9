-- The command of an admin: /llm_agent status | reload | list | say | spawn | remove.
local A = ...

local M = {}

local S = A.S

core.register_privilege("llm_agent_admin", {
	description = S("May look after the NPCs of llm_agent"),
	give_to_singleplayer = true,
	give_to_admin = true,
})

local function ms(value)
	return value and ("%.0f ms"):format(value) or "-"
end

-- {late = 2, away = 1} -> "away 1, late 2"
local function counted(counts)
	local parts = {}
	for key, count in pairs(counts or {}) do
		parts[#parts + 1] = key .. " " .. count
	end
	table.sort(parts)
	return #parts > 0 and table.concat(parts, ", ") or "none"
end

local STATES = {
	off = "off",
	up = "up",
	down = "down",
}

--- The status as lines of text.
function M.report()
	local status = llm_agent.status()
	local link, stats = status.link, status.stats
	local lines = {}
	local function row(title, text)
		lines[#lines + 1] = title .. ": " .. text
	end
	-- No ":" behind the address: clients would take it into the link.
	row("Palaver", ("%s at %s%s"):format(STATES[link.state] or tostring(link.state), A.settings.url,
		link.why and link.why ~= "" and (" (%s)"):format(link.why) or ""))
	if link.state == "down" and link.retry_in_s then
		row("retry", ("tries again in %.0f s; /llm_agent reload tries now"):format(
			math.max(0, link.retry_in_s)))
	end
	row("requests", ("%d made, %d failed in a row, %d of %d under way, %d waiting"):format(link.requests or 0,
		link.failures or 0, link.inflight or 0, A.settings.max_requests, link.queued or 0))
	row("turns", ("%d asked, %d answered, %d open"):format(stats.asked or 0, stats.answered or 0,
		A.turns.open()))
	row("canned", counted(stats.canned_why))
	if stats.refusal then
		row("refused", stats.refusal)
	end
	local first = stats.first_words_ms or {}
	row("first words", ("p50 %s, p99 %s, most %s"):format(ms(first.p50), ms(first.p99), ms(first.max)))
	local bodies = 0
	for _, npc in ipairs(A.npcs.all()) do
		bodies = bodies + #A.npcs.bodies(npc)
	end
	row("NPCs", ("%d registered, %d in the world now"):format(status.npcs, bodies))
	row("errors", status.errors == 0 and "none" or ("%d, last: %s"):format(status.errors,
		A.text.line(tostring(status.last_error), 200)))
	return table.concat(lines, "\n")
end

local subcommands = {}

function subcommands.status()
	return true, M.report()
end

-- What `/set` or another mod changed; the engine itself reads minetest.conf only when it starts.
function subcommands.reload()
	local fresh = assert(loadfile(A.path .. "/src/settings.lua"))(A)
	for key, value in pairs(fresh) do
		A.settings[key] = value
	end
	A.link.retry()
	A.link.resync()
	return true, S("The settings are read again; asking @1 now.", A.settings.url)
end

local function place(object)
	local pos = vector.round(object:get_pos())
	return ("(%d,%d,%d)"):format(pos.x, pos.y, pos.z)
end

function subcommands.list()
	local lines = {}
	for _, npc in ipairs(A.npcs.all()) do
		local places = {}
		for i, body in ipairs(A.npcs.bodies(npc)) do
			places[i] = place(body)
		end
		lines[#lines + 1] = ("%s  %s  (%s)  %s%s"):format(npc.id, npc.name, npc.persona,
			#places > 0 and table.concat(places, " ") or "not in the world now",
			#places > 1 and ("  %d bodies"):format(#places) or "")
	end
	if #lines == 0 then
		return true, S("No NPC is registered.")
	end
	return true, table.concat(lines, "\n")
end

-- The nearest thing to a wrong id is a list of the right ones.
local function unknown(id)
	local ids = {}
	for _, npc in ipairs(A.npcs.all()) do
		if #ids < 20 then
			ids[#ids + 1] = npc.id
		end
	end
	return false, S("There is no NPC @1. There are: @2", ("%q"):format(A.text.clean(id, 64)),
		#ids > 0 and table.concat(ids, ", ") or S("none"))
end

function subcommands.say(_, rest)
	local id, text = rest:match("^(%S+)%s+(.+)$")
	if not id then
		return false, S("Usage: /llm_agent say <npc> <text>")
	elseif not A.npcs.get(id) then
		return unknown(id)
	elseif not A.npcs.object(id) then
		return false, S("@1 is not in the world now; nobody would hear it.", A.npcs.get(id).name)
	end
	local ok = A.npcs.say(id, text)
	if not ok then
		return false, S("There is nothing to say in that.")
	end
	return true, S("@1 says it.", A.npcs.get(id).name)
end

function subcommands.spawn(name, rest)
	local id = rest:match("^(%S+)$")
	local player = core.get_player_by_name(name)
	if not id then
		return false, S("Usage: /llm_agent spawn <npc>")
	elseif not A.npcs.get(id) then
		return unknown(id)
	elseif not player then
		return false, S("Only a player in the world can do that.")
	end
	local pos, look = player:get_pos(), player:get_look_dir()
	local at = vector.round({x = pos.x + look.x * 2, y = pos.y + 0.5, z = pos.z + look.z * 2})
	local node = core.registered_nodes[core.get_node(at).name]
	if not node or node.walkable then
		at = vector.round({x = pos.x, y = pos.y + 0.5, z = pos.z})
	end
	if not A.entity.spawn(id, {x = at.x, y = at.y - 0.5, z = at.z}, pos) then
		return false, S("The engine did not let it.")
	end
	local npc = A.npcs.get(id)
	local bodies = #A.npcs.bodies(npc)
	if bodies > 1 then
		-- Easily done by mistake, and at the same spot not even seen.
		return true, S("@1 is here, and has @2 bodies now. To have one: /llm_agent remove @3, then spawn it.",
			npc.name, bodies, id)
	end
	return true, S("@1 is here.", npc.name)
end

function subcommands.remove(name, rest)
	local id = rest:match("^(%S+)$")
	if not id then
		return false, S("Usage: /llm_agent remove <npc>")
	end
	local count = 0
	local function remove(object)
		A.entity.remove(object)
		count = count + 1
	end
	local npc = A.npcs.get(id)
	local bodies = {}
	for i, body in ipairs(npc and A.npcs.bodies(npc) or {}) do
		bodies[i] = body
	end
	for _, body in ipairs(bodies) do
		remove(body)
	end
	-- What no mod registers any more is known only by its body.
	local player = core.get_player_by_name(name)
	for _, body in ipairs(player and A.entity.find(id, player:get_pos(), 64) or {}) do
		remove(body)
	end
	if count == 0 then
		if not npc then
			return unknown(id)
		end
		return false, S("@1 is not in the part of the world that is loaded.", npc.name)
	end
	return true, S("Removed: @1", count)
end

local USAGE = "status | reload | list | say <npc> <text> | spawn <npc> | remove <npc>"

local function run(name, param)
	local word, rest = (param or ""):match("^%s*(%S*)%s*(.-)%s*$")
	local command = subcommands[word]
	if not command then
		return false, (word == "" and "" or S("There is no @1.", ("%q"):format(
			A.text.clean(word, 40))) .. " ") .. S("Usage: @1", "/llm_agent " .. USAGE)
	end
	return command(name, rest)
end

core.register_chatcommand("llm_agent", {
	params = USAGE,
	description = S("Look after the NPCs"),
	privs = {llm_agent_admin = true},
	func = function(name, param)
		local fine, ok, message = A.protect.call("commands." .. (param or ""):sub(1, 20), run, name,
			param)
		if not fine then
			return false, S("That failed inside the mod; the server's log says why.")
		end
		return ok, message
	end,
})

return M
