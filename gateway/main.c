/*
 * The gateway process: settings, the bus, its modules in order, the loop, and the same backwards.
 */
#include "common/bus.h"
#include "common/deployment.h"
#include "common/log.h"
#include "gateway/delivery.h"
#include "gateway/downlink.h"
#include "gateway/gateway.h"
#include "gateway/listener.h"
#include "gateway/session.h"
#include "gateway/topics.h"
#include "gateway/uplink.h"
#include "gateway/verifier.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

/* Descriptors that are no clients': Redis, the loop, files; and newcomers, who are answered 503
 * when it is full. */
#define DESCRIPTOR_RESERVE 256
#define LEAVE_TIMEOUT_MS 3000

struct program {
    struct gateway gateway;
    uv_loop_t loop;
    struct bus_address redis;
    uv_prepare_t turn_end;
    uv_signal_t terminate, interrupt;
    struct metrics_reporter *reporter;
    bool was_up;
    bool ready;
    bool finished;
    int status; /* of exit */
};

/* ---- the end ---- */

static void on_turn_end(uv_prepare_t *handle)
{
    struct gateway *gateway = handle->data;

    if (gateway->sessions == NULL)
        return;
    sessions_flush(gateway->sessions);
    uplink_flush(gateway->uplink);
    sessions_flush(gateway->sessions);
}

/* Modules in the opposite order of their start; the loop ends when their handles have closed. */
static void finish(struct program *program)
{
    struct gateway *gateway = &program->gateway;

    if (program->finished)
        return;
    program->finished = true;
    metrics_reporter_destroy(&program->reporter);
    listener_destroy(&gateway->listener);
    if (gateway->sessions)
        sessions_stop(gateway->sessions);
    downlink_destroy(&gateway->downlink);
    deliveries_destroy(&gateway->deliveries);
    topics_destroy(&gateway->topics);
    uplink_destroy(&gateway->uplink);
    verifier_destroy(&gateway->verifier);
    bus_destroy(&gateway->bus);
    uv_close((uv_handle_t *)&program->turn_end, NULL);
    uv_close((uv_handle_t *)&program->terminate, NULL);
    uv_close((uv_handle_t *)&program->interrupt, NULL);
}

static void fail(struct program *program, const char *line)
{
    log_error("%s", line);
    program->status = 1;
    finish(program);
}

static void on_left(void *arg)
{
    log_info("stopped");
    finish(arg);
}

static void on_drained(void *arg)
{
    struct program *program = arg;

    uplink_leave(program->gateway.uplink, LEAVE_TIMEOUT_MS, on_left, program);
}

/* The first signal: clients go elsewhere, partitions hear that we leave. The second: at once. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    struct gateway *gateway = &program->gateway;

    if (!program->ready || gateway->draining) {
        finish(program);
        return;
    }
    log_info("stopping: %s, %zu connections", number == SIGINT ? "SIGINT" : "SIGTERM",
             sessions_count(gateway->sessions));
    gateway->draining = true;
    listener_stop(gateway->listener);
    sessions_drain(gateway->sessions, on_drained, program);
}

/* ---- the bus ---- */

static void refresh_metrics(void *arg)
{
    gateway_refresh_metrics(arg);
}

static void start_reporter(struct program *program)
{
    struct gateway *gateway = &program->gateway;

    program->reporter = metrics_reporter_create(gateway->loop, gateway->bus, &gateway->deployment,
                                                "gateway", gateway->name, gateway_metrics,
                                                GATEWAY_METRICS, refresh_metrics, gateway);
}

/* Returns false with the line for the operator in error. */
static bool start_modules(struct program *program, struct buffer *error)
{
    struct gateway *gateway = &program->gateway;

    gateway->verifier = verifier_create(gateway, error);
    if (gateway->verifier == NULL)
        return false;
    gateway->uplink = uplink_create(gateway);
    gateway->topics = topics_create(gateway);
    gateway->deliveries = deliveries_create(gateway);
    gateway->sessions = sessions_create(gateway);
    if (gateway->sessions == NULL) {
        buffer_append_text(error, "libwebsockets does not start (is its plugin for libuv, "
                                  "libwebsockets-evlib-uv, installed?)");
        return false;
    }
    gateway->downlink = downlink_create(gateway, &program->redis);
    verifier_refresh(gateway->verifier);
    start_reporter(program);
    return listener_start(gateway->listener, error) == 0;
}

static void on_agreed(void *arg, const char *disagreement)
{
    struct program *program = arg;
    struct buffer error = {0};

    if (disagreement) {
        fail(program, disagreement);
    } else if (!program->ready && !program->finished) {
        program->ready = start_modules(program, &error);
        if (program->ready) {
            log_info("ready: listening on %s, room for %" PRId64 " connections",
                     listener_address(program->gateway.listener),
                     program->gateway.settings.connections);
        } else {
            buffer_append_byte(&error, '\0');
            fail(program, error.data);
        }
    }
    buffer_finish(&error);
}

static void on_bus_up(void *arg)
{
    struct program *program = arg;
    struct gateway *gateway = &program->gateway;

    if (!program->was_up && program->ready)
        log_info("the bus is back");
    program->was_up = true;
    deployment_agree(&gateway->deployment, gateway->bus, &gateway->settings, on_agreed, program);
    if (program->ready) {
        verifier_refresh(gateway->verifier);
        uplink_on_bus_up(gateway->uplink);
    }
}

static void on_bus_down(void *arg, const char *reason)
{
    struct program *program = arg;
    char line[512];

    if (program->ready) {
        if (program->was_up)
            log_warn("the bus is away: %s", reason);
        program->was_up = false;
        return;
    }
    snprintf(line, sizeof(line), "TRUNKLINE_REDIS: %s", reason);
    fail(program, line);
}

static void start_bus(struct program *program)
{
    struct gateway *gateway = &program->gateway;

    gateway->bus = bus_create(gateway->loop, &(struct bus_options){
                                                 .address = &program->redis,
                                                 .client_name = gateway->name,
                                                 .on_up = on_bus_up,
                                                 .on_down = on_bus_down,
                                                 .arg = program,
                                             });
}

/* ---- the start ---- */

/* As many as the settings may need; libwebsockets has tables of that size. What cannot be had
 * lowers the limit of connections. */
static void raise_descriptor_limit(struct settings *settings)
{
    rlim_t wanted = (rlim_t)settings->connections + DESCRIPTOR_RESERVE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted && limit.rlim_cur > DESCRIPTOR_RESERVE)
        settings->connections = (int64_t)(limit.rlim_cur - DESCRIPTOR_RESERVE);
}

static bool read_settings(struct program *program, struct buffer *error)
{
    struct gateway *gateway = &program->gateway;

    if (settings_read(&gateway->settings, SETTINGS_GATEWAY, error) < 0)
        return false;
    if (bus_address_parse(gateway->settings.redis, &program->redis) < 0) {
        buffer_append_text(error, "TRUNKLINE_REDIS: must be redis://[user:password@]host[:port]");
        return false;
    }
    gateway_name(gateway);
    if (log_init(gateway->name, gateway->settings.log) < 0) {
        buffer_append_text(error, "TRUNKLINE_LOG: must be text or json, then :error, :warn, :info "
                                  "or :debug");
        return false;
    }
    return true;
}

static void open_loop(struct program *program)
{
    uv_loop_init(&program->loop);
    program->gateway.loop = &program->loop;
    uv_prepare_init(&program->loop, &program->turn_end);
    uv_signal_init(&program->loop, &program->terminate);
    uv_signal_init(&program->loop, &program->interrupt);
    program->turn_end.data = &program->gateway;
    program->terminate.data = program->interrupt.data = program;
    uv_prepare_start(&program->turn_end, on_turn_end);
    uv_signal_start(&program->terminate, on_signal, SIGTERM);
    uv_signal_start(&program->interrupt, on_signal, SIGINT);
}

static int run(struct program *program)
{
    uv_run(&program->loop, UV_RUN_DEFAULT);
    sessions_destroy(&program->gateway.sessions);
    if (uv_loop_close(&program->loop) < 0)
        log_warn("handles are left in the loop");
    return program->status;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct buffer error = {0};
    int asked = settings_arguments(argc, argv, SETTINGS_GATEWAY);

    if (asked != 0)
        return asked < 0 ? 1 : 0;
    if (!read_settings(&program, &error))
        goto refused;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit(&program.gateway.settings);
    open_loop(&program);
    program.gateway.listener = listener_create(&program.gateway, &error);
    if (program.gateway.listener == NULL)
        goto refused;
    start_bus(&program);
    return run(&program);

refused:
    fprintf(stderr, "%s: %.*s\n", argv[0], (int)error.length, error.data);
    buffer_finish(&error);
    return 1;
}
