/*
 * One partition as a router serves it: takes the lease, loads the state, feeds the engine in
 * batches and commits them, one at a time (delivery.md, S1 and S3). What arrives while a commit is
 * in flight is the next batch.
 */
#ifndef ROUTER_PARTITION_H
#define ROUTER_PARTITION_H

#include "router/engine.h"
#include "router/router.h"

enum partition_state { PARTITION_FREE, PARTITION_TAKING, PARTITION_LOADING, PARTITION_SERVING };

struct partition;

/* Registers the scripts of partitions with the router's bus: call before it is up for the first
 * time. */
void partitions_add_scripts(struct bus *);

struct partition *partition_create(struct router *, uint32_t number);
void partition_destroy(struct partition **);
enum partition_state partition_state(const struct partition *);
/* Tries to take it, unless another's lease lives. Only when it is free. */
void partition_take(struct partition *);
/* Hands over between two commits: the lease goes, the state in memory too. */
void partition_release(struct partition *);
/* Forgets it at once, without a word to Redis: the bus is down, and what had no answer may have run
   or not. Taken anew, under a new epoch, the state in Redis tells. */
void partition_drop(struct partition *, const char *why);

/* ---- for the reader ---- */
/* Whether its input is to be read now: it serves, and has not more than enough waiting. */
bool partition_wants_input(const struct partition *);
struct slice partition_input_key(const struct partition *);
/* Another one after it was given up: what was asked of Redis before does not count any more. */
uint64_t partition_generation(const struct partition *);
/* The last entry read. */
struct number partition_input_position(const struct partition *);
/* Entries of XREAD. */
void partition_on_input(struct partition *, const struct bus_reply *entries);

/* ---- for the router's clock and bus ---- */
/* Some ten times a second: renews the lease of an idle partition, sends a TICK when the engine
 * wants one. */
void partition_on_clock(struct partition *);
/* Adds its sizes to the gauges, and what its engine has counted to the counters. */
void partition_add_metrics(struct partition *);

#endif
