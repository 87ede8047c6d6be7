/*
 * Token buckets: what every rate limit is made of. No clock: the caller says what time it is.
 */
#ifndef COMMON_BUCKET_H
#define COMMON_BUCKET_H

#include <stdbool.h>
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

/* The same with the time that one token takes to come back. */
uint64_t bucket_take(struct rate_bucket *, uint64_t token_us, uint32_t burst, uint64_t now_us)
    __attribute__((warn_unused_result));
/* Gives one back. */
void bucket_give_back(struct rate_bucket *, uint64_t token_us);

#endif
