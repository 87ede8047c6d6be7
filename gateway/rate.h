/*
 * Rate limits: token buckets, and those that all sessions of one user share. No clock: the caller
 * says what time it is.
 */
#ifndef GATEWAY_RATE_H
#define GATEWAY_RATE_H

#include "common/slice.h"

#include <stdint.h>

struct rate {
    uint32_t per_second; /* tokens that come back in a second, at most 1,000,000 */
    uint32_t burst;      /* tokens of a full bucket */
};

/* Zeroed, it is full. */
struct rate_bucket {
    uint64_t full_at_us; /* when it is full again, if nothing more is taken */
};

/* Takes one token. Returns 0, or the milliseconds until there is one (nothing is taken then). */
uint64_t rate_take(struct rate_bucket *, const struct rate *, uint64_t now_us)
    __attribute__((warn_unused_result));
/* Milliseconds until there is a token, 0 when there is one. Takes nothing. */
uint64_t rate_wait(const struct rate_bucket *, const struct rate *, uint64_t now_us);
/* Takes so many tokens, more than there are too: the next one comes when all are paid back. */
void rate_charge(struct rate_bucket *, const struct rate *, uint64_t tokens, uint64_t now_us);
bool rate_is_full(const struct rate_bucket *, uint64_t now_us);

/* Buckets of each user that has sessions here, or had and whose buckets are not full yet:
 * reconnecting fills none. */
#define RATE_USER_BUCKETS 5
struct rate_users;
struct rate_user;
struct rate_users *rate_users_create(void);
void rate_users_destroy(struct rate_users **); /* NULL-safe; clears the pointer */
/* The user's, made if there is none; give it back with rate_user_put. */
struct rate_user *rate_user_get(struct rate_users *, struct slice user, uint64_t now_us);
/* RATE_USER_BUCKETS of them; what each is for is the callers' agreement. */
struct rate_bucket *rate_user_buckets(struct rate_user *);
void rate_user_put(struct rate_users *, struct rate_user **,
                   uint64_t now_us); /* NULL-safe; clears the pointer */
size_t rate_users_count(const struct rate_users *);

#endif
