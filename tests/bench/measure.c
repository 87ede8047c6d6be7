#include "tests/bench/measure.h"

#include <stdbool.h>
#include <string.h>

/* Each power of two is divided into this many buckets. */
#define STEPS 32

static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < 2 * STEPS)
        return (unsigned)value;
    shift = 58 - (unsigned)__builtin_clzll(value);
    return shift * STEPS + (unsigned)(value >> shift);
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
    unsigned shift;

    if (bucket < 2 * STEPS)
        return bucket;
    shift = bucket / STEPS - 1;
    return ((uint64_t)(bucket - shift * STEPS) << shift) + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->bucket[bucket_of(value)]++;
    histogram->count++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->count;
    uint64_t sum = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->count; i++) {
        sum += histogram->bucket[i];
        if (sum && (double)sum >= wanted)
            return value_of(i);
    }
    return 0;
}

static uint64_t *word_of(struct sequence *sequence, uint32_t number)
{
    return &sequence->came[number % SEQUENCE_WINDOW / 64];
}

static void clear_skipped(struct sequence *sequence, uint32_t number)
{
    if (number - sequence->next >= SEQUENCE_WINDOW)
        memset(sequence->came, 0, sizeof sequence->came);
    for (uint32_t i = sequence->next; i != number && number - i < SEQUENCE_WINDOW; i++)
        *word_of(sequence, i) &= ~(1ull << i % 64);
}

enum sequence_verdict sequence_add(struct sequence *sequence, uint32_t number)
{
    uint64_t *word = word_of(sequence, number), bit = 1ull << number % 64;
    bool in_order = number >= sequence->next;

    if (in_order) {
        clear_skipped(sequence, number);
        sequence->next = number + 1;
    } else if (sequence->next - number > SEQUENCE_WINDOW || *word & bit) {
        return SEQUENCE_DUPLICATE;
    }
    *word |= bit;
    return in_order ? SEQUENCE_IN_ORDER : SEQUENCE_OUT_OF_ORDER;
}
