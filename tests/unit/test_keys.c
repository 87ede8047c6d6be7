#include "common/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define NO_NAME slice_of(NULL, 0)

static const struct deployment deployment = {
    .prefix = "trunkline:",
    .partitions = 16,
    .hash_key = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

/* SipHash-2-4 of the bytes 0, 1, 2 … under the key 0 to 15: the authors' vectors (the one of 15
   bytes is the paper's). Remainders by several coprime moduli leave no other hash. */
static void test_the_hash_is_siphash(void **state)
{
    static const struct {
        size_t length;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd}, {2, 0x0d6c8009d9a94f5a},
        {3, 0x85676696d7fb7e2d},  {4, 0xcf2794e0277187b7}, {5, 0x18765564cd99a68d},
        {6, 0xcbc9466e58fee3ce},  {7, 0xab0200f58b01d137}, {8, 0x93f5f5799a932462},
        {15, 0xa129ca6149be45e5},
    };
    static const uint32_t moduli[] = {4294967295, 4294967291, 4294967279, 2147483648, 1024, 16, 1};
    char bytes[16];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        for (size_t m = 0; m < sizeof(moduli) / sizeof(moduli[0]); m++) {
            struct deployment other = deployment;

            other.partitions = moduli[m];
            assert_int_equal(partition_of(&other, slice_of(bytes, vectors[i].length)),
                             vectors[i].hash % moduli[m]);
        }
    }
}

static void test_partitions_share_evenly(void **state)
{
    unsigned counts[16] = {0};

    (void)state;
    for (int i = 0; i < 16000; i++) {
        char user[16];

        snprintf(user, sizeof(user), "user%d", i);
        counts[partition_of(&deployment, slice_text(user))]++;
    }
    for (int p = 0; p < 16; p++)
        assert_in_range(counts[p], 850, 1150);
}

static void test_another_hash_key_shares_otherwise(void **state)
{
    struct deployment other = deployment;
    int same = 0;

    (void)state;
    other.hash_key[15] ^= 1;
    for (int i = 0; i < 1000; i++) {
        struct slice key = slice_of(&i, sizeof(i));

        same += partition_of(&deployment, key) == partition_of(&other, key);
    }
    assert_in_range(same, 20, 120);
}

static void assert_key(struct buffer *buffer, const char *expected)
{
    assert_true(slice_is(buffer_slice(buffer), expected));
    buffer_reset(buffer, 4096);
}

static void test_grammar(void **state)
{
    struct buffer key = {0};

    (void)state;
    partition_tag(&key, 3);
    assert_key(&key, "{3}");
    partition_tag(&key, 1023);
    assert_key(&key, "{1023}");
    key_partition(&key, &deployment, 3, "in", NO_NAME);
    assert_key(&key, "trunkline:{3}:in");
    key_partition(&key, &deployment, 12, "out", slice_text("gateway-1.a"));
    assert_key(&key, "trunkline:{12}:out:gateway-1.a");
    key_global(&key, &deployment, "deployment", NO_NAME);
    assert_key(&key, "trunkline:deployment");
    key_global(&key, &deployment, "process", slice_text("router"));
    assert_key(&key, "trunkline:process:router");
    buffer_finish(&key);
}

static void test_names_are_encoded(void **state)
{
    static const struct {
        const char *name, *encoded;
    } cases[] = {
        {"", ""},
        {"anna", "anna"},
        {"group:7", "group%3A7"},
        {"a|b", "a%7Cb"},
        {"50%", "50%25"},
        {"%3A", "%253A"},
        {"{3}", "%7B3%7D"},
        {"a b\n\x7f", "a%20b|%7F"},
        {"news.*", "news.*"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    };
    struct buffer key = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[64];

        key_partition(&key, &deployment, 0, "user", slice_text(cases[i].name));
        snprintf(expected, sizeof(expected), "trunkline:{0}:user:%s", cases[i].encoded);
        assert_key(&key, expected);
    }
    key_global(&key, &deployment, "x", slice_of("a\0b", 3));
    assert_key(&key, "trunkline:x:a%00b");
    buffer_finish(&key);
}

/* Every name of two bytes has a key of its own, without a byte that has a meaning in keys. */
static void test_different_names_never_share_a_key(void **state)
{
    static const char bytes[] = "ab|:%{}37ABCD \n";
    static struct buffer keys[sizeof(bytes) * sizeof(bytes)];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        for (size_t j = 0; j < sizeof(bytes); j++, count++) {
            const char name[2] = {bytes[i], bytes[j]};

            key_global(&keys[count], &deployment, "x", slice_of(name, 2));
            for (size_t at = strlen("trunkline:x:"); at < keys[count].length; at++)
                assert_null(memchr(":{} \n", keys[count].data[at], 5));
            for (size_t k = 0; k < count; k++)
                assert_false(slice_equal(buffer_slice(&keys[k]), buffer_slice(&keys[count])));
        }
    }
    while (count)
        buffer_finish(&keys[--count]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_hash_is_siphash),
        cmocka_unit_test(test_partitions_share_evenly),
        cmocka_unit_test(test_another_hash_key_shares_otherwise),
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_names_are_encoded),
        cmocka_unit_test(test_different_names_never_share_a_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
