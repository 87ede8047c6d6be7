/*
 * Who a token says it is. Pure: no I/O, no clock; keys are put in, tokens are checked against them.
 * What checks tokens, gateways and auth, sees libjwt only through this.
 */
#ifndef COMMON_IDENTITY_H
#define COMMON_IDENTITY_H

#include "common/slice.h"
#include "common/token_keys.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_MAX 8192   /* bytes of a token */
#define TOKEN_ID_MAX 128 /* bytes of a jti */

struct identity {
    char *user;              /* sub */
    char *token_id;          /* jti; NULL if it has none */
    char **subscribe_topics; /* sub_topics: NULL-terminated; NULL pointer: everything but names that
                                begin with '$' */
    char **publish_topics;   /* pub_topics, likewise */
    int64_t issued_at;       /* Unix seconds; 0 unknown */
    int64_t expires_at;      /* Unix seconds */
    bool admin;
};

enum verifier_result {
    VERIFIER_OK,
    VERIFIER_MISSING, /* no token */
    VERIFIER_MALFORMED,
    VERIFIER_SIGNATURE,
    VERIFIER_EXPIRED,
    VERIFIER_NOT_YET,
    VERIFIER_REVOKED,
    VERIFIER_CLAIMS, /* no exp, no sub, another issuer or audience, a user id that is not allowed */
    VERIFIER_UNAVAILABLE, /* the key is not here (yet) */
};

void identity_finish(struct identity *); /* zeroed is fine; leaves it zeroed */

struct token_rules {
    const char *issuer;   /* "": not checked */
    const char *audience; /* "": not checked */
};

/* Checks all but revocation. On VERIFIER_OK *identity is the caller's, else untouched.
 * VERIFIER_UNAVAILABLE: a kid that is not among keys. */
enum verifier_result identity_from_token(const struct token_keys *, const struct token_rules *,
                                         struct slice token, int64_t now_s,
                                         struct identity *identity)
    __attribute__((warn_unused_result));

#endif
