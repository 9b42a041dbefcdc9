-- What NPCs own and what they ask for it: stocks that fall and recover, prices that move.
--
-- A stock is kept in mod storage with the time at which it was last right, and brought up to date
-- when somebody looks at it: nothing runs in the background.
local A = ...

local trade = {}
local storage = A.storage or core.get_mod_storage()
A.storage = storage

local STOCK, RESTOCK_S = 10, 120
local PURSE = 50
local MAX_KINDS, MAX_COUNT = 128, 9999
local MAX_WARES = 12
-- An NPC pays less than it asks, whatever its mood: nobody gets rich by buying and selling.
local PAYS, PAYS_AT_MOST = 0.6, 0.9
local CURRENCIES = { "default:mese_crystal_fragment", "mcl_core:emerald", "default:gold_lump" }

local stocks, goods_of = {}, {}

trade.clock = os.time -- tests bring their own

local function clamp(value, low, high)
	return math.max(low, math.min(high, value))
end

local function load_table(key)
	local text = storage:get_string(key)
	local value = text ~= "" and A.json.decode(text) or nil
	return type(value) == "table" and value or {}
end

local function save_table(key, value)
	local text = next(value) and A.json.encode(value) or ""
	storage:set_string(key, text or "")
end
trade.load_table, trade.save_table = load_table, save_table

assert(loadfile(A.path .. "/src/actions/feelings.lua"))(A, trade)

-- Goods ------------------------------------------------------------------------------------------

local function ware(given)
	if type(given) == "number" then
		given = { price = given }
	end
	local price, stock = tonumber(given.price or given[1]), tonumber(given.stock or given[2])
	return {
		price = clamp(price or 1, 0.01, MAX_COUNT),
		stock = math.floor(clamp(stock or STOCK, 0, MAX_COUNT)),
		restock_s = math.max(1, tonumber(given.restock_s) or RESTOCK_S),
	}
end

-- What its definition says it deals in: {[item] = {price, stock, restock_s}}, and its currency.
function trade.goods(npc)
	local known = goods_of[npc.id]
	if known and known.def == npc.def then
		return known.goods, known.currency
	end
	local def, goods, count = npc.def or {}, {}, 0
	for name, given in pairs(def.goods or {}) do
		local item = A.items.resolve(name)
		if item and (type(given) == "table" or type(given) == "number") and count < MAX_KINDS then
			goods[item], count = ware(given), count + 1
		else
			A.log("info", ("goods of %s: this game has no item %s"):format(npc.id, tostring(name)))
		end
	end
	local currency = A.items.resolve(def.currency)
	for _, name in ipairs(CURRENCIES) do
		currency = currency or A.items.resolve(name)
	end
	if currency and next(goods) and not goods[currency] then
		goods[currency] = ware({ price = 1, stock = tonumber(def.purse) or PURSE })
		goods[currency].purse = true
	end
	goods_of[npc.id] = { def = npc.def, goods = goods, currency = currency }
	return goods, currency
end

-- A ware as a model is shown one: in words, and always the same, so that the prompt stays as it is.
function trade.example(npc)
	local goods, currency = trade.goods(npc)
	local list = {}
	for item in pairs(goods) do
		if item ~= currency then
			table.insert(list, A.items.plain(item))
		end
	end
	table.sort(list)
	return list[1] or currency and A.items.plain(currency) or "bread"
end

function trade.currency(npc)
	local _, currency = trade.goods(npc)
	return currency
end

-- Whether an item is what the NPC pays with, and nothing that its definition says it deals in.
function trade.is_purse(npc, item)
	local good = trade.goods(npc)[item]
	return good ~= nil and good.purse == true
end

local function stock_of(npc)
	local stock = stocks[npc.id]
	if not stock then
		stock = load_table("stock:" .. npc.id)
		stocks[npc.id] = stock
	end
	return stock
end

-- Brings an entry of a stock up to date: one unit nearer to what the definition says, for every
-- `restock_s` that passed. What it was given and does not deal in goes the same way, to nothing.
local function settled(npc, item)
	local good = trade.goods(npc)[item] or { price = 0, stock = 0, restock_s = RESTOCK_S }
	local held = stock_of(npc)[item]
	if type(held) ~= "table" or type(held.n) ~= "number" or type(held.at) ~= "number" then
		return good.stock, good
	end
	local now = trade.clock()
	local steps = math.floor((now - held.at) / good.restock_s)
	if steps < 0 then
		held.at = now -- the clock was set back
	elseif steps > 0 then
		held.at = held.at + steps * good.restock_s
		if held.n < good.stock then
			held.n = math.min(good.stock, held.n + steps)
		else
			held.n = math.max(good.stock, held.n - steps)
		end
	end
	return held.n, good, held
end

-- How many of an item the NPC has now.
function trade.stock(npc, item)
	return (settled(npc, item))
end

-- Whether the NPC can take so many more of it, and the room that is left.
function trade.room(npc, item)
	local n, good = settled(npc, item)
	local kinds = 0
	for _ in pairs(stock_of(npc)) do
		kinds = kinds + 1
	end
	if good.stock == 0 and n == 0 and kinds >= MAX_KINDS then
		return 0
	end
	return MAX_COUNT - n
end

-- Puts items into the NPC's stock (or takes them out, with a negative count), all or nothing.
function trade.add(npc, item, count)
	local n, good, held = settled(npc, item)
	if n + count < 0 or (count > 0 and count > trade.room(npc, item)) then
		return false
	end
	local stock = stock_of(npc)
	stock[item] = held or { at = trade.clock() }
	stock[item].n = n + count
	if n == good.stock then
		stock[item].at = trade.clock() -- what was at rest begins to recover now
	end
	for name in pairs(stock) do
		local left, one = settled(npc, name)
		if left == one.stock then
			stock[name] = nil -- as its definition says: nothing to remember
		end
	end
	save_table("stock:" .. npc.id, stock)
	return true
end

-- Prices -----------------------------------------------------------------------------------------

-- Scarce is dear, plenty is cheap: 1.5 of the price where none is left, 0.6 where there is too much.
local function supply(n, stock)
	return clamp(1.5 - 0.5 * n / math.max(1, stock), 0.6, 1.5)
end

-- Price of `count` of an item, in whole pieces of the currency: what a player pays, or with
-- `selling` what a player gets. Nil where the NPC does not deal in it.
-- Every piece has the price of its moment: the last one of a stock costs more than the first.
function trade.price(npc, player_name, item, count, selling)
	local goods, currency = trade.goods(npc)
	local good = goods[item]
	if not good or item == currency then
		return nil
	end
	local mood = trade.mood(npc.id)
	local will = player_name and trade.will(npc.id, player_name) or 0
	local asks = (1 - 0.15 * mood) * (1 - 0.2 * will)
	local pays = math.min(PAYS * (1 + 0.15 * mood) * (1 + 0.2 * will), PAYS_AT_MOST * 0.68)
	local n, sum = trade.stock(npc, item), 0
	for i = 1, math.min(count, 99) do
		local at = selling and n + i or n - i + 1
		sum = sum + good.price * supply(at, good.stock) * (selling and pays or asks)
	end
	if selling then
		return math.floor(sum + 1e-6)
	end
	return math.max(1, math.ceil(sum - 1e-6))
end

-- What an NPC has to sell, for its facts: {item, price, stock} in plain words, the dearest first.
function trade.wares(npc, player_name)
	local goods, currency = trade.goods(npc)
	local list = {}
	for item in pairs(goods) do
		local stock = trade.stock(npc, item)
		if item ~= currency and stock > 0 then
			local price = currency and trade.price(npc, player_name, item, 1) or nil
			table.insert(list, { item = A.items.plain(item), price = price, stock = stock })
		end
	end
	table.sort(list, function(a, b)
		if (a.price or 0) ~= (b.price or 0) then
			return (a.price or 0) > (b.price or 0)
		end
		return a.item < b.item
	end)
	while #list > MAX_WARES do
		table.remove(list)
	end
	return list
end

-- The set of items an NPC has now, for finding what the model means.
function trade.held(npc)
	local set = {}
	for item in pairs(trade.goods(npc)) do
		set[item] = true
	end
	for item in pairs(stock_of(npc)) do
		set[item] = trade.stock(npc, item) > 0 or set[item]
	end
	return set
end

-- What the rest of the mod has to know --------------------------------------------------------------

function A.npcs.fields.goods(value)
	return type(value) == "table", 'a table like {["farming:bread"] = {price = 2, stock = 10}}'
end

function A.npcs.fields.currency(value)
	return type(value) == "string", "the name of an item"
end

function A.npcs.fields.purse(value)
	return type(value) == "number" and value >= 0, "how much of its currency it has"
end

table.insert(A.facts.providers.npc, {
	name = "trade",
	fn = function(npc, player)
		local goods, currency = trade.goods(npc)
		if not next(goods) then
			return nil
		end
		return {
			wares = trade.wares(npc, player and player:get_player_name()),
			currency = currency and A.items.plain(currency),
		}
	end,
})
table.insert(A.facts.providers.player, {
	name = "reputation",
	fn = function(npc, player)
		return { reputation = npc and trade.reputation(npc, player:get_player_name()) or nil }
	end,
})
table.insert(A.npcs.listeners, {
	name = "trade",
	on_emotion = function(npc, _, message)
		trade.felt(npc.id, message.name, message.intensity)
	end,
})

return trade
