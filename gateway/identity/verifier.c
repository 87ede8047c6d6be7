#include "gateway/identity/verifier.h"

#include "common/log.h"
#include "common/secret.h"
#include "common/xalloc.h"
#include "gateway/identity/revocations.h"
#include "gateway/session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define REVOCATIONS_MAX 500000
#define REFRESH_INTERVAL_MS 1000 /* between looks for a key that a token named in vain */

struct verifier {
    struct gateway *gateway;
    struct token_rules rules;
    struct token_keys *keys; /* all: of auth and of another issuer */
    struct buffer published; /* of auth: what Redis had last: kid, PEM, ..., each with a NUL */
    struct buffer foreign;   /* the other issuer's file */
    struct revocations *revocations;
    struct buffer secret;
    bool hmac; /* HS256: the key is that secret, and no matter of Redis */
    bool revocations_loaded;
    bool destroyed; /* freed with the last reply */
    unsigned replies_awaited;
    uint64_t refreshed_ms;
};

static void release(struct verifier *verifier)
{
    if (verifier->destroyed && verifier->replies_awaited == 0)
        free(verifier);
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static struct slice next_text(const struct buffer *texts, size_t *at)
{
    struct slice text = slice_text(texts->data + *at);

    *at += text.length + 1;
    return text;
}

static void add_published(struct token_keys *keys, const struct buffer *published)
{
    for (size_t at = 0; at < published->length;) {
        struct slice kid = next_text(published, &at), pem = next_text(published, &at);
        int result = token_keys_add(keys, kid, pem);

        if (result < 0)
            log_warn("auth:keys: key %.*s is not usable: %s", (int)kid.length, kid.data,
                     strerror(-result));
    }
}

/* All keys anew, from what is known. */
static void gather_keys(struct verifier *verifier)
{
    struct token_keys *keys = token_keys_create();
    struct buffer error = {0};

    if (verifier->hmac)
        token_keys_set_secret(keys, buffer_slice(&verifier->secret));
    add_published(keys, &verifier->published);
    if (verifier->foreign.length > 0 &&
        token_keys_read(keys, buffer_slice(&verifier->foreign), &error) < 0)
        log_warn("TRUNKLINE_TOKEN_KEYS_FILE: %.*s", (int)error.length, error.data);
    buffer_finish(&error);
    token_keys_destroy(&verifier->keys);
    verifier->keys = keys;
}

/* Returns 0, or -errno with the line in error: then the file's keys stay as they were. */
static int load_foreign(struct verifier *verifier, struct buffer *error)
{
    const char *path = verifier->gateway->settings.token_keys_file;
    struct token_keys *tried = token_keys_create();
    struct buffer text = {0};
    int result;

    buffer_append_text(error, "TRUNKLINE_TOKEN_KEYS_FILE: ");
    result = token_keys_load_file(path, &text, error);
    if (result == 0)
        result = token_keys_read(tried, buffer_slice(&text), error);
    token_keys_destroy(&tried);
    if (result < 0) {
        buffer_finish(&text);
        return result;
    }
    buffer_finish(&verifier->foreign);
    verifier->foreign = text;
    return 0;
}

static int load_files(struct verifier *verifier, struct buffer *error)
{
    const struct settings *settings = &verifier->gateway->settings;
    int result = 0;

    if (verifier->hmac)
        result = secret_read(settings->token_secret_file, &verifier->secret, error);
    if (result == 0 && settings->token_keys_file[0] != '\0')
        result = load_foreign(verifier, error);
    if (result == 0)
        gather_keys(verifier);
    return result;
}

void verifier_reload(struct verifier *verifier)
{
    struct buffer error = {0};

    if (verifier->gateway->settings.token_keys_file[0] == '\0')
        return;
    if (load_foreign(verifier, &error) < 0) {
        log_warn("the keys of another issuer stay as they were: %.*s", (int)error.length,
                 error.data);
    } else {
        gather_keys(verifier);
        log_info("the keys of another issuer were read again");
    }
    buffer_finish(&error);
}

struct verifier *verifier_create(struct gateway *gateway, struct buffer *error)
{
    const struct settings *settings = &gateway->settings;
    struct verifier *verifier = xcalloc(1, sizeof(*verifier));

    verifier->gateway = gateway;
    verifier->rules = (struct token_rules){.issuer = settings->token_issuer,
                                           .audience = settings->token_audience};
    verifier->keys = token_keys_create();
    verifier->revocations = revocations_create(REVOCATIONS_MAX);
    verifier->hmac = settings->token_secret_file[0] != '\0';
    if (load_files(verifier, error) < 0)
        verifier_destroy(&verifier);
    return verifier;
}

void verifier_destroy(struct verifier **verifier)
{
    if (*verifier == NULL)
        return;
    token_keys_destroy(&(*verifier)->keys);
    buffer_finish(&(*verifier)->published);
    buffer_finish(&(*verifier)->foreign);
    secret_finish(&(*verifier)->secret);
    revocations_destroy(&(*verifier)->revocations);
    (*verifier)->destroyed = true;
    release(*verifier);
    *verifier = NULL;
}

/* ---- what Redis has ----------------------------------------------------------------------------
 */

/* Keys that are there replace those known; none at all (Redis came back empty) changes nothing:
 * auth writes them again. */
static void take_keys(struct verifier *verifier, const struct bus_reply *reply)
{
    struct buffer published = {0};

    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        struct slice text = bus_reply_text(bus_reply_at(reply, i));

        buffer_append(&published, text.data, strnlen(text.data, text.length));
        buffer_append_byte(&published, '\0');
    }
    if (published.length == 0)
        return;
    buffer_finish(&verifier->published);
    verifier->published = published;
    gather_keys(verifier);
}

static void on_keys(void *arg, const struct bus_reply *reply)
{
    struct verifier *verifier = arg;

    verifier->replies_awaited--;
    if (!verifier->destroyed)
        take_keys(verifier, reply);
    release(verifier);
}

/* 0 when it is no whole number of seconds. */
static int64_t read_seconds(struct slice text)
{
    int64_t seconds = 0;

    if (text.length > 15)
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        seconds = seconds * 10 + (text.data[i] - '0');
    }
    return seconds;
}

/* All of a user's tokens that were issued until then. */
struct user_end {
    struct slice user;
    int64_t issued_until;
};

static void close_user(struct session *session, void *arg)
{
    const struct user_end *end = arg;

    if (slice_equal(session->user, end->user) && session->identity.issued_at <= end->issued_until)
        session_close(session, SESSION_CLOSE_TOKEN, NULL);
}

static void remember_user(struct verifier *verifier, struct slice issued_until, struct slice user,
                          int64_t expires_at)
{
    struct user_end end = {.user = user, .issued_until = read_seconds(issued_until)};

    if (user.length > 0 &&
        revocations_add_user(verifier->revocations, user, end.issued_until, expires_at, time(NULL)))
        sessions_each(verifier->gateway->sessions, close_user, &end);
}

/* A token's id, or "*<second>" for all of the user's that were issued until then. */
static void remember_revoked(struct verifier *verifier, struct slice token_id, struct slice user,
                             int64_t expires_at)
{
    char text[TOKEN_ID_MAX + 1];

    if (token_id.length > 1 && token_id.data[0] == '*') {
        remember_user(verifier, slice_of(token_id.data + 1, token_id.length - 1), user, expires_at);
        return;
    }
    if (token_id.length == 0 || token_id.length > TOKEN_ID_MAX ||
        !revocations_add(verifier->revocations, token_id, expires_at, time(NULL)))
        return;
    memcpy(text, token_id.data, token_id.length);
    text[token_id.length] = '\0';
    sessions_close_token(verifier->gateway->sessions, text, user);
}

/* Members are "jti user", scores the Unix second at which the token expires. */
static void take_revocations(struct verifier *verifier, const struct bus_reply *reply)
{
    for (size_t i = 0; i + 1 < bus_reply_count(reply); i += 2) {
        struct slice member = bus_reply_text(bus_reply_at(reply, i));
        struct slice score = bus_reply_text(bus_reply_at(reply, i + 1));
        const char *space = memchr(member.data, ' ', member.length);

        if (space == NULL)
            continue;
        remember_revoked(verifier, slice_of(member.data, (size_t)(space - member.data)),
                         slice_of(space + 1, member.length - (size_t)(space + 1 - member.data)),
                         read_seconds(score));
    }
}

static void on_revocations(void *arg, const struct bus_reply *reply)
{
    struct verifier *verifier = arg;

    verifier->replies_awaited--;
    if (!verifier->destroyed && bus_reply_kind(reply) == BUS_ARRAY) {
        take_revocations(verifier, reply);
        verifier->revocations_loaded = true;
    }
    release(verifier);
}

/* The reply comes also when the bus goes down first. */
static void ask(struct verifier *verifier, bus_reply_fn *callback, const char *const *words,
                const char *what)
{
    struct slice argv[8];
    struct buffer key = {0};
    size_t argc = 0;

    key_global(&key, &verifier->gateway->deployment, what, slice_of(NULL, 0));
    argv[argc++] = slice_text(*words++);
    argv[argc++] = buffer_slice(&key);
    while (*words != NULL)
        argv[argc++] = slice_text(*words++);
    if (bus_command(verifier->gateway->bus, callback, verifier, argc, argv) == 0)
        verifier->replies_awaited++;
    buffer_finish(&key);
}

void verifier_refresh(struct verifier *verifier)
{
    char now[24];
    const char *keys[] = {"HGETALL", NULL};
    const char *revoked[] = {"ZRANGEBYSCORE", now, "+inf", "WITHSCORES", NULL};

    snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
    verifier->refreshed_ms = uv_now(verifier->gateway->loop);
    if (!verifier->hmac)
        ask(verifier, on_keys, keys, "auth:keys");
    ask(verifier, on_revocations, revoked, "auth:revoked");
}

/* ---- events ------------------------------------------------------------------------------------
 */

static struct slice event_text(const struct bus_reply *fields, const char *field)
{
    return bus_reply_text(bus_reply_field(fields, field));
}

static void on_keys_event(struct verifier *verifier, const struct bus_reply *fields)
{
    (void)fields;
    verifier_refresh(verifier);
}

static void on_revoked_event(struct verifier *verifier, const struct bus_reply *fields)
{
    remember_revoked(verifier, event_text(fields, "token_id"), event_text(fields, "user"),
                     read_seconds(event_text(fields, "expires_at")));
}

static const struct {
    const char *kind;
    void (*handler)(struct verifier *, const struct bus_reply *fields);
} event_handlers[] = {
    {"keys", on_keys_event},
    {"revoked", on_revoked_event},
};

void verifier_on_event(struct verifier *verifier, const struct bus_reply *fields)
{
    struct slice kind = event_text(fields, "kind");

    for (size_t i = 0; i < sizeof(event_handlers) / sizeof(event_handlers[0]); i++) {
        if (slice_is(kind, event_handlers[i].kind)) {
            event_handlers[i].handler(verifier, fields);
            return;
        }
    }
    log_warn("auth:events: an event of unknown kind");
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

bool verifier_ready(const struct verifier *verifier)
{
    return verifier->revocations_loaded && !token_keys_empty(verifier->keys);
}

/* The key may be newer than ours. */
static void look_for_keys(struct verifier *verifier)
{
    if (uv_now(verifier->gateway->loop) - verifier->refreshed_ms >= REFRESH_INTERVAL_MS)
        verifier_refresh(verifier);
}

bool verifier_becomes_ready(struct verifier *verifier)
{
    if (!verifier_ready(verifier))
        look_for_keys(verifier);
    return verifier_ready(verifier);
}

enum verifier_result verifier_check(struct verifier *verifier, struct slice token, int64_t now_s,
                                    struct identity *identity)
{
    struct identity read = {0};
    enum verifier_result result =
        identity_from_token(verifier->keys, &verifier->rules, token, now_s, &read);

    if (result == VERIFIER_UNAVAILABLE) {
        look_for_keys(verifier);
        return verifier_ready(verifier) ? VERIFIER_SIGNATURE : VERIFIER_UNAVAILABLE;
    }
    if (result != VERIFIER_OK)
        return result;
    if (!verifier->revocations_loaded)
        result = VERIFIER_UNAVAILABLE;
    else if ((read.token_id != NULL && revocations_has(verifier->revocations, read.token_id)) ||
             revocations_has_user(verifier->revocations, read.user, read.issued_at))
        result = VERIFIER_REVOKED;
    if (result == VERIFIER_OK)
        *identity = read;
    else
        identity_finish(&read);
    return result;
}

const char *verifier_reason(enum verifier_result result)
{
    static const char *const reasons[] = {
        [VERIFIER_OK] = "the token is valid",
        [VERIFIER_MISSING] = "a token is required",
        [VERIFIER_MALFORMED] = "the token is malformed",
        [VERIFIER_SIGNATURE] = "the token is not signed by a key of this deployment",
        [VERIFIER_EXPIRED] = "the token has expired",
        [VERIFIER_NOT_YET] = "the token is not valid yet",
        [VERIFIER_REVOKED] = "the token has been revoked",
        [VERIFIER_CLAIMS] = "the token's claims are not acceptable",
        [VERIFIER_UNAVAILABLE] = "tokens cannot be checked at the moment",
    };

    return reasons[result];
}
