#include "common/topic.h"
#include "common/uid.h"
#include "common/user.h"
#include "gateway/protocols/realtime.h"
#include "gateway/topics.h"
#include "gateway/uplink.h"

#include <math.h>
#include <stdio.h>

#define PRESENCE_METADATA_MAX 4096
#define MESSAGE_ID_MAX 128
/* Longer than any mailbox keeps a message: as good as none. */
#define TTL_MAX_S 1e9

/* Odd when the client gave the id itself. */
static uint64_t next_request(const struct realtime_request *request)
{
    static uint64_t last;

    last += 2;
    return last | (request->id.data != NULL);
}

bool realtime_id_is_clients(uint64_t request)
{
    return request & 1;
}

struct message_id {
    struct slice id;
    char text[16 + ULID_TEXT_SIZE];
};

/* The client's own id, or a new one: "broadcast_<ulid>". */
static void choose_id(const struct realtime_request *request, const char *prefix,
                      struct message_id *chosen)
{
    char ulid[ULID_TEXT_SIZE];

    chosen->id = request->id;
    if (request->id.data != NULL)
        return;
    uid_ulid(realtime_now_ms(), ulid);
    snprintf(chosen->text, sizeof(chosen->text), "%s%s", prefix, ulid);
    chosen->id = slice_text(chosen->text);
}

static bool need_payload(const struct realtime_request *request, struct slice *payload)
{
    *payload = json_member_raw(request->json, request->data, "payload");
    if (payload->length == 0)
        return realtime_refuse_field(request, "payload", "a payload is required");
    return true;
}

static struct slice raw_metadata(const struct realtime_request *request)
{
    return json_member_raw(request->json, request->root, "metadata");
}

static bool has_credit(const struct realtime_request *request, uint32_t partition)
{
    if (uplink_has_credit(request->session->gateway->uplink, partition))
        return true;
    realtime_unavailable(request);
    return false;
}

static void send_frame(const struct realtime_request *request, uint32_t partition,
                       const struct frame *frame)
{
    uplink_send(request->session->gateway->uplink, partition, frame);
}

/* ---- Ping, Pong ---- */

void realtime_do_ping(struct realtime_request *request)
{
    struct slice timestamp = json_member_raw(request->json, request->data, "timestamp");
    struct buffer *out;

    if (timestamp.length == 0) {
        realtime_refuse_field(request, "timestamp", "a timestamp is required");
        return;
    }
    out = realtime_scratch();
    realtime_encode_pong(out, request->id, timestamp);
    session_send_text(request->session, buffer_slice(out));
}

/* That it came is all it says. */
void realtime_do_pong(struct realtime_request *request)
{
    (void)request;
}

/* ---- Broadcast ---- */

static bool need_publishable_topic(const struct realtime_request *request, struct slice *topic)
{
    if (!realtime_need_string(request, "topic", topic))
        return false;
    if (topic_is_presence(*topic))
        return realtime_forbid(request, "topic", "presence comes from the service only");
    if (!topic_valid(*topic))
        return realtime_refuse_field(request, "topic", "this is no name of a topic");
    if (!realtime_permits(request->session->identity.publish_topics, *topic))
        return realtime_forbid(request, "topic", "publishing to this topic is not permitted");
    return true;
}

static bool read_echo(const struct realtime_request *request, bool *echo)
{
    const struct json_value *value = json_member(json_member(request->root, "metadata"), "echo");

    if (value && json_type(value) != JSON_BOOL)
        return realtime_refuse_field(request, "metadata.echo", "echo must be true or false");
    *echo = json_is_true(value);
    return true;
}

static void publish(const struct realtime_request *request, uint32_t partition, struct slice topic,
                    struct slice payload, bool echo)
{
    struct session *session = request->session;
    struct message_id id;
    struct frame frame;

    choose_id(request, "broadcast_", &id);
    frame = (struct frame){
        .type = FRAME_TOPIC_PUBLISH,
        .topic_publish = {.connection = session->id,
                          .request = next_request(request),
                          .from = session->user,
                          .topic = topic,
                          .id = id.id,
                          .retry = request->id.data != NULL,
                          .matches = topics_session_matches(session, topic),
                          .echo = echo,
                          .protocol = FRAME_PROTOCOL_REALTIME,
                          .content = CONTENT_JSON,
                          .body = payload,
                          .metadata = raw_metadata(request)},
    };
    send_frame(request, partition, &frame);
}

void realtime_do_broadcast(struct realtime_request *request)
{
    struct slice topic, payload;
    uint32_t partition;
    bool echo = false;

    if (!need_publishable_topic(request, &topic) || !need_payload(request, &payload) ||
        !read_echo(request, &echo))
        return;
    partition = partition_of(&request->session->gateway->deployment, topic);
    if (has_credit(request, partition))
        publish(request, partition, topic, payload, echo);
}

/* ---- DirectMessage ---- */

/* A number names the user of the same digits. */
static bool need_target(const struct realtime_request *request, struct slice *user)
{
    *user = json_text(json_member(request->data, "target_user"));
    if (user->data == NULL || !user_allowed(*user, true))
        return realtime_refuse_field(request, "target_user", "this is no user id");
    return true;
}

/* Seconds, also parts of one; without a ttl *ttl_ms stays. */
static bool read_ttl(const struct realtime_request *request, uint64_t *ttl_ms)
{
    const struct json_value *value = json_member(json_member(request->root, "metadata"), "ttl");
    double seconds;

    if (value == NULL)
        return true;
    if (json_double(value, &seconds) != 0 || seconds < 0)
        return realtime_refuse_field(request, "metadata.ttl", "ttl must be a number of seconds");
    if (seconds < TTL_MAX_S)
        *ttl_ms = seconds > 0 ? (uint64_t)ceil(seconds * 1000) : 1;
    return true;
}

static void send_direct(const struct realtime_request *request, uint32_t partition,
                        struct slice user, struct slice payload, uint64_t ttl_ms)
{
    struct session *session = request->session;
    struct message_id id;
    struct frame frame;

    choose_id(request, "dm_", &id);
    frame = (struct frame){
        .type = FRAME_DIRECT_MESSAGE,
        .direct_message = {.connection = session->id,
                           .request = next_request(request),
                           .from = session->user,
                           .to = user,
                           .id = id.id,
                           .retry = request->id.data != NULL,
                           .policy = DELIVERY_STORE,
                           .ttl_ms = ttl_ms,
                           .protocol = FRAME_PROTOCOL_REALTIME,
                           .content = CONTENT_JSON,
                           .body = payload,
                           .metadata = raw_metadata(request)},
    };
    send_frame(request, partition, &frame);
}

void realtime_do_direct_message(struct realtime_request *request)
{
    struct slice user, payload;
    uint32_t partition;
    uint64_t ttl_ms = 0;

    if (!need_target(request, &user) || !need_payload(request, &payload) ||
        !read_ttl(request, &ttl_ms))
        return;
    partition = partition_of(&request->session->gateway->deployment, user);
    if (has_credit(request, partition))
        send_direct(request, partition, user, payload, ttl_ms);
}

/* ---- Presence ---- */

static bool need_status(const struct realtime_request *request, struct slice *status)
{
    static const char *const statuses[] = {"online", "away", "busy"};

    if (!realtime_need_string(request, "status", status))
        return false;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (slice_is(*status, statuses[i]))
            return true;
    return realtime_refuse_field(request, "status", "status must be online, away or busy");
}

static bool read_presence_metadata(const struct realtime_request *request, struct slice *metadata)
{
    const struct json_value *value = json_member(request->data, "metadata");

    if (value && json_type(value) != JSON_OBJECT)
        return realtime_refuse_field(request, "metadata", "metadata must be an object");
    *metadata = json_member_raw(request->json, request->data, "metadata");
    if (metadata->length > PRESENCE_METADATA_MAX)
        return realtime_refuse_field(request, "metadata", "metadata may have 4096 bytes here");
    return true;
}

void realtime_do_presence(struct realtime_request *request)
{
    struct session *session = request->session;
    struct slice status, metadata;
    struct frame frame;

    if (!need_status(request, &status) || !read_presence_metadata(request, &metadata) ||
        !has_credit(request, session->partition))
        return;
    frame = (struct frame){
        .type = FRAME_PRESENCE_SET,
        .presence_set = {.connection = session->id,
                         .user = session->user,
                         .status = status,
                         .metadata = metadata},
    };
    send_frame(request, session->partition, &frame);
    if (request->id.data != NULL)
        realtime_ack(session, request->id, "accepted");
}

/* ---- Auth ---- */

static void refuse_token(const struct realtime_request *request, enum verifier_result result)
{
    if (result == VERIFIER_UNAVAILABLE && !verifier_ready(request->session->gateway->verifier))
        realtime_unavailable(request);
    else
        realtime_error(request->session, request->id, REALTIME_UNAUTHORIZED,
                       verifier_reason(result), slice_text("{\"field\":\"token\"}"));
}

static void replace_identity(struct session *session, struct identity *identity)
{
    struct realtime_state *state = session->protocol_state;

    identity_finish(&session->identity);
    session->identity = *identity;
    session_tick_soon(session);
    session->user = slice_text(session->identity.user);
    state->opened_s = realtime_now_s();
    state->expiry_told = false;
}

static void tell_refreshed(const struct realtime_request *request)
{
    struct session *session = request->session;
    struct buffer *out = realtime_scratch();

    realtime_encode_auth_status(out, request->id, "token_refreshed", session->identity.expires_at,
                                false);
    session_send_text(session, buffer_slice(out));
    if (request->id.data != NULL)
        realtime_ack(session, request->id, "token_refreshed");
}

void realtime_do_auth(struct realtime_request *request)
{
    struct session *session = request->session;
    struct identity identity = {0};
    enum verifier_result result;
    struct slice token;

    if (!realtime_need_string(request, "token", &token))
        return;
    result = verifier_check(session->gateway->verifier, token, realtime_now_s(), &identity);
    if (result != VERIFIER_OK) {
        refuse_token(request, result);
    } else if (!slice_is(session->user, identity.user)) {
        identity_finish(&identity);
        realtime_forbid(request, "token", "the token is another user's");
    } else {
        replace_identity(session, &identity);
        tell_refreshed(request);
    }
}

/* ---- Ack ---- */

void realtime_do_ack(struct realtime_request *request)
{
    struct session *session = request->session;
    struct slice id;
    struct frame frame;

    if (!realtime_need_string(request, "message_id", &id))
        return;
    if (id.length == 0 || id.length > MESSAGE_ID_MAX) {
        realtime_refuse_field(request, "message_id", "an id has 1 to 128 bytes");
        return;
    }
    if (!(session->flags & CONNECTION_FLAG_ACK) ||
        (!gateway_can_free(session->gateway) && !has_credit(request, session->partition)))
        return;
    frame = (struct frame){
        .type = FRAME_MESSAGE_ACK,
        .message_ack = {.connection = session->id, .user = session->user, .id = id},
    };
    send_frame(request, session->partition, &frame);
}
