/*
 * Work for another partition (delivery.md, S9): frames that an engine says to the owner of another
 * partition's state. One entry a commit and target goes into that partition's `in`, with the commit
 * itself; its engine takes it at once, once, in order. Used by the files of the engine.
 */
#ifndef ROUTER_FORWARD_H
#define ROUTER_FORWARD_H

#include "common/frame.h"
#include "common/number.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct forwards;

struct forwards *forwards_create(uint32_t partitions);
void forwards_destroy(struct forwards **, uint32_t partitions);

/* Puts a frame into the entry that this commit writes for that partition. Frames to one partition
 * are applied in this order. */
void forward_say(struct engine *, uint32_t partition, const struct frame *);
/*
 * What was said to the own partition is done now, in this commit, but for three cases in which it
 * goes through `in` like any other's: something of it is still on its way there, it needs what is
 * not in memory, or it is more than one entry. Called between two entries, when nothing else is
 * being applied.
 */
void forward_apply_own(struct engine *);
/* Writes the entries, and what was taken of others. */
void forward_finish(struct engine *);

/* "p3": the name of a partition as the source of an entry; no gateway has such a one. */
bool forward_source(const struct engine *, struct slice name, uint32_t *partition);
/* Loading: the last number applied of that partition. */
void forward_load_taken(struct engine *, uint32_t from, struct slice number);
/* An entry of another partition. Taken when its number is above the last one. As engine_apply. */
int forward_apply(struct engine *, uint32_t from, struct number number, struct slice frames)
    __attribute__((warn_unused_result));
/* Whether a frame from another partition has a handler. */
bool forward_handles(enum frame_type);

#endif
