/*
 * A router process: what its modules share. One loop, one thread; it serves the partitions whose
 * leases it holds.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "common/bus.h"
#include "common/histogram.h"
#include "common/keys.h"
#include "common/metrics.h"
#include "common/settings.h"

#include <uv.h>

struct router {
    uv_loop_t *loop;
    struct settings settings;
    struct deployment deployment;
    char name[64];   /* of the process */
    char id[96];     /* holder of leases: the name, '-', 16 hex digits; a new one each start */
    char run_id[64]; /* of the Redis that is connected */
    struct history_rules *history;
    const struct bus_address *address;
    struct bus *bus; /* leases, ticks, other routers; never blocked */
    struct reader *reader;
    struct ownership *ownership;
    struct partition **partitions; /* deployment.partitions of them */
    int64_t clock_ahead_ms;        /* Redis time minus loop time, the largest seen */
};

/* The counters of a router. */
enum router_metric {
#define METRIC(NAME, name, gauge, help) ROUTER_##NAME,
#include "router/metrics.def"
#undef METRIC
    ROUTER_METRICS
};
extern struct metric router_metrics[ROUTER_METRICS];

enum router_histogram {
    ROUTER_COMMIT_SECONDS,
    ROUTER_COMMIT_ENTRIES,
    ROUTER_LAG_SECONDS,
    ROUTER_HISTOGRAMS
};
extern struct histogram router_histograms[ROUTER_HISTOGRAMS];

static inline void router_count(enum router_metric metric, uint64_t more)
{
    router_metrics[metric].value += more;
}

/* Redis time as far as it is known, in milliseconds. */
static inline uint64_t router_redis_ms(const struct router *router)
{
    return (uint64_t)((int64_t)uv_now(router->loop) + router->clock_ahead_ms);
}

/* A moment of Redis time was seen. */
static inline void router_saw_time(struct router *router, uint64_t redis_ms)
{
    int64_t ahead = (int64_t)redis_ms - (int64_t)uv_now(router->loop);

    if (ahead > router->clock_ahead_ms)
        router->clock_ahead_ms = ahead;
}

#endif
