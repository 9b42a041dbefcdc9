-- The list of quests: a form for whoever has a client, lines of text for the rest.
--
-- Loaded by quests.lua, to whose functions it adds.
local A, quests = ...

local FORM = "llm_agent:quests"

local chosen, shown = {}, {}

quests.command = "quests"

local function progress(player_name, quest)
	return tostring(math.min(quest.count, quests.has(player_name, quest.item)))
end

local function lines_of(player_name)
	local lines = {}
	for at, quest in ipairs(quests.open(player_name)) do
		local wanted = A.items.counted(quest.count, quest.item)
		local reward = A.items.counted(quest.reward_count, quest.reward)
		table.insert(lines, A.S("@1. @2 (@3): @4 of @5, for @6", tostring(at), quest.title, quest.npc_name or quest.npc,
			progress(player_name, quest), wanted, reward))
	end
	return lines
end

-- All about one quest, under the list.
local function told(player_name, quest)
	if not quest then
		return A.S("You have no quests. Ask around.")
	end
	local wanted = A.items.counted(quest.count, quest.item)
	local reward = A.items.counted(quest.reward_count, quest.reward)
	return ("%s: %s\n%s"):format(quest.npc_name or quest.npc, quest.description or quest.title,
		A.S("You have @1 of @2. Reward: @3", progress(player_name, quest), wanted, reward))
end

local function form(player_name)
	local open = quests.open(player_name)
	local at = math.min(chosen[player_name] or 1, math.max(1, #open))
	chosen[player_name] = at
	local rows = {}
	for i, quest in ipairs(open) do
		-- A # at the beginning would be a colour.
		rows[i] = core.formspec_escape((" %s (%s/%d)"):format(quest.title, progress(player_name, quest), quest.count))
	end
	local parts = {
		"formspec_version[4]size[11,8]",
		"label[0.5,0.6;", core.formspec_escape(A.S("Quests")), "]",
		"textlist[0.5,1;10,3;list;", table.concat(rows, ","), ";", at, "]",
		"textarea[0.5,4.2;10,2.6;;;", core.formspec_escape(told(player_name, open[at])), "]",
		"button_exit[8,6.9;2.5,0.8;close;", core.formspec_escape(A.S("Close")), "]",
	}
	if open[at] then
		table.insert(parts, "button[0.5,6.9;3.5,0.8;drop;" .. core.formspec_escape(A.S("Drop the quest")) .. "]")
	end
	return table.concat(parts)
end

-- Shows the list to a player.
function quests.show(player_name)
	shown[player_name] = true
	core.show_formspec(player_name, FORM, form(player_name))
end

-- Brings an open list up to date.
function quests.refresh(player_name)
	if shown[player_name] then
		quests.show(player_name)
	end
end

local function on_fields(player, formname, fields)
	if formname ~= FORM then
		return false
	end
	local name = player:get_player_name()
	if fields.quit then
		shown[name] = nil
		return true
	end
	local event = type(fields.list) == "string" and core.explode_textlist_event(fields.list) or {}
	if event.type == "CHG" or event.type == "DCL" then
		chosen[name] = math.max(1, math.floor(tonumber(event.index) or 1))
		quests.show(name)
	elseif fields.drop then
		local quest = quests.open(name)[chosen[name] or 1]
		if quest then
			quests.drop(name, quest.id)
		end
		quests.show(name)
	end
	return true
end

local function command(name, param)
	local number = param:match("^%s*drop%s+(%d+)%s*$")
	if number then
		local quest = quests.open(name)[tonumber(number)]
		if not quest then
			return false, A.S("You have no quest @1; see @2.", number, "/" .. quests.command)
		end
		quests.drop(name, quest.id)
		return true, A.S("You dropped the quest: @1", quest.title)
	end
	if core.get_player_by_name(name) and param:match("^%s*$") then
		quests.show(name)
		return true
	end
	local lines = lines_of(name)
	return true, #lines > 0 and table.concat(lines, "\n") or A.S("You have no quests. Ask around.")
end

core.register_on_player_receive_fields(A.protect.wrap("quests.on_fields", on_fields, false))
core.register_on_leaveplayer(A.protect.wrap("quest_list.on_leave", function(player)
	local name = player:get_player_name()
	chosen[name], shown[name] = nil, nil
end))

-- The engine stops where two mods register one command, and many games have quests: so ours comes last,
-- and under another name where that one is taken.
core.register_on_mods_loaded(A.protect.wrap("quests.register", function()
	if core.registered_chatcommands.quests then
		quests.command = "npc_quests"
	end
	core.register_chatcommand(quests.command, {
		params = "[list | drop <number>]",
		description = A.S("Shows your quests"),
		func = A.protect.wrap("quests.command", command, false),
	})
end))
