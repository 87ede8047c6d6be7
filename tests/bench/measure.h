/*
 * What is measured of messages: a histogram of latencies, and per receiver which of a sender's
 * numbered messages have come, and how.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/* Buckets that grow with the value: a quantile is right to within 3 %. */
#define HISTOGRAM_BUCKETS 1920
struct histogram {
    uint64_t count;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *, uint64_t value);
/* 0 when nothing was added; quantile 0.5 is the median. */
uint64_t histogram_quantile(const struct histogram *, double quantile);

/* Remembers the last SEQUENCE_WINDOW numbers; what comes again from before them is a duplicate. */
#define SEQUENCE_WINDOW 4096
struct sequence {
    uint32_t next; /* one past the highest that came */
    uint64_t came[SEQUENCE_WINDOW / 64];
};

enum sequence_verdict {
    SEQUENCE_IN_ORDER,
    SEQUENCE_OUT_OF_ORDER, /* after a higher one, for the first time */
    SEQUENCE_DUPLICATE,
};

enum sequence_verdict sequence_add(struct sequence *, uint32_t number);

#endif
