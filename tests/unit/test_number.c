#include "common/number.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_parts_of_a_number(void **state)
{
    struct number number = number_make(1700000000000, 3, 5);

    (void)state;
    assert_int_equal(number.epoch, 1700000000000);
    assert_int_equal(number.sequence, 3 * 1048576 + 5);
    assert_int_equal(number_next(number).epoch, number.epoch);
    assert_int_equal(number_next(number).sequence, number.sequence + 1);
    /* The last of a commit is below the first of the next. */
    assert_true(
        number_compare(number_make(1, 1, (1 << NUMBER_INDEX_BITS) - 1), number_make(1, 2, 0)) < 0);
}

static void test_order(void **state)
{
    /* Each is below all that follow. */
    static const struct number rising[] = {
        {0, 0}, {0, 1}, {0, UINT64_MAX}, {1, 0}, {2, 0}, {2, 7}, {UINT64_MAX, 0},
    };
    const size_t count = sizeof(rising) / sizeof(rising[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(number_is_zero(rising[i]), i == 0);
        for (size_t j = 0; j < count; j++) {
            int order = number_compare(rising[i], rising[j]);

            assert_true(i < j ? order < 0 : i > j ? order > 0 : order == 0);
        }
    }
}

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        struct number number;
        const char *written;
    } cases[] = {
        {"0-0", {0, 0}, "0-0"},
        {"5-17", {5, 17}, "5-17"},
        {"5", {5, 0}, "5-0"},
        {"007-01", {7, 1}, "7-1"},
        {"1700000000000-1048576", {1700000000000, 1048576}, "1700000000000-1048576"},
        {"18446744073709551615-18446744073709551615",
         {UINT64_MAX, UINT64_MAX},
         "18446744073709551615-18446744073709551615"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct number number;
        char text[NUMBER_TEXT_SIZE];

        assert_int_equal(number_parse(slice_text(cases[i].text), &number), 0);
        assert_int_equal(number_compare(number, cases[i].number), 0);
        assert_int_equal(number_format(number, text), strlen(cases[i].written));
        assert_string_equal(text, cases[i].written);
    }
}

static void test_bad_texts_change_nothing(void **state)
{
    static const char *const cases[] = {
        "",
        "-",
        "-1",
        "1-",
        "1-2-3",
        "1--2",
        "a",
        "1a",
        "1-a",
        "1-2 ",
        " 1-2",
        "18446744073709551616-0",
        "0-18446744073709551616",
        "+1",
        "1.0",
        "0x1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct number number = {3, 4};

        assert_int_equal(number_parse(slice_text(cases[i]), &number), -EINVAL);
        assert_int_equal(number.epoch, 3);
        assert_int_equal(number.sequence, 4);
    }
}

static void test_a_slice_ends_where_it_says(void **state)
{
    struct number number;

    (void)state;
    assert_int_equal(number_parse(slice_of("12-345", 4), &number), 0);
    assert_int_equal(number.epoch, 12);
    assert_int_equal(number.sequence, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_of_a_number),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bad_texts_change_nothing),
        cmocka_unit_test(test_a_slice_ends_where_it_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
