#include "gateway/topics/endpoint_topic.h"
#include "gateway/notification.h"
#include "gateway/protocols/realtime.h"
#include "gateway/bus/uplink.h"

#define PRESENCE_METADATA_MAX 4096
#define MESSAGE_ID_MAX 128

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

/* ---- Broadcast, DirectMessage ---- */

void realtime_do_broadcast(struct realtime_request *request)
{
    struct realtime_content content = {
        .protocol = FRAME_PROTOCOL_REALTIME,
        .kind = CONTENT_JSON,
        .metadata = raw_metadata(request),
        .id_prefix = "broadcast_",
    };
    struct slice topic;

    if (realtime_need_topic(request, &topic) && need_payload(request, &content.body))
        realtime_publish(request, topic, &content);
}

void realtime_do_direct_message(struct realtime_request *request)
{
    struct realtime_content content = {
        .protocol = FRAME_PROTOCOL_REALTIME,
        .kind = CONTENT_JSON,
        .metadata = raw_metadata(request),
        .id_prefix = "dm_",
    };
    struct slice user;

    if (realtime_need_user(request, &user) && need_payload(request, &content.body))
        realtime_send_direct(request, user, &content);
}

/* ---- Notification ---- */

static void notify(const struct realtime_request *request, const struct realtime_content *content)
{
    struct realtime_content everybody = *content;
    struct slice address;

    if (json_member(request->data, "target_user") && json_member(request->data, "topic")) {
        realtime_refuse_field(request, "target_user", "to a topic or to a user, not both");
    } else if (json_member(request->data, "target_user")) {
        if (realtime_need_user(request, &address))
            realtime_send_direct(request, address, content);
    } else if (json_member(request->data, "topic")) {
        if (realtime_need_topic(request, &address))
            realtime_publish(request, address, content);
    } else {
        everybody.reply = REALTIME_REPLY_EVERYBODY;
        realtime_publish(request, slice_text(ENDPOINT_TOPIC_ALL), &everybody);
    }
}

void realtime_do_notification(struct realtime_request *request)
{
    static const char *const skip[] = {"target_user", "topic", "metadata", NULL};
    struct realtime_content content = {
        .protocol = FRAME_PROTOCOL_SERVER,
        .kind = CONTENT_JSON,
        .metadata = slice_text(NOTIFICATION_MARK),
        .id_prefix = "notification_",
    };
    struct buffer *body = realtime_scratch();
    const char *why, *wrong;

    if (!request->session->identity.admin) {
        realtime_forbid(request, "type", "notifications need the admin claim");
        return;
    }
    wrong = notification_read(body, request->json, request->data, skip, &why);
    content.body = buffer_slice(body);
    if (wrong)
        realtime_refuse_field(request, wrong, why);
    else
        notify(request, &content);
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
        !realtime_has_credit(request, session->partition))
        return;
    frame = (struct frame){
        .type = FRAME_PRESENCE_SET,
        .presence_set = {.connection = session->id,
                         .user = session->user,
                         .status = status,
                         .metadata = metadata},
    };
    uplink_send(session->gateway->uplink, session->partition, &frame);
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
        realtime_end_forbidden(request);
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
        (!gateway_can_free(session->gateway) && !realtime_has_credit(request, session->partition)))
        return;
    frame = (struct frame){
        .type = FRAME_MESSAGE_ACK,
        .message_ack = {.connection = session->id, .user = session->user, .id = id},
    };
    uplink_send(session->gateway->uplink, session->partition, &frame);
}
