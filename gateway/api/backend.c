#include "gateway/api/backend.h"

#include "common/log.h"
#include "common/uid.h"
#include "common/xalloc.h"
#include "gateway/api/backend_keys.h"
#include "gateway/topics/endpoint_topic.h"
#include "gateway/door/http.h"
#include "gateway/door/octets.h"
#include "gateway/bus/uplink.h"
#include "gateway/identity/verifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define PREFIX "/api/"
#define ANSWER_MS 5000
#define LOOK_MS 250
/* Requests that wait for their answers; beyond it 503. */
#define OPEN_MAX 1024

struct backend {
    struct gateway *gateway;
    struct backend_keys *keys;
    struct backend_call *open; /* hash by number, in the order they were made */
    uint64_t last;
    uv_timer_t timer; /* runs while one is open */
    void (*drained)(void *arg);
    void *drained_arg;
};

struct gateway *backend_gateway(struct backend *backend)
{
    return backend->gateway;
}

/* ---- answers ---- */

void backend_refuse(struct arrival *arrival, int status, const char *field, const char *message)
{
    struct buffer body = {0}, answer = {0};

    buffer_appendf(&body, "{\"error\":{\"code\":%d,\"message\":", status);
    buffer_append_json_string(&body, slice_text(message));
    if (field) {
        buffer_append_text(&body, ",\"field\":");
        buffer_append_json_string(&body, slice_text(field));
    }
    buffer_append_text(&body, "}}\n");
    http_respond(&answer, status, buffer_slice(&body));
    buffer_finish(&body);
    gateway_count(GATEWAY_API_REFUSED, 1);
    arrival_answer(arrival, &answer);
}

static void notice_drained(struct backend *backend)
{
    void (*drained)(void *arg) = backend->drained;

    if (drained == NULL || backend->open != NULL)
        return;
    backend->drained = NULL;
    drained(backend->drained_arg);
}

static void drop(struct backend_call *call)
{
    struct backend *backend = call->backend;

    HASH_DEL(backend->open, call);
    buffer_finish(&call->delivered);
    buffer_finish(&call->topic);
    free(call);
    notice_drained(backend);
}

void backend_answer(struct backend_call *call, int status, struct buffer *body)
{
    struct buffer answer = {0};

    buffer_append_byte(body, '\n');
    http_respond(&answer, status, buffer_slice(body));
    buffer_finish(body);
    arrival_answer(call->arrival, &answer);
    drop(call);
}

void backend_fail(struct backend_call *call, int status, const char *message)
{
    backend_refuse(call->arrival, status, NULL, message);
    drop(call);
}

/* ---- calls ---- */

static void on_gone(void *arg)
{
    drop(arg);
}

static void fail_unanswered(struct backend_call *call)
{
    backend_fail(call, 504, "no answer in time: with an id of your own it can be tried again");
}

static void on_timer(uv_timer_t *timer)
{
    struct backend *backend = timer->data;

    while (backend->open && backend->open->deadline_ms <= uv_now(timer->loop))
        fail_unanswered(backend->open);
    if (backend->open == NULL)
        uv_timer_stop(timer);
}

struct backend_call *backend_open(struct backend *backend, struct arrival *arrival)
{
    struct backend_call *call;

    if (HASH_COUNT(backend->open) >= OPEN_MAX) {
        backend_refuse(arrival, 503, NULL, "too many requests wait for their answers");
        return NULL;
    }
    call = xcalloc(1, sizeof(*call));
    call->number = ++backend->last;
    call->backend = backend;
    call->arrival = arrival;
    call->deadline_ms = uv_now(backend->gateway->loop) + ANSWER_MS;
    call->awaited = 1;
    HASH_ADD(hh, backend->open, number, sizeof(call->number), call);
    arrival_on_gone(arrival, on_gone, call);
    if (!uv_is_active((uv_handle_t *)&backend->timer))
        uv_timer_start(&backend->timer, on_timer, LOOK_MS, LOOK_MS);
    return call;
}

struct backend_call *backend_find(struct backend *backend, uint64_t number)
{
    struct backend_call *call;

    HASH_FIND(hh, backend->open, &number, sizeof(number), call);
    return call;
}

/* ---- publish, notify ---- */

typedef int read_fn(const struct json *, struct backend_message *, struct backend_fault *);

const struct json *backend_read_object(struct arrival *arrival)
{
    static struct json *json;
    int result;

    if (json == NULL)
        json = json_create();
    result = json_read(json, arrival_body(arrival));
    if (result == 0 && json_type(json_root(json)) == JSON_OBJECT)
        return json;
    backend_refuse(arrival, 400, NULL,
                   result == -EEXIST ? "the body has a key twice in one object"
                                     : "the body must be a JSON object");
    return NULL;
}

static struct slice topic_of(const struct backend_message *message)
{
    return message->target == BACKEND_TO_TOPIC ? message->address : slice_text(ENDPOINT_TOPIC_ALL);
}

static struct frame publish_frame(const struct backend_call *call,
                                  const struct backend_message *message)
{
    return (struct frame){
        .type = FRAME_TOPIC_PUBLISH,
        .topic_publish = {.connection = BACKEND_CONNECTION,
                          .request = call->number,
                          .from = message->from,
                          .topic = topic_of(message),
                          .id = slice_text(call->id),
                          .retry = message->id.length > 0,
                          .protocol = FRAME_PROTOCOL_SERVER,
                          .content = CONTENT_JSON,
                          .body = buffer_slice(&message->body),
                          .metadata = message->metadata},
    };
}

static struct frame direct_frame(const struct backend_call *call,
                                 const struct backend_message *message)
{
    return (struct frame){
        .type = FRAME_DIRECT_MESSAGE,
        .direct_message = {.connection = BACKEND_CONNECTION,
                           .request = call->number,
                           .from = message->from,
                           .to = message->address,
                           .id = slice_text(call->id),
                           .retry = message->id.length > 0,
                           .policy = DELIVERY_STORE,
                           .ttl_ms = message->ttl_ms,
                           .priority = message->priority,
                           .protocol = FRAME_PROTOCOL_SERVER,
                           .content = CONTENT_JSON,
                           .body = buffer_slice(&message->body),
                           .metadata = message->metadata},
    };
}

static struct frame post_frame(const struct backend_call *call,
                               const struct backend_message *message)
{
    return (struct frame){
        .type = FRAME_CONVERSATION_POST,
        .conversation_post = {.connection = BACKEND_CONNECTION,
                              .request = call->number,
                              .from = message->from,
                              .chat = message->address,
                              .id = slice_text(call->id),
                              .retry = message->id.length > 0,
                              .policy = DELIVERY_STORE,
                              .protocol = FRAME_PROTOCOL_SERVER,
                              .content = CONTENT_JSON,
                              .body = buffer_slice(&message->body),
                              .metadata = message->metadata},
    };
}

static struct frame frame_of(const struct backend_call *call, const struct backend_message *message)
{
    switch (message->target) {
    case BACKEND_TO_USER:
        return direct_frame(call, message);
    case BACKEND_TO_GROUP:
        return post_frame(call, message);
    default:
        return publish_frame(call, message);
    }
}

static uint32_t partition_for(const struct backend *backend, const struct backend_message *message)
{
    const struct deployment *deployment = &backend->gateway->deployment;

    switch (message->target) {
    case BACKEND_TO_USER:
        return partition_of(deployment, message->address);
    case BACKEND_TO_GROUP:
        return partition_of_chat(deployment, message->from, message->address);
    default:
        return partition_of(deployment, topic_of(message));
    }
}

static void choose_id(struct backend_call *call, const struct backend_message *message)
{
    char ulid[ULID_TEXT_SIZE];

    if (message->id.length > 0) {
        snprintf(call->id, sizeof(call->id), "%.*s", (int)message->id.length, message->id.data);
        return;
    }
    uid_ulid((uint64_t)time(NULL) * 1000, ulid);
    snprintf(call->id, sizeof(call->id), "api_%s", ulid);
}

static void send_message(struct backend *backend, struct arrival *arrival,
                         const struct backend_message *message)
{
    uint32_t partition = partition_for(backend, message);
    struct backend_call *call;
    struct frame frame;

    if (!uplink_has_credit(backend->gateway->uplink, partition)) {
        backend_refuse(arrival, 503, NULL, "the service cannot take this now");
        return;
    }
    call = backend_open(backend, arrival);
    if (call == NULL)
        return;
    call->everybody = message->target == BACKEND_TO_EVERYBODY;
    choose_id(call, message);
    frame = frame_of(call, message);
    uplink_send(backend->gateway->uplink, partition, &frame);
    arrival_forget_body(arrival);
}

/* The header says the same as id; where both are given they must agree. */
static int read_header_id(const struct arrival *arrival, struct backend_message *message,
                          struct backend_fault *fault)
{
    struct slice key = request_header(arrival_request(arrival), "idempotency-key");

    if (key.data == NULL)
        return 0;
    *fault =
        (struct backend_fault){"id", "Idempotency-Key and id must be the same, of 1 to 128 bytes"};
    if (!backend_id_valid(key) || (message->id.length > 0 && !slice_equal(key, message->id)))
        return -EINVAL;
    message->id = key;
    return 0;
}

static void do_message(struct backend *backend, struct arrival *arrival, uint64_t scopes,
                       read_fn *read)
{
    const struct json *json = backend_read_object(arrival);
    struct backend_message message = {0};
    struct backend_fault fault = {0};

    if (json == NULL)
        return;
    if (read(json, &message, &fault) < 0 || read_header_id(arrival, &message, &fault) < 0)
        backend_refuse(arrival, 400, fault.field, fault.message);
    else if (!slice_is(message.from, BACKEND_SENDER) && !(scopes & BACKEND_SCOPE_ADMIN))
        backend_refuse(arrival, 403, "from", "to speak for a user needs the scope admin");
    else
        send_message(backend, arrival, &message);
    backend_message_finish(&message);
}

static void do_publish(struct backend *backend, struct arrival *arrival, struct slice argument,
                       uint64_t scopes)
{
    (void)argument;
    do_message(backend, arrival, scopes, backend_message_read_publish);
}

static void do_notify(struct backend *backend, struct arrival *arrival, struct slice argument,
                      uint64_t scopes)
{
    (void)argument;
    do_message(backend, arrival, scopes, backend_message_read_notify);
}

/* ---- replies ---- */

static void open_body(struct buffer *body, const struct backend_call *call, const char *status)
{
    buffer_append_text(body, "{\"id\":");
    buffer_append_json_string(body, slice_text(call->id));
    buffer_appendf(body, ",\"status\":\"%s\"", status);
}

static void append_connections(struct buffer *body, const char *name,
                               const struct frame_u64s *pairs)
{
    char uuid[UUID_TEXT_SIZE];

    buffer_appendf(body, "\"%s\":[", name);
    for (size_t i = 0; i + 1 < pairs->count; i += 2) {
        uid_connection(pairs->values[i], pairs->values[i + 1], uuid);
        buffer_appendf(body, "%s\"%s\"", i ? "," : "", uuid);
    }
    buffer_append_byte(body, ']');
}

static void on_disconnected(struct backend_call *call, const struct frame_direct_reply *reply)
{
    struct buffer body = {0};

    buffer_append(&call->delivered, reply->delivered.values,
                  reply->delivered.count * sizeof(uint64_t));
    if (--call->awaited > 0)
        return;
    buffer_append_byte(&body, '{');
    append_connections(&body, "disconnected",
                       &(struct frame_u64s){(const void *)call->delivered.data,
                                            call->delivered.length / sizeof(uint64_t)});
    buffer_append_byte(&body, '}');
    backend_answer(call, 200, &body);
}

void backend_on_direct_reply(struct backend *backend, const struct frame_direct_reply *reply)
{
    static const char *const statuses[] = {
        [DIRECT_DELIVERED] = "delivered", [DIRECT_BACKLOGGED] = "queued",
        [DIRECT_QUEUED] = "queued",       [DIRECT_MAILBOX_FULL] = NULL,
        [DIRECT_DISCARDED] = "discarded",
    };
    struct backend_call *call = backend_find(backend, reply->request);
    struct buffer body = {0};

    if (call == NULL || reply->status >= sizeof(statuses) / sizeof(statuses[0]))
        return;
    if (call->disconnecting) {
        on_disconnected(call, reply);
    } else if (statuses[reply->status] == NULL) {
        backend_fail(call, 507, "the user's mailbox is full: nothing was kept");
    } else {
        open_body(&body, call, statuses[reply->status]);
        buffer_append_byte(&body, ',');
        append_connections(&body, "delivered_to", &reply->delivered);
        buffer_append_byte(&body, '}');
        backend_answer(call, 200, &body);
    }
}

void backend_on_publish_reply(struct backend *backend, const struct frame_publish_reply *reply)
{
    struct backend_call *call = backend_find(backend, reply->request);
    struct buffer body = {0};

    if (call == NULL)
        return;
    open_body(&body, call, "published");
    if (!call->everybody)
        buffer_appendf(&body, ",\"recipients\":%" PRIu64, reply->recipients);
    buffer_append_byte(&body, '}');
    backend_answer(call, 200, &body);
}

void backend_on_conversation_reply(struct backend *backend,
                                   const struct frame_conversation_reply *reply)
{
    struct backend_call *call = backend_find(backend, reply->request);
    struct buffer body = {0};

    if (call == NULL)
        return;
    if (reply->status == CONVERSATION_FORBIDDEN) {
        backend_fail(call, 403, "the sender is no member of the group");
    } else if (reply->status != CONVERSATION_OK) {
        backend_fail(call, 404, "there is no such group");
    } else {
        open_body(&body, call, "published");
        buffer_appendf(&body, ",\"message\":%" PRIu64 "}", reply->message);
        backend_answer(call, 200, &body);
    }
}

void backend_on_unanswered(struct backend *backend, uint64_t number)
{
    struct backend_call *call = backend_find(backend, number);

    if (call)
        fail_unanswered(call);
}

/* ---- routes ---- */

static const struct route {
    const char *method, *path;
    bool prefix; /* the rest of the path is its argument */
    uint64_t scope;
    void (*handle)(struct backend *, struct arrival *, struct slice argument, uint64_t scopes);
} routes[] = {
    {"POST", "/api/v1/publish", false, BACKEND_SCOPE_PUBLISH, do_publish},
    {"POST", "/api/v1/notify", false, BACKEND_SCOPE_NOTIFY, do_notify},
    {"POST", "/api/v1/disconnect", false, BACKEND_SCOPE_ADMIN, backend_do_disconnect},
    {"POST", "/api/v1/revoke", false, BACKEND_SCOPE_ADMIN, backend_do_revoke},
    {"GET", "/api/v1/presence/", true, BACKEND_SCOPE_READ, backend_do_presence},
    {"GET", "/api/v1/history/", true, BACKEND_SCOPE_READ, backend_do_history},
    {"GET", "/api/v1/info", false, BACKEND_SCOPE_READ, backend_do_info},
};

bool backend_has(struct slice path)
{
    return path.length >= sizeof(PREFIX) - 1 && memcmp(path.data, PREFIX, sizeof(PREFIX) - 1) == 0;
}

static bool leads_to(const struct route *route, struct slice path)
{
    size_t length = strlen(route->path);

    if (!route->prefix)
        return slice_is(path, route->path);
    return path.length > length && memcmp(path.data, route->path, length) == 0;
}

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (leads_to(&routes[i], path))
            return &routes[i];
    return NULL;
}

/* ---- who asks ---- */

static struct slice bearer(const struct request *request)
{
    static const char scheme[] = "Bearer ";
    struct slice text = request_header(request, "authorization");
    size_t length = sizeof(scheme) - 1;

    if (text.length <= length || strncasecmp(text.data, scheme, length) != 0)
        return slice_of(NULL, 0);
    return slice_of(text.data + length, text.length - length);
}

/* A token with the admin claim is as good as a key with all scopes. -1: neither. */
static int64_t scopes_of(struct backend *backend, const struct request *request)
{
    struct slice secret = bearer(request);
    uint64_t scopes = backend_keys_scopes(backend->keys, secret);
    struct identity identity = {0};
    bool admin;

    if (scopes || secret.length == 0)
        return scopes ? (int64_t)scopes : -1;
    if (verifier_check(backend->gateway->verifier, secret, time(NULL), &identity) != VERIFIER_OK)
        return -1;
    admin = identity.admin;
    identity_finish(&identity);
    return admin ? BACKEND_SCOPES_ALL : 0;
}

/* ---- requests ---- */

/* Only of those that may ask: nobody else makes us hold a mebibyte. */
size_t backend_body_max(struct backend *backend, const struct request *request)
{
    const struct route *route = find_route(request->path);

    if (route == NULL || !slice_is(request->method, "POST") ||
        !slice_is(request->method, route->method) || scopes_of(backend, request) <= 0)
        return 0;
    return BACKEND_BODY_MAX;
}

static bool is_json(const struct request *request)
{
    static const char type[] = "application/json";
    struct slice value = request_header(request, "content-type");
    size_t length = sizeof(type) - 1;

    return value.length >= length && strncasecmp(value.data, type, length) == 0 &&
           (value.length == length || value.data[length] == ';' || value.data[length] == ' ');
}

/* Returns 0, or the status with which a request with such a body is refused. */
static int check_body(const struct request *request, const char **why)
{
    struct request_body body = {0};
    int result = request_body(request, &body);

    *why = "the body must be application/json";
    if (!is_json(request))
        return 415;
    *why = "a body is required, with Content-Length or chunked";
    if (result < 0 || !body.said)
        return 411;
    *why = "the body may have 1 MiB";
    return body.length > BACKEND_BODY_MAX ? 413 : 0;
}

/* %XX; what is malformed stays as it is, and names nothing. */
static void decode(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        int high = i + 2 < text.length && text.data[i] == '%' ? octet_hex(text.data[i + 1]) : -1;
        int low = high >= 0 ? octet_hex(text.data[i + 2]) : -1;

        buffer_append_byte(out, low >= 0 ? (char)(high << 4 | low) : text.data[i]);
        i += low >= 0 ? 2 : 0;
    }
}

static void run(struct backend *backend, struct arrival *arrival, const struct route *route,
                uint64_t scopes)
{
    struct slice path = arrival_request(arrival)->path;
    size_t known = strlen(route->path);
    struct buffer argument = {0};

    decode(&argument, slice_of(path.data + known, path.length - known));
    route->handle(backend, arrival, buffer_slice(&argument), scopes);
    buffer_finish(&argument);
}

static void refuse_method(struct arrival *arrival, const char *allowed)
{
    struct buffer answer = {0};

    http_refuse_method(&answer, allowed);
    gateway_count(GATEWAY_API_REFUSED, 1);
    arrival_answer(arrival, &answer);
}

void backend_begin(struct backend *backend, struct arrival *arrival)
{
    const struct request *request = arrival_request(arrival);
    const struct route *route = find_route(request->path);
    const char *why;
    int64_t scopes;
    int status;

    gateway_count(GATEWAY_API_REQUESTS, 1);
    if (route == NULL) {
        backend_refuse(arrival, 404, NULL, "there is nothing here");
    } else if (!slice_is(request->method, route->method)) {
        refuse_method(arrival, route->method);
    } else if ((scopes = scopes_of(backend, request)) < 0) {
        backend_refuse(arrival, 401, NULL, "an API key is required: Authorization: Bearer");
    } else if (!((uint64_t)scopes & route->scope)) {
        backend_refuse(arrival, 403, NULL, "this key may not do this");
    } else if (backend->gateway->draining) {
        backend_refuse(arrival, 503, NULL, "this gateway is shutting down");
    } else if (slice_is(request->method, "POST") && (status = check_body(request, &why)) != 0) {
        backend_refuse(arrival, status, NULL, why);
    } else {
        run(backend, arrival, route, (uint64_t)scopes);
    }
}

/* ---- life ---- */

void backend_add_scripts(struct bus *bus)
{
    backend_reads_add_scripts(bus);
    backend_control_add_scripts(bus);
    backend_history_add_script(bus);
}

struct backend *backend_create(struct gateway *gateway, struct buffer *error)
{
    struct backend_keys *keys =
        backend_keys_create(gateway->settings.api_keys, gateway->settings.api_keys_file, error);
    struct backend *backend;

    if (keys == NULL)
        return NULL;
    backend = xcalloc(1, sizeof(*backend));
    backend->gateway = gateway;
    backend->keys = keys;
    uv_timer_init(gateway->loop, &backend->timer);
    backend->timer.data = backend;
    return backend;
}

void backend_drain(struct backend *backend, void (*done)(void *arg), void *arg)
{
    backend->drained = done;
    backend->drained_arg = arg;
    notice_drained(backend);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void backend_destroy(struct backend **pointer)
{
    struct backend *backend = *pointer;

    if (backend == NULL)
        return;
    *pointer = NULL;
    backend->drained = NULL;
    while (backend->open)
        drop(backend->open);
    backend_keys_destroy(&backend->keys);
    uv_close((uv_handle_t *)&backend->timer, on_closed);
}
