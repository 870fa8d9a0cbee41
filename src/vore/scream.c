/* scream start, scream stop: the receiver of Scream's sound, in the background, for as long as the VM runs.
 *
 * Who was called makes a follower, which has the receiver as its child and watches three things: the
 * receiver, QEMU (by its pidfd, so that a daemon that is away does not matter) and SIGTERM. Whichever comes
 * first ends the others. The file scream-NAME in the run-time folder has the follower's number and is locked
 * as long as it lives; scream-NAME.log has what the receiver says. */
#include "base/arena.h"
#include "base/file.h"
#include "base/str.h"
#include "settings/settings.h"
#include "vore/daemon.h"
#include "vore/verbs.h"
#include "vore/viewer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* SETTLE: a receiver that cannot play ends at once; one that lives so long is taken to run. */
enum { END_MS = 2000, STOP_MS = 5000, SETTLE_MS = 300 };

struct receiver {
        char *program, *pid_file, *log; /* owned */
        char *const *argv;
        pid_t qemu;
        int lock_fd;   /* owned */
        int report_fd; /* owned; end of file: the receiver runs; an errno: it does not */
};

static void receiver_done(struct receiver *r) {
        free(r->program);
        free(r->pid_file);
        free(r->log);
        cleanup_closep(&r->lock_fd);
        cleanup_closep(&r->report_fd);
}
#define RECEIVER_INIT ((struct receiver){ .lock_fd = -1, .report_fd = -1 })

static int pidfd_open_(pid_t pid) {
        return (int) syscall(SYS_pidfd_open, pid, 0);
}

static int pidfd_signal(int pidfd, int sig) {
        return (int) syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

/* -- where it is noted ------------------------------------------------------------------------------- */

/* The session's run-time folder, this user's alone. *ret is owned. */
static int own_folder(char **ret) {
        _cleanup_arena_ struct arena *arena = arena_new();
        _cleanup_free_ char *folder = xstrdup(settings_session_socket(arena));
        _cleanup_error_ struct error err = ERROR_INIT;
        struct stat st;

        *strrchr(folder, '/') = '\0';
        if (file_mkdirs(folder, 0700, &err) < 0)
                return cli_fail("%s", error_text(&err));
        if (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
                return cli_fail("%s is not a folder of this user: set XDG_RUNTIME_DIR", folder);
        *ret = TAKE_PTR(folder);
        return EXIT_DONE;
}

static int find_files(const char *name, struct receiver *r) {
        _cleanup_free_ char *folder = NULL;
        int code = own_folder(&folder);

        if (code != EXIT_DONE)
                return code;
        r->pid_file = xasprintf("%s/scream-%s", folder, name);
        r->log = xasprintf("%s/scream-%s.log", folder, name);
        return EXIT_DONE;
}

/* 1: somebody has it locked, *ret_pid is the number in it; 0: now we have; negative: said. */
static int lock(struct receiver *r, pid_t *ret_pid) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *text = NULL;
        long long pid = 0;
        int code = file_lock(r->pid_file, &r->lock_fd, &err);

        if (code == 0)
                return 0;
        if (code != -EAGAIN) {
                cli_fail("%s", error_text(&err));
                return code;
        }
        if (file_read_line(AT_FDCWD, r->pid_file, &text) < 0 || str_to_int(text, 1, INT32_MAX, &pid) < 0)
                pid = 0;
        *ret_pid = (pid_t) pid;
        return 1;
}

/* -- the follower ------------------------------------------------------------------------------------ */

static int redirect(const struct receiver *r) {
        int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int out = open(r->log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        int ok = in >= 0 && out >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0;
        int r_errno = errno;

        if (in > 2)
                close(in);
        if (out > 2)
                close(out);
        return ok ? 0 : -r_errno;
}

static _noreturn_ void become_receiver(const struct receiver *r, pid_t follower) {
        sigset_t none;
        int code;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == follower)
                execv(r->argv[0], r->argv);
        code = errno;
        (void) !write(r->report_fd, &code, sizeof(code));
        _exit(EXIT_FAILURE);
}

static void end_child(int pidfd, pid_t child) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        (void) pidfd_signal(pidfd, SIGTERM);
        if (poll(&p, 1, END_MS) == 0)
                (void) pidfd_signal(pidfd, SIGKILL);
        (void) waitpid(child, NULL, 0);
}

/* Notes itself, and waits for signals in a descriptor. 0 or -errno. */
static int follower_prepare(const struct receiver *r, int *ret_signals) {
        char text[24];
        sigset_t ending;

        sigemptyset(&ending);
        sigaddset(&ending, SIGTERM);
        sigaddset(&ending, SIGINT);
        sigprocmask(SIG_BLOCK, &ending, NULL);
        (void) setsid();
        (void) !chdir("/");
        *ret_signals = signalfd(-1, &ending, SFD_CLOEXEC);
        int n = snprintf(text, sizeof(text), "%d\n", getpid());
        if (*ret_signals < 0 || ftruncate(r->lock_fd, 0) < 0 || pwrite(r->lock_fd, text, (size_t) n, 0) != n)
                return -errno;
        return redirect(r);
}

static _noreturn_ void follow(struct receiver *r, int qemu_fd) {
        int signals = -1, code = -follower_prepare(r, &signals);
        pid_t self = getpid(), child = code ? -1 : fork();

        if (child == 0)
                become_receiver(r, self);
        if (child < 0) {
                code = code ? code : errno;
                (void) !write(r->report_fd, &code, sizeof(code));
                _exit(EXIT_FAILURE);
        }
        cleanup_closep(&r->report_fd);
        int child_fd = pidfd_open_(child);
        struct pollfd polls[] = { { .fd = child_fd, .events = POLLIN },
                                  { .fd = qemu_fd, .events = POLLIN },
                                  { .fd = signals, .events = POLLIN } };
        while (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno == EINTR)
                ;
        end_child(child_fd, child);
        (void) unlink(r->pid_file);
        _exit(EXIT_SUCCESS);
}

/* -- start ------------------------------------------------------------------------------------------- */

/* A test build can be told to wait longer: on a busy machine "at once" takes its time. */
static int settle_ms(void) {
#ifdef VORE_TEST_HOOKS
        const char *ms = getenv("VORE_TEST_SETTLE_MS");

        if (ms)
                return atoi(ms);
#endif
        return SETTLE_MS;
}

/* The follower ends with its receiver. */
static int settle(const struct receiver *r, pid_t follower) {
        _cleanup_free_ char *said = NULL;
        int status;
        _cleanup_close_ int fd = pidfd_open_(follower);
        struct pollfd p = { .fd = fd, .events = POLLIN };

        if (fd < 0 || poll(&p, 1, settle_ms()) <= 0)
                return EXIT_DONE;
        (void) waitpid(follower, &status, 0);
        (void) file_read(AT_FDCWD, r->log, 4096, &said, NULL, NULL);
        if (said)
                said[strcspn(said, "\n")] = '\0';
        return cli_fail("%s ended at once%s%s; what it said is in %s", r->argv[0],
                        str_empty(said) ? "" : ": ", said ? said : "", r->log);
}

/* Gives the exit code when the receiver runs, or does not. */
static int spawn(struct receiver *r, int qemu_fd, pid_t *ret) {
        int pipes[2], code = 0;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return cli_fail("cannot make a pipe: %s", strerror(errno));
        _cleanup_close_ int reader = pipes[0];
        r->report_fd = pipes[1];
        fflush(NULL);
        *ret = fork();
        if (*ret == 0)
                follow(r, qemu_fd);
        cleanup_closep(&r->report_fd);
        if (*ret < 0)
                return cli_fail("cannot fork: %s", strerror(errno));
        ssize_t n = read(reader, &code, sizeof(code));
        if (n == 0)
                return settle(r, *ret);
        return cli_fail("cannot run %s: %s", r->argv[0],
                        n == sizeof(code) ? strerror(code) : "its follower ended");
}

/* The older receivers have one program for each sound system and take the path; the newer one an option. */
static bool takes_path(const char *program) {
        const char *slash = strrchr(program, '/');

        return str_starts(slash ? slash + 1 : program, "scream-ivshmem");
}

static int print_started(struct cli *c, const char *name, pid_t pid) {
        if (args_has(c->args, OPTION_JSON)) {
                json_t *out = daemon_params(name);

                json_put_int(out, "pid", pid);
                return cli_print_json(c, out);
        }
        printf("the Scream receiver of %s runs (pid %d)\n", name, pid);
        return EXIT_DONE;
}

static int start(struct cli *c, const struct viewer_vm *vm, struct receiver *r, const char *memory) {
        char *const by_path[] = { r->program, (char *) memory, NULL };
        char *const by_option[] = { r->program, (char *) "-m", (char *) memory, NULL };
        _cleanup_close_ int qemu_fd = pidfd_open_(vm->pid);
        pid_t pid = 0;
        int code;

        if (qemu_fd < 0)
                return cli_fail("QEMU of %s (pid %d) cannot be followed: %s", vm->name, vm->pid,
                                strerror(errno));
        r->argv = takes_path(r->program) ? by_path : by_option;
        code = find_files(vm->name, r);
        if (code != EXIT_DONE)
                return code;
        int locked = lock(r, &pid);
        if (locked < 0)
                return EXIT_FAILED;
        if (locked > 0)
                cli_note(c, "%s: its Scream receiver runs already", vm->name);
        else {
                code = spawn(r, qemu_fd, &pid);
                if (code == EXIT_DONE)
                        cli_note(c, "what it says is in %s", r->log);
        }
        return code == EXIT_DONE ? print_started(c, vm->name, pid) : code;
}

int verb_scream_start(struct cli *c) {
        static const char *const names[] = { "scream", "scream-ivshmem-pulse", "scream-ivshmem-alsa",
                                             "scream-ivshmem-jack", NULL };
        _cleanup_viewer_vm_ struct viewer_vm vm = { 0 };
        _cleanup_(receiver_done) struct receiver r = RECEIVER_INIT;
        int code = viewer_vm(c, &vm);

        if (code != EXIT_DONE)
                return code;
        const json_t *scream = viewer_section(&vm, "scream");
        const char *memory = json_get_str(scream, "mem_path", "");
        if (!json_get_bool(scream, "enabled", false))
                return cli_fail("%s is not made for Scream: add \"scream\" to features of [machine], and "
                                "start it again",
                                vm.name);
        code = viewer_program(
                "VORE_SCREAM", names,
                "install a receiver of Scream (https://github.com/duncanthrax/scream, Receivers/unix)",
                &r.program);
        if (code == EXIT_DONE)
                code = viewer_may_open("the shared memory", memory, R_OK);
        return code == EXIT_DONE ? start(c, &vm, &r, memory) : code;
}

/* -- stop -------------------------------------------------------------------------------------------- */

static int stop(const char *name, struct receiver *r, pid_t pid) {
        _cleanup_close_ int fd = pid > 0 ? pidfd_open_(pid) : -1;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        pid_t again = 0;

        /* Still the one that has the lock? Then this is its process. */
        if (fd < 0 || lock(r, &again) <= 0 || again != pid)
                return EXIT_DONE;
        if (pidfd_signal(fd, SIGTERM) < 0 && errno != ESRCH)
                return cli_fail("the Scream receiver of %s (pid %d) cannot be ended: %s", name, pid,
                                strerror(errno));
        return poll(&p, 1, STOP_MS) > 0 ?
                       EXIT_DONE :
                       cli_fail("the Scream receiver of %s (pid %d) does not end", name, pid);
}

/* Of Show: the text, for which nothing has to be asked of the host. */
static json_t *name_only(const char *name) {
        json_t *params = daemon_params(name);

        json_put_bool(params, "source", true);
        return params;
}

int verb_scream_stop(struct cli *c) {
        _cleanup_(receiver_done) struct receiver r = RECEIVER_INIT;
        _cleanup_free_ char *name = NULL;
        pid_t pid = 0;
        int code = daemon_name(c, 0, &name);

        if (code == EXIT_DONE)
                code = find_files(name, &r);
        if (code != EXIT_DONE)
                return code;
        bool there = access(r.pid_file, F_OK) == 0;
        int locked = there ? lock(&r, &pid) : 0;
        if (locked < 0)
                return EXIT_FAILED;
        if (locked > 0)
                code = stop(name, &r, pid);
        else if (there)
                (void) unlink(r.pid_file);
        else
                code = daemon_call(c, "Show", name_only(name), NULL); /* is there such a machine at all? */
        if (code == EXIT_DONE && args_has(c->args, OPTION_JSON))
                return cli_print_json(c, daemon_params(name));
        if (code == EXIT_DONE && locked > 0)
                printf("the Scream receiver of %s is stopped\n", name);
        else if (code == EXIT_DONE)
                cli_note(c, "%s: no Scream receiver runs", name);
        return code;
}
