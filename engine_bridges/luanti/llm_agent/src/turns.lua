-- Turns: somebody speaks to an NPC, and it answers, by Palaver or by a canned line.
--
-- Every turn that was started ends once, by `on_done`, whatever happens to the connection: its limits are
-- counted by the clock here, not by requests. Callbacks come in a later step, or inside `cancel`.

local A = ...
local turns = {}

-- The wire's bounds are 4,000 and 8,000; nobody reads that much in a bubble.
local MOST_SAID = 2000
local MOST_TEXT = 8000
local MOST_OPEN = 500
local MOST_AUDIENCE = 32
-- The server gets this much less time for the first words than the player has patience.
local WAY_S = 0.5

local PRIORITIES = {player = true, scene = true, ambient = true, background = true}

-- Open turns by id and in order, and what belongs to them but to nobody else:
-- {started = what `start` was given, message, typewriter, seq, raw, marks, complete, acted_at, again}
local open, order, inner = {}, {}, {}
local number = 0

local link = A.link

-- Ends ---------------------------------------------------------------------------------------------

local function callback(turn, name, ...)
	local own = inner[turn.id]
	local fn = own and own.started[name]
	if fn then
		A.protect.call("turn." .. name, fn, turn, ...)
	end
end

local function finish(turn)
	if turn.state == "ended" then
		return
	end
	turn.state = "ended"
	turn.done_at = A.now()
	if turn.by == "canned" then
		A.stats.count("canned", turn.why)
	elseif turn.status == "cancelled" then
		A.stats.cancelled = A.stats.cancelled + 1
	else
		A.stats.answered = A.stats.answered + 1
	end
	open[turn.id] = nil
	for i, one in ipairs(order) do
		if one == turn then
			table.remove(order, i)
			break
		end
	end
	callback(turn, "on_done")
	inner[turn.id] = nil
end

local function show(turn)
	local writer = inner[turn.id].typewriter
	turn.all, turn.shown = writer.all, writer:shown()
end

-- Tells the server to stop, and what of the line a player has really seen.
local function call_off(turn, heard)
	if link.release(turn.id) then
		link.send({type = "turn.cancel", turn = turn.id, heard = heard}, {now = true})
	end
end

-- Palaver's part is over before its end: a line that has begun stops where it is, any other is replaced by
-- a canned one.
local function give_up(turn, why)
	local own = inner[turn.id]
	if turn.by == "canned" or own.complete then
		return
	end
	own.complete = true
	own.marks = {}
	turn.why = why
	if turn.shown ~= "" then
		own.typewriter:stop()
		own.changed = true
		turn.status = "cut"
		A.stats.cut = A.stats.cut + 1
	else
		turn.by, turn.status = "canned", "canned"
		own.typewriter = A.typewriter.new(A.settings.chars_per_s)
		own.typewriter:add(A.canned.line(turn.npc, why, turn.player), A.now())
	end
	turn.all = own.typewriter.all
end

-- What comes ---------------------------------------------------------------------------------------

local function take_text(turn, text)
	local own = inner[turn.id]
	local room = MOST_TEXT - own.typewriter.size
	own.raw = own.raw + A.text.len(A.text.valid(text))
	own.typewriter:add(A.text.clean(text, math.max(0, room)), A.now())
	turn.all = own.typewriter.all
	turn.first_at = turn.first_at or A.now()
end

local handlers = {}

handlers["turn.delta"] = function(turn, message)
	if type(message.text) == "string" then
		take_text(turn, message.text)
	end
end

handlers["turn.emotion"] = function(turn, message)
	local own = inner[turn.id]
	-- It colours the text after it, so it waits until that is shown.
	table.insert(own.marks, {pos = own.typewriter.size, message = message})
end

handlers["turn.action"] = function(turn, message)
	inner[turn.id].acted_at = A.now()
	callback(turn, "on_action", message)
end

handlers["turn.done"] = function(turn, message)
	local own = inner[turn.id]
	turn.status = type(message.status) == "string" and A.text.line(message.status, 40) or "completed"
	turn.cached = message.cached == true
	turn.served_by = type(message.served_by) == "table" and message.served_by or nil
	local text = type(message.text) == "string" and A.text.valid(message.text) or ""
	if A.text.len(text) > own.raw then
		-- Pieces that got lost on the way.
		take_text(turn, text:sub((A.text.advance(text, 0, own.raw)) + 1))
	end
	if turn.all == "" and not own.acted_at then
		give_up(turn, "away")
	end
	own.complete = true
end

handlers["error"] = function(turn, message)
	local own = inner[turn.id]
	local code = message.code
	if code == "unknown_npc" and not own.again and link.resync() then
		-- The server has lost what it knew of the NPC, or this turn has overtaken it.
		own.again = true
		link.ask(own.message)
		return
	end
	give_up(turn, (code == "overloaded" or code == "rate_limited") and "busy" or "away")
end

local function on_message(message)
	local turn = open[message.turn]
	local handler = handlers[message.type]
	if not turn or not handler then
		return
	end
	local own = inner[turn.id]
	local seq = message.seq
	-- The ask and the poll may both bring it.
	if own.complete or (type(seq) == "number" and seq <= own.seq) then
		return
	end
	if type(seq) == "number" then
		own.seq = seq
	end
	handler(turn, message)
end

local function on_lost(id, why, sent)
	local turn = open[id]
	if turn then
		if sent then
			-- It reaches Palaver only if the session lives on.
			link.send({type = "turn.cancel", turn = id, heard = turn.shown})
		end
		give_up(turn, why)
	end
end

-- Time ---------------------------------------------------------------------------------------------

-- Looks whether a limit has passed.
local function watch_clock(turn, now)
	local own = inner[turn.id]
	if own.complete then
		return
	end
	local late = now - turn.asked_at > A.settings.turn_s
	if turn.all == "" then
		late = late or now - (own.acted_at or turn.asked_at) > A.settings.first_words_s
	end
	if late then
		local heard = turn.shown
		give_up(turn, "late")
		call_off(turn, heard)
	end
end

local function reveal(turn, now)
	local own = inner[turn.id]
	local writer = own.typewriter
	local first = turn.shown == ""
	local more = writer:step(now) or own.changed
	own.changed = false
	while own.marks[1] and own.marks[1].pos <= writer.pos do
		callback(turn, "on_emotion", table.remove(own.marks, 1).message)
		if turn.state == "ended" then
			return
		end
	end
	if more then
		show(turn)
		if first and turn.by == "palaver" then
			A.stats.first_words(now - turn.asked_at)
		end
		turn.state = "speaking"
		callback(turn, "on_text", turn.shown)
	end
	if turn.state ~= "ended" and own.complete and writer:even() then
		if turn.by == "palaver" and turn.status ~= "cut" then
			link.send({type = "turn.heard", turn = turn.id})
		end
		finish(turn)
	end
end

--- Lets each turn show more of its text; once a server step.
function turns.step()
	local now = A.now()
	local now_open = {}
	for i, turn in ipairs(order) do
		now_open[i] = turn
	end
	for _, turn in ipairs(now_open) do
		-- A callback of one turn may cancel another.
		if turn.state ~= "ended" then
			watch_clock(turn, now)
			reveal(turn, now)
		end
	end
end

-- What others call ---------------------------------------------------------------------------------

local function id_or_nil(value)
	if type(value) == "string" and value ~= "" and #value <= 128 then
		return value
	end
end

local function language(value)
	if type(value) == "string" and A.settings.is_language(value) then
		return value
	end
end

local function message_of(t)
	local message = {
		type = "turn.start",
		npc = id_or_nil(t.npc),
		player = id_or_nil(t.player),
		speaker = id_or_nil(t.speaker),
		priority = PRIORITIES[t.priority] and t.priority or nil,
		lang = language(t.lang) or language(A.settings.lang),
		first_text_ms = math.max(1, math.floor((A.settings.first_words_s - WAY_S) * 1000)),
	}
	if type(t.text) == "string" then
		message.text = A.text.line(t.text, MOST_SAID)
	elseif type(t.cue) == "string" then
		message.cue = A.text.line(t.cue, MOST_SAID)
	end
	local audience = {}
	for _, one in ipairs(type(t.audience) == "table" and t.audience or {}) do
		if #audience < MOST_AUDIENCE then
			audience[#audience + 1] = id_or_nil(one)
		end
	end
	message.audience = audience[1] and audience or nil
	return message
end

--- Starts a turn.
-- @param t `npc`; `text` (what was said) or `cue` (what happened); `player`, `speaker`, `audience`,
-- `priority`, `lang` as in `turn.start`; `extra`: messages that are sent before; and the callbacks
-- `on_text(turn, shown)`, `on_action(turn, message)`, `on_emotion(turn, message)`, `on_done(turn)`
-- @return the turn, or nil and why there is none ("npc", "text" or "busy"); only one that was returned
-- gets callbacks
function turns.start(t)
	local message = message_of(t)
	if not message.npc then
		return nil, "npc"
	elseif not message.text and not message.cue then
		return nil, "text"
	elseif #order >= MOST_OPEN then
		return nil, "busy"
	end
	number = number + 1
	local turn = {
		id = "t" .. number,
		npc = message.npc,
		player = message.player,
		speaker = message.speaker,
		text = message.text,
		cue = message.cue,
		all = "",
		shown = "",
		state = "asked",
		by = "palaver",
		asked_at = A.now(),
	}
	message.turn = turn.id
	open[turn.id] = turn
	order[#order + 1] = turn
	inner[turn.id] = {
		started = t,
		message = message,
		typewriter = A.typewriter.new(A.settings.chars_per_s),
		seq = 0,
		raw = 0,
		marks = {},
		complete = false,
	}
	A.stats.asked = A.stats.asked + 1
	for _, extra in ipairs(t.extra or {}) do
		link.send(extra)
	end
	link.ask(message)
	return turn
end

--- Ends a turn now: nobody listens any more.
-- @param heard what was really heard of it; what is shown if nil
-- @return whether it was open; its `on_done` has been called then
function turns.cancel(id, heard)
	local turn = open[id]
	if not turn then
		return false
	end
	if turn.by == "palaver" then
		if turn.status ~= "cut" then
			if inner[id].complete then
				link.send({type = "turn.cancel", turn = id, heard = heard or turn.shown}, {now = true})
			else
				call_off(turn, heard or turn.shown)
			end
		end
		turn.status = "cancelled"
	end
	finish(turn)
	return true
end

local function where(key, value)
	local found = {}
	for _, turn in ipairs(order) do
		if turn[key] == value then
			found[#found + 1] = turn
		end
	end
	return found
end

--- The open turn with that id, or nil.
function turns.get(id)
	return open[id]
end

--- The open turns of a player, oldest first.
function turns.of_player(name)
	return where("player", name)
end

--- The open turns of an NPC, oldest first.
function turns.of_npc(id)
	return where("npc", id)
end

--- How many are open.
function turns.open()
	return #order
end

link.on_message(on_message)
link.on_lost(on_lost)
link.on_slack(function(id)
	local own = inner[id]
	return own and own.typewriter:slack() or 0
end)

table.insert(A.steps, {name = "turns", fn = turns.step})

if A.api.register_on_leaveplayer then
	A.api.register_on_leaveplayer(A.protect.wrap("turns.on_leaveplayer", function(player)
		for _, turn in ipairs(turns.of_player(player:get_player_name())) do
			turns.cancel(turn.id)
		end
	end))
end

return turns
