/*
 * Presence: who is online as others see it. A user goes offline when his last connection has been
 * gone for the grace time, so that a reconnect does not flap. Changes go to the gateways that
 * follow him. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

/* Users told at once to one who begins to follow everybody. */
#define PRESENCE_STATES_MAX 1000

static const char *const status_names[] = {
    [PRESENCE_OFFLINE] = "offline",
    [PRESENCE_ONLINE] = "online",
    [PRESENCE_AWAY] = "away",
    [PRESENCE_BUSY] = "busy",
};

const char *presence_name(enum presence_status status)
{
    return status_names[status];
}

enum presence_status presence_parse(struct slice name)
{
    for (int i = PRESENCE_ONLINE; i <= PRESENCE_BUSY; i++)
        if (slice_is(name, status_names[i]))
            return (enum presence_status)i;
    return PRESENCE_OFFLINE;
}

static void set_metadata(struct user *user, struct slice metadata)
{
    free((char *)user->presence_metadata.data);
    user->presence_metadata = (struct slice){0};
    if (metadata.length)
        user->presence_metadata =
            slice_of(xmemdup0(metadata.data, metadata.length), metadata.length);
}

static void say_state(const struct user *user, struct gateway *gateway, uint64_t request)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_PRESENCE_STATE,
                                         .presence_state = {
                                             .user = user_slice(user),
                                             .status = slice_text(status_names[user->status]),
                                             .last_seen_ms = user->last_seen_ms,
                                             .metadata = user->presence_metadata,
                                             .request = request,
                                         }});
}

static bool watches(const struct watcher *watcher, const struct gateway *gateway)
{
    for (; watcher; watcher = watcher->next)
        if (watcher->gateway == gateway)
            return true;
    return false;
}

static void tell_watchers(struct engine *engine, const struct user *user)
{
    for (const struct watcher *w = engine->watch_all; w; w = w->next)
        say_state(user, w->gateway, 0);
    for (const struct watcher *w = user->watchers; w; w = w->next)
        if (!watches(engine->watch_all, w->gateway))
            say_state(user, w->gateway, 0);
}

/* ---- the grace time ---- */

static struct slice grace_member(struct buffer *text, const struct user *user)
{
    buffer_append_text(text, "grace:");
    buffer_append_slice(text, user_slice(user));
    return buffer_slice(text);
}

static void write_timer(struct engine *engine, const struct user *user)
{
    uint32_t key = engine_key(engine, &engine->key_timers, "timers");
    struct buffer text = {0};
    struct slice member = grace_member(&text, user);

    if (user->grace_ms) {
        effects_open(engine->effects, EFFECT_ZADD, key, 2);
        effects_u64(engine->effects, user->grace_ms);
    } else {
        effects_open(engine->effects, EFFECT_ZREM, key, 1);
    }
    effects_text(engine->effects, member);
    buffer_finish(&text);
}

static void end_grace(struct engine *engine, struct user *user)
{
    if (user->grace_ms == 0)
        return;
    TAILQ_REMOVE(&engine->grace, user, grace_link);
    user->grace_ms = 0;
    write_timer(engine, user);
}

void presence_load_grace(struct engine *engine, struct user *user, uint64_t due_ms)
{
    struct user *before = TAILQ_LAST(&engine->grace, user_list);

    if (user->grace_ms)
        return;
    user->grace_ms = due_ms;
    while (before != NULL && before->grace_ms > due_ms)
        before = TAILQ_PREV(before, user_list, grace_link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&engine->grace, before, user, grace_link);
    else
        TAILQ_INSERT_HEAD(&engine->grace, user, grace_link);
    user_settle(engine, user);
}

static void go_offline(struct engine *engine, struct user *user)
{
    user->status = PRESENCE_OFFLINE;
    set_metadata(user, (struct slice){0});
    user_record_changed(engine, user);
    tell_watchers(engine, user);
}

void presence_on_tick(struct engine *engine)
{
    struct user *user;

    while ((user = TAILQ_FIRST(&engine->grace)) != NULL && user->grace_ms <= engine->now_ms) {
        end_grace(engine, user);
        go_offline(engine, user);
        user_settle(engine, user);
    }
}

uint64_t presence_due_ms(const struct engine *engine)
{
    const struct user *user = TAILQ_FIRST(&engine->grace);

    return user ? user->grace_ms : UINT64_MAX;
}

/* ---- what happens to users ---- */

void presence_on_connect(struct engine *engine, struct user *user)
{
    end_grace(engine, user);
    if (user->status != PRESENCE_OFFLINE)
        return;
    user->status = PRESENCE_ONLINE;
    user->last_seen_ms = engine->now_ms;
    user_record_changed(engine, user);
    tell_watchers(engine, user);
}

/* The last that makes him present. */
void presence_on_last_closed(struct engine *engine, struct user *user)
{
    user->last_seen_ms = engine->now_ms;
    user_record_changed(engine, user);
    if (engine->limits.presence_grace_ms == 0) {
        go_offline(engine, user);
        return;
    }
    presence_load_grace(engine, user, engine->now_ms + engine->limits.presence_grace_ms);
    write_timer(engine, user);
}

void presence_on_set(struct engine *engine, struct user *user, struct slice status,
                     struct slice metadata)
{
    enum presence_status wanted = presence_parse(status);

    if (wanted == PRESENCE_OFFLINE || user->visible_count == 0)
        return;
    if (wanted == user->status && slice_equal(metadata, user->presence_metadata))
        return;
    user->status = wanted;
    user->last_seen_ms = engine->now_ms;
    set_metadata(user, metadata);
    user_record_changed(engine, user);
    tell_watchers(engine, user);
}

/* ---- followers ---- */

static void watcher_add(struct watcher **list, struct gateway *gateway)
{
    struct watcher *watcher;

    if (watches(*list, gateway))
        return;
    watcher = xcalloc(1, sizeof(*watcher));
    watcher->gateway = gateway;
    watcher->next = *list;
    *list = watcher;
}

static void watcher_remove(struct watcher **list, const struct gateway *gateway)
{
    for (; *list; list = &(*list)->next) {
        struct watcher *watcher = *list;

        if (watcher->gateway != gateway)
            continue;
        *list = watcher->next;
        free(watcher);
        return;
    }
}

void presence_watch(struct engine *engine, struct gateway *gateway, struct slice id, bool watching)
{
    struct user *user = slice_is(id, "*") ? NULL : user_get(engine, id);
    struct watcher **list = user ? &user->watchers : &engine->watch_all;

    if (watching)
        watcher_add(list, gateway);
    else
        watcher_remove(list, gateway);
    if (user != NULL)
        user_settle(engine, user);
}

static void say_all_states(struct engine *engine, struct gateway *gateway, uint64_t request)
{
    size_t told = 0;

    for (const struct user *user = engine->users; user; user = user->hh.next) {
        if (user->status == PRESENCE_OFFLINE)
            continue;
        if (told++ == PRESENCE_STATES_MAX)
            return;
        say_state(user, gateway, request);
    }
}

static void write_watch(struct engine *engine, const struct gateway *gateway, struct slice id,
                        bool watching)
{
    uint32_t key = effects_key(engine->effects, "subs", slice_text(gateway->id));
    struct buffer field = {0};

    buffer_append_byte(&field, '?');
    buffer_append_slice(&field, id);
    if (watching)
        effects_hset(engine->effects, key, buffer_slice(&field), slice_text("1"));
    else
        effects_hdel(engine->effects, key, buffer_slice(&field));
    buffer_finish(&field);
}

void presence_on_watch(struct engine *engine, struct gateway *gateway, struct slice id,
                       bool watching, uint64_t request)
{
    presence_watch(engine, gateway, id, watching);
    write_watch(engine, gateway, id, watching);
    if (!watching || request == 0)
        return;
    if (slice_is(id, "*"))
        say_all_states(engine, gateway, request);
    else
        say_state(user_get(engine, id), gateway, request);
}

void presence_forget_gateway(struct engine *engine, struct gateway *gateway)
{
    watcher_remove(&engine->watch_all, gateway);
    for (struct user *user = engine->users; user; user = user->hh.next) {
        watcher_remove(&user->watchers, gateway);
        user_settle(engine, user);
    }
}
