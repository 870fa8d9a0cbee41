/* Files: reading whole ones with a bound, writing them atomically, folders, locks. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* Reads at most max bytes of path (relative to dirfd, or AT_FDCWD); a longer file is -EFBIG, a
 * directory -EISDIR. *ret is NUL-terminated and owned by the caller; ret_len may be NULL. */
int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct error *err);
/* The same from an open descriptor, up to its end. */
int file_read_fd(int fd, size_t max, char **ret, size_t *ret_len, struct error *err);
/* A sysfs-like attribute: one line without its newline, at most 4095 bytes. Quiet: no text. */
int file_read_line(int dirfd, const char *path, char **ret);

/* Writes to a new file beside path, fsyncs (if sync), renames over path, fsyncs the folder. On failure
 * nothing is left and the old content stays. */
int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool sync,
                      struct error *err);

/* Writes everything, whatever write(2) does in parts. */
int file_write_all(int fd, const void *data, size_t len);

/* mkdir -p; folders that are made get mode (less umask). An existing folder is fine. */
int file_mkdirs(const char *path, mode_t mode, struct error *err);
/* Removes a folder and all in it without following links; an absent one is fine. */
int file_remove_tree(int dirfd, const char *path, struct error *err);

/* Opens and locks path (created 0600, O_CLOEXEC) exclusively with an OFD lock, which forked children
 * that close the descriptor do not keep. -EAGAIN: somebody holds it. */
int file_lock(const char *path, int *ret_fd, struct error *err);

/* Which file this is, and no other that gets its name or its inode number later: the device, and the file
 * system's own handle (name_to_handle_at(2): inode and generation), or else the inode and when it was made.
 * path "": fd itself; links are not followed. Owned by the caller. */
int file_identity(int dirfd, const char *path, char **ret);

/* Gives a file without a name (O_TMPFILE) the name in folder. -EEXIST: there is such a one. Quiet: no text.
 */
int file_link(int fd, int folder, const char *name);
