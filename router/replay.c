/*
 * A connection that wants all unread messages (CONNECTION_FLAG_KEEP) first gets those that were
 * confirmed before, page by page, each when the one before was written; then it joins the user's
 * other connections (delivery.md, S13). Until then it is in a list of its own, and its line in
 * `conns:<g>` says how far it is. See mailbox.h.
 */
#include "router/mailbox.h"

/* Bytes of one page; one message is always sent. */
#define PAGE_BYTES (256 * 1024)

static void stop_waiting(struct connection *connection)
{
    if (connection->replay_queue != NULL)
        TAILQ_REMOVE(connection->replay_queue, connection, replay_link);
    connection->replay_queue = NULL;
    connection->replay_ticket = 0;
}

static void wait_in(struct connection_queue *queue, struct connection *connection)
{
    stop_waiting(connection);
    connection->replay_queue = queue;
    TAILQ_INSERT_TAIL(queue, connection, replay_link);
}

/* Until everything in the gateway's entries up to this one is written. */
static void wait_for_written(struct connection *connection, struct number entry)
{
    connection->replay_entry = entry;
    wait_in(&connection->gateway->replays, connection);
}

static void join(struct engine *engine, struct connection *connection)
{
    struct user *user = connection->user;

    stop_waiting(connection);
    connection->flags &= ~(uint64_t)CONNECTION_REPLAYING;
    LIST_REMOVE(connection, of_user);
    user->replaying_count--;
    LIST_INSERT_HEAD(&user->connections, connection, of_user);
    user->connection_count++;
    connection_write(engine, connection);
    mailbox_on_connect(engine, user, connection);
    user_settle(engine, user);
}

/* Its gateway has as much on the way as it may have: the last of it must be written first. */
static bool output_full(const struct engine *engine, const struct gateway *gateway)
{
    return gateway->record_count && gateway->output_bytes >= engine->limits.output_bytes;
}

static void go_on(struct engine *engine, struct connection *connection)
{
    struct number next;

    if (!unread_next(connection->user, connection->replayed, &next))
        join(engine, connection);
    else if (output_full(engine, connection->gateway))
        wait_for_written(connection, connection->gateway->last_output);
    else
        wait_in(&engine->replays, connection);
}

void replay_begin(struct engine *engine, struct connection *connection, struct number after)
{
    connection->replayed = after;
    go_on(engine, connection);
    if (connection->flags & CONNECTION_REPLAYING)
        connection_write(engine, connection);
}

void replay_load(struct engine *engine, struct user *user)
{
    struct connection *connection;

    LIST_FOREACH(connection, &user->replaying, of_user)
    wait_in(&engine->replays, connection);
}

void replay_forget(struct connection *connection)
{
    stop_waiting(connection);
}

void replay_on_written(struct engine *engine, struct gateway *gateway, struct number number)
{
    struct connection *connection, *next;

    for (connection = TAILQ_FIRST(&gateway->replays); connection != NULL; connection = next) {
        next = TAILQ_NEXT(connection, replay_link);
        if (number_compare(connection->replay_entry, number) <= 0)
            go_on(engine, connection);
    }
}

/* ---- pages ---- */

bool replay_next_page(struct engine *engine, struct engine_page_request *request)
{
    struct connection *connection = TAILQ_FIRST(&engine->replays);

    if (connection == NULL)
        return false;
    stop_waiting(connection);
    connection->replay_ticket = ++engine->tickets;
    connection->replay_stores = connection->user->stores;
    *request = (struct engine_page_request){
        .user = user_slice(connection->user),
        .after = connection->replayed,
        .ticket = connection->replay_ticket,
    };
    return true;
}

static struct connection *find_asker(const struct user *user, uint64_t ticket)
{
    struct connection *connection;

    LIST_FOREACH(connection, &user->replaying, of_user)
    {
        if (connection->replay_ticket == ticket)
            return connection;
    }
    return NULL;
}

/* Returns its size; 0 if it is not sent: read meanwhile, or too old. */
static size_t send_entry(struct engine *engine, struct connection *connection,
                         const struct engine_page_entry *entry)
{
    struct user *user = connection->user;
    struct message *message;
    size_t size = 0;

    connection->replayed = entry->number;
    if (!unread_known(user, entry->number))
        return 0;
    message = store_read(entry);
    if (message_expired(engine, message)) {
        engine->counters.expired++;
        unstore_message(engine, user, message);
    } else {
        message_say(user, message, connection->gateway, &connection->id, 1, PRIORITY_NORMAL);
        size = message_size(message);
    }
    message_unref(&message);
    return size;
}

/* What the index names and Redis does not have is not waited for. */
static bool has_all(const struct connection *connection, size_t page_count)
{
    const struct user *user = connection->user;
    struct number next;

    return (page_count == 0 && connection->replay_stores == user->stores) ||
           !unread_next(user, connection->replayed, &next);
}

void replay_on_page(struct engine *engine, struct user *user, uint64_t ticket,
                    const struct engine_page_entry *entries, size_t count)
{
    struct connection *connection = find_asker(user, ticket);
    size_t bytes = 0;

    if (connection == NULL)
        return;
    stop_waiting(connection);
    for (size_t i = 0;
         i < count && bytes < PAGE_BYTES && number_compare(entries[i].number, user->delivered) <= 0;
         i++)
        bytes += send_entry(engine, connection, &entries[i]);
    if (has_all(connection, count)) {
        join(engine, connection);
        return;
    }
    if (bytes)
        wait_for_written(connection, engine_entry_number(engine));
    else
        go_on(engine, connection);
    connection_write(engine, connection);
}
