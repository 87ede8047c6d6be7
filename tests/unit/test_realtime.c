#include "common/uid.h"
#include "gateway/protocols/realtime.h"
#include "tests/unit/fake_gateway.h"

static struct session *alice;

static int set_up(void **state)
{
    (void)state;
    fake_start(1);
    alice = fake_session(7, "alice", &protocol_realtime);
    alice->flags = CONNECTION_FLAG_ACK;
    protocol_realtime.open(alice);
    fake_forget_messages(alice);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static void say(const char *text)
{
    fake_forget_frames();
    protocol_realtime.on_text(alice, slice_text(text));
}

static void expect(const char *text)
{
    fake_expect_messages(alice, text ? 1 : 0, &text);
}

/* The one frame that the last message led to. */
static struct frame sent(enum frame_type type)
{
    struct frame frame;

    assert_int_equal(fake.frame_count, 1);
    frame = fake_frame_at(0);
    assert_int_equal(frame.type, type);
    return frame;
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.data, text);
}

/* Answers SUBSCRIPTION_SYNCs. */
static void sync_all(void)
{
    for (size_t i = 0; i < fake.frame_count; i++) {
        struct frame frame = fake_frame_at(i);

        if (frame.type == FRAME_SUBSCRIPTION_SYNC)
            topics_on_synced(fake.gateway.topics, 0, frame.subscription_sync.request);
    }
    fake_forget_frames();
}

/* ---- bad input: answered, nothing sent, the connection stays ---- */

static void test_bad_input(void **state)
{
    static const struct {
        const char *text, *field; /* NULL: no field is at fault */
    } cases[] = {
        {"", NULL},
        {"nonsense", NULL},
        {"null", NULL},
        {"7", NULL},
        {"\"Ping\"", NULL},
        {"[]", NULL},
        {"[{\"type\":\"Ping\",\"data\":{\"timestamp\":1}}]", NULL},
        {"{\"type\":\"Ping\",\"type\":\"Ping\",\"data\":{\"timestamp\":1}}", NULL},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1,\"timestamp\":1}}", NULL},
        {"{}", "type"},
        {"{\"data\":{}}", "type"},
        {"{\"type\":null,\"data\":{}}", "type"},
        {"{\"type\":7,\"data\":{}}", "type"},
        {"{\"type\":\"ping\",\"data\":{}}", "type"},
        {"{\"type\":\"X-\",\"data\":{\"topic\":\"a\"}}", "type"},
        {"{\"type\":\"x-Own\",\"data\":{\"topic\":\"a\"}}", "type"},
        {"{\"type\":\"X-Own\"}", "data"},
        {"{\"type\":\"X-Own\",\"data\":{\"topic\":7}}", "topic"},
        {"{\"type\":\"X-Own\",\"data\":{\"topic\":\"a.*\"}}", "topic"},
        {"{\"type\":\"X-Own\",\"data\":{\"target_user\":\"*\"}}", "target_user"},
        {"{\"type\":\"X-Own\",\"data\":{\"topic\":\"a\",\"target_user\":\"bob\"}}", "target_user"},
        {"{\"type\":\"Ping\"}", "data"},
        {"{\"type\":\"Ping\",\"data\":null}", "data"},
        {"{\"type\":\"Ping\",\"data\":[]}", "data"},
        {"{\"type\":\"Ping\",\"data\":{}}", "timestamp"},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"timestamp\":\"now\"}", "timestamp"},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"id\":1}", "id"},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"id\":null}", "id"},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"id\":\"\"}", "id"},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"metadata\":[]}", "metadata"},
        {"{\"type\":\"Subscribe\",\"data\":{}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":\"a\"}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":null}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\",7]}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\",\"b c\"]}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\",\"**.b\"]}}", "topics"},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"presence.a.b\"]}}", "topics"},
        {"{\"type\":\"Unsubscribe\",\"data\":{\"topics\":[\"\"]}}", "topics"},
        {"{\"type\":\"Broadcast\",\"data\":{\"payload\":1}}", "topic"},
        {"{\"type\":\"Broadcast\",\"data\":{\"topic\":7,\"payload\":1}}", "topic"},
        {"{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a.*\",\"payload\":1}}", "topic"},
        {"{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a\"}}", "payload"},
        {"{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a\",\"payload\":1},"
         "\"metadata\":{\"echo\":\"yes\"}}",
         "metadata.echo"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"payload\":1}}", "target_user"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"\",\"payload\":1}}",
         "target_user"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"*\",\"payload\":1}}",
         "target_user"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":[\"a\"],\"payload\":1}}",
         "target_user"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\"}}", "payload"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\",\"payload\":1},"
         "\"metadata\":{\"ttl\":\"1\"}}",
         "metadata.ttl"},
        {"{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\",\"payload\":1},"
         "\"metadata\":{\"ttl\":-1}}",
         "metadata.ttl"},
        {"{\"type\":\"Presence\",\"data\":{}}", "status"},
        {"{\"type\":\"Presence\",\"data\":{\"status\":\"offline\"}}", "status"},
        {"{\"type\":\"Presence\",\"data\":{\"status\":\"away\",\"metadata\":1}}", "metadata"},
        {"{\"type\":\"Auth\",\"data\":{\"token\":7}}", "token"},
        {"{\"type\":\"Ack\",\"data\":{}}", "message_id"},
        {"{\"type\":\"Ack\",\"data\":{\"message_id\":\"\"}}", "message_id"},
    };
    char field[64];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *answer;

        say(cases[i].text);
        assert_int_equal(fake_message_count(alice), 1);
        answer = ((struct fake_session *)alice)->messages[0];
        assert_non_null(
            strstr(answer, "{\"type\":\"Error\",\"data\":{\"code\":400,\"message\":\""));
        snprintf(field, sizeof(field), "\"details\":{\"field\":\"%s\"}}", cases[i].field);
        if (strstr(answer, cases[i].field ? field : "\"details\":{}}") == NULL)
            fail_msg("%s: %s", cases[i].text, answer);
        fake_forget_messages(alice);
        assert_int_equal(fake.frame_count, 0);
        assert_int_equal(alice->state, SESSION_OPEN);
        assert_int_equal(topics_count(alice), 0);
    }
}

static void test_nested_brackets(void **state)
{
    struct buffer text = {0};

    (void)state;
    buffer_append_text(&text, "{\"type\":\"Ping\",\"data\":{\"timestamp\":");
    for (int i = 0; i < 10000; i++)
        buffer_append_byte(&text, '[');
    for (int i = 0; i < 10000; i++)
        buffer_append_byte(&text, ']');
    buffer_append_text(&text, "}}");
    protocol_realtime.on_text(alice, buffer_slice(&text));
    expect("{\"type\":\"Error\",\"data\":{\"code\":400,\"message\":\"the message is nested too "
           "deeply\",\"details\":{}}}");
    buffer_finish(&text);
}

static void test_error_carries_the_id(void **state)
{
    (void)state;
    say("{\"id\":\"q\\\"1\",\"type\":\"Nope\",\"data\":{}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":400,\"message\":\"this type is not known\","
           "\"details\":{\"field\":\"type\"}},\"id\":\"q\\\"1\"}");
}

/* ---- the connection ---- */

static void test_welcome(void **state)
{
    struct session *bob = fake_session(8, "bob", &protocol_realtime);
    char uuid[UUID_TEXT_SIZE], expected[400];

    (void)state;
    protocol_realtime.open(bob);
    uid_connection(77, 8, uuid);
    snprintf(expected, sizeof(expected),
             "{\"type\":\"Status\",\"data\":{\"status\":\"connected\",\"details\":{"
             "\"connection_id\":\"%s\",\"server_time\":%lld,\"protocol_version\":\"1.0\","
             "\"features\":[\"broadcast\",\"direct_message\",\"presence\",\"history\","
             "\"binary\",\"ack\",\"token_refresh\"]}}}",
             uuid, (long long)((struct realtime_state *)bob->protocol_state)->opened_s);
    assert_int_equal(fake_message_count(bob), 1);
    assert_string_equal(((struct fake_session *)bob)->messages[0], expected);
}

/* Each partition keeps all of a connection's patterns, and hears them all when one changes. */
static void test_patterns_have_a_length_together(void **state)
{
    char text[512], name[241];
    int accepted = 0;

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 60; i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"%s%02d.*\"]}}", name, i % 40);
        say(text);
        accepted += fake.frame_count > 0;
        sync_all();
        fake_forget_messages(alice);
    }
    assert_int_equal(accepted, 8192 / 244);
    assert_int_equal(topics_count(alice), 8192 / 244);
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a.plain.name\",\"presence.*\"]}}");
    assert_true(fake.frame_count > 0);
}

/* Each connection gets all that waits for its user: connecting is what costs most. */
static void test_connecting_is_limited(void **state)
{
    (void)state;
    fake.gateway.settings.rate_limits = true;
    fake.token_user = "carol";
    for (int i = 0; i < 100; i++) {
        protocol_realtime.identify(NULL);
        assert_int_equal(fake.refused_status, 0);
    }
    protocol_realtime.identify(NULL);
    assert_int_equal(fake.refused_status, 429);
    fake.token_user = "dave";
    protocol_realtime.identify(NULL);
    assert_int_equal(fake.refused_status, 0);
}

static void test_identify(void **state)
{
    static const struct {
        enum verifier_result result;
        int status;
    } cases[] = {
        {VERIFIER_OK, 0},          {VERIFIER_MISSING, 401}, {VERIFIER_MALFORMED, 401},
        {VERIFIER_EXPIRED, 401},   {VERIFIER_REVOKED, 401}, {VERIFIER_UNAVAILABLE, 401},
        {VERIFIER_SIGNATURE, 401},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake.token_result = cases[i].result;
        fake.refused_status = -1;
        protocol_realtime.identify(NULL);
        assert_int_equal(fake.refused_status, cases[i].status);
    }
    assert_int_equal(fake.accepted_flags, 0);
    fake.token_result = VERIFIER_OK;
    fake.query_ack = "1";
    protocol_realtime.identify(NULL);
    assert_int_equal(fake.accepted_flags, CONNECTION_FLAG_ACK);
}

static void test_ping(void **state)
{
    static const char *const timestamps[] = {"1234567890", "9007199254740993", "1.0",
                                             "null",       "\"now\"",          "{ \"a\" : [1,2] }"};
    char text[200], expected[200];

    (void)state;
    for (size_t i = 0; i < sizeof(timestamps) / sizeof(timestamps[0]); i++) {
        snprintf(text, sizeof(text), "{\"type\":\"Ping\",\"data\":{\"timestamp\":%s}}",
                 timestamps[i]);
        snprintf(expected, sizeof(expected), "{\"type\":\"Pong\",\"data\":{\"timestamp\":%s}}",
                 timestamps[i]);
        say(text);
        expect(expected);
    }
    say("{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"id\":\"p\",\"timestamp\":5}");
    expect("{\"type\":\"Pong\",\"data\":{\"timestamp\":1},\"id\":\"p\"}");
    say("{\"type\":\"Pong\",\"data\":{\"timestamp\":1}}");
    expect(NULL);
}

static void test_silence_is_pinged_once(void **state)
{
    (void)state;
    alice->heard_ms = 1000;
    protocol_realtime.on_tick(alice, 30999);
    assert_int_equal(fake_message_count(alice), 0);
    protocol_realtime.on_tick(alice, 31000);
    protocol_realtime.on_tick(alice, 32000);
    assert_int_equal(fake_message_count(alice), 1);
    assert_non_null(strstr(((struct fake_session *)alice)->messages[0],
                           "{\"type\":\"Ping\",\"data\":{\"timestamp\":"));
    alice->heard_ms = 33000;
    protocol_realtime.on_tick(alice, 63000);
    assert_int_equal(fake_message_count(alice), 2);
}

/* ---- tokens ---- */

static void test_token_expires(void **state)
{
    int64_t now = realtime_now_s();
    char expected[200];

    (void)state;
    alice->heard_ms = uv_now(fake.gateway.loop);
    alice->identity.issued_at = now - 70;
    alice->identity.expires_at = now + 30;
    protocol_realtime.on_tick(alice, alice->heard_ms);
    expect(NULL);
    alice->identity.issued_at = now - 1000;
    alice->identity.expires_at = now + 10;
    protocol_realtime.on_tick(alice, alice->heard_ms);
    protocol_realtime.on_tick(alice, alice->heard_ms);
    snprintf(expected, sizeof(expected),
             "{\"type\":\"AuthStatus\",\"data\":{\"status\":\"token_expiring\",\"expires_at\":%lld,"
             "\"refresh_required\":true}}",
             (long long)now + 10);
    expect(expected);
    alice->identity.expires_at = now;
    protocol_realtime.on_tick(alice, alice->heard_ms);
    snprintf(expected, sizeof(expected),
             "{\"type\":\"AuthStatus\",\"data\":{\"status\":\"token_expired\",\"expires_at\":%lld,"
             "\"refresh_required\":true}}",
             (long long)now);
    expect(expected);
    assert_true(((struct fake_session *)alice)->closed);
    assert_int_equal(((struct fake_session *)alice)->reason, SESSION_CLOSE_TOKEN);
}

static void test_token_is_replaced(void **state)
{
    char status[200];
    const char *expected[] = {status, "{\"type\":\"Ack\",\"data\":{\"message_id\":\"t\",\"status\":"
                                      "\"token_refreshed\"},\"id\":\"t\"}"};

    (void)state;
    say("{\"type\":\"Auth\",\"data\":{\"token\":\"x\"},\"id\":\"t\"}");
    assert_string_equal(alice->identity.user, "alice");
    assert_ptr_equal(alice->user.data, alice->identity.user);
    snprintf(status, sizeof(status),
             "{\"type\":\"AuthStatus\",\"data\":{\"status\":\"token_refreshed\",\"expires_at\":%lld"
             "},\"id\":\"t\"}",
             (long long)alice->identity.expires_at);
    fake_expect_messages(alice, 2, expected);
    fake.token_user = "bob";
    say("{\"type\":\"Auth\",\"data\":{\"token\":\"x\"}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":403,\"message\":\"the token is another "
           "user's\",\"details\":{\"field\":\"token\"}}}");
    fake.token_result = VERIFIER_EXPIRED;
    say("{\"type\":\"Auth\",\"data\":{\"token\":\"x\"}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":401,\"message\":\"no good token\","
           "\"details\":{\"field\":\"token\"}}}");
    assert_text(alice->user, "alice");
    assert_int_equal(alice->state, SESSION_OPEN);
}

/* ---- subscriptions ---- */

static void test_subscribe(void **state)
{
    static const char *const both[] = {
        "{\"type\":\"Status\",\"data\":{\"status\":\"subscribed\",\"details\":{\"topics\":["
        "\"notifications\",\"chat.general\",\"updates.*\"],\"active_subscriptions\":3}},"
        "\"id\":\"s1\"}",
        "{\"type\":\"Ack\",\"data\":{\"message_id\":\"s1\",\"status\":\"subscribed\"},"
        "\"id\":\"s1\"}",
    };

    (void)state;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[ \"notifications\", \"chat.general\","
        "\"updates.*\"]},\"id\":\"s1\",\"timestamp\":1}");
    expect(NULL);
    sync_all();
    fake_expect_messages(alice, 2, both);
    say("{\"type\":\"Unsubscribe\",\"data\":{\"topics\":[\"chat.general\"]}}");
    sync_all();
    expect("{\"type\":\"Status\",\"data\":{\"status\":\"unsubscribed\",\"details\":{\"topics\":["
           "\"chat.general\"],\"active_subscriptions\":2}}}");
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[]}}");
    expect("{\"type\":\"Status\",\"data\":{\"status\":\"subscribed\",\"details\":{\"topics\":[],"
           "\"active_subscriptions\":2}}}");
}

static void test_subscription_limit(void **state)
{
    (void)state;
    fake.gateway.settings.subscriptions = 3;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\",\"b\"]}}");
    sync_all();
    fake_forget_messages(alice);
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"c\",\"d\"]},\"id\":\"x\"}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":400,\"message\":\"too many subscriptions on "
           "this connection\",\"details\":{\"field\":\"topics\",\"limit\":3,"
           "\"active_subscriptions\":2}},\"id\":\"x\"}");
    assert_int_equal(fake.frame_count, 0);
    assert_int_equal(topics_count(alice), 2);
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\",\"c\",\"c\"]}}");
    sync_all();
    assert_int_equal(topics_count(alice), 3);
}

static void test_topic_permissions(void **state)
{
    static char chat[] = "chat.*", chats[] = "chat.**", bob[] = "presence.bob", sys[] = "$sys.x";
    char *subscribe[] = {chat, bob, NULL}, *publish[] = {chats, sys, NULL};

    (void)state;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"$sys.x\"]}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":403,\"message\":\"subscribing to one of the "
           "topics is not permitted\",\"details\":{\"field\":\"topics\"}}}");
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"$sys.x\",\"payload\":1}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":403,\"message\":\"publishing to this topic is "
           "not permitted\",\"details\":{\"field\":\"topic\"}}}");
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"presence.bob\",\"payload\":1}}");
    expect("{\"type\":\"Error\",\"data\":{\"code\":403,\"message\":\"presence comes from the "
           "service only\",\"details\":{\"field\":\"topic\"}}}");
    assert_int_equal(fake.frame_count, 0);
    alice->identity.subscribe_topics = subscribe;
    alice->identity.publish_topics = publish;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"chat.a\",\"chat.*\",\"presence.bob\"]}}");
    sync_all();
    assert_int_equal(topics_count(alice), 3);
    fake_forget_messages(alice);
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"chat.b\",\"chat.**\"]}}");
    assert_int_equal(topics_count(alice), 3);
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"$sys.x\",\"payload\":1}}");
    sent(FRAME_TOPIC_PUBLISH);
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"news\",\"payload\":1}}");
    assert_int_equal(fake.frame_count, 0);
}

/* ---- Broadcast ---- */

static void test_broadcast(void **state)
{
    struct frame frame;
    struct frame_publish_reply reply = {.recipients = 42};

    (void)state;
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"chat.general\",\"payload\":{ \"n\": "
        "9007199254740993, \"f\":1.0 }},\"id\":\"msg_123456\",\"metadata\":{\"echo\":true}}");
    frame = sent(FRAME_TOPIC_PUBLISH);
    assert_int_equal(frame.topic_publish.connection, 7);
    assert_text(frame.topic_publish.from, "alice");
    assert_text(frame.topic_publish.topic, "chat.general");
    assert_text(frame.topic_publish.id, "msg_123456");
    assert_int_equal(frame.topic_publish.retry, 1);
    assert_int_equal(frame.topic_publish.echo, 1);
    assert_int_equal(frame.topic_publish.matches, 0);
    assert_text(frame.topic_publish.body, "{ \"n\": 9007199254740993, \"f\":1.0 }");
    assert_text(frame.topic_publish.metadata, "{\"echo\":true}");
    reply.request = frame.topic_publish.request;
    reply.id = slice_text("msg_123456");
    protocol_realtime.on_publish_reply(alice, &reply);
    expect("{\"type\":\"Ack\",\"data\":{\"message_id\":\"msg_123456\",\"status\":\"delivered\","
           "\"recipients\":42},\"id\":\"msg_123456\"}");
}

static void test_broadcast_without_id(void **state)
{
    struct frame frame;
    struct frame_publish_reply reply = {.id = slice_text("broadcast_1")};

    (void)state;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"chat.*\"]}}");
    sync_all();
    fake_forget_messages(alice);
    say("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"chat.general\",\"payload\":null}}");
    frame = sent(FRAME_TOPIC_PUBLISH);
    assert_int_equal(frame.topic_publish.id.length, strlen("broadcast_") + 26);
    assert_memory_equal(frame.topic_publish.id.data, "broadcast_", 10);
    assert_int_equal(frame.topic_publish.retry, 0);
    assert_int_equal(frame.topic_publish.matches, 1);
    assert_text(frame.topic_publish.body, "null");
    assert_int_equal(frame.topic_publish.metadata.length, 0);
    reply.request = frame.topic_publish.request;
    protocol_realtime.on_publish_reply(alice, &reply);
    expect("{\"type\":\"Ack\",\"data\":{\"message_id\":\"broadcast_1\",\"status\":\"delivered\","
           "\"recipients\":0}}");
}

static void test_broadcast_delivery(void **state)
{
    struct frame_topic_message message = {
        .topic = slice_text("chat.general"),
        .from = slice_text("bob"),
        .id = slice_text("m\"1"),
        .sent_at_ms = 1234567890999,
        .protocol = FRAME_PROTOCOL_REALTIME,
        .body = slice_text("{ \"a\":1.0 }"),
    };

    (void)state;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"chat.general\"]}}");
    sync_all();
    fake_forget_messages(alice);
    topics_on_message(fake.gateway.topics, 0, &message);
    expect("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"chat.general\",\"payload\":{ \"a\":1.0 "
           "},\"metadata\":{\"sent_at\":1234567890,\"message_id\":\"m\\\"1\"}}}");
    message.metadata = slice_text("{\"ttl\":1}");
    topics_on_message(fake.gateway.topics, 0, &message);
    expect("{\"type\":\"Broadcast\",\"data\":{\"topic\":\"chat.general\",\"payload\":{ \"a\":1.0 "
           "},\"metadata\":{\"sent_at\":1234567890,\"message_id\":\"m\\\"1\"}},"
           "\"metadata\":{\"ttl\":1}}");
}

/* ---- DirectMessage ---- */

static void test_direct_message(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\",\"payload\":[1]},"
        "\"id\":\"dm_1\",\"metadata\":{\"ttl\":3600,\"priority\":\"high\"}}");
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.from, "alice");
    assert_text(frame.direct_message.to, "bob");
    assert_text(frame.direct_message.id, "dm_1");
    assert_int_equal(frame.direct_message.retry, 1);
    assert_int_equal(frame.direct_message.policy, DELIVERY_STORE);
    assert_int_equal(frame.direct_message.ttl_ms, 3600000);
    assert_text(frame.direct_message.body, "[1]");
    assert_text(frame.direct_message.metadata, "{\"ttl\":3600,\"priority\":\"high\"}");
    say("{\"type\":\"DirectMessage\",\"data\":{\"target_user\":42,\"payload\":0},"
        "\"metadata\":{\"ttl\":0.0005}}");
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.to, "42");
    assert_int_equal(frame.direct_message.id.length, strlen("dm_") + 26);
    assert_int_equal(frame.direct_message.ttl_ms, 1);
    say("{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"guest:1\",\"payload\":0},"
        "\"metadata\":{\"ttl\":1e300}}");
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_int_equal(frame.direct_message.ttl_ms, 0);
}

static void test_direct_replies(void **state)
{
    const uint64_t pairs[] = {77, 8, 78, 9};
    struct frame_direct_reply reply = {
        .request = 9, .id = slice_text("dm_1"), .to = slice_text("bob")};
    char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE], expected[300];

    (void)state;
    uid_connection(77, 8, first);
    uid_connection(78, 9, second);
    reply.delivered = (struct frame_u64s){.values = pairs, .count = 4};
    protocol_realtime.on_direct_reply(alice, &reply);
    snprintf(expected, sizeof(expected),
             "{\"type\":\"Ack\",\"data\":{\"message_id\":\"dm_1\",\"status\":\"delivered\","
             "\"delivered_to\":[\"%s\",\"%s\"]},\"id\":\"dm_1\"}",
             first, second);
    expect(expected);
    reply.delivered.count = 0;
    reply.status = DIRECT_BACKLOGGED;
    protocol_realtime.on_direct_reply(alice, &reply);
    expect("{\"type\":\"Ack\",\"data\":{\"message_id\":\"dm_1\",\"status\":\"queued\","
           "\"delivered_to\":[]},\"id\":\"dm_1\"}");
    reply.status = DIRECT_QUEUED;
    reply.request = 8;
    protocol_realtime.on_direct_reply(alice, &reply);
    expect("{\"type\":\"Error\",\"data\":{\"code\":404,\"message\":\"User bob not found or not "
           "connected\",\"details\":{\"message_id\":\"dm_1\",\"queued\":true}}}");
    reply.status = DIRECT_MAILBOX_FULL;
    protocol_realtime.on_direct_reply(alice, &reply);
    expect("{\"type\":\"Error\",\"data\":{\"code\":404,\"message\":\"User bob not found or not "
           "connected\",\"details\":{\"message_id\":\"dm_1\",\"queued\":false,"
           "\"reason\":\"mailbox_full\"}}}");
}

static void test_direct_delivery(void **state)
{
    struct frame_message_delivery message = {
        .from = slice_text("bob"),
        .id = slice_text("dm_1"),
        .sent_at_ms = 1234567890000,
        .protocol = FRAME_PROTOCOL_REALTIME,
        .body = slice_text("{\"message\":\"Private\"}"),
        .metadata = slice_text("{\"priority\":\"high\"}"),
    };
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    (void)state;
    protocol_realtime.encode_delivery(&out, &message, &opcode);
    assert_int_equal(opcode, WIRE_TEXT);
    assert_text(buffer_slice(&out),
                "{\"type\":\"DirectMessage\",\"data\":{\"from_user\":\"bob\",\"payload\":{"
                "\"message\":\"Private\"},\"metadata\":{\"sent_at\":1234567890,\"message_id\":"
                "\"dm_1\"}},\"metadata\":{\"priority\":\"high\"}}");
    buffer_finish(&out);
}

/* ---- Presence, Ack ---- */

static void test_presence(void **state)
{
    struct frame_presence_state presence = {
        .user = slice_text("bob"),
        .status = slice_text("away"),
        .last_seen_ms = 1234567890123,
        .metadata = slice_text("{\"device\":\"web\"}"),
    };
    struct frame frame;

    (void)state;
    say("{\"type\":\"Presence\",\"data\":{\"status\":\"busy\",\"metadata\":{\"a\": 1}},\"id\":"
        "\"p\"}");
    frame = sent(FRAME_PRESENCE_SET);
    assert_int_equal(frame.presence_set.connection, 7);
    assert_text(frame.presence_set.status, "busy");
    assert_text(frame.presence_set.metadata, "{\"a\": 1}");
    expect("{\"type\":\"Ack\",\"data\":{\"message_id\":\"p\",\"status\":\"accepted\"},\"id\":\"p\"}"
           "");
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"presence.bob\"]}}");
    fake_forget_messages(alice);
    topics_on_presence(fake.gateway.topics, 0, &presence);
    expect("{\"type\":\"Presence\",\"data\":{\"user_id\":\"bob\",\"status\":\"away\",\"last_seen\":"
           "1234567890,\"metadata\":{\"device\":\"web\"}}}");
    presence.metadata = slice_text(NULL);
    topics_on_presence(fake.gateway.topics, 0, &presence);
    expect("{\"type\":\"Presence\",\"data\":{\"user_id\":\"bob\",\"status\":\"away\",\"last_seen\":"
           "1234567890,\"metadata\":{}}}");
}

static void test_client_ack(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"Ack\",\"data\":{\"message_id\":\"dm_1\"}}");
    frame = sent(FRAME_MESSAGE_ACK);
    assert_text(frame.message_ack.id, "dm_1");
    assert_text(frame.message_ack.user, "alice");
    alice->flags = 0;
    say("{\"type\":\"Ack\",\"data\":{\"message_id\":\"dm_1\"}}");
    assert_int_equal(fake.frame_count, 0);
    expect(NULL);
}

/* ---- limits ---- */

static void test_no_credit(void **state)
{
    static const char *const requests[] = {
        "{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a\",\"payload\":1},\"id\":\"x\"}",
        "{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"b\",\"payload\":1},\"id\":\"x\"}",
        "{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\"]},\"id\":\"x\"}",
        "{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a.*\"]},\"id\":\"x\"}",
        "{\"type\":\"Presence\",\"data\":{\"status\":\"away\"},\"id\":\"x\"}",
    };

    (void)state;
    fake.no_credit = true;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        say(requests[i]);
        expect("{\"type\":\"Error\",\"data\":{\"code\":503,\"message\":\"the service cannot take "
               "this now\",\"details\":{\"retry_after_ms\":1000}},\"id\":\"x\"}");
        assert_int_equal(fake.frame_count, 0);
    }
    assert_int_equal(topics_count(alice), 0);
}

/* Redis is full: what makes room there is taken all the same. */
static void test_no_credit_but_to_free(void **state)
{
    (void)state;
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\"]}}");
    sync_all();
    fake_forget_messages(alice);
    fake.no_credit = fake.can_free = true;
    say("{\"type\":\"Ack\",\"data\":{\"message_id\":\"dm_1\"}}");
    sent(FRAME_MESSAGE_ACK);
    say("{\"type\":\"Unsubscribe\",\"data\":{\"topics\":[\"a\"]}}");
    assert_true(fake.frame_count > 0);
    fake_forget_frames();
    expect(NULL);
    say("{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"a\"]}}");
    assert_int_equal(fake.frame_count, 0);
    assert_int_equal(fake_message_count(alice), 1);
}

static size_t say_until_limited(const char *text, size_t most)
{
    size_t done = 0;

    for (; done < most; done++) {
        struct fake_session *of = (struct fake_session *)alice;

        say(text);
        if (of->count > 0 && strstr(of->messages[of->count - 1], "\"code\":429,"))
            break;
        fake_forget_messages(alice);
        fake_forget_frames();
    }
    return done;
}

static void fill_buckets(void)
{
    struct session_limits *limits = &alice->limits;

    limits->connection = limits->acks = (struct rate_bucket){0};
    memset(rate_user_buckets(limits->user), 0, RATE_USER_BUCKETS * sizeof(struct rate_bucket));
}

static void test_rate_limits(void **state)
{
    static const struct {
        const char *text;
        size_t burst;
    } cases[] = {
        {"{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a\",\"payload\":1}}", 100},
        {"{\"type\":\"Subscribe\",\"data\":{\"topics\":[]}}", 20},
        {"{\"type\":\"Ping\",\"data\":{\"timestamp\":1}}", 200},
        {"nonsense", 200},
        {"{\"type\":\"Ack\",\"data\":{\"message_id\":\"m\"}}", 2000},
    };

    (void)state;
    fake.gateway.settings.rate_limits = true;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fill_buckets();
        assert_int_equal(say_until_limited(cases[i].text, 10000), cases[i].burst);
        assert_int_equal(fake.frame_count, 0);
        assert_int_equal(alice->state, SESSION_OPEN);
        fake_forget_messages(alice);
    }
    say("{\"type\":\"Ping\",\"data\":{\"timestamp\":1},\"id\":\"r\"}");
    fill_buckets();
    fake_forget_messages(alice);
    assert_int_equal(say_until_limited("nonsense", 10000), 200);
    expect("{\"type\":\"Error\",\"data\":{\"code\":429,\"message\":\"too many messages\","
           "\"details\":{\"retry_after_ms\":10}}}");
}

static void test_connections_of_a_user_share_limits(void **state)
{
    static const char text[] = "{\"type\":\"Broadcast\",\"data\":{\"topic\":\"a\",\"payload\":1}}";
    struct session *other = fake_session(8, "alice", &protocol_realtime);

    (void)state;
    protocol_realtime.open(other);
    fake.gateway.settings.rate_limits = true;
    fill_buckets();
    for (int i = 0; i < 60; i++)
        protocol_realtime.on_text(other, slice_text(text));
    assert_int_equal(say_until_limited(text, 1000), 40);
}

static void test_waiting_requests_are_limited(void **state)
{
    struct buffer text = {0};
    size_t taken = 0;

    (void)state;
    fake.gateway.settings.subscriptions = 10000;
    while (taken < 10000) {
        buffer_reset(&text, 4096);
        buffer_append_text(&text, "{\"type\":\"Subscribe\",\"data\":{\"topics\":[");
        for (int i = 0; i < 20; i++)
            buffer_appendf(&text, "%s\"topic-with-quite-a-long-name.%zu.%d\"", i ? "," : "", taken,
                           i);
        buffer_append_text(&text, "]}}");
        protocol_realtime.on_text(alice, buffer_slice(&text));
        if (fake_message_count(alice) > 0)
            break;
        fake_forget_frames();
        taken++;
    }
    assert_in_range(taken, 100, 1000);
    assert_non_null(strstr(((struct fake_session *)alice)->messages[0], "\"code\":503"));
    buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define SCENE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        SCENE(test_bad_input),
        SCENE(test_nested_brackets),
        SCENE(test_error_carries_the_id),
        SCENE(test_welcome),
        SCENE(test_patterns_have_a_length_together),
        SCENE(test_connecting_is_limited),
        SCENE(test_identify),
        SCENE(test_ping),
        SCENE(test_silence_is_pinged_once),
        SCENE(test_token_expires),
        SCENE(test_token_is_replaced),
        SCENE(test_subscribe),
        SCENE(test_subscription_limit),
        SCENE(test_topic_permissions),
        SCENE(test_broadcast),
        SCENE(test_broadcast_without_id),
        SCENE(test_broadcast_delivery),
        SCENE(test_direct_message),
        SCENE(test_direct_replies),
        SCENE(test_direct_delivery),
        SCENE(test_presence),
        SCENE(test_client_ack),
        SCENE(test_no_credit),
        SCENE(test_no_credit_but_to_free),
        SCENE(test_rate_limits),
        SCENE(test_connections_of_a_user_share_limits),
        SCENE(test_waiting_requests_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
