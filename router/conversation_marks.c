#include "router/conversation.h"

/* Marks of one member whose times are kept. */
#define MARKS_KEPT 1000

static void write_mark(struct engine *engine, const struct conversation *conversation,
                       const char *what, const struct participant *member, uint64_t message)
{
    effects_open(engine->effects, EFFECT_XADD_CAPPED,
                 conversation_marks_key(engine, conversation, what, member), 4);
    effects_u64(engine->effects, MARKS_KEPT);
    effects_number(engine->effects, (struct number){.epoch = message});
    effects_u64_pair(engine->effects, "at", engine->now_ms);
}

static void raise_mark(struct engine *engine, const struct conversation *conversation,
                       const char *what, struct participant *member, uint64_t *mark,
                       uint64_t message)
{
    if (message <= *mark)
        return;
    *mark = message;
    write_mark(engine, conversation, what, member, message);
}

/* Every author of something that the mark now covers for the first time hears it once. (One who has
 * written only below the old mark and above the new one hears it too: it tells him nothing new.) */
static void announce_mark(struct engine *engine, struct conversation *conversation,
                          const struct participant *reader, enum event_kind kind, uint64_t old,
                          uint64_t message)
{
    struct frame_conversation_event event = {
        .kind = kind,
        .at_ms = engine->now_ms,
        .from = participant_slice(reader),
    };

    for (const struct participant *author = conversation->members; author;
         author = author->hh.next) {
        if (author == reader || author->wrote <= old)
            continue;
        event.message = author->wrote < message ? author->wrote : message;
        conversation_tell_one(engine, conversation, &event, author);
    }
}

static uint64_t mark(struct engine *engine, struct conversation *conversation,
                     struct participant *member, uint64_t kind, uint64_t message)
{
    bool read = kind == CONVERSATION_MARK_READ;
    uint64_t old = read ? member->read : member->delivered;

    if (message <= old)
        return old;
    raise_mark(engine, conversation, "delivered", member, &member->delivered, message);
    if (read)
        raise_mark(engine, conversation, "read", member, &member->read, message);
    conversation_member_changed(engine, conversation, member);
    announce_mark(engine, conversation, member, read ? EVENT_READ : EVENT_DELIVERED, old, message);
    return message;
}

static enum conversation_status may_mark(const struct conversation *conversation,
                                         const struct frame_conversation_mark *request)
{
    bool exists = conversation != NULL && conversation->exists;

    if (exists && conversation_member(conversation, request->from) == NULL)
        return CONVERSATION_FORBIDDEN;
    if (!exists || request->message == 0 || request->message > conversation->last)
        return CONVERSATION_NOT_FOUND;
    return CONVERSATION_OK;
}

void conversation_on_mark(struct engine *engine, struct gateway *gateway,
                          const struct frame_conversation_mark *request)
{
    struct conversation *conversation = conversation_find(engine, request->from, request->chat);
    enum conversation_status status = may_mark(conversation, request);
    uint64_t covered = 0;

    if (status == CONVERSATION_OK)
        covered = mark(engine, conversation, conversation_member(conversation, request->from),
                       request->mark, request->message);
    conversation_reply(gateway, request->connection, request->request, status, covered);
}
