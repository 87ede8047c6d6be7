#include "common/clock.h"
#include "gateway/protocols/chat.h"

#include "gateway/content.h"
#include "gateway/topics/topics.h"

#define OTHER_KEEP_BYTES (64u << 10)

static void append_string(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

static void append_number(struct buffer *out, const char *name, uint64_t number)
{
    buffer_append_text(out, name);
    buffer_append_u64(out, number);
}

static void append_seconds(struct buffer *out, const char *name, uint64_t ms)
{
    if (ms > 0)
        append_number(out, name, ms / 1000);
}

/* ---- responses ---- */

static void append_string_or_null(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    if (text.data)
        buffer_append_json_string(out, text);
    else
        buffer_append_text(out, "null");
}

static void open_response(struct buffer *out, uint64_t now_s, const struct chat_name *name)
{
    append_number(out, "{\"type\":\"response\",\"timestamp\":", now_s);
    append_string_or_null(out, ",\"id\":", name->id);
    append_string_or_null(out, ",\"payloadType\":", name->type);
}

void chat_encode_response(struct buffer *out, uint64_t now_s, const struct chat_name *name,
                          struct slice payload)
{
    open_response(out, now_s, name);
    if (payload.length > 0) {
        buffer_append_text(out, ",\"payload\":");
        buffer_append_slice(out, payload);
    }
    buffer_append_byte(out, '}');
}

void chat_encode_error(struct buffer *out, uint64_t now_s, const struct chat_name *name,
                       enum chat_code code, const char *message, uint64_t retry_after_ms)
{
    open_response(out, now_s, name);
    append_number(out, ",\"error\":{\"code\":", code);
    append_string(out, ",\"message\":", slice_text(message));
    if (retry_after_ms > 0)
        append_number(out, ",\"retry_after_ms\":", retry_after_ms);
    buffer_append_text(out, "}}");
}

/* ---- what a message says ---- */

/* Members that are ours to say: a client's own of these names are not passed on. */
static const char *const reserved[] = {"chatId",    "userId",    "messageId", "sender",
                                       "createdAt", "updatedAt", "deletedAt", "dlvrd",
                                       "read",      "delivering"};

bool chat_is_reserved(struct slice name)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (slice_is(name, reserved[i]))
            return true;
    return false;
}

static void append_member(struct buffer *out, struct slice name, struct slice value)
{
    if (out->length > 0)
        buffer_append_byte(out, ',');
    buffer_append_json_string(out, name);
    buffer_append_byte(out, ':');
    buffer_append_slice(out, value);
}

static void append_members(struct buffer *out, const struct json *json,
                           const struct json_value *object)
{
    struct json_pair pair;

    for (pair = json_first_pair(json, object); pair.value; pair = json_next_pair(json, &pair))
        append_member(out, pair.name, pair.raw);
}

/* A name may have any bytes. */
static bool has_member(const struct json *json, const struct json_value *object, struct slice name)
{
    struct json_pair pair;

    for (pair = json_first_pair(json, object); pair.value; pair = json_next_pair(json, &pair))
        if (slice_equal(pair.name, name))
            return true;
    return false;
}

/* What other protocols say besides stands in data here: so what stands there is said besides. */
static void read_member(const struct json *json, const struct json_value *data,
                        const struct json_pair *pair, struct buffer *other, struct content *content)
{
    if (slice_is(pair->name, "message") && json_type(pair->value) == JSON_STRING)
        content->text = pair->raw;
    else if (slice_is(pair->name, "attachments") && json_type(pair->value) == JSON_ARRAY)
        content->attachments = pair->raw;
    else if (slice_is(pair->name, "data") && json_type(data) == JSON_OBJECT)
        append_members(other, json, data);
    else if (!slice_is(pair->name, "clientMessageId") && !has_member(json, data, pair->name))
        append_member(other, pair->name, pair->raw);
}

void chat_read_content(struct slice body, struct content *content)
{
    static struct buffer other;
    struct json *json = content_json();
    const struct json_value *data;
    struct json_pair pair;

    buffer_reset(&other, OTHER_KEEP_BYTES);
    if (json_read(json, body) != 0)
        return;
    if (json_type(json_root(json)) == JSON_STRING) {
        content->text = body;
        return;
    }
    data = json_member(json_root(json), "data");
    for (pair = json_first_pair(json, json_root(json)); pair.value;
         pair = json_next_pair(json, &pair))
        read_member(json, data, &pair, &other, content);
    content->other = buffer_slice(&other);
}

/* A body as it came by some protocol. */
struct body {
    uint64_t protocol, content;
    struct slice bytes;
};

/* Which of a body's members are appended. */
enum parts { PART_TEXT = 1, PART_REST = 2, PART_CLIENT_ID = 4, PARTS_ALL = 7 };

static unsigned part_of(struct slice name)
{
    if (slice_is(name, "message"))
        return PART_TEXT;
    if (slice_is(name, "clientMessageId"))
        return PART_CLIENT_ID;
    return chat_is_reserved(name) ? 0 : PART_REST;
}

static bool begins_with(struct slice bytes, const char *text)
{
    size_t length = strlen(text);

    return bytes.length >= length && memcmp(bytes.data, text, length) == 0;
}

static bool append_own_text(struct buffer *out, struct slice text, unsigned parts)
{
    if (!(parts & PART_TEXT))
        return false;
    buffer_append_text(out, ",\"message\":");
    buffer_append_slice(out, text);
    return true;
}

/* A chat client's own members, as they were sent; chat_do_new has left out what is reserved. */
static bool append_own(struct buffer *out, struct slice bytes, unsigned parts)
{
    struct json *json = content_json();
    struct json_pair pair;
    bool text = false;

    if (begins_with(bytes, "\""))
        return append_own_text(out, bytes, parts);
    if (parts == PARTS_ALL && begins_with(bytes, "{\"message\":\"")) {
        buffer_append_byte(out, ',');
        buffer_append(out, bytes.data + 1, bytes.length - 2);
        return true;
    }
    if (json_read(json, bytes) != 0)
        return false;
    for (pair = json_first_pair(json, json_root(json)); pair.value;
         pair = json_next_pair(json, &pair)) {
        unsigned part = part_of(pair.name);

        if (!(part & parts))
            continue;
        append_string(out, ",", pair.name);
        buffer_append_byte(out, ':');
        buffer_append_slice(out, pair.raw);
        text |= part == PART_TEXT;
    }
    return text;
}

static bool append_foreign(struct buffer *out, const struct body *body, unsigned parts)
{
    struct content content;

    content_read(body->protocol, body->content, body->bytes, &content);
    if (parts & PART_TEXT && content.text.length) {
        buffer_append_text(out, ",\"message\":");
        buffer_append_slice(out, content.text);
    }
    if (parts & PART_REST && content.attachments.length) {
        buffer_append_text(out, ",\"attachments\":");
        buffer_append_slice(out, content.attachments);
    }
    if (parts & PART_REST && content.other.length) {
        buffer_append_text(out, ",\"data\":{");
        buffer_append_slice(out, content.other);
        buffer_append_byte(out, '}');
    }
    return content.text.length > 0;
}

/* Each with a comma before it. Returns whether the body has a text. */
static bool append_body(struct buffer *out, const struct body *body, unsigned parts)
{
    if (body->protocol == FRAME_PROTOCOL_CHAT && body->content == CONTENT_JSON)
        return append_own(out, body->bytes, parts);
    return append_foreign(out, body, parts);
}

/* ---- messages ---- */

static void append_mark_times(struct buffer *out, const struct chat_mark *mark)
{
    append_seconds(out, ",\"dlvrd\":", mark->delivered_ms);
    append_seconds(out, ",\"read\":", mark->read_ms);
}

static void append_marks(struct buffer *out, const struct chat_message *message)
{
    if (!message->group) {
        if (message->mark_count > 0)
            append_mark_times(out, &message->marks[0]);
        return;
    }
    buffer_append_text(out, ",\"delivering\":[");
    for (size_t i = 0; i < message->mark_count; i++) {
        append_string(out, i ? ",{\"userId\":" : "{\"userId\":", message->marks[i].user);
        append_mark_times(out, &message->marks[i]);
        buffer_append_byte(out, '}');
    }
    buffer_append_byte(out, ']');
}

/* An edit has a new text; the rest stays. */
static void append_content(struct buffer *out, const struct chat_message *message)
{
    const struct body body = {message->protocol, message->content, message->body};
    const struct body edit = {message->edit_protocol, message->edit_content, message->edit};
    bool edited = message->updated_ms > 0;

    if (message->deleted_ms > 0)
        return;
    if (edited)
        append_body(out, &edit, PART_TEXT);
    append_body(out, &body, edited ? PART_REST : PART_TEXT | PART_REST);
}

void chat_encode_message(struct buffer *out, const struct chat_message *message)
{
    append_number(out, "{\"messageId\":", message->message);
    append_string(out, ",\"sender\":", message->from);
    append_content(out, message);
    append_seconds(out, ",\"createdAt\":", message->at_ms);
    append_seconds(out, ",\"updatedAt\":", message->updated_ms);
    append_seconds(out, ",\"deletedAt\":", message->deleted_ms);
    append_marks(out, message);
    buffer_append_byte(out, '}');
}

/* ---- events ---- */

static void open_event(struct buffer *out, uint64_t at_ms, uint64_t event, const char *kind)
{
    append_number(out, "{\"type\":\"event\",\"timestamp\":", at_ms / 1000);
    if (event > 0)
        append_number(out, ",\"id\":", event);
    append_string(out, ",\"eventType\":", slice_text(kind));
    buffer_append_text(out, ",\"payload\":{");
}

static void close_event(struct buffer *out)
{
    buffer_append_text(out, "}}");
}

static void append_text_of(struct buffer *out, const struct frame_event_delivery *event,
                           unsigned parts)
{
    const struct body body = {event->protocol, event->content, event->body};

    if (!append_body(out, &body, parts))
        buffer_append_text(out, ",\"message\":\"\"");
}

static void append_new(struct buffer *out, const struct frame_event_delivery *event)
{
    append_string(out, ",\"userId\":", event->from);
    append_number(out, ",\"messageId\":", event->message);
    append_text_of(out, event, PARTS_ALL);
}

static void append_edit(struct buffer *out, const struct frame_event_delivery *event)
{
    append_number(out, ",\"messageId\":", event->message);
    append_text_of(out, event, PART_TEXT);
}

static void append_delete(struct buffer *out, const struct frame_event_delivery *event)
{
    append_number(out, ",\"messageId\":", event->message);
}

/* In a dialog it is the other user's mark. */
static void append_mark(struct buffer *out, const struct frame_event_delivery *event)
{
    if (chat_is_group(event->chat))
        append_string(out, ",\"userId\":", event->from);
    append_number(out, ",\"messageId\":", event->message);
    append_number(out, ",\"timestamp\":", event->at_ms / 1000);
}

void chat_encode_event(struct buffer *out, const struct frame_event_delivery *event, int *opcode)
{
    static const struct {
        const char *name;
        void (*append)(struct buffer *, const struct frame_event_delivery *);
    } kinds[] = {
        [EVENT_NEW] = {"new", append_new},          [EVENT_EDIT] = {"edit", append_edit},
        [EVENT_DELETE] = {"delete", append_delete}, [EVENT_DELIVERED] = {"dlvrd", append_mark},
        [EVENT_READ] = {"read", append_mark},
    };

    (void)opcode;
    if (event->kind >= sizeof(kinds) / sizeof(kinds[0]) || kinds[event->kind].name == NULL)
        return;
    open_event(out, event->at_ms, event->event, kinds[event->kind].name);
    append_string(out, "\"chatId\":", event->chat);
    kinds[event->kind].append(out, event);
    close_event(out);
}

/* What is said to everybody has no chat, and is not kept. */
void chat_encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                               int *opcode)
{
    const struct body body = {message->protocol, message->content, message->body};

    (void)opcode;
    open_event(out, message->sent_at_ms, 0, "notification");
    append_string(out,
                  "\"userId\":", message->from.length ? message->from : slice_text(CHAT_SERVER));
    append_body(out, &body, PART_TEXT | PART_REST);
    close_event(out);
}

/* A dialog is named by the other user. */
static void encode_typing(struct buffer *out, const struct frame_signal_delivery *signal)
{
    open_event(out, clock_wall_ms(), 0, "typing");
    append_string(out, "\"userId\":", signal->from);
    append_string(out, ",\"chatId\":", chat_is_group(signal->chat) ? signal->chat : signal->from);
    close_event(out);
}

void chat_encode_signal(struct buffer *out, const struct frame_signal_delivery *signal, int *opcode)
{
    (void)opcode;
    if (signal->kind == SIGNAL_TYPING)
        encode_typing(out, signal);
}

/* The state of one who is followed from now on is told if he is online; after that, each change. */
void chat_encode_presence(struct buffer *out, const struct frame_presence_state *state, int *opcode)
{
    bool online = !slice_is(state->status, "offline");

    (void)opcode;
    if (!online && state->request != 0 && !(state->request & PRESENCE_AGAIN))
        return;
    open_event(out, clock_wall_ms(), 0, online ? "online" : "offline");
    append_string(out, "\"userId\":", state->user);
    if (!online)
        append_seconds(out, ",\"lastSeen\":", state->last_seen_ms);
    close_event(out);
}
