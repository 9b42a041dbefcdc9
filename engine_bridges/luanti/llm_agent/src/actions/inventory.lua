-- Inventories that never lose anything: what changes hands is worked out on a copy first.
--
-- Loaded by lookup.lua, to whose functions it adds.
local _, items = ...

local LIST = "main"

local function is_plain(stack)
	if stack:is_empty() or stack:get_wear() > 0 then
		return false
	end
	local meta = stack:get_meta():to_table()
	return next((meta or {}).fields or {}) == nil
end

-- The player's main list as a list of stacks of our own, or nil where there is none.
function items.list(player)
	local inventory = player:get_inventory()
	return inventory and inventory:get_list(LIST) or nil
end

-- How many of an item are in a list; worn tools and whatever carries notes do not count.
function items.count(list, name)
	local count = 0
	for _, stack in ipairs(list) do
		if items.resolve(stack:get_name()) == name and is_plain(stack) then
			count = count + stack:get_count()
		end
	end
	return count
end

local function take(list, name, count)
	for at = #list, 1, -1 do
		local stack = list[at]
		if count > 0 and items.resolve(stack:get_name()) == name and is_plain(stack) then
			count = count - stack:take_item(count):get_count()
			list[at] = stack
		end
	end
	return count == 0
end

local function put(list, name, count)
	local size = math.max(1, ItemStack(name):get_stack_max())
	for round = 1, 2 do
		for at, stack in ipairs(list) do
			local fits = round == 1 and not stack:is_empty() and stack:get_name() == name and is_plain(stack)
			if count > 0 and (fits or (round == 2 and stack:is_empty())) then
				local room = math.min(count, size - (fits and stack:get_count() or 0))
				if room > 0 then
					list[at] = ItemStack(name .. " " .. (fits and stack:get_count() + room or room))
					count = count - room
				end
			end
		end
	end
	return count == 0
end

-- Takes and gives at once, all or nothing: both lists hold {name, count}. Works on a copy of the
-- inventory, so whatever fails leaves it as it was.
-- Returns true, or false, "lacks"|"room"|"gone", and the entry it failed at.
function items.exchange(player, taken, given)
	local list = player and items.list(player)
	if not list then
		return false, "gone"
	end
	for _, one in ipairs(taken) do
		if items.count(list, one[1]) < one[2] or not take(list, one[1], one[2]) then
			return false, "lacks", one
		end
	end
	for _, one in ipairs(given) do
		if not put(list, one[1], one[2]) then
			return false, "room", one
		end
	end
	player:get_inventory():set_list(LIST, list)
	return true
end

-- Words for the model about a failed exchange.
function items.why(player, reason, one)
	if reason == "lacks" then
		local has = items.count(items.list(player), one[1])
		if has == 0 then
			return "the player has no " .. items.plain(one[1])
		end
		return ("the player has only %d of %s"):format(has, items.counted(one[2], one[1]))
	elseif reason == "room" then
		return "the player's inventory has no room for " .. items.counted(one[2], one[1])
	end
	return "the player has left"
end

-- The set of what is in a player's inventory, by name.
function items.held(player)
	local set = {}
	for _, stack in ipairs(items.list(player) or {}) do
		local name = items.resolve(stack:get_name())
		if name then
			set[name] = true
		end
	end
	return set
end
