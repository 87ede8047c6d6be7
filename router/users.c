/*
 * Users in memory and what stands of them in `user:<id>`. A user is needed while he is connected,
 * something is on its way to him, or somebody follows his presence; otherwise he waits in the idle
 * list until room is wanted. See state.h.
 */
#include "common/xalloc.h"
#include "router/events.h"
#include "router/mailbox.h"

#include <inttypes.h>
#include <stdlib.h>

struct user *user_find(const struct engine *engine, struct slice id)
{
    struct user *user;

    HASH_FIND(hh, engine->users, id.data, id.length, user);
    return user;
}

static bool is_guest(struct slice id)
{
    static const char prefix[] = "guest:";

    return id.length >= sizeof(prefix) - 1 && memcmp(id.data, prefix, sizeof(prefix) - 1) == 0;
}

struct user *user_get(struct engine *engine, struct slice id)
{
    struct user *user = user_find(engine, id);

    if (user != NULL)
        return user;
    user = xcalloc(1, sizeof(*user) + id.length + 1);
    memcpy(user->id, id.data, id.length);
    user->id_length = id.length;
    user->guest = is_guest(id);
    LIST_INIT(&user->connections);
    LIST_INIT(&user->followers);
    user->event_oldest = 1;
    LIST_INIT(&user->replaying);
    TAILQ_INIT(&user->pending);
    TAILQ_INIT(&user->window);
    HASH_ADD_KEYPTR(hh, engine->users, user->id, id.length, user);
    user_settle(engine, user);
    return user;
}

static void user_destroy(struct engine *engine, struct user *user)
{
    mailbox_destroy(engine, user);
    unread_destroy(user);
    free(user->gone);
    free((char *)user->presence_metadata.data);
    free((char *)user->front_chat.data);
    free(user->event_days);
    journal_drop(&user->events);
    buffer_finish(&user->unstored);
    HASH_DEL(engine->users, user);
    free(user);
}

static bool user_needed(const struct user *user)
{
    return user->connection_count || user->replaying_count || user->follower_count ||
           user->draining || user->pending_count || user->watchers || user->grace_ms ||
           user->page_wanted || user->page_asked || user->in_changed || user->in_remembered;
}

void user_settle(struct engine *engine, struct user *user)
{
    bool idle = !user_needed(user);

    if (idle == user->in_idle)
        return;
    user->in_idle = idle;
    if (idle) {
        TAILQ_INSERT_TAIL(&engine->idle, user, idle_link);
        engine->idle_count++;
    } else {
        TAILQ_REMOVE(&engine->idle, user, idle_link);
        engine->idle_count--;
    }
}

/* The users of its chunks are needed when the last one comes. */
static bool somebody_announces(const struct engine *engine)
{
    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        if (gateway->announcing)
            return true;
    return false;
}

void engine_trim_users(struct engine *engine, size_t keep)
{
    while (engine->idle_count > keep && !somebody_announces(engine)) {
        struct user *user = TAILQ_FIRST(&engine->idle);

        TAILQ_REMOVE(&engine->idle, user, idle_link);
        engine->idle_count--;
        user_destroy(engine, user);
    }
    if (!somebody_announces(engine))
        conversations_trim(engine, keep);
}

static void note_change(struct engine *engine, struct user *user)
{
    if (user->in_changed)
        return;
    user->in_changed = true;
    TAILQ_INSERT_TAIL(&engine->changed, user, changed_link);
    user_settle(engine, user);
}

void user_record_changed(struct engine *engine, struct user *user)
{
    user->record_changed = true;
    note_change(engine, user);
}

void user_mailbox_changed(struct engine *engine, struct user *user)
{
    user->mailbox_changed = true;
    note_change(engine, user);
}

void user_delivered_changed(struct engine *engine, struct user *user)
{
    user->delivered_changed = true;
    note_change(engine, user);
}

void user_events_changed(struct engine *engine, struct user *user)
{
    user->events_changed = true;
    note_change(engine, user);
}

void user_remember_seen(struct engine *engine, struct user *user, struct number number)
{
    char text[NUMBER_TEXT_SIZE];
    int length;

    /* Acknowledged out of turn, it may have been sent again since `seen` rose above it. */
    user->seen_entry = engine_entry_number(engine);
    if (number_compare(number, user->seen) <= 0)
        return;
    user->seen = number;
    length = number_format(number, text);
    effects_hset(engine->effects, engine_key(engine, &engine->key_seen, "seen"), user_slice(user),
                 slice_of(text, (size_t)length));
    if (user->in_remembered)
        return;
    user->in_remembered = true;
    TAILQ_INSERT_TAIL(&engine->remembered, user, remembered_link);
    user_settle(engine, user);
}

uint32_t user_mailbox_key(struct engine *engine, struct user *user)
{
    if (user->mailbox_key_commit != engine->commit || user->mailbox_key == 0) {
        user->mailbox_key = effects_key(engine->effects, "mailbox", user_slice(user));
        user->mailbox_key_commit = engine->commit;
    }
    return user->mailbox_key;
}

/* ---- records ---- */

/* The mark itself seldom changes: it is written when it has. */
static uint64_t keep_hash(const struct user *user)
{
    return user->keep_until_ms * 31 + user->keep_protocol + 1;
}

static bool keep_changed(const struct user *user)
{
    return user->mailbox_changed && user->keep && keep_hash(user) != user->keep_written;
}

/* "<until> <protocol>". */
static void write_keep(struct effects *effects, struct user *user)
{
    struct buffer keep = {0};

    buffer_appendf(&keep, "%" PRIu64 " %" PRIu64, user->keep_until_ms, user->keep_protocol);
    effects_text_pair(effects, "keep", buffer_slice(&keep));
    buffer_finish(&keep);
    user->keep_written = keep_hash(user);
}

static void write_delivered(struct effects *effects, const struct user *user)
{
    effects_text(effects, slice_text("delivered"));
    effects_number(effects, user->delivered);
}

static void nothing_changed(struct user *user)
{
    user->record_changed = user->mailbox_changed = user->events_changed = false;
    user->delivered_changed = false;
}

static void write_record(struct engine *engine, struct user *user)
{
    struct effects *effects = engine->effects;
    uint32_t key = effects_key(effects, "user", user_slice(user));
    bool delivered = user->delivered_changed && user->keep;
    size_t pairs = (user->record_changed ? 3 : 0) + (user->mailbox_changed ? 2 : 0) +
                   (user->mailbox_changed && user->keep) + keep_changed(user) + delivered +
                   (user->events_changed ? events_record_pairs(user) : 0);

    if (user->guest && user->connection_count + user->follower_count == 0 &&
        user->status == PRESENCE_OFFLINE) {
        effects_open(effects, EFFECT_DEL, key, 0);
        events_forget(engine, user);
        user->keep_written = user->events_written = 0;
        nothing_changed(user);
        return;
    }
    effects_open(effects, EFFECT_HSET, key, pairs * 2);
    if (user->record_changed) {
        effects_text_pair(effects, "status", slice_text(presence_name(user->status)));
        effects_u64_pair(effects, "last_seen", user->last_seen_ms);
        effects_text_pair(effects, "metadata", user->presence_metadata);
    }
    if (user->mailbox_changed) {
        effects_u64_pair(effects, "mailbox", user->mailbox_count);
        effects_u64_pair(effects, "mailbox_bytes", user->mailbox_bytes);
    }
    if (user->mailbox_changed && user->keep)
        effects_u64_pair(effects, "waiting", user->waiting);
    if (keep_changed(user))
        write_keep(effects, user);
    if (delivered)
        write_delivered(effects, user);
    if (user->events_changed)
        events_write_record(engine, user);
    nothing_changed(user);
}

/* Whether some output stream still holds an entry that seen must keep from being taken for
 * unconfirmed. */
static bool seen_needed(const struct engine *engine, const struct user *user)
{
    if (user->pending_count)
        return true;
    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next) {
        const struct record *oldest = &gateway->records[gateway->record_first];

        if (gateway->record_count && number_compare(oldest->entry, user->seen_entry) <= 0)
            return true;
    }
    return false;
}

/* Looks at a few each time: those who must stay go to the end. */
static void forget_seen(struct engine *engine)
{
    for (int i = 0; i < 16; i++) {
        struct user *user = TAILQ_FIRST(&engine->remembered);

        if (user == NULL)
            return;
        TAILQ_REMOVE(&engine->remembered, user, remembered_link);
        if (seen_needed(engine, user)) {
            TAILQ_INSERT_TAIL(&engine->remembered, user, remembered_link);
            continue;
        }
        user->in_remembered = false;
        user->seen = (struct number){0};
        effects_hdel(engine->effects, engine_key(engine, &engine->key_seen, "seen"),
                     user_slice(user));
        user_settle(engine, user);
    }
}

void users_finish(struct engine *engine)
{
    struct user *user;

    while ((user = TAILQ_FIRST(&engine->changed)) != NULL) {
        unread_settle(engine, user);
        TAILQ_REMOVE(&engine->changed, user, changed_link);
        user->in_changed = false;
        store_finish(engine, user);
        events_finish(engine, user);
        write_record(engine, user);
        user_settle(engine, user);
    }
    forget_seen(engine);
}

void users_destroy(struct engine *engine)
{
    struct user *user, *next;

    HASH_ITER(hh, engine->users, user, next)
    user_destroy(engine, user);
}
