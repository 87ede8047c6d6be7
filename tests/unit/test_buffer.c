#include "common/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void assert_holds(const struct buffer *buffer, const char *text)
{
    assert_int_equal(buffer->length, strlen(text));
    assert_true(slice_is(buffer_slice(buffer), text));
}

static void test_zeroed_memory_is_an_empty_buffer(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_slice(&buffer).length, 0);
    buffer_reset(&buffer, 0);
    buffer_consume(&buffer, 0);
    buffer_append(&buffer, NULL, 0);
    buffer_append_slice(&buffer, slice_text(NULL));
    assert_null(buffer.data);
    buffer_finish(&buffer);
    buffer_finish(&buffer);
}

static void test_appends(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_append(&buffer, "abc", 2);
    buffer_append_text(&buffer, "cd");
    buffer_append_byte(&buffer, 'e');
    buffer_append_slice(&buffer, slice_of("fgh", 2));
    buffer_append_u64(&buffer, 7);
    buffer_appendf(&buffer, "-%s-%d", "x", -3);
    buffer_appendf(&buffer, "%s", "");
    assert_holds(&buffer, "abcdefg7-x--3");
    buffer_finish(&buffer);
    assert_int_equal(buffer.length, 0);
}

static void test_digits(void **state)
{
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {9007199254740993, "9007199254740993"},
        {UINT64_MAX, "18446744073709551615"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer buffer = {0};

        buffer_append_u64(&buffer, cases[i].value);
        assert_holds(&buffer, cases[i].text);
        buffer_finish(&buffer);
    }
}

static void test_digits_of_every_length(void **state)
{
    char expected[24];

    (void)state;
    for (uint64_t power = 1;; power *= 10) {
        for (uint64_t value = power - 1; value <= power + 1; value++) {
            struct buffer buffer = {0};

            snprintf(expected, sizeof(expected), "%" PRIu64, value);
            buffer_append_u64(&buffer, value);
            assert_holds(&buffer, expected);
            buffer_finish(&buffer);
        }
        if (power > UINT64_MAX / 10)
            break;
    }
}

static void test_grows_to_any_size(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        buffer_append_byte(&buffer, (char)i);
    assert_int_equal(buffer.length, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buffer.data[i], (char)i);
    buffer_appendf(&buffer, "%0*d", 70000, 1);
    assert_int_equal(buffer.length, 170000);
    assert_int_equal(buffer.data[169999], '1');
    buffer_finish(&buffer);
}

static void test_reserve_leaves_the_length(void **state)
{
    struct buffer buffer = {0};
    char *room;

    (void)state;
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_append_text(&buffer, "ab");
    room = buffer_reserve(&buffer, 5000);
    assert_ptr_equal(room, buffer.data + 2);
    assert_true(buffer.capacity >= 5002);
    assert_holds(&buffer, "ab");
    buffer_finish(&buffer);
}

static void test_reset_keeps_little_and_frees_much(void **state)
{
    struct buffer buffer = {0};
    char *data;

    (void)state;
    buffer_append_text(&buffer, "ab");
    data = buffer.data;
    buffer_reset(&buffer, 1024);
    assert_int_equal(buffer.length, 0);
    assert_ptr_equal(buffer.data, data);
    buffer_reserve(&buffer, 2000);
    buffer_reset(&buffer, 1024);
    assert_int_equal(buffer.capacity, 0);
    assert_null(buffer.data);
}

static void test_consume(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_append_text(&buffer, "abcdef");
    buffer_consume(&buffer, 0);
    assert_holds(&buffer, "abcdef");
    buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cdef");
    buffer_consume(&buffer, 4);
    assert_holds(&buffer, "");
    buffer_finish(&buffer);
}

static void test_json_strings(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\"", "\"\\\"\""},
        {"a\\b", "\"a\\\\b\""},
        {"\n\r\t", "\"\\n\\r\\t\""},
        {"x\001\037y", "\"x\\u0001\\u001fy\""},
        {"\x7f/", "\"\x7f/\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
    };
    struct buffer buffer = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer_reset(&buffer, 1024);
        buffer_append_json_string(&buffer, slice_text(cases[i].text));
        assert_holds(&buffer, cases[i].json);
    }
    buffer_reset(&buffer, 1024);
    buffer_append_json_string(&buffer, slice_of("a\0b", 3));
    assert_holds(&buffer, "\"a\\u0000b\"");
    buffer_finish(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_memory_is_an_empty_buffer),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_digits_of_every_length),
        cmocka_unit_test(test_grows_to_any_size),
        cmocka_unit_test(test_reserve_leaves_the_length),
        cmocka_unit_test(test_reset_keeps_little_and_frees_much),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_json_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
