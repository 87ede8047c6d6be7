/*
 * A connection that speaks HTTP: a request is read, its answer written, then the next one is read,
 * until a request is taken over (an upgrade) or the connection ends. Requests that came at once are
 * answered one by one. Each step has a deadline: a client that dawdles costs a descriptor for some
 * seconds and nothing else.
 *
 * A connection stays after an answer when it is certain where the next request begins, and nothing
 * speaks against it: HTTP/1.1, no "Connection: close", no attempt to upgrade, the body was read to
 * its end (or the head says that there is none), the bounds below.
 */
#ifndef GATEWAY_ARRIVAL_H
#define GATEWAY_ARRIVAL_H

#include "common/buffer.h"
#include "common/client_address.h"
#include "gateway/door/request.h"

#include <uv.h>

struct arrival;
struct arrivals;

struct arrivals_options {
    uv_loop_t *loop;
    uint64_t head_timeout_ms;
    /* How long a connection is kept between two requests, how many are kept so at a time (one more,
     * and who has been idle for longest goes), and how many requests one has at most. */
    uint64_t idle_timeout_ms;
    size_t idle_max;
    uint64_t requests_max;
    /* Whether X-Forwarded-For counts, from a proxy on a private network (client_address.h). */
    bool believe_forwarded;
    /* The bytes of a body that are worth reading for this request, by its head: 0 for none (it is
     * answered by its head then). May be NULL. */
    size_t (*body_max)(void *arg, const struct request *);
    /* A request has come, with its body if that is worth reading: must be answered, now or later,
     * with arrival_answer or arrival_detach. */
    void (*on_request)(void *arg, struct arrival *);
    /* The request was no HTTP (status 400, or 501 when its body is coded in a way unknown here),
     * too long (431, or 413 when its body is) or too slow (408, or 503 when the answer was not
     * found in time). Appends the answer; the connection ends. */
    void (*on_failure)(void *arg, int status, struct buffer *answer);
    void *arg;
};

struct arrivals *arrivals_create(const struct arrivals_options *);
/* Ends all that are left. NULL-safe; clears the pointer. */
void arrivals_destroy(struct arrivals **);
/* Takes descriptor (non-blocking) over; address: of the peer (client_address.h), copied. */
void arrivals_add(struct arrivals *, int descriptor, const char *address);
/* From now on no connection is kept; those between two requests end at once. */
void arrivals_drain(struct arrivals *);
/* Connections that are here, idle ones among them. */
size_t arrivals_count(const struct arrivals *);

/* Valid until it is answered. */
const struct request *arrival_request(const struct arrival *);
/* Who asks (client_address_choose). */
void arrival_address(const struct arrival *, char text[CLIENT_ADDRESS_SIZE]);
/* What came behind the head; the request says that it has no body. */
struct slice arrival_rest(const struct arrival *);
/* The whole body, if it was worth reading; else empty. */
struct slice arrival_body(const struct arrival *);
/* It is read and not needed any more, though the answer takes its time. */
void arrival_forget_body(struct arrival *);
/* Called instead of an answer when the client is gone, or was answered because its time was up: arg
 * is to be forgotten. */
void arrival_on_gone(struct arrival *, void (*on_gone)(void *arg), void *arg);
/*
 * Writes the answer, whose memory it takes: a status line, headers but Connection (which is added
 * here), the body (which is left out when the request is HEAD).
 */
void arrival_answer(struct arrival *, struct buffer *answer);
/* The descriptor, out of the loop: the caller's from now on. The request stays valid until
 * arrival_release. */
int arrival_detach(struct arrival *);
void arrival_release(struct arrival *);

#endif
