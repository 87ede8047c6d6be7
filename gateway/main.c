/*
 * The gateway process: its modules in order, and the same backwards.
 */
#include "common/log.h"
#include "common/metrics_listener.h"
#include "common/process.h"
#include "common/uid.h"
#include "gateway/api/backend.h"
#include "gateway/session/claims.h"
#include "gateway/bus/delivery.h"
#include "gateway/bus/downlink.h"
#include "gateway/bus/extensions.h"
#include "gateway/gateway.h"
#include "gateway/door/http.h"
#include "gateway/topics/history.h"
#include "gateway/door/listener.h"
#include "gateway/bus/query.h"
#include "gateway/identity/password_check.h"
#include "gateway/session/session.h"
#include "gateway/door/tls_relay.h"
#include "gateway/topics/room.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"
#include "gateway/identity/verifier.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Descriptors that are no clients': Redis, the loop, files; and newcomers, who are answered 503
 * when it is full. */
#define DESCRIPTOR_RESERVE 256
/* Where there are too few, connections of HTTP that are kept may take one in so many. */
#define HTTP_IDLE_SHARE 8
#define LEAVE_TIMEOUT_MS 3000

struct program {
    struct process process;
    struct gateway gateway;
    uv_prepare_t turn_end;
    struct metrics_reporter *reporter;
    struct metrics_listener *metrics;
};

/* The end of each loop turn: everything that was said in it goes out, in one write each. */
static void on_turn_end(uv_prepare_t *handle)
{
    struct gateway *gateway = handle->data;

    if (gateway->sessions == NULL)
        return;
    sessions_flush(gateway->sessions);
    rooms_flush(gateway->rooms);
    uplink_flush(gateway->uplink);
    sessions_flush(gateway->sessions);
}

/* As many as the settings may need; libwebsockets has tables of that size. What cannot be had
 * lowers the limit of connections, and of those of HTTP that are kept. */
static void raise_descriptor_limit(struct settings *settings)
{
    /* Any of them may come with TLS. */
    rlim_t each = settings->gateway_tls_listen[0] != '\0' ? TLS_RELAY_DESCRIPTORS : 1;
    rlim_t wanted =
        (rlim_t)(settings->connections + settings->http_idle) * each + DESCRIPTOR_RESERVE;
    struct rlimit limit;
    int64_t room;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted || limit.rlim_cur <= DESCRIPTOR_RESERVE)
        return;
    room = (int64_t)((limit.rlim_cur - DESCRIPTOR_RESERVE) / each);
    if (settings->http_idle > room / HTTP_IDLE_SHARE)
        settings->http_idle = room / HTTP_IDLE_SHARE;
    if (settings->connections > room - settings->http_idle)
        settings->connections = room - settings->http_idle;
}

static int check_settings(const struct settings *settings, struct buffer *error)
{
    if (strcmp(settings->callie_offline, "discard") == 0 ||
        strcmp(settings->callie_offline, "store") == 0)
        return 0;
    buffer_append_text(error, "TRUNKLINE_CALLIE_OFFLINE: must be discard or store");
    return -1;
}

static bool is_ready(void *arg)
{
    return gateway_is_ready(arg);
}

/* Until Redis is there, pages for monitoring are all there is: the rest is answered 503. */
static int open_door(struct program *program, struct buffer *error)
{
    struct gateway *gateway = &program->gateway;

    if (gateway->settings.gateway_metrics_listen[0] != '\0') {
        program->metrics =
            metrics_listener_create(gateway->loop, gateway->settings.gateway_metrics_listen,
                                    http_append_metrics, is_ready, gateway, error);
        if (program->metrics == NULL)
            return -1;
    }
    return listener_start(gateway->listener, error);
}

static int on_start(struct process *process, struct buffer *error)
{
    struct program *program = (struct program *)process;
    struct gateway *gateway = &program->gateway;

    gateway->loop = &process->loop;
    gateway->settings = process->settings;
    gateway->bus = process->bus;
    gateway->started_ms = uv_now(gateway->loop);
    gateway->bits = uid_random64();
    snprintf(gateway->name, sizeof(gateway->name), "%s", process->name);
    snprintf(gateway->id, sizeof(gateway->id), "%s-%016" PRIx64, gateway->name, gateway->bits);
    uplink_add_script(gateway->bus);
    queries_add_scripts(gateway->bus);
    histories_add_script(gateway->bus);
    extensions_add_script(gateway->bus);
    backend_add_scripts(gateway->bus);
    raise_descriptor_limit(&gateway->settings);
    uv_prepare_init(gateway->loop, &program->turn_end);
    program->turn_end.data = gateway;
    uv_prepare_start(&program->turn_end, on_turn_end);
    gateway->rate_users = rate_users_create();
    gateway->backend = backend_create(gateway, error);
    if (gateway->backend == NULL)
        return -1;
    if (check_settings(&process->settings, error) < 0)
        return -1;
    gateway->listener = listener_create(gateway, error);
    return gateway->listener != NULL ? open_door(program, error) : -1;
}

static void refresh_metrics(void *arg)
{
    gateway_refresh_metrics(arg);
}

static int on_ready(struct process *process, struct buffer *error)
{
    struct program *program = (struct program *)process;
    struct gateway *gateway = &program->gateway;

    gateway->deployment = process->deployment;
    gateway->verifier = verifier_create(gateway, error);
    if (gateway->verifier == NULL)
        return -1;
    gateway->uplink = uplink_create(gateway);
    gateway->histories = histories_create(gateway);
    gateway->topics = topics_create(gateway);
    gateway->rooms = rooms_create(gateway);
    gateway->claims = claims_create(gateway);
    gateway->queries = queries_create(gateway);
    gateway->passwords = password_checks_create(gateway);
    gateway->deliveries = deliveries_create(gateway);
    gateway->sessions = sessions_create(gateway);
    if (gateway->sessions == NULL) {
        buffer_append_text(error, "libwebsockets does not start (is its plugin for libuv, "
                                  "libwebsockets-evlib-uv, installed?)");
        return -1;
    }
    gateway->downlink = downlink_create(gateway, &process->address);
    program->reporter = metrics_reporter_create(gateway->loop, gateway->bus, &gateway->deployment,
                                                "gateway", gateway->name, gateway_metrics,
                                                GATEWAY_METRICS, refresh_metrics, gateway);
    gateway->open_ms = uv_now(gateway->loop);
    if (listener_tls_address(gateway->listener) != NULL)
        log_info("TLS on %s", listener_tls_address(gateway->listener));
    log_info("ready: listening on %s, room for %" PRId64 " connections",
             listener_address(gateway->listener), gateway->settings.connections);
    return 0;
}

static void on_up(struct process *process)
{
    struct gateway *gateway = &((struct program *)process)->gateway;

    verifier_refresh(gateway->verifier);
    uplink_on_bus_up(gateway->uplink);
}

static void on_reload(struct process *process)
{
    struct gateway *gateway = &((struct program *)process)->gateway;

    verifier_reload(gateway->verifier);
    listener_reload(gateway->listener);
}

static void on_left(void *arg)
{
    process_end(arg);
}

static void on_answered(void *arg)
{
    struct program *program = arg;

    uplink_leave(program->gateway.uplink, LEAVE_TIMEOUT_MS, on_left, &program->process);
}

static void on_drained(void *arg)
{
    struct program *program = arg;

    backend_drain(program->gateway.backend, on_answered, program);
}

/* Clients go elsewhere, requests of the API are answered, then partitions hear that we leave. */
static void on_stop(struct process *process)
{
    struct program *program = (struct program *)process;
    struct gateway *gateway = &program->gateway;

    gateway->draining = true;
    listener_stop(gateway->listener);
    sessions_drain(gateway->sessions, on_drained, program);
}

static void on_finish(struct process *process)
{
    struct program *program = (struct program *)process;
    struct gateway *gateway = &program->gateway;

    metrics_listener_destroy(&program->metrics);
    metrics_reporter_destroy(&program->reporter);
    listener_end(gateway->listener);
    backend_destroy(&gateway->backend);
    if (gateway->sessions != NULL)
        sessions_stop(gateway->sessions);
    listener_destroy(&gateway->listener);
    downlink_destroy(&gateway->downlink);
    deliveries_destroy(&gateway->deliveries);
    queries_destroy(&gateway->queries);
    password_checks_destroy(&gateway->passwords);
    claims_destroy(&gateway->claims);
    rooms_destroy(&gateway->rooms);
    topics_destroy(&gateway->topics);
    histories_destroy(&gateway->histories);
    uplink_destroy(&gateway->uplink);
    verifier_destroy(&gateway->verifier);
    bus_destroy(&process->bus);
    uv_close((uv_handle_t *)&program->turn_end, NULL);
}

static void on_finished(struct process *process)
{
    struct gateway *gateway = &((struct program *)process)->gateway;

    sessions_destroy(&gateway->sessions);
    rate_users_destroy(&gateway->rate_users);
}

int main(int argc, char **argv)
{
    static const struct process_kind kind = {
        .name = "gateway",
        .settings = SETTINGS_GATEWAY,
        .on_start = on_start,
        .on_ready = on_ready,
        .on_up = on_up,
        .on_reload = on_reload,
        .on_stop = on_stop,
        .on_finish = on_finish,
        .on_finished = on_finished,
    };
    static struct program program;

    return process_main(&program.process, &kind, argc, argv);
}
