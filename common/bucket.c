#include "common/bucket.h"

/* The bucket as a time (GCRA): each token taken moves the moment at which it is full by what a
 * token takes to come back. */
static uint64_t full_at_after(const struct rate_bucket *bucket, uint64_t token_us, uint64_t tokens,
                              uint64_t now_us)
{
    uint64_t full_at = bucket->full_at_us > now_us ? bucket->full_at_us : now_us;

    return full_at + token_us * tokens;
}

static uint64_t wait_ms(const struct rate_bucket *bucket, uint64_t token_us, uint32_t burst,
                        uint64_t now_us)
{
    uint64_t full_at = full_at_after(bucket, token_us, 1, now_us);
    uint64_t limit = now_us + token_us * burst;

    return full_at > limit ? (full_at - limit + 999) / 1000 : 0;
}

static uint64_t token_us_of(const struct rate *rate)
{
    return 1000000 / rate->per_second;
}

uint64_t rate_wait(const struct rate_bucket *bucket, const struct rate *rate, uint64_t now_us)
{
    return wait_ms(bucket, token_us_of(rate), rate->burst, now_us);
}

void rate_charge(struct rate_bucket *bucket, const struct rate *rate, uint64_t tokens,
                 uint64_t now_us)
{
    bucket->full_at_us = full_at_after(bucket, token_us_of(rate), tokens, now_us);
}

uint64_t rate_take(struct rate_bucket *bucket, const struct rate *rate, uint64_t now_us)
{
    return bucket_take(bucket, token_us_of(rate), rate->burst, now_us);
}

bool rate_is_full(const struct rate_bucket *bucket, uint64_t now_us)
{
    return bucket->full_at_us <= now_us;
}

uint64_t bucket_take(struct rate_bucket *bucket, uint64_t token_us, uint32_t burst, uint64_t now_us)
{
    uint64_t wait = wait_ms(bucket, token_us, burst, now_us);

    if (wait == 0)
        bucket->full_at_us = full_at_after(bucket, token_us, 1, now_us);
    return wait;
}

void bucket_give_back(struct rate_bucket *bucket, uint64_t token_us)
{
    bucket->full_at_us -= bucket->full_at_us >= token_us ? token_us : bucket->full_at_us;
}
