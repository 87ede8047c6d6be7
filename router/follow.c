/*
 * Those who follow their user's events: live, or behind and getting pages of the log, each when the
 * one before was written (docs/delivery.md, S12). A first follow empties the mailbox into dialogs.
 * See events.h.
 */
#include "router/events.h"

#include "common/xalloc.h"

#include <stdlib.h>

/* Bytes of one page, and what is left of the entry that reaches it. */
#define PAGE_BYTES (256 * 1024)

/* Kept in `conns:<g>` with the event it was sent last; one without it has all events. */
static bool is_behind(const struct connection *connection)
{
    return connection->flags & CONNECTION_BEHIND;
}

static void set_behind(struct connection *connection, bool behind)
{
    connection->flags &= ~(uint64_t)CONNECTION_BEHIND;
    if (behind)
        connection->flags |= CONNECTION_BEHIND;
}

/* ---- waiting: for a page to be asked, or for one to be written ---- */

static void stop_waiting(struct engine *engine, struct connection *connection)
{
    if (connection->wants_page)
        TAILQ_REMOVE(&engine->readers, connection, wait_link);
    if (connection->waits_written)
        TAILQ_REMOVE(&connection->gateway->unwritten, connection, wait_link);
    connection->wants_page = connection->waits_written = false;
    connection->ticket = 0;
}

static void wait_for_written(struct engine *engine, struct connection *connection)
{
    stop_waiting(engine, connection);
    connection->waits_written = true;
    connection->page_entry = engine_entry_number(engine);
    TAILQ_INSERT_TAIL(&connection->gateway->unwritten, connection, wait_link);
}

/* For anything of what is on its way there: it is all before what others wait for. */
static void wait_for_room(struct engine *engine, struct connection *connection)
{
    struct gateway *gateway = connection->gateway;

    stop_waiting(engine, connection);
    connection->waits_written = true;
    connection->page_entry = gateway->records[gateway->record_first].entry;
    TAILQ_INSERT_HEAD(&gateway->unwritten, connection, wait_link);
}

static void want_page(struct engine *engine, struct connection *connection)
{
    stop_waiting(engine, connection);
    connection->wants_page = true;
    TAILQ_INSERT_TAIL(&engine->readers, connection, wait_link);
}

static bool output_full(const struct engine *engine, const struct connection *connection)
{
    const struct gateway *gateway = connection->gateway;

    return gateway->record_count && gateway->output_bytes >= engine->limits.output_bytes;
}

/* Goes on from the event it has. */
static void go_on(struct engine *engine, struct connection *connection)
{
    bool behind = connection->event < connection->user->event_newest;

    stop_waiting(engine, connection);
    set_behind(connection, behind);
    if (behind && output_full(engine, connection))
        wait_for_room(engine, connection);
    else if (behind)
        want_page(engine, connection);
    connection_write(engine, connection);
}

void follow_on_written(struct engine *engine, struct gateway *gateway, struct number number)
{
    struct connection *connection;

    /* One that waits for room again waits for what is above this. */
    while ((connection = TAILQ_FIRST(&gateway->unwritten)) != NULL &&
           number_compare(connection->page_entry, number) <= 0)
        go_on(engine, connection);
}

void follow_on_closed(struct engine *engine, struct connection *connection)
{
    stop_waiting(engine, connection);
}

/* ---- sending ---- */

static void say_event(struct engine *engine, struct gateway *gateway, const uint64_t *connections,
                      size_t count, uint64_t number, const struct frame_conversation_event *event)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_EVENT_DELIVERY,
                                         .event_delivery = {
                                             .connections = {.values = connections, .count = count},
                                             .number = engine_next_number(engine),
                                             .event = number,
                                             .at_ms = event->at_ms,
                                             .kind = event->kind,
                                             .chat = event->chat,
                                             .from = event_from_told(event->chat, event->from),
                                             .message = event->message,
                                             .protocol = event->protocol,
                                             .content = event->content,
                                             .body = event->body,
                                             .metadata = event->metadata,
                                         }});
}

static bool is_live(const struct connection *connection)
{
    return (connection->flags & CONNECTION_FLAG_FOLLOWING) && !is_behind(connection);
}

/* It did this itself, and asked for no echo. */
static bool did(const struct connection *connection, const struct frame_conversation_event *event)
{
    return connection->id == event->by_connection &&
           connection->gateway->bits == event->by_gateway &&
           slice_equal(user_slice(connection->user), event->from) &&
           !(connection->flags & CONNECTION_FLAG_ECHO);
}

static void say_done(struct connection *connection, const struct frame_conversation_event *event)
{
    connection->event = connection->user->event_newest;
    gateway_say(connection->gateway, &(struct frame){.type = FRAME_EVENT_DONE,
                                                     .event_done = {
                                                         .connection = connection->id,
                                                         .request = event->by_request,
                                                         .event = connection->event,
                                                         .kind = event->kind,
                                                         .chat = event->chat,
                                                         .message = event->message,
                                                     }});
}

/* The others who are live at this gateway have the event now. Returns how many they are. */
static size_t take_live(struct user *user, const struct gateway *gateway,
                        const struct frame_conversation_event *event, uint64_t *ids)
{
    struct connection *connection;
    size_t count = 0;

    LIST_FOREACH(connection, &user->followers, of_user)
    {
        if (connection->gateway != gateway || !is_live(connection) ||
            connection->event == user->event_newest || did(connection, event))
            continue;
        connection->event = user->event_newest;
        ids[count++] = connection->id;
    }
    return count;
}

void follow_on_event(struct engine *engine, struct user *user,
                     const struct frame_conversation_event *event)
{
    uint64_t few[16], *ids = few;
    struct connection *connection;

    if (user->follower_count > sizeof(few) / sizeof(few[0]))
        ids = xcalloc(user->follower_count, sizeof(*ids));

    LIST_FOREACH(connection, &user->followers, of_user)
    {
        size_t count;

        if (!is_live(connection) || connection->event == user->event_newest)
            continue;
        if (output_full(engine, connection)) {
            go_on(engine, connection);
            continue;
        }
        if (did(connection, event)) {
            say_done(connection, event);
            continue;
        }
        count = take_live(user, connection->gateway, event, ids);
        say_event(engine, connection->gateway, ids, count, user->event_newest, event);
    }
    if (ids != few)
        free(ids);
}

/* ---- the mailbox of one who follows for the first time ---- */

static void want_drain(struct engine *engine, struct user *user)
{
    if (user->drain_wanted)
        return;
    user->drain_wanted = true;
    TAILQ_INSERT_TAIL(&engine->drains, user, drain_link);
}

static void begin_drain(struct engine *engine, struct user *user)
{
    user->draining = true;
    engine->draining++;
    want_drain(engine, user);
    user_settle(engine, user);
}

static void end_drain(struct engine *engine, struct user *user)
{
    if (user->drain_wanted)
        TAILQ_REMOVE(&engine->drains, user, drain_link);
    user->drain_wanted = user->draining = false;
    user->drain_ticket = 0;
    engine->draining--;
    user_events_changed(engine, user);
    user_settle(engine, user);
}

void follow_stop_draining(struct engine *engine, struct user *user)
{
    if (user->draining)
        end_drain(engine, user);
}

/* A message of a conversation is in its log already: it becomes the event that it would have been.
 */
static void drain_copy(struct engine *engine, struct user *user, const struct message *message)
{
    events_append(engine, user,
                  &(struct frame_conversation_event){
                      .kind = EVENT_NEW,
                      .at_ms = message->sent_at_ms,
                      .chat = message->chat.length ? message->chat : message->from,
                      .from = message->from,
                      .message = message->in_chat,
                      .id = message->id,
                      .protocol = message->protocol,
                      .content = message->content,
                      .body = message->body,
                      .metadata = message->metadata,
                  });
}

static void drain_direct(struct engine *engine, struct user *user, const struct message *message)
{
    events_forward(engine, &(struct frame_post_forwarded){
                               .from = message->from,
                               .to = user_slice(user),
                               .id = message->id,
                               .at_ms = message->sent_at_ms,
                               .expires_ms = message->expires_ms,
                               .policy = message->policy,
                               .protocol = message->protocol,
                               .content = message->content,
                               .body = message->body,
                               .metadata = message->metadata,
                           });
}

static void on_mailbox(struct engine *engine, struct user *user, uint64_t ticket,
                       const struct engine_page_entry *entries, size_t count)
{
    if (!user->draining || user->drain_ticket != ticket)
        return;
    user->drain_ticket = 0;
    for (size_t i = 0; i < count; i++) {
        struct message *message = mailbox_take(engine, user, &entries[i]);

        if (message == NULL)
            continue;
        if (message->in_chat)
            drain_copy(engine, user, message);
        else
            drain_direct(engine, user, message);
        message_unref(&message);
    }
    if (count == 0)
        mailbox_emptied(engine, user);
    if (user->mailbox_count == 0)
        end_drain(engine, user);
    else
        want_drain(engine, user);
}

/* ---- beginning ---- */

/* What is held above `after`: where the follower begins. */
static uint64_t begin_at(const struct user *user, uint64_t after, bool *resync)
{
    *resync = after + 1 < user->event_oldest || after > user->event_newest;
    if (after > user->event_newest)
        return user->event_newest;
    return after + 1 < user->event_oldest ? user->event_oldest - 1 : after;
}

static void mark_chat(struct engine *engine, struct user *user)
{
    if (user->chat)
        return;
    user->chat = true;
    user_events_changed(engine, user);
    /* What waits for somebody else goes to him. */
    if (user->mailbox_count && !mailbox_wants(user))
        begin_drain(engine, user);
}

void follow_on_request(struct engine *engine, struct gateway *gateway,
                       const struct frame_events_follow *request)
{
    struct connection *connection = connection_find(gateway, request->connection);
    struct user *user = connection ? connection->user : NULL;
    bool resync;

    if (connection == NULL || !(connection->flags & CONNECTION_FLAG_EVENTS))
        return;
    mark_chat(engine, user);
    events_age(engine, user);
    connection->event = begin_at(user, request->after, &resync);
    gateway_say(gateway, &(struct frame){.type = FRAME_EVENTS_FOLLOWED,
                                         .events_followed = {
                                             .connection = request->connection,
                                             .request = request->request,
                                             .newest = user->event_newest,
                                             .count = user->event_newest - connection->event,
                                             .oldest = user->event_oldest,
                                             .resync = resync,
                                         }});
    connection->flags &= ~(uint64_t)CONNECTION_FLAG_ECHO;
    connection->flags |= CONNECTION_FLAG_FOLLOWING | (request->flags & CONNECTION_FLAG_ECHO);
    connection_set_visible(engine, connection, !(request->flags & CONNECTION_FLAG_HIDDEN));
    go_on(engine, connection);
}

void follow_resume(struct engine *engine, struct connection *connection, uint64_t event)
{
    bool resync;

    /* Of a guest, or in a Redis that was emptied, the mark is gone. */
    mark_chat(engine, connection->user);
    connection->event = begin_at(connection->user, event, &resync);
    go_on(engine, connection);
}

/* ---- pages of the log ---- */

static struct frame_conversation_event event_of(const struct record_reader *item)
{
    struct slice chat = record_text(item, "chat");

    return (struct frame_conversation_event){
        .kind = record_number(item, "kind"),
        .at_ms = record_number(item, "at"),
        .chat = chat,
        .from = event_from_read(chat, record_text(item, "from")),
        .message = record_number(item, "message"),
        .protocol = record_number(item, "protocol"),
        .content = record_number(item, "content"),
        .body = record_text(item, "body"),
        .metadata = record_text(item, "metadata"),
    };
}

/* The first entry may begin with events that it has already. */
static void send_entry(struct engine *engine, struct connection *connection,
                       const struct engine_page_entry *entry)
{
    struct journal_reader reader;
    uint64_t number;

    if (entry->field_count == 0)
        return;
    journal_read(&reader, entry->fields[0].name, entry->fields[0].value);
    while ((number = journal_next(&reader)) != 0) {
        const struct frame_conversation_event event = event_of(&reader.item);

        if (number <= connection->event)
            continue;
        say_event(engine, connection->gateway, &connection->id, 1, number, &event);
        connection->event = number;
    }
}

static void send_page(struct engine *engine, struct connection *connection,
                      const struct engine_page_entry *entries, size_t count)
{
    size_t begin = connection->gateway->output.length;
    uint64_t before = connection->event;

    for (size_t i = 0; i < count && connection->gateway->output.length - begin < PAGE_BYTES; i++)
        send_entry(engine, connection, &entries[i]);
    /* Nothing is held of what was to come: it has gone by age meanwhile, or Redis lost it. */
    if (connection->event == before)
        connection->event = connection->user->event_newest;
}

static void on_events(struct engine *engine, struct user *user, uint64_t ticket,
                      const struct engine_page_entry *entries, size_t count)
{
    struct connection *connection;

    LIST_FOREACH(connection, &user->followers, of_user)
    {
        if (connection->ticket == ticket)
            break;
    }
    if (connection == NULL)
        return;
    connection->ticket = 0;
    send_page(engine, connection, entries, count);
    set_behind(connection, connection->event < user->event_newest);
    connection_write(engine, connection);
    if (is_behind(connection))
        wait_for_written(engine, connection);
}

/* ---- what is asked of Redis ---- */

bool engine_next_read(struct engine *engine, struct engine_read *read)
{
    struct connection *connection = TAILQ_FIRST(&engine->readers);
    struct user *user = TAILQ_FIRST(&engine->drains);

    if (connection != NULL) {
        stop_waiting(engine, connection);
        connection->ticket = ++engine->tickets;
        *read = (struct engine_read){.kind = ENGINE_READ_EVENTS,
                                     .user = user_slice(connection->user),
                                     .after = {.epoch = connection->event, .sequence = UINT64_MAX},
                                     .ticket = connection->ticket};
        return true;
    }
    if (user == NULL)
        return false;
    TAILQ_REMOVE(&engine->drains, user, drain_link);
    user->drain_wanted = false;
    user->drain_ticket = ++engine->tickets;
    *read = (struct engine_read){
        .kind = ENGINE_READ_MAILBOX, .user = user_slice(user), .ticket = user->drain_ticket};
    return true;
}

void engine_read(struct engine *engine, const struct engine_read *read,
                 const struct engine_page_entry *entries, size_t count)
{
    static void (*const handlers[])(struct engine *, struct user *, uint64_t,
                                    const struct engine_page_entry *, size_t) = {
        [ENGINE_READ_EVENTS] = on_events,
        [ENGINE_READ_MAILBOX] = on_mailbox,
    };
    struct user *user = user_find(engine, read->user);

    if (user == NULL)
        return;
    handlers[read->kind](engine, user, read->ticket, entries, count);
    user_settle(engine, user);
}

/* ---- loading ---- */

/* Whether the last page of one who is behind was written nobody knows: the next one comes at once.
 */
void follow_load_user(struct engine *engine, struct user *user)
{
    struct connection *connection;

    LIST_FOREACH(connection, &user->followers, of_user)
    {
        if (!is_behind(connection))
            connection->event = user->event_newest;
        else if (connection->event < user->event_newest)
            want_page(engine, connection);
        else
            set_behind(connection, false);
    }
    if (user->draining) {
        user->draining = false;
        begin_drain(engine, user);
    }
}
