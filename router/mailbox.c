/*
 * Durable messages to a user (delivery.md, S6 and S7). Those on their way are in `pending` and in
 * output streams: the output stream is the mailbox of those who are online. The mailbox proper
 * holds what came while the user was away or behind, and what is kept until it is read (unread.c);
 * one in which something waits holds all that is unconfirmed, in order of numbers. See state.h.
 */
#include "common/xalloc.h"
#include "router/mailbox.h"

#include <assert.h>
#include <stdlib.h>

/* Messages kept in memory of a mailbox whose user is connected; beyond it they are read again when
 * their turn comes. */
#define MAILBOX_WINDOW 256
#define MAILBOX_WINDOW_BYTES (256 * 1024)

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

/*
 * Of one whose messages are kept: the watermark rises over what is confirmed without a gap. Where
 * the output stream was its only place, it goes into the mailbox now.
 */
static void settle_confirmed(struct engine *engine, struct user *user)
{
    struct message *message;

    while ((message = TAILQ_FIRST(&user->pending)) != NULL && message->confirmed) {
        if (!message->stored)
            store_message(engine, user, message);
        unread_confirm(engine, user, message);
        pending_remove(engine, user, message);
    }
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

static enum delivery_priority priority_of(const struct message *message)
{
    return message->priority ? PRIORITY_HIGH : PRIORITY_NORMAL;
}

static void note_sent(struct user *user, struct number number)
{
    if (number_compare(user->sent, number) < 0)
        user->sent = number;
}

static void send_to_one(struct engine *engine, struct user *user, struct message *message,
                        struct connection *connection)
{
    note_sent(user, message->number);
    message_add_target(message, connection->gateway, connection->id);
    gateway_record(connection->gateway, engine_entry_number(engine), connection->id, message, 0);
    message_say(user, message, connection->gateway, &connection->id, 1, priority_of(message));
}

/* To the connections of one gateway in one frame. */
static void send_to_gateway(struct engine *engine, struct user *user, struct message *message,
                            struct gateway *gateway, uint64_t *ids)
{
    size_t count = user_connections_at(user, gateway, ids);

    note_sent(user, message->number);
    for (size_t i = 0; i < count; i++) {
        message_add_target(message, gateway, ids[i]);
        gateway_record(gateway, engine_entry_number(engine), ids[i], message, 0);
    }
    message_say(user, message, gateway, ids, count, priority_of(message));
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

/*
 * A copy of what waits in the mailbox goes before its turn. It confirms nothing: the message keeps
 * its place, and comes in its turn, when gateways drop what they have handed over. Not for those
 * who confirm by their own word, or whose messages do not simply wait for them.
 */
static void send_ahead(struct engine *engine, struct user *user, struct message *message)
{
    const struct connection *connection;

    if (!message->priority || message->ahead || message->policy != DELIVERY_STORE ||
        user->ack_count || user->keep || user->guest || message_expired(engine, message))
        return;
    message->ahead = true;
    LIST_FOREACH(connection, &user->connections, of_user)
    {
        if (connection->gateway->output_bytes < engine->limits.output_bytes)
            message_say(user, message, connection->gateway, &connection->id, 1, PRIORITY_AHEAD);
    }
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

/* A page that was wanted before all of it was read comes all the same, with what is new. */
static bool nothing_beyond(const struct user *user)
{
    return user->waiting == 0 && !user->page_wanted && !user->page_asked;
}

void mailbox_store_pending(struct engine *engine, struct user *user)
{
    struct message *message;

    if (nothing_beyond(user))
        user->window_complete = true;
    TAILQ_FOREACH(message, &user->pending, link)
    {
        if (!message->stored)
            store_message(engine, user, message);
        user->paged = message->number;
    }
}

static void window_clear(struct user *user)
{
    struct message *message;

    while ((message = window_pop(user)) != NULL)
        message_unref(&message);
    user->window_complete = nothing_beyond(user);
    user->paged = user->delivered;
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
    unstore_message(engine, user, message);
    return true;
}

void mailbox_page(struct engine *engine, struct user *user)
{
    while (user->connection_count && user->waiting && window_free(engine, user)) {
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
        /* One that keeps may have come since another had it. */
        if (!message->confirmed || user->keep_count)
            send_to_all(engine, user, message);
        if (message->confirmed)
            settle_confirmed(engine, user);
    }
}

/* ---- accepting ---- */

static void accept_offline(struct engine *engine, struct user *user, struct message *message,
                           struct frame_direct_reply *reply)
{
    if (message->policy != DELIVERY_STORE || user->guest) {
        reply->status = DIRECT_DISCARDED;
    } else if (store_full(engine, user)) {
        engine->counters.mailbox_full++;
        reply->status = DIRECT_MAILBOX_FULL;
    } else {
        store_message(engine, user, message);
        user->window_complete = false;
        reply->status = user->replaying_count ? DIRECT_BACKLOGGED : DIRECT_QUEUED;
    }
    message_unref(&message);
}

/* Of what is not kept for those who leave, only as much is accepted as stays in memory. */
static bool too_far_behind(const struct user *user, const struct message *message)
{
    return message->policy != DELIVERY_STORE && user->waiting > 0 &&
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
    if (store_full(engine, user)) {
        engine->counters.mailbox_full++;
        reply->status = DIRECT_MAILBOX_FULL;
        message_unref(&message);
        return;
    }
    mailbox_store_pending(engine, user);
    store_message(engine, user, message);
    message->references++;
    window_offer(user, message);
    mailbox_page(engine, user);
    if (number_compare(user->paged, number) < 0)
        send_ahead(engine, user, message);
    message_unref(&message);
    reply->status = number_compare(user->paged, number) >= 0 ? DIRECT_DELIVERED : DIRECT_BACKLOGGED;
    if (reply->status == DIRECT_DELIVERED)
        list_delivered(engine, user, reply);
}

/* The output streams are its mailbox. */
static void accept_online(struct engine *engine, struct user *user, struct message *message,
                          struct frame_direct_reply *reply)
{
    /* Before this one is above the watermark, it must be above all that was read. */
    unread_settle(engine, user);
    pending_insert(engine, user, message);
    if (user->keep)
        unread_add(engine, user, message);
    send_to_all(engine, user, message);
    list_delivered(engine, user, reply);
    reply->status = DIRECT_DELIVERED;
}

/* What is on its way to one whose messages are kept will be in the mailbox, too. */
static bool kept_full(const struct engine *engine, const struct user *user)
{
    return user->keep && store_full(engine, user);
}

bool mailbox_accept(struct engine *engine, struct user *user, struct message *message,
                    struct frame_direct_reply *reply)
{
    assert(user->loaded);
    unread_age(engine, user);
    if (user->keep && unread_repeated(user, message, reply)) {
        message_unref(&message);
        return false;
    }
    if (user->connection_count == 0) {
        accept_offline(engine, user, message, reply);
    } else if (user->waiting || user->ack_count || !window_free(engine, user) ||
               kept_full(engine, user)) {
        accept_behind(engine, user, message, reply);
    } else {
        accept_online(engine, user, message, reply);
    }
    user_settle(engine, user);
    return true;
}

/* ---- confirming ---- */

/* settle_confirmed must follow when the caller is done with the list. */
static void confirm(struct engine *engine, struct user *user, struct message *message, bool several)
{
    if (user->keep) {
        message->confirmed = true;
        return;
    }
    if (message->stored)
        unstore_message(engine, user, message);
    if (several)
        user_remember_seen(engine, user, message->number);
    pending_remove(engine, user, message);
}

void mailbox_on_written(struct engine *engine, struct message *message, struct gateway *gateway,
                        uint64_t connection)
{
    struct user *user = message->user;

    if (user == NULL || message_target(message, gateway, connection) == NULL)
        return;
    if (user->ack_count) {
        const struct connection *taker = connection_find(gateway, connection);

        /* One that acknowledges says so itself; what its TCP took may never have been read. */
        if (taker != NULL && !(taker->flags & CONNECTION_FLAG_ACK))
            message->written = true;
        return;
    }
    confirm(engine, user, message, message->target_count > 1);
    settle_confirmed(engine, user);
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
    if (user->keep) {
        message->confirmed = true;
        return;
    }
    unstore_message(engine, user, message);
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
    settle_confirmed(engine, user);
    mailbox_page(engine, user);
    user_settle(engine, user);
}

void mailbox_on_connect(struct engine *engine, struct user *user, struct connection *connection)
{
    struct message *message;

    TAILQ_FOREACH(message, &user->pending, link)
    send_to_one(engine, user, message, connection);
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
        unstore_message(engine, user, message);
    else
        unread_remove(user, message->number);
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
    user->mailbox_count = user->mailbox_bytes = user->waiting = 0;
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
            store_message(engine, user, message);
        pending_remove(engine, user, message);
    }
    TAILQ_FOREACH(message, &user->window, link)
    {
        if (message->policy != DELIVERY_STORE)
            discard(engine, user, message);
    }
    /* Nothing else may change of him in this commit. */
    unread_settle(engine, user);
    window_clear(user);
}

/* Too old, it went from the mailbox, and a take found it in the stream of this connection alone:
 * those that came since do not get it any more. */
static bool was_dropped(const struct engine *engine, const struct user *user,
                        const struct message *message)
{
    return message->target_count == 1 && user->connection_count > 1 &&
           message_expired(engine, message);
}

/* What closing one connection means for one pending message. A user who acknowledges himself
 * confirms by his word alone. */
static void close_target(struct engine *engine, struct user *user, struct message *message,
                         const struct connection *connection, struct number seen)
{
    struct target *target = message_target(message, connection->gateway, connection->id);
    bool taken = target != NULL && number_compare(message->number, seen) <= 0 &&
                 !(connection->flags & CONNECTION_FLAG_ACK);

    if (((taken || message->written) && user->ack_count == 0) ||
        (target != NULL && was_dropped(engine, user, message)))
        confirm(engine, user, message, user->connection_count > 1);
    else if (target != NULL)
        message_remove_target(message, target);
}

void mailbox_on_closed(struct engine *engine, struct user *user, struct connection *connection,
                       struct number seen)
{
    struct message *message, *next;

    for (message = TAILQ_FIRST(&user->pending); message != NULL; message = next) {
        next = TAILQ_NEXT(message, link);
        close_target(engine, user, message, connection, seen);
    }
    settle_confirmed(engine, user);
    if (user->connection_count > 1)
        return;
    if (user->guest)
        forget_guest(engine, user);
    else
        pending_to_mailbox(engine, user);
}

/* ---- pages ---- */

/* Nothing is above this page: it was not full, or ends with the newest. */
static bool page_is_last(const struct user *user, const struct engine_page_entry *entries,
                         size_t count)
{
    if (user->stores == user->page_stores && count < ENGINE_PAGE_ENTRIES)
        return true;
    return count && number_compare(entries[count - 1].number, user->mailbox_last) == 0;
}

static void window_read(struct engine *engine, struct user *user,
                        const struct engine_page_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct message *message;

        if (unread_was_read(user, entries[i].number))
            continue;
        message = store_read(&entries[i]);
        if (user->keep)
            unread_add(engine, user, message);
        window_push(user, message);
    }
    user->window_complete = page_is_last(user, entries, count);
}

void engine_page(struct engine *engine, struct slice id, uint64_t ticket,
                 const struct engine_page_entry *entries, size_t count)
{
    struct user *user = user_find(engine, id);
    struct message *message;

    if (user != NULL && ticket)
        replay_on_page(engine, user, ticket, entries, count);
    if (user == NULL || ticket || !user->page_asked)
        return;
    user->page_asked = false;
    /* He left and came back meanwhile, and begins at the front again: this is a page of the middle.
     */
    if (user->connection_count && number_compare(user->paged, user->page_after) == 0)
        window_read(engine, user, entries, count);
    unread_forget_gone(user);
    mailbox_page(engine, user);
    TAILQ_FOREACH(message, &user->window, link)
    send_ahead(engine, user, message);
    user_settle(engine, user);
}

/* ---- into dialogs ---- */

bool mailbox_wants(const struct user *user)
{
    return user->connection_count + user->replaying_count > 0 || user->keep;
}

struct message *mailbox_take(struct engine *engine, struct user *user,
                             const struct engine_page_entry *entry)
{
    struct message *message = store_read(entry);

    unstore_message(engine, user, message);
    if (message_expired(engine, message)) {
        engine->counters.expired++;
        message_unref(&message);
    }
    return message;
}

void mailbox_emptied(struct engine *engine, struct user *user)
{
    user->mailbox_count = user->mailbox_bytes = user->waiting = 0;
    user_mailbox_changed(engine, user);
}

/* ---- messages that are kept until they are read (unread.c) ---- */

static struct message *find_number(const struct message_list *list, struct number number)
{
    struct message *message = TAILQ_FIRST(list);

    while (message != NULL && number_compare(message->number, number) < 0)
        message = TAILQ_NEXT(message, link);
    return message && number_compare(message->number, number) == 0 ? message : NULL;
}

bool mailbox_next_is(const struct user *user, struct number number)
{
    const struct message *message = TAILQ_FIRST(&user->pending);

    return message != NULL && number_compare(message->number, number) == 0;
}

void mailbox_forget(struct engine *engine, struct user *user, struct number number)
{
    struct message *message = find_number(&user->pending, number);

    if (message != NULL) {
        pending_remove(engine, user, message);
        settle_confirmed(engine, user);
        return;
    }
    message = find_number(&user->window, number);
    if (message == NULL)
        return;
    window_remove(user, message);
    message_unref(&message);
}

void mailbox_end_keep(struct engine *engine, struct user *user)
{
    struct message *message, *next;

    for (message = TAILQ_FIRST(&user->pending); message != NULL; message = next) {
        next = TAILQ_NEXT(message, link);
        if (message->confirmed)
            confirm(engine, user, message, true);
    }
}

/* ---- loading ---- */

void mailbox_load_pending(struct engine *engine, struct gateway *gateway, struct number entry,
                          const struct frame_message_delivery *delivery)
{
    for (size_t i = 0; i < delivery->connections.count; i++) {
        struct connection *connection = connection_find(gateway, delivery->connections.values[i]);
        struct user *user = connection ? connection->user : NULL;
        struct message *message;

        if (user != NULL)
            note_sent(user, delivery->number);
        /* Users who acknowledge have all of it in the mailbox: it is sent again from there, and
         * gateways know what they have. */
        if (user == NULL || user->ack_count || delivery->priority == PRIORITY_AHEAD ||
            number_compare(delivery->number, user->seen) <= 0)
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
            message->priority = delivery->priority != PRIORITY_NORMAL;
            message->protocol = delivery->protocol;
            message->content = delivery->content;
            pending_insert(engine, user, message);
        }
        message_add_target(message, gateway, connection->id);
        gateway_record(gateway, entry, connection->id, message, 0);
    }
}

/* What waits in a mailbox is all that is unconfirmed, and all of it is sent again from there, in
   order: gateways know what they have. The streams may lack some of it, which was written and waits
   for a client's own word. Where nothing waits, they have all of it, and, below the watermark, what
   was confirmed or read since. */
void mailbox_load_finish(struct engine *engine, struct user *user)
{
    struct message *message, *next;

    user->window_complete = user->waiting == 0;
    user->paged = user->delivered;
    for (message = TAILQ_FIRST(&user->pending); message != NULL; message = next) {
        next = TAILQ_NEXT(message, link);
        if (user->waiting || number_compare(message->number, user->delivered) <= 0)
            pending_remove(engine, user, message);
        else if (user->keep)
            unread_add(engine, user, message);
    }
    if (user->waiting && user->connection_count)
        want_page(engine, user);
}

void mailbox_destroy(struct engine *engine, struct user *user)
{
    struct message *message;

    while ((message = TAILQ_FIRST(&user->pending)) != NULL)
        pending_remove(engine, user, message);
    window_clear(user);
}
