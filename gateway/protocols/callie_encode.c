/*
 * Every payload that the server sends: SYS, PING and PONG of its own, and what comes from others.
 */
#include "common/clock.h"
#include "common/uid.h"
#include "gateway/protocols/callie.h"
#include "gateway/protocols/callie_timestamp.h"

#define SCRATCH_KEEP_BYTES (256u << 10)
#define RETRY_AFTER_MS 1000

struct buffer *callie_scratch(void)
{
    static struct buffer scratch;

    buffer_reset(&scratch, SCRATCH_KEEP_BYTES);
    return &scratch;
}

static void append_string(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

/* Up to the value of content. */
static void open_payload(struct buffer *out, struct slice sender, struct slice recipient,
                         uint64_t at_ms, const char *type)
{
    append_string(out, "{\"sender\":", sender.length ? sender : slice_text("SERVER"));
    append_string(out, ",\"recipient\":", recipient);
    buffer_append_text(out, ",\"timestamp\":\"");
    callie_timestamp_append(out, at_ms);
    buffer_append_text(out, "\",\"type\":\"");
    buffer_append_text(out, type);
    buffer_append_text(out, "\",\"content\":");
}

/* What stands behind metadata. */
static void close_payload(struct buffer *out, struct slice id)
{
    append_string(out, ",\"payloadID\":", id);
    buffer_append_text(out, ",\"payloadVersion\":\"1.0\"}");
}

static void close_own(struct buffer *out)
{
    char ulid[ULID_TEXT_SIZE];

    uid_ulid(clock_wall_ms(), ulid);
    close_payload(out, slice_text(ulid));
}

/* ---- SYS ---- */

static void open_system(struct buffer *out, struct slice recipient, const char *code,
                        struct slice description)
{
    open_payload(out, slice_of(NULL, 0), recipient, clock_wall_ms(), "SYS");
    append_string(out, "{\"code\":", slice_text(code));
    append_string(out, ",\"description\":", description);
    buffer_append_text(out, "},\"metadata\":{");
}

void callie_answer(struct session *session, struct slice payload_id, const char *code,
                   const char *description, struct slice more)
{
    static const char *const good[] = {"AUTH_OK", "COMMAND_OK"};
    struct buffer *out = callie_scratch();

    open_system(out, session->user, code, slice_text(description));
    if (payload_id.data)
        append_string(out, "\"payloadID\":", payload_id);
    else
        buffer_append_text(out, "\"payloadID\":null");
    if (more.length)
        buffer_append_byte(out, ',');
    buffer_append_slice(out, more);
    buffer_append_byte(out, '}');
    close_own(out);
    session_send_text(session, buffer_slice(out));
    gateway_count(GATEWAY_CLIENT_ERRORS, strcmp(code, good[0]) != 0 && strcmp(code, good[1]) != 0);
}

void callie_notify(struct session *session, const char *code, const char *description)
{
    struct buffer *out = callie_scratch();

    open_system(out, session->user, code, slice_text(description));
    buffer_append_byte(out, '}');
    close_own(out);
    session_send_text(session, buffer_slice(out));
}

void callie_unavailable(struct session *session, struct slice payload_id, bool command)
{
    struct buffer more = {0};

    gateway_count(GATEWAY_CREDIT_REFUSED, 1);
    buffer_append_text(&more, "\"retry_after_ms\":");
    buffer_append_u64(&more, RETRY_AFTER_MS);
    callie_answer(session, payload_id, command ? "COMMAND_FAILED" : "UNAVAILABLE",
                  "the service cannot do this at the moment", buffer_slice(&more));
    buffer_finish(&more);
}

/* ---- PING, PONG ---- */

static void send_beat(struct session *session, const char *type, struct slice payload_id)
{
    struct buffer *out = callie_scratch();

    open_payload(out, slice_of(NULL, 0), session->user, clock_wall_ms(), type);
    buffer_append_text(out, "{},\"metadata\":{");
    if (payload_id.data)
        append_string(out, "\"payloadID\":", payload_id);
    buffer_append_byte(out, '}');
    close_own(out);
    session_send_text(session, buffer_slice(out));
}

void callie_send_ping(struct session *session)
{
    send_beat(session, "PING", slice_of(NULL, 0));
}

void callie_send_pong(struct session *session, struct slice payload_id)
{
    send_beat(session, "PONG", payload_id);
}

/* ---- messages ---- */

void callie_encode_edit(struct buffer *out, struct slice message_id, struct slice text)
{
    append_string(out, "{\"content\":{\"messageID\":", message_id);
    append_string(out, ",\"text\":", text);
    buffer_append_text(out, "},\"metadata\":{}}");
}

/* Members of metadata.data, or of a metadata that has none: both are how a client adds fields. */
static struct slice other_fields(const struct json *json)
{
    const struct json_value *metadata = json_member(json_root(json), "metadata");
    struct slice raw = json_member_raw(json, metadata, "data");

    if (json_type(json_member(metadata, "data")) != JSON_OBJECT)
        raw = json_type(metadata) == JSON_OBJECT
                  ? json_member_raw(json, json_root(json), "metadata")
                  : slice_of("{}", 2);
    raw = slice_of(raw.data + 1, raw.length - 2);
    while (raw.length > 0 && raw.data[0] != '\0' && strchr(" \t\r\n", raw.data[0]))
        raw = slice_of(raw.data + 1, raw.length - 1);
    return raw;
}

void callie_read_content(struct slice body, struct content *content)
{
    struct json *json = content_json();
    const struct json_value *said;

    if (json_read(json, body) != 0)
        return;
    said = json_member(json_root(json), "content");
    if (json_type(json_member(said, "text")) == JSON_STRING)
        content->text = json_member_raw(json, said, "text");
    if (json_type(json_member(said, "attachments")) == JSON_ARRAY)
        content->attachments = json_member_raw(json, said, "attachments");
    content->other = other_fields(json);
}

/* A message of another protocol as a MSG. */
struct foreign {
    struct slice from, recipient, id, body;
    uint64_t at_ms, protocol, content;
};

static void append_foreign(struct buffer *out, const struct foreign *message)
{
    struct content content;

    content_read(message->protocol, message->content, message->body, &content);
    open_payload(out, message->from, message->recipient, message->at_ms, "MSG");
    append_string(out, "{\"messageID\":", message->id);
    buffer_append_text(out, ",\"text\":");
    buffer_append_slice(out, content.text.length ? content.text : slice_text("\"\""));
    if (content.attachments.length) {
        buffer_append_text(out, ",\"attachments\":");
        buffer_append_slice(out, content.attachments);
    }
    buffer_append_text(out, "},\"metadata\":{");
    if (content.other.length) {
        buffer_append_text(out, "\"data\":{");
        buffer_append_slice(out, content.other);
        buffer_append_byte(out, '}');
    }
    buffer_append_byte(out, '}');
    close_payload(out, message->id);
}

void callie_encode_delivery(struct buffer *out, const struct frame_message_delivery *message,
                            int *opcode)
{
    (void)opcode;
    if (message->protocol == FRAME_PROTOCOL_CALLIE)
        buffer_append_slice(out, message->body);
    else
        append_foreign(
            out, &(struct foreign){.from = message->from,
                                   .recipient = message->chat.length ? message->chat : message->to,
                                   .id = message->id,
                                   .body = message->body,
                                   .at_ms = message->sent_at_ms,
                                   .protocol = message->protocol,
                                   .content = message->content});
}

void callie_encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                 int *opcode)
{
    (void)opcode;
    if (message->protocol == FRAME_PROTOCOL_CALLIE)
        buffer_append_slice(out, message->body);
    else
        append_foreign(out, &(struct foreign){.from = message->from,
                                              .recipient = slice_text("BROADCAST"),
                                              .id = message->id,
                                              .body = message->body,
                                              .at_ms = message->sent_at_ms,
                                              .protocol = message->protocol,
                                              .content = message->content});
}

/* ---- signals ---- */

/* "group:<id>" without its prefix, as the commands name groups. */
static struct slice group_id(struct slice chat)
{
    size_t prefix = strlen(CALLIE_GROUP_PREFIX);

    return chat.length > prefix ? slice_of(chat.data + prefix, chat.length - prefix) : chat;
}

static void append_group(struct buffer *out, const char *name,
                         const struct frame_signal_delivery *signal)
{
    if (signal->chat.length)
        append_string(out, name, group_id(signal->chat));
}

static void append_text(struct buffer *out, const struct frame_signal_delivery *signal)
{
    struct content content;

    content_read(signal->protocol, signal->content, signal->body, &content);
    buffer_append_text(out, ",\"text\":");
    buffer_append_slice(out, content.text.length ? content.text : slice_text("\"\""));
}

static void append_change(struct buffer *out, const struct frame_signal_delivery *signal)
{
    append_string(out, "\"messageID\":", signal->id);
    append_string(out, ",\"username\":", signal->from);
    append_group(out, ",\"groupID\":", signal);
    if (signal->kind == SIGNAL_EDITED)
        append_text(out, signal);
}

static void append_group_change(struct buffer *out, const struct frame_signal_delivery *signal)
{
    append_group(out, "\"groupID\":", signal);
    append_string(out, ",\"name\":", signal->body);
    append_string(out, ",\"username\":", signal->from);
}

static void append_member(struct buffer *out, const struct frame_signal_delivery *signal)
{
    append_group(out, "\"groupID\":", signal);
    append_string(out, ",\"username\":", signal->body);
}

/* Who, then what he did. */
static const struct system_signal {
    enum signal_kind kind;
    const char *code;
    bool of_body; /* the user is the body, else who caused it */
    const char *what;
    void (*append)(struct buffer *, const struct frame_signal_delivery *);
} signals[] = {
    {SIGNAL_EDITED, "MESSAGE_EDITED", false, " edited a message", append_change},
    {SIGNAL_DELETED, "MESSAGE_DELETED", false, " deleted a message", append_change},
    {SIGNAL_GROUP_CREATED, "GROUP_CREATED", false, " created a group", append_group_change},
    {SIGNAL_GROUP_DELETED, "GROUP_DELETED", false, " deleted a group", append_group_change},
    {SIGNAL_MEMBER_JOINED, "USER_JOINED", true, " joined the group", append_member},
    {SIGNAL_MEMBER_LEFT, "USER_LEFT", true, " left the group", append_member},
};

static void append_system(struct buffer *out, const struct system_signal *row,
                          const struct frame_signal_delivery *signal)
{
    struct buffer description = {0};

    buffer_append_slice(&description, row->of_body ? signal->body : signal->from);
    buffer_append_text(&description, row->what);
    open_system(out, signal->to, row->code, buffer_slice(&description));
    row->append(out, signal);
    buffer_append_byte(out, '}');
    close_own(out);
    buffer_finish(&description);
}

void callie_encode_signal(struct buffer *out, const struct frame_signal_delivery *signal,
                          int *opcode)
{
    (void)opcode;
    if (signal->kind == SIGNAL_PASSED_ON && signal->protocol == FRAME_PROTOCOL_CALLIE)
        buffer_append_slice(out, signal->body);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (signal->kind == signals[i].kind)
            append_system(out, &signals[i], signal);
}
