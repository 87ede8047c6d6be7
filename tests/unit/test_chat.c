/* The chat protocol between a client's messages and frames of routers. */
#include "gateway/protocols/chat.h"
#include "gateway/content.h"
#include "gateway/bus/query.h"

#include "tests/unit/fake_gateway.h"

#include <errno.h>

#define CHAT_EVENTS (CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN)

static struct session *alice;
static int query_result;
static size_t query_count;
static struct {
    const char *script;
    uint32_t partition;
    char words[2048]; /* keys, then arguments */
    uint64_t request;
    query_session_fn *answer;
} asked;

/* Takes the place of query.c. */
int query_ask(struct queries *queries, const struct query *query, struct session *session,
              uint64_t request, query_session_fn *answer)
{
    struct buffer words = {0};

    (void)queries;
    (void)session;
    for (size_t i = 0; i < query->key_count; i++) {
        buffer_append_text(&words, query->keys[i].what);
        buffer_append_byte(&words, ':');
        buffer_append_slice(&words, query->keys[i].name);
        buffer_append_byte(&words, ' ');
    }
    for (size_t i = 0; i < query->argument_count; i++) {
        buffer_append_slice(&words, query->arguments[i]);
        buffer_append_byte(&words, ' ');
    }
    asked.script = query->script->name;
    asked.partition = query->partition;
    asked.request = request;
    asked.answer = answer;
    snprintf(asked.words, sizeof(asked.words), "%.*s", (int)words.length, words.data);
    for (char *at = asked.words; *at; at++)
        if (*at == '\n')
            *at = '|';
    buffer_finish(&words);
    query_count++;
    return query_result;
}

static int setup(void **state)
{
    (void)state;
    fake_start(16);
    uv_update_time(fake.gateway.loop);
    alice = fake_session(7, "alice", &protocol_chat);
    alice->flags = CHAT_EVENTS;
    protocol_chat.open(alice);
    query_result = 0;
    query_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

/* ---- words ---- */

static void say(const char *text)
{
    protocol_chat.on_text(alice, slice_text(text));
}

static const char *message_at(size_t index)
{
    assert_true(index < fake_message_count(alice));
    return ((struct fake_session *)alice)->messages[index];
}

/* A message as it was sent, its top-level timestamp as 0. */
static void without_time(const char *text, char *out, size_t size)
{
    static const char word[] = "\"timestamp\":";
    const char *at = strstr(text, word);
    size_t before = at ? (size_t)(at - text) + sizeof(word) - 1 : 0;
    const char *behind = text + before;

    while (at && *behind >= '0' && *behind <= '9')
        behind++;
    snprintf(out, size, "%.*s%s%s", (int)before, text, at ? "0" : "", behind);
}

static void expect(const char *text)
{
    char got[4096];

    assert_true(fake_message_count(alice) > 0);
    without_time(message_at(0), got, sizeof(got));
    assert_string_equal(got, text);
    assert_int_equal(fake_message_count(alice), 1);
    fake_forget_messages(alice);
}

static void expect_nothing(void)
{
    if (fake_message_count(alice) > 0)
        fail_msg("unexpected: %s", message_at(0));
}

static void expect_error(const char *id, int code)
{
    char start[200], got[4096];

    snprintf(start, sizeof(start), "{\"type\":\"response\",\"timestamp\":0,\"id\":%s,", id);
    assert_int_equal(fake_message_count(alice), 1);
    without_time(message_at(0), got, sizeof(got));
    if (strncmp(got, start, strlen(start)) != 0)
        fail_msg("%s does not begin with %s", got, start);
    snprintf(start, sizeof(start), "\"error\":{\"code\":%d,\"message\":\"", code);
    if (strstr(got, start) == NULL)
        fail_msg("no code %d in %s", code, got);
    fake_forget_messages(alice);
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.data, text);
}

static struct frame the_frame(enum frame_type type)
{
    struct frame frame = fake_frame_at(0);

    assert_int_equal(fake.frame_count, 1);
    assert_int_equal(frame.type, type);
    return frame;
}

static uint32_t place(const char *chat)
{
    return partition_of_chat(&fake.gateway.deployment, alice->user, slice_text(chat));
}

static void reply(uint64_t request, enum conversation_status status, uint64_t message)
{
    const struct frame_conversation_reply frame = {
        .connection = 7, .request = request, .status = status, .message = message};

    protocol_chat.on_conversation_reply(alice, &frame);
}

static size_t open_count(void)
{
    return ((struct chat_state *)alice->protocol_state)->open.count;
}

static void tick_after(uint64_t ms)
{
    protocol_chat.on_tick(alice, uv_now(fake.gateway.loop) + ms);
}

/* ---- bad input: answered, nothing sent, the connection stays ---- */

static void bad_input_is_answered(void **state)
{
    static const struct {
        const char *text, *id;
    } cases[] = {
        {"", "null"},
        {"nonsense", "null"},
        {"null", "null"},
        {"7", "null"},
        {"1e400", "null"},
        {"\"new\"", "null"},
        {"[]", "null"},
        {"{\"type\":\"request\"", "null"},
        {"[{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"getChats\"}]", "null"},
        {"{\"type\":\"request\",\"id\":\"a\",\"id\":\"b\",\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"getMessage\","
         "\"payload\":{\"chatId\":\"bob\",\"chatId\":\"eve\",\"messageId\":1}}",
         "null"},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\","
         "\"payload\":{\"chatId\":\"bob\",\"message\":\"\\ud800\"}}",
         "null"},
        {"{}", "null"},
        {"{\"type\":\"request\"}", "null"},
        {"{\"type\":\"request\",\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":null,\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":7,\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":[],\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":\"\",\"payloadType\":\"getChats\"}", "null"},
        {"{\"type\":\"request\",\"id\":\"a\\u0000b\",\"payloadType\":\"getChats\"}", "null"},
        {"{\"id\":\"a\",\"payloadType\":\"getChats\"}", "\"a\""},
        {"{\"type\":null,\"id\":\"a\",\"payloadType\":\"getChats\"}", "\"a\""},
        {"{\"type\":7,\"id\":\"a\",\"payloadType\":\"getChats\"}", "\"a\""},
        {"{\"type\":\"response\",\"id\":\"a\",\"payloadType\":\"getChats\"}", "\"a\""},
        {"{\"type\":\"event\",\"id\":\"a\",\"payloadType\":\"getChats\"}", "\"a\""},
        {"{\"type\":\"event\",\"eventType\":\"new\"}", "null"},
        {"{\"type\":\"event\",\"eventType\":\"typing\"}", "null"},
        {"{\"type\":\"request\",\"id\":\"a\"}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":null}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":7}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"New\"}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"getChats\",\"timestamp\":\"now\"}",
         "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"getChats\",\"payload\":7}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\"}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\",\"payload\":null}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\",\"payload\":[]}", "\"a\""},
        {"{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\",\"payload\":\"hi\"}", "\"a\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(cases[i].text);
        expect_error(cases[i].id, 400);
        assert_int_equal(fake.frame_count + query_count, 0);
        assert_int_equal(alice->state, SESSION_OPEN);
        /* Another connection: what was refused under this id is not to be remembered. */
        fake_end_session(alice);
        alice = fake_session(7, "alice", &protocol_chat);
        protocol_chat.open(alice);
    }
}

static void bad_payloads_are_answered(void **state)
{
    static const struct {
        const char *type, *payload;
    } cases[] = {
        {"new", "{}"},
        {"new", "{\"chatId\":\"bob\"}"},
        {"new", "{\"message\":\"hi\"}"},
        {"new", "{\"chatId\":null,\"message\":\"hi\"}"},
        {"new", "{\"chatId\":[\"bob\"],\"message\":\"hi\"}"},
        {"new", "{\"chatId\":true,\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"alice\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"group:\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"SERVER\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"*\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"b\\u0000b\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"group:a\\nb\",\"message\":\"hi\"}"},
        {"new", "{\"chatId\":1e400,\"message\":\"hi\"}"},
        {"new", "{\"chatId\":-1,\"message\":\"hi\"}"},
        {"new", "{\"chatId\":\"bob\",\"message\":7}"},
        {"new", "{\"chatId\":\"bob\",\"message\":null}"},
        {"new", "{\"chatId\":\"bob\",\"message\":{}}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"\"}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"\",\"attachments\":[]}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"hi\",\"attachments\":{}}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"hi\",\"attachments\":\"a\"}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"hi\",\"clientMessageId\":\"\"}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"hi\",\"clientMessageId\":{}}"},
        {"new", "{\"chatId\":\"bob\",\"message\":\"hi\",\"clientMessageId\":\"a\\u0000\"}"},
        {"edit", "{\"chatId\":\"bob\",\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":\"5\",\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":0,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":-1,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":1.5,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":1e3,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":1e400,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":9007199254740993,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":99999999999999999999999,\"message\":\"hi\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":5}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":5,\"message\":\"\"}"},
        {"edit", "{\"chatId\":\"bob\",\"messageId\":5,\"message\":null}"},
        {"edit", "{\"messageId\":5,\"message\":\"hi\"}"},
        {"delete", "{\"chatId\":\"bob\"}"},
        {"delete", "{\"chatId\":\"bob\",\"messageId\":null}"},
        {"subscribe", "{\"echo\":\"true\"}"},
        {"subscribe", "{\"echo\":null}"},
        {"dlvrd", "{\"chatId\":\"bob\"}"},
        {"dlvrd", "{\"chatId\":\"bob\",\"messageId\":true}"},
        {"delivered", "{\"messageId\":5}"},
        {"read", "{\"chatId\":\"bob\"}"},
        {"read", "{\"chatId\":\"bob\",\"messageId\":[]}"},
        {"subscribe", "{\"lastEventId\":\"5\"}"},
        {"subscribe", "{\"lastEventId\":-5}"},
        {"subscribe", "{\"lastEventId\":null}"},
        {"subscribe", "{\"lastEventId\":9007199254740992}"},
        {"getMessage", "{\"chatId\":\"bob\"}"},
        {"getMessage", "{\"chatId\":\"bob\",\"messageId\":{}}"},
        {"getMessages", "{\"chatId\":\"bob\"}"},
        {"getMessages", "{\"chatId\":\"bob\",\"count\":0}"},
        {"getMessages", "{\"chatId\":\"bob\",\"count\":101}"},
        {"getMessages", "{\"chatId\":\"bob\",\"count\":\"10\"}"},
        {"getMessages", "{\"chatId\":\"bob\",\"count\":10,\"endId\":\"5\"}"},
        {"getMessages", "{\"chatId\":\"bob\",\"count\":10,\"endId\":0}"},
        {"getMessages", "{\"count\":10}"},
        {"getChat", "{}"},
        {"getChat", "{\"chatId\":7.5}"},
        {"getEvent", "{}"},
        {"getEvent", "{\"eventId\":0}"},
        {"getEvents", "{}"},
        {"getEvents", "{\"fromEventId\":\"1\"}"},
        {"typing", "{}"},
        {"typing", "{\"chatId\":{}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], id[32], quoted[40];

        snprintf(id, sizeof(id), "q%zu", i);
        snprintf(quoted, sizeof(quoted), "\"%s\"", id);
        snprintf(text, sizeof(text),
                 "{\"type\":\"request\",\"timestamp\":1,\"id\":\"%s\",\"payloadType\":\"%s\","
                 "\"payload\":%s}",
                 id, cases[i].type, cases[i].payload);
        say(text);
        if (fake_message_count(alice) != 1)
            fail_msg("not refused: %s", text);
        expect_error(quoted, 400);
        assert_int_equal(fake.frame_count + query_count, 0);
        assert_int_equal(open_count(), 0);
    }
}

static void an_unknown_type_is_named_in_the_error(void **state)
{
    (void)state;
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"q1\",\"payloadType\":\"nope\"}");
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"q1\",\"payloadType\":\"nope\","
           "\"error\":{\"code\":400,\"message\":\"this payloadType is not known\"}}");
    say("{\"type\":\"request\",\"timestamp\":1,\"payloadType\":\"new\","
        "\"payload\":{\"chatId\":\"bob\",\"message\":\"hi\"}}");
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":null,\"payloadType\":\"new\","
           "\"error\":{\"code\":400,\"message\":\"id is missing\"}}");
}

static void deep_and_long_input(void **state)
{
    struct buffer text = {0};

    (void)state;
    buffer_append_text(&text, "{\"type\":\"request\",\"id\":\"a\",\"payloadType\":\"new\","
                              "\"payload\":");
    for (int i = 0; i < 10000; i++)
        buffer_append_byte(&text, '[');
    protocol_chat.on_text(alice, buffer_slice(&text));
    expect_error("null", 400);
    for (int i = 0; i < 10000; i++)
        buffer_append_byte(&text, ']');
    buffer_append_byte(&text, '}');
    protocol_chat.on_text(alice, buffer_slice(&text));
    expect_error("null", 400);
    buffer_reset(&text, 0);
    buffer_append_text(&text, "{\"type\":\"request\",\"payloadType\":\"getChats\",\"id\":\"");
    for (int i = 0; i < 1 << 20; i++)
        buffer_append_byte(&text, 'x');
    buffer_append_text(&text, "\"}");
    protocol_chat.on_text(alice, buffer_slice(&text));
    expect_error("null", 400);
    buffer_finish(&text);
    protocol_chat.on_binary(alice, slice_of("\0\1", 2));
    expect_error("null", 400);
    assert_int_equal(fake.frame_count + query_count, 0);
}

/* ---- new ---- */

#define NEW(id, rest)                                                                              \
    "{\"type\":\"request\",\"timestamp\":1700000000,\"id\":\"" id "\",\"payloadType\":\"new\","    \
    "\"payload\":{\"chatId\":\"bob\"," rest "}}"

static void new_is_posted_to_the_dialog(void **state)
{
    struct frame frame;

    (void)state;
    say(NEW("req1", "\"message\":\"hi\\u0021 \\ud83d\\ude00\",\"attachments\":[{\"url\":\"u\"}],"
                    "\"n\":9007199254740993,\"messageId\":5,\"data\":{\"x\":1.0},\"nil\":null"));
    expect_nothing();
    frame = the_frame(FRAME_CONVERSATION_POST);
    assert_int_equal(fake.frames[0].partition, place("bob"));
    assert_int_equal(frame.conversation_post.connection, 7);
    assert_text(frame.conversation_post.from, "alice");
    assert_text(frame.conversation_post.chat, "bob");
    assert_int_equal(frame.conversation_post.id.length, 0);
    assert_int_equal(frame.conversation_post.retry, 0);
    assert_int_equal(frame.conversation_post.policy, DELIVERY_STORE);
    assert_int_equal(frame.conversation_post.protocol, FRAME_PROTOCOL_CHAT);
    assert_text(frame.conversation_post.body,
                "{\"message\":\"hi\\u0021 \\ud83d\\ude00\",\"attachments\":[{\"url\":\"u\"}],"
                "\"n\":9007199254740993,\"data\":{\"x\":1.0}}");
    reply(frame.conversation_post.request, CONVERSATION_OK, 125);
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"req1\",\"payloadType\":\"new\","
           "\"payload\":{\"messageId\":125}}");
    assert_int_equal(open_count(), 0);
}

static void a_client_message_id_makes_it_a_retry(void **state)
{
    struct frame frame;

    (void)state;
    say(NEW("req1", "\"message\":\"hi\",\"clientMessageId\":\"c-1\""));
    frame = the_frame(FRAME_CONVERSATION_POST);
    assert_text(frame.conversation_post.id, "c-1");
    assert_int_equal(frame.conversation_post.retry, 1);
    reply(frame.conversation_post.request, CONVERSATION_OK, 3);
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"req1\",\"payloadType\":\"new\","
           "\"payload\":{\"messageId\":3,\"clientMessageId\":\"c-1\"}}");
    fake_forget_frames();
    say(NEW("req2", "\"message\":\"hi\",\"clientMessageId\":17"));
    frame = the_frame(FRAME_CONVERSATION_POST);
    assert_text(frame.conversation_post.id, "17");
    reply(frame.conversation_post.request, CONVERSATION_OK, 4);
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"req2\",\"payloadType\":\"new\","
           "\"payload\":{\"messageId\":4,\"clientMessageId\":17}}");
}

static void a_number_names_the_user_of_its_digits(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"a\",\"payloadType\":\"dlvrd\","
        "\"payload\":{\"chatId\":9007199254740993,\"messageId\":2}}");
    frame = the_frame(FRAME_CONVERSATION_MARK);
    assert_text(frame.conversation_mark.chat, "9007199254740993");
    reply(frame.conversation_mark.request, CONVERSATION_OK, 2);
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"a\",\"payloadType\":\"dlvrd\","
           "\"payload\":{\"chatId\":9007199254740993,\"messageId\":2}}");
}

static void attachments_need_no_text(void **state)
{
    (void)state;
    say(NEW("req1", "\"attachments\":[{\"url\":\"u\"}]"));
    assert_text(the_frame(FRAME_CONVERSATION_POST).conversation_post.body,
                "{\"attachments\":[{\"url\":\"u\"}]}");
}

/* ---- edit, delete, marks ---- */

static void request_of(const char *type, const char *payload)
{
    static unsigned number;
    char text[512];

    snprintf(text, sizeof(text),
             "{\"type\":\"request\",\"timestamp\":1,\"id\":\"r%u\",\"payloadType\":\"%s\","
             "\"payload\":%s}",
             ++number, type, payload);
    say(text);
}

static void a_text_alone_is_all_of_the_body(void **state)
{
    (void)state;
    request_of("new", "{\"chatId\":\"bob\",\"message\":\"\\u0021\",\"attachments\":null}");
    assert_text(the_frame(FRAME_CONVERSATION_POST).conversation_post.body, "\"\\u0021\"");
    fake_forget_frames();
    request_of("new", "{\"chatId\":\"bob\",\"message\":\"a\",\"clientMessageId\":\"c\"}");
    assert_text(the_frame(FRAME_CONVERSATION_POST).conversation_post.body,
                "{\"message\":\"a\",\"clientMessageId\":\"c\"}");
}

static void edit_and_delete_are_changes(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"a\",\"payloadType\":\"edit\","
        "\"payload\":{\"chatId\":\"group:g\",\"messageId\":9007199254740991,\"message\":"
        "\"\\u00e9\"}"
        "}");
    frame = the_frame(FRAME_CONVERSATION_CHANGE);
    assert_int_equal(fake.frames[0].partition, place("group:g"));
    assert_text(frame.conversation_change.chat, "group:g");
    assert_true(frame.conversation_change.message == 9007199254740991);
    assert_int_equal(frame.conversation_change.change, CONVERSATION_EDIT);
    assert_text(frame.conversation_change.body, "\"\\u00e9\"");
    reply(frame.conversation_change.request, CONVERSATION_OK, 1);
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"a\",\"payloadType\":\"edit\"}");
    fake_forget_frames();
    request_of("delete", "{\"chatId\":\"bob\",\"messageId\":5}");
    frame = the_frame(FRAME_CONVERSATION_CHANGE);
    assert_int_equal(frame.conversation_change.change, CONVERSATION_DELETE);
    assert_int_equal(frame.conversation_change.message, 5);
    assert_int_equal(frame.conversation_change.body.length, 0);
}

static void refusals_of_the_router_are_errors(void **state)
{
    static const struct {
        enum conversation_status status;
        int code;
    } cases[] = {
        {CONVERSATION_FORBIDDEN, 403},       {CONVERSATION_NOT_FOUND, 404},
        {CONVERSATION_EXISTS, 409},          {CONVERSATION_FULL, 409},
        {(enum conversation_status)99, 500},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256], id[16];

        snprintf(id, sizeof(id), "\"e%zu\"", i);
        snprintf(text, sizeof(text),
                 "{\"type\":\"request\",\"timestamp\":1,\"id\":%s,\"payloadType\":\"delete\","
                 "\"payload\":{\"chatId\":\"bob\",\"messageId\":5}}",
                 id);
        say(text);
        reply(the_frame(FRAME_CONVERSATION_CHANGE).conversation_change.request, cases[i].status, 0);
        expect_error(id, cases[i].code);
        assert_int_equal(open_count(), 0);
        fake_forget_frames();
    }
}

static void marks_are_sent_and_answered(void **state)
{
    static const struct {
        const char *type;
        enum conversation_mark mark;
    } cases[] = {{"dlvrd", CONVERSATION_MARK_DELIVERED},
                 {"delivered", CONVERSATION_MARK_DELIVERED},
                 {"read", CONVERSATION_MARK_READ}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct frame frame;

        request_of(cases[i].type, "{\"chatId\":\"bob\",\"messageId\":5}");
        frame = the_frame(FRAME_CONVERSATION_MARK);
        assert_int_equal(frame.conversation_mark.mark, cases[i].mark);
        assert_int_equal(frame.conversation_mark.message, 5);
        reply(frame.conversation_mark.request, CONVERSATION_OK, 5);
        fake_forget_frames();
    }
    /* Two are answered; what read left is asked for first. */
    assert_int_equal(fake_message_count(alice), 2);
    assert_non_null(strstr(message_at(1), "\"payloadType\":\"delivered\","
                                          "\"payload\":{\"chatId\":\"bob\",\"messageId\":5}}"));
    fake_forget_messages(alice);
    assert_string_equal(asked.script, "chat_read");
    assert_int_equal(asked.partition, place("bob"));
    assert_string_equal(asked.words, "dialog:alice|bob log:alice|bob changes:alice|bob "
                                     "delivered:alice|bob|alice read:alice|bob|alice "
                                     "delivered:alice|bob|bob read:alice|bob|bob "
                                     "alice 262144 0 + 0 1 2 alice bob ");
    assert_int_equal(open_count(), 1);
    asked.answer(alice, asked.request, NULL);
    assert_int_equal(fake_message_count(alice), 1);
    assert_non_null(strstr(message_at(0), "\"error\":{\"code\":503,"));
    assert_int_equal(open_count(), 0);
}

/* ---- requests that wait, and those that are known ---- */

static void a_duplicate_is_answered_as_before(void **state)
{
    char first[512];

    (void)state;
    say(NEW("req1", "\"message\":\"hi\""));
    say(NEW("req1", "\"message\":\"hi\""));
    assert_int_equal(fake.frame_count, 1);
    reply(the_frame(FRAME_CONVERSATION_POST).conversation_post.request, CONVERSATION_OK, 1);
    snprintf(first, sizeof(first), "%s", message_at(0));
    assert_int_equal(fake_message_count(alice), 1);
    say(NEW("req1", "\"message\":\"something else\""));
    assert_int_equal(fake.frame_count, 1);
    assert_int_equal(fake_message_count(alice), 2);
    assert_string_equal(message_at(1), first);
}

static void what_can_be_tried_again_is_not_remembered(void **state)
{
    (void)state;
    fake.no_credit = true;
    say(NEW("req1", "\"message\":\"hi\""));
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"req1\",\"payloadType\":\"new\","
           "\"error\":{\"code\":503,\"message\":\"the service cannot take this now\","
           "\"retry_after_ms\":1000}}");
    assert_int_equal(fake.frame_count, 0);
    fake.no_credit = false;
    say(NEW("req1", "\"message\":\"hi\""));
    the_frame(FRAME_CONVERSATION_POST);
}

static void the_memory_of_answers_has_an_end(void **state)
{
    const struct chat_answers *answers = &((struct chat_state *)alice->protocol_state)->answers;
    char text[256];

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"request\",\"timestamp\":1,\"id\":\"x%u\",\"payloadType\":\"nope\"}",
                 i);
        say(text);
        fake_forget_messages(alice);
    }
    assert_int_equal(answers->count, CHAT_ANSWERS_MAX);
    assert_int_equal(chat_answers_find(answers, slice_text("x43")).length, 0);
    assert_true(chat_answers_find(answers, slice_text("x44")).length > 0);
    assert_true(answers->bytes <= CHAT_ANSWERS_BYTES);
}

static void long_answers_make_room(void **state)
{
    struct chat_answers answers = {0};
    char *text = xcalloc(1, CHAT_ANSWERS_BYTES);
    char id[16];

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "%u", i);
        chat_answers_keep(&answers, slice_text(id), slice_of(text, CHAT_ANSWERS_BYTES / 8));
        assert_true(answers.bytes <= CHAT_ANSWERS_BYTES);
    }
    assert_int_equal(answers.count, 7);
    assert_int_equal(chat_answers_find(&answers, slice_text("19")).length, CHAT_ANSWERS_BYTES / 8);
    chat_answers_keep(&answers, slice_text("19"), slice_of(text, CHAT_ANSWERS_BYTES / 8 + 1));
    assert_int_equal(chat_answers_find(&answers, slice_text("19")).length, 0);
    for (unsigned i = 20; i < 60; i++) {
        snprintf(id, sizeof(id), "%u", i);
        chat_answers_keep(&answers, slice_text(id), slice_text(id));
    }
    assert_int_equal(chat_answers_find(&answers, slice_text("18")).length, CHAT_ANSWERS_BYTES / 8);
    for (unsigned i = 20; i < 60; i++) {
        snprintf(id, sizeof(id), "%u", i);
        assert_true(slice_is(chat_answers_find(&answers, slice_text(id)), id));
    }
    chat_answers_finish(&answers);
    assert_int_equal(answers.bytes, 0);
    free(text);
}

static void so_many_requests_wait_and_no_more(void **state)
{
    char text[256];

    (void)state;
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"request\",\"timestamp\":1,\"id\":\"x%u\",\"payloadType\":\"delete\","
                 "\"payload\":{\"chatId\":\"bob\",\"messageId\":1}}",
                 i);
        say(text);
    }
    expect_nothing();
    assert_int_equal(open_count(), CHAT_OPEN_MAX);
    say(NEW("more", "\"message\":\"hi\""));
    expect_error("\"more\"", 429);
    assert_int_equal(fake.frame_count, CHAT_OPEN_MAX);
    tick_after(CHAT_OPEN_MS - 1);
    expect_nothing();
    tick_after(CHAT_OPEN_MS);
    assert_int_equal(fake_message_count(alice), CHAT_OPEN_MAX);
    assert_non_null(strstr(message_at(0), "\"error\":{\"code\":503,"));
    assert_int_equal(open_count(), 0);
    /* Its reply comes after all. */
    fake_forget_messages(alice);
    reply(fake_frame_at(0).conversation_change.request, CONVERSATION_OK, 1);
    expect_nothing();
}

static void rate_limits_are_told(void **state)
{
    char text[128];
    unsigned refused = 0;

    (void)state;
    fake.gateway.settings.rate_limits = true;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(
            text, sizeof(text),
            "{\"type\":\"request\",\"timestamp\":1,\"id\":\"x%u\",\"payloadType\":\"getChats\"}",
            i);
        say(text);
        if (fake_message_count(alice) > 0) {
            assert_non_null(strstr(message_at(0), "\"code\":429"));
            assert_non_null(strstr(message_at(0), "\"retry_after_ms\":"));
            refused++;
        }
        fake_forget_messages(alice);
    }
    assert_true(refused >= 44 && refused < 300);
}

/* ---- subscribe ---- */

static void followed(uint64_t request, uint64_t newest, uint64_t count, bool resync)
{
    const struct frame_events_followed frame = {.connection = 7,
                                                .request = request,
                                                .newest = newest,
                                                .count = count,
                                                .oldest = newest - count + 1,
                                                .resync = resync};

    protocol_chat.on_events_followed(alice, &frame);
}

static void subscribe_is_answered_and_opens_the_way_for_events(void **state)
{
    struct frame frame;

    (void)state;
    assert_true(alice->event == UINT64_MAX);
    request_of("subscribe", "{\"lastEventId\":1}");
    frame = the_frame(FRAME_EVENTS_FOLLOW);
    assert_int_equal(fake.frames[0].partition, alice->partition);
    assert_int_equal(frame.events_follow.after, 1);
    assert_true(alice->event == UINT64_MAX);
    followed(frame.events_follow.request, 9, 8, false);
    assert_non_null(strstr(message_at(0), "\"payloadType\":\"subscribe\",\"payload\":{"
                                          "\"lastEventId\":9,\"count\":8}}"));
    assert_int_equal(alice->event, 1);
    assert_int_equal(alice->flags, CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_FOLLOWING);
    assert_string_equal(asked.script, "chat_chats");
    assert_string_equal(asked.words, "chats:alice 1000 ");
}

static void subscribe_may_ask_for_an_echo(void **state)
{
    (void)state;
    request_of("subscribe", "{\"lastEventId\":1,\"echo\":true}");
    assert_int_equal(the_frame(FRAME_EVENTS_FOLLOW).events_follow.flags, CONNECTION_FLAG_ECHO);
    followed(the_frame(FRAME_EVENTS_FOLLOW).events_follow.request, 9, 8, false);
    assert_true(alice->flags & CONNECTION_FLAG_ECHO);
    fake_forget_frames();
    request_of("subscribe", "{\"echo\":false}");
    assert_int_equal(the_frame(FRAME_EVENTS_FOLLOW).events_follow.flags, 0);
    assert_false(alice->flags & CONNECTION_FLAG_ECHO);
}

/* The number of the request. */
static uint64_t write_to(const char *payload)
{
    fake_forget_frames();
    request_of("new", payload);
    return the_frame(FRAME_CONVERSATION_POST).conversation_post.request;
}

/* What it did is an event, which it does not get. */
static void done_of(enum event_kind kind, uint64_t request, uint64_t event, const char *chat,
                    uint64_t message)
{
    const struct frame_event_done done = {.connection = alice->id,
                                          .request = request,
                                          .event = event,
                                          .kind = kind,
                                          .chat = slice_text(chat),
                                          .message = message};

    protocol_chat.on_event_done(alice, &done);
}

static void done(uint64_t request, uint64_t event, const char *chat, uint64_t message)
{
    done_of(EVENT_NEW, request, event, chat, message);
}

static void follow_from_nothing(void)
{
    request_of("subscribe", "{\"lastEventId\":0}");
    followed(the_frame(FRAME_EVENTS_FOLLOW).events_follow.request, 0, 0, false);
    fake_forget_messages(alice);
}

static void whom_a_follower_writes_to_is_followed(void **state)
{
    uint64_t request;

    (void)state;
    follow_from_nothing();
    request = write_to("{\"chatId\":\"group:g\",\"message\":\"hi\"}");
    fake_forget_frames();
    done(request, 1, "group:g", 1);
    assert_int_equal(fake.frame_count, 0);
    request = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    fake_forget_frames();
    done(request, 2, "bob", 1);
    assert_text(the_frame(FRAME_PRESENCE_WATCH).presence_watch.user, "bob");
    request = write_to("{\"chatId\":\"bob\",\"message\":\"ho\"}");
    fake_forget_frames();
    done(request, 3, "bob", 2);
    assert_int_equal(fake.frame_count, 0);
}

/* The reply comes by another stream than what happens behind it. */
static void what_is_done_is_answered_in_its_place(void **state)
{
    uint64_t request;

    (void)state;
    follow_from_nothing();
    request = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    done(request, 1, "bob", 5);
    assert_int_equal(fake_message_count(alice), 1);
    assert_non_null(strstr(message_at(0), "\"payload\":{\"messageId\":5}}"));
    reply(request, CONVERSATION_OK, 5);
    done(request, 1, "bob", 5);
    assert_int_equal(fake_message_count(alice), 1);
    assert_int_equal(alice->state, SESSION_OPEN);
}

/* The last frame is the session's own EVENTS_FOLLOW; its request. */
static uint64_t catching_up(uint64_t after, uint64_t flags)
{
    const struct frame frame = fake_frame_at(fake.frame_count - 1);

    assert_int_equal(frame.type, FRAME_EVENTS_FOLLOW);
    assert_int_equal(frame.events_follow.after, after);
    assert_int_equal(frame.events_follow.flags, flags);
    assert_true(alice->event == UINT64_MAX);
    assert_int_equal(fake_message_count(alice), 0);
    return frame.events_follow.request;
}

static void what_is_done_after_its_503_is_read_again(void **state)
{
    uint64_t first, second;

    (void)state;
    follow_from_nothing();
    first = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    second = write_to("{\"chatId\":\"bob\",\"message\":\"ho\"}");
    protocol_chat.on_unanswered(alice, second, slice_text(""));
    assert_non_null(strstr(message_at(0), "\"code\":503"));
    reply(first, CONVERSATION_OK, 5);
    reply(second, CONVERSATION_OK, 6);
    done(first, 1, "bob", 5);
    assert_int_equal(alice->event, 0);
    fake_forget_messages(alice);
    done(second, 2, "bob", 6);
    followed(catching_up(1, 0), 3, 2, false);
    assert_int_equal(alice->event, 1);
    assert_true(alice->flags & CONNECTION_FLAG_FOLLOWING);
    assert_int_equal(fake_message_count(alice), 0);
    assert_int_equal(open_count(), 0);
}

static void follow_and_be_done_after_a_503(uint64_t flags)
{
    uint64_t request;

    follow_from_nothing();
    alice->flags |= flags;
    request = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    protocol_chat.on_unanswered(alice, request, slice_text(""));
    fake_forget_messages(alice);
    fake_forget_frames();
    done(request, 5, "bob", 5);
}

static void one_who_is_hidden_catches_up_hidden(void **state)
{
    (void)state;
    follow_and_be_done_after_a_503(CONNECTION_FLAG_HIDDEN);
    followed(catching_up(4, CONNECTION_FLAG_HIDDEN), 5, 1, false);
    assert_true(alice->flags & CONNECTION_FLAG_HIDDEN);
}

static void a_subscribe_takes_the_place_of_catching_up(void **state)
{
    uint64_t own;

    (void)state;
    follow_and_be_done_after_a_503(0);
    own = catching_up(4, 0);
    fake_forget_frames();
    request_of("subscribe", "{\"lastEventId\":2}");
    assert_int_equal(the_frame(FRAME_EVENTS_FOLLOW).events_follow.after, 2);
    followed(own, 5, 1, false);
    assert_true(alice->event == UINT64_MAX);
    followed(the_frame(FRAME_EVENTS_FOLLOW).events_follow.request, 5, 3, false);
    assert_int_equal(alice->event, 2);
}

static void one_who_cannot_catch_up_comes_again(void **state)
{
    (void)state;
    follow_and_be_done_after_a_503(0);
    protocol_chat.on_unanswered(alice, catching_up(4, 0), slice_text(""));
    assert_int_equal(alice->state, SESSION_CLOSING);
}

static void one_who_would_miss_events_comes_again(void **state)
{
    (void)state;
    follow_and_be_done_after_a_503(0);
    followed(catching_up(4, 0), 900, 100, true);
    assert_int_equal(alice->state, SESSION_CLOSING);
}

static void give_up_all(void)
{
    tick_after(CHAT_OPEN_MS);
    assert_int_equal(open_count(), 0);
    fake_forget_messages(alice);
}

static uint64_t write_and_give_up(void)
{
    uint64_t request;

    follow_from_nothing();
    request = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    give_up_all();
    return request;
}

/* Questions change nothing: nobody need remember that they were given up. */
static void all_that_may_be_done_after_their_503_are_remembered(void **state)
{
    uint64_t first, second;

    (void)state;
    follow_from_nothing();
    first = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    second = write_to("{\"chatId\":\"bob\",\"message\":\"ho\"}");
    give_up_all();
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++) {
        request_of("getEvent", "{\"eventId\":1}");
        asked.answer(alice, asked.request, NULL);
    }
    fake_forget_messages(alice);
    done(first, 1, "bob", 5);
    followed(catching_up(0, 0), 1, 1, false);
    done(second, 2, "bob", 6);
    followed(catching_up(1, 0), 2, 1, false);
    assert_int_equal(alice->state, SESSION_OPEN);
}

static void as_many_as_may_wait_are_remembered(void **state)
{
    (void)state;
    follow_from_nothing();
    fake_forget_frames();
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++)
        request_of("delete", "{\"chatId\":\"bob\",\"messageId\":1}");
    give_up_all();
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++) {
        done_of(EVENT_DELETE, fake_frame_at(i).conversation_change.request, i + 1, "bob", 1);
        followed(catching_up(i, 0), i + 1, 1, false);
    }
    assert_int_equal(alice->state, SESSION_OPEN);
}

static void a_subscribe_that_finds_no_room_leaves_it_catching_up(void **state)
{
    uint64_t own;

    (void)state;
    follow_and_be_done_after_a_503(0);
    own = catching_up(4, 0);
    while (open_count() < CHAT_OPEN_MAX)
        request_of("delete", "{\"chatId\":\"bob\",\"messageId\":1}");
    expect_nothing();
    request_of("subscribe", "{\"lastEventId\":4}");
    assert_non_null(strstr(message_at(0), "\"code\":429"));
    followed(own, 5, 1, false);
    assert_int_equal(alice->event, 4);
    assert_true(alice->flags & CONNECTION_FLAG_FOLLOWING);
}

static void what_waits_to_catch_up_is_looked_at(void **state)
{
    uint64_t request = write_and_give_up();

    (void)state;
    alice->tick_due_ms = UINT64_MAX;
    done(request, 5, "bob", 5);
    catching_up(4, 0);
    assert_int_equal(alice->tick_due_ms, 0);
    tick_after(CHAT_OPEN_MS - 1);
    assert_int_equal(alice->state, SESSION_OPEN);
    tick_after(CHAT_OPEN_MS);
    assert_int_equal(alice->state, SESSION_CLOSING);
    expect_nothing();
}

static void one_with_no_room_to_catch_up_comes_again(void **state)
{
    uint64_t request = write_and_give_up();

    (void)state;
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++)
        request_of("delete", "{\"chatId\":\"bob\",\"messageId\":1}");
    assert_int_equal(open_count(), CHAT_OPEN_MAX);
    done(request, 1, "bob", 5);
    assert_int_equal(alice->state, SESSION_CLOSING);
}

static void one_that_was_given_up_long_ago_is_remembered(void **state)
{
    uint64_t request = write_and_give_up();

    (void)state;
    for (unsigned i = 0; i < CHAT_OPEN_MAX; i++)
        request_of("dlvrd", "{\"chatId\":\"bob\",\"messageId\":1}");
    give_up_all();
    done(request, 5, "bob", 5);
    followed(catching_up(4, 0), 5, 1, false);
}

static void one_who_hides_while_he_subscribes_stays_hidden(void **state)
{
    uint64_t request;

    (void)state;
    request_of("subscribe", "{\"lastEventId\":0}");
    request = the_frame(FRAME_EVENTS_FOLLOW).events_follow.request;
    say("{\"type\":\"event\",\"timestamp\":1,\"eventType\":\"offline\"}");
    followed(request, 0, 0, false);
    fake_forget_messages(alice);
    request = write_to("{\"chatId\":\"bob\",\"message\":\"hi\"}");
    give_up_all();
    done(request, 5, "bob", 5);
    catching_up(4, CONNECTION_FLAG_HIDDEN);
}

static void subscribe_needs_no_payload(void **state)
{
    (void)state;
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"a\",\"payloadType\":\"subscribe\"}");
    assert_int_equal(the_frame(FRAME_EVENTS_FOLLOW).events_follow.after, 0);
}

static void what_is_not_held_is_resynced(void **state)
{
    (void)state;
    request_of("subscribe", "{\"lastEventId\":1}");
    followed(the_frame(FRAME_EVENTS_FOLLOW).events_follow.request, 900, 100, true);
    assert_non_null(strstr(message_at(0), "\"payload\":{\"lastEventId\":900,\"count\":100,"
                                          "\"resync\":true,\"oldestEventId\":801}}"));
    assert_int_equal(alice->event, 800);
}

static void one_subscribe_at_a_time(void **state)
{
    uint64_t first;

    (void)state;
    request_of("subscribe", "{\"lastEventId\":1}");
    first = the_frame(FRAME_EVENTS_FOLLOW).events_follow.request;
    request_of("subscribe", "{\"lastEventId\":2}");
    assert_int_equal(fake.frame_count, 1);
    assert_non_null(strstr(message_at(0), "\"code\":409"));
    fake_forget_messages(alice);
    followed(first, 9, 8, false);
    /* Another one begins anew: what is on its way for the first is not handed over. */
    request_of("subscribe", "{\"lastEventId\":4}");
    assert_int_equal(fake.frame_count, 2);
    assert_true(alice->event == UINT64_MAX);
    assert_false(alice->flags & CONNECTION_FLAG_FOLLOWING);
    /* Too late an answer opens nothing. */
    tick_after(CHAT_OPEN_MS);
    followed(fake_frame_at(1).events_follow.request, 9, 5, false);
    assert_true(alice->event == UINT64_MAX);
}

/* ---- events ---- */

static void expect_event(const struct frame_event_delivery *event, const char *text)
{
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    chat_encode_event(&out, event, &opcode);
    buffer_append_byte(&out, '\0');
    assert_string_equal(out.data, text);
    buffer_finish(&out);
}

static void events_of_the_log(void **state)
{
    struct frame_event_delivery event = {
        .event = 23,
        .at_ms = 1700000000999,
        .kind = EVENT_NEW,
        .chat = slice_text("alice"),
        .from = slice_text("alice"),
        .message = 125,
        .protocol = FRAME_PROTOCOL_CHAT,
        .body = slice_text("{\"message\":\"hi\",\"attachments\":[1.0],\"clientMessageId\":\"c-1\","
                           "\"data\":{\"a\":1}}"),
    };

    (void)state;
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"new\","
                 "\"payload\":{\"chatId\":\"alice\",\"userId\":\"alice\",\"messageId\":125,"
                 "\"message\":\"hi\",\"attachments\":[1.0],\"clientMessageId\":\"c-1\","
                 "\"data\":{\"a\":1}}}");
    event.body = slice_text("{\"attachments\":[1.0]}");
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"new\","
                 "\"payload\":{\"chatId\":\"alice\",\"userId\":\"alice\",\"messageId\":125,"
                 "\"attachments\":[1.0],\"message\":\"\"}}");
    event.body = slice_text("\"h\\u0069\"");
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"new\","
                 "\"payload\":{\"chatId\":\"alice\",\"userId\":\"alice\",\"messageId\":125,"
                 "\"message\":\"h\\u0069\"}}");
    event.kind = EVENT_EDIT;
    event.body = slice_text("\"ho\"");
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"edit\","
                 "\"payload\":{\"chatId\":\"alice\",\"messageId\":125,\"message\":\"ho\"}}");
    event.kind = EVENT_DELETE;
    event.body = slice_of(NULL, 0);
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"delete\","
                 "\"payload\":{\"chatId\":\"alice\",\"messageId\":125}}");
    event.kind = EVENT_DELIVERED;
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"dlvrd\","
                 "\"payload\":{\"chatId\":\"alice\",\"messageId\":125,\"timestamp\":1700000000}}");
    event.kind = EVENT_READ;
    event.chat = slice_text("group:g");
    event.from = slice_text("eve");
    expect_event(&event,
                 "{\"type\":\"event\",\"timestamp\":1700000000,\"id\":23,\"eventType\":\"read\","
                 "\"payload\":{\"chatId\":\"group:g\",\"userId\":\"eve\",\"messageId\":125,"
                 "\"timestamp\":1700000000}}");
    event.kind = 99;
    expect_event(&event, "");
}

static void a_body_that_is_nothing_is_an_empty_message(void **state)
{
    const struct frame_event_delivery event = {
        .event = 1,
        .at_ms = 1000,
        .kind = EVENT_NEW,
        .chat = slice_text("eve"),
        .from = slice_text("eve"),
        .message = 1,
        .protocol = 77,
        .body = slice_text("{\"x\":1}"),
    };

    (void)state;
    expect_event(&event, "{\"type\":\"event\",\"timestamp\":1,\"id\":1,\"eventType\":\"new\","
                         "\"payload\":{\"chatId\":\"eve\",\"userId\":\"eve\",\"messageId\":1,"
                         "\"message\":\"\"}}");
}

static void bytes_come_as_an_attachment(void **state)
{
    const struct frame_event_delivery event = {
        .event = 1,
        .at_ms = 1000,
        .kind = EVENT_NEW,
        .chat = slice_text("eve"),
        .from = slice_text("eve"),
        .message = 1,
        .protocol = FRAME_PROTOCOL_REALTIME,
        .content = CONTENT_BINARY,
        .body = slice_of("\0\1\2", 3),
    };

    (void)state;
    expect_event(&event, "{\"type\":\"event\",\"timestamp\":1,\"id\":1,\"eventType\":\"new\","
                         "\"payload\":{\"chatId\":\"eve\",\"userId\":\"eve\",\"messageId\":1,"
                         "\"attachments\":[{\"type\":\"file\",\"data\":\"AAEC\"}],"
                         "\"message\":\"\"}}");
}

static void a_body_says_its_content_to_others(void **state)
{
    static const struct {
        const char *body, *text, *attachments, *other;
    } cases[] = {
        {"{\"message\":\"h\\u0069\",\"attachments\":[{\"url\":\"u\"}],"
         "\"clientMessageId\":\"c\",\"n\":1.0,\"data\":{\"a\":1,\"b\":[2.0]}}",
         "\"h\\u0069\"", "[{\"url\":\"u\"}]", "\"n\":1.0,\"a\":1,\"b\":[2.0]"},
        {"{\"message\":\"hi\",\"a\":2,\"data\":{\"a\":1}}", "\"hi\"", "", "\"a\":1"},
        {"{\"message\":\"hi\",\"data\":7}", "\"hi\"", "", "\"data\":7"},
        {"{\"message\":\"hi\",\"data\":{}}", "\"hi\"", "", ""},
        {"\"h\\u0069\"", "\"h\\u0069\"", "", ""},
        {"\"h", "", "", ""},
        {"nonsense", "", "", ""},
    };
    struct content content;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        content_read(FRAME_PROTOCOL_CHAT, CONTENT_JSON, slice_text(cases[i].body), &content);
        assert_text(content.text, cases[i].text);
        assert_text(content.attachments, cases[i].attachments);
        assert_text(content.other, cases[i].other);
    }
}

static void what_is_said_to_all_is_a_notification(void **state)
{
    const struct frame_topic_message message = {
        .topic = slice_text("$all"),
        .sent_at_ms = 5000,
        .protocol = FRAME_PROTOCOL_SERVER,
        .body = slice_text("{\"level\":\"info\",\"message\":\"tea\"}"),
    };
    struct buffer out = {0};
    int opcode;

    (void)state;
    chat_encode_topic_message(&out, &message, &opcode);
    buffer_append_byte(&out, '\0');
    assert_string_equal(out.data, "{\"type\":\"event\",\"timestamp\":5,\"eventType\":"
                                  "\"notification\",\"payload\":{\"userId\":\"SERVER\","
                                  "\"message\":\"tea\",\"data\":{\"level\":\"info\"}}}");
    buffer_finish(&out);
}

/* ---- Message ---- */

static void expect_message(const struct chat_message *message, const char *text)
{
    struct buffer out = {0};

    chat_encode_message(&out, message);
    buffer_append_byte(&out, '\0');
    assert_string_equal(out.data, text);
    buffer_finish(&out);
}

static void a_message_shows_what_became_of_it(void **state)
{
    const struct chat_mark marks[] = {{slice_text("bob"), 2000, 3000},
                                      {slice_text("eve"), 4000, 0}};
    struct chat_message message = {
        .message = 5,
        .from = slice_text("alice"),
        .at_ms = 1000,
        .protocol = FRAME_PROTOCOL_CHAT,
        .body = slice_text("{\"message\":\"hi\",\"attachments\":[1],\"clientMessageId\":\"c\"}"),
        .marks = marks,
    };

    (void)state;
    expect_message(&message, "{\"messageId\":5,\"sender\":\"alice\",\"message\":\"hi\","
                             "\"attachments\":[1],\"createdAt\":1}");
    message.mark_count = 1;
    expect_message(&message, "{\"messageId\":5,\"sender\":\"alice\",\"message\":\"hi\","
                             "\"attachments\":[1],\"createdAt\":1,\"dlvrd\":2,\"read\":3}");
    message.group = true;
    message.mark_count = 2;
    message.updated_ms = 7000;
    message.edit_protocol = FRAME_PROTOCOL_CHAT;
    message.edit = slice_text("\"ho\"");
    expect_message(
        &message, "{\"messageId\":5,\"sender\":\"alice\",\"message\":\"ho\","
                  "\"attachments\":[1],\"createdAt\":1,\"updatedAt\":7,\"delivering\":["
                  "{\"userId\":\"bob\",\"dlvrd\":2,\"read\":3},{\"userId\":\"eve\",\"dlvrd\":4}]}");
    message.mark_count = 0;
    message.updated_ms = 0;
    message.deleted_ms = 9000;
    expect_message(&message, "{\"messageId\":5,\"sender\":\"alice\",\"createdAt\":1,"
                             "\"deletedAt\":9,\"delivering\":[]}");
}

/* ---- typing, offline, presence ---- */

static void typing_goes_to_the_other_one(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"event\",\"timestamp\":1,\"eventType\":\"typing\","
        "\"payload\":{\"chatId\":\"bob\"}}");
    expect_nothing();
    frame = the_frame(FRAME_SIGNAL_SEND);
    assert_int_equal(fake.frames[0].partition,
                     partition_of(&fake.gateway.deployment, slice_text("bob")));
    assert_int_equal(frame.signal_send.kind, SIGNAL_TYPING);
    assert_text(frame.signal_send.from, "alice");
    assert_text(frame.signal_send.to, "bob");
    assert_text(frame.signal_send.chat, "");
    say("{\"type\":\"event\",\"timestamp\":1,\"payloadType\":\"typing\","
        "\"payload\":{\"chatId\":\"bob\"}}");
    expect_nothing();
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"t\",\"payloadType\":\"typing\","
        "\"payload\":{\"chatId\":\"bob\"}}");
    expect("{\"type\":\"response\",\"timestamp\":0,\"id\":\"t\",\"payloadType\":\"typing\"}");
    assert_int_equal(fake.frame_count, 3);
    say("{\"type\":\"request\",\"timestamp\":1,\"payloadType\":\"typing\","
        "\"payload\":{\"chatId\":\"bob\"}}");
    expect_nothing();
    assert_int_equal(fake.frame_count, 4);
}

static void typing_in_a_group_is_answered_by_its_owner(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"event\",\"timestamp\":1,\"eventType\":\"typing\","
        "\"payload\":{\"chatId\":\"group:g\"}}");
    frame = the_frame(FRAME_CONVERSATION_SIGNAL);
    assert_int_equal(frame.conversation_signal.request, 0);
    assert_int_equal(open_count(), 0);
    fake_forget_frames();
    say("{\"type\":\"request\",\"timestamp\":1,\"id\":\"t\",\"payloadType\":\"typing\","
        "\"payload\":{\"chatId\":\"group:g\"}}");
    frame = the_frame(FRAME_CONVERSATION_SIGNAL);
    assert_int_equal(fake.frames[0].partition, place("group:g"));
    reply(frame.conversation_signal.request, CONVERSATION_FORBIDDEN, 0);
    expect_error("\"t\"", 403);
}

static void typing_is_told(void **state)
{
    struct frame_signal_delivery signal = {
        .kind = SIGNAL_TYPING, .from = slice_text("alice"), .to = slice_text("bob")};
    struct buffer out = {0};
    char got[256];
    int opcode;

    (void)state;
    chat_encode_signal(&out, &signal, &opcode);
    buffer_append_byte(&out, '\0');
    without_time(out.data, got, sizeof(got));
    assert_string_equal(got, "{\"type\":\"event\",\"timestamp\":0,\"eventType\":\"typing\","
                             "\"payload\":{\"userId\":\"alice\",\"chatId\":\"alice\"}}");
    buffer_reset(&out, 1024);
    signal.chat = slice_text("group:g");
    chat_encode_signal(&out, &signal, &opcode);
    buffer_append_byte(&out, '\0');
    assert_non_null(strstr(out.data, "{\"userId\":\"alice\",\"chatId\":\"group:g\"}}"));
    buffer_reset(&out, 1024);
    signal.kind = SIGNAL_EDITED;
    chat_encode_signal(&out, &signal, &opcode);
    assert_int_equal(out.length, 0);
    buffer_finish(&out);
}

static void offline_hides_the_connection(void **state)
{
    (void)state;
    alice->flags = CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_FOLLOWING;
    say("{\"type\":\"event\",\"timestamp\":1,\"eventType\":\"offline\"}");
    expect_nothing();
    assert_int_equal(the_frame(FRAME_CONNECTION_VISIBLE).connection_visible.visible, 0);
    assert_true(alice->flags & CONNECTION_FLAG_HIDDEN);
    assert_true(alice->flags & CONNECTION_FLAG_FOLLOWING);
}

static void expect_presence(const char *status, uint64_t request, const char *text)
{
    const struct frame_presence_state presence = {.user = slice_text("bob"),
                                                  .status = slice_text(status),
                                                  .last_seen_ms = 1700000000123,
                                                  .request = request};
    struct buffer out = {0};
    char got[256];
    int opcode;

    chat_encode_presence(&out, &presence, &opcode);
    buffer_append_byte(&out, '\0');
    without_time(out.data, got, sizeof(got));
    assert_string_equal(got, text);
    buffer_finish(&out);
}

static void presence_is_told_as_events(void **state)
{
    static const char online[] = "{\"type\":\"event\",\"timestamp\":0,\"eventType\":\"online\","
                                 "\"payload\":{\"userId\":\"bob\"}}";
    static const char offline[] = "{\"type\":\"event\",\"timestamp\":0,\"eventType\":\"offline\","
                                  "\"payload\":{\"userId\":\"bob\",\"lastSeen\":1700000000}}";

    (void)state;
    expect_presence("online", 0, online);
    expect_presence("away", 7, online);
    expect_presence("offline", 0, offline);
    expect_presence("offline", 7, "");
    expect_presence("offline", 7 | PRESENCE_AGAIN, offline);
}

static void a_new_chat_has_new_people(void **state)
{
    struct frame_event_delivery event = {
        .kind = EVENT_NEW, .chat = slice_text("b b"), .from = slice_text("alice"), .message = 1};

    (void)state;
    protocol_chat.on_event(alice, &event);
    protocol_chat.on_event(alice, &event);
    assert_text(the_frame(FRAME_PRESENCE_WATCH).presence_watch.user, "b b");
    assert_true(topics_has(alice, slice_text("presence.b%20b")));
    event.chat = slice_text("group:g");
    protocol_chat.on_event(alice, &event);
    assert_int_equal(fake.frame_count, 1);
    event.from = slice_text("eve");
    protocol_chat.on_event(alice, &event);
    assert_int_equal(fake.frame_count, 2);
    event.kind = EVENT_READ;
    event.from = slice_text("mallory");
    protocol_chat.on_event(alice, &event);
    assert_int_equal(fake.frame_count, 2);
}

/* ---- queries ---- */

static void queries_name_their_keys(void **state)
{
    static const struct {
        const char *type, *payload, *script, *words;
    } cases[] = {
        {"getMessage", "{\"chatId\":\"bob\",\"messageId\":5}", "chat_read",
         "dialog:alice|bob log:alice|bob changes:alice|bob delivered:alice|bob|alice "
         "read:alice|bob|alice delivered:alice|bob|bob read:alice|bob|bob "
         "alice 262144 5 5 1 0 2 alice bob "},
        {"getMessages", "{\"chatId\":\"bob\",\"endId\":7,\"count\":100}", "chat_read",
         "dialog:alice|bob log:alice|bob changes:alice|bob delivered:alice|bob|alice "
         "read:alice|bob|alice delivered:alice|bob|bob read:alice|bob|bob "
         "alice 262144 1 7 100 0 2 alice bob "},
        {"getMessages", "{\"chatId\":\"group:g\",\"count\":1}", "chat_members",
         "group:g alice 1000 "},
        {"getChat", "{\"chatId\":\"group:g\"}", "chat_read",
         "group:g log:group:g changes:group:g alice 262144 0 + 1 1 0 "},
        {"getEvent", "{\"eventId\":5}", "chat_events", "events:alice 5 5 1 262144 "},
        {"getEvents", "{\"fromEventId\":5}", "chat_events", "events:alice 5 + 100 262144 "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        request_of(cases[i].type, cases[i].payload);
        assert_int_equal(query_count, i + 1);
        assert_string_equal(asked.script, cases[i].script);
        assert_string_equal(asked.words, cases[i].words);
        expect_nothing();
        asked.answer(alice, asked.request, NULL);
        assert_int_equal(fake_message_count(alice), 1);
        assert_non_null(strstr(message_at(0), "\"error\":{\"code\":503,"));
        fake_forget_messages(alice);
        assert_int_equal(open_count(), 0);
    }
}

static void questions_wait_for_their_turn(void **state)
{
    (void)state;
    request_of("getChats", "{}");
    alice->queries = QUERIES_OPEN_MAX;
    request_of("getEvent", "{\"eventId\":5}");
    request_of("getChat", "{\"chatId\":\"bob\"}");
    assert_int_equal(query_count, 1);
    alice->queries--;
    asked.answer(alice, asked.request, NULL);
    assert_string_equal(asked.script, "chat_read");
    assert_int_equal(query_count, 3);
    assert_int_equal(fake_message_count(alice), 1);
    assert_int_equal(open_count(), 2);
    /* One that waited too long is not asked any more. */
    alice->queries = QUERIES_OPEN_MAX;
    request_of("getEvent", "{\"eventId\":6}");
    tick_after(CHAT_OPEN_MS);
    assert_int_equal(open_count(), 0);
    alice->queries = 0;
    asked.answer(alice, asked.request, NULL);
    assert_int_equal(query_count, 3);
}

static void too_many_questions_are_refused(void **state)
{
    (void)state;
    query_result = -EBUSY;
    request_of("getChats", "{}");
    assert_non_null(strstr(message_at(0), "\"code\":429"));
    fake_forget_messages(alice);
    query_result = -ENOTCONN;
    request_of("getChat", "{\"chatId\":\"bob\"}");
    assert_non_null(strstr(message_at(0), "\"code\":503"));
    assert_int_equal(open_count(), 0);
}

/* ---- handshake ---- */

static void a_token_opens_a_hidden_connection(void **state)
{
    (void)state;
    fake.token_result = VERIFIER_OK;
    protocol_chat.identify(NULL);
    assert_int_equal(fake.refused_status, 0);
    assert_int_equal(fake.accepted_flags, CHAT_EVENTS);
    fake.token_result = VERIFIER_EXPIRED;
    protocol_chat.identify(NULL);
    assert_int_equal(fake.refused_status, 401);
}

static void an_expired_token_closes(void **state)
{
    (void)state;
    alice->identity.expires_at = 1000;
    tick_after(0);
    assert_true(((struct fake_session *)alice)->closed);
    assert_int_equal(((struct fake_session *)alice)->reason, SESSION_CLOSE_TOKEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_input_is_answered),
        TEST(bad_payloads_are_answered),
        TEST(an_unknown_type_is_named_in_the_error),
        TEST(deep_and_long_input),
        TEST(new_is_posted_to_the_dialog),
        TEST(a_text_alone_is_all_of_the_body),
        TEST(a_client_message_id_makes_it_a_retry),
        TEST(a_number_names_the_user_of_its_digits),
        TEST(attachments_need_no_text),
        TEST(edit_and_delete_are_changes),
        TEST(refusals_of_the_router_are_errors),
        TEST(marks_are_sent_and_answered),
        TEST(a_duplicate_is_answered_as_before),
        TEST(what_can_be_tried_again_is_not_remembered),
        TEST(the_memory_of_answers_has_an_end),
        TEST(long_answers_make_room),
        TEST(so_many_requests_wait_and_no_more),
        TEST(rate_limits_are_told),
        TEST(subscribe_is_answered_and_opens_the_way_for_events),
        TEST(subscribe_may_ask_for_an_echo),
        TEST(whom_a_follower_writes_to_is_followed),
        TEST(what_is_done_is_answered_in_its_place),
        TEST(what_is_done_after_its_503_is_read_again),
        TEST(one_who_is_hidden_catches_up_hidden),
        TEST(a_subscribe_takes_the_place_of_catching_up),
        TEST(one_who_cannot_catch_up_comes_again),
        TEST(one_who_would_miss_events_comes_again),
        TEST(all_that_may_be_done_after_their_503_are_remembered),
        TEST(as_many_as_may_wait_are_remembered),
        TEST(a_subscribe_that_finds_no_room_leaves_it_catching_up),
        TEST(what_waits_to_catch_up_is_looked_at),
        TEST(one_with_no_room_to_catch_up_comes_again),
        TEST(one_that_was_given_up_long_ago_is_remembered),
        TEST(one_who_hides_while_he_subscribes_stays_hidden),
        TEST(subscribe_needs_no_payload),
        TEST(what_is_not_held_is_resynced),
        TEST(one_subscribe_at_a_time),
        TEST(events_of_the_log),
        TEST(a_body_that_is_nothing_is_an_empty_message),
        TEST(bytes_come_as_an_attachment),
        TEST(a_body_says_its_content_to_others),
        TEST(what_is_said_to_all_is_a_notification),
        TEST(a_message_shows_what_became_of_it),
        TEST(typing_goes_to_the_other_one),
        TEST(typing_in_a_group_is_answered_by_its_owner),
        TEST(typing_is_told),
        TEST(offline_hides_the_connection),
        TEST(presence_is_told_as_events),
        TEST(a_new_chat_has_new_people),
        TEST(queries_name_their_keys),
        TEST(questions_wait_for_their_turn),
        TEST(too_many_questions_are_refused),
        TEST(a_token_opens_a_hidden_connection),
        TEST(an_expired_token_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
