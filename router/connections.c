/*
 * Connections of users, as their gateways tell of them: which there are, and which of them make
 * their user present. Each has its line in `conns:<g>`. See state.h.
 */
#include "common/xalloc.h"
#include "router/events.h"

#include <inttypes.h>
#include <stdlib.h>

/* Others are the router's own. */
#define FLAGS_OF_GATEWAYS 0xffff

struct connection *connection_find(struct gateway *gateway, uint64_t id)
{
    struct connection *connection;

    HASH_FIND(hh, gateway->connections, &id, sizeof(id), connection);
    return connection;
}

bool user_first_of_gateway(const struct user *user, const struct connection *connection)
{
    const struct connection *other;

    LIST_FOREACH(other, &user->connections, of_user)
    {
        if (other->gateway == connection->gateway)
            return other == connection;
    }
    return false;
}

size_t user_connections_at(const struct user *user, const struct gateway *gateway, uint64_t *ids)
{
    const struct connection *connection;
    size_t count = 0;

    LIST_FOREACH(connection, &user->connections, of_user)
    {
        if (connection->gateway == gateway)
            ids[count++] = connection->id;
    }
    return count;
}

/* All of them in one list: those that get messages, then those that follow events. */
static size_t collect(const struct user *user, enum user_connections which,
                      const struct connection **list)
{
    const struct connection *connection;
    size_t count = 0;

    LIST_FOREACH(connection, &user->connections, of_user)
    list[count++] = connection;
    LIST_FOREACH(connection, &user->replaying, of_user)
    list[count++] = connection;
    if (which == USER_MESSAGES)
        return count;
    LIST_FOREACH(connection, &user->followers, of_user)
    {
        if (connection->flags & CONNECTION_FLAG_FOLLOWING)
            list[count++] = connection;
    }
    return count;
}

static const struct connection **collected(const struct user *user, enum user_connections which,
                                           size_t *count)
{
    const struct connection **list =
        xcalloc(user->connection_count + user->replaying_count + user->follower_count + 1,
                sizeof(struct connection *));

    *count = collect(user, which, list);
    return list;
}

void user_list(const struct user *user, enum user_connections which, struct buffer *pairs)
{
    size_t count;
    const struct connection **list = collected(user, which, &count);

    for (size_t i = 0; i < count; i++) {
        uint64_t pair[2] = {list[i]->gateway->bits, list[i]->id};

        buffer_append(pairs, pair, sizeof(pair));
    }
    free((void *)list);
}

void user_say(const struct user *user, enum user_connections which, const struct frame *frame,
              struct frame_u64s *connections)
{
    size_t count;
    const struct connection **list = collected(user, which, &count);
    uint64_t *ids = xcalloc(count + 1, sizeof(*ids));

    /* Those of one gateway at a time; what is said is taken out of the list. */
    for (size_t i = 0; i < count; i++) {
        struct gateway *gateway = list[i] ? list[i]->gateway : NULL;
        size_t here = 0;

        if (gateway == NULL)
            continue;
        for (size_t j = i; j < count; j++) {
            if (list[j] == NULL || list[j]->gateway != gateway)
                continue;
            ids[here++] = list[j]->id;
            list[j] = NULL;
        }
        *connections = (struct frame_u64s){.values = ids, .count = here};
        gateway_say(gateway, frame);
    }
    free((void *)list);
    free(ids);
}

static struct connection *connection_add(struct engine *engine, struct gateway *gateway,
                                         const struct arrival *arrival)
{
    struct connection *connection = xcalloc(1, sizeof(*connection) + arrival->slot.length);
    struct user *user = user_get(engine, arrival->user);

    connection->id = arrival->connection;
    connection->gateway = gateway;
    connection->user = user;
    connection->protocol = arrival->protocol;
    connection->flags = arrival->flags;
    connection->event = arrival->event;
    connection->slot = slice_of(connection->slot_text, arrival->slot.length);
    if (arrival->slot.length)
        memcpy(connection->slot_text, arrival->slot.data, arrival->slot.length);
    HASH_ADD(hh, gateway->connections, id, sizeof(connection->id), connection);
    if (connection->flags & CONNECTION_FLAG_EVENTS) {
        LIST_INSERT_HEAD(&user->followers, connection, of_user);
        user->follower_count++;
    } else if (connection->flags & CONNECTION_REPLAYING) {
        connection->replayed = arrival->seen;
        LIST_INSERT_HEAD(&user->replaying, connection, of_user);
        user->replaying_count++;
    } else {
        LIST_INSERT_HEAD(&user->connections, connection, of_user);
        user->connection_count++;
    }
    user->keep_count += (connection->flags & CONNECTION_FLAG_KEEP) != 0;
    user->ack_count += (connection->flags & CONNECTION_FLAG_ACK) != 0;
    user->visible_count += !(connection->flags & CONNECTION_FLAG_HIDDEN);
    user_settle(engine, user);
    return connection;
}

void connection_destroy(struct connection *connection)
{
    HASH_DEL(connection->gateway->connections, connection);
    free(connection);
}

/* ---- their lines ---- */

static uint32_t connections_key(struct engine *engine, const struct gateway *gateway)
{
    return effects_key(engine->effects, "conns", slice_text(gateway->id));
}

static struct slice field_of(uint64_t id, char text[24])
{
    return slice_print(text, 24, "%" PRIu64, id);
}

/* "protocol flags position user", and behind a newline, which no user id has, the slot. The
 * position is that of a replay, or the last event. */
void connection_write(struct engine *engine, const struct connection *connection)
{
    struct buffer line = {0};
    char field[24], position[NUMBER_TEXT_SIZE];

    number_format(connection->replayed, position);
    buffer_appendf(&line, "%" PRIu64 " %" PRIu64 " ", connection->protocol, connection->flags);
    if (connection->flags & CONNECTION_REPLAYING)
        buffer_append_text(&line, position);
    else
        buffer_append_u64(&line, connection->event);
    buffer_append_byte(&line, ' ');
    buffer_append_slice(&line, user_slice(connection->user));
    if (connection->slot.length) {
        buffer_append_byte(&line, '\n');
        buffer_append_slice(&line, connection->slot);
    }
    effects_hset(engine->effects, connections_key(engine, connection->gateway),
                 field_of(connection->id, field), buffer_slice(&line));
    buffer_finish(&line);
}

static void forget_line(struct engine *engine, const struct connection *connection)
{
    char field[24];

    effects_hdel(engine->effects, connections_key(engine, connection->gateway),
                 field_of(connection->id, field));
}

void connection_load(struct engine *engine, struct gateway *gateway, uint64_t id, struct slice line)
{
    struct arrival arrival = {.connection = id};
    struct slice position;
    const char *newline;

    arrival.protocol = load_u64(load_word(&line));
    arrival.flags = load_u64(load_word(&line));
    position = load_word(&line);
    arrival.event = load_u64(position);
    if (number_parse(position, &arrival.seen) < 0)
        arrival.seen = (struct number){0};
    newline = line.length ? memchr(line.data, '\n', line.length) : NULL;
    arrival.user = slice_of(line.data, newline ? (size_t)(newline - line.data) : line.length);
    if (newline)
        arrival.slot = slice_of(newline + 1, line.length - arrival.user.length - 1);
    if (arrival.user.length)
        connection_add(engine, gateway, &arrival);
}

/* ---- coming and going ---- */

/* Following begins with EVENTS_FOLLOW; only one that is announced may be at it already. */
static void begin_flags(struct connection *connection, const struct arrival *arrival)
{
    connection->flags &= ~(uint64_t)CONNECTION_BEHIND;
    if (!arrival->announced || !(connection->flags & CONNECTION_FLAG_EVENTS))
        connection->flags &= ~(uint64_t)CONNECTION_FLAG_FOLLOWING;
}

/* Out of its user's list. */
static void leave_user(struct engine *engine, struct user *user, struct connection *connection,
                       struct number seen)
{
    if (connection->flags & CONNECTION_FLAG_KEEP) {
        user->keep_count--;
        unread_on_closed(engine, user);
    }
    if (connection->flags & CONNECTION_FLAG_EVENTS) {
        follow_on_closed(engine, connection);
        user->follower_count--;
    } else if (connection->flags & CONNECTION_REPLAYING) {
        replay_forget(connection);
        user->replaying_count--;
    } else {
        mailbox_on_closed(engine, user, connection, seen);
        user->connection_count--;
    }
    LIST_REMOVE(connection, of_user);
}

static void begin_messages(struct engine *engine, struct connection *connection,
                           const struct arrival *arrival)
{
    struct user *user = connection->user;

    follow_stop_draining(engine, user);
    if (connection->flags & CONNECTION_FLAG_ACK)
        mailbox_store_pending(engine, user);
    if (connection->flags & CONNECTION_REPLAYING) {
        unread_begin(engine, user, connection->protocol);
        replay_begin(engine, connection, arrival->seen);
    } else {
        mailbox_on_connect(engine, user, connection);
    }
}

static uint64_t flags_of(const struct user *user, uint64_t flags)
{
    flags &= FLAGS_OF_GATEWAYS;
    if (user->guest)
        flags &= ~(uint64_t)CONNECTION_FLAG_KEEP;
    if (flags & CONNECTION_FLAG_EVENTS)
        flags &= ~(uint64_t)(CONNECTION_FLAG_KEEP | CONNECTION_FLAG_ACK);
    return flags & CONNECTION_FLAG_KEEP ? flags | CONNECTION_REPLAYING : flags;
}

void connection_on_connect(struct engine *engine, struct gateway *gateway,
                           const struct arrival *told)
{
    struct arrival arriving = *told, *arrival = &arriving;
    struct connection *connection;
    struct user *user;
    uint64_t refused;

    if (connection_find(gateway, arrival->connection) != NULL)
        return;
    user = user_get(engine, arrival->user);
    arrival->flags = flags_of(user, arrival->flags);
    unread_age(engine, user);
    refused = slot_refuses(engine, gateway, user, arrival);
    if (refused) {
        slot_refuse(gateway, arrival->connection, refused);
        return;
    }
    connection = connection_add(engine, gateway, arrival);
    begin_flags(connection, arrival);
    connection_write(engine, connection);
    if (!(connection->flags & CONNECTION_FLAG_HIDDEN))
        presence_on_connect(engine, user);
    if (connection->flags & CONNECTION_FLAG_FOLLOWING)
        follow_resume(engine, connection, arrival->event);
    if (!(connection->flags & CONNECTION_FLAG_EVENTS))
        begin_messages(engine, connection, arrival);
    slot_take(engine, user, arrival, connection);
}

void connection_on_closed(struct engine *engine, struct gateway *gateway, uint64_t id,
                          struct number seen)
{
    struct connection *connection = connection_find(gateway, id);
    struct user *user;
    bool visible;

    if (connection == NULL) {
        slot_forget(gateway, id);
        return;
    }
    user = connection->user;
    visible = !(connection->flags & CONNECTION_FLAG_HIDDEN);
    user->ack_count -= (connection->flags & CONNECTION_FLAG_ACK) != 0;
    leave_user(engine, user, connection, seen);
    user->visible_count -= visible;
    forget_line(engine, connection);
    connection_destroy(connection);
    if (visible && user->visible_count == 0)
        presence_on_last_closed(engine, user);
    if (user->connection_count)
        mailbox_page(engine, user); /* only now: nothing more goes to the one that is closed */
    user_settle(engine, user);
}

void connection_set_visible(struct engine *engine, struct connection *connection, bool visible)
{
    struct user *user = connection->user;

    if (visible == !(connection->flags & CONNECTION_FLAG_HIDDEN))
        return;
    connection->flags ^= CONNECTION_FLAG_HIDDEN;
    connection_write(engine, connection);
    user->visible_count += visible ? 1 : -1;
    if (visible)
        presence_on_connect(engine, user);
    else if (user->visible_count == 0)
        presence_on_last_closed(engine, user);
    user_settle(engine, user);
}
