#include "gateway/listener.h"

#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/backend.h"
#include "gateway/arrival.h"
#include "gateway/handshake.h"
#include "gateway/http.h"
#include "gateway/protocol.h"

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

struct listener {
    struct gateway *gateway;
    struct arrivals *arrivals;
    int descriptor;
    char address[80];
    bool polling;
    bool starved; /* of descriptors */
    uv_poll_t poll;
    uv_timer_t pause;
    int open_handles;
};

/* ---- requests ---- */

static void on_request(void *arg, struct arrival *arrival)
{
    struct listener *listener = arg;
    const struct request *request = arrival_request(arrival);
    bool is_head = slice_is(request->method, "HEAD");
    const struct protocol *protocol = protocol_find(request->path);
    struct buffer answer = {0};

    if (backend_has(request->path)) {
        backend_begin(listener->gateway->backend, arrival);
        return;
    }
    if (!is_head && !slice_is(request->method, "GET")) {
        http_refuse(&answer, 405, "only GET and HEAD here", true);
    } else if (protocol) {
        handshake_begin(listener->gateway, arrival, protocol);
        return;
    } else {
        http_answer(listener->gateway, request, &answer);
    }
    arrival_answer(arrival, &answer);
}

static size_t body_max(void *arg, const struct request *request)
{
    const struct listener *listener = arg;

    return backend_has(request->path) ? backend_body_max(listener->gateway->backend, request) : 0;
}

static void on_failure(void *arg, int status, struct buffer *answer)
{
    static const struct {
        int status;
        const char *why;
    } reasons[] = {
        {400, "not an HTTP/1.1 request"},
        {408, "the request took too long"},
        {431, "the request head is too long"},
        {503, "nobody answered in time"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            http_refuse(answer, status, reasons[i].why, true);
}

/* ---- accepting ---- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;

    if (listener->polling)
        uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

/* The socket stays readable: polling on would spin. */
static void pause_accepting(struct listener *listener, int error)
{
    if (!listener->starved)
        log_warn("cannot accept connections: %s", strerror(error));
    listener->starved = true;
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
}

static bool is_passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof(peer);
        char address[CLIENT_ADDRESS_SIZE];
        int descriptor = accept4(listener->descriptor, (struct sockaddr *)&peer, &length,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (descriptor >= 0) {
            if (listener->starved)
                log_info("connections are accepted again");
            listener->starved = false;
            client_address_format(address, (struct sockaddr *)&peer);
            arrivals_add(listener->arrivals, descriptor, address);
        } else if (!is_passing(errno)) {
            if (errno != EAGAIN)
                pause_accepting(listener, errno);
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

static void explain(struct buffer *error, const struct gateway *gateway, int code)
{
    char text[128];

    /* strerror's words begin with a capital letter; this is the middle of a line. */
    snprintf(text, sizeof(text), "%s", code == -EINVAL ? "must be host:port" : strerror(-code));
    if (text[0] >= 'A' && text[0] <= 'Z')
        text[0] |= 0x20;
    buffer_appendf(error, "TRUNKLINE_GATEWAY_LISTEN: %s: %s", gateway->settings.gateway_listen,
                   text);
}

static void note_address(struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST], service[NI_MAXSERV];
    bool is_v6;

    getsockname(listener->descriptor, (struct sockaddr *)&address, &length);
    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), service, sizeof(service),
                NI_NUMERICHOST | NI_NUMERICSERV);
    is_v6 = address.ss_family == AF_INET6;
    snprintf(listener->address, sizeof(listener->address), is_v6 ? "[%.50s]:%.8s" : "%.50s:%.8s",
             host, service);
}

struct listener *listener_create(struct gateway *gateway, struct buffer *error)
{
    struct listener *listener;
    struct addrinfo *addresses = NULL;
    int descriptor = -1, result = resolve(gateway->settings.gateway_listen, &addresses);

    if (result == 0) {
        result = open_socket(addresses, &descriptor);
        freeaddrinfo(addresses);
    }
    if (result < 0) {
        explain(error, gateway, result);
        return NULL;
    }
    listener = xcalloc(1, sizeof(*listener));
    listener->gateway = gateway;
    listener->descriptor = descriptor;
    note_address(listener);
    return listener;
}

int listener_start(struct listener *listener, struct buffer *error)
{
    struct gateway *gateway = listener->gateway;

    if (listen(listener->descriptor, BACKLOG) < 0) {
        int code = -errno;

        explain(error, gateway, code);
        return code;
    }
    listener->arrivals = arrivals_create(&(struct arrivals_options){
        .loop = gateway->loop,
        .head_timeout_ms = (uint64_t)gateway->settings.head_timeout_ms,
        .body_max = body_max,
        .on_request = on_request,
        .on_failure = on_failure,
        .arg = listener,
    });
    uv_timer_init(gateway->loop, &listener->pause);
    uv_poll_init(gateway->loop, &listener->poll, listener->descriptor);
    listener->pause.data = listener->poll.data = listener;
    listener->open_handles = 2;
    listener->polling = true;
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    return 0;
}

const char *listener_address(const struct listener *listener)
{
    return listener->address;
}

void listener_stop(struct listener *listener)
{
    if (listener->polling) {
        uv_poll_stop(&listener->poll);
        uv_timer_stop(&listener->pause);
    }
    listener->polling = false;
    if (listener->descriptor >= 0)
        close(listener->descriptor);
    listener->descriptor = -1;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    if (--listener->open_handles == 0)
        free(listener);
}

void listener_destroy(struct listener **listener)
{
    struct listener *old = *listener;

    if (old == NULL)
        return;
    *listener = NULL;
    listener_stop(old);
    arrivals_destroy(&old->arrivals);
    if (old->open_handles == 0) {
        free(old);
        return;
    }
    uv_close((uv_handle_t *)&old->poll, on_closed);
    uv_close((uv_handle_t *)&old->pause, on_closed);
}
