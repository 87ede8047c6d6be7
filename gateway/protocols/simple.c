#include "gateway/protocols/simple.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/uid.h"
#include "common/user.h"
#include "gateway/content.h"
#include "gateway/topics/endpoint_topic.h"
#include "gateway/identity/identify.h"
#include "gateway/topics/room.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"

#define SCRATCH_KEEP_BYTES ((size_t)256 << 10)
#define ROOM "$simple"
/* A longer payload_id is echoed, and refused. */
#define PAYLOAD_ID_MAX 128
#define RETRY_AFTER_MS 1000

/* Numbers of requests are odd when the message has an id of ours: the client's was empty. */
#define REQUEST_OWN_ID 1

static const char *const malformed = "malformed_payload";
static const char *const unavailable = "unavailable";
static const char *const forbidden = "forbidden";

static struct buffer *scratch(void)
{
    static struct buffer buffer;

    buffer_reset(&buffer, SCRATCH_KEEP_BYTES);
    return &buffer;
}

static void append_string(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

static void append_seconds(struct buffer *out, uint64_t ms)
{
    buffer_append_text(out, ",\"timestamp\":");
    buffer_append_u64(out, ms / 1000);
}

/* ---- replies ---- */

/* id: data is NULL when none could be read. error: NULL when there is none. */
static void reply(struct session *session, struct slice id, const char *error,
                  uint64_t retry_after_ms)
{
    struct buffer *out = scratch();

    buffer_append_text(out, "{\"type\":\"reply\",\"payload_id\":");
    if (id.data)
        buffer_append_json_string(out, id);
    else
        buffer_append_text(out, "null");
    buffer_append_text(out, ",\"error\":");
    if (error)
        buffer_append_json_string(out, slice_text(error));
    else
        buffer_append_text(out, "null");
    if (retry_after_ms) {
        buffer_append_text(out, ",\"retry_after_ms\":");
        buffer_append_u64(out, retry_after_ms);
    }
    buffer_append_byte(out, '}');
    session_send_text(session, buffer_slice(out));
    gateway_count(GATEWAY_CLIENT_ERRORS, error != NULL);
}

static void reply_to(struct session *session, uint64_t request, struct slice id, const char *error,
                     uint64_t retry_after_ms)
{
    reply(session, request & REQUEST_OWN_ID ? slice_text("") : id, error, retry_after_ms);
}

static void on_publish_reply(struct session *session, const struct frame_publish_reply *answer)
{
    reply_to(session, answer->request, answer->id, NULL, 0);
}

static void on_direct_reply(struct session *session, const struct frame_direct_reply *answer)
{
    bool is_kept = answer->status == DIRECT_DELIVERED || answer->status == DIRECT_BACKLOGGED ||
                   answer->status == DIRECT_QUEUED;

    reply_to(session, answer->request, answer->id, is_kept ? NULL : unavailable, 0);
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    reply_to(session, request, id, unavailable, RETRY_AFTER_MS);
}

/* ---- send_message ---- */

/* A payload of a client; slices are valid while it is handled. */
struct payload {
    struct session *session;
    struct slice id;      /* payload_id; data is NULL when none could be read */
    struct slice to;      /* data is NULL: to the room */
    struct slice message; /* a JSON string, as it was sent */
};

struct message_id {
    struct slice id;
    uint64_t request;
    char ulid[ULID_TEXT_SIZE];
};

/* The client's, unless that is empty. */
static void choose_id(const struct payload *payload, struct message_id *chosen)
{
    static uint64_t last;

    last += 2;
    chosen->request = last;
    chosen->id = payload->id;
    if (payload->id.length > 0)
        return;
    uid_ulid(clock_wall_ms(), chosen->ulid);
    chosen->id = slice_text(chosen->ulid);
    chosen->request |= REQUEST_OWN_ID;
}

static void publish(const struct payload *payload, uint32_t partition)
{
    struct session *session = payload->session;
    struct message_id id;

    choose_id(payload, &id);
    uplink_send(session->gateway->uplink, partition,
                &(struct frame){.type = FRAME_TOPIC_PUBLISH,
                                .topic_publish = {.connection = session->id,
                                                  .request = id.request,
                                                  .from = session->user,
                                                  .topic = slice_text(ROOM),
                                                  .id = id.id,
                                                  .retry = payload->id.length > 0,
                                                  .echo = 1,
                                                  .protocol = FRAME_PROTOCOL_SIMPLE,
                                                  .content = CONTENT_JSON,
                                                  .body = payload->message}});
}

static void send_direct(const struct payload *payload, uint32_t partition)
{
    struct session *session = payload->session;
    struct message_id id;

    choose_id(payload, &id);
    uplink_send(session->gateway->uplink, partition,
                &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                                .direct_message = {.connection = session->id,
                                                   .request = id.request,
                                                   .from = session->user,
                                                   .to = payload->to,
                                                   .id = id.id,
                                                   .retry = payload->id.length > 0,
                                                   .policy = DELIVERY_STORE,
                                                   .protocol = FRAME_PROTOCOL_SIMPLE,
                                                   .content = CONTENT_JSON,
                                                   .body = payload->message}});
}

static void send_message(const struct payload *payload)
{
    struct session *session = payload->session;
    struct slice key = payload->to.data ? payload->to : slice_text(ROOM);
    uint32_t partition = partition_of(&session->gateway->deployment, key);

    if (payload->to.data == NULL && !endpoint_topic_permitted(session)) {
        reply(session, payload->id, forbidden, 0);
    } else if (!uplink_has_credit(session->gateway->uplink, partition)) {
        gateway_count(GATEWAY_CREDIT_REFUSED, 1);
        reply(session, payload->id, unavailable, RETRY_AFTER_MS);
    } else if (payload->to.data) {
        send_direct(payload, partition);
    } else {
        publish(payload, partition);
    }
}

/* ---- what clients send ---- */

/* NULL when message and to are as they should be. */
static const char *read_message(struct payload *payload, const struct json *json)
{
    const struct json_value *root = json_root(json), *to = json_member(root, "to");

    if (json_type(json_member(root, "message")) != JSON_STRING)
        return malformed;
    payload->message = json_member_raw(json, root, "message");
    if (to == NULL)
        return NULL;
    payload->to = json_text(to);
    if (payload->to.data == NULL || !user_allowed(payload->to, true))
        return malformed;
    return NULL;
}

/* Reads as much as it can. Returns the error of what cannot be done. */
static const char *read_payload(struct payload *payload, struct json *json, struct slice text)
{
    const struct json_value *root, *id, *type;

    if (json_read(json, text) != 0)
        return malformed;
    root = json_root(json);
    id = json_member(root, "payload_id");
    type = json_member(root, "type");
    if (json_type(id) == JSON_STRING)
        payload->id = json_text(id);
    if (json_type(id) != JSON_STRING || json_type(type) != JSON_STRING ||
        payload->id.length > PAYLOAD_ID_MAX)
        return malformed;
    if (!slice_is(json_text(type), "send_message"))
        return "unknown_type";
    return read_message(payload, json);
}

static enum limit limit_of(const struct payload *payload, const char *error)
{
    if (error)
        return LIMIT_MESSAGE;
    return payload->to.data ? LIMIT_DIRECT : LIMIT_BROADCAST;
}

static void on_text(struct session *session, struct slice text)
{
    static struct json *json;
    struct payload payload = {.session = session};
    const char *error;
    uint64_t wait_ms;

    if (json == NULL)
        json = json_create();
    error = read_payload(&payload, json, text);
    wait_ms = admission_take(session, limit_of(&payload, error));
    if (wait_ms > 0)
        reply(session, payload.id, "rate_limited", wait_ms);
    else if (error)
        reply(session, payload.id, error, 0);
    else
        send_message(&payload);
}

static void on_binary(struct session *session, struct slice message)
{
    uint64_t wait_ms = admission_take(session, LIMIT_MESSAGE);

    (void)message;
    reply(session, slice_of(NULL, 0), wait_ms ? "rate_limited" : malformed, wait_ms);
}

/* ---- the room ---- */

static void on_open(struct session *session)
{
    room_join(session, true);
}

static void append_presence(struct buffer *out, const char *type, struct slice user, uint64_t at_ms)
{
    append_string(out, "{\"type\":", slice_text(type));
    append_string(out, ",\"username\":", user);
    append_seconds(out, at_ms);
    buffer_append_byte(out, '}');
}

static void encode_member(struct buffer *out, const struct frame_member_changed *change,
                          int *opcode)
{
    (void)opcode;
    append_presence(out, change->present ? "user_connected" : "user_disconnected", change->user,
                    change->at_ms);
}

/* Of a line "<since, ms> <user>". */
static void tell_member(struct session *session, struct slice line)
{
    struct buffer *out = scratch();
    uint64_t since_ms = 0;
    size_t at = 0;

    for (; at < line.length && line.data[at] != ' '; at++)
        since_ms = since_ms * 10 + (uint64_t)(line.data[at] - '0');
    if (at == line.length)
        return;
    line = slice_of(line.data + at + 1, line.length - at - 1);
    if (slice_equal(line, session->user)) /* it has been told of itself */
        return;
    append_presence(out, "user_connected", line, since_ms);
    session_send_text(session, buffer_slice(out));
}

static void on_member_list(struct session *session, const struct frame_member_list *list)
{
    const char *at = list->members.data, *end = at + list->members.length;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        newline = newline ? newline : end;
        tell_member(session, slice_of(at, (size_t)(newline - at)));
        at = newline < end ? newline + 1 : end;
    }
}

/* ---- messages ---- */

/* A message is a JSON string. */
static void read_content(struct slice body, struct content *content)
{
    content->text = body;
}

/* What the server itself says has no user name. */
static void begin_message(struct buffer *out, struct slice from, uint64_t sent_at_ms)
{
    buffer_append_text(out, "{\"type\":\"message_sent\",\"username\":");
    if (from.length == 0 || slice_is(from, "SERVER"))
        buffer_append_text(out, "null");
    else
        buffer_append_json_string(out, from);
    append_seconds(out, sent_at_ms);
}

static void append_message(struct buffer *out, uint64_t protocol, uint64_t kind, struct slice body)
{
    struct content content;

    content_read(protocol, kind, body, &content);
    buffer_append_text(out, ",\"message\":");
    content_append_plain(out, &content);
}

static void encode_delivery(struct buffer *out, const struct frame_message_delivery *message,
                            int *opcode)
{
    (void)opcode;
    begin_message(out, message->from, message->sent_at_ms);
    append_message(out, message->protocol, message->content, message->body);
    append_string(out, ",\"to\":", message->to);
    if (message->chat.length)
        append_string(out, ",\"group\":", message->chat);
    buffer_append_byte(out, '}');
}

static void encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                 int *opcode)
{
    (void)opcode;
    begin_message(out, message->from, message->sent_at_ms);
    append_message(out, message->protocol, message->content, message->body);
    buffer_append_byte(out, '}');
}

const struct protocol protocol_simple = {
    .name = "simple",
    .endpoint = "/simple",
    .id = FRAME_PROTOCOL_SIMPLE,
    /* Some clients show name and password only to who asks for them (RFC 9110, 11.6.1). */
    .challenge = "Basic realm=\"Trunkline\", charset=\"UTF-8\"",
    .identify = simple_identify,
    .open = on_open,
    .on_text = on_text,
    .on_binary = on_binary,
    .on_direct_reply = on_direct_reply,
    .on_publish_reply = on_publish_reply,
    .on_unanswered = on_unanswered,
    .on_member_list = on_member_list,
    .read_content = read_content,
    .encode_delivery = encode_delivery,
    .encode_topic_message = encode_topic_message,
    .encode_member = encode_member,
    .on_tick = identify_on_tick,
};
