/* Small helpers that every room uses: cleanup attributes and ownership transfer.
 *
 * A variable marked _cleanup_(f) is released when it leaves its scope; TAKE_PTR and TAKE_FD hand
 * its value on and leave the variable empty. Empty means NULL for a pointer, -1 for a descriptor. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))
#define _pure_ __attribute__((pure))

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
/* Arguments are evaluated twice: no side effects in them. */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member)                                                                      \
        ((type *) ((char *) (1 ? (ptr) : &((type *) 0)->member) - offsetof(type, member)))

#define TAKE_PTR(p)                                                                                          \
        ({                                                                                                   \
                __typeof__(p) *take_ = &(p);                                                                 \
                __typeof__(p) taken_ = *take_;                                                               \
                *take_ = NULL;                                                                               \
                taken_;                                                                                      \
        })
#define TAKE_FD(fd)                                                                                          \
        ({                                                                                                   \
                int *take_ = &(fd);                                                                          \
                int taken_ = *take_;                                                                         \
                *take_ = -1;                                                                                 \
                taken_;                                                                                      \
        })

static inline void cleanup_freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(cleanup_freep)

/* Closes *fd if it is not -1; keeps errno. */
void cleanup_closep(int *fd);
#define _cleanup_close_ _cleanup_(cleanup_closep)

static inline void cleanup_fclosep(FILE **f) {
        if (*f)
                fclose(*f);
}
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)
