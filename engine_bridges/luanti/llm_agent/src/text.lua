-- Text as the game can show it: valid UTF-8, without control characters and the engine's escapes.
--
-- Lengths and offsets are in Unicode code points, as in the wire protocol.

local text = {}

local byte, sub = string.byte, string.sub

-- Longer input is cut before it is looked at; the wire allows 8,000 code points.
local MOST_BYTES = 65536

local REPLACEMENT = "\239\191\189"

-- Bytes of the code point that begins at `i`, or nil where what stands there is no UTF-8.
local function width(s, i)
	local a = byte(s, i)
	if a < 0x80 then
		return 1
	end
	local b = byte(s, i + 1)
	if a < 0xC2 or a > 0xF4 or not b or b < 0x80 or b > 0xBF then
		return nil
	end
	if a < 0xE0 then
		return 2
	end
	local c = byte(s, i + 2)
	if not c or c < 0x80 or c > 0xBF then
		return nil
	end
	if a < 0xF0 then
		-- No overlong forms, no halves of surrogate pairs.
		if (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) then
			return nil
		end
		return 3
	end
	local d = byte(s, i + 3)
	if not d or d < 0x80 or d > 0xBF or (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) then
		return nil
	end
	return 4
end

--- Makes `s` valid UTF-8: what is none becomes U+FFFD, a run of such bytes one of them.
function text.valid(s)
	if not s:find("[\128-\255]") then
		return s
	end
	local out, n, i, start, bad = {}, 0, 1, 1, false
	while i <= #s do
		local w = width(s, i)
		if w then
			bad = false
			i = i + w
		else
			if i > start then
				n = n + 1
				out[n] = sub(s, start, i - 1)
			end
			if not bad then
				n = n + 1
				out[n] = REPLACEMENT
			end
			bad = true
			i = i + 1
			start = i
		end
	end
	if n == 0 then
		return s
	end
	out[n + 1] = sub(s, start)
	return table.concat(out)
end

--- Last byte of the code point `chars` after the byte `from` of valid UTF-8; at most the end.
-- @param from last byte of what comes before, 0 for the beginning
-- @return that byte, and how many code points there really were
function text.advance(s, from, chars)
	local i, n = from, 0
	while n < chars and i < #s do
		local a = byte(s, i + 1)
		i = i + (a < 0x80 and 1 or a < 0xE0 and 2 or a < 0xF0 and 3 or 4)
		n = n + 1
	end
	return math.min(i, #s), n
end

--- The first `chars` code points of valid UTF-8.
function text.cut(s, chars)
	return sub(s, 1, (text.advance(s, 0, chars)))
end

--- How many code points valid UTF-8 has.
function text.len(s)
	local _, continued = s:gsub("[\128-\191]", "")
	return #s - continued
end

--- What a player or a model said, made fit to be shown.
-- Escapes of the engine (colours, translations), control characters and marks that turn the
-- direction of writing are removed; line breaks and tabs become spaces. Nothing is trimmed.
-- @param max at most so many code points; nil for no limit
function text.clean(s, max)
	if type(s) ~= "string" then
		return ""
	end
	s = text.valid(sub(s, 1, MOST_BYTES))
	if s:find("\27", 1, true) then
		s = s:gsub("\27%([^)]*%)", ""):gsub("\27[EFT]", "")
	end
	s = s:gsub("[\t\r\n\v\f]+", " "):gsub("%c+", "")
	if s:find("[\194\226\239]") then
		-- U+0080 to U+009F, U+2028 to U+202E, U+2066 to U+2069, U+FEFF.
		s = s:gsub("\194[\128-\159]", ""):gsub("\226\128[\168-\174]", "")
			:gsub("\226\129[\166-\169]", ""):gsub("\239\187\191", "")
	end
	if max then
		s = text.cut(s, max)
	end
	return s
end

--- The same for a whole line: also without spaces around it and more than one between words.
function text.line(s, max)
	s = text.clean(s):gsub("  +", " "):match("^ ?(.-) ?$")
	if max and text.len(s) > max then
		s = text.cut(s, max)
	end
	return s
end

--- The words of `s`, in order.
function text.words(s)
	local words = {}
	for word in s:gmatch("%S+") do
		words[#words + 1] = word
	end
	return words
end

--- Breaks `s` into lines of at most `columns` code points, between words where it can.
function text.wrap(s, columns)
	columns = math.max(1, math.floor(columns))
	local lines, line, used = {}, "", 0
	local function flush()
		if line ~= "" then
			lines[#lines + 1] = line
			line, used = "", 0
		end
	end
	for _, word in ipairs(text.words(s)) do
		local size = text.len(word)
		if used > 0 and used + 1 + size > columns then
			flush()
		end
		while size > columns do
			local head = text.cut(word, columns)
			lines[#lines + 1] = head
			word = sub(word, #head + 1)
			size = size - columns
		end
		if size > 0 then
			line = used > 0 and line .. " " .. word or word
			used = used > 0 and used + 1 + size or size
		end
	end
	flush()
	return lines
end

return text
