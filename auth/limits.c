#include "auth/limits.h"

#include "common/bucket.h"
#include "common/table.h"
#include "common/xalloc.h"

#include <stdlib.h>

struct limit {
    UT_hash_handle hh; /* in the order of last use */
    struct rate_bucket bucket;
    char name[];
};

struct limits {
    struct limit *all;
    size_t most;
    uint32_t burst;
    uint64_t token_us; /* that one takes to come back */
};

struct limits *limits_create(size_t most, unsigned burst, uint64_t interval_ms)
{
    struct limits *limits = xcalloc(1, sizeof(*limits));

    limits->most = most;
    limits->burst = burst;
    limits->token_us = interval_ms * 1000;
    return limits;
}

static void forget(struct limits *limits, struct limit *limit)
{
    HASH_DEL(limits->all, limit);
    free(limit);
}

void limits_destroy(struct limits **limits)
{
    struct limit *limit, *next;

    if (*limits == NULL)
        return;
    HASH_ITER(hh, (*limits)->all, limit, next)
    forget(*limits, limit);
    free(*limits);
    *limits = NULL;
}

static struct limit *find(struct limits *limits, struct slice name)
{
    struct limit *limit;

    HASH_FIND(hh, limits->all, name.data, name.length, limit);
    return limit;
}

static struct limit *add(struct limits *limits, struct slice name, uint64_t now_us)
{
    struct limit *limit;

    /* Those in front were used longest ago; a full one says no more than none. */
    while (limits->all != NULL &&
           (rate_is_full(&limits->all->bucket, now_us) || HASH_COUNT(limits->all) >= limits->most))
        forget(limits, limits->all);
    limit = xcalloc(1, sizeof(*limit) + name.length + 1);
    memcpy(limit->name, name.data, name.length);
    HASH_ADD(hh, limits->all, name[0], name.length, limit);
    return limit;
}

static void move_to_end(struct limits *limits, struct limit *limit, size_t length)
{
    HASH_DEL(limits->all, limit);
    HASH_ADD(hh, limits->all, name[0], length, limit);
}

uint64_t limits_take(struct limits *limits, struct slice name, uint64_t now_ms)
{
    struct limit *limit = find(limits, name);
    uint64_t wait_ms, now_us = now_ms * 1000;

    if (limit == NULL)
        limit = add(limits, name, now_us);
    wait_ms = bucket_take(&limit->bucket, limits->token_us, limits->burst, now_us);
    if (wait_ms == 0)
        move_to_end(limits, limit, name.length);
    return wait_ms;
}

void limits_give_back(struct limits *limits, struct slice name)
{
    struct limit *limit = find(limits, name);

    if (limit != NULL)
        bucket_give_back(&limit->bucket, limits->token_us);
}
