-- Health of a FlowDependencySet: that of its Ready condition, once it describes the current spec.
local function is(condition, state)
  return condition ~= nil and condition.status == state
end

local status = obj.status or {}
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready

if ready == nil then
  return { status = "Progressing", message = "waits for the operator to see the set" }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waits for the operator to see the change" }
end

local health = "Progressing"
if is(found.Stalled, "True") then
  health = "Degraded"
elseif is(found.Reconciling, "True") then
  health = "Progressing"
elseif ready.reason == "Suspended" then
  health = "Suspended"
elseif is(ready, "True") then
  health = "Healthy"
end
return { status = health, message = ready.message or "" }
