-- Two NPCs talk to each other where a player can hear it: a few lines, now and then.
--
-- Each line is a turn like any other, of the lowest priority but one: the first begins with a cue,
-- every further one answers the last. A talk ends where nobody listens any more, where a player
-- wants one of the two, and where a line was no model's: nobody should hear two machines chat.
local A = ...

local talks = {}

local LOOK_S = 3
local TOGETHER = 6
local MIN_LINES, MAX_LINES = 2, 6
local MAX_TALKS = 2
local PAUSE_S = 1.2
local LINE_S = 30
local MAX_NEAR, MAX_AUDIENCE = 8, 4
local MAX_PLAYERS = 8
local MAX_REMEMBERED = 512
local LONG_REST = 5 -- times the usual one, where no model speaks

local open, count = {}, 0 -- by NPC: both of a talk point to it
local rested, rested_order = {}, {}
local next_look, from_player = 0, 0

talks.random = math.random -- tests bring their own

-- Resting ----------------------------------------------------------------------------------------

local function rest(npc_id, times)
	if not rested[npc_id] then
		table.insert(rested_order, npc_id)
		if #rested_order > MAX_REMEMBERED then
			rested[table.remove(rested_order, 1)] = nil
		end
	end
	rested[npc_id] = A.now() + A.settings.npc_talk_cooldown_s * (times or 1)
end

local function is_free(npc)
	if open[npc.id] or npc.def.talks == false or (npc.busy or 0) > 0 then
		return false
	elseif (rested[npc.id] or 0) > A.now() or A.movement.moving(npc.id) then
		return false
	end
	return #A.turns.of_npc(npc.id) == 0
end

-- Ending -----------------------------------------------------------------------------------------

local function close(talk, times)
	if not talk.closed then
		talk.closed = true
		for _, id in ipairs(talk.who) do
			open[id] = nil
			rest(id, times)
		end
		count = count - 1
	end
end

-- Ends the talk of an NPC, in the middle of a word if need be: a player comes first.
function talks.stop(npc_id)
	local talk = open[npc_id]
	if not talk then
		return false
	end
	close(talk)
	if talk.turn then
		A.turns.cancel(talk.turn, talk.shown or "")
	end
	return true
end

function talks.talking(npc_id)
	return open[npc_id] ~= nil
end

-- Lines ------------------------------------------------------------------------------------------

local function heard_by_somebody(talk)
	local object = A.npcs.object(talk.who[1])
	local pos = object and object:get_pos()
	return pos and #A.npcs.players_near(pos, A.settings.hear_radius) > 0
end

local function both_there(talk)
	local one, two = A.npcs.object(talk.who[1]), A.npcs.object(talk.who[2])
	local from, to = one and one:get_pos(), two and two:get_pos()
	return from and to and vector.distance(from, to) <= TOGETHER * 2
end

-- Who else hears it, and will be known to have heard it: players first, then NPCs.
local function audience(talk)
	local pos, list = A.npcs.object(talk.who[1]):get_pos(), {}
	for i, player in ipairs(A.npcs.players_near(pos, A.settings.hear_radius)) do
		list[i] = i <= MAX_AUDIENCE and player:get_player_name() or nil
	end
	for i, near in ipairs(A.npcs.near(pos, A.settings.hear_radius)) do
		local id = near.npc.id
		if i > MAX_NEAR or #list >= 2 * MAX_AUDIENCE then
			break
		elseif id ~= talk.who[1] and id ~= talk.who[2] then
			table.insert(list, id)
		end
	end
	return list
end

local function cue(talk, npc)
	local other = A.npcs.get(talk.who[2])
	if talk.cue then
		return talk.cue
	end
	return ("%s stands beside %s, and nobody else wants anything. %s begins a short talk with %s, about "
		.. "what is going on around them."):format(npc.name or npc.id, other.name or other.id,
		npc.name or npc.id, other.name or other.id)
end

-- An authored line answers anything, and so nothing: it is no talk.
local function from_a_model(turn)
	local by = turn.served_by or {}
	return turn.by ~= "canned" and by.type ~= "static" and by.backend ~= "last_words"
end

local function on_done(talk, turn)
	if talk.closed or talk.turn ~= turn.id then
		return
	end
	talk.turn = nil
	talk.said = A.text.line(turn.shown or turn.all or "", 1000)
	if talk.said:match("^%s*$") or not from_a_model(turn) then
		close(talk, LONG_REST)
	elseif talk.line >= talk.lines then
		close(talk)
	else
		talk.next = A.now() + PAUSE_S
	end
end

local function speak(talk)
	local at = talk.line % 2 + 1
	local id, other = talk.who[at], talk.who[3 - at]
	local npc = A.npcs.get(id)
	local what = talk.line == 0 and { cue = cue(talk, npc) } or { text = talk.said }
	talk.line, talk.shown, talk.since = talk.line + 1, nil, A.now()
	-- Palaver has to know whom this one speaks with.
	for _, message in ipairs(A.npcs.messages(A.npcs.get(other), nil)) do
		A.link.send(message)
	end
	local turn = A.npcs.speak(id, nil, what, {
		via = "talk",
		speaker = other,
		audience = audience(talk),
		priority = "ambient",
		no_cooldown = true,
		no_queue = true,
		on_text = function(turn, shown)
			talk.shown = shown or turn.shown
		end,
		on_done = function(turn)
			on_done(talk, turn)
		end,
	})
	if turn then
		talk.turn = turn
	else
		close(talk)
	end
end

-- Begins a talk between two NPCs at once, with the first of them; `about` is a cue for it.
-- Returns true, or false and why not.
function talks.start(first, second, about)
	local one, two = A.npcs.get(first), A.npcs.get(second)
	if not one or not two or first == second then
		return false, "there are no two such NPCs"
	elseif count >= MAX_TALKS then
		return false, "enough talk for now"
	elseif not is_free(one) or not is_free(two) then
		return false, "one of them is busy"
	end
	local talk = {
		who = { first, second },
		line = 0,
		lines = talks.random(MIN_LINES, MAX_LINES),
		next = 0,
		since = A.now(),
		cue = about,
	}
	if not both_there(talk) or not heard_by_somebody(talk) then
		return false, "nobody listens"
	end
	open[first], open[second], count = talk, talk, count + 1
	speak(talk)
	return not talk.closed, talk.closed and "they have nothing to say" or nil
end

-- Looking for two --------------------------------------------------------------------------------

local function pair_near(player)
	local pos = player:get_pos()
	local free = {}
	for i, near in ipairs(pos and A.npcs.near(pos, A.settings.hear_radius) or {}) do
		if i > MAX_NEAR then
			break
		elseif is_free(near.npc) then
			for _, other in ipairs(free) do
				if vector.distance(near.object:get_pos(), other.object:get_pos()) <= TOGETHER then
					-- Spawned twice, one has another body elsewhere, where nobody would hear it.
					other.npc.body, near.npc.body = other.object, near.object
					return other.npc.id, near.npc.id
				end
			end
			table.insert(free, near)
		end
	end
end

-- A few players at a time, each in turn.
local function look()
	local players = core.get_connected_players()
	for _ = 1, math.min(#players, MAX_PLAYERS) do
		from_player = from_player % #players + 1
		local first, second = pair_near(players[from_player])
		if first and count < MAX_TALKS then
			if talks.random(2) == 2 then
				first, second = second, first
			end
			talks.start(first, second)
		end
	end
end

local function go_on(talk)
	if not both_there(talk) or not heard_by_somebody(talk) or A.now() - talk.since > LINE_S then
		talks.stop(talk.who[1])
	elseif not talk.turn and A.now() >= talk.next then
		speak(talk)
	end
end

-- One server step.
function talks.step()
	local now = A.now()
	if count > 0 then
		local each = {}
		for _, talk in pairs(open) do
			each[talk] = true
		end
		for talk in pairs(each) do
			if not A.protect.call("talks", go_on, talk) then
				close(talk)
			end
		end
	end
	if now < next_look or not A.settings.npc_talks then
		return
	end
	next_look = now + LOOK_S
	if count < MAX_TALKS and A.link.state().state == "up" then
		look()
	end
end

table.insert(A.steps, { name = "talks", fn = talks.step })
table.insert(A.npcs.listeners, {
	name = "talks",
	on_start = function(npc, turn)
		if turn.player then
			talks.stop(npc.id)
		end
	end,
})

return talks
