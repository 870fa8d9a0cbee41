#include "base/file.h"
#include "base/str.h"
#include "qemu/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { UID = 70123, GID = 70124, WAIT_MS = 20000 };

struct bench {
        char folder[64];
        char *log; /* owned */
        struct process p;
        struct process_spec spec;
        int status; /* of waitid */
};

static const char *argv_sleep[] = { "/bin/sleep", "60", NULL };

static int setup(void **state) {
        struct bench *b = xcalloc(1, sizeof(*b));

        strcpy(b->folder, "/tmp/vore-test-XXXXXX");
        assert_non_null(mkdtemp(b->folder));
        assert_int_equal(chmod(b->folder, 0755), 0);
        b->log = xasprintf("%s/log", b->folder);
        b->p = PROCESS_INIT;
        b->spec = (struct process_spec){ .argv = (char *const *) argv_sleep,
                                         .log_path = b->log,
                                         .umask = 0027 };
        *state = b;
        return 0;
}

static void wait_end(struct bench *b) {
        siginfo_t info = { 0 };

        assert_int_equal(waitid(P_PIDFD, (id_t) b->p.pidfd, &info, WEXITED), 0);
        b->status = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
        b->p.pid = -1;
}

static int teardown(void **state) {
        struct bench *b = *state;

        if (b->p.pid > 0) {
                process_kill(b->p.pidfd, SIGKILL);
                wait_end(b);
        }
        process_done(&b->p);
        assert_int_equal(file_remove_tree(AT_FDCWD, b->folder, NULL), 0);
        free(b->log);
        free(b);
        return 0;
}

static void spawn(struct bench *b) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (process_spawn(&b->spec, &b->p, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static int wait_report(struct bench *b, struct error *err) {
        struct pollfd p = { .fd = b->p.report_fd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        return process_report(&b->p, err);
}

/* exec(2) closes the report a little before name, signals and environment are the new program's. */
static void wait_image(struct bench *b) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/environ", (int) b->p.pid);
        siginfo_t info = { 0 };

        for (int i = 0; i < WAIT_MS && info.si_pid == 0; i++) {
                _cleanup_free_ char *text = NULL;
                size_t len = 0;

                if (file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL) < 0 || len > 0)
                        return;
                poll(NULL, 0, 1);
                assert_int_equal(waitid(P_PIDFD, (id_t) b->p.pidfd, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        }
}

static void run(struct bench *b) {
        _cleanup_error_ struct error err = ERROR_INIT;

        spawn(b);
        assert_int_equal(process_release(&b->p, &err), 0);
        if (wait_report(b, &err) < 0)
                fail_msg("%s", error_text(&err));
        assert_int_equal(b->p.report_fd, -1);
        wait_image(b);
}

/* The start fails with code, and says each of the texts. */
static void run_fails(struct bench *b, int code, const char *says, const char *says_too) {
        _cleanup_error_ struct error err = ERROR_INIT;

        spawn(b);
        assert_int_equal(process_release(&b->p, &err), 0);
        assert_int_equal(wait_report(b, &err), code);
        if (!strstr(error_text(&err), says) || (says_too && !strstr(error_text(&err), says_too)))
                fail_msg("\"%s\" does not say \"%s\" and \"%s\"", error_text(&err), says, says_too);
        wait_end(b);
        assert_int_equal(b->status, 1);
}

static char *path_in(struct bench *b, const char *name) {
        return xasprintf("%s/%s", b->folder, name);
}

static char *make_file(struct bench *b, const char *name, const char *text, mode_t mode) {
        char *path = path_in(b, name);

        assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false, NULL), 0);
        assert_int_equal(chmod(path, mode), 0);
        return path;
}

static char *proc_file(struct bench *b, const char *name) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int) b->p.pid, name);
        char *text = NULL;

        assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, NULL, NULL), 0);
        return text;
}

static void status_is(const char *status, const char *key, const char *want) {
        _cleanup_free_ char *line = xasprintf("\n%s:\t%s\n", key, want);

        if (!strstr(status, line))
                fail_msg("no line \"%s: %s\" in %s", key, want, status);
}

static int count_fds(struct bench *b) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/fd", (int) b->p.pid);
        DIR *dir = opendir(path);
        int n = 0;

        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir));)
                n += e->d_name[0] != '.';
        closedir(dir);
        return n;
}

/* It has this many, and more only while the program's loader reads its libraries. */
static void fds_are(struct bench *b, int want) {
        int n = count_fds(b);

        for (int i = 0; i < WAIT_MS / 10 && n != want; i++) {
                poll(NULL, 0, 10);
                n = count_fds(b);
        }
        assert_int_equal(n, want);
}

static void fd_is(struct bench *b, int fd, const char *want) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", (int) b->p.pid, fd);
        char target[4096] = "";

        assert_true(readlink(path, target, sizeof(target) - 1) > 0);

        assert_string_equal(target, want);
}

static void held(void **state) {
        struct bench *b = *state;
        struct stat st;

        spawn(b);
        assert_true(b->p.pid > 0);
        assert_true(b->p.start_time > 0);
        assert_int_equal(process_report(&b->p, NULL), 1);
        assert_int_equal(stat(b->log, &st), -1); /* nothing was opened */
        /* Our end goes away, as when the daemon is killed: so does the child, without a word. */
        cleanup_closep(&b->p.hold_fd);
        assert_int_equal(wait_report(b, NULL), 0);
        wait_end(b);
        assert_int_equal(b->status, 0);
        assert_int_equal(stat(b->log, &st), -1);
}

/* A second held child does not keep the first one's hold open. */
static void held_apart(void **state) {
        struct bench *b = *state;
        struct process other = PROCESS_INIT;

        spawn(b);
        assert_int_equal(process_spawn(&b->spec, &other, NULL), 0);
        cleanup_closep(&b->p.hold_fd);
        wait_end(b);
        cleanup_closep(&other.hold_fd);
        assert_int_equal(waitid(P_PIDFD, (id_t) other.pidfd, &(siginfo_t){ 0 }, WEXITED), 0);
        process_done(&other);
}

static void released_dead(void **state) {
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;

        spawn(b);
        assert_int_equal(process_kill(b->p.pidfd, SIGKILL), 0);
        wait_end(b);
        assert_int_equal(b->status, -SIGKILL);
        assert_int_equal(process_release(&b->p, &err), -EPIPE);
        assert_int_equal(b->p.hold_fd, -1);
        assert_int_equal(wait_report(b, &err), 0);
        assert_int_equal(process_kill(b->p.pidfd, SIGKILL), -ESRCH);
}

static void check_clean(struct bench *b) {
        _cleanup_free_ char *status = proc_file(b, "status"), *environ_text = proc_file(b, "environ");

        status_is(status, "Umask", "0027");
        status_is(status, "SigBlk", "0000000000000000");
        status_is(status, "SigIgn", "0000000000000000");
        status_is(status, "NoNewPrivs", "1");
        assert_int_equal(getsid(b->p.pid), b->p.pid);
        assert_true(str_starts(environ_text, "PATH="));
        fds_are(b, 3);
        fd_is(b, 0, "/dev/null");
        fd_is(b, 1, b->log);
        fd_is(b, 2, b->log);
        _cleanup_free_ char *cwd_link = xasprintf("/proc/%d/cwd", (int) b->p.pid);
        char cwd[100] = "";
        assert_true(readlink(cwd_link, cwd, sizeof(cwd) - 1) > 0);
        assert_string_equal(cwd, "/");
}

static void clean(void **state) {
        struct bench *b = *state;
        struct stat st;
        sigset_t usr1, old;

        /* What the daemon has set is not the child's. */
        int stray = open("/dev/zero", O_RDONLY); /* not O_CLOEXEC */
        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        sigprocmask(SIG_BLOCK, &usr1, &old);
        void (*before)(int) = signal(SIGPIPE, SIG_IGN);
        run(b);
        signal(SIGPIPE, before);
        sigprocmask(SIG_SETMASK, &old, NULL);
        close(stray);
        check_clean(b);
        assert_int_equal(stat(b->log, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
}

static void need_root(void) {
        if (geteuid() != 0) {
                print_message("skipped: needs root to drop rights\n");
                skip();
        }
}

static void drop_to_user(struct bench *b) {
        b->spec.drop = true;
        b->spec.uid = UID;
        b->spec.gid = GID;
}

/* Rights that would outlive a mere change of the uid: inheritable and ambient capabilities, groups, the bit
 * that keeps capabilities. */
static void cling_to_rights(bool cling) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
        gid_t group = 5;

        assert_int_equal(syscall(SYS_capget, &header, sets), 0);
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
                sets[i].inheritable = cling ? sets[i].permitted : 0;
        assert_int_equal(syscall(SYS_capset, &header, sets), 0);
        if (cling)
                assert_int_equal(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0), 0);
        assert_int_equal(prctl(PR_SET_KEEPCAPS, cling ? 1 : 0), 0);
        assert_int_equal(setgroups(cling ? 1 : 0, &group), 0);
}

static void dropped(void **state) {
        struct bench *b = *state;

        need_root();
        drop_to_user(b);
        cling_to_rights(true);
        run(b);
        cling_to_rights(false);
        check_clean(b);
        _cleanup_free_ char *status = proc_file(b, "status");
        status_is(status, "Uid", "70123\t70123\t70123\t70123");
        status_is(status, "Gid", "70124\t70124\t70124\t70124");
        status_is(status, "Groups", " ");
        static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
                status_is(status, sets[i], "0000000000000000");
}

/* What was opened with the daemon's rights arrives at its number; numbers that overlap do not get lost. */
static void descriptors(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *secret = make_file(b, "secret", "s", 0600),
                            *one = make_file(b, "one", "1", 0600), *two = make_file(b, "two", "2", 0600);
        int a = open(one, O_RDONLY | O_CLOEXEC), c = open(two, O_RDONLY | O_CLOEXEC);
        struct process_fd fds[20]; /* over our own numbers, and those that a copy would get */

        for (int i = 0; i < 20; i++)
                fds[i] = (struct process_fd){ .target_fd = 3 + i, .fd = i % 2 ? a : c };
        struct process_file files[] = { { 43, secret, O_RDWR },
                                        { 42, secret, O_RDONLY },
                                        { 44, b->folder, O_DIRECTORY } };

        if (geteuid() == 0)
                drop_to_user(b);
        b->spec.fds = fds;
        b->spec.n_fds = ARRAY_SIZE(fds);
        b->spec.files = files;
        b->spec.n_files = ARRAY_SIZE(files);
        run(b);
        for (int i = 0; i < 20; i++)
                fd_is(b, 3 + i, i % 2 ? one : two);
        fd_is(b, 42, secret);
        fd_is(b, 43, secret);
        fd_is(b, 44, b->folder);
        fds_are(b, 26);
        _cleanup_free_ char *info = proc_file(b, "fdinfo/43");
        long flags = strtol(strstr(info, "flags:") + 6, NULL, 8);
        assert_int_equal(flags & O_ACCMODE, O_RDWR);
        assert_int_equal(flags & (O_NONBLOCK | O_CLOEXEC), 0);
        close(a);
        close(c);
}

static void file_missing(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *path = path_in(b, "nothing");
        struct process_file file = { 6, path, O_RDWR };

        b->spec.files = &file;
        b->spec.n_files = 1;
        run_fails(b, -ENOENT, "cannot open the disk", path);
}

/* A FIFO instead of a disk does not hang the start. */
static void file_fifo(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *path = path_in(b, "fifo");
        struct process_file file = { 6, path, O_RDONLY };

        assert_int_equal(mkfifo(path, 0600), 0);
        b->spec.files = &file;
        b->spec.n_files = 1;
        run(b);
}

/* A loop device over a file, which goes away with its last descriptor; -1 where there are none. */
static int loop_device(struct bench *b, char **ret_path) {
        _cleanup_free_ char *text = xcalloc(65537, 1);
        _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

        if (number < 0)
                return -1;
        memset(text, 'x', 65536);
        _cleanup_free_ char *image = make_file(b, "image", text, 0600);
        _cleanup_close_ int file = open(image, O_RDWR | O_CLOEXEC);
        *ret_path = xasprintf("/dev/loop%d", number);
        _cleanup_close_ int fd = open(*ret_path, O_RDWR | O_CLOEXEC);
        struct loop_config config = { .fd = (unsigned) file, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
        return fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0 ? TAKE_FD(fd) : -1;
}

static void file_in_use(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *device = NULL;
        _cleanup_close_ int loop = loop_device(b, &device), holder = -1;

        if (loop < 0) {
                print_message("skipped: no loop device can be made here\n");
                skip();
        }
        struct process_file file = { 6, device, O_RDONLY | O_EXCL };
        b->spec.files = &file;
        b->spec.n_files = 1;
        holder = open(device, O_RDONLY | O_EXCL | O_CLOEXEC); /* as a mounted file system has it */
        assert_true(holder >= 0);
        run_fails(b, -EBUSY, device, "is in use by the host");
        process_done(&b->p);
        cleanup_closep(&holder);
        run(b);
        fd_is(b, 6, device);
}

static void text_is(struct bench *b, const char *file, const char *want) {
        _cleanup_free_ char *text = proc_file(b, file);

        assert_string_equal(text, want);
}

/* A secret of somebody's: a copy that only who the child becomes may read. */
static void copies(void **state) {
        enum { OWNER = 70999 };
        struct bench *b = *state;
        _cleanup_free_ char *absent = path_in(b, "absent"), *secret = make_file(b, "secret", "mine", 0600);
        const char *const places[] = { absent, secret };
        struct stat st;

        if (geteuid() != 0)
                skip();
        assert_int_equal(chown(secret, OWNER, OWNER), 0);
        drop_to_user(b);
        b->spec.copy = (struct process_copy){ 9, OWNER, places, ARRAY_SIZE(places) };
        run(b);
        text_is(b, "fd/9", "mine");
        _cleanup_free_ char *path = xasprintf("/proc/%d/fd/9", (int) b->p.pid);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0400);
        assert_int_equal(st.st_uid, UID);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC); /* sealed, for whomever */
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "x", 1), -1);
}

/* What its owner may not read, or does not own, is not copied: a link leads no further than its owner can go.
 */
static void copies_nothing_of_others(void **state) {
        enum { OWNER = 70999 };
        struct bench *b = *state;
        _cleanup_free_ char *roots = make_file(b, "roots", "root's", 0600),
                            *open_to_all = make_file(b, "all", "x", 0644);
        _cleanup_free_ char *link = path_in(b, "link"), *fifo = path_in(b, "fifo"),
                            *folder = path_in(b, "folder");
        const char *const places[] = { link, open_to_all, fifo, folder };

        if (geteuid() != 0)
                skip();
        assert_int_equal(symlink(roots, link), 0);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_int_equal(mkdir(folder, 0700), 0);
        assert_int_equal(chown(fifo, OWNER, OWNER), 0);
        assert_int_equal(chown(folder, OWNER, OWNER), 0);
        b->spec.copy = (struct process_copy){ 9, OWNER, places, ARRAY_SIZE(places) };
        run(b);
        text_is(b, "fd/9", "");
}

/* A file of another user's is opened with that user's rights, and refused when it is not that user's. */
static void opens_as(void **state) {
        enum { OWNER = 70999 };
        struct bench *b = *state;
        _cleanup_free_ char *folder = path_in(b, "private"), *path = path_in(b, "private/file"),
                            *all = make_file(b, "all", "", 0644);
        struct process_file file = { 9, path, O_PATH, OWNER };

        if (geteuid() != 0)
                skip();
        assert_int_equal(mkdir(folder, 0700), 0);
        free(make_file(b, "private/file", "", 0600));
        assert_int_equal(chown(path, OWNER, OWNER), 0);
        b->spec.files = &file;
        b->spec.n_files = 1;
        run_fails(b, -EACCES, "cannot open", "as user 70999"); /* the folder is root's */
        process_done(&b->p);
        assert_int_equal(chown(folder, OWNER, OWNER), 0);
        run(b);
        fd_is(b, 9, path);
        assert_int_equal(process_kill(b->p.pidfd, SIGKILL), 0);
        wait_end(b);
        process_done(&b->p);
        file.path = all;
        run_fails(b, -EPERM, "is not user 70999's any more", all);
}

static void one_more_group_and_variables(void **state) {
        struct bench *b = *state;
        char one[] = "ONE=1", two[] = "TWO=2";
        char *const more[] = { one, two, NULL };

        b->spec.more = more;
        if (geteuid() == 0) {
                drop_to_user(b);
                b->spec.more_gid = 70555;
        }
        run(b);
        char text[65536];
        _cleanup_free_ char *name = xasprintf("/proc/%d/environ", (int) b->p.pid),
                            *status = proc_file(b, "status");
        _cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof(text));
        assert_true(n > 0);
        assert_non_null(memmem(text, (size_t) n, "\0ONE=1\0TWO=2\0", 13));
        assert_true(str_starts(text, "PATH="));
        if (geteuid() == 0)
                assert_non_null(strstr(status, "\nGroups:\t70555 \n"));
}

static void no_binary(void **state) {
        struct bench *b = *state;
        const char *argv[] = { "/nonexistent/qemu", NULL };

        b->spec.argv = (char *const *) argv;
        run_fails(b, -ENOENT, "cannot run /nonexistent/qemu", NULL);
}

static void no_log(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *link = path_in(b, "link");

        b->spec.log_path = "/nonexistent/log";
        run_fails(b, -ENOENT, "cannot open the log /nonexistent/log", NULL);
        process_done(&b->p);
        assert_int_equal(symlink("/dev/null", link), 0);
        b->spec.log_path = link;
        run_fails(b, -ELOOP, "cannot open the log", NULL);
}

static void no_folder(void **state) {
        struct bench *b = *state;

        b->spec.chdir = "/nonexistent";
        run_fails(b, -ENOENT, "cannot enter the folder /nonexistent", NULL);
}

static void output_is_appended(void **state) {
        struct bench *b = *state;
        const char *argv[] = { "/bin/sh", "-c", "echo out; echo err >&2; pwd; echo $X; exit 7", NULL };
        char *env[] = { (char *) "X=y", NULL };
        _cleanup_free_ char *log = make_file(b, "log", "before\n", 0600), *text = NULL, *want = NULL;

        b->spec.argv = (char *const *) argv;
        b->spec.environ = env;
        b->spec.chdir = b->folder;
        run(b);
        wait_end(b);
        assert_int_equal(b->status, 7);
        assert_int_equal(file_read(AT_FDCWD, log, 4096, &text, NULL, NULL), 0);
        want = xasprintf("before\nout\nerr\n%s\ny\n", b->folder);
        assert_string_equal(text, want);
}

static void reach(struct bench *b, const char *path) {
        const char *paths[] = { "/", "/nonexistent/a", path, NULL };

        drop_to_user(b);
        b->spec.reach = paths;
        run(b);
        process_kill(b->p.pidfd, SIGKILL);
        wait_end(b);
        process_done(&b->p);
}

static void reach_fails(struct bench *b, const char *path, const char *names) {
        const char *paths[] = { path, NULL };

        drop_to_user(b);
        b->spec.reach = paths;
        run_fails(b, -EACCES, path, names);
        process_done(&b->p);
}

static void reaching(void **state) {
        struct bench *b = *state;
        _cleanup_free_ char *home = path_in(b, "home"), *sub = path_in(b, "home/sub"),
                            *link = path_in(b, "link");

        need_root();
        assert_int_equal(mkdir(home, 0755) | chmod(home, 0755) | mkdir(sub, 0755) | chmod(sub, 0755), 0);
        _cleanup_free_ char *open_file = make_file(b, "home/sub/open", "", 0644),
                            *closed_file = make_file(b, "home/sub/closed", "", 0600);
        assert_int_equal(symlink("home/sub/open", link), 0);
        reach(b, open_file);
        reach(b, link);
        _cleanup_free_ char *says = xasprintf("read %s (-rw-------, owner 0", closed_file);
        reach_fails(b, closed_file, says);

        assert_int_equal(chmod(home, 0700), 0);
        _cleanup_free_ char *enter = xasprintf("enter %s (drwx------, owner 0", home);
        reach_fails(b, open_file, enter);
        reach_fails(b, link, enter); /* also behind a link */

        assert_int_equal(chown(home, UID, GID), 0);
        reach(b, open_file);
        assert_int_equal(chmod(sub, 0700), 0);
        _cleanup_free_ char *enter_sub = xasprintf("may not enter %s (drwx", sub);
        reach_fails(b, open_file, enter_sub);
        reach_fails(b, sub, enter_sub);
}

static void memlock(void **state) {
        struct bench *b = *state;
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
        b->spec.memlock = 65536;
        b->spec.memlock_required = true;
        run(b); /* never lowered: a limit above it is good */
        _cleanup_free_ char *limits = proc_file(b, "limits");
        assert_non_null(strstr(limits, "Max locked memory"));
        process_kill(b->p.pidfd, SIGKILL);
        wait_end(b);
        process_done(&b->p);

        if (limit.rlim_max == RLIM_INFINITY)
                return;
        b->spec.memlock = UINT64_MAX;
        b->spec.memlock_required = false;
        run(b);
        _cleanup_free_ char *after = proc_file(b, "limits");
        if (strstr(after, "Max locked memory         unlimited"))
                return; /* we may raise it */
        process_kill(b->p.pidfd, SIGKILL);
        wait_end(b);
        process_done(&b->p);
        b->spec.memlock_required = true;
        run_fails(b, -EPERM, "cannot be raised", "LimitMEMLOCK=");
}

static void start_times(void **state) {
        struct bench *b = *state;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *odd = path_in(b, "a) R 1 (b");
        const char *argv[] = { odd, "60", NULL };
        uint64_t start;
        int fd = -1;

        assert_int_equal(symlink("/bin/sleep", odd), 0);
        b->spec.argv = (char *const *) argv;
        run(b);
        _cleanup_free_ char *comm = proc_file(b, "comm");
        assert_string_equal(comm, "a) R 1 (b\n");
        assert_int_equal(process_start_time(b->p.pid, &start), 0);
        assert_true(start == b->p.start_time); /* exec does not change it */
        assert_int_equal(process_open(b->p.pid, start, &fd, &err), 0);
        close(fd);
        assert_int_equal(process_open(b->p.pid, start + 1, &fd, &err), -ESRCH);
        assert_int_equal(process_open(-5, start, &fd, &err), -ESRCH);
        pid_t pid = b->p.pid;
        process_kill(b->p.pidfd, SIGKILL);
        wait_end(b);
        assert_int_equal(process_open(pid, start, &fd, &err), -ESRCH);
        assert_int_equal(process_start_time(pid, &start), -ESRCH);
}

static void words_are(struct bench *b, const char *text, uint64_t offset, const char *want) {
        _cleanup_free_ char *path = make_file(b, "words", text, 0600),
                            *words = process_last_words(path, offset);

        if (want)
                assert_string_equal(words, want);
        else
                assert_null(words);
}

static void last_words(void **state) {
        struct bench *b = *state;

        words_are(b, "", 0, NULL);
        words_are(b, "\n\n", 0, NULL);
        words_are(b, "old\n", 4, NULL);
        words_are(b, "old\n", 400, NULL);
        words_are(b, "old\nnew", 4, "new");
        words_are(b, "2026-11-22T18:00:00.000000Z qemu-system-x86_64: -device nvme: no serial\n", 0,
                  "-device nvme: no serial");
        words_are(b, "qemu-system-x86_64: -device x: a\nqemu-system-x86_64: warning: b\nqemu: c \n", 0,
                  "-device x: a; c");
        words_are(b, "qemu-system-x86_64: warning: b\n", 0, "warning: b");
        words_are(b, "qemuish words: here\n", 0, "qemuish words: here");
        words_are(b, "2026-11-22 odd: x\n", 0, "2026-11-22 odd: x");
        words_are(b, "a\x1b[31mb\tc\r\n", 0, "a [31mb c");
        assert_null(process_last_words("/nonexistent", 0));

        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        for (int i = 0; i < 5000; i++)
                strbuf_addf(&text, "line %d\n", i);
        _cleanup_free_ char *path = make_file(b, "words", text.data, 0600),
                            *words = process_last_words(path, 0);
        assert_true(strlen(words) <= 400);
        assert_true(str_ends(words, "; line 4998; line 4999"));

        strbuf_done(&text);
        for (int i = 0; i < 3000; i++)
                strbuf_add(&text, "\xc3\xa4");
        _cleanup_free_ char *one = make_file(b, "words", text.data, 0600), *cut = process_last_words(one, 0);
        assert_int_equal(strlen(cut), 400);
        assert_true(str_starts(cut, "\xc3\xa4"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(held),
                TEST(held_apart),
                TEST(released_dead),
                TEST(clean),
                TEST(dropped),
                TEST(descriptors),
                TEST(file_missing),
                TEST(file_fifo),
                TEST(file_in_use),
                TEST(copies),
                TEST(copies_nothing_of_others),
                TEST(opens_as),
                TEST(one_more_group_and_variables),
                TEST(no_binary),
                TEST(no_log),
                TEST(no_folder),
                TEST(output_is_appended),
                TEST(reaching),
                TEST(memlock),
                TEST(start_times),
                TEST(last_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
