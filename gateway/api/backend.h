/*
 * The HTTP API for backends, /api/v1/…: publishing, notifications, presence, disconnecting,
 * revoking (docs/api.md). A request becomes a frame like a client's, from connection 0, and is
 * answered when its partition has answered: what it asked for is committed then.
 */
#ifndef GATEWAY_BACKEND_H
#define GATEWAY_BACKEND_H

#include "common/frame.h"
#include "common/table.h"
#include "gateway/api/backend_message.h"
#include "gateway/door/arrival.h"
#include "gateway/gateway.h"

/* No session has this id. */
#define BACKEND_CONNECTION 0
#define BACKEND_BODY_MAX ((size_t)1 << 20)

struct bus;

/* Before the bus is up for the first time. */
void backend_add_scripts(struct bus *);
/* NULL with the line for the operator in error. */
struct backend *backend_create(struct gateway *, struct buffer *error);
/* Calls done when all that wait are answered: now, or within 5 seconds. New ones are refused
 * (gateway->draining). */
void backend_drain(struct backend *, void (*done)(void *arg), void *arg);
void backend_destroy(struct backend **); /* after the arrivals; NULL-safe; clears the pointer */

/* For the listener: whether the path is one of the API; how much of a request's body is worth
 * reading; a request for it, which is answered now or later. */
bool backend_has(struct slice path);
size_t backend_body_max(struct backend *, const struct request *);
void backend_begin(struct backend *, struct arrival *);

/* Handlers of the downlink: replies to connection 0. */
void backend_on_direct_reply(struct backend *, const struct frame_direct_reply *);
void backend_on_publish_reply(struct backend *, const struct frame_publish_reply *);
void backend_on_conversation_reply(struct backend *, const struct frame_conversation_reply *);
/* One of these was lost. */
void backend_on_unanswered(struct backend *, uint64_t number);

/* ---- for its own files ---- */

/* A request that waits for its answer. */
struct backend_call {
    uint64_t number; /* of the request on the bus */
    struct backend *backend;
    struct arrival *arrival;
    uint64_t deadline_ms;
    uint64_t awaited;        /* replies that have not come */
    bool everybody;          /* its recipients are not counted */
    bool disconnecting;      /* the replies say who was told to end */
    char id[132];            /* of its message */
    struct buffer delivered; /* pairs of the replies that have come */
    struct buffer topic;     /* whose history is asked for: so many messages after that offset */
    uint64_t limit, after;
    UT_hash_handle hh;
};

struct gateway *backend_gateway(struct backend *);
/* NULL when too many are open: answered 503. */
struct backend_call *backend_open(struct backend *, struct arrival *);
/* Open still? NULL when it was answered, or its client has gone. */
struct backend_call *backend_find(struct backend *, uint64_t number);
/* Answers with a body, which is emptied, and ends the call. */
void backend_answer(struct backend_call *, int status, struct buffer *body);
void backend_fail(struct backend_call *, int status, const char *message);
/* Answers a request of which no call was made. field may be NULL. */
void backend_refuse(struct arrival *, int status, const char *field, const char *message);

/* backend_reads.c, backend_history.c, backend_control.c: handlers of routes. argument: the rest of
 * the path, decoded.
 */
void backend_do_presence(struct backend *, struct arrival *, struct slice argument,
                         uint64_t scopes);
void backend_do_history(struct backend *, struct arrival *, struct slice argument, uint64_t scopes);
void backend_do_info(struct backend *, struct arrival *, struct slice argument, uint64_t scopes);
void backend_do_disconnect(struct backend *, struct arrival *, struct slice argument,
                           uint64_t scopes);
void backend_do_revoke(struct backend *, struct arrival *, struct slice argument, uint64_t scopes);
/* Reads the body; answers and returns NULL when it is no JSON object. */
const struct json *backend_read_object(struct arrival *);
/* The scripts of its files. */
void backend_reads_add_scripts(struct bus *);
void backend_control_add_scripts(struct bus *);
void backend_history_add_script(struct bus *);

#endif
