-- What the mod counts, for `/llm_agent status` and for measurements.

local A = ...

-- Newest samples that are kept of each duration.
local SAMPLES = 4096

local stats = {
	asked = 0,      -- turns that were started
	answered = 0,   -- those that Palaver spoke, also if they were cut
	cancelled = 0,  -- those that the game gave up: the player left, the NPC is gone
	cut = 0,        -- those of `answered` that ended in the middle
	canned = {},    -- those that a canned line spoke, by reason
	dropped = 0,    -- those of `canned` that fell out of the mod's own queue
	requests = 0,   -- HTTP requests
	errors = {},    -- those that failed, and messages of kind `error`, by reason
	refusal = nil,  -- what Palaver said when it last refused a message
}

local samples, at, size = {}, 0, 0
local began = A.now()

--- Counts one more under a key of `canned` or `errors`; a table that grows too long is not a count.
function stats.count(group, key)
	local counts = stats[group]
	if not counts[key] then
		local keys = 0
		for _ in pairs(counts) do
			keys = keys + 1
		end
		if keys >= 32 then
			key = "other"
		end
	end
	counts[key] = (counts[key] or 0) + 1
end

--- Notes how long a player waited for the first words, in seconds.
function stats.first_words(seconds)
	at = at % SAMPLES + 1
	size = math.max(size, at)
	samples[at] = seconds
end

local function total(counts)
	local sum = 0
	for _, n in pairs(counts) do
		sum = sum + n
	end
	return sum
end

local function copy(counts)
	local result = A.json.map()
	for key, n in pairs(counts) do
		result[key] = n
	end
	return result
end

-- The smallest sample that at least the share `p` of all is not above.
local function quantile(sorted, p)
	return sorted[math.max(1, math.ceil(p * #sorted))]
end

--- All of it as a table that can be written as JSON; times in whole milliseconds.
function stats.snapshot()
	local sorted = {}
	for i = 1, size do
		sorted[i] = math.floor(samples[i] * 1000 + 0.5)
	end
	table.sort(sorted)
	local errors, last = A.protect.errors()
	return {
		uptime_s = math.floor(A.now() - began),
		asked = stats.asked,
		answered = stats.answered,
		cancelled = stats.cancelled,
		cut = stats.cut,
		canned = total(stats.canned),
		canned_why = copy(stats.canned),
		dropped = stats.dropped,
		requests = stats.requests,
		errors = total(stats.errors),
		errors_why = copy(stats.errors),
		refusal = stats.refusal,
		first_words_ms = A.json.map({
			samples = size,
			p50 = quantile(sorted, 0.5),
			p99 = quantile(sorted, 0.99),
			max = sorted[#sorted],
		}),
		lua_errors = errors,
		lua_error = last,
	}
end

return stats
