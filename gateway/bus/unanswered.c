#include "gateway/bus/unanswered.h"

#include "common/frame.h"
#include "gateway/api/backend.h"
#include "gateway/session/claims.h"
#include "gateway/session/session.h"

#include <stddef.h>

/* Whose it is (a name's asker has no connection yet), and which of his it is; 0: no answer is
 * waited for. */
struct call {
    uint64_t connection, request;
    struct slice id; /* of the message; empty if it has none */
};

/* Where a frame has them; 0: nowhere (a frame begins with its type). */
struct shape {
    enum frame_type type;
    size_t connection, request, id;
};

#define IN(member) offsetof(struct frame, member)
#define SHAPE(TYPE, body) FRAME_##TYPE, IN(body.connection), IN(body.request), 0
#define SHAPE_WITH_ID(TYPE, body) FRAME_##TYPE, IN(body.connection), IN(body.request), IN(body.id)

static const struct shape requests[] = {
    {SHAPE_WITH_ID(TOPIC_PUBLISH, topic_publish)},
    {SHAPE_WITH_ID(DIRECT_MESSAGE, direct_message)},
    {SHAPE_WITH_ID(CONVERSATION_POST, conversation_post)},
    {SHAPE(CONVERSATION_CHANGE, conversation_change)},
    {SHAPE(CONVERSATION_MARK, conversation_mark)},
    {SHAPE(CONVERSATION_SIGNAL, conversation_signal)},
    {SHAPE(GROUP_CHANGE, group_change)},
    {SHAPE(EVENTS_FOLLOW, events_follow)},
    {SHAPE(USER_DISCONNECT, user_disconnect)},
    {FRAME_NAME_CLAIM, 0, IN(name_claim.request), 0},
};

static const struct shape answers[] = {
    {SHAPE(PUBLISH_REPLY, publish_reply)},
    {SHAPE(DIRECT_REPLY, direct_reply)},
    {SHAPE(CONVERSATION_REPLY, conversation_reply)},
    {SHAPE(EVENTS_FOLLOWED, events_followed)},
    {FRAME_NAME_ANSWER, 0, IN(name_answer.request), 0},
};

static uint64_t number_at(const struct frame *frame, size_t offset)
{
    return offset ? *(const uint64_t *)(const void *)((const char *)frame + offset) : 0;
}

static struct slice text_at(const struct frame *frame, size_t offset)
{
    return offset ? *(const struct slice *)(const void *)((const char *)frame + offset)
                  : slice_of(NULL, 0);
}

static bool read_call(const struct shape *shapes, size_t count, const struct frame *frame,
                      struct call *call)
{
    for (size_t i = 0; i < count; i++) {
        if (shapes[i].type != frame->type)
            continue;
        call->connection = number_at(frame, shapes[i].connection);
        call->request = number_at(frame, shapes[i].request);
        call->id = text_at(frame, shapes[i].id);
        return call->request != 0;
    }
    return false;
}

#define READ_CALL(shapes, frame, call)                                                             \
    read_call(shapes, sizeof(shapes) / sizeof((shapes)[0]), frame, call)

/* What is in output before the announcement's nonce is not handled, so nobody has it. */
static bool is_answered(struct slice output, const struct call *call)
{
    struct frame_reader *reader = frame_reader_create();
    struct call answer;
    struct frame frame;
    bool announced = false, found = false;

    frame_reader_start(reader, output);
    while (!found && frame_reader_next(reader, &frame) > 0) {
        announced |= frame.type == FRAME_GATEWAY_ANNOUNCED;
        found = announced && READ_CALL(answers, &frame, &answer) &&
                answer.connection == call->connection && answer.request == call->request;
    }
    frame_reader_destroy(&reader);
    return found;
}

static void tell(struct gateway *gateway, enum frame_type type, const struct call *call)
{
    struct session *session;

    if (type == FRAME_NAME_CLAIM) {
        claims_on_unanswered(gateway->claims, call->request);
    } else if (call->connection == BACKEND_CONNECTION) {
        backend_on_unanswered(gateway->backend, call->request);
    } else {
        session = session_find(gateway->sessions, call->connection);
        if (session && session->protocol->on_unanswered)
            session->protocol->on_unanswered(session, call->request, call->id);
    }
}

void unanswered_tell(struct gateway *gateway, struct slice frames, struct slice output)
{
    struct frame_reader *reader = frame_reader_create();
    struct frame frame;
    struct call call;

    frame_reader_start(reader, frames);
    while (frame_reader_next(reader, &frame) > 0) {
        if (!READ_CALL(requests, &frame, &call) || is_answered(output, &call))
            continue;
        gateway_count(GATEWAY_UNANSWERED, 1);
        tell(gateway, frame.type, &call);
    }
    frame_reader_destroy(&reader);
}
