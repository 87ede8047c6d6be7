#include "auth/accounts.h"

#include "common/embed.h"
#include "common/xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOGINS_MAX "32" /* of one user */
#define DIGITS_SIZE 24

EMBED(create_account_lua, "auth/create_account.lua");
EMBED(begin_login_lua, "auth/begin_login.lua");
EMBED(renew_login_lua, "auth/renew_login.lua");
EMBED(end_login_lua, "auth/end_login.lua");
EMBED(set_password_lua, "auth/set_password.lua");

static struct bus_script create_account = {.name = "create_account", .text = create_account_lua};
static struct bus_script begin_login = {.name = "begin_login", .text = begin_login_lua};
static struct bus_script renew_login = {.name = "renew_login", .text = renew_login_lua};
static struct bus_script end_login = {.name = "end_login", .text = end_login_lua};
static struct bus_script set_password = {.name = "set_password", .text = set_password_lua};

void accounts_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &create_account);
    bus_add_script(bus, &begin_login);
    bus_add_script(bus, &renew_login);
    bus_add_script(bus, &end_login);
    bus_add_script(bus, &set_password);
}

static const char *digits(int64_t number, char text[DIGITS_SIZE])
{
    snprintf(text, DIGITS_SIZE, "%" PRId64, number);
    return text;
}

/* A script on one key of the user; words are its arguments. */
static int run(struct auth *auth, struct bus_script *script, const char *what, struct slice user,
               const char *const *words, size_t count, bus_reply_fn *callback, void *arg)
{
    struct slice argv[9];
    struct buffer key = {0};
    int result;

    key_global(&key, &auth->deployment, what, user);
    argv[0] = buffer_slice(&key);
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = slice_text(words[i]);
    result = bus_eval(auth->bus, script, callback, arg, 1, count + 1, argv);
    buffer_finish(&key);
    return result;
}

/* ---- accounts ----------------------------------------------------------------------------------
 */

int accounts_create(struct auth *auth, struct slice user, const char *encoded_password,
                    bus_reply_fn *callback, void *arg)
{
    char now[DIGITS_SIZE];
    const char *words[] = {encoded_password, digits(time(NULL), now)};

    return run(auth, &create_account, "auth:account", user, words, 2, callback, arg);
}

int accounts_created(const struct bus_reply *reply)
{
    if (bus_reply_kind(reply) != BUS_INTEGER)
        return -EAGAIN;
    return bus_reply_integer(reply) == 1 ? 0 : -EEXIST;
}

int accounts_set_password(struct auth *auth, struct slice user, const char *encoded_password,
                          bus_reply_fn *callback, void *arg)
{
    return run(auth, &set_password, "auth:account", user, &encoded_password, 1, callback, arg);
}

/* word key, or word key more. */
static int command(struct auth *auth, const char *word, const char *what, struct slice user,
                   const char *more, bus_reply_fn *callback, void *arg)
{
    struct slice argv[3];
    struct buffer key = {0};
    int result;

    key_global(&key, &auth->deployment, what, user);
    argv[0] = slice_text(word);
    argv[1] = buffer_slice(&key);
    argv[2] = slice_text(more);
    result = bus_command(auth->bus, callback, arg, more ? 3 : 2, argv);
    buffer_finish(&key);
    return result;
}

int accounts_remove(struct auth *auth, struct slice user, bus_reply_fn *callback, void *arg)
{
    return command(auth, "DEL", "auth:account", user, NULL, callback, arg);
}

int accounts_changed(const struct bus_reply *reply)
{
    if (bus_reply_kind(reply) != BUS_INTEGER)
        return -EAGAIN;
    return bus_reply_integer(reply) == 1 ? 0 : -ENOENT;
}

int accounts_find(struct auth *auth, struct slice user, bus_reply_fn *callback, void *arg)
{
    return command(auth, "HGET", "auth:account", user, "password", callback, arg);
}

int accounts_found(const struct bus_reply *reply, struct slice *encoded_password)
{
    *encoded_password = bus_reply_text(reply);
    switch (bus_reply_kind(reply)) {
    case BUS_TEXT:
        return 0;
    case BUS_NIL:
        return -ENOENT;
    default:
        return -EAGAIN;
    }
}

/* ---- logins ------------------------------------------------------------------------------------
 */

/* The first of a script's reply; *found says whether it is there at all. */
static int64_t first_integer(const struct bus_reply *reply, bool *found)
{
    const struct bus_reply *first = bus_reply_at(reply, 0);

    *found = bus_reply_kind(first) == BUS_INTEGER;
    return bus_reply_integer(first);
}

void ended_tokens_add(struct ended_tokens *ended, struct slice token_id, int64_t expires_at)
{
    struct ended_token *token;

    if (token_id.length == 0 || token_id.length >= TOKEN_ID_SIZE)
        return;
    for (size_t i = 0; i < ended->count; i++)
        if (slice_is(token_id, ended->all[i].token_id))
            return;
    ended->all = xrealloc(ended->all, (ended->count + 1) * sizeof(*ended->all));
    token = &ended->all[ended->count++];
    *token = (struct ended_token){.expires_at = expires_at};
    memcpy(token->token_id, token_id.data, token_id.length);
}

void ended_tokens_finish(struct ended_tokens *ended)
{
    free(ended->all);
    *ended = (struct ended_tokens){0};
}

/* Behind the first of a script's reply: token id, its end, ... */
static void read_ended(const struct bus_reply *reply, struct ended_tokens *ended)
{
    for (size_t i = 1; i + 1 < bus_reply_count(reply); i += 2) {
        struct slice expires = bus_reply_text(bus_reply_at(reply, i + 1));
        char text[DIGITS_SIZE] = "";

        if (expires.length >= sizeof(text))
            continue;
        memcpy(text, expires.data, expires.length);
        ended_tokens_add(ended, bus_reply_text(bus_reply_at(reply, i)), strtoll(text, NULL, 10));
    }
}

int logins_begin(struct auth *auth, const struct refresh_token *refresh,
                 const struct issued_token *token, int64_t now_s, bus_reply_fn *callback, void *arg)
{
    char ends[DIGITS_SIZE], now[DIGITS_SIZE], ttl[DIGITS_SIZE];
    const char *words[] = {refresh->login,     refresh->hash,
                           token->token_id,    digits(token->expires_at, ends),
                           digits(now_s, now), digits(auth->settings.refresh_ttl, ttl),
                           LOGINS_MAX};

    return run(auth, &begin_login, "auth:logins", slice_text(refresh->user), words, 7, callback,
               arg);
}

int logins_begun(const struct bus_reply *reply)
{
    return bus_reply_kind(reply) == BUS_INTEGER ? 0 : -EAGAIN;
}

int logins_renew(struct auth *auth, const struct refresh_token *spent,
                 const struct refresh_token *next, const struct issued_token *token, int64_t now_s,
                 bus_reply_fn *callback, void *arg)
{
    char ends[DIGITS_SIZE], now[DIGITS_SIZE], ttl[DIGITS_SIZE];
    const char *words[] = {spent->login,
                           spent->hash,
                           next->hash,
                           token->token_id,
                           digits(token->expires_at, ends),
                           digits(now_s, now),
                           digits(auth->settings.refresh_ttl, ttl),
                           LOGIN_TOKENS_MAX};

    return run(auth, &renew_login, "auth:logins", slice_text(spent->user), words, 8, callback, arg);
}

int logins_renewed(const struct bus_reply *reply, struct ended_tokens *ended)
{
    bool found;
    int64_t outcome = first_integer(reply, &found);

    if (!found)
        return -EAGAIN;
    read_ended(reply, ended);
    return outcome == 1 ? 0 : outcome == 0 ? -ENOENT : -ESTALE;
}

int logins_end(struct auth *auth, struct slice user, const char *login, bus_reply_fn *callback,
               void *arg)
{
    char now[DIGITS_SIZE];
    const char *words[] = {digits(time(NULL), now), login};

    return run(auth, &end_login, "auth:logins", user, words, login ? 2 : 1, callback, arg);
}

int logins_ended(const struct bus_reply *reply, struct ended_tokens *ended)
{
    bool found;
    int64_t count = first_integer(reply, &found);

    if (!found)
        return -EAGAIN;
    read_ended(reply, ended);
    return (int)count;
}

int logins_find(struct auth *auth, struct slice user, bus_reply_fn *callback, void *arg)
{
    return command(auth, "HGETALL", "auth:logins", user, NULL, callback, arg);
}
