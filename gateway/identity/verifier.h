/*
 * Keeps what is needed to check tokens without asking anybody: auth's public keys (hash
 * `<prefix>auth:keys`, kid -> PEM) and its revocations (zset `<prefix>auth:revoked`, "jti user" by
 * expiry; the jti "*<second>" stands for all of the user's tokens that were issued until then),
 * loaded from Redis and kept up to date by auth's events. With TRUNKLINE_TOKEN_SECRET_FILE the key
 * is that secret. TRUNKLINE_TOKEN_KEYS_FILE has more, of another issuer.
 */
#ifndef GATEWAY_VERIFIER_H
#define GATEWAY_VERIFIER_H

#include "common/bus.h"
#include "common/slice.h"
#include "gateway/gateway.h"
#include "common/identity.h"

#include <stdint.h>

/* NULL when a file of keys cannot be used: *error is the line for the operator then. */
struct verifier *verifier_create(struct gateway *, struct buffer *error);
/* Reads the file of another issuer's keys again (SIGHUP). */
void verifier_reload(struct verifier *);
/* Before or after the bus is destroyed. */
void verifier_destroy(struct verifier **);
/* Loads keys and revocations afresh, and closes sessions of tokens that were revoked meanwhile:
 * call at each on_up of the gateway's bus. */
void verifier_refresh(struct verifier *);
/* Keys and revocations have come at least once. */
bool verifier_ready(const struct verifier *);
/* The same; if not, they are asked for again: nobody else may ask while no client is sent here. */
bool verifier_becomes_ready(struct verifier *);
/* Checks; on VERIFIER_OK *identity is the caller's (identity_finish). now_s: Unix seconds. */
enum verifier_result verifier_check(struct verifier *, struct slice token, int64_t now_s,
                                    struct identity *identity);
/* A sentence for the client. */
const char *verifier_reason(enum verifier_result);
/*
 * Auth's events on the bus: the stream `<prefix>auth:events` with fields kind=revoked token_id=
 * user= expires_at=, or kind=keys. The downlink reads it with its other streams, from the end it
 * has at its start on, and hands each entry over; on a revocation the verifier remembers it until
 * it expires and closes that token's sessions with 4401 (sessions_close_token).
 */
void verifier_on_event(struct verifier *, const struct bus_reply *fields);

#endif
