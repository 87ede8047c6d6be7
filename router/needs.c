/*
 * What must be fetched before frames can be applied: one entry for each type of frame that needs
 * something (engine.h, engine_missing).
 */
#include "router/conversation.h"
#include "router/events.h"

struct needs {
    struct engine *engine;
    void (*visit)(void *arg, const struct engine_need *);
    void *arg;
    size_t missing;
    /* What was looked up last: frames of one user mostly come one behind the other, and where they
     * name what the one before them named, they name it in the same place. */
    struct slice user, from, chat;
};

static bool is_same(struct slice a, struct slice b)
{
    return a.data == b.data && a.length == b.length;
}

static void miss(struct needs *needs, const struct engine_need *need)
{
    needs->missing++;
    if (needs->visit != NULL)
        needs->visit(needs->arg, need);
}

bool engine_knows(const struct engine *engine, struct slice id)
{
    const struct user *user = user_find(engine, id);

    return user != NULL && user->loaded;
}

static void need_user(struct needs *needs, struct slice user)
{
    if (is_same(user, needs->user))
        return;
    needs->user = user;
    if (user.length && !engine_knows(needs->engine, user))
        miss(needs, &(struct engine_need){.kind = ENGINE_NEED_USER, .name = user});
}

static void need_users(struct needs *needs, struct slice lines)
{
    struct slice user;

    while (events_next_user(&lines, &user))
        need_user(needs, user);
}

static struct slice need_conversation(struct needs *needs, struct slice user, struct slice chat)
{
    struct slice id = conversation_id(needs->engine, user, chat);

    if (user.length && chat.length && !conversation_is_known(needs->engine, id))
        miss(needs, &(struct engine_need){.kind = ENGINE_NEED_CONVERSATION, .name = id});
    return id;
}

static void need_message(struct needs *needs, struct slice conversation, uint64_t message)
{
    struct engine_need need = {.name = conversation, .message = message};

    need.kind = ENGINE_NEED_MESSAGE;
    if (!conversation_message_is_known(needs->engine, conversation, message, false))
        miss(needs, &need);
    need.kind = ENGINE_NEED_CHANGE;
    if (!conversation_message_is_known(needs->engine, conversation, message, true))
        miss(needs, &need);
}

/* ---- one for each type ---- */

static void of_user_connect(struct needs *needs, const struct frame *frame)
{
    need_user(needs, frame->user_connect.user);
}

static void of_announced_connection(struct needs *needs, const struct frame *frame)
{
    need_user(needs, frame->announced_connection.user);
}

static void of_direct_message(struct needs *needs, const struct frame *frame)
{
    need_user(needs, frame->direct_message.to);
}

static void of_message_read(struct needs *needs, const struct frame *frame)
{
    need_user(needs, frame->message_read.user);
}

/* "*" is everybody there. */
static void of_presence_watch(struct needs *needs, const struct frame *frame)
{
    if (!slice_is(frame->presence_watch.user, "*"))
        need_user(needs, frame->presence_watch.user);
}

/* With visit every acknowledgement counts: whether it has to wait is known when its turn comes. */
static void of_message_ack(struct needs *needs, const struct frame *frame)
{
    const struct user *user = user_find(needs->engine, frame->message_ack.user);

    needs->missing +=
        needs->visit != NULL || (user != NULL && mailbox_ack_waits(user, frame->message_ack.id));
}

static void of_post(struct needs *needs, const struct frame *frame)
{
    const struct frame_conversation_post *post = &frame->conversation_post;

    if (is_same(post->from, needs->from) && is_same(post->chat, needs->chat))
        return;
    needs->from = post->from;
    needs->chat = post->chat;
    need_conversation(needs, post->from, post->chat);
}

static void of_change(struct needs *needs, const struct frame *frame)
{
    const struct frame_conversation_change *change = &frame->conversation_change;

    need_message(needs, need_conversation(needs, change->from, change->chat), change->message);
}

static void of_mark(struct needs *needs, const struct frame *frame)
{
    need_conversation(needs, frame->conversation_mark.from, frame->conversation_mark.chat);
}

static void of_signal(struct needs *needs, const struct frame *frame)
{
    const struct frame_conversation_signal *signal = &frame->conversation_signal;

    if (chat_is_group(signal->chat))
        need_conversation(needs, signal->from, signal->chat);
}

static void of_group(struct needs *needs, const struct frame *frame)
{
    need_conversation(needs, frame->group_change.from, frame->group_change.chat);
}

static void of_forwarded_post(struct needs *needs, const struct frame *frame)
{
    need_conversation(needs, frame->post_forwarded.from, frame->post_forwarded.to);
}

/* Behind what waits in a mailbox that is on its way into dialogs. */
static void wait_for_drain(struct needs *needs, struct slice lines)
{
    struct slice id;

    while (needs->engine->draining && events_next_user(&lines, &id)) {
        const struct user *user = user_find(needs->engine, id);

        needs->missing += user != NULL && user->draining;
    }
}

static void of_event(struct needs *needs, const struct frame *frame)
{
    need_users(needs, frame->conversation_event.users);
    wait_for_drain(needs, frame->conversation_event.users);
}

static void of_forwarded_signal(struct needs *needs, const struct frame *frame)
{
    need_users(needs, frame->signal_forwarded.users);
}

/* By type. */
static void (*const lists[])(struct needs *, const struct frame *) = {
    [FRAME_DIRECT_MESSAGE] = of_direct_message,
    [FRAME_USER_CONNECT] = of_user_connect,
    [FRAME_ANNOUNCED_CONNECTION] = of_announced_connection,
    [FRAME_PRESENCE_WATCH] = of_presence_watch,
    [FRAME_MESSAGE_ACK] = of_message_ack,
    [FRAME_MESSAGE_READ] = of_message_read,
    [FRAME_CONVERSATION_POST] = of_post,
    [FRAME_CONVERSATION_CHANGE] = of_change,
    [FRAME_CONVERSATION_MARK] = of_mark,
    [FRAME_CONVERSATION_SIGNAL] = of_signal,
    [FRAME_GROUP_CHANGE] = of_group,
    [FRAME_POST_FORWARDED] = of_forwarded_post,
    [FRAME_CONVERSATION_EVENT] = of_event,
    [FRAME_SIGNAL_FORWARDED] = of_forwarded_signal,
};
#define LISTS (sizeof(lists) / sizeof(lists[0]))

size_t engine_missing(struct engine *engine, struct slice frames,
                      void (*visit)(void *arg, const struct engine_need *), void *arg)
{
    struct needs needs = {.engine = engine, .visit = visit, .arg = arg};
    struct frame frame;

    frame_reader_start(engine->scanner, frames);
    while (frame_reader_next(engine->scanner, &frame) == 1)
        if ((size_t)frame.type < LISTS && lists[frame.type] != NULL)
            lists[frame.type](&needs, &frame);
    return needs.missing;
}

bool engine_looks_again(const struct engine *engine)
{
    return engine->draining > 0;
}
