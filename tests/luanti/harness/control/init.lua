-- Runs Lua that the tests hand in while the game runs, and notes what happens.
--
-- A test puts NUMBER.lua into WORLD/control; what it returns is in NUMBER.json a step later.
-- Chunks that later chunks build on keep their state in the global `control`.

local dir = core.get_worldpath() .. "/control"
core.mkdir(dir)

control = {
	dtimes = {}, -- how long each step took, in seconds
	turns = {}, -- what NPCs were asked through `control.ask`
	chat = {}, -- every line sent to players: {to = name or nil, text = line}
	errors = {}, -- what went wrong in callbacks of tests
}

-- Asks an NPC and notes all that comes back; returns the number of the note.
function control.ask(npc, request)
	local note = {npc = npc, texts = {}, done = 0}
	request.on_text = function(turn, all_shown)
		-- The newest words, however they are handed over.
		local text = type(all_shown) == "string" and all_shown or turn.shown
		table.insert(note.texts, text)
		note.text = text
		note.first_us = note.first_us or core.get_us_time()
	end
	request.on_done = function(turn)
		note.done = note.done + 1
		note.by, note.why, note.status, note.whole = turn.by, turn.why, turn.status, turn.shown
		note.served_by = turn.served_by
		note.done_us = core.get_us_time()
	end
	note.asked_us = core.get_us_time()
	note.open = true
	table.insert(control.turns, note)
	local number = #control.turns
	local id, reason = llm_agent.think(npc, request)
	note.id, note.reason = id and tostring(id) or nil, reason
	return number
end

-- All that players are told goes through these two.
for _, name in ipairs({"chat_send_player", "chat_send_all"}) do
	local original = core[name]
	core[name] = function(first, second)
		table.insert(control.chat, {
			to = second and first or nil, text = core.strip_colors(second or first),
		})
		return original(first, second)
	end
end

-- A floor to stand on, so that players do not fall for ever.
core.register_on_generated(function(low, high)
	if low.y > 0 or high.y < 0 then
		return
	end
	local vm, emin, emax = core.get_mapgen_object("voxelmanip")
	local area = VoxelArea:new({MinEdge = emin, MaxEdge = emax})
	local data, stone = vm:get_data(), core.get_content_id("base:stone")
	for i in area:iter(low.x, 0, low.z, high.x, 0, high.z) do
		data[i] = stone
	end
	vm:set_data(data)
	vm:calc_lighting()
	vm:write_to_map()
end)
core.register_on_joinplayer(function(player)
	player:set_pos({x = 0, y = 1, z = 0})
	player:set_look_horizontal(0)
	player:set_look_vertical(0)
end)

local function run(name)
	local file = io.open(dir .. "/" .. name, "rb")
	if not file then
		return
	end
	local code = file:read("*a")
	file:close()
	os.remove(dir .. "/" .. name)
	local answer
	local chunk, problem = loadstring(code, "=" .. name)
	if chunk then
		local ok, value = xpcall(chunk, debug.traceback)
		answer = ok and {value = value} or {problem = tostring(value)}
	else
		answer = {problem = problem}
	end
	local json, why = core.write_json(answer)
	json = json or core.write_json({problem = "no JSON of that: " .. tostring(why)})
	core.safe_file_write(dir .. "/" .. name:gsub("%.lua$", ".json"), json)
end

core.register_globalstep(function(dtime)
	table.insert(control.dtimes, dtime)
	local names = core.get_dir_list(dir, false)
	table.sort(names)
	for _, name in ipairs(names) do
		if name:find("^%d+%.lua$") then
			run(name)
		end
	end
end)
