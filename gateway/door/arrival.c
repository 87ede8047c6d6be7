#include "gateway/door/arrival.h"

#include "common/xalloc.h"
#include "gateway/door/chunked.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* How often deadlines are looked at. */
#define SWEEP_MS 250
#define IDENTIFY_TIMEOUT_MS 10000
#define WRITE_TIMEOUT_MS 5000
/* After the answer: for the peer to read it, before unread input would make the kernel reset the
 * connection. */
#define LINGER_MS 1000
/* Of a body at a time. */
#define BODY_STEP ((size_t)64 << 10)
/* Who has not been idle for longer does not make room for others: his next request is on its way.
 */
#define IDLE_SPARED_MS 5000

enum arrival_state {
    ARRIVAL_READING,   /* the head */
    ARRIVAL_BODY,      /* reading that */
    ARRIVAL_WAITING,   /* for the answer */
    ARRIVAL_ANSWERING, /* writing it */
    ARRIVAL_NEXT,      /* answered; of the next request something is here */
    ARRIVAL_IDLE,      /* answered; of the next request nothing has come */
    ARRIVAL_LINGERING, /* for the peer's end */
    ARRIVAL_DETACHED,
};

struct arrival {
    struct arrivals *arrivals;
    TAILQ_ENTRY(arrival) entry;
    enum arrival_state state;
    int descriptor;
    char address[CLIENT_ADDRESS_SIZE]; /* of the peer */
    bool has_poll; /* poll is a handle of the loop: memory goes when it has closed */
    uv_poll_t poll;
    uint64_t deadline_ms;
    uint64_t requests;       /* that were read */
    bool kept;               /* its answer said so, and nothing of the next request was read */
    struct buffer input;     /* the head, and what came behind it */
    size_t own;              /* bytes of input that are the request's */
    struct buffer behind;    /* what came behind the body, where that took all of input */
    struct request *request; /* once the head is whole */
    struct request_body framing;
    struct chunked chunked;
    size_t body_max; /* what is read of it at most; 0: nothing */
    struct buffer body;
    bool whole; /* the request was read to its end */
    struct buffer answer;
    void (*on_gone)(void *arg);
    void *on_gone_arg;
};

TAILQ_HEAD(arrival_list, arrival);

struct arrivals {
    struct arrivals_options options;
    struct arrival_list idle, others; /* idle: who has been so for longest is the first */
    size_t count, kept;
    bool draining;
    uv_timer_t *sweep;
    struct arrival *asking; /* whose on_request is running, until it is answered */
};

/* Of a chunked body: nothing of it stays here. */
static char piece[BODY_STEP];

/* ---- states ---- */

static struct arrival_list *list_of(struct arrival *arrival)
{
    return arrival->state == ARRIVAL_IDLE ? &arrival->arrivals->idle : &arrival->arrivals->others;
}

/* after_ms: its deadline. */
static void set_state(struct arrival *arrival, enum arrival_state state, uint64_t after_ms)
{
    TAILQ_REMOVE(list_of(arrival), arrival, entry);
    arrival->state = state;
    arrival->deadline_ms = uv_now(arrival->arrivals->options.loop) + after_ms;
    TAILQ_INSERT_TAIL(list_of(arrival), arrival, entry);
}

static void set_kept(struct arrival *arrival, bool kept)
{
    arrival->arrivals->kept += (size_t)kept - (size_t)arrival->kept;
    arrival->kept = kept;
}

/* ---- ends ---- */

static void forget_request(struct arrival *arrival)
{
    free(arrival->request);
    arrival->request = NULL;
    arrival->framing = (struct request_body){0};
    arrival->chunked = (struct chunked){0};
    arrival->whole = false;
    arrival->on_gone = NULL;
    buffer_finish(&arrival->body);
    buffer_finish(&arrival->answer);
}

static void free_arrival(struct arrival *arrival)
{
    forget_request(arrival);
    buffer_finish(&arrival->input);
    buffer_finish(&arrival->behind);
    free(arrival);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free_arrival(handle->data);
}

/* Its answer is given, or it is somebody else's. */
static void stop_asking(struct arrival *arrival)
{
    if (arrival->arrivals->asking == arrival)
        arrival->arrivals->asking = NULL;
}

int arrival_detach(struct arrival *arrival)
{
    stop_asking(arrival);
    set_kept(arrival, false);
    TAILQ_REMOVE(list_of(arrival), arrival, entry);
    arrival->arrivals->count--;
    arrival->state = ARRIVAL_DETACHED;
    /* The descriptor leaves the loop now, so that another handle can have it; the memory stays for
     * arrival_release. */
    if (arrival->has_poll)
        uv_poll_stop(&arrival->poll);
    return arrival->descriptor;
}

void arrival_release(struct arrival *arrival)
{
    assert(arrival->state == ARRIVAL_DETACHED);
    if (arrival->has_poll)
        uv_close((uv_handle_t *)&arrival->poll, on_poll_closed);
    else
        free_arrival(arrival);
}

static void end(struct arrival *arrival)
{
    if (arrival->state == ARRIVAL_WAITING && arrival->on_gone)
        arrival->on_gone(arrival->on_gone_arg);
    close(arrival_detach(arrival));
    arrival_release(arrival);
}

/* ---- events ---- */

static void on_event(uv_poll_t *, int status, int events);

static void wait_for(struct arrival *arrival, int events)
{
    uv_loop_t *loop = arrival->arrivals->options.loop;

    if (!arrival->has_poll) {
        if (uv_poll_init(loop, &arrival->poll, arrival->descriptor) < 0) {
            end(arrival);
            return;
        }
        arrival->poll.data = arrival;
        arrival->has_poll = true;
    }
    uv_poll_start(&arrival->poll, events, on_event);
}

static void fail(struct arrival *arrival, int status)
{
    struct buffer answer = {0};

    if (arrival->state == ARRIVAL_WAITING && arrival->on_gone)
        arrival->on_gone(arrival->on_gone_arg);
    arrival->on_gone = NULL;
    arrival->whole = false;
    arrival->arrivals->options.on_failure(arrival->arrivals->options.arg, status, &answer);
    arrival_answer(arrival, &answer);
}

static void ask(struct arrival *arrival)
{
    struct arrivals *arrivals = arrival->arrivals;
    struct arrivals_options *options = &arrivals->options;

    set_state(arrival, ARRIVAL_WAITING, IDENTIFY_TIMEOUT_MS);
    arrivals->asking = arrival;
    options->on_request(options->arg, arrival);
    /* Mostly it is answered by now; otherwise the client may hang up meanwhile. */
    if (arrivals->asking == arrival)
        wait_for(arrival, UV_DISCONNECT);
    arrivals->asking = NULL;
}

/* ---- the body ---- */

/* How much of it may be read: nothing of one that is not worth it. */
static size_t allowed_body(const struct arrival *arrival)
{
    const struct arrivals_options *options = &arrival->arrivals->options;
    size_t most = options->body_max ? options->body_max(options->arg, arrival->request) : 0;

    return arrival->framing.length > most ? 0 : most;
}

/* Who asked before sending (curl does, with more than a little) goes on. When the kernel takes
 * nothing, because earlier answers were not read, he goes on by himself after a while; half of it
 * would be the begin of a wrong answer. */
static int encourage(const struct arrival *arrival)
{
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const ssize_t length = sizeof(answer) - 1;
    ssize_t sent;

    if (arrival->request->minor_version < 1 ||
        !request_list_has(arrival->request, "expect", "100-continue"))
        return 0;
    sent = send(arrival->descriptor, answer, (size_t)length, MSG_NOSIGNAL);
    return sent < 0 || sent == length ? 0 : -EPIPE;
}

static size_t missing(const struct arrival *arrival)
{
    return (size_t)arrival->framing.length - arrival->body.length;
}

/* Takes of bytes what is the body's. Returns 0: it is whole; -EAGAIN; or what is wrong with it. */
static int take_body(struct arrival *arrival, struct slice bytes, size_t *used)
{
    if (arrival->framing.chunked)
        return chunked_read(&arrival->chunked, bytes, &arrival->body, arrival->body_max, used);
    *used = bytes.length < missing(arrival) ? bytes.length : missing(arrival);
    buffer_append(&arrival->body, bytes.data, *used);
    return missing(arrival) > 0 ? -EAGAIN : 0;
}

static void after_body(struct arrival *arrival, int result)
{
    switch (result) {
    case 0:
        arrival->whole = true;
        ask(arrival);
        return;
    case -EAGAIN:
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
        return;
    default:
        fail(arrival, result == -E2BIG ? 413 : 400);
    }
}

static bool has_no_body(const struct arrival *arrival)
{
    const struct request *request = arrival->request;

    /* A method that has one mostly, and no word of it: who knows what comes. */
    if (!arrival->framing.said)
        return slice_is(request->method, "GET") || slice_is(request->method, "HEAD");
    return !arrival->framing.chunked && arrival->framing.length == 0;
}

static void begin_body(struct arrival *arrival)
{
    struct slice rest = arrival_rest(arrival);
    size_t used;
    int result;

    arrival->body_max = allowed_body(arrival);
    if (has_no_body(arrival) || arrival->body_max == 0 || !arrival->framing.said) {
        arrival->whole = has_no_body(arrival);
        ask(arrival);
        return;
    }
    set_state(arrival, ARRIVAL_BODY, arrival->arrivals->options.head_timeout_ms);
    result = take_body(arrival, rest, &used);
    arrival->own += used;
    if (result == -EAGAIN && encourage(arrival) < 0)
        end(arrival);
    else
        after_body(arrival, result);
}

/* Into its place when its length is known, so that nothing of what follows is read. */
static ssize_t read_body(struct arrival *arrival, int *result)
{
    struct buffer *body = &arrival->body;
    size_t most = missing(arrival) < BODY_STEP ? missing(arrival) : BODY_STEP, used;
    ssize_t length;

    if (!arrival->framing.chunked) {
        length = recv(arrival->descriptor, buffer_reserve(body, most), most, 0);
        body->length += length > 0 ? (size_t)length : 0;
        *result = missing(arrival) > 0 ? -EAGAIN : 0;
        return length;
    }
    length = recv(arrival->descriptor, piece, sizeof(piece), 0);
    if (length > 0) {
        *result = take_body(arrival, slice_of(piece, (size_t)length), &used);
        buffer_append(&arrival->behind, piece + used, (size_t)length - used);
    }
    return length;
}

static void on_body(struct arrival *arrival)
{
    int result = -EAGAIN;
    ssize_t length = read_body(arrival, &result);

    if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR)))
        after_body(arrival, result);
    else
        end(arrival);
}

/* ---- the head ---- */

/* What both sides must read in one way: where the head ends, and where the body does. Returns 0, or
 * the status of the answer. */
static int parse(struct arrival *arrival)
{
    int error = request_parse(arrival->request, arrival->input.data, arrival->input.length);

    if (error < 0)
        return error == -E2BIG ? 431 : 400;
    arrival->own = arrival->request->length;
    error = request_body(arrival->request, &arrival->framing);
    if (error < 0)
        return error == -ENOTSUP ? 501 : 400;
    return 0;
}

/* A whole head, or what is wrong with it. */
static void try_parse(struct arrival *arrival)
{
    int status;

    if (memmem(arrival->input.data, arrival->input.length, "\r\n\r\n", 4) == NULL &&
        arrival->input.length < REQUEST_HEAD_MAX) {
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
        return;
    }
    arrival->requests++;
    arrival->request = xcalloc(1, sizeof(*arrival->request));
    status = parse(arrival);
    if (status)
        fail(arrival, status);
    else
        begin_body(arrival);
}

/* Returns what recv says: more may have come behind the head, and is kept. */
static ssize_t read_some(struct arrival *arrival)
{
    struct buffer *input = &arrival->input;
    ssize_t length;

    buffer_reserve(input, 1024);
    length =
        recv(arrival->descriptor, input->data + input->length, input->capacity - input->length, 0);
    if (length > 0)
        input->length += (size_t)length;
    return length;
}

static void on_reading(struct arrival *arrival)
{
    ssize_t length = read_some(arrival);

    if (length > 0)
        try_parse(arrival);
    else if (length < 0 && (errno == EAGAIN || errno == EINTR))
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
    else
        end(arrival);
}

/* ---- between two requests ---- */

static void on_next(struct arrival *arrival)
{
    set_state(arrival, ARRIVAL_READING, arrival->arrivals->options.head_timeout_ms);
    try_parse(arrival);
}

static void on_idle(struct arrival *arrival)
{
    ssize_t length = read_some(arrival);

    if (length > 0) {
        set_kept(arrival, false);
        on_next(arrival);
    } else if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
    } else {
        end(arrival);
    }
}

/* Its time between two requests is over; one that has come just now is answered. */
static void end_idle(struct arrival *arrival)
{
    if (read_some(arrival) <= 0) {
        end(arrival);
        return;
    }
    set_kept(arrival, false);
    arrival->requests = arrival->arrivals->options.requests_max;
    on_next(arrival);
}

static void linger(struct arrival *arrival)
{
    shutdown(arrival->descriptor, SHUT_WR);
    set_state(arrival, ARRIVAL_LINGERING, LINGER_MS);
    wait_for(arrival, UV_READABLE);
}

/* What has come of the next request has its turn after the others of the loop: a socket that takes
 * something says so at once. */
static void go_on(struct arrival *arrival)
{
    const struct arrivals_options *options = &arrival->arrivals->options;

    buffer_consume(&arrival->input, arrival->own);
    buffer_append_slice(&arrival->input, buffer_slice(&arrival->behind));
    buffer_finish(&arrival->behind);
    forget_request(arrival);
    if (arrival->input.length > 0) {
        set_kept(arrival, false);
        set_state(arrival, ARRIVAL_NEXT, options->head_timeout_ms);
        wait_for(arrival, UV_WRITABLE);
    } else if (arrival->arrivals->draining) {
        end_idle(arrival);
    } else {
        buffer_finish(&arrival->input);
        set_state(arrival, ARRIVAL_IDLE, options->idle_timeout_ms);
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
    }
}

static void on_answering(struct arrival *arrival)
{
    struct buffer *answer = &arrival->answer;
    ssize_t length = send(arrival->descriptor, answer->data, answer->length, MSG_NOSIGNAL);

    if (length < 0 && errno != EAGAIN && errno != EINTR) {
        end(arrival);
        return;
    }
    buffer_consume(answer, length > 0 ? (size_t)length : 0);
    if (answer->length > 0)
        wait_for(arrival, UV_WRITABLE);
    else if (arrival->kept)
        go_on(arrival);
    else
        linger(arrival);
}

static void on_lingering(struct arrival *arrival)
{
    char discarded[4096];
    ssize_t length = recv(arrival->descriptor, discarded, sizeof(discarded), 0);

    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR))
        end(arrival);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    /* While it waits for its answer only the peer's end is of interest. */
    static void (*const handlers[])(struct arrival *) = {
        [ARRIVAL_READING] = on_reading,     [ARRIVAL_BODY] = on_body, [ARRIVAL_WAITING] = end,
        [ARRIVAL_ANSWERING] = on_answering, [ARRIVAL_NEXT] = on_next, [ARRIVAL_IDLE] = on_idle,
        [ARRIVAL_LINGERING] = on_lingering,
    };
    struct arrival *arrival = poll->data;

    (void)events;
    if (status < 0)
        end(arrival);
    else
        handlers[arrival->state](arrival);
}

/* ---- answers ---- */

const struct request *arrival_request(const struct arrival *arrival)
{
    return arrival->request;
}

void arrival_address(const struct arrival *arrival, char text[CLIENT_ADDRESS_SIZE])
{
    struct slice forwarded = slice_of(NULL, 0);

    if (arrival->arrivals->options.believe_forwarded)
        forwarded = request_header(arrival->request, "x-forwarded-for");
    client_address_choose(text, arrival->address, forwarded);
}

struct slice arrival_rest(const struct arrival *arrival)
{
    return slice_of(arrival->input.data + arrival->request->length,
                    arrival->input.length - arrival->request->length);
}

struct slice arrival_body(const struct arrival *arrival)
{
    return buffer_slice(&arrival->body);
}

void arrival_forget_body(struct arrival *arrival)
{
    buffer_finish(&arrival->body);
}

void arrival_on_gone(struct arrival *arrival, void (*on_gone)(void *arg), void *arg)
{
    arrival->on_gone = on_gone;
    arrival->on_gone_arg = arg;
}

/* A place for one more that is idle. */
static bool make_room(struct arrivals *arrivals)
{
    const struct arrivals_options *options = &arrivals->options;
    struct arrival *longest = TAILQ_FIRST(&arrivals->idle);

    if (arrivals->kept < options->idle_max)
        return true;
    if (longest == NULL ||
        uv_now(options->loop) + options->idle_timeout_ms < longest->deadline_ms + IDLE_SPARED_MS)
        return false;
    end(longest);
    return true;
}

static bool may_stay(const struct arrival *arrival)
{
    const struct request *request = arrival->request;
    const struct arrivals *arrivals = arrival->arrivals;

    return arrival->whole && request->minor_version >= 1 &&
           !request_list_has(request, "connection", "close") &&
           !request_list_has(request, "upgrade", "websocket") && !arrivals->draining &&
           arrival->requests < arrivals->options.requests_max;
}

/* The line of the connection goes behind the first one. */
static void complete(struct arrival *arrival, const struct buffer *answer)
{
    const struct request *request = arrival->request;
    struct buffer *out = &arrival->answer;
    const char *line = memmem(answer->data, answer->length, "\r\n", 2),
               *body = memmem(answer->data, answer->length, "\r\n\r\n", 4);
    size_t first, length = answer->length;

    assert(line && body);
    first = (size_t)(line + 2 - answer->data);
    if (request && slice_is(request->method, "HEAD"))
        length = (size_t)(body + 4 - answer->data);
    buffer_reserve(out, length + 128);
    buffer_append(out, answer->data, first);
    if (arrival->kept)
        buffer_appendf(out, "Connection: keep-alive\r\nKeep-Alive: timeout=%" PRIu64 "\r\n",
                       arrival->arrivals->options.idle_timeout_ms / 1000);
    else
        buffer_append_text(out, "Connection: close\r\n");
    buffer_append(out, answer->data + first, length - first);
}

void arrival_answer(struct arrival *arrival, struct buffer *answer)
{
    stop_asking(arrival);
    set_kept(arrival, may_stay(arrival) && make_room(arrival->arrivals));
    complete(arrival, answer);
    buffer_finish(answer);
    set_state(arrival, ARRIVAL_ANSWERING, WRITE_TIMEOUT_MS);
    on_answering(arrival);
}

/* ---- all of them ---- */

static void overdue(struct arrival *arrival)
{
    if (arrival->state == ARRIVAL_BODY ||
        (arrival->state == ARRIVAL_READING && arrival->input.length > 0))
        fail(arrival, 408);
    else if (arrival->state == ARRIVAL_WAITING)
        fail(arrival, 503);
    else
        end(arrival);
}

static void on_sweep(uv_timer_t *timer)
{
    struct arrivals *arrivals = timer->data;
    struct arrival *arrival, *next;

    for (arrival = TAILQ_FIRST(&arrivals->others); arrival; arrival = next) {
        next = TAILQ_NEXT(arrival, entry);
        if (arrival->deadline_ms <= uv_now(timer->loop))
            overdue(arrival);
    }
    while ((arrival = TAILQ_FIRST(&arrivals->idle)) && arrival->deadline_ms <= uv_now(timer->loop))
        end_idle(arrival);
    if (arrivals->count == 0)
        uv_timer_stop(timer);
}

void arrivals_add(struct arrivals *arrivals, int descriptor, const char *address)
{
    struct arrival *arrival = xcalloc(1, sizeof(*arrival));

    arrival->arrivals = arrivals;
    arrival->descriptor = descriptor;
    snprintf(arrival->address, sizeof(arrival->address), "%s", address);
    TAILQ_INSERT_TAIL(list_of(arrival), arrival, entry);
    arrivals->count++;
    set_state(arrival, ARRIVAL_READING, arrivals->options.head_timeout_ms);
    if (!uv_is_active((uv_handle_t *)arrivals->sweep))
        uv_timer_start(arrivals->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    /* Mostly the head is here already: no need to ask the loop then. */
    on_reading(arrival);
}

void arrivals_drain(struct arrivals *arrivals)
{
    arrivals->draining = true;
    while (!TAILQ_EMPTY(&arrivals->idle))
        end_idle(TAILQ_FIRST(&arrivals->idle));
}

size_t arrivals_count(const struct arrivals *arrivals)
{
    return arrivals->count;
}

struct arrivals *arrivals_create(const struct arrivals_options *options)
{
    struct arrivals *arrivals = xcalloc(1, sizeof(*arrivals));

    arrivals->options = *options;
    TAILQ_INIT(&arrivals->idle);
    TAILQ_INIT(&arrivals->others);
    arrivals->sweep = xmalloc(sizeof(*arrivals->sweep));
    uv_timer_init(options->loop, arrivals->sweep);
    arrivals->sweep->data = arrivals;
    return arrivals;
}

static void on_sweep_closed(uv_handle_t *handle)
{
    free(handle);
}

void arrivals_destroy(struct arrivals **arrivals)
{
    if (*arrivals == NULL)
        return;
    while (!TAILQ_EMPTY(&(*arrivals)->idle))
        end(TAILQ_FIRST(&(*arrivals)->idle));
    while (!TAILQ_EMPTY(&(*arrivals)->others))
        end(TAILQ_FIRST(&(*arrivals)->others));
    uv_close((uv_handle_t *)(*arrivals)->sweep, on_sweep_closed);
    free(*arrivals);
    *arrivals = NULL;
}
