#include "common/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static void test_a_value_is_in_the_first_bucket_that_holds_it(void **state)
{
    static const struct {
        uint64_t value;
        unsigned bucket;
    } cases[] = {
        {0, 0},           {99, 0},         {100, 0},
        {101, 1},         {200, 1},        {201, 2},
        {400, 2},         {100 << 19, 19}, {(100 << 19) + 1, 20},
        {UINT64_MAX, 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct histogram histogram = {.first = 100};

        histogram_observe(&histogram, cases[i].value);
        for (unsigned b = 0; b <= HISTOGRAM_BUCKETS; b++)
            assert_int_equal(histogram.counts[b], b == cases[i].bucket);
        assert_int_equal(histogram.count, 1);
    }
}

static void test_text_counts_up_to_each_bound(void **state)
{
    struct histogram histogram = {.name = "x_seconds", .help = "h", .unit = 1e-3, .first = 1};
    struct buffer text = {0};

    (void)state;
    histogram_observe(&histogram, 1);
    histogram_observe(&histogram, 3);
    histogram_observe(&histogram, 1 << 30);
    histograms_text(&text, "router-1", &histogram, 1);
    buffer_append_byte(&text, '\0');
    assert_non_null(strstr(text.data, "# TYPE trunkline_x_seconds histogram\n"));
    assert_non_null(
        strstr(text.data, "trunkline_x_seconds_bucket{process=\"router-1\",le=\"0.001\"} 1\n"));
    assert_non_null(strstr(text.data, "le=\"0.002\"} 1\n"));
    assert_non_null(strstr(text.data, "le=\"0.004\"} 2\n"));
    assert_non_null(strstr(text.data, "le=\"524.288\"} 2\n"));
    assert_non_null(strstr(text.data, "le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text.data, "trunkline_x_seconds_count{process=\"router-1\"} 3\n"));
    buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_in_the_first_bucket_that_holds_it),
        cmocka_unit_test(test_text_counts_up_to_each_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
