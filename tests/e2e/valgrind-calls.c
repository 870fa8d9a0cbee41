/* Preloaded into vored under a valgrind that does not know pidfds and close_range(2), as Debian 12's: hands
 * the pidfd calls to the kernel behind its back, which touch no memory that it watches, and closes
 * descriptors one by one, so that its own stay open. Elsewhere these are the same as libc's. */
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <errno.h>
#include <valgrind/valgrind.h>

struct siginfo;
int pidfd_open(int pid, unsigned flags);
int pidfd_send_signal(int fd, int sig, struct siginfo *info, unsigned flags);
int close_range(unsigned first, unsigned last, int flags);

static long raw(long number, long a, long b, long c, long d) {
        register long r10 __asm__("r10") = d;
        long ret;

        __asm__ volatile("syscall"
                         : "=a"(ret)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                         : "rcx", "r11", "memory");
        return ret;
}

static long kernel_open(long thread, long pid, long flags) {
        (void) thread;
        return raw(SYS_pidfd_open, pid, flags, 0, 0);
}

static long kernel_signal(long thread, long fd, long sig) {
        (void) thread;
        return raw(SYS_pidfd_send_signal, fd, sig, 0, 0);
}

static int answer(long r) {
        if (r >= 0)
                return (int) r;
        errno = (int) -r;
        return -1;
}

int pidfd_open(int pid, unsigned flags) {
        return answer((long) VALGRIND_NON_SIMD_CALL2(kernel_open, pid, flags));
}

int pidfd_send_signal(int fd, int sig, struct siginfo *info, unsigned flags) {
        (void) info; /* vored gives none */
        (void) flags;
        return answer((long) VALGRIND_NON_SIMD_CALL2(kernel_signal, fd, sig));
}

int close_range(unsigned first, unsigned last, int flags) {
        struct rlimit limit;

        (void) flags;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -1;
        if (last >= limit.rlim_cur)
                last = (unsigned) limit.rlim_cur - 1;
        for (unsigned fd = first; fd <= last; fd++)
                (void) close((int) fd);
        return 0;
}
