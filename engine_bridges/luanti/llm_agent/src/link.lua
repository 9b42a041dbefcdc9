-- The mod's one connection to Palaver, over single HTTP requests, shared by all NPCs: what goes out, and when.
--
-- A turn is started by an *ask*, which the server holds until the turn's first event. What comes after
-- that, for all turns together, is brought by the one *poll*, open only while a turn is. What has nobody
-- to go with goes by a *flush*. While Palaver is away, a *probe* now and then looks whether it is back.

local A = ...
local outbox, requests, session, watch, backoff = A.outbox, A.requests, A.session, A.watch, A.backoff
local link = {}

-- The server forgets a session that is silent for ten minutes.
local KEEP_S = 240
local RESYNC_S = 5
-- With a single slot a poll must not keep the next turn waiting.
local SINGLE_WAIT_MS = 300

local resynced_at = -math.huge

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
		session.send("ask", {entries = entries, turn = entries[first].turn, wait_ms = A.settings.hold_ms})
		first = outbox.first_ask()
	end
end

local function poll(linger_ms, entries)
	watch.polled()
	local wait_ms = A.settings.wait_ms
	if A.settings.max_requests == 1 then
		wait_ms = math.min(wait_ms, SINGLE_WAIT_MS)
	end
	session.send("poll", {entries = entries, wait_ms = wait_ms, linger_ms = linger_ms})
end

local function pump(now)
	if outbox.lossy then
		link.resync()
	end
	hold()
	local crowded = outbox.crowded()
	if backoff.state == "up" and now >= session.poll_at and requests.flying("poll") == 0 and requests.free() > 0 then
		local linger_ms = watch.linger_ms()
		-- Turns for which there was no slot go with the poll, all together, and it brings their first words.
		if linger_ms or (outbox.first_ask() and not crowded) then
			poll(linger_ms or A.settings.linger_ms, crowded and {} or outbox.take())
		end
	end
	if backoff.state == "up" and may_flush()
		and (crowded or outbox.due(now) or now - session.sent_at > KEEP_S) then
		session.send("flush", {entries = outbox.take(), wait_ms = 0})
	end
end

-- Looks whether Palaver is there; the first time too.
local function probe(now)
	if now < backoff.retry_at or requests.free() < 1
		or requests.flying("open") + requests.flying("flush") > 0 then
		return
	elseif session.id then
		session.send("flush", {entries = {}, wait_ms = 0, probe = true})
	else
		session.open(true)
	end
end

--- Looks for answers, and sends what is to be sent; once a server step.
function link.step()
	if backoff.state == "off" then
		return
	end
	requests.step()
	local now = A.now()
	if backoff.state == "up" and session.id then
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
		if backoff.state == "up" and session.id then
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
	if backoff.state ~= "up" or not session.id or now - resynced_at < RESYNC_S then
		return false
	end
	resynced_at = now
	outbox.put_back(session.state())
	outbox.lossy = false
	return true
end

--- Tries again now, whatever the back-off says, and whatever still hangs.
function link.retry()
	if backoff.state == "off" then
		return
	elseif backoff.state ~= "up" then
		requests.renew()
	end
	backoff.anew()
end

--- Sets what is called with each message, `fn(message)`.
link.on_message = session.on_message

--- Sets what gives the messages that a new session begins with, `fn()`.
link.on_fresh = session.on_fresh

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
