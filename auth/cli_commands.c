/*
 * The commands of trunkline-auth, each a short chain of steps.
 */
#include "auth/announcements.h"
#include "auth/cli.h"
#include "auth/passwords.h"
#include "auth/signing_keys.h"
#include "auth/tokens.h"
#include "common/password_ask.h"
#include "common/user.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char redis_failed[] = "Redis is away: it may or may not have been done";

/* ---- passwords ---------------------------------------------------------------------------------
 */

static void hash_password(struct cli *cli, passwords_hashed_fn *callback)
{
    if (cli->password.length < PASSWORD_MIN || cli->password.length > PASSWORD_MAX)
        cli_fail(cli, "a password has %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
    else if (passwords_hash(cli->auth.passwords, buffer_slice(&cli->password), callback, cli) < 0)
        cli_fail(cli, "the password cannot be hashed");
}

static void on_created(void *arg, const struct bus_reply *reply)
{
    struct cli *cli = arg;

    switch (accounts_created(reply)) {
    case 0:
        cli_end(cli);
        return;
    case -EEXIST:
        cli_fail(cli, "there is a user %s already", cli->argv[0]);
        return;
    default:
        cli_fail(cli, redis_failed);
        return;
    }
}

static void on_hashed_of_new(void *arg, const char *encoded)
{
    struct cli *cli = arg;

    if (encoded == NULL || accounts_create(&cli->auth, cli->user, encoded, on_created, cli) < 0)
        cli_fail(cli, redis_failed);
}

static void add_user(struct cli *cli)
{
    hash_password(cli, on_hashed_of_new);
}

/* ---- ending sessions, as a command and as the end of others ------------------------------------
 */

static void revoke_next(void *arg, int result)
{
    struct cli *cli = arg;

    if (result == 0 && cli->revoke.count > 0) {
        const struct ended_token *token = &cli->revoke.all[--cli->revoke.count];

        result = revoke_token(&cli->auth, token->token_id, cli->user, token->expires_at,
                              revoke_next, cli);
        if (result == 0)
            return;
    }
    if (result < 0) {
        cli_fail(cli, redis_failed);
        return;
    }
    if (cli->ended_logins >= 0)
        printf("%d sessions ended\n", cli->ended_logins);
    cli_end(cli);
}

static void on_logins_ended(void *arg, const struct bus_reply *reply)
{
    struct cli *cli = arg;

    cli->ended_logins = logins_ended(reply, &cli->revoke);
    if (cli->ended_logins < 0)
        cli_fail(cli, redis_failed);
    else if (cli->ended_logins == 0 && cli->argc > 1)
        cli_fail(cli, "%s has no session %s", cli->argv[0], cli->argv[1]);
    else
        revoke_next(cli, 0);
}

static void end_sessions(struct cli *cli)
{
    const char *session = cli->argc > 1 ? cli->argv[1] : NULL;

    if (logins_end(&cli->auth, cli->user, session, on_logins_ended, cli) < 0)
        cli_fail(cli, redis_failed);
}

static int open_tokens(struct cli *cli);

/* A token tells all that is to be known of it. */
static void revoke_one_token(struct cli *cli)
{
    struct identity identity = {0};
    enum verifier_result result;

    if (open_tokens(cli) < 0)
        return;
    result = token_check(cli->auth.tokens, buffer_slice(&cli->password), time(NULL), &identity);
    if (result == VERIFIER_EXPIRED) {
        cli_fail(cli, "the token has expired already");
    } else if (result != VERIFIER_OK || identity.token_id == NULL) {
        cli_fail(cli, "this is no valid token of this auth");
    } else {
        cli->ended_logins = -1;
        cli->user = slice_text(identity.user);
        ended_tokens_add(&cli->revoke, slice_text(identity.token_id), identity.expires_at);
        revoke_next(cli, 0);
    }
    identity_finish(&identity);
    tokens_destroy(&cli->auth.tokens);
    signing_keys_destroy(&cli->auth.keys);
}

static void on_changed(void *arg, const struct bus_reply *reply)
{
    struct cli *cli = arg;

    switch (accounts_changed(reply)) {
    case 0:
        end_sessions(cli);
        return;
    case -ENOENT:
        cli_fail(cli, "there is no user %s", cli->argv[0]);
        return;
    default:
        cli_fail(cli, redis_failed);
        return;
    }
}

static void on_hashed_again(void *arg, const char *encoded)
{
    struct cli *cli = arg;

    if (encoded == NULL ||
        accounts_set_password(&cli->auth, cli->user, encoded, on_changed, cli) < 0)
        cli_fail(cli, redis_failed);
}

static void set_password(struct cli *cli)
{
    hash_password(cli, on_hashed_again);
}

static void remove_user(struct cli *cli)
{
    if (accounts_remove(&cli->auth, cli->user, on_changed, cli) < 0)
        cli_fail(cli, redis_failed);
}

/* ---- listing -----------------------------------------------------------------------------------
 */

static void print_time(const char *seconds)
{
    time_t when = (time_t)strtoll(seconds, NULL, 10);
    struct tm utc;
    char text[32];

    gmtime_r(&when, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    fputs(text, stdout);
}

/* "refresh=... tokens=<id>:<end>,... expires=<end>" */
static void print_session(struct slice login, struct slice text)
{
    char *copy = strndup(text.data, text.length);
    char *expires = copy ? strstr(copy, " expires=") : NULL;
    char *tokens = copy ? strstr(copy, " tokens=") : NULL;

    printf("%.*s  until ", (int)login.length, login.data);
    if (expires != NULL && tokens != NULL) {
        print_time(expires + strlen(" expires="));
        *expires = '\0';
        fputs("  tokens", stdout);
        for (char *token = strtok(tokens + strlen(" tokens="), ","); token != NULL;
             token = strtok(NULL, ","))
            printf(" %.*s", (int)strcspn(token, ":"), token);
    }
    putchar('\n');
    free(copy);
}

static void on_logins(void *arg, const struct bus_reply *reply)
{
    struct cli *cli = arg;

    if (bus_reply_kind(reply) != BUS_ARRAY) {
        cli_fail(cli, redis_failed);
        return;
    }
    for (size_t i = 0; i + 1 < bus_reply_count(reply); i += 2)
        print_session(bus_reply_text(bus_reply_at(reply, i)),
                      bus_reply_text(bus_reply_at(reply, i + 1)));
    cli_end(cli);
}

static void list_sessions(struct cli *cli)
{
    if (logins_find(&cli->auth, cli->user, on_logins, cli) < 0)
        cli_fail(cli, redis_failed);
}

/* ---- tokens and keys ---------------------------------------------------------------------------
 */

static int open_tokens(struct cli *cli)
{
    struct auth *auth = &cli->auth;
    struct buffer error = {0};

    if (auth->settings.token_secret_file[0] == '\0')
        auth->keys =
            signing_keys_create(auth->settings.auth_keys, auth->settings.token_algorithm, &error);
    if (auth->settings.token_secret_file[0] != '\0' || auth->keys != NULL)
        auth->tokens = tokens_create(&auth->settings, auth->keys, &error);
    if (auth->tokens == NULL) {
        signing_keys_destroy(&auth->keys);
        cli_fail(cli, "%.*s", (int)error.length, error.data);
    }
    buffer_finish(&error);
    return auth->tokens != NULL ? 0 : -1;
}

/* Returns the seconds, or 0. */
static int64_t read_ttl(const struct cli *cli)
{
    int64_t most = cli->auth.settings.token_ttl;
    char *end;
    long long ttl;

    if (cli->argc < 2)
        return most;
    errno = 0;
    ttl = strtoll(cli->argv[1], &end, 10);
    return errno == 0 && end != cli->argv[1] && *end == '\0' && ttl > 0 && ttl <= most ? ttl : 0;
}

static void make_token(struct cli *cli)
{
    int64_t ttl = read_ttl(cli), now_s = time(NULL);
    struct issued_token token;

    if (ttl == 0) {
        cli_fail(cli, "seconds: 1 to %" PRId64 " (TRUNKLINE_TOKEN_TTL)",
                 cli->auth.settings.token_ttl);
        return;
    }
    if (open_tokens(cli) < 0)
        return;
    token_plan(&token, now_s, ttl);
    if (token_sign(cli->auth.tokens, cli->user, now_s, &token) == 0) {
        puts(token.text);
        cli_end(cli);
    } else {
        cli_fail(cli, "the token cannot be signed");
    }
    free(token.text);
    tokens_destroy(&cli->auth.tokens);
    signing_keys_destroy(&cli->auth.keys);
}

static void rotate_keys(struct cli *cli)
{
    const struct settings *settings = &cli->auth.settings;
    struct buffer error = {0};

    if (settings->token_secret_file[0] != '\0') {
        cli_fail(cli, "TRUNKLINE_TOKEN_SECRET_FILE: tokens are signed with that secret");
        return;
    }
    if (signing_key_make(settings->auth_keys, settings->token_algorithm, INT64_MAX, &error) < 0) {
        cli_fail(cli, "%.*s", (int)error.length, error.data);
    } else {
        printf("a new key was made in %s; it signs in %d seconds, and the one before it is retired "
               "%" PRId64 " seconds (TRUNKLINE_TOKEN_TTL) later\n",
               settings->auth_keys, SIGNING_KEY_DELAY_S, settings->token_ttl);
        cli_end(cli);
    }
    buffer_finish(&error);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

const struct cli_command cli_commands[] = {
    {"add-user", "USER", "makes an account; asks for its password", 1, 1, true, true, "password",
     true, add_user},
    {"set-password", "USER", "another password; ends all sessions and revokes their tokens", 1, 1,
     true, true, "password", true, set_password},
    {"remove-user", "USER", "removes the account; ends all sessions and revokes their tokens", 1, 1,
     true, true, NULL, false, remove_user},
    {"list-sessions", "USER", "each login: its id, its end, its live tokens", 1, 1, true, true,
     NULL, false, list_sessions},
    {"revoke", "USER [SESSION]",
     "ends one session or all, and revokes their tokens: connections with them are closed", 1, 2,
     true, true, NULL, false, end_sessions},
    {"revoke-token", "", "revokes one token; asks for it", 0, 0, false, true, "token", false,
     revoke_one_token},
    {"make-token", "USER [SECONDS]",
     "prints a token, without a session; SECONDS: at most and by default TRUNKLINE_TOKEN_TTL", 1, 2,
     true, false, NULL, false, make_token},
    {"rotate-keys", "", "makes a new signing key; tokens of the old ones stay valid", 0, 0, false,
     false, NULL, false, rotate_keys},
    {.name = NULL},
};
