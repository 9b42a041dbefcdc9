-- The mod's one connection to Palaver: a session over single HTTP requests, shared by all NPCs.
--
-- A turn is started by an *ask*, which the server holds until the turn's first event. What comes after
-- that, for all turns together, is brought by the one *poll*, open only while a turn is. What has nobody
-- to go with goes by a *flush*. An answer that cannot be used means that Palaver is away: then turns
-- are lost at once, until a *probe* succeeds.

local A = ...
local outbox, requests, exchange, watch, backoff = A.outbox, A.requests, A.exchange, A.watch, A.backoff
local link = {}

-- The server forgets a session that is silent for ten minutes.
local KEEP_S = 240
local RESYNC_S = 5
-- With a single slot a poll must not keep the next turn waiting.
local SINGLE_WAIT_MS = 300
-- Sessions that may be forgotten one after the other before that counts as a failure.
local MOST_GONE = 2

-- A poll that brings nothing before its time makes the next one wait: 1/4, 1/2 ... 4 seconds.
local IDLE_S, IDLE_MOST = 0.25, 5

local session, cursor, gone = nil, 0, 0
local idle, poll_at = 0, 0
local sent_at, resynced_at = 0, -math.huge

local on_message = function() end
local on_fresh = function() return {} end

local failed, ended

-- Requests ---------------------------------------------------------------------------------------

local function send(kind, about)
	about.session = session
	about.cursor = cursor
	for _, entry in ipairs(about.entries) do
		if entry.ask then
			watch.sent(entry.turn, entry.turn == about.turn)
		end
	end
	sent_at = A.now()
	local request = {
		at = sent_at,
		cursor = cursor,
		kind = kind,
		body = exchange.body(about),
		wait_ms = about.wait_ms,
		on_end = ended,
		session = session,
		entries = about.entries,
		turn = about.turn,
		probe = about.probe,
	}
	if not requests.start(request) then
		failed(request, "no connection")
	end
end

-- What the server has to know of everything.
local function state_entries()
	local ok, messages = A.protect.call("link.on_fresh", on_fresh)
	local entries = {}
	for _, message in ipairs(ok and type(messages) == "table" and messages or {}) do
		entries[#entries + 1] = outbox.entry(message)
	end
	return entries
end

local function open_session(probe)
	outbox.clear()
	local entries = state_entries()
	outbox.put_back(entries)
	outbox.lossy = false
	-- What is too much for this request follows when it is answered.
	send("open", {entries = outbox.take(#entries), wait_ms = 0, probe = probe})
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
	if request.session ~= nil and request.session == session then
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
	session, cursor, gone = nil, 0, gone + 1
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
	open_session(request.probe)
end

-- Palaver is there, but will not have this: the same again would be no better.
local function refused(request, why, words)
	A.stats.count("errors", why)
	A.log("warning", ("Palaver refuses a request (%s): %s"):format(why, words or "without a reason"))
	lose_asks(request.entries)
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
		A.log("info", ("Palaver refuses a message (%s): %s"):format(code, A.text.line(message.message, 300)))
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
		poll_at = now + IDLE_S * 2 ^ (idle - 1)
	end
end

local function accept(request, answer)
	if request.kind == "open" then
		session, cursor = answer.session, answer.cursor
	elseif answer.session ~= session then
		session = nil
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
	if request.session ~= session then
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

-- What goes out ------------------------------------------------------------------------------------

-- Held asks leave one slot to the poll and one to flushes.
local function may_hold()
	local left = (requests.flying("poll") == 0 and 1 or 0) + (requests.flying("flush") == 0 and 1 or 0)
	return requests.free() > left and requests.flying("ask") < A.settings.max_requests - 2
end

local function may_flush()
	local left = requests.flying("poll") == 0 and A.settings.max_requests > 1 and 1 or 0
	return requests.free() > left and requests.flying("flush") == 0
end

-- Sends turns that wait, each with a request of its own, as long as there are slots.
local function hold()
	local first = outbox.first_ask()
	while first and backoff.state == "up" and may_hold() and not outbox.crowded() do
		local entries = outbox.take(first)
		send("ask", {entries = entries, turn = entries[first].turn, wait_ms = A.settings.hold_ms})
		first = outbox.first_ask()
	end
end

local function poll(linger_ms, entries)
	watch.polled()
	local wait_ms = A.settings.wait_ms
	if A.settings.max_requests == 1 then
		wait_ms = math.min(wait_ms, SINGLE_WAIT_MS)
	end
	send("poll", {entries = entries, wait_ms = wait_ms, linger_ms = linger_ms})
end

local function pump(now)
	if outbox.lossy then
		link.resync()
	end
	hold()
	local crowded = outbox.crowded()
	if backoff.state == "up" and now >= poll_at and requests.flying("poll") == 0 and requests.free() > 0 then
		local linger_ms = watch.linger_ms()
		-- Turns for which there was no slot go with the poll, all together, and it brings their first words.
		if linger_ms or (outbox.first_ask() and not crowded) then
			poll(linger_ms or A.settings.linger_ms, crowded and {} or outbox.take())
		end
	end
	if backoff.state == "up" and may_flush()
		and (crowded or outbox.due(now) or now - sent_at > KEEP_S) then
		send("flush", {entries = outbox.take(), wait_ms = 0})
	end
end

-- Looks whether Palaver is there; the first time too.
local function probe(now)
	if now < backoff.retry_at or requests.free() < 1
		or requests.flying("open") + requests.flying("flush") > 0 then
		return
	elseif session then
		send("flush", {entries = {}, wait_ms = 0, probe = true})
	else
		open_session(true)
	end
end

--- Looks for answers, and sends what is to be sent; once a server step.
function link.step()
	if backoff.state == "off" then
		return
	end
	requests.step()
	local now = A.now()
	if backoff.state == "up" and session then
		pump(now)
	else
		probe(now)
	end
end

-- What others call ---------------------------------------------------------------------------------

--- Queues a wire message: it goes with the next request that does, within a second, or within a step.
-- @param how `{now = true}` where it must not wait for others
-- @return true, or nil and why it will not be sent
function link.send(message, how)
	if backoff.state == "off" then
		return nil, "off"
	end
	local entry, why = outbox.add(message, how)
	return entry and true, why
end

--- Starts a turn: sends the message `turn.start` and all that is queued before it.
-- Where that cannot be, what `on_lost` has set is called before this returns.
function link.ask(message)
	local id = message.turn
	watch.add(id)
	backoff.wanted()
	if backoff.state == "off" then
		watch.lose(id, "http")
	elseif backoff.state == "down" or not outbox.add(message, {ask = true}) then
		watch.lose(id, "away")
	else
		for _, entry in ipairs(outbox.drop_asks(A.settings.queue)) do
			A.stats.dropped = A.stats.dropped + 1
			watch.lose(entry.turn, "busy")
		end
		if backoff.state == "up" and session then
			hold()
		end
	end
end

--- Forgets a turn: nobody waits for it any more. Returns whether Palaver may know of it.
function link.release(id)
	local known = watch.drop(id)
	return not outbox.drop_ask(id) and known and backoff.state ~= "off"
end

--- Sends the whole state once more, but not again and again; returns whether it will.
function link.resync()
	local now = A.now()
	if backoff.state ~= "up" or not session or now - resynced_at < RESYNC_S then
		return false
	end
	resynced_at = now
	outbox.put_back(state_entries())
	outbox.lossy = false
	return true
end

--- Tries again now, whatever the back-off says.
link.retry = backoff.hurry

--- Sets what is called with each message, `fn(message)`.
function link.on_message(fn)
	on_message = fn
end

--- Sets what gives the messages that a new session begins with, `fn()`.
function link.on_fresh(fn)
	on_fresh = fn
end

--- Sets what is called when a turn is lost, `fn(turn, why, sent)`: "away", "busy" or "http", and whether
-- Palaver may know of it.
link.on_lost = watch.on_lost

--- Sets what says how many seconds of a turn's text are not shown yet, `fn(turn)`.
link.on_slack = watch.on_slack

--- How it stands: `state` is "starting", "up", "down" or "off" (no HTTP).
function link.state()
	local queued, waiting = outbox.size()
	local down = backoff.state == "down"
	return {
		state = backoff.state,
		why = backoff.why,
		retry_in_s = down and math.max(0, backoff.retry_at - A.now()) or nil,
		inflight = requests.open(),
		queued = queued,
		waiting = waiting,
		requests = A.stats.requests,
		failures = backoff.failures,
	}
end

if not requests.available then
	backoff.off("no HTTP")
	A.log("error", A.api.request_http_api
		and "the engine gives this mod no HTTP. Add the line `secure.http_mods = llm_agent` to minetest.conf"
		.. " (or the name to the list that stands there, or to secure.trusted_mods) and restart."
		.. " Until then NPCs have canned lines only."
		or "this engine was built without cURL: there is no HTTP, so NPCs have canned lines only. Take a"
		.. " build with it, and `secure.http_mods = llm_agent` in minetest.conf.")
end

table.insert(A.steps, {name = "link", fn = link.step})

return link
