/*
 * Rate limits of users: the token buckets that all sessions of one share. No clock: the caller says
 * what time it is.
 */
#ifndef GATEWAY_RATE_H
#define GATEWAY_RATE_H

#include "common/bucket.h"
#include "common/slice.h"

#include <stdint.h>

/* Buckets of each user that has sessions here, or had and whose buckets are not full yet:
 * reconnecting fills none. */
#define RATE_USER_BUCKETS 6
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
