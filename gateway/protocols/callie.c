#include "gateway/protocols/callie.h"

#include "common/clock.h"
#include "gateway/door/handshake.h"
#include "gateway/identity/identify.h"
#include "gateway/topics/room.h"

/* The wall clock may be set: it is asked again before long. */
#define TICK_MS_MAX 10000
/* While requests are open. */
#define PENDING_TICK_MS 5000

/* ---- the connection's life ---- */

/* Without a token it is said later. */
static void on_identify(struct handshake *handshake)
{
    struct identity identity = {0};
    struct refusal refusal = identify_token(handshake, slice_of(NULL, 0), &identity);

    if (refusal.status == 0 && identity.user)
        refusal = identify_rate(handshake, &identity);
    if (refusal.status == 0) {
        handshake_accept(handshake, &identity, 0, slice_of(NULL, 0));
        return;
    }
    identity_finish(&identity);
    handshake_refuse(handshake, refusal.status, refusal.why);
}

void callie_greet(struct session *session, struct slice payload_id)
{
    struct buffer more = {0};

    room_join(session, false);
    buffer_append_text(&more, "\"username\":");
    buffer_append_json_string(&more, session->user);
    callie_answer(session, payload_id, "AUTH_OK", "authenticated", buffer_slice(&more));
    buffer_finish(&more);
}

static void on_open(struct session *session)
{
    struct callie_state *state = session->protocol_state;

    TAILQ_INIT(&state->open);
    TAILQ_INIT(&state->sent);
    state->opened_ms = uv_now(session->gateway->loop);
    if (session_is_identified(session))
        callie_greet(session, slice_of(NULL, 0));
}

static void on_close(struct session *session)
{
    callie_pending_finish(session);
}

static void on_drain(struct session *session)
{
    callie_notify(session, "SERVER_SHUTDOWN", "this server goes away: connect again");
}

/* ---- time ---- */

/* Returns the milliseconds until it has to be known who it is. */
static uint64_t await_token(struct session *session, uint64_t loop_ms)
{
    const struct callie_state *state = session->protocol_state;
    uint64_t end_ms = state->opened_ms + (uint64_t)session->gateway->settings.unidentified_ms;

    if (loop_ms < end_ms)
        return end_ms - loop_ms;
    callie_notify(session, "AUTH_TIMEOUT", "no token has come");
    session_close(session, SESSION_CLOSE_POLICY, "not authenticated in time");
    return TICK_MS_MAX;
}

/* Returns the milliseconds until there is something to do again. */
static uint64_t check_token(struct session *session)
{
    uint64_t now_ms = clock_wall_ms(), end_ms = (uint64_t)session->identity.expires_at * 1000;

    if (session->identity.expires_at == 0 || now_ms + TICK_MS_MAX < end_ms)
        return TICK_MS_MAX;
    if (now_ms < end_ms)
        return end_ms - now_ms;
    callie_notify(session, "AUTH_FAILED", "the token has expired");
    session_close(session, SESSION_CLOSE_TOKEN, "token expired");
    return TICK_MS_MAX;
}

/* One PING for each silence: any byte of the client ends it. */
static void ping_when_silent(struct session *session, uint64_t loop_ms)
{
    struct callie_state *state = session->protocol_state;
    uint64_t patience_ms = (uint64_t)session->gateway->settings.ping_after_ms;

    if (loop_ms < session->heard_ms + patience_ms || state->pinged_heard_ms == session->heard_ms)
        return;
    state->pinged_heard_ms = session->heard_ms;
    callie_send_ping(session);
}

static void on_tick(struct session *session, uint64_t loop_ms)
{
    uint64_t wait_ms;

    if (session_is_identified(session)) {
        ping_when_silent(session, loop_ms);
        wait_ms = check_token(session);
    } else {
        wait_ms = await_token(session, loop_ms);
    }
    if (callie_pending_expire(session, loop_ms) && wait_ms > PENDING_TICK_MS)
        wait_ms = PENDING_TICK_MS;
    session->tick_due_ms = loop_ms + wait_ms;
}

/* ---- answers of routers ---- */

static void append_named(struct buffer *out, const char *name, struct slice text)
{
    if (text.length == 0)
        return;
    buffer_append_text(out, out->length ? "," : "");
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

static void append_group(struct buffer *out, struct slice chat)
{
    size_t prefix = strlen(CALLIE_GROUP_PREFIX);

    if (chat_is_group(chat))
        append_named(out, "\"groupID\":", slice_of(chat.data + prefix, chat.length - prefix));
}

/* member: who did not get it; reason: NULL when he is not there. */
static void tell_offline(struct session *session, const struct callie_pending *message,
                         struct slice member, const char *reason)
{
    struct buffer more = {0};

    append_named(&more, "\"messageID\":", message->message_id);
    append_group(&more, message->chat);
    append_named(&more, "\"username\":", member);
    append_named(&more, "\"reason\":", slice_text(reason));
    callie_answer(session, message->payload_id, "RECIPIENT_OFFLINE",
                  "the message was not delivered", buffer_slice(&more));
    buffer_finish(&more);
}

static void on_direct_reply(struct session *session, const struct frame_direct_reply *reply)
{
    struct callie_pending *pending = callie_pending_find(session, reply->request);

    if (pending == NULL)
        return;
    if (reply->status == DIRECT_DISCARDED)
        tell_offline(session, pending, slice_of(NULL, 0), NULL);
    else if (reply->status == DIRECT_MAILBOX_FULL)
        tell_offline(session, pending, slice_of(NULL, 0), "mailbox_full");
    callie_pending_done(session, pending);
}

/*
 * A message that was accepted, and that a member of the group, or a receiver who left, has not got.
 * Told to all connections of its sender: the one that has sent it knows its payloadID, if that is
 * not long ago.
 */
static void on_message_status(struct session *session, const struct frame_message_status *status)
{
    const struct callie_pending unknown = {.message_id = status->id};
    const struct callie_pending *message = callie_pending_sent(session, status->id);
    bool direct = message && !chat_is_group(message->chat);

    if (status->status == DIRECT_DISCARDED)
        tell_offline(session, message ? message : &unknown, direct ? slice_of(NULL, 0) : status->to,
                     NULL);
}

/* Recipients that nobody publishes to hear nothing: there is nothing to say. */
static void on_publish_reply(struct session *session, const struct frame_publish_reply *reply)
{
    (void)session, (void)reply;
}

struct outcome {
    const char *code; /* NULL: nothing is said */
    const char *description;
};

static const struct outcome post_outcomes[] = {
    [CONVERSATION_OK] = {NULL, NULL},
    [CONVERSATION_FORBIDDEN] = {"NOT_A_MEMBER", "you are no member of this group"},
    [CONVERSATION_NOT_FOUND] = {"RECIPIENT_UNKNOWN", "there is no such group"},
    [CONVERSATION_DISCARDED] = {"RECIPIENT_OFFLINE", "the message was not delivered"},
    [CONVERSATION_FULL] = {"RECIPIENT_OFFLINE", "the message was not delivered"},
    [CONVERSATION_EXISTS] = {NULL, NULL},
};
static const struct outcome group_outcomes[] = {
    [CONVERSATION_OK] = {"COMMAND_OK", "done"},
    [CONVERSATION_FORBIDDEN] = {"FORBIDDEN", "only the group's owner may do this"},
    [CONVERSATION_NOT_FOUND] = {"COMMAND_FAILED", "there is no such group or member"},
    [CONVERSATION_DISCARDED] = {"COMMAND_FAILED", "this could not be done"},
    [CONVERSATION_FULL] = {"COMMAND_FAILED", "the group has as many members as it may have"},
    [CONVERSATION_EXISTS] = {"COMMAND_FAILED", "this is so already"},
};
static const struct outcome change_outcomes[] = {
    [CONVERSATION_OK] = {"COMMAND_OK", "done"},
    [CONVERSATION_FORBIDDEN] = {"FORBIDDEN", "only its author may change a message"},
    [CONVERSATION_NOT_FOUND] = {"COMMAND_FAILED", "there is no such message any more"},
    [CONVERSATION_DISCARDED] = {"COMMAND_FAILED", "this could not be done"},
    [CONVERSATION_FULL] = {"COMMAND_FAILED", "this could not be done"},
    [CONVERSATION_EXISTS] = {"COMMAND_FAILED", "this is so already"},
};

static const struct outcome *outcome_of(const struct callie_pending *pending, uint64_t status)
{
    static const struct outcome not_a_member = {"NOT_A_MEMBER", "you are no member of this group"};
    static const struct outcome *const tables[] = {
        [CALLIE_POST] = post_outcomes,
        [CALLIE_GROUP] = group_outcomes,
        [CALLIE_CHANGE] = change_outcomes,
    };

    if (pending->kind == CALLIE_GROUP && pending->detail == GROUP_LEAVE &&
        status == CONVERSATION_FORBIDDEN)
        return &not_a_member;
    return pending->kind < sizeof(tables) / sizeof(tables[0]) && tables[pending->kind] &&
                   status < sizeof(post_outcomes) / sizeof(post_outcomes[0])
               ? &tables[pending->kind][status]
               : NULL;
}

static void on_conversation_reply(struct session *session,
                                  const struct frame_conversation_reply *reply)
{
    struct callie_pending *pending = callie_pending_find(session, reply->request);
    const struct outcome *outcome = pending ? outcome_of(pending, reply->status) : NULL;
    struct buffer more = {0};

    if (outcome == NULL)
        return;
    if (pending->waits) {
        pending->waits = false;
        callie_find_number(session, pending);
        return;
    }
    append_named(&more, "\"messageID\":", pending->message_id);
    append_group(&more, pending->chat);
    if (outcome->code)
        callie_answer(session, pending->payload_id, outcome->code, outcome->description,
                      buffer_slice(&more));
    buffer_finish(&more);
    if (reply->status == CONVERSATION_OK || reply->status == CONVERSATION_DISCARDED)
        pending->message = reply->message;
    callie_pending_done(session, pending);
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    struct callie_pending *pending = callie_pending_find(session, request);

    (void)id;
    if (pending)
        callie_pending_fail(session, pending);
}

const struct protocol protocol_callie = {
    .name = "callie",
    .endpoint = "/callie",
    .id = FRAME_PROTOCOL_CALLIE,
    .state_size = sizeof(struct callie_state),
    .scripts = callie_scripts,
    .identify = on_identify,
    .open = on_open,
    .on_text = callie_on_text,
    .on_binary = callie_on_binary,
    .on_direct_reply = on_direct_reply,
    .on_publish_reply = on_publish_reply,
    .on_conversation_reply = on_conversation_reply,
    .on_unanswered = on_unanswered,
    .on_message_status = on_message_status,
    .on_member_list = callie_on_member_list,
    .read_content = callie_read_content,
    .encode_delivery = callie_encode_delivery,
    .encode_topic_message = callie_encode_topic_message,
    .encode_signal = callie_encode_signal,
    .on_tick = on_tick,
    .on_drain = on_drain,
    .close = on_close,
};
