#include "rpc/client.h"

#include "base/str.h"
#include "rpc/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_MAX ((size_t) 64 << 20)

struct rpc_client {
        int fd;
        int watched; /* -1: nothing */
        struct frame_reader in;
};

int rpc_client_connect(const char *path, struct rpc_client **ret, struct error *err) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(err, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes", path,
                                 sizeof(address.sun_path) - 1);
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_errno(err, errno, "cannot make a socket");
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_errno(err, errno, "%s", path);

        struct rpc_client *c = xcalloc(1, sizeof(*c));
        c->fd = TAKE_FD(fd);
        c->watched = -1;
        frame_reader_init(&c->in, MESSAGE_MAX);
        *ret = c;
        return 0;
}

void rpc_client_free(struct rpc_client *c) {
        if (!c)
                return;
        cleanup_closep(&c->fd);
        frame_reader_done(&c->in);
        free(c);
}

int rpc_client_fd(const struct rpc_client *c) {
        return c->fd;
}

static int send_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                p += k;
                n -= (size_t) k;
        }
        return 0;
}

static int send_call(struct rpc_client *c, const char *method, json_t *params, const char *flag,
                     struct error *err) {
        _cleanup_json_ json_t *message = json_object();
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        json_put_str(message, "method", method);
        json_put(message, "parameters", params ? params : json_object());
        if (flag)
                json_put_bool(message, flag, true);
        text = frame_text(message, &n);
        r = send_all(c->fd, text, n);
        /* A server that refuses a message may close before all of it is read, and its reason is there to
         * read. */
        if (r < 0 && r != -EPIPE && r != -ECONNRESET)
                return error_errno(err, r, "cannot send to the daemon");
        return 0;
}

void rpc_client_watch(struct rpc_client *c, int fd) {
        c->watched = fd;
}

/* An answer may come never: whoever reads what we print need not wait for it. */
static int wait_for_answer(const struct rpc_client *c, struct error *err) {
        struct pollfd polls[] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->watched } };

        if (c->watched < 0)
                return 0;
        while (poll(polls, ARRAY_SIZE(polls), -1) < 0)
                if (errno != EINTR)
                        return error_errno(err, errno, "cannot wait for the daemon's answer");
        return polls[0].revents == 0 && polls[1].revents & POLLERR ?
                       error_set(err, -EPIPE, "nobody reads the output") :
                       0;
}

static int receive(struct rpc_client *c, json_t **ret, struct error *err) {
        for (;;) {
                _cleanup_error_ struct error why = ERROR_INIT;
                size_t room = 0;
                char *p;
                ssize_t n;
                int r = frame_reader_next(&c->in, ret, &why);

                if (r < 0)
                        return error_set(err, -EPROTO, "the daemon's answer: %s", error_text(&why));
                if (r > 0)
                        return 0;
                r = wait_for_answer(c, err);
                if (r < 0)
                        return r;
                p = frame_reader_room(&c->in, &room);
                n = recv(c->fd, p, room, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != ECONNRESET)
                        return error_errno(err, errno, "cannot read the daemon's answer");
                if (n <= 0)
                        return error_set(err, -ECONNRESET, "the daemon closed the connection");
                frame_reader_added(&c->in, (size_t) n);
        }
}

/* An error of the interface that was called goes by its own name. */
static char *error_name(const char *name, const char *method) {
        const char *dot = strrchr(name, '.');
        size_t n = dot ? (size_t) (dot - name) + 1 : 0;

        return xstrdup(n > 0 && strncmp(name, method, n) == 0 && !str_starts(name, "org.varlink.service.") ?
                               dot + 1 :
                               name);
}

/* Splits a reply: 0, -EREMOTEIO with the error's name, -EPROTO. */
static int take_reply(json_t *reply, const char *method, json_t **ret, bool *ret_continues,
                      char **ret_error_name, struct error *err) {
        json_t *params = json_object_get(reply, "parameters");
        const json_t *error = json_object_get(reply, "error");

        if ((params && !json_is_object(params) && !json_is_null(params)) ||
            (error && !json_is_string(error) && !json_is_null(error)))
                return error_set(err, -EPROTO, "the daemon's answer is not a Varlink reply");
        *ret_continues = json_get_bool(reply, "continues", false);
        *ret = json_is_object(params) ? json_incref(params) : json_object();
        if (!json_is_string(error))
                return 0;
        char *name = error_name(json_string_value(error), method);
        (void) error_set(err, -EREMOTEIO, "%s", name);
        if (ret_error_name)
                *ret_error_name = name;
        else
                free(name);
        return -EREMOTEIO;
}

static int receive_reply(struct rpc_client *c, const char *method, json_t **ret, bool *ret_continues,
                         char **ret_error_name, struct error *err) {
        _cleanup_json_ json_t *reply = NULL;
        int r = receive(c, &reply, err);

        if (r < 0)
                return r;
        return take_reply(reply, method, ret, ret_continues, ret_error_name, err);
}

static int call(struct rpc_client *c, const char *method, json_t *params, const char *flag, rpc_reply_fn fn,
                void *data, json_t **ret, char **ret_error_name, struct error *err) {
        int r = send_call(c, method, params, flag, err);

        while (r == 0) {
                _cleanup_json_ json_t *answer = NULL;
                bool continues = false;

                r = receive_reply(c, method, &answer, &continues, ret_error_name, err);
                if (r == 0 && continues) {
                        r = fn ? fn(answer, data) : error_set(err, -EPROTO, "the daemon's answer goes on");
                        continue;
                }
                if (answer && ret)
                        *ret = TAKE_PTR(answer);
                break;
        }
        return r;
}

int rpc_client_call(struct rpc_client *c, const char *method, json_t *params, json_t **ret,
                    char **ret_error_name, struct error *err) {
        return call(c, method, params, NULL, NULL, NULL, ret, ret_error_name, err);
}

int rpc_client_call_more(struct rpc_client *c, const char *method, json_t *params, rpc_reply_fn fn,
                         void *data, json_t **ret, char **ret_error_name, struct error *err) {
        return call(c, method, params, "more", fn, data, ret, ret_error_name, err);
}

int rpc_client_upgrade(struct rpc_client **c, const char *method, json_t *params, json_t **ret, int *ret_fd,
                       char **ret_early, size_t *ret_early_len, char **ret_error_name, struct error *err) {
        int r = call(*c, method, params, "upgrade", NULL, NULL, ret, ret_error_name, err);
        const char *early;

        if (r < 0)
                return r;
        early = frame_reader_rest(&(*c)->in, ret_early_len);
        *ret_early = xcalloc(*ret_early_len + 1, 1);
        memcpy(*ret_early, early, *ret_early_len);
        *ret_fd = TAKE_FD((*c)->fd);
        rpc_client_free(TAKE_PTR(*c));
        return 0;
}
