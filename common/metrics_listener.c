#include "common/metrics_listener.h"

#include "common/slice.h"
#include "common/xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HEAD_MAX 4096
#define VISITORS_MAX 32
#define VISIT_MS 5000
#define BACKLOG 64

struct visitor {
    struct metrics_listener *listener;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    unsigned handles;
    struct buffer answer;
    size_t length;
    bool answered;
    char head[HEAD_MAX];
    LIST_ENTRY(visitor) link;
};

struct metrics_listener {
    uv_tcp_t tcp;
    void (*append)(void *arg, struct buffer *page);
    bool (*ready)(void *arg);
    void *arg;
    LIST_HEAD(, visitor) visitors;
    unsigned count;
};

/* ---- the end of a visit ---- */

static void on_visitor_closed(uv_handle_t *handle)
{
    struct visitor *visitor = handle->data;

    if (--visitor->handles > 0)
        return;
    buffer_finish(&visitor->answer);
    free(visitor);
}

static void dismiss(struct visitor *visitor)
{
    if (uv_is_closing((uv_handle_t *)&visitor->tcp))
        return;
    LIST_REMOVE(visitor, link);
    visitor->listener->count--;
    uv_close((uv_handle_t *)&visitor->tcp, on_visitor_closed);
    uv_close((uv_handle_t *)&visitor->timer, on_visitor_closed);
}

static void on_late(uv_timer_t *timer)
{
    dismiss(timer->data);
}

/* ---- the answer ---- */

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    dismiss(write->data);
}

static void answer(struct visitor *visitor, const char *status, const char *type,
                   const struct buffer *body)
{
    uv_buf_t bytes;

    buffer_appendf(&visitor->answer,
                   "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                   "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                   status, type, body->length);
    buffer_append(&visitor->answer, body->data, body->length);
    visitor->answered = true;
    visitor->write.data = visitor;
    bytes = uv_buf_init(visitor->answer.data, (unsigned)visitor->answer.length);
    if (uv_write(&visitor->write, (uv_stream_t *)&visitor->tcp, &bytes, 1, on_written) < 0)
        dismiss(visitor);
}

static bool asks_for(const struct visitor *visitor, const char *line)
{
    size_t length = strlen(line);

    return visitor->length >= length && memcmp(visitor->head, line, length) == 0;
}

static void serve(struct visitor *visitor)
{
    const struct metrics_listener *listener = visitor->listener;
    struct buffer body = {0};

    if (asks_for(visitor, "GET /metrics ")) {
        listener->append(listener->arg, &body);
        answer(visitor, "200 OK", "text/plain; version=0.0.4", &body);
    } else if (asks_for(visitor, "GET /healthz ")) {
        buffer_append_text(&body, "{\"status\":\"ok\"}\n");
        answer(visitor, "200 OK", "application/json", &body);
    } else if (asks_for(visitor, "GET /readyz ") && listener->ready(listener->arg)) {
        buffer_append_text(&body, "{\"status\":\"ready\"}\n");
        answer(visitor, "200 OK", "application/json", &body);
    } else if (asks_for(visitor, "GET /readyz ")) {
        buffer_append_text(&body, "{\"status\":\"unavailable\"}\n");
        answer(visitor, "503 Service Unavailable", "application/json", &body);
    } else {
        answer(visitor, "404 Not Found", "text/plain", &body);
    }
    buffer_finish(&body);
}

/* ---- the question ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct visitor *visitor = handle->data;

    (void)suggested;
    *room = uv_buf_init(visitor->head + visitor->length,
                        (unsigned)(sizeof(visitor->head) - visitor->length));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *bytes)
{
    struct visitor *visitor = stream->data;

    (void)bytes;
    if (length < 0) { /* also when the head is too long: there is no room */
        dismiss(visitor);
        return;
    }
    visitor->length += (size_t)length;
    if (memmem(visitor->head, visitor->length, "\r\n\r\n", 4) == NULL)
        return;
    uv_read_stop(stream);
    serve(visitor);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct metrics_listener *listener = stream->data;
    struct visitor *visitor;

    if (status < 0)
        return;
    visitor = xcalloc(1, sizeof(*visitor));
    visitor->listener = listener;
    visitor->handles = 2;
    visitor->tcp.data = visitor->timer.data = visitor;
    uv_tcp_init(stream->loop, &visitor->tcp);
    uv_timer_init(stream->loop, &visitor->timer);
    uv_timer_start(&visitor->timer, on_late, VISIT_MS, 0);
    LIST_INSERT_HEAD(&listener->visitors, visitor, link);
    listener->count++;
    if (uv_accept(stream, (uv_stream_t *)&visitor->tcp) < 0 || listener->count > VISITORS_MAX ||
        uv_read_start((uv_stream_t *)&visitor->tcp, on_alloc, on_read) < 0)
        dismiss(visitor);
}

/* ---- life ---- */

static int parse(const char *address, struct sockaddr_storage *parsed)
{
    const char *colon = strrchr(address, ':');
    struct slice host = slice_of(address, colon ? (size_t)(colon - address) : 0);
    char text[64];
    char *end;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;

    if (host.length > 1 && host.data[0] == '[' && host.data[host.length - 1] == ']')
        host = slice_of(host.data + 1, host.length - 2);
    if (host.length == 0 || host.length >= sizeof(text) || port < 0 || port > 65535 || *end)
        return UV_EINVAL;
    snprintf(text, sizeof(text), "%.*s", (int)host.length, host.data);
    if (uv_ip4_addr(text, (int)port, (struct sockaddr_in *)parsed) == 0)
        return 0;
    return uv_ip6_addr(text, (int)port, (struct sockaddr_in6 *)parsed);
}

struct metrics_listener *metrics_listener_create(uv_loop_t *loop, const char *address,
                                                 void (*append)(void *arg, struct buffer *page),
                                                 bool (*ready)(void *arg), void *arg,
                                                 struct buffer *error)
{
    struct metrics_listener *listener = xcalloc(1, sizeof(*listener));
    struct sockaddr_storage parsed;
    int result = parse(address, &parsed);

    listener->append = append;
    listener->ready = ready;
    listener->arg = arg;
    LIST_INIT(&listener->visitors);
    uv_tcp_init(loop, &listener->tcp);
    listener->tcp.data = listener;
    if (result == 0)
        result = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&parsed, 0);
    if (result == 0)
        result = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (result == 0)
        return listener;
    buffer_appendf(error, "TRUNKLINE_METRICS_LISTEN: cannot listen on %s: %s", address,
                   uv_strerror(result));
    metrics_listener_destroy(&listener);
    return NULL;
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void metrics_listener_destroy(struct metrics_listener **pointer)
{
    struct metrics_listener *listener = *pointer;

    if (listener == NULL)
        return;
    *pointer = NULL;
    while (!LIST_EMPTY(&listener->visitors))
        dismiss(LIST_FIRST(&listener->visitors));
    uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
}
