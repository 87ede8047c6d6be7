/*
 * What the HTTP API reads: presence, and what this gateway is. see backend.h.
 */
#include "common/embed.h"
#include "common/user.h"
#include "common/version.h"
#include "gateway/api/backend.h"
#include "gateway/protocol.h"
#include "gateway/bus/query.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"

#include <inttypes.h>

EMBED(presence_lua, "gateway/api/presence.lua");
static struct bus_script presence = {.name = "presence", .text = presence_lua};

void backend_reads_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &presence);
}

/* Asks; without an answer the call has ended. */
static void ask(struct backend_call *call, const struct query *query, query_fn *answer)
{
    struct backend *backend = call->backend;

    if (query_ask_for(backend_gateway(backend)->queries, query, call->number, answer, backend,
                      NULL) < 0)
        backend_fail(call, 503, "the message bus is not reachable at the moment");
}

/* ---- presence ---- */

static void append_json(struct buffer *body, const char *name, struct slice value,
                        const char *missing)
{
    buffer_append_text(body, name);
    buffer_append_slice(body, value.length ? value : slice_text(missing));
}

/* Milliseconds, in seconds. */
static struct slice seconds_of(struct slice ms)
{
    return ms.length > 3 ? slice_of(ms.data, ms.length - 3) : slice_of(NULL, 0);
}

static void on_presence(void *arg, uint64_t number, const struct bus_reply *reply)
{
    struct backend_call *call = backend_find(arg, number);
    struct slice status = bus_reply_text(bus_reply_at(reply, 0));
    struct buffer body = {0};

    if (call == NULL)
        return;
    if (reply == NULL) {
        backend_fail(call, 504, "no answer in time");
        return;
    }
    buffer_append_text(&body, "{\"user\":");
    buffer_append_json_string(&body, slice_text(call->id));
    buffer_append_text(&body, ",\"status\":");
    buffer_append_json_string(&body, status.length ? status : slice_text("offline"));
    append_json(&body, ",\"last_seen\":", seconds_of(bus_reply_text(bus_reply_at(reply, 1))),
                "null");
    append_json(&body, ",\"metadata\":", bus_reply_text(bus_reply_at(reply, 2)), "{}");
    buffer_append_byte(&body, '}');
    backend_answer(call, 200, &body);
}

void backend_do_presence(struct backend *backend, struct arrival *arrival, struct slice user,
                         uint64_t scopes)
{
    const struct query_key key = {.what = "user", .name = user};
    struct query query = {.script = &presence, .keys = &key, .key_count = 1};
    struct backend_call *call;

    (void)scopes;
    if (!user_allowed(user, true)) {
        backend_refuse(arrival, 404, NULL, "this is no user id");
        return;
    }
    call = backend_open(backend, arrival);
    if (call == NULL)
        return;
    memcpy(call->id, user.data, user.length);
    query.partition = partition_of(&backend_gateway(backend)->deployment, user);
    ask(call, &query, on_presence);
}

/* ---- info ---- */

static void append_protocols(struct buffer *body)
{
    buffer_append_text(body, ",\"protocols\":{");
    for (size_t i = 0; protocols[i]; i++)
        buffer_appendf(body, "%s\"%s\":\"%s\"", i ? "," : "", protocols[i]->name,
                       protocols[i]->endpoint);
    buffer_append_byte(body, '}');
}

void backend_do_info(struct backend *backend, struct arrival *arrival, struct slice argument,
                     uint64_t scopes)
{
    struct gateway *gateway = backend_gateway(backend);
    struct backend_call *call = backend_open(backend, arrival);
    struct buffer body = {0};

    (void)argument, (void)scopes;
    if (call == NULL)
        return;
    buffer_append_text(&body, "{\"name\":");
    buffer_append_json_string(&body, slice_text(gateway->name));
    buffer_appendf(&body,
                   ",\"version\":\"" TRUNKLINE_VERSION "\",\"uptime\":%" PRIu64
                   ",\"ready\":%s,\"connections\":%zu"
                   ",\"partitions\":%u,\"partitions_answering\":%u",
                   (uv_now(gateway->loop) - gateway->started_ms) / 1000,
                   gateway_is_ready(gateway) ? "true" : "false", sessions_count(gateway->sessions),
                   gateway->deployment.partitions, uplink_partitions_answering(gateway->uplink));
    append_protocols(&body);
    buffer_append_byte(&body, '}');
    backend_answer(call, 200, &body);
}
