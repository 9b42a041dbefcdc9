-- What Palaver says of a turn, and what becomes of it: text, feelings, actions, its end, or its loss.
--
-- Loaded by turns.lua, which owns the turns.

local A, open, inner, callback, give_up = ...

local link = A.link

-- The wire's own bound.
local MOST_TEXT = 8000

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
	-- Palaver is there: what it will not do is another thing than that it is away.
	give_up(turn, (code == "overloaded" or code == "rate_limited") and "busy"
		or code ~= nil and "refused" or "away")
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

link.on_message(on_message)
link.on_lost(on_lost)
