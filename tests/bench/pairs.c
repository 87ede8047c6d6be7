/*
 * Users in pairs write to each other: each delivery is answered by its receiver with a message of
 * its own, so many are in flight between the two. Partners are on different gateways when there are
 * several.
 */
#include "tests/bench/traffic.h"

#include <err.h>
#include <stdlib.h>

#define SETTLE_S 0.3

struct pairs {
    const struct options *options;
    struct traffic traffic;
    struct clients *clients;
    bool begun;
    uint32_t *next;            /* by user: number of his next message */
    struct sequence *received; /* by user: of what his partner sent */
};

static void write_to_partner(struct pairs *pairs, unsigned user)
{
    clients_direct(pairs->clients, user, user ^ 1, pairs->next[user]++);
    traffic_published(&pairs->traffic, 1);
}

/* The window of a pair is divided between the two; from then on, answers keep it full. */
static uint64_t begin(void *arg, uint64_t now_ns)
{
    struct pairs *pairs = arg;

    (void)now_ns;
    for (unsigned first = 0; !pairs->begun && first < pairs->options->clients; first += 2)
        for (unsigned i = 0; i < pairs->options->window; i++)
            write_to_partner(pairs, first + (i & 1));
    pairs->begun = true;
    return UINT64_MAX;
}

static void on_delivery(void *arg, unsigned index, const struct stamp *stamp)
{
    struct pairs *pairs = arg;

    if (stamp->sender != (index ^ 1)) {
        pairs->traffic.result->duplicated++; /* not for him */
        return;
    }
    if (traffic_delivered(&pairs->traffic, &pairs->received[index], stamp) &&
        pairs->traffic.phase != TRAFFIC_DRAINING)
        write_to_partner(pairs, index);
}

static void on_ack(void *arg, unsigned index, long recipients)
{
    (void)arg, (void)index, (void)recipients; /* counted by clients.c */
}

static const struct clients_handler handler = {.on_delivery = on_delivery, .on_ack = on_ack};

void run_pairs(const struct options *options, struct result *result)
{
    struct pairs pairs = {.options = options};
    struct clients_plan plan = {.count = options->clients};

    if (options->clients % 2)
        errx(1, "pairs need an even number of clients");
    pairs.next = calloc(options->clients, sizeof *pairs.next);
    pairs.received = calloc(options->clients, sizeof *pairs.received);
    if (!pairs.next || !pairs.received)
        err(1, "pairs");
    pairs.clients = scenario_connect(options, result, plan, &handler, &pairs);
    traffic_init(&pairs.traffic, result);
    if (result->counts.failed == 0 && result->counts.ready == plan.count) {
        clients_rest(pairs.clients, SETTLE_S);
        traffic_run(&pairs.traffic, options, pairs.clients, begin, &pairs);
    }
    scenario_finish(options, result, pairs.clients);
    free(pairs.next);
    free(pairs.received);
}
