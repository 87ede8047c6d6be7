/*
 * The router: presence, mailboxes, topics and fan-out of the partitions whose leases it holds.
 */
#include "common/bus.h"
#include "common/deployment.h"
#include "common/log.h"
#include "common/metrics_listener.h"
#include "common/process.h"
#include "common/uid.h"
#include "common/xalloc.h"
#include "router/history_rules.h"
#include "router/ownership.h"
#include "router/partition.h"
#include "router/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Leases are renewed and ticks sent by it: a few wake-ups a second, whatever the number of
 * partitions. */
#define CLOCK_MS 100
#define LEAVE_TIMEOUT_MS 3000

struct metric router_metrics[ROUTER_METRICS] = {
#define METRIC(NAME, name_, gauge_, help_)                                                         \
    [ROUTER_##NAME] = {.name = name_, .help = help_, .gauge = gauge_},
#include "router/metrics.def"
#undef METRIC
};

struct histogram router_histograms[ROUTER_HISTOGRAMS] = {
    [ROUTER_COMMIT_SECONDS] = {.name = "commit_seconds",
                               .help = "from a commit's leaving to Redis' answer",
                               .unit = 1e-6,
                               .first = 50},
    [ROUTER_COMMIT_ENTRIES] = {.name = "commit_entries",
                               .help = "entries of gateways in one commit",
                               .unit = 1,
                               .first = 1},
    [ROUTER_LAG_SECONDS] = {.name = "lag_seconds",
                            .help = "from an entry's writing to its commit's beginning",
                            .unit = 1e-3,
                            .first = 1},
};

struct router_process {
    struct process process;
    struct metrics_listener *listener;
    struct router router;
    uv_timer_t clock;
    struct metrics_reporter *reporter;
};

static void on_clock(uv_timer_t *timer)
{
    struct router *router = timer->data;

    for (uint32_t p = 0; p < router->deployment.partitions; p++)
        partition_on_clock(router->partitions[p]);
}

static void refresh_metrics(void *arg);

static void append_metrics(void *arg, struct buffer *out)
{
    const struct router *router = arg;

    refresh_metrics(arg);
    metrics_text(out, router->name, router_metrics, ROUTER_METRICS);
    histograms_text(out, router->name, router_histograms, ROUTER_HISTOGRAMS);
}

/* Redis answers, and all agree on the deployment. */
static bool is_ready(void *arg)
{
    const struct router *router = arg;

    return bus_is_up(router->bus) && router->partitions != NULL;
}

static void refresh_metrics(void *arg)
{
    static const enum router_metric gauges[] = {ROUTER_PARTITIONS, ROUTER_CONNECTIONS, ROUTER_USERS,
                                                ROUTER_PENDING, ROUTER_QUEUED_BYTES};
    struct router *router = arg;

    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
        router_metrics[gauges[i]].value = 0;
    for (uint32_t p = 0; p < router->deployment.partitions; p++)
        partition_add_metrics(router->partitions[p]);
}

/* Redis answers and the deployment is agreed on, for the first time: everything that stands on it
 * starts, in order. */
static int on_ready(struct process *process, struct buffer *error)
{
    struct router_process *self = (struct router_process *)process;
    struct router *router = &self->router;

    (void)error;
    router->deployment = process->deployment;
    router->partitions = xcalloc(router->deployment.partitions, sizeof(struct partition *));
    for (uint32_t p = 0; p < router->deployment.partitions; p++)
        router->partitions[p] = partition_create(router, p);
    router->reader = reader_create(router);
    router->ownership = ownership_create(router);
    uv_timer_init(router->loop, &self->clock);
    self->clock.data = router;
    uv_timer_start(&self->clock, on_clock, CLOCK_MS, CLOCK_MS);
    self->reporter = metrics_reporter_create(router->loop, router->bus, &router->deployment,
                                             "router", router->name, router_metrics, ROUTER_METRICS,
                                             refresh_metrics, router);
    log_info("ready: %u partitions to share", router->deployment.partitions);
    return 0;
}

static void on_info(void *arg, const struct bus_reply *reply)
{
    struct router *router = arg;
    struct slice text = bus_reply_text(reply);
    char *copy = xmemdup0(text.data, text.length);
    const char *at = strstr(copy, "run_id:");

    if (at != NULL)
        snprintf(router->run_id, sizeof(router->run_id), "%.*s", (int)strcspn(at + 7, "\r\n"),
                 at + 7);
    else if (reply != NULL)
        snprintf(router->run_id, sizeof(router->run_id), "unknown");
    free(copy);
}

static void on_up(struct process *process)
{
    struct router_process *self = (struct router_process *)process;

    if (bus_command_text(process->bus, on_info, &self->router, "INFO", "server", NULL) < 0)
        log_debug("Redis went away again");
}

static void on_down(struct process *process, const char *reason)
{
    struct router_process *self = (struct router_process *)process;

    self->router.run_id[0] = '\0';
    for (uint32_t p = 0; self->router.partitions && p < self->router.deployment.partitions; p++)
        partition_drop(self->router.partitions[p], reason);
}

static void on_left(void *arg)
{
    process_end(arg);
}

static void on_stop(struct process *process)
{
    struct router_process *self = (struct router_process *)process;

    if (self->router.ownership == NULL)
        process_end(process);
    else
        ownership_leave(self->router.ownership, LEAVE_TIMEOUT_MS, on_left, process);
}

static void on_finish(struct process *process)
{
    struct router_process *self = (struct router_process *)process;
    struct router *router = &self->router;

    metrics_listener_destroy(&self->listener);
    metrics_reporter_destroy(&self->reporter);
    if (router->ownership != NULL)
        uv_close((uv_handle_t *)&self->clock, NULL);
    reader_destroy(&router->reader);
    bus_destroy(&process->bus);
    ownership_destroy(&router->ownership);
    for (uint32_t p = 0; router->partitions && p < router->deployment.partitions; p++)
        partition_destroy(&router->partitions[p]);
    free(router->partitions);
    history_rules_destroy(&router->history);
}

static int on_start(struct process *process, struct buffer *error)
{
    struct router_process *self = (struct router_process *)process;
    struct router *router = &self->router;

    router->loop = &process->loop;
    router->settings = process->settings;
    router->bus = process->bus;
    router->address = &process->address;
    snprintf(router->name, sizeof(router->name), "%s", process->name);
    snprintf(router->id, sizeof(router->id), "%s-%016" PRIx64, process->name, uid_random64());
    router->history = history_rules_create(router->settings.history);
    if (router->history == NULL) {
        buffer_append_text(error,
                           "TRUNKLINE_HISTORY: must be pattern:messages, separated by commas "
                           "(1 to 100000 messages)");
        return -1;
    }
    partitions_add_scripts(process->bus);
    ownership_add_scripts(process->bus);
    if (router->settings.metrics_listen[0] == '\0')
        return 0;
    self->listener = metrics_listener_create(router->loop, router->settings.metrics_listen,
                                             append_metrics, is_ready, router, error);
    return self->listener ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct process_kind kind = {
        .name = "router",
        .settings = SETTINGS_ROUTER,
        .on_start = on_start,
        .on_up = on_up,
        .on_ready = on_ready,
        .on_down = on_down,
        .on_stop = on_stop,
        .on_finish = on_finish,
    };
    static struct router_process self;

    return process_main(&self.process, &kind, argc, argv);
}
