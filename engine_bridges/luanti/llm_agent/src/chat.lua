-- Chat: what a player says near an NPC is said to it, and its answer comes as chat lines.
--
-- A chat line cannot be edited, so it is sent when a sentence is complete.
local A = ...

local M = {}

local MOST_PER_LINE = 240 -- code points; a sentence without an end is broken there
local LEAST_PER_LINE = 50 -- shorter sentences wait for the next one
local MOST_AUDIENCE = 16
local BUSY_EVERY_S = 5

local told_busy = {} -- player -> when

-- Words by which a player may call an NPC: its name and each long word of it but articles.
local function called(npc, line)
	local low = " " .. line:lower():gsub("%p", " ") .. " "
	local name = npc.name:lower():gsub("%p", " ")
	if low:find(" " .. name .. " ", 1, true) then
		return true
	end
	for word in name:gmatch("%S+") do
		if #word >= 4 and low:find(" " .. word .. " ", 1, true) then
			return true
		end
	end
	return false
end

--- The NPC that a line is meant for: of those who hear it the one it names, else the nearest.
function M.addressee(pos, line)
	local first
	for _, near in ipairs(A.npcs.near(pos, 64)) do
		if near.distance <= (near.npc.def.radius or A.settings.hear_radius) then
			first = first or near
			if called(near.npc, line) then
				return near
			end
		end
	end
	return first
end

-- Who else hears it and remembers it: players and NPCs around.
local function audience(pos, player, npc)
	local list = {}
	for _, other in ipairs(A.npcs.players_near(pos, A.settings.hear_radius)) do
		local name = other:get_player_name()
		if name ~= player and #list < MOST_AUDIENCE then
			list[#list + 1] = name
		end
	end
	for _, near in ipairs(A.npcs.near(pos, A.settings.hear_radius)) do
		if near.npc ~= npc and #list < MOST_AUDIENCE then
			list[#list + 1] = near.npc.id
		end
	end
	return #list > 0 and list or nil
end
M.audience = audience

local function line_of(npc, text)
	return core.colorize(npc.colour, "<" .. npc.name .. "> ") .. text
end

local function on_chat(name, message)
	if type(message) ~= "string" or message:sub(1, 1) == "/" then
		return false
	end
	local player = core.get_player_by_name(name)
	local pos = player and player:get_pos()
	if not pos or not core.check_player_privs(name, {shout = true}) then
		return false
	end
	local near = M.addressee(pos, message)
	if not near then
		return false
	end
	local _, reason = A.npcs.speak(near.npc.id, name, {text = message}, {
		via = "chat",
		object = near.object,
		audience = audience(pos, name, near.npc),
	})
	if (reason == "busy" or reason == "cooldown")
			and A.now() - (told_busy[name] or -BUSY_EVERY_S) >= BUSY_EVERY_S then
		told_busy[name] = A.now()
		core.chat_send_player(name, reason == "busy"
			and core.colorize("#a0a0a0", A.S("@1 is still answering you.", near.npc.name))
			or line_of(near.npc, A.canned.line(near.npc.id, "cooldown", name)))
	end
	-- The player's own line is never swallowed.
	return false
end

-- What is said --------------------------------------------------------------------------------------

-- Who reads the lines of a turn.
local function readers(turn)
	local names, seen = {}, {}
	local function add(name)
		if not seen[name] and not A.dialogue.shows(name, turn.npc) then
			seen[name] = true
			names[#names + 1] = name
		end
	end
	if turn.player and core.get_player_by_name(turn.player) then
		add(turn.player)
	end
	local pos = turn.object and turn.object:get_pos()
	-- What is said in a dialogue is for that player; others see the bubble.
	if pos and turn.via ~= "dialogue" and not turn.opts.player then
		for _, player in ipairs(A.npcs.players_near(pos, A.settings.hear_radius * 1.5)) do
			add(player:get_player_name())
		end
	end
	return names
end

local function send(npc, turn, text)
	text = A.text.line(text)
	if text == "" then
		return
	end
	for _, name in ipairs(readers(turn)) do
		core.chat_send_player(name, line_of(npc, text))
	end
end

-- The byte behind the last whole sentence of `text`, or nil.
local function sentence_end(text)
	local last
	local at = 1
	while true do
		-- Closing quotes and brackets belong to the sentence; "3.5" is none.
		local _, stop = text:find("[%.!%?]+[\"')%]]*%s", at)
		if not stop then
			return last
		end
		last, at = stop - 1, stop + 1
	end
end

local function ready(text, least)
	local stop = sentence_end(text)
	if stop and stop >= least then
		return stop
	end
	if A.text.len(text) > MOST_PER_LINE then
		local head = A.text.cut(text, MOST_PER_LINE)
		local space = head:find("%s%S*$")
		return stop or space or #head
	end
	return nil
end

local function on_text(npc, turn, shown)
	if turn.opts.chat == false or turn.via == "dialogue" then
		return -- of a dialogue one reads the whole, if it was closed before the end
	end
	local from = turn.chat_sent or 0
	local pending = shown:sub(from + 1)
	local stop = ready(pending, LEAST_PER_LINE)
	if stop then
		send(npc, turn, pending:sub(1, stop))
		turn.chat_sent = from + stop
	end
end

local function on_done(npc, turn)
	if turn.opts.chat == false then
		return
	end
	send(npc, turn, (turn.shown or ""):sub((turn.chat_sent or 0) + 1))
end

table.insert(A.npcs.listeners, {name = "chat", on_text = on_text, on_done = on_done})
core.register_on_chat_message(A.protect.wrap("chat.on_chat", on_chat, false))
core.register_on_leaveplayer(A.protect.wrap("chat.on_leave", function(player)
	told_busy[player:get_player_name()] = nil
end))

return M
