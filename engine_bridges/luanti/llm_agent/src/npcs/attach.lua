-- Gives the voice of an NPC to an object of another mod: a mob, a statue, a ship's figurehead.
--
-- Loaded by npcs.lua.
local A, M = ...

-- luaentity -> {id, old}. Kept here and not in the entity: mobs_redo and others write the fields of
-- an entity to the map, and a function there would end up in staticdata.
local attached = setmetatable({}, {__mode = "k"})

-- A userdata in the engine; a table with methods in tests.
local function is_object(value)
	return (type(value) == "userdata" or type(value) == "table")
		and not (type(value) == "table" and value.object)
		and type(value.get_pos) == "function"
end

local function on_rightclick(entity, clicker, ...)
	local how = attached[entity]
	if not how then
		return nil
	end
	local taken
	if how.old then
		-- Other mods' clicks feed, tame and trade; what they return says whether it was theirs.
		local ok, result = A.protect.call("attach.old_rightclick", how.old, entity, clicker, ...)
		taken = ok and result or nil
	end
	if not taken and how.id and clicker and clicker:is_player() then
		A.protect.call("attach.on_rightclick", A.dialogue.open, clicker, how.id, entity.object)
	end
	return taken
end

--- Make `target` (an ObjectRef or a luaentity) speak as the NPC `id`.
-- `opts.rightclick = false` leaves its clicks alone. Returns true, or nil and why not.
function M.attach(target, id, opts)
	local npc = M.get(id)
	if not npc then
		return nil, ("nobody called %q is registered"):format(tostring(id))
	end
	local object = target
	if type(target) == "table" and target.object then
		object = target.object
	end
	if not is_object(object) then
		return nil, "attach needs an object or a luaentity, got a " .. type(target)
	elseif not object:get_pos() then
		return nil, "the object is gone"
	elseif object:is_player() then
		return nil, "a player cannot be an NPC"
	end
	M.add_body(npc, object)
	local entity = object:get_luaentity()
	if not entity or opts and opts.rightclick == false then
		return true
	end
	-- Never twice: a mod that has put a click around ours would be called by what it calls.
	local before = attached[entity]
	if before then
		before.id = id
	elseif entity.name ~= "llm_agent:npc" then
		attached[entity] = {id = id, old = entity.on_rightclick}
		-- On this one entity; its definition, which it gets the rest from, stays as it is.
		entity.on_rightclick = on_rightclick
	end
	return true
end

--- Take the voice from an object. Its click stays in place, since others may have built on it, but does no
-- more than what it did before.
function M.detach(object)
	M.drop_body(object)
	local entity = object:get_luaentity()
	if entity and attached[entity] then
		attached[entity].id = nil
	end
end
