#include "router/conversation.h"

#include "common/xalloc.h"

static struct slice users_line(struct engine *engine, const struct participant *member)
{
    struct buffer *line = &engine->conversations->line;

    buffer_reset(line, SIZE_MAX);
    buffer_append_slice(line, participant_slice(member));
    buffer_append_byte(line, '\n');
    return buffer_slice(line);
}

/* What a member calls it: a dialog has the name of the other. */
static struct slice chat_for(const struct conversation *conversation,
                             const struct participant *member)
{
    const struct participant *other;

    if (conversation->group)
        return conversation_slice(conversation);
    for (other = conversation->members; other; other = other->hh.next)
        if (other != member)
            return participant_slice(other);
    return participant_slice(member); /* with himself */
}

void conversation_tell_one(struct engine *engine, const struct conversation *conversation,
                           const struct frame_conversation_event *happened,
                           const struct participant *member)
{
    struct frame frame = {.type = FRAME_CONVERSATION_EVENT, .conversation_event = *happened};
    struct frame_conversation_event *event = &frame.conversation_event;

    event->users = users_line(engine, member);
    event->chat = chat_for(conversation, member);
    if (!slice_equal(event->from, participant_slice(member)))
        event->by_gateway = event->by_connection = event->by_request = 0;
    event->from = event_from_told(event->chat, event->from);
    forward_say(engine, member->partition, &frame);
}

/* users: the frame's field for those who are at one partition. without: who is left out, or NULL.
 */
static void tell_group(struct engine *engine, struct conversation *conversation,
                       struct frame *frame, struct slice *users, const struct participant *without)
{
    struct conversations *conversations = engine->conversations;
    uint32_t partitions = engine->deployment->partitions;
    const struct participant *member;

    if (conversations->lines == NULL)
        conversations->lines = xcalloc(partitions, sizeof(*conversations->lines));
    for (member = conversation->members; member; member = member->hh.next) {
        struct buffer *lines = &conversations->lines[member->partition];

        if (member == without)
            continue;
        buffer_append_slice(lines, participant_slice(member));
        buffer_append_byte(lines, '\n');
    }
    for (uint32_t i = 0; i < partitions; i++) {
        if (conversations->lines[i].length == 0)
            continue;
        *users = buffer_slice(&conversations->lines[i]);
        forward_say(engine, i, frame);
        buffer_reset(&conversations->lines[i], 1 << 12);
    }
}

void conversation_tell(struct engine *engine, struct conversation *conversation,
                       const struct frame_conversation_event *happened)
{
    struct frame frame = {.type = FRAME_CONVERSATION_EVENT, .conversation_event = *happened};
    const struct participant *member;

    if (conversation->group) {
        frame.conversation_event.chat = conversation_slice(conversation);
        tell_group(engine, conversation, &frame, &frame.conversation_event.users, NULL);
        return;
    }
    for (member = conversation->members; member; member = member->hh.next)
        conversation_tell_one(engine, conversation, happened, member);
}

void conversation_signal(struct engine *engine, struct conversation *group,
                         const struct frame_signal_forwarded *signal,
                         const struct participant *without)
{
    struct frame frame = {.type = FRAME_SIGNAL_FORWARDED, .signal_forwarded = *signal};

    tell_group(engine, group, &frame, &frame.signal_forwarded.users, without);
}

void conversation_reply(struct gateway *gateway, uint64_t connection, uint64_t request,
                        enum conversation_status status, uint64_t message)
{
    if (request == 0)
        return;
    gateway_say(gateway, &(struct frame){.type = FRAME_CONVERSATION_REPLY,
                                         .conversation_reply = {
                                             .connection = connection,
                                             .request = request,
                                             .status = status,
                                             .message = message,
                                         }});
}
