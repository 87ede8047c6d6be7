/*
 * chat: whom a connection follows: those who share a chat with its user. The members of his chats
 * are asked for once, when he subscribes; later the first message of a chat brings them. Only so
 * many are followed, those of the latest chats.
 */
#include "gateway/protocols/chat_ask.h"

#include "common/topic.h"
#include "common/user.h"
#include "gateway/topics/topics.h"

#define FOLLOWED_MAX 1000

/* Names to be followed together: a subscription of its own for each would be more work. */
struct names {
    struct chat_list list;
    size_t room;
    bool again; /* those who are followed already are to be told of once more */
};

static void add_name(struct session *session, struct names *names, struct slice user)
{
    bool followed = topics_has_presence(session, user);
    struct buffer name = {0};

    if (followed ? !names->again : names->room == 0)
        return;
    if (!user_allowed(user, true) || slice_equal(user, session->user))
        return;
    topic_presence_name(&name, user);
    chat_list_add(&names->list, buffer_slice(&name));
    names->room -= !followed;
    buffer_finish(&name);
}

static void begin_names(struct session *session, struct names *names, bool again)
{
    size_t followed = topics_count(session);

    *names = (struct names){.room = followed < FOLLOWED_MAX ? FOLLOWED_MAX - followed : 0,
                            .again = again};
}

static void follow_names(struct session *session, struct names *names)
{
    size_t count = chat_list_count(&names->list);
    struct slice topics[64];

    for (size_t i = 0; i < count;) {
        size_t some = 0;

        while (i < count && some < sizeof(topics) / sizeof(topics[0]))
            topics[some++] = chat_list_at(&names->list, i++);
        topics_subscribe(session->gateway->topics, session, topics, some, 0);
    }
    chat_list_finish(&names->list);
}

/* ---- members of groups, one group after another ---- */

static void ask_next_group(struct session *session);

static void on_members(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    const struct chat_state *state = session->protocol_state;
    struct names names;

    (void)request;
    begin_names(session, &names, state->tell_again);
    for (size_t i = 0; i < bus_reply_count(reply); i++)
        add_name(session, &names, bus_reply_text(bus_reply_at(reply, i)));
    follow_names(session, &names);
    if (reply)
        ask_next_group(session);
}

static void ask_next_group(struct session *session)
{
    struct chat_state *state = session->protocol_state;
    struct chat_list *groups = &state->groups;

    if (groups->next == chat_list_count(groups) || topics_count(session) >= FOLLOWED_MAX ||
        chat_ask_own_members(session, chat_list_at(groups, groups->next++), on_members) != 0)
        chat_list_finish(groups);
}

/* ---- chats ---- */

static void on_chats(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_state *state = session->protocol_state;
    struct names names;

    (void)request;
    begin_names(session, &names, state->tell_again);
    chat_list_finish(&state->groups);
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        struct slice chat = bus_reply_text(bus_reply_at(reply, i));

        if (chat_is_group(chat))
            chat_list_add(&state->groups, chat);
        else
            add_name(session, &names, chat);
    }
    follow_names(session, &names);
    ask_next_group(session);
}

void chat_follow_all(struct session *session)
{
    struct chat_state *state = session->protocol_state;

    /* Whom the first events bring is told of with them. */
    state->tell_again = topics_count(session) > 0;
    /* Too many questions, or Redis away: then it hears of them with the next message. */
    (void)!chat_ask_own_chats(session, on_chats);
}

/* Mostly it is the one of the last time. */
static void follow_user(struct session *session, struct slice user)
{
    struct chat_state *state = session->protocol_state;
    struct names names;

    if (slice_equal(user, buffer_slice(&state->last_followed)))
        return;
    begin_names(session, &names, false);
    add_name(session, &names, user);
    follow_names(session, &names);
    if (topics_has_presence(session, user)) {
        buffer_reset(&state->last_followed, SIZE_MAX);
        buffer_append_slice(&state->last_followed, user);
    }
}

void chat_follow_chat(struct session *session, struct slice chat)
{
    if (!chat_is_group(chat))
        follow_user(session, chat);
}

void chat_on_event(struct session *session, const struct frame_event_delivery *event)
{
    if (event->kind == EVENT_NEW)
        follow_user(session, chat_is_group(event->chat) ? event->from : event->chat);
}
