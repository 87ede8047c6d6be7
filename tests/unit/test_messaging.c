#include "gateway/protocols/messaging.h"

#include "tests/unit/fake_gateway.h"

static struct session *alice;

static int set_up(void **state)
{
    (void)state;
    fake_start(1);
    alice = fake_session(7, "alice", &protocol_messaging);
    alice->flags = MESSAGING_FLAG_ACKS;
    protocol_messaging.open(alice);
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
    protocol_messaging.on_text(alice, slice_text(text));
}

static void expect(const char *text)
{
    fake_expect_messages(alice, text ? 1 : 0, &text);
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.length ? slice.data : "", text);
}

static struct frame sent(size_t index, enum frame_type type)
{
    struct frame frame = fake_frame_at(index);

    assert_int_equal(frame.type, type);
    return frame;
}

/* ---- who may connect ---- */

static void ask(const char *const *query)
{
    size_t i = 0;

    memset(fake.query, 0, sizeof(fake.query));
    for (; query[2 * i]; i++) {
        fake.query[i].name = query[2 * i];
        fake.query[i].value = query[2 * i + 1];
    }
    fake.answered = false;
    protocol_messaging.identify(NULL);
    assert_true(fake.answered);
}

#define ASK(...) ask((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void test_client_ids(void **state)
{
    static const char *const bad[] = {"", "0", "*", "SERVER", "group:x", "guest:x", "a\nb", "\xff"};

    (void)state;
    fake.no_token = true;
    fake.gateway.settings.open_identity = true;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASK("client_id", bad[i]);
        assert_int_equal(fake.refused_status, 401);
    }
    ASK();
    assert_int_equal(fake.refused_status, 401);
    ASK("client_id", "a", "client_id", "a");
    assert_int_equal(fake.refused_status, 401);
    ASK("client_id", "1452");
    assert_int_equal(fake.refused_status, 0);
    assert_string_equal(fake.accepted_user, "1452");
    assert_string_equal(fake.accepted_slot, "");
    assert_int_equal(fake.accepted_flags, CONNECTION_FLAG_KEEP | CONNECTION_FLAG_REPLACE);
    ASK("client_id", "1452", "device_id", "phone", "acks", "1");
    assert_string_equal(fake.accepted_slot, "phone");
    assert_int_equal(fake.accepted_flags,
                     CONNECTION_FLAG_KEEP | CONNECTION_FLAG_REPLACE | MESSAGING_FLAG_ACKS);
    ASK("client_id", "1452", "device_id", "a\nb");
    assert_int_equal(fake.refused_status, 400);
    fake.gateway.settings.open_identity = false;
    ASK("client_id", "1452");
    assert_int_equal(fake.refused_status, 401);
}

static void test_tokens(void **state)
{
    (void)state;
    for (int open = 0; open < 2; open++) {
        fake.gateway.settings.open_identity = open;
        fake.token_result = VERIFIER_OK;
        ASK("client_id", "alice");
        assert_int_equal(fake.refused_status, 0);
        ASK("client_id", "bob");
        assert_int_equal(fake.refused_status, 403);
        ASK();
        assert_int_equal(fake.refused_status, 401);
        fake.token_result = VERIFIER_EXPIRED;
        ASK("client_id", "alice");
        assert_int_equal(fake.refused_status, 401);
    }
}

static void test_guests(void **state)
{
    char first[sizeof(fake.accepted_user)];
    struct session *guest;
    const char *message = "{\"session\":{\"client_id\":\"guest:g\"}}";

    (void)state;
    fake.gateway.settings.open_identity = true;
    fake.no_token = true;
    ASK("guest", "1");
    assert_int_equal(fake.refused_status, 0);
    assert_memory_equal(fake.accepted_user, "guest:", 6);
    memcpy(first, fake.accepted_user, sizeof(first));
    ASK("guest", "1");
    assert_string_not_equal(fake.accepted_user, first);
    fake.gateway.settings.open_identity = false;
    ASK("guest", "1");
    assert_int_equal(fake.refused_status, 401);
    fake.no_token = false;
    ASK("guest", "1");
    assert_int_equal(fake.refused_status, 403);
    fake.token_user = "guest:g";
    ASK("guest", "1");
    assert_string_equal(fake.accepted_user, "guest:g");
    ASK("client_id", "guest:g");
    assert_string_equal(fake.accepted_user, "guest:g");
    guest = fake_session(8, "guest:g", &protocol_messaging);
    protocol_messaging.open(guest);
    fake_expect_messages(guest, 1, &message);
}

static void test_a_connection_ends_with_its_token(void **state)
{
    (void)state;
    protocol_messaging.on_tick(alice, 1000);
    assert_int_equal(alice->tick_due_ms, 11000);
    alice->identity.expires_at = 0;
    protocol_messaging.on_tick(alice, 1000);
    assert_int_equal(alice->state, SESSION_OPEN);
    alice->identity.expires_at = 1;
    protocol_messaging.on_tick(alice, 1000);
    assert_int_equal(((struct fake_session *)alice)->reason, SESSION_CLOSE_TOKEN);
}

/* ---- send ---- */

static void test_a_message(void **state)
{
    struct frame_direct_message message;

    (void)state;
    say("{\"send\":[ { \"id\":11, \"rid\":31, \"sid\":\"alice\", \"x\":1.0 } ]}");
    expect(NULL);
    message = sent(0, FRAME_DIRECT_MESSAGE).direct_message;
    assert_int_equal(message.connection, 7);
    assert_text(message.from, "alice");
    assert_text(message.to, "31");
    assert_text(message.id, "11");
    assert_int_equal(message.retry, 1);
    assert_int_equal(message.policy, DELIVERY_STORE);
    assert_int_equal(message.protocol, FRAME_PROTOCOL_MESSAGING);
    assert_text(message.body, "{ \"id\":11, \"rid\":31, \"sid\":\"alice\", \"x\":1.0 }");
    assert_int_equal(fake.frame_count, 1);
}

static void test_sid_is_filled_in(void **state)
{
    (void)state;
    say("{\"send\":[{ \"rid\":\"b\",\"id\":\"i\"}]}");
    assert_text(sent(0, FRAME_DIRECT_MESSAGE).direct_message.body,
                "{\"sid\":\"alice\", \"rid\":\"b\",\"id\":\"i\"}");
}

static void test_a_numeric_client_id(void **state)
{
    struct session *user = fake_session(8, "21", &protocol_messaging);

    (void)state;
    protocol_messaging.open(user);
    protocol_messaging.on_text(user, slice_text("{\"send\":[{\"id\":1,\"sid\":21,\"rid\":31},"
                                                "{\"id\":2,\"sid\":\"21\",\"rid\":31},"
                                                "{\"id\":3,\"sid\":21.0,\"rid\":31}]}"));
    assert_int_equal(fake.frame_count, 2);
    assert_int_equal(fake_message_count(user), 1);
}

static void test_order_is_read_send_unsubscribe_subscribe(void **state)
{
    (void)state;
    say("{\"subscribe\":[\"t\"]}");
    say("{\"subscribe\":[\"u\"],\"unsubscribe\":[\"t\"],\"send\":[{\"id\":1,\"rid\":2}],"
        "\"read\":[{\"id\":1},{\"id\":\"2\",\"sid\":3}]}");
    assert_text(sent(0, FRAME_MESSAGE_READ).message_read.id, "1");
    assert_text(sent(0, FRAME_MESSAGE_READ).message_read.from, "");
    assert_text(sent(1, FRAME_MESSAGE_READ).message_read.from, "3");
    assert_text(sent(1, FRAME_MESSAGE_READ).message_read.user, "alice");
    sent(2, FRAME_DIRECT_MESSAGE);
    assert_text(sent(3, FRAME_TOPIC_COUNT).topic_count.topic, "t");
}

static void test_everybody_and_channels(void **state)
{
    (void)state;
    say("{\"send\":[{\"id\":1,\"rid\":\"*\"}]}");
    expect("{\"errors\":[{\"section\":\"send\",\"id\":1,\"code\":403,\"message\":\"only an admin "
           "may send to everybody\"}]}");
    alice->identity.admin = true;
    say("{\"send\":[{\"id\":1,\"rid\":\"*\"},{\"id\":2,\"channel\":\"a.b\"},"
        "{\"id\":3,\"rid\":4,\"channel\":\"a.b\"}]}");
    expect(NULL);
    assert_text(sent(0, FRAME_TOPIC_PUBLISH).topic_publish.topic, "$messaging");
    assert_int_equal(sent(0, FRAME_TOPIC_PUBLISH).topic_publish.echo, 0);
    assert_text(sent(1, FRAME_TOPIC_PUBLISH).topic_publish.topic, "a.b");
    assert_text(sent(2, FRAME_DIRECT_MESSAGE).direct_message.to, "4");
    alice->identity.admin = false;
    fake.gateway.settings.open_identity = true;
    say("{\"send\":[{\"id\":1,\"rid\":\"*\"}]}");
    sent(0, FRAME_TOPIC_PUBLISH);
}

/* ---- answers ---- */

static void reply(size_t frame, enum direct_status status)
{
    struct frame_direct_message message = sent(frame, FRAME_DIRECT_MESSAGE).direct_message;
    struct frame_direct_reply answer = {
        .request = message.request, .id = message.id, .to = message.to, .status = status};

    protocol_messaging.on_direct_reply(alice, &answer);
}

static void test_replies_write_ids_as_they_came(void **state)
{
    (void)state;
    say("{\"send\":[{\"id\":9007199254740993,\"rid\":\"b\"},{\"id\":\"1\\\"\",\"rid\":1.50}]}");
    reply(0, DIRECT_DELIVERED);
    expect("{\"sent\":[{\"id\":9007199254740993,\"rid\":\"b\",\"status\":\"delivered\"}]}");
    reply(1, DIRECT_BACKLOGGED);
    expect("{\"sent\":[{\"id\":\"1\\\"\",\"rid\":1.50,\"status\":\"queued\"}]}");
    reply(1, DIRECT_QUEUED);
    expect("{\"sent\":[{\"id\":\"1\\\"\",\"rid\":1.50,\"status\":\"queued\"}]}");
    reply(0, DIRECT_MAILBOX_FULL);
    expect("{\"errors\":[{\"section\":\"send\",\"id\":9007199254740993,\"code\":507,"
           "\"message\":\"the receiver's mailbox is full\"}]}");
    reply(1, DIRECT_DISCARDED);
    expect("{\"errors\":[{\"section\":\"send\",\"id\":\"1\\\"\",\"code\":404,"
           "\"message\":\"the receiver is not connected\"}]}");
    reply(0, (enum direct_status)99);
    expect(NULL);
}

static void test_without_acks_only_errors_are_answered(void **state)
{
    (void)state;
    alice->flags = 0;
    say("{\"send\":[{\"id\":1,\"rid\":2}],\"subscribe\":[\"t\"]}");
    reply(0, DIRECT_DELIVERED);
    protocol_messaging.on_subscribed(alice, 0);
    expect(NULL);
    reply(0, DIRECT_MAILBOX_FULL);
    assert_int_equal(fake_message_count(alice), 1);
}

static void test_publish_replies(void **state)
{
    struct frame_publish_reply answer = {.id = slice_text("1"), .recipients = 3};

    (void)state;
    alice->identity.admin = true;
    say("{\"send\":[{\"id\":1,\"rid\":\"*\"},{\"id\":\"1\",\"channel\":\"a\"}]}");
    answer.request = sent(0, FRAME_TOPIC_PUBLISH).topic_publish.request;
    protocol_messaging.on_publish_reply(alice, &answer);
    expect("{\"sent\":[{\"id\":1,\"rid\":\"*\",\"status\":\"delivered\"}]}");
    answer.request = sent(1, FRAME_TOPIC_PUBLISH).topic_publish.request;
    protocol_messaging.on_publish_reply(alice, &answer);
    expect("{\"sent\":[{\"id\":\"1\",\"status\":\"delivered\"}]}");
}

/* ---- what cannot be taken now ---- */

static void test_without_credit_each_entry_is_refused(void **state)
{
    (void)state;
    fake.no_credit = true;
    say("{\"send\":[{\"id\":1,\"rid\":2},{\"id\":2,\"channel\":\"a\"}],\"read\":[{\"id\":3}],"
        "\"subscribe\":[\"t\"]}");
    assert_int_equal(fake.frame_count, 0);
    expect("{\"errors\":["
           "{\"section\":\"read\",\"id\":3,\"code\":503,\"message\":\"the service cannot take this "
           "now\",\"retry_after_ms\":1000},"
           "{\"section\":\"send\",\"id\":1,\"code\":503,\"message\":\"the service cannot take this "
           "now\",\"retry_after_ms\":1000},"
           "{\"section\":\"send\",\"id\":2,\"code\":503,\"message\":\"the service cannot take this "
           "now\",\"retry_after_ms\":1000},"
           "{\"section\":\"subscribe\",\"id\":\"t\",\"code\":503,\"message\":\"the service cannot "
           "take this now\",\"retry_after_ms\":1000}]}");
    /* What frees memory gets in. */
    fake.can_free = true;
    say("{\"read\":[{\"id\":3}]}");
    expect(NULL);
    sent(0, FRAME_MESSAGE_READ);
}

static void test_over_a_limit_the_frame_has_no_effect(void **state)
{
    struct buffer big = {0};
    size_t before;

    (void)state;
    fake.gateway.settings.rate_limits = true;
    buffer_append_text(&big, "{\"read\":[{\"id\":1}],\"send\":[");
    for (int i = 0; i < 500; i++)
        buffer_appendf(&big, "%s{\"id\":%d,\"rid\":2}", i ? "," : "", i);
    buffer_append(&big, "]}", 3);
    say(big.data);
    assert_int_equal(fake.frame_count, 501);
    expect(NULL);
    say("{\"send\":[{\"id\":1,\"rid\":2}],\"read\":[{\"id\":1}]}");
    assert_int_equal(fake.frame_count, 0);
    expect("{\"errors\":[{\"section\":null,\"id\":null,\"code\":429,\"message\":\"too many "
           "messages: this one has no effect\",\"retry_after_ms\":505}]}");
    /* The other limits were not touched: reading goes on. */
    say("{\"read\":[{\"id\":1}]}");
    assert_int_equal(fake.frame_count, 1);
    before = fake_message_count(alice);
    for (int i = 0; i < 300; i++)
        say("{}");
    assert_true(fake_message_count(alice) - before >= 100);
    buffer_finish(&big);
}

/* ---- what is delivered ---- */

static void expect_delivery(struct frame_message_delivery message, const char *expected)
{
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    protocol_messaging.encode_delivery(&out, &message, &opcode);
    assert_text(buffer_slice(&out), expected);
    buffer_finish(&out);
}

static void expect_topic(struct frame_topic_message message, const char *expected)
{
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    protocol_messaging.encode_topic_message(&out, &message, &opcode);
    assert_text(buffer_slice(&out), expected);
    buffer_finish(&out);
}

static void test_deliveries(void **state)
{
    struct frame_message_delivery message = {
        .from = slice_text("bob"), .to = slice_text("alice"), .id = slice_text("m\"1")};

    (void)state;
    message.protocol = FRAME_PROTOCOL_MESSAGING;
    message.body = slice_text("{ \"any\": thing }");
    expect_delivery(message, "{ \"any\": thing }");
    message.protocol = FRAME_PROTOCOL_REALTIME;
    message.body = slice_text("{\"message\":\"hi\",\"id\":1,\"rid\":2,\"group\":3,\"n\":1.0,"
                              "\"attachments\":[{\"url\":\"u\"}]}");
    expect_delivery(message, "{\"id\":\"m\\\"1\",\"sid\":\"bob\",\"rid\":\"alice\",\"text\":\"hi\","
                             "\"attachments\":[{\"url\":\"u\"}],\"n\":1.0}");
    message.body = slice_text("17");
    message.chat = slice_text("group:7");
    expect_delivery(message, "{\"id\":\"m\\\"1\",\"sid\":\"bob\",\"rid\":\"alice\","
                             "\"group\":\"group:7\",\"payload\":17}");
    message.chat = slice_text("");
    message.content = CONTENT_BINARY;
    message.body = slice_text("foo");
    expect_delivery(message, "{\"id\":\"m\\\"1\",\"sid\":\"bob\",\"rid\":\"alice\","
                             "\"attachments\":[{\"type\":\"file\",\"data\":\"Zm9v\"}]}");
    message.content = CONTENT_JSON;
    message.protocol = FRAME_PROTOCOL_SIMPLE;
    message.body = slice_text("\"h\\u0069\"");
    expect_delivery(message, "{\"id\":\"m\\\"1\",\"sid\":\"bob\",\"rid\":\"alice\","
                             "\"text\":\"h\\u0069\"}");
}

static void test_topic_messages(void **state)
{
    struct frame_topic_message message = {
        .from = slice_text("bob"), .topic = slice_text("a.b"), .id = slice_text("1")};

    (void)state;
    message.protocol = FRAME_PROTOCOL_MESSAGING;
    message.body = slice_text("{\"id\":1}");
    expect_topic(message, "{\"messages\":[{\"id\":1}]}");
    message.protocol = FRAME_PROTOCOL_REALTIME;
    message.body = slice_text("{\"message\":\"hi\",\"channel\":1}");
    expect_topic(message, "{\"messages\":[{\"id\":\"1\",\"sid\":\"bob\",\"channel\":\"a.b\","
                          "\"text\":\"hi\"}]}");
    message.protocol = FRAME_PROTOCOL_SERVER;
    message.from = slice_text("");
    message.topic = slice_text("$all");
    expect_topic(message, "{\"messages\":[{\"id\":\"1\",\"sid\":\"SERVER\",\"rid\":\"*\","
                          "\"text\":\"hi\"}]}");
}

static void test_what_a_message_says(void **state)
{
    static const struct {
        const char *body, *text, *attachments, *other;
    } cases[] = {
        {"{\"id\":1,\"rid\":2,\"sid\":3,\"text\":\"hi\"}", "\"hi\"", "", ""},
        {"{\"id\":1,\"rid\":2,\"channel\":\"x\",\"url\":\"u\"}", "", "",
         "\"channel\":\"x\",\"url\":\"u\""},
        {"{\"id\":1,\"channel\":\"x\",\"text\":5,\"attachments\":[1]}", "", "[1]", "\"text\":5"},
        {"[]", "", "", ""},
        {"", "", "", ""},
    };
    struct content content;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        content_read(FRAME_PROTOCOL_MESSAGING, CONTENT_JSON, slice_text(cases[i].body), &content);
        assert_text(content.text, cases[i].text);
        assert_text(content.attachments, cases[i].attachments);
        assert_text(content.other, cases[i].other);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_client_ids),
        test(test_tokens),
        test(test_guests),
        test(test_a_connection_ends_with_its_token),
        test(test_a_message),
        test(test_sid_is_filled_in),
        test(test_a_numeric_client_id),
        test(test_order_is_read_send_unsubscribe_subscribe),
        test(test_everybody_and_channels),
        test(test_replies_write_ids_as_they_came),
        test(test_without_acks_only_errors_are_answered),
        test(test_publish_replies),
        test(test_without_credit_each_entry_is_refused),
        test(test_over_a_limit_the_frame_has_no_effect),
        test(test_deliveries),
        test(test_topic_messages),
        test(test_what_a_message_says),
    };

    return cmocka_run_group_tests_name("messaging", tests, NULL, NULL);
}
