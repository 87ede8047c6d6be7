#include "router/effects.h"

#include "common/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
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

/* The commands in words: [HSET key "text"...] for each. */
static void expect_commands(const char *expected)
{
    struct command_reader reader = {.rest = effects_commands(effects)};
    struct buffer words = {0};
    size_t count = 0;

    while (command_next(&reader)) {
        count++;
        for (size_t i = 0; i < reader.count; i++) {
            buffer_append_byte(&words, i ? ' ' : '[');
            buffer_append_json_string(&words, reader.words[i]);
        }
        buffer_append_byte(&words, ']');
    }
    buffer_append_byte(&words, '\0');
    assert_string_equal(words.data, expected);
    assert_int_equal(count, effects_count(effects));
    buffer_finish(&words);
    command_reader_finish(&reader);
}

static void expect_key(uint32_t key, const char *expected)
{
    assert_true(slice_is(effects_key_text(effects, key), expected));
}

static void a_commit_without_effects_has_the_fixed_keys(void **state)
{
    (void)state;
    expect_key(EFFECT_KEY_STATE, "t:{3}:state");
    expect_key(EFFECT_KEY_LEASE, "t:{3}:lease");
    expect_key(EFFECT_KEY_IN, "t:{3}:in");
    expect_key(EFFECT_KEY_DEAD, "t:{3}:dead");
    assert_int_equal(effects_count(effects), 0);
    expect_commands("");
}

static void effects_are_commands_in_order(void **state)
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
    expect_commands("[\"HSET\" \"t:{3}:sources\" \"g1\" \"7\"]"
                    "[\"XADD\" \"t:{3}:mailbox:b%7Co%3Ab\" "
                    "\"18446744073709551615-18446744073709551615\" \"id\" \"a\\u0000b\" "
                    "\"n\" \"18446744073709551615\"]"
                    "[\"HDEL\" \"t:{3}:sources\" \"g2\"][\"DEL\" \"t:{3}:mailbox:b%7Co%3Ab\"]");
}

/* What every effect of a kind has stands on its side of the key. */
static void words_of_the_kind_are_around_the_key(void **state)
{
    uint32_t key = effects_key(effects, "x", (struct slice){0});

    (void)state;
    effects_open(effects, EFFECT_XCLEAR, key, 0);
    effects_open(effects, EFFECT_XADD_CAPPED, key, 4);
    effects_u64(effects, 10);
    effects_text(effects, slice_text("*"));
    effects_text_pair(effects, "f", slice_text(""));
    effects_open(effects, EFFECT_DEL_EMPTY, key, 0);
    expect_commands("[\"XTRIM\" \"t:{3}:x\" \"MAXLEN\" \"0\"]"
                    "[\"XADD\" \"t:{3}:x\" \"MAXLEN\" \"~\" \"10\" \"*\" \"f\" \"\"]"
                    "[\"EVAL\" \"" EFFECT_DEL_EMPTY_LUA "\" \"1\" \"t:{3}:x\"]");
}

static void digits_are_those_of_the_number(void **state)
{
    static const uint64_t values[] = {0, 9, 10, 9007199254740993};
    uint32_t key = effects_key(effects, "x", (struct slice){0});

    (void)state;
    effects_open(effects, EFFECT_HDEL, key, 4);
    for (size_t i = 0; i < 4; i++)
        effects_u64(effects, values[i]);
    expect_commands("[\"HDEL\" \"t:{3}:x\" \"0\" \"9\" \"10\" \"9007199254740993\"]");
}

static void a_record_is_one_field(void **state)
{
    const struct record_field fields[] = {{"from", slice_text("bob"), 0}, {"at", {0}, 7}};

    (void)state;
    effects_record(effects, effects_key(effects, "mailbox", slice_text("eve")),
                   (struct number){5, 1}, "message", fields, 2);
    expect_commands("[\"XADD\" \"t:{3}:mailbox:eve\" \"5-1\" \"message\" "
                    "\"from 3:bob at 1:7\\n\"]");
}

static void what_a_commit_ends_with(void **state)
{
    const struct number position = {7, 9};
    struct effects_end end = {.commit = 3, .owner = slice_text("r1"), .lease_ms = 5000};

    (void)state;
    effects_close(effects, &end);
    expect_commands("[\"HSET\" \"t:{3}:state\" \"commit\" \"3\"]"
                    "[\"SET\" \"t:{3}:lease\" \"r1\" \"PX\" \"5000\"]");
    effects_reset(effects);
    end.position = &position;
    effects_close(effects, &end);
    expect_commands("[\"XTRIM\" \"t:{3}:in\" \"MINID\" \"7-10\"]"
                    "[\"HSET\" \"t:{3}:state\" \"commit\" \"3\" \"pos\" \"7-9\"]"
                    "[\"SET\" \"t:{3}:lease\" \"r1\" \"PX\" \"5000\"]");
}

static void many_effects_and_keys_are_counted(void **state)
{
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 70000; i++) {
        uint32_t key;

        snprintf(name, sizeof(name), "u%u", i);
        key = effects_key(effects, "user", slice_text(name));
        assert_int_equal(key, EFFECT_KEYS_FIXED + i);
        effects_open(effects, EFFECT_DEL, key, 0);
    }
    expect_key(EFFECT_KEYS_FIXED + 69999, "t:{3}:user:u69999");
    assert_int_equal(effects_count(effects), 70000);
    assert_int_equal(effects_size(effects), effects_commands(effects).length);
}

static void reset_forgets_everything(void **state)
{
    effects_hdel(effects, effects_key(effects, "x", (struct slice){0}), slice_text("y"));
    effects_reset(effects);
    a_commit_without_effects_has_the_fixed_keys(state);
    assert_int_equal(effects_key(effects, "x", (struct slice){0}), EFFECT_KEYS_FIXED);
}

static void a_key_of_another_partition_has_its_tag(void **state)
{
    uint32_t key = effects_key_of(effects, 7, "in", (struct slice){0});

    (void)state;
    assert_int_equal(key, EFFECT_KEYS_FIXED);
    expect_key(key, "t:{7}:in");
    expect_key(EFFECT_KEY_IN, "t:{3}:in");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_commit_without_effects_has_the_fixed_keys),
        TEST(effects_are_commands_in_order),
        TEST(words_of_the_kind_are_around_the_key),
        TEST(digits_are_those_of_the_number),
        TEST(a_record_is_one_field),
        TEST(what_a_commit_ends_with),
        TEST(many_effects_and_keys_are_counted),
        TEST(reset_forgets_everything),
        TEST(a_key_of_another_partition_has_its_tag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
