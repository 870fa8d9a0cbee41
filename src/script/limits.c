#include "script/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "work/work.h"

/* While the first tick's hook has not come by, a C function runs (string.find): report from outside then. */
enum { TICK_US = 50 * 1000 };

static struct state *alarmed; /* a signal handler has no other argument */

/* snprintf and malloc are out of the question in a signal handler, and inside an allocation. */
static void add_text(char *buf, size_t size, const char *text) {
        size_t at = strlen(buf);

        while (*text && at + 1 < size)
                buf[at++] = *text++;
        buf[at] = '\0';
}

static void add_number(char *buf, size_t size, unsigned n) {
        char digits[16];
        size_t i = sizeof(digits) - 1;

        digits[i] = '\0';
        do
                digits[--i] = (char) ('0' + n % 10);
        while (n /= 10);
        add_text(buf, size, digits + i);
}

static bool add_position(char *buf, size_t size, lua_State *L) {
        lua_Debug ar;

        for (int level = 0; lua_getstack(L, level, &ar); level++) {
                if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0)
                        continue;
                add_text(buf, size, ar.source[0] == '@' ? ar.source + 1 : ar.short_src);
                add_text(buf, size, ":");
                add_number(buf, size, (unsigned) ar.currentline);
                return true;
        }
        return false;
}

/* "file:12: text" */
static void describe(const struct state *s, char *buf, size_t size, const char *text) {
        *buf = '\0';
        if (!add_position(buf, size, s->current) && !add_position(buf, size, s->lua)) {
                add_text(buf, size, s->req->path);
                add_text(buf, size, ":1");
        }
        add_text(buf, size, ": ");
        add_text(buf, size, text);
}

_noreturn_ static void report_and_exit(const struct state *s, int code, const char *text) {
        work_report_raw(s->report_fd, code, text);
        _exit(EXIT_FAILURE);
}

_noreturn_ static void report_expired(const struct state *s) {
        char buf[2048];

        describe(s, buf, sizeof(buf), s->expired_text);
        report_and_exit(s, -ETIMEDOUT, buf);
}

void *limits_alloc(void *state, void *ptr, size_t old_size, size_t new_size) {
        struct state *s = state;
        size_t old = ptr ? old_size : 0; /* without ptr, old_size is a type tag */
        void *p;

        if (new_size == 0) {
                free(ptr);
                s->memory_used -= old;
                return NULL;
        }
        if (new_size > old && s->memory_used - old + new_size > s->memory_max) {
                /* Lua collects its garbage after the first refusal and asks again for the same. What it
                 * raises after the second a pcall would catch, and no message handler sees it. */
                if (s->refused == new_size)
                        report_and_exit(s, -ENOMEM, s->refused_text);
                s->refused = new_size;
                if (s->lua)
                        describe(s, s->refused_text, sizeof(s->refused_text), s->memory_text);
                return NULL;
        }
        p = realloc(ptr, new_size);
        if (!p)
                return NULL;
        if (new_size > old)
                s->refused = 0;
        s->memory_used += new_size - old;
        return p;
}

static void on_hook(lua_State *L, lua_Debug *ar) {
        struct state *s = state_of(L);

        s->current = L;
        report_expired(s);
}

static void on_alarm(int sig) {
        struct state *s = alarmed;

        if (s->expired)
                report_expired(s);
        s->expired = 1;
        lua_sethook(s->current, on_hook, LUA_MASKCOUNT, 1); /* the one function that Lua allows here */
}

void limits_arm(struct state *s) {
        int ms = s->req->deadline_ms > 0 ? s->req->deadline_ms : 5000;
        struct itimerval timer = { .it_interval.tv_usec = TICK_US,
                                   .it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 } };
        struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };

        if (ms % 1000 == 0)
                (void) snprintf(s->expired_text, sizeof(s->expired_text), "ran longer than %d s", ms / 1000);
        else
                (void) snprintf(s->expired_text, sizeof(s->expired_text), "ran longer than %d ms", ms);
        (void) snprintf(s->memory_text, sizeof(s->memory_text), "needs more than %zu MiB of memory",
                        s->memory_max / 1024 / 1024);
        alarmed = s;
        (void) sigaction(SIGALRM, &action, NULL);
        (void) setitimer(ITIMER_REAL, &timer, NULL);
}

void limits_disarm(void) {
        struct itimerval none = { 0 };

        (void) setitimer(ITIMER_REAL, &none, NULL);
        (void) signal(SIGALRM, SIG_DFL);
        alarmed = NULL;
}
