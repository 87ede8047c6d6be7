#include "gateway/protocols/realtime.h"

#include "common/clock.h"
#include "gateway/door/handshake.h"
#include "gateway/bus/uplink.h"

#define SCRATCH_KEEP_BYTES (256u << 10)

static const struct slice no_id;

struct buffer *realtime_scratch(void)
{
    static struct buffer scratch;

    buffer_reset(&scratch, SCRATCH_KEEP_BYTES);
    return &scratch;
}

int64_t realtime_now_s(void)
{
    return (int64_t)(clock_wall_ms() / 1000);
}

void realtime_error(struct session *session, struct slice id, enum realtime_code code,
                    const char *message, struct slice details)
{
    struct buffer *out = realtime_scratch();

    realtime_encode_error(out, id, code, message, details);
    session_send_text(session, buffer_slice(out));
    gateway_count(GATEWAY_CLIENT_ERRORS, 1);
}

void realtime_ack(struct session *session, struct slice id, const char *status)
{
    struct buffer *out = realtime_scratch();

    realtime_encode_ack(out, id, id, status);
    session_send_text(session, buffer_slice(out));
}

/* ---- the connection's life ---- */

/* A key that is not known is the token's fault once the keys are here. */
static int refusal_status(struct gateway *gateway, enum verifier_result result)
{
    return result == VERIFIER_UNAVAILABLE && !verifier_ready(gateway->verifier) ? 503 : 401;
}

static void on_identify(struct handshake *handshake)
{
    struct gateway *gateway = handshake_gateway(handshake);
    struct slice token = handshake_token(handshake);
    uint64_t flags = slice_is(handshake_query(handshake, "ack"), "1") ? CONNECTION_FLAG_ACK : 0;
    struct identity identity = {0};
    enum verifier_result result =
        verifier_check(gateway->verifier, token, realtime_now_s(), &identity);

    if (result != VERIFIER_OK) {
        handshake_refuse(handshake, refusal_status(gateway, result), verifier_reason(result));
    } else if (!admission_connect(gateway, slice_text(identity.user))) {
        identity_finish(&identity);
        handshake_refuse(handshake, 429, "this user connects too often");
    } else {
        handshake_accept(handshake, &identity, flags, (struct slice){0});
    }
}

static void on_open(struct session *session)
{
    struct realtime_state *state = session->protocol_state;
    struct buffer *out = realtime_scratch();

    TAILQ_INIT(&state->changes);
    TAILQ_INIT(&state->binaries);
    state->opened_s = realtime_now_s();
    realtime_encode_welcome(out, session->gateway->bits, session->id, state->opened_s);
    session_send_text(session, buffer_slice(out));
}

static void on_close(struct session *session)
{
    realtime_forget_changes(session);
    realtime_forget_binary(session, 0);
}

static void send_auth_status(struct session *session, const char *status)
{
    struct buffer *out = realtime_scratch();

    realtime_encode_auth_status(out, no_id, status, session->identity.expires_at, true);
    session_send_text(session, buffer_slice(out));
}

/* Three quarters of the token's life, in Unix milliseconds. */
static uint64_t expiry_told_ms(const struct session *session)
{
    const struct realtime_state *state = session->protocol_state;
    int64_t end = session->identity.expires_at;
    int64_t begin = session->identity.issued_at;

    if (begin <= 0 || begin >= end)
        begin = state->opened_s;
    return (uint64_t)(begin * 1000 + (end - begin) * 750);
}

/* Tells what is due of the token's end. Returns the milliseconds until there is more to tell. */
static uint64_t check_token(struct session *session)
{
    struct realtime_state *state = session->protocol_state;
    uint64_t now_ms = clock_wall_ms();
    uint64_t end_ms = (uint64_t)session->identity.expires_at * 1000;
    uint64_t told_ms = expiry_told_ms(session);

    if (!state->expiry_told && now_ms >= told_ms) {
        state->expiry_told = true;
        send_auth_status(session, "token_expiring");
    }
    if (now_ms >= end_ms) {
        send_auth_status(session, "token_expired");
        session_close(session, SESSION_CLOSE_TOKEN, "token expired");
        return 0;
    }
    return (state->expiry_told ? end_ms : told_ms) - now_ms;
}

/* One Ping for each silence: any byte of the client ends it. */
static void ping_when_silent(struct session *session, uint64_t loop_ms)
{
    struct realtime_state *state = session->protocol_state;
    uint64_t patience_ms = (uint64_t)session->gateway->settings.ping_after_ms;
    struct buffer *out;

    if (loop_ms < session->heard_ms + patience_ms || state->pinged_heard_ms == session->heard_ms)
        return;
    state->pinged_heard_ms = session->heard_ms;
    out = realtime_scratch();
    realtime_encode_ping(out, realtime_now_s());
    session_send_text(session, buffer_slice(out));
}

#define TICK_MS_MAX 10000

static void on_tick(struct session *session, uint64_t loop_ms)
{
    uint64_t wait_ms;

    ping_when_silent(session, loop_ms);
    wait_ms = check_token(session);
    /* The wall clock may be set: it is asked again before long. */
    session->tick_due_ms = loop_ms + (wait_ms < TICK_MS_MAX ? wait_ms : TICK_MS_MAX);
}

/* ---- replies of routers ---- */

static struct slice id_for(uint64_t request, struct slice id)
{
    return request & REALTIME_REPLY_HAS_ID ? id : no_id;
}

static void on_publish_reply(struct session *session, const struct frame_publish_reply *reply)
{
    struct buffer *out;

    if (reply->request & REALTIME_REPLY_BINARY) {
        realtime_on_binary_published(session, reply);
        return;
    }
    out = realtime_scratch();
    if (reply->request & REALTIME_REPLY_EVERYBODY)
        realtime_encode_ack(out, id_for(reply->request, reply->id), reply->id, "delivered");
    else
        realtime_encode_ack_recipients(out, id_for(reply->request, reply->id), reply->id,
                                       reply->recipients);
    session_send_text(session, buffer_slice(out));
}

static void tell_not_connected(struct session *session, const struct frame_direct_reply *reply,
                               const char *details)
{
    struct buffer message = {0}, text = {0};

    buffer_append_text(&message, "User ");
    buffer_append_slice(&message, reply->to);
    buffer_append(&message, " not found or not connected", sizeof(" not found or not connected"));
    buffer_append_text(&text, "{\"message_id\":");
    buffer_append_json_string(&text, reply->id);
    buffer_append_text(&text, details);
    realtime_error(session, id_for(reply->request, reply->id), REALTIME_NOT_FOUND, message.data,
                   buffer_slice(&text));
    buffer_finish(&message);
    buffer_finish(&text);
}

static void on_direct_reply(struct session *session, const struct frame_direct_reply *reply)
{
    /* Ack with a status, or the source's Error with what it adds to details. */
    static const struct {
        const char *ack, *details;
    } answers[] = {
        [DIRECT_DELIVERED] = {.ack = "delivered"},
        [DIRECT_BACKLOGGED] = {.ack = "queued"},
        [DIRECT_QUEUED] = {.details = ",\"queued\":true}"},
        [DIRECT_MAILBOX_FULL] = {.details = ",\"queued\":false,\"reason\":\"mailbox_full\"}"},
        [DIRECT_DISCARDED] = {.details = ",\"queued\":false}"},
    };
    struct buffer *out;

    if (reply->status >= sizeof(answers) / sizeof(answers[0]))
        return;
    if (reply->request & REALTIME_REPLY_BINARY && reply->status <= DIRECT_QUEUED) {
        realtime_on_binary_sent(session, reply);
        return;
    }
    realtime_forget_binary(session, reply->request);
    if (answers[reply->status].ack == NULL) {
        tell_not_connected(session, reply, answers[reply->status].details);
        return;
    }
    out = realtime_scratch();
    realtime_encode_ack_delivered(out, id_for(reply->request, reply->id), reply->id,
                                  answers[reply->status].ack, &reply->delivered);
    session_send_text(session, buffer_slice(out));
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    realtime_forget_binary(session, request);
    realtime_retry_later(session, id_for(request, id), REALTIME_UNAVAILABLE,
                         "the answer was lost: this may have been done", REALTIME_RETRY_MS);
}

const struct protocol protocol_realtime = {
    .name = "realtime",
    .endpoint = "/ws",
    .id = FRAME_PROTOCOL_REALTIME,
    .state_size = sizeof(struct realtime_state),
    .identify = on_identify,
    .open = on_open,
    .on_text = realtime_on_text,
    .on_binary = realtime_on_binary,
    .on_direct_reply = on_direct_reply,
    .on_publish_reply = on_publish_reply,
    .on_unanswered = on_unanswered,
    .on_subscribed = realtime_on_subscribed,
    .read_content = realtime_read_content,
    .encode_delivery = realtime_encode_delivery,
    .encode_topic_message = realtime_encode_topic_message,
    .encode_presence = realtime_encode_presence,
    .on_tick = on_tick,
    .close = on_close,
};
