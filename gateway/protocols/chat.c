#include "gateway/protocols/chat.h"

#include "common/clock.h"
#include "gateway/door/handshake.h"
#include "gateway/bus/uplink.h"

#include <errno.h>

#define SCRATCH_KEEP_BYTES (256u << 10)
/* The wall clock may be set: a token is looked at again before long. */
#define TOKEN_LOOK_MS 10000

struct buffer *chat_scratch(void)
{
    static struct buffer scratch;

    buffer_reset(&scratch, SCRATCH_KEEP_BYTES);
    return &scratch;
}

static uint64_t now_s(void)
{
    return clock_wall_ms() / 1000;
}

/* ---- answers ---- */

static struct buffer *answer_buffer(void)
{
    static struct buffer answer;

    buffer_reset(&answer, SCRATCH_KEEP_BYTES);
    return &answer;
}

static void send_answer(struct session *session, const struct chat_name *name,
                        const struct buffer *answer, bool keep)
{
    struct chat_state *state = session->protocol_state;

    if (keep && name->id.data)
        chat_answers_keep(&state->answers, name->id, buffer_slice(answer));
    session_send_text(session, buffer_slice(answer));
}

void chat_answer(struct session *session, const struct chat_name *name, struct slice payload)
{
    struct buffer *answer = answer_buffer();

    if (name->id.data == NULL)
        return;
    chat_encode_response(answer, now_s(), name, payload);
    send_answer(session, name, answer, true);
}

void chat_fail(struct session *session, const struct chat_name *name, enum chat_code code,
               const char *message, uint64_t retry_after_ms)
{
    struct buffer *answer = answer_buffer();

    chat_encode_error(answer, now_s(), name, code, message, retry_after_ms);
    send_answer(session, name, answer, retry_after_ms == 0);
    gateway_count(GATEWAY_CLIENT_ERRORS, 1);
}

void chat_end(struct session *session, struct chat_open *open, struct slice payload)
{
    struct chat_state *state = session->protocol_state;

    chat_answer(session, &open->name, payload);
    chat_open_remove(&state->open, open);
}

void chat_end_failed(struct session *session, struct chat_open *open, enum chat_code code,
                     const char *message)
{
    struct chat_state *state = session->protocol_state;
    bool later = code == CHAT_RATE_LIMITED || code == CHAT_UNAVAILABLE;

    /* Of an event without an id nobody waits for an answer. */
    if (open->name.id.data)
        chat_fail(session, &open->name, code, message, later ? CHAT_RETRY_MS : 0);
    chat_open_remove(&state->open, open);
}

void chat_end_unavailable(struct session *session, struct chat_open *open)
{
    struct chat_state *state = session->protocol_state;

    if (open->command->finish)
        chat_give_up(&state->given_up, open->number);
    if (chat_is_catching_up(open))
        session_close(session, SESSION_CLOSE_RESTART, "the service cannot tell what happens");
    chat_end_failed(session, open, CHAT_UNAVAILABLE, "the service cannot do this now");
}

void chat_end_unasked(struct session *session, struct chat_open *open, int error)
{
    if (error == -EBUSY)
        chat_end_failed(session, open, CHAT_RATE_LIMITED, "too many questions are open");
    else
        chat_end_unavailable(session, open);
}

/* ---- the connection's life ---- */

static void on_identify(struct handshake *handshake)
{
    struct gateway *gateway = handshake_gateway(handshake);
    struct slice token = handshake_token(handshake);
    struct identity identity = {0};
    enum verifier_result result =
        verifier_check(gateway->verifier, token, (int64_t)now_s(), &identity);

    if (result == VERIFIER_UNAVAILABLE && !verifier_ready(gateway->verifier)) {
        handshake_refuse(handshake, 503, verifier_reason(result));
    } else if (result != VERIFIER_OK) {
        handshake_refuse(handshake, 401, verifier_reason(result));
    } else if (!admission_connect(gateway, slice_text(identity.user))) {
        identity_finish(&identity);
        handshake_refuse(handshake, 429, "this user connects too often");
    } else {
        handshake_accept(handshake, &identity, CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN,
                         (struct slice){0});
    }
}

void chat_stop_following(struct session *session)
{
    session->flags &= ~(uint64_t)(CONNECTION_FLAG_FOLLOWING | CONNECTION_FLAG_ECHO);
    session->event = UINT64_MAX;
}

static void on_open(struct session *session)
{
    struct chat_state *state = session->protocol_state;

    chat_open_init(&state->open);
    chat_stop_following(session);
}

static void on_close(struct session *session)
{
    struct chat_state *state = session->protocol_state;

    chat_open_finish(&state->open);
    chat_given_up_finish(&state->given_up);
    chat_answers_finish(&state->answers);
    chat_list_finish(&state->groups);
    buffer_finish(&state->last_followed);
}

/* Returns the milliseconds after which to look again. */
static uint64_t check_token(struct session *session)
{
    uint64_t now = clock_wall_ms(), end = (uint64_t)session->identity.expires_at * 1000;

    if (now >= end)
        session_close(session, SESSION_CLOSE_TOKEN, "token expired");
    return now < end && end - now < TOKEN_LOOK_MS ? end - now : TOKEN_LOOK_MS;
}

/* Ends what waited too long: a reply may be lost, and a request that is sent again is answered. */
static void check_open(struct session *session, uint64_t loop_ms)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open;

    while ((open = chat_open_first(&state->open)) && open->deadline_ms <= loop_ms)
        chat_end_unavailable(session, open);
}

static void on_tick(struct session *session, uint64_t loop_ms)
{
    struct chat_state *state = session->protocol_state;
    const struct chat_open *open;
    uint64_t due = loop_ms + check_token(session);

    check_open(session, loop_ms);
    open = chat_open_first(&state->open);
    session->tick_due_ms = open && open->deadline_ms < due ? open->deadline_ms : due;
}

/* ---- replies of routers ---- */

static const struct {
    enum chat_code code;
    const char *message;
} refusals[] = {
    [CONVERSATION_FORBIDDEN] = {CHAT_FORBIDDEN, "this is not yours to do"},
    [CONVERSATION_NOT_FOUND] = {CHAT_NOT_FOUND, "there is no such chat or message"},
    [CONVERSATION_DISCARDED] = {CHAT_NOT_FOUND, "nobody is there"},
    [CONVERSATION_FULL] = {CHAT_CONFLICT, "the group is full"},
    [CONVERSATION_EXISTS] = {CHAT_CONFLICT, "this exists"},
};

static void on_conversation_reply(struct session *session,
                                  const struct frame_conversation_reply *reply)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open = chat_open_find(&state->open, reply->request);

    if (open == NULL || open->command->finish == NULL)
        return;
    if (reply->status == CONVERSATION_OK)
        open->command->finish(session, open, reply);
    else if (reply->status < sizeof(refusals) / sizeof(refusals[0]))
        chat_end_failed(session, open, refusals[reply->status].code,
                        refusals[reply->status].message);
    else
        chat_end_failed(session, open, CHAT_INTERNAL, "the service could not do this");
}

/* What it did has its place among the events now: before any later one the client has its answer.
 * If that was a 503, it does not know, and gets the event. */
static void on_event_done(struct session *session, const struct frame_event_done *done)
{
    const struct frame_conversation_reply reply = {.connection = session->id,
                                                   .request = done->request,
                                                   .status = CONVERSATION_OK,
                                                   .message = done->message};
    const struct chat_state *state = session->protocol_state;

    if (done->kind == EVENT_NEW)
        chat_follow_chat(session, done->chat);
    if (chat_was_given_up(&state->given_up, done->request))
        chat_catch_up(session, done->event - 1);
    else
        on_conversation_reply(session, &reply);
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open = chat_open_find(&state->open, request);

    (void)id;
    if (open)
        chat_end_unavailable(session, open);
}

static void append_followed(struct buffer *out, const struct frame_events_followed *followed)
{
    buffer_append_text(out, "{\"lastEventId\":");
    buffer_append_u64(out, followed->newest);
    buffer_append_text(out, ",\"count\":");
    buffer_append_u64(out, followed->count);
    if (followed->resync) {
        buffer_append_text(out, ",\"resync\":true,\"oldestEventId\":");
        buffer_append_u64(out, followed->oldest);
    }
    buffer_append_byte(out, '}');
}

/* What stands behind it in the partition's output are the events it speaks of: the last count. */
static void on_events_followed(struct session *session,
                               const struct frame_events_followed *followed)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open = chat_open_find(&state->open, followed->request);
    struct buffer *out = chat_scratch();

    if (open == NULL)
        return;
    session->event = followed->newest - followed->count;
    session->flags |= CONNECTION_FLAG_FOLLOWING;
    if (chat_is_catching_up(open)) {
        chat_open_remove(&state->open, open);
        if (followed->resync)
            session_close(session, SESSION_CLOSE_RESTART, "events are gone");
        return;
    }
    if (open->number > state->hidden_at)
        session->flags &= ~(uint64_t)CONNECTION_FLAG_HIDDEN;
    append_followed(out, followed);
    chat_end(session, open, buffer_slice(out));
    chat_follow_all(session);
}

/* Of presence: nobody waits. */
static void on_subscribed(struct session *session, uint64_t request)
{
    (void)session;
    (void)request;
}

const struct protocol protocol_chat = {
    .name = "chat",
    .endpoint = "/chat",
    .id = FRAME_PROTOCOL_CHAT,
    .state_size = sizeof(struct chat_state),
    .scripts = chat_scripts,
    .identify = on_identify,
    .open = on_open,
    .on_text = chat_on_text,
    .on_binary = chat_on_binary,
    .on_conversation_reply = on_conversation_reply,
    .on_event_done = on_event_done,
    .on_events_followed = on_events_followed,
    .on_unanswered = on_unanswered,
    .on_event = chat_on_event,
    .on_subscribed = on_subscribed,
    .read_content = chat_read_content,
    .encode_event = chat_encode_event,
    .encode_topic_message = chat_encode_topic_message,
    .encode_signal = chat_encode_signal,
    .encode_presence = chat_encode_presence,
    .on_tick = on_tick,
    .close = on_close,
};
