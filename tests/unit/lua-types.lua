-- Compares what scripts are given with what lua/types/vore.lua says of it: every key is described, with its type, and
-- nothing is described that is not there. So does vore/default.lua for the installed script. TEST_TYPES is the folder
-- of both. A difference is an error.

local classes, types = {}, assert(os.getenv("TEST_TYPES"))
local class
for line in io.lines(types .. "/vore.lua") do
  local name, parent = line:match("^%-%-%-@class ([%w.]+):? ?([%w.]*)$")
  local field, optional, type = line:match("^%-%-%-@field ([%w_]+)(%??) (.+)$")
  if name then
    class = { parent = parent ~= "" and parent, fields = {} }
    classes[name] = class
  elseif field then
    -- The type ends at the first blank outside of "", <> and (); what follows explains it.
    local depth, quoted, last = 0, false, #type
    for i = 1, #type do
      local c = type:sub(i, i)
      if c == '"' then
        quoted = not quoted
      elseif c:find("[<(]") then
        depth = depth + 1
      elseif c:find("[>)]") then
        depth = depth - 1
      elseif c == " " and depth == 0 and not quoted then
        last = i - 1
        break
      end
    end
    class.fields[field] = { type = type:sub(1, last), optional = optional ~= "" }
  end
end

local faults = {}
local function fault(...)
  table.insert(faults, table.concat { ... })
end

local function fields_of(name)
  local all, one = {}, assert(classes[name], "there is no class " .. name)
  while one do
    for field, what in pairs(one.fields) do
      all[field] = what
    end
    one = one.parent and assert(classes[one.parent], "there is no class " .. one.parent)
  end
  return all
end

local check

local function check_class(value, name, where)
  local fields = fields_of(name)
  for key in pairs(value) do
    if not fields[key] then
      fault(where, ".", key, " is not described")
    end
  end
  for key, what in pairs(fields) do
    if value[key] ~= nil then
      check(value[key], what.type, where .. "." .. key)
    elseif not what.optional then
      fault(where, ".", key, " is described, but not there")
    end
  end
end

-- One that is not a table, and no list of several.
local function is_simple(value, type)
  if type == "integer" then
    return math.type(value) == "integer"
  elseif type:find('^"') then
    return type == '"' .. tostring(value) .. '"'
  end
  return _G.type(value) == type
end

function check(value, type, where)
  local list, map = type:match("^(.*)%[%]$"), type:match("^table<string, (.*)>$")
  if list or map then
    if _G.type(value) ~= "table" then
      fault(where, " is no table")
      return
    end
    for key, item in pairs(value) do
      check(item, (list or map):gsub("^%((.*)%)$", "%1"), where .. "." .. key)
    end
  elseif type:find("^vore%.") then
    check_class(value, type, where)
  else
    for one in type:gmatch("[^|]+") do
      if is_simple(value, one) then
        return
      end
    end
    fault(where, " is ", tojson(value), ", but described as ", type)
  end
end

local default, described = require "vore.default", dofile(types .. "/vore/default.lua")
for name in pairs(default) do
  if not described[name] then
    fault("vore.default.", name, " is not described")
  end
end
for name in pairs(described) do
  if not default[name] then
    fault("vore.default.", name, " is described, but not there")
  end
end

vore:set_build_command(function(instance, vm)
  check_class(instance, "vore.Instance", "instance")
  check_class(global, "vore.Global", "global")
  if #faults > 0 then
    table.sort(faults)
    error("\n" .. table.concat(faults, "\n"))
  end
  -- The lists whose items were looked at.
  return vm:arg("-seen", #instance.disks, #instance.vfio, #instance.network)
end)
