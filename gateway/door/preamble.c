#include "gateway/door/preamble.h"

#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/door/proxy_protocol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWEEP_MS 250

struct preamble {
    struct preambles *preambles;
    TAILQ_ENTRY(preamble) entry;
    int descriptor;
    char peer[CLIENT_ADDRESS_SIZE];
    uint64_t deadline_ms;
    uv_poll_t poll;
    bool has_poll;
    size_t length, wanted;
    preamble_done_fn *done;
    void *arg;
    char bytes[PROXY_HEADER_MAX];
};

TAILQ_HEAD(preamble_list, preamble);

struct preambles {
    uv_loop_t *loop;
    uint64_t timeout_ms;
    struct preamble_list all; /* the oldest first */
    uv_timer_t *sweep;
};

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* The descriptor is the caller's, out of the loop. */
static void release(struct preamble *preamble)
{
    TAILQ_REMOVE(&preamble->preambles->all, preamble, entry);
    if (preamble->has_poll) {
        uv_poll_stop(&preamble->poll);
        uv_close((uv_handle_t *)&preamble->poll, on_poll_closed);
    } else {
        free(preamble);
    }
}

static void refuse(struct preamble *preamble, const char *why)
{
    log_debug("a connection from %s was closed: %s", preamble->peer, why);
    close(preamble->descriptor);
    release(preamble);
}

static void finish(struct preamble *preamble, const struct proxy_header *header)
{
    preamble_done_fn *done = preamble->done;
    void *arg = preamble->arg;
    int descriptor = preamble->descriptor;
    char address[CLIENT_ADDRESS_SIZE];

    snprintf(address, sizeof(address), "%s",
             header->address[0] != '\0' ? header->address : preamble->peer);
    release(preamble);
    done(arg, descriptor, address);
}

static void on_readable(uv_poll_t *, int status, int events);

static void wait_for_more(struct preamble *preamble)
{
    if (!preamble->has_poll) {
        if (uv_poll_init(preamble->preambles->loop, &preamble->poll, preamble->descriptor) < 0) {
            refuse(preamble, "it cannot be watched");
            return;
        }
        preamble->poll.data = preamble;
        preamble->has_poll = true;
    }
    uv_poll_start(&preamble->poll, UV_READABLE | UV_DISCONNECT, on_readable);
}

/* Never more than the header is known to have. */
static void read_some(struct preamble *preamble)
{
    for (;;) {
        struct proxy_header header;
        ssize_t length = recv(preamble->descriptor, preamble->bytes + preamble->length,
                              preamble->wanted - preamble->length, 0);
        int result;

        if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_for_more(preamble);
            return;
        }
        if (length <= 0) {
            refuse(preamble, "it ended before it said whose it is");
            return;
        }
        preamble->length += (size_t)length;
        result = proxy_header_read(slice_of(preamble->bytes, preamble->length), &header);
        if (result == 0) {
            finish(preamble, &header);
            return;
        }
        if (result != -EAGAIN || header.length > sizeof(preamble->bytes)) {
            refuse(preamble, "it does not begin with a header of the PROXY protocol");
            return;
        }
        preamble->wanted = header.length;
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    read_some(poll->data);
}

static void on_sweep(uv_timer_t *timer)
{
    struct preambles *preambles = timer->data;
    struct preamble *preamble;

    while ((preamble = TAILQ_FIRST(&preambles->all)) &&
           preamble->deadline_ms <= uv_now(preambles->loop))
        refuse(preamble, "it did not say in time whose it is");
    if (TAILQ_EMPTY(&preambles->all))
        uv_timer_stop(timer);
}

void preambles_add(struct preambles *preambles, int descriptor, const char *peer,
                   preamble_done_fn *done, void *arg)
{
    struct preamble *preamble = xcalloc(1, sizeof(*preamble));
    struct proxy_header none;

    preamble->preambles = preambles;
    preamble->descriptor = descriptor;
    preamble->done = done;
    preamble->arg = arg;
    preamble->deadline_ms = uv_now(preambles->loop) + preambles->timeout_ms;
    snprintf(preamble->peer, sizeof(preamble->peer), "%s", peer);
    (void)!proxy_header_read(slice_of(NULL, 0), &none);
    preamble->wanted = none.length;
    TAILQ_INSERT_TAIL(&preambles->all, preamble, entry);
    if (!uv_is_active((uv_handle_t *)preambles->sweep))
        uv_timer_start(preambles->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    read_some(preamble);
}

struct preambles *preambles_create(uv_loop_t *loop, uint64_t timeout_ms)
{
    struct preambles *preambles = xcalloc(1, sizeof(*preambles));

    preambles->loop = loop;
    preambles->timeout_ms = timeout_ms;
    TAILQ_INIT(&preambles->all);
    preambles->sweep = xmalloc(sizeof(*preambles->sweep));
    uv_timer_init(loop, preambles->sweep);
    preambles->sweep->data = preambles;
    return preambles;
}

static void on_sweep_closed(uv_handle_t *handle)
{
    free(handle);
}

void preambles_destroy(struct preambles **preambles)
{
    if (*preambles == NULL)
        return;
    while (!TAILQ_EMPTY(&(*preambles)->all))
        refuse(TAILQ_FIRST(&(*preambles)->all), "the gateway ends");
    uv_close((uv_handle_t *)(*preambles)->sweep, on_sweep_closed);
    free(*preambles);
    *preambles = NULL;
}
