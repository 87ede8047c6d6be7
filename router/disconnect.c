/*
 * Ending connections from outside: all of a user, or one by the id that clients see. Their gateways
 * are told; each is gone when its gateway says so (CONNECTION_CLOSED). See state.h.
 */
#include "common/uid.h"
#include "router/state.h"

static void end_connection(struct engine *engine, const struct connection *connection)
{
    uint64_t pair[2] = {connection->gateway->bits, connection->id};

    buffer_append(&engine->delivered, pair, sizeof(pair));
    gateway_say(connection->gateway,
                &(struct frame){.type = FRAME_CONNECTION_REFUSED,
                                .connection_refused = {.connection = connection->id,
                                                       .close_code = CONNECTION_ENDED}});
}

static void end_all(struct engine *engine, struct slice id)
{
    const struct user *user = user_find(engine, id);
    const struct connection *connection;

    for (int i = 0; user != NULL && i < USER_LISTS; i++)
        LIST_FOREACH(connection, user_connection_list(user, i), of_user)
    end_connection(engine, connection);
}

static void end_one(struct engine *engine, struct slice uuid)
{
    for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next) {
        const struct connection *connection;
        uint64_t id;

        if (!uid_connection_find(gateway->bits, uuid, &id))
            continue;
        connection = connection_find(gateway, id);
        if (connection != NULL)
            end_connection(engine, connection);
        return;
    }
}

void connections_on_disconnect(struct engine *engine, struct gateway *asker,
                               const struct frame_user_disconnect *disconnect)
{
    engine->delivered.length = 0;
    if (disconnect->user.length > 0)
        end_all(engine, disconnect->user);
    else
        end_one(engine, disconnect->uuid);
    gateway_say(asker, &(struct frame){.type = FRAME_DIRECT_REPLY,
                                       .direct_reply = {
                                           .connection = disconnect->connection,
                                           .request = disconnect->request,
                                           .to = disconnect->user,
                                           .status = DIRECT_DELIVERED,
                                           .delivered = {
                                               .values = (const void *)engine->delivered.data,
                                               .count = engine->delivered.length / sizeof(uint64_t),
                                           }}});
}
