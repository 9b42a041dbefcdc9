-- Keeps errors inside the mod: one that leaves a callback stops the whole game server.

local A = ...
local protect = {}

-- Distinct messages that are logged in full; later ones are only counted.
local DISTINCT = 64

local count, last = 0, nil
local seen, distinct = {}, 0

local function handler(err)
	return debug.traceback(tostring(err), 2)
end

-- LuaJIT's xpcall passes arguments on, that of plain Lua 5.1 does not.
local guarded
if select(2, xpcall(function(x) return x end, handler, true)) then
	function guarded(fn, ...)
		return xpcall(fn, handler, ...)
	end
else
	function guarded(fn, ...)
		local n, args = select("#", ...), {...}
		return xpcall(function() return fn(unpack(args, 1, n)) end, handler)
	end
end

local function note(name, err)
	count = count + 1
	err = tostring(err)
	last = name .. ": " .. err
	local key = last:match("^[^\n]*")
	if seen[key] then
		seen[key] = seen[key] + 1
	elseif distinct < DISTINCT then
		seen[key] = 1
		distinct = distinct + 1
		A.log("error", "in " .. last .. "\nThe game goes on; this is logged only once."
			.. " Please report it with these lines.")
	end
end

local function finish(name, ok, ...)
	if not ok then
		note(name, (...))
	end
	return ok, ...
end

--- Calls `fn` so that an error in it ends here.
-- @param name where it is, for the log
-- @return true and what `fn` returns, or false and the error
function protect.call(name, fn, ...)
	return finish(name, guarded(fn, ...))
end

local function choose(fallback, ok, ...)
	if ok then
		return ...
	end
	return fallback
end

--- Makes of `fn` a function that never raises and returns `fallback` where `fn` would.
function protect.wrap(name, fn, fallback)
	return function(...)
		return choose(fallback, protect.call(name, fn, ...))
	end
end

--- How many errors there were, and the last of them (nil if there was none).
function protect.errors()
	return count, last
end

return protect
