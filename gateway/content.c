#include "gateway/content.h"

#include "common/frame.h"
#include "gateway/protocol.h"

#include <stdlib.h>

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

static void append_base64(struct buffer *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        const unsigned char *at = (const unsigned char *)bytes.data + i;
        unsigned group =
            (unsigned)at[0] << 16 | (left > 1 ? (unsigned)at[1] << 8 : 0) | (left > 2 ? at[2] : 0);

        buffer_append_byte(out, digits[group >> 18 & 63]);
        buffer_append_byte(out, digits[group >> 12 & 63]);
        buffer_append_byte(out, left > 1 ? digits[group >> 6 & 63] : '=');
        buffer_append_byte(out, left > 2 ? digits[group & 63] : '=');
    }
}

static void read_binary(struct slice body, struct content *content)
{
    struct buffer *part = part_buffer();

    buffer_append_text(part, "[{\"type\":\"file\",\"data\":\"");
    append_base64(part, body);
    buffer_append_text(part, "\"}]");
    content->attachments = buffer_slice(part);
}

void content_read(uint64_t protocol_id, uint64_t kind, struct slice body, struct content *content)
{
    const struct protocol *protocol = protocol_by_id(protocol_id);

    *content = (struct content){0};
    buffer_reset(part_buffer(), 1 << 18);
    if (kind == CONTENT_BINARY)
        read_binary(body, content);
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

/* ---- plain text ---- */

static void append_url(struct buffer *out, bool first, struct slice attachment)
{
    static struct json *json;
    struct slice url;

    if (json == NULL)
        json = json_create();
    if (json_read(json, attachment) != 0 ||
        json_type(json_member(json_root(json), "url")) != JSON_STRING)
        return;
    url = json_member_raw(json, json_root(json), "url");
    if (!first)
        buffer_append_text(out, "\\n");
    buffer_append(out, url.data + 1, url.length - 2);
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
