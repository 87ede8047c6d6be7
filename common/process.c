#include "common/process.h"

#include "common/buffer.h"
#include "common/deployment.h"
#include "common/log.h"
#include "common/name_claim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How often running processes look whether Redis still holds what the deployment agreed on. */
#define SIGNALS (sizeof(((struct process *)NULL)->signals) / sizeof(uv_signal_t))
#define AGREEMENT_MS 5000

static void name_process(struct process *process)
{
    char host[32] = "localhost";

    if (process->settings.name[0] != '\0') {
        snprintf(process->name, sizeof(process->name), "%s", process->settings.name);
        return;
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(process->name, sizeof(process->name), "%s-%s-%d", process->kind->name, host, getpid());
}

/* Settings and log. Returns 0, or -1 when the operator has been told. */
static int prepare(struct process *process)
{
    struct buffer error = {0};
    int result = settings_read(&process->settings, process->kind->settings, &error);

    if (result < 0)
        fprintf(stderr, "%s: %.*s\n", process->kind->name, (int)error.length, error.data);
    buffer_finish(&error);
    if (result < 0)
        return -1;
    name_process(process);
    if (log_init(process->name, process->settings.log) < 0) {
        fprintf(stderr,
                "%s: TRUNKLINE_LOG: must be text or json, then :error, :warn, :info or :debug\n",
                process->kind->name);
        return -1;
    }
    if (bus_address_parse(process->settings.redis, &process->address) < 0) {
        fprintf(stderr, "%s: TRUNKLINE_REDIS: must be redis://[user:password@]host[:port]\n",
                process->kind->name);
        return -1;
    }
    snprintf(process->deployment.prefix, sizeof(process->deployment.prefix), "%s",
             process->settings.prefix);
    return 0;
}

static void finish(struct process *process)
{
    if (process->finished)
        return;
    process->finished = true;
    process->kind->on_finish(process);
    bus_destroy(&process->bus);
    name_claim_destroy(&process->claim);
    uv_close((uv_handle_t *)&process->agreement, NULL);
    for (size_t i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&process->signals[i], NULL);
}

void process_end(struct process *process)
{
    finish(process);
}

/* A start that cannot succeed: one line for the operator, exit status 1. */
static void fail(struct process *process, const char *setting, struct slice why)
{
    fprintf(stderr, "%s: %s%.*s\n", process->kind->name, setting, (int)why.length, why.data);
    process->status = 1;
    finish(process);
}

static void get_ready(struct process *process)
{
    struct buffer error = {0};

    process->ready = true;
    process->away[0] = '\0';
    if (process->kind->on_ready(process, &error) < 0)
        fail(process, "", buffer_slice(&error));
    buffer_finish(&error);
}

static void on_up(struct process *process)
{
    if (!process->finished && process->kind->on_up != NULL)
        process->kind->on_up(process);
}

/* Either may come first again when Redis went away in between. */
static void look_whether_ready(struct process *process)
{
    if (!process->agreed || !process->named)
        return;
    get_ready(process);
    on_up(process);
}

static void on_named(void *arg, const char *holder)
{
    struct process *process = arg;
    char line[256];

    if (holder != NULL) {
        snprintf(line, sizeof(line), "another process is called %s: %s (kind, host, pid)",
                 process->name, holder);
        fail(process, "TRUNKLINE_NAME: ", slice_text(line));
        return;
    }
    process->named = true;
    look_whether_ready(process);
}

static void on_agreed(void *arg, const char *error)
{
    struct process *process = arg;

    if (process->finished)
        return;
    if (error != NULL) {
        fail(process, "", slice_text(error));
        return;
    }
    if (process->agreed)
        return;
    process->agreed = true;
    if (process->ready) {
        log_info("Redis is back");
        process->away[0] = '\0';
        on_up(process);
    } else if (process->claim == NULL) {
        process->claim = name_claim_create(&process->loop, process->bus, &process->deployment,
                                           process->kind->name, process->name, on_named, process);
    } else {
        look_whether_ready(process);
    }
}

static void on_bus_up(void *arg)
{
    struct process *process = arg;

    process->agreed = false;
    deployment_agree(&process->deployment, process->bus, &process->settings, on_agreed, process);
}

/* A Redis that was emptied under us gets the deployment's values back. */
static void on_agreement_timer(uv_timer_t *timer)
{
    struct process *process = timer->data;

    if (process->agreed)
        deployment_agree(&process->deployment, process->bus, &process->settings, on_agreed,
                         process);
}

static void on_bus_down(void *arg, const char *reason)
{
    struct process *process = arg;

    if (process->finished)
        return;
    process->agreed = false;
    if (!process->ready && bus_is_refused(process->bus)) {
        fail(process, "TRUNKLINE_REDIS: ", slice_text(reason));
        return;
    }
    /* Each try fails; only another reason is news. */
    if (strncmp(process->away, reason, sizeof(process->away) - 1) != 0)
        log_warn("%s: %s", process->ready ? "Redis is away" : "waiting for Redis", reason);
    snprintf(process->away, sizeof(process->away), "%s", reason);
    if (process->ready && process->kind->on_down != NULL)
        process->kind->on_down(process, reason);
}

/* A thread may still ask for the address of Redis, for as long as the resolver has patience: there
 * is nothing to lose. */
static void end_now(int number)
{
    (void)number;
    _exit(0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *process = handle->data;

    log_info("%s: stopping", strsignal(number));
    if (process->stopping) {
        log_warn("not waiting for an orderly end");
        _exit(1);
    }
    if (!process->ready) {
        finish(process);
        signal(SIGALRM, end_now);
        alarm(1);
        return;
    }
    process->stopping = true;
    process->kind->on_stop(process);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct process *process = handle->data;

    (void)number;
    if (process->ready && !process->finished && process->kind->on_reload != NULL)
        process->kind->on_reload(process);
}

static void start(struct process *process)
{
    static const struct {
        int number;
        uv_signal_cb handler;
    } signals[SIGNALS] = {{SIGINT, on_signal}, {SIGTERM, on_signal}, {SIGHUP, on_hangup}};
    struct bus_options options = {
        .address = &process->address,
        .client_name = process->name,
        .on_up = on_bus_up,
        .on_down = on_bus_down,
        .arg = process,
    };

    struct buffer error = {0};

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&process->loop);
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_signal_init(&process->loop, &process->signals[i]);
        process->signals[i].data = process;
        uv_signal_start(&process->signals[i], signals[i].handler, signals[i].number);
    }
    uv_timer_init(&process->loop, &process->agreement);
    process->agreement.data = process;
    uv_timer_start(&process->agreement, on_agreement_timer, AGREEMENT_MS, AGREEMENT_MS);
    process->bus = bus_create(&process->loop, &options);
    name_claim_add_script(process->bus);
    if (process->kind->on_start(process, &error) < 0)
        fail(process, "", buffer_slice(&error));
    buffer_finish(&error);
}

int process_main(struct process *process, const struct process_kind *kind, int argc, char **argv)
{
    int asked = settings_arguments(argc, argv, kind->settings);

    if (asked != 0)
        return asked < 0;
    process->kind = kind;
    if (prepare(process) < 0)
        return 1;
    start(process);
    uv_run(&process->loop, UV_RUN_DEFAULT);
    if (kind->on_finished != NULL)
        kind->on_finished(process);
    if (uv_loop_close(&process->loop) < 0)
        log_warn("handles are left in the loop");
    return process->status;
}
