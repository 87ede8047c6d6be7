/*
 * Binary messages: [type][length, 4 bytes][payload]; the payload opens with an address, 2 bytes of
 * length and so many of UTF-8, and is the receivers' with the sender's name before it. To routers
 * they are bytes under a mark, their metadata, that says which of the four types they are.
 */
#include "common/sha256.h"
#include "common/xalloc.h"
#include "gateway/session/message.h"
#include "gateway/protocols/realtime.h"
#include "common/uid.h"
#include "common/user.h"

#include <stdlib.h>

#define HEAD_BYTES 5
#define ADDRESS_BYTES 2
/* Of one connection, that wait for their answers; beyond it 503. */
#define OPEN_MAX 32
/* An answer that has not come by then is lost (Redis was emptied). */
#define LOST_MS 30000

static const struct binary_type {
    unsigned char type;
    bool to_topic;
    enum limit limit;
    const char *name;
    const char *mark; /* the name as a JSON string */
} types[] = {
    {1, true, LIMIT_BROADCAST, "broadcast", "\"broadcast\""},
    {2, false, LIMIT_DIRECT, "direct_message", "\"direct_message\""},
    {3, false, LIMIT_DIRECT, "file_transfer", "\"file_transfer\""},
    {4, true, LIMIT_BROADCAST, "stream_data", "\"stream_data\""},
};

struct realtime_binary {
    TAILQ_ENTRY(realtime_binary) link;
    uint64_t request;
    uint64_t sent_ms; /* loop time */
    const struct binary_type *type;
    size_t size;
    char checksum[SHA256_TEXT_SIZE];
};

static const struct binary_type *find_type(unsigned char type)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

static uint64_t read_number(struct slice bytes, size_t length)
{
    uint64_t number = 0;

    for (size_t i = 0; i < length; i++)
        number = number << 8 | (unsigned char)bytes.data[i];
    return number;
}

static struct slice behind(struct slice bytes, size_t length)
{
    return slice_of(bytes.data + length, bytes.length - length);
}

/* ---- waiting for answers ---- */

static void forget(struct realtime_state *state, struct realtime_binary *binary)
{
    TAILQ_REMOVE(&state->binaries, binary, link);
    state->binaries_count--;
    free(binary);
}

void realtime_forget_binary(struct session *session, uint64_t request)
{
    struct realtime_state *state = session->protocol_state;
    struct realtime_binary *binary, *next;

    for (binary = TAILQ_FIRST(&state->binaries); binary; binary = next) {
        next = TAILQ_NEXT(binary, link);
        if (request == 0 || binary->request == request)
            forget(state, binary);
    }
}

static bool has_room(const struct realtime_request *request)
{
    struct realtime_state *state = request->state;
    struct realtime_binary *oldest = TAILQ_FIRST(&state->binaries);

    if (oldest && oldest->sent_ms + LOST_MS < uv_now(request->session->gateway->loop))
        forget(state, oldest);
    if (state->binaries_count < OPEN_MAX)
        return true;
    realtime_unavailable(request);
    return false;
}

static void remember(const struct realtime_request *request, uint64_t number,
                     const struct binary_type *type, struct slice payload)
{
    struct realtime_binary *binary = xcalloc(1, sizeof(*binary));
    uint8_t digest[SHA256_BYTES];

    binary->request = number;
    binary->sent_ms = uv_now(request->session->gateway->loop);
    binary->type = type;
    binary->size = payload.length;
    sha256(payload, digest);
    sha256_text(digest, binary->checksum);
    TAILQ_INSERT_TAIL(&request->state->binaries, binary, link);
    request->state->binaries_count++;
}

/* ---- what the client sends ---- */

/* The parts of a message whose head is right. */
struct parts {
    const struct binary_type *type;
    struct slice payload, address, body;
};

/* Returns the field that is wrong, NULL when none is. */
static const char *read_parts(struct slice message, struct parts *parts)
{
    uint64_t length;

    parts->type = message.length ? find_type((unsigned char)message.data[0]) : NULL;
    if (parts->type == NULL)
        return "type";
    if (message.length < HEAD_BYTES ||
        read_number(behind(message, 1), HEAD_BYTES - 1) != message.length - HEAD_BYTES)
        return "length";
    parts->payload = behind(message, HEAD_BYTES);
    if (parts->payload.length < ADDRESS_BYTES)
        return "address";
    length = read_number(parts->payload, ADDRESS_BYTES);
    if (length > parts->payload.length - ADDRESS_BYTES)
        return "address";
    parts->address = slice_of(parts->payload.data + ADDRESS_BYTES, length);
    parts->body = behind(parts->payload, ADDRESS_BYTES + length);
    return NULL;
}

static bool check_address(const struct realtime_request *request, const struct parts *parts)
{
    if (parts->type->to_topic)
        return realtime_check_topic(request, "address", parts->address);
    if (!user_allowed(parts->address, true))
        return realtime_refuse_field(request, "address", "this is no user id");
    return true;
}

static void send_on(const struct realtime_request *request, const struct parts *parts)
{
    const struct realtime_content content = {
        .protocol = FRAME_PROTOCOL_REALTIME,
        .kind = CONTENT_BINARY,
        .reply = REALTIME_REPLY_BINARY,
        .body = parts->body,
        .metadata = slice_text(parts->type->mark),
        .id_prefix = "binary_",
    };
    uint64_t number = parts->type->to_topic
                          ? realtime_publish(request, parts->address, &content)
                          : realtime_send_direct(request, parts->address, &content);

    if (number)
        remember(request, number, parts->type, parts->payload);
}

void realtime_on_binary(struct session *session, struct slice message)
{
    const struct realtime_request request = {.session = session, .state = session->protocol_state};
    struct parts parts = {0};
    const char *wrong = read_parts(message, &parts);

    if (!realtime_admit(&request, parts.type ? parts.type->limit : LIMIT_MESSAGE))
        return;
    if (wrong)
        realtime_refuse_field(&request, wrong, "a binary message is [type][length][payload]");
    else if (check_address(&request, &parts) && has_room(&request))
        send_on(&request, &parts);
}

/* ---- answers ---- */

static struct realtime_binary *find_open(struct session *session, uint64_t request)
{
    struct realtime_state *state = session->protocol_state;
    struct realtime_binary *binary;

    TAILQ_FOREACH(binary, &state->binaries, link)
    {
        if (binary->request == request)
            return binary;
    }
    return NULL;
}

static struct buffer *open_status(const struct realtime_binary *binary, struct slice id)
{
    struct buffer *out = realtime_scratch();

    buffer_appendf(out,
                   "{\"type\":\"Status\",\"data\":{\"status\":\"binary_received\",\"details\":{"
                   "\"size\":%zu,\"type\":\"%s\",\"checksum\":\"sha256:%s\",\"message_id\":",
                   binary->size, binary->type->name, binary->checksum);
    buffer_append_json_string(out, id);
    return out;
}

static void close_status(struct session *session, struct buffer *out,
                         struct realtime_binary *binary)
{
    buffer_append_text(out, "}}}");
    session_send_text(session, buffer_slice(out));
    forget(session->protocol_state, binary);
}

void realtime_on_binary_published(struct session *session, const struct frame_publish_reply *reply)
{
    struct realtime_binary *binary = find_open(session, reply->request);
    struct buffer *out;

    if (binary == NULL)
        return;
    out = open_status(binary, reply->id);
    buffer_append_text(out, ",\"recipients\":");
    buffer_append_u64(out, reply->recipients);
    close_status(session, out, binary);
}

void realtime_on_binary_sent(struct session *session, const struct frame_direct_reply *reply)
{
    struct realtime_binary *binary = find_open(session, reply->request);
    struct buffer *out;

    if (binary == NULL)
        return;
    out = open_status(binary, reply->id);
    buffer_append_text(out, reply->status == DIRECT_DELIVERED ? ",\"queued\":false"
                                                              : ",\"queued\":true");
    realtime_append_delivered_to(out, &reply->delivered);
    close_status(session, out, binary);
}

/* ---- what receivers get ---- */

static void append_number(struct buffer *out, uint64_t number, size_t bytes)
{
    while (bytes-- > 0)
        buffer_append_byte(out, (char)(number >> 8 * bytes));
}

static void append_address(struct buffer *out, struct slice address)
{
    append_number(out, address.length, ADDRESS_BYTES);
    buffer_append_slice(out, address);
}

static unsigned char type_of(struct slice mark, bool to_topic)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (slice_is(mark, types[i].mark))
            return types[i].type;
    return to_topic ? 1 : 2;
}

void realtime_encode_binary(struct buffer *out, struct slice from, struct slice address,
                            struct slice mark, bool to_topic, struct slice body)
{
    append_number(out, type_of(mark, to_topic), 1);
    append_number(out, 2 * ADDRESS_BYTES + from.length + address.length + body.length,
                  HEAD_BYTES - 1);
    append_address(out, from);
    append_address(out, address);
    buffer_append_slice(out, body);
}
