-- Turns: somebody speaks to an NPC, and it answers, by Palaver or by a canned line.
--
-- Every turn that was started ends once, by `on_done`, whatever happens to the connection: its limits are
-- counted by the clock here, not by requests. Callbacks come in a later step, or inside `cancel`.

local A = ...
local turns = {}

local MOST_OPEN = 500

-- Open turns by id and in order, and what belongs to them but to nobody else:
-- {started = what `start` was given, message, typewriter, seq, raw, marks, complete, acted_at, again}
local open, order, inner = {}, {}, {}
local number = 0

local link = A.link
local message_of = assert(loadfile(A.path .. "/src/turns/message.lua"))(A)

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

assert(loadfile(A.path .. "/src/turns/incoming.lua"))(A, open, inner, callback, give_up)
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
