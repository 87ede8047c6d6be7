/*
 * chat: what is read. Chats of a user stand at his partition, each chat at its own: getChats reads
 * one partition after another.
 */
#include "gateway/protocols/chat_ask.h"

#include "common/xalloc.h"

/* Messages answered at once. */
#define PAGE_MAX 100
/* Chats read with one script. */
#define BATCH_MAX 100

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

static size_t read_marks(const struct bus_reply *reply, struct chat_mark marks[CHAT_MARKS_MAX])
{
    size_t count = bus_reply_count(reply) / 3;

    count = count < CHAT_MARKS_MAX ? count : CHAT_MARKS_MAX;
    for (size_t i = 0; i < count; i++)
        marks[i] = (struct chat_mark){.user = bus_reply_text(bus_reply_at(reply, 3 * i)),
                                      .delivered_ms = reply_number(bus_reply_at(reply, 3 * i + 1)),
                                      .read_ms = reply_number(bus_reply_at(reply, 3 * i + 2))};
    return count;
}

static void append_message(struct buffer *out, struct slice chat, const struct bus_reply *reply)
{
    struct chat_mark marks[CHAT_MARKS_MAX];
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

static void on_message(struct session *session, struct chat_open *open,
                       const struct bus_reply *reply)
{
    const struct bus_reply *messages;
    struct buffer *out = chat_scratch();

    if ((reply = need_conversation(session, open, reply)) == NULL)
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

static void on_messages(struct session *session, struct chat_open *open,
                        const struct bus_reply *reply)
{
    const struct bus_reply *messages;
    struct buffer *out = chat_scratch();

    if (is_empty_dialog(open, reply)) {
        chat_end(session, open, slice_text("[]"));
        return;
    }
    if ((reply = need_conversation(session, open, reply)) == NULL)
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

static void read_messages(struct session *session, struct chat_open *open,
                          const struct bus_reply *members)
{
    bool single = open->command->handle == chat_do_get_message;
    const struct chat_reading reading = {.lowest = single ? open->message : 1,
                                         .highest = open->message,
                                         .count = open->count,
                                         .members = members};

    chat_ask_reading(session, open, &reading, single ? on_message : on_messages);
}

/* Of a group it is asked first whose marks there are. */
void chat_ask_messages(struct session *session, struct chat_open *open)
{
    if (chat_is_group(open->chat))
        chat_ask_members(session, open, read_messages);
    else
        read_messages(session, open, NULL);
}

static void begin(const struct chat_request *request, struct slice chat, uint64_t message,
                  uint64_t count)
{
    struct chat_open *open = chat_open_request(request, chat, message);

    if (open == NULL)
        return;
    open->count = count;
    chat_ask_begin(request->session, open);
}

void chat_do_get_message(struct chat_request *request)
{
    struct slice chat;
    uint64_t message;

    if (chat_need_chat(request, &chat) && chat_need_number(request, "messageId", 1, &message))
        begin(request, chat, message, 1);
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
        begin(request, chat, end, count);
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

static void on_chat(struct session *session, struct chat_open *open, const struct bus_reply *reply)
{
    struct buffer *out = chat_scratch();

    if ((reply = need_conversation(session, open, reply)) == NULL)
        return;
    append_chat(out, open->chat, reply);
    chat_end(session, open, buffer_slice(out));
}

void chat_ask_chat(struct session *session, struct chat_open *open)
{
    const struct chat_reading reading = {.count = 1, .missed = true};

    chat_ask_reading(session, open, &reading, on_chat);
}

void chat_do_get_chat(struct chat_request *request)
{
    struct slice chat;

    if (chat_need_chat(request, &chat))
        begin(request, chat, 0, 0);
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

static void on_batch(struct session *session, struct chat_open *open, const struct bus_reply *reply)
{
    struct chat_walk *walk = open->walk;
    size_t batch[BATCH_MAX], count = choose_batch(walk, batch);

    for (size_t i = 0; i < count; i++) {
        const struct bus_reply *conversation = bus_reply_at(reply, i);
        struct chat_part *part = &walk->parts[batch[i]];

        part->done = true;
        if (slice_is(bus_reply_text(bus_reply_at(conversation, 0)), "OK"))
            append_chat(&part->json, chat_list_at(&walk->chats, batch[i]), conversation);
        walk->room -= part->json.length < walk->room ? part->json.length : walk->room;
    }
    walk_on(session, open);
}

/* Where there is no room any more, chats come without their last message. */
static void walk_on(struct session *session, struct chat_open *open)
{
    struct chat_walk *walk = open->walk;
    size_t batch[BATCH_MAX], count = choose_batch(walk, batch);
    const struct chat_reading reading = {.count = walk->room > 0, .missed = true};

    if (count == 0)
        end_walk(session, open);
    else
        chat_ask_readings(session, open, &reading, batch, count, on_batch);
}

static void on_chats(struct session *session, struct chat_open *open, const struct bus_reply *reply)
{
    size_t count = bus_reply_count(reply);
    struct chat_walk *walk = open->walk = xcalloc(1, sizeof(*walk));

    walk->parts = xcalloc(count + 1, sizeof(*walk->parts));
    walk->room = CHAT_ANSWER_BYTES;
    for (size_t i = 0; i < count; i++) {
        struct slice chat = bus_reply_text(bus_reply_at(reply, i));

        walk->parts[i].partition = chat_partition(session, chat);
        chat_list_add(&walk->chats, chat);
    }
    walk_on(session, open);
}

void chat_ask_all_chats(struct session *session, struct chat_open *open)
{
    chat_ask_chats(session, open, on_chats);
}

void chat_do_get_chats(struct chat_request *request)
{
    begin(request, slice_of(NULL, 0), 0, 0);
}

/* ---- what the mark of read left ---- */

static void on_missed(struct session *session, struct chat_open *open,
                      const struct bus_reply *reply)
{
    struct buffer *out = chat_scratch();

    if ((reply = need_conversation(session, open, reply)) == NULL)
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

void chat_ask_missed(struct session *session, struct chat_open *open)
{
    const struct chat_reading reading = {.missed = true};

    chat_ask_reading(session, open, &reading, on_missed);
}

void chat_finish_read(struct session *session, struct chat_open *open,
                      const struct frame_conversation_reply *reply)
{
    (void)reply;
    chat_ask_begin(session, open);
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

static void append_event(struct buffer *out, const struct bus_reply *entry)
{
    const struct bus_reply *fields = bus_reply_at(entry, 1);
    struct slice chat = event_text(fields, "chat");
    int opcode = 0;

    chat_encode_event(out,
                      &(struct frame_event_delivery){
                          .event = reply_number(bus_reply_at(entry, 0)),
                          .at_ms = event_number(fields, "at"),
                          .kind = event_number(fields, "kind"),
                          .chat = chat,
                          .from = event_from_read(chat, event_text(fields, "from")),
                          .message = event_number(fields, "message"),
                          .protocol = event_number(fields, "protocol"),
                          .content = event_number(fields, "content"),
                          .body = event_text(fields, "body"),
                      },
                      &opcode);
}

static void on_event(struct session *session, struct chat_open *open, const struct bus_reply *reply)
{
    struct buffer *out = chat_scratch();

    if (bus_reply_count(reply) == 0) {
        chat_end_failed(session, open, CHAT_NOT_FOUND, "this event is not held");
        return;
    }
    append_event(out, bus_reply_at(reply, 0));
    chat_end(session, open, buffer_slice(out));
}

static void on_events(struct session *session, struct chat_open *open,
                      const struct bus_reply *reply)
{
    struct buffer *out = chat_scratch();

    buffer_append_byte(out, '[');
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        if (i > 0)
            buffer_append_byte(out, ',');
        append_event(out, bus_reply_at(reply, i));
    }
    buffer_append_byte(out, ']');
    chat_end(session, open, buffer_slice(out));
}

void chat_ask_event(struct session *session, struct chat_open *open)
{
    chat_ask_events(session, open, true, on_event);
}

void chat_ask_event_page(struct session *session, struct chat_open *open)
{
    chat_ask_events(session, open, false, on_events);
}

void chat_do_get_event(struct chat_request *request)
{
    uint64_t event;

    if (chat_need_number(request, "eventId", 1, &event))
        begin(request, slice_of(NULL, 0), event, 0);
}

void chat_do_get_events(struct chat_request *request)
{
    uint64_t from;

    if (chat_need_number(request, "fromEventId", 0, &from))
        begin(request, slice_of(NULL, 0), from, 0);
}
