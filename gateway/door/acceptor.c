#include "gateway/door/acceptor.h"

#include "common/client_address.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/xalloc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
/* A storm of newcomers must not keep the others from their turn. */
#define ACCEPTS_PER_TURN 64
/* Out of descriptors: how long until the next try. */
#define PAUSE_MS 100

/*
 * Bytes that wait in the kernel to be sent, for each connection. What a slow peer has coming waits
 * in its session's queue, where frames are shared and counted; without this the kernel copies 4 MB
 * for each of them. Costs a quick peer nothing that could be measured.
 */
#define UNSENT_MAX (128 << 10)

struct acceptor {
    uv_loop_t *loop;
    const char *setting, *wanted; /* address */
    acceptor_fn *on_accept;
    void *arg;
    int descriptor;
    char address[80];
    bool polling;
    bool starved; /* of descriptors */
    uv_poll_t poll;
    uv_timer_t pause;
    int open_handles;
    bool destroyed;
};

/* ---- accepting ---- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct acceptor *acceptor = timer->data;

    if (acceptor->polling)
        uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

/* The socket stays readable: polling on would spin. */
static void pause_accepting(struct acceptor *acceptor, int error)
{
    if (!acceptor->starved)
        log_warn("cannot accept connections: %s", strerror(error));
    acceptor->starved = true;
    uv_poll_stop(&acceptor->poll);
    uv_timer_start(&acceptor->pause, on_pause_over, PAUSE_MS, 0);
}

static bool is_passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct acceptor *acceptor = poll->data;

    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof(peer);
        char address[CLIENT_ADDRESS_SIZE];
        int descriptor = accept4(acceptor->descriptor, (struct sockaddr *)&peer, &length,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (descriptor >= 0) {
            if (acceptor->starved)
                log_info("connections are accepted again");
            acceptor->starved = false;
            client_address_format(address, (struct sockaddr *)&peer);
            acceptor->on_accept(acceptor->arg, descriptor, address);
        } else if (!is_passing(errno)) {
            if (errno != EAGAIN)
                pause_accepting(acceptor, errno);
            return;
        }
    }
}

/* ---- the socket ---- */

static void set_option(int descriptor, int level, int option, int value)
{
    setsockopt(descriptor, level, option, &value, sizeof(value));
}

/* Options that accepted sockets inherit are set here, once. */
static int open_socket(const struct addrinfo *address, int *descriptor)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0) {
        int error = -errno;

        close(fd);
        return error;
    }
    *descriptor = fd;
    return 0;
}

static int resolve(const char *text, struct addrinfo **addresses)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[256], service[8];
    int port;

    if (settings_split_address(text, host, sizeof(host), &port) < 0)
        return -EINVAL;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, addresses) != 0)
        return -EADDRNOTAVAIL;
    return 0;
}

static void explain(struct buffer *error, const char *setting, const char *address, int code)
{
    char text[128];

    /* strerror's words begin with a capital letter; this is the middle of a line. */
    snprintf(text, sizeof(text), "%s", code == -EINVAL ? "must be host:port" : strerror(-code));
    if (text[0] >= 'A' && text[0] <= 'Z')
        text[0] |= 0x20;
    buffer_appendf(error, "%s: %s: %s", setting, address, text);
}

static void note_address(struct acceptor *acceptor)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST], service[NI_MAXSERV];
    bool is_v6;

    getsockname(acceptor->descriptor, (struct sockaddr *)&address, &length);
    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), service, sizeof(service),
                NI_NUMERICHOST | NI_NUMERICSERV);
    is_v6 = address.ss_family == AF_INET6;
    snprintf(acceptor->address, sizeof(acceptor->address), is_v6 ? "[%.50s]:%.8s" : "%.50s:%.8s",
             host, service);
}

struct acceptor *acceptor_create(uv_loop_t *loop, const char *setting, const char *address,
                                 struct buffer *error)
{
    struct acceptor *acceptor;
    struct addrinfo *addresses = NULL;
    int descriptor = -1, result = resolve(address, &addresses);

    if (result == 0) {
        result = open_socket(addresses, &descriptor);
        freeaddrinfo(addresses);
    }
    if (result < 0) {
        explain(error, setting, address, result);
        return NULL;
    }
    acceptor = xcalloc(1, sizeof(*acceptor));
    acceptor->loop = loop;
    acceptor->setting = setting;
    acceptor->wanted = address;
    acceptor->descriptor = descriptor;
    note_address(acceptor);
    return acceptor;
}

int acceptor_start(struct acceptor *acceptor, acceptor_fn *on_accept, void *arg,
                   struct buffer *error)
{
    if (listen(acceptor->descriptor, BACKLOG) < 0) {
        int code = -errno;

        explain(error, acceptor->setting, acceptor->wanted, code);
        return code;
    }
    acceptor->on_accept = on_accept;
    acceptor->arg = arg;
    uv_timer_init(acceptor->loop, &acceptor->pause);
    uv_poll_init(acceptor->loop, &acceptor->poll, acceptor->descriptor);
    acceptor->pause.data = acceptor->poll.data = acceptor;
    acceptor->open_handles = 2;
    acceptor->polling = true;
    uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
    return 0;
}

const char *acceptor_address(const struct acceptor *acceptor)
{
    return acceptor->address;
}

static void on_closed(uv_handle_t *handle)
{
    struct acceptor *acceptor = handle->data;

    if (--acceptor->open_handles == 0 && acceptor->destroyed)
        free(acceptor);
}

/* The handle before its descriptor, in one go: libuv lets go of that by its number. */
void acceptor_stop(struct acceptor *acceptor)
{
    if (acceptor->polling) {
        uv_close((uv_handle_t *)&acceptor->poll, on_closed);
        uv_close((uv_handle_t *)&acceptor->pause, on_closed);
    }
    acceptor->polling = false;
    if (acceptor->descriptor >= 0)
        close(acceptor->descriptor);
    acceptor->descriptor = -1;
}

void acceptor_destroy(struct acceptor **acceptor)
{
    struct acceptor *old = *acceptor;

    if (old == NULL)
        return;
    *acceptor = NULL;
    acceptor_stop(old);
    old->destroyed = true;
    if (old->open_handles == 0)
        free(old);
}
