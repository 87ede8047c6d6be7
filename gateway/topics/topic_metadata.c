#include "gateway/topics/topic_metadata.h"

#include "common/json.h"

/* Most messages say nothing of it, and are not read for that. */
static bool may_name(struct slice text, const char *name)
{
    return text.length > 0 && (memmem(text.data, text.length, name, strlen(name)) != NULL ||
                               memchr(text.data, '\\', text.length) != NULL);
}

static const struct json_value *read_object(struct slice text, const char *name)
{
    static struct json *json;

    if (json == NULL)
        json = json_create();
    return may_name(text, name) && json_read(json, text) == 0 ? json_root(json) : NULL;
}

/* NULL where the metadata has no such member; valid until the next call. */
static const struct json_value *find(const struct frame_topic_message *message, const char *name)
{
    const struct json_value *metadata;

    if (message->metadata.length == 0)
        return NULL;
    metadata = message->metadata.data[0] == '{'
                   ? read_object(message->metadata, name)
                   : json_member(read_object(message->body, name), "metadata");
    return json_member(metadata, name);
}

bool topic_message_is_urgent(const struct frame_topic_message *message)
{
    return message->offset == 0 && slice_is(json_text(find(message, "priority")), "high");
}

bool topic_message_is_expired(const struct frame_topic_message *message, uint64_t now_ms)
{
    double seconds;

    if (json_double(find(message, "ttl"), &seconds) != 0 || now_ms < message->sent_at_ms)
        return false;
    return (double)(now_ms - message->sent_at_ms) >= seconds * 1000;
}
