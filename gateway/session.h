/*
 * Sessions: one established WebSocket connection each. The only file besides listener.c that sees libwebsockets. A session collects a client's
 * fragments into messages for its protocol, and its queue of frames into one write for each loop turn.
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "common/number.h"
#include "gateway/gateway.h"
#include "gateway/protocol.h"
#include "gateway/verifier.h"
#include "gateway/wire.h"

enum session_state { SESSION_OPENING, SESSION_OPEN, SESSION_CLOSING, SESSION_CLOSED };

enum session_close_reason {
    SESSION_CLOSE_NORMAL,     /* 1000 */
    SESSION_CLOSE_SHUTDOWN,   /* 1001 */
    SESSION_CLOSE_POLICY,     /* 1008 */
    SESSION_CLOSE_INVALID_TEXT, /* 1007 */
    SESSION_CLOSE_TOO_BIG,    /* 1009 */
    SESSION_CLOSE_RESTART,    /* 1012: reconnect with jitter */
    SESSION_CLOSE_REPLACED,   /* 4001 */
    SESSION_CLOSE_SLOW,       /* 4008 */
    SESSION_CLOSE_SILENT,     /* 1001, no sign of life */
    SESSION_CLOSE_TOKEN,      /* 4401 */
};

/* What may be dropped first when a connection does not keep up. */
enum send_class { SEND_NORMAL, SEND_DROPPABLE };

struct delivery_item;

struct session {
    uint64_t id;               /* connection on the bus: counts from 1 in this process, never used again */
    struct gateway *gateway;
    const struct protocol *protocol;
    struct slice user;         /* of identity.user */
    uint32_t partition;        /* of the user */
    enum session_state state;
    uint64_t flags;            /* enum connection_flag */
    struct identity identity;
    void *protocol_state;
    uint64_t heard_ms;         /* loop time (uv_now) of the last byte from the client */
    uint64_t pinged_ms;        /* loop time of our last ping; 0: none since heard_ms */

    /* delivery.c: durable messages handed over and not confirmed, in order of their bytes. */
    struct number seen;        /* Y: the highest number with nothing unwritten below it */
    struct number handed;      /* the highest number handed to the queue */
    struct delivery_item *unconfirmed_first, *unconfirmed_last;
    struct session *confirm_next, *confirm_previous; /* list of sessions with unconfirmed messages */
    bool confirm_listed;
    bool closed_reported;      /* CONNECTION_CLOSED is sent */

    /* topics.c */
    struct session_topics *topics;

    /* session.c */
    struct connection *connection; /* socket, queue, counters */
    struct session *next, *previous; /* all sessions */
};

struct sessions *sessions_create(struct gateway *);
void sessions_destroy(struct sessions **);
/* NULL when it is gone (or closing). */
struct session *session_find(struct sessions *, uint64_t id);
/*
 * The same, and also a closing one, from its opening until deliveries_session_closed has been called for it: the router may still
 * have it in its list, and what it sends to it must not count as written before CONNECTION_CLOSED says what was (delivery.c).
 */
struct session *session_find_any(struct sessions *, uint64_t id);
/* Calls visit for each open session; visit may close sessions. */
void sessions_each(struct sessions *, void (*visit)(struct session *, void *arg), void *arg);
size_t sessions_count(const struct sessions *);
/* Closes those whose token was revoked: by its jti, or all of a user's when token_id is NULL. */
void sessions_close_token(struct sessions *, const char *token_id, struct slice user);

/*
 * Queues a frame (takes its own reference). Over the send budget droppable frames are dropped (false) and others close the session
 * with SESSION_CLOSE_SLOW; one frame is always admitted to an empty queue. Returns whether it was queued.
 */
bool session_send(struct session *, struct wire *, enum send_class);
/* A text frame of this payload, for one receiver. */
bool session_send_text(struct session *, struct slice payload);
/* Bytes handed to the queue since the connection was established: where a frame just queued ends in the connection's byte stream. */
uint64_t session_bytes_queued(const struct session *);
/* Bytes that the peer's TCP has taken: written minus SIOCOUTQ (one system call). */
uint64_t session_bytes_taken(const struct session *);
/*
 * The one way to close. Sends the close frame behind what is queued (at once for SLOW: compute what was taken, then abort), and ends in: deliveries_session_closed,
 * topics_session_closed, protocol->close, then the session is freed (later, from the loop: the pointer stays valid during the caller).
 */
void session_close(struct session *, enum session_close_reason, const char *text);
/* End of the loop turn: one write for each session that has something queued. Called from the gateway's prepare handle. */
void sessions_flush(struct sessions *);

#endif
