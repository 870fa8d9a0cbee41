-- require "vore.default": runs the installed qemu.lua and gives what it returns, so that a script of one's own
-- only has to add to it.
local _, file = ...
return dofile((file:gsub("vore/default%.lua$", "qemu.lua")))
