-- follow and go_to: a body walks, plainly: straight ahead, up one step, around what is in its way
-- with a path of the engine, and it gives up soon.
--
-- Every walker thinks four times a second and looks at a handful of nodes; paths are short, and one
-- a second for all walkers together.
local A = ...

local movement = {}

local MAX_WALKERS = 24
local THINK_S = 0.25
local SPEED, JUMP = 3, 6.3
local MAX_FAR = 64
local HOME_FAR = 56 -- less, so that there always is a way home
local LOST = 24
local MAX_DROP = 3
local PATH_NEAR, PATH_ROUND, PATH_PAUSE_S, MAX_PATHS = 16, 5, 1, 4
local STUCK_THINKS, MAX_STUCK_THINKS = 4, 24

local jobs, count = {}, 0
local homes = setmetatable({}, { __mode = "k" })
local last_path = -PATH_PAUSE_S

-- Whose body it is -------------------------------------------------------------------------------

-- Why this body cannot be moved, in words for the model, or nil. A mob of another mod that thinks
-- for itself is left alone: two brains would tear at it.
function movement.problem(npc)
	local object = A.npcs.object(npc.id)
	if not object or not object:get_pos() then
		return "you have no body here"
	end
	local entity = object:get_luaentity()
	if not entity then
		return "your body cannot walk"
	end
	local own = (entity.name or ""):match("^llm_agent:") or npc.def.movable == true
	if not own and (entity.on_step or entity.do_custom or entity._cmi_is_mob) then
		return "your feet go their own way"
	end
end

local function stand(object)
	local velocity = object:get_velocity()
	if velocity then
		object:set_velocity({ x = 0, y = velocity.y, z = 0 })
	end
end

local function animate(object, name)
	local entity = object:get_luaentity()
	if entity and entity.animate then
		entity:animate(name)
	end
end

-- Ends a walk; `why` is "there", "gone", "late", "blocked" or "stopped".
function movement.stop(npc_id, why)
	local job = jobs[npc_id]
	if not job then
		return
	end
	jobs[npc_id], count = nil, count - 1
	if job.object:get_pos() then
		stand(job.object)
		animate(job.object, "stand")
	end
	if job.on_end then
		A.protect.call("movement.on_end", job.on_end, why or "stopped")
	end
end

-- Whether this NPC is walking somewhere; with an object, whether that is the body that walks.
function movement.moving(npc_id, object)
	local job = jobs[npc_id]
	return job ~= nil and (object == nil or object == job.object)
end

-- Where a body was before it first walked, or nil. Our own keeps it in the map: else players could lead
-- it away, a little further with every restart. What another mod keeps of its entities is its own affair.
function movement.home(object)
	local entity = object:get_luaentity()
	return entity and entity.name == "llm_agent:npc" and entity.home or homes[object]
end

local function set_home(object, pos)
	local entity = object:get_luaentity()
	if entity and entity.name == "llm_agent:npc" then
		entity.home = vector.round(pos)
	else
		homes[object] = pos
	end
end

-- Begins a walk. `job` holds `goal` (a function that returns a position, or nil to end it), `near`
-- (how close is there), `seconds`, `stay` (follow on instead of ending there), `on_end(why)`.
-- Returns true, or false and words for the model.
function movement.start(npc, job)
	local problem = movement.problem(npc)
	if problem then
		return false, problem
	end
	local object = A.npcs.object(npc.id)
	local goal, pos = job.goal(), object:get_pos()
	local home = movement.home(object) or pos
	local away = vector.distance(pos, home)
	if not goal then
		return false, "that is not here"
	elseif vector.distance(pos, goal) > MAX_FAR then
		return false, "that is too far to walk"
	elseif vector.distance(goal, home) > math.max(HOME_FAR, away) then
		return false, "that is too far from your home"
	end
	movement.stop(npc.id, "stopped")
	if count >= MAX_WALKERS then
		return false, "you are too tired to walk now"
	end
	local box = (object:get_properties() or {}).collisionbox or { 0, 0, 0, 0, 0, 0 }
	job.feet = box[2] + 0.5
	job.ends = A.now() + job.seconds
	-- Thinking is spread over the steps, so that walkers do not all look around in the same one.
	job.next = A.now() + THINK_S * (count % 4) / 4
	job.stuck, job.paths, job.home, job.leash, job.object = 0, 0, home, math.max(HOME_FAR, away), object
	jobs[npc.id], count = job, count + 1
	set_home(object, home)
	return true
end

-- The ground -------------------------------------------------------------------------------------

local function node_at(pos)
	local node = core.get_node_or_nil(pos)
	return node and core.registered_nodes[node.name] or nil
end

local function solid(def)
	return def == nil or def.walkable ~= false
end

local function harmful(def)
	return def ~= nil and ((def.damage_per_second or 0) > 0 or ((def.groups or {}).lava or 0) > 0)
end

-- What lies one step ahead: "free", "step" (one up), "wall", "drop" (too deep) or "harm".
local function ahead(feet, dir)
	local at = { x = feet.x + dir.x * 0.7, y = feet.y, z = feet.z + dir.z * 0.7 }
	local front = node_at(at)
	if harmful(front) then
		return "harm"
	elseif solid(front) then
		local above = node_at({ x = at.x, y = at.y + 1, z = at.z })
		local head = node_at({ x = at.x, y = at.y + 2, z = at.z })
		return (solid(above) or solid(head)) and "wall" or "step"
	end
	for depth = 1, MAX_DROP + 1 do
		local below = node_at({ x = at.x, y = at.y - depth, z = at.z })
		if harmful(below) then
			return "harm"
		elseif solid(below) or (below.liquidtype or "none") ~= "none" then
			return "free"
		end
	end
	return "drop"
end

-- One path at a time, and only over a short way: a search that fails looks at all the room it has.
local function find_path(job, feet, goal)
	if job.paths >= MAX_PATHS or A.now() - last_path < PATH_PAUSE_S then
		return
	end
	if vector.distance(feet, goal) > PATH_NEAR then
		return
	end
	job.paths, last_path = job.paths + 1, A.now()
	local path = core.find_path(vector.round(feet), vector.round(goal), PATH_ROUND, 1, MAX_DROP, "A*_noprefetch")
	if path and #path > 1 then
		job.path, job.at = path, 2
	end
end

-- Walking ----------------------------------------------------------------------------------------

local function flat(from, to)
	local x, z = to.x - from.x, to.z - from.z
	local length = math.sqrt(x * x + z * z)
	return length, length > 0 and { x = x / length, y = 0, z = z / length } or { x = 0, y = 0, z = 0 }
end

-- Where to set the next foot: the next point of the path, or the goal itself.
local function target(job, feet, goal)
	while job.path do
		local point = job.path[job.at]
		if not point then
			job.path = nil
		elseif flat(feet, point) < 0.6 then
			job.at = job.at + 1
		else
			return point
		end
	end
	return goal
end

local function walk(job, object, feet, goal)
	local _, dir = flat(feet, target(job, feet, goal))
	local what = ahead(feet, dir)
	local velocity = object:get_velocity() or { x = 0, y = 0, z = 0 }
	object:set_yaw(core.dir_to_yaw(dir))
	if what == "wall" or what == "drop" or what == "harm" then
		stand(object)
		job.stuck = job.stuck + 1
		job.path = nil
		find_path(job, feet, goal)
		return
	end
	local up = velocity.y
	local here = node_at(feet)
	if here and (here.liquidtype or "none") ~= "none" then
		up = 1.5
	elseif what == "step" and math.abs(velocity.y) < 0.5 then
		up = JUMP
	end
	object:set_velocity({ x = dir.x * SPEED, y = up, z = dir.z * SPEED })
end

local function think(npc_id, job)
	local object = job.object
	local pos = object:get_pos()
	local goal = pos and job.goal()
	if not goal then
		return movement.stop(npc_id, "gone")
	elseif A.now() > job.ends then
		return movement.stop(npc_id, "late")
	elseif vector.distance(pos, goal) > (job.stay and LOST or MAX_FAR * 2) then
		return movement.stop(npc_id, "gone")
	elseif vector.distance(pos, job.home) > job.leash then
		return movement.stop(npc_id, "late")
	end
	if flat(pos, goal) <= job.near and math.abs(pos.y - goal.y) < 3 then
		if not job.stay then
			return movement.stop(npc_id, "there")
		end
		stand(object)
		animate(object, "stand")
		job.path, job.stuck, job.last = nil, 0, nil
		return
	end
	local feet = { x = pos.x, y = pos.y + job.feet, z = pos.z }
	if job.last and flat(job.last, pos) < 0.15 then
		job.stuck = job.stuck + 1
		if job.stuck % STUCK_THINKS == 0 and not job.path then
			find_path(job, feet, goal)
		end
	elseif job.last then
		job.stuck = math.max(0, job.stuck - 1)
	end
	if job.stuck >= MAX_STUCK_THINKS then
		return movement.stop(npc_id, "blocked")
	end
	job.last = pos
	animate(object, "walk")
	walk(job, object, feet, goal)
end

-- One server step; called by the mod's own.
function movement.step()
	if count == 0 then
		return
	end
	local now, due = A.now(), {}
	for npc_id, job in pairs(jobs) do
		if now >= job.next then
			job.next = now + THINK_S
			due[npc_id] = job
		end
	end
	for npc_id, job in pairs(due) do
		if jobs[npc_id] == job and not A.protect.call("movement", think, npc_id, job) then
			movement.stop(npc_id, "stopped")
		end
	end
end

table.insert(A.steps, { name = "movement", fn = movement.step })

assert(loadfile(A.path .. "/src/actions/walks.lua"))(A, movement)

return movement
