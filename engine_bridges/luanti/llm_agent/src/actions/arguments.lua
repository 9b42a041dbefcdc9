-- The arguments of an action, checked again by the game: the part of JSON Schema that small models
-- get right, which is types, bounds, choices and defaults.
local A = ...

local M = {}

local function is_whole(value)
	return value == math.floor(value) and math.abs(value) < 2 ^ 53
end

local function fits_type(kind, value)
	if kind == "integer" or kind == "number" then
		value = tonumber(value)
		local finite = value and value == value and math.abs(value) < math.huge
		return finite and (kind == "number" or is_whole(value)) or false, value
	end
	return type(value) == kind, value
end

local function argument(key, schema, value)
	local fits
	fits, value = fits_type(schema.type, value)
	if not fits then
		return nil, key .. " must be a " .. (schema.type == "integer" and "whole number" or tostring(schema.type))
	end
	if schema.type == "string" then
		value = A.text.line(value, schema.maxLength or 200)
		if value == "" then
			return nil, key .. " is empty"
		end
	elseif type(value) == "number" then
		if schema.minimum and value < schema.minimum then
			return nil, ("%s must be at least %d"):format(key, schema.minimum)
		elseif schema.maximum and value > schema.maximum then
			return nil, ("%s must be at most %d"):format(key, schema.maximum)
		end
	end
	if schema.enum then
		for _, one in ipairs(schema.enum) do
			if one == value then
				return value
			end
		end
		return nil, key .. " must be one of: " .. table.concat(schema.enum, ", ")
	end
	return value
end

-- The arguments as `run` gets them: known ones only, of the right kind, with defaults; or nil and
-- why not. The server has checked them already, but the game believes nobody.
function M.read(schema, given)
	local args = {}
	if type(given) ~= "table" then
		given = {}
	end
	for key, one in pairs(schema.properties or {}) do
		local value = given[key]
		if value == nil then
			value = one.default
		end
		if value ~= nil then
			local problem
			args[key], problem = argument(key, one, value)
			if problem then
				return nil, problem
			end
		end
	end
	for _, key in ipairs(schema.required or {}) do
		if args[key] == nil then
			return nil, key .. " is missing"
		end
	end
	return args
end

return M
