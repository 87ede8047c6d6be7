/*
 * A sixth protocol, made up to show that one is a file: lines of plain text on /telegram.
 *
 *      bob see you at six          to the user bob
 *      *bob see you at six         from bob
 *      ok | no <why>               what became of the line before
 *
 * It is linked into a gateway of the tests' own (Makefile); nothing else in the house knows of it.
 */
#include "common/uid.h"
#include "common/user.h"
#include "gateway/session/admission.h"
#include "gateway/content.h"
#include "gateway/door/handshake.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"

#include <time.h>

#define TELEGRAM 6

extern const struct protocol protocol_telegram;

static void say(struct session *session, const char *line)
{
    session_send_text(session, slice_text(line));
}

static void identify(struct handshake *handshake)
{
    struct gateway *gateway = handshake_gateway(handshake);
    struct identity identity = {0};
    enum verifier_result result = verifier_check(gateway->verifier, handshake_token(handshake),
                                                 (int64_t)time(NULL), &identity);

    if (result == VERIFIER_OK)
        handshake_accept(handshake, &identity, 0, (struct slice){0});
    else
        handshake_refuse(handshake, 401, verifier_reason(result));
}

static void on_open(struct session *session)
{
    (void)session; /* a telegram office says nothing unless spoken to */
}

/* The body on the bus is JSON, as every protocol's: a string. */
static void tell(struct session *session, struct slice to, struct slice text)
{
    struct gateway *gateway = session->gateway;
    uint32_t partition = partition_of(&gateway->deployment, to);
    char id[ULID_TEXT_SIZE];
    struct buffer body = {0};

    if (!uplink_has_credit(gateway->uplink, partition)) {
        say(session, "no line at the moment");
        return;
    }
    uid_ulid((uint64_t)time(NULL) * 1000, id);
    buffer_append_json_string(&body, text);
    uplink_send(gateway->uplink, partition,
                &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                                .direct_message = {.connection = session->id,
                                                   .request = 1,
                                                   .from = session->user,
                                                   .to = to,
                                                   .id = slice_text(id),
                                                   .policy = DELIVERY_STORE,
                                                   .protocol = TELEGRAM,
                                                   .content = CONTENT_JSON,
                                                   .body = buffer_slice(&body)}});
    buffer_finish(&body);
}

static void on_text(struct session *session, struct slice line)
{
    const char *space = memchr(line.data, ' ', line.length);
    struct slice to = slice_of(line.data, space ? (size_t)(space - line.data) : line.length);

    if (admission_take(session, LIMIT_DIRECT) > 0)
        say(session, "no, not so fast");
    else if (space == NULL || !user_allowed(to, true))
        say(session, "no such address");
    else
        tell(session, to, slice_of(space + 1, line.length - to.length - 1));
}

static void on_binary(struct session *session, struct slice bytes)
{
    (void)bytes;
    say(session, "no, only words");
}

static void on_direct_reply(struct session *session, const struct frame_direct_reply *reply)
{
    say(session, reply->status == DIRECT_MAILBOX_FULL ? "no room" : "ok");
}

static void read_content(struct slice body, struct content *content)
{
    content->text = body;
}

static void encode_delivery(struct buffer *out, const struct frame_message_delivery *delivery,
                            int *opcode)
{
    static struct json *json;
    struct content content;
    struct buffer plain = {0};

    (void)opcode;
    if (json == NULL)
        json = json_create();
    content_read(delivery->protocol, delivery->content, delivery->body, &content);
    content_append_plain(&plain, &content);
    buffer_append_byte(out, '*');
    buffer_append_slice(out, delivery->from);
    buffer_append_byte(out, ' ');
    if (json_read(json, buffer_slice(&plain)) == 0)
        buffer_append_slice(out, json_text(json_root(json)));
    buffer_finish(&plain);
}

static void on_subscribed(struct session *session, uint64_t request)
{
    (void)session, (void)request;
}

static void on_tick(struct session *session, uint64_t now_ms)
{
    if ((int64_t)time(NULL) >= session->identity.expires_at)
        session_close(session, SESSION_CLOSE_TOKEN, NULL);
    session->tick_due_ms = now_ms + 1000;
}

const struct protocol protocol_telegram = {
    .name = "telegram",
    .endpoint = "/telegram",
    .id = TELEGRAM,
    .identify = identify,
    .open = on_open,
    .on_text = on_text,
    .on_binary = on_binary,
    .on_direct_reply = on_direct_reply,
    .on_subscribed = on_subscribed,
    .read_content = read_content,
    .encode_delivery = encode_delivery,
    .on_tick = on_tick,
};
