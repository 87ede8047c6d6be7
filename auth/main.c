/*
 * auth: accounts, logins and tokens. Gateways check the tokens themselves, with the keys and
 * revocations that auth writes to Redis.
 */
#include "auth/accounts.h"
#include "auth/announcements.h"
#include "auth/api.h"
#include "auth/auth.h"
#include "auth/cli.h"
#include "auth/http.h"
#include "auth/key_rotation.h"
#include "auth/password_asks.h"
#include "auth/password_box.h"
#include "auth/passwords.h"
#include "auth/signing_keys.h"
#include "auth/tokens.h"
#include "common/log.h"
#include "common/process.h"

#include <stdio.h>
#include <string.h>

#define METRIC(NAME, metric_name, is_gauge, sentence)                                              \
    [AUTH_##NAME] = {.name = metric_name, .help = sentence, .gauge = is_gauge},
struct metric auth_metrics[AUTH_METRICS] = {
#include "auth/metrics.def"
};
#undef METRIC

/* What only main has to do with. */
struct program {
    struct process process;
    struct auth auth;
    struct http_server *server;
    struct key_publisher *publisher;
    struct metrics_reporter *reporter;
    uv_timer_t drain; /* while passwords are still worked on */
};

/* How often is looked whether the last password is done. */
#define DRAIN_MS 10

/* Gateways have the keys: who finds this port answering can log in and is believed. */
static void on_published(struct auth *auth)
{
    if (!auth->ready)
        log_info("ready: listening on %s", auth->settings.auth_listen);
    auth->ready = true;
}

static void refresh_metrics(void *arg)
{
    struct program *program = arg;

    auth_metrics[AUTH_PASSWORD_JOBS].value = passwords_jobs(program->auth.passwords);
    auth_metrics[AUTH_CONNECTIONS].value =
        program->server ? http_server_requests(program->server) : 0;
}

static int open_keys(struct auth *auth, struct buffer *error)
{
    if (auth->settings.token_secret_file[0] == '\0') {
        if (strcmp(auth->settings.token_algorithm, "RS256") != 0 &&
            strcmp(auth->settings.token_algorithm, "ES256") != 0) {
            buffer_append_text(error, "TRUNKLINE_TOKEN_ALGORITHM: must be RS256 or ES256");
            return -1;
        }
        auth->keys =
            signing_keys_create(auth->settings.auth_keys, auth->settings.token_algorithm, error);
        if (auth->keys == NULL)
            return -1;
        auth->rotation = key_rotation_create(auth);
    }
    auth->box = password_box_open(auth->settings.auth_keys, error);
    if (auth->box == NULL)
        return -1;
    auth->tokens = tokens_create(&auth->settings, auth->keys, error);
    return auth->tokens != NULL ? 0 : -1;
}

/* Until there is a deployment, all that needs Redis is answered 503. */
static int open_door(struct program *program, struct buffer *error)
{
    struct auth *auth = &program->auth;

    buffer_append_text(error, "TRUNKLINE_AUTH_LISTEN: ");
    program->server = http_server_create(auth->loop, auth->settings.auth_listen, api_on_request,
                                         auth->api, error);
    if (program->server == NULL)
        return -1;
    uv_timer_init(auth->loop, &program->drain);
    program->drain.data = program;
    return 0;
}

static int on_start(struct process *process, struct buffer *error)
{
    struct program *program = (struct program *)process;
    struct auth *auth = &program->auth;

    auth->loop = &process->loop;
    auth->settings = process->settings;
    auth->bus = process->bus;
    snprintf(auth->name, sizeof(auth->name), "%s", process->name);
    auth->passwords = passwords_create(auth->loop);
    auth->api = api_create(auth);
    accounts_add_scripts(auth->bus);
    announcements_add_scripts(auth->bus);
    return open_keys(auth, error) < 0 ? -1 : open_door(program, error);
}

static int on_ready(struct process *process, struct buffer *error)
{
    struct program *program = (struct program *)process;
    struct auth *auth = &program->auth;

    (void)error;
    auth->deployment = process->deployment;
    program->publisher = key_publisher_create(auth, on_published);
    auth->asks = password_asks_create(auth, auth->box, &process->address);
    program->reporter =
        metrics_reporter_create(auth->loop, auth->bus, &auth->deployment, "auth", auth->name,
                                auth_metrics, AUTH_METRICS, refresh_metrics, program);
    return 0;
}

static void on_up(struct process *process)
{
    struct program *program = (struct program *)process;

    key_publisher_look(program->publisher);
}

static void on_down(struct process *process, const char *reason)
{
    struct program *program = (struct program *)process;

    (void)reason;
    program->auth.ready = false;
}

static void on_drain(uv_timer_t *timer)
{
    struct program *program = timer->data;

    if (passwords_jobs(program->auth.passwords) == 0)
        process_end(&program->process);
}

/* Clients first: what is under way then ends without them. */
static void on_stop(struct process *process)
{
    struct program *program = (struct program *)process;

    http_server_stop(program->server);
    password_asks_stop(program->auth.asks);
    uv_timer_start(&program->drain, on_drain, 0, DRAIN_MS);
}

static void on_finish(struct process *process)
{
    struct program *program = (struct program *)process;
    struct auth *auth = &program->auth;

    if (program->server != NULL) {
        if (!process->stopping)
            http_server_stop(program->server);
        uv_close((uv_handle_t *)&program->drain, NULL);
    }
    metrics_reporter_destroy(&program->reporter);
    bus_destroy(&process->bus);
    password_asks_destroy(&auth->asks);
    key_publisher_destroy(&program->publisher);
    key_rotation_destroy(&auth->rotation);
    api_destroy(&auth->api);
    passwords_destroy(&auth->passwords);
}

static void on_finished(struct process *process)
{
    struct program *program = (struct program *)process;

    http_server_destroy(&program->server);
    tokens_destroy(&program->auth.tokens);
    signing_keys_destroy(&program->auth.keys);
    unsealing_key_destroy(&program->auth.box);
}

int main(int argc, char **argv)
{
    static const struct process_kind kind = {
        .name = "auth",
        .settings = SETTINGS_AUTH,
        .on_start = on_start,
        .on_ready = on_ready,
        .on_up = on_up,
        .on_down = on_down,
        .on_stop = on_stop,
        .on_finish = on_finish,
        .on_finished = on_finished,
    };
    static struct program program;

    if (cli_is_wanted(argc, argv))
        return cli_main(argc, argv);
    return process_main(&program.process, &kind, argc, argv);
}
