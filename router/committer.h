/*
 * A partition's own connection to Redis, over which its commits go, each once and only while the
 * partition is ours (delivery.md, S3). The state is under WATCH, so EXEC does nothing once somebody
 * else has taken the partition; behind each commit the state is read again, and says whether it
 * ran. What is read over the same connection sees what was written before.
 */
#ifndef ROUTER_COMMITTER_H
#define ROUTER_COMMITTER_H

#include "common/bus.h"
#include "router/effects.h"

struct committer;

/* Why no commit goes any more. */
enum committer_end {
    COMMITTER_DOWN,    /* the connection is gone; one that never stood is tried again */
    COMMITTER_LOST,    /* the partition is another's */
    COMMITTER_REFUSED, /* Redis will not have it */
    COMMITTER_FAILED,  /* it ran, and Redis refused an effect: memory and Redis have parted */
};

struct committer_options {
    uv_loop_t *loop;
    const struct bus_address *address; /* copied */
    const char *client_name;           /* copied */
    struct effects *effects;           /* what is committed; borrowed */
    uint64_t epoch;
    /* The state is watched and has this epoch. */
    void (*on_ready)(void *arg);
    /* The commit that was sent has run. */
    void (*on_committed)(void *arg);
    /* An effect of it did not: its words, valid during the call, and what Redis said. on_end
       follows. */
    void (*on_failed)(void *arg, const struct slice *words, struct slice problem);
    /* Once; the callback may destroy the committer, and must not send. */
    void (*on_end)(void *arg, enum committer_end, const char *why);
    void *arg;
};

/* Connects and watches; callbacks come from the loop, never from inside this call. */
struct committer *committer_create(const struct committer_options *);
/* At any moment, also inside a callback; what is in flight may still run. NULL-safe; clears the
 * pointer. */
void committer_destroy(struct committer **);
/* For reads; commands in flight are called with NULL when the committer goes. */
struct bus *committer_bus(struct committer *);
/* Sends the effects as commit number `commit`, which they must write into the state: one at a time,
 * after on_ready. They must stay as they are until it has an answer. */
void committer_send(struct committer *, uint64_t commit);
/* Sends again what Redis was not ready for, when its time has come, and returns true then. Call it
 * a few times a second. */
bool committer_on_clock(struct committer *);

#endif
