/*
 * The scenarios: each connects its clients, does its work against a running server and fills in a
 * result. load.c names them in one table.
 */
#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include "tests/bench/clients.h"
#include "tests/bench/measure.h"
#include "tests/bench/processes.h"
#include "tests/bench/token.h"

#include <stdbool.h>

struct options {
    const char *scenario;
    const char *label; /* of the result; the scenario's name when not given */
    const char *build; /* of the server, noted in the result */
    const char *json;  /* file that the result's line is appended to; NULL: standard output */
    struct ports ports;
    struct processes processes;
    struct tokens *tokens;
    const struct dialect *dialect;
    unsigned clients;
    unsigned window; /* messages in flight */
    double rate;     /* messages a second instead of a window; 0: none */
    unsigned payload_size;
    bool with_ids;
    double warm_s, duration_s, hold_s;
    double every_s; /* 0, or more than hold_s: CPU is told at the end only */
};

struct result {
    /* connecting */
    struct clients_counts counts;
    double connect_s;
    struct histogram connect_latency;
    struct cpu_usage connect_cpu;
    struct memory_usage before, after; /* before connecting, at the end */
    /* messages; measured_s is 0 when there were none */
    double measured_s;
    uint64_t published, delivered; /* in the measured time */
    struct histogram latency;
    struct cpu_usage cpu, idle_cpu;
    double load_cpu_s; /* of the load client itself */
    uint64_t expected, lost, duplicated, out_of_order, stalls, wrong_recipients;
    /* holding still; held_s is 0 when they did not */
    double held_s;
};

void run_fanout(const struct options *, struct result *);
void run_pairs(const struct options *, struct result *);
void run_idle(const struct options *, struct result *);
void run_storm(const struct options *, struct result *);

/* What they share: connects the clients of a plan and fills in that part of the result. */
struct clients *scenario_connect(const struct options *, struct result *, struct clients_plan,
                                 const struct clients_handler *, void *arg);
/* At the end of each: the clients' counts, memory; disconnects. */
void scenario_finish(const struct options *, struct result *, struct clients *);

#endif
