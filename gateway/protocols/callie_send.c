/*
 * What goes to others: MSG to a user, a group or everybody, PING and PONG.
 */
#include "gateway/topics/endpoint_topic.h"
#include "gateway/protocols/callie.h"
#include "gateway/bus/uplink.h"

#include <strings.h>

#define ATTACHMENTS_MAX 100
#define URL_MAX 2048
#define BROADCAST_TOPIC "$callie"

/* ---- content of a MSG ---- */

static bool is_url(const struct json_value *value)
{
    struct slice url = json_text(value);
    size_t scheme = 0;

    if (json_type(value) != JSON_STRING || url.length > URL_MAX)
        return false;
    if (url.length > 7 && strncasecmp(url.data, "http://", 7) == 0)
        scheme = 7;
    else if (url.length > 8 && strncasecmp(url.data, "https://", 8) == 0)
        scheme = 8;
    for (size_t i = 0; i < url.length; i++)
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 0x7f)
            return false;
    return scheme > 0 && strchr("/?#:", url.data[scheme]) == NULL;
}

static bool is_attachment_type(const struct json_value *value)
{
    static const char *const names[] = {"image", "video", "file"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_type(value) == JSON_STRING && slice_is(json_text(value), names[i]))
            return true;
    return false;
}

static bool is_absent_or(const struct json_value *object, const char *name, enum json_type type)
{
    const struct json_value *value = json_member(object, name);

    return value == NULL || json_type(value) == type;
}

static bool check_attachment(struct callie_payload *payload, const struct json_value *attachment)
{
    const struct json_value *metadata = json_member(attachment, "metadata");

    if (json_type(attachment) != JSON_OBJECT)
        return callie_blame(payload, "content.attachments", "must be a list of objects");
    if (!is_attachment_type(json_member(attachment, "type")))
        return callie_blame(payload, "content.attachments.type", "must be image, video or file");
    if (!is_url(json_member(attachment, "url")))
        return callie_blame(payload, "content.attachments.url", "must be an http or https URL");
    if (!is_absent_or(attachment, "metadata", JSON_OBJECT))
        return callie_blame(payload, "content.attachments.metadata", "must be an object");
    if (!is_absent_or(metadata, "filename", JSON_STRING))
        return callie_blame(payload, "content.attachments.metadata.filename", "must be a string");
    if (!is_absent_or(metadata, "size", JSON_NUMBER))
        return callie_blame(payload, "content.attachments.metadata.size", "must be a number");
    if (!is_absent_or(metadata, "filetype", JSON_STRING))
        return callie_blame(payload, "content.attachments.metadata.filetype", "must be a string");
    return true;
}

static bool check_attachments(struct callie_payload *payload)
{
    const struct json_value *list = json_member(payload->content, "attachments");
    const struct json_value *attachment = json_first(list);

    if (list == NULL)
        return true;
    if (json_type(list) != JSON_ARRAY || json_count(list) > ATTACHMENTS_MAX)
        return callie_blame(payload, "content.attachments", "must be a list of at most 100");
    for (size_t left = json_count(list); left > 0; left--, attachment = json_next(attachment))
        if (!check_attachment(payload, attachment))
            return false;
    return true;
}

bool callie_check_message(struct callie_payload *payload)
{
    const struct json_value *id = json_member(payload->content, "messageID");

    if (json_type(id) != JSON_STRING || !callie_is_id(json_text(id)))
        return callie_blame(payload, "content.messageID", "must be a string of 1 to 128 bytes");
    payload->message_id = json_text(id);
    if (json_type(json_member(payload->content, "text")) != JSON_STRING)
        return callie_blame(payload, "content.text", "must be a string");
    return check_attachments(payload);
}

/* ---- on its way ---- */

/* The payload as it came but for its token. */
static struct slice body_of(const struct callie_payload *payload)
{
    struct buffer *out = callie_scratch();
    struct json_pair pair;

    buffer_append_byte(out, '{');
    for (pair = json_first_pair(payload->json, payload->root); pair.value;
         pair = json_next_pair(payload->json, &pair)) {
        if (slice_is(pair.name, "token"))
            continue;
        if (out->length > 1)
            buffer_append_byte(out, ',');
        buffer_append_json_string(out, pair.name);
        buffer_append_byte(out, ':');
        buffer_append_slice(out, pair.raw);
    }
    buffer_append_byte(out, '}');
    return buffer_slice(out);
}

bool callie_has_credit(const struct callie_payload *payload, const uint32_t *partitions,
                       size_t count)
{
    struct uplink *uplink = payload->session->gateway->uplink;

    for (size_t i = 0; i < count; i++) {
        if (uplink_has_credit(uplink, partitions[i]))
            continue;
        callie_unavailable(payload->session, payload->payload_id,
                           strcmp(payload->type->name, "CMD") == 0);
        return false;
    }
    return true;
}

static void send_frame(const struct callie_payload *payload, uint32_t partition,
                       const struct frame *frame)
{
    uplink_send(payload->session->gateway->uplink, partition, frame);
}

static uint64_t offline_policy(const struct session *session)
{
    return strcmp(session->gateway->settings.callie_offline, "store") == 0
               ? DELIVERY_STORE
               : DELIVERY_DISCARD_AND_TELL;
}

/* So that he can speak of it by its id alone. */
static void note_sent(const struct callie_payload *payload)
{
    struct session *session = payload->session;
    struct frame frame = {
        .type = FRAME_MESSAGE_SENT,
        .message_sent = {.user = session->user,
                         .id = payload->message_id,
                         .chat = payload->recipient},
    };

    send_frame(payload, session->partition, &frame);
}

/* ---- MSG ---- */

static void send_direct(const struct callie_payload *payload, uint32_t partition, uint64_t request)
{
    struct session *session = payload->session;
    struct frame frame = {
        .type = FRAME_DIRECT_MESSAGE,
        .direct_message = {.connection = session->id,
                           .request = request,
                           .from = session->user,
                           .to = payload->recipient,
                           .id = payload->message_id,
                           .retry = 1,
                           .policy = offline_policy(session),
                           .protocol = FRAME_PROTOCOL_CALLIE,
                           .content = CONTENT_JSON,
                           .body = body_of(payload)},
    };

    send_frame(payload, partition, &frame);
}

static void send_post(const struct callie_payload *payload, uint32_t partition, uint64_t request)
{
    struct session *session = payload->session;
    struct frame frame = {
        .type = FRAME_CONVERSATION_POST,
        .conversation_post = {.connection = session->id,
                              .request = request,
                              .from = session->user,
                              .chat = payload->recipient,
                              .id = payload->message_id,
                              .retry = 1,
                              .policy = offline_policy(session),
                              .protocol = FRAME_PROTOCOL_CALLIE,
                              .content = CONTENT_JSON,
                              .body = body_of(payload)},
    };

    send_frame(payload, partition, &frame);
}

static void to_chat(const struct callie_payload *payload)
{
    struct session *session = payload->session;
    bool group = payload->to == CALLIE_TO_GROUP;
    uint32_t partition = partition_of(&session->gateway->deployment, payload->recipient);
    const struct callie_memory memory = {.kind = group ? CALLIE_POST : CALLIE_DIRECT,
                                         .message_id = payload->message_id,
                                         .chat = payload->recipient};
    struct callie_pending *pending;

    if (!callie_has_credit(payload, (uint32_t[]){partition, session->partition}, 2))
        return;
    pending = callie_open(payload, &memory);
    if (pending == NULL)
        return;
    if (group)
        send_post(payload, partition, pending->number);
    else
        send_direct(payload, partition, pending->number);
    note_sent(payload);
}

static void to_everybody(const struct callie_payload *payload)
{
    struct session *session = payload->session;
    struct slice topic = slice_text(BROADCAST_TOPIC);
    uint32_t partition = partition_of(&session->gateway->deployment, topic);
    struct frame frame = {
        .type = FRAME_TOPIC_PUBLISH,
        .topic_publish = {.connection = session->id,
                          .from = session->user,
                          .topic = topic,
                          .id = payload->message_id,
                          .retry = 1,
                          .protocol = FRAME_PROTOCOL_CALLIE,
                          .content = CONTENT_JSON},
    };

    if (!endpoint_topic_permitted(session)) {
        callie_answer(session, payload->payload_id, "FORBIDDEN",
                      "recipient: the token does not permit BROADCAST",
                      slice_text("\"field\":\"recipient\""));
        return;
    }
    if (!callie_has_credit(payload, &partition, 1))
        return;
    frame.topic_publish.body = body_of(payload);
    send_frame(payload, partition, &frame);
}

void callie_do_message(struct callie_payload *payload)
{
    if (payload->to == CALLIE_TO_BROADCAST)
        to_everybody(payload);
    else
        to_chat(payload);
}

/* ---- PING, PONG ---- */

bool callie_check_beat(struct callie_payload *payload)
{
    (void)payload;
    return true;
}

static void pass_on(const struct callie_payload *payload)
{
    struct session *session = payload->session;
    uint32_t partition = partition_of(&session->gateway->deployment, payload->recipient);
    struct frame frame = {
        .type = FRAME_SIGNAL_SEND,
        .signal_send = {.connection = session->id,
                        .kind = SIGNAL_PASSED_ON,
                        .from = session->user,
                        .to = payload->recipient,
                        .id = payload->payload_id,
                        .protocol = FRAME_PROTOCOL_CALLIE,
                        .content = CONTENT_JSON},
    };

    if (!callie_has_credit(payload, &partition, 1))
        return;
    frame.signal_send.body = body_of(payload);
    send_frame(payload, partition, &frame);
}

void callie_do_beat(struct callie_payload *payload)
{
    if (payload->to == CALLIE_TO_USER)
        pass_on(payload);
    else if (strcmp(payload->type->name, "PING") == 0)
        callie_send_pong(payload->session, payload->payload_id);
}
