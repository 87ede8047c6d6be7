#include "auth/announcements.h"

#include "auth/key_rotation.h"
#include "auth/signing_keys.h"
#include "common/embed.h"
#include "common/log.h"
#include "common/sealed.h"
#include "common/xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_MS 2000
#define EVENTS_KEPT "10000"
#define WORDS_MAX 24

EMBED(publish_keys_lua, "auth/publish_keys.lua");
static struct bus_script publish_keys = {.name = "publish_keys", .text = publish_keys_lua};

struct key_publisher {
    struct auth *auth;
    void (*on_published)(struct auth *);
    uv_timer_t timer;
    bool begun; /* the deployment agreed once */
    bool looking;
    bool keys_there; /* the signing keys, at the last look */
};

/* One revocation on its way: first kept, then told. */
struct revocation {
    struct auth *auth;
    struct buffer user;
    char *token_id;
    char expires_at[24];
    revoke_done_fn *done;
    void *arg;
};

void announcements_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &publish_keys);
}

/* A command whose first word is words[0] and whose key is `<prefix><what>`, then the other words.
 */
static int command_on(struct auth *auth, const char *what, const struct slice *words, size_t count,
                      bus_reply_fn *callback, void *arg)
{
    struct slice argv[WORDS_MAX];
    struct buffer key = {0};
    int result;

    key_global(&key, &auth->deployment, what, slice_of(NULL, 0));
    argv[0] = words[0];
    argv[1] = buffer_slice(&key);
    for (size_t i = 1; i < count; i++)
        argv[i + 1] = words[i];
    result = bus_command(auth->bus, callback, arg, count + 1, argv);
    buffer_finish(&key);
    return result;
}

/* Adds an event of these fields and values. */
static int add_event(struct auth *auth, const struct slice *fields, size_t count,
                     bus_reply_fn *callback, void *arg)
{
    struct slice words[WORDS_MAX] = {slice_text("XADD"), slice_text("MAXLEN"), slice_text("~"),
                                     slice_text(EVENTS_KEPT), slice_text("*")};

    memcpy(words + 5, fields, count * sizeof(*fields));
    return command_on(auth, "auth:events", words, 5 + count, callback, arg);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

/* Of either; the box's is the last. Returns whether they are in Redis, and *written of them new. */
static bool is_published(const struct bus_reply *reply, const char *what, bool *written)
{
    struct slice why = bus_reply_text(reply);

    *written = bus_reply_integer(reply) > 0;
    if (bus_reply_kind(reply) == BUS_INTEGER)
        return true;
    if (reply != NULL)
        log_warn("%s: not written: %.*s", what, (int)why.length, why.data);
    return false;
}

static void on_keys_looked(void *arg, const struct bus_reply *reply)
{
    const struct slice event[] = {slice_text("kind"), slice_text("keys")};
    struct key_publisher *publisher = arg;
    bool written;

    publisher->keys_there = is_published(reply, "public keys", &written);
    if (!written)
        return;
    log_info("public keys written to Redis");
    /* Should it be lost: a gateway that meets an unknown key looks for it. */
    if (add_event(publisher->auth, event, 2, NULL, NULL) < 0)
        log_debug("no event, Redis is away");
}

static void on_box_looked(void *arg, const struct bus_reply *reply)
{
    struct key_publisher *publisher = arg;
    bool written;

    publisher->looking = false;
    if (is_published(reply, "the key for passwords", &written) && publisher->keys_there)
        publisher->on_published(publisher->auth);
}

/* argv[0] is left for the key. */
static int publish(struct key_publisher *publisher, const char *what, struct slice *argv,
                   size_t argc, bus_reply_fn *callback)
{
    struct buffer key = {0};
    int result;

    key_global(&key, &publisher->auth->deployment, what, slice_of(NULL, 0));
    argv[0] = buffer_slice(&key);
    result = bus_eval(publisher->auth->bus, &publish_keys, callback, publisher, 1, argc, argv);
    buffer_finish(&key);
    return result;
}

static int publish_signing_keys(struct key_publisher *publisher)
{
    const struct signing_keys *keys = publisher->auth->keys;
    struct slice argv[1 + 2 * SIGNING_KEYS_MAX];
    size_t argc = 1;

    publisher->keys_there = keys == NULL;
    if (keys == NULL)
        return 0;
    for (size_t i = 0; i < signing_keys_count(keys); i++) {
        argv[argc++] = slice_text(signing_keys_at(keys, i)->kid);
        argv[argc++] = slice_text(signing_keys_at(keys, i)->public_pem);
    }
    return publish(publisher, "auth:keys", argv, argc, on_keys_looked);
}

static int publish_box(struct key_publisher *publisher)
{
    struct slice argv[3] = {[1] = slice_text("pem")};
    struct buffer pem = {0};
    int result;

    unsealing_key_append_public(publisher->auth->box, &pem);
    argv[2] = buffer_slice(&pem);
    result = publish(publisher, "auth:box", argv, 3, on_box_looked);
    buffer_finish(&pem);
    return result;
}

void key_publisher_look(struct key_publisher *publisher)
{
    publisher->begun = true;
    if (publisher->auth->rotation != NULL)
        key_rotation_look(publisher->auth->rotation);
    if (!publisher->looking)
        publisher->looking = publish_signing_keys(publisher) == 0 && publish_box(publisher) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct key_publisher *publisher = timer->data;

    if (publisher->begun)
        key_publisher_look(publisher);
}

struct key_publisher *key_publisher_create(struct auth *auth, void (*on_published)(struct auth *))
{
    struct key_publisher *publisher = xcalloc(1, sizeof(*publisher));

    publisher->auth = auth;
    publisher->on_published = on_published;
    uv_timer_init(auth->loop, &publisher->timer);
    publisher->timer.data = publisher;
    uv_timer_start(&publisher->timer, on_timer, LOOK_MS, LOOK_MS);
    return publisher;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void key_publisher_destroy(struct key_publisher **publisher)
{
    if (*publisher != NULL)
        uv_close((uv_handle_t *)&(*publisher)->timer, on_closed);
    *publisher = NULL;
}

/* ---- revocations -------------------------------------------------------------------------------
 */

static void finish_revocation(struct revocation *revocation, int result)
{
    revocation->done(revocation->arg, result);
    buffer_finish(&revocation->user);
    free(revocation->token_id);
    free(revocation);
}

static void on_told(void *arg, const struct bus_reply *reply)
{
    finish_revocation(arg, bus_reply_kind(reply) == BUS_TEXT ? 0 : -EAGAIN);
}

static void on_kept(void *arg, const struct bus_reply *reply)
{
    struct revocation *revocation = arg;
    const struct slice event[] = {
        slice_text("kind"),       slice_text("revoked"),
        slice_text("token_id"),   slice_text(revocation->token_id),
        slice_text("user"),       buffer_slice(&revocation->user),
        slice_text("expires_at"), slice_text(revocation->expires_at),
    };

    if (bus_reply_kind(reply) != BUS_INTEGER ||
        add_event(revocation->auth, event, 8, on_told, revocation) < 0)
        finish_revocation(revocation, -EAGAIN);
}

/* Those that have expired need no revocation any more. */
static int forget_expired(struct auth *auth)
{
    char now[24];
    const struct slice words[] = {slice_text("ZREMRANGEBYSCORE"), slice_text("-inf"),
                                  slice_print(now, sizeof(now), "%" PRId64, (int64_t)time(NULL))};

    return command_on(auth, "auth:revoked", words, 3, NULL, NULL);
}

int revoke_token(struct auth *auth, const char *token_id, struct slice user, int64_t expires_at,
                 revoke_done_fn *done, void *arg)
{
    struct revocation *revocation = xcalloc(1, sizeof(*revocation));
    char *member = xasprintf("%s %.*s", token_id, (int)user.length, user.data);
    struct slice words[3] = {slice_text("ZADD")};
    int result;

    *revocation =
        (struct revocation){.auth = auth, .token_id = xstrdup(token_id), .done = done, .arg = arg};
    buffer_append_slice(&revocation->user, user);
    snprintf(revocation->expires_at, sizeof(revocation->expires_at), "%" PRId64, expires_at);
    words[1] = slice_text(revocation->expires_at);
    words[2] = slice_text(member);
    result = forget_expired(auth);
    if (result == 0)
        result = command_on(auth, "auth:revoked", words, 3, on_kept, revocation);
    free(member);
    if (result < 0) {
        buffer_finish(&revocation->user);
        free(revocation->token_id);
        free(revocation);
    }
    return result;
}
