/*
 * Connections that stand in each other's way: one may take the place of the older one in its slot,
 * or be the only one of its user by its protocol (names asked for beforehand: claims.c). See
 * state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

/* One that was replaced, until its gateway says that it is closed. */
struct replaced {
    uint64_t id;
    UT_hash_handle hh;
};

static struct replaced *find_replaced(const struct gateway *gateway, uint64_t id)
{
    struct replaced *replaced;

    HASH_FIND(hh, gateway->replaced, &id, sizeof(id), replaced);
    return replaced;
}

/* Its gateway may tell of it again, in an announcement or in entries from before one. */
static bool was_replaced(const struct gateway *gateway, uint64_t id)
{
    return find_replaced(gateway, id) != NULL;
}

static void remember(struct gateway *gateway, uint64_t id)
{
    struct replaced *replaced = xcalloc(1, sizeof(*replaced));

    replaced->id = id;
    HASH_ADD(hh, gateway->replaced, id, sizeof(replaced->id), replaced);
}

void slot_forget(struct gateway *gateway, uint64_t id)
{
    struct replaced *replaced = find_replaced(gateway, id);

    if (replaced == NULL)
        return;
    HASH_DEL(gateway->replaced, replaced);
    free(replaced);
}

void slots_forget_gateway(struct gateway *gateway)
{
    while (gateway->replaced != NULL)
        slot_forget(gateway, gateway->replaced->id);
}

void slot_refuse(struct gateway *gateway, uint64_t id, uint64_t close_code)
{
    gateway_say(gateway, &(struct frame){
                             .type = FRAME_CONNECTION_REFUSED,
                             .connection_refused = {.connection = id, .close_code = close_code}});
}

static bool is_rival(const struct connection *connection, const struct arrival *arrival)
{
    return connection->protocol == arrival->protocol &&
           ((arrival->flags & CONNECTION_FLAG_EXCLUSIVE) ||
            slice_equal(connection->slot, arrival->slot));
}

static struct connection *rival_in(const struct connection_list *list,
                                   const struct arrival *arrival, const struct connection *but)
{
    struct connection *other;

    LIST_FOREACH(other, list, of_user)
    {
        if (other != but && is_rival(other, arrival))
            return other;
    }
    return NULL;
}

/* The user's connection, but this one, by the same protocol; with REPLACE, in the same slot. */
static struct connection *find_rival(const struct user *user, const struct arrival *arrival,
                                     const struct connection *but)
{
    struct connection *rival = NULL;

    for (int i = 0; rival == NULL && i < USER_LISTS; i++)
        rival = rival_in(user_connection_list(user, i), arrival, but);
    return rival;
}

static bool replaces(const struct user *user, const struct arrival *arrival)
{
    return (arrival->flags & CONNECTION_FLAG_REPLACE) && find_rival(user, arrival, NULL) != NULL;
}

/* One that is announced while another has its place was replaced before (by somebody who forgot it
 * since). Of two at one gateway the later has the higher number: what the gateway said before it
 * announced the later one comes behind the announcement. */
static bool is_older(const struct gateway *gateway, const struct user *user,
                     const struct arrival *arrival)
{
    const struct connection *rival = find_rival(user, arrival, NULL);

    return rival != NULL &&
           (arrival->announced || (rival->gateway == gateway && rival->id > arrival->connection));
}

uint64_t slot_refuses(struct engine *engine, const struct gateway *gateway, const struct user *user,
                      const struct arrival *arrival)
{
    if (was_replaced(gateway, arrival->connection))
        return CONNECTION_REPLACED;
    if (user->connection_count + user->replaying_count + user->follower_count -
            replaces(user, arrival) >=
        engine->limits.user_connections)
        return CONNECTION_OVER_LIMIT;
    if ((arrival->flags & CONNECTION_FLAG_EXCLUSIVE) &&
        (find_rival(user, arrival, NULL) != NULL ||
         (!arrival->announced && !claim_take(engine, gateway, arrival->user, arrival->protocol))))
        return CONNECTION_OVER_LIMIT;
    if ((arrival->flags & CONNECTION_FLAG_REPLACE) && is_older(gateway, user, arrival))
        return CONNECTION_REPLACED;
    return 0;
}

/* The older ones of its slot are as good as closed: what they had on its way goes to the new one,
 * and their gateways' word that they are closed finds nothing. */
void slot_take(struct engine *engine, struct user *user, const struct arrival *arrival,
               const struct connection *connection)
{
    struct connection *other;

    if (!(arrival->flags & CONNECTION_FLAG_REPLACE))
        return;
    while ((other = find_rival(user, arrival, connection)) != NULL) {
        slot_refuse(other->gateway, other->id, CONNECTION_REPLACED);
        remember(other->gateway, other->id);
        connection_on_closed(engine, other->gateway, other->id, (struct number){0});
    }
}
