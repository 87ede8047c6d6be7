#include "common/user.h"
#include "gateway/protocols/messaging.h"

/* ---- messages ---- */

/* rid makes it a message to somebody; without it "channel" is a word of the protocol's. */
void messaging_read_content(struct slice body, struct content *content)
{
    static const char *const direct[] = {"id", "sid", "rid", NULL};
    static const char *const channel[] = {"id", "sid", "channel", NULL};
    struct json *json = content_json();
    const struct json_value *root;

    if (json_read(json, body) != 0)
        return;
    root = json_root(json);
    content_of_object(json, root, "text", "attachments",
                      json_member(root, "rid") ? direct : channel, content);
}

static void append_string(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

/* What came by another protocol: the members that every message has here, then what it says. */
static void begin_foreign(struct buffer *out, struct slice id, struct slice from)
{
    append_string(out, "{\"id\":", id);
    append_string(out, ",\"sid\":", from.length ? from : slice_text("SERVER"));
}

static void end_foreign(struct buffer *out, uint64_t protocol, uint64_t kind, struct slice body)
{
    static const char *const taken[] = {"id", "sid", "rid", "channel", "group", NULL};
    struct content content;

    content_read(protocol, kind, body, &content);
    content_append_members(out, &content, "text", "attachments", taken);
    buffer_append_byte(out, '}');
}

static bool is_own(uint64_t protocol, uint64_t kind)
{
    return protocol == FRAME_PROTOCOL_MESSAGING && kind == CONTENT_JSON;
}

void messaging_encode_delivery(struct buffer *out, const struct frame_message_delivery *message,
                               int *opcode)
{
    (void)opcode;
    if (is_own(message->protocol, message->content)) {
        buffer_append_slice(out, message->body);
        return;
    }
    begin_foreign(out, message->id, message->from);
    append_string(out, ",\"rid\":", message->to);
    if (message->chat.length)
        append_string(out, ",\"group\":", message->chat);
    end_foreign(out, message->protocol, message->content, message->body);
}

void messaging_encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                    int *opcode)
{
    (void)opcode;
    buffer_append_text(out, "{\"messages\":[");
    if (is_own(message->protocol, message->content)) {
        buffer_append_slice(out, message->body);
    } else {
        begin_foreign(out, message->id, message->from);
        if (message->topic.length && message->topic.data[0] == '$')
            buffer_append_text(out, ",\"rid\":\"*\"");
        else
            append_string(out, ",\"channel\":", message->topic);
        end_foreign(out, message->protocol, message->content, message->body);
    }
    buffer_append_text(out, "]}");
}

/* ---- answers ---- */

void messaging_append_id(struct buffer *out, struct slice id, bool is_number)
{
    if (is_number)
        buffer_append_slice(out, id);
    else
        buffer_append_json_string(out, id);
}

void messaging_encode_error(struct buffer *out, const struct messaging_error *error)
{
    buffer_append_text(out, out->length ? "," : "{\"errors\":[");
    buffer_append_text(out, "{\"section\":");
    if (error->section)
        buffer_append_json_string(out, slice_text(error->section));
    else
        buffer_append_text(out, "null");
    buffer_append_text(out, ",\"id\":");
    buffer_append_slice(out, error->id.length ? error->id : slice_text("null"));
    buffer_append_text(out, ",\"code\":");
    buffer_append_u64(out, error->code);
    append_string(out, ",\"message\":", slice_text(error->message));
    if (error->retry_after_ms) {
        buffer_append_text(out, ",\"retry_after_ms\":");
        buffer_append_u64(out, error->retry_after_ms);
    }
    buffer_append_byte(out, '}');
}

void messaging_close_errors(struct buffer *out)
{
    buffer_append_text(out, "]}");
}

void messaging_encode_sent(struct buffer *out, uint64_t request, struct slice id, struct slice rid,
                           const char *status)
{
    buffer_append_text(out, "{\"sent\":[{\"id\":");
    messaging_append_id(out, id, request & MESSAGING_NUMBER_ID);
    if (rid.length) {
        buffer_append_text(out, ",\"rid\":");
        messaging_append_id(out, rid, request & MESSAGING_NUMBER_RID);
    }
    append_string(out, ",\"status\":", slice_text(status));
    buffer_append_text(out, "}]}");
}
