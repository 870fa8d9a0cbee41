#!/usr/bin/env python3
"""Makes bootable images of the test guest.

image.py raw FLAT OUT          a disk: the flat binary, filled up to 1 MiB
image.py iso FLAT OUT          a CD: ISO 9660 with El Torito, no emulation, the whole file loaded by the BIOS
image.py efi APPLICATION OUT   a disk: FAT16 with the PE file as EFI/BOOT/BOOTX64.EFI
"""
import struct
import sys

LABEL = b"VORE-LABEL:"


def relabel(data, text):
    at = data.index(LABEL) + len(LABEL)
    return data[:at] + text.encode().ljust(12)[:12] + data[at + 12:]


def raw(flat):
    return flat.ljust(1 << 20, b"\0")


def both(fmt, value):
    """ISO 9660's numbers in both byte orders."""
    return struct.pack("<" + fmt, value) + struct.pack(">" + fmt, value)


def iso(flat):
    flat = relabel(flat[:2] + b"\1" + flat[3:], "cdrom")  # the BIOS has loaded all of it
    boot_at, total = 23, 23 + -(-len(flat) // 2048)
    root = struct.pack("BB", 34, 0) + both("I", 22) + both("I", 2048) + bytes(7) + \
        struct.pack("BBB", 2, 0, 0) + both("H", 1) + b"\1\0"
    parent = root[:33] + b"\1"
    primary = b"\1CD001\1\0" + b" " * 32 + b"VORE_TEST_GUEST".ljust(32) + bytes(8) + both("I", total) + \
        bytes(32) + both("H", 1) + both("H", 1) + both("H", 2048) + both("I", 10) + \
        struct.pack("<II", 20, 0) + struct.pack(">II", 21, 0) + root + b" " * 623 + (b"0" * 16 + b"\0") * 4 + b"\1\0"
    boot_record = b"\0CD001\1" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", 19)
    check = struct.pack("<BBH24sHBB", 1, 0, 0, b"vore", 0, 0x55, 0xaa)
    words = sum(struct.unpack("<16H", check)) & 0xffff
    check = check[:28] + struct.pack("<H", -words & 0xffff) + check[30:]
    catalog = check + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, -(-len(flat) // 512), boot_at)
    little, big = struct.pack("<BBIH", 1, 0, 22, 1) + b"\0\0", struct.pack(">BBIH", 1, 0, 22, 1) + b"\0\0"
    # from sector 16: descriptors (18: their end), 19 boot catalog, 20 and 21 path tables, 22 root folder
    sectors = [primary, boot_record, b"\xffCD001\1", catalog, little, big, root + parent]
    body = bytes(16 * 2048) + b"".join(s.ljust(2048, b"\0") for s in sectors)
    return (body + flat).ljust(max(total * 2048, 1 << 20), b"\0")


def directory_entry(name, attributes, cluster, size):
    return name + struct.pack("<B10xHHHI", attributes, 0, 0x21, cluster, size)


def efi(application):
    sectors, fat_sectors, root_entries = 32768, 128, 512  # 16 MiB, clusters of one sector
    clusters = -(-len(application) // 512)
    chains = [0xfff8, 0xffff, 0xffff, 0xffff] + [i + 5 for i in range(clusters)]
    chains[-1] = 0xffff
    fat = struct.pack("<%dH" % len(chains), *chains).ljust(fat_sectors * 512, b"\0")
    boot = b"\xeb\x3c\x90VORE    " + struct.pack("<HBHBHHBHHHII", 512, 1, 1, 2, root_entries, sectors, 0xf8,
                                                 fat_sectors, 32, 2, 0, 0) + \
        struct.pack("<BBBI", 0x80, 0, 0x29, 0x564f5245) + b"VORE       FAT16   "
    boot = boot.ljust(510, b"\0") + b"\x55\xaa"
    root = directory_entry(b"EFI        ", 0x10, 2, 0)
    folder = directory_entry(b".          ", 0x10, 2, 0) + directory_entry(b"..         ", 0x10, 0, 0) + \
        directory_entry(b"BOOT       ", 0x10, 3, 0)
    inner = directory_entry(b".          ", 0x10, 3, 0) + directory_entry(b"..         ", 0x10, 2, 0) + \
        directory_entry(b"BOOTX64 EFI", 0x20, 4, len(application))
    data = boot + fat + fat + root.ljust(root_entries * 32, b"\0") + folder.ljust(512, b"\0") + \
        inner.ljust(512, b"\0") + application
    return data.ljust(sectors * 512, b"\0")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("raw", "iso", "efi"):
        sys.exit(__doc__)
    with open(sys.argv[2], "rb") as f:
        data = f.read()
    with open(sys.argv[3], "wb") as f:
        f.write({"raw": raw, "iso": iso, "efi": efi}[sys.argv[1]](data))


if __name__ == "__main__":
    main()
