-- How an NPC comes to speak: the one way by which dialogue, chat and other mods start a turn.
--
-- Between an NPC and a player there is one turn at a time. A second question waits for the first
-- to end; a third is refused. Loaded by npcs.lua.
local A, M = ...

local MAX_SAID = 2000 -- code points of what one player can say at once
local MAX_QUEUED_S = 20 -- a question older than that is forgotten
local MAX_PAIRS = 2000
local MAX_OPEN_OF_PLAYER = 4 -- NPCs that one player can keep thinking by what they say
local KEPT_S = 10 -- a pair that is silent for so long is forgotten, unless it is cooling down
local TICK_S = 0.1

local pairs_open = {} -- "npc|player" -> {turn = true | turn, queued, at}
local pairs_count, waiting = 0, 0

M.MAX_SAID = MAX_SAID

local function key_of(npc, player, opts)
	return npc.id .. "|" .. (player or opts.speaker or "")
end

local function tell(what, npc, turn, shown)
	for _, listener in ipairs(M.listeners) do
		if listener[what] then
			A.protect.call((listener.name or "listener") .. "." .. what, listener[what], npc, turn,
				shown)
		end
	end
end
M.tell = tell

local function ended(npc, pair, opts, turn)
	if not pair.turn then
		return
	end
	pair.turn, pair.at = nil, A.now()
	npc.busy = math.max(0, npc.busy - 1)
	tell("on_done", npc, turn)
	if opts.on_done then
		A.protect.call("npcs.on_done", opts.on_done, turn)
	end
end

-- Starts the turn of a job now.
local function start(npc, pair, job)
	local opts = job.opts
	local player = job.player and core.get_player_by_name(job.player)
	if job.player and not player then
		return nil, "gone"
	end
	local pos = player and player:get_pos()
	local body = opts.object and opts.object:get_pos() and opts.object or M.object(npc.id, pos)
	npc.body = body or npc.body
	local function dress(turn)
		turn.via, turn.object, turn.opts = opts.via or "think", body, opts
		turn.text = turn.text or job.text
	end
	local begun = false
	local function begin(turn)
		if not begun then
			begun = true
			dress(turn)
			tell("on_start", npc, turn)
		end
	end
	local extra = M.messages(npc, player)
	pair.turn, pair.at = true, A.now()
	npc.busy = npc.busy + 1
	if job.player then
		npc.seen[job.player] = A.now()
	end
	local turn, reason = A.turns.start({
		npc = npc.id,
		player = job.player,
		text = job.text,
		cue = job.cue,
		speaker = opts.speaker,
		audience = opts.audience,
		priority = opts.priority,
		lang = opts.lang,
		extra = extra,
		on_text = function(one, shown)
			begin(one)
			npc.last_spoke = A.now()
			tell("on_text", npc, one, shown)
			if opts.on_text then
				A.protect.call("npcs.on_text", opts.on_text, one, shown)
			end
		end,
		on_action = function(one, message)
			begin(one)
			local act = opts.on_action or A.actions and A.actions.on_action
			if act then
				A.protect.call("npcs.on_action", act, one, message)
			end
		end,
		on_emotion = function(one, message)
			begin(one)
			tell("on_emotion", npc, one, message)
		end,
		on_done = function(one)
			begin(one)
			ended(npc, pair, opts, one)
		end,
	})
	if not turn then
		if pair.turn then
			pair.turn = nil
			npc.busy = math.max(0, npc.busy - 1)
		end
		return nil, reason or "refused"
	end
	if pair.turn then
		pair.turn = turn
	end
	begin(turn)
	return turn.id
end

local function drop_queued(pair)
	if pair.queued then
		pair.queued = nil
		waiting = waiting - 1
	end
end

local function prune(kept_s)
	for key, pair in pairs(pairs_open) do
		if not pair.turn and not pair.queued and A.now() - (pair.at or 0) > kept_s then
			pairs_open[key] = nil
			pairs_count = pairs_count - 1
		end
	end
end

local function pair_of(key)
	local pair = pairs_open[key]
	if not pair then
		if pairs_count >= MAX_PAIRS then
			prune(KEPT_S)
			if pairs_count >= MAX_PAIRS then
				return nil
			end
		end
		pair = {}
		pairs_open[key] = pair
		pairs_count = pairs_count + 1
	end
	return pair
end

-- Seconds until an NPC that has just spoken with somebody does so again.
local function cooling(pair, opts)
	if opts.no_cooldown or not pair.at then
		return 0
	end
	return math.max(0, A.settings.cooldown_s - (A.now() - pair.at))
end

-- Asking many at once costs whoever runs the server, and no player reads it all.
local function asks_too_many(player, opts)
	return player and (opts.via == "dialogue" or opts.via == "chat")
		and #A.turns.of_player(player) >= MAX_OPEN_OF_PLAYER
end

--- Let an NPC answer `what` ({text = } or {cue = }; a string is a text).
-- Returns the id of the turn, or nil and why not: "unknown", "empty", "gone" (the player has left),
-- "queued" (it comes when the NPC is free), "busy", "cooldown" (it will not be free soon), "many" (the
-- player asks too many at once), or the reason that the link gives.
function M.speak(id, player, what, opts)
	opts = opts or {}
	local npc = M.get(id)
	if not npc then
		return nil, "unknown"
	end
	what = type(what) == "table" and what or {text = what}
	local text = what.text and A.text.line(tostring(what.text), MAX_SAID)
	local cue = not text and what.cue and A.text.line(tostring(what.cue), MAX_SAID) or nil
	if (text or cue or "") == "" then
		return nil, "empty"
	elseif player and not core.get_player_by_name(player) then
		return nil, "gone"
	end
	local pair = pair_of(key_of(npc, player, opts))
	if not pair then
		return nil, "busy"
	elseif not pair.turn and asks_too_many(player, opts) then
		return nil, "many"
	end
	if player and text and A.actions and A.actions.heard then
		A.protect.call("npcs.heard", A.actions.heard, id, player, text)
	end
	local job = {npc = id, player = player, text = text, cue = cue, opts = opts, at = A.now()}
	local wait_s = pair.turn and 0 or cooling(pair, opts)
	if pair.turn or wait_s > 0 then
		if pair.queued or opts.no_queue then
			return nil, "busy"
		elseif wait_s > MAX_QUEUED_S then
			return nil, "cooldown"
		end
		pair.queued = job
		waiting = waiting + 1
		return nil, "queued"
	end
	return start(npc, pair, job)
end

--- Whether this NPC speaks with this player now.
function M.speaking(id, player)
	local pair = pairs_open[id .. "|" .. (player or "")]
	return pair ~= nil and (pair.turn ~= nil or pair.queued ~= nil)
end

--- Forget what a player is waiting to ask, of one NPC or of all.
function M.drop_player(name, id)
	for _, pair in pairs(pairs_open) do
		local job = pair.queued
		if job and job.player == name and (not id or job.npc == id) then
			drop_queued(pair)
		end
	end
end

-- Questions that wait ----------------------------------------------------------------------------

local since, since_prune = 0, 0
table.insert(A.steps, {name = "npcs", fn = function(dtime)
	since, since_prune = since + dtime, since_prune + dtime
	if since_prune >= 30 then
		since_prune = 0
		prune(math.max(KEPT_S, A.settings.cooldown_s))
	end
	if since < TICK_S or waiting == 0 then
		return
	end
	since = 0
	local due = {}
	for _, pair in pairs(pairs_open) do
		local job = pair.queued
		if job and A.now() - job.at > MAX_QUEUED_S then
			drop_queued(pair)
		elseif job and not pair.turn and cooling(pair, job.opts) == 0 then
			due[#due + 1] = pair
		end
	end
	for _, pair in ipairs(due) do
		local job = pair.queued
		drop_queued(pair)
		local npc = M.get(job.npc)
		if npc then
			start(npc, pair, job)
		end
	end
end})

-- Authored words ---------------------------------------------------------------------------------

local said = 0

--- Let an NPC say a text that nobody has to think up. `opts.player`: only to them.
function M.say(id, text, opts)
	opts = opts or {}
	local npc = M.get(id)
	if not npc then
		return nil, "unknown"
	end
	text = A.text.line(tostring(text or ""), MAX_SAID)
	if text == "" then
		return nil, "empty"
	end
	said = said + 1
	local turn = {id = "say" .. said, npc = id, player = opts.player, all = text, shown = text,
		state = "done", by = "authored", via = "say", opts = opts, object = M.object(id)}
	npc.last_spoke = A.now()
	tell("on_start", npc, turn)
	tell("on_text", npc, turn, text)
	tell("on_done", npc, turn)
	return true
end
