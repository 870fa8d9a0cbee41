"""Runs in L1: a write to the file that is its argument never returns, not even by SIGKILL, while this runs; or, with the
name of an error as second argument, fails with that. It is a FUSE file system of one file over that one; the kernel waits
uninterruptibly for the answer to a request that was read. Says "ready", then "writing" at each write. See linux/fuse.h."""
import ctypes
import errno
import os
import stat
import struct
import sys

FORGET, GETATTR, SETATTR, OPEN, WRITE, RELEASE, FLUSH, INIT, INTERRUPT = 2, 3, 4, 14, 16, 18, 25, 26, 36
ATTRIBUTES = struct.pack("<QII", 3600, 0, 0) + struct.pack("<6Q3I7I", *[1, 4096, 8, 0, 0, 0], *[0] * 3,
                                                           stat.S_IFREG | 0o200, 1, 0, 0, 0, 4096, 0)
ANSWERS = {INIT: struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 4096, 1, 1, 0, 0), GETATTR: ATTRIBUTES,
           SETATTR: ATTRIBUTES, OPEN: struct.pack("<QII", 1, 1, 0), RELEASE: b"", FLUSH: b""}


def main(path, error=None):
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode={stat.S_IFREG | 0o200:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hang", path.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount", path)
    while True:
        request = os.read(fd, 1 << 17)
        _, kind, number = struct.unpack_from("<IIQ", request)
        if kind == INIT:
            print("ready", flush=True)
        if kind == WRITE:
            print("writing", flush=True)
        if kind not in (FORGET, INTERRUPT) and (kind != WRITE or error):
            body = ANSWERS.get(kind, b"")
            code = 0 if kind in ANSWERS else -getattr(errno, error if kind == WRITE else "ENOSYS")
            os.write(fd, struct.pack("<IiQ", 16 + len(body), code, number) + body)


main(*sys.argv[1:])
