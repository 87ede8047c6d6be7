/*
 * CMD: one row for each command. What routers answer comes back to its payload by callie_pending.
 */
#include "common/clock.h"
#include "common/topic.h"
#include "common/uid.h"
#include "common/user.h"
#include "common/xalloc.h"
#include "gateway/protocols/callie.h"
#include "gateway/bus/uplink.h"

#include <stdio.h>

#define NAME_MAX_BYTES 256
#define MEMBERS_MAX 1000

/* A command being handled. */
struct call {
    struct callie_payload *payload;
    const struct json_value *parameters; /* NULL: none */
    char chat_text[CALLIE_CHAT_MAX];
    struct slice chat; /* of groupID */
    struct slice username, message_id, text, name, status;
    struct buffer members; /* lines */
};

struct command {
    const char *name;
    bool (*check)(struct call *, const struct command *);
    void (*run)(const struct call *, const struct command *);
    uint64_t detail; /* enum group_change or conversation_change */
    enum limit limit;
};

/* ---- parameters ---- */

static bool blame(struct call *call, const char *field, const char *why)
{
    return callie_blame(call->payload, field, why);
}

static bool need_group(struct call *call)
{
    const struct json_value *value = json_member(call->parameters, "groupID");

    if (json_type(value) != JSON_STRING ||
        !callie_read_group(json_text(value), call->chat_text, &call->chat))
        return blame(call, "content.parameters.groupID", "must be the id of a group");
    return true;
}

static bool need_user(struct call *call)
{
    call->username = json_text(json_member(call->parameters, "username"));
    if (call->username.data == NULL || !user_allowed(call->username, true))
        return blame(call, "content.parameters.username", "must be the name of a user");
    return true;
}

static bool check_nothing(struct call *call, const struct command *command)
{
    (void)call, (void)command;
    return true;
}

static bool check_group(struct call *call, const struct command *command)
{
    (void)command;
    return need_group(call);
}

static bool check_group_and_user(struct call *call, const struct command *command)
{
    (void)command;
    if (!need_group(call) || !need_user(call))
        return false;
    buffer_append_slice(&call->members, call->username);
    buffer_append_byte(&call->members, '\n');
    return true;
}

static bool need_members(struct call *call)
{
    const struct json_value *list = json_member(call->parameters, "members");
    const struct json_value *member = json_first(list);

    if (list && (json_type(list) != JSON_ARRAY || json_count(list) > MEMBERS_MAX))
        return blame(call, "content.parameters.members", "must be a list of at most 1000 users");
    for (size_t left = json_count(list); left > 0; left--, member = json_next(member)) {
        if (json_text(member).data == NULL || !user_allowed(json_text(member), true))
            return blame(call, "content.parameters.members", "must be a list of users");
        buffer_append_slice(&call->members, json_text(member));
        buffer_append_byte(&call->members, '\n');
    }
    return true;
}

static bool check_creation(struct call *call, const struct command *command)
{
    const struct json_value *name = json_member(call->parameters, "name");

    (void)command;
    call->name = json_text(name);
    if (json_type(name) != JSON_STRING || call->name.length == 0 ||
        call->name.length > NAME_MAX_BYTES || !text_is_printable(call->name))
        return blame(call, "content.parameters.name", "must be a string of 1 to 256 bytes");
    return need_members(call);
}

static bool check_message_change(struct call *call, const struct command *command)
{
    const struct json_value *id = json_member(call->parameters, "messageID");
    const struct json_value *text = json_member(call->parameters, "text");

    call->message_id = json_text(id);
    if (json_type(id) != JSON_STRING || !callie_is_id(call->message_id))
        return blame(call, "content.parameters.messageID", "must be a string of 1 to 128 bytes");
    if (command->detail != CONVERSATION_EDIT)
        return true;
    if (json_type(text) != JSON_STRING)
        return blame(call, "content.parameters.text", "must be a string");
    call->text = json_text(text);
    return true;
}

static bool check_status(struct call *call, const struct command *command)
{
    static const char *const statuses[] = {"online", "away", "busy"};
    const struct json_value *value = json_member(call->parameters, "status");

    (void)command;
    call->status = json_text(value);
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (json_type(value) == JSON_STRING && slice_is(call->status, statuses[i]))
            return true;
    return blame(call, "content.parameters.status", "must be online, away or busy");
}

/* Without a username it is one's own. */
static bool check_status_question(struct call *call, const struct command *command)
{
    (void)command;
    call->username = call->payload->session->user;
    return json_member(call->parameters, "username") == NULL || need_user(call);
}

/* ---- groups ---- */

static void make_group_id(struct call *call)
{
    char ulid[ULID_TEXT_SIZE];
    int length;

    uid_ulid(clock_wall_ms(), ulid);
    length = snprintf(call->chat_text, sizeof(call->chat_text), CALLIE_GROUP_PREFIX "g%s", ulid);
    call->chat = slice_of(call->chat_text, (size_t)length);
}

static void change_group(const struct call *call, const struct command *command)
{
    struct callie_payload *payload = call->payload;
    struct session *session = payload->session;
    uint32_t partition = partition_of(&session->gateway->deployment, call->chat);
    struct callie_pending *pending;
    struct frame frame;

    if (!callie_has_credit(payload, &partition, 1))
        return;
    pending = callie_open(payload, &(struct callie_memory){.kind = CALLIE_GROUP,
                                                           .detail = command->detail,
                                                           .chat = call->chat});
    if (pending == NULL)
        return;
    frame = (struct frame){
        .type = FRAME_GROUP_CHANGE,
        .group_change = {.connection = session->id,
                         .request = pending->number,
                         .from = session->user,
                         .chat = call->chat,
                         .change = command->detail,
                         .name = call->name,
                         .members = buffer_slice(&call->members)},
    };
    uplink_send(session->gateway->uplink, partition, &frame);
}

static void create_group(const struct call *call, const struct command *command)
{
    struct call with_id = *call;

    make_group_id(&with_id);
    change_group(&with_id, command);
}

/* ---- messages ---- */

static void answer_change(struct session *session, struct callie_pending *pending, const char *code,
                          const char *description)
{
    struct buffer more = {0};

    buffer_append_text(&more, "\"messageID\":");
    buffer_append_json_string(&more, pending->message_id);
    callie_answer(session, pending->payload_id, code, description, buffer_slice(&more));
    buffer_finish(&more);
    callie_pending_done(session, pending);
}

static void append_body(struct buffer *out, const struct callie_pending *pending)
{
    if (pending->detail == CONVERSATION_EDIT)
        callie_encode_edit(out, pending->message_id, pending->text);
}

/* In a conversation: answered by its partition. */
static void change_message(struct session *session, struct callie_pending *pending, uint64_t number)
{
    const struct deployment *deployment = &session->gateway->deployment;
    uint32_t partition = partition_of_chat(deployment, session->user, pending->chat);
    struct buffer body = {0};
    struct frame frame;

    if (!uplink_has_credit(session->gateway->uplink, partition)) {
        callie_unavailable(session, pending->payload_id, true);
        callie_pending_done(session, pending);
        return;
    }
    append_body(&body, pending);
    frame = (struct frame){
        .type = FRAME_CONVERSATION_CHANGE,
        .conversation_change = {.connection = session->id,
                                .request = pending->number,
                                .from = session->user,
                                .chat = pending->chat,
                                .message = number,
                                .change = pending->detail,
                                .protocol = FRAME_PROTOCOL_CALLIE,
                                .content = CONTENT_JSON,
                                .body = buffer_slice(&body)},
    };
    uplink_send(session->gateway->uplink, partition, &frame);
    buffer_finish(&body);
}

/* A plain direct message is nowhere but with its receiver: he is told. */
static void tell_receiver(struct session *session, struct callie_pending *pending)
{
    uint32_t partition = partition_of(&session->gateway->deployment, pending->chat);
    bool edit = pending->detail == CONVERSATION_EDIT;
    struct buffer body = {0};
    struct frame frame;

    if (!uplink_has_credit(session->gateway->uplink, partition)) {
        callie_unavailable(session, pending->payload_id, true);
        callie_pending_done(session, pending);
        return;
    }
    append_body(&body, pending);
    frame = (struct frame){
        .type = FRAME_SIGNAL_SEND,
        .signal_send = {.connection = session->id,
                        .kind = edit ? SIGNAL_EDITED : SIGNAL_DELETED,
                        .from = session->user,
                        .to = pending->chat,
                        .id = pending->message_id,
                        .protocol = FRAME_PROTOCOL_CALLIE,
                        .content = CONTENT_JSON,
                        .body = buffer_slice(&body)},
    };
    uplink_send(session->gateway->uplink, partition, &frame);
    buffer_finish(&body);
    answer_change(session, pending, "COMMAND_OK", edit ? "edited" : "deleted");
}

/* A message may be on its way to the conversation, and the log is not its partition's word: what is
 * answered there is behind it. */
static void wait_for_conversation(struct session *session, struct callie_pending *pending)
{
    pending->waited = pending->waits = true;
    change_message(session, pending, 0);
}

void callie_change_number(struct session *session, struct callie_pending *pending, uint64_t number)
{
    if (number > 0)
        change_message(session, pending, number);
    else if (!pending->waited)
        wait_for_conversation(session, pending);
    else if (chat_is_group(pending->chat))
        answer_change(session, pending, "COMMAND_FAILED", "the group does not have this message");
    else
        tell_receiver(session, pending);
}

static void set_chat(struct callie_pending *pending, struct slice chat)
{
    if (pending->chat.length > 0)
        return;
    pending->found_chat = xmemdup0(chat.data, chat.length);
    pending->chat = slice_of(pending->found_chat, chat.length);
}

void callie_change_in_chat(struct session *session, struct callie_pending *pending,
                           struct slice chat)
{
    struct callie_pending *sent = callie_pending_sent(session, pending->message_id);

    if (chat.length == 0) {
        answer_change(session, pending, "FORBIDDEN", "you have sent no message with this id");
        return;
    }
    set_chat(pending, chat);
    if (sent && sent->message > 0 && slice_equal(sent->chat, pending->chat))
        callie_change_number(session, pending, sent->message);
    else
        callie_find_number(session, pending);
}

static void change_sent(const struct call *call, const struct command *command)
{
    struct session *session = call->payload->session;
    struct callie_pending *sent = callie_pending_sent(session, call->message_id);
    struct callie_pending *pending =
        callie_open(call->payload, &(struct callie_memory){.kind = CALLIE_CHANGE,
                                                           .detail = command->detail,
                                                           .message_id = call->message_id,
                                                           .text = call->text});

    if (pending == NULL)
        return;
    if (sent == NULL)
        callie_find_sent(session, pending);
    else if (callie_pending_is_open(sent))
        callie_pending_wait(session, pending, sent);
    else
        callie_change_in_chat(session, pending, sent->chat);
}

/* ---- status ---- */

static void set_status(const struct call *call, const struct command *command)
{
    struct session *session = call->payload->session;
    struct frame frame = {
        .type = FRAME_PRESENCE_SET,
        .presence_set = {.connection = session->id, .user = session->user, .status = call->status},
    };

    (void)command;
    if (!callie_has_credit(call->payload, &session->partition, 1))
        return;
    uplink_send(session->gateway->uplink, session->partition, &frame);
    callie_answer(session, call->payload->payload_id, "COMMAND_OK", "done", slice_of(NULL, 0));
}

/* ---- questions ---- */

/* chat: of the question about a group; the user of the one about a status. */
static void ask(const struct call *call, struct slice chat,
                void (*question)(struct session *, struct callie_pending *))
{
    struct callie_pending *pending =
        callie_open(call->payload, &(struct callie_memory){.kind = CALLIE_QUESTION, .chat = chat});

    if (pending)
        question(call->payload->session, pending);
}

static void list_groups(const struct call *call, const struct command *command)
{
    (void)command;
    ask(call, slice_of(NULL, 0), callie_list_groups);
}

static void list_members(const struct call *call, const struct command *command)
{
    (void)command;
    ask(call, call->chat, callie_list_members);
}

static void list_users(const struct call *call, const struct command *command)
{
    (void)command;
    ask(call, slice_of(NULL, 0), callie_list_users);
}

/* As by a subscription to his presence. */
static bool may_see(const struct session *session, struct slice user)
{
    struct buffer name = {0};
    bool permitted;

    topic_presence_name(&name, user);
    permitted = slice_equal(user, session->user) ||
                topic_permitted(session->identity.subscribe_topics, buffer_slice(&name));
    buffer_finish(&name);
    return permitted;
}

static void get_status(const struct call *call, const struct command *command)
{
    struct callie_payload *payload = call->payload;

    (void)command;
    if (!may_see(payload->session, call->username))
        callie_answer(payload->session, payload->payload_id, "FORBIDDEN",
                      "content.parameters.username: the token does not permit this user's status",
                      slice_text("\"field\":\"content.parameters.username\""));
    else
        ask(call, call->username, callie_get_status);
}

/* ---- the table ---- */

static const struct command commands[] = {
    {"CREATE_GROUP", check_creation, create_group, GROUP_CREATE, LIMIT_SUBSCRIBE},
    {"DELETE_GROUP", check_group, change_group, GROUP_DELETE, LIMIT_MESSAGE},
    {"JOIN_GROUP", check_group, change_group, GROUP_JOIN, LIMIT_MESSAGE},
    {"LEAVE_GROUP", check_group, change_group, GROUP_LEAVE, LIMIT_MESSAGE},
    {"ADD_MEMBER", check_group_and_user, change_group, GROUP_ADD, LIMIT_SUBSCRIBE},
    {"REMOVE_MEMBER", check_group_and_user, change_group, GROUP_REMOVE, LIMIT_MESSAGE},
    {"LIST_GROUPS", check_nothing, list_groups, 0, LIMIT_READ},
    {"LIST_MEMBERS", check_group, list_members, 0, LIMIT_READ},
    {"LIST_USERS", check_nothing, list_users, 0, LIMIT_MESSAGE},
    {"DELETE_MESSAGE", check_message_change, change_sent, CONVERSATION_DELETE, LIMIT_READ},
    {"EDIT_MESSAGE", check_message_change, change_sent, CONVERSATION_EDIT, LIMIT_READ},
    {"SET_STATUS", check_status, set_status, 0, LIMIT_MESSAGE},
    {"GET_STATUS", check_status_question, get_status, 0, LIMIT_READ},
};

static const struct command *find_command(const struct callie_payload *payload)
{
    struct slice name = json_text(json_member(payload->content, "command"));

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (slice_is(name, commands[i].name))
            return &commands[i];
    return NULL;
}

enum limit callie_limit_of_command(const struct callie_payload *payload)
{
    const struct command *command = find_command(payload);

    return command ? command->limit : LIMIT_MESSAGE;
}

static void begin_call(struct call *call, struct callie_payload *payload)
{
    *call = (struct call){.payload = payload,
                          .parameters = json_member(payload->content, "parameters")};
}

bool callie_check_command(struct callie_payload *payload)
{
    const struct json_value *parameters = json_member(payload->content, "parameters");
    const struct command *command = find_command(payload);
    struct call call;
    bool right;

    if (json_type(json_member(payload->content, "command")) != JSON_STRING)
        return callie_blame(payload, "content.command", "must be a string");
    if (parameters && json_type(parameters) != JSON_OBJECT)
        return callie_blame(payload, "content.parameters", "must be an object");
    if (command == NULL)
        return true; /* UNKNOWN_COMMAND is not about the payload's form */
    begin_call(&call, payload);
    right = command->check(&call, command);
    buffer_finish(&call.members);
    return right;
}

void callie_do_command(struct callie_payload *payload)
{
    const struct command *command = find_command(payload);
    struct call call;

    if (command == NULL) {
        callie_answer(payload->session, payload->payload_id, "UNKNOWN_COMMAND",
                      "content.command: there is no such command",
                      slice_text("\"field\":\"content.command\""));
        return;
    }
    begin_call(&call, payload);
    if (command->check(&call, command))
        command->run(&call, command);
    buffer_finish(&call.members);
}
