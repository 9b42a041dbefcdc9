-- Two villagers of the world `village` that Palaver ships: `palaver serve village`.
--
-- They use nothing but the public API; copy this file to begin your own mod. The words they speak
-- come from their personas; `canned` is what they say while Palaver cannot be reached.
if not core.settings:get_bool("llm_agent.examples", true) then
	return {}
end

-- Goods of games that are not installed are left out by the trade.
llm_agent.register_npc("elder_willow", {
	name = "Elder Willow",
	persona = "elder_willow",
	zone = "the well of the village",
	colour = "#a5e075",
	texture = "llm_agent_elder_willow.png",
	egg = true,
	greeting = "Come sit, child. The bench is aspen, and warmer than it looks.",
	goods = {
		["farming:bread"] = {price = 2, stock = 12},
		["default:apple"] = {price = 1, stock = 20},
		["default:aspen_sapling"] = {price = 3, stock = 6},
	},
	canned = {
		"Sit a while, child. The answer will come when the kettle does.",
		"Hush a moment. The bees are telling me something, and they dislike repeating it.",
		"My thoughts are at the bottom of the well today. Ask me again when I have drawn them up.",
		"Patience. Even bread will not be hurried, and you are better than bread.",
		"Later, dear heart. An old head needs its noon.",
		"I heard you. I am only looking for words that deserve you.",
	},
})

llm_agent.register_npc("alchemist", {
	name = "The Alchemist",
	persona = "alchemist",
	zone = "the stone house at the end of the village",
	colour = "#d7a3ff",
	texture = "llm_agent_alchemist.png",
	egg = true,
	greeting = "Stand there. No, there. That tile has not exploded yet!",
	goods = {
		["vessels:glass_bottle"] = {price = 1, stock = 16},
		["default:torch"] = {price = 1, stock = 40},
		-- What it only buys, for mese crystal fragments.
		["flowers:geranium"] = {price = 2, stock = 0},
		["default:papyrus"] = {price = 2, stock = 0},
	},
	canned = {
		"Hold that thought, something is fizzing that ought not to!",
		"One moment! It is green. It was not supposed to be green.",
		"Wonderful question! Ask it again when my eyebrows are out.",
		"Not now, the cauldron and I are having words.",
		"I had the answer in a bottle. The bottle has left.",
		"Shh! It is listening. The mese, I mean. Come back in a minute.",
	},
})

return {}
