/*
 * A result for people and, as one line of JSON, for programs.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "tests/bench/scenario.h"

#include <stdio.h>

void report_text(FILE *, const struct options *, const struct result *);
void report_json(FILE *, const struct options *, const struct result *);
/* CPU of the processes in span_s seconds of holding still, from_s seconds after its beginning. */
void report_held(FILE *, const struct options *, double from_s, double span_s,
                 const struct cpu_usage *);
/* Whether everybody connected and every message came once and in order. */
bool report_flawless(const struct result *);

#endif
