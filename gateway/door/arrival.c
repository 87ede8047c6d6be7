#include "gateway/door/arrival.h"

#include "common/xalloc.h"

#include <assert.h>
#include <errno.h>
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

enum arrival_state {
    ARRIVAL_READING,   /* the head */
    ARRIVAL_BODY,      /* reading that */
    ARRIVAL_WAITING,   /* for the answer */
    ARRIVAL_ANSWERING, /* writing it */
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
    struct buffer head;
    struct request *request; /* once the head is whole */
    struct buffer body;
    size_t body_length; /* that it will have */
    struct buffer answer;
    void (*on_gone)(void *arg);
    void *on_gone_arg;
};

TAILQ_HEAD(arrival_list, arrival);

struct arrivals {
    struct arrivals_options options;
    struct arrival_list all;
    uv_timer_t *sweep;
    struct arrival *asking; /* whose on_request is running, until it is answered */
};

/* ---- ends ---- */

static void free_arrival(struct arrival *arrival)
{
    buffer_finish(&arrival->head);
    buffer_finish(&arrival->body);
    buffer_finish(&arrival->answer);
    free(arrival->request);
    free(arrival);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free_arrival(handle->data);
}

static void set_deadline(struct arrival *arrival, uint64_t after_ms)
{
    arrival->deadline_ms = uv_now(arrival->arrivals->options.loop) + after_ms;
}

int arrival_detach(struct arrival *arrival)
{
    TAILQ_REMOVE(&arrival->arrivals->all, arrival, entry);
    arrival->arrivals->asking = NULL;
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
    arrival->arrivals->options.on_failure(arrival->arrivals->options.arg, status, &answer);
    arrival_answer(arrival, &answer);
}

static void ask(struct arrival *arrival)
{
    struct arrivals *arrivals = arrival->arrivals;
    struct arrivals_options *options = &arrivals->options;

    arrival->state = ARRIVAL_WAITING;
    set_deadline(arrival, IDENTIFY_TIMEOUT_MS);
    arrivals->asking = arrival;
    options->on_request(options->arg, arrival);
    /* Mostly it is answered by now; otherwise the client may hang up meanwhile. */
    if (arrivals->asking == arrival)
        wait_for(arrival, UV_DISCONNECT);
    arrivals->asking = NULL;
}

/* ---- the body ---- */

/* How much of it is to be read: nothing of one that is malformed or too long. */
static size_t wanted_body(const struct arrival *arrival)
{
    const struct arrivals_options *options = &arrival->arrivals->options;
    uint64_t length;

    if (options->body_max == NULL || request_body_length(arrival->request, &length) < 0 ||
        length > options->body_max(options->arg, arrival->request))
        return 0;
    return length;
}

/* Who asked before sending (curl does, with more than a little) goes on; a kernel whose buffer is
 * full before the first answer does not exist. */
static void encourage(const struct arrival *arrival)
{
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (request_list_has(arrival->request, "expect", "100-continue"))
        (void)!send(arrival->descriptor, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
}

static void take_body(struct arrival *arrival)
{
    if (arrival->body.length < arrival->body_length) {
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
        return;
    }
    ask(arrival);
}

static void begin_body(struct arrival *arrival)
{
    struct slice rest = arrival_rest(arrival);

    arrival->body_length = wanted_body(arrival);
    if (rest.length > arrival->body_length)
        rest.length = arrival->body_length;
    buffer_append_slice(&arrival->body, rest);
    arrival->state = ARRIVAL_BODY;
    set_deadline(arrival, arrival->arrivals->options.head_timeout_ms);
    if (arrival->body.length < arrival->body_length)
        encourage(arrival);
    take_body(arrival);
}

static void on_body(struct arrival *arrival)
{
    struct buffer *body = &arrival->body;
    size_t missing = arrival->body_length - body->length;
    size_t most = missing < BODY_STEP ? missing : BODY_STEP;
    ssize_t length = recv(arrival->descriptor, buffer_reserve(body, most), most, 0);

    if (length > 0) {
        body->length += (size_t)length;
        take_body(arrival);
    } else if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
    } else {
        end(arrival);
    }
}

/* ---- the head ---- */

/* A whole head, or what is wrong with it. */
static void try_parse(struct arrival *arrival)
{
    int error;

    if (memmem(arrival->head.data, arrival->head.length, "\r\n\r\n", 4) == NULL &&
        arrival->head.length < REQUEST_HEAD_MAX) {
        wait_for(arrival, UV_READABLE | UV_DISCONNECT);
        return;
    }
    arrival->request = xmalloc(sizeof(*arrival->request));
    error = request_parse(arrival->request, arrival->head.data, arrival->head.length);
    if (error < 0) {
        fail(arrival, error == -E2BIG ? 431 : 400);
        return;
    }
    begin_body(arrival);
}

/* Returns what recv says: more may have come behind the head, and is kept for the protocol. */
static ssize_t read_some(struct arrival *arrival)
{
    struct buffer *head = &arrival->head;
    ssize_t length;

    buffer_reserve(head, 1024);
    length = recv(arrival->descriptor, head->data + head->length, head->capacity - head->length, 0);
    if (length > 0)
        head->length += (size_t)length;
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

static void on_answering(struct arrival *arrival)
{
    struct buffer *answer = &arrival->answer;
    ssize_t length = send(arrival->descriptor, answer->data, answer->length, MSG_NOSIGNAL);

    if (length < 0 && errno != EAGAIN && errno != EINTR) {
        end(arrival);
        return;
    }
    buffer_consume(answer, length > 0 ? (size_t)length : 0);
    if (answer->length > 0) {
        wait_for(arrival, UV_WRITABLE);
        return;
    }
    shutdown(arrival->descriptor, SHUT_WR);
    arrival->state = ARRIVAL_LINGERING;
    set_deadline(arrival, LINGER_MS);
    wait_for(arrival, UV_READABLE);
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
        [ARRIVAL_READING] = on_reading,
        [ARRIVAL_BODY] = on_body,
        [ARRIVAL_WAITING] = end,
        [ARRIVAL_ANSWERING] = on_answering,
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
    return slice_of(arrival->head.data + arrival->request->length,
                    arrival->head.length - arrival->request->length);
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

void arrival_answer(struct arrival *arrival, struct buffer *answer)
{
    arrival->arrivals->asking = NULL;
    arrival->state = ARRIVAL_ANSWERING;
    set_deadline(arrival, WRITE_TIMEOUT_MS);
    arrival->answer = *answer;
    *answer = (struct buffer){0};
    on_answering(arrival);
}

/* ---- all of them ---- */

static void overdue(struct arrival *arrival)
{
    if (arrival->state == ARRIVAL_BODY ||
        (arrival->state == ARRIVAL_READING && arrival->head.length > 0))
        fail(arrival, 408);
    else if (arrival->state == ARRIVAL_WAITING)
        fail(arrival, 503);
    else
        end(arrival);
}

static void on_sweep(uv_timer_t *timer)
{
    struct arrivals *arrivals = timer->data;
    struct arrival *arrival = TAILQ_FIRST(&arrivals->all), *next;

    for (; arrival; arrival = next) {
        next = TAILQ_NEXT(arrival, entry);
        if (arrival->deadline_ms <= uv_now(timer->loop))
            overdue(arrival);
    }
    if (TAILQ_EMPTY(&arrivals->all))
        uv_timer_stop(timer);
}

void arrivals_add(struct arrivals *arrivals, int descriptor, const char *address)
{
    struct arrival *arrival = xcalloc(1, sizeof(*arrival));

    arrival->arrivals = arrivals;
    arrival->descriptor = descriptor;
    snprintf(arrival->address, sizeof(arrival->address), "%s", address);
    set_deadline(arrival, arrivals->options.head_timeout_ms);
    TAILQ_INSERT_TAIL(&arrivals->all, arrival, entry);
    if (!uv_is_active((uv_handle_t *)arrivals->sweep))
        uv_timer_start(arrivals->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    /* Mostly the head is here already: no need to ask the loop then. */
    on_reading(arrival);
}

struct arrivals *arrivals_create(const struct arrivals_options *options)
{
    struct arrivals *arrivals = xcalloc(1, sizeof(*arrivals));

    arrivals->options = *options;
    TAILQ_INIT(&arrivals->all);
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
    while (!TAILQ_EMPTY(&(*arrivals)->all))
        end(TAILQ_FIRST(&(*arrivals)->all));
    uv_close((uv_handle_t *)(*arrivals)->sweep, on_sweep_closed);
    free(*arrivals);
    *arrivals = NULL;
}
