vore:set_build_command(function(instance, vm)
  return vm:arg(instance.cpu.amounts .. "")
end)
