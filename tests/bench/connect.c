/*
 * Connecting is a scenario of its own: idle opens connections at the pace the server takes them and
 * holds them, storm opens all at once.
 */
#include "tests/bench/report.h"

#define IDLE_CONNECTING 500 /* at once */
#define SETTLE_S 1.0

static void ignore_delivery(void *arg, unsigned index, const struct stamp *stamp)
{
    (void)arg, (void)index, (void)stamp;
}

static void ignore_ack(void *arg, unsigned index, long recipients)
{
    (void)arg, (void)index, (void)recipients;
}

static const struct clients_handler no_traffic = {.on_delivery = ignore_delivery,
                                                  .on_ack = ignore_ack};

struct clients *scenario_connect(const struct options *options, struct result *result,
                                 struct clients_plan plan, const struct clients_handler *handler,
                                 void *arg)
{
    struct cpu_usage before;
    struct clients *clients;
    uint64_t start_ns;

    plan.dialect = options->dialect;
    plan.ports = &options->ports;
    plan.tokens = options->tokens;
    plan.payload_size = options->payload_size;
    plan.with_ids = options->with_ids;
    clients = clients_create(&plan, handler, arg);
    processes_memory(&options->processes, &result->before);
    processes_cpu(&options->processes, &before);
    start_ns = monotonic_ns();
    clients_connect(clients);
    result->connect_s = (double)(monotonic_ns() - start_ns) / 1e9;
    processes_cpu(&options->processes, &result->connect_cpu);
    cpu_usage_since(&result->connect_cpu, &before);
    result->connect_latency = *clients_connect_latency(clients);
    result->counts = *clients_counts(clients);
    return clients;
}

void scenario_finish(const struct options *options, struct result *result, struct clients *clients)
{
    result->counts = *clients_counts(clients);
    processes_memory(&options->processes, &result->after);
    clients_destroy(&clients);
}

static void hold(const struct options *options, struct clients *clients)
{
    bool lines = options->every_s > 0 && options->every_s < options->hold_s;
    double every_s = lines ? options->every_s : options->hold_s;
    struct cpu_usage before, after, used;

    processes_cpu(&options->processes, &before);
    for (double held_s = 0, span_s; held_s < options->hold_s; held_s += span_s) {
        span_s = every_s < options->hold_s - held_s ? every_s : options->hold_s - held_s;
        clients_rest(clients, span_s);
        processes_cpu(&options->processes, &after);
        used = after;
        cpu_usage_since(&used, &before);
        before = after;
        if (lines)
            report_held(stdout, options, held_s, span_s, &used);
    }
}

void run_idle(const struct options *options, struct result *result)
{
    struct clients_plan plan = {
        .count = options->clients, .subscribers = options->clients, .connecting = IDLE_CONNECTING};
    struct clients *clients = scenario_connect(options, result, plan, &no_traffic, NULL);
    struct cpu_usage before;

    clients_rest(clients, SETTLE_S);
    processes_cpu(&options->processes, &before);
    hold(options, clients);
    processes_cpu(&options->processes, &result->idle_cpu);
    cpu_usage_since(&result->idle_cpu, &before);
    result->held_s = options->hold_s;
    scenario_finish(options, result, clients);
}

void run_storm(const struct options *options, struct result *result)
{
    struct clients_plan plan = {.count = options->clients, .subscribers = options->clients};

    scenario_finish(options, result, scenario_connect(options, result, plan, &no_traffic, NULL));
}
