-- What an NPC feels, and what it thinks of whom: both move its prices.
--
-- Loaded by trade.lua, to whose functions it adds.
local A, trade = ...

local MAX_KNOWN = 500
local MOOD_HALF_S = 120
local FEELINGS = { joy = 0.4, sadness = -0.2, fear = -0.1, anger = -0.6, disgust = -0.3, contempt = -0.4 }

local wills, moods = {}, {}

local function clamp(value, low, high)
	return math.max(low, math.min(high, value))
end

-- From -1 to 1; halves every two minutes.
function trade.mood(npc_id)
	local mood = moods[npc_id]
	return mood and mood.v * 0.5 ^ (math.max(0, A.now() - mood.at) / MOOD_HALF_S) or 0
end

-- An NPC has shown a feeling (`turn.emotion`): its mood moves.
function trade.felt(npc_id, emotion, intensity)
	local weight = (FEELINGS[emotion] or 0) * clamp(tonumber(intensity) or 1, 0, 1)
	moods[npc_id] = { v = clamp(trade.mood(npc_id) + weight, -1, 1), at = A.now() }
end

local function will_of(npc_id)
	wills[npc_id] = wills[npc_id] or trade.load_table("will:" .. npc_id)
	return wills[npc_id]
end

-- What an NPC thinks of a player, from -1 to 1.
function trade.will(npc_id, player_name)
	return clamp(tonumber(will_of(npc_id)[player_name]) or 0, -1, 1)
end

-- Changes it. Of very many players the one it thinks least about is forgotten.
function trade.change_will(npc_id, player_name, by)
	local will = will_of(npc_id)
	will[player_name] = clamp(trade.will(npc_id, player_name) + by, -1, 1)
	local count, least = 0, nil
	for name, value in pairs(will) do
		count = count + 1
		if name ~= player_name and (not least or math.abs(value) < math.abs(will[least])) then
			least = name
		end
	end
	if count > MAX_KNOWN then
		will[least] = nil
	end
	trade.save_table("will:" .. npc_id, will)
end

function trade.reputation(npc, player_name)
	local will = trade.will(npc.id, player_name)
	return will >= 0.4 and "friend" or will <= -0.4 and "enemy" or "neutral"
end
