-- The turns that Palaver knows or shall know: which of them wait, are held by an ask, or need the poll.

local A = ...
local watch = {}

local LINGER_MOST_MS = 1000
-- The way of a poll's answer through the engine, in seconds: so long before the text runs out.
local MARGIN_S = 0.25
-- From this poll of a turn on its portions grow, so that a long line does not cost many requests.
local POLLS = 3

-- id -> {waiting = not sent yet, held = by an ask in flight, text = some has come, polls}
local turns = {}

local on_lost = function() end
local slack = function() return 0 end

--- Sets what is called when a turn is lost, `fn(turn, why, sent)`; `sent` if Palaver may know of it.
function watch.on_lost(fn)
	on_lost = fn
end

--- Sets what says how many seconds of a turn's text are not shown yet, `fn(turn)`.
function watch.on_slack(fn)
	slack = fn
end

--- Begins with a turn that waits to be sent.
function watch.add(id)
	turns[id] = {waiting = true, held = false, text = false, polls = 0}
end

--- The turn, or nil.
function watch.get(id)
	return turns[id]
end

--- Ends with a turn; returns whether it was there.
function watch.drop(id)
	local was = turns[id] ~= nil
	turns[id] = nil
	return was
end

--- Notes that a turn was sent; `held` if the request waits for its first event.
function watch.sent(id, held)
	local turn = turns[id]
	if turn then
		turn.waiting, turn.held = false, held
	end
end

--- Notes that the request that held a turn has ended.
function watch.let_go(id)
	local turn = turns[id]
	if turn then
		turn.held = false
	end
end

--- Notes that a turn has to be sent once more; false if nobody wants it any longer.
function watch.again(id)
	local turn = turns[id]
	if turn then
		turn.waiting, turn.held = true, false
	end
	return turn ~= nil
end

--- Gives a turn up, and says so.
function watch.lose(id, why)
	local turn = turns[id]
	if turn then
		turns[id] = nil
		A.outbox.drop_ask(id)
		A.protect.call("turns.lost", on_lost, id, why, not turn.waiting)
	end
end

--- Gives up all turns for which `test(turn)` is true.
function watch.lose_where(why, test)
	local ids = {}
	for id, turn in pairs(turns) do
		if test(turn) then
			ids[#ids + 1] = id
		end
	end
	for _, id in ipairs(ids) do
		watch.lose(id, why)
	end
end

local function needs_poll(turn)
	return not turn.held and not turn.waiting
end

--- How many ms the next poll shall collect, or nil if no turn needs one.
-- Little while somebody waits for words; more where there still is text to show.
function watch.linger_ms()
	local least
	for id, turn in pairs(turns) do
		if needs_poll(turn) then
			local ms = A.settings.linger_ms
			if turn.text then
				local grown = turn.polls >= POLLS and ms * (turn.polls - 1) or 0
				ms = math.max(ms, (slack(id) - MARGIN_S) * 1000, grown)
			end
			least = math.min(least or LINGER_MOST_MS, ms)
		end
	end
	return least and math.floor(least)
end

--- Notes that a poll begins.
function watch.polled()
	for _, turn in pairs(turns) do
		if needs_poll(turn) then
			turn.polls = turn.polls + 1
		end
	end
end

return watch
