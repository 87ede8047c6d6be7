#include "gateway/api/backend_message.h"

#include "common/topic.h"
#include "common/user.h"
#include "gateway/notification.h"

#include <errno.h>
#include <math.h>

#define ID_MAX 128
#define TTL_MAX_S 1e9

static const char *const targets[] = {
    [BACKEND_TO_TOPIC] = "topic",
    [BACKEND_TO_USER] = "user",
    [BACKEND_TO_GROUP] = "group",
    [BACKEND_TO_EVERYBODY] = "everybody",
};

static int blame(struct backend_fault *fault, const char *field, const char *message)
{
    *fault = (struct backend_fault){field, message};
    return -EINVAL;
}

void backend_message_finish(struct backend_message *message)
{
    buffer_finish(&message->body);
    buffer_finish(&message->merged);
    buffer_finish(&message->chat);
}

bool backend_id_valid(struct slice id)
{
    return id.length > 0 && id.length <= ID_MAX;
}

/* ---- to whom ---- */

static bool read_topic(struct backend_message *message, const struct json_value *value)
{
    message->address = json_text(value);
    return json_type(value) == JSON_STRING && topic_valid(message->address) &&
           !topic_is_presence(message->address);
}

/* A number names the user of the same digits. */
static bool read_user(struct backend_message *message, const struct json_value *value)
{
    message->address = json_text(value);
    return message->address.data && user_allowed(message->address, true);
}

static bool read_group(struct backend_message *message, const struct json_value *value)
{
    static const char prefix[] = "group:";
    struct slice group = json_text(value);

    if (json_type(value) != JSON_STRING)
        return false;
    if (group.length < sizeof(prefix) || memcmp(group.data, prefix, sizeof(prefix) - 1) != 0)
        buffer_append_text(&message->chat, prefix);
    buffer_append_slice(&message->chat, group);
    message->address = buffer_slice(&message->chat);
    return group.length > 0 && group.length <= USER_ID_MAX;
}

static bool read_everybody(struct backend_message *message, const struct json_value *value)
{
    (void)message;
    return json_is_true(value);
}

static bool (*const target_readers[])(struct backend_message *, const struct json_value *) = {
    [BACKEND_TO_TOPIC] = read_topic,
    [BACKEND_TO_USER] = read_user,
    [BACKEND_TO_GROUP] = read_group,
    [BACKEND_TO_EVERYBODY] = read_everybody,
};

static int read_target(const struct json_value *root, struct backend_message *message,
                       struct backend_fault *fault)
{
    const struct json_value *value = NULL;

    for (int i = BACKEND_TO_TOPIC; i <= BACKEND_TO_EVERYBODY; i++) {
        const struct json_value *candidate = json_member(root, targets[i]);

        if (candidate == NULL)
            continue;
        if (value)
            return blame(fault, targets[i], "only one of topic, user, group and everybody");
        value = candidate;
        message->target = (enum backend_target)i;
    }
    if (value == NULL)
        return blame(fault, "topic", "one of topic, user, group and everybody is required");
    if (!target_readers[message->target](message, value))
        return blame(fault, targets[message->target], "nothing has this name");
    return 0;
}

/* ---- what both have ---- */

/* Both names say the same, as the header does. */
static int read_id(const struct json_value *root, struct backend_message *message,
                   struct backend_fault *fault)
{
    static const char *const names[] = {"id", "idempotency_key"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct json_value *value = json_member(root, names[i]);

        if (value == NULL)
            continue;
        if (json_type(value) != JSON_STRING || !backend_id_valid(json_text(value)))
            return blame(fault, names[i], "an id is a string of 1 to 128 bytes");
        if (message->id.length > 0 && !slice_equal(message->id, json_text(value)))
            return blame(fault, names[i], "id and idempotency_key must be the same");
        message->id = json_text(value);
    }
    return 0;
}

static int read_from(const struct json_value *root, struct backend_message *message,
                     struct backend_fault *fault)
{
    const struct json_value *value = json_member(root, "from");

    message->from = slice_text(BACKEND_SENDER);
    if (value == NULL)
        return 0;
    message->from = json_text(value);
    if (message->from.data == NULL || !user_allowed(message->from, true))
        return blame(fault, "from", "this is no user id");
    return 0;
}

static int read_ttl(const struct json_value *root, struct backend_message *message,
                    struct backend_fault *fault)
{
    const struct json_value *value = json_member(root, "ttl");
    double seconds;

    if (value == NULL)
        return 0;
    if (json_double(value, &seconds) != 0 || seconds < 0)
        return blame(fault, "ttl", "ttl must be a number of seconds");
    if (seconds < TTL_MAX_S)
        message->ttl_ms = seconds > 0 ? (uint64_t)ceil(seconds * 1000) : 1;
    return 0;
}

static int read_priority(const struct json_value *root, struct backend_message *message,
                         struct backend_fault *fault)
{
    const struct json_value *value = json_member(root, "priority");

    message->priority = slice_is(json_text(value), "high");
    if (value && !message->priority && !slice_is(json_text(value), "normal"))
        return blame(fault, "priority", "priority must be high or normal");
    return 0;
}

static int read_common(const struct json_value *root, struct backend_message *message,
                       struct backend_fault *fault)
{
    int result;

    *message = (struct backend_message){0};
    if (json_type(root) != JSON_OBJECT)
        return blame(fault, NULL, "the body must be a JSON object");
    result = read_target(root, message, fault);
    if (result == 0)
        result = read_id(root, message, fault);
    if (result == 0)
        result = read_from(root, message, fault);
    if (result == 0)
        result = read_ttl(root, message, fault);
    return result < 0 ? result : read_priority(root, message, fault);
}

/* ---- publish ---- */

static void add_member(struct buffer *out, const char *name, struct slice raw)
{
    buffer_append_byte(out, out->length > 0 ? ',' : '{');
    buffer_append_json_string(out, slice_text(name));
    buffer_append_byte(out, ':');
    buffer_append_slice(out, raw);
}

/* Messages of topics have their ttl and priority in the metadata; what that says of them itself
 * stays. */
static void add_metadata(const struct json *json, struct backend_message *message)
{
    static const char *const names[] = {"ttl", "priority"};
    const struct json_value *root = json_root(json), *metadata = json_member(root, "metadata");
    struct buffer *out = &message->merged;

    if (message->target != BACKEND_TO_TOPIC && message->target != BACKEND_TO_EVERYBODY)
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (json_member(root, names[i]) && !json_member(metadata, names[i]))
            add_member(out, names[i], json_member_raw(json, root, names[i]));
    if (out->length == 0)
        return;
    if (json_count(metadata) > 0) {
        buffer_append_byte(out, ',');
        buffer_append(out, message->metadata.data + 1, message->metadata.length - 1);
    } else {
        buffer_append_byte(out, '}');
    }
    message->metadata = buffer_slice(out);
}

/* {"message", "attachments"?}: what every protocol can show. */
static int read_text(const struct json *json, struct backend_message *message,
                     struct backend_fault *fault)
{
    const struct json_value *root = json_root(json);
    const struct json_value *attachments = json_member(root, "attachments");

    if (json_type(json_member(root, "message")) != JSON_STRING)
        return blame(fault, "message", "a message (a string) or a payload is required");
    if (attachments && json_type(attachments) != JSON_ARRAY)
        return blame(fault, "attachments", "attachments must be a list");
    buffer_append_text(&message->body, "{\"message\":");
    buffer_append_slice(&message->body, json_member_raw(json, root, "message"));
    if (attachments) {
        buffer_append_text(&message->body, ",\"attachments\":");
        buffer_append_slice(&message->body, json_member_raw(json, root, "attachments"));
    }
    buffer_append_byte(&message->body, '}');
    return 0;
}

static int read_body(const struct json *json, struct backend_message *message,
                     struct backend_fault *fault)
{
    const struct json_value *root = json_root(json);
    struct slice payload = json_member_raw(json, root, "payload");

    if (payload.length == 0)
        return read_text(json, message, fault);
    if (json_member(root, "message") || json_member(root, "attachments"))
        return blame(fault, "payload", "a payload, or a message with its attachments: not both");
    buffer_append_slice(&message->body, payload);
    return 0;
}

int backend_message_read_publish(const struct json *json, struct backend_message *message,
                                 struct backend_fault *fault)
{
    const struct json_value *root = json_root(json);
    const struct json_value *metadata = json_member(root, "metadata");
    int result = read_common(root, message, fault);

    if (result < 0)
        return result;
    if (metadata && json_type(metadata) != JSON_OBJECT)
        return blame(fault, "metadata", "metadata must be an object");
    message->metadata = json_member_raw(json, root, "metadata");
    add_metadata(json, message);
    return read_body(json, message, fault);
}

/* ---- notify ---- */

int backend_message_read_notify(const struct json *json, struct backend_message *message,
                                struct backend_fault *fault)
{
    static const char *const skip[] = {
        "topic", "user",     "group", "everybody", "id", "idempotency_key",
        "ttl",   "priority", "from",  "metadata",  NULL};
    const struct json_value *root = json_root(json);
    const char *wrong, *why;
    int result = read_common(root, message, fault);

    if (result < 0)
        return result;
    if (message->target == BACKEND_TO_GROUP)
        return blame(fault, "group", "notifications go to a user, a topic or everybody");
    if (json_member(root, "from"))
        return blame(fault, "from", "notifications are the server's");
    wrong = notification_read(&message->body, json, root, skip, &why);
    if (wrong)
        return blame(fault, wrong, why);
    message->metadata = slice_text(NOTIFICATION_MARK);
    return 0;
}
