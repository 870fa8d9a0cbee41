/* How QEMU gets to a sound server of another user: its socket, cookie, group and variables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "plan/handover.h"
#include "plan/sound.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/vore-sound.XXXXXX";

static int setup(void **state) {
        _cleanup_free_ char *path = mkdtemp(folder) ? xasprintf("%s/na,tive", folder) : NULL;

        return path && mknod(path, S_IFSOCK | 0700, 0) == 0 ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(AT_FDCWD, folder, NULL);
}

/* The one option's value, rewritten. %s is the folder. */
static char *rewritten(struct plan *p, const char *option, const char *format) {
        static const struct plan_request req = { 0 };
        struct argv args = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;

        argv_add(&args, "/usr/bin/qemu-system-x86_64");
        argv_add(&args, option);
        const char *at = strstr(format, "%s");
        argv_addf(&args, "%.*s%s%s", at ? (int) (at - format) : (int) strlen(format), format,
                  at ? folder : "", at ? at + 2 : "");
        assert_int_equal(sound_handover(p, &args, &err), 0);
        assert_int_equal(handover(p, &args, "/var/lib/vore/instance/vm", &req, &err), 0);
        char *ret = xstrdup(args.items[2]);
        argv_done(&args);
        return ret;
}

static void expect(const char *option, const char *format, const char *want, bool handed_over) {
        struct plan p = { .arena = arena_new() };
        _cleanup_free_ char *now = rewritten(&p, option, format);

        assert_string_equal(now, want);
        assert_int_equal(p.n_files, handed_over ? 1 : 0);
        if (handed_over) {
                assert_int_equal(p.files[0].fd, 6);
                assert_int_equal(p.files[0].set, 0);
                assert_int_equal(p.files[0].flags, O_PATH);
                assert_int_equal(p.files[0].as, geteuid());
                assert_true(str_ends(p.files[0].path, "/na,tive"));
        }
        assert_int_equal(p.n_reach, 0);
        arena_free(p.arena);
}

static void test_socket(void **state) {
        expect("-audiodev",
               "{\"driver\":\"pa\",\"id\":\"a\",\"server\":\"unix:%s/na,tive\",\"out\":{\"latency\":5}}",
               "{\"driver\":\"pa\",\"id\":\"a\",\"server\":\"unix:/proc/self/fd/6\",\"out\":{\"latency\":5}}",
               true);
        /* As people wrote it for the first vore. */
        expect("-audiodev", "pa,id=a,server=%s/na,,tive,out.latency=5",
               "driver=pa,id=a,server=unix:/proc/self/fd/6,out.latency=5", true);
        expect("-audio", "driver=pa,model=hda,server=unix:%s/na,,tive",
               "driver=pa,model=hda,server=unix:/proc/self/fd/6", true);
}

static void test_left_alone(void **state) {
        static const char *const others[] = {
                "pa,id=a,server=tcp:host:4713",
                "pa,id=a,server=unix:/nonexistent/native",
                "pa,id=a",
                "none,id=a",
                "pa,id=a,server=unix:/etc/passwd",
                "pa,id=a,server=unix:/proc/self/fd/9",
                "{\"driver\":",
                "",
        };

        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
                expect("-audiodev", others[i], others[i], false);
        _cleanup_free_ char *device = xasprintf("pa,server=unix:%s/na,,tive", folder);
        expect("-device", "pa,server=unix:%s/na,,tive", device, false);
}

static void test_jack(void **state) {
        static const struct {
                const char *value;
                bool jack;
        } cases[] = { { "jack,id=a", true },
                      { "{\"driver\":\"jack\",\"id\":\"a\"}", true },
                      { "driver=jack,id=a", true },
                      { "pa,id=jack", false },
                      { "{\"driver\":\"none\",\"id\":\"jack\"}", false } };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct argv args = { 0 };

                argv_add(&args, "qemu");
                argv_add(&args, "-audiodev");
                argv_add(&args, cases[i].value);
                assert_int_equal(sound_jack(&args), cases[i].jack);
                argv_done(&args);
        }
}

/* --- what goes beside the arguments, on the captured host --- */

struct scene {
        struct plan plan;
        struct def def;
        struct host *host;
};

static void note(struct scene *s, uid_t uid) {
        s->plan = (struct plan){ .arena = arena_new() };
        assert_int_equal(host_open(TEST_HOSTS "/amd-desktop", &s->host, NULL), 0);
        sound_note(&s->plan, &s->def, s->host, uid);
}

static void scene_done(struct scene *s) {
        host_free(s->host);
        arena_free(s->plan.arena);
}

static void test_cookie(void **state) {
        _cleanup_(scene_done) struct scene s = { .def.pulse = { .enabled = true,
                                                                .user_uid = 1000,
                                                                .socket_path =
                                                                        "/run/user/1000/pulse/native" } };

        note(&s, 70000);
        assert_int_equal(s.plan.cookie.fd, 6);
        assert_int_equal(s.plan.cookie.as, 1000);
        assert_string_equal(s.plan.cookie.places[0], "/home/alice/.config/pulse/cookie");
        assert_string_equal(s.plan.cookie.places[1], "/home/alice/.pulse-cookie");
        assert_int_equal(s.plan.n_environ, 1);
        assert_string_equal(s.plan.environ[0], "PULSE_COOKIE=/proc/self/fd/6");
        assert_int_equal(s.plan.n_sockets, 0); /* everybody may connect: 0777 */
}

/* One's own server asks for no cookie; one without a home has none; a silent card needs nothing. */
static void test_no_cookie(void **state) {
        static const struct def_audio cases[] = {
                { .enabled = true, .user_uid = 70000, .socket_path = "/run/user/1000/pulse/native" },
                { .enabled = true, .user_uid = 4711, .socket_path = "/run/user/1000/pulse/native" },
                { .enabled = true,
                  .user_uid = 1000,
                  .silent = true,
                  .socket_path = "/run/user/1000/pulse/native" },
                { .enabled = false, .user_uid = 1000, .socket_path = "/run/user/1000/pulse/native" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(scene_done) struct scene s = { .def.pulse = cases[i] };

                note(&s, 70000);
                assert_int_equal(s.plan.cookie.fd, 0);
                assert_int_equal(s.plan.n_environ, 0);
        }
}

static void test_pipewire(void **state) {
        _cleanup_(scene_done) struct scene s = { .def.pipewire = { .enabled = true,
                                                                   .user_uid = 1000,
                                                                   .socket_path =
                                                                           "/run/user/1000/pipewire-0" } };

        note(&s, 70000);
        assert_int_equal(s.plan.n_sockets, 1); /* 0755 */
        assert_string_equal(s.plan.sockets[0], "/run/user/1000/pipewire-0");
        assert_int_equal(s.plan.n_environ, 1);
        assert_true(str_starts(s.plan.environ[0], "PIPEWIRE_REMOTE="));
        assert_int_equal(s.plan.cookie.fd, 0);
}

static void test_pipewire_of_ones_own(void **state) {
        _cleanup_(scene_done) struct scene s = { .def.pipewire = { .enabled = true,
                                                                   .user_uid = geteuid(),
                                                                   .socket_path =
                                                                           "/run/user/1000/pipewire-0" } };

        note(&s, (uid_t) -1);
        assert_int_equal(s.plan.n_sockets, 0);
        assert_string_equal(s.plan.environ[0], "PIPEWIRE_REMOTE=/run/user/1000/pipewire-0");
}

static void test_jack_group(void **state) {
        _cleanup_(scene_done) struct scene s = { .def.jack = { .enabled = true,
                                                               .server = "studio",
                                                               .user_uid = 1000,
                                                               .socket_path = "/dev/shm/jack_studio_0" } };
        struct group *group = getgrgid(29);
        _cleanup_free_ char *variable = xasprintf("JACK_PROMISCUOUS_SERVER=%s", group ? group->gr_name : "");

        note(&s, 70000);
        assert_int_equal(s.plan.group, 29);
        assert_string_equal(s.plan.environ[0], variable);
}

static void test_jack_of_ones_own(void **state) {
        _cleanup_(scene_done) struct scene s = { .def.jack = { .enabled = true,
                                                               .server = "private",
                                                               .user_uid = 1000,
                                                               .socket_path =
                                                                       "/dev/shm/jack_private_1000_0" } };

        note(&s, 1000);
        assert_int_equal(s.plan.group, 0);
        assert_int_equal(s.plan.n_environ, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_socket),
                cmocka_unit_test(test_left_alone),
                cmocka_unit_test(test_jack),
                cmocka_unit_test(test_cookie),
                cmocka_unit_test(test_no_cookie),
                cmocka_unit_test(test_pipewire),
                cmocka_unit_test(test_jack_group),
                cmocka_unit_test(test_pipewire_of_ones_own),
                cmocka_unit_test(test_jack_of_ones_own),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
