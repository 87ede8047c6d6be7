/*
 * A gateway process: what its modules share. One loop, one thread; nothing here is needed after the
 * clients have gone elsewhere.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "common/histogram.h"
#include "common/keys.h"
#include "common/metrics.h"
#include "common/settings.h"

#include <uv.h>

struct gateway {
    uv_loop_t *loop;
    struct settings settings;
    struct deployment deployment;
    char name[64];   /* of the process, "gateway-host-123" */
    char id[96];     /* g on the bus: the name, '-', 16 hex digits of bits; a new one each start */
    uint64_t bits;   /* 64 random bits of this start */
    struct bus *bus; /* commands and scripts; never blocked */
    struct uplink *uplink;
    struct downlink *downlink;
    struct deliveries *deliveries;
    struct topics *topics;
    struct rooms *rooms;
    struct histories *histories;
    struct sessions *sessions;
    struct verifier *verifier;
    struct listener *listener;
    struct rate_users *rate_users; /* admission.h */
    struct claims *claims;
    struct backend *backend;
    struct queries *queries;
    struct password_checks *passwords;
    uint64_t started_ms; /* loop time of the start */
    uint64_t open_ms;    /* loop time when Redis was there first; 0: not yet */
    bool complete;       /* all partitions have answered once, or were waited for long enough */
    bool draining;       /* SIGTERM has come: no new connections */
};

/* The counters of a gateway. */
enum gateway_metric {
#define METRIC(NAME, name, gauge, help) GATEWAY_##NAME,
#include "gateway/metrics.def"
#undef METRIC
    GATEWAY_METRICS
};
extern struct metric gateway_metrics[GATEWAY_METRICS];

enum gateway_histogram {
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_DELIVERY_SECONDS,
    GATEWAY_ENTRY_BYTES,
    GATEWAY_HISTOGRAMS
};
extern struct histogram gateway_histograms[GATEWAY_HISTOGRAMS];

static inline void gateway_count(enum gateway_metric metric, uint64_t more)
{
    gateway_metrics[metric].value += more;
}

/* Clients can say who they are: there is a key to check tokens with, or names are believed. */
bool gateway_can_identify(struct gateway *);
/*
 * Whether clients may be sent here: a partition answers, and they can say who they are. After the
 * start only when all have answered (users of the others would be refused), or have had 10 s for
 * it.
 */
bool gateway_is_ready(struct gateway *);
/*
 * Whether a client's frame that frees memory may be taken although there is no credit: Redis may be
 * at its maxmemory, and stays there unless acknowledgements get in and users who fetch their mail.
 */
bool gateway_can_free(const struct gateway *);
/* Partitions that answer; 0 before there are any. */
uint32_t gateway_partitions_answering(const struct gateway *);
/* Brings the gauges up to date. */
void gateway_refresh_metrics(const struct gateway *);

#endif
