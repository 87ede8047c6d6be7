#include "gateway/topics/topic_priority.h"

#include "common/json.h"

#define NAME "priority"

/* Most messages say nothing of it, and are not read for that. */
static bool may_name_it(struct slice text)
{
    return text.length > 0 && (memmem(text.data, text.length, NAME, sizeof(NAME) - 1) != NULL ||
                               memchr(text.data, '\\', text.length) != NULL);
}

static const struct json_value *read_object(struct slice text)
{
    static struct json *json;

    if (json == NULL)
        json = json_create();
    return may_name_it(text) && json_read(json, text) == 0 ? json_root(json) : NULL;
}

bool topic_message_is_urgent(const struct frame_topic_message *message)
{
    const struct json_value *metadata;

    if (message->offset > 0 || message->metadata.length == 0)
        return false;
    metadata = message->metadata.data[0] == '{'
                   ? read_object(message->metadata)
                   : json_member(read_object(message->body), "metadata");
    return slice_is(json_text(json_member(metadata, NAME)), "high");
}
