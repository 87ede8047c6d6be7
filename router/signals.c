/*
 * What is never kept: signals to the connections that are there now (typing, what a group's members
 * are told, what a protocol passes on). See events.h.
 */
#include "router/conversation.h"
#include "router/events.h"

static void say_signal(const struct user *user, struct frame_signal_delivery signal)
{
    struct frame frame = {.type = FRAME_SIGNAL_DELIVERY, .signal_delivery = signal};

    frame.signal_delivery.to = user_slice(user);
    if (!chat_is_group(signal.chat))
        frame.signal_delivery.chat = (struct slice){0};
    user_say(user, USER_ALL, &frame, &frame.signal_delivery.connections);
}

/* One who is connected is in memory. */
void signals_on_send(struct engine *engine, const struct frame_signal_send *send)
{
    const struct user *user = user_find(engine, send->to);

    if (user == NULL)
        return;
    say_signal(user, (struct frame_signal_delivery){.kind = send->kind,
                                                    .from = send->from,
                                                    .chat = send->chat,
                                                    .id = send->id,
                                                    .protocol = send->protocol,
                                                    .content = send->content,
                                                    .body = send->body});
}

/* ---- in conversations ---- */

static struct frame_signal_forwarded signal_of(const struct frame_conversation_signal *request)
{
    return (struct frame_signal_forwarded){
        .kind = request->kind,
        .from = request->from,
        .chat = request->chat,
        .id = request->id,
        .protocol = request->protocol,
        .content = request->content,
        .body = request->body,
    };
}

static enum conversation_status signal_group(struct engine *engine,
                                             const struct frame_conversation_signal *request)
{
    struct conversation *group = conversation_find(engine, request->from, request->chat);
    const struct frame_signal_forwarded signal = signal_of(request);
    const struct participant *from;

    if (group == NULL || !group->exists)
        return CONVERSATION_NOT_FOUND;
    from = conversation_member(group, request->from);
    if (from == NULL)
        return CONVERSATION_FORBIDDEN;
    conversation_signal(engine, group, &signal, from);
    return CONVERSATION_OK;
}

/* Of a dialog nothing need be known; it may not have begun. */
static enum conversation_status signal_dialog(struct engine *engine,
                                              const struct frame_conversation_signal *request)
{
    struct frame frame = {.type = FRAME_SIGNAL_FORWARDED, .signal_forwarded = signal_of(request)};
    struct buffer users = {0};

    buffer_append_slice(&users, request->chat);
    buffer_append_byte(&users, '\n');
    frame.signal_forwarded.users = buffer_slice(&users);
    forward_say(engine, partition_of(engine->deployment, request->chat), &frame);
    buffer_finish(&users);
    return CONVERSATION_OK;
}

void signals_on_conversation(struct engine *engine, struct gateway *gateway,
                             const struct frame_conversation_signal *request)
{
    enum conversation_status status = chat_is_group(request->chat) ? signal_group(engine, request)
                                                                   : signal_dialog(engine, request);

    conversation_reply(gateway, request->connection, request->request, status, 0);
}

/* ---- at the partition of those who hear it ---- */

/* Who comes into a group has it among his chats, who goes has not. */
static void update_chats(struct engine *engine, struct user *user,
                         const struct frame_signal_forwarded *signal)
{
    bool himself = slice_equal(signal->body, user_slice(user));

    switch (signal->kind) {
    case SIGNAL_GROUP_CREATED:
        chats_add(engine, user, signal->chat, engine->now_ms);
        break;
    case SIGNAL_MEMBER_JOINED:
        if (himself)
            chats_add(engine, user, signal->chat, engine->now_ms);
        break;
    case SIGNAL_MEMBER_LEFT:
        if (himself)
            chats_remove(engine, user, signal->chat);
        break;
    case SIGNAL_GROUP_DELETED:
        chats_remove(engine, user, signal->chat);
        break;
    }
}

void signals_on_forwarded(struct engine *engine, const struct frame_signal_forwarded *signal)
{
    struct slice lines = signal->users, id;

    while (events_next_user(&lines, &id)) {
        struct user *user = user_get(engine, id);

        update_chats(engine, user, signal);
        say_signal(user, (struct frame_signal_delivery){.kind = signal->kind,
                                                        .from = signal->from,
                                                        .chat = signal->chat,
                                                        .id = signal->id,
                                                        .message = signal->message,
                                                        .protocol = signal->protocol,
                                                        .content = signal->content,
                                                        .body = signal->body});
    }
}
