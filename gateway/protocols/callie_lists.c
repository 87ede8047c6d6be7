/*
 * Questions of commands: to Redis by read-only scripts, and to the room of /callie.
 */
#include "common/embed.h"
#include "common/xalloc.h"
#include "gateway/protocols/callie.h"
#include "gateway/protocols/callie_timestamp.h"
#include "gateway/bus/query.h"
#include "gateway/topics/room.h"

#include <stdlib.h>

/* Of a list; what comes behind is left out, and the answer says so. */
#define RESULT_BYTES_MAX (256u << 10)
/* Names of groups that are asked for at once. */
#define GROUPS_AT_ONCE 64

EMBED(callie_sent_lua, "gateway/protocols/callie_sent.lua");
EMBED_BEHIND(callie_number_lua, "gateway/bus/journal.lua", "gateway/protocols/callie_number.lua");
EMBED(callie_chats_lua, "gateway/protocols/callie_chats.lua");
EMBED(callie_groups_lua, "gateway/protocols/callie_groups.lua");
EMBED(callie_members_lua, "gateway/protocols/callie_members.lua");
EMBED(callie_status_lua, "gateway/protocols/callie_status.lua");

static struct bus_script sent_script = {.name = "callie_sent", .text = callie_sent_lua};
static struct bus_script number_script = {.name = "callie_number", .text = callie_number_lua};
static struct bus_script chats_script = {.name = "callie_chats", .text = callie_chats_lua};
static struct bus_script groups_script = {.name = "callie_groups", .text = callie_groups_lua};
static struct bus_script members_script = {.name = "callie_members", .text = callie_members_lua};
static struct bus_script status_script = {.name = "callie_status", .text = callie_status_lua};

struct bus_script *const callie_scripts[] = {
    &sent_script,    &number_script, &chats_script, &groups_script,
    &members_script, &status_script, NULL,
};

/* Groups whose names are being asked for, partition by partition. */
struct callie_groups {
    size_t count, next, asked;
    struct {
        uint32_t partition;
        char chat[CALLIE_CHAT_MAX + 1];
    } groups[];
};

/* ---- asking and answering ---- */

static void fail(struct session *session, struct callie_pending *pending)
{
    callie_unavailable(session, pending->payload_id, true);
    callie_pending_done(session, pending);
}

static const struct deployment *deployment_of(const struct session *session)
{
    return &session->gateway->deployment;
}

/* Answers when it cannot be asked. */
static void ask_query(struct session *session, struct callie_pending *pending,
                      const struct query *query, query_session_fn *answer)
{
    if (pending->asked)
        admission_charge(session, LIMIT_READ, 1);
    pending->asked = true;
    if (query_ask(session->gateway->queries, query, session, pending->number, answer) != 0)
        fail(session, pending);
}

/* About one key. */
static void ask(struct session *session, struct callie_pending *pending, struct bus_script *script,
                uint32_t partition, struct query_key key, const struct slice *arguments,
                size_t argument_count, query_session_fn *answer)
{
    const struct query query = {.script = script,
                                .partition = partition,
                                .keys = &key,
                                .key_count = 1,
                                .arguments = arguments,
                                .argument_count = argument_count};

    ask_query(session, pending, &query, answer);
}

/* Whose answer it is; NULL when it is wanted no more, or did not come (answered then). */
static struct callie_pending *take(struct session *session, uint64_t request,
                                   const struct bus_reply *reply)
{
    struct callie_pending *pending = callie_pending_find(session, request);

    if (pending && reply == NULL) {
        fail(session, pending);
        return NULL;
    }
    return pending;
}

static bool has_room(struct callie_pending *pending)
{
    pending->truncated |= pending->result.length > RESULT_BYTES_MAX;
    return !pending->truncated;
}

static void append_comma(struct buffer *list)
{
    if (list->length > 0)
        buffer_append_byte(list, ',');
}

static void append_name(struct callie_pending *pending, struct slice name)
{
    if (!has_room(pending))
        return;
    append_comma(&pending->result);
    buffer_append_json_string(&pending->result, name);
}

static void append_named(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_text(out, name);
    buffer_append_json_string(out, text);
}

static struct slice group_id(struct slice chat)
{
    size_t prefix = strlen(CALLIE_GROUP_PREFIX);

    return slice_of(chat.data + prefix, chat.length - prefix);
}

/* The list that has been gathered in result. */
static void answer_list(struct session *session, struct callie_pending *pending)
{
    struct buffer more = {0};

    if (chat_is_group(pending->chat)) {
        append_named(&more, "\"groupID\":", group_id(pending->chat));
        buffer_append_byte(&more, ',');
    }
    buffer_append_text(&more, "\"result\":[");
    buffer_append_slice(&more, buffer_slice(&pending->result));
    buffer_append_byte(&more, ']');
    if (pending->truncated)
        buffer_append_text(&more, ",\"truncated\":true");
    callie_answer(session, pending->payload_id, "COMMAND_OK", "done", buffer_slice(&more));
    buffer_finish(&more);
    callie_pending_done(session, pending);
}

static uint64_t read_digits(struct slice digits)
{
    uint64_t number = 0;

    for (size_t i = 0; i < digits.length && digits.data[i] >= '0' && digits.data[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(digits.data[i] - '0');
    return number;
}

/* ---- a message of one's own ---- */

static void on_sent(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);

    if (pending)
        callie_change_in_chat(session, pending, bus_reply_text(reply));
}

void callie_find_sent(struct session *session, struct callie_pending *pending)
{
    ask(session, pending, &sent_script, session->partition,
        (struct query_key){"sent", session->user}, &pending->message_id, 1, on_sent);
}

static void on_number(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);

    if (pending)
        callie_change_number(session, pending, read_digits(bus_reply_text(reply)));
}

void callie_find_number(struct session *session, struct callie_pending *pending)
{
    uint32_t partition = partition_of_chat(deployment_of(session), session->user, pending->chat);
    const struct slice arguments[] = {session->user, pending->message_id};
    struct buffer name = {0};

    conversation_name(&name, session->user, pending->chat);
    ask(session, pending, &number_script, partition, (struct query_key){"log", buffer_slice(&name)},
        arguments, 2, on_number);
    buffer_finish(&name);
}

/* ---- LIST_GROUPS: which, then what they are called ---- */

static void ask_names(struct session *, struct callie_pending *);

static void append_group(struct buffer *list, struct slice chat, const struct bus_reply *group)
{
    append_comma(list);
    append_named(list, "{\"groupID\":", group_id(chat));
    append_named(list, ",\"name\":", bus_reply_text(bus_reply_at(group, 0)));
    append_named(list, ",\"owner\":", bus_reply_text(bus_reply_at(group, 1)));
    buffer_append_byte(list, '}');
}

static void on_names(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);
    struct callie_groups *groups = pending ? pending->groups : NULL;

    if (groups == NULL)
        return;
    for (size_t i = 0; i < groups->asked; i++) {
        const struct bus_reply *group = bus_reply_at(reply, i);

        if (bus_reply_kind(group) == BUS_ARRAY && has_room(pending))
            append_group(&pending->result, slice_text(groups->groups[groups->next + i].chat),
                         group);
    }
    groups->next += groups->asked;
    ask_names(session, pending);
}

/* Of the next groups that have one partition. */
static void ask_names(struct session *session, struct callie_pending *pending)
{
    struct callie_groups *groups = pending->groups;
    struct query_key keys[GROUPS_AT_ONCE];
    struct query query = {
        .script = &groups_script, .keys = keys, .arguments = &session->user, .argument_count = 1};

    if (groups->next == groups->count) {
        answer_list(session, pending);
        return;
    }
    query.partition = groups->groups[groups->next].partition;
    while (query.key_count < GROUPS_AT_ONCE && groups->next + query.key_count < groups->count &&
           groups->groups[groups->next + query.key_count].partition == query.partition) {
        keys[query.key_count] = (struct query_key){
            "group", group_id(slice_text(groups->groups[groups->next + query.key_count].chat))};
        query.key_count++;
    }
    groups->asked = query.key_count;
    ask_query(session, pending, &query, on_names);
}

static int by_partition(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static void on_chats(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);
    struct callie_groups *groups;

    if (pending == NULL)
        return;
    groups = xcalloc(1, sizeof(*groups) + bus_reply_count(reply) * sizeof(groups->groups[0]));
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        struct slice chat = bus_reply_text(bus_reply_at(reply, i));

        if (chat.length > CALLIE_CHAT_MAX)
            continue;
        memcpy(groups->groups[groups->count].chat, chat.data, chat.length);
        groups->groups[groups->count++].partition = partition_of(deployment_of(session), chat);
    }
    qsort(groups->groups, groups->count, sizeof(groups->groups[0]), by_partition);
    pending->groups = groups;
    ask_names(session, pending);
}

void callie_list_groups(struct session *session, struct callie_pending *pending)
{
    ask(session, pending, &chats_script, session->partition,
        (struct query_key){"chats", session->user}, NULL, 0, on_chats);
}

/* ---- LIST_MEMBERS ---- */

static void refuse_group(struct session *session, struct callie_pending *pending, bool exists)
{
    struct buffer more = {0};

    append_named(&more, "\"groupID\":", group_id(pending->chat));
    callie_answer(session, pending->payload_id, exists ? "NOT_A_MEMBER" : "COMMAND_FAILED",
                  exists ? "you are no member of this group" : "there is no such group",
                  buffer_slice(&more));
    buffer_finish(&more);
    callie_pending_done(session, pending);
}

static void on_members(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);

    if (pending == NULL)
        return;
    if (bus_reply_kind(reply) != BUS_ARRAY) {
        refuse_group(session, pending, bus_reply_integer(reply) == 1);
        return;
    }
    for (size_t i = 0; i < bus_reply_count(reply); i++)
        append_name(pending, bus_reply_text(bus_reply_at(reply, i)));
    answer_list(session, pending);
}

void callie_list_members(struct session *session, struct callie_pending *pending)
{
    ask(session, pending, &members_script, partition_of(deployment_of(session), pending->chat),
        (struct query_key){"group", group_id(pending->chat)}, &session->user, 1, on_members);
}

/* ---- LIST_USERS ---- */

void callie_list_users(struct session *session, struct callie_pending *pending)
{
    if (room_ask(session, pending->number) != 0)
        fail(session, pending);
}

/* Lines "<since, ms> <user>\n". */
void callie_on_member_list(struct session *session, const struct frame_member_list *list)
{
    struct callie_pending *pending = callie_pending_find(session, list->request);
    struct slice rest = list->members;
    const char *end;

    if (pending == NULL)
        return;
    while ((end = memchr(rest.data, '\n', rest.length)) != NULL) {
        const char *space = memchr(rest.data, ' ', (size_t)(end - rest.data));

        if (space)
            append_name(pending, slice_of(space + 1, (size_t)(end - space - 1)));
        rest = slice_of(end + 1, rest.length - (size_t)(end + 1 - rest.data));
    }
    if (list->last)
        answer_list(session, pending);
}

/* ---- GET_STATUS ---- */

static void on_status(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct callie_pending *pending = take(session, request, reply);
    struct slice status = bus_reply_text(bus_reply_at(reply, 0));
    uint64_t seen_ms = read_digits(bus_reply_text(bus_reply_at(reply, 1)));
    struct buffer more = {0};

    if (pending == NULL)
        return;
    append_named(&more, "\"result\":{\"username\":", pending->chat);
    append_named(&more, ",\"status\":", status.length ? status : slice_text("offline"));
    if (seen_ms > 0) {
        buffer_append_text(&more, ",\"lastSeen\":\"");
        callie_timestamp_append(&more, seen_ms);
        buffer_append_byte(&more, '"');
    }
    buffer_append_byte(&more, '}');
    callie_answer(session, pending->payload_id, "COMMAND_OK", "done", buffer_slice(&more));
    buffer_finish(&more);
    callie_pending_done(session, pending);
}

void callie_get_status(struct session *session, struct callie_pending *pending)
{
    ask(session, pending, &status_script, partition_of(deployment_of(session), pending->chat),
        (struct query_key){"user", pending->chat}, NULL, 0, on_status);
}
