-- How the dialogue looks: a formspec made of what was said. No state, no engine but its escaping.
--
-- Loaded by dialogue.lua.
local A = ...

local M = {}

local WIDTH, HEIGHT = 15.5, 12
local BOX = {x = 0.5, y = 1.4, w = 14.5, h = 9}
local CURSOR = "_"
-- What fits into the box in a small window (1024 x 600): a box that overflows would show its
-- beginning, and the words that appear are at the end.
local COLUMNS, LINES = 68, 15
local GAP = 0.5 -- between two paragraphs, in lines

--- A text for any formspec element.
function M.escape(text)
	return core.formspec_escape(text)
end

--- A text for `hypertext`, whose own signs are < and \; then for the formspec around it.
function M.hyper(text)
	return (text:gsub("[\\<>]", "\\%0"))
end

-- Letters of Chinese, Japanese and Korean are twice as wide.
local function columns_for(text)
	local _, wide = text:gsub("[\227-\239]", "")
	local length = A.text.len(text)
	return length == 0 and COLUMNS or math.max(8, math.floor(COLUMNS * length / (length + wide)))
end

-- Each paragraph begins with the name of who speaks.
local function height_of(view, entry)
	local name = entry.who == "player" and view.player or view.npc.name
	local text = name .. "  " .. entry.text
	return math.max(1, #A.text.wrap(text, columns_for(text))) + GAP
end

-- The last lines that fit, and whether there are older ones. A reply that alone is too long shows
-- its end.
local function fitting(view)
	local lines, used = view.lines, 1 + GAP -- for the sign that there is more
	local first = #lines + 1
	while first > 1 do
		local more = height_of(view, lines[first - 1])
		if used + more > LINES and first <= #lines then
			break
		end
		used, first = used + more, first - 1
	end
	local list = {}
	for i = first, #lines do
		list[#list + 1] = lines[i]
	end
	if used > LINES and list[1] then
		local wrapped = A.text.wrap(list[1].text, columns_for(list[1].text))
		local from = math.max(1, #wrapped - LINES + 2)
		list[1] = {who = list[1].who, text = "... " .. table.concat(wrapped, " ", from)}
	end
	return list, first > 1
end

local COLOURS = {player = "#9ecbff", note = "#9a9a9a"}

local function paragraph(view, entry, last)
	local text = M.hyper(entry.text)
	if entry.who == "note" then
		return ("<style color=%s size=14><i>%s</i></style>"):format(COLOURS.note, text)
	end
	local name = entry.who == "player" and view.player or view.npc.name
	local colour = entry.who == "player" and COLOURS.player or view.npc.colour
	if last and view.speaking then
		text = entry.text == "" and "..." or text .. CURSOR
	end
	return ("<style color=%s><b>%s</b></style>  %s"):format(colour, M.hyper(name), text)
end

local function transcript(view)
	local list, older = fitting(view)
	local parts = {}
	if older then
		parts[1] = ("<center><style color=%s size=14>...</style></center>"):format(COLOURS.note)
	end
	for i, entry in ipairs(list) do
		-- An empty line of an NPC is one that has not begun, or was cut off before it did.
		if entry.text ~= "" or i == #list and view.speaking then
			parts[#parts + 1] = paragraph(view, entry, i == #list)
		end
	end
	return "<global valign=bottom color=#e8e6e0 size=16>" .. table.concat(parts, "\n")
end

local function element(kind, x, y, w, h, ...)
	local parts = {("%s[%g,%g;%g,%g"):format(kind, x, y, w, h)}
	for _, part in ipairs({...}) do
		parts[#parts + 1] = M.escape(tostring(part))
	end
	return table.concat(parts, ";") .. "]"
end

local function head(view)
	local npc, right = view.npc, WIDTH - 0.5
	local parts = {
		element("hypertext", 0.5, 0.4, 9.5, 0.8, "name",
			("<global color=%s size=22 valign=middle><b>%s</b>"):format(npc.colour, M.hyper(npc.name))),
		element("button", right - 2.1, 0.4, 2.1, 0.8, "bye", A.S("Goodbye")),
	}
	if view.quests and not view.speaking then
		parts[3] = element("button", right - 4.3, 0.4, 2.1, 0.8, "quests", A.S("Quests"))
	end
	return table.concat(parts)
end

local function foot(view)
	local y = HEIGHT - 1.3
	if view.speaking then
		return element("hypertext", 0.5, y, 9, 0.8, "wait",
				("<global color=#9a9a9a size=15 valign=middle><i>%s</i>"):format(
					M.hyper(A.S("@1 is speaking ...", view.npc.name))))
			.. element("button", WIDTH - 2.6, y, 2.1, 0.8, "stop", A.S("Enough"))
	end
	return "field_close_on_enter[said;false]set_focus[said;true]"
		.. ("box[0.5,%g;12.2,0.8;#0c0d12ff]"):format(y)
		.. "style[said;border=false;textcolor=#ffffff]"
		.. element("field", 0.65, y, 12, 0.8, "said", "", "")
		.. element("button", WIDTH - 2.6, y, 2.1, 0.8, "say", A.S("Say"))
end

--- The formspec of `view`: {npc, player, lines = {{who, text}}, speaking, quests}.
function M.build(view)
	return table.concat({
		"formspec_version[4]",
		("size[%g,%g]"):format(WIDTH, HEIGHT),
		"no_prepend[]",
		"bgcolor[#00000000;true]",
		("background9[0,0;%g,%g;llm_agent_panel.png;false;12]"):format(WIDTH, HEIGHT),
		"style_type[button;bgcolor=#5a4a38;textcolor=#f4efe4]",
		head(view),
		("box[%g,%g;%g,%g;#0c0d12c0]"):format(BOX.x, BOX.y, BOX.w, BOX.h),
		element("hypertext", BOX.x + 0.15, BOX.y + 0.1, BOX.w - 0.3, BOX.h - 0.2, "said_so_far",
			transcript(view)),
		foot(view),
	})
end

return M
