#include "auth/limits.h"

#include "common/table.h"
#include "common/xalloc.h"

#include <stdlib.h>

struct limit {
    UT_hash_handle hh;   /* in the order of last use */
    uint64_t full_at_ms; /* when its bucket is full, if nothing more is taken */
    char name[];
};

struct limits {
    struct limit *all;
    size_t most;
    uint64_t interval_ms;
    uint64_t span_ms; /* an empty bucket is full after it */
};

struct limits *limits_create(size_t most, unsigned burst, uint64_t interval_ms)
{
    struct limits *limits = xcalloc(1, sizeof(*limits));

    limits->most = most;
    limits->interval_ms = interval_ms;
    limits->span_ms = burst * interval_ms;
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

static struct limit *add(struct limits *limits, struct slice name, uint64_t now_ms)
{
    struct limit *limit;

    /* Those in front were used longest ago; a full one says no more than none. */
    while (limits->all != NULL &&
           (limits->all->full_at_ms <= now_ms || HASH_COUNT(limits->all) >= limits->most))
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
    uint64_t full_at_ms;

    if (limit == NULL)
        limit = add(limits, name, now_ms);
    full_at_ms = (limit->full_at_ms > now_ms ? limit->full_at_ms : now_ms) + limits->interval_ms;
    if (full_at_ms > now_ms + limits->span_ms)
        return full_at_ms - limits->span_ms - now_ms;
    limit->full_at_ms = full_at_ms;
    move_to_end(limits, limit, name.length);
    return 0;
}

void limits_give_back(struct limits *limits, struct slice name)
{
    struct limit *limit = find(limits, name);

    if (limit != NULL && limit->full_at_ms >= limits->interval_ms)
        limit->full_at_ms -= limits->interval_ms;
}
