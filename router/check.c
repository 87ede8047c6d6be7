/*
 * What must always be true of a partition's state in memory: run by tests after each step. See
 * engine.h.
 */
#include "router/events.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool holds, const char *what, const struct user *user)
{
    if (holds)
        return;
    fprintf(stderr, "engine_check: %s (user %s)\n", what, user ? user->id : "-");
    abort();
}

static size_t count_list(const struct message_list *list, size_t *bytes)
{
    const struct message *message;
    size_t count = 0;

    *bytes = 0;
    TAILQ_FOREACH(message, list, link)
    {
        count++;
        *bytes += message_size(message);
    }
    return count;
}

/* An output stream holds it for a connection that it is for. */
static bool is_on_its_way(const struct message *message)
{
    for (size_t i = 0; i < message->target_count; i++) {
        const struct gateway *gateway = message->targets[i].gateway;

        for (size_t j = 0; j < gateway->record_count; j++) {
            size_t at = (gateway->record_first + j) % gateway->record_capacity;

            if (gateway->records[at].message == message &&
                gateway->records[at].connection == message->targets[i].connection)
                return true;
        }
    }
    return false;
}

static void check_pending(const struct user *user)
{
    struct number last = {0};
    const struct message *message;
    size_t bytes;

    must(count_list(&user->pending, &bytes) == user->pending_count, "pending_count", user);
    must(bytes == user->pending_bytes, "pending_bytes", user);
    must(user->connection_count || user->pending_count == 0, "pending without a connection", user);
    TAILQ_FOREACH(message, &user->pending, link)
    {
        must(number_compare(message->number, last) > 0, "pending in order", user);
        must(message->user == user, "pending belongs to its user", user);
        /* I5: a mailbox in which something waits holds all that is unconfirmed. */
        must(message->stored == (user->waiting > 0), "a mailbox holds all or nothing", user);
        must(message->stored || is_on_its_way(message), "no place has it", user);
        last = message->number;
    }
}

static void check_window(const struct user *user)
{
    struct number last = user->paged;
    const struct message *message;
    size_t bytes;

    must(count_list(&user->window, &bytes) == user->window_count, "window_count", user);
    must(bytes == user->window_bytes, "window_bytes", user);
    must(user->window_count <= user->waiting, "the window is part of the mailbox", user);
    must(user->connection_count || user->window_count == 0, "window without a connection", user);
    TAILQ_FOREACH(message, &user->window, link)
    {
        must(number_compare(message->number, last) > 0, "window in order, above paged", user);
        last = message->number;
    }
}

static void check_follower(const struct user *user, const struct connection *connection)
{
    bool follows = connection->flags & CONNECTION_FLAG_FOLLOWING;
    bool behind = connection->flags & CONNECTION_BEHIND;

    must(connection->user == user, "follower belongs to its user", user);
    must(connection_find(connection->gateway, connection->id) == connection,
         "follower is in its gateway", user);
    must(!follows || user->chat, "followed and not marked", user);
    must(!follows || behind || connection->event == user->event_newest,
         "a live follower has all events", user);
    must(!behind || connection->event < user->event_newest, "behind and has all events", user);
    /* One that is behind waits for something, or stays behind for ever. */
    must(behind == (connection->wants_page || connection->waits_written || connection->ticket),
         "a follower waits if it is behind", user);
}

/* Returns how many of them make him present. */
static size_t check_followers(const struct user *user)
{
    const struct connection *connection;
    size_t count = 0, visible = 0;

    LIST_FOREACH(connection, &user->followers, of_user)
    {
        check_follower(user, connection);
        count++;
        visible += !(connection->flags & CONNECTION_FLAG_HIDDEN);
    }
    must(count == user->follower_count, "follower_count", user);
    must(user->event_oldest <= user->event_newest + 1, "oldest event above the newest", user);
    must(!user->draining || user->connection_count == 0, "drained while somebody gets it", user);
    return visible;
}

static void check_kept(const struct user *user)
{
    const struct message *message = TAILQ_FIRST(&user->pending);

    if (!user->loaded)
        return;
    must(user->waiting <= user->mailbox_count, "what waits is part of the mailbox", user);
    if (!user->keep) {
        must(user->waiting == user->mailbox_count, "without a mark, all of it waits", user);
        must(number_is_zero(user->delivered), "a watermark without a mark", user);
        must(unread_count(user) == 0 && user->replaying_count == 0, "kept without a mark", user);
        return;
    }
    must(!user->guest, "a guest is marked", user);
    must(unread_count(user) <= user->mailbox_count + (user->waiting ? 0 : user->pending_count),
         "the index is part of the mailbox", user);
    must(user->waiting == 0 || user->pending_count <= user->waiting, "what is pending waits", user);
    must(user->in_changed || user->waiting || user->pending_count ||
             number_compare(user->delivered, user->sent) >= 0,
         "an output stream holds what was read", user);
    must(number_compare(user->paged, user->delivered) >= 0, "paged is above the watermark", user);
    must(message == NULL ||
             (!message->confirmed && number_compare(message->number, user->delivered) > 0),
         "the watermark is below what is pending", user);
}

static void check_replaying(const struct user *user)
{
    const struct connection *connection;
    size_t count = 0;

    LIST_FOREACH(connection, &user->replaying, of_user)
    {
        must(connection->flags & CONNECTION_REPLAYING, "it is replaying", user);
        must(!user->loaded || connection->replay_queue != NULL || connection->replay_ticket,
             "it waits for something", user);
        count++;
    }
    must(count == user->replaying_count, "replaying_count", user);
}

static void count_flags(const struct connection_list *list, size_t *acks, size_t *visible,
                        size_t *keeps)
{
    const struct connection *connection;

    LIST_FOREACH(connection, list, of_user)
    {
        *acks += (connection->flags & CONNECTION_FLAG_ACK) != 0;
        *visible += !(connection->flags & CONNECTION_FLAG_HIDDEN);
        *keeps += (connection->flags & CONNECTION_FLAG_KEEP) != 0;
    }
}

static void check_connections(const struct user *user)
{
    const struct connection *connection;
    size_t count = 0, acks = 0, visible = 0, keeps = 0;

    LIST_FOREACH(connection, &user->connections, of_user)
    {
        must(connection->user == user, "connection belongs to its user", user);
        must(connection_find(connection->gateway, connection->id) == connection,
             "connection is in its gateway", user);
        count++;
    }
    count_flags(&user->connections, &acks, &visible, &keeps);
    count_flags(&user->replaying, &acks, &visible, &keeps);
    must(count == user->connection_count && acks == user->ack_count, "connection_count", user);
    visible += check_followers(user);
    must(keeps == user->keep_count, "keep_count", user);
    must(visible == user->visible_count, "visible_count", user);
    must(visible == 0 || user->status != PRESENCE_OFFLINE, "connected and offline", user);
    must(visible == 0 || user->grace_ms == 0, "connected and on grace", user);
}

void engine_check(const struct engine *engine)
{
    size_t pending = 0;

    for (const struct user *user = engine->users; user; user = user->hh.next) {
        check_connections(user);
        check_pending(user);
        check_kept(user);
        check_replaying(user);
        check_window(user);
        pending += user->pending_count;
    }
    rooms_check(engine);
    history_check(engine);
    must(pending == engine->pending_count, "the engine's pending_count", NULL);
}
