/*
 * chat: what is asked of routers. Everything is checked before anything is sent.
 */
#include "gateway/protocols/chat.h"

#include "gateway/bus/uplink.h"

#include <stdio.h>

static uint32_t partition_of_request(const struct chat_request *request, struct slice chat)
{
    return partition_of_chat(&request->session->gateway->deployment, request->session->user, chat);
}

static void send_frame(const struct chat_request *request, uint32_t partition,
                       const struct frame *frame)
{
    uplink_send(request->session->gateway->uplink, partition, frame);
}

/* What a request about a message of a chat begins with. Answers and returns false. */
static bool need_message(const struct chat_request *request, struct slice *chat, uint64_t *message)
{
    return chat_need_chat(request, chat) && chat_need_number(request, "messageId", 1, message);
}

/* ---- new ---- */

static bool is_null(const struct json_value *value)
{
    return value == NULL || json_type(value) == JSON_NULL;
}

/* A text, attachments, or both. */
static bool check_content(const struct chat_request *request)
{
    const struct json_value *message = json_member(request->payload, "message");
    const struct json_value *attachments = json_member(request->payload, "attachments");

    if (!is_null(attachments) && json_type(attachments) != JSON_ARRAY)
        return chat_refuse(request, "attachments must be an array");
    if (json_type(message) != JSON_STRING && (message || json_count(attachments) == 0))
        return chat_refuse(request, "message must be a string");
    if (json_text(message).length == 0 && json_count(attachments) == 0)
        return chat_refuse(request, "message is empty");
    return true;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return true;
    return false;
}

/* A number is taken by its digits. */
static bool read_client_id(const struct chat_request *request, struct slice *id)
{
    const struct json_value *value = json_member(request->payload, "clientMessageId");

    *id = json_text(value);
    if (is_null(value))
        return true;
    if (id->length == 0 || id->length > CHAT_ID_MAX || has_control(*id))
        return chat_refuse(request, "clientMessageId must be a string of 1 to 128 bytes");
    return true;
}

/* Of the message itself, not of where it goes. */
static bool is_said(const struct json_pair *pair)
{
    return !chat_is_reserved(pair->name) && json_type(pair->value) != JSON_NULL;
}

/* The text if nothing else is said, else empty. */
static struct slice text_alone(const struct chat_request *request)
{
    struct slice text = {0};
    struct json_pair pair;

    for (pair = json_first_pair(request->json, request->payload); pair.value;
         pair = json_next_pair(request->json, &pair)) {
        if (is_said(&pair) && !slice_is(pair.name, "message"))
            return (struct slice){0};
        if (is_said(&pair))
            text = pair.raw;
    }
    return text;
}

/* Everything that the client says of the message, as it says it: an object, or its text alone. */
static void append_body(struct buffer *body, const struct chat_request *request)
{
    struct slice text = text_alone(request);
    struct json_pair pair;

    if (text.length) {
        buffer_append_slice(body, text);
        return;
    }
    buffer_append_byte(body, '{');
    for (pair = json_first_pair(request->json, request->payload); pair.value;
         pair = json_next_pair(request->json, &pair)) {
        if (!is_said(&pair))
            continue;
        if (body->length > 1)
            buffer_append_byte(body, ',');
        buffer_append_json_string(body, pair.name);
        buffer_append_byte(body, ':');
        buffer_append_slice(body, pair.raw);
    }
    buffer_append_byte(body, '}');
}

static void post(const struct chat_request *request, const struct chat_open *open,
                 struct slice client_id)
{
    struct session *session = request->session;
    struct buffer *body = chat_scratch();

    append_body(body, request);
    send_frame(request, partition_of_request(request, open->chat),
               &(struct frame){.type = FRAME_CONVERSATION_POST,
                               .conversation_post = {.connection = session->id,
                                                     .request = open->number,
                                                     .from = session->user,
                                                     .chat = open->chat,
                                                     .id = client_id,
                                                     .retry = client_id.data != NULL,
                                                     .policy = DELIVERY_STORE,
                                                     .protocol = FRAME_PROTOCOL_CHAT,
                                                     .content = CONTENT_JSON,
                                                     .body = buffer_slice(body)}});
}

void chat_do_new(struct chat_request *request)
{
    const struct chat_open *open;
    struct slice chat, client_id;

    if (!chat_need_writable(request, &chat) || !check_content(request) ||
        !read_client_id(request, &client_id) ||
        !chat_has_credit(request, partition_of_request(request, chat)))
        return;
    open = chat_open_request(request, chat, 0);
    if (open)
        post(request, open, client_id);
}

void chat_finish_new(struct session *session, struct chat_open *open,
                     const struct frame_conversation_reply *reply)
{
    struct buffer *out = chat_scratch();

    buffer_append_text(out, "{\"messageId\":");
    buffer_append_u64(out, reply->message);
    if (open->client_id.length > 0 && !slice_is(open->client_id, "null")) {
        buffer_append_text(out, ",\"clientMessageId\":");
        buffer_append_slice(out, open->client_id);
    }
    buffer_append_byte(out, '}');
    chat_end(session, open, buffer_slice(out));
}

/* ---- edit, delete ---- */

static void change(const struct chat_request *request, struct slice chat, uint64_t message,
                   enum conversation_change kind, struct slice body)
{
    uint32_t partition = partition_of_request(request, chat);
    const struct chat_open *open;

    if (!chat_has_credit(request, partition))
        return;
    open = chat_open_request(request, chat, message);
    if (open == NULL)
        return;
    send_frame(request, partition,
               &(struct frame){.type = FRAME_CONVERSATION_CHANGE,
                               .conversation_change = {.connection = request->session->id,
                                                       .request = open->number,
                                                       .from = request->session->user,
                                                       .chat = chat,
                                                       .message = message,
                                                       .change = kind,
                                                       .protocol = FRAME_PROTOCOL_CHAT,
                                                       .content = CONTENT_JSON,
                                                       .body = body}});
}

void chat_do_edit(struct chat_request *request)
{
    const struct json_value *text = json_member(request->payload, "message");
    struct slice chat;
    uint64_t message;

    if (!need_message(request, &chat, &message))
        return;
    if (json_type(text) != JSON_STRING || json_text(text).length == 0) {
        chat_refuse(request, "message must be a string that is not empty");
        return;
    }
    change(request, chat, message, CONVERSATION_EDIT,
           json_member_raw(request->json, request->payload, "message"));
}

void chat_do_delete(struct chat_request *request)
{
    struct slice chat;
    uint64_t message;

    if (need_message(request, &chat, &message))
        change(request, chat, message, CONVERSATION_DELETE, slice_of(NULL, 0));
}

void chat_finish_plain(struct session *session, struct chat_open *open,
                       const struct frame_conversation_reply *reply)
{
    (void)reply;
    chat_end(session, open, slice_of(NULL, 0));
}

/* ---- dlvrd, read ---- */

static void mark(const struct chat_request *request, enum conversation_mark kind)
{
    const struct chat_open *open;
    struct slice chat;
    uint64_t message;
    uint32_t partition;

    if (!need_message(request, &chat, &message))
        return;
    partition = partition_of_request(request, chat);
    if (!chat_has_credit(request, partition))
        return;
    open = chat_open_request(request, chat, message);
    if (open == NULL)
        return;
    send_frame(request, partition,
               &(struct frame){.type = FRAME_CONVERSATION_MARK,
                               .conversation_mark = {.connection = request->session->id,
                                                     .request = open->number,
                                                     .from = request->session->user,
                                                     .chat = chat,
                                                     .mark = kind,
                                                     .message = message}});
}

void chat_do_delivered(struct chat_request *request)
{
    mark(request, CONVERSATION_MARK_DELIVERED);
}

void chat_do_read(struct chat_request *request)
{
    mark(request, CONVERSATION_MARK_READ);
}

void chat_finish_delivered(struct session *session, struct chat_open *open,
                           const struct frame_conversation_reply *reply)
{
    struct buffer *out = chat_scratch();

    (void)reply;
    buffer_append_text(out, "{\"chatId\":");
    buffer_append_slice(out, open->chat_json);
    buffer_append_text(out, ",\"messageId\":");
    buffer_append_u64(out, open->message);
    buffer_append_byte(out, '}');
    chat_end(session, open, buffer_slice(out));
}

/* ---- subscribe, offline ---- */

static bool is_subscribing(const struct chat_request *request)
{
    const struct chat_open *open;

    TAILQ_FOREACH(open, &request->state->open.queue, link)
    {
        if (open->command->handle == chat_do_subscribe)
            return true;
    }
    return false;
}

/* The connection's own: no client waits for it. */
static const struct chat_command catching_up = {.name = "catch up"};

bool chat_is_catching_up(const struct chat_open *open)
{
    return open->command == &catching_up;
}

static void cancel_catching_up(struct chat_state *state)
{
    struct chat_open *open;

    TAILQ_FOREACH(open, &state->open.queue, link)
    {
        if (!chat_is_catching_up(open))
            continue;
        chat_open_remove(&state->open, open);
        return;
    }
}

static void follow(struct session *session, uint64_t request, uint64_t after, uint64_t flags)
{
    chat_stop_following(session);
    session->flags |= flags & CONNECTION_FLAG_ECHO;
    uplink_send(session->gateway->uplink, session->partition,
                &(struct frame){.type = FRAME_EVENTS_FOLLOW,
                                .events_follow = {.connection = session->id,
                                                  .request = request,
                                                  .user = session->user,
                                                  .after = after,
                                                  .flags = flags}});
}

void chat_do_subscribe(struct chat_request *request)
{
    struct session *session = request->session;
    const struct json_value *echo = json_member(request->payload, "echo");
    const struct chat_open *open;
    uint64_t after = 0;

    if (!chat_read_number(request, "lastEventId", 0, &after))
        return;
    if (echo && json_type(echo) != JSON_BOOL) {
        chat_refuse(request, "echo must be true or false");
        return;
    }
    if (is_subscribing(request)) {
        chat_fail(session, &request->name, CHAT_CONFLICT, "another subscribe is not answered yet",
                  0);
        return;
    }
    if (!chat_has_credit(request, session->partition))
        return;
    open = chat_open_request(request, slice_of(NULL, 0), after);
    if (open == NULL)
        return;
    cancel_catching_up(request->state);
    follow(session, open->number, after, json_is_true(echo) ? CONNECTION_FLAG_ECHO : 0);
}

void chat_catch_up(struct session *session, uint64_t after)
{
    struct chat_state *state = session->protocol_state;
    const struct chat_open wanted = {
        .number = ++state->last_number,
        .deadline_ms = uv_now(session->gateway->loop) + CHAT_OPEN_MS,
        .command = &catching_up,
    };

    if (chat_open_add(&state->open, &wanted) == NULL) {
        session_close(session, SESSION_CLOSE_RESTART, "too much is open to catch up");
        return;
    }
    session_tick_soon(session);
    follow(session, wanted.number, after, session->flags & CONNECTION_FLAG_HIDDEN);
}

void chat_do_offline(struct chat_request *request)
{
    struct session *session = request->session;

    session->flags |= CONNECTION_FLAG_HIDDEN;
    request->state->hidden_at = request->state->last_number;
    send_frame(request, session->partition,
               &(struct frame){.type = FRAME_CONNECTION_VISIBLE,
                               .connection_visible = {.connection = session->id, .visible = 0}});
    chat_answer(session, &request->name, slice_of(NULL, 0));
}

/* ---- typing ---- */

static void signal_user(const struct chat_request *request, struct slice user)
{
    struct session *session = request->session;

    send_frame(request, partition_of(&session->gateway->deployment, user),
               &(struct frame){.type = FRAME_SIGNAL_SEND,
                               .signal_send = {.connection = session->id,
                                               .kind = SIGNAL_TYPING,
                                               .from = session->user,
                                               .to = user,
                                               .protocol = FRAME_PROTOCOL_CHAT,
                                               .content = CONTENT_JSON}});
    chat_answer(session, &request->name, slice_of(NULL, 0));
}

/* Without an id nobody waits for what becomes of it. */
static void signal_group(const struct chat_request *request, struct slice group)
{
    struct session *session = request->session;
    const struct chat_open *open =
        request->name.id.data ? chat_open_request(request, group, 0) : NULL;

    if (request->name.id.data && open == NULL)
        return;
    send_frame(request, partition_of_request(request, group),
               &(struct frame){.type = FRAME_CONVERSATION_SIGNAL,
                               .conversation_signal = {.connection = session->id,
                                                       .request = open ? open->number : 0,
                                                       .kind = SIGNAL_TYPING,
                                                       .from = session->user,
                                                       .chat = group,
                                                       .protocol = FRAME_PROTOCOL_CHAT,
                                                       .content = CONTENT_JSON}});
}

void chat_do_typing(struct chat_request *request)
{
    const struct deployment *deployment = &request->session->gateway->deployment;
    struct slice chat;

    if (!chat_need_writable(request, &chat) ||
        !chat_has_credit(request, chat_is_group(chat) ? partition_of_request(request, chat)
                                                      : partition_of(deployment, chat)))
        return;
    if (chat_is_group(chat))
        signal_group(request, chat);
    else
        signal_user(request, chat);
}
