/*
 * A router's side of one partition over a model of Redis, as partition.c and load_stages.c do it
 * but without waiting: takes and loads, fetches users, feeds entries of `in` and pages of mailboxes
 * to the engine, and hands out commits for the test to run, lose or delay. engine_check runs after
 * each commit that is made.
 */
#ifndef TESTS_UNIT_ENGINE_WORLD_H
#define TESTS_UNIT_ENGINE_WORLD_H

#include "tests/unit/model_store.h"

struct engine_world;

/* One with a single partition, and one with WORLD_PARTITIONS; they live as long as the process. */
#define WORLD_PARTITIONS 3
const struct deployment *world_deployment(void);
const struct deployment *world_deployment_wide(void);
/* Partition 0 of a deployment, over a Redis of its own. */
struct engine_world *world_create(const struct engine_limits *, uint64_t now_ms);
struct engine_world *world_create_wide(const struct engine_limits *, uint64_t now_ms);
/* Another partition over the same Redis. */
struct engine_world *world_create_beside(const struct engine_world *, uint32_t partition);
void world_destroy(struct engine_world **);
struct model_store *world_store(const struct engine_world *);
/* NULL while nobody has the partition. */
struct engine *world_engine(const struct engine_world *);
uint64_t world_epoch(const struct engine_world *);

/* Takes the partition under a new epoch and loads a new engine; the one before is forgotten. */
void world_take(struct engine_world *);
/* The router is gone, or has given the partition up. */
void world_drop(struct engine_world *);

/*
 * Makes the next commit: the first one after a take, pages that have come (all but those held
 * back), at most `entries` entries of `in`, or nothing at all if forced. NULL when there is nothing
 * to commit. It is the test's to run; before the next turn it must have run.
 */
struct model_commit *world_turn(struct engine_world *, size_t entries, bool forced);
/* After a commit was sent: asks for the pages that the engine wants; they are read now and come
 * with the next turn. */
void world_ask_pages(struct engine_world *);
/* Pages that have been asked for stay on their way until this is false again. */
void world_hold_pages(struct engine_world *, bool held);
/* Commits until there is nothing to do. Every commit must be OK. */
void world_settle(struct engine_world *);
/* The same for several that send each other work. */
void worlds_settle(struct engine_world *const *, size_t count);
/* Sends a TICK, if the engine wants one now. Returns whether it did. */
bool world_tick(struct engine_world *);
/* The next take finds another Redis process than the last one. */
void world_roll_back(struct engine_world *);
/* The router's idea of Redis's time is ahead of it by so much. */
void world_set_ahead(struct engine_world *, uint64_t ahead_ms);
/* How many entries of the turns so far were no frames. */
size_t world_malformed(const struct engine_world *);

#endif
