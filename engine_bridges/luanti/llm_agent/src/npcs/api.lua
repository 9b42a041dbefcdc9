-- The public functions of `llm_agent` that are about NPCs.
--
-- A programmer's mistake is an error at the line of the caller while mods load, when somebody is
-- there to read it. Once the game runs it is logged and answered with nil and a message: an error
-- in a callback would stop the server for everybody.
--
-- Loaded by npcs.lua.
local A, M = ...

local define = M.define
local logged = {}

local function loading()
	return core.get_current_modname and core.get_current_modname() ~= nil
end

-- Never call it as `return refuse(...)`: a tail call would take the caller's level away.
local function refuse(call, message)
	message = ("llm_agent.%s: %s"):format(call, message)
	if loading() then
		error(message, 3)
	end
	if not logged[message] then
		logged[message] = true
		A.log("error", message)
	end
	return nil, message
end

--- Add an NPC. See the README for the fields of `def`.
function llm_agent.register_npc(id, def)
	local npc, wrong = define.npc(id, def)
	if not npc then
		local _, message = refuse("register_npc", wrong)
		return nil, message
	end
	M.add(npc)
	if def.egg and loading() then
		A.entity.register_egg(npc)
	end
	return true
end

local function known(id)
	if M.get(id) then
		return nil
	end
	return ("nobody called %q is registered; call register_npc first"):format(tostring(id))
end

--- Tell an NPC facts; they are kept and sent when it speaks next. `unset`: names to forget.
function llm_agent.set_context(id, facts, unset)
	local wrong = known(id)
	if not wrong then
		local right
		right, wrong = define.is_facts(facts or {})
		if right and unset ~= nil and type(unset) ~= "table" then
			wrong = "the names to forget must be a list, got a " .. type(unset)
		end
	end
	if wrong then
		local _, message = refuse("set_context", wrong)
		return nil, message
	end
	local context = M.get(id).context
	for key, value in pairs(facts or {}) do
		context[key] = value
	end
	for _, key in ipairs(unset or {}) do
		context[key] = nil
	end
	return true
end

local CALLBACKS = {"on_text", "on_done", "on_action"}

local function wrong_think(opts)
	if type(opts) ~= "table" then
		return "the second argument must be a table like {player = \"sam\", text = \"Hello\"}, got a "
			.. type(opts)
	elseif (opts.text == nil) == (opts.cue == nil) then
		return "give either `text` (somebody said it) or `cue` (it happened)"
	elseif type(opts.text or opts.cue) ~= "string" then
		return "`text` and `cue` must be strings, got a " .. type(opts.text or opts.cue)
	elseif opts.player ~= nil and type(opts.player) ~= "string" then
		return "`player` must be the name of a player, got a " .. type(opts.player)
	end
	for _, name in ipairs(CALLBACKS) do
		if opts[name] ~= nil and type(opts[name]) ~= "function" then
			return ("`%s` must be a function, got a %s"):format(name, type(opts[name]))
		end
	end
	return nil
end

--- Let an NPC answer somebody, or say something about what happened.
-- Returns the id of the turn, or nil and why not.
function llm_agent.think(id, opts)
	local wrong = known(id) or wrong_think(opts)
	if wrong then
		local _, message = refuse("think", wrong)
		return nil, message
	end
	local copy = {via = "think", no_cooldown = true}
	for key, value in pairs(opts) do
		copy[key] = value
	end
	copy.text, copy.cue, copy.player = nil, nil, nil
	local ok, turn, reason = A.protect.call("think", M.speak, id, opts.player,
		{text = opts.text, cue = opts.cue}, copy)
	if not ok then
		return nil, "error"
	end
	return turn, reason
end

--- Make an object or a luaentity of another mod speak as an NPC.
function llm_agent.attach(target, id, opts)
	local ok, done, wrong = A.protect.call("attach", M.attach, target, id, opts)
	if not ok or not done then
		local _, message = refuse("attach", wrong or "it failed; the log says why")
		return nil, message
	end
	return true
end

--- Let an NPC say an authored text to the players around it.
function llm_agent.say(id, text, opts)
	local wrong = known(id)
	if not wrong and type(text) ~= "string" then
		wrong = "the text must be a string, got a " .. type(text)
	end
	if wrong then
		local _, message = refuse("say", wrong)
		return nil, message
	end
	local ok, done, reason = A.protect.call("say", M.say, id, text, opts)
	return ok and done or nil, reason
end

--- A copy of what is known of an NPC, or nil.
function llm_agent.get_npc(id)
	local npc = M.get(id)
	return npc and M.public(npc) or nil
end

--- How the mod is doing: the link to Palaver, what was asked and answered, errors.
function llm_agent.status()
	local errors, last = A.protect.errors()
	return {link = A.link.state(), stats = A.stats.snapshot(), npcs = #M.all(), errors = errors,
		last_error = last}
end
