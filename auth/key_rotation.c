#include "auth/key_rotation.h"

#include "auth/signing_keys.h"
#include "auth/tokens.h"
#include "common/log.h"
#include "common/xalloc.h"

#include <stdlib.h>
#include <time.h>

#define DAY_S 86400

struct key_rotation {
    struct auth *auth;
    uv_work_t work;
    bool making, destroyed;
    /* For the thread. */
    int64_t older_than;
    int result;
    struct buffer error;
};

static void release(struct key_rotation *rotation)
{
    if (rotation->making || !rotation->destroyed)
        return;
    buffer_finish(&rotation->error);
    free(rotation);
}

/* ---- making a key, on a thread ---- */

static void make_key(uv_work_t *work)
{
    struct key_rotation *rotation = work->data;
    const struct settings *settings = &rotation->auth->settings;

    rotation->result = signing_key_make(settings->auth_keys, settings->token_algorithm,
                                        rotation->older_than, &rotation->error);
}

static void on_made(uv_work_t *work, int status)
{
    struct key_rotation *rotation = work->data;

    (void)status;
    rotation->making = false;
    if (rotation->result < 0)
        log_warn("no new signing key: %.*s", (int)rotation->error.length, rotation->error.data);
    else if (rotation->result > 0)
        log_info("a new signing key was made: the one before it is %d days old",
                 (int)rotation->auth->settings.token_key_days);
    buffer_reset(&rotation->error, SIZE_MAX);
    release(rotation);
}

static void make_next(struct key_rotation *rotation)
{
    const struct signing_keys *keys = rotation->auth->keys;

    if (rotation->making)
        return;
    rotation->older_than = signing_keys_at(keys, signing_keys_count(keys) - 1)->made_at + 1;
    rotation->making = uv_queue_work(rotation->auth->loop, &rotation->work, make_key, on_made) == 0;
}

/* ---- looking ---- */

void key_rotation_look(struct key_rotation *rotation)
{
    struct auth *auth = rotation->auth;
    int64_t now_s = time(NULL);
    struct buffer error = {0};
    size_t retired;
    int result = signing_keys_refresh(auth->keys, &error);

    if (result < 0)
        log_warn("the signing keys stay as they were: %.*s", (int)error.length, error.data);
    if (result > 0) {
        tokens_keys_changed(auth->tokens);
        log_info("there are %zu signing keys now", signing_keys_count(auth->keys));
    }
    buffer_finish(&error);
    retired = signing_keys_retire(auth->keys, auth->settings.token_ttl, now_s);
    if (retired > 0)
        log_info("signing keys retired, their tokens have expired: %zu", retired);
    if (signing_keys_are_old(auth->keys, auth->settings.token_key_days * DAY_S, now_s))
        make_next(rotation);
}

struct key_rotation *key_rotation_create(struct auth *auth)
{
    struct key_rotation *rotation = xcalloc(1, sizeof(*rotation));

    rotation->auth = auth;
    rotation->work.data = rotation;
    return rotation;
}

void key_rotation_destroy(struct key_rotation **rotation)
{
    if (*rotation == NULL)
        return;
    (*rotation)->destroyed = true;
    release(*rotation);
    *rotation = NULL;
}
