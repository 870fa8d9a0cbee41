/* Facts of this machine, read-only, all under one root directory descriptor, so that a captured tree
 * (VORE_HOST_ROOT) can be replayed on any machine: symlinks are resolved inside it, never outside.
 *
 * This header: the root, files under it, the machine as a whole, its users and programs. disk.h: what a
 * disk path is and who uses it. firmware.h: UEFI images by QEMU's descriptors.
 *
 * A captured tree is a folder with the files that vore reads, at their usual places, and a folder `vore`:
 *   vore/machine    what uname -m says
 *   vore/qemu-caps  what its QEMU can do (qemu/caps.h)
 *   vore/nodes      what was no plain file: one line each, "PATH TYPE MODE UID GID MAJ:MIN ACCESS"; TYPE is
 * one of b c s p, MODE octal, ACCESS "rw", "r", "w" or "-": how it opened for whoever captured it. Spaces in
 * PATH are written \040. Beside it stands an empty file at PATH. tests/hosts/capture-host writes one.
 *
 * Every function is quiet where it returns a negative errno without an error: the caller knows what the
 * absence means. Lists and strings that are handed out belong to the caller. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct host; /* holds the root descriptor and remembers nothing else */

/* root NULL: VORE_HOST_ROOT, else "/". */
int host_open(const char *root, struct host **ret, struct error *err);
void host_free(struct host *h);
static inline void host_freep(struct host **h) {
        host_free(*h);
}
#define _cleanup_host_ _cleanup_(host_freep)
/* A captured tree: no VM can be started. */
bool host_captured(const struct host *h);
/* The captured tree's QEMU capabilities (caps text), or -ENOENT on a real host. Owned by the caller. */
int host_captured_caps(const struct host *h, char **ret, struct error *err);

/* --- files under the root; every path is absolute and counts from the root --- */

/* open(2) with O_CLOEXEC; in a captured tree openat2(2) with RESOLVE_IN_ROOT. */
int host_fd(const struct host *h, const char *path, int flags);
/* The whole text, at most 4 MiB; and one line, at most 4095 bytes, without its newline. */
int host_read(const struct host *h, const char *path, char **ret);
int host_read_line(const struct host *h, const char *path, char **ret);
/* A decimal or 0x number that is the whole line; -EINVAL or -ERANGE. */
int host_read_int(const struct host *h, const char *path, long long *ret);
/* What the link itself says (it may be relative). */
int host_readlink(const struct host *h, const char *path, char **ret);
/* The path with all links resolved, as it reads inside the root. */
int host_realpath(const struct host *h, const char *path, char **ret);
/* Names in a folder but "." and "..", sorted. */
struct host_names {
        char **items;
        size_t n;
};
int host_names(const struct host *h, const char *path, struct host_names *ret);
void host_names_done(struct host_names *names);
#define _cleanup_host_names_ _cleanup_(host_names_done)

/* What stands at a path, links followed. In a captured tree vore/nodes decides what a device node is. */
struct host_node {
        char type;   /* 'f' file, 'd' folder, 'b' and 'c' devices, 's' socket, 'p' pipe */
        mode_t mode; /* permission bits */
        uid_t uid;
        gid_t gid;
        dev_t rdev; /* of devices */
        dev_t dev;  /* with ino: the identity of a file */
        ino_t ino;
        uint64_t size; /* bytes, of files */
        /* For the effective user; in a captured tree devices as they were for who captured it, files by any
         * of their permission bits. */
        bool readable, writable;
};
int host_node(const struct host *h, const char *path, struct host_node *ret);

/* --- the machine --- */

/* QEMU's name of the architecture: "x86_64", "aarch64", "i386", "arm", "ppc64", … Never fails on a real
 * host; -ENOENT for a captured tree without vore/machine. */
int host_arch(const struct host *h, char **ret);
/* 32 lower-case hex digits (machine-id(5)); -ENOENT where there is none yet. */
int host_machine_id(const struct host *h, char ret[static 33]);

struct host_hugepages {
        uint64_t size;        /* bytes of one page */
        uint64_t total, free; /* pages */
};
enum { HOST_HUGEPAGES_MAX = 8 };
struct host_memory {
        uint64_t total, available; /* bytes: MemTotal and MemAvailable of proc/meminfo */
        uint64_t page_size;        /* bytes; of the machine that runs this */
        struct host_hugepages hugepages[HOST_HUGEPAGES_MAX]; /* by size, smallest first */
        size_t n_hugepages;
};
int host_memory(const struct host *h, struct host_memory *ret, struct error *err);

/* What the CPUs are, by the first of them; the rest of /proc/cpuinfo is not read: it takes a millisecond per
 * CPU on some kernels. */
struct host_cpu_kind {
        char *vendor; /* "GenuineIntel", "AuthenticAMD"; NULL where cpuinfo does not say */
        char *model;  /* "AMD Ryzen 9 5950X 16-Core Processor" or NULL */
        char *flags;  /* a space before and after each; "" if none */
};
int host_cpu_kind(const struct host *h, struct host_cpu_kind *ret, struct error *err);
bool host_cpu_flag(const struct host_cpu_kind *kind, const char *flag);
void host_cpu_kind_done(struct host_cpu_kind *kind);
#define _cleanup_host_cpu_kind_ _cleanup_(host_cpu_kind_done)

/* The numbers of the logical CPUs that are online, sorted; by sysfs, else by /proc/cpuinfo. Owned by the
 * caller. */
int host_cpus_online(const struct host *h, int **ret, size_t *ret_n, struct error *err);

/* A logical CPU. -1 where sysfs does not say. */
struct host_cpu {
        int id, package, die, core;
};
/* The online ones, by id. Owned by the caller. */
int host_cpus(const struct host *h, struct host_cpu **ret, size_t *ret_n, struct error *err);
/* "0-3,8,10-11" of sysfs as sorted numbers below 8192; -EINVAL. Owned by the caller. */
int host_cpu_list(const char *text, int **ret, size_t *ret_n);

/* Can guests of arch run under KVM? True only where /dev/kvm opens for reading and writing and (x86) the CPU
 * shows vmx or svm: there are machines whose /dev/kvm opens without, and guests hang there. Otherwise false,
 * and why says it in half a sentence ("/dev/kvm does not exist"), hint what to do about it (NULL: nothing).
 * Both belong to the arena. */
bool host_kvm(const struct host *h, const char *arch, struct arena *arena, const char **ret_why,
              const char **ret_hint);

/* --- users and programs --- */

struct host_user {
        uid_t uid;
        gid_t gid;  /* (gid_t) -1: a number that no user has */
        char *name; /* owned; NULL: a number that no user has */
        char *home; /* owned; NULL as well */
};
/* "alice" or "#1000". On the real host also users that /etc/passwd does not list (getpwnam(3)). -ENOENT: no
 * such user; -EINVAL: "#" without a number. */
int host_user(const struct host *h, const char *text, struct host_user *ret, struct error *err);
void host_user_done(struct host_user *user);

/* An executable file: name with a slash as it is (absolute), else the first in $PATH; in a captured tree
 * /usr/local/bin, /usr/bin and /bin. -ENOENT. */
int host_program(const struct host *h, const char *name, char **ret);
/* QEMU for arch: binary (vored.toml; a path or a name) if not NULL, else qemu-system-<arch>. -ENOENT with
 * an error that names what is missing. */
int host_qemu(const struct host *h, const char *binary, const char *arch, char **ret, struct error *err);
