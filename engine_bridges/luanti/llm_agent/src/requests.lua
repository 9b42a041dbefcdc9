-- HTTP requests to Palaver, never more at a time than the mod's budget.
--
-- The engine shares one small limit of parallel requests among all mods, cannot cancel a request and
-- says nothing before it is complete. So what is in flight is counted here until its answer is there,
-- or until it is long overdue. Nothing but `fetch_async` starts one.

local A = ...
local requests = {}

-- Nobody else needs the engine's table, and no global holds it.
local http = A.http
A.http = nil

-- Above what the server waits; the engine has whole seconds only, and takes 0 for no limit.
local SPARE_S = 3
-- After its time limit a request is written off: the engine has lost it.
local OVERDUE_S = 5

local PATH = "/luanti/v1/exchange"

local open = {}
-- A new one begins when a connection ends: what is in flight from before still is in the budget, but
-- is not the ask or the poll that anybody waits for.
local epoch = 0

--- Whether the engine gives us HTTP at all.
requests.available = type(http) == "table" and type(http.fetch_async) == "function"
	and type(http.fetch_async_get) == "function"

-- Made anew for each request: an admin may change the token and say /llm_agent reload.
local function headers()
	local token = A.settings.token
	return {"Content-Type: application/json", token ~= "" and "Authorization: Bearer " .. token or nil}
end

--- How many are in flight.
function requests.open()
	return #open
end

--- How many of a kind are in flight; not those from before `renew`.
function requests.flying(kind)
	local n = 0
	for _, request in ipairs(open) do
		if request.epoch == epoch and request.kind == kind then
			n = n + 1
		end
	end
	return n
end

--- Waits no longer for what is in flight.
function requests.renew()
	epoch = epoch + 1
end

--- Whether a request was started after the last `renew`.
function requests.current(request)
	return request.epoch == epoch
end

--- How many more may be started.
function requests.free()
	return A.settings.max_requests - #open
end

--- Sends one; whoever calls looks at `free` before.
-- @param request `kind`, `body` (JSON, never empty), `wait_ms` (how long the server may hold it), and
-- `on_end(request, result)`, called in a later step, once. `result` has either `code` and `data`, or
-- `why`: "timeout", "no connection" or "no answer".
-- @return whether it could be sent
function requests.start(request)
	request.epoch = epoch
	if requests.free() < 1 then
		return false
	end
	local timeout = math.ceil(request.wait_ms / 1000) + SPARE_S
	local ok, handle = A.protect.call("fetch_async", http.fetch_async, {
		url = A.settings.url .. PATH,
		method = "POST",
		-- Without a body the engine reads the server's standard input, and all mods wait.
		data = request.body,
		timeout = timeout,
		extra_headers = headers(),
		-- Since 5.16: failures are ours to log.
		quiet = true,
	})
	if not ok or handle == nil then
		return false
	end
	request.body = nil
	request.handle = handle
	request.overdue = A.now() + timeout + OVERDUE_S
	open[#open + 1] = request
	A.stats.requests = A.stats.requests + 1
	return true
end

local function outcome(result)
	if result.timeout then
		-- What came before the time was over is not a whole answer, whatever its code.
		return {why = "timeout"}
	end
	local code = tonumber(result.code) or 0
	-- A version that fails on codes from 400 on still gives the code.
	if code == 0 or (code < 400 and not result.succeeded) then
		return {why = "no connection"}
	end
	return {code = code, data = result.data}
end

-- What became of one: its result, or nil while it is in flight.
local function look(request, now)
	local ok, result = A.protect.call("fetch_async_get", http.fetch_async_get, request.handle)
	if not ok or type(result) ~= "table" then
		return {why = "no answer"}
	end
	if result.completed then
		return outcome(result)
	end
	return now > request.overdue and {why = "no answer"} or nil
end

--- Looks after all of them; once a server step.
function requests.step()
	if #open == 0 then
		return
	end
	local now = A.now()
	local still, ended = {}, {}
	for _, request in ipairs(open) do
		local result = look(request, now)
		if result then
			ended[#ended + 1] = {request, result}
		else
			still[#still + 1] = request
		end
	end
	-- First all are taken out, so that what their ends start finds the slots free.
	open = still
	for _, pair in ipairs(ended) do
		A.protect.call("answer", pair[1].on_end, pair[1], pair[2])
	end
end

return requests
