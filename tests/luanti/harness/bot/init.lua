-- A player without hands: prints what he is told, and says what the test lets the server ask for.
--
-- A chat line "@bot say WORDS" makes him say WORDS, "@bot leave" makes him leave.

-- The client's log breaks lines of 256 characters: a note comes in pieces, the last ends with "$".
local function note(fields)
	local json = core.write_json(fields)
	for first = 1, #json, 100 do
		local last = first + 100 > #json
		print("[bot] " .. json:sub(first, first + 99) .. (last and "$" or "|"))
	end
end

core.register_on_receiving_chat_message(function(message)
	local text = core.strip_colors(message)
	local words = text:match("@bot say (.*)$")
	if words then
		core.send_chat_message(words)
		return true
	end
	if text:find("@bot leave", 1, true) then
		core.disconnect()
		return true
	end
	note({heard = text})
	return false
end)

local function ready()
	if core.localplayer then
		note({ready = true})
	else
		core.after(0.1, ready)
	end
end
core.after(0.1, ready)
