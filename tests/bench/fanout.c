/*
 * One publisher, many subscribers of one topic. A message is done when all of them have it; so many
 * are kept in flight, or they are published at a fixed rate.
 */
#include "tests/bench/traffic.h"

#include <err.h>
#include <stdlib.h>

#define SETTLE_S 0.3
#define BURST_MAX 64 /* messages published in one turn to catch up with the rate */

struct fanout {
    const struct options *options;
    struct traffic traffic;
    struct clients *clients;
    unsigned subscribers; /* the publisher's index, too: it is the last client */
    uint32_t next;        /* number of the next message */
    unsigned in_flight;
    unsigned *missing;         /* by number modulo SEQUENCE_WINDOW: who does not have it yet */
    struct sequence *received; /* by subscriber */
    uint64_t due_ns;           /* of the next message, at a fixed rate */
};

static void publish(struct fanout *fanout, uint64_t sent_ns)
{
    clients_broadcast(fanout->clients, fanout->subscribers, fanout->next, sent_ns);
    fanout->missing[fanout->next++ % SEQUENCE_WINDOW] = fanout->subscribers;
    fanout->in_flight++;
    traffic_published(&fanout->traffic, fanout->subscribers);
}

static uint64_t keep_window(void *arg, uint64_t now_ns)
{
    struct fanout *fanout = arg;

    while (fanout->in_flight < fanout->options->window)
        publish(fanout, now_ns);
    return UINT64_MAX;
}

/* A message that is late counts from when it was due, or the server's pauses would not show. */
static uint64_t keep_rate(void *arg, uint64_t now_ns)
{
    struct fanout *fanout = arg;

    if (fanout->due_ns == 0)
        fanout->due_ns = now_ns;
    for (int i = 0; i < BURST_MAX && fanout->due_ns <= now_ns; i++) {
        publish(fanout, fanout->due_ns);
        fanout->due_ns += (uint64_t)(1e9 / fanout->options->rate);
    }
    return fanout->due_ns;
}

static void on_delivery(void *arg, unsigned index, const struct stamp *stamp)
{
    struct fanout *fanout = arg;

    if (index >= fanout->subscribers || stamp->number >= fanout->next) {
        fanout->traffic.result->duplicated++; /* the publisher's own, or never sent */
        return;
    }
    if (!traffic_delivered(&fanout->traffic, &fanout->received[index], stamp))
        return;
    if (--fanout->missing[stamp->number % SEQUENCE_WINDOW] == 0)
        fanout->in_flight--;
}

static void on_ack(void *arg, unsigned index, long recipients)
{
    struct fanout *fanout = arg;

    if (index == fanout->subscribers && recipients != (long)fanout->subscribers)
        fanout->traffic.result->wrong_recipients++;
}

static const struct clients_handler handler = {.on_delivery = on_delivery, .on_ack = on_ack};

void run_fanout(const struct options *options, struct result *result)
{
    struct fanout fanout = {.options = options, .subscribers = options->clients};
    struct clients_plan plan = {.count = options->clients + 1, .subscribers = options->clients};

    fanout.missing = calloc(SEQUENCE_WINDOW, sizeof *fanout.missing);
    fanout.received = calloc(options->clients, sizeof *fanout.received);
    if (!fanout.missing || !fanout.received)
        err(1, "fanout");
    fanout.clients = scenario_connect(options, result, plan, &handler, &fanout);
    traffic_init(&fanout.traffic, result);
    if (result->counts.failed == 0 && result->counts.ready == plan.count) {
        clients_rest(fanout.clients, SETTLE_S);
        traffic_run(&fanout.traffic, options, fanout.clients,
                    options->rate > 0 ? keep_rate : keep_window, &fanout);
    }
    scenario_finish(options, result, fanout.clients);
    free(fanout.missing);
    free(fanout.received);
}
