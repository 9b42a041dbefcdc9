-- Messages that wait for a request to take them along, in order and never too many.

local A = ...
local outbox = {}

-- What one request takes.
local BATCH = 200
local BATCH_BYTES = 128 * 1024
-- What the server takes as one message.
local MESSAGE_BYTES = 60000
-- What may wait: the state of thousands of NPCs. Turns have their own bound, `llm_agent.queue`.
local MOST = 10000
local MOST_BYTES = 8 * 1024 * 1024
-- How long a message waits for company.
local PATIENCE_S = 1

local entries, bytes, asks = {}, 0, 0

--- Set when messages were lost: the state has to be sent again.
outbox.lossy = false

local function forget(entry)
	bytes = bytes - #entry.text
	if entry.ask then
		asks = asks - 1
	end
end

local function remember(entry)
	bytes = bytes + #entry.text
	if entry.ask then
		asks = asks + 1
	end
end

-- Throws away the oldest from place `i` on where there are too many; never turns.
local function bound(i)
	while (#entries > MOST or bytes > MOST_BYTES) and i <= #entries do
		if entries[i].ask then
			i = i + 1
		else
			forget(table.remove(entries, i))
			outbox.lossy = true
		end
	end
end

--- Makes an entry of a wire message, without adding it.
-- @return the entry, or nil and why it cannot be sent
function outbox.entry(message)
	local text, why = A.json.encode(message)
	if text and #text > MESSAGE_BYTES then
		text, why = nil, "it has more than 60,000 bytes"
	end
	if not text then
		A.log("warning", ("a message %s is not sent: %s"):format(tostring(message.type), why))
		return nil, why
	end
	return {text = text, type = message.type, turn = message.turn, due = A.now() + PATIENCE_S}
end

--- Adds a wire message at the end.
-- @param how `now`: it does not wait for company; `ask`: it starts a turn
-- @return the entry, or nil and why it cannot be sent
function outbox.add(message, how)
	local entry, why = outbox.entry(message)
	if not entry then
		return nil, why
	end
	entry.ask = how and how.ask or false
	if how and how.now then
		entry.due = 0
	end
	entries[#entries + 1] = entry
	remember(entry)
	bound(1)
	return entry
end

--- Puts entries before all others.
function outbox.put_back(list)
	local all = {}
	for _, entry in ipairs(list) do
		all[#all + 1] = entry
		remember(entry)
	end
	for _, entry in ipairs(entries) do
		all[#all + 1] = entry
	end
	entries = all
	-- What is put back may be the state, which makes good for what else is lost.
	bound(#list + 1)
end

--- Takes entries out for one request.
-- @param last how many at most, or nil; a request has limits of its own
function outbox.take(last)
	local list, size = {}, 0
	for i = 1, math.min(last or BATCH, BATCH, #entries) do
		size = size + #entries[i].text
		if i > 1 and size > BATCH_BYTES then
			break
		end
		list[i] = entries[i]
	end
	local rest = {}
	for i = #list + 1, #entries do
		rest[#rest + 1] = entries[i]
	end
	for _, entry in ipairs(list) do
		forget(entry)
	end
	entries = rest
	return list
end

--- Place of the first turn that waits, or nil.
function outbox.first_ask()
	if asks > 0 then
		for i, entry in ipairs(entries) do
			if entry.ask then
				return i
			end
		end
	end
end

--- Takes out the turns that wait for longest until at most `keep` are left; nothing else.
function outbox.drop_asks(keep)
	local gone = {}
	local i = 1
	while asks > keep and i <= #entries do
		if entries[i].ask then
			gone[#gone + 1] = table.remove(entries, i)
			forget(gone[#gone])
		else
			i = i + 1
		end
	end
	return gone
end

--- Takes out one turn that still waits; false if it does not.
function outbox.drop_ask(turn)
	for i, entry in ipairs(entries) do
		if entry.ask and entry.turn == turn then
			forget(table.remove(entries, i))
			return true
		end
	end
	return false
end

--- Throws away all but the turns that wait, for a new session: it gets the whole state, and knows
-- nothing of turns that have begun. What has piled up in an hour of silence would only delay it.
function outbox.clear()
	local rest = {}
	for _, entry in ipairs(entries) do
		if entry.ask then
			rest[#rest + 1] = entry
		else
			forget(entry)
		end
	end
	entries = rest
end

--- Whether something should not wait any longer.
function outbox.due(now)
	if asks > 0 then
		return true
	end
	for _, entry in ipairs(entries) do
		if entry.due <= now then
			return true
		end
	end
	return false
end

--- Whether there is more than one request takes. Then requests go one after the other: side by side the
-- later one may be handled first.
function outbox.crowded()
	return #entries > BATCH or bytes > BATCH_BYTES
end

--- How many wait, and how many of them are turns.
function outbox.size()
	return #entries, asks
end

return outbox
