#include "common/metrics.h"

#include "common/version.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct deployment deployment = {.prefix = "trunkline:", .partitions = 16};

static void assert_text(const char *process, const struct metric *metrics, size_t count,
                        const char *expected)
{
    struct buffer text = {0};

    metrics_text(&text, process, metrics, count);
    buffer_append_byte(&text, '\0');
    assert_string_equal(text.data, expected);
    buffer_finish(&text);
}

static void test_text_for_prometheus(void **state)
{
    const struct metric metrics[] = {
        {.name = "frames_in", .help = "frames of clients", .value = UINT64_MAX},
        {.name = "connections", .help = "open connections", .gauge = true, .value = 0},
    };

    (void)state;
    assert_text("gateway-1", metrics, 2,
                "# HELP trunkline_frames_in_total frames of clients\n"
                "# TYPE trunkline_frames_in_total counter\n"
                "trunkline_frames_in_total{process=\"gateway-1\"} 18446744073709551615\n"
                "# HELP trunkline_connections open connections\n"
                "# TYPE trunkline_connections gauge\n"
                "trunkline_connections{process=\"gateway-1\"} 0\n");
    assert_text("gateway-1", metrics, 0, "");
}

static void test_a_name_cannot_break_the_text(void **state)
{
    const struct metric metric = {.name = "x", .help = "h", .value = 1};

    (void)state;
    assert_text("a\"} 7\n\\", &metric, 1,
                "# HELP trunkline_x_total h\n"
                "# TYPE trunkline_x_total counter\n"
                "trunkline_x_total{process=\"a\\\"} 7\\n\\\\\"} 1\n");
}

static void test_a_name_may_have_several_values(void **state)
{
    const struct metric metrics[] = {
        {.name = "no/why/late", .help = "h", .value = 1},
        {.name = "no/why/full", .help = "", .value = 2},
    };

    (void)state;
    assert_text("g", metrics, 2,
                "# HELP trunkline_no_total h\n"
                "# TYPE trunkline_no_total counter\n"
                "trunkline_no_total{process=\"g\",why=\"late\"} 1\n"
                "trunkline_no_total{process=\"g\",why=\"full\"} 2\n");
}

static struct {
    struct test_loop loop;
    struct bus *bus;
    struct metric metrics[2];
    int refreshes;
    int answers;
    int64_t lifetime_ms;
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

static void open_bus(int port)
{
    struct bus_address address = {.host = "127.0.0.1", .port = port};
    struct bus_options options = {
        .address = &address, .client_name = "test", .on_up = on_up, .on_down = on_down};

    memset(&test, 0, sizeof(test));
    test.metrics[0] = (struct metric){.name = "frames_in", .help = "h", .value = 5};
    test.metrics[1] = (struct metric){.name = "connections", .help = "h", .gauge = true};
    loop_open(&test.loop);
    test.bus = bus_create(&test.loop.loop, &options);
}

static void close_bus(void)
{
    bus_destroy(&test.bus);
    loop_close(&test.loop);
}

static void on_refresh(void *arg)
{
    assert_ptr_equal(arg, &test);
    test.metrics[1].value = (uint64_t)(100 + ++test.refreshes);
}

static struct metrics_reporter *create_reporter(void (*refresh)(void *arg))
{
    return metrics_reporter_create(&test.loop.loop, test.bus, &deployment, "gateway", "gate:1",
                                   test.metrics, 2, refresh, &test);
}

static void assert_field(const struct bus_reply *reply, const char *field, const char *value)
{
    assert_true(slice_is(bus_reply_text(bus_reply_field(reply, field)), value));
}

static void on_hash(void *arg, const struct bus_reply *reply)
{
    long long started;

    (void)arg;
    assert_int_equal(bus_reply_count(reply), 10);
    assert_field(reply, "kind", "gateway");
    assert_field(reply, "version", TRUNKLINE_VERSION);
    assert_field(reply, "frames_in", "5");
    assert_field(reply, "connections", "101");
    started = atoll(bus_reply_text(bus_reply_field(reply, "started")).data) / 1000;
    assert_in_range(started, time(NULL) - 60, time(NULL));
    test.answers++;
}

static void on_lifetime(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    test.lifetime_ms = bus_reply_integer(reply);
    test.answers++;
}

static void test_the_hash_of_a_process(void **state)
{
    struct redis *server = redis_start(NULL);
    struct metrics_reporter *reporter;
    const char *key = "trunkline:process:gate%3A1";

    (void)state;
    open_bus(redis_port(server));
    loop_until(&test.loop, bus_is_up(test.bus));
    reporter = create_reporter(on_refresh);
    loop_until(&test.loop, test.refreshes == 1);
    assert_int_equal(bus_command_text(test.bus, on_hash, NULL, "HGETALL", key, NULL), 0);
    assert_int_equal(bus_command_text(test.bus, on_lifetime, NULL, "PTTL", key, NULL), 0);
    loop_until(&test.loop, test.answers == 2);
    assert_in_range(test.lifetime_ms, 5000, 10000);
    loop_until(&test.loop, test.refreshes == 2);
    metrics_reporter_destroy(&reporter);
    assert_null(reporter);
    metrics_reporter_destroy(&reporter);
    close_bus();
    redis_destroy(&server);
}

static void test_no_report_while_redis_is_away(void **state)
{
    struct metrics_reporter *reporter;

    (void)state;
    open_bus(free_port());
    reporter = create_reporter(on_refresh);
    for (int i = 0; i < 10; i++)
        uv_run(&test.loop.loop, UV_RUN_ONCE);
    assert_int_equal(test.refreshes, 0);
    metrics_reporter_destroy(&reporter);
    close_bus();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_for_prometheus),
        cmocka_unit_test(test_a_name_cannot_break_the_text),
        cmocka_unit_test(test_a_name_may_have_several_values),
        cmocka_unit_test(test_the_hash_of_a_process),
        cmocka_unit_test(test_no_report_while_redis_is_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
