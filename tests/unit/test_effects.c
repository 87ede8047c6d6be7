#include "router/effects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <msgpack.h>
#include <string.h>

static const struct deployment deployment = {.prefix = "t:", .partitions = 4};
static struct effects *effects;

static int setup(void **state)
{
    (void)state;
    effects = effects_create(&deployment, 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    effects_destroy(&effects);
    assert_null(effects);
    effects_destroy(&effects);
    return 0;
}

/* The packed list in words: [opcode,key,"text"...] for each effect. */
static void expect_packed(const char *expected)
{
    struct slice packed = effects_packed(effects);
    msgpack_unpacked unpacked;
    struct buffer words = {0};
    size_t at = 0;

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, packed.data, packed.length, &at),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, packed.length);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(unpacked.data.via.array.size, effects_count(effects));
    for (size_t i = 0; i < unpacked.data.via.array.size; i++) {
        const msgpack_object *effect = &unpacked.data.via.array.ptr[i];

        buffer_append_byte(&words, '[');
        for (size_t j = 0; j < effect->via.array.size; j++) {
            const msgpack_object *part = &effect->via.array.ptr[j];

            if (j)
                buffer_append_byte(&words, ',');
            if (part->type == MSGPACK_OBJECT_STR)
                buffer_append_json_string(&words, slice_of(part->via.str.ptr, part->via.str.size));
            else
                buffer_append_u64(&words, part->via.u64);
        }
        buffer_append_byte(&words, ']');
    }
    buffer_append_byte(&words, '\0');
    assert_string_equal(words.data, expected);
    buffer_finish(&words);
    msgpack_unpacked_destroy(&unpacked);
}

static void expect_keys(size_t count, const char *const *expected)
{
    const struct slice *keys;

    assert_int_equal(effects_keys(effects, &keys), count);
    for (size_t i = 0; i < count; i++)
        assert_true(slice_is(keys[i], expected[i]));
}

static void a_commit_without_effects_has_the_fixed_keys(void **state)
{
    (void)state;
    expect_keys(4, (const char *[]){"t:{3}:state", "t:{3}:lease", "t:{3}:in", "t:{3}:dead"});
    assert_int_equal(effects_count(effects), 0);
    expect_packed("");
}

static void effects_are_packed_in_order(void **state)
{
    uint32_t bob = effects_key(effects, "mailbox", slice_text("b|o:b"));
    uint32_t sources = effects_key(effects, "sources", (struct slice){0});

    (void)state;
    effects_hset(effects, sources, slice_text("g1"), slice_text("7"));
    effects_open(effects, EFFECT_XADD, bob, 5);
    effects_number(effects, (struct number){UINT64_MAX, UINT64_MAX});
    effects_text(effects, slice_text("id"));
    effects_text(effects, slice_of("a\0b", 3));
    effects_text(effects, slice_text("n"));
    effects_u64(effects, UINT64_MAX);
    effects_hdel(effects, sources, slice_text("g2"));
    effects_open(effects, EFFECT_DEL, bob, 0);
    expect_keys(6, (const char *[]){"t:{3}:state", "t:{3}:lease", "t:{3}:in", "t:{3}:dead",
                                    "t:{3}:mailbox:b%7Co%3Ab", "t:{3}:sources"});
    expect_packed("[1,6,\"g1\",\"7\"]"
                  "[3,5,\"18446744073709551615-18446744073709551615\",\"id\",\"a\\u0000b\","
                  "\"n\",\"18446744073709551615\"]"
                  "[2,6,\"g2\"][7,5]");
}

static void digits_are_those_of_the_number(void **state)
{
    static const uint64_t values[] = {0, 9, 10, 9007199254740993};
    uint32_t key = effects_key(effects, "x", (struct slice){0});

    (void)state;
    effects_open(effects, EFFECT_HDEL, key, 4);
    for (size_t i = 0; i < 4; i++)
        effects_u64(effects, values[i]);
    expect_packed("[2,5,\"0\",\"9\",\"10\",\"9007199254740993\"]");
}

static void long_texts_travel_beside_the_list(void **state)
{
    uint32_t out = effects_key(effects, "out", slice_text("g1"));
    const struct slice *texts;

    (void)state;
    for (int i = 0; i < 2; i++) {
        effects_open(effects, EFFECT_XADD_LONG, out, 3);
        effects_text(effects, slice_text("1-1"));
        effects_text(effects, slice_text("e"));
        effects_attach(effects, slice_text(i ? "" : "long"));
    }
    expect_packed("[12,5,\"1-1\",\"e\",1][12,5,\"1-1\",\"e\",2]");
    assert_int_equal(effects_attachments(effects, &texts), 2);
    assert_true(slice_is(texts[0], "long"));
    assert_int_equal(texts[1].length, 0);
}

static void many_effects_and_keys_are_counted(void **state)
{
    const struct slice *keys;
    struct slice packed;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 70000; i++) {
        uint32_t key;

        snprintf(name, sizeof(name), "u%u", i);
        key = effects_key(effects, "user", slice_text(name));
        assert_int_equal(key, EFFECT_KEYS_FIXED + i);
        effects_open(effects, EFFECT_DEL, key, 0);
    }
    packed = effects_packed(effects);
    assert_memory_equal(packed.data, "\xdd\x00\x01\x11\x70", 5);
    assert_int_equal(effects_keys(effects, &keys), EFFECT_KEYS_FIXED + 70000);
    assert_true(slice_is(keys[EFFECT_KEYS_FIXED + 69999], "t:{3}:user:u69999"));
    assert_true(effects_size(effects) >= packed.length);
}

static void reset_forgets_everything(void **state)
{
    const struct slice *texts;

    (void)state;
    effects_hdel(effects, effects_key(effects, "x", (struct slice){0}), slice_text("y"));
    effects_open(effects, EFFECT_XADD_LONG, EFFECT_KEY_DEAD, 3);
    effects_text(effects, slice_text("*"));
    effects_text(effects, slice_text("e"));
    effects_attach(effects, slice_text("text"));
    effects_reset(effects);
    a_commit_without_effects_has_the_fixed_keys(NULL);
    assert_int_equal(effects_attachments(effects, &texts), 0);
}

static void a_key_of_another_partition_has_its_tag(void **state)
{
    const struct slice *keys;
    uint32_t key = effects_key_of(effects, 7, "in", (struct slice){0});

    (void)state;
    assert_int_equal(key, EFFECT_KEYS_FIXED);
    assert_int_equal(effects_keys(effects, &keys), EFFECT_KEYS_FIXED + 1);
    assert_true(slice_is(keys[key], "t:{7}:in"));
    assert_true(slice_is(keys[EFFECT_KEY_IN], "t:{3}:in"));
}

/* Opcodes are never used again, so each has one number. */
static void opcodes_differ(void **state)
{
    static const int opcodes[] = {
#define EFFECT(id, NAME, arguments) id,
#include "router/effects.def"
#undef EFFECT
    };

    (void)state;
    for (size_t i = 1; i < sizeof(opcodes) / sizeof(opcodes[0]); i++)
        assert_true(opcodes[i] > opcodes[i - 1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_commit_without_effects_has_the_fixed_keys),
        TEST(effects_are_packed_in_order),
        TEST(digits_are_those_of_the_number),
        TEST(long_texts_travel_beside_the_list),
        TEST(many_effects_and_keys_are_counted),
        TEST(reset_forgets_everything),
        TEST(a_key_of_another_partition_has_its_tag),
        TEST(opcodes_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
