/*
 * Histograms of a process for Prometheus: buckets that double, so that observing is finding the
 * highest bit.
 */
#ifndef COMMON_HISTOGRAM_H
#define COMMON_HISTOGRAM_H

#include "common/buffer.h"

#include <stdint.h>

#define HISTOGRAM_BUCKETS 20

struct histogram {
    const char *name; /* "commit_seconds": trunkline_commit_seconds_bucket, _sum, _count */
    const char *help;
    double unit;    /* of what is observed, in that of the name: 1e-6 for microseconds */
    uint64_t first; /* the first bucket's bound, as observed; the next ones double */
    uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* the last: beyond all bounds */
    uint64_t sum, count;
};

void histogram_observe(struct histogram *, uint64_t value);
/* Prometheus text of count histograms, with the label process="name". */
void histograms_text(struct buffer *, const char *process, const struct histogram *, size_t count);

#endif
