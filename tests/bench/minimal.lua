-- The smallest machine that QEMU builds: processors and memory, no device. What remains is the cost of starting.
vore:set_build_command(function(instance, vm)
    vm:arg("-no-user-config", "-nodefaults", "-display", "none")
    vm:arg("-machine", instance.chipset .. ",accel=" .. (instance.kvm and "kvm" or "tcg"))
    vm:arg("-smp", instance.cpu.amount, "-m", instance.memory)
    return vm
end)
