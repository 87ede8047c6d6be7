#include "common/uid.h"
#include "gateway/content.h"
#include "gateway/notification.h"
#include "gateway/protocols/realtime.h"

#include <inttypes.h>

#define FEATURES                                                                                   \
    "[\"broadcast\",\"direct_message\",\"presence\",\"history\",\"binary\",\"ack\",\"token_"       \
    "refresh\"]"

static void open_message(struct buffer *out, const char *type)
{
    buffer_append_text(out, "{\"type\":\"");
    buffer_append_text(out, type);
    buffer_append_text(out, "\",\"data\":{");
}

static void close_message(struct buffer *out, struct slice id)
{
    buffer_append_byte(out, '}');
    if (id.data != NULL) {
        buffer_append_text(out, ",\"id\":");
        buffer_append_json_string(out, id);
    }
    buffer_append_byte(out, '}');
}

static void append_string(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

static void append_seconds(struct buffer *out, const char *name, uint64_t ms)
{
    buffer_append_text(out, name);
    buffer_append_u64(out, ms / 1000);
}

/* A JSON value that came from a client; empty stands for missing. */
static void append_json(struct buffer *out, const char *name, struct slice json,
                        const char *missing)
{
    buffer_append_text(out, name);
    buffer_append_slice(out, json.length ? json : slice_text(missing));
}

void realtime_encode_welcome(struct buffer *out, uint64_t gateway_bits, uint64_t connection,
                             int64_t now_s)
{
    char uuid[UUID_TEXT_SIZE];

    uid_connection(gateway_bits, connection, uuid);
    open_message(out, "Status");
    buffer_appendf(out,
                   "\"status\":\"connected\",\"details\":{\"connection_id\":\"%s\","
                   "\"server_time\":%" PRId64 ",\"protocol_version\":\"1.0\",\"features\":" FEATURES
                   "}",
                   uuid, now_s);
    close_message(out, slice_of(NULL, 0));
}

void realtime_encode_ping(struct buffer *out, int64_t now_s)
{
    open_message(out, "Ping");
    buffer_appendf(out, "\"timestamp\":%" PRId64, now_s);
    close_message(out, slice_of(NULL, 0));
}

void realtime_encode_pong(struct buffer *out, struct slice id, struct slice timestamp)
{
    open_message(out, "Pong");
    append_json(out, "\"timestamp\":", timestamp, "null");
    close_message(out, id);
}

void realtime_encode_subscriptions(struct buffer *out, struct slice id, const char *status,
                                   struct slice topics, size_t active, struct slice history,
                                   const char *reason)
{
    open_message(out, "Status");
    append_string(out, "\"status\":", slice_text(status));
    append_json(out, ",\"details\":{\"topics\":", topics, "[]");
    buffer_append_text(out, ",\"active_subscriptions\":");
    buffer_append_u64(out, active);
    if (history.length)
        append_json(out, ",\"history\":", history, "");
    if (reason)
        append_string(out, ",\"reason\":", slice_text(reason));
    buffer_append_byte(out, '}');
    close_message(out, id);
}

static void open_ack(struct buffer *out, struct slice message_id, const char *status)
{
    open_message(out, "Ack");
    append_string(out, "\"message_id\":", message_id);
    append_string(out, ",\"status\":", slice_text(status));
}

void realtime_encode_ack(struct buffer *out, struct slice id, struct slice message_id,
                         const char *status)
{
    open_ack(out, message_id, status);
    close_message(out, id);
}

void realtime_encode_ack_recipients(struct buffer *out, struct slice id, struct slice message_id,
                                    uint64_t recipients)
{
    open_ack(out, message_id, "delivered");
    buffer_append_text(out, ",\"recipients\":");
    buffer_append_u64(out, recipients);
    close_message(out, id);
}

void realtime_encode_ack_delivered(struct buffer *out, struct slice id, struct slice message_id,
                                   const char *status, const struct frame_u64s *delivered)
{
    open_ack(out, message_id, status);
    realtime_append_delivered_to(out, delivered);
    close_message(out, id);
}

void realtime_append_delivered_to(struct buffer *out, const struct frame_u64s *delivered)
{
    char uuid[UUID_TEXT_SIZE];

    buffer_append_text(out, ",\"delivered_to\":[");
    for (size_t i = 0; i + 1 < delivered->count; i += 2) {
        uid_connection(delivered->values[i], delivered->values[i + 1], uuid);
        append_string(out, i ? "," : "", slice_text(uuid));
    }
    buffer_append_byte(out, ']');
}

void realtime_encode_error(struct buffer *out, struct slice id, enum realtime_code code,
                           const char *message, struct slice details)
{
    open_message(out, "Error");
    buffer_append_text(out, "\"code\":");
    buffer_append_u64(out, code);
    append_string(out, ",\"message\":", slice_text(message));
    append_json(out, ",\"details\":", details, "{}");
    close_message(out, id);
}

void realtime_encode_auth_status(struct buffer *out, struct slice id, const char *status,
                                 int64_t expires_at, bool refresh_required)
{
    open_message(out, "AuthStatus");
    append_string(out, "\"status\":", slice_text(status));
    buffer_appendf(out, ",\"expires_at\":%" PRId64, expires_at);
    if (refresh_required)
        buffer_append_text(out, ",\"refresh_required\":true");
    close_message(out, id);
}

static void open_metadata(struct buffer *out, uint64_t sent_at_ms, struct slice id)
{
    append_seconds(out, ",\"metadata\":{\"sent_at\":", sent_at_ms);
    append_string(out, ",\"message_id\":", id);
}

static void append_place(struct buffer *out, const struct frame_topic_message *message)
{
    if (message->offset == 0)
        return;
    buffer_appendf(out, ",\"epoch\":%" PRIu64 ",\"offset\":%" PRIu64, message->epoch,
                   message->offset);
}

/* The end of a delivery: how it came, and the sender's own metadata at top level. */
static void close_metadata(struct buffer *out, struct slice metadata)
{
    buffer_append_text(out, "}}");
    if (metadata.length > 0 && metadata.data[0] == '{')
        append_json(out, ",\"metadata\":", metadata, "");
    buffer_append_byte(out, '}');
}

static void close_delivery(struct buffer *out, uint64_t sent_at_ms, struct slice id,
                           struct slice metadata)
{
    open_metadata(out, sent_at_ms, id);
    close_metadata(out, metadata);
}

void realtime_read_content(struct slice body, struct content *content)
{
    content_of_payload(body, "message", "attachments", content);
}

/* A payload as it was sent, by a client or the HTTP API; what came by another protocol, in the
 * names that payloads have here. */
static void append_payload(struct buffer *out, uint64_t protocol, uint64_t kind, struct slice body)
{
    static const char *const taken[] = {NULL};
    struct content content;

    if (kind == CONTENT_JSON &&
        (protocol == FRAME_PROTOCOL_REALTIME || protocol == FRAME_PROTOCOL_SERVER)) {
        append_json(out, ",\"payload\":", body, "null");
        return;
    }
    content_read(protocol, kind, body, &content);
    buffer_append_text(out, ",\"payload\":{");
    content_append_members(out, &content, "message", "attachments", taken);
    buffer_append_byte(out, '}');
}

/* What deliveries have in common. */
struct form {
    uint64_t protocol, sent_at_ms;
    struct slice id, body, metadata;
};

/* The source's form, and in data how it came. */
static void append_notification(struct buffer *out, const struct form *form)
{
    open_message(out, "Notification");
    buffer_append(out, form->body.data + 1, form->body.length - 2);
    close_delivery(out, form->sent_at_ms, form->id, (struct slice){0});
}

/* Messages that are no payload: notifications, and types of clients' own. Returns whether it is
 * one. */
static bool append_special(struct buffer *out, const struct form *form)
{
    if (form->protocol == FRAME_PROTOCOL_SERVER && slice_is(form->metadata, NOTIFICATION_MARK))
        append_notification(out, form);
    else if (form->protocol == FRAME_PROTOCOL_REALTIME &&
             slice_is(form->metadata, REALTIME_EXTENSION_MARK))
        buffer_append_slice(out, form->body);
    else
        return false;
    return true;
}

static bool is_binary(uint64_t protocol, uint64_t kind)
{
    return protocol == FRAME_PROTOCOL_REALTIME && kind == CONTENT_BINARY;
}

void realtime_encode_delivery(struct buffer *out, const struct frame_message_delivery *message,
                              int *opcode)
{
    const struct form form = {message->protocol, message->sent_at_ms, message->id, message->body,
                              message->metadata};

    if (is_binary(message->protocol, message->content)) {
        *opcode = WIRE_BINARY;
        realtime_encode_binary(out, message->from, message->to, message->metadata, false,
                               message->body);
    } else if (!append_special(out, &form)) {
        open_message(out, "DirectMessage");
        append_string(out, "\"from_user\":", message->from);
        append_payload(out, message->protocol, message->content, message->body);
        close_delivery(out, message->sent_at_ms, message->id, message->metadata);
    }
}

void realtime_encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                   int *opcode)
{
    const struct form form = {message->protocol, message->sent_at_ms, message->id, message->body,
                              message->metadata};

    if (is_binary(message->protocol, message->content)) {
        *opcode = WIRE_BINARY;
        realtime_encode_binary(out, message->from, message->topic, message->metadata, true,
                               message->body);
    } else if (!append_special(out, &form)) {
        open_message(out, "Broadcast");
        append_string(out, "\"topic\":", message->topic);
        append_payload(out, message->protocol, message->content, message->body);
        open_metadata(out, message->sent_at_ms, message->id);
        append_place(out, message);
        close_metadata(out, message->metadata);
    }
}

void realtime_encode_presence(struct buffer *out, const struct frame_presence_state *state,
                              int *opcode)
{
    (void)opcode;
    open_message(out, "Presence");
    append_string(out, "\"user_id\":", state->user);
    append_string(out, ",\"status\":", state->status);
    append_seconds(out, ",\"last_seen\":", state->last_seen_ms);
    append_json(out, ",\"metadata\":", state->metadata, "{}");
    close_message(out, slice_of(NULL, 0));
}
