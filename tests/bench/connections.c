#include "tests/bench/connections.h"
#include "tests/bench/websocket.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PER_ADDRESS 10000 /* connections from one source address: there are 28,000 ports */
#define READ_SIZE (256 * 1024)
#define MESSAGE_MAX (16 * 1024 * 1024)
#define EVENTS_PER_TURN 1024

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_UPGRADING,
    CONNECTION_OPEN,
};

struct buffer {
    uint8_t *data;
    size_t length, capacity;
};

struct connection {
    int fd;
    enum connection_state state;
    bool queued;           /* in the list of those with something to write */
    bool blocked;          /* waits for EPOLLOUT */
    struct buffer input;   /* the beginning of a frame */
    struct buffer output;  /* what the kernel has not taken */
    struct buffer message; /* fragments of a message */
};

struct connections {
    int epoll;
    unsigned count;
    struct connection *all;
    unsigned *queue, queued; /* indexes of those with something to write */
    struct ports ports;
    in_addr_t first_address;
    const struct connections_handler *handler;
    void *arg;
    uint8_t *input; /* READ_SIZE bytes for whoever reads now */
};

uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- buffers ---- */

static void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (buffer->length + length > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;

        while (capacity < buffer->length + length)
            capacity *= 2;
        buffer->data = realloc(buffer->data, capacity);
        if (!buffer->data)
            err(1, "buffer");
        buffer->capacity = capacity;
    }
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

static void buffer_drop(struct buffer *buffer, size_t length)
{
    buffer->length -= length;
    memmove(buffer->data, buffer->data + length, buffer->length);
}

static void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

/* ---- a connection's end ---- */

static unsigned index_of(const struct connections *all, const struct connection *c)
{
    return (unsigned)(c - all->all);
}

static void release(struct connection *c)
{
    if (c->state != CONNECTION_CLOSED)
        close(c->fd);
    c->state = CONNECTION_CLOSED;
    buffer_free(&c->input);
    buffer_free(&c->output);
    buffer_free(&c->message);
}

static void end(struct connections *all, struct connection *c, const char *why)
{
    release(c);
    all->handler->on_close(all->arg, index_of(all, c), why);
}

static void end_by_close_frame(struct connections *all, struct connection *c, const uint8_t *body,
                               size_t size)
{
    char why[160] = "close frame";

    if (size >= 2)
        snprintf(why, sizeof why, "close frame %u %.*s", (unsigned)(body[0] << 8 | body[1]),
                 (int)(size - 2), (const char *)body + 2);
    end(all, c, why);
}

/* ---- writing ---- */

static void watch(struct connections *all, struct connection *c, int operation, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0),
                                .data.u32 = index_of(all, c)};

    c->blocked = writable;
    if (epoll_ctl(all->epoll, operation, c->fd, &event))
        err(1, "epoll_ctl");
}

static void flush(struct connections *all, struct connection *c)
{
    ssize_t sent = send(c->fd, c->output.data, c->output.length, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN) {
        end(all, c, strerror(errno));
        return;
    }
    if (sent > 0)
        buffer_drop(&c->output, (size_t)sent);
    if (c->blocked != (c->output.length > 0))
        watch(all, c, EPOLL_CTL_MOD, c->output.length > 0);
}

static void flush_queue(struct connections *all)
{
    for (unsigned i = 0; i < all->queued; i++) {
        struct connection *c = &all->all[all->queue[i]];

        c->queued = false;
        if (c->state >= CONNECTION_UPGRADING && !c->blocked && c->output.length)
            flush(all, c);
    }
    all->queued = 0;
}

static void enqueue(struct connections *all, struct connection *c)
{
    if (c->queued)
        return;
    c->queued = true;
    all->queue[all->queued++] = index_of(all, c);
}

static uint32_t next_mask(void)
{
    static uint32_t state = 2463534242;

    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static void send_frame(struct connections *all, struct connection *c, enum websocket_opcode opcode,
                       const void *data, size_t length)
{
    uint8_t head[WEBSOCKET_HEAD_MAX];
    uint32_t mask = next_mask();

    buffer_append(&c->output, head, websocket_write_head(head, opcode, length, mask));
    buffer_append(&c->output, data, length);
    websocket_mask(c->output.data + c->output.length - length, length, mask);
    enqueue(all, c);
}

void connections_send(struct connections *all, unsigned index, const char *text, size_t length)
{
    if (all->all[index].state == CONNECTION_OPEN)
        send_frame(all, &all->all[index], WEBSOCKET_TEXT, text, length);
}

/* ---- reading ---- */

static void on_text_frame(struct connections *all, struct connection *c, bool final,
                          const uint8_t *body, size_t size)
{
    unsigned index = index_of(all, c);

    if (final && c->message.length == 0) {
        all->handler->on_text(all->arg, index, (const char *)body, size);
        return;
    }
    buffer_append(&c->message, body, size);
    if (!final)
        return;
    all->handler->on_text(all->arg, index, (const char *)c->message.data, c->message.length);
    c->message.length = 0;
}

static void on_frame(struct connections *all, struct connection *c,
                     const struct websocket_frame *frame, const uint8_t *body)
{
    switch (frame->opcode) {
    case WEBSOCKET_TEXT:
    case WEBSOCKET_CONTINUATION:
        on_text_frame(all, c, frame->final, body, frame->size);
        break;
    case WEBSOCKET_PING:
        send_frame(all, c, WEBSOCKET_PONG, body, frame->size);
        break;
    case WEBSOCKET_CLOSE:
        end_by_close_frame(all, c, body, frame->size);
        break;
    default: /* pongs, and binary messages that nobody here asks for */
        break;
    }
}

/* Takes the whole frames; returns the bytes taken. */
static size_t read_frames(struct connections *all, struct connection *c, const uint8_t *data,
                          size_t length)
{
    struct websocket_frame frame;
    size_t taken = 0;

    while (c->state == CONNECTION_OPEN) {
        int result = websocket_read_head(data + taken, length - taken, &frame);

        if (result == -EPROTO || (result == 0 && frame.size > MESSAGE_MAX))
            end(all, c, "not a frame a server may send");
        if (result || length - taken < frame.head + frame.size)
            break;
        taken += frame.head + frame.size;
        on_frame(all, c, &frame, data + taken - frame.size);
    }
    return taken;
}

static size_t read_upgrade(struct connections *all, struct connection *c, const uint8_t *data,
                           size_t length)
{
    const uint8_t *blank = memmem(data, length, "\r\n\r\n", 4);
    char why[160];

    if (!blank)
        return 0;
    if (!websocket_accepted((const char *)data, (size_t)(blank - data) + 2)) {
        snprintf(why, sizeof why, "refused: %.*s", (int)(length < 120 ? length : 120), data);
        why[strcspn(why, "\r\n")] = '\0';
        end(all, c, why);
        return length;
    }
    c->state = CONNECTION_OPEN;
    all->handler->on_open(all->arg, index_of(all, c));
    return (size_t)(blank - data) + 4;
}

static size_t read_input(struct connections *all, struct connection *c, const uint8_t *data,
                         size_t length)
{
    size_t taken = 0;

    if (c->state == CONNECTION_UPGRADING)
        taken = read_upgrade(all, c, data, length);
    if (c->state == CONNECTION_OPEN)
        taken += read_frames(all, c, data + taken, length - taken);
    return taken;
}

static void on_bytes(struct connections *all, struct connection *c, size_t length)
{
    size_t taken;

    if (c->input.length == 0) {
        taken = read_input(all, c, all->input, length);
        if (c->state != CONNECTION_CLOSED && taken < length)
            buffer_append(&c->input, all->input + taken, length - taken);
        return;
    }
    buffer_append(&c->input, all->input, length);
    taken = read_input(all, c, c->input.data, c->input.length);
    if (c->state == CONNECTION_CLOSED)
        return;
    buffer_drop(&c->input, taken);
    if (c->input.length == 0)
        buffer_free(&c->input); /* an idle connection holds nothing */
}

static void on_readable(struct connections *all, struct connection *c)
{
    ssize_t got = recv(c->fd, all->input, READ_SIZE, 0);

    if (got > 0)
        on_bytes(all, c, (size_t)got);
    else if (got == 0)
        end(all, c, "end of file");
    else if (errno != EAGAIN && errno != EINTR)
        end(all, c, strerror(errno));
}

/* ---- connecting ---- */

static void bind_source(const struct connections *all, int fd, unsigned index)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;

    source.sin_addr.s_addr = htonl(all->first_address + index / PER_ADDRESS);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        err(1, "bind");
}

static void queue_request(struct connections *all, struct connection *c, uint16_t port,
                          const char *target)
{
    char rest[256];
    int length = snprintf(rest, sizeof rest,
                          " HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: " WEBSOCKET_KEY "\r\n\r\n",
                          port);

    buffer_append(&c->output, "GET ", 4);
    buffer_append(&c->output, target, strlen(target));
    buffer_append(&c->output, rest, (size_t)length);
    enqueue(all, c);
}

void connections_open(struct connections *all, unsigned index, const char *target)
{
    struct connection *c = &all->all[index];
    uint16_t port = all->ports.port[index % all->ports.count];
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};

    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        err(1, "socket");
    bind_source(all, c->fd, index);
    c->state = CONNECTION_CONNECTING;
    queue_request(all, c, port, target);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        end(all, c, strerror(errno));
    else
        watch(all, c, EPOLL_CTL_ADD, true);
}

static void on_connected(struct connections *all, struct connection *c)
{
    int error = 0;
    socklen_t size = sizeof error;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end(all, c, strerror(error));
        return;
    }
    c->state = CONNECTION_UPGRADING;
    flush(all, c);
}

/* ---- all of them ---- */

static void on_event(struct connections *all, struct connection *c, uint32_t events)
{
    if (c->state == CONNECTION_CONNECTING)
        on_connected(all, c);
    else if (c->state != CONNECTION_CLOSED && events & EPOLLOUT)
        flush(all, c);
    if (c->state >= CONNECTION_UPGRADING && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(all, c);
}

void connections_turn(struct connections *all, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = {0};
    uint64_t now;
    int count;

    flush_queue(all);
    now = monotonic_ns();
    if (until_ns > now) {
        wait.tv_sec = (time_t)((until_ns - now) / 1000000000);
        wait.tv_nsec = (long)((until_ns - now) % 1000000000);
    }
    count = epoll_pwait2(all->epoll, events, EVENTS_PER_TURN, &wait, NULL);
    for (int i = 0; i < count; i++)
        on_event(all, &all->all[events[i].data.u32], events[i].events);
}

static void need_descriptors(unsigned count)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < count)
        errx(1, "%u connections need as many descriptors; the limit is %llu", count,
             (unsigned long long)limit.rlim_max);
}

/* A range of its own for each run, so that the last run's TIME_WAIT is not in the way. */
static in_addr_t choose_addresses(void)
{
    return INADDR_LOOPBACK + 1 + ((in_addr_t)getpid() % 250 << 8);
}

struct connections *connections_create(unsigned count, const struct ports *ports,
                                       const struct connections_handler *handler, void *arg)
{
    struct connections *all = calloc(1, sizeof *all);

    need_descriptors(count + 16);
    if (!all)
        err(1, "connections");
    *all = (struct connections){.count = count,
                                .ports = *ports,
                                .first_address = choose_addresses(),
                                .handler = handler,
                                .arg = arg,
                                .epoll = epoll_create1(EPOLL_CLOEXEC),
                                .all = calloc(count, sizeof *all->all),
                                .queue = calloc(count, sizeof *all->queue),
                                .input = malloc(READ_SIZE)};
    if (all->epoll < 0 || !all->all || !all->queue || !all->input)
        err(1, "connections");
    return all;
}

void connections_destroy(struct connections **connections)
{
    struct connections *all = *connections;

    if (!all)
        return;
    for (unsigned i = 0; i < all->count; i++)
        release(&all->all[i]);
    close(all->epoll);
    free(all->all);
    free(all->queue);
    free(all->input);
    free(all);
    *connections = NULL;
}
