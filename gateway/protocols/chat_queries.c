/*
 * chat: what is read. Chats of a user stand at his partition, each chat at its own: getChats reads
 * one partition after another.
 */
#include "gateway/protocols/chat.h"

#include "common/embed.h"
#include "common/number.h"
#include "common/xalloc.h"
#include "gateway/query.h"

#include <errno.h>
#include <stdlib.h>

/* Answered at once. */
#define PAGE_MAX 100
#define CHATS_MAX 1000
/* Chats read with one script. */
#define BATCH_MAX 100
/* Members of a group whose marks a Message shows. */
#define MARKS_MAX 100

EMBED(chat_read_text, "gateway/protocols/chat_read.lua");
EMBED(chat_chats_text, "gateway/protocols/chat_chats.lua");
EMBED(chat_members_text, "gateway/protocols/chat_members.lua");
EMBED(chat_events_text, "gateway/protocols/chat_events.lua");

static struct bus_script read_script = {.name = "chat_read", .text = chat_read_text};
static struct bus_script chats_script = {.name = "chat_chats", .text = chat_chats_text};
static struct bus_script members_script = {.name = "chat_members", .text = chat_members_text};
static struct bus_script events_script = {.name = "chat_events", .text = chat_events_text};
struct bus_script *const chat_scripts[] = {&read_script, &chats_script, &members_script,
                                           &events_script, NULL};

static struct chat_open *find_open(struct session *session, uint64_t number)
{
    struct chat_state *state = session->protocol_state;

    return chat_open_find(&state->open, number);
}

/* ---- the words of a query ---- */

/* Keys and arguments, whose bytes are gathered while they grow. */
struct words {
    struct buffer bytes;
    struct buffer keys;      /* of struct word */
    struct buffer arguments; /* likewise */
};
struct word {
    const char *what; /* of a key */
    size_t begin, length;
};

static void add_word(struct words *words, struct buffer *to, const char *what, size_t begin)
{
    const struct word word = {what, begin, words->bytes.length - begin};

    buffer_append(to, &word, sizeof(word));
}

static void add_argument(struct words *words, struct slice argument)
{
    size_t begin = words->bytes.length;

    buffer_append_slice(&words->bytes, argument);
    add_word(words, &words->arguments, NULL, begin);
}

static void add_argument_number(struct words *words, uint64_t number)
{
    size_t begin = words->bytes.length;

    buffer_append_u64(&words->bytes, number);
    add_word(words, &words->arguments, NULL, begin);
}

/* "log:<conversation>", with a user behind it "delivered:<conversation>|<user>". */
static void add_key(struct words *words, const char *what, struct slice name, struct slice user)
{
    size_t begin = words->bytes.length;

    buffer_append_slice(&words->bytes, name);
    if (user.length > 0) {
        buffer_append_byte(&words->bytes, '\n');
        buffer_append_slice(&words->bytes, user);
    }
    add_word(words, &words->keys, what, begin);
}

static struct word word_at(const struct buffer *words, size_t index)
{
    struct word word;

    memcpy(&word, words->data + index * sizeof(word), sizeof(word));
    return word;
}

static size_t word_count(const struct buffer *words)
{
    return words->length / sizeof(struct word);
}

/* Asks, and forgets the words. */
static int ask(struct session *session, struct bus_script *script, uint32_t partition,
               struct words *words, uint64_t request, query_session_fn *answer)
{
    size_t key_count = word_count(&words->keys), argument_count = word_count(&words->arguments);
    struct query_key *keys = xcalloc(key_count + 1, sizeof(*keys));
    struct slice *arguments = xcalloc(argument_count + 1, sizeof(*arguments));
    int result;

    for (size_t i = 0; i < key_count; i++) {
        struct word word = word_at(&words->keys, i);

        keys[i] =
            (struct query_key){word.what, slice_of(words->bytes.data + word.begin, word.length)};
    }
    for (size_t i = 0; i < argument_count; i++) {
        struct word word = word_at(&words->arguments, i);

        arguments[i] = slice_of(words->bytes.data + word.begin, word.length);
    }
    result = query_ask(session->gateway->queries,
                       &(struct query){.script = script,
                                       .partition = partition,
                                       .keys = keys,
                                       .key_count = key_count,
                                       .arguments = arguments,
                                       .argument_count = argument_count},
                       session, request, answer);
    free(keys);
    free(arguments);
    buffer_finish(&words->bytes);
    buffer_finish(&words->keys);
    buffer_finish(&words->arguments);
    return result;
}

int chat_ask_chats(struct session *session, uint64_t request, uint64_t count,
                   query_session_fn *answer)
{
    struct words words = {0};

    add_key(&words, "chats", session->user, slice_of(NULL, 0));
    add_argument_number(&words, count);
    return ask(session, &chats_script, session->partition, &words, request, answer);
}

static struct slice group_id(struct slice chat)
{
    const size_t prefix = sizeof("group:") - 1;

    return slice_of(chat.data + prefix, chat.length - prefix);
}

static uint32_t partition_of_mine(const struct session *session, struct slice chat)
{
    return partition_of_chat(&session->gateway->deployment, session->user, chat);
}

int chat_ask_members(struct session *session, uint64_t request, struct slice group,
                     query_session_fn *answer)
{
    struct words words = {0};

    add_key(&words, "group", group_id(group), slice_of(NULL, 0));
    add_argument(&words, session->user);
    add_argument_number(&words, CHATS_MAX);
    return ask(session, &members_script, partition_of_mine(session, group), &words, request,
               answer);
}

/* ---- reading conversations ---- */

/* Which messages of a chat. */
struct reading {
    uint64_t lowest, highest; /* highest 0: the newest */
    uint64_t count;
    bool missed;
    const struct bus_reply *members; /* of a group: whose marks; may be NULL */
};

static void begin_reading(struct words *words, const struct session *session, size_t room)
{
    add_argument(words, session->user);
    add_argument_number(words, room);
}

static size_t mark_users(const struct session *session, struct slice chat,
                         const struct reading *reading, struct slice users[MARKS_MAX])
{
    size_t count = bus_reply_count(reading->members);

    if (!chat_is_group(chat)) {
        users[0] = session->user;
        users[1] = chat;
        return 2;
    }
    count = count < MARKS_MAX ? count : MARKS_MAX;
    for (size_t i = 0; i < count; i++)
        users[i] = bus_reply_text(bus_reply_at(reading->members, i));
    return count;
}

static void add_reading(struct words *words, const struct session *session, struct slice chat,
                        const struct reading *reading)
{
    const struct slice none = {0};
    struct slice users[MARKS_MAX];
    size_t count = mark_users(session, chat, reading, users);
    struct buffer name = {0};

    conversation_name(&name, session->user, chat);
    if (chat_is_group(chat))
        add_key(words, "group", group_id(chat), none);
    else
        add_key(words, "dialog", buffer_slice(&name), none);
    add_key(words, "log", buffer_slice(&name), none);
    add_key(words, "changes", buffer_slice(&name), none);
    add_argument_number(words, reading->lowest);
    if (reading->highest)
        add_argument_number(words, reading->highest);
    else
        add_argument(words, slice_text("+"));
    add_argument_number(words, reading->count);
    add_argument_number(words, reading->missed);
    add_argument_number(words, count);
    for (size_t i = 0; i < count; i++) {
        add_key(words, "delivered", buffer_slice(&name), users[i]);
        add_key(words, "read", buffer_slice(&name), users[i]);
        add_argument(words, users[i]);
    }
    buffer_finish(&name);
}

/* One chat for one request. Answers when it cannot be asked. */
static void read_chat(struct session *session, struct chat_open *open,
                      const struct reading *reading, query_session_fn *answer)
{
    struct words words = {0};
    int result;

    begin_reading(&words, session, CHAT_ANSWER_BYTES);
    add_reading(&words, session, open->chat, reading);
    result = ask(session, &read_script, partition_of_mine(session, open->chat), &words,
                 open->number, answer);
    if (result != 0)
        chat_end_unasked(session, open, result);
}

/* ---- what comes back ---- */

static uint64_t reply_number(const struct bus_reply *reply)
{
    struct slice text = bus_reply_text(reply);
    uint64_t number = 0;

    for (size_t i = 0; i < text.length && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    return number;
}

static struct slice cut_word(struct slice *text)
{
    const char *space = text->length ? memchr(text->data, ' ', text->length) : NULL;
    size_t length = space ? (size_t)(space - text->data) : text->length;
    struct slice word = slice_of(text->data, length);
    size_t taken = space ? length + 1 : length;

    *text = slice_of(text->data + taken, text->length - taken);
    return word;
}

static uint64_t cut_number(struct slice *text)
{
    struct slice word = cut_word(text);
    uint64_t number = 0;

    for (size_t i = 0; i < word.length; i++)
        number = number * 10 + (uint64_t)(word.data[i] - '0');
    return number;
}

/* "edit <at ms> <protocol> <content> <body>" or "delete <at ms>" */
static void read_change(struct chat_message *message, struct slice change)
{
    struct slice kind = cut_word(&change);

    if (slice_is(kind, "delete")) {
        message->deleted_ms = cut_number(&change);
    } else if (slice_is(kind, "edit")) {
        message->updated_ms = cut_number(&change);
        message->edit_protocol = cut_number(&change);
        message->edit_content = cut_number(&change);
        message->edit = change;
    }
}

static size_t read_marks(const struct bus_reply *reply, struct chat_mark marks[MARKS_MAX])
{
    size_t count = bus_reply_count(reply) / 3;

    count = count < MARKS_MAX ? count : MARKS_MAX;
    for (size_t i = 0; i < count; i++)
        marks[i] = (struct chat_mark){.user = bus_reply_text(bus_reply_at(reply, 3 * i)),
                                      .delivered_ms = reply_number(bus_reply_at(reply, 3 * i + 1)),
                                      .read_ms = reply_number(bus_reply_at(reply, 3 * i + 2))};
    return count;
}

static void append_message(struct buffer *out, struct slice chat, const struct bus_reply *reply)
{
    struct chat_mark marks[MARKS_MAX];
    struct chat_message message = {
        .message = reply_number(bus_reply_at(reply, 0)),
        .from = bus_reply_text(bus_reply_at(reply, 1)),
        .at_ms = reply_number(bus_reply_at(reply, 2)),
        .protocol = reply_number(bus_reply_at(reply, 3)),
        .content = reply_number(bus_reply_at(reply, 4)),
        .body = bus_reply_text(bus_reply_at(reply, 5)),
        .group = chat_is_group(chat),
        .marks = marks,
        .mark_count = read_marks(bus_reply_at(reply, 7), marks),
    };

    read_change(&message, bus_reply_text(bus_reply_at(reply, 6)));
    chat_encode_message(out, &message);
}

/* Of the one chat that was asked for. Answers and returns NULL when it may not be seen. */
static const struct bus_reply *need_conversation(struct session *session, struct chat_open *open,
                                                 const struct bus_reply *reply)
{
    const struct bus_reply *conversation = bus_reply_at(reply, 0);
    struct slice status = bus_reply_text(bus_reply_at(conversation, 0));

    if (slice_is(status, "OK"))
        return conversation;
    if (slice_is(status, "FORBIDDEN"))
        chat_end_failed(session, open, CHAT_FORBIDDEN, "you are not in this chat");
    else if (slice_is(status, "NONE"))
        chat_end_failed(session, open, CHAT_NOT_FOUND, "there is no such chat or message");
    else
        chat_end_unavailable(session, open);
    return NULL;
}

/* ---- getMessage, getMessages ---- */

static void on_message(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    const struct bus_reply *messages;
    struct buffer *out = chat_scratch();

    if (open == NULL || (reply = need_conversation(session, open, reply)) == NULL)
        return;
    messages = bus_reply_at(reply, 4);
    if (bus_reply_count(messages) == 0) {
        chat_end_failed(session, open, CHAT_NOT_FOUND, "there is no such chat or message");
        return;
    }
    append_message(out, open->chat, bus_reply_at(messages, 0));
    chat_end(session, open, buffer_slice(out));
}

/* A dialog that nobody has begun is empty. */
static bool is_empty_dialog(const struct chat_open *open, const struct bus_reply *reply)
{
    return !chat_is_group(open->chat) &&
           slice_is(bus_reply_text(bus_reply_at(bus_reply_at(reply, 0), 0)), "NONE");
}

static void on_messages(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    const struct bus_reply *messages;
    struct buffer *out = chat_scratch();

    if (open && is_empty_dialog(open, reply)) {
        chat_end(session, open, slice_text("[]"));
        return;
    }
    if (open == NULL || (reply = need_conversation(session, open, reply)) == NULL)
        return;
    messages = bus_reply_at(reply, 4);
    buffer_append_byte(out, '[');
    for (size_t i = bus_reply_count(messages); i > 0; i--) {
        append_message(out, open->chat, bus_reply_at(messages, i - 1));
        if (i > 1)
            buffer_append_byte(out, ',');
    }
    buffer_append_byte(out, ']');
    chat_end(session, open, buffer_slice(out));
}

static bool is_single(const struct chat_open *open)
{
    return open->command->handle == chat_do_get_message;
}

static void read_messages(struct session *session, struct chat_open *open,
                          const struct bus_reply *members)
{
    const struct reading reading = {.lowest = is_single(open) ? open->message : 1,
                                    .highest = open->message,
                                    .count = open->count,
                                    .members = members};

    read_chat(session, open, &reading, is_single(open) ? on_message : on_messages);
}

/* Whose marks there are is asked first. */
static void on_mark_members(struct session *session, uint64_t request,
                            const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);

    if (open && reply)
        read_messages(session, open, reply);
    else if (open)
        chat_end_unavailable(session, open);
}

static void begin_messages(const struct chat_request *request, struct slice chat, uint64_t highest,
                           uint64_t count)
{
    struct chat_open *open = chat_open_request(request, chat, highest);
    int result;

    if (open == NULL)
        return;
    open->count = count;
    if (!chat_is_group(chat)) {
        read_messages(request->session, open, NULL);
        return;
    }
    result = chat_ask_members(request->session, open->number, chat, on_mark_members);
    if (result != 0)
        chat_end_unasked(request->session, open, result);
}

void chat_do_get_message(struct chat_request *request)
{
    struct slice chat;
    uint64_t message;

    if (chat_need_chat(request, &chat) && chat_need_number(request, "messageId", 1, &message))
        begin_messages(request, chat, message, 1);
}

void chat_do_get_messages(struct chat_request *request)
{
    struct slice chat;
    uint64_t end = 0, count;

    if (!chat_need_chat(request, &chat) || !chat_read_number(request, "endId", 1, &end) ||
        !chat_need_number(request, "count", 1, &count))
        return;
    if (count > PAGE_MAX)
        chat_refuse(request, "count must be 1 to 100");
    else
        begin_messages(request, chat, end, count);
}

/* ---- getChat, getChats ---- */

static void append_chat(struct buffer *out, struct slice chat, const struct bus_reply *reply)
{
    struct slice name = bus_reply_text(bus_reply_at(reply, 1));
    uint64_t newest = reply_number(bus_reply_at(reply, 2));
    const struct bus_reply *messages = bus_reply_at(reply, 4);

    buffer_append_text(out, "{\"id\":");
    buffer_append_json_string(out, chat);
    buffer_append_text(out, chat_is_group(chat) ? ",\"type\":\"group\"" : ",\"type\":\"dialog\"");
    if (name.length > 0) {
        buffer_append_text(out, ",\"name\":");
        buffer_append_json_string(out, name);
    }
    if (newest > 0) {
        buffer_append_text(out, ",\"lastId\":");
        buffer_append_u64(out, newest);
    }
    if (bus_reply_count(messages) > 0) {
        buffer_append_text(out, ",\"lastMessage\":");
        append_message(out, chat, bus_reply_at(messages, 0));
    }
    buffer_append_text(out, ",\"missed\":");
    buffer_append_u64(out, reply_number(bus_reply_at(reply, 3)));
    buffer_append_byte(out, '}');
}

static void on_chat(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    struct buffer *out = chat_scratch();

    if (open == NULL || (reply = need_conversation(session, open, reply)) == NULL)
        return;
    append_chat(out, open->chat, reply);
    chat_end(session, open, buffer_slice(out));
}

void chat_do_get_chat(struct chat_request *request)
{
    const struct reading reading = {.count = 1, .missed = true};
    struct chat_open *open;
    struct slice chat;

    if (!chat_need_chat(request, &chat))
        return;
    open = chat_open_request(request, chat, 0);
    if (open)
        read_chat(request->session, open, &reading, on_chat);
}

static void end_walk(struct session *session, struct chat_open *open)
{
    const struct chat_walk *walk = open->walk;
    struct buffer *out = chat_scratch();

    buffer_append_byte(out, '[');
    for (size_t i = 0; i < chat_list_count(&walk->chats); i++) {
        if (walk->parts[i].json.length == 0)
            continue;
        if (out->length > 1)
            buffer_append_byte(out, ',');
        buffer_append_slice(out, buffer_slice(&walk->parts[i].json));
    }
    buffer_append_byte(out, ']');
    chat_end(session, open, buffer_slice(out));
}

/* The chats of the next partition: parts[i].asked in the order of the list. Returns how many. */
static size_t choose_batch(struct chat_walk *walk, size_t batch[BATCH_MAX])
{
    size_t count = 0, total = chat_list_count(&walk->chats);

    while (walk->chats.next < total && walk->parts[walk->chats.next].done)
        walk->chats.next++;
    for (size_t i = walk->chats.next; i < total && count < BATCH_MAX; i++)
        if (!walk->parts[i].done &&
            walk->parts[i].partition == walk->parts[walk->chats.next].partition)
            batch[count++] = i;
    return count;
}

static void walk_on(struct session *session, struct chat_open *open);

static void on_batch(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    size_t batch[BATCH_MAX], count;

    if (open == NULL)
        return;
    count = choose_batch(open->walk, batch);
    if (bus_reply_count(reply) != count) {
        chat_end_unavailable(session, open);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct bus_reply *conversation = bus_reply_at(reply, i);
        struct chat_part *part = &open->walk->parts[batch[i]];

        part->done = true;
        if (slice_is(bus_reply_text(bus_reply_at(conversation, 0)), "OK"))
            append_chat(&part->json, chat_list_at(&open->walk->chats, batch[i]), conversation);
        open->walk->room -=
            part->json.length < open->walk->room ? part->json.length : open->walk->room;
    }
    walk_on(session, open);
}

/* Where there is no room any more, chats come without their last message. */
static void walk_on(struct session *session, struct chat_open *open)
{
    struct chat_walk *walk = open->walk;
    size_t batch[BATCH_MAX], count = choose_batch(walk, batch);
    const struct reading reading = {.count = walk->room > 0, .missed = true};
    struct words words = {0};
    int result;

    if (count == 0) {
        end_walk(session, open);
        return;
    }
    begin_reading(&words, session, walk->room);
    for (size_t i = 0; i < count; i++)
        add_reading(&words, session, chat_list_at(&walk->chats, batch[i]), &reading);
    result =
        ask(session, &read_script, walk->parts[batch[0]].partition, &words, open->number, on_batch);
    if (result != 0)
        chat_end_unasked(session, open, result);
}

static void on_chats(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    size_t count = bus_reply_count(reply);
    struct chat_walk *walk;

    if (open && reply == NULL)
        chat_end_unavailable(session, open);
    if (open == NULL || reply == NULL)
        return;
    walk = open->walk = xcalloc(1, sizeof(*walk));
    walk->parts = xcalloc(count + 1, sizeof(*walk->parts));
    walk->room = CHAT_ANSWER_BYTES;
    for (size_t i = 0; i < count; i++) {
        struct slice chat = bus_reply_text(bus_reply_at(reply, i));

        walk->parts[i].partition = partition_of_mine(session, chat);
        chat_list_add(&walk->chats, chat);
    }
    walk_on(session, open);
}

void chat_do_get_chats(struct chat_request *request)
{
    struct chat_open *open = chat_open_request(request, slice_of(NULL, 0), 0);
    int result;

    if (open == NULL)
        return;
    result = chat_ask_chats(request->session, open->number, CHATS_MAX, on_chats);
    if (result != 0)
        chat_end_unasked(request->session, open, result);
}

/* ---- what the mark of read left ---- */

static void on_missed(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    struct buffer *out = chat_scratch();

    if (open == NULL || (reply = need_conversation(session, open, reply)) == NULL)
        return;
    buffer_append_text(out, "{\"chatId\":");
    buffer_append_slice(out, open->chat_json);
    buffer_append_text(out, ",\"messageId\":");
    buffer_append_u64(out, open->message);
    buffer_append_text(out, ",\"missed\":");
    buffer_append_u64(out, reply_number(bus_reply_at(reply, 3)));
    buffer_append_byte(out, '}');
    chat_end(session, open, buffer_slice(out));
}

void chat_finish_read(struct session *session, struct chat_open *open,
                      const struct frame_conversation_reply *reply)
{
    const struct reading reading = {.missed = true};

    (void)reply;
    read_chat(session, open, &reading, on_missed);
}

/* ---- getEvent, getEvents ---- */

static struct slice event_text(const struct bus_reply *fields, const char *name)
{
    return bus_reply_text(bus_reply_field(fields, name));
}

static uint64_t event_number(const struct bus_reply *fields, const char *name)
{
    return reply_number(bus_reply_field(fields, name));
}

static void append_event(struct buffer *out, const struct session *session,
                         const struct bus_reply *entry)
{
    const struct bus_reply *fields = bus_reply_at(entry, 1);
    int opcode = 0;

    chat_encode_event(out,
                      &(struct frame_event_delivery){
                          .event = reply_number(bus_reply_at(entry, 0)),
                          .at_ms = event_number(fields, "at"),
                          .kind = event_number(fields, "kind"),
                          .user = session->user,
                          .chat = event_text(fields, "chat"),
                          .from = event_text(fields, "from"),
                          .message = event_number(fields, "message"),
                          .id = event_text(fields, "id"),
                          .protocol = event_number(fields, "protocol"),
                          .content = event_number(fields, "content"),
                          .body = event_text(fields, "body"),
                      },
                      &opcode);
}

static void on_event(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    struct buffer *out = chat_scratch();

    if (open && reply == NULL) {
        chat_end_unavailable(session, open);
    } else if (open && bus_reply_count(reply) == 0) {
        chat_end_failed(session, open, CHAT_NOT_FOUND, "this event is not held");
    } else if (open) {
        append_event(out, session, bus_reply_at(reply, 0));
        chat_end(session, open, buffer_slice(out));
    }
}

static void on_events(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_open *open = find_open(session, request);
    struct buffer *out = chat_scratch();

    if (open && reply == NULL)
        chat_end_unavailable(session, open);
    if (open == NULL || reply == NULL)
        return;
    buffer_append_byte(out, '[');
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        if (i > 0)
            buffer_append_byte(out, ',');
        append_event(out, session, bus_reply_at(reply, i));
    }
    buffer_append_byte(out, ']');
    chat_end(session, open, buffer_slice(out));
}

static void read_events(struct chat_request *request, uint64_t from, bool single,
                        query_session_fn *answer)
{
    struct session *session = request->session;
    struct chat_open *open = chat_open_request(request, slice_of(NULL, 0), from);
    struct words words = {0};
    int result;

    if (open == NULL)
        return;
    add_key(&words, "events", session->user, slice_of(NULL, 0));
    add_argument_number(&words, from);
    if (single)
        add_argument_number(&words, from);
    else
        add_argument(&words, slice_text("+"));
    add_argument_number(&words, single ? 1 : PAGE_MAX);
    add_argument_number(&words, CHAT_ANSWER_BYTES);
    result = ask(session, &events_script, session->partition, &words, open->number, answer);
    if (result != 0)
        chat_end_unasked(session, open, result);
}

void chat_do_get_event(struct chat_request *request)
{
    uint64_t event;

    if (chat_need_number(request, "eventId", 1, &event))
        read_events(request, event, true, on_event);
}

void chat_do_get_events(struct chat_request *request)
{
    uint64_t from;

    if (chat_need_number(request, "fromEventId", 0, &from))
        read_events(request, from, false, on_events);
}
