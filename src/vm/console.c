/* The serial console. vored is the one client of QEMU's console socket; the last 64 KiB lie in a mapped file
 * of the run-time folder, which survives a kill -9. Many clients read, one writes. */
#include "vm/machine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RING_SIZE = 64 * 1024, PENDING_MAX = 256 * 1024, INPUT_MAX = 64 * 1024, CLIENTS_MAX = 64 };

struct ring {
        uint64_t written; /* bytes ever; the newest lies before written % RING_SIZE */
        char data[RING_SIZE];
};

struct console_client {
        struct console *console;
        struct console_client *next;
        int fd;
        sd_event_source *source;
        struct strbuf pending; /* on its way to the client */
        bool writer, closing;  /* closing: once pending is out */
};

struct console {
        struct vm *vm;
        struct ring *ring;
        int fd; /* to QEMU; -1: none */
        sd_event_source *source;
        struct strbuf input; /* on its way to QEMU */
        struct console_client *clients;
};

static void client_free(struct console_client *c) {
        struct console_client **p = &c->console->clients;

        while (*p && *p != c)
                p = &(*p)->next;
        if (*p)
                *p = c->next;
        sd_event_source_disable_unref(c->source);
        close(c->fd);
        strbuf_done(&c->pending);
        free(c);
}

static void buffer_drop(struct strbuf *b, size_t n) {
        if (n == b->len) {
                strbuf_done(b);
                return;
        }
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
}

/* Writes what goes; -EAGAIN with a rest. */
static int buffer_flush(struct strbuf *b, int fd) {
        while (b->len) {
                ssize_t n = send(fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                buffer_drop(b, (size_t) n);
        }
        return 0;
}

static uint32_t input_room(const struct console *c) {
        return c->input.len < INPUT_MAX ? EPOLLIN : 0;
}

static void client_events(struct console_client *c) {
        uint32_t input = c->closing ? 0 : input_room(c->console);

        sd_event_source_set_io_events(c->source, input | (c->pending.len ? EPOLLOUT : 0));
}

/* False: the client is gone. */
static bool client_flush(struct console_client *c) {
        int r = buffer_flush(&c->pending, c->fd);

        if ((r < 0 && r != -EAGAIN) || (r == 0 && c->closing) || c->pending.len > PENDING_MAX) {
                client_free(c);
                return false;
        }
        client_events(c);
        return true;
}

/* -- QEMU's side -------------------------------------------------------------------------------- */

static void ring_add(struct ring *ring, const char *data, size_t len) {
        for (size_t done = 0; done < len;) {
                size_t at = ring->written % RING_SIZE, n = MIN(len - done, RING_SIZE - at);

                memcpy(ring->data + at, data + done, n);
                ring->written += n;
                done += n;
        }
}

static void output_add(struct console *c, const char *data, size_t len) {
        ring_add(c->ring, data, len);
        for (struct console_client *client = c->clients, *next; client; client = next) {
                next = client->next;
                strbuf_addn(&client->pending, data, len);
                client_flush(client);
        }
}

static void qemu_events(struct console *c) {
        sd_event_source_set_io_events(c->source, EPOLLIN | (c->input.len ? EPOLLOUT : 0));
        for (struct console_client *client = c->clients; client; client = client->next)
                client_events(client);
}

static void qemu_gone(struct console *c) {
        c->source = sd_event_source_disable_unref(c->source);
        if (c->fd >= 0)
                close(c->fd);
        c->fd = -1;
        strbuf_done(&c->input);
        for (struct console_client *client = c->clients, *next; client; client = next) {
                next = client->next;
                client->closing = true;
                client_flush(client);
        }
}

static int qemu_io(sd_event_source *source, int fd, uint32_t revents, void *data) {
        struct console *c = data;
        char buffer[16 * 1024];

        if (revents & EPOLLOUT) {
                (void) buffer_flush(&c->input, fd);
                qemu_events(c);
        }
        if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                return 0;
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n > 0)
                output_add(c, buffer, (size_t) n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                qemu_gone(c);
        return 0;
}

/* Through the folder's descriptor, as a path may be longer than a socket's name. */
static int qemu_connect(struct vm *vm, struct error *err) {
        _cleanup_free_ char *dir = plan_runtime_dir(vm->env->settings, vm->name);
        _cleanup_close_ int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un addr = { .sun_family = AF_UNIX };

        snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/console.sock", folder);
        if (folder < 0 || fd < 0 || connect(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0)
                return error_errno(err, errno, "cannot connect to the console");
        return TAKE_FD(fd);
}

static int ring_open(struct vm *vm, struct console *c, struct error *err) {
        _cleanup_free_ char *path = vm_runtime_path(vm, "console");
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        /* Allocated at once: a full disk must be an error here, not a SIGBUS later. */
        int r = fd < 0 ? errno : posix_fallocate(fd, 0, sizeof(struct ring));
        if (r != 0)
                return error_errno(err, r, "cannot keep the console's history in %s", path);
        c->ring = mmap(NULL, sizeof(struct ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (c->ring == MAP_FAILED) {
                c->ring = NULL;
                return error_errno(err, errno, "cannot map the console's history %s", path);
        }
        return 0;
}

static int console_open(struct vm *vm, struct error *err) {
        struct console *c = xcalloc(1, sizeof(*c));

        c->vm = vm;
        c->fd = -1;
        int r = ring_open(vm, c, err);
        if (r < 0) {
                free(c);
                return r;
        }
        vm->console = c;
        return 0;
}

int console_start(struct vm *vm, bool fresh, struct error *err) {
        int r = vm->console ? 0 : console_open(vm, err);

        if (r < 0)
                return r;
        struct console *c = vm->console;
        if (c->fd >= 0)
                qemu_gone(c);
        if (fresh)
                c->ring->written = 0;
        c->fd = qemu_connect(vm, err);
        if (c->fd < 0) {
                r = c->fd;
                c->fd = -1;
                return r;
        }
        r = sd_event_add_io(vm->env->loop, &c->source, c->fd, EPOLLIN, qemu_io, c);
        if (r < 0)
                return error_errno(err, r, "cannot watch the console");
        if (!fresh) {
                static const char gap[] = "\r\n[vored was away: output in between is lost]\r\n";
                output_add(c, gap, sizeof(gap) - 1);
        }
        return 0;
}

/* QEMU is gone: what its socket still holds is read first. */
void console_stop(struct vm *vm) {
        struct console *c = vm->console;
        char buffer[16 * 1024];
        ssize_t n;

        if (!c || c->fd < 0)
                return;
        while ((n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
                output_add(c, buffer, (size_t) n);
        qemu_gone(c);
}

void console_free(struct vm *vm) {
        struct console *c = vm->console;

        if (!c)
                return;
        while (c->clients)
                client_free(c->clients);
        c->source = sd_event_source_disable_unref(c->source);
        if (c->fd >= 0)
                close(c->fd);
        munmap(c->ring, sizeof(struct ring));
        strbuf_done(&c->input);
        free(c);
        vm->console = NULL;
}

/* -- clients ------------------------------------------------------------------------------------ */

static void input_add(struct console *c, const char *data, size_t len) {
        if (c->fd < 0 || !len)
                return;
        strbuf_addn(&c->input, data, len);
        (void) buffer_flush(&c->input, c->fd);
        qemu_events(c);
}

static int client_io(sd_event_source *source, int fd, uint32_t revents, void *data) {
        struct console_client *client = data;
        char buffer[4096];

        if ((revents & EPOLLOUT) && !client_flush(client))
                return 0;
        if (client->closing) {
                if (revents & (EPOLLHUP | EPOLLERR))
                        client_free(client);
                return 0;
        }
        if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                return 0;
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                /* It sends no more: it gets what is on its way, then it is closed. */
                client->closing = true;
                client->writer = false;
                client_flush(client);
        } else if (n > 0 && client->writer)
                input_add(client->console, buffer, (size_t) n);
        return 0;
}

bool vm_console_writer_free(const struct vm *vm) {
        for (struct console_client *c = vm->console ? vm->console->clients : NULL; c; c = c->next)
                if (c->writer)
                        return false;
        return true;
}

static void history_add(struct console *c, struct strbuf *to) {
        uint64_t end = c->ring->written, begin = end > RING_SIZE ? end - RING_SIZE : 0;
        size_t at = begin % RING_SIZE, len = (size_t) (end - begin), n = MIN(len, RING_SIZE - at);

        strbuf_addn(to, c->ring->data + at, n);
        strbuf_addn(to, c->ring->data, len - n);
}

bool vm_console_attach(struct vm *vm, int fd, bool write, const char *early, size_t early_len) {
        size_t n = 0;

        if (!vm->console)
                (void) console_open(vm, NULL);
        struct console *c = vm->console;
        for (struct console_client *other = c ? c->clients : NULL; other; other = other->next)
                n++;
        if (!c || n >= CLIENTS_MAX) {
                close(fd);
                return false;
        }
        struct console_client *client = xcalloc(1, sizeof(*client));
        client->console = c;
        client->fd = fd;
        client->writer = write && vm_console_writer_free(vm);
        bool writer = client->writer;
        if (sd_event_add_io(vm->env->loop, &client->source, fd, EPOLLIN, client_io, client) < 0) {
                close(fd);
                free(client);
                return false;
        }
        client->next = c->clients;
        c->clients = client;
        history_add(c, &client->pending);
        client->closing = c->fd < 0;
        if (client_flush(client) && writer)
                input_add(c, early, early_len);
        return writer;
}
