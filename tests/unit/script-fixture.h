/* Runs a script in a worker, as it may end the process. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "script/script.h"
#include "work/work.h"

struct fixture {
        char dir[64]; /* holds the script */
        json_t *instance, *global;
        struct caps caps;
        struct script_request req;
        bool presets;
        json_t *json; /* script_presets' or the result as JSON */
        struct script_result result;
        struct error error;
};

static inline int fixture_work(void *arg, int report_fd, json_t **ret, struct error *err) {
        struct fixture *f = arg;
        struct script_result result = { 0 };
        int r;

        if (f->presets)
                return script_presets(&f->req, report_fd, ret, err);
        r = script_run(&f->req, report_fd, &result, err);
        if (r < 0)
                return r;
        *ret = script_result_to_json(&result);
        script_result_done(&result);
        return 0;
}

static inline void fixture_write(struct fixture *f, const char *name, const char *text) {
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);
        char *slash = strrchr(path, '/');

        *slash = '\0';
        assert_int_equal(file_mkdirs(path, 0700, NULL), 0);
        *slash = '/';
        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false, NULL), 0);
}

static inline void fixture_init(struct fixture *f) {
        *f = (struct fixture){ .dir = "/tmp/vore-script-XXXXXX" };
        assert_non_null(mkdtemp(f->dir));
        f->instance = json_pack("{s:s, s:i, s:[]}", "name", "t", "memory", 256, "disks");
        f->global = json_object();
        f->req = (struct script_request){
                .path = xasprintf("%s/qemu.lua", f->dir),
                .library_dir = TEST_LUA_DIR,
                .instance = f->instance,
                .global = f->global,
                .instance_dir = "/var/lib/vore/instance/t",
                .deadline_ms = 5000,
                .memory_max = 32 * 1024 * 1024,
        };
}

static inline void fixture_forget(struct fixture *f) {
        json_decref(f->json);
        f->json = NULL;
        script_result_done(&f->result);
        error_done(&f->error);
}

static inline void fixture_done(struct fixture *f) {
        fixture_forget(f);
        (void) file_remove_tree(AT_FDCWD, f->dir, NULL);
        free((char *) f->req.path);
        json_decref(f->instance);
        json_decref(f->global);
        caps_done(&f->caps);
}
#define _cleanup_fixture_ _cleanup_(fixture_done)

/* text NULL: the script is there already. */
static inline int fixture_run(struct fixture *f, const char *text) {
        int r;

        fixture_forget(f);
        if (text)
                fixture_write(f, "qemu.lua", text);
        r = work_run("the script", 20000, fixture_work, f, &f->json, &f->error);
        if (r >= 0 && !f->presets)
                assert_int_equal(script_result_from_json(f->json, &f->result, NULL), 0);
        return r;
}

/* body inside a build function that begins on line 1. */
static inline int fixture_build(struct fixture *f, const char *body) {
        _cleanup_free_ char *text =
                xasprintf("vore:set_build_command(function(instance, vm) %s\nreturn vm end)\n", body);

        return fixture_run(f, text);
}

/* The arguments joined by spaces. */
static inline void fixture_expect(struct fixture *f, const char *body, const char *expected) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        int r = fixture_build(f, body);

        if (r < 0)
                print_error("%s\n", error_text(&f->error));
        assert_int_equal(r, 0);
        for (size_t i = 0; i < f->result.argv.n; i++)
                strbuf_addf(&b, "%s%s", i > 0 ? " " : "", f->result.argv.items[i]);
        assert_string_equal(b.data ? b.data : "", expected);
}

/* The error is "DIR/qemu.lua:LINE: " and holds text. */
static inline void fixture_expect_error(struct fixture *f, int line, const char *text) {
        _cleanup_free_ char *prefix = xasprintf("%s:%d: ", f->req.path, line);

        if (!str_starts(error_text(&f->error), prefix) || !strstr(error_text(&f->error), text))
                print_error("got:  %s\nwant: %s… %s\n", error_text(&f->error), prefix, text);
        assert_true(str_starts(error_text(&f->error), prefix));
        assert_non_null(strstr(error_text(&f->error), text));
}

static inline void fixture_expect_fault(struct fixture *f, const char *body, const char *text) {
        assert_true(fixture_build(f, body) < 0);
        fixture_expect_error(f, 1, text);
}
