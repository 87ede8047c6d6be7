/*
 * Messages on their way: the phases of a run (warming up, measuring, draining) and what is counted
 * in them. Scenarios say when something is to be published and what a delivery leads to.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include "tests/bench/scenario.h"

enum traffic_phase {
    TRAFFIC_WARMING,
    TRAFFIC_MEASURING,
    TRAFFIC_DRAINING, /* nothing more is published */
};

struct traffic {
    enum traffic_phase phase;
    struct result *result;
    uint64_t expected, arrived; /* deliveries of all phases; arrived: each once */
    uint64_t progress_ns;       /* the last delivery */
};

/* Called each turn until draining: publishes what is due, returns when it wants to be called again
   at the latest. */
typedef uint64_t (*traffic_publish)(void *arg, uint64_t now_ns);

void traffic_init(struct traffic *, struct result *);
/* Runs all phases. */
void traffic_run(struct traffic *, const struct options *, struct clients *, traffic_publish,
                 void *arg);
/* One message was published, for so many receivers. */
void traffic_published(struct traffic *, uint64_t receivers);
/* A message has come; seen is what its receiver has of its sender. False: it is a duplicate. */
bool traffic_delivered(struct traffic *, struct sequence *seen, const struct stamp *);

#endif
