#include "vore/run.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int input_fd(const void *input, size_t len, int *ret) {
        _cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);

        if (fd < 0 || (len && file_write_all(fd, input, len) < 0) || lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int spawn(char *const argv[], int in, int out, pid_t *ret) {
        static const int ours[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t defaults;
        int r;

        sigemptyset(&defaults);
        for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
                sigaddset(&defaults, ours[i]);
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
        if (out >= 0)
                posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        r = posix_spawnp(ret, argv[0], &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static int wait_for(pid_t pid, int *ret_status) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return 0;
}

int run_program(char *const argv[], const void *input, size_t len, size_t max, char **ret, size_t *ret_len,
                int *ret_status, struct error *err) {
        _cleanup_close_ int in = -1, reader = -1, writer = -1;
        struct sigaction ignore = { .sa_handler = SIG_IGN }, old_int, old_term, old_hup;
        int pipes[2], r = input_fd(input, len, &in), collected = 0;
        pid_t pid;

        if (r < 0)
                return error_errno(err, r, "cannot make the input of %s", argv[0]);
        if (ret && pipe2(pipes, O_CLOEXEC) < 0)
                return error_errno(err, errno, "cannot make a pipe");
        if (ret) {
                reader = pipes[0];
                writer = pipes[1];
        }
        sigaction(SIGINT, &ignore, &old_int);
        sigaction(SIGTERM, &ignore, &old_term);
        sigaction(SIGHUP, &ignore, &old_hup);
        r = spawn(argv, in, writer, &pid);
        if (r == 0) {
                cleanup_closep(&writer);
                if (ret)
                        collected = file_read_fd(reader, max, ret, ret_len, err);
                /* What it still wants to write finds no reader. */
                cleanup_closep(&reader);
                r = wait_for(pid, ret_status);
        }
        sigaction(SIGINT, &old_int, NULL);
        sigaction(SIGTERM, &old_term, NULL);
        sigaction(SIGHUP, &old_hup, NULL);
        if (r < 0)
                return error_errno(err, r, "cannot run %s", argv[0]);
        return collected < 0 ? error_prefix(err, "%s", argv[0]), collected : 0;
}
