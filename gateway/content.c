#include "gateway/content.h"

#include "common/base64.h"
#include "common/frame.h"
#include "gateway/protocol.h"

#include <stdlib.h>

/* What the buffers may keep for the next content. */
#define KEEP_BYTES ((size_t)256 << 10)

struct json *content_json(void)
{
    static struct json *json;

    if (json == NULL)
        json = json_create();
    return json;
}

/* Parts that do not stand in the body in one piece; theirs until the next content_read. */
static struct buffer *part_buffer(void)
{
    static struct buffer parts;

    return &parts;
}

/* ---- binary ---- */

static void read_binary(struct slice body, struct content *content)
{
    struct buffer *part = part_buffer();

    buffer_append_text(part, "[{\"type\":\"file\",\"data\":\"");
    base64_append(part, body);
    buffer_append_text(part, "\"}]");
    content->attachments = buffer_slice(part);
}

void content_read(uint64_t protocol_id, uint64_t kind, struct slice body, struct content *content)
{
    const struct protocol *protocol = protocol_by_id(protocol_id);

    *content = (struct content){0};
    buffer_reset(part_buffer(), KEEP_BYTES);
    if (kind == CONTENT_BINARY)
        read_binary(body, content);
    else if (protocol_id == FRAME_PROTOCOL_SERVER)
        content_of_payload(body, "message", "attachments", content);
    else if (protocol && protocol->read_content)
        protocol->read_content(body, content);
}

/* ---- the usual object ---- */

static bool is_one_of(struct slice name, const char *const *names)
{
    for (; *names; names++)
        if (slice_is(name, *names))
            return true;
    return false;
}

static void append_member(struct buffer *out, struct slice name, struct slice value)
{
    if (out->length)
        buffer_append_byte(out, ',');
    buffer_append_json_string(out, name);
    buffer_append_byte(out, ':');
    buffer_append_slice(out, value);
}

void content_of_object(const struct json *json, const struct json_value *object,
                       const char *text_name, const char *attachments_name, const char *const *skip,
                       struct content *content)
{
    struct json_pair pair;

    for (pair = json_first_pair(json, object); pair.value; pair = json_next_pair(json, &pair)) {
        if (slice_is(pair.name, text_name) && json_type(pair.value) == JSON_STRING)
            content->text = pair.raw;
        else if (slice_is(pair.name, attachments_name) && json_type(pair.value) == JSON_ARRAY)
            content->attachments = pair.raw;
        else if (!is_one_of(pair.name, skip))
            append_member(part_buffer(), pair.name, pair.raw);
    }
    content->other = buffer_slice(part_buffer());
}

void content_of_payload(struct slice body, const char *text_name, const char *attachments_name,
                        struct content *content)
{
    static const char *const none[] = {NULL};
    struct json *json = content_json();

    if (json_read(json, body) != 0)
        return;
    switch (json_type(json_root(json))) {
    case JSON_OBJECT:
        content_of_object(json, json_root(json), text_name, attachments_name, none, content);
        break;
    case JSON_STRING:
        content->text = body;
        break;
    default:
        append_member(part_buffer(), slice_text("payload"), body);
        content->other = buffer_slice(part_buffer());
    }
}

/* ---- into another object ---- */

/* For what is read while a content is in use: its own reader is taken. */
static struct json *second_json(void)
{
    static struct json *json;

    if (json == NULL)
        json = json_create();
    return json;
}

static void begin_member(struct buffer *out, struct slice name)
{
    if (out->length && out->data[out->length - 1] != '{')
        buffer_append_byte(out, ',');
    buffer_append_json_string(out, name);
    buffer_append_byte(out, ':');
}

/* Returns whether there is a value. */
static bool append_named(struct buffer *out, const char *name, struct slice value)
{
    if (value.length == 0)
        return false;
    begin_member(out, slice_text(name));
    buffer_append_slice(out, value);
    return true;
}

static void append_others(struct buffer *out, struct slice other, const char *const *own,
                          const char *const *taken)
{
    static struct buffer object;
    struct json *json = second_json();
    struct json_pair pair;

    buffer_reset(&object, KEEP_BYTES);
    buffer_append_byte(&object, '{');
    buffer_append_slice(&object, other);
    buffer_append_byte(&object, '}');
    if (json_read(json, buffer_slice(&object)) != 0)
        return;
    for (pair = json_first_pair(json, json_root(json)); pair.value;
         pair = json_next_pair(json, &pair)) {
        if (is_one_of(pair.name, own) || is_one_of(pair.name, taken))
            continue;
        begin_member(out, pair.name);
        buffer_append_slice(out, pair.raw);
    }
}

void content_append_members(struct buffer *out, const struct content *content,
                            const char *text_name, const char *attachments_name,
                            const char *const *taken)
{
    const char *own[3] = {NULL};
    size_t count = 0;

    if (append_named(out, text_name, content->text))
        own[count++] = text_name;
    if (append_named(out, attachments_name, content->attachments))
        own[count++] = attachments_name;
    if (content->other.length)
        append_others(out, content->other, own, taken);
}

/* ---- plain text ---- */

/* A member that is a string, as it stands in the text without its quotes. */
static struct slice inner_string(const struct json *json, const char *name)
{
    struct slice raw = json_member_raw(json, json_root(json), name);

    return raw.length >= 2 && raw.data[0] == '"' ? slice_of(raw.data + 1, raw.length - 2)
                                                 : slice_of(NULL, 0);
}

static void append_url(struct buffer *out, bool first, struct slice attachment)
{
    struct json *json = second_json();
    struct slice url, data;

    if (json_read(json, attachment) != 0)
        return;
    url = inner_string(json, "url");
    data = inner_string(json, "data");
    if (url.length + data.length == 0)
        return;
    if (!first)
        buffer_append_text(out, "\\n");
    if (url.length == 0)
        buffer_append_text(out, "data:application/octet-stream;base64,");
    buffer_append_slice(out, url.length ? url : data);
}

void content_append_plain(struct buffer *out, const struct content *content)
{
    struct slice rest = json_elements(content->attachments), attachment;
    size_t begin = out->length;

    if (content->text.length)
        buffer_append(out, content->text.data, content->text.length - 1);
    else
        buffer_append_byte(out, '"');
    while (json_cut_element(&rest, &attachment))
        append_url(out, out->length == begin + 1, attachment);
    buffer_append_byte(out, '"');
}
