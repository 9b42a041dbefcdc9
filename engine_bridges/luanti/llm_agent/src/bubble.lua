-- Speech bubbles: the nametag of an NPC grows with what it says and goes back to its name.
--
-- A nametag costs some 330 bytes a viewer whenever it changes, so it changes five times a second at
-- most, and only where somebody is near enough to read it.
local A = ...

local M = {}

local INTERVAL_S = 0.2
local VIEW = 32 -- nodes; from further away a nametag cannot be read
local COLUMNS = 46
local LINES = 4
local READING_S = {least = 3, most = 12, per_char = 0.06}
local BACKGROUND = {a = 190, r = 18, g = 20, b = 28}
local THINKING = "..."

local bubbles = {} -- ObjectRef -> bubble

-- The name on top, then the last lines of what is said: old words leave the bubble first.
local function label(name, text)
	local lines = A.text.wrap(text, COLUMNS)
	local first = math.max(1, #lines - LINES + 1)
	if first > 1 then
		lines[first] = "..." .. lines[first]
	end
	return name .. "\n" .. table.concat(lines, "\n", first)
end
M.label = label

-- What the nametag shows while nobody speaks.
local function rest(npc, object)
	local entity = object:get_luaentity()
	if entity and entity.name == "llm_agent:npc" then
		return {nametag = npc.name, nametag_color = npc.colour, nametag_bgcolor = false}
	end
	local now = object:get_properties() or {}
	return {nametag = now.nametag or "", nametag_color = now.nametag_color,
		nametag_bgcolor = now.nametag_bgcolor or false}
end

local function show(object, bubble)
	bubble.dirty = false
	bubble.sent_at = A.now()
	object:set_properties({
		nametag = label(bubble.name, bubble.text),
		nametag_color = "#ffffff",
		nametag_bgcolor = BACKGROUND,
	})
end

local function clear(object, bubble)
	bubbles[object] = nil
	if object:get_pos() then
		object:set_properties(bubble.rest)
	end
end

-- Two turns at once (two players ask one NPC): the bubble belongs to the one that began last.
local function owned(npc, turn)
	local object = turn.object and turn.object:get_pos() and turn.object or nil
	local bubble = object and bubbles[object]
	if bubble and bubble.turn == turn.id and bubble.npc == npc then
		return bubble
	end
	return nil
end

local function on_start(npc, turn)
	local object = turn.object
	if not A.settings.bubble or turn.opts.bubble == false or not object or not object:get_pos() then
		return
	end
	local before = bubbles[object]
	bubbles[object] = {
		npc = npc,
		turn = turn.id,
		name = npc.name,
		text = THINKING,
		dirty = true,
		sent_at = before and before.sent_at or 0,
		rest = before and before.rest or rest(npc, object),
	}
end

local function on_text(npc, turn, shown)
	local bubble = owned(npc, turn)
	if bubble and shown ~= "" and shown ~= bubble.text then
		bubble.text, bubble.dirty = shown, true
	end
end

local function on_done(npc, turn)
	local bubble = owned(npc, turn)
	if not bubble then
		return
	end
	local final = turn.shown or ""
	if final == "" then
		clear(turn.object, bubble)
		return
	end
	if final ~= bubble.text then
		bubble.text, bubble.dirty = final, true
	end
	bubble.clear_at = A.now() + math.max(READING_S.least,
		math.min(READING_S.most, A.text.len(final) * READING_S.per_char))
end

local function step()
	local now = A.now()
	for object, bubble in pairs(bubbles) do
		local pos = object:get_pos()
		if not pos then
			bubbles[object] = nil
		elseif bubble.clear_at and now >= bubble.clear_at then
			clear(object, bubble)
		elseif bubble.dirty and now - bubble.sent_at >= INTERVAL_S
				and #A.npcs.players_near(pos, VIEW) > 0 then
			show(object, bubble)
		end
	end
end

--- What the bubble over an object says now, or nil.
function M.text(object)
	return bubbles[object] and bubbles[object].text
end

table.insert(A.npcs.listeners, {name = "bubble", on_start = on_start, on_text = on_text,
	on_done = on_done})
table.insert(A.steps, {name = "bubble", fn = step})

return M
