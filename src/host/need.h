/* What this host would lose with a PCI device: its disks, its way into the network, its display. */
#pragma once

#include "host/pci.h"

/* Why the host needs the device, as half a sentence in the arena; NULL: it does not. In this order:
 *   a disk behind it is mounted, swapped to, or part of a RAID, LVM or btrfs that is there (as
 *   host_disk_use()): "/dev/nvme0n1p2 is mounted at /";
 *   a network interface behind it, also below a bridge or a bond, has a default route: "the default route is
 *   by eno1" (/proc/net/route and ipv6_route; the network of whoever asks);
 *   it has virtual functions and one of them has a driver, VFIO's too (virtfnN in the kernel's
 *   Documentation/ABI/testing/sysfs-bus-pci): they go when its driver goes;
 *   it is the display that the firmware started on: "it is the boot display";
 *   it is a bridge (class 06): "it is one of its bridges".
 * "Behind" is by the path in sysfs, so that a USB controller has the disk that hangs on it. A device that has
 * a VFIO driver already was given away before: the host does not need it any more (a bridge excepted). */
const char *host_pci_need(const struct host *h, const struct host_pci *device, struct arena *arena);

/* Is the block device behind the PCI device: a disk there, a part of one, or built on one? */
bool host_pci_has_disk(const struct host *h, const char *address, dev_t disk);

/* Is one a virtual function of the other (SR-IOV, its link physfn)? */
bool host_pci_function_of(const struct host *h, const char *virtual_function, const char *physical_function);

/* May it stay with its driver while others of its IOMMU group are passed to a guest? Linux lets devices
 * without a driver, VFIO's, pci-stub's and pcieport's (driver_managed_dma in the kernel's drivers/pci,
 * since 5.19). */
bool host_pci_may_stay(const struct host_pci *device);

/* vfio-pci, or a driver for one kind of device on top of it, such as mlx5_vfio_pci. NULL is none. */
bool host_pci_vfio_driver(const char *driver);
