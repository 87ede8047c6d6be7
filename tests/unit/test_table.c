#include "common/table.h"

#include "common/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct entry {
    UT_hash_handle hh;
    char name[8];
};

/* Pairs that uthash's own hash takes for one: anybody can make as many as he likes. */
static const char *const colliding[][2] = {
    {"t00486e8", "t009365e"},
    {"t0018851", "t00924b1"},
    {"t0090ef2", "t00ddf4a"},
};

static unsigned unkeyed_hash(const char *name)
{
    unsigned hash;

    HASH_JEN(name, 8, hash);
    return hash;
}

static void test_nobody_can_choose_names_that_collide(void **state)
{
    size_t equal = 0, pairs = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(colliding) / sizeof(colliding[0]); i++) {
        if (unkeyed_hash(colliding[i][0]) != unkeyed_hash(colliding[i][1]))
            continue;
        pairs++;
        equal += table_hash(colliding[i][0], 8) == table_hash(colliding[i][1], 8);
    }
    assert_true(pairs > 0);
    assert_int_equal(equal, 0);
}

static void test_tables_use_the_keyed_hash(void **state)
{
    struct entry *all = NULL, entry = {.name = "t00486e8"}, *found;

    (void)state;
    HASH_ADD(hh, all, name, sizeof(entry.name), &entry);
    assert_int_equal(entry.hh.hashv, table_hash(entry.name, sizeof(entry.name)));
    HASH_FIND(hh, all, "t00486e8", 8, found);
    assert_ptr_equal(found, &entry);
    HASH_FIND(hh, all, "t009365e", 8, found);
    assert_null(found);
    HASH_CLEAR(hh, all);
}

/* The length counts, not only the bytes. */
static void test_short_texts_of_each_length_differ(void **state)
{
    static const uint8_t key[16] = {1};
    static const char text[17];
    uint64_t hashes[17];

    (void)state;
    for (size_t length = 0; length < 17; length++) {
        hashes[length] = siphash(key, slice_of(text, length), 1, 3);
        for (size_t i = 0; i < length; i++)
            assert_true(hashes[i] != hashes[length]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_can_choose_names_that_collide),
        cmocka_unit_test(test_tables_use_the_keyed_hash),
        cmocka_unit_test(test_short_texts_of_each_length_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
