/*
 * Messages that were accepted and are dropped: their policy keeps nothing for one who is not there,
 * and he left before he had them. A sender who asked to be told is told, by way of his own
 * partition. See state.h.
 */
#include "router/state.h"

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

void discard_on_told(struct engine *engine, const struct frame_message_discarded *discarded)
{
    const struct user *sender = user_find(engine, discarded->from);
    struct frame frame = {
        .type = FRAME_MESSAGE_STATUS,
        .message_status = {.to = discarded->to, .id = discarded->id, .status = DIRECT_DISCARDED},
    };

    /* One who is connected is in memory. */
    if (sender != NULL)
        user_say(sender, USER_MESSAGES, &frame, &frame.message_status.connections);
}
