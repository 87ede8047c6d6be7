/*
 * Durable messages to a user (delivery.md, S6 and S7). Those on their way are in `pending` and in
 * output streams: the output stream is the mailbox of those who are online. The mailbox proper
 * holds what came while the user was away or behind; a mailbox that is not empty holds all that is
 * unconfirmed, in order of numbers. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <assert.h>
#include <stdlib.h>

/* What an entry costs beside its texts. */
#define MESSAGE_OVERHEAD 64
/* Messages kept in memory of a mailbox whose user is connected; beyond it they are read again when
 * their turn comes. */
#define MAILBOX_WINDOW 256
#define MAILBOX_WINDOW_BYTES (256 * 1024)

static struct slice keep(char **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.length);

    if (text.length)
        memcpy(*at, text.data, text.length);
    *at += text.length;
    return kept;
}

static struct message *message_new(struct slice from, struct slice chat, struct slice id,
                                   struct slice body, struct slice metadata)
{
    size_t size = from.length + chat.length + id.length + body.length + metadata.length;
    struct message *message = xcalloc(1, sizeof(*message) + size);
    char *at = message->text;

    message->references = 1;
    message->from = keep(&at, from);
    message->chat = keep(&at, chat);
    message->id = keep(&at, id);
    message->body = keep(&at, body);
    message->metadata = keep(&at, metadata);
    return message;
}

struct message *message_create(const struct frame_direct_message *direct, struct number number,
                               uint64_t now_ms)
{
    struct message *message =
        message_new(direct->from, (struct slice){0}, direct->id, direct->body, direct->metadata);

    message->number = number;
    message->protocol = direct->protocol;
    message->content = direct->content;
    message->policy = direct->policy;
    message->sent_at_ms = now_ms;
    message->expires_ms = direct->ttl_ms ? now_ms + direct->ttl_ms : 0;
    return message;
}

struct message *message_of_event(const struct frame_conversation_event *event, struct number number)
{
    struct slice chat = chat_is_group(event->chat) ? event->chat : (struct slice){0};
    struct message *message =
        message_new(event->from, chat, event->id, event->body, event->metadata);

    message->number = number;
    message->in_chat = event->message;
    message->protocol = event->protocol;
    message->content = event->content;
    message->policy = event->policy;
    message->sent_at_ms = event->at_ms;
    message->expires_ms = event->expires_ms;
    return message;
}

void message_unref(struct message **message)
{
    if (*message != NULL && --(*message)->references == 0) {
        free((*message)->targets);
        free(*message);
    }
    *message = NULL;
}

size_t message_size(const struct message *message)
{
    return message->from.length + message->chat.length + message->id.length + message->body.length +
           message->metadata.length + MESSAGE_OVERHEAD;
}

static bool message_expired(const struct engine *engine, const struct message *message)
{
    uint64_t age = engine->now_ms > message->sent_at_ms ? engine->now_ms - message->sent_at_ms : 0;

    return (message->expires_ms && message->expires_ms <= engine->now_ms) ||
           age > engine->limits.mailbox_ms;
}

/* ---- targets ---- */

static struct target *find_target(struct message *message, const struct gateway *gateway,
                                  uint64_t connection)
{
    for (size_t i = 0; i < message->target_count; i++)
        if (message->targets[i].gateway == gateway && message->targets[i].connection == connection)
            return &message->targets[i];
    return NULL;
}

static void add_target(struct message *message, struct gateway *gateway, uint64_t connection)
{
    size_t count = message->target_count;

    if (find_target(message, gateway, connection) != NULL)
        return;
    /* Grows at powers of two. */
    if ((count & (count - 1)) == 0)
        message->targets =
            xrealloc(message->targets, (count ? count * 2 : 1) * sizeof(*message->targets));
    message->targets[message->target_count++] =
        (struct target){.gateway = gateway, .connection = connection};
}

static void remove_target(struct message *message, struct target *target)
{
    *target = message->targets[--message->target_count];
}

/* ---- pending ---- */

static void pending_insert(struct engine *engine, struct user *user, struct message *message)
{
    struct message *before = TAILQ_LAST(&user->pending, message_list);

    while (before != NULL && number_compare(before->number, message->number) > 0)
        before = TAILQ_PREV(before, message_list, link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&user->pending, before, message, link);
    else
        TAILQ_INSERT_HEAD(&user->pending, message, link);
    message->user = user;
    user->pending_count++;
    user->pending_bytes += message_size(message);
    engine->pending_count++;
}

static void pending_remove(struct engine *engine, struct user *user, struct message *message)
{
    TAILQ_REMOVE(&user->pending, message, link);
    user->pending_count--;
    user->pending_bytes -= message_size(message);
    engine->pending_count--;
    message->user = NULL;
    message_unref(&message);
}

static bool window_free(const struct engine *engine, const struct user *user)
{
    const struct connection *connection;

    /* One item is always admitted to an empty window, however big. */
    if (user->pending_count == 0)
        return true;
    if (user->pending_count >= engine->limits.window_messages ||
        user->pending_bytes >= engine->limits.window_bytes)
        return false;
    LIST_FOREACH(connection, &user->connections, of_user)
    {
        if (connection->gateway->output_bytes >= engine->limits.output_bytes)
            return false;
    }
    return true;
}

/* ---- output ---- */

static void say_delivery(struct user *user, const struct message *message, struct gateway *gateway,
                         const uint64_t *connections, size_t count)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_MESSAGE_DELIVERY,
                                         .message_delivery = {
                                             .connections = {.values = connections, .count = count},
                                             .number = message->number,
                                             .from = message->from,
                                             .to = user_slice(user),
                                             .chat = message->chat,
                                             .id = message->id,
                                             .message = message->in_chat,
                                             .sent_at_ms = message->sent_at_ms,
                                             .expires_ms = message->expires_ms,
                                             .policy = message->policy,
                                             .protocol = message->protocol,
                                             .content = message->content,
                                             .body = message->body,
                                             .metadata = message->metadata,
                                         }});
}

static void send_to_one(struct engine *engine, struct user *user, struct message *message,
                        struct connection *connection)
{
    add_target(message, connection->gateway, connection->id);
    gateway_record(connection->gateway, engine_entry_number(engine), connection->id, message, 0);
    say_delivery(user, message, connection->gateway, &connection->id, 1);
}

/* To the connections of one gateway in one frame. */
static void send_to_gateway(struct engine *engine, struct user *user, struct message *message,
                            struct gateway *gateway, uint64_t *ids)
{
    size_t count = user_connections_at(user, gateway, ids);

    for (size_t i = 0; i < count; i++) {
        add_target(message, gateway, ids[i]);
        gateway_record(gateway, engine_entry_number(engine), ids[i], message, 0);
    }
    say_delivery(user, message, gateway, ids, count);
}

static void send_to_all(struct engine *engine, struct user *user, struct message *message)
{
    struct connection *connection = LIST_FIRST(&user->connections);
    uint64_t *ids;

    if (user->connection_count == 1) {
        send_to_one(engine, user, message, connection);
        return;
    }
    ids = xmalloc(user->connection_count * sizeof(*ids));
    LIST_FOREACH(connection, &user->connections, of_user)
    {
        if (user_first_of_gateway(user, connection))
            send_to_gateway(engine, user, message, connection->gateway, ids);
    }
    free(ids);
}

static void list_delivered(struct engine *engine, const struct user *user,
                           struct frame_direct_reply *reply)
{
    const struct connection *connection;

    engine->delivered.length = 0;
    LIST_FOREACH(connection, &user->connections, of_user)
    {
        uint64_t pair[2] = {connection->gateway->bits, connection->id};

        buffer_append(&engine->delivered, pair, sizeof(pair));
    }
    reply->delivered.values = (const uint64_t *)(const void *)engine->delivered.data;
    reply->delivered.count = user->connection_count * 2;
}

/* ---- the mailbox in Redis ---- */

static void text_field(struct effects *effects, const char *name, struct slice value)
{
    effects_text(effects, slice_text(name));
    effects_text(effects, value);
}

static void u64_field(struct effects *effects, const char *name, uint64_t value)
{
    effects_text(effects, slice_text(name));
    effects_u64(effects, value);
}

static void store(struct engine *engine, struct user *user, struct message *message)
{
    struct effects *effects = engine->effects;

    assert(number_compare(message->number, user->mailbox_last) > 0);
    effects_open(effects, EFFECT_XADD, user_mailbox_key(engine, user), 1 + 11 * 2);
    effects_number(effects, message->number);
    text_field(effects, "from", message->from);
    text_field(effects, "chat", message->chat);
    text_field(effects, "id", message->id);
    u64_field(effects, "message", message->in_chat);
    u64_field(effects, "sent_at", message->sent_at_ms);
    u64_field(effects, "expires", message->expires_ms);
    u64_field(effects, "policy", message->policy);
    u64_field(effects, "protocol", message->protocol);
    u64_field(effects, "content", message->content);
    text_field(effects, "body", message->body);
    text_field(effects, "metadata", message->metadata);
    message->stored = true;
    user->mailbox_last = message->number;
    user->stored_since_asked = true;
    user->mailbox_count++;
    user->mailbox_bytes += message_size(message);
    engine->counters.stored++;
    user_mailbox_changed(engine, user);
}

static void unstore(struct engine *engine, struct user *user, const struct message *message)
{
    size_t size = message_size(message);

    effects_open(engine->effects, EFFECT_XDEL, user_mailbox_key(engine, user), 1);
    effects_number(engine->effects, message->number);
    user->mailbox_count -= user->mailbox_count > 0;
    user->mailbox_bytes -= size < user->mailbox_bytes ? size : user->mailbox_bytes;
    user_mailbox_changed(engine, user);
}

static void store_pending(struct engine *engine, struct user *user)
{
    struct message *message;

    TAILQ_FOREACH(message, &user->pending, link)
    {
        if (!message->stored)
            store(engine, user, message);
        user->paged = message->number;
    }
}

static bool mailbox_full(const struct engine *engine, const struct user *user)
{
    return user->mailbox_count >= engine->limits.mailbox_messages ||
           user->mailbox_bytes >= engine->limits.mailbox_bytes;
}

/* ---- the window: what is loaded of the mailbox and not sent yet ---- */

static void window_push(struct user *user, struct message *message)
{
    TAILQ_INSERT_TAIL(&user->window, message, link);
    user->window_count++;
    user->window_bytes += message_size(message);
}

static void window_remove(struct user *user, struct message *message)
{
    TAILQ_REMOVE(&user->window, message, link);
    user->window_count--;
    user->window_bytes -= message_size(message);
}

static struct message *window_pop(struct user *user)
{
    struct message *message = TAILQ_FIRST(&user->window);

    if (message != NULL)
        window_remove(user, message);
    return message;
}

static void window_clear(struct user *user)
{
    struct message *message;

    while ((message = window_pop(user)) != NULL)
        message_unref(&message);
    user->window_complete = user->mailbox_count == 0;
    user->paged = (struct number){0};
}

static bool window_has_room(const struct user *user)
{
    return user->window_count < MAILBOX_WINDOW && user->window_bytes < MAILBOX_WINDOW_BYTES;
}

/* A message that was just stored: stays in memory if all before it is there too and there is room.
 * Takes the reference. */
static void window_offer(struct user *user, struct message *message)
{
    if (user->connection_count && user->window_complete && window_has_room(user)) {
        window_push(user, message);
        return;
    }
    user->window_complete = false;
    message_unref(&message);
}

static void want_page(struct engine *engine, struct user *user)
{
    if (user->page_wanted || user->page_asked)
        return;
    user->page_wanted = true;
    TAILQ_INSERT_TAIL(&engine->pages, user, page_link);
    user_settle(engine, user);
}

/* Not to be delivered any more: too old, or kept only for those of his connections that were there
 * when it came. */
static bool drop_dead(struct engine *engine, struct user *user, const struct message *message)
{
    if (message_expired(engine, message))
        engine->counters.expired++;
    else if (message->policy != DELIVERY_STORE && number_compare(message->number, user->came) <= 0)
        discard_tell(engine, user, message);
    else
        return false;
    unstore(engine, user, message);
    return true;
}

void mailbox_page(struct engine *engine, struct user *user)
{
    while (user->connection_count && user->mailbox_count && window_free(engine, user)) {
        struct message *message = window_pop(user);

        if (message == NULL) {
            if (!user->window_complete)
                want_page(engine, user);
            return;
        }
        user->paged = message->number;
        if (drop_dead(engine, user, message)) {
            message_unref(&message);
            continue;
        }
        pending_insert(engine, user, message);
        send_to_all(engine, user, message);
    }
}

/* ---- accepting ---- */

static void accept_offline(struct engine *engine, struct user *user, struct message *message,
                           struct frame_direct_reply *reply)
{
    if (message->policy != DELIVERY_STORE || user->guest) {
        reply->status = DIRECT_DISCARDED;
    } else if (mailbox_full(engine, user)) {
        engine->counters.mailbox_full++;
        reply->status = DIRECT_MAILBOX_FULL;
    } else {
        store(engine, user, message);
        user->window_complete = false;
        reply->status = DIRECT_QUEUED;
    }
    message_unref(&message);
}

/* Of what is not kept for those who leave, only as much is accepted as stays in memory. */
static bool too_far_behind(const struct user *user, const struct message *message)
{
    return message->policy != DELIVERY_STORE && user->mailbox_count > 0 &&
           (!user->window_complete || !window_has_room(user));
}

static void accept_behind(struct engine *engine, struct user *user, struct message *message,
                          struct frame_direct_reply *reply)
{
    struct number number = message->number;

    if (too_far_behind(user, message)) {
        reply->status = DIRECT_DISCARDED;
        message_unref(&message);
        return;
    }
    if (mailbox_full(engine, user)) {
        engine->counters.mailbox_full++;
        reply->status = DIRECT_MAILBOX_FULL;
        message_unref(&message);
        return;
    }
    if (user->mailbox_count == 0)
        user->window_complete = true;
    store_pending(engine, user);
    store(engine, user, message);
    window_offer(user, message);
    mailbox_page(engine, user);
    reply->status = number_compare(user->paged, number) >= 0 ? DIRECT_DELIVERED : DIRECT_BACKLOGGED;
    if (reply->status == DIRECT_DELIVERED)
        list_delivered(engine, user, reply);
}

void mailbox_accept(struct engine *engine, struct user *user, struct message *message,
                    struct frame_direct_reply *reply)
{
    assert(user->loaded);
    if (user->connection_count == 0) {
        accept_offline(engine, user, message, reply);
    } else if (user->mailbox_count || user->ack_count || !window_free(engine, user)) {
        accept_behind(engine, user, message, reply);
    } else {
        pending_insert(engine, user, message);
        send_to_all(engine, user, message);
        list_delivered(engine, user, reply);
        reply->status = DIRECT_DELIVERED;
    }
    user_settle(engine, user);
}

/* ---- confirming ---- */

static void confirm(struct engine *engine, struct user *user, struct message *message, bool several)
{
    if (message->stored)
        unstore(engine, user, message);
    if (several)
        user_remember_seen(engine, user, message->number);
    pending_remove(engine, user, message);
}

void mailbox_on_written(struct engine *engine, struct message *message, struct gateway *gateway,
                        uint64_t connection)
{
    struct user *user = message->user;

    if (user == NULL || find_target(message, gateway, connection) == NULL)
        return;
    if (user->ack_count) {
        const struct connection *taker = connection_find(gateway, connection);

        /* One that acknowledges says so itself; what its TCP took may never have been read. */
        if (taker != NULL && !(taker->flags & CONNECTION_FLAG_ACK))
            message->written = true;
        return;
    }
    confirm(engine, user, message, message->target_count > 1);
    mailbox_page(engine, user);
    user_settle(engine, user);
}

static struct message *find_id(const struct message_list *list, struct slice id)
{
    struct message *message;

    TAILQ_FOREACH(message, list, link)
    {
        if (slice_equal(message->id, id))
            return message;
    }
    return NULL;
}

bool mailbox_ack_waits(const struct user *user, struct slice id)
{
    return (user->page_wanted || user->page_asked) && user->connection_count &&
           find_id(&user->pending, id) == NULL && find_id(&user->window, id) == NULL;
}

/* Of one that waits to be sent again: it came before a take or an announcement. */
static void ack_in_window(struct engine *engine, struct user *user, struct slice id)
{
    struct message *message = find_id(&user->window, id);

    if (message == NULL)
        return;
    unstore(engine, user, message);
    window_remove(user, message);
    message_unref(&message);
}

void mailbox_on_ack(struct engine *engine, struct user *user, struct slice id)
{
    struct message *message = find_id(&user->pending, id);

    if (message == NULL) {
        ack_in_window(engine, user, id);
        return;
    }
    confirm(engine, user, message, user->connection_count > 1);
    mailbox_page(engine, user);
    user_settle(engine, user);
}

void mailbox_on_connect(struct engine *engine, struct user *user, struct connection *connection)
{
    struct message *message;

    TAILQ_FOREACH(message, &user->pending, link)
    send_to_one(engine, user, message, connection);
    /* From now on their copies wait for his own word. */
    if (connection->flags & CONNECTION_FLAG_ACK)
        store_pending(engine, user);
    if (user->connection_count == 1) {
        user->came = number_make(engine->epoch, engine->commit, engine->index);
        window_clear(user);
    }
    mailbox_page(engine, user);
}

/* What its policy keeps for nobody who is not there; of what is not in memory his next connection
 * finds it (drop_dead). */
static void discard(struct engine *engine, struct user *user, const struct message *message)
{
    if (message->stored)
        unstore(engine, user, message);
    discard_tell(engine, user, message);
}

/* Of a guest nothing stays, not even what was to be kept. */
static void forget_guest(struct engine *engine, struct user *user)
{
    struct message *message;

    while ((message = TAILQ_FIRST(&user->pending)) != NULL) {
        discard_tell(engine, user, message);
        pending_remove(engine, user, message);
    }
    if (user->mailbox_count)
        effects_open(engine->effects, EFFECT_DEL, user_mailbox_key(engine, user), 0);
    user->mailbox_count = user->mailbox_bytes = 0;
    user_mailbox_changed(engine, user);
    window_clear(user);
}

/* The last connection goes: what is unconfirmed waits in the mailbox. */
static void pending_to_mailbox(struct engine *engine, struct user *user)
{
    struct message *message;

    while ((message = TAILQ_FIRST(&user->pending)) != NULL) {
        if (message->policy != DELIVERY_STORE)
            discard(engine, user, message);
        else if (!message->stored)
            store(engine, user, message);
        pending_remove(engine, user, message);
    }
    TAILQ_FOREACH(message, &user->window, link)
    {
        if (message->policy != DELIVERY_STORE)
            discard(engine, user, message);
    }
    window_clear(user);
}

/* What closing one connection means for one pending message. A user who acknowledges himself
 * confirms by his word alone. */
static void close_target(struct engine *engine, struct user *user, struct message *message,
                         const struct connection *connection, struct number seen)
{
    struct target *target = find_target(message, connection->gateway, connection->id);
    bool taken = target != NULL && number_compare(message->number, seen) <= 0 &&
                 !(connection->flags & CONNECTION_FLAG_ACK);

    if ((taken || message->written) && user->ack_count == 0)
        confirm(engine, user, message, user->connection_count > 1);
    else if (target != NULL)
        remove_target(message, target);
}

void mailbox_on_closed(struct engine *engine, struct user *user, struct connection *connection,
                       struct number seen)
{
    struct message *message, *next;

    for (message = TAILQ_FIRST(&user->pending); message != NULL; message = next) {
        next = TAILQ_NEXT(message, link);
        close_target(engine, user, message, connection, seen);
    }
    if (user->connection_count > 1)
        return;
    if (user->guest)
        forget_guest(engine, user);
    else
        pending_to_mailbox(engine, user);
}

/* ---- pages ---- */

static uint64_t u64_of(const struct engine_page_entry *entry, const char *name)
{
    return load_u64(load_entry_field(entry, name));
}

static struct message *message_of_entry(const struct engine_page_entry *entry)
{
    struct message *message =
        message_new(load_entry_field(entry, "from"), load_entry_field(entry, "chat"),
                    load_entry_field(entry, "id"), load_entry_field(entry, "body"),
                    load_entry_field(entry, "metadata"));

    message->number = entry->number;
    message->in_chat = u64_of(entry, "message");
    message->sent_at_ms = u64_of(entry, "sent_at");
    message->expires_ms = u64_of(entry, "expires");
    message->policy = u64_of(entry, "policy");
    message->protocol = u64_of(entry, "protocol");
    message->content = u64_of(entry, "content");
    message->stored = true;
    return message;
}

/* Nothing is above this page: it was not full, or ends with the newest. */
static bool page_is_last(const struct user *user, const struct engine_page_entry *entries,
                         size_t count)
{
    if (!user->stored_since_asked && count < ENGINE_PAGE_ENTRIES)
        return true;
    return count && number_compare(entries[count - 1].number, user->mailbox_last) == 0;
}

void engine_page(struct engine *engine, struct slice id, const struct engine_page_entry *entries,
                 size_t count)
{
    struct user *user = user_find(engine, id);

    if (user == NULL || !user->page_asked)
        return;
    user->page_asked = false;
    /* He left and came back meanwhile, and begins at the front again: this is a page of the middle.
     */
    if (number_compare(user->paged, user->page_after) != 0) {
        mailbox_page(engine, user);
    } else if (user->connection_count) {
        for (size_t i = 0; i < count; i++)
            window_push(user, message_of_entry(&entries[i]));
        user->window_complete = page_is_last(user, entries, count);
        mailbox_page(engine, user);
    }
    user_settle(engine, user);
}

/* ---- into dialogs ---- */

bool mailbox_wants(const struct user *user)
{
    return user->connection_count > 0;
}

struct message *mailbox_take(struct engine *engine, struct user *user,
                             const struct engine_page_entry *entry)
{
    struct message *message = message_of_entry(entry);

    unstore(engine, user, message);
    if (message_expired(engine, message)) {
        engine->counters.expired++;
        message_unref(&message);
    }
    return message;
}

void mailbox_emptied(struct engine *engine, struct user *user)
{
    user->mailbox_count = user->mailbox_bytes = 0;
    user_mailbox_changed(engine, user);
}

/* ---- loading ---- */

void mailbox_load_pending(struct engine *engine, struct gateway *gateway, struct number entry,
                          const struct frame_message_delivery *delivery)
{
    for (size_t i = 0; i < delivery->connections.count; i++) {
        struct connection *connection = connection_find(gateway, delivery->connections.values[i]);
        struct user *user = connection ? connection->user : NULL;
        struct message *message;

        /* Users who acknowledge have all of it in the mailbox: it is sent again from there, and
         * gateways know what they have. */
        if (user == NULL || user->ack_count || number_compare(delivery->number, user->seen) <= 0)
            continue;
        TAILQ_FOREACH_REVERSE(message, &user->pending, message_list, link)
        {
            if (number_compare(message->number, delivery->number) <= 0)
                break;
        }
        if (message == NULL || number_compare(message->number, delivery->number) != 0) {
            message = message_new(delivery->from, delivery->chat, delivery->id, delivery->body,
                                  delivery->metadata);
            message->in_chat = delivery->message;
            message->number = delivery->number;
            message->sent_at_ms = delivery->sent_at_ms;
            message->expires_ms = delivery->expires_ms;
            message->policy = delivery->policy;
            message->protocol = delivery->protocol;
            message->content = delivery->content;
            pending_insert(engine, user, message);
        }
        add_target(message, gateway, connection->id);
        gateway_record(gateway, entry, connection->id, message, 0);
    }
}

/* A mailbox that is not empty holds all that is unconfirmed, and all of it is sent again from
   there, in order: gateways know what they have. The streams may lack some of it, which was written
   and waits for a client's own word. */
void mailbox_load_finish(struct engine *engine, struct user *user)
{
    struct message *message;

    user->window_complete = user->mailbox_count == 0;
    if (user->mailbox_count == 0 || user->connection_count == 0)
        return;
    while ((message = TAILQ_FIRST(&user->pending)) != NULL)
        pending_remove(engine, user, message);
    want_page(engine, user);
}

void mailbox_destroy(struct engine *engine, struct user *user)
{
    struct message *message;

    while ((message = TAILQ_FIRST(&user->pending)) != NULL)
        pending_remove(engine, user, message);
    window_clear(user);
}
