/* vored: the daemon. */
#include "vored/reserve.h"
#include "vored/setup.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
        OPT_CONFIG = 256,
        OPT_STATE_DIR,
        OPT_RUNTIME_DIR,
        OPT_SOCKET,
        OPT_LOG_LEVEL,
        OPT_POWER_OFF,
        OPT_TEST_KILLS,
        OPT_VERSION
};

/* How long the socket waits for machines of the daemon before to be known. */
enum { ADOPTION_WAIT_US = 1000 * 1000 };

static const char help[] =
        "Usage: vored [OPTION]...\n"
        "The daemon of vore: it owns the virtual machines.\n\n"
        "  --config FILE      settings (default: vored.toml in /etc/vore or $XDG_CONFIG_HOME/vore)\n"
        "  --state-dir DIR    definitions, instances; logs in DIR/log\n"
        "  --runtime-dir DIR  what lasts until the next boot; the socket is DIR/vored.sock\n"
        "  --socket PATH      the socket\n"
        "  --log-level LEVEL  error, warning, info or debug\n"
        "  --power-off S      stop all machines of a daemon that has ended: power button, S seconds, then "
        "force\n"
        "  --help             this text\n"
        "  --version          the version\n";

#ifdef VORE_TEST_HOOKS
static void print_step(const char *table, const char *step, void *data) {
        printf("%s:%s:before\n%s:%s:after\n", table, step, table, step);
}
#endif

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct settings_options *o, uint64_t *ret_power_off_us) {
        static const struct option options[] = {
                { "config", required_argument, NULL, OPT_CONFIG },
                { "state-dir", required_argument, NULL, OPT_STATE_DIR },
                { "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
                { "socket", required_argument, NULL, OPT_SOCKET },
                { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
                { "power-off", required_argument, NULL, OPT_POWER_OFF },
#ifdef VORE_TEST_HOOKS
                { "list-test-kills", no_argument, NULL, OPT_TEST_KILLS },
#endif
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPT_VERSION },
                { NULL, 0, NULL, 0 },
        };
        long long seconds;
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case OPT_CONFIG:
                        o->config = optarg;
                        break;
                case OPT_STATE_DIR:
                        o->state_dir = optarg;
                        break;
                case OPT_RUNTIME_DIR:
                        o->runtime_dir = optarg;
                        break;
                case OPT_SOCKET:
                        o->socket = optarg;
                        break;
                case OPT_LOG_LEVEL:
                        o->log_level = optarg;
                        break;
                case OPT_POWER_OFF:
                        if (str_to_int(optarg, 1, 86400, &seconds) < 0) {
                                fprintf(stderr, "vored: --power-off takes seconds, 1 to 86400\n");
                                return 2;
                        }
                        *ret_power_off_us = (uint64_t) seconds * 1000000;
                        break;
#ifdef VORE_TEST_HOOKS
                case OPT_TEST_KILLS:
                        vm_steps(print_step, NULL);
                        reserve_steps(print_step, NULL);
                        return 0;
#endif
                case OPT_VERSION:
                        printf("vored %s\n", VORE_VERSION);
                        return 0;
                case 'h':
                        fputs(help, stdout);
                        return 0;
                default: /* getopt has said what is wrong */
                        fputs("see vored --help\n", stderr);
                        return 2;
                }
        if (optind < argc) {
                fprintf(stderr, "vored: it takes no arguments, \"%s\" was given\n", argv[optind]);
                return 2;
        }
        return -1;
}

static int settings_read(struct manager *m, const struct settings_options *o) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct settings *settings = NULL;
        enum log_level level;
        struct diags diags;

        m->arena = arena_new();
        diags_init(&diags, m->arena, "vored.toml");
        int r = settings_load(m->arena, o, &settings, &diags, &err);
        diags_sort(&diags);
        diags_print(&diags, stderr, NULL, false);
        if (r < 0 && err.text)
                fprintf(stderr, "vored: %s\n", err.text);
        if (r < 0)
                return r;
        if (log_level_parse(settings->vore.log_level, &level) >= 0)
                log_set_level(level);
        m->settings = m->env.settings = settings;
        return 0;
}

static int prepare(struct manager *m, struct error *err) {
        struct host *host = NULL;
        int r = host_open(NULL, &host, err);

        if (r < 0)
                return r;
        m->env.captured = host_captured(host);
        host_free(host);
        r = setup_users(m, err);
        if (r >= 0)
                r = setup_folders(m, err);
        if (r >= 0)
                r = setup_lock(m, err);
        if (r >= 0 && !m->power_off_us)
                r = setup_socket(m, err);
        return r;
}

static int told_to_end(sd_event_source *source, const struct signalfd_siginfo *info, void *data) {
        log_info("ending (%s); machines that run go on", strsignal((int) info->ssi_signo));
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int loop_open(struct manager *m, struct error *err) {
        static const struct rpc_identity identity = { "vore", "vored", VORE_VERSION, "" };
        sigset_t mask;
        int r = sd_event_default(&m->loop);

        if (r < 0)
                return error_errno(err, r, "cannot make an event loop");
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        /* Inherited as ignored, it would have the kernel take our children's ends away from us. */
        signal(SIGCHLD, SIG_DFL);
        if (sd_event_add_signal(m->loop, NULL, SIGTERM, told_to_end, NULL) < 0 ||
            sd_event_add_signal(m->loop, NULL, SIGINT, told_to_end, NULL) < 0)
                return error_set(err, -EIO, "cannot wait for signals");
        m->env.loop = m->loop;
        m->env.event = events_publish;
        m->env.uses = machines_uses;
        m->env.device_busy = reserve_busy;
        m->env.idle = boot_auto_start_next;
        m->env.data = m;
        (void) sd_event_set_watchdog(m->loop, true);
        reserve_init(m);
        return rpc_server_new(m->loop, &identity, &manager_interface, m, &m->server, err);
}

/* What has to wait for vored, such as a display manager, waits for this as well; each worker has its
 * deadline. */
static void reserved(struct manager *m, void *data) {
        _cleanup_json_ json_t *rules = boot_rules_notes(m);
        json_t *note;
        size_t i;

        json_array_foreach (rules, i, note) {
                log_warning("%s", json_string_value(note));
        }
        (void) sd_notify(0, "READY=1");
}

/* The machines are known, or have had their time: clients are answered, auto-start begins. */
static int answer(struct manager *m, struct error *err) {
        int r = rpc_server_add(m->server, m->listen_fd, err);

        if (r < 0)
                return r;
        m->listen_fd = -1;
        m->env.serving = true;
        log_info("ready at %s: %zu machines", m->settings->vore.socket, m->n_machines);
        if (reserve_needed(m))
                reserve_request(m, RESERVE_ALL, NULL, reserved, NULL);
        else
                reserved(m, NULL);
        boot_auto_start(m);
        (void) malloc_trim(0);
        return 0;
}

/* Host shutdown without a daemon: no new one can be started any more, and nobody else would press the button.
 */
static void powered_off(struct vm *vm, const struct vm_result *result, void *data) {
        struct manager *m = data;

        if (result && result->outcome != VM_DONE && vm_active(vm)) {
                log_error("%s is not off: %s", vm_name(vm), result->message);
                m->not_off++;
        }
        if (--m->powering_off == 0)
                (void) sd_event_exit(m->loop, m->not_off > 0);
}

static int power_off(struct manager *m) {
        struct vm_watch watch = { .done = powered_off, .data = m };

        m->powering_off = 1;
        for (size_t i = 0; i < m->n_machines; i++) {
                struct vm *vm = m->machines[i].vm;

                if (!vm || (!vm_active(vm) && vm_state(vm) != VM_PREPARED))
                        continue;
                m->powering_off++;
                vm_stop(vm, m->power_off_us, true, &watch);
        }
        powered_off(NULL, NULL, m);
        return 0;
}

/* The exit status, or an error. */
static int run(struct manager *m, struct error *err) {
        uint64_t deadline = clock_monotonic_us() + ADOPTION_WAIT_US;
        int r = store_load(m, err);

        if (r >= 0)
                r = logs_watch(m, err);
        if (r >= 0)
                r = boot_adopt(m, err);
        if (r < 0)
                return r;
        purge_leftovers(m);
        while (m->adoptions > 0 && sd_event_get_state(m->loop) != SD_EVENT_FINISHED) {
                uint64_t now = clock_monotonic_us();

                if (now >= deadline)
                        break;
                r = sd_event_run(m->loop, deadline - now);
                if (r < 0)
                        return error_errno(err, r, "the event loop failed");
        }
        if (sd_event_get_state(m->loop) == SD_EVENT_FINISHED)
                return 0;
        r = m->power_off_us ? power_off(m) : answer(m, err);
        if (r < 0)
                return r;
        r = sd_event_loop(m->loop);
        return r < 0 ? error_errno(err, r, "the event loop failed") : r;
}

static void manager_done(struct manager *m) {
        (void) sd_notify(0, "STOPPING=1");
        if ((m->env.serving || m->listen_fd >= 0) && !m->activated)
                (void) unlink(m->settings->vore.socket);
        m->env.event = NULL;
        m->env.idle = NULL;
        m->env.device_busy = NULL;
        reserve_free(m);
        if (m->server)
                events_free(m);
        logs_free(m);
        machines_free(m);
        rpc_server_free(m->server);
        cleanup_closep(&m->listen_fd);
        cleanup_closep(&m->lock_fd);
        cleanup_closep(&m->runtime_lock_fd);
        for (size_t i = 0; i < m->n_auto_start; i++)
                free(m->auto_start[i]);
        free(m->auto_start);
        free(m->auto_starting);
        if (m->env.bus)
                sd_bus_flush_close_unref(m->env.bus);
        sd_event_unref(m->loop);
        arena_free(m->arena);
}

int main(int argc, char **argv) {
        struct manager m = { .listen_fd = -1, .lock_fd = -1, .runtime_lock_fd = -1 };
        struct settings_options options = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        int status = options_parse(argc, argv, &options, &m.power_off_us);

        if (status >= 0)
                return status;
        umask(0022);
        if (settings_read(&m, &options) < 0) {
                arena_free(m.arena);
                return 1;
        }
        int r = prepare(&m, &err);
        /* Then it is that daemon's to do. */
        if (r == -EAGAIN && m.power_off_us) {
                arena_free(m.arena);
                return 0;
        }
        if (r >= 0)
                r = loop_open(&m, &err);
        if (r >= 0) {
                setup_bus(&m);
                r = run(&m, &err);
        }
        if (r < 0)
                log_error("%s", error_text(&err));
        manager_done(&m);
        return r < 0 ? 1 : r;
}
