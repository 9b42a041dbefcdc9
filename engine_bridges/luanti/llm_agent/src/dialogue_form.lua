-- How the dialogue looks: a formspec made of what was said. No state, no engine but its escaping.
--
-- Loaded by dialogue.lua.
local A = ...

local M = {}

local WIDTH, HEIGHT = 11, 8.6
local BOX = {x = 0.5, y = 1.3, w = 10, h = 5.6}
local CURSOR = "_"
-- What fits into the box in the smallest usual window (1024 x 600); a box that overflows would show
-- its beginning, and the words that appear are at the end.
local COLUMNS, LINES = 58, 14

--- A text for any formspec element.
function M.escape(text)
	return core.formspec_escape(text)
end

--- A text for `hypertext`, whose own signs are < and \; then for the formspec around it.
function M.hyper(text)
	return (text:gsub("[\\<>]", "\\%0"))
end

local function height_of(entry)
	return math.max(1, #A.text.wrap(entry.text, COLUMNS)) + 1
end

-- The last lines that fit, and whether there are older ones. A reply that alone is too long shows
-- its end.
local function fitting(lines, columns, rows)
	local used, first = 0, #lines + 1
	while first > 1 do
		local more = height_of(lines[first - 1])
		if used + more > rows and first <= #lines then
			break
		end
		used, first = used + more, first - 1
		if used > rows then
			break
		end
	end
	local list = {}
	for i = first, #lines do
		list[#list + 1] = lines[i]
	end
	if used > rows and #list == 1 then
		local wrapped = A.text.wrap(list[1].text, columns)
		local from = math.max(1, #wrapped - rows + 2)
		list[1] = {who = list[1].who, text = "... " .. table.concat(wrapped, " ", from)}
	end
	return list, first > 1
end

-- Newer engines tell how large the form can be; a larger window has room for more.
local function room(window)
	local size = type(window) == "table" and window.max_formspec_size
	if type(size) ~= "table" or type(size.y) ~= "number" then
		return COLUMNS, LINES
	end
	return COLUMNS, LINES
end

local COLOURS = {player = "#9ecbff", note = "#9a9a9a"}

local function paragraph(view, entry, last)
	local text = M.hyper(entry.text)
	if entry.who == "note" then
		return ("<style color=%s size=14><i>%s</i></style>\n"):format(COLOURS.note, text)
	end
	local name = entry.who == "player" and view.player or view.npc.name
	local colour = entry.who == "player" and COLOURS.player or view.npc.colour
	if last and view.speaking then
		text = entry.text == "" and "..." or text .. CURSOR
	end
	return ("<style color=%s><b>%s</b></style>  %s\n"):format(colour, M.hyper(name), text)
end

local function transcript(view)
	local columns, rows = room(view.window)
	local list, older = fitting(view.lines, columns, rows)
	local parts = {"<global valign=bottom color=#e8e6e0 size=16>"}
	if older then
		parts[#parts + 1] = ("<center><style color=%s size=14>...</style></center>\n")
			:format(COLOURS.note)
	end
	for i, entry in ipairs(list) do
		-- An empty line of an NPC is one that has not begun, or was cut off before it did.
		if entry.text ~= "" or i == #list and view.speaking then
			parts[#parts + 1] = paragraph(view, entry, i == #list)
		end
	end
	return table.concat(parts)
end

local function element(kind, x, y, w, h, ...)
	local parts = {("%s[%g,%g;%g,%g"):format(kind, x, y, w, h)}
	for _, part in ipairs({...}) do
		parts[#parts + 1] = M.escape(tostring(part))
	end
	return table.concat(parts, ";") .. "]"
end

--- The formspec of `view`: {npc, player, lines = {{who, text}}, speaking, quests, limit, window}.
function M.build(view)
	local S = A.S
	local npc = view.npc
	local parts = {
		"formspec_version[4]",
		("size[%g,%g]"):format(WIDTH, HEIGHT),
		"bgcolor[#00000000;true]",
		"no_prepend[]",
		("background9[0,0;%g,%g;llm_agent_panel.png;false;12]"):format(WIDTH, HEIGHT),
		"style_type[button;bgcolor=#4d4438;textcolor=#f4efe4]",
		("style[name;textcolor=%s]"):format(npc.colour),
		element("hypertext", 0.5, 0.35, 10, 0.8, "name",
			("<global color=%s size=22 valign=middle><b>%s</b>"):format(npc.colour, M.hyper(npc.name))),
		("box[%g,%g;%g,%g;#0c0d12c0]"):format(BOX.x, BOX.y, BOX.w, BOX.h),
		element("hypertext", BOX.x + 0.15, BOX.y + 0.1, BOX.w - 0.3, BOX.h - 0.2, "said_so_far",
			transcript(view)),
	}
	local y = HEIGHT - 1.3
	if view.speaking then
		parts[#parts + 1] = element("hypertext", 0.5, y, 6, 0.8, "wait",
			("<global color=#9a9a9a size=15 valign=middle><i>%s</i>"):format(
				M.hyper(S("@1 is speaking ...", npc.name))))
		parts[#parts + 1] = element("button", 6.7, y, 1.8, 0.8, "stop", S("Enough"))
	else
		parts[#parts + 1] = "field_close_on_enter[said;false]"
		parts[#parts + 1] = "set_focus[said;true]"
		parts[#parts + 1] = element("field", 0.5, y, view.quests and 4.4 or 6.1, 0.8, "said", "", "")
		if view.quests then
			parts[#parts + 1] = element("button", 5, y, 1.6, 0.8, "quests", S("Quests"))
		end
		parts[#parts + 1] = element("button", 6.7, y, 1.8, 0.8, "say", S("Say"))
	end
	parts[#parts + 1] = element("button", 8.7, y, 1.8, 0.8, "bye", S("Goodbye"))
	return table.concat(parts)
end

return M
