/* The callie protocol between a client's payloads and frames of routers. */
#include "common/clock.h"
#include "gateway/protocols/callie.h"
#include "gateway/protocols/callie_timestamp.h"
#include "gateway/bus/query.h"
#include "tests/unit/fake_gateway.h"

#include <errno.h>

static struct session *alice;
static struct json *json;
static struct {
    const char *script;
    uint32_t partition;
    char key[256];
    uint64_t request;
    query_session_fn *answer;
    size_t count;
} asked;

/* Takes the place of query.c. */
int query_ask(struct queries *queries, const struct query *query, struct session *session,
              uint64_t request, query_session_fn *answer)
{
    (void)queries, (void)session;
    asked.script = query->script->name;
    asked.partition = query->partition;
    asked.request = request;
    asked.answer = answer;
    asked.count++;
    snprintf(asked.key, sizeof(asked.key), "%s:%.*s", query->keys[0].what,
             (int)query->keys[0].name.length, query->keys[0].name.data);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    fake_start(1);
    fake.gateway.settings.callie_offline = "discard";
    fake.gateway.settings.unidentified_ms = 60000;
    memset(&asked, 0, sizeof(asked));
    json = json_create();
    alice = fake_session(7, "alice", &protocol_callie);
    protocol_callie.open(alice);
    fake_forget_messages(alice);
    fake_forget_frames();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_destroy(&json);
    fake_stop();
    return 0;
}

/* ---- what is said ---- */

/* NOW in a text is the time. */
static void say_to(struct session *session, const char *text)
{
    struct buffer out = {0};
    const char *now;

    while ((now = strstr(text, "NOW"))) {
        buffer_append(&out, text, (size_t)(now - text));
        callie_timestamp_append(&out, clock_wall_ms());
        text = now + 3;
    }
    buffer_append_text(&out, text);
    fake_forget_frames();
    session->protocol->on_text(session, buffer_slice(&out));
    buffer_finish(&out);
}

static void say(const char *text)
{
    say_to(alice, text);
}

#define BEGIN                                                                                      \
    "{\"sender\":\"alice\",\"timestamp\":\"NOW\",\"payloadID\":\"p1\",\"payloadVersion\":\"1.0\","
#define TO(recipient) "\"recipient\":\"" recipient "\","
#define MSG(recipient)                                                                             \
    BEGIN TO(recipient) "\"type\":\"MSG\",\"content\":{\"messageID\":\"m1\",\"text\":\"hi\"}}"
#define CMD(command, parameters)                                                                   \
    BEGIN TO("SERVER") "\"type\":\"CMD\",\"content\":{\"command\":\"" command                      \
                       "\",\"parameters\":{" parameters "}}}"

/* ---- what is answered ---- */

/* The only payload that has come; valid until the next. */
static const struct json_value *payload_of(struct session *session)
{
    static char *text;
    struct fake_session *of = (struct fake_session *)session;

    assert_int_equal(of->count, 1);
    free(text);
    text = xstrdup(of->messages[0]);
    fake_forget_messages(session);
    assert_int_equal(json_read(json, slice_text(text)), 0);
    return json_root(json);
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.data, text);
}

static const struct json_value *expect_sys_to(struct session *session, const char *code)
{
    const struct json_value *payload = payload_of(session);

    assert_text(json_text(json_member(payload, "type")), "SYS");
    assert_text(json_text(json_member(payload, "sender")), "SERVER");
    assert_text(json_text(json_member(payload, "payloadVersion")), "1.0");
    assert_null(json_member(payload, "token"));
    assert_text(json_text(json_member(json_member(payload, "content"), "code")), code);
    return json_member(payload, "metadata");
}

/* Returns its metadata. */
static const struct json_value *expect_sys(const char *code)
{
    const struct json_value *metadata = expect_sys_to(alice, code);

    assert_text(json_text(json_member(metadata, "payloadID")), "p1");
    return metadata;
}

static void expect_nothing(void)
{
    assert_int_equal(fake_message_count(alice), 0);
}

static struct frame sent(size_t index, enum frame_type type)
{
    struct frame frame = fake_frame_at(index);

    assert_int_equal(frame.type, type);
    return frame;
}

/* ---- bad input: answered, nothing sent, the connection stays ---- */

#define CONTENT "\"content\":{\"messageID\":\"m1\",\"text\":\"hi\"}"
#define MESSAGE(content) BEGIN TO("bob") "\"type\":\"MSG\",\"content\":" content "}"
#define ATTACHED(list) MESSAGE("{\"messageID\":\"m1\",\"text\":\"\",\"attachments\":" list "}")

static void bad_input_names_the_field(void **state)
{
    static const struct {
        const char *text, *field; /* NULL: none is to blame */
    } cases[] = {
        {"", NULL},
        {"nonsense", NULL},
        {"null", NULL},
        {"[]", NULL},
        {"7", NULL},
        {"\"MSG\"", NULL},
        {"{\"a\":1,\"a\":1}", NULL},
        {"{}", "type"},
        {"{\"type\":7}", "type"},
        {"{\"type\":\"msg\"}", "type"},
        {"{\"type\":\"AUTH\"}", "token"},
        {"{\"type\":\"AUTH\",\"token\":7}", "token"},
        {"{\"type\":\"AUTH\",\"token\":\"\"}", "token"},
        {"{\"type\":\"MSG\",\"token\":null}", "token"},
        {"{\"type\":\"MSG\"}", "sender"},
        {"{\"type\":\"MSG\",\"sender\":[]}", "sender"},
        {"{\"type\":\"MSG\",\"sender\":\"SERVER\"}", "sender"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"*\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"group:\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"SERVER\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":{}}", "recipient"},
        {"{\"type\":\"PING\",\"sender\":\"alice\",\"recipient\":\"BROADCAST\"}", "recipient"},
        {"{\"type\":\"PING\",\"sender\":\"alice\",\"recipient\":\"group:g\"}", "recipient"},
        {"{\"type\":\"CMD\",\"sender\":\"alice\",\"recipient\":\"bob\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"a\\u0000b\"}", "recipient"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"}", "content"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\",\"content\":\"hi\"}",
         "content"},
        {BEGIN TO("bob") "\"type\":\"MSG\"," CONTENT ",\"metadata\":[]}", "metadata"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT "}", "payloadID"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":7}",
         "payloadID"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":\"\\u0000\"}",
         "payloadID"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":\"p1\"}",
         "payloadVersion"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":\"p1\",\"payloadVersion\":1.0}",
         "payloadVersion"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":\"p1\",\"payloadVersion\":\"1.0\"}",
         "timestamp"},
        {"{\"type\":\"MSG\",\"sender\":\"alice\",\"recipient\":\"bob\"," CONTENT
         ",\"payloadID\":\"p1\",\"payloadVersion\":\"1.0\",\"timestamp\":1795260153444}",
         "timestamp"},
        {MESSAGE("{}"), "content.messageID"},
        {MESSAGE("{\"messageID\":7}"), "content.messageID"},
        {MESSAGE("{\"messageID\":\"\"}"), "content.messageID"},
        {MESSAGE("{\"messageID\":\"m1\"}"), "content.text"},
        {MESSAGE("{\"messageID\":\"m1\",\"text\":null}"), "content.text"},
        {ATTACHED("{}"), "content.attachments"},
        {ATTACHED("null"), "content.attachments"},
        {ATTACHED("[7]"), "content.attachments"},
        {ATTACHED("[{}]"), "content.attachments.type"},
        {ATTACHED("[{\"type\":\"audio\",\"url\":\"http://x/\"}]"), "content.attachments.type"},
        {ATTACHED("[{\"type\":\"file\"}]"), "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"ftp://x/\"}]"), "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"javascript:alert(1)\"}]"),
         "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"http://\"}]"), "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"http:///a\"}]"), "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"http://a b\"}]"), "content.attachments.url"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"http://x\",\"metadata\":7}]"),
         "content.attachments.metadata"},
        {ATTACHED("[{\"type\":\"file\",\"url\":\"http://x\",\"metadata\":{\"size\":\"1\"}}]"),
         "content.attachments.metadata.size"},
        {BEGIN TO("SERVER") "\"type\":\"CMD\",\"content\":{}}", "content.command"},
        {BEGIN TO("SERVER") "\"type\":\"CMD\",\"content\":{\"command\":\"LIST_USERS\","
                            "\"parameters\":[]}}",
         "content.parameters"},
        {CMD("CREATE_GROUP", ""), "content.parameters.name"},
        {CMD("CREATE_GROUP", "\"name\":\"\""), "content.parameters.name"},
        {CMD("CREATE_GROUP", "\"name\":\"a\",\"members\":\"bob\""), "content.parameters.members"},
        {CMD("CREATE_GROUP", "\"name\":\"a\",\"members\":[\"a\\nb\"]"),
         "content.parameters.members"},
        {CMD("DELETE_GROUP", ""), "content.parameters.groupID"},
        {CMD("JOIN_GROUP", "\"groupID\":7"), "content.parameters.groupID"},
        {CMD("LEAVE_GROUP", "\"groupID\":\"group:\""), "content.parameters.groupID"},
        {CMD("ADD_MEMBER", "\"groupID\":\"g\""), "content.parameters.username"},
        {CMD("REMOVE_MEMBER", "\"groupID\":\"g\",\"username\":\"\""),
         "content.parameters.username"},
        {CMD("LIST_MEMBERS", ""), "content.parameters.groupID"},
        {CMD("DELETE_MESSAGE", ""), "content.parameters.messageID"},
        {CMD("EDIT_MESSAGE", "\"messageID\":\"m1\""), "content.parameters.text"},
        {CMD("SET_STATUS", "\"status\":\"offline\""), "content.parameters.status"},
        {CMD("GET_STATUS", "\"username\":[]"), "content.parameters.username"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct json_value *metadata;

        say(cases[i].text);
        metadata = expect_sys_to(alice, "INVALID_PAYLOAD");
        if (cases[i].field)
            assert_text(json_text(json_member(metadata, "field")), cases[i].field);
        else
            assert_null(json_member(metadata, "field"));
        assert_int_equal(fake.frame_count, 0);
    }
    assert_int_equal(alice->state, SESSION_OPEN);
}

/* Whatever is broken in a payload: it is answered at most once, and the connection stays. */
static void broken_payloads_do_no_harm(void **state)
{
    static const char *const whole[] = {
        MSG("bob"),
        MSG("group:g"),
        MSG("BROADCAST"),
        ATTACHED("[{\"type\":\"file\",\"url\":\"http://x/\",\"metadata\":{\"size\":1}}]"),
        CMD("CREATE_GROUP", "\"name\":\"a\",\"members\":[\"bob\"]"),
        CMD("EDIT_MESSAGE", "\"messageID\":\"m1\",\"text\":\"ho\""),
        CMD("GET_STATUS", "\"username\":\"bob\""),
        "{\"type\":\"AUTH\",\"token\":\"t\",\"payloadID\":\"p1\"}",
    };
    static const char bytes[] = "\"\\{}[]:,0-e.ntu \x01\x7f";
    unsigned seed = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        char *text = xstrdup(whole[(unsigned)i % (sizeof(whole) / sizeof(whole[0]))]);
        size_t length = strlen(text);

        for (int changes = rand_r(&seed) % 3; changes >= 0; changes--)
            text[(unsigned)rand_r(&seed) % length] =
                bytes[(unsigned)rand_r(&seed) % (sizeof(bytes) - 1)];
        if (rand_r(&seed) % 4 == 0)
            text[(unsigned)rand_r(&seed) % length] = 0;
        say(text);
        free(text);
        assert_true(fake_message_count(alice) <= 1);
        assert_true(fake.frame_count <= 2);
        fake_forget_messages(alice);
        assert_int_equal(alice->state, SESSION_OPEN);
        if (i % 1000 == 0)
            callie_pending_expire(alice, UINT64_MAX / 2);
        fake_forget_messages(alice);
    }
}

static void nested_brackets_are_refused(void **state)
{
    struct buffer text = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        buffer_append_byte(&text, '[');
    buffer_append_byte(&text, 0);
    say(text.data);
    buffer_finish(&text);
    expect_sys_to(alice, "INVALID_PAYLOAD");
}

static void other_refusals_have_their_codes(void **state)
{
    (void)state;
    say(BEGIN TO("bob") "\"type\":\"SYS\",\"content\":{\"code\":\"AUTH_OK\"}}");
    expect_sys("FORBIDDEN_TYPE");
    say("{\"sender\":\"bob\",\"timestamp\":\"NOW\",\"payloadID\":\"p1\",\"payloadVersion\":\"1."
        "0\"," TO("carol") "\"type\":\"MSG\"," CONTENT "}");
    expect_sys("FORBIDDEN");
    say(CMD("DANCE", ""));
    expect_sys("UNKNOWN_COMMAND");
    assert_int_equal(fake.frame_count, 0);
}

static void say_at(int64_t offset_ms)
{
    struct buffer text = {0};

    buffer_append_text(&text,
                       "{\"sender\":\"alice\",\"payloadID\":\"p1\",\"payloadVersion\":\"1.0\"," TO(
                           "bob") "\"type\":\"MSG\"," CONTENT ",\"timestamp\":\"");
    callie_timestamp_append(&text, clock_wall_ms() + (uint64_t)offset_ms);
    buffer_append(&text, "\"}", 3);
    say(text.data);
    buffer_finish(&text);
}

static void timestamps_have_a_window(void **state)
{
    (void)state;
    say_at(5 * 60 * 1000 + 2000);
    expect_sys("TIMESTAMP_REJECTED");
    say_at(-60 * 60 * 1000 - 2000);
    expect_sys("TIMESTAMP_REJECTED");
    assert_int_equal(fake.frame_count, 0);
    say_at(5 * 60 * 1000 - 2000);
    say_at(-60 * 60 * 1000 + 2000);
    expect_nothing();
    assert_int_equal(fake.frame_count, 2);
}

/* ---- tokens ---- */

static void a_stranger_has_to_say_who_he_is(void **state)
{
    struct session *stranger = fake_session(8, NULL, &protocol_callie);
    const struct json_value *metadata;

    (void)state;
    protocol_callie.open(stranger);
    assert_int_equal(fake_message_count(stranger), 0);
    say_to(stranger, MSG("bob"));
    expect_sys_to(stranger, "AUTH_FAILED");
    fake.token_result = VERIFIER_EXPIRED;
    say_to(stranger, "{\"type\":\"AUTH\",\"token\":\"t\",\"payloadID\":\"a1\"}");
    metadata = expect_sys_to(stranger, "AUTH_FAILED");
    assert_text(json_text(json_member(metadata, "payloadID")), "a1");
    fake.token_result = VERIFIER_OK;
    say_to(stranger, "{\"type\":\"AUTH\",\"token\":\"t\"}");
    metadata = expect_sys_to(stranger, "AUTH_OK");
    assert_int_equal(json_type(json_member(metadata, "payloadID")), JSON_NULL);
    assert_text(stranger->user, "alice");
    say_to(stranger, MSG("bob"));
    assert_int_equal(fake_message_count(stranger), 0);
    assert_int_equal(sent(0, FRAME_DIRECT_MESSAGE).direct_message.connection, 8);
}

static void the_first_payload_may_have_the_token(void **state)
{
    struct session *stranger = fake_session(8, NULL, &protocol_callie);

    (void)state;
    protocol_callie.open(stranger);
    fake.token_user = "bob";
    say_to(stranger, BEGIN TO("carol") "\"type\":\"MSG\"," CONTENT ",\"token\":\"t\"}");
    expect_sys_to(stranger, "FORBIDDEN"); /* the sender is alice */
    assert_false(session_is_identified(stranger));
    fake.token_user = "alice";
    say_to(stranger, BEGIN TO("carol") "\"type\":\"MSG\"," CONTENT ",\"token\":\"t\"}");
    expect_sys_to(stranger, "AUTH_OK");
    assert_true(session_is_identified(stranger));
    sent(0, FRAME_DIRECT_MESSAGE);
}

static void each_token_is_checked(void **state)
{
    (void)state;
    fake.token_user = "bob";
    say(BEGIN TO("bob") "\"type\":\"MSG\"," CONTENT ",\"token\":\"t\"}");
    expect_sys("AUTH_FAILED");
    assert_int_equal(fake.frame_count, 0);
    fake.token_user = "alice";
    say(BEGIN TO("bob") "\"type\":\"MSG\"," CONTENT ",\"token\":\"t\"}");
    expect_nothing();
    assert_int_equal(fake.frame_count, 2);
    /* The same again is known without being checked. */
    fake.token_result = VERIFIER_SIGNATURE;
    say(BEGIN TO("bob") "\"type\":\"MSG\"," CONTENT ",\"token\":\"t\"}");
    expect_nothing();
    say(BEGIN TO("bob") "\"type\":\"MSG\"," CONTENT ",\"token\":\"other\"}");
    expect_sys("AUTH_FAILED");
}

static void who_says_nothing_is_closed(void **state)
{
    struct session *stranger = fake_session(8, NULL, &protocol_callie);
    uint64_t now = uv_now(fake.gateway.loop);

    (void)state;
    protocol_callie.open(stranger);
    protocol_callie.on_tick(stranger, now + 59999);
    assert_int_equal(stranger->tick_due_ms, now + 60000);
    assert_int_equal(fake_message_count(stranger), 0);
    protocol_callie.on_tick(stranger, now + 60000);
    expect_sys_to(stranger, "AUTH_TIMEOUT");
    assert_true(((struct fake_session *)stranger)->closed);
}

static void an_expired_token_ends_it(void **state)
{
    (void)state;
    alice->identity.expires_at = (int64_t)(clock_wall_ms() / 1000);
    protocol_callie.on_tick(alice, uv_now(fake.gateway.loop));
    expect_sys_to(alice, "AUTH_FAILED");
    assert_int_equal(((struct fake_session *)alice)->reason, SESSION_CLOSE_TOKEN);
}

static void the_upgrade_may_have_it(void **state)
{
    (void)state;
    protocol_callie.identify(NULL);
    assert_string_equal(fake.accepted_user, "alice");
    fake.no_token = true;
    protocol_callie.identify(NULL);
    assert_int_equal(fake.refused_status, 0);
    assert_string_equal(fake.accepted_user, "");
    fake.no_token = false;
    fake.token_result = VERIFIER_SIGNATURE;
    protocol_callie.identify(NULL);
    assert_int_equal(fake.refused_status, 401);
}

/* ---- messages ---- */

static void a_message_goes_to_a_user(void **state)
{
    struct frame frame;

    (void)state;
    say("{ \"token\" : \"t\", \"payloadID\":\"p1\", \"sender\":\"alice\",\"recipient\":\"bob\","
        "\"timestamp\":\"NOW\",\"type\":\"MSG\",\"content\":{\"messageID\":\"m1\", \"text\":\"hi\","
        "\"n\":9007199254740993},\"payloadVersion\":\"1.0\",\"own\":1e400}");
    expect_nothing();
    frame = sent(0, FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.from, "alice");
    assert_text(frame.direct_message.to, "bob");
    assert_text(frame.direct_message.id, "m1");
    assert_int_equal(frame.direct_message.policy, DELIVERY_DISCARD_AND_TELL);
    assert_int_equal(frame.direct_message.retry, 1);
    assert_int_equal(json_read(json, frame.direct_message.body), 0);
    assert_null(json_member(json_root(json), "token"));
    assert_text(json_member_raw(json, json_root(json), "own"), "1e400");
    assert_text(json_member_raw(json, json_root(json), "content"),
                "{\"messageID\":\"m1\", \"text\":\"hi\",\"n\":9007199254740993}");
    frame = sent(1, FRAME_MESSAGE_SENT);
    assert_text(frame.message_sent.user, "alice");
    assert_text(frame.message_sent.id, "m1");
    assert_text(frame.message_sent.chat, "bob");
}

static void reply_direct(uint64_t request, enum direct_status status)
{
    protocol_callie.on_direct_reply(
        alice,
        &(struct frame_direct_reply){.request = request, .id = slice_text("m1"), .status = status});
}

static void its_sender_hears_when_it_was_discarded(void **state)
{
    const struct json_value *metadata;
    uint64_t request;

    (void)state;
    say(MSG("bob"));
    request = sent(0, FRAME_DIRECT_MESSAGE).direct_message.request;
    reply_direct(request, DIRECT_DISCARDED);
    metadata = expect_sys("RECIPIENT_OFFLINE");
    assert_text(json_text(json_member(metadata, "messageID")), "m1");
    reply_direct(request, DIRECT_DISCARDED); /* answered already */
    expect_nothing();

    say(MSG("bob"));
    reply_direct(sent(0, FRAME_DIRECT_MESSAGE).direct_message.request, DIRECT_DELIVERED);
    expect_nothing();
    protocol_callie.on_message_status(
        alice, &(struct frame_message_status){
                   .to = slice_text("bob"), .id = slice_text("m1"), .status = DIRECT_DISCARDED});
    expect_sys("RECIPIENT_OFFLINE");
    protocol_callie.on_message_status(
        alice, &(struct frame_message_status){
                   .to = slice_text("bob"), .id = slice_text("old"), .status = DIRECT_DISCARDED});
    metadata = expect_sys_to(alice, "RECIPIENT_OFFLINE");
    assert_text(json_text(json_member(metadata, "messageID")), "old");
    assert_text(json_text(json_member(metadata, "username")), "bob");
    assert_int_equal(json_type(json_member(metadata, "payloadID")), JSON_NULL);
}

static void it_may_be_stored(void **state)
{
    (void)state;
    fake.gateway.settings.callie_offline = "store";
    say(MSG("bob"));
    assert_int_equal(sent(0, FRAME_DIRECT_MESSAGE).direct_message.policy, DELIVERY_STORE);
    say(MSG("group:g"));
    assert_int_equal(sent(0, FRAME_CONVERSATION_POST).conversation_post.policy, DELIVERY_STORE);
}

static void reply_conversation(uint64_t request, enum conversation_status status)
{
    protocol_callie.on_conversation_reply(
        alice,
        &(struct frame_conversation_reply){.request = request, .status = status, .message = 5});
}

static void groups_are_told_from_users(void **state)
{
    static const struct {
        enum conversation_status status;
        const char *code;
    } cases[] = {
        {CONVERSATION_FORBIDDEN, "NOT_A_MEMBER"},
        {CONVERSATION_NOT_FOUND, "RECIPIENT_UNKNOWN"},
        {CONVERSATION_DISCARDED, "RECIPIENT_OFFLINE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame frame;

        say(MSG("group:friends"));
        frame = sent(0, FRAME_CONVERSATION_POST);
        assert_text(frame.conversation_post.chat, "group:friends");
        assert_text(sent(1, FRAME_MESSAGE_SENT).message_sent.chat, "group:friends");
        reply_conversation(frame.conversation_post.request, cases[i].status);
        expect_sys(cases[i].code);
    }
    say(MSG("g01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    assert_text(sent(0, FRAME_CONVERSATION_POST).conversation_post.chat,
                "group:g01ARZ3NDEKTSV4RRFFQ69G5FAV");
    reply_conversation(sent(0, FRAME_CONVERSATION_POST).conversation_post.request, CONVERSATION_OK);
    expect_nothing();
    say(MSG("friends"));
    sent(0, FRAME_DIRECT_MESSAGE);
}

static void a_broadcast_goes_to_everybody_else(void **state)
{
    char topic[] = "chat.*", *topics[] = {topic, NULL};
    struct frame frame;

    (void)state;
    say(MSG("BROADCAST"));
    frame = sent(0, FRAME_TOPIC_PUBLISH);
    assert_text(frame.topic_publish.topic, "$callie");
    assert_int_equal(frame.topic_publish.echo, 0);
    assert_int_equal(fake.frame_count, 1);
    expect_nothing();
    alice->identity.publish_topics = topics;
    say(MSG("BROADCAST"));
    alice->identity.publish_topics = NULL;
    expect_sys("FORBIDDEN");
    assert_int_equal(fake.frame_count, 0);
}

static void pings_are_answered_or_passed_on(void **state)
{
    const struct json_value *payload;
    struct frame frame;

    (void)state;
    say(BEGIN TO("SERVER") "\"type\":\"PING\",\"content\":{},\"metadata\":{}}");
    payload = payload_of(alice);
    assert_text(json_text(json_member(payload, "type")), "PONG");
    assert_text(json_text(json_member(json_member(payload, "metadata"), "payloadID")), "p1");
    say(BEGIN TO("SERVER") "\"type\":\"PONG\",\"content\":{}}");
    expect_nothing();
    assert_int_equal(fake.frame_count, 0);
    say(BEGIN TO("bob") "\"type\":\"PING\",\"content\":{},\"token\":\"t\"}");
    expect_nothing();
    frame = sent(0, FRAME_SIGNAL_SEND);
    assert_int_equal(frame.signal_send.kind, SIGNAL_PASSED_ON);
    assert_text(frame.signal_send.to, "bob");
    assert_null(memmem(frame.signal_send.body.data, frame.signal_send.body.length, "token", 5));
}

static void silence_is_asked_about_once(void **state)
{
    uint64_t now = uv_now(fake.gateway.loop);

    (void)state;
    alice->heard_ms = now;
    protocol_callie.on_tick(alice, now + 29999);
    expect_nothing();
    protocol_callie.on_tick(alice, now + 30000);
    assert_text(json_text(json_member(payload_of(alice), "type")), "PING");
    protocol_callie.on_tick(alice, now + 31000);
    expect_nothing();
}

/* ---- limits ---- */

static void limits_are_told(void **state)
{
    const struct json_value *metadata;

    (void)state;
    fake.gateway.settings.rate_limits = true;
    for (int i = 0; i < 200; i++)
        say(BEGIN TO("SERVER") "\"type\":\"CMD\",\"content\":{\"command\":\"DANCE\"}}");
    fake_forget_messages(alice);
    say(MSG("bob"));
    metadata = expect_sys("RATE_LIMITED");
    assert_int_equal(json_type(json_member(metadata, "retry_after_ms")), JSON_NUMBER);
    assert_int_equal(fake.frame_count, 0);
}

static void without_credit_nothing_is_taken(void **state)
{
    (void)state;
    fake.no_credit = true;
    say(MSG("bob"));
    expect_sys("UNAVAILABLE");
    say(MSG("group:g"));
    expect_sys("UNAVAILABLE");
    say(MSG("BROADCAST"));
    expect_sys("UNAVAILABLE");
    say(CMD("CREATE_GROUP", "\"name\":\"a\""));
    expect_sys("COMMAND_FAILED");
    say(CMD("SET_STATUS", "\"status\":\"away\""));
    expect_sys("COMMAND_FAILED");
    assert_int_equal(fake.frame_count, 0);
}

static void open_requests_have_an_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2048; i++)
        say(MSG("bob"));
    expect_nothing();
    say(MSG("bob"));
    expect_sys("UNAVAILABLE");
    assert_int_equal(fake.frame_count, 0);
    alice->heard_ms = uv_now(fake.gateway.loop) + 30000;
    protocol_callie.on_tick(alice, alice->heard_ms);
    assert_int_equal(fake_message_count(alice), 2048);
    fake_forget_messages(alice);
    say(MSG("bob"));
    expect_nothing();
}

/* ---- commands ---- */

static void groups_are_changed(void **state)
{
    static const struct {
        const char *text;
        enum group_change change;
        const char *members;
    } cases[] = {
        {CMD("DELETE_GROUP", "\"groupID\":\"g\""), GROUP_DELETE, ""},
        {CMD("JOIN_GROUP", "\"groupID\":\"group:g\""), GROUP_JOIN, ""},
        {CMD("LEAVE_GROUP", "\"groupID\":\"g\""), GROUP_LEAVE, ""},
        {CMD("ADD_MEMBER", "\"groupID\":\"g\",\"username\":\"bob\""), GROUP_ADD, "bob\n"},
        {CMD("REMOVE_MEMBER", "\"groupID\":\"g\",\"username\":7"), GROUP_REMOVE, "7\n"},
    };
    const struct json_value *metadata;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame frame;

        say(cases[i].text);
        frame = sent(0, FRAME_GROUP_CHANGE);
        assert_text(frame.group_change.chat, "group:g");
        assert_int_equal(frame.group_change.change, cases[i].change);
        assert_text(frame.group_change.members, cases[i].members);
        expect_nothing();
        reply_conversation(frame.group_change.request, CONVERSATION_OK);
        metadata = expect_sys("COMMAND_OK");
        assert_text(json_text(json_member(metadata, "groupID")), "g");
    }
}

static void groups_get_an_id(void **state)
{
    char chat[64];
    struct frame frame;

    (void)state;
    say(CMD("CREATE_GROUP", "\"name\":\"Friends\",\"members\":[\"bob\",\"carol\"]"));
    frame = sent(0, FRAME_GROUP_CHANGE);
    assert_int_equal(frame.group_change.change, GROUP_CREATE);
    assert_text(frame.group_change.name, "Friends");
    assert_text(frame.group_change.members, "bob\ncarol\n");
    snprintf(chat, sizeof(chat), "%.*s", (int)frame.group_change.chat.length,
             frame.group_change.chat.data);
    assert_true(callie_is_own_group(slice_text(chat + 6)));
    reply_conversation(frame.group_change.request, CONVERSATION_OK);
    assert_text(json_text(json_member(expect_sys("COMMAND_OK"), "groupID")), chat + 6);
}

static void what_cannot_be_done_is_told(void **state)
{
    static const struct {
        const char *text;
        enum conversation_status status;
        const char *code;
    } cases[] = {
        {CMD("DELETE_GROUP", "\"groupID\":\"g\""), CONVERSATION_FORBIDDEN, "FORBIDDEN"},
        {CMD("LEAVE_GROUP", "\"groupID\":\"g\""), CONVERSATION_FORBIDDEN, "NOT_A_MEMBER"},
        {CMD("JOIN_GROUP", "\"groupID\":\"g\""), CONVERSATION_NOT_FOUND, "COMMAND_FAILED"},
        {CMD("JOIN_GROUP", "\"groupID\":\"g\""), CONVERSATION_EXISTS, "COMMAND_FAILED"},
        {CMD("JOIN_GROUP", "\"groupID\":\"g\""), CONVERSATION_FULL, "COMMAND_FAILED"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(cases[i].text);
        reply_conversation(sent(0, FRAME_GROUP_CHANGE).group_change.request, cases[i].status);
        expect_sys(cases[i].code);
    }
}

/* The number of a post is known from its answer. */
static void a_post_is_edited_by_its_id(void **state)
{
    struct frame frame;

    (void)state;
    say(MSG("group:g"));
    reply_conversation(sent(0, FRAME_CONVERSATION_POST).conversation_post.request, CONVERSATION_OK);
    say(CMD("EDIT_MESSAGE", "\"messageID\":\"m1\",\"text\":\"ho\""));
    frame = sent(0, FRAME_CONVERSATION_CHANGE);
    assert_text(frame.conversation_change.chat, "group:g");
    assert_int_equal(frame.conversation_change.message, 5);
    assert_int_equal(frame.conversation_change.change, CONVERSATION_EDIT);
    assert_text(frame.conversation_change.body,
                "{\"content\":{\"messageID\":\"m1\",\"text\":\"ho\"},\"metadata\":{}}");
    reply_conversation(frame.conversation_change.request, CONVERSATION_OK);
    expect_sys("COMMAND_OK");
}

static void a_change_waits_for_its_message(void **state)
{
    uint64_t request;

    (void)state;
    say(MSG("group:g"));
    request = sent(0, FRAME_CONVERSATION_POST).conversation_post.request;
    say(CMD("DELETE_MESSAGE", "\"messageID\":\"m1\""));
    assert_int_equal(fake.frame_count, 0);
    expect_nothing();
    reply_conversation(request, CONVERSATION_OK);
    assert_int_equal(sent(0, FRAME_CONVERSATION_CHANGE).conversation_change.change,
                     CONVERSATION_DELETE);
}

/* Of a direct message only its receiver knows, unless it is in a dialog: that is asked first. */
static void a_direct_message_is_deleted_where_it_is(void **state)
{
    struct callie_pending *pending;
    struct frame frame;

    (void)state;
    say(MSG("bob"));
    reply_direct(sent(0, FRAME_DIRECT_MESSAGE).direct_message.request, DIRECT_DELIVERED);
    say(CMD("DELETE_MESSAGE", "\"messageID\":\"m1\""));
    assert_string_equal(asked.script, "callie_number");
    assert_string_equal(asked.key, "log:alice\nbob");
    assert_int_equal(fake.frame_count, 0);
    pending = callie_pending_find(alice, asked.request);
    callie_change_number(alice, pending, 0);
    /* It may be on its way into the dialog: what is behind it is awaited. */
    frame = sent(0, FRAME_CONVERSATION_CHANGE);
    assert_int_equal(frame.conversation_change.message, 0);
    fake_forget_frames();
    reply_conversation(asked.request, CONVERSATION_NOT_FOUND);
    assert_int_equal(asked.count, 2);
    callie_change_number(alice, pending, 0);
    frame = sent(0, FRAME_SIGNAL_SEND);
    assert_int_equal(frame.signal_send.kind, SIGNAL_DELETED);
    assert_text(frame.signal_send.to, "bob");
    assert_text(frame.signal_send.id, "m1");
    expect_sys("COMMAND_OK");
}

static void others_messages_are_not_ones_own(void **state)
{
    struct callie_pending *pending;

    (void)state;
    say(CMD("DELETE_MESSAGE", "\"messageID\":\"m9\""));
    assert_string_equal(asked.script, "callie_sent");
    assert_string_equal(asked.key, "sent:alice");
    pending = callie_pending_find(alice, asked.request);
    callie_change_in_chat(alice, pending, slice_of(NULL, 0));
    expect_sys("FORBIDDEN");
}

static void questions_are_asked_and_fail_in_the_end(void **state)
{
    static const struct {
        const char *text, *script, *key;
    } cases[] = {
        {CMD("LIST_GROUPS", ""), "callie_chats", "chats:alice"},
        {CMD("LIST_MEMBERS", "\"groupID\":\"g\""), "callie_members", "group:g"},
        {CMD("GET_STATUS", "\"username\":\"bob\""), "callie_status", "user:bob"},
        {CMD("GET_STATUS", ""), "callie_status", "user:alice"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(cases[i].text);
        assert_string_equal(asked.script, cases[i].script);
        assert_string_equal(asked.key, cases[i].key);
        asked.answer(alice, asked.request, NULL);
        expect_sys("COMMAND_FAILED");
    }
}

static void users_are_listed(void **state)
{
    struct slice members = slice_text("1 alice\n2 bob smith\n");
    uint64_t number;

    (void)state;
    say(CMD("LIST_USERS", ""));
    number = ((struct callie_state *)alice->protocol_state)->last_number;
    protocol_callie.on_member_list(
        alice, &(struct frame_member_list){.request = number, .members = members});
    expect_nothing();
    protocol_callie.on_member_list(
        alice, &(struct frame_member_list){
                   .request = number, .members = slice_text("3 \"carol\"\n"), .last = 1});
    expect_sys("COMMAND_OK");
    assert_text(json_member_raw(json, json_member(json_root(json), "metadata"), "result"),
                "[\"alice\",\"bob smith\",\"\\\"carol\\\"\"]");
}

static void long_lists_have_an_end(void **state)
{
    struct buffer members = {0};
    uint64_t number;

    (void)state;
    say(CMD("LIST_USERS", ""));
    number = ((struct callie_state *)alice->protocol_state)->last_number;
    for (int i = 0; i < 10000; i++)
        buffer_appendf(&members, "1 %0100d\n", i);
    protocol_callie.on_member_list(
        alice, &(struct frame_member_list){
                   .request = number, .members = buffer_slice(&members), .last = 1});
    buffer_finish(&members);
    assert_true(json_is_true(json_member(expect_sys("COMMAND_OK"), "truncated")));
}

static void a_status_is_set(void **state)
{
    (void)state;
    say(CMD("SET_STATUS", "\"status\":\"away\""));
    assert_text(sent(0, FRAME_PRESENCE_SET).presence_set.status, "away");
    expect_sys("COMMAND_OK");
}

/* ---- what comes from others ---- */

static void assert_encoded(struct buffer *out, const char *text)
{
    assert_text(buffer_slice(out), text);
    buffer_reset(out, SIZE_MAX);
}

static void messages_come_as_they_were_or_as_a_msg(void **state)
{
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    (void)state;
    callie_encode_delivery(
        &out,
        &(struct frame_message_delivery){.from = slice_text("bob"),
                                         .to = slice_text("alice"),
                                         .id = slice_text("m2"),
                                         .protocol = FRAME_PROTOCOL_CALLIE,
                                         .body = slice_text("{\"type\":\"MSG\", \"n\":1.0}")},
        &opcode);
    assert_encoded(&out, "{\"type\":\"MSG\", \"n\":1.0}");
    callie_encode_delivery(
        &out,
        &(struct frame_message_delivery){
            .from = slice_text("bob"),
            .to = slice_text("alice"),
            .id = slice_text("m2"),
            .sent_at_ms = 1795260153444,
            .protocol = FRAME_PROTOCOL_REALTIME,
            .body = slice_text("{\"message\":\"hi\",\"attachments\":[{\"url\":\"u\"}],\"n\":1.0}")},
        &opcode);
    assert_encoded(&out, "{\"sender\":\"bob\",\"recipient\":\"alice\",\"timestamp\":"
                         "\"2026-11-21T11:22:33.444Z\",\"type\":\"MSG\",\"content\":{\"messageID\":"
                         "\"m2\",\"text\":\"hi\",\"attachments\":[{\"url\":\"u\"}]},\"metadata\":{"
                         "\"data\":{\"n\":1.0}},\"payloadID\":\"m2\",\"payloadVersion\":\"1.0\"}");
    callie_encode_delivery(&out,
                           &(struct frame_message_delivery){.from = slice_text("bob"),
                                                            .to = slice_text("alice"),
                                                            .chat = slice_text("group:g"),
                                                            .id = slice_text("m2"),
                                                            .protocol = FRAME_PROTOCOL_REALTIME,
                                                            .body = slice_text("\"hi\"")},
                           &opcode);
    assert_non_null(memmem(out.data, out.length, "\"recipient\":\"group:g\"", 21));
    buffer_reset(&out, SIZE_MAX);
    callie_encode_topic_message(&out,
                                &(struct frame_topic_message){.topic = slice_text("$callie"),
                                                              .id = slice_text("b1"),
                                                              .protocol = FRAME_PROTOCOL_SERVER,
                                                              .body = slice_text("\"all\"")},
                                &opcode);
    assert_encoded(&out, "{\"sender\":\"SERVER\",\"recipient\":\"BROADCAST\",\"timestamp\":"
                         "\"1970-01-01T00:00:00.000Z\",\"type\":\"MSG\",\"content\":{\"messageID\":"
                         "\"b1\",\"text\":\"all\"},\"metadata\":{},\"payloadID\":\"b1\","
                         "\"payloadVersion\":\"1.0\"}");
    buffer_finish(&out);
}

static void bodies_are_read(void **state)
{
    static const struct {
        const char *body, *text, *attachments, *other;
    } cases[] = {
        {"{\"content\":{\"text\":\"a\\\"b\",\"attachments\":[1],\"messageID\":\"m\"}}",
         "\"a\\\"b\"", "[1]", ""},
        {"{\"content\":{\"text\":\"a\"},\"metadata\":{\"data\":{\"n\":1.0, \"m\":[ ]}}}", "\"a\"",
         "", "\"n\":1.0, \"m\":[ ]"},
        {"{\"content\":{\"text\":\"a\"},\"metadata\":{\"flag\":true}}", "\"a\"", "",
         "\"flag\":true"},
        {"{\"content\":{\"text\":\"a\"},\"metadata\":{ }}", "\"a\"", "", ""},
        {"{\"content\":7,\"metadata\":7}", "", "", ""},
        {"7", "", "", ""},
        {"broken", "", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct content content;

        content_read(FRAME_PROTOCOL_CALLIE, CONTENT_JSON, slice_text(cases[i].body), &content);
        assert_text(content.text, cases[i].text);
        assert_text(content.attachments, cases[i].attachments);
        assert_text(content.other, cases[i].other);
    }
}

static void signals_are_told(void **state)
{
    static const struct {
        enum signal_kind kind;
        const char *body, *code, *metadata;
    } cases[] = {
        {SIGNAL_EDITED, "{\"content\":{\"text\":\"ho\"}}", "MESSAGE_EDITED",
         "{\"messageID\":\"m1\",\"username\":\"bob\",\"groupID\":\"g\",\"text\":\"ho\"}"},
        {SIGNAL_DELETED, "", "MESSAGE_DELETED",
         "{\"messageID\":\"m1\",\"username\":\"bob\",\"groupID\":\"g\"}"},
        {SIGNAL_GROUP_CREATED, "Friends", "GROUP_CREATED",
         "{\"groupID\":\"g\",\"name\":\"Friends\",\"username\":\"bob\"}"},
        {SIGNAL_GROUP_DELETED, "Friends", "GROUP_DELETED",
         "{\"groupID\":\"g\",\"name\":\"Friends\",\"username\":\"bob\"}"},
        {SIGNAL_MEMBER_JOINED, "carol", "USER_JOINED",
         "{\"groupID\":\"g\",\"username\":\"carol\"}"},
        {SIGNAL_MEMBER_LEFT, "carol", "USER_LEFT", "{\"groupID\":\"g\",\"username\":\"carol\"}"},
    };
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer_reset(&out, SIZE_MAX);
        callie_encode_signal(&out,
                             &(struct frame_signal_delivery){.kind = cases[i].kind,
                                                             .from = slice_text("bob"),
                                                             .to = slice_text("alice"),
                                                             .chat = slice_text("group:g"),
                                                             .id = slice_text("m1"),
                                                             .protocol = FRAME_PROTOCOL_CALLIE,
                                                             .body = slice_text(cases[i].body)},
                             &opcode);
        assert_int_equal(json_read(json, buffer_slice(&out)), 0);
        assert_text(json_text(json_member(json_member(json_root(json), "content"), "code")),
                    cases[i].code);
        assert_text(json_member_raw(json, json_root(json), "metadata"), cases[i].metadata);
        assert_text(json_text(json_member(json_root(json), "recipient")), "alice");
    }
    buffer_reset(&out, SIZE_MAX);
    callie_encode_signal(&out, &(struct frame_signal_delivery){.kind = SIGNAL_TYPING}, &opcode);
    assert_int_equal(out.length, 0);
    callie_encode_signal(&out,
                         &(struct frame_signal_delivery){.kind = SIGNAL_PASSED_ON,
                                                         .protocol = FRAME_PROTOCOL_CALLIE,
                                                         .body = slice_text("{\"a\": 1}")},
                         &opcode);
    assert_encoded(&out, "{\"a\": 1}");
    buffer_finish(&out);
}

static void a_drain_is_told(void **state)
{
    (void)state;
    protocol_callie.on_drain(alice);
    expect_sys_to(alice, "SERVER_SHUTDOWN");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_input_names_the_field),
        TEST(broken_payloads_do_no_harm),
        TEST(nested_brackets_are_refused),
        TEST(other_refusals_have_their_codes),
        TEST(timestamps_have_a_window),
        TEST(a_stranger_has_to_say_who_he_is),
        TEST(the_first_payload_may_have_the_token),
        TEST(each_token_is_checked),
        TEST(who_says_nothing_is_closed),
        TEST(an_expired_token_ends_it),
        TEST(the_upgrade_may_have_it),
        TEST(a_message_goes_to_a_user),
        TEST(its_sender_hears_when_it_was_discarded),
        TEST(it_may_be_stored),
        TEST(groups_are_told_from_users),
        TEST(a_broadcast_goes_to_everybody_else),
        TEST(pings_are_answered_or_passed_on),
        TEST(silence_is_asked_about_once),
        TEST(limits_are_told),
        TEST(without_credit_nothing_is_taken),
        TEST(open_requests_have_an_end),
        TEST(groups_are_changed),
        TEST(groups_get_an_id),
        TEST(what_cannot_be_done_is_told),
        TEST(a_post_is_edited_by_its_id),
        TEST(a_change_waits_for_its_message),
        TEST(a_direct_message_is_deleted_where_it_is),
        TEST(others_messages_are_not_ones_own),
        TEST(questions_are_asked_and_fail_in_the_end),
        TEST(users_are_listed),
        TEST(long_lists_have_an_end),
        TEST(a_status_is_set),
        TEST(messages_come_as_they_were_or_as_a_msg),
        TEST(bodies_are_read),
        TEST(signals_are_told),
        TEST(a_drain_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
