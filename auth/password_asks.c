#include "auth/password_asks.h"

#include "auth/accounts.h"
#include "auth/api.h"
#include "auth/limits.h"
#include "auth/passwords.h"
#include "common/client_address.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/password_ask.h"
#include "common/user.h"
#include "common/xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_MS "5000"
#define RETRY_MS 200
/* How many are worked on at a time; the rest waits in Redis, where the oldest are dropped. */
#define UNDER_WAY_MAX 32
/* Clocks of gateways may differ so much from this one's. */
#define AGE_MAX_MS 10000
/* As long as a nonce could come again. */
#define NONCE_MS "25000"
#define ANSWERS_KEPT "1000"
#define ANSWERS_SECONDS "60"
#define GATEWAY_MAX 128
#define NUMBER_MAX 20

struct password_asks {
    struct auth *auth;
    const struct unsealing_key *box;
    struct bus *bus; /* for reading alone: it blocks */
    uv_timer_t retry;
    struct buffer asks_key;
    size_t under_way;
    bool reading, stopped, destroyed, closed;
};

/* One ask, between its steps. */
struct asked {
    struct password_asks *asks;
    char gateway[GATEWAY_MAX + 1], number[NUMBER_MAX + 1];
    char user[USER_ID_MAX + 1];
    char address[CLIENT_ADDRESS_SIZE];
    char nonce[2 * PASSWORD_ASK_NONCE + 1];
    struct buffer password;
};

static void read_next(struct password_asks *);

/* ---- ends --------------------------------------------------------------------------------------
 */

static void release(struct password_asks *asks)
{
    if (!asks->closed || asks->under_way > 0)
        return;
    buffer_finish(&asks->asks_key);
    free(asks);
}

static void forget_password(struct asked *asked)
{
    if (asked->password.data != NULL)
        explicit_bzero(asked->password.data, asked->password.capacity);
    buffer_finish(&asked->password);
}

/* Without an answer: there is nobody who should have one. */
static void drop(struct asked *asked)
{
    struct password_asks *asks = asked->asks;

    forget_password(asked);
    free(asked);
    asks->under_way--;
    if (!asks->destroyed)
        read_next(asks);
    release(asks);
}

/* Lost with Redis: the gateway does not wait long. */
static void answer(struct asked *asked, enum password_result result)
{
    struct auth *auth = asked->asks->auth;
    struct buffer key = {0};
    const char *name = password_result_name(result);

    key_global(&key, &auth->deployment, "auth:answers", slice_text(asked->gateway));
    const struct slice add[] = {
        slice_text("XADD"), buffer_slice(&key),        slice_text("MAXLEN"),
        slice_text("~"),    slice_text(ANSWERS_KEPT),  slice_text("*"),
        slice_text("n"),    slice_text(asked->number), slice_text("result"),
        slice_text(name),
    };
    const struct slice expire[] = {slice_text("EXPIRE"), buffer_slice(&key),
                                   slice_text(ANSWERS_SECONDS)};

    if (asked->asks->destroyed ||
        bus_command(auth->bus, NULL, NULL, sizeof(add) / sizeof(add[0]), add) < 0 ||
        bus_command(auth->bus, NULL, NULL, 3, expire) < 0)
        log_debug("an answer about a password was lost");
    buffer_finish(&key);
    drop(asked);
}

/* ---- one ask, step by step ---------------------------------------------------------------------
 */

static void on_checked(void *arg, bool right)
{
    struct asked *asked = arg;
    struct auth *auth = asked->asks->auth;

    auth_count(right ? AUTH_PASSWORDS_RIGHT : AUTH_PASSWORDS_WRONG);
    if (right && !asked->asks->destroyed)
        limits_give_back(auth->api->by_user, slice_text(asked->user));
    answer(asked, right ? PASSWORD_OK : PASSWORD_WRONG);
}

static void on_account(void *arg, const struct bus_reply *reply)
{
    struct asked *asked = arg;
    struct passwords *passwords = asked->asks->auth->passwords;
    struct slice stored;
    int result = accounts_found(reply, &stored);
    char *encoded;

    if (result == -EAGAIN) {
        answer(asked, PASSWORD_UNAVAILABLE);
        return;
    }
    encoded = result == 0 ? xmemdup0(stored.data, stored.length) : NULL;
    result = passwords_check(passwords, buffer_slice(&asked->password), encoded, on_checked, asked);
    free(encoded);
    if (result < 0)
        answer(asked, PASSWORD_UNAVAILABLE);
    else
        forget_password(asked);
}

static bool is_limited(struct asked *asked)
{
    struct auth *auth = asked->asks->auth;
    uint64_t now_ms = uv_now(auth->loop);

    if (!auth->settings.rate_limits)
        return false;
    return limits_take(auth->api->by_address, slice_text(asked->address), now_ms) > 0 ||
           limits_take(auth->api->by_user, slice_text(asked->user), now_ms) > 0;
}

static void on_nonce(void *arg, const struct bus_reply *reply)
{
    struct asked *asked = arg;
    struct auth *auth = asked->asks->auth;

    if (asked->asks->destroyed || bus_reply_kind(reply) != BUS_STATUS) {
        if (bus_reply_kind(reply) == BUS_NIL) {
            log_warn("a question of gateway %s about a password came a second time",
                     asked->gateway);
            auth_count(AUTH_PASSWORDS_REFUSED);
        }
        drop(asked);
        return;
    }
    if (is_limited(asked)) {
        auth_count(AUTH_RATE_LIMITED);
        answer(asked, PASSWORD_LIMITED);
    } else if (!user_allowed(slice_text(asked->user), false)) {
        answer(asked, PASSWORD_WRONG);
    } else if (accounts_find(auth, slice_text(asked->user), on_account, asked) < 0) {
        answer(asked, PASSWORD_UNAVAILABLE);
    }
}

static void take_nonce(struct asked *asked)
{
    struct auth *auth = asked->asks->auth;
    struct buffer key = {0};
    int result;

    key_global(&key, &auth->deployment, "auth:nonce", slice_text(asked->nonce));
    const struct slice argv[] = {slice_text("SET"), buffer_slice(&key), slice_text("1"),
                                 slice_text("NX"),  slice_text("PX"),   slice_text(NONCE_MS)};
    result = bus_command(auth->bus, on_nonce, asked, 6, argv);
    buffer_finish(&key);
    if (result < 0)
        drop(asked);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool is_fresh(const struct password_ask *ask)
{
    int64_t age_ms = (int64_t)(clock_wall_ms() - ask->asked_ms);

    return age_ms < AGE_MAX_MS && age_ms > -AGE_MAX_MS;
}

/* A text that fits and has no NUL. */
static bool copy_text(char *out, size_t size, struct slice text)
{
    if (text.length >= size || (text.length > 0 && memchr(text.data, '\0', text.length)))
        return false;
    if (text.length > 0)
        memcpy(out, text.data, text.length);
    out[text.length] = '\0';
    return true;
}

/* What the sealed text says. Returns NULL, or what is wrong with it. */
static const char *take_text(struct asked *asked, struct slice text)
{
    struct password_ask ask;

    if (password_ask_read(&ask, text) < 0)
        return "it cannot be read";
    if (!is_fresh(&ask))
        return "it is too old (or its clock is not right)";
    if (ask.password.length > PASSWORD_MAX ||
        !copy_text(asked->user, sizeof(asked->user), ask.user) ||
        !copy_text(asked->address, sizeof(asked->address), ask.address))
        return "its fields are not acceptable";
    buffer_append_slice(&asked->password, ask.password);
    for (size_t i = 0; i < PASSWORD_ASK_NONCE; i++)
        snprintf(asked->nonce + 2 * i, 3, "%02x", ask.nonce[i]);
    return NULL;
}

static const char *open_ask(struct asked *asked, const struct bus_reply *fields)
{
    struct slice gateway = bus_reply_text(bus_reply_field(fields, "g"));
    struct slice number = bus_reply_text(bus_reply_field(fields, "n"));
    struct slice sealed = bus_reply_text(bus_reply_field(fields, "box"));
    struct buffer label = {0}, text = {0};
    const char *why = "it was not sealed for this auth";

    if (!copy_text(asked->gateway, sizeof(asked->gateway), gateway) ||
        !copy_text(asked->number, sizeof(asked->number), number))
        return "it cannot be read";
    buffer_appendf(&label, "%s %s", asked->gateway, asked->number);
    if (unseal(asked->asks->box, sealed, buffer_slice(&label), &text) == 0)
        why = take_text(asked, buffer_slice(&text));
    if (text.data != NULL)
        explicit_bzero(text.data, text.capacity);
    buffer_finish(&text);
    buffer_finish(&label);
    return why;
}

static void on_ask(struct password_asks *asks, const struct bus_reply *fields)
{
    struct asked *asked = xcalloc(1, sizeof(*asked));
    const char *why;

    asked->asks = asks;
    asks->under_way++;
    auth_count(AUTH_PASSWORDS_ASKED);
    why = open_ask(asked, fields);
    if (why == NULL) {
        take_nonce(asked);
        return;
    }
    log_warn("a question of gateway %s about a password is not answered: %s", asked->gateway, why);
    auth_count(AUTH_PASSWORDS_REFUSED);
    drop(asked);
}

static void on_retry(uv_timer_t *timer)
{
    read_next(timer->data);
}

static void make_group(struct password_asks *asks)
{
    const struct slice argv[] = {
        slice_text("XGROUP"), slice_text("CREATE"), buffer_slice(&asks->asks_key),
        slice_text("auth"),   slice_text("0"),      slice_text("MKSTREAM")};

    /* "BUSYGROUP" is as good; anything else shows at the next read. */
    (void)!bus_command(asks->bus, NULL, NULL, 6, argv);
}

static void on_read(void *arg, const struct bus_reply *reply)
{
    struct password_asks *asks = arg;
    const struct bus_reply *entries = bus_reply_at(bus_reply_at(reply, 0), 1);

    asks->reading = false;
    if (reply == NULL || asks->destroyed)
        return;
    if (bus_reply_kind(reply) == BUS_ERROR) {
        /* Mostly a Redis that was emptied: the group is gone with its stream. */
        log_debug("questions about passwords: %.*s", (int)bus_reply_text(reply).length,
                  bus_reply_text(reply).data);
        make_group(asks);
        uv_timer_start(&asks->retry, on_retry, RETRY_MS, 0);
        return;
    }
    /* One that ends at once must not read on from inside. */
    asks->reading = true;
    for (size_t i = 0; i < bus_reply_count(entries); i++)
        on_ask(asks, bus_reply_at(bus_reply_at(entries, i), 1));
    asks->reading = false;
    read_next(asks);
}

static void read_next(struct password_asks *asks)
{
    size_t room = UNDER_WAY_MAX - asks->under_way;
    char count[24];
    int length = snprintf(count, sizeof(count), "%zu", room);
    const struct slice argv[] = {
        slice_text("XREADGROUP"), slice_text("GROUP"),           slice_text("auth"),
        slice_text("auth"),       slice_text("COUNT"),           slice_of(count, (size_t)length),
        slice_text("BLOCK"),      slice_text(BLOCK_MS),          slice_text("NOACK"),
        slice_text("STREAMS"),    buffer_slice(&asks->asks_key), slice_text(">")};

    if (asks->reading || asks->stopped || room == 0)
        return;
    /* Down already: on_up reads on. */
    asks->reading = bus_command(asks->bus, on_read, asks, 12, argv) == 0;
}

static void on_up(void *arg)
{
    make_group(arg);
    read_next(arg);
}

/* Auth's own bus speaks of the same Redis, louder. */
static void on_down(void *arg, const char *reason)
{
    (void)arg;
    log_debug("no questions are read: %s", reason);
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct password_asks *password_asks_create(struct auth *auth, const struct unsealing_key *box,
                                           const struct bus_address *address)
{
    struct password_asks *asks = xcalloc(1, sizeof(*asks));
    char name[sizeof(auth->name) + 8];

    snprintf(name, sizeof(name), "%s-read", auth->name);
    asks->auth = auth;
    asks->box = box;
    key_global(&asks->asks_key, &auth->deployment, "auth:asks", slice_of(NULL, 0));
    uv_timer_init(auth->loop, &asks->retry);
    asks->retry.data = asks;
    asks->bus = bus_create(auth->loop, &(struct bus_options){.address = address,
                                                             .client_name = name,
                                                             .on_up = on_up,
                                                             .on_down = on_down,
                                                             .arg = asks});
    return asks;
}

void password_asks_stop(struct password_asks *asks)
{
    asks->stopped = true;
}

static void on_closed(uv_handle_t *handle)
{
    struct password_asks *asks = handle->data;

    asks->closed = true;
    release(asks);
}

void password_asks_destroy(struct password_asks **pointer)
{
    struct password_asks *asks = *pointer;

    if (asks == NULL)
        return;
    *pointer = NULL;
    asks->stopped = asks->destroyed = true;
    bus_destroy(&asks->bus);
    uv_close((uv_handle_t *)&asks->retry, on_closed);
}
