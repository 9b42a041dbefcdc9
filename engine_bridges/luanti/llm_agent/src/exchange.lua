-- The bodies of the one endpoint: what a request says, and what can be believed of an answer.

local A = ...
local exchange = {}

-- What one answer may bring: all of it is read in one server step.
local MOST_MESSAGES = 200

local function engine()
	local version = A.api.get_version and A.api.get_version() or {}
	return ("%s %s"):format(version.project or "Luanti", version.string or "")
end

-- What a new session is opened with.
local function start()
	return A.json.encode({
		protocol = 1,
		client = {name = A.name or "llm_agent", version = A.version or "", engine = engine()},
		game = A.settings.game,
		capabilities = {"emotion", "action", "heard"},
	})
end

--- Writes a request.
-- @param about `session` (nil opens one), `cursor`, `entries` (of the outbox), `turn` (the one whose
-- first event is waited for), `wait_ms`, `linger_ms`
function exchange.body(about)
	local messages = {}
	for i, entry in ipairs(about.entries) do
		messages[i] = entry.text
	end
	local parts = {
		about.session and '"session":' .. A.json.string(about.session) or '"start":' .. start(),
		('"cursor":%d'):format(about.cursor),
		'"messages":[' .. table.concat(messages, ",") .. "]",
		('"wait_ms":%d'):format(about.wait_ms),
		('"linger_ms":%d'):format(about.linger_ms or 0),
		('"max":%d'):format(MOST_MESSAGES),
	}
	if about.turn then
		parts[#parts + 1] = '"turn":' .. A.json.string(about.turn)
	end
	return "{" .. table.concat(parts, ",") .. "}"
end

local function is_count(value)
	return type(value) == "number" and value >= 0 and value < 2 ^ 53 and value % 1 == 0
end

-- Why the server refused, in its words, for the log.
local function reason(data)
	local body = A.json.decode(data)
	local problem = type(body) == "table" and body.error
	if type(problem) == "table" and type(problem.message) == "string" then
		return A.text.line(problem.message, 300)
	end
end

--- Reads what came.
-- @param result of `requests`
-- @return an answer with `session`, `cursor`, `messages` and `fresh`; or nil, a word for what is
-- wrong ("timeout", "no connection", "no answer", "http <code>", "no JSON", "wrong answer") and what the
-- server says about it, if it does
function exchange.read(result)
	if result.why then
		return nil, result.why
	end
	if result.code ~= 200 then
		return nil, "http " .. result.code, reason(result.data)
	end
	local body, why = A.json.decode(result.data)
	if not body then
		return nil, "no JSON", why
	end
	local messages = body.messages
	if messages == nil then
		messages = {}
	end
	if type(body.session) ~= "string" or body.session == "" or not is_count(body.cursor)
		or type(messages) ~= "table" then
		return nil, "wrong answer"
	end
	local good = {}
	for i = 1, MOST_MESSAGES do
		local message = messages[i]
		if type(message) == "table" and type(message.type) == "string" then
			good[#good + 1] = message
		end
	end
	return {session = body.session, cursor = body.cursor, fresh = body.fresh == true, messages = good}
end

return exchange
