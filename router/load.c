/*
 * Building a partition's state in memory again from what Redis holds, after a take (delivery.md,
 * S1). See engine.h for the order.
 */
#include "common/xalloc.h"
#include "router/events.h"

#include <assert.h>
#include <stdlib.h>

uint64_t load_u64(struct slice text)
{
    struct number number;

    return number_parse(text, &number) < 0 ? 0 : number.epoch;
}

struct slice load_entry_field(const struct engine_page_entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->field_count; i++)
        if (slice_is(entry->fields[i].name, name))
            return entry->fields[i].value;
    return (struct slice){0};
}

struct slice load_word(struct slice *rest)
{
    const char *space = rest->length ? memchr(rest->data, ' ', rest->length) : NULL;
    struct slice word = slice_of(rest->data, space ? (size_t)(space - rest->data) : rest->length);
    size_t used = word.length + (space != NULL);

    *rest = slice_of(rest->data + used, rest->length - used);
    return word;
}

static void load_gateway_source(struct engine *engine, struct slice gateway, struct slice value)
{
    struct source *source = xcalloc(1, sizeof(*source) + gateway.length + 1);

    memcpy(source->id, gateway.data, gateway.length);
    source->applied = load_u64(load_word(&value));
    source->forget_ms = load_u64(value);
    HASH_ADD_KEYPTR(hh, engine->sources, source->id, gateway.length, source);
}

void engine_load_source(struct engine *engine, struct slice source, struct slice value)
{
    uint32_t partition;

    if (forward_source(engine, source, &partition))
        forward_load_taken(engine, partition, value);
    else
        load_gateway_source(engine, source, value);
}

void engine_load_gateway(struct engine *engine, struct slice id, struct slice nonce)
{
    struct gateway *gateway = gateway_add(engine, id);

    gateway->nonce = load_u64(load_word(&nonce));
    gateway->burying = nonce.length > 0;
}

void engine_load_output_cursor(struct engine *engine, struct slice id, struct number last_output)
{
    struct gateway *gateway = gateway_find(engine, id);

    if (gateway != NULL)
        gateway->last_output = last_output;
}

void engine_load_connection(struct engine *engine, struct slice id, struct slice connection,
                            struct slice value)
{
    struct gateway *gateway = gateway_find(engine, id);

    if (gateway != NULL)
        connection_load(engine, gateway, load_u64(connection), value);
}

void engine_load_subscription(struct engine *engine, struct slice id, struct slice field,
                              struct slice value)
{
    struct gateway *gateway = gateway_find(engine, id);
    struct slice name = slice_of(field.data + 1, field.length - 1);

    if (gateway == NULL || field.length < 2)
        return;
    switch (field.data[0]) {
    case '=':
        fanout_set_count(engine, gateway, name, load_u64(value));
        break;
    case '~':
        fanout_set_patterns(engine, gateway, name, load_u64(value));
        break;
    case '?':
        presence_watch(engine, gateway, name, true);
        break;
    case '@':
        rooms_load(engine, gateway, name, value);
        break;
    }
}

void engine_load_history_floor(struct engine *engine, uint64_t epoch)
{
    engine->history_floor = epoch;
}

void engine_load_history(struct engine *engine, struct slice topic, struct slice value)
{
    history_load(engine, topic, value);
}

void engine_load_seen(struct engine *engine, struct slice id, struct slice text)
{
    struct user *user = user_get(engine, id);

    if (number_parse(text, &user->seen) < 0 || user->in_remembered)
        return;
    user->in_remembered = true;
    TAILQ_INSERT_TAIL(&engine->remembered, user, remembered_link);
    user_settle(engine, user);
}

void engine_load_timer(struct engine *engine, struct slice member, uint64_t due_ms)
{
    static const char prefix[] = "grace:";
    size_t skip = sizeof(prefix) - 1;

    if (member.length <= skip || memcmp(member.data, prefix, skip) != 0)
        return;
    presence_load_grace(
        engine, user_get(engine, slice_of(member.data + skip, member.length - skip)), due_ms);
}

void engine_load_recent(struct engine *engine, struct number entry, struct slice frames)
{
    recent_load(engine, entry.epoch, frames);
    /* The owner before us may have been ahead of Redis: time goes on from there. */
    if (entry.epoch > engine->now_ms)
        engine->now_ms = entry.epoch;
}

void engine_load_output(struct engine *engine, struct slice id, struct number entry,
                        struct slice frames)
{
    struct gateway *gateway = gateway_find(engine, id);
    struct frame frame;

    if (gateway == NULL)
        return;
    frame_reader_start(engine->reader, frames);
    while (frame_reader_next(engine->reader, &frame) == 1)
        if (frame.type == FRAME_MESSAGE_DELIVERY)
            mailbox_load_pending(engine, gateway, entry, &frame.message_delivery);
    gateway_record(gateway, entry, 0, NULL, frames.length);
}

void engine_each_gateway(struct engine *engine, void (*visit)(void *arg, struct slice gateway),
                         void *arg)
{
    for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        visit(arg, slice_text(gateway->id));
}

void engine_load_users(struct engine *engine, void (*visit)(void *arg, struct slice user),
                       void *arg)
{
    for (struct user *user = engine->users; user; user = user->hh.next)
        if (!user->loaded)
            visit(arg, user_slice(user));
}

/* ---- a user's record ---- */

static void set_status(struct user *user, struct slice value)
{
    user->status = presence_parse(value);
}

static void set_last_seen(struct user *user, struct slice value)
{
    user->last_seen_ms = load_u64(value);
}

static void set_presence_metadata(struct user *user, struct slice value)
{
    if (value.length)
        user->presence_metadata = slice_of(xmemdup0(value.data, value.length), value.length);
}

static void set_mailbox_count(struct user *user, struct slice value)
{
    user->mailbox_count = load_u64(value);
}

static void set_mailbox_bytes(struct user *user, struct slice value)
{
    user->mailbox_bytes = load_u64(value);
}

static void set_chat(struct user *user, struct slice value)
{
    user->chat = value.length > 0;
    user->draining = slice_is(value, "draining");
}

static void set_event(struct user *user, struct slice value)
{
    user->event_newest = load_u64(value);
}

static void set_event_first(struct user *user, struct slice value)
{
    user->event_oldest = load_u64(value);
}

static void set_event_days(struct user *user, struct slice value)
{
    events_load_days(user, value);
}

static void set_keep(struct user *user, struct slice value)
{
    user->keep = true;
    user->keep_until_ms = load_u64(load_word(&value));
    user->keep_protocol = load_u64(value);
}

static void set_delivered(struct user *user, struct slice value)
{
    if (number_parse(value, &user->delivered) < 0)
        user->delivered = (struct number){0};
}

static void set_waiting(struct user *user, struct slice value)
{
    user->waiting = load_u64(value);
}

static const struct {
    const char *name;
    void (*set)(struct user *, struct slice value);
} user_fields[] = {
    {"status", set_status},
    {"last_seen", set_last_seen},
    {"metadata", set_presence_metadata},
    {"mailbox", set_mailbox_count},
    {"mailbox_bytes", set_mailbox_bytes},
    {"chat", set_chat},
    {"event", set_event},
    {"event_first", set_event_first},
    {"event_days", set_event_days},
    {"keep", set_keep},
    {"delivered", set_delivered},
    {"waiting", set_waiting},
};

static void load_field(struct user *user, const struct engine_field *field)
{
    for (size_t i = 0; i < sizeof(user_fields) / sizeof(user_fields[0]); i++)
        if (slice_is(field->name, user_fields[i].name))
            user_fields[i].set(user, field->value);
}

/* All of his record has come. */
static void know_user(struct engine *engine, struct user *user)
{
    user->loaded = true;
    if (!user->keep) {
        user->waiting = user->mailbox_count;
        user->delivered = (struct number){0};
    }
    mailbox_load_finish(engine, user);
    replay_load(engine, user);
    follow_load_user(engine, user);
}

bool engine_user(struct engine *engine, struct slice id, const struct engine_field *fields,
                 size_t count)
{
    struct user *user = user_get(engine, id);

    if (user->loaded || user->known_in_part)
        return !user->loaded;
    for (size_t i = 0; i < count; i++)
        load_field(user, &fields[i]);
    /* A status without a connection, and nobody waiting to end it, is left over from a Redis that
     * lost the rest. */
    if (user->visible_count == 0 && user->grace_ms == 0)
        user->status = PRESENCE_OFFLINE;
    else if (user->status == PRESENCE_OFFLINE && user->visible_count)
        user->status = PRESENCE_ONLINE;
    user->known_in_part = user->keep;
    if (user->keep)
        return true;
    know_user(engine, user);
    return false;
}

void engine_unread(struct engine *engine, struct slice id, const struct engine_field *fields,
                   size_t count)
{
    struct user *user = user_find(engine, id);

    if (user == NULL || user->loaded)
        return;
    unread_load(user, fields, count);
    know_user(engine, user);
}

void engine_load_finish(struct engine *engine, uint64_t now_ms)
{
    struct source *source, *next;

    if (now_ms > engine->now_ms)
        engine->now_ms = now_ms;
    for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        gateway->heard_ms = engine->now_ms;
    /* Every user in memory was fetched, but those whom no key knows. */
    for (struct user *user = engine->users; user; user = user->hh.next) {
        user->loaded = true;
        for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
            if (number_compare(gateway->last_output, user->seen_entry) > 0)
                user->seen_entry = gateway->last_output;
    }
    HASH_ITER(hh, engine->sources, source, next)
    {
        if (source->forget_ms == 0)
            source->forget_ms = now_ms + SOURCE_KEPT_MS;
    }
    rooms_load_finish(engine);
    history_load_finish(engine);
    engine->loading = false;
}
