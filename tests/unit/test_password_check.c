/*
 * A gateway's question about a password and auth's answer: both ends on one loop, with a real Redis
 * between them.
 */
#include "gateway/identity/password_check.h"

#include "auth/accounts.h"
#include "auth/announcements.h"
#include "auth/api.h"
#include "auth/password_asks.h"
#include "auth/password_box.h"
#include "auth/passwords.h"
#include "gateway/gateway.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIGHT "correct horse battery"
#define PENDING 99

struct metric auth_metrics[AUTH_METRICS];

static struct redis *server;
static char directory[] = "/tmp/trunkline-box-XXXXXX";

static struct {
    struct test_loop loop;
    struct auth auth;
    struct gateway gateway;
    struct bus_address address;
    struct key_publisher *publisher;
    struct bus *reader; /* does what the downlink would */
    char cursor[64];
    bool published, ready, replied;
    struct buffer reply;
} test;

#define run_until(condition) loop_until(&test.loop, condition)

/* ---- the downlink's part ---- */

static void read_answers(void);

static void on_answers(void *arg, const struct bus_reply *reply)
{
    const struct bus_reply *entries = bus_reply_at(bus_reply_at(reply, 0), 1);

    (void)arg;
    if (reply == NULL)
        return;
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *entry = bus_reply_at(entries, i);
        struct slice id = bus_reply_text(bus_reply_at(entry, 0));

        snprintf(test.cursor, sizeof(test.cursor), "%.*s", (int)id.length, id.data);
        password_checks_on_answer(test.gateway.passwords, bus_reply_at(entry, 1));
    }
    read_answers();
}

static void read_answers(void)
{
    assert_int_equal(bus_command_text(test.reader, on_answers, NULL, "XREAD", "BLOCK", "1000",
                                      "STREAMS", "t:auth:answers:g1-77", test.cursor, NULL),
                     0);
}

/* ---- helpers ---- */

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct slice text = bus_reply_text(reply);
    const struct bus_reply *fields = bus_reply_at(bus_reply_at(reply, 0), 1);

    (void)arg;
    buffer_reset(&test.reply, SIZE_MAX);
    if (fields != NULL)
        text = bus_reply_text(bus_reply_field(fields, "box"));
    buffer_append_slice(&test.reply, text);
    test.replied = true;
}

#define redis_says(...)                                                                            \
    do {                                                                                           \
        test.replied = false;                                                                      \
        assert_int_equal(bus_command_text(test.gateway.bus, on_reply, NULL, __VA_ARGS__, NULL),    \
                         0);                                                                       \
        run_until(test.replied);                                                                   \
    } while (0)

static void on_done(void *arg, enum password_result result)
{
    *(int *)arg = (int)result;
}

static int ask(const char *user, const char *password)
{
    int result = PENDING;

    assert_int_not_equal(password_check(&test.gateway, slice_text(user), slice_text(password),
                                        slice_text("192.0.2.1"), on_done, &result),
                         0);
    assert_int_equal(result, PENDING);
    run_until(result != PENDING);
    return result;
}

static void on_created(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    assert_int_equal(accounts_created(reply), 0);
    test.ready = true;
}

static void on_hashed(void *arg, const char *encoded)
{
    assert_int_equal(accounts_create(&test.auth, slice_text(arg), encoded, on_created, NULL), 0);
}

static void register_user(const char *user)
{
    test.ready = false;
    assert_int_equal(
        passwords_hash(test.auth.passwords, slice_text(RIGHT), on_hashed, (void *)user), 0);
    run_until(test.ready);
}

static void on_published(struct auth *auth)
{
    (void)auth;
    test.published = true;
}

static void on_up(void *arg)
{
    (void)arg;
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static struct bus *connect_bus(const char *name)
{
    return bus_create(&test.loop.loop, &(struct bus_options){.address = &test.address,
                                                             .client_name = name,
                                                             .on_up = on_up,
                                                             .on_down = on_down});
}

static void start_auth(void)
{
    struct buffer error = {0};

    test.auth.box = password_box_open(directory, &error);
    assert_non_null(test.auth.box);
    test.published = false;
    test.publisher = key_publisher_create(&test.auth, on_published);
    key_publisher_look(test.publisher);
    test.auth.asks = password_asks_create(&test.auth, test.auth.box, &test.address);
    run_until(test.published);
}

static void stop_auth(void)
{
    password_asks_destroy(&test.auth.asks);
    key_publisher_destroy(&test.publisher);
    unsealing_key_destroy(&test.auth.box);
}

static int set_up(void **state)
{
    (void)state;
    memset(&test, 0, sizeof(test));
    loop_open(&test.loop);
    test.address = (struct bus_address){.host = "127.0.0.1", .port = redis_port(server)};
    strcpy(test.cursor, "0");
    test.auth.loop = test.gateway.loop = &test.loop.loop;
    test.auth.deployment = test.gateway.deployment =
        (struct deployment){.prefix = "t:", .partitions = 1};
    strcpy(test.auth.name, "auth-1");
    strcpy(test.gateway.id, "g1-77");
    test.auth.settings.rate_limits = true;
    test.auth.bus = connect_bus("auth");
    test.gateway.bus = connect_bus("gateway");
    test.reader = connect_bus("reader");
    accounts_add_scripts(test.auth.bus);
    announcements_add_scripts(test.auth.bus);
    test.auth.passwords = passwords_create(&test.loop.loop);
    test.auth.api = api_create(&test.auth);
    test.gateway.passwords = password_checks_create(&test.gateway);
    run_until(bus_is_up(test.auth.bus) && bus_is_up(test.gateway.bus) && bus_is_up(test.reader));
    redis_says("FLUSHALL");
    read_answers();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    password_checks_destroy(&test.gateway.passwords);
    stop_auth();
    bus_destroy(&test.auth.bus);
    bus_destroy(&test.gateway.bus);
    bus_destroy(&test.reader);
    api_destroy(&test.auth.api);
    passwords_destroy(&test.auth.passwords);
    buffer_finish(&test.reply);
    loop_close(&test.loop);
    return 0;
}

/* ---- tests ---- */

static void right_and_wrong_passwords(void **state)
{
    char long_password[1100];

    (void)state;
    memset(long_password, 'x', sizeof(long_password));
    long_password[sizeof(long_password) - 1] = '\0';
    start_auth();
    register_user("alice");
    assert_int_equal(ask("alice", RIGHT), PASSWORD_OK);
    assert_int_equal(ask("alice", "another"), PASSWORD_WRONG);
    assert_int_equal(ask("alice", ""), PASSWORD_WRONG);
    assert_int_equal(ask("bob", RIGHT), PASSWORD_WRONG);
    assert_int_equal(ask("group:x", RIGHT), PASSWORD_WRONG);
    assert_int_equal(ask("", RIGHT), PASSWORD_WRONG);
    assert_int_equal(ask("alice", long_password), PASSWORD_WRONG);
    long_password[1024] = '\0';
    assert_int_equal(ask("alice", long_password), PASSWORD_WRONG);
}

static void wrong_ones_are_limited(void **state)
{
    int result = PASSWORD_WRONG, wrong = 0;

    (void)state;
    start_auth();
    register_user("alice");
    for (; result == PASSWORD_WRONG && wrong < 30; wrong++)
        result = ask("alice", "guess");
    assert_int_equal(result, PASSWORD_LIMITED);
    assert_in_range(wrong, 10, 13);
    assert_int_equal(ask("alice", RIGHT), PASSWORD_LIMITED);
    assert_int_equal(ask("bob", RIGHT), PASSWORD_WRONG);
}

static void without_auth_the_answer_is_unavailable(void **state)
{
    uint64_t begin = uv_hrtime();

    (void)state;
    /* It never was there: known at once. */
    assert_int_equal(ask("alice", RIGHT), PASSWORD_UNAVAILABLE);
    assert_true(uv_hrtime() - begin < 2000000000);
    /* It was there once: five seconds. */
    start_auth();
    stop_auth();
    begin = uv_hrtime();
    assert_int_equal(ask("alice", RIGHT), PASSWORD_UNAVAILABLE);
    assert_in_range(uv_hrtime() - begin, 4900000000, 7000000000);
}

static void nobody_hears_of_what_was_forgotten(void **state)
{
    int result = PENDING, other = PENDING;
    uint64_t number;

    (void)state;
    start_auth();
    register_user("alice");
    number = password_check(&test.gateway, slice_text("alice"), slice_text(RIGHT),
                            slice_text("::1"), on_done, &result);
    password_check(&test.gateway, slice_text("alice"), slice_text(RIGHT), slice_text("::1"),
                   on_done, &other);
    password_check_forget(&test.gateway, number);
    password_check_forget(&test.gateway, number);
    password_check_forget(&test.gateway, 12345);
    run_until(other != PENDING);
    assert_int_equal(other, PASSWORD_OK);
    assert_int_equal(result, PENDING);
}

static void redis_never_has_the_password(void **state)
{
    (void)state;
    start_auth();
    register_user("alice");
    assert_int_equal(ask("alice", RIGHT), PASSWORD_OK);
    redis_says("XRANGE", "t:auth:asks", "-", "+");
    assert_in_range(test.reply.length, 512, 1500);
    assert_null(memmem(test.reply.data, test.reply.length, RIGHT, strlen(RIGHT)));
    assert_null(memmem(test.reply.data, test.reply.length, "alice", 5));
}

static void a_question_that_comes_again_is_not_answered(void **state)
{
    struct buffer box = {0};
    uint64_t asked = auth_metrics[AUTH_PASSWORDS_ASKED].value,
             refused = auth_metrics[AUTH_PASSWORDS_REFUSED].value;

    (void)state;
    start_auth();
    register_user("alice");
    assert_int_equal(ask("alice", RIGHT), PASSWORD_OK);
    redis_says("XRANGE", "t:auth:asks", "-", "+");
    buffer_append_slice(&box, buffer_slice(&test.reply));
    const struct slice again[] = {
        slice_text("XADD"), slice_text("t:auth:asks"), slice_text("*"),
        slice_text("g"),    slice_text("g1-77"),       slice_text("n"),
        slice_text("1"),    slice_text("box"),         buffer_slice(&box)};
    struct slice moved[9];

    memcpy(moved, again, sizeof(again));
    moved[6] = slice_text("2"); /* as if it were another question */
    test.replied = false;
    assert_int_equal(bus_command(test.gateway.bus, on_reply, NULL, 9, again), 0);
    assert_int_equal(bus_command(test.gateway.bus, on_reply, NULL, 9, moved), 0);
    moved[8] = slice_text("garbage");
    assert_int_equal(bus_command(test.gateway.bus, on_reply, NULL, 9, moved), 0);
    run_until(auth_metrics[AUTH_PASSWORDS_REFUSED].value == refused + 3);
    assert_int_equal(auth_metrics[AUTH_PASSWORDS_ASKED].value, asked + 4);
    test.replied = false;
    redis_says("XLEN", "t:auth:answers:g1-77");
    assert_int_equal(ask("alice", RIGHT), PASSWORD_OK);
    buffer_finish(&box);
}

static void an_emptied_redis_is_asked_again(void **state)
{
    (void)state;
    start_auth();
    redis_says("FLUSHALL");
    register_user("alice");
    test.published = false;
    run_until(test.published);
    /* The group may not be there yet: then this one is read when it is. */
    assert_int_equal(ask("alice", RIGHT), PASSWORD_OK);
}

static int start_redis(void **state)
{
    (void)state;
    server = redis_start(NULL);
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int stop_redis(void **state)
{
    char path[128];

    (void)state;
    redis_destroy(&server);
    snprintf(path, sizeof(path), "%s/%s", directory, PASSWORD_BOX_FILE);
    return remove(path) == 0 && remove(directory) == 0 ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(right_and_wrong_passwords),
        TEST(wrong_ones_are_limited),
        TEST(without_auth_the_answer_is_unavailable),
        TEST(nobody_hears_of_what_was_forgotten),
        TEST(redis_never_has_the_password),
        TEST(a_question_that_comes_again_is_not_answered),
        TEST(an_emptied_redis_is_asked_again),
    };

    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
