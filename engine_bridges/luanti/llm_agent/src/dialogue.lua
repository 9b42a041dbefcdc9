-- The dialogue: a form with what was said, where the reply appears word by word.
--
-- A form that is sent again loses what is typed into it. So it is sent again only while the NPC
-- speaks, five times a second at most, and has no field to type in then; once the player can type it
-- stays as it is until they send something.
local A = ...

local M = {}

local FORM = "llm_agent:dialogue"
local INTERVAL_S = 0.2
local LEAST_BETWEEN_S = 0.3 -- between two things that a player sends
local SLACK = 4 -- nodes; an NPC may walk a little
local MOST_LINES = 40 -- of one transcript
local MOST_NPCS = 12 -- transcripts kept of one player
local MOST_SHOWN = 300 -- code points of what the player said, who knows it
local MOST_RAW = 40000 -- bytes of a field that are looked at

local form = assert(loadfile(A.path .. "/src/dialogue_form.lua"))(A)
M.form = form

local players = {} -- name -> {open = view | nil, transcripts = {npc id -> list}, order = {npc ids}}

local function state_of(name)
	if not players[name] then
		players[name] = {transcripts = {}, order = {}}
	end
	return players[name]
end

local function transcript(name, id)
	local state = state_of(name)
	local list = state.transcripts[id]
	if not list then
		list = {}
		state.transcripts[id] = list
		table.insert(state.order, id)
		if #state.order > MOST_NPCS then
			state.transcripts[table.remove(state.order, 1)] = nil
		end
	end
	return list
end

--- Adds a line: `who` is "player", "npc" or "note".
local function add(name, id, who, text)
	local list = transcript(name, id)
	if who == "player" and A.text.len(text) > MOST_SHOWN then
		text = A.text.cut(text, MOST_SHOWN) .. " ..."
	end
	local entry = {who = who, text = text}
	list[#list + 1] = entry
	if #list > MOST_LINES then
		table.remove(list, 1)
	end
	return entry
end

local function view_of(name, id)
	local view = players[name] and players[name].open
	if view and (not id or view.npc == id) then
		return view
	end
	return nil
end

--- Whether a player has the dialogue with this NPC in front of them.
function M.shows(name, id)
	return view_of(name, id) ~= nil
end

local function send(name, view)
	local npc = A.npcs.get(view.npc)
	if not npc then
		return
	end
	view.dirty, view.sent_at = false, A.now()
	core.show_formspec(name, FORM, form.build({
		npc = npc,
		player = name,
		lines = transcript(name, view.npc),
		speaking = view.speaking,
		quests = A.quests ~= nil and A.quests.show ~= nil,
	}))
end

local function close(name)
	if players[name] and players[name].open then
		players[name].open = nil
		core.close_formspec(name, FORM)
	end
end
M.close = close

local function far(player, view)
	local pos = player:get_pos()
	local at = view.object and view.object:get_pos() or A.npcs.pos(view.npc)
	return not pos or not at
		or vector.distance(pos, at) > A.settings.talk_radius + SLACK
end

--- Open the dialogue with an NPC for a player (an ObjectRef).
function M.open(player, id, object)
	local name = player:get_player_name()
	local npc = A.npcs.get(id)
	if not npc then
		core.chat_send_player(name, A.S("Nobody answers: this NPC (@1) is no longer known here.",
			tostring(id)))
		return false
	end
	if object and object:get_pos() and A.entity then
		A.entity.face(object, player:get_pos())
	end
	if #transcript(name, id) == 0 and npc.def.greeting then
		add(name, id, "npc", A.text.clean(npc.def.greeting, 500))
	end
	local view = {npc = id, object = object, speaking = A.npcs.speaking(id, name), sent_at = 0}
	state_of(name).open = view
	npc.body = object or npc.body
	send(name, view)
	return true
end

-- What the player does -------------------------------------------------------------------------------

local REASONS = {
	busy = "@1 is still speaking with you.",
	gone = "@1 does not hear you.",
	unknown = "@1 does not hear you.",
}

local function ask(player, name, view, raw)
	local text = A.text.line(raw:sub(1, MOST_RAW))
	if text == "" then
		send(name, view)
		return
	end
	local npc = A.npcs.get(view.npc)
	local long = A.text.len(text) > A.npcs.MAX_SAID
	text = long and A.text.cut(text, A.npcs.MAX_SAID) or text
	add(name, view.npc, "player", text)
	if long then
		add(name, view.npc, "note", A.S("Only the first @1 characters were heard.", A.npcs.MAX_SAID))
	end
	view.speaking = true
	local body = view.object and view.object:get_pos() and view.object or nil
	local turn, reason = A.npcs.speak(view.npc, name, {text = text}, {
		via = "dialogue",
		object = body,
		audience = body and A.chat.audience(player:get_pos(), name, npc) or nil,
	})
	if not turn and reason ~= "queued" then
		view.speaking = false
		if reason == "cooldown" then
			add(name, view.npc, "npc", A.canned.line(view.npc, "cooldown", name))
		else
			add(name, view.npc, "note", A.S(REASONS[reason] or "@1 does not answer.", npc.name))
		end
	end
	send(name, view)
end

local function stop(name, view)
	A.npcs.drop_player(name, view.npc)
	for _, turn in ipairs(A.turns.of_player(name)) do
		if turn.npc == view.npc then
			A.turns.cancel(turn.id, turn.shown)
		end
	end
end

local function on_fields(player, formname, fields)
	local name = player and player:get_player_name() or ""
	local state = players[name]
	if formname ~= FORM then
		-- Another form is in front of the player now; ours must not come back over it.
		if state then
			state.open = nil
		end
		return false
	end
	local view = state and state.open
	if not view or type(fields) ~= "table" then
		return true -- an answer to a form that nobody showed
	elseif fields.quit or fields.bye then
		-- Also after Escape: a refresh that was on its way has opened the form again.
		close(name)
		return true
	elseif far(player, view) then
		close(name)
		core.chat_send_player(name, A.S("That is too far away to talk."))
		return true
	end
	local now = A.now()
	if view.asked_at and now - view.asked_at < LEAST_BETWEEN_S then
		return true
	end
	view.asked_at = now
	if view.speaking then
		if fields.stop then
			stop(name, view)
		end
	elseif fields.quests and A.quests and A.quests.show then
		state.open = nil
		A.quests.show(name)
	elseif fields.say or fields.key_enter_field == "said" then
		ask(player, name, view, type(fields.said) == "string" and fields.said or "")
	end
	return true
end

-- What the NPC does ----------------------------------------------------------------------------------

local function on_start(npc, turn)
	if not turn.player or turn.via == "say" then
		return
	end
	local view = view_of(turn.player, npc.id)
	if turn.via ~= "dialogue" and turn.text then
		add(turn.player, npc.id, "player", turn.text)
	end
	turn.entry = add(turn.player, npc.id, "npc", "")
	if view and turn.via == "dialogue" then
		view.speaking, view.dirty = true, true
	end
end

local function on_text(npc, turn, shown)
	if turn.entry then
		turn.entry.text = shown
		local view = view_of(turn.player, npc.id)
		-- A field that somebody may be typing in is left alone.
		if view and view.speaking then
			view.dirty = true
		end
	end
end

local function on_done(npc, turn)
	if not turn.entry then
		return
	end
	turn.entry.text = turn.shown or turn.entry.text
	local view = view_of(turn.player, npc.id)
	if view and view.speaking then
		view.speaking = A.npcs.speaking(npc.id, turn.player)
		view.dirty = true
	end
end

local function step()
	local now = A.now()
	for name, state in pairs(players) do
		local view = state.open
		if view and view.speaking and not A.npcs.speaking(view.npc, name) then
			-- What was waiting for its turn never got one.
			view.speaking, view.dirty = false, true
		end
		if view and view.dirty and now - view.sent_at >= INTERVAL_S then
			local player = core.get_player_by_name(name)
			if not player then
				players[name] = nil
			elseif view.object and not view.object:get_pos() then
				add(name, view.npc, "note", A.S("@1 is gone.", A.npcs.get(view.npc).name))
				view.object, view.speaking = nil, false
				send(name, view)
			else
				send(name, view)
			end
		end
	end
end

table.insert(A.npcs.listeners, {name = "dialogue", on_start = on_start, on_text = on_text,
	on_done = on_done})
table.insert(A.steps, {name = "dialogue", fn = step})
core.register_on_player_receive_fields(A.protect.wrap("dialogue.on_fields", on_fields, false))
core.register_on_leaveplayer(A.protect.wrap("dialogue.on_leave", function(player)
	players[player:get_player_name()] = nil
end))

return M
