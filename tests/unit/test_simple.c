#include "gateway/protocols/simple.h"

#include "gateway/session/claims.h"
#include "gateway/content.h"
#include "gateway/identity/password_check.h"
#include "tests/unit/fake_gateway.h"

static struct session *alice;

/* Auth, as the gateway asks it. */
static struct {
    uint64_t asked, forgotten;
    char user[200], password[200];
    void (*done)(void *arg, enum password_result);
    void *arg;
} auth;

uint64_t password_check(struct gateway *gateway, struct slice user, struct slice password,
                        struct slice address, void (*done)(void *arg, enum password_result),
                        void *arg)
{
    (void)gateway;
    assert_true(slice_is(address, "192.0.2.1"));
    snprintf(auth.user, sizeof(auth.user), "%.*s", (int)user.length, user.data);
    snprintf(auth.password, sizeof(auth.password), "%.*s", (int)password.length, password.data);
    auth.done = done;
    auth.arg = arg;
    return ++auth.asked;
}

void password_check_forget(struct gateway *gateway, uint64_t number)
{
    (void)gateway;
    auth.forgotten = number;
}

static int set_up(void **state)
{
    (void)state;
    fake_start(1);
    memset(&auth, 0, sizeof(auth));
    fake.gateway.claims = claims_create(&fake.gateway);
    fake.gateway.settings.open_identity = true;
    fake.no_token = true;
    alice = fake_session(7, "alice", &protocol_simple);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    claims_destroy(&fake.gateway.claims);
    fake_stop();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 0;
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.length ? slice.data : "", text);
}

/* ---- who may connect ---- */

static void ask(const char *authorization, const char *username)
{
    fake_forget_frames();
    fake.authorization = authorization;
    fake.query[0].name = username ? "username" : NULL;
    fake.query[0].value = username;
    fake.answered = false;
    protocol_simple.identify(NULL);
}

static void expect_status(int status)
{
    assert_true(fake.answered);
    assert_int_equal(fake.refused_status, status);
}

/* The name is asked for, and answered. */
static void expect_claim(const char *user, bool granted)
{
    struct frame_name_claim claim;

    assert_false(fake.answered);
    assert_int_equal(fake.frame_count, 1);
    assert_int_equal(fake_frame_at(0).type, FRAME_NAME_CLAIM);
    claim = fake_frame_at(0).name_claim;
    assert_text(claim.user, user);
    assert_int_equal(claim.protocol, FRAME_PROTOCOL_SIMPLE);
    claims_on_answer(fake.gateway.claims, claim.request, granted);
    expect_status(granted ? 0 : 403);
    if (granted)
        assert_string_equal(fake.accepted_user, user);
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "Basic ",         "Basic",          "Basic !!!", "Basic YQ==", /* a */
        "Basic OmI=",     "Basic Kjpi",                                /* :b *:b */
        "Basic _w86Yg==", "Basic QQo6Yg==",                            /* base64url; A\n:b */
    };

    (void)state;
    ask("Basic YWxpY2U6c2VjcmV0", NULL); /* alice:secret */
    expect_claim("alice", true);
    assert_int_equal(fake.accepted_flags, CONNECTION_FLAG_EXCLUSIVE);
    ask("bASIC YWxpY2U6", NULL); /* alice: */
    expect_claim("alice", false);
    ask("Basic YWxpY2U6YTpi", "alice"); /* alice:a:b */
    expect_claim("alice", true);
    ask("Basic YWxpY2U6", "bob");
    expect_status(403);
    ask(NULL, "bob");
    expect_claim("bob", true);
    ask(NULL, NULL);
    expect_status(401);
    ask(NULL, "guest:x");
    expect_status(401);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(bad[i], NULL);
        expect_status(401);
    }
    assert_int_equal(auth.asked, 0);
}

static void test_tokens(void **state)
{
    (void)state;
    fake.no_token = false;
    for (int open = 0; open < 2; open++) {
        fake.gateway.settings.open_identity = open;
        fake.token_result = VERIFIER_OK;
        ask(NULL, NULL);
        expect_claim("alice", true);
        ask("Basic YWxpY2U6", NULL);
        expect_claim("alice", true);
        ask("Basic Ym9iOg==", NULL); /* bob: */
        expect_status(403);
        ask(NULL, "bob");
        expect_status(403);
        fake.token_result = VERIFIER_REVOKED;
        ask(NULL, "alice");
        expect_status(401);
    }
    assert_int_equal(auth.asked, 0);
}

static void test_passwords(void **state)
{
    static const struct {
        enum password_result result;
        int status;
    } cases[] = {{PASSWORD_WRONG, 401}, {PASSWORD_LIMITED, 429}, {PASSWORD_UNAVAILABLE, 503}};

    (void)state;
    fake.gateway.settings.open_identity = false;
    ask(NULL, "alice");
    expect_status(401);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask("Basic YWxpY2U6YTpi", NULL);
        assert_false(fake.answered);
        assert_string_equal(auth.user, "alice");
        assert_string_equal(auth.password, "a:b");
        auth.done(auth.arg, cases[i].result);
        expect_status(cases[i].status);
        assert_int_equal(fake.frame_count, 0);
    }
    ask("Basic YWxpY2U6YTpi", NULL);
    auth.done(auth.arg, PASSWORD_OK);
    expect_claim("alice", true);
}

static void test_without_credit_nobody_is_asked(void **state)
{
    (void)state;
    fake.no_credit = true;
    ask(NULL, "alice");
    expect_status(503);
    assert_int_equal(fake.frame_count, 0);
}

static void test_who_hangs_up_is_forgotten(void **state)
{
    uint64_t request;

    (void)state;
    fake.gateway.settings.open_identity = false;
    ask("Basic YWxpY2U6YTpi", NULL);
    fake.on_abandoned(fake.on_abandoned_arg);
    assert_int_equal(auth.forgotten, auth.asked);
    fake.gateway.settings.open_identity = true;
    ask(NULL, "alice");
    request = fake_frame_at(0).name_claim.request;
    fake.on_abandoned(fake.on_abandoned_arg);
    claims_on_answer(fake.gateway.claims, request, true);
    assert_false(fake.answered);
}

/* ---- what clients send ---- */

static void say(const char *text)
{
    fake_forget_frames();
    protocol_simple.on_text(alice, slice_text(text));
}

static void expect(const char *text)
{
    fake_expect_messages(alice, text ? 1 : 0, &text);
}

static void test_a_message_to_the_room(void **state)
{
    struct frame_topic_publish publish;
    struct frame_publish_reply answer = {0};

    (void)state;
    say("{\"type\":\"send_message\",\"payload_id\":\"p\",\"message\": \"h\\u0069\" }");
    expect(NULL);
    publish = fake_frame_at(0).topic_publish;
    assert_text(publish.topic, "$simple");
    assert_text(publish.from, "alice");
    assert_text(publish.id, "p");
    assert_text(publish.body, "\"h\\u0069\"");
    assert_int_equal(publish.retry, 1);
    assert_int_equal(publish.echo, 1);
    answer.request = publish.request;
    answer.id = publish.id;
    protocol_simple.on_publish_reply(alice, &answer);
    expect("{\"type\":\"reply\",\"payload_id\":\"p\",\"error\":null}");
}

static void test_an_empty_id_is_echoed(void **state)
{
    struct frame_topic_publish publish;
    struct frame_publish_reply answer = {0};

    (void)state;
    say("{\"type\":\"send_message\",\"payload_id\":\"\",\"message\":\"hi\"}");
    publish = fake_frame_at(0).topic_publish;
    assert_int_equal(publish.id.length, 26);
    assert_int_equal(publish.retry, 0);
    answer.request = publish.request;
    answer.id = publish.id;
    protocol_simple.on_publish_reply(alice, &answer);
    expect("{\"type\":\"reply\",\"payload_id\":\"\",\"error\":null}");
}

static void test_a_message_to_one(void **state)
{
    static const char *const errors[] = {
        [DIRECT_DELIVERED] = "null",
        [DIRECT_BACKLOGGED] = "null",
        [DIRECT_QUEUED] = "null",
        [DIRECT_MAILBOX_FULL] = "\"unavailable\"",
        [DIRECT_DISCARDED] = "\"unavailable\"",
    };
    struct frame_direct_message message;

    (void)state;
    say("{\"type\":\"send_message\",\"payload_id\":\"p\",\"message\":\"hi\",\"to\":31}");
    message = fake_frame_at(0).direct_message;
    assert_text(message.to, "31");
    assert_text(message.body, "\"hi\"");
    assert_int_equal(message.policy, DELIVERY_STORE);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct frame_direct_reply answer = {
            .request = message.request, .id = message.id, .to = message.to, .status = i};
        char expected[100];

        snprintf(expected, sizeof(expected),
                 "{\"type\":\"reply\",\"payload_id\":\"p\",\"error\":%s}", errors[i]);
        protocol_simple.on_direct_reply(alice, &answer);
        expect(expected);
    }
}

static void test_without_credit(void **state)
{
    (void)state;
    fake.no_credit = true;
    say("{\"type\":\"send_message\",\"payload_id\":\"p\",\"message\":\"hi\"}");
    assert_int_equal(fake.frame_count, 0);
    expect("{\"type\":\"reply\",\"payload_id\":\"p\",\"error\":\"unavailable\","
           "\"retry_after_ms\":1000}");
}

/* ---- the room ---- */

static void test_members(void **state)
{
    const struct frame_member_changed change = {.user = slice_text("bob"), .at_ms = 1999};
    const struct frame_member_list list = {
        .members = slice_text("1500 bob\n1600 alice\n2600 a b\n"), .last = 1};
    static const char *const expected[] = {
        "{\"type\":\"user_connected\",\"username\":\"bob\",\"timestamp\":1}",
        "{\"type\":\"user_connected\",\"username\":\"a b\",\"timestamp\":2}",
    };
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    (void)state;
    protocol_simple.encode_member(&out, &change, &opcode);
    assert_text(buffer_slice(&out),
                "{\"type\":\"user_disconnected\",\"username\":\"bob\",\"timestamp\":1}");
    buffer_finish(&out);
    protocol_simple.on_member_list(alice, &list);
    fake_expect_messages(alice, 2, expected);
}

static void expect_delivery(struct frame_message_delivery message, const char *expected)
{
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    protocol_simple.encode_delivery(&out, &message, &opcode);
    assert_text(buffer_slice(&out), expected);
    buffer_finish(&out);
}

static void test_deliveries(void **state)
{
    struct frame_message_delivery message = {.from = slice_text("bob"),
                                             .to = slice_text("alice"),
                                             .sent_at_ms = 1999,
                                             .protocol = FRAME_PROTOCOL_SIMPLE,
                                             .body = slice_text("\"h\\u0069\"")};

    (void)state;
    expect_delivery(message, "{\"type\":\"message_sent\",\"username\":\"bob\",\"timestamp\":1,"
                             "\"message\":\"h\\u0069\",\"to\":\"alice\"}");
    message.protocol = FRAME_PROTOCOL_REALTIME;
    message.chat = slice_text("group:7");
    message.body =
        slice_text("{\"message\":\"hi\",\"attachments\":[{\"url\":\"http://u\"}],\"n\":1}");
    expect_delivery(message, "{\"type\":\"message_sent\",\"username\":\"bob\",\"timestamp\":1,"
                             "\"message\":\"hi\\nhttp://u\",\"to\":\"alice\","
                             "\"group\":\"group:7\"}");
    message.chat = slice_text("");
    message.content = CONTENT_BINARY;
    message.body = slice_text("foo");
    expect_delivery(message, "{\"type\":\"message_sent\",\"username\":\"bob\",\"timestamp\":1,"
                             "\"message\":\"data:application/octet-stream;base64,Zm9v\","
                             "\"to\":\"alice\"}");
}

static void test_the_server_has_no_name(void **state)
{
    struct frame_topic_message message = {.from = slice_text("SERVER"),
                                          .topic = slice_text("$simple"),
                                          .sent_at_ms = 1999,
                                          .protocol = FRAME_PROTOCOL_SERVER,
                                          .body = slice_text("{\"message\":\"hi\"}")};
    struct buffer out = {0};
    int opcode = WIRE_TEXT;

    (void)state;
    protocol_simple.encode_topic_message(&out, &message, &opcode);
    assert_text(buffer_slice(&out), "{\"type\":\"message_sent\",\"username\":null,\"timestamp\":1,"
                                    "\"message\":\"hi\"}");
    buffer_finish(&out);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_names),
        test(test_tokens),
        test(test_passwords),
        test(test_without_credit_nobody_is_asked),
        test(test_who_hangs_up_is_forgotten),
        test(test_a_message_to_the_room),
        test(test_an_empty_id_is_echoed),
        test(test_a_message_to_one),
        test(test_without_credit),
        test(test_members),
        test(test_deliveries),
        test(test_the_server_has_no_name),
    };

    return cmocka_run_group_tests_name("simple", tests, NULL, NULL);
}
