/*
 * A result for people and, as one line of JSON, for programs.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "tests/bench/scenario.h"

#include <stdio.h>

void report_text(FILE *, const struct options *, const struct result *);
void report_json(FILE *, const struct options *, const struct result *);
/* Whether everybody connected and every message came once and in order. */
bool report_flawless(const struct result *);

#endif
