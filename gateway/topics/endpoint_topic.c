#include "gateway/topics/endpoint_topic.h"

#include "common/topic.h"
#include "gateway/session/session.h"

bool endpoint_topic_is(struct slice topic, const struct protocol **only)
{
    struct slice name = topic.length ? slice_of(topic.data + 1, topic.length - 1) : topic;

    *only = NULL;
    if (slice_is(topic, ENDPOINT_TOPIC_ALL))
        return true;
    if (topic.length == 0 || topic.data[0] != '$')
        return false;
    for (size_t i = 0; protocols[i]; i++)
        if (slice_is(name, protocols[i]->name))
            *only = protocols[i];
    return *only != NULL;
}

void endpoint_topic_name(struct buffer *out, const struct protocol *protocol)
{
    buffer_append_byte(out, '$');
    buffer_append_text(out, protocol->name);
}

bool endpoint_topic_permitted(const struct session *session)
{
    struct buffer name = {0};
    bool permitted;

    if (session->identity.publish_topics == NULL)
        return true;
    endpoint_topic_name(&name, session->protocol);
    permitted = topic_permitted(session->identity.publish_topics, buffer_slice(&name));
    buffer_finish(&name);
    return permitted;
}

static void announce(struct gateway *gateway, uint32_t partition, struct slice topic,
                     struct buffer *frames)
{
    if (partition_of(&gateway->deployment, topic) == partition)
        frame_encode(frames, &(struct frame){.type = FRAME_TOPIC_COUNT,
                                             .topic_count = {.topic = topic, .connections = 1}});
}

void endpoint_topics_announce(struct gateway *gateway, uint32_t partition, struct buffer *frames)
{
    struct buffer name = {0};

    announce(gateway, partition, slice_text(ENDPOINT_TOPIC_ALL), frames);
    for (size_t i = 0; protocols[i]; i++) {
        buffer_reset(&name, SIZE_MAX);
        endpoint_topic_name(&name, protocols[i]);
        announce(gateway, partition, buffer_slice(&name), frames);
    }
    buffer_finish(&name);
}
