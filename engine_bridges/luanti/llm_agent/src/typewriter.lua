-- Shows text that comes in portions as if somebody wrote it, a little in each server step.
--
-- It has a speed of its own, but no text waits longer than LAG_S for being shown. All counts are code
-- points; `at` is in bytes.

local A = ...
local typewriter = {}
typewriter.__index = typewriter

local LAG_S = 1.5
-- The first portion is shown at once, with so much in it as takes this long to read.
local FIRST_S = 0.25
-- Or the first word, unless it is none.
local LONG_WORD = 24

--- @param chars_per_s its own speed
function typewriter.new(chars_per_s)
	return setmetatable({
		speed = chars_per_s,
		all = "",      -- what came
		at = 0,        -- bytes of it that are shown
		size = 0,      -- code points that came
		pos = 0,       -- those that are shown
		credit = 0,    -- parts of a code point from step to step
		last = nil,    -- when it last looked
		portions = {}, -- when what must be shown: {due, size}
	}, typewriter)
end

--- Takes more text (valid UTF-8).
function typewriter:add(text, now)
	if text == "" then
		return
	end
	self.all = self.all .. text
	self.size = self.size + A.text.len(text)
	table.insert(self.portions, {due = now + LAG_S, size = self.size})
	self.last = self.last or now
end

-- Code points in the first word of what came.
local function first_word(s)
	local stop = s:match("^%s*%S+()") or #s + 1
	return math.min(A.text.len(s:sub(1, stop - 1)), LONG_WORD)
end

local function pace(self, now, elapsed)
	local speed = self.speed
	while self.portions[1] and self.portions[1].size <= self.pos do
		table.remove(self.portions, 1)
	end
	for _, portion in ipairs(self.portions) do
		local left = math.max(portion.due - now + elapsed, elapsed, 0.001)
		speed = math.max(speed, (portion.size - self.pos) / left)
	end
	return speed
end

--- Shows what is due; returns whether there is more to see than before.
function typewriter:step(now)
	local left = self.size - self.pos
	local elapsed = math.max(0, now - (self.last or now))
	self.last = now
	if left == 0 then
		self.credit = 0
		return false
	end
	self.credit = self.credit + pace(self, now, elapsed) * elapsed
	local chars = math.floor(self.credit + 1e-6)
	if self.pos == 0 then
		chars = math.max(chars, math.ceil(self.speed * FIRST_S), first_word(self.all))
	end
	self.credit = math.max(0, self.credit - chars)
	if chars == 0 then
		return false
	end
	local shown
	self.at, shown = A.text.advance(self.all, self.at, chars)
	self.pos = self.pos + shown
	return true
end

--- What is shown.
function typewriter:shown()
	return self.all:sub(1, self.at)
end

--- Whether all that came is shown.
function typewriter:even()
	return self.pos == self.size
end

--- Seconds until all that came is shown.
function typewriter:slack()
	local left = self.size - self.pos
	return math.min(left / self.speed, LAG_S)
end

--- Stops where it is, with an ellipsis for what will not come any more.
function typewriter:stop()
	local shown = self:shown()
	if shown ~= "" then
		shown = shown:gsub("%s+$", "") .. "\226\128\166"
	end
	self.all, self.at = shown, #shown
	self.size = A.text.len(shown)
	self.pos = self.size
	self.portions = {}
end

return typewriter
