/*
 * Rate limits of clients, the same for every protocol: buckets of each connection, and those that
 * all of a user's connections at this gateway share.
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "gateway/gateway.h"
#include "gateway/session/rate.h"

struct session;

enum limit {
    LIMIT_MESSAGE,   /* a message of no other kind: the connection's 100/s and the user's 500/s */
    LIMIT_ACK,       /* answers to what the server sends: 1,000/s of their own, nothing else */
    LIMIT_SUBSCRIBE, /* LIMIT_MESSAGE and 10/s; the others likewise, 50/s and 200/s */
    LIMIT_BROADCAST,
    LIMIT_DIRECT,
    LIMIT_READ, /* and 50/s: questions to Redis (query.h), each up to 2 ms of its time */
    LIMITS
};

struct session_limits {
    struct rate_bucket connection, acks;
    struct rate_user *user; /* NULL while the session's user is not known */
};

/* Takes one of the limit's tokens. Returns 0, or the milliseconds after which to try again: the
 * message has no effect then (and is counted as rate_limited). Always 0 when rate limits are off.
 */
uint64_t admission_take(struct session *, enum limit) __attribute__((warn_unused_result));
/*
 * For a message that asks for several things at once: it has one of LIMIT_MESSAGE's tokens to take,
 * and so many of the own ones of each limit as counts says. All or nothing. Where there is one
 * token a bucket gives any number: what it has not got yet is waited for by the messages that
 * follow.
 */
uint64_t admission_take_all(struct session *, const size_t counts[LIMITS])
    __attribute__((warn_unused_result));
/*
 * Of a limit's own tokens alone, for what a message that was admitted costs beyond it: any number
 * where there is one. Returns as above.
 */
uint64_t admission_take_own(struct session *, enum limit, size_t count)
    __attribute__((warn_unused_result));
/* The same, whether there is one or not: what follows waits for them. */
void admission_charge(struct session *, enum limit, size_t count);
/* Whether the user may connect once more now: 10/s, burst 100. False is counted. */
bool admission_connect(struct gateway *, struct slice user);
/* Of a session's life: called by session.c, when its user is known and when it ends. */
void admission_join(struct session *);
void admission_leave(struct session *);

#endif
