/*
 * Numbers of messages and of output entries: epoch-(commit * 2^20 + index), growing within a
 * partition over takeovers and roll-backs (delivery.md, S4). The same two parts are a Redis stream
 * id.
 */
#ifndef COMMON_NUMBER_H
#define COMMON_NUMBER_H

#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Bits of the index within a commit: at most 2^20 - 1 messages in one. */
#define NUMBER_INDEX_BITS 20
#define NUMBER_TEXT_SIZE 42

struct number {
    uint64_t epoch;
    uint64_t sequence;
};

static inline struct number number_make(uint64_t epoch, uint64_t commit, uint64_t index)
{
    return (struct number){.epoch = epoch, .sequence = (commit << NUMBER_INDEX_BITS) + index};
}

/* <0, 0 or >0 as a is below, equal to or above b. */
static inline int number_compare(struct number a, struct number b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.sequence < b.sequence ? -1 : a.sequence > b.sequence;
}

static inline bool number_is_zero(struct number a)
{
    return a.epoch == 0 && a.sequence == 0;
}

/* The smallest number above a. */
static inline struct number number_next(struct number a)
{
    return (struct number){.epoch = a.epoch, .sequence = a.sequence + 1};
}

/* Writes "epoch-sequence" with its NUL; returns the length without it. */
int number_format(struct number, char text[NUMBER_TEXT_SIZE]);
/* Reads "epoch-sequence" or "epoch". Returns 0 or -EINVAL. */
int number_parse(struct slice text, struct number *number) __attribute__((warn_unused_result));

#endif
