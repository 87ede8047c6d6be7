#include "common/uid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define MANY 20000

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorts texts of a fixed size and asserts that no two are the same. */
static void assert_distinct(char *texts, size_t size, size_t count)
{
    qsort(texts, count, size, compare_texts);
    for (size_t i = 1; i < count; i++)
        assert_string_not_equal(texts + (i - 1) * size, texts + i * size);
}

static void test_random_bytes_are_not_the_same_twice(void **state)
{
    char first[64] = {0}, second[64] = {0};

    (void)state;
    uid_random(first, sizeof(first));
    uid_random(second, sizeof(second));
    assert_memory_not_equal(first, second, sizeof(first));
    uid_random(first, 0);
    assert_true(uid_random64() != 0);
    assert_true(uid_random64() != uid_random64());
}

static bool is_uuid8(const char *text)
{
    static const char shape[] = "xxxxxxxx-xxxx-8xxx-vxxx-xxxxxxxxxxxx";

    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        const char *allowed = shape[i] == 'x'   ? "0123456789abcdef"
                              : shape[i] == 'v' ? "89ab"
                              : shape[i] == '8' ? "8"
                                                : "-";

        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL)
            return false;
    }
    return text[UUID_TEXT_SIZE - 1] == '\0';
}

static void test_connection_ids_are_uuids_and_differ(void **state)
{
    static char texts[MANY][UUID_TEXT_SIZE];

    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        /* Two gateways whose bits differ in one, and their first connections. */
        uid_connection(0x1234567890abcdef ^ (i & 1), i / 2, texts[i]);
        assert_true(is_uuid8(texts[i]));
    }
    assert_distinct(texts[0], UUID_TEXT_SIZE, MANY);
}

static void test_a_connection_id_is_the_same_everywhere(void **state)
{
    char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        uid_connection(i * i, i, first);
        uid_connection(i * i, i, second);
        assert_string_equal(first, second);
    }
}

static void test_ulids_begin_with_their_time(void **state)
{
    static const struct {
        uint64_t now_ms;
        const char *begin;
    } cases[] = {
        {0, "0000000000"},
        {31, "000000000Z"},
        {32, "0000000010"},
        /* The example of the specification. */
        {1469918176385, "01ARYZ6S41"},
        {281474976710655, "7ZZZZZZZZZ"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[ULID_TEXT_SIZE];

        uid_ulid(cases[i].now_ms, text);
        assert_int_equal(strlen(text), ULID_TEXT_SIZE - 1);
        assert_memory_equal(text, cases[i].begin, 10);
        assert_int_equal(strspn(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), ULID_TEXT_SIZE - 1);
    }
}

static void test_ulids_of_one_millisecond_differ(void **state)
{
    static char texts[MANY][ULID_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        uid_ulid(1469918176385, texts[i]);
    assert_distinct(texts[0], ULID_TEXT_SIZE, MANY);
}

static void test_a_derived_ulid_is_the_same_everywhere(void **state)
{
    static char texts[2 * MANY][ULID_TEXT_SIZE];
    char text[ULID_TEXT_SIZE];

    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        uid_ulid_of(1469918176385, 7, i, texts[2 * i]);
        uid_ulid_of(1469918176385, 8, i, texts[2 * i + 1]);
    }
    assert_memory_equal(texts[0], "01ARYZ6S41", 10);
    assert_distinct(texts[0], ULID_TEXT_SIZE, 2 * MANY);
    /* Written down: it must not change from one version to the next. */
    uid_ulid_of(1469918176385, 0x0123456789abcdef, 42, text);
    assert_string_equal(text, "01ARYZ6S41X3XRBJD83VHAV1E5");
}

static void test_a_connection_is_found_by_its_id(void **state)
{
    char text[UUID_TEXT_SIZE];
    uint64_t found;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t bits = i * 0x123456789abcdef1 + 7, connection = i * i * i;

        uid_connection(bits, connection, text);
        assert_true(uid_connection_find(bits, slice_text(text), &found));
        assert_int_equal(found, connection);
        text[i % 36] = text[i % 36] == '0' ? '1' : '0';
        assert_false(uid_connection_find(bits, slice_text(text), &found));
        assert_false(uid_connection_find(bits, slice_of(text, i % 36), &found));
    }
    uid_connection(1, 1, text);
    assert_false(uid_connection_find(2, slice_text(text), &found) && found < (1u << 31));
    assert_false(uid_connection_find(1, slice_text(""), &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_bytes_are_not_the_same_twice),
        cmocka_unit_test(test_connection_ids_are_uuids_and_differ),
        cmocka_unit_test(test_a_connection_id_is_the_same_everywhere),
        cmocka_unit_test(test_a_connection_is_found_by_its_id),
        cmocka_unit_test(test_ulids_begin_with_their_time),
        cmocka_unit_test(test_ulids_of_one_millisecond_differ),
        cmocka_unit_test(test_a_derived_ulid_is_the_same_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
