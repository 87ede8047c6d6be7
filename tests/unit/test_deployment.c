#include "common/deployment.h"

#include "common/frame.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define WORD_(text) #text
#define WORD(macro) WORD_(macro)

static struct redis *server;

static struct {
    struct test_loop loop;
    struct bus *bus;
    int answers;
    char reply[256];
    int agreed;
    bool failed;
    char error[512];
} test;

static void on_up(void *arg)
{
    (void)arg;
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static void on_agreed(void *arg, const char *error)
{
    (void)arg;
    test.agreed++;
    test.failed = error != NULL;
    snprintf(test.error, sizeof(test.error), "%s", error ? error : "");
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct slice text = bus_reply_text(reply);

    (void)arg;
    test.answers++;
    snprintf(test.reply, sizeof(test.reply), "%.*s", (int)text.length, text.data ? text.data : "");
}

#define run_until(condition) loop_until(&test.loop, condition)

#define redis_says(...)                                                                            \
    do {                                                                                           \
        test.answers = 0;                                                                          \
        assert_int_equal(bus_command_text(test.bus, on_reply, NULL, __VA_ARGS__, NULL), 0);        \
        run_until(test.answers == 1);                                                              \
    } while (0)

static const struct settings settings = {.prefix = "trunkline:", .partitions = 16};

/* What deployment_agree says, as text; "" is agreement. */
static const char *agree(struct deployment *deployment, const struct settings *own)
{
    test.agreed = 0;
    deployment_agree(deployment, test.bus, own, on_agreed, NULL);
    assert_int_equal(test.agreed, 0);
    run_until(test.agreed);
    assert_int_equal(test.agreed, 1);
    assert_int_equal(test.failed, test.error[0] != '\0');
    return test.error;
}

static int set_up(void **state)
{
    struct bus_address address = {.host = "127.0.0.1"};
    struct bus_options options = {
        .address = &address, .client_name = "test", .on_up = on_up, .on_down = on_down};

    (void)state;
    memset(&test, 0, sizeof(test));
    address.port = redis_port(server);
    loop_open(&test.loop);
    test.bus = bus_create(&test.loop.loop, &options);
    run_until(bus_is_up(test.bus));
    redis_says("FLUSHALL");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bus_destroy(&test.bus);
    loop_close(&test.loop);
    return 0;
}

static void test_the_first_process_writes_and_the_next_reads(void **state)
{
    struct deployment first = {.partitions = 0}, second = {.partitions = 0};

    (void)state;
    assert_string_equal(agree(&first, &settings), "");
    assert_string_equal(first.prefix, "trunkline:");
    assert_int_equal(first.partitions, 16);
    assert_string_equal(agree(&second, &settings), "");
    assert_memory_equal(&first, &second, sizeof(first));
    /* And once more, from a later on_up. */
    assert_string_equal(agree(&first, &settings), "");
    assert_memory_equal(&first, &second, sizeof(first));
}

static void test_the_hash_is_readable(void **state)
{
    struct deployment deployment = {.partitions = 0};
    char hex[33];

    (void)state;
    agree(&deployment, &settings);
    redis_says("HGET", "trunkline:deployment", "partitions");
    assert_string_equal(test.reply, "16");
    redis_says("HGET", "trunkline:deployment", "frame_version");
    assert_string_equal(test.reply, WORD(FRAME_VERSION));
    redis_says("HGET", "trunkline:deployment", "created");
    assert_int_equal(strlen(test.reply), 13);
    redis_says("HGET", "trunkline:deployment", "hash_key");
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", deployment.hash_key[i]);
    assert_string_equal(test.reply, hex);
}

static void test_a_running_process_writes_its_own_again(void **state)
{
    struct deployment running = {.partitions = 0}, before, later = {.partitions = 0};

    (void)state;
    agree(&running, &settings);
    before = running;
    redis_says("FLUSHALL");
    assert_string_equal(agree(&running, &settings), "");
    assert_memory_equal(&running, &before, sizeof(before));
    assert_string_equal(agree(&later, &settings), "");
    assert_memory_equal(&later, &before, sizeof(before));
}

static void test_prefixes_are_deployments(void **state)
{
    struct deployment first = {.partitions = 0}, second = {.partitions = 0};
    struct settings other = {.prefix = "", .partitions = 8};

    (void)state;
    assert_string_equal(agree(&first, &settings), "");
    assert_string_equal(agree(&second, &other), "");
    assert_int_equal(second.partitions, 8);
    assert_memory_not_equal(first.hash_key, second.hash_key, sizeof(first.hash_key));
    redis_says("HGET", "deployment", "partitions");
    assert_string_equal(test.reply, "8");
}

static void test_other_partitions_are_refused(void **state)
{
    struct deployment first = {.partitions = 0}, second = {.partitions = 0};
    struct settings other = {.prefix = "trunkline:", .partitions = 8};

    (void)state;
    agree(&first, &settings);
    assert_string_equal(agree(&second, &other), "TRUNKLINE_PARTITIONS is 8, but this deployment "
                                                "has 16 (trunkline:deployment in Redis)");
    assert_int_equal(second.partitions, 0);
}

/* One field is set to something, then a new process and one that was running look at it. */
static void test_what_is_stored_is_judged(void **state)
{
    static const struct {
        const char *field, *value;
        const char *fresh, *running; /* "" is agreement */
    } cases[] = {
        {"partitions", "", "trunkline:deployment in Redis has no readable partitions",
         "trunkline:deployment in Redis has no readable partitions"},
        {"partitions", "0", "trunkline:deployment in Redis has no readable partitions",
         "trunkline:deployment in Redis has no readable partitions"},
        {"partitions", "1025", "trunkline:deployment in Redis has no readable partitions",
         "trunkline:deployment in Redis has no readable partitions"},
        {"partitions", "16x", "trunkline:deployment in Redis has no readable partitions",
         "trunkline:deployment in Redis has no readable partitions"},
        {"hash_key", "00112233445566778899aabbccddeeff", "",
         "hash_key of trunkline:deployment in Redis is another than when this process started"},
        {"hash_key", "00112233445566778899aabbccddeef",
         "trunkline:deployment in Redis has no readable hash_key",
         "trunkline:deployment in Redis has no readable hash_key"},
        {"hash_key", "0011223344556677x899aabbccddeeff",
         "trunkline:deployment in Redis has no readable hash_key",
         "trunkline:deployment in Redis has no readable hash_key"},
        {"frame_version", "999",
         "this program has version " WORD(
             FRAME_VERSION) " of the frames, but this deployment has 999 "
                            "(trunkline:deployment in Redis)",
         "this program has version " WORD(
             FRAME_VERSION) " of the frames, but this deployment has 999 "
                            "(trunkline:deployment in Redis)"},
        {"frame_version", "", "trunkline:deployment in Redis has no readable frame_version",
         "trunkline:deployment in Redis has no readable frame_version"},
        {"created", "", "", ""},
        {"added by a later version", "x", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct deployment running = {.partitions = 0}, fresh = {.partitions = 0}, before;

        redis_says("FLUSHALL");
        agree(&running, &settings);
        before = running;
        redis_says("HSET", "trunkline:deployment", cases[i].field, cases[i].value);
        assert_string_equal(agree(&fresh, &settings), cases[i].fresh);
        assert_string_equal(agree(&running, &settings), cases[i].running);
        assert_memory_equal(&running, &before, sizeof(before));
    }
}

static void test_a_refusal_of_redis_is_told(void **state)
{
    struct deployment deployment = {.partitions = 0};

    (void)state;
    redis_says("SET", "trunkline:deployment", "x");
    assert_non_null(
        strstr(agree(&deployment, &settings), "trunkline:deployment in Redis: WRONGTYPE"));
    assert_int_equal(deployment.partitions, 0);
}

static void test_no_memory_for_it_is_told(void **state)
{
    struct deployment running = {.partitions = 0}, fresh = {.partitions = 0};

    (void)state;
    agree(&running, &settings);
    redis_says("CONFIG", "SET", "maxmemory", "1");
    /* What is there already can be read. */
    assert_string_equal(agree(&fresh, &settings), "");
    redis_says("DEL", "trunkline:deployment");
    assert_non_null(strstr(agree(&fresh, &settings),
                           "trunkline:deployment in Redis has no readable partitions: OOM "));
    redis_says("CONFIG", "SET", "maxmemory", "0");
}

static void test_nothing_is_said_when_the_bus_goes_down(void **state)
{
    struct deployment deployment = {.partitions = 0};

    (void)state;
    deployment_agree(&deployment, test.bus, &settings, on_agreed, NULL);
    bus_destroy(&test.bus);
    deployment_agree(&deployment, test.bus, &settings, on_agreed, NULL);
    uv_run(&test.loop.loop, UV_RUN_NOWAIT);
    assert_int_equal(test.agreed, 0);
    assert_int_equal(deployment.partitions, 0);
}

static int start_server(void **state)
{
    (void)state;
    server = redis_start(NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_destroy(&server);
    return 0;
}

#define each(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        each(test_the_first_process_writes_and_the_next_reads),
        each(test_the_hash_is_readable),
        each(test_a_running_process_writes_its_own_again),
        each(test_prefixes_are_deployments),
        each(test_other_partitions_are_refused),
        each(test_what_is_stored_is_judged),
        each(test_a_refusal_of_redis_is_told),
        each(test_no_memory_for_it_is_told),
        each(test_nothing_is_said_when_the_bus_goes_down),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
