-- give_item and take_item: something passes from hand to hand.
local A = ...

local MAX_GIFT = 10
-- So many pieces one NPC gives one player within that time, however nicely they ask.
local MOST_GIVEN, GIVEN_S = 20, 1200
local MAX_KNOWN = 500

local given, known = {}, 0

-- What a player was given lately: {n, at}.
local function gifts(npc, player)
	local key = npc.id .. "|" .. player:get_player_name()
	local gift = given[key]
	if not gift then
		known = known + 1
		if known > MAX_KNOWN then
			given, known = {}, 1
		end
		gift = { n = 0, at = A.now() }
		given[key] = gift
	elseif A.now() - gift.at > GIVEN_S then
		gift.n, gift.at = 0, A.now()
	end
	return gift
end

local function first_of(set, fallback)
	local list = {}
	for name in pairs(set) do
		table.insert(list, A.items.plain(name))
	end
	table.sort(list)
	return list[1] or fallback
end

local function has_goods(npc)
	return next((A.trade.goods(npc))) ~= nil
end

local function tell(player, text)
	core.chat_send_player(player:get_player_name(), text)
end

local function schema(item, most)
	return {
		type = "object",
		properties = {
			item = { type = "string", maxLength = 60, examples = { item } },
			count = { type = "integer", minimum = 1, maximum = most, default = 1 },
		},
		required = { "item" },
	}
end

A.actions.register("give_item", {
	description = "give the player something of yours as a present",
	safe = true,
	usable = has_goods,
	args = function(npc)
		return schema(first_of(A.trade.goods(npc), "bread"), MAX_GIFT)
	end,
	run = function(npc, player, args)
		local item, why = A.items.find(args.item, A.trade.held(npc))
		if not item then
			return false, why
		end
		local stock = A.trade.stock(npc, item)
		if stock == 0 then
			return false, "you have no " .. A.items.plain(item)
		elseif stock < args.count then
			return false, ("you have only %d of %s"):format(stock, A.items.counted(args.count, item))
		elseif A.trade.is_purse(npc, item) then
			return false, "your purse is for buying; nobody gets it as a present"
		end
		local gift = gifts(npc, player)
		if gift.n + args.count > MOST_GIVEN then
			return false, "you have given the player enough for now"
		end
		local ok, reason, one = A.items.exchange(player, {}, { { item, args.count } })
		if not ok then
			return false, A.items.why(player, reason, one)
		end
		A.trade.add(npc, item, -args.count)
		gift.n = gift.n + args.count
		local words = A.items.counted(args.count, item)
		tell(player, A.S("@1 gives you @2.", npc.name or npc.id, words))
		return true, "you gave " .. words
	end,
})

A.actions.register("take_item", {
	description = "take something that the player offers you as a present",
	safe = true,
	usable = has_goods,
	args = function()
		return schema("apple", 99)
	end,
	run = function(npc, player, args, ctx)
		local item, why = A.items.find(args.item, A.items.held(player))
		if not item then
			return false, why
		end
		local offered, most = ctx.offered(item)
		why = A.actions.too_many(most, args.count, item)
		if not offered then
			return false, ("the player did not offer %s"):format(A.items.plain(item))
		elseif why then
			return false, why
		elseif A.trade.room(npc, item) < args.count then
			return false, "you cannot carry more " .. A.items.plain(item)
		end
		local ok, reason, one = A.items.exchange(player, { { item, args.count } }, {})
		if not ok then
			return false, A.items.why(player, reason, one)
		end
		A.trade.add(npc, item, args.count)
		A.trade.change_will(npc.id, player:get_player_name(), 0.03)
		local words = A.items.counted(args.count, item)
		tell(player, A.S("You give @1 to @2.", words, npc.name or npc.id))
		return true, "you got " .. words
	end,
})
