/* The PCI devices of this host as `devices` lists them. */
#pragma once

#include "complete/complete.h"

/* An array of {address, vendor, device, class (the 24-bit code), class_name, name (of maker and model; null
 * where the hwdb does not know), driver, iommu_group, reset_methods (an array, as the kernel tries them),
 * boot_vga, power_state, holders (empty: vfio/ knows them), verdict, used_by (a running VM of uses, or
 * null)}, in the order of the addresses; what is not there is null.
 *
 * verdict: "ready"; "needs 2 more of its group": so many others of its IOMMU group have a driver of the host
 * and would have to be passed too; "host needs it (WHY)", as host_pci_need(); "no IOMMU".
 *
 * ret_notes: an array of sentences about the host as a whole: no IOMMU, no vfio-pci, and what to switch on.
 */
int plan_devices(const struct host *h, const struct complete_device *uses, size_t n_uses,
                 json_t **ret_devices, json_t **ret_notes, struct error *err);
