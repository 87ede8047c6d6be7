#include "gateway/protocols/chat.h"

#include "common/user.h"
#include "gateway/bus/uplink.h"

#include <errno.h>

/* A name of a request that is echoed although nobody knows it. */
#define TYPE_MAX 64

static const struct chat_command commands[] = {
    {"new", chat_do_new, chat_finish_new, NULL, LIMIT_DIRECT, false, true},
    {"edit", chat_do_edit, chat_finish_plain, NULL, LIMIT_MESSAGE, false, true},
    {"delete", chat_do_delete, chat_finish_plain, NULL, LIMIT_MESSAGE, false, true},
    {"dlvrd", chat_do_delivered, chat_finish_delivered, NULL, LIMIT_MESSAGE, false, true},
    {"delivered", chat_do_delivered, chat_finish_delivered, NULL, LIMIT_MESSAGE, false, true},
    {"read", chat_do_read, chat_finish_read, chat_ask_missed, LIMIT_READ, false, true},
    {"subscribe", chat_do_subscribe, NULL, NULL, LIMIT_SUBSCRIBE, false, false},
    {"getMessage", chat_do_get_message, NULL, chat_ask_messages, LIMIT_READ, false, true},
    {"getMessages", chat_do_get_messages, NULL, chat_ask_messages, LIMIT_READ, false, true},
    {"getChat", chat_do_get_chat, NULL, chat_ask_chat, LIMIT_READ, false, true},
    {"getChats", chat_do_get_chats, NULL, chat_ask_all_chats, LIMIT_READ, false, false},
    {"getEvent", chat_do_get_event, NULL, chat_ask_event, LIMIT_READ, false, true},
    {"getEvents", chat_do_get_events, NULL, chat_ask_event_page, LIMIT_READ, false, true},
    {"typing", chat_do_typing, chat_finish_plain, NULL, LIMIT_MESSAGE, true, true},
    {"offline", chat_do_offline, NULL, NULL, LIMIT_MESSAGE, true, false},
};

static const struct chat_command *find_command(struct slice name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (slice_is(name, commands[i].name))
            return &commands[i];
    return NULL;
}

/* ---- checks that commands share ---- */

bool chat_refuse(const struct chat_request *request, const char *message)
{
    chat_fail(request->session, &request->name, CHAT_BAD_REQUEST, message, 0);
    return false;
}

bool chat_has_credit(const struct chat_request *request, uint32_t partition)
{
    if (uplink_has_credit(request->session->gateway->uplink, partition))
        return true;
    gateway_count(GATEWAY_CREDIT_REFUSED, 1);
    chat_fail(request->session, &request->name, CHAT_UNAVAILABLE,
              "the service cannot take this now", CHAT_RETRY_MS);
    return false;
}

static bool is_digits(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return text.length > 0;
}

/* Of a group: what its creator may choose as its id, and no more. */
static bool chat_allowed(struct slice chat)
{
    static const size_t prefix = sizeof("group:") - 1;

    if (chat_is_group(chat))
        return user_allowed(slice_of(chat.data + prefix, chat.length - prefix), true);
    return user_allowed(chat, true);
}

/* A number names the user of the same digits. */
static bool need_chat(const struct chat_request *request, bool server, struct slice *chat)
{
    const struct json_value *value = json_member(request->payload, "chatId");

    *chat = json_text(value);
    if (chat->data == NULL || (json_type(value) == JSON_NUMBER && !is_digits(*chat)))
        return chat_refuse(request, "chatId must be a user or a group");
    if (!chat_allowed(*chat) && !(server && slice_is(*chat, CHAT_SERVER)))
        return chat_refuse(request, "chatId is no user or group");
    if (slice_equal(*chat, request->session->user))
        return chat_refuse(request, "chatId is yourself");
    return true;
}

bool chat_need_chat(const struct chat_request *request, struct slice *chat)
{
    return need_chat(request, true, chat);
}

bool chat_need_writable(const struct chat_request *request, struct slice *chat)
{
    return need_chat(request, false, chat);
}

/* Digits only, not above CHAT_NUMBER_MAX. */
static bool read_digits(struct slice digits, uint64_t *number)
{
    uint64_t value = 0;

    if (!is_digits(digits))
        return false;
    for (size_t i = 0; i < digits.length; i++) {
        value = value * 10 + (uint64_t)(digits.data[i] - '0');
        if (value > CHAT_NUMBER_MAX)
            return false;
    }
    *number = value;
    return true;
}

static bool refuse_number(const struct chat_request *request, const char *field)
{
    struct buffer message = {0};

    buffer_append_text(&message, field);
    buffer_append(&message, " must be an integer in range", sizeof(" must be an integer in range"));
    chat_refuse(request, message.data);
    buffer_finish(&message);
    return false;
}

bool chat_read_number(const struct chat_request *request, const char *field, uint64_t least,
                      uint64_t *number)
{
    const struct json_value *value = json_member(request->payload, field);
    uint64_t given;

    if (value == NULL)
        return true;
    if (json_type(value) != JSON_NUMBER || !read_digits(json_text(value), &given) || given < least)
        return refuse_number(request, field);
    *number = given;
    return true;
}

bool chat_need_number(const struct chat_request *request, const char *field, uint64_t least,
                      uint64_t *number)
{
    if (json_member(request->payload, field) == NULL)
        return refuse_number(request, field);
    return chat_read_number(request, field, least, number);
}

struct chat_open *chat_open_request(const struct chat_request *request, struct slice chat,
                                    uint64_t message)
{
    struct session *session = request->session;
    const struct chat_open wanted = {
        .number = ++request->state->last_number,
        .deadline_ms = uv_now(session->gateway->loop) + CHAT_OPEN_MS,
        .command = request->command,
        .name = request->name,
        .chat = chat,
        .chat_json = json_member_raw(request->json, request->payload, "chatId"),
        .client_id = json_member_raw(request->json, request->payload, "clientMessageId"),
        .message = message,
    };
    struct chat_open *open = chat_open_add(&request->state->open, &wanted);

    if (open == NULL)
        chat_fail(session, &request->name, CHAT_RATE_LIMITED, "too many requests are open",
                  CHAT_RETRY_MS);
    else if (request->state->open.count == 1)
        session_tick_soon(session);
    return open;
}

/* ---- the message as a whole ---- */

/* Returns why it cannot be done, or NULL. */
static const char *read_text(struct chat_request *request, struct json *json, struct slice message)
{
    int result = json_read(json, message);

    request->json = json;
    request->root = json_root(json);
    if (result == -EOVERFLOW)
        return "the message is nested too deeply";
    if (result == -EEXIST)
        return "the message has a key twice in one object";
    if (result != 0)
        return "the message is not JSON";
    if (json_type(request->root) != JSON_OBJECT)
        return "the message must be a JSON object";
    return NULL;
}

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return true;
}

/* Such a one needs no answer, whichever way it is sent. */
static bool is_event(const struct chat_command *command)
{
    return command && command->event;
}

static const char *read_id(struct chat_request *request)
{
    const struct json_value *value = json_member(request->root, "id");
    struct slice id = json_text(value);

    if (value == NULL)
        return request->event || is_event(request->command) ? NULL : "id is missing";
    if (json_type(value) != JSON_STRING || id.length == 0 || id.length > CHAT_ID_MAX ||
        !is_plain(id))
        return "id must be a string of 1 to 128 bytes";
    request->name.id = id;
    return NULL;
}

static const char *read_type(struct chat_request *request)
{
    struct slice type = json_text(json_member(request->root, "type"));

    request->event = slice_is(type, "event");
    return request->event || slice_is(type, "request") ? NULL : "type must be request or event";
}

/* An event's name may stand in either field. */
static const char *read_command(struct chat_request *request)
{
    const struct json_value *value = json_member(request->root, "payloadType");

    if (request->event && value == NULL)
        value = json_member(request->root, "eventType");
    if (json_type(value) != JSON_STRING)
        return "payloadType must be a string";
    if (json_text(value).length <= TYPE_MAX)
        request->name.type = json_text(value);
    request->command = find_command(json_text(value));
    if (request->command == NULL)
        return "this payloadType is not known";
    if (request->event && !request->command->event)
        return "this must be a request";
    return NULL;
}

static const char *read_payload(struct chat_request *request)
{
    const struct json_value *timestamp = json_member(request->root, "timestamp");
    const struct json_value *payload = json_member(request->root, "payload");

    if (request->command == NULL)
        return NULL;
    if (timestamp && json_type(timestamp) != JSON_NUMBER)
        return "timestamp must be a number";
    if (payload == NULL && !request->command->payload)
        return NULL;
    if (json_type(payload) != JSON_OBJECT)
        return "payload must be an object";
    request->payload = payload;
    return NULL;
}

/* Reads as much as it can: what is known of a message that is refused stands in the answer. */
static const char *read_message(struct chat_request *request, struct json *json,
                                struct slice message)
{
    static const char *(*const steps[])(struct chat_request *) = {read_type, read_command, read_id,
                                                                  read_payload};
    const char *fault = read_text(request, json, message);
    size_t count = fault ? 0 : sizeof(steps) / sizeof(steps[0]);

    for (size_t i = 0; i < count; i++) {
        const char *next = steps[i](request);

        if (fault == NULL)
            fault = next;
    }
    return fault;
}

/* Charges the message. Answers and returns false when a limit is passed: it has no effect then. */
static bool admit(const struct chat_request *request, enum limit limit)
{
    uint64_t wait_ms = admission_take(request->session, limit);

    if (wait_ms > 0)
        chat_fail(request->session, &request->name, CHAT_RATE_LIMITED, "too many messages",
                  wait_ms);
    return wait_ms == 0;
}

/* A request that was sent twice: its answer comes again, or is on its way. */
static bool is_known(const struct chat_request *request)
{
    struct slice answer;

    if (request->name.id.data == NULL)
        return false;
    answer = chat_answers_find(&request->state->answers, request->name.id);
    if (answer.length > 0)
        session_send_text(request->session, answer);
    return answer.length > 0 || chat_open_has(&request->state->open, request->name.id);
}

void chat_on_text(struct session *session, struct slice message)
{
    static struct json *json;
    struct chat_request request = {.session = session, .state = session->protocol_state};
    const char *fault;

    if (json == NULL)
        json = json_create();
    fault = read_message(&request, json, message);
    if (!admit(&request, request.command ? request.command->limit : LIMIT_MESSAGE) ||
        is_known(&request))
        return;
    if (fault)
        chat_refuse(&request, fault);
    else
        request.command->handle(&request);
}

void chat_on_binary(struct session *session, struct slice message)
{
    const struct chat_request request = {.session = session, .state = session->protocol_state};

    (void)message;
    if (admit(&request, LIMIT_MESSAGE))
        chat_refuse(&request, "messages are text");
}
