#include "auth/accounts.h"

#include "common/embed.h"

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

static struct bus_script create_account = {.name = "create_account", .text = create_account_lua};
static struct bus_script begin_login = {.name = "begin_login", .text = begin_login_lua};
static struct bus_script renew_login = {.name = "renew_login", .text = renew_login_lua};
static struct bus_script end_login = {.name = "end_login", .text = end_login_lua};

void accounts_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &create_account);
    bus_add_script(bus, &begin_login);
    bus_add_script(bus, &renew_login);
    bus_add_script(bus, &end_login);
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
    struct slice argv[8];
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

int accounts_find(struct auth *auth, struct slice user, bus_reply_fn *callback, void *arg)
{
    struct slice argv[3];
    struct buffer key = {0};
    int result;

    key_global(&key, &auth->deployment, "auth:account", user);
    argv[0] = slice_text("HGET");
    argv[1] = buffer_slice(&key);
    argv[2] = slice_text("password");
    result = bus_command(auth->bus, callback, arg, 3, argv);
    buffer_finish(&key);
    return result;
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

static void read_ended(const struct bus_reply *reply, struct ended_token *ended)
{
    struct slice id = bus_reply_text(bus_reply_at(reply, 1));
    struct slice expires = bus_reply_text(bus_reply_at(reply, 2));
    char text[DIGITS_SIZE] = "";

    *ended = (struct ended_token){0};
    if (id.length >= sizeof(ended->token_id) || expires.length >= sizeof(text))
        return;
    memcpy(ended->token_id, id.data, id.length);
    memcpy(text, expires.data, expires.length);
    ended->expires_at = strtoll(text, NULL, 10);
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
                           digits(auth->settings.refresh_ttl, ttl)};

    return run(auth, &renew_login, "auth:logins", slice_text(spent->user), words, 7, callback, arg);
}

int logins_renewed(const struct bus_reply *reply, struct ended_token *ended)
{
    bool found;
    int64_t outcome = first_integer(reply, &found);

    if (!found)
        return -EAGAIN;
    if (outcome == -1)
        read_ended(reply, ended);
    return outcome == 1 ? 0 : outcome == 0 ? -ENOENT : -ESTALE;
}

int logins_end(struct auth *auth, const struct refresh_token *refresh, bus_reply_fn *callback,
               void *arg)
{
    const char *words[] = {refresh->login};

    return run(auth, &end_login, "auth:logins", slice_text(refresh->user), words, 1, callback, arg);
}

int logins_ended(const struct bus_reply *reply, struct ended_token *ended)
{
    bool found;
    int64_t outcome = first_integer(reply, &found);

    if (!found)
        return -EAGAIN;
    if (outcome == 1)
        read_ended(reply, ended);
    return outcome == 1 ? 0 : -ENOENT;
}
