-- Quests that NPCs write: kept per player in mod storage, shown by /quests.
--
-- The reward is taken out of the NPC's stock when the quest begins, so that it is there when the
-- quest is done; where a quest is dropped it goes back.
local A = ...

local quests = {}

local MAX_OPEN, MAX_OPEN_NPC, MAX_DONE = 5, 2, 20
local EXPIRES_S = 14 * 24 * 3600
local MAX_FACTS = 5

local books = {}

-- Keeping ----------------------------------------------------------------------------------------

local function sound(quest)
	return type(quest) == "table"
		and type(quest.id) == "string"
		and type(quest.npc) == "string"
		and type(quest.title) == "string"
		and type(quest.item) == "string"
		and type(quest.count) == "number"
		and type(quest.reward) == "string"
		and type(quest.reward_count) == "number"
		and type(quest.at) == "number"
end

local function keep(player_name)
	A.trade.save_table("quests:" .. player_name, books[player_name])
end

-- An NPC as the stock of a reward needs it, also where no such NPC is registered any more.
local function giver(quest)
	return A.npcs.get(quest.npc) or { id = quest.npc, def = {} }
end

local function give_back(quest)
	A.trade.add(giver(quest), quest.reward, quest.reward_count)
end

local function book_of(player_name)
	local book = books[player_name]
	if not book then
		local stored = A.trade.load_table("quests:" .. player_name)
		book = { open = {}, done = {}, last = tonumber(stored.last) or 0 }
		for _, quest in ipairs(type(stored.open) == "table" and stored.open or {}) do
			if sound(quest) and #book.open < MAX_OPEN then
				table.insert(book.open, quest)
			end
		end
		for _, quest in ipairs(type(stored.done) == "table" and stored.done or {}) do
			if sound(quest) and #book.done < MAX_DONE then
				table.insert(book.done, quest)
			end
		end
		books[player_name] = book
	end
	for at = #book.open, 1, -1 do
		if A.trade.clock() - book.open[at].at > EXPIRES_S then
			give_back(table.remove(book.open, at))
			keep(player_name)
		end
	end
	return book
end

-- The open quests of a player, the oldest first; with an NPC's id, those of that NPC.
function quests.open(player_name, npc_id)
	local list = {}
	for _, quest in ipairs(book_of(player_name).open) do
		if not npc_id or quest.npc == npc_id then
			table.insert(list, quest)
		end
	end
	return list
end

-- The quests a player has done, the last one first.
function quests.done(player_name)
	return book_of(player_name).done
end

local function changed(player_name)
	keep(player_name)
	quests.refresh(player_name)
end

-- Beginning and ending ---------------------------------------------------------------------------

-- Begins a quest whose item and reward are registered names.
-- Returns the quest, or nil and words for the model.
function quests.start(npc, player_name, quest)
	local book = book_of(player_name)
	local of_npc = quests.open(player_name, npc.id)
	if #book.open >= MAX_OPEN then
		return nil, ("the player has %d quests already and must finish or drop one"):format(MAX_OPEN)
	elseif #of_npc >= MAX_OPEN_NPC then
		return nil, ('the player still has your quest "%s"'):format(of_npc[1].title)
	end
	for _, other in ipairs(of_npc) do
		if other.item == quest.item then
			return nil, ('the player already has your quest "%s"'):format(other.title)
		end
	end
	local stock = A.trade.stock(npc, quest.reward)
	if stock < quest.reward_count then
		local words = A.items.counted(quest.reward_count, quest.reward)
		if stock == 0 then
			return nil, "you have no " .. A.items.plain(quest.reward) .. " to give"
		end
		return nil, ("you have only %d of %s to give"):format(stock, words)
	end
	if not A.trade.add(npc, quest.reward, -quest.reward_count) then
		return nil, "you cannot give that"
	end
	book.last = book.last + 1
	quest.id = tostring(book.last)
	quest.npc, quest.npc_name = npc.id, npc.name or npc.id
	quest.at = A.trade.clock()
	table.insert(book.open, quest)
	changed(player_name)
	return quest
end

local function remove(player_name, id)
	local open = book_of(player_name).open
	for at, quest in ipairs(open) do
		if quest.id == id then
			return table.remove(open, at)
		end
	end
end

-- Ends a quest: the items and the reward change hands together, or nothing does.
-- Returns true, or false and words for the model.
function quests.complete(npc, player, quest)
	local name = player:get_player_name()
	if A.trade.room(npc, quest.item) < quest.count then
		return false, "you cannot store " .. A.items.counted(quest.count, quest.item)
	end
	local ok, reason, one =
		A.items.exchange(player, { { quest.item, quest.count } }, { { quest.reward, quest.reward_count } })
	if not ok then
		return false, A.items.why(player, reason, one)
	end
	remove(name, quest.id)
	A.trade.add(npc, quest.item, quest.count)
	local done = book_of(name).done
	quest.at = A.trade.clock()
	table.insert(done, 1, quest)
	done[MAX_DONE + 1] = nil
	changed(name)
	return true
end

-- The player gives up a quest; the reward goes back to the NPC.
function quests.drop(player_name, id)
	local quest = remove(player_name, id)
	if quest then
		give_back(quest)
		changed(player_name)
	end
	return quest
end

-- How many of an item a player carries now.
function quests.has(player_name, item)
	local player = core.get_player_by_name(player_name)
	local list = player and A.items.list(player)
	return list and A.items.count(list, item) or 0
end

-- The player fact `quests`: what NPCs should know about them.
function quests.facts(player_name)
	local list = {}
	local player = core.get_player_by_name(player_name)
	local held = player and A.items.list(player) or {}
	for _, quest in ipairs(book_of(player_name).open) do
		if #list < MAX_FACTS then
			table.insert(list, {
				title = quest.title,
				from = quest.npc,
				item = A.items.plain(quest.item),
				count = quest.count,
				has = math.min(quest.count, A.items.count(held, quest.item)),
			})
		end
	end
	return list
end

table.insert(A.facts.providers.player, {
	name = "quests",
	fn = function(_, player)
		return { quests = quests.facts(player:get_player_name()) }
	end,
})

core.register_on_leaveplayer(A.protect.wrap("quests.on_leave", function(player)
	books[player:get_player_name()] = nil
end))

assert(loadfile(A.path .. "/src/actions/quest_list.lua"))(A, quests)

return quests
