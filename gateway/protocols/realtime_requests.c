#include "gateway/protocols/realtime.h"

#include <errno.h>

#define ID_MAX 128
#define TYPE_MAX 64

struct command {
    const char *type;
    void (*handle)(struct realtime_request *);
    enum limit limit;
};

static const struct command commands[] = {
    {"Ping", realtime_do_ping, LIMIT_MESSAGE},
    {"Pong", realtime_do_pong, LIMIT_MESSAGE},
    {"Subscribe", realtime_do_subscribe, LIMIT_SUBSCRIBE},
    {"Unsubscribe", realtime_do_unsubscribe, LIMIT_MESSAGE},
    {"Broadcast", realtime_do_broadcast, LIMIT_BROADCAST},
    {"DirectMessage", realtime_do_direct_message, LIMIT_DIRECT},
    {"Presence", realtime_do_presence, LIMIT_MESSAGE},
    {"Auth", realtime_do_auth, LIMIT_MESSAGE},
    {"Ack", realtime_do_ack, LIMIT_ACK},
    {"Notification", realtime_do_notification, LIMIT_BROADCAST},
};

/* Types that begin with "X-": clients agree on them among themselves. */
static const struct command extension_to_topic = {NULL, realtime_do_extension_topic,
                                                  LIMIT_BROADCAST};
static const struct command extension_to_user = {NULL, realtime_do_extension_user, LIMIT_DIRECT};
static const struct command extension_to_backend = {NULL, realtime_do_extension_backend,
                                                    LIMIT_MESSAGE};

/* ---- answers ---- */

static void blame(const struct realtime_request *request, enum realtime_code code,
                  const char *field, const char *message)
{
    struct buffer details = {0};

    buffer_append_text(&details, "{\"field\":");
    buffer_append_json_string(&details, slice_text(field));
    buffer_append_byte(&details, '}');
    realtime_error(request->session, request->id, code, message, buffer_slice(&details));
    buffer_finish(&details);
}

bool realtime_refuse_field(const struct realtime_request *request, const char *field,
                           const char *message)
{
    blame(request, REALTIME_BAD_REQUEST, field, message);
    return false;
}

bool realtime_forbid(const struct realtime_request *request, const char *field, const char *message)
{
    blame(request, REALTIME_FORBIDDEN, field, message);
    return false;
}

void realtime_retry_later(struct session *session, struct slice id, enum realtime_code code,
                          const char *message, uint64_t retry_after_ms)
{
    struct buffer details = {0};

    buffer_append_text(&details, "{\"retry_after_ms\":");
    buffer_append_u64(&details, retry_after_ms);
    buffer_append_byte(&details, '}');
    realtime_error(session, id, code, message, buffer_slice(&details));
    buffer_finish(&details);
}

void realtime_unavailable(const struct realtime_request *request)
{
    gateway_count(GATEWAY_CREDIT_REFUSED, 1);
    realtime_retry_later(request->session, request->id, REALTIME_UNAVAILABLE,
                         "the service cannot take this now", REALTIME_RETRY_MS);
}

/* ---- checks that commands share ---- */

bool realtime_need_string(const struct realtime_request *request, const char *field,
                          struct slice *text)
{
    const struct json_value *value = json_member(request->data, field);

    if (json_type(value) != JSON_STRING)
        return realtime_refuse_field(request, field, "this must be a string");
    *text = json_text(value);
    return true;
}

/* ---- rate limits ---- */

bool realtime_admit(const struct realtime_request *request, enum limit limit)
{
    uint64_t wait_ms = admission_take(request->session, limit);

    if (wait_ms > 0)
        realtime_retry_later(request->session, request->id, REALTIME_RATE_LIMITED,
                             "too many messages", wait_ms);
    return wait_ms == 0;
}

/* ---- the message as a whole ---- */

/* Why a message cannot be done; message is NULL when it can. */
struct fault {
    const char *field; /* NULL: none is to blame */
    const char *message;
};

static struct fault read_text(struct realtime_request *request, struct json *json,
                              struct slice message)
{
    int result = json_read(json, message);

    request->json = json;
    request->root = json_root(json);
    if (result == -EOVERFLOW)
        return (struct fault){NULL, "the message is nested too deeply"};
    if (result == -EEXIST)
        return (struct fault){NULL, "the message has a key twice in one object"};
    if (result != 0)
        return (struct fault){NULL, "the message is not JSON"};
    if (json_type(request->root) != JSON_OBJECT)
        return (struct fault){NULL, "the message must be a JSON object"};
    return (struct fault){NULL, NULL};
}

static struct fault read_id(struct realtime_request *request)
{
    const struct json_value *value = json_member(request->root, "id");
    struct slice id = json_text(value);

    if (value == NULL)
        return (struct fault){NULL, NULL};
    if (json_type(value) != JSON_STRING || id.length == 0 || id.length > ID_MAX)
        return (struct fault){"id", "id must be a string of 1 to 128 bytes"};
    request->id = id;
    return (struct fault){NULL, NULL};
}

static const struct command *find_extension(const struct realtime_request *request,
                                            struct slice type)
{
    const struct json_value *data = json_member(request->root, "data");

    if (type.length <= 2 || type.length > TYPE_MAX || memcmp(type.data, "X-", 2) != 0)
        return NULL;
    if (json_member(data, "topic"))
        return &extension_to_topic;
    return json_member(data, "target_user") ? &extension_to_user : &extension_to_backend;
}

static struct fault read_command(const struct realtime_request *request,
                                 const struct command **command)
{
    const struct json_value *type = json_member(request->root, "type");

    if (json_type(type) != JSON_STRING)
        return (struct fault){"type", "type must be a string"};
    *command = find_extension(request, json_text(type));
    if (*command)
        return (struct fault){NULL, NULL};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (slice_is(json_text(type), commands[i].type)) {
            *command = &commands[i];
            return (struct fault){NULL, NULL};
        }
    }
    return (struct fault){"type", "this type is not known"};
}

static bool is_absent_or(const struct json_value *value, enum json_type type)
{
    return value == NULL || json_type(value) == type;
}

/* What is for a backend may have any data. */
static struct fault read_rest(struct realtime_request *request, const struct command *command)
{
    request->data = json_member(request->root, "data");
    if (request->data == NULL ||
        (json_type(request->data) != JSON_OBJECT && command != &extension_to_backend))
        return (struct fault){"data", "data must be an object"};
    if (!is_absent_or(json_member(request->root, "timestamp"), JSON_NUMBER))
        return (struct fault){"timestamp", "timestamp must be a number"};
    if (!is_absent_or(json_member(request->root, "metadata"), JSON_OBJECT))
        return (struct fault){"metadata", "metadata must be an object"};
    return (struct fault){NULL, NULL};
}

/* Reads as much as it can: a type that is known is charged as such, an id that is one is in the
 * answer. */
static struct fault read_message(struct realtime_request *request, struct json *json,
                                 struct slice message, const struct command **command)
{
    struct fault fault = read_text(request, json, message), later;

    if (fault.message)
        return fault;
    fault = read_id(request);
    later = read_command(request, command);
    if (fault.message == NULL)
        fault = later;
    return fault.message ? fault : read_rest(request, *command);
}

static void refuse(const struct realtime_request *request, const struct fault *fault)
{
    if (fault->field)
        realtime_refuse_field(request, fault->field, fault->message);
    else
        realtime_error(request->session, request->id, REALTIME_BAD_REQUEST, fault->message,
                       slice_of(NULL, 0));
}

void realtime_on_text(struct session *session, struct slice message)
{
    static struct json *json;
    struct realtime_request request = {.session = session, .state = session->protocol_state};
    const struct command *command = NULL;
    struct fault fault;

    if (json == NULL)
        json = json_create();
    fault = read_message(&request, json, message, &command);
    if (!realtime_admit(&request, command ? command->limit : LIMIT_MESSAGE))
        return;
    if (fault.message)
        refuse(&request, &fault);
    else
        command->handle(&request);
}
