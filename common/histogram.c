#include "common/histogram.h"

#include "common/metrics.h"

#include <inttypes.h>
#include <stdio.h>

void histogram_observe(struct histogram *histogram, uint64_t value)
{
    uint64_t above = value > histogram->first ? (value - 1) / histogram->first : 0;
    unsigned bucket = above ? 64 - (unsigned)__builtin_clzll(above) : 0;

    histogram->counts[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS]++;
    histogram->sum += value;
    histogram->count++;
}

static void append_sample(struct buffer *out, const struct histogram *histogram, const char *kind,
                          const char *process, const char *bound)
{
    buffer_appendf(out, "trunkline_%s_%s{process=\"", histogram->name, kind);
    metrics_append_label(out, process);
    if (bound)
        buffer_appendf(out, "\",le=\"%s", bound);
    buffer_append_text(out, "\"} ");
}

static void append_buckets(struct buffer *out, const struct histogram *histogram,
                           const char *process)
{
    uint64_t below = 0;
    char bound[32];

    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        snprintf(bound, sizeof(bound), "%.9g", (double)(histogram->first << i) * histogram->unit);
        below += histogram->counts[i];
        append_sample(out, histogram, "bucket", process, i < HISTOGRAM_BUCKETS ? bound : "+Inf");
        buffer_appendf(out, "%" PRIu64 "\n", below);
    }
}

void histograms_text(struct buffer *out, const char *process, const struct histogram *histograms,
                     size_t count)
{
    for (const struct histogram *h = histograms; h < histograms + count; h++) {
        buffer_appendf(out, "# HELP trunkline_%s %s\n# TYPE trunkline_%s histogram\n", h->name,
                       h->help, h->name);
        append_buckets(out, h, process);
        append_sample(out, h, "sum", process, NULL);
        buffer_appendf(out, "%.9g\n", (double)h->sum * h->unit);
        append_sample(out, h, "count", process, NULL);
        buffer_appendf(out, "%" PRIu64 "\n", h->count);
    }
}
