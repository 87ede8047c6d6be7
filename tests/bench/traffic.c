#include "tests/bench/traffic.h"

#include <sys/resource.h>

#define STALL_NS 2000000000ull /* without a delivery while some are due */
#define DRAIN_NS 3000000000ull
#define LATE_S 0.2 /* for duplicates that come after the last one */
#define TURN_NS 20000000ull

void traffic_init(struct traffic *traffic, struct result *result)
{
    *traffic = (struct traffic){.result = result, .progress_ns = monotonic_ns()};
}

void traffic_published(struct traffic *traffic, uint64_t receivers)
{
    traffic->expected += receivers;
    if (traffic->phase == TRAFFIC_MEASURING)
        traffic->result->published++;
}

bool traffic_delivered(struct traffic *traffic, struct sequence *seen, const struct stamp *stamp)
{
    struct result *result = traffic->result;
    uint64_t now_ns = monotonic_ns();

    switch (sequence_add(seen, stamp->number)) {
    case SEQUENCE_DUPLICATE:
        result->duplicated++;
        return false;
    case SEQUENCE_OUT_OF_ORDER:
        result->out_of_order++;
        break;
    case SEQUENCE_IN_ORDER:
        break;
    }
    traffic->arrived++;
    traffic->progress_ns = now_ns;
    if (traffic->phase == TRAFFIC_MEASURING) {
        result->delivered++;
        histogram_add(&result->latency, now_ns - stamp->sent_ns);
    }
    return true;
}

static void notice_stall(struct traffic *traffic, uint64_t now_ns)
{
    if (now_ns - traffic->progress_ns < STALL_NS || traffic->arrived == traffic->expected)
        return;
    traffic->result->stalls++;
    traffic->progress_ns = now_ns;
}

static void run_until(struct traffic *traffic, struct clients *clients, traffic_publish publish,
                      void *arg, uint64_t end_ns)
{
    uint64_t now_ns;

    while ((now_ns = monotonic_ns()) < end_ns) {
        uint64_t wake_ns = publish(arg, now_ns);

        notice_stall(traffic, now_ns);
        if (wake_ns > now_ns + TURN_NS)
            wake_ns = now_ns + TURN_NS;
        clients_turn(clients, wake_ns < end_ns ? wake_ns : end_ns);
    }
}

static void drain(struct traffic *traffic, struct clients *clients)
{
    traffic->phase = TRAFFIC_DRAINING;
    traffic->progress_ns = monotonic_ns();
    while (traffic->arrived < traffic->expected && monotonic_ns() - traffic->progress_ns < DRAIN_NS)
        clients_turn(clients, monotonic_ns() + TURN_NS);
    clients_rest(clients, LATE_S);
    traffic->result->expected = traffic->expected;
    traffic->result->lost = traffic->expected - traffic->arrived;
}

static double own_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void traffic_run(struct traffic *traffic, const struct options *options, struct clients *clients,
                 traffic_publish publish, void *arg)
{
    struct result *result = traffic->result;
    struct cpu_usage before;
    uint64_t start_ns = monotonic_ns() + (uint64_t)(options->warm_s * 1e9);

    run_until(traffic, clients, publish, arg, start_ns);
    traffic->phase = TRAFFIC_MEASURING;
    processes_cpu(&options->processes, &before);
    result->load_cpu_s = -own_cpu_s();
    start_ns = monotonic_ns();
    run_until(traffic, clients, publish, arg, start_ns + (uint64_t)(options->duration_s * 1e9));
    result->measured_s = (double)(monotonic_ns() - start_ns) / 1e9;
    result->load_cpu_s += own_cpu_s();
    processes_cpu(&options->processes, &result->cpu);
    cpu_usage_since(&result->cpu, &before);
    drain(traffic, clients);
}
