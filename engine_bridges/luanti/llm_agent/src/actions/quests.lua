-- start_quest and complete_quest: the model writes the quest, the game sees that it can be done.
local A = ...

local ONE_TURN_S = 600 -- ids of turns begin again with the game

local function gives_quests(npc)
	return npc.def.quests ~= false and next((A.trade.goods(npc))) ~= nil
end

local function text(description, most, example)
	return { type = "string", description = description, minLength = 1, maxLength = most, examples = { example } }
end

A.actions.register("start_quest", {
	description = "set the player a quest: to bring you an item, for a reward out of your wares",
	safe = true,
	usable = gives_quests,
	args = function(npc)
		return {
			type = "object",
			properties = {
				title = text("2 to 6 words", 60, "Whispering Herbs"),
				description = text("one sentence to the player", 200, "Bring me what whispers in the forest."),
				item = text(nil, 60, "flower"),
				count = { type = "integer", minimum = 1, maximum = 99, examples = { 5 } },
				reward = text(nil, 60, A.trade.example(npc)),
				reward_count = { type = "integer", minimum = 1, maximum = 20, default = 1 },
			},
			required = { "title", "item", "count", "reward" },
		}
	end,
	run = function(npc, player, args, ctx)
		local item, why = A.items.find(args.item, A.items.held(player), true)
		if not item then
			return false, why
		elseif not A.items.obtainable(item) then
			return false, ("nobody can get %s"):format(A.items.plain(item))
		end
		local reward
		reward, why = A.items.find(args.reward, A.trade.held(npc))
		if not reward then
			return false, why
		elseif reward == item then
			return false, "the reward cannot be the item itself"
		end
		local quest
		quest, why = A.quests.start(npc, player:get_player_name(), {
			title = args.title,
			description = args.description or args.title,
			item = item,
			count = args.count,
			reward = reward,
			reward_count = args.reward_count,
			turn = ctx.turn,
		})
		if not quest then
			return false, why
		end
		local words = A.items.counted(quest.count, item)
		local prize = A.items.counted(quest.reward_count, reward)
		core.chat_send_player(player:get_player_name(), A.S("New quest: @1. Bring @2 to @3 for @4. See @5.",
			quest.title, words, quest.npc_name, prize, "/" .. A.quests.command))
		return true, ("the quest is set: bring %s for %s"):format(words, prize)
	end,
})

-- The quest of these two that the words mean: the only one, or the one they name.
local function meant(open, words, player)
	if #open == 1 then
		return open[1]
	end
	words = (words or ""):lower()
	for _, quest in ipairs(open) do
		if words ~= "" and (quest.title:lower():find(words, 1, true) or A.items.mentions(words, quest.item)) then
			return quest
		end
	end
	for _, quest in ipairs(open) do
		if A.items.count(A.items.list(player) or {}, quest.item) >= quest.count then
			return quest
		end
	end
	return open[1]
end

-- Set and done in one breath would take items that the player never agreed to give.
local function just_set(quest, ctx)
	return quest.turn == ctx.turn and A.trade.clock() - quest.at < ONE_TURN_S
end

A.actions.register("complete_quest", {
	description = "take the items of your quest from the player and give the reward",
	safe = true,
	usable = gives_quests,
	args = {
		type = "object",
		properties = { quest = text("its title, if there are several", 60, "Whispering Herbs") },
	},
	run = function(npc, player, args, ctx)
		local name = player:get_player_name()
		local open = A.quests.open(name, npc.id)
		if #open == 0 then
			return false, "the player has no quest of yours"
		end
		local quest = meant(open, args.quest, player)
		if just_set(quest, ctx) then
			return false, "you have only just set that quest; let the player answer first"
		end
		local ok, why = A.quests.complete(npc, player, quest)
		if not ok then
			return false, why
		end
		A.trade.change_will(npc.id, name, 0.15)
		local words = A.items.counted(quest.count, quest.item)
		local prize = A.items.counted(quest.reward_count, quest.reward)
		core.chat_send_player(name, A.S("Quest done: @1. You get @2.", quest.title, prize))
		return true, ("done: you got %s and gave %s"):format(words, prize)
	end,
})
