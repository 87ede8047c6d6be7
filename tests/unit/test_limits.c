#include "auth/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static uint64_t take(struct limits *limits, const char *name, uint64_t now_ms)
{
    return limits_take(limits, slice_text(name), now_ms);
}

static void a_burst_then_one_at_a_time(void **state)
{
    struct limits *limits = limits_create(10, 3, 1000);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(limits, "a", 5000), 0);
    assert_int_equal(take(limits, "a", 5000), 1000);
    assert_int_equal(take(limits, "b", 5000), 0);
    assert_int_equal(take(limits, "a", 5400), 600);
    assert_int_equal(take(limits, "a", 6000), 0);
    assert_int_equal(take(limits, "a", 6000), 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(limits, "a", 60000), 0);
    assert_int_equal(take(limits, "a", 60000), 1000);
    limits_destroy(&limits);
    assert_null(limits);
}

static void what_is_given_back_can_be_taken(void **state)
{
    struct limits *limits = limits_create(10, 1, 1000);

    (void)state;
    limits_give_back(limits, slice_text("a"));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(take(limits, "a", 0), 0);
        limits_give_back(limits, slice_text("a"));
    }
    assert_int_equal(take(limits, "a", 0), 0);
    assert_int_equal(take(limits, "a", 0), 1000);
    limits_destroy(&limits);
}

static void beyond_most_the_one_unused_longest_goes(void **state)
{
    struct limits *limits = limits_create(2, 2, 1000);

    (void)state;
    assert_int_equal(take(limits, "a", 0), 0);
    assert_int_equal(take(limits, "b", 0), 0);
    assert_int_equal(take(limits, "a", 0), 0);
    assert_int_equal(take(limits, "c", 0), 0); /* b is forgotten */
    assert_int_equal(take(limits, "a", 0), 1000);
    assert_int_equal(take(limits, "b", 0), 0); /* and a for it */
    assert_int_equal(take(limits, "b", 0), 0);
    assert_int_equal(take(limits, "b", 0), 1000);
    limits_destroy(&limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_one_at_a_time),
        cmocka_unit_test(what_is_given_back_can_be_taken),
        cmocka_unit_test(beyond_most_the_one_unused_longest_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
