/*
 * Types of clients' own, "X-...": to a topic, to a user, or to a backend. Receivers get the message
 * as it came with metadata.from_user; to routers it is a body under a mark that says so.
 */
#include "common/uid.h"
#include "common/xalloc.h"
#include "gateway/bus/extensions.h"
#include "gateway/protocols/realtime.h"

#include <stdlib.h>

#define ID_PREFIX "x_"

/* One on its way to the backend's stream. */
struct put {
    struct gateway *gateway;
    uint64_t session;
    char *id;
    size_t id_length;
    bool own_id; /* it is the client's */
};

/* ---- the message with its sender ---- */

static void append_member(struct buffer *out, const struct json_pair *pair)
{
    if (out->data[out->length - 1] != '{')
        buffer_append_byte(out, ',');
    buffer_append_json_string(out, pair->name);
    buffer_append_byte(out, ':');
}

static void append_from(struct buffer *out, struct slice user)
{
    append_member(out, &(struct json_pair){.name = slice_text("from_user")});
    buffer_append_json_string(out, user);
}

/* The client's own metadata but from_user, which is ours. */
static void append_metadata(struct buffer *out, const struct realtime_request *request)
{
    const struct json_value *metadata = json_member(request->root, "metadata");
    struct json_pair pair;

    append_member(out, &(struct json_pair){.name = slice_text("metadata")});
    buffer_append_byte(out, '{');
    for (pair = json_first_pair(request->json, metadata); pair.value;
         pair = json_next_pair(request->json, &pair)) {
        if (slice_is(pair.name, "from_user"))
            continue;
        append_member(out, &pair);
        buffer_append_slice(out, pair.raw);
    }
    append_from(out, request->session->user);
    buffer_append_byte(out, '}');
}

static struct slice message_of(const struct realtime_request *request)
{
    struct buffer *out = realtime_scratch();
    struct json_pair pair;

    buffer_append_byte(out, '{');
    for (pair = json_first_pair(request->json, request->root); pair.value;
         pair = json_next_pair(request->json, &pair)) {
        if (slice_is(pair.name, "metadata"))
            continue;
        append_member(out, &pair);
        buffer_append_slice(out, pair.raw);
    }
    append_metadata(out, request);
    buffer_append_byte(out, '}');
    return buffer_slice(out);
}

static struct realtime_content content_of(struct slice message)
{
    return (struct realtime_content){
        .protocol = FRAME_PROTOCOL_REALTIME,
        .kind = CONTENT_JSON,
        .body = message,
        .metadata = slice_text(REALTIME_EXTENSION_MARK),
        .id_prefix = ID_PREFIX,
    };
}

/* ---- to others ---- */

void realtime_do_extension_topic(struct realtime_request *request)
{
    struct realtime_content content;
    struct slice topic;

    if (json_member(request->data, "target_user")) {
        realtime_refuse_field(request, "target_user", "to a topic or to a user, not both");
    } else if (realtime_need_topic(request, &topic)) {
        content = content_of(message_of(request));
        realtime_publish(request, topic, &content);
    }
}

void realtime_do_extension_user(struct realtime_request *request)
{
    struct realtime_content content;
    struct slice user;

    if (!realtime_need_user(request, &user))
        return;
    content = content_of(message_of(request));
    realtime_send_direct(request, user, &content);
}

/* ---- to the backend ---- */

static void acknowledge(const struct realtime_request *request, struct slice id)
{
    struct buffer *out = realtime_scratch();

    realtime_encode_ack(out, request->id, id, "accepted");
    session_send_text(request->session, buffer_slice(out));
}

static void on_put(void *arg, bool kept)
{
    struct put *put = arg;
    struct session *session = session_find(put->gateway->sessions, put->session);
    const struct slice id = slice_of(put->id, put->id_length);
    const struct realtime_request request = {.session = session,
                                             .id = put->own_id ? id : slice_of(NULL, 0)};

    if (session && kept)
        acknowledge(&request, id);
    else if (session)
        realtime_unavailable(&request);
    free(put->id);
    free(put);
}

void realtime_do_extension_backend(struct realtime_request *request)
{
    struct session *session = request->session;
    char id[REALTIME_ID_SIZE], connection[UUID_TEXT_SIZE];
    struct extension extension = {
        .user = session->user,
        .type = json_text(json_member(request->root, "type")),
        .id = realtime_choose_id(request, ID_PREFIX, id),
        .retry = request->id.data != NULL,
    };
    struct put *put;

    if (!realtime_has_credit(request, session->partition))
        return;
    uid_connection(session->gateway->bits, session->id, connection);
    extension.connection = slice_text(connection);
    extension.message = message_of(request);
    put = xcalloc(1, sizeof(*put));
    put->gateway = session->gateway;
    put->session = session->id;
    put->id = xmemdup0(extension.id.data, extension.id.length);
    put->id_length = extension.id.length;
    put->own_id = extension.retry;
    if (extensions_put(session->gateway, &extension, on_put, put) < 0)
        on_put(put, false);
}
