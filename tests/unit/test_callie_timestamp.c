/* Timestamps of callie. */
#include "gateway/protocols/callie_timestamp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void both_forms_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00.000Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1970-01-01T00:00.01.000Z", 1000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2000-02-29T12:00:00.000Z", 951825600000},
        {"2000-03-01T00:00:00.000Z", 951868800000},
        {"2026-11-21T11:22:33.444Z", 1795260153444},
        {"2026-11-21T11:22.33.444Z", 1795260153444},
        {"2024-12-31T23:59:59.999Z", 1735689599999},
        {"0000-03-01T00:00:00.000Z", -62162035200000},
        {"0000-01-01T00:00:00.000Z", -62167219200000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 7;

        if (callie_timestamp_read(slice_text(cases[i].text), &ms) != 0 || ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
    }
}

static void anything_else_is_none(void **state)
{
    static const char *const cases[] = {
        "",
        "now",
        "2026-11-21",
        "2026-11-21T11:22:33Z",
        "2026-11-21T11:22:33.4Z",
        "2026-11-21T11:22:33.4444Z",
        "2026-11-21T11:22:33.444",
        "2026-11-21T11:22:33.444z",
        "2026-11-21t11:22:33.444Z",
        "2026-11-21 11:22:33.444Z",
        "2026-11-21T11:22:33,444Z",
        "2026-11-21T11.22.33.444Z",
        "2026-11-21T11.22:33.444Z",
        "2026-11-21T11:22:33:444Z",
        "2026-11-21T11:22:33.444+00:00",
        "2026-11-21T11:22:33.444Z ",
        " 2026-11-21T11:22:33.444Z",
        "+026-11-21T11:22:33.444Z",
        "-026-11-21T11:22:33.444Z",
        "2026-1a-21T11:22:33.444Z",
        "2026-00-21T11:22:33.444Z",
        "2026-13-21T11:22:33.444Z",
        "2026-11-00T11:22:33.444Z",
        "2026-11-31T11:22:33.444Z",
        "2026-02-29T11:22:33.444Z",
        "1900-02-29T11:22:33.444Z",
        "2024-02-30T11:22:33.444Z",
        "2026-11-21T24:00:00.000Z",
        "2026-11-21T23:60:00.000Z",
        "2026-11-21T23:59:60.000Z",
        "2026-11-21T23:59:99.000Z",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 7;

        if (callie_timestamp_read(slice_text(cases[i]), &ms) != -EINVAL || ms != 7)
            fail_msg("%s was read", cases[i]);
    }
    assert_int_equal(
        callie_timestamp_read(slice_of("2026-11-21T11:22:33.44\0Z", 24), &(int64_t){0}), -EINVAL);
}

static void what_is_written_is_read(void **state)
{
    struct buffer text = {0};

    (void)state;
    for (uint64_t ms = 0; ms < 253402300800000; ms += 86399999u * 97u) {
        int64_t read;
        time_t seconds = (time_t)(ms / 1000);
        struct tm tm;
        char expected[64];

        buffer_reset(&text, SIZE_MAX);
        callie_timestamp_append(&text, ms);
        assert_int_equal(callie_timestamp_read(buffer_slice(&text), &read), 0);
        assert_int_equal(read, ms);
        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(ms % 1000));
        assert_true(slice_is(buffer_slice(&text), expected));
    }
    buffer_reset(&text, SIZE_MAX);
    callie_timestamp_append(&text, UINT64_MAX);
    assert_true(slice_is(buffer_slice(&text), "9999-12-31T23:59:59.999Z"));
    buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_are_read),
        cmocka_unit_test(anything_else_is_none),
        cmocka_unit_test(what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
