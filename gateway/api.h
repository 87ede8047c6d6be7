/*
 * The HTTP API for backends, /api/v1/…: publishing, notifications, presence, disconnecting,
 * revoking (docs/api.md). A request becomes a frame like a client's, from connection 0, and is
 * answered when its partition has answered: what it asked for is committed then.
 */
#ifndef GATEWAY_API_H
#define GATEWAY_API_H

#include "common/frame.h"
#include "common/table.h"
#include "gateway/api_message.h"
#include "gateway/arrival.h"
#include "gateway/gateway.h"

/* No session has this id. */
#define API_CONNECTION 0
#define API_BODY_MAX ((size_t)1 << 20)

struct bus;

/* Before the bus is up for the first time. */
void api_add_scripts(struct bus *);
/* NULL with the line for the operator in error. */
struct api *api_create(struct gateway *, struct buffer *error);
void api_destroy(struct api **); /* after the arrivals; NULL-safe; clears the pointer */

/* For the listener: whether the path is one of the API; how much of a request's body is worth
 * reading; a request for it, which is answered now or later. */
bool api_has(struct slice path);
size_t api_body_max(struct api *, const struct request *);
void api_begin(struct api *, struct arrival *);

/* Handlers of the downlink: replies to connection 0. */
void api_on_direct_reply(struct api *, const struct frame_direct_reply *);
void api_on_publish_reply(struct api *, const struct frame_publish_reply *);
void api_on_conversation_reply(struct api *, const struct frame_conversation_reply *);
void api_on_refused(struct api *, const struct frame_request_refused *);

/* ---- for its own files ---- */

/* A request that waits for its answer. */
struct api_call {
    uint64_t number; /* of the request on the bus */
    struct api *api;
    struct arrival *arrival;
    uint64_t deadline_ms;
    uint64_t awaited;        /* replies that have not come */
    bool everybody;          /* its recipients are not counted */
    bool disconnecting;      /* the replies say who was told to end */
    char id[132];            /* of its message */
    struct buffer delivered; /* pairs of the replies that have come */
    UT_hash_handle hh;
};

struct gateway *api_gateway(struct api *);
/* NULL when too many are open: answered 503. */
struct api_call *api_open(struct api *, struct arrival *);
/* Open still? NULL when it was answered, or its client has gone. */
struct api_call *api_find(struct api *, uint64_t number);
/* Answers with a body, which is emptied, and ends the call. */
void api_answer(struct api_call *, int status, struct buffer *body);
void api_fail(struct api_call *, int status, const char *message);
/* Answers a request of which no call was made. field may be NULL. */
void api_refuse(struct arrival *, int status, const char *field, const char *message);

/* api_reads.c, api_control.c: handlers of routes. argument: the rest of the path, decoded. */
void api_do_presence(struct api *, struct arrival *, struct slice argument, uint64_t scopes);
void api_do_history(struct api *, struct arrival *, struct slice argument, uint64_t scopes);
void api_do_info(struct api *, struct arrival *, struct slice argument, uint64_t scopes);
void api_do_disconnect(struct api *, struct arrival *, struct slice argument, uint64_t scopes);
void api_do_revoke(struct api *, struct arrival *, struct slice argument, uint64_t scopes);
/* Reads the body; answers and returns NULL when it is no JSON object. */
const struct json *api_read_object(struct arrival *);
/* The scripts of api_reads.c and api_control.c. */
void api_reads_add_scripts(struct bus *);
void api_control_add_scripts(struct bus *);

#endif
