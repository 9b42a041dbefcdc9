-- The session with Palaver: its requests, and what becomes of their answers.
--
-- An answer that cannot be used means that Palaver is away. Then turns are lost at once, and what else was
-- on its way waits to be sent again.

local A = ...
local outbox, requests, exchange, watch, backoff = A.outbox, A.requests, A.exchange, A.watch, A.backoff

local session = {
	id = nil,    -- nil while there is none
	sent_at = 0, -- when the last request went out
	poll_at = 0, -- when the next poll may
}

-- Sessions that may be forgotten one after the other before that counts as a failure.
local MOST_GONE = 2
-- A poll that brings nothing before its time makes the next one wait: 1/4, 1/2 ... 4 seconds.
local IDLE_S, IDLE_MOST = 0.25, 5

local cursor, gone, idle = 0, 0, 0

local on_message = function() end
local on_fresh = function() return {} end

local failed, ended

-- Refusals that were logged as a warning. The same one comes with every turn of an NPC.
local MOST_TOLD = 32
local told, n_told = {}, 0

--- Sets what is called with each message, `fn(message)`.
function session.on_message(fn)
	on_message = fn
end

--- Sets what gives the messages that a new session begins with, `fn()`.
function session.on_fresh(fn)
	on_fresh = fn
end

-- Requests ---------------------------------------------------------------------------------------

--- Sends a request.
-- @param kind "open", "ask", "poll" or "flush"
-- @param about what `exchange.body` takes, and `probe` where it looks whether Palaver is back
function session.send(kind, about)
	about.session = session.id
	about.cursor = cursor
	for _, entry in ipairs(about.entries) do
		if entry.ask then
			watch.sent(entry.turn, entry.turn == about.turn)
		end
	end
	session.sent_at = A.now()
	local request = {
		at = session.sent_at,
		cursor = cursor,
		kind = kind,
		body = exchange.body(about),
		wait_ms = about.wait_ms,
		on_end = ended,
		session = session.id,
		entries = about.entries,
		turn = about.turn,
		probe = about.probe,
	}
	if not requests.start(request) then
		failed(request, "no connection")
	end
end

--- What the server has to know of everything, as entries for the outbox.
function session.state()
	-- What is still refused is refused again.
	A.stats.refusal = nil
	local ok, messages = A.protect.call("npcs.state", on_fresh)
	local entries = {}
	for _, message in ipairs(ok and type(messages) == "table" and messages or {}) do
		entries[#entries + 1] = outbox.entry(message)
	end
	return entries
end

--- Opens a new one, with the whole state.
function session.open(probe)
	local entries = session.state()
	told, n_told = {}, 0
	outbox.clear()
	outbox.put_back(entries)
	outbox.lossy = false
	-- What is too much for this request follows when it is answered.
	session.send("open", {entries = outbox.take(#entries), wait_ms = 0, probe = probe})
end

-- Ends ---------------------------------------------------------------------------------------------

local function lose_asks(entries)
	for _, entry in ipairs(entries) do
		if entry.ask then
			watch.lose(entry.turn, "away")
		end
	end
end

function failed(request, why, words)
	A.stats.count("errors", why)
	if request.session ~= nil and request.session == session.id then
		local back = {}
		for _, entry in ipairs(request.entries) do
			if not entry.ask then
				back[#back + 1] = entry
			end
		end
		-- All but a turn may be sent twice without harm.
		outbox.put_back(back)
	end
	if requests.current(request) then
		requests.renew()
		backoff.down(why, words)
		watch.lose_where("away", function(turn)
			-- The rest of a line that has begun may still come, if the next probe succeeds.
			return backoff.failures > 1 or not turn.text
		end)
	end
	lose_asks(request.entries)
end

-- The server does not know the session. What that held is lost, but not what it was asked just now.
local function unknown_session(request)
	session.id, cursor, gone = nil, 0, gone + 1
	if gone > MOST_GONE then
		failed(request, "http 410")
		return
	end
	requests.renew()
	local again = {}
	for _, entry in ipairs(request.entries) do
		if entry.ask and watch.again(entry.turn) then
			again[#again + 1] = entry
		end
	end
	outbox.put_back(again)
	watch.lose_where("away", function(turn)
		return not turn.waiting
	end)
	session.open(request.probe)
end

-- Palaver is there, but will not have this: the same again would be no better.
local function refused(request, why, words)
	A.stats.count("errors", why)
	A.log("warning", ("Palaver refuses a request (%s): %s"):format(why, words or "without a reason"))
	lose_asks(request.entries)
end

-- Whoever runs the server has to see once why an NPC has canned lines only: its persona is not there.
local function note_refusal(code, words)
	local new = not told[words] and n_told < MOST_TOLD
	if new then
		told[words], n_told = true, n_told + 1
	end
	-- A turn of an NPC that was refused itself; what matters is why that was.
	local follows = code == "unknown_npc"
	if not follows then
		A.stats.refusal = words
	end
	A.log(new and not follows and "warning" or "info",
		("Palaver refuses a message (%s): %s"):format(code, words))
end

local function deliver(message)
	local turn = watch.get(message.turn)
	if turn and message.type == "turn.delta" then
		turn.text = true
	elseif turn and (message.type == "turn.done" or message.type == "error") then
		watch.drop(message.turn)
	end
	if message.type == "error" then
		local code = A.text.line(message.code, 40)
		A.stats.count("errors", code)
		note_refusal(code, A.text.line(message.message, 300))
	end
	A.protect.call("turns.message", on_message, message)
end

-- A server that ends polls at once would be asked in every step.
local function pace_polls(request, answer)
	local now = A.now()
	if answer.cursor > request.cursor or now - request.at >= request.wait_ms / 2000 then
		idle = 0
	else
		idle = math.min(idle + 1, IDLE_MOST)
		session.poll_at = now + IDLE_S * 2 ^ (idle - 1)
	end
end

local function accept(request, answer)
	if request.kind == "open" then
		session.id, cursor = answer.session, answer.cursor
	elseif answer.session ~= session.id then
		session.id = nil
		failed(request, "wrong answer")
		return
	elseif not request.turn then
		cursor = math.max(cursor, answer.cursor)
	end
	if request.kind ~= "open" then
		gone = 0
	end
	if request.kind == "poll" then
		pace_polls(request, answer)
	end
	if requests.current(request) then
		backoff.up(gone == 0)
	end
	for _, message in ipairs(answer.messages) do
		deliver(message)
	end
end

function ended(request, result)
	if request.turn then
		watch.let_go(request.turn)
	end
	if request.session ~= session.id then
		-- Of a session that is over; or one opened in vain, while another was.
		return
	end
	local answer, why, words = exchange.read(result)
	if answer then
		accept(request, answer)
	elseif why == "http 410" and request.session then
		unknown_session(request)
	elseif (why == "http 400" or why == "http 413") and request.session and not request.probe then
		refused(request, why, words)
	else
		failed(request, why, words)
	end
end

return session
