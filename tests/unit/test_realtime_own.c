/* What realtime clients send besides JSON payloads: bytes, types of their own, notifications. */
#include "gateway/notification.h"
#include "gateway/protocols/realtime.h"
#include "tests/unit/fake_gateway.h"

static struct session *alice;

static int set_up(void **state)
{
    (void)state;
    fake_start(1);
    alice = fake_session(7, "alice", &protocol_realtime);
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

static void say_bytes(const char *bytes, size_t length)
{
    char *exact = malloc(length ? length : 1); /* so that a sanitizer sees the first one too many */

    memcpy(exact, bytes, length);
    fake_forget_frames();
    protocol_realtime.on_binary(alice, slice_of(exact, length));
    free(exact);
}

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

static void expect_containing(const char *part)
{
    assert_int_equal(fake_message_count(alice), 1);
    if (strstr(((struct fake_session *)alice)->messages[0], part) == NULL)
        fail_msg("%s lacks %s", ((struct fake_session *)alice)->messages[0], part);
    fake_forget_messages(alice);
}

/* ---- binary ---- */

#define BYTES(text) text, sizeof(text) - 1

static void test_bad_binary(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *field;
    } cases[] = {
        {BYTES(""), "type"},
        {BYTES("\0\0\0\0\2\0\0"), "type"},
        {BYTES("\5\0\0\0\3\0\1a"), "type"},
        {BYTES("{\"type\":\"Ping\"}"), "type"},
        {BYTES("\1"), "length"},
        {BYTES("\1\0\0\0"), "length"},
        {BYTES("\1\0\0\0\4\0\1a"), "length"},
        {BYTES("\1\0\0\0\2\0\1a"), "length"},
        {BYTES("\1\xff\xff\xff\xff\0\1a"), "length"},
        {BYTES("\1\0\0\0\0"), "address"},
        {BYTES("\1\0\0\0\1\0"), "address"},
        {BYTES("\1\0\0\0\3\0\2a"), "address"},
        {BYTES("\1\0\0\0\3\xff\xffz"), "address"},
        {BYTES("\1\0\0\0\2\0\0"), "address"},
        {BYTES("\1\0\0\0\3\0\1*"), "address"},
        {BYTES("\4\0\0\0\3\0\1 "), "address"},
        {BYTES("\2\0\0\0\3\0\1*"), "address"},
        {BYTES("\3\0\0\0\3\0\1\xff"), "address"},
    };
    char field[64];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say_bytes(cases[i].bytes, cases[i].length);
        assert_int_equal(fake.frame_count, 0);
        snprintf(field, sizeof(field), "\"code\":400");
        assert_int_equal(fake_message_count(alice), 1);
        assert_non_null(strstr(((struct fake_session *)alice)->messages[0], field));
        snprintf(field, sizeof(field), "{\"field\":\"%s\"}", cases[i].field);
        expect_containing(field);
    }
}

static void test_binary_to_a_topic(void **state)
{
    static const char bytes[] = "\4\0\0\0\x8\0\4room\0\xff";
    struct frame frame;

    (void)state;
    say_bytes(bytes, sizeof(bytes) - 1);
    frame = sent(FRAME_TOPIC_PUBLISH);
    assert_text(frame.topic_publish.topic, "room");
    assert_int_equal(frame.topic_publish.content, CONTENT_BINARY);
    assert_true(slice_equal(frame.topic_publish.body, slice_of("\0\xff", 2)));
    assert_int_equal(fake_message_count(alice), 0);
    protocol_realtime.on_publish_reply(
        alice, &(struct frame_publish_reply){.request = frame.topic_publish.request,
                                             .id = slice_text("b1"),
                                             .recipients = 2});
    /* printf '\000\004room\000\377' | sha256sum */
    fake_expect_messages(
        alice, 1,
        (const char *const[]){
            "{\"type\":\"Status\",\"data\":{\"status\":\"binary_received\",\"details\":{"
            "\"size\":8,\"type\":\"stream_data\",\"checksum\":\"sha256:"
            "82a6c3648dfbeff79ebd3ba8027fbd48d191bfa2c65d930e86ecf61e0f689ee3\","
            "\"message_id\":\"b1\",\"recipients\":2}}}"});
}

static void test_binary_to_a_user(void **state)
{
    struct frame frame;

    (void)state;
    say_bytes(BYTES("\3\0\0\0\6\0\3bobx"));
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.to, "bob");
    assert_text(frame.direct_message.body, "x");
    protocol_realtime.on_direct_reply(
        alice, &(struct frame_direct_reply){.request = frame.direct_message.request,
                                            .id = slice_text("b1"),
                                            .to = slice_text("bob"),
                                            .status = DIRECT_QUEUED});
    expect_containing("\"queued\":true,\"delivered_to\":[]");
    /* A second answer to the same is none. */
    protocol_realtime.on_direct_reply(
        alice, &(struct frame_direct_reply){.request = frame.direct_message.request,
                                            .to = slice_text("bob"),
                                            .status = DIRECT_QUEUED});
    assert_int_equal(fake_message_count(alice), 0);
}

static void test_binary_that_a_mailbox_refuses(void **state)
{
    (void)state;
    say_bytes(BYTES("\2\0\0\0\6\0\3bobx"));
    protocol_realtime.on_direct_reply(
        alice,
        &(struct frame_direct_reply){.request = sent(FRAME_DIRECT_MESSAGE).direct_message.request,
                                     .to = slice_text("bob"),
                                     .status = DIRECT_MAILBOX_FULL});
    expect_containing("\"reason\":\"mailbox_full\"");
}

static void test_open_binaries_have_a_limit(void **state)
{
    (void)state;
    for (int i = 0; i < 32; i++)
        say_bytes(BYTES("\1\0\0\0\4\0\1ax"));
    assert_int_equal(fake_message_count(alice), 0);
    say_bytes(BYTES("\1\0\0\0\4\0\1ax"));
    assert_int_equal(fake.frame_count, 0);
    expect_containing("\"code\":503");
}

static void test_receivers_see_who_sent_it(void **state)
{
    static const char expected[] = "\3\0\0\0\xd\0\5alice\0\3bobx";
    struct buffer out = {0};

    (void)state;
    realtime_encode_binary(&out, slice_text("alice"), slice_text("bob"),
                           slice_text("\"file_transfer\""), false, slice_text("x"));
    assert_int_equal(out.length, sizeof(expected) - 1);
    assert_memory_equal(out.data, expected, out.length);
    buffer_finish(&out);
}

/* ---- types of clients' own ---- */

static void test_own_type_to_a_topic(void **state)
{
    struct frame frame;
    struct buffer out = {0};
    int opcode = 0;

    (void)state;
    say("{\"type\":\"X-Draw\",\"data\":{\"topic\":\"board\",\"x\":1.0},\"id\":\"x1\","
        "\"metadata\":{\"from_user\":\"bob\",\"echo\":true},\"more\":[ 1 ]}");
    frame = sent(FRAME_TOPIC_PUBLISH);
    assert_text(frame.topic_publish.topic, "board");
    assert_text(frame.topic_publish.id, "x1");
    assert_int_equal(frame.topic_publish.echo, 1);
    assert_text(frame.topic_publish.body,
                "{\"type\":\"X-Draw\",\"data\":{\"topic\":\"board\",\"x\":1.0},\"id\":\"x1\","
                "\"more\":[ 1 ],\"metadata\":{\"echo\":true,\"from_user\":\"alice\"}}");
    realtime_encode_topic_message(&out,
                                  &(struct frame_topic_message){
                                      .protocol = FRAME_PROTOCOL_REALTIME,
                                      .body = slice_text("{\"type\":\"X-Draw\"}"),
                                      .metadata = frame.topic_publish.metadata,
                                  },
                                  &opcode);
    assert_text(buffer_slice(&out), "{\"type\":\"X-Draw\"}");
    buffer_finish(&out);
}

static void test_own_type_to_a_user(void **state)
{
    struct frame frame;

    (void)state;
    say("{\"type\":\"X-Poke\",\"data\":{\"target_user\":7},\"metadata\":{\"ttl\":2,"
        "\"priority\":\"high\"}}");
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.to, "7");
    assert_int_equal(frame.direct_message.ttl_ms, 2000);
    assert_int_equal(frame.direct_message.priority, 1);
    assert_int_equal(frame.direct_message.retry, 0);
}

/* Without a bus it cannot be put anywhere. */
static void test_own_type_to_nobody(void **state)
{
    (void)state;
    say("{\"type\":\"X-Log\",\"data\":{},\"id\":\"x1\"}");
    assert_int_equal(fake.frame_count, 0);
    expect_containing("\"code\":503");
}

/* ---- priority ---- */

static void test_priority(void **state)
{
    static const struct {
        const char *metadata;
        uint64_t priority;
    } cases[] = {
        {"{\"priority\":\"high\"}", 1},
        {"{\"priority\":\"low\"}", 0},
        {"{\"priority\":1}", 0},
        {"{\"priority\":null}", 0},
        {"{}", 0},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame frame;

        snprintf(text, sizeof(text),
                 "{\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\",\"payload\":1},"
                 "\"metadata\":%s}",
                 cases[i].metadata);
        say(text);
        frame = sent(FRAME_DIRECT_MESSAGE);
        assert_int_equal(frame.direct_message.priority, cases[i].priority);
        assert_text(frame.direct_message.metadata, cases[i].metadata);
    }
}

/* ---- notifications ---- */

static void test_notification_needs_an_admin(void **state)
{
    (void)state;
    say("{\"type\":\"Notification\",\"data\":{\"message\":\"m\"},\"id\":\"n1\"}");
    assert_int_equal(fake.frame_count, 0);
    expect_containing("\"code\":403");
}

static void test_bad_notifications(void **state)
{
    static const struct {
        const char *data, *field;
    } cases[] = {
        {"{}", "message"},
        {"{\"message\":7}", "message"},
        {"{\"message\":\"m\",\"level\":\"loud\"}", "level"},
        {"{\"message\":\"m\",\"level\":null}", "level"},
        {"{\"message\":\"m\",\"title\":1}", "title"},
        {"{\"message\":\"m\",\"actions\":{}}", "actions"},
        {"{\"message\":\"m\",\"actions\":[{\"label\":\"l\"}]}", "actions"},
        {"{\"message\":\"m\",\"actions\":[7]}", "actions"},
        {"{\"message\":\"m\",\"target_user\":\"*\"}", "target_user"},
        {"{\"message\":\"m\",\"topic\":\"a.*\"}", "topic"},
        {"{\"message\":\"m\",\"topic\":\"a\",\"target_user\":\"bob\"}", "target_user"},
    };
    char text[200];

    (void)state;
    alice->identity.admin = true;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "{\"type\":\"Notification\",\"data\":%s}", cases[i].data);
        say(text);
        assert_int_equal(fake.frame_count, 0);
        snprintf(text, sizeof(text), "{\"field\":\"%s\"}", cases[i].field);
        expect_containing(text);
    }
}

static void test_notification_to_everybody(void **state)
{
    struct frame frame;
    struct buffer out = {0};
    int opcode = 0;

    (void)state;
    alice->identity.admin = true;
    say("{\"type\":\"Notification\",\"data\":{\"title\":\"T\",\"message\":\"m\","
        "\"actions\":[{\"label\":\"l\",\"url\":\"https://x\"}]},\"id\":\"n1\"}");
    frame = sent(FRAME_TOPIC_PUBLISH);
    assert_text(frame.topic_publish.topic, "$all");
    assert_int_equal(frame.topic_publish.protocol, FRAME_PROTOCOL_SERVER);
    realtime_encode_topic_message(&out,
                                  &(struct frame_topic_message){
                                      .id = slice_text("n1"),
                                      .sent_at_ms = 5000,
                                      .protocol = frame.topic_publish.protocol,
                                      .body = frame.topic_publish.body,
                                      .metadata = frame.topic_publish.metadata,
                                  },
                                  &opcode);
    assert_text(buffer_slice(&out),
                "{\"type\":\"Notification\",\"data\":{\"level\":\"info\",\"title\":\"T\","
                "\"message\":\"m\",\"actions\":[{\"label\":\"l\",\"url\":\"https://x\"}],"
                "\"metadata\":{\"sent_at\":5,\"message_id\":\"n1\"}}}");
    buffer_finish(&out);
    protocol_realtime.on_publish_reply(
        alice, &(struct frame_publish_reply){.request = frame.topic_publish.request,
                                             .id = slice_text("n1"),
                                             .recipients = 2});
    fake_expect_messages(alice, 1,
                         (const char *const[]){"{\"type\":\"Ack\",\"data\":{\"message_id\":\"n1\","
                                               "\"status\":\"delivered\"},\"id\":\"n1\"}"});
}

static void test_notification_to_a_user(void **state)
{
    struct frame frame;

    (void)state;
    alice->identity.admin = true;
    say("{\"type\":\"Notification\",\"data\":{\"message\":\"m\",\"target_user\":\"bob\","
        "\"level\":\"error\"}}");
    frame = sent(FRAME_DIRECT_MESSAGE);
    assert_text(frame.direct_message.to, "bob");
    assert_text(frame.direct_message.body, "{\"message\":\"m\",\"level\":\"error\"}");
    assert_text(frame.direct_message.metadata, NOTIFICATION_MARK);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_bad_binary),
        SCENE(test_binary_to_a_topic),
        SCENE(test_binary_to_a_user),
        SCENE(test_binary_that_a_mailbox_refuses),
        SCENE(test_open_binaries_have_a_limit),
        SCENE(test_receivers_see_who_sent_it),
        SCENE(test_own_type_to_a_topic),
        SCENE(test_own_type_to_a_user),
        SCENE(test_own_type_to_nobody),
        SCENE(test_priority),
        SCENE(test_notification_needs_an_admin),
        SCENE(test_bad_notifications),
        SCENE(test_notification_to_everybody),
        SCENE(test_notification_to_a_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
