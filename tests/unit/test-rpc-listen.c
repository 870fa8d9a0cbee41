#include "rpc/client.h"
#include "rpc/server.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static char folder[64];

static char *in_folder(const char *name) {
        return xasprintf("%s/%s", folder, name);
}

static size_t entries(void) {
        _cleanup_free_ char *command = xasprintf("test \"$(ls -A %s | wc -l)\" = 1", folder);

        return system(command) == 0 ? 1 : 0;
}

static void test_access(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        struct sockaddr_un bound;
        socklen_t len = sizeof(bound);
        struct stat st;
        mode_t old = umask(0);
        int fd = -1;

        assert_int_equal(rpc_listen(path, 0660, getegid(), &fd, NULL), 0);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_mode, S_IFSOCK | 0660);
        assert_int_equal(st.st_gid, getegid());
        assert_int_equal(umask(old), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *) &bound, &len), 0);
        assert_string_equal(bound.sun_path, path);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(entries(), 1);
        close(fd);
        unlink(path);
}

/* Looks at path until the pipe's other end closes: did it ever stand open to others? */
static int watch(const char *path, int until) {
        struct pollfd p = { .fd = until, .events = POLLIN };
        struct stat st;

        for (int i = 0; i % 64 || poll(&p, 1, 0) == 0; i++)
                if (lstat(path, &st) == 0 && (st.st_mode & 077))
                        return 1;
        return 0;
}

static void test_never_open(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        mode_t old = umask(0);
        int ends[2], status = -1;

        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
                close(ends[1]);
                _exit(watch(path, ends[0]));
        }
        for (int i = 0; i < 5000; i++) {
                int fd = -1;

                assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), 0);
                close(fd);
                unlink(path);
        }
        close(ends[0]);
        close(ends[1]);
        umask(old);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* A umask that leaves nothing does not matter either. */
static void test_umask(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        struct stat st;
        mode_t old = umask(0777);
        int fd = -1;

        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), 0);
        umask(old);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_mode, S_IFSOCK | 0600);
        close(fd);
        unlink(path);
}

static void test_long_path(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char name[200] = "";
        int fd = -1;

        memset(name, 'x', 107 - strlen(folder) - 1);
        _cleanup_free_ char *fits = in_folder(name);
        assert_int_equal(strlen(fits), 107);
        assert_int_equal(rpc_listen(fits, 0600, (gid_t) -1, &fd, NULL), 0);
        close(fd);
        unlink(fits);
        _cleanup_free_ char *long_path = xasprintf("%sx", fits);
        assert_int_equal(rpc_listen(long_path, 0600, (gid_t) -1, &fd, &err), -ENAMETOOLONG);
        assert_non_null(strstr(error_text(&err), "107"));
        assert_int_equal(rpc_listen("", 0600, (gid_t) -1, &fd, NULL), -EINVAL);
}

static void test_stale_and_live(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        struct rpc_client *client = NULL;
        struct stat before, after;
        int fd = -1, second = -1;

        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), 0);
        assert_int_equal(lstat(path, &before), 0);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &second, NULL), -EADDRINUSE);
        assert_int_equal(lstat(path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        close(fd);
        assert_int_equal(rpc_client_connect(path, &client, NULL), -ECONNREFUSED);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), 0);
        assert_int_equal(rpc_client_connect(path, &client, NULL), 0);
        rpc_client_free(client);
        close(fd);
        unlink(path);
        assert_int_equal(rpc_client_connect(path, &client, NULL), -ENOENT);
}

/* Live, but its queue is full: that is no reason to take it for dead. */
static void test_live_and_busy(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[3], second = -1;

        strcpy(address.sun_path, path);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 0), 0);
        for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
                clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                (void) connect(clients[i], (struct sockaddr *) &address, sizeof(address));
        }
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &second, NULL), -EADDRINUSE);
        assert_int_equal(access(path, F_OK), 0);
        for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
                close(clients[i]);
        close(fd);
        unlink(path);
}

static void test_something_else(void **state) {
        _cleanup_free_ char *path = in_folder("s"), *target = in_folder("t");
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = -1, datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_int_equal(file_write_atomic(AT_FDCWD, path, "x", 1, 0600, false, NULL), 0);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), -EEXIST);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), -EEXIST);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(symlink(target, path), 0);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), -EEXIST);
        assert_int_equal(unlink(path), 0);
        strcpy(address.sun_path, path);
        assert_int_equal(bind(datagram, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), -EEXIST);
        assert_int_equal(entries(), 1);
        assert_int_equal(unlink(path), 0);
        close(datagram);
}

static void test_no_folder(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *path = in_folder("none/s");
        int fd = -1;

        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "none"));
}

/* Of many that race for a stale name one wins, and its socket is the one that stays. */
static void test_race(void **state) {
        _cleanup_free_ char *path = in_folder("s");
        int fd = -1, winners = 0, go[2], done[2];
        pid_t pids[8];

        assert_int_equal(rpc_listen(path, 0600, (gid_t) -1, &fd, NULL), 0);
        close(fd);
        assert_true(pipe(go) == 0 && pipe(done) == 0);
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                pids[i] = fork();
                if (pids[i] == 0) {
                        char c;

                        close(go[1]);
                        close(done[1]);
                        (void) !read(go[0], &c, 1);
                        int r = rpc_listen(path, 0600, (gid_t) -1, &fd, NULL);
                        /* the winner stays until the others are through */
                        if (r == 0)
                                (void) !read(done[0], &c, 1);
                        _exit(r == 0 ? 0 : r == -EADDRINUSE ? 1 : 2);
                }
        }
        close(go[0]);
        close(done[0]);
        close(go[1]);
        for (size_t n = 1; n < ARRAY_SIZE(pids); n++) {
                int status = 0;

                pid_t pid = wait(&status);
                assert_int_equal(WEXITSTATUS(status), 1);
                for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
                        if (pids[i] == pid)
                                pids[i] = 0;
        }
        struct rpc_client *client = NULL;
        assert_int_equal(rpc_client_connect(path, &client, NULL), 0);
        rpc_client_free(client);
        close(done[1]);
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
                if (pids[i] > 0) {
                        int status = 1;

                        waitpid(pids[i], &status, 0);
                        winners += WEXITSTATUS(status) == 0;
                }
        assert_int_equal(winners, 1);
        unlink(path);
}

static int setup(void **state) {
        strcpy(folder, "/tmp/test-rpc-XXXXXX");
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_access),         cmocka_unit_test(test_umask),
                cmocka_unit_test(test_never_open),     cmocka_unit_test(test_long_path),
                cmocka_unit_test(test_stale_and_live), cmocka_unit_test(test_live_and_busy),
                cmocka_unit_test(test_something_else), cmocka_unit_test(test_no_folder),
                cmocka_unit_test(test_race),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
