/* Does a server answer at a socket? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "host/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/test-socket.XXXXXX";

static int setup(void **state) {
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

static int answers(const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
        _cleanup_host_ struct host *h = NULL;

        assert_int_equal(host_open("/", &h, NULL), 0);
        return host_socket_answers(h, path);
}

/* Bound; it listens if backlog is not negative. */
static int server(const char *name, int backlog) {
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", folder, name);
        assert_int_equal(bind(fd, (struct sockaddr *) &addr, sizeof(addr)), 0);
        if (backlog >= 0)
                assert_int_equal(listen(fd, backlog), 0);
        return fd;
}

static void test_answers(void **state) {
        _cleanup_close_ int fd = server("alive", 4), accepted = -1;
        char byte;

        assert_int_equal(answers("alive"), 0);
        /* The connection is closed at once: a server sees its end, and nothing else. */
        accepted = accept(fd, NULL, NULL);
        assert_true(accepted >= 0);
        assert_int_equal(read(accepted, &byte, 1), 0);
}

static void test_why_not(void **state) {
        _cleanup_close_ _unused_ int dead = server("dead", -1);
        _cleanup_free_ char *file = xasprintf("%s/file", folder);

        assert_int_equal(answers("dead"), -ECONNREFUSED);
        assert_int_equal(answers("absent"), -ENOENT);
        assert_int_equal(file_write_atomic(AT_FDCWD, file, "", 0, 0600, false, NULL), 0);
        assert_int_equal(answers("file"), -ENOTSOCK);
        assert_int_equal(answers("file/below"), -ENOTDIR);
}

/* A full queue: connect(2) would wait. */
static void test_hangs(void **state) {
        _cleanup_close_ _unused_ int fd = server("full", 0);
        int r = 0;

        for (int i = 0; i < 8 && r == 0; i++)
                r = answers("full");
        assert_int_equal(r, -EAGAIN);
}

/* A path that no sockaddr holds. */
static void test_long_path(void **state) {
        _cleanup_close_ _unused_ int fd = server("short", 4);
        char name[100];

        memset(name, 'x', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        _cleanup_free_ char *from = xasprintf("%s/short", folder), *to = xasprintf("%s/%s", folder, name);
        assert_int_equal(rename(from, to), 0);
        assert_true(strlen(to) > sizeof(((struct sockaddr_un *) 0)->sun_path));
        assert_int_equal(answers(name), 0);
}

static void test_captured(void **state) {
        _cleanup_host_ struct host *h = NULL;

        assert_int_equal(host_open(TEST_HOSTS "/amd-desktop", &h, NULL), 0);
        assert_int_equal(host_socket_answers(h, "/run/user/1000/pulse/native"), 0);
        assert_int_equal(host_socket_answers(h, "/run/user/1000/pipewire-0"), -EACCES);
        assert_int_equal(host_socket_answers(h, "/run/user/1001/pulse/native"), -ENOENT);
        assert_int_equal(host_socket_answers(h, "/etc/passwd"), -ENOTSOCK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answers),  cmocka_unit_test(test_why_not),
                cmocka_unit_test(test_hangs),    cmocka_unit_test(test_long_path),
                cmocka_unit_test(test_captured),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
