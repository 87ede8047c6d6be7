/*
 * Rate limits by name (a user, an address): token buckets. Pure memory, bounded; the caller has the
 * clock.
 */
#ifndef AUTH_LIMITS_H
#define AUTH_LIMITS_H

#include "common/slice.h"

#include <stddef.h>
#include <stdint.h>

struct limits;
/* burst requests at once, then one every interval_ms, for each of at most `most` names; beyond, the
 * one unused longest is forgotten. */
struct limits *limits_create(size_t most, unsigned burst, uint64_t interval_ms);
void limits_destroy(struct limits **); /* NULL-safe; clears the pointer */
/* Takes one of name's. Returns 0, or the milliseconds until there is one (then nothing is taken).
 */
uint64_t limits_take(struct limits *, struct slice name, uint64_t now_ms)
    __attribute__((warn_unused_result));
/* Gives one back. */
void limits_give_back(struct limits *, struct slice name);

#endif
