/*
 * What clients send on: to a topic or to a user, whatever it is (a JSON payload, bytes, a message
 * of an own type, a notification).
 */
#include "common/clock.h"
#include "common/topic.h"
#include "common/uid.h"
#include "common/user.h"
#include "gateway/protocols/realtime.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"

#include <math.h>
#include <stdio.h>

/* Longer than any mailbox keeps a message: as good as none. */
#define TTL_MAX_S 1e9
/* Numbers of requests carry enum realtime_reply in their lowest bits. */
#define REPLY_BITS 3

static uint64_t next_request(const struct realtime_request *request, uint64_t reply)
{
    static uint64_t last;

    return ++last << REPLY_BITS | reply | (request->id.data ? REALTIME_REPLY_HAS_ID : 0);
}

struct slice realtime_choose_id(const struct realtime_request *request, const char *prefix,
                                char text[REALTIME_ID_SIZE])
{
    char ulid[ULID_TEXT_SIZE];

    if (request->id.data != NULL)
        return request->id;
    uid_ulid(clock_wall_ms(), ulid);
    snprintf(text, REALTIME_ID_SIZE, "%s%s", prefix, ulid);
    return slice_text(text);
}

bool realtime_has_credit(const struct realtime_request *request, uint32_t partition)
{
    if (uplink_has_credit(request->session->gateway->uplink, partition))
        return true;
    realtime_unavailable(request);
    return false;
}

/* ---- what the metadata of a message does ---- */

static const struct json_value *metadata_member(const struct realtime_request *request,
                                                const char *name)
{
    return json_member(json_member(request->root, "metadata"), name);
}

static bool read_echo(const struct realtime_request *request, bool *echo)
{
    const struct json_value *value = metadata_member(request, "echo");

    if (value && json_type(value) != JSON_BOOL)
        return realtime_refuse_field(request, "metadata.echo", "echo must be true or false");
    *echo = json_is_true(value);
    return true;
}

/* Seconds, also parts of one; without a ttl *ttl_ms stays. */
static bool read_ttl(const struct realtime_request *request, uint64_t *ttl_ms)
{
    const struct json_value *value = metadata_member(request, "ttl");
    double seconds;

    if (value == NULL)
        return true;
    if (json_double(value, &seconds) != 0 || seconds < 0)
        return realtime_refuse_field(request, "metadata.ttl", "ttl must be a number of seconds");
    if (seconds < TTL_MAX_S)
        *ttl_ms = seconds > 0 ? (uint64_t)ceil(seconds * 1000) : 1;
    return true;
}

/* Only "high" does something; any other priority is passed on as it is. */
static uint64_t read_priority(const struct realtime_request *request)
{
    return slice_is(json_text(metadata_member(request, "priority")), "high");
}

/* ---- addresses ---- */

bool realtime_check_topic(const struct realtime_request *request, const char *field,
                          struct slice topic)
{
    if (topic_is_presence(topic))
        return realtime_forbid(request, field, "presence comes from the service only");
    if (!topic_valid(topic))
        return realtime_refuse_field(request, field, "this is no name of a topic");
    if (!topic_permitted(request->session->identity.publish_topics, topic))
        return realtime_forbid(request, field, "publishing to this topic is not permitted");
    return true;
}

bool realtime_need_topic(const struct realtime_request *request, struct slice *topic)
{
    return realtime_need_string(request, "topic", topic) &&
           realtime_check_topic(request, "topic", *topic);
}

bool realtime_need_user(const struct realtime_request *request, struct slice *user)
{
    *user = json_text(json_member(request->data, "target_user"));
    if (user->data == NULL || !user_allowed(*user, true))
        return realtime_refuse_field(request, "target_user", "this is no user id");
    return true;
}

/* ---- sending ---- */

static uint32_t partition_for(const struct realtime_request *request, struct slice key)
{
    return partition_of(&request->session->gateway->deployment, key);
}

static void send_frame(const struct realtime_request *request, uint32_t partition,
                       const struct frame *frame)
{
    uplink_send(request->session->gateway->uplink, partition, frame);
}

uint64_t realtime_publish(const struct realtime_request *request, struct slice topic,
                          const struct realtime_content *content)
{
    struct session *session = request->session;
    uint32_t partition = partition_for(request, topic);
    char text[REALTIME_ID_SIZE];
    uint64_t ttl_ms = 0;
    bool echo = false;
    struct frame frame;

    /* What it does is done where the message is read from its topic's history. */
    if (!read_echo(request, &echo) || !read_ttl(request, &ttl_ms) ||
        !realtime_has_credit(request, partition))
        return 0;
    frame = (struct frame){
        .type = FRAME_TOPIC_PUBLISH,
        .topic_publish = {.connection = session->id,
                          .request = next_request(request, content->reply),
                          .from = session->user,
                          .topic = topic,
                          .id = realtime_choose_id(request, content->id_prefix, text),
                          .retry = request->id.data != NULL,
                          .matches = topics_session_matches(session, topic),
                          .echo = echo,
                          .protocol = content->protocol,
                          .content = content->kind,
                          .body = content->body,
                          .metadata = content->metadata},
    };
    send_frame(request, partition, &frame);
    return frame.topic_publish.request;
}

uint64_t realtime_send_direct(const struct realtime_request *request, struct slice user,
                              const struct realtime_content *content)
{
    struct session *session = request->session;
    uint32_t partition = partition_for(request, user);
    char text[REALTIME_ID_SIZE];
    uint64_t ttl_ms = 0;
    struct frame frame;

    if (!read_ttl(request, &ttl_ms) || !realtime_has_credit(request, partition))
        return 0;
    frame = (struct frame){
        .type = FRAME_DIRECT_MESSAGE,
        .direct_message = {.connection = session->id,
                           .request = next_request(request, content->reply),
                           .from = session->user,
                           .to = user,
                           .id = realtime_choose_id(request, content->id_prefix, text),
                           .retry = request->id.data != NULL,
                           .policy = DELIVERY_STORE,
                           .ttl_ms = ttl_ms,
                           .priority = read_priority(request),
                           .protocol = content->protocol,
                           .content = content->kind,
                           .body = content->body,
                           .metadata = content->metadata},
    };
    send_frame(request, partition, &frame);
    return frame.direct_message.request;
}
