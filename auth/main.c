/*
 * auth: accounts, logins and tokens. Gateways check the tokens themselves, with the keys and
 * revocations that auth writes to Redis.
 */
#include "auth/accounts.h"
#include "auth/announcements.h"
#include "auth/api.h"
#include "auth/auth.h"
#include "auth/http.h"
#include "auth/passwords.h"
#include "auth/signing_keys.h"
#include "auth/tokens.h"
#include "common/deployment.h"
#include "common/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define METRIC(NAME, metric_name, is_gauge, sentence)                                              \
    [AUTH_##NAME] = {.name = metric_name, .help = sentence, .gauge = is_gauge},
struct metric auth_metrics[AUTH_METRICS] = {
#include "auth/metrics.def"
};
#undef METRIC

/* What only main has to do with. */
struct process {
    struct auth auth;
    struct bus_address redis;
    struct http_server *server; /* NULL until it was ready once */
    struct key_publisher *publisher;
    struct metrics_reporter *reporter;
    uv_signal_t terminate, interrupt;
    int exit_code;
};

/* ---- the end -----------------------------------------------------------------------------------
 */

static void fail(struct process *process, const char *why)
{
    log_error("%s", why);
    process->exit_code = 1;
    uv_stop(process->auth.loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    log_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    uv_stop(handle->loop);
}

/* ---- being ready -------------------------------------------------------------------------------
 */

static struct process *process_of(struct auth *auth)
{
    return (struct process *)auth;
}

/* Listens from the first time on: who finds the port open can log in. */
static void on_ready(struct auth *auth)
{
    struct process *process = process_of(auth);
    const char *address = auth->settings.auth_listen;
    struct buffer error = {0};

    auth->ready = true;
    if (process->server != NULL)
        return;
    process->server = http_server_create(auth->loop, address, api_on_request, auth->api, &error);
    if (process->server != NULL) {
        log_info("ready: listening on %s", address);
        return;
    }
    buffer_append_byte(&error, '\0');
    log_error("TRUNKLINE_AUTH_LISTEN: %s", error.data);
    buffer_finish(&error);
    process->exit_code = 1;
    uv_stop(auth->loop);
}

static void on_agreed(void *arg, const char *error)
{
    struct process *process = arg;

    if (error != NULL)
        fail(process, error);
    else if (process->publisher != NULL)
        key_publisher_look(process->publisher);
    else
        on_ready(&process->auth);
}

static void on_bus_up(void *arg)
{
    struct process *process = arg;

    if (process->server != NULL)
        log_info("Redis is back");
    deployment_agree(&process->auth.deployment, process->auth.bus, &process->auth.settings,
                     on_agreed, process);
}

static void on_bus_down(void *arg, const char *reason)
{
    struct process *process = arg;

    if (process->server == NULL)
        fail(process, reason);
    else if (process->auth.ready)
        log_warn("%s", reason);
    process->auth.ready = false;
}

static void refresh_metrics(void *arg)
{
    struct process *process = arg;

    auth_metrics[AUTH_PASSWORD_JOBS].value = passwords_jobs(process->auth.passwords);
    auth_metrics[AUTH_CONNECTIONS].value =
        process->server ? http_server_requests(process->server) : 0;
}

/* ---- start and finish --------------------------------------------------------------------------
 */

static int complain(struct buffer *error)
{
    log_error("%.*s", (int)error->length, error->data);
    buffer_finish(error);
    return -1;
}

static int read_settings(struct process *process)
{
    struct auth *auth = &process->auth;
    struct buffer error = {0};
    char host[32] = "";

    if (log_init("auth", "text:info") < 0 ||
        settings_read(&auth->settings, SETTINGS_AUTH, &error) < 0)
        return complain(&error);
    gethostname(host, sizeof(host) - 1);
    if (auth->settings.name[0] != '\0')
        snprintf(auth->name, sizeof(auth->name), "%s", auth->settings.name);
    else
        snprintf(auth->name, sizeof(auth->name), "auth-%s-%d", host, (int)getpid());
    if (log_init(auth->name, auth->settings.log) < 0)
        buffer_appendf(&error, "TRUNKLINE_LOG: %s is no format and level", auth->settings.log);
    else if (bus_address_parse(auth->settings.redis, &process->redis) < 0)
        buffer_append_text(&error, "TRUNKLINE_REDIS: must be redis://[user:password@]host[:port]");
    if (error.length > 0)
        return complain(&error);
    snprintf(auth->deployment.prefix, sizeof(auth->deployment.prefix), "%s", auth->settings.prefix);
    return 0;
}

static int open_keys(struct auth *auth)
{
    struct buffer error = {0};

    if (auth->settings.token_secret_file[0] == '\0') {
        auth->keys = signing_keys_create(auth->settings.auth_keys, &error);
        if (auth->keys == NULL)
            return complain(&error);
    }
    auth->tokens = tokens_create(&auth->settings, auth->keys, &error);
    return auth->tokens != NULL ? 0 : complain(&error);
}

static void watch_signals(struct process *process)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(process->auth.loop, &process->terminate);
    uv_signal_init(process->auth.loop, &process->interrupt);
    uv_signal_start(&process->terminate, on_signal, SIGTERM);
    uv_signal_start(&process->interrupt, on_signal, SIGINT);
}

static void start(struct process *process)
{
    struct auth *auth = &process->auth;
    const struct bus_options options = {.address = &process->redis,
                                        .client_name = auth->name,
                                        .on_up = on_bus_up,
                                        .on_down = on_bus_down,
                                        .arg = process};

    watch_signals(process);
    auth->passwords = passwords_create(auth->loop);
    auth->api = api_create(auth);
    auth->bus = bus_create(auth->loop, &options);
    accounts_add_scripts(auth->bus);
    announcements_add_scripts(auth->bus);
    if (auth->keys != NULL)
        process->publisher = key_publisher_create(auth, on_ready);
    process->reporter =
        metrics_reporter_create(auth->loop, auth->bus, &auth->deployment, "auth", auth->name,
                                auth_metrics, AUTH_METRICS, refresh_metrics, process);
}

/* In reverse. Clients first: what is under way then ends without them. */
static void finish(struct process *process)
{
    struct auth *auth = &process->auth;

    if (process->server != NULL)
        http_server_stop(process->server);
    while (passwords_jobs(auth->passwords) > 0)
        uv_run(auth->loop, UV_RUN_ONCE);
    metrics_reporter_destroy(&process->reporter);
    bus_destroy(&auth->bus);
    key_publisher_destroy(&process->publisher);
    api_destroy(&auth->api);
    passwords_destroy(&auth->passwords);
    uv_close((uv_handle_t *)&process->terminate, NULL);
    uv_close((uv_handle_t *)&process->interrupt, NULL);
    uv_run(auth->loop, UV_RUN_DEFAULT);
    http_server_destroy(&process->server);
}

int main(int argc, char **argv)
{
    struct process process = {.auth.loop = uv_default_loop()};
    int answered = settings_arguments(argc, argv, SETTINGS_AUTH);

    if (answered != 0)
        return answered > 0 ? 0 : 1;
    if (read_settings(&process) == 0 && open_keys(&process.auth) == 0) {
        start(&process);
        uv_run(process.auth.loop, UV_RUN_DEFAULT);
        finish(&process);
    } else {
        process.exit_code = 1;
    }
    tokens_destroy(&process.auth.tokens);
    signing_keys_destroy(&process.auth.keys);
    uv_loop_close(process.auth.loop);
    return process.exit_code;
}
