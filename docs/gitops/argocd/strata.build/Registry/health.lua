-- The health of a Registry: Healthy while it serves.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function says(kind)
  return conditions[kind].reason .. ": " .. (conditions[kind].message or "")
end

if status.observedGeneration ~= obj.metadata.generation or conditions["Ready"] == nil then
  return { status = "Progressing", message = "Strata has not looked at this spec yet" }
end
if is("Stalled", "True") or is("Ready", "False") then
  return { status = "Degraded", message = says("Ready") }
end
if not is("Ready", "True") then
  return { status = "Progressing", message = says("Ready") }
end
if is("NodeAccess", "False") then
  return { status = "Healthy", message = says("NodeAccess") }
end
return { status = "Healthy", message = says("Ready") }
