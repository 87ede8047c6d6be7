/*
 * A payload as a whole: everything that can be said of it without knowing users, groups and
 * messages is checked before anything else happens.
 */
#include "common/clock.h"
#include "common/user.h"
#include "gateway/protocols/callie.h"
#include "gateway/protocols/callie_timestamp.h"

#include <errno.h>

#define AHEAD_MS_MAX (5 * 60 * 1000)
#define AGE_MS_MAX (60 * 60 * 1000)

#define TO(who) (1u << CALLIE_TO_##who)

static const struct callie_type types[] = {
    {"MSG", TO(USER) | TO(GROUP) | TO(BROADCAST), callie_check_message, callie_do_message},
    {"PING", TO(USER) | TO(SERVER), callie_check_beat, callie_do_beat},
    {"PONG", TO(USER) | TO(SERVER), callie_check_beat, callie_do_beat},
    {"CMD", TO(SERVER), callie_check_command, callie_do_command},
};

/* ---- faults ---- */

static bool fault(struct callie_payload *payload, const char *code, const char *field,
                  const char *why)
{
    payload->fault_code = code;
    payload->fault_field = field;
    payload->fault = why;
    return false;
}

bool callie_blame(struct callie_payload *payload, const char *field, const char *why)
{
    return fault(payload, "INVALID_PAYLOAD", field, why);
}

static void answer_fault(const struct callie_payload *payload)
{
    struct buffer description = {0}, more = {0};

    if (payload->fault_field) {
        buffer_append_text(&more, "\"field\":");
        buffer_append_json_string(&more, slice_text(payload->fault_field));
        buffer_append_text(&description, payload->fault_field);
        buffer_append_text(&description, ": ");
    }
    buffer_append(&description, payload->fault, strlen(payload->fault) + 1);
    callie_answer(payload->session, payload->payload_id, payload->fault_code, description.data,
                  buffer_slice(&more));
    buffer_finish(&description);
    buffer_finish(&more);
}

/* ---- names ---- */

bool callie_is_id(struct slice id)
{
    for (size_t i = 0; i < id.length; i++)
        if ((unsigned char)id.data[i] < 0x20 || id.data[i] == 0x7f)
            return false;
    return id.length > 0 && id.length <= CALLIE_ID_MAX;
}

bool callie_is_own_group(struct slice id)
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    if (id.length != 27 || id.data[0] != 'g')
        return false;
    for (size_t i = 1; i < id.length; i++)
        if (memchr(digits, id.data[i], sizeof(digits) - 1) == NULL)
            return false;
    return true;
}

static bool begins_with_group(struct slice text)
{
    size_t length = strlen(CALLIE_GROUP_PREFIX);

    return text.length > length && memcmp(text.data, CALLIE_GROUP_PREFIX, length) == 0;
}

bool callie_read_group(struct slice text, char chat[CALLIE_CHAT_MAX], struct slice *group)
{
    struct slice prefix = slice_text(CALLIE_GROUP_PREFIX), id = text;

    if (begins_with_group(text))
        id = slice_of(text.data + prefix.length, text.length - prefix.length);
    if (!user_allowed(id, true))
        return false;
    memcpy(chat, prefix.data, prefix.length);
    memcpy(chat + prefix.length, id.data, id.length);
    *group = slice_of(chat, prefix.length + id.length);
    return true;
}

/* ---- fields ---- */

static bool check_token(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "token");

    if (value == NULL)
        return true;
    if (json_type(value) != JSON_STRING || json_text(value).length == 0)
        return callie_blame(payload, "token", "must be a string");
    payload->token = json_text(value);
    return true;
}

/* A number names the user of the same digits. */
static bool check_sender(struct callie_payload *payload)
{
    payload->sender = json_text(json_member(payload->root, "sender"));
    if (payload->sender.data == NULL || !user_allowed(payload->sender, true))
        return callie_blame(payload, "sender", "must be the name of a user");
    return true;
}

static bool read_recipient(struct callie_payload *payload, struct slice text)
{
    if (slice_is(text, "SERVER"))
        payload->to = CALLIE_TO_SERVER;
    else if (slice_is(text, "BROADCAST"))
        payload->to = CALLIE_TO_BROADCAST;
    else if (begins_with_group(text) || callie_is_own_group(text))
        payload->to = CALLIE_TO_GROUP;
    else
        payload->to = CALLIE_TO_USER;
    payload->recipient = text;
    if (payload->to == CALLIE_TO_GROUP)
        return callie_read_group(text, payload->recipient_text, &payload->recipient);
    return payload->to != CALLIE_TO_USER || user_allowed(text, true);
}

static bool check_recipient(struct callie_payload *payload)
{
    struct slice text = json_text(json_member(payload->root, "recipient"));

    if (text.data == NULL || !read_recipient(payload, text))
        return callie_blame(payload, "recipient", "must be a user, a group, SERVER or BROADCAST");
    if (!(payload->type->recipients & 1u << payload->to))
        return callie_blame(payload, "recipient", "this type of payload does not go there");
    return true;
}

static bool check_content(struct callie_payload *payload)
{
    payload->content = json_member(payload->root, "content");
    if (json_type(payload->content) != JSON_OBJECT)
        return callie_blame(payload, "content", "must be an object");
    return true;
}

static bool check_metadata(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "metadata");

    if (value && json_type(value) != JSON_OBJECT)
        return callie_blame(payload, "metadata", "must be an object");
    return true;
}

static bool check_payload_id(struct callie_payload *payload)
{
    return payload->payload_id.data != NULL ||
           callie_blame(payload, "payloadID", "must be a string of 1 to 128 bytes");
}

static bool check_version(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "payloadVersion");

    if (json_type(value) != JSON_STRING || !slice_is(json_text(value), "1.0"))
        return callie_blame(payload, "payloadVersion", "must be \"1.0\"");
    return true;
}

static bool check_type_content(struct callie_payload *payload)
{
    return payload->type->check(payload);
}

/* Last: of a payload that is right otherwise. */
static bool check_timestamp(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "timestamp");
    int64_t now_ms = (int64_t)clock_wall_ms(), ms;

    if (json_type(value) != JSON_STRING || callie_timestamp_read(json_text(value), &ms) != 0)
        return callie_blame(payload, "timestamp", "must be YYYY-MM-DDTHH:mm:ss.sssZ");
    if (ms > now_ms + AHEAD_MS_MAX)
        return fault(payload, "TIMESTAMP_REJECTED", "timestamp",
                     "more than 5 minutes ahead of the server's clock");
    if (ms < now_ms - AGE_MS_MAX)
        return fault(payload, "TIMESTAMP_REJECTED", "timestamp", "more than an hour old");
    return true;
}

static bool (*const checks[])(struct callie_payload *) = {
    check_token,      check_sender,  check_recipient,    check_content,   check_metadata,
    check_payload_id, check_version, check_type_content, check_timestamp,
};

/* ---- the payload as a whole ---- */

static bool read_text(struct callie_payload *payload, struct json *json, struct slice message)
{
    int result = json_read(json, message);

    payload->json = json;
    payload->root = json_root(json);
    if (result == -EOVERFLOW)
        return callie_blame(payload, NULL, "the payload is nested too deeply");
    if (result == -EEXIST)
        return callie_blame(payload, NULL, "the payload has a key twice in one object");
    if (result != 0)
        return callie_blame(payload, NULL, "the payload is not JSON");
    if (json_type(payload->root) != JSON_OBJECT)
        return callie_blame(payload, NULL, "the payload must be a JSON object");
    return true;
}

/* Whatever else is wrong, its answer names the payload. */
static void read_payload_id(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "payloadID");

    if (json_type(value) == JSON_STRING && callie_is_id(json_text(value)))
        payload->payload_id = json_text(value);
}

static bool read_type(struct callie_payload *payload)
{
    const struct json_value *value = json_member(payload->root, "type");

    if (json_type(value) != JSON_STRING)
        return callie_blame(payload, "type", "must be a string");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (slice_is(json_text(value), types[i].name))
            payload->type = &types[i];
    payload->is_auth = slice_is(json_text(value), "AUTH");
    if (slice_is(json_text(value), "SYS"))
        return fault(payload, "FORBIDDEN_TYPE", "type", "only the server sends this type");
    if (payload->type == NULL && !payload->is_auth)
        return callie_blame(payload, "type", "must be MSG, CMD, PING or PONG");
    return true;
}

static bool read_auth(struct callie_payload *payload)
{
    if (json_member(payload->root, "token") == NULL)
        return callie_blame(payload, "token", "must be a string");
    return check_token(payload);
}

static void read_payload(struct callie_payload *payload, struct json *json, struct slice message)
{
    if (!read_text(payload, json, message))
        return;
    read_payload_id(payload);
    if (!read_type(payload))
        return;
    if (payload->is_auth) {
        read_auth(payload);
        return;
    }
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (!checks[i](payload))
            return;
}

/* ---- handling ---- */

/* What it is charged as: as far as it could be read. */
static enum limit limit_of(const struct callie_payload *payload)
{
    if (payload->type == NULL)
        return LIMIT_MESSAGE;
    if (strcmp(payload->type->name, "PONG") == 0 && payload->to == CALLIE_TO_SERVER &&
        payload->fault == NULL)
        return LIMIT_ACK;
    if (payload->to == CALLIE_TO_SERVER)
        return callie_limit_of_command(payload);
    return payload->to == CALLIE_TO_BROADCAST ? LIMIT_BROADCAST : LIMIT_DIRECT;
}

static bool admit(const struct callie_payload *payload)
{
    uint64_t wait_ms = admission_take(payload->session, limit_of(payload));
    struct buffer more = {0};

    if (wait_ms == 0)
        return true;
    buffer_append_text(&more, "\"retry_after_ms\":");
    buffer_append_u64(&more, wait_ms);
    callie_answer(payload->session, payload->payload_id, "RATE_LIMITED", "too many payloads",
                  buffer_slice(&more));
    buffer_finish(&more);
    return false;
}

void callie_on_text(struct session *session, struct slice message)
{
    static struct json *json;
    struct callie_payload payload = {.session = session, .state = session->protocol_state};

    if (json == NULL)
        json = json_create();
    read_payload(&payload, json, message);
    if (!admit(&payload))
        return;
    if (payload.fault)
        answer_fault(&payload);
    else if (payload.is_auth)
        callie_do_auth(&payload);
    else if (callie_authenticate(&payload))
        payload.type->handle(&payload);
}

void callie_on_binary(struct session *session, struct slice message)
{
    struct callie_payload payload = {.session = session, .state = session->protocol_state};

    (void)message;
    callie_blame(&payload, NULL, "a payload is a text message");
    if (admit(&payload))
        answer_fault(&payload);
}
