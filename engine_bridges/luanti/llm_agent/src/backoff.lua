-- Whether Palaver is there, and when to look again if it is not.

local A = ...
local backoff = {
	state = "starting", -- "starting", "up", "down" or "off"
	why = nil,          -- what is wrong
	failures = 0,       -- in a row
	retry_at = 0,
	untold = false,     -- an admin waits for word of the next try
}

-- 1, 2, 4 ... seconds, less a random part, so that servers do not come back in step.
local MOST_S = 30
-- While players ask, a probe comes this long after the last one, or a little later.
local DEMAND_S = 2.5
-- With nobody asking for that long it may be seldom: each failure is a line in the engine's log.
local QUIET_S, QUIET_PROBE_S = 300, 300

local TOKEN = "it does not take our token: it wants that of role `engine` in Palaver's server.tokens, as"
	.. " llm_agent.token in minetest.conf, then restart the game server; or at once, until the next restart:"
	.. " `/set -n llm_agent.token <token>`, then `/llm_agent reload`"
local ADVICE = {
	["http 401"] = TOKEN,
	["http 403"] = TOKEN,
	["http 404"] = "what answers has no /luanti/v1/exchange: is llm_agent.url right, and is palaver-luanti"
		.. " installed beside Palaver?",
	["http 410"] = "it forgets the session at once; look into its log",
}

local failed_at, wanted_at = 0, -math.huge

local function delay(now)
	local base = math.min(MOST_S, 2 ^ math.min(backoff.failures - 1, 10))
	if backoff.barred then
		base = MOST_S
	end
	if base == MOST_S and now - wanted_at > QUIET_S then
		base = QUIET_PROBE_S
	end
	return base * (0.75 + math.random() / 4)
end

--- Notes that it answers.
-- @param sure that it also does what it is asked; a session alone proves little
function backoff.up(sure)
	if backoff.state ~= "up" or backoff.untold then
		A.log("action", "connected to Palaver at " .. A.settings.url)
	end
	backoff.state, backoff.why, backoff.barred, backoff.untold = "up", nil, false, false
	if sure then
		backoff.failures = 0
	end
end

--- Notes that it does not.
-- @param why a word for it, as `exchange.read` gives it
-- @param words the server's own, or nil
function backoff.down(why, words)
	local now = A.now()
	local first = backoff.state ~= "down" or backoff.untold
	local news = backoff.why ~= why
	backoff.failures = backoff.failures + 1
	backoff.barred = why == "http 401" or why == "http 403"
	backoff.state, backoff.why, backoff.untold = "down", why, false
	failed_at = now
	backoff.retry_at = now + delay(now)
	if first or (backoff.barred and news) then
		A.log(backoff.barred and "error" or "warning",
			("no answer from Palaver at %s (%s): %s. Canned lines until it answers."):format(A.settings.url,
			why, ADVICE[why] or words or "is it running? Start it, or correct llm_agent.url"))
	end
end

--- Notes that somebody wants an answer.
function backoff.wanted()
	wanted_at = A.now()
	if backoff.state == "down" and not backoff.barred then
		backoff.retry_at = math.min(backoff.retry_at, failed_at + DEMAND_S + math.random() / 2)
	end
end

--- Begins anew: the next probe comes now, and what it finds is logged. The address may be another one.
function backoff.anew()
	backoff.failures, backoff.barred, backoff.retry_at, backoff.untold = 0, false, 0, true
end

--- For good: there is no HTTP.
function backoff.off(why)
	backoff.state, backoff.why = "off", why
end

return backoff
