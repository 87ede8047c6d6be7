/*
 * Who a token says it is: signature, times, issuer, audience and revocation, checked here without asking anybody. Public keys and revocations
 * come over the bus from auth. The only file of the gateway that sees libjwt.
 */
#ifndef GATEWAY_VERIFIER_H
#define GATEWAY_VERIFIER_H

#include "common/bus.h"
#include "common/slice.h"
#include "gateway/gateway.h"

#include <stdint.h>

struct patterns; /* topic patterns of a claim; NULL: all but names that begin with '$' */

struct identity {
    char *user;           /* sub */
    char *token_id;       /* jti; NULL if it has none */
    char **subscribe_topics; /* sub_topics: NULL-terminated; NULL pointer: everything but names that begin with '$' */
    char **publish_topics;   /* pub_topics, likewise */
    int64_t issued_at;    /* Unix seconds; 0 unknown */
    int64_t expires_at;   /* Unix seconds */
    bool admin;
};

enum verifier_result {
    VERIFIER_OK,
    VERIFIER_MISSING,   /* no token */
    VERIFIER_MALFORMED,
    VERIFIER_SIGNATURE,
    VERIFIER_EXPIRED,
    VERIFIER_NOT_YET,
    VERIFIER_REVOKED,
    VERIFIER_CLAIMS,    /* no exp, no sub, another issuer or audience, a user id that is not allowed */
    VERIFIER_UNAVAILABLE, /* no keys have come yet */
};

struct verifier *verifier_create(struct gateway *);
void verifier_destroy(struct verifier **);
/* Loads keys and revocations afresh: call at each on_up of the gateway's bus. */
void verifier_refresh(struct verifier *);
bool verifier_ready(const struct verifier *);
/* Checks; on VERIFIER_OK *identity is the caller's (identity_finish). now_s: Unix seconds. */
enum verifier_result verifier_check(struct verifier *, struct slice token, int64_t now_s, struct identity *identity);
/* A sentence for the client. */
const char *verifier_reason(enum verifier_result);
void identity_finish(struct identity *); /* zeroed is fine; leaves it zeroed */
/* A user id that may be used: 1 to 128 bytes of UTF-8, no control characters, no reserved name (decisions.md, common rules). */
bool identity_user_allowed(struct slice user, bool from_auth);

/*
 * Auth's events on the bus: the stream `<prefix>auth:events` with fields kind=revoked token_id= user= expires_at=, or kind=keys. The downlink reads it with its other streams and hands each entry over;
 * on a revocation the verifier remembers it until it expires and closes that token's sessions with 4401 (sessions_close_token).
 */
void verifier_on_event(struct verifier *, const struct bus_reply *fields);

#endif
