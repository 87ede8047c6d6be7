/*
 * Counters of a process: named in one table by each process, read as text for /metrics (Prometheus)
 * and written to the hash `<prefix>process:<name>` every two seconds for redis-cli. Adding to one
 * is adding to an integer.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/buffer.h"
#include "common/bus.h"
#include "common/keys.h"

#include <stdint.h>

struct metric {
    /* "frames_in": trunkline_frames_in_total, a gauge's without _total; "rejections/reason/error":
     * trunkline_rejections_total{reason="error"}. Those that share a name follow each other; the
     * first one's help counts. */
    const char *name;
    const char *help;
    bool gauge;
    uint64_t value;
};

/* Prometheus text of count metrics, with the label process="name". */
void metrics_text(struct buffer *, const char *process, const struct metric *metrics, size_t count);

/* Appends the value of a label, escaped. */
void metrics_append_label(struct buffer *, const char *value);

struct metrics_reporter;
/*
 * Writes HSET <prefix>process:<name> kind, version, started (Unix ms), and each metric, with a
 * PEXPIRE of 10 s, every 2 s while the bus is up. refresh (may be NULL) is called before each, to
 * set gauges. What it is given must outlive it; deployment must have its prefix by now.
 */
struct metrics_reporter *metrics_reporter_create(uv_loop_t *, struct bus *,
                                                 const struct deployment *, const char *kind,
                                                 const char *name, struct metric *metrics,
                                                 size_t count, void (*refresh)(void *arg),
                                                 void *arg);
void metrics_reporter_destroy(struct metrics_reporter **);

#endif
