#include "gateway/protocols/chat_ask.h"

#include "common/embed.h"
#include "common/xalloc.h"

#include <stdlib.h>

/* Of a user, read or followed. */
#define CHATS_MAX 1000
#define EVENTS_MAX 100

EMBED_BEHIND(chat_read_text, "gateway/bus/journal.lua", "gateway/protocols/chat_read.lua");
EMBED(chat_chats_text, "gateway/protocols/chat_chats.lua");
EMBED(chat_members_text, "gateway/protocols/chat_members.lua");
EMBED_BEHIND(chat_events_text, "gateway/bus/journal.lua", "gateway/protocols/chat_events.lua");

static struct bus_script read_script = {.name = "chat_read", .text = chat_read_text};
static struct bus_script chats_script = {.name = "chat_chats", .text = chat_chats_text};
static struct bus_script members_script = {.name = "chat_members", .text = chat_members_text};
static struct bus_script events_script = {.name = "chat_events", .text = chat_events_text};
struct bus_script *const chat_scripts[] = {&read_script, &chats_script, &members_script,
                                           &events_script, NULL};

uint32_t chat_partition(const struct session *session, struct slice chat)
{
    return partition_of_chat(&session->gateway->deployment, session->user, chat);
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

/* ---- questions of a request ---- */

static void ask_waiting(struct session *session)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open;

    while (session->queries < QUERIES_OPEN_MAX &&
           (open = chat_open_next_waiting(&state->open)) != NULL)
        open->command->ask(session, open);
}

static void on_answer(struct session *session, uint64_t request, const struct bus_reply *reply)
{
    struct chat_state *state = session->protocol_state;
    struct chat_open *open = chat_open_find(&state->open, request);

    if (open && reply)
        open->answered(session, open, reply);
    else if (open)
        chat_end_unavailable(session, open);
    ask_waiting(session);
}

void chat_ask_begin(struct session *session, struct chat_open *open)
{
    struct chat_state *state = session->protocol_state;

    if (session->queries < QUERIES_OPEN_MAX)
        open->command->ask(session, open);
    else
        chat_open_wait(&state->open, open);
}

static void ask_for(struct session *session, struct chat_open *open, struct bus_script *script,
                    uint32_t partition, struct words *words, chat_answered_fn *answered)
{
    int result;

    if (open->asked)
        admission_charge(session, LIMIT_READ, 1);
    open->asked = true;
    open->answered = answered;
    result = ask(session, script, partition, words, open->number, on_answer);
    if (result != 0)
        chat_end_unasked(session, open, result);
}

static void add_chats_words(struct words *words, const struct session *session)
{
    add_key(words, "chats", session->user, slice_of(NULL, 0));
    add_argument_number(words, CHATS_MAX);
}

void chat_ask_chats(struct session *session, struct chat_open *open, chat_answered_fn *answered)
{
    struct words words = {0};

    add_chats_words(&words, session);
    ask_for(session, open, &chats_script, session->partition, &words, answered);
}

static struct slice group_id(struct slice chat)
{
    const size_t prefix = sizeof("group:") - 1;

    return slice_of(chat.data + prefix, chat.length - prefix);
}

static void add_members_words(struct words *words, const struct session *session,
                              struct slice group)
{
    add_key(words, "group", group_id(group), slice_of(NULL, 0));
    add_argument(words, session->user);
    add_argument_number(words, CHATS_MAX);
}

void chat_ask_members(struct session *session, struct chat_open *open, chat_answered_fn *answered)
{
    struct words words = {0};

    add_members_words(&words, session, open->chat);
    ask_for(session, open, &members_script, chat_partition(session, open->chat), &words, answered);
}

void chat_ask_events(struct session *session, struct chat_open *open, bool single,
                     chat_answered_fn *answered)
{
    struct words words = {0};

    add_key(&words, "events", session->user, slice_of(NULL, 0));
    add_argument_number(&words, open->message);
    if (single)
        add_argument_number(&words, open->message);
    else
        add_argument(&words, slice_text("+"));
    add_argument_number(&words, single ? 1 : EVENTS_MAX);
    add_argument_number(&words, CHAT_ANSWER_BYTES);
    ask_for(session, open, &events_script, session->partition, &words, answered);
}

/* ---- reading conversations ---- */

static void begin_reading(struct words *words, const struct session *session, size_t room)
{
    add_argument(words, session->user);
    add_argument_number(words, room);
}

static size_t mark_users(const struct session *session, struct slice chat,
                         const struct chat_reading *reading, struct slice users[CHAT_MARKS_MAX])
{
    size_t count = bus_reply_count(reading->members);

    if (!chat_is_group(chat)) {
        users[0] = session->user;
        users[1] = chat;
        return 2;
    }
    count = count < CHAT_MARKS_MAX ? count : CHAT_MARKS_MAX;
    for (size_t i = 0; i < count; i++)
        users[i] = bus_reply_text(bus_reply_at(reading->members, i));
    return count;
}

static void add_reading(struct words *words, const struct session *session, struct slice chat,
                        const struct chat_reading *reading)
{
    const struct slice none = {0};
    struct slice users[CHAT_MARKS_MAX];
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

void chat_ask_reading(struct session *session, struct chat_open *open,
                      const struct chat_reading *reading, chat_answered_fn *answered)
{
    struct words words = {0};

    begin_reading(&words, session, CHAT_ANSWER_BYTES);
    add_reading(&words, session, open->chat, reading);
    ask_for(session, open, &read_script, chat_partition(session, open->chat), &words, answered);
}

void chat_ask_readings(struct session *session, struct chat_open *open,
                       const struct chat_reading *reading, const size_t *places, size_t count,
                       chat_answered_fn *answered)
{
    const struct chat_walk *walk = open->walk;
    struct words words = {0};

    begin_reading(&words, session, walk->room);
    for (size_t i = 0; i < count; i++)
        add_reading(&words, session, chat_list_at(&walk->chats, places[i]), reading);
    ask_for(session, open, &read_script, walk->parts[places[0]].partition, &words, answered);
}

/* ---- questions of the session itself ---- */

int chat_ask_own_chats(struct session *session, query_session_fn *answer)
{
    struct words words = {0};

    add_chats_words(&words, session);
    return ask(session, &chats_script, session->partition, &words, 0, answer);
}

int chat_ask_own_members(struct session *session, struct slice group, query_session_fn *answer)
{
    struct words words = {0};

    add_members_words(&words, session, group);
    return ask(session, &members_script, chat_partition(session, group), &words, 0, answer);
}
