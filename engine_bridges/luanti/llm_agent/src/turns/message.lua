-- The message `turn.start`, of what a caller wishes: what cannot be used is left out.
--
-- Loaded by turns.lua.

local A = ...

-- The wire's bound is 4,000; nobody reads that much in a bubble.
local MOST_SAID = 2000
local MOST_AUDIENCE = 32
-- The server gets this much less time for the first words than the player has patience.
local WAY_S = 0.5

local PRIORITIES = {player = true, scene = true, ambient = true, background = true}

local function id_or_nil(value)
	if type(value) == "string" and value ~= "" and #value <= 128 then
		return value
	end
end

local function language(value)
	if type(value) == "string" and A.settings.is_language(value) then
		return value
	end
end

return function(t)
	local message = {
		type = "turn.start",
		npc = id_or_nil(t.npc),
		player = id_or_nil(t.player),
		speaker = id_or_nil(t.speaker),
		priority = PRIORITIES[t.priority] and t.priority or nil,
		lang = language(t.lang) or language(A.settings.lang),
		first_text_ms = math.max(1, math.floor((A.settings.first_words_s - WAY_S) * 1000)),
	}
	if type(t.text) == "string" then
		message.text = A.text.line(t.text, MOST_SAID)
	elseif type(t.cue) == "string" then
		message.cue = A.text.line(t.cue, MOST_SAID)
	end
	local audience = {}
	for _, one in ipairs(type(t.audience) == "table" and t.audience or {}) do
		if #audience < MOST_AUDIENCE then
			audience[#audience + 1] = id_or_nil(one)
		end
	end
	message.audience = audience[1] and audience or nil
	return message
end
