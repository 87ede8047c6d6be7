#include "gateway/protocols/messaging.h"

#include "common/uid.h"
#include "common/user.h"
#include "common/xalloc.h"
#include "gateway/door/handshake.h"
#include "gateway/identity/identify.h"

#include <stdio.h>
#include <time.h>

#define SCRATCH_KEEP_BYTES ((size_t)256 << 10)
#define DEVICE_ID_MAX 128
#define GUEST "guest:"

struct buffer *messaging_scratch(void)
{
    static struct buffer scratch;

    buffer_reset(&scratch, SCRATCH_KEEP_BYTES);
    return &scratch;
}

/* ---- who asks ---- */

static const struct refusal none;

static bool is_asked_for(struct handshake *handshake, const char *name)
{
    return slice_is(handshake_query(handshake, name), "1");
}

/* What a client_id can never be, also beside a token. */
static struct refusal check_client_id(struct handshake *handshake, struct slice client_id)
{
    size_t count = handshake_query_count(handshake, "client_id");

    if (count == 0 && is_asked_for(handshake, "guest"))
        return none;
    if (count == 0)
        return (struct refusal){401, "client_id is missing"};
    if (count > 1)
        return (struct refusal){401, "client_id is given twice"};
    if (client_id.length == 0 || slice_is(client_id, "0") || !user_allowed(client_id, true))
        return (struct refusal){401, "client_id is no user id"};
    return none;
}

static struct refusal check_device_id(struct slice device_id)
{
    if (device_id.length > DEVICE_ID_MAX || !text_is_printable(device_id))
        return (struct refusal){400, "device_id has up to 128 bytes of text"};
    return none;
}

/* A name that nobody had before. */
static struct refusal make_guest(struct handshake *handshake, struct identity *identity)
{
    char name[sizeof(GUEST) + ULID_TEXT_SIZE], ulid[ULID_TEXT_SIZE];

    if (!handshake_gateway(handshake)->settings.open_identity)
        return (struct refusal){401, "guests need a token here"};
    uid_ulid((uint64_t)time(NULL) * 1000, ulid);
    snprintf(name, sizeof(name), GUEST "%s", ulid);
    *identity = (struct identity){.user = xstrdup(name)};
    return none;
}

static bool is_guest(struct slice user)
{
    return user.length > strlen(GUEST) && memcmp(user.data, GUEST, strlen(GUEST)) == 0;
}

static struct refusal find_identity(struct handshake *handshake, struct identity *identity)
{
    struct slice client_id = handshake_query(handshake, "client_id");
    struct refusal refusal = check_client_id(handshake, client_id);

    if (refusal.status == 0)
        refusal = check_device_id(handshake_query(handshake, "device_id"));
    if (refusal.status == 0)
        refusal = identify_token(handshake, client_id, identity);
    if (refusal.status != 0)
        return refusal;
    /* Without a client_id it is a guest who asks. */
    if (identity->user && client_id.data == NULL && !is_guest(slice_text(identity->user)))
        return (struct refusal){403, "the token is no guest's"};
    if (identity->user)
        return none;
    return client_id.data ? identify_name(handshake, client_id, identity)
                          : make_guest(handshake, identity);
}

static void on_identify(struct handshake *handshake)
{
    uint64_t flags = CONNECTION_FLAG_KEEP | CONNECTION_FLAG_REPLACE;
    struct identity identity = {0};
    struct refusal refusal = find_identity(handshake, &identity);

    if (refusal.status == 0)
        refusal = identify_rate(handshake, &identity);
    if (refusal.status != 0) {
        identity_finish(&identity);
        handshake_refuse(handshake, refusal.status, refusal.why);
        return;
    }
    if (is_asked_for(handshake, "acks"))
        flags |= MESSAGING_FLAG_ACKS;
    handshake_accept(handshake, &identity, flags, handshake_query(handshake, "device_id"));
}

/* ---- the connection's life ---- */

static void on_open(struct session *session)
{
    struct messaging_state *state = session->protocol_state;
    struct buffer *out = messaging_scratch();

    TAILQ_INIT(&state->changes);
    if (!is_guest(session->user))
        return;
    buffer_append_text(out, "{\"session\":{\"client_id\":");
    buffer_append_json_string(out, session->user);
    buffer_append_text(out, "}}");
    session_send_text(session, buffer_slice(out));
}

static void on_close(struct session *session)
{
    messaging_forget_changes(session);
}

/* ---- replies of routers ---- */

static bool wants_acks(const struct session *session)
{
    return session->flags & MESSAGING_FLAG_ACKS;
}

static void send_sent(struct session *session, uint64_t request, struct slice id, struct slice rid,
                      const char *status)
{
    struct buffer *out = messaging_scratch();

    if (!wants_acks(session))
        return;
    messaging_encode_sent(out, request, id, rid, status);
    session_send_text(session, buffer_slice(out));
}

static void send_error(struct session *session, uint64_t request, struct slice id,
                       enum messaging_code code, const char *message)
{
    struct buffer *out = messaging_scratch(), raw = {0};
    struct messaging_error error = {.section = "send", .code = code, .message = message};

    if (code == MESSAGING_UNAVAILABLE)
        error.retry_after_ms = MESSAGING_RETRY_MS;

    messaging_append_id(&raw, id, request & MESSAGING_NUMBER_ID);
    error.id = buffer_slice(&raw);
    messaging_encode_error(out, &error);
    messaging_close_errors(out);
    session_send_text(session, buffer_slice(out));
    gateway_count(GATEWAY_CLIENT_ERRORS, 1);
    buffer_finish(&raw);
}

static void on_direct_reply(struct session *session, const struct frame_direct_reply *reply)
{
    /* A status of the sent section, or an error. */
    static const struct {
        const char *sent;
        enum messaging_code code;
        const char *message;
    } answers[] = {
        [DIRECT_DELIVERED] = {.sent = "delivered"},
        [DIRECT_BACKLOGGED] = {.sent = "queued"},
        [DIRECT_QUEUED] = {.sent = "queued"},
        [DIRECT_MAILBOX_FULL] = {NULL, MESSAGING_FULL, "the receiver's mailbox is full"},
        [DIRECT_DISCARDED] = {NULL, MESSAGING_NOT_THERE, "the receiver is not connected"},
    };

    if (reply->status >= sizeof(answers) / sizeof(answers[0]))
        return;
    if (answers[reply->status].sent)
        send_sent(session, reply->request, reply->id, reply->to, answers[reply->status].sent);
    else
        send_error(session, reply->request, reply->id, answers[reply->status].code,
                   answers[reply->status].message);
}

static void on_publish_reply(struct session *session, const struct frame_publish_reply *reply)
{
    bool everybody = reply->request & MESSAGING_TO_EVERYBODY;

    send_sent(session, reply->request, reply->id, slice_text(everybody ? "*" : ""), "delivered");
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    send_error(session, request, id, MESSAGING_UNAVAILABLE,
               "the answer was lost: this may have been done");
}

static const struct message_batch batch = {"{\"messages\":[", ",", "]}", 256};

const struct protocol protocol_messaging = {
    .name = "messaging",
    .endpoint = "/messaging",
    .id = FRAME_PROTOCOL_MESSAGING,
    .state_size = sizeof(struct messaging_state),
    .identify = on_identify,
    .open = on_open,
    .on_text = messaging_on_text,
    .on_binary = messaging_on_binary,
    .on_direct_reply = on_direct_reply,
    .on_publish_reply = on_publish_reply,
    .on_unanswered = on_unanswered,
    .on_subscribed = messaging_on_subscribed,
    .read_content = messaging_read_content,
    .encode_delivery = messaging_encode_delivery,
    .encode_topic_message = messaging_encode_topic_message,
    .batch = &batch,
    .on_tick = identify_on_tick,
    .close = on_close,
};
