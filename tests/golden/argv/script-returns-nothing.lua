vore:set_build_command(function(instance, vm)
  vm:arg("-m", instance.memory)
end)
