/*
 * Messages that were accepted and are dropped: their policy keeps nothing for one who is not there,
 * and he left before he had them. A sender who asked to be told is told, by way of his own
 * partition. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

void discard_tell(struct engine *engine, const struct user *user, const struct message *message)
{
    engine->counters.discarded++;
    if (message->policy == DELIVERY_DISCARD_AND_TELL)
        forward_say(engine, partition_of(engine->deployment, message->from),
                    &(struct frame){.type = FRAME_MESSAGE_DISCARDED,
                                    .message_discarded = {.from = message->from,
                                                          .to = user_slice(user),
                                                          .id = message->id}});
}

static void say_status(const struct frame_message_discarded *discarded, struct gateway *gateway,
                       const uint64_t *connections, size_t count)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_MESSAGE_STATUS,
                                         .message_status = {
                                             .connections = {.values = connections, .count = count},
                                             .to = discarded->to,
                                             .id = discarded->id,
                                             .status = DIRECT_DISCARDED,
                                         }});
}

void discard_on_told(struct engine *engine, const struct frame_message_discarded *discarded)
{
    const struct user *sender = user_find(engine, discarded->from);
    const struct connection *connection;
    uint64_t *ids;

    /* One who is connected is in memory. */
    if (sender == NULL || sender->connection_count == 0)
        return;
    ids = xmalloc(sender->connection_count * sizeof(*ids));
    LIST_FOREACH(connection, &sender->connections, of_user)
    {
        if (user_first_of_gateway(sender, connection))
            say_status(discarded, connection->gateway, ids,
                       user_connections_at(sender, connection->gateway, ids));
    }
    free(ids);
}
