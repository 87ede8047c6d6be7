/*
 * What the HTTP API reads of a topic's history: GET /api/v1/history/<topic>?limit=&after=. First
 * where it is, then a page of it. See backend.h.
 */
#include "common/topic.h"
#include "gateway/api/backend.h"
#include "gateway/content.h"
#include "gateway/bus/query.h"

#include <inttypes.h>
#include <stdlib.h>

#define LIMIT_MAX 100
#define LIMIT_USUAL 50
#define PAGE_BYTES "1048576"

extern const char history_lua[]; /* gateway/topics/history.c */
static struct bus_script script = {.name = "history for backends", .text = history_lua};

void backend_history_add_script(struct bus *bus)
{
    bus_add_script(bus, &script);
}

/* ---- asking ---- */

static void ask(struct backend_call *call, uint64_t count, query_fn *answer)
{
    struct gateway *gateway = backend_gateway(call->backend);
    struct slice topic = buffer_slice(&call->topic);
    char after[24], entries[24];
    const struct query_key keys[] = {
        {.what = "histories"}, {.what = "state"}, {.what = "topic", .name = topic}};
    const struct slice arguments[] = {
        topic,
        slice_print(after, sizeof(after), "%" PRIu64, call->after),
        slice_print(entries, sizeof(entries), "%" PRIu64, count),
        slice_text(PAGE_BYTES),
    };
    const struct query query = {
        .script = &script,
        .partition = partition_of(&gateway->deployment, topic),
        .keys = keys,
        .key_count = sizeof(keys) / sizeof(keys[0]),
        .arguments = arguments,
        .argument_count = sizeof(arguments) / sizeof(arguments[0]),
    };

    if (query_ask_for(gateway->queries, &query, call->number, answer, call->backend, NULL) < 0)
        backend_fail(call, 503, "the message bus is not reachable at the moment");
}

static uint64_t read_u64(struct slice digits)
{
    uint64_t number = 0;

    for (size_t i = 0; i < digits.length && i < 18; i++)
        number = number * 10 + (uint64_t)(digits.data[i] - '0');
    return number;
}

static struct slice text_of(const struct bus_reply *fields, const char *name)
{
    return bus_reply_text(bus_reply_field(fields, name));
}

/* ---- the page ---- */

/* A payload as realtime has it, whatever protocol it came by. */
static void append_payload(struct buffer *body, const struct bus_reply *fields)
{
    static const char *const taken[] = {NULL};
    uint64_t protocol = read_u64(text_of(fields, "protocol"));
    uint64_t kind = read_u64(text_of(fields, "content"));
    struct slice message = text_of(fields, "body");
    struct content content;

    if (kind == CONTENT_JSON &&
        (protocol == FRAME_PROTOCOL_REALTIME || protocol == FRAME_PROTOCOL_SERVER)) {
        buffer_append_slice(body, message);
        return;
    }
    content_read(protocol, kind, message, &content);
    buffer_append_byte(body, '{');
    content_append_members(body, &content, "message", "attachments", taken);
    buffer_append_byte(body, '}');
}

static void append_message(struct buffer *body, const struct bus_reply *entry)
{
    const struct bus_reply *fields = bus_reply_at(entry, 1);

    buffer_appendf(body, "{\"offset\":%" PRIu64 ",\"id\":",
                   read_u64(slice_of(bus_reply_text(bus_reply_at(entry, 0)).data,
                                     strcspn(bus_reply_text(bus_reply_at(entry, 0)).data, "-"))));
    buffer_append_json_string(body, text_of(fields, "id"));
    buffer_append_text(body, ",\"from\":");
    buffer_append_json_string(body, text_of(fields, "from"));
    buffer_appendf(body,
                   ",\"sent_at\":%" PRIu64 ",\"payload\":", read_u64(text_of(fields, "at")) / 1000);
    append_payload(body, fields);
    buffer_append_byte(body, '}');
}

static void on_page(void *arg, uint64_t number, const struct bus_reply *reply)
{
    struct backend_call *call = backend_find(arg, number);
    const struct bus_reply *entries = bus_reply_at(reply, 3);
    struct buffer body = {0};

    if (call == NULL)
        return;
    if (reply == NULL) {
        backend_fail(call, 504, "no answer in time");
        return;
    }
    buffer_append_text(&body, "{\"topic\":");
    buffer_append_json_string(&body, buffer_slice(&call->topic));
    buffer_appendf(&body, ",\"epoch\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"messages\":[",
                   read_u64(bus_reply_text(bus_reply_at(reply, 0))),
                   read_u64(bus_reply_text(bus_reply_at(reply, 1))));
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        if (i > 0)
            buffer_append_byte(&body, ',');
        append_message(&body, bus_reply_at(entries, i));
    }
    buffer_append_text(&body, "]}");
    backend_answer(call, 200, &body);
}

/* The newest ones, unless it was said after which. */
static void on_place(void *arg, uint64_t number, const struct bus_reply *reply)
{
    struct backend_call *call = backend_find(arg, number);
    uint64_t newest = read_u64(bus_reply_text(bus_reply_at(reply, 1)));

    if (call == NULL)
        return;
    if (reply == NULL) {
        backend_fail(call, 504, "no answer in time");
        return;
    }
    call->after = newest > call->limit ? newest - call->limit : 0;
    ask(call, call->limit, on_page);
}

/* ---- the request ---- */

/* A parameter that is a whole number; usual when it is absent. */
static bool read_parameter(const struct request *request, const char *name, uint64_t usual,
                           uint64_t *number)
{
    struct slice text = request_parameter(request, name);

    *number = usual;
    if (text.data == NULL)
        return true;
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    *number = read_u64(text);
    return text.length > 0 && text.length <= 16;
}

void backend_do_history(struct backend *backend, struct arrival *arrival, struct slice topic,
                        uint64_t scopes)
{
    const struct request *request = arrival_request(arrival);
    bool has_after = request_parameter(request, "after").data != NULL;
    struct backend_call *call;
    uint64_t limit, after;

    (void)scopes;
    if (!topic_valid(topic)) {
        backend_refuse(arrival, 404, NULL, "this is no name of a topic");
    } else if (!read_parameter(request, "limit", LIMIT_USUAL, &limit) || limit < 1 ||
               limit > LIMIT_MAX) {
        backend_refuse(arrival, 400, "limit", "limit must be a whole number from 1 to 100");
    } else if (!read_parameter(request, "after", 0, &after)) {
        backend_refuse(arrival, 400, "after", "after must be an offset");
    } else if ((call = backend_open(backend, arrival))) {
        buffer_append_slice(&call->topic, topic);
        call->limit = limit;
        call->after = after;
        ask(call, has_after ? limit : 0, has_after ? on_page : on_place);
    }
}
