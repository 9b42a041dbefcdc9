-- JSON between the mod and Palaver.
--
-- The engine's `write_json` writes 1 as 1.0, an empty list as null, and in 5.6.1 refuses a nesting of
-- 20 levels, so this has an encoder of its own. Its `parse_json` is fast and good, but raises where
-- brackets nest over 1,000 deep and takes a JSON text with anything behind it: both are looked for
-- before it is called.

local A = ...
local json = {}

local MOST_BYTES = 256 * 1024
local MOST_DEPTH = 64

local LIST, MAP = {}, {}

--- Marks a table as a list, so that it is written as [] when it is empty.
function json.list(t)
	return setmetatable(t or {}, LIST)
end

--- Marks a table as an object, so that it is written as {} when it is empty.
function json.map(t)
	return setmetatable(t or {}, MAP)
end

local ESCAPES = {
	['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
	["\t"] = "\\t",
}

local function control(c)
	return ESCAPES[c] or ("\\u%04x"):format(c:byte())
end

local function beyond(c)
	local a, b, d, e = c:byte(1, 4)
	if a < 0xE0 then
		return ("\\u%04x"):format((a - 0xC0) * 64 + b - 0x80)
	elseif a < 0xF0 then
		return ("\\u%04x"):format((a - 0xE0) * 4096 + (b - 0x80) * 64 + d - 0x80)
	end
	local code = (a - 0xF0) * 262144 + (b - 0x80) * 4096 + (d - 0x80) * 64 + e - 0x80 - 0x10000
	return ("\\u%04x\\u%04x"):format(0xD800 + math.floor(code / 1024), 0xDC00 + code % 1024)
end

--- A JSON string, in ASCII; bytes that are no UTF-8 become U+FFFD.
function json.string(s)
	s = s:gsub('[%c"\\\127]', control)
	if s:find("[\128-\255]") then
		s = A.text.valid(s):gsub("[\194-\244][\128-\191]*", beyond)
	end
	return '"' .. s .. '"'
end

local function number(n)
	if n ~= n or n == math.huge or n == -math.huge then
		return "null"
	end
	if n % 1 == 0 and n > -2 ^ 53 and n < 2 ^ 53 then
		return ("%d"):format(n)
	end
	return ("%.17g"):format(n)
end

local write

local function write_list(t, size, depth)
	local out = {}
	for i = 1, size do
		if t[i] == nil then
			error("a list with holes")
		end
		out[i] = write(t[i], depth)
	end
	return "[" .. table.concat(out, ",") .. "]"
end

local function write_map(t, depth)
	local keys = {}
	for key in pairs(t) do
		if type(key) ~= "string" then
			error("keys that are neither all strings nor 1, 2, 3 ...")
		end
		keys[#keys + 1] = key
	end
	table.sort(keys)
	for i, key in ipairs(keys) do
		keys[i] = json.string(key) .. ":" .. write(t[key], depth)
	end
	return "{" .. table.concat(keys, ",") .. "}"
end

local function write_table(t, depth)
	if depth > MOST_DEPTH then
		error("nested too deep")
	end
	local kind = getmetatable(t)
	local first = next(t)
	if first == nil then
		-- As the engine writes it, where nobody said which of the two it is.
		return kind == LIST and "[]" or kind == MAP and "{}" or "null"
	end
	local size = 0
	if type(first) == "number" then
		for key in pairs(t) do
			if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > 100000 then
				error("keys that are neither all strings nor 1, 2, 3 ...")
			end
			size = math.max(size, key)
		end
		return write_list(t, size, depth)
	end
	return write_map(t, depth)
end

function write(value, depth)
	local kind = type(value)
	if kind == "string" then
		return json.string(value)
	elseif kind == "number" then
		return number(value)
	elseif kind == "boolean" then
		return tostring(value)
	elseif kind == "table" then
		return write_table(value, depth + 1)
	end
	error("a " .. kind)
end

--- Writes a value as JSON.
-- Whole numbers stay whole, NaN and infinity become null, an empty table null, [] or {} (see `list`
-- and `map`).
-- @return the text, or nil and why it cannot be written
function json.encode(value)
	local ok, result = pcall(write, value, 0)
	if ok then
		return result
	end
	return nil, "JSON has no place for " .. tostring(result):gsub("^.-:%d+: ", "")
end

-- Walks over the brackets; true if `s` is one object or list and nothing else, by them.
local function balanced(s)
	local depth, at = 0, s:match("^%s*()")
	local opening = s:sub(at, at)
	if opening ~= "{" and opening ~= "[" then
		return false, "no JSON object"
	end
	while true do
		local from = s:find('[][{}"/]', at)
		if not from then
			return false, "cut short"
		end
		local c = s:sub(from, from)
		at = from + 1
		if c == '"' then
			repeat
				local stop = s:find('["\\]', at)
				if not stop then
					return false, "cut short"
				end
				c = s:sub(stop, stop)
				at = stop + (c == "\\" and 2 or 1)
			until c == '"'
		elseif c == "{" or c == "[" then
			depth = depth + 1
			if depth > MOST_DEPTH then
				return false, "nested too deep"
			end
		elseif c == "/" then
			return false, "a comment"
		else
			depth = depth - 1
			if depth == 0 then
				break
			end
		end
	end
	if s:find("%S", at) then
		return false, "something behind the JSON"
	end
	return true
end

--- Reads a JSON object or list. Fields that are null are missing in the result.
-- @return a table, or nil and what is wrong with the text
function json.decode(s)
	if type(s) ~= "string" or s == "" then
		return nil, "nothing"
	end
	if #s > MOST_BYTES then
		return nil, "too large"
	end
	local ok, why = balanced(s)
	if not ok then
		return nil, why
	end
	local done, value = pcall(A.api.parse_json, s)
	if done and type(value) == "table" then
		return value
	end
	return nil, "no JSON"
end

return json
