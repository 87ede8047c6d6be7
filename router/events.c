/*
 * What happens in conversations, at the partition of each user it concerns: the log of his events
 * if he follows them, his list of chats, and the messages of his other connections. See state.h and
 * docs/delivery.md, S12.
 */
#include "router/events.h"

#include "common/xalloc.h"
#include "router/conversation.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_MS (24ULL * 3600 * 1000)
/* He keeps the 10,000 newest of his chats: what ranks below those, counted from the newest. */
#define BELOW_CHATS_KEPT "-10001"

/* The first event of a day that had any: tells which are older than the log keeps. */
struct event_day {
    uint64_t day, event;
};

/* ---- the log ---- */

static uint32_t log_key(struct engine *engine, struct user *user)
{
    if (user->events_key_commit != engine->commit || user->events_key == 0) {
        user->events_key = effects_key(engine->effects, "events", user_slice(user));
        user->events_key_commit = engine->commit;
    }
    return user->events_key;
}

static void write_event(struct engine *engine, struct user *user,
                        const struct frame_conversation_event *event)
{
    const struct record_field fields[] = {
        {"kind", {0}, event->kind},       {"at", {0}, event->at_ms},
        {"chat", event->chat, 0},         {"from", event_from_told(event->chat, event->from), 0},
        {"message", {0}, event->message}, {"protocol", {0}, event->protocol},
        {"content", {0}, event->content}, {"metadata", event->metadata, 0},
        {"body", event->body, 0},
    };

    if (journal_add(&user->events, user->event_newest, fields, sizeof(fields) / sizeof(fields[0])))
        journal_write(&user->events, engine->effects, log_key(engine, user));
}

void events_finish(struct engine *engine, struct user *user)
{
    journal_write(&user->events, engine->effects, log_key(engine, user));
    if (user->events_trimmed) {
        effects_open(engine->effects, EFFECT_XTRIM, log_key(engine, user), 1);
        effects_number(engine->effects, (struct number){.epoch = user->event_oldest});
    }
    /* That of one who never comes back goes by itself; the engine has it trimmed before. */
    if (user->events_new_day) {
        effects_open(engine->effects, EFFECT_PEXPIRE, log_key(engine, user), 1);
        effects_u64(engine->effects, engine->limits.mailbox_ms + 2 * DAY_MS);
    }
    user->events_trimmed = user->events_new_day = false;
}

static void trim_to(struct engine *engine, struct user *user, uint64_t oldest)
{
    if (oldest <= user->event_oldest)
        return;
    user->event_oldest = oldest;
    user->events_trimmed = true;
    user_events_changed(engine, user);
}

void events_age(struct engine *engine, struct user *user)
{
    size_t gone = 0;

    while (gone < user->event_day_count &&
           (user->event_days[gone].day + 1) * DAY_MS + engine->limits.mailbox_ms <= engine->now_ms)
        gone++;
    if (gone == 0)
        return;
    user->event_day_count -= gone;
    trim_to(engine, user,
            user->event_day_count ? user->event_days[gone].event : user->event_newest + 1);
    memmove(user->event_days, user->event_days + gone,
            user->event_day_count * sizeof(*user->event_days));
}

static void note_day(struct engine *engine, struct user *user)
{
    uint64_t day = engine->now_ms / DAY_MS;
    size_t count = user->event_day_count;

    if (count && user->event_days[count - 1].day >= day)
        return;
    user->event_days = xrealloc(user->event_days, (count + 1) * sizeof(*user->event_days));
    user->event_days[count] = (struct event_day){.day = day, .event = user->event_newest};
    user->event_day_count++;
    events_age(engine, user);
    user->events_new_day = true;
}

void events_append(struct engine *engine, struct user *user,
                   const struct frame_conversation_event *event)
{
    user->event_newest++;
    engine->counters.events++;
    write_event(engine, user, event);
    note_day(engine, user);
    engine->journaled += event->body.length;
    if (user->event_newest >= engine->limits.events)
        trim_to(engine, user, user->event_newest - engine->limits.events + 1);
    user_events_changed(engine, user);
    follow_on_event(engine, user, event);
}

/* ---- his record ---- */

/* Of all but the newest event, which is all that changes most of the time. */
static uint64_t record_hash(const struct user *user)
{
    uint64_t hash = user->event_oldest * 2 + user->draining + 1;

    for (size_t i = 0; i < user->event_day_count; i++)
        hash = (hash * 31 + user->event_days[i].day) * 31 + user->event_days[i].event;
    return hash;
}

size_t events_record_pairs(const struct user *user)
{
    return record_hash(user) == user->events_written ? 1 : 4;
}

static void write_days(struct effects *effects, const struct user *user)
{
    struct buffer days = {0};

    for (size_t i = 0; i < user->event_day_count; i++) {
        if (i)
            buffer_append_byte(&days, ' ');
        buffer_append_u64(&days, user->event_days[i].day);
        buffer_append_byte(&days, ':');
        buffer_append_u64(&days, user->event_days[i].event);
    }
    effects_text_pair(effects, "event_days", buffer_slice(&days));
    buffer_finish(&days);
}

void events_write_record(struct engine *engine, struct user *user)
{
    struct effects *effects = engine->effects;

    effects_u64_pair(effects, "event", user->event_newest);
    if (events_record_pairs(user) == 1)
        return;
    user->events_written = record_hash(user);
    effects_text_pair(effects, "chat", slice_text(user->draining ? "draining" : "1"));
    effects_u64_pair(effects, "event_first", user->event_oldest);
    write_days(effects, user);
}

void events_forget(struct engine *engine, struct user *user)
{
    static const char *const keys[] = {"events", "chats", "sent"};

    follow_stop_draining(engine, user);
    journal_drop(&user->events);
    user->events_trimmed = user->events_new_day = false;
    engine_set_text(&user->front_chat, (struct slice){0});
    user->chat = false;
    user->event_newest = 0;
    user->event_oldest = 1;
    user->event_day_count = 0;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        effects_open(engine->effects, EFFECT_DEL,
                     effects_key(engine->effects, keys[i], user_slice(user)), 0);
}

void events_load_days(struct user *user, struct slice days)
{
    while (days.length) {
        struct slice day = load_word(&days);
        const char *colon = memchr(day.data, ':', day.length);
        size_t length = colon ? (size_t)(colon - day.data) : 0;
        size_t count = user->event_day_count;

        if (colon == NULL)
            continue;
        user->event_days = xrealloc(user->event_days, (count + 1) * sizeof(*user->event_days));
        user->event_days[user->event_day_count++] = (struct event_day){
            .day = load_u64(slice_of(day.data, length)),
            .event = load_u64(slice_of(colon + 1, day.length - length - 1)),
        };
    }
}

/* ---- his chats ---- */

void chats_add(struct engine *engine, struct user *user, struct slice chat, uint64_t at_ms)
{
    uint32_t key;

    /* Only what comes to the front changes the order. */
    if (slice_equal(user->front_chat, chat))
        return;
    engine_set_text(&user->front_chat, chat);
    key = effects_key(engine->effects, "chats", user_slice(user));
    effects_open(engine->effects, EFFECT_ZADD, key, 2);
    effects_u64(engine->effects, at_ms);
    effects_text(engine->effects, chat);
    effects_open(engine->effects, EFFECT_ZCAP, key, 1);
    effects_text(engine->effects, slice_text(BELOW_CHATS_KEPT));
}

void chats_remove(struct engine *engine, struct user *user, struct slice chat)
{
    engine_set_text(&user->front_chat, (struct slice){0});
    effects_open(engine->effects, EFFECT_ZREM,
                 effects_key(engine->effects, "chats", user_slice(user)), 1);
    effects_text(engine->effects, chat);
}

/* ---- his other connections ---- */

/* A message to one who is not there, or has no room: its author hears of it as of a direct one. Of
 * a group's members he hears only if he asked for it: there may be many. */
static void tell_author(struct engine *engine, const struct user *user,
                        const struct frame_conversation_event *event, uint64_t status)
{
    bool asked = status == DIRECT_DISCARDED && event->policy == DELIVERY_DISCARD_AND_TELL;
    bool full = status == DIRECT_MAILBOX_FULL && !chat_is_group(event->chat);

    if (!asked && !full)
        return;
    engine->counters.discarded++;
    forward_say(engine, partition_of(engine->deployment, event->from),
                &(struct frame){.type = FRAME_MESSAGE_DISCARDED,
                                .message_discarded = {
                                    .from = event->from,
                                    .to = user_slice(user),
                                    .id = event->id,
                                }});
}

/* What one who follows events and is not there otherwise needs is in his log. */
static void deliver(struct engine *engine, struct user *user,
                    const struct frame_conversation_event *event)
{
    struct frame_conversation_event named = *event;
    struct frame_direct_reply reply = {0};
    char id[ULID_TEXT_SIZE];

    if (user->chat && !mailbox_wants(user))
        return;
    if (named.id.length == 0) {
        conversation_message_id(conversation_id(engine, user_slice(user), event->chat),
                                event->message, event->at_ms, id);
        named.id = slice_text(id);
    }
    (void)mailbox_accept(engine, user, message_of_event(&named, engine_next_number(engine)),
                         &reply);
    tell_author(engine, user, &named, reply.status);
}

static void signal_change(struct user *user, const struct frame_conversation_event *event)
{
    struct frame frame = {
        .type = FRAME_SIGNAL_DELIVERY,
        .signal_delivery = {.kind = event->kind == EVENT_EDIT ? SIGNAL_EDITED : SIGNAL_DELETED,
                            .from = event->from,
                            .to = user_slice(user),
                            .chat = chat_is_group(event->chat) ? event->chat : (struct slice){0},
                            .id = event->id,
                            .message = event->message,
                            .protocol = event->protocol,
                            .content = event->content,
                            .body = event->body},
    };

    user_say(user, USER_MESSAGES, &frame, &frame.signal_delivery.connections);
}

/* ---- what happened, for one user ---- */

static void happened(struct engine *engine, struct user *user,
                     const struct frame_conversation_event *event)
{
    bool own = slice_equal(user_slice(user), event->from);

    if (event->kind == EVENT_NEW)
        chats_add(engine, user, event->chat, event->at_ms);
    if (user->chat)
        events_append(engine, user, event);
    if (event->kind == EVENT_NEW && !own)
        deliver(engine, user, event);
    else if ((event->kind == EVENT_EDIT || event->kind == EVENT_DELETE) && !own)
        signal_change(user, event);
    user_settle(engine, user);
}

bool events_next_user(struct slice *lines, struct slice *user)
{
    const char *end;

    while (lines->length && (end = memchr(lines->data, '\n', lines->length)) != NULL) {
        *user = slice_of(lines->data, (size_t)(end - lines->data));
        *lines = slice_of(end + 1, lines->length - user->length - 1);
        if (user->length)
            return true;
    }
    return false;
}

void events_on_happened(struct engine *engine, const struct frame_conversation_event *event)
{
    struct slice lines = event->users, user;

    while (events_next_user(&lines, &user))
        happened(engine, user_get(engine, user), event);
}

/* ---- direct messages to one who follows events ---- */

/* What has no user behind it comes from the server: he has a dialog with it. */
void events_forward(struct engine *engine, struct frame_post_forwarded *post)
{
    struct frame frame = {.type = FRAME_POST_FORWARDED};

    if (post->from.length == 0)
        post->from = slice_text("SERVER");
    frame.post_forwarded = *post;
    forward_say(engine, partition_of_chat(engine->deployment, post->from, post->to), &frame);
}

static void list_delivered(struct engine *engine, const struct user *user,
                           struct frame_direct_reply *reply)
{
    engine->delivered.length = 0;
    user_list(user, USER_ALL, &engine->delivered);
    reply->delivered.values = (const uint64_t *)(const void *)engine->delivered.data;
    reply->delivered.count = engine->delivered.length / sizeof(uint64_t);
}

bool events_take_direct(struct engine *engine, struct user *user,
                        const struct frame_direct_message *direct, struct frame_direct_reply *reply)
{
    /* While his mailbox is on its way into dialogs, it goes in at its end. */
    if (!user->chat || (user->draining && direct->policy == DELIVERY_STORE))
        return false;
    list_delivered(engine, user, reply);
    if (reply->delivered.count)
        reply->status = DIRECT_DELIVERED;
    else if (direct->policy == DELIVERY_STORE)
        reply->status = DIRECT_QUEUED;
    else
        reply->status = DIRECT_DISCARDED;
    if (reply->status == DIRECT_DISCARDED)
        return true;
    events_forward(engine, &(struct frame_post_forwarded){
                               .from = direct->from,
                               .to = direct->to,
                               .id = direct->id,
                               .at_ms = engine->now_ms,
                               .expires_ms = direct->ttl_ms ? engine->now_ms + direct->ttl_ms : 0,
                               .policy = direct->policy,
                               .protocol = direct->protocol,
                               .content = direct->content,
                               .body = direct->body,
                               .metadata = direct->metadata,
                           });
    return true;
}
