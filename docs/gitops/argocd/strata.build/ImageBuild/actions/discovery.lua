local suspended = obj.spec.suspend == true
local building = false
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  building = building or (condition.type == "Building" and condition.status == "True")
end
return {
  ["rebuild"] = { ["disabled"] = suspended },
  ["rebuild-without-cache"] = { ["disabled"] = suspended },
  ["cancel"] = { ["disabled"] = not building },
  ["suspend"] = { ["disabled"] = suspended },
  ["resume"] = { ["disabled"] = not suspended },
}
