-- The health of an ImageBuild: Healthy once the image of this very spec is in its registry.
-- Conditions are read as kstatus does, so Argo CD, Flux and `kubectl wait` say the same.
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
if is("Suspended", "True") then
  return { status = "Suspended", message = says("Suspended") }
end
if is("Stalled", "True") or is("Ready", "False") then
  return { status = "Degraded", message = says("Ready") }
end
if not is("Ready", "True") then
  return { status = "Progressing", message = says("Ready") }
end
-- The image is there. What else is to be known of it stands in the message.
if is("Building", "True") then
  return { status = "Healthy", message = "the image is there and is built again: " .. says("Building") }
end
if is("LastBuildSucceeded", "False") then
  return { status = "Healthy", message = "the image is there, the newest build failed: " .. says("LastBuildSucceeded") }
end
if is("Polling", "False") then
  return { status = "Healthy", message = "the image is there, its source cannot be watched: " .. says("Polling") }
end
return { status = "Healthy", message = says("Ready") }
