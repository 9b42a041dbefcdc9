-- trade: the NPC sells or buys at the price that the game makes.
local A = ...

local function can_trade(npc)
	local goods, currency = A.trade.goods(npc)
	return currency ~= nil and next(goods) ~= nil
end

local function stock_problem(npc, item, count)
	local stock = A.trade.stock(npc, item)
	if stock == 0 then
		return "you have no " .. A.items.plain(item) .. " left"
	elseif stock < count then
		return ("you have only %d of %s left"):format(stock, A.items.counted(count, item))
	end
end

-- Both sides at once: `taken` leaves the player, `given` comes to the player.
local function exchange(npc, player, taken, given)
	if A.trade.room(npc, taken[1]) < taken[2] then
		return false, "you cannot carry more " .. A.items.plain(taken[1])
	end
	local ok, reason, one = A.items.exchange(player, { taken }, { given })
	if not ok then
		return false, A.items.why(player, reason, one)
	end
	A.trade.add(npc, given[1], -given[2])
	A.trade.add(npc, taken[1], taken[2])
	A.trade.change_will(npc.id, player:get_player_name(), 0.02)
	return true
end

local function sell(npc, player, item, count, currency)
	local problem = stock_problem(npc, item, count)
	if problem then
		return false, problem
	end
	local price = A.trade.price(npc, player:get_player_name(), item, count)
	local ok, why = exchange(npc, player, { currency, price }, { item, count })
	if not ok then
		local words = A.items.counted(price, currency)
		return false, ("the price of %s is %s; %s"):format(A.items.counted(count, item), words, why)
	end
	return true, "sold", price
end

local function buy(npc, player, item, count, currency)
	local price = A.trade.price(npc, player:get_player_name(), item, count, true)
	if price < 1 then
		return false, "that is worth less than one " .. A.items.plain(currency) .. "; ask for more of it"
	end
	local problem = stock_problem(npc, currency, price)
	if problem then
		return false, problem
	end
	local ok, why = exchange(npc, player, { item, count }, { currency, price })
	if not ok then
		return false, why
	end
	return true, "bought", price
end

A.actions.register("trade", {
	description = "sell wares to the player, or buy theirs, at your price, once they said they want that",
	safe = true,
	usable = can_trade,
	args = function(npc)
		return {
			type = "object",
			properties = {
				item = { type = "string", maxLength = 60, examples = { A.trade.example(npc) } },
				count = { type = "integer", minimum = 1, maximum = 99, default = 1 },
				deal = { type = "string", enum = { "sell", "buy" }, default = "sell" },
			},
			required = { "item" },
		}
	end,
	run = function(npc, player, args, ctx)
		local _, currency = A.trade.goods(npc)
		local known = args.deal == "buy" and A.items.held(player) or A.trade.held(npc)
		local item, why = A.items.find(args.item, known)
		if not item then
			return false, why
		elseif not A.trade.price(npc, nil, item, 1) then
			return false, "you do not deal in " .. A.items.plain(item)
		end
		local asked, most = ctx.offered(item)
		if not asked and not (args.deal ~= "buy" and ctx.offered(currency)) then
			return false, ("the player did not ask to %s %s"):format(args.deal == "buy" and "sell" or "buy",
				A.items.plain(item))
		end
		-- Who holds out coins and names nothing wants one.
		why = A.actions.too_many(math.max(1, most), args.count, item)
		if why then
			return false, why
		end
		local deal = args.deal == "buy" and buy or sell
		local ok, words, price = deal(npc, player, item, args.count, currency)
		if not ok then
			return false, words
		end
		local goods, paid = A.items.counted(args.count, item), A.items.counted(price, currency)
		local name = npc.name or npc.id
		local text = args.deal == "buy" and A.S("You sell @1 to @2 for @3.", goods, name, paid)
			or A.S("You buy @1 from @2 for @3.", goods, name, paid)
		core.chat_send_player(player:get_player_name(), text)
		return true, ("%s %s for %s"):format(words, goods, paid)
	end,
})
