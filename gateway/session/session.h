/*
 * Sessions: one established WebSocket connection each. A session collects a client's fragments into
 * messages for its protocol, and its queue of frames into one write for each loop turn
 * (connection.h).
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "gateway/gateway.h"
#include "gateway/session/admission.h"
#include "gateway/protocol.h"
#include "gateway/identity/verifier.h"
#include "gateway/door/wire.h"
#include "gateway/bus/written.h"

enum session_state { SESSION_OPENING, SESSION_OPEN, SESSION_CLOSING, SESSION_CLOSED };

enum session_close_reason {
    SESSION_CLOSE_NORMAL,       /* 1000 */
    SESSION_CLOSE_SHUTDOWN,     /* 1001 */
    SESSION_CLOSE_POLICY,       /* 1008 */
    SESSION_CLOSE_INVALID_TEXT, /* 1007 */
    SESSION_CLOSE_TOO_BIG,      /* 1009 */
    SESSION_CLOSE_RESTART,      /* 1012: reconnect with jitter */
    SESSION_CLOSE_REPLACED,     /* 4001 */
    SESSION_CLOSE_SLOW,         /* 4008 */
    SESSION_CLOSE_SILENT,       /* 1001, no sign of life */
    SESSION_CLOSE_TOKEN,        /* 4401 */
};

/* The partition of a session whose user is not known yet: none. */
#define SESSION_NOWHERE UINT32_MAX

/* What may be dropped first when a connection does not keep up. */
enum send_class { SEND_NORMAL, SEND_DROPPABLE };

/* Flags from here on are a protocol's own notes of the upgrade: routers do not hear of them. */
#define SESSION_FLAG_OWN (1ull << 32)

struct session {
    /* First what the walk over all sessions looks at, each second. */
    struct session *next, *previous;
    enum session_state state;
    uint32_t partition;   /* of the user; SESSION_NOWHERE while it has none */
    uint64_t heard_ms;    /* loop time (uv_now) of the last byte from the client */
    uint64_t pinged_ms;   /* loop time of our last ping; 0: none since heard_ms */
    uint64_t tick_due_ms; /* loop time when protocol->on_tick wants to be called; set there */
    struct gateway *gateway;
    const struct protocol *protocol;

    void *protocol_state;
    uint64_t id;       /* connection on the bus: counts from 1 in this process, never used again */
    struct slice user; /* of identity.user; empty while it is not known */
    uint64_t flags;    /* enum connection_flag, and SESSION_FLAG_OWN and above */
    bool deflate;      /* takes permessage-deflate */
    struct slice slot; /* owned: which of its user's connections by this protocol */
    struct identity identity;
    struct session_limits limits;

    /* delivery.c: durable messages handed over and not confirmed, in order of their bytes. */
    struct unconfirmed unconfirmed;
    struct session *confirm_next,
        *confirm_previous; /* list of sessions with unconfirmed messages */
    bool confirm_listed;
    uint64_t event;               /* the last one handed over */
    struct delivery_batch *batch; /* messages gathered for its next frame; or NULL */

    /* topics.c */
    struct session_topics *topics;

    /* room.c */
    struct room_guest *room;
    unsigned queries; /* query.c: open ones */
};

/* Those that routers know: enum connection_flag. */
static inline uint64_t session_connection_flags(const struct session *session)
{
    return session->flags & (SESSION_FLAG_OWN - 1);
}

struct websocket_upgrade;

struct sessions *sessions_create(struct gateway *);
void sessions_destroy(struct sessions **);
/* Before destroying it: the library's handles close in the loop's next turns. Sessions that are
 * left end without a word. */
void sessions_stop(struct sessions *);
/*
 * Makes a session of an upgrade that was accepted. descriptor and identity are taken over; slot is
 * copied. An identity without a user is one who has not said yet who he is: no router hears of the
 * session before session_identify.
 */
void sessions_adopt(struct sessions *, int descriptor, const struct websocket_upgrade *,
                    const struct protocol *, struct identity *, uint64_t flags, struct slice slot);
/*
 * Now it is known whose session it is: moves identity into it and tells the user's partition. Once,
 * and only of a session without a user that is open. Its protocol closes a session that takes too
 * long (settings.unidentified_ms); until then it gets no messages and has the limits of a
 * connection only.
 */
void session_identify(struct session *, struct identity *);
static inline bool session_is_identified(const struct session *session)
{
    return session->user.length > 0;
}
/* Sessions whose user is not known, from the upgrade on; at most settings.unidentified. */
size_t sessions_unidentified(const struct sessions *);
/* Closes all with SESSION_CLOSE_RESTART, in batches over one to two seconds so that they do not all
 * come back at once. done is called when none is left. */
void sessions_drain(struct sessions *, void (*done)(void *arg), void *arg);
/* NULL when it is gone (or closing). */
struct session *session_find(struct sessions *, uint64_t id);
/*
 * The same, and also a closing one, from its opening until deliveries_session_closed has been
 * called for it: the router may still have it in its list, and what it sends to it must not count
 * as written before CONNECTION_CLOSED says what was (delivery.c).
 */
struct session *session_find_any(struct sessions *, uint64_t id);
/* Calls visit for each open session; visit may close sessions. */
void sessions_each(struct sessions *, void (*visit)(struct session *, void *arg), void *arg);
size_t sessions_count(const struct sessions *);
/* Closes those whose token was revoked: by its jti, or all of a user's when token_id is NULL. */
void sessions_close_token(struct sessions *, const char *token_id, struct slice user);

/*
 * Queues a frame (takes its own reference). Over the send budget others than droppable frames close
 * the session with SESSION_CLOSE_SLOW; droppable ones have half of it, so that they are dropped
 * first (false). One frame is always admitted to an empty queue. Returns whether it was queued.
 */
bool session_send(struct session *, struct wire *, enum send_class);
/* The same, before others that wait: it stands from *begin to *end in the connection's byte stream,
 * and what was queued from there on is further back now. */
bool session_send_urgent(struct session *, struct wire *, uint64_t *begin, uint64_t *end);
/* A text frame of this payload, for one receiver. */
bool session_send_text(struct session *, struct slice payload);
/* Bytes handed to the queue since the connection was established: where a frame just queued ends in
 * the connection's byte stream. */
uint64_t session_bytes_queued(const struct session *);
/* Bytes that the peer's TCP has taken: written minus SIOCOUTQ (one system call). Never falls; holds
 * in deliveries_session_closed too. */
uint64_t session_bytes_taken(struct session *);
/*
 * The one way to close. Sends the close frame behind what is queued (SLOW forgets the queue), and
 * ends in: deliveries_session_closed, topics_session_closed, protocol->close, then the session is
 * freed: all of it later, from the loop, never inside this call.
 */
void session_close(struct session *, enum session_close_reason, const char *text);
/* protocol->on_tick is called within a second, whenever it was due. */
void session_tick_soon(struct session *);
/*
 * A partition has accepted this gateway's entries up to number. What is written to a session waits,
 * from when it became its user's, until his partition knows it, or for a second: who has been
 * welcomed is reached by what anybody says then.
 */
void sessions_on_accepted(struct sessions *, uint32_t partition, uint64_t number);
/* End of the loop turn: one write for each session that has something queued. Called from the
 * gateway's prepare handle. */
void sessions_flush(struct sessions *);

#endif
