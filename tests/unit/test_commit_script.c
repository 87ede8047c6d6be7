/*
 * The scripts of a partition on a real Redis: the commit, the take and the release; and that the
 * model of Redis, on which the engine is tested, does the same with the same commits.
 */
#include "router/effects.h"

#include "common/bus.h"
#include "common/xalloc.h"
#include "tests/unit/engine_world.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define NOBODY ((struct slice){0})

static struct redis *server;
static struct test_loop loop;
static struct bus *bus;
static struct effects *effects;
static bool answered;
static struct buffer answer; /* NUL-terminated */

static struct bus_script commit_script = {.name = "commit"};
static struct bus_script take_script = {.name = "take"};
static struct bus_script release_script = {.name = "release"};
static struct bus_script in_script = {.name = "in"};
static const struct {
    struct bus_script *script;
    const char *path;
} scripts[] = {
    {&commit_script, "router/commit.lua"},
    {&take_script, "router/take.lua"},
    {&release_script, "router/release.lua"},
    {&in_script, "gateway/bus/in.lua"},
};

/* ---- asking ---- */

/* Elements of arrays are joined by spaces, lists in them bracketed. */
static void flatten(const struct bus_reply *reply, bool outer)
{
    switch (bus_reply_kind(reply)) {
    case BUS_INTEGER:
        buffer_appendf(&answer, "%lld", (long long)bus_reply_integer(reply));
        break;
    case BUS_ARRAY:
        buffer_append_text(&answer, outer ? "" : "[");
        for (size_t i = 0; i < bus_reply_count(reply); i++) {
            buffer_append_text(&answer, i ? " " : "");
            flatten(bus_reply_at(reply, i), false);
        }
        buffer_append_text(&answer, outer ? "" : "]");
        break;
    case BUS_NONE:
    case BUS_NIL:
        buffer_append_text(&answer, "(nil)");
        break;
    default:
        buffer_append_slice(&answer, bus_reply_text(reply));
    }
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    buffer_reset(&answer, SIZE_MAX);
    flatten(reply, true);
    buffer_append_byte(&answer, '\0');
    answered = true;
}

static const char *await(void)
{
    loop_until(&loop, answered);
    answered = false;
    return answer.data;
}

/* The words of a command, NULL at the end; its answer in words, valid until the next. */
static const char *ask(const char *word, ...)
{
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    va_list words;

    va_start(words, word);
    for (; word; word = va_arg(words, const char *)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = slice_text(word);
    }
    va_end(words);
    assert_int_equal(bus_command(bus, on_reply, NULL, argc, argv), 0);
    return await();
}

#define ASK(...) ask(__VA_ARGS__, NULL)
#define EXPECT(expected, ...) assert_string_equal(ASK(__VA_ARGS__), expected)

static const char *eval(struct bus_script *script, size_t key_count, const char *word, ...)
{
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    va_list words;

    va_start(words, word);
    for (; word; word = va_arg(words, const char *))
        argv[argc++] = slice_text(word);
    va_end(words);
    assert_int_equal(bus_eval(bus, script, on_reply, NULL, key_count, argc, argv), 0);
    return await();
}

#define EVAL(script, key_count, ...) eval(script, key_count, __VA_ARGS__, NULL)

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Everything in Redis, as one number. */
static char *digest(void)
{
    return xstrdup(ASK("DEBUG", "DIGEST"));
}

static void expect_unchanged(char *before)
{
    assert_string_equal(ASK("DEBUG", "DIGEST"), before);
    free(before);
}

/* ---- commits ---- */

struct envelope {
    const char *epoch, *commit, *owner, *position, *keep;
};

static const struct envelope usual = {"100", "1", "r1", "", ""};

static const char *send_commit(struct envelope envelope, size_t key_count, const struct slice *keys,
                               struct slice packed, size_t text_count, const struct slice *texts)
{
    struct slice *argv = xcalloc(key_count + 7 + text_count, sizeof(*argv));
    size_t argc = key_count;

    memcpy(argv, keys, key_count * sizeof(*argv));
    argv[argc++] = slice_text(envelope.epoch);
    argv[argc++] = slice_text(envelope.commit);
    argv[argc++] = slice_text(envelope.owner);
    argv[argc++] = slice_text("5000");
    argv[argc++] = slice_text(envelope.position);
    argv[argc++] = slice_text(envelope.keep);
    argv[argc++] = packed;
    if (text_count)
        memcpy(argv + argc, texts, text_count * sizeof(*argv));
    assert_int_equal(
        bus_eval(bus, &commit_script, on_reply, NULL, key_count, argc + text_count, argv), 0);
    free(argv);
    return await();
}

/* The effects as they stand. */
static const char *commit(struct envelope envelope)
{
    const struct slice *keys, *texts;
    size_t key_count = effects_keys(effects, &keys);
    size_t text_count = effects_attachments(effects, &texts);

    return send_commit(envelope, key_count, keys, effects_packed(effects), text_count, texts);
}

static const char *commit_packed(struct slice packed)
{
    const struct slice *keys;
    size_t key_count = effects_keys(effects, &keys);

    return send_commit(usual, key_count, keys, packed, 0, NULL);
}

static void open_effect(enum effect_opcode opcode, const char *what, size_t arguments)
{
    effects_open(effects, opcode, effects_key(effects, what, NOBODY), arguments);
}

static void text(const char *word)
{
    effects_text(effects, slice_text(word));
}

/* An effect whose arguments are all texts, NULL at the end. */
static void effect(enum effect_opcode opcode, const char *what, ...)
{
    size_t count = 0;
    va_list words;

    va_start(words, what);
    while (va_arg(words, const char *))
        count++;
    va_end(words);
    open_effect(opcode, what, count);
    va_start(words, what);
    while (count--)
        text(va_arg(words, const char *));
    va_end(words);
}

#define EFFECT_OF(...) effect(__VA_ARGS__, NULL)

static void set_state(const char *epoch, const char *number)
{
    ASK("HSET", "t:{0}:state", "epoch", epoch, "commit", number);
}

/* ---- set-up ---- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct buffer bytes = {0};
    size_t length;

    if (file == NULL)
        fail_msg("%s: tests run in the root of the repository", path);
    do {
        length = fread(buffer_reserve(&bytes, 4096), 1, 4096, file);
        bytes.length += length;
    } while (length);
    fclose(file);
    buffer_append_byte(&bytes, '\0');
    return bytes.data;
}

static void on_up(void *arg)
{
    (void)arg;
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    fail_msg("Redis: %s", reason);
}

static int start(void **state)
{
    static const char *const arguments[] = {"--enable-debug-command", "local", NULL};
    struct bus_address address;
    struct bus_options options = {
        .address = &address, .client_name = "test", .on_up = on_up, .on_down = on_down};
    char url[64];

    (void)state;
    server = redis_start(arguments);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", redis_port(server));
    assert_int_equal(bus_address_parse(url, &address), 0);
    loop_open(&loop);
    bus = bus_create(&loop.loop, &options);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        scripts[i].script->text = read_file(scripts[i].path);
        bus_add_script(bus, scripts[i].script);
    }
    loop_until(&loop, bus_is_up(bus));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bus_destroy(&bus);
    loop_close(&loop);
    redis_destroy(&server);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        free((char *)scripts[i].script->text);
    buffer_finish(&answer);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    EXPECT("OK", "FLUSHALL");
    set_state("100", "0");
    effects = effects_create(world_deployment(), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    effects_destroy(&effects);
    return 0;
}

/* ---- the rule of numbers ---- */

static void a_commit_runs(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "9007199254740993");
    assert_string_equal(commit(usual), "OK");
    EXPECT("9007199254740993", "HGET", "t:{0}:sources", "g1");
    EXPECT("100 1", "HMGET", "t:{0}:state", "epoch", "commit");
    EXPECT("(nil)", "HGET", "t:{0}:state", "pos");
    EXPECT("r1", "GET", "t:{0}:lease");
    assert_true(atoi(ASK("PTTL", "t:{0}:lease")) > 4000);
}

static void sent_again_it_changes_nothing(void **state)
{
    char *before;

    (void)state;
    EFFECT_OF(EFFECT_XADD, "recent", "5-*", "f", "answer");
    EFFECT_OF(EFFECT_HDEL, "sources", "g1");
    assert_string_equal(commit(usual), "OK");
    ASK("HSET", "t:{0}:sources", "g1", "1");
    before = digest();
    assert_string_equal(commit(usual), "DONE");
    expect_unchanged(before);
    /* And not after the next one either. */
    effects_reset(effects);
    assert_string_equal(commit((struct envelope){"100", "2", "r1", "", ""}), "OK");
    EFFECT_OF(EFFECT_XADD, "recent", "5-*", "f", "answer");
    before = digest();
    assert_string_equal(commit(usual), "STALE");
    expect_unchanged(before);
}

static void a_commit_out_of_turn_is_refused(void **state)
{
    static const char *const numbers[] = {"2", "3", "1000000", "0.5"};
    char *before;

    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    for (size_t i = 0; i < 4; i++) {
        before = digest();
        assert_string_equal(commit((struct envelope){"100", numbers[i], "r1", "", ""}), "STALE");
        expect_unchanged(before);
    }
}

static void after_a_take_it_is_lost(void **state)
{
    static const char *const numbers[] = {"1", "2"};
    char *before;

    (void)state;
    assert_true(
        begins(EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r2", "5000", "run"), "TAKEN "));
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    for (size_t i = 0; i < 2; i++) {
        before = digest();
        assert_string_equal(commit((struct envelope){"100", numbers[i], "r1", "", ""}), "LOST");
        expect_unchanged(before);
    }
    EXPECT("r2", "GET", "t:{0}:lease");
}

static void without_a_state_it_is_lost(void **state)
{
    (void)state;
    ASK("DEL", "t:{0}:state");
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    assert_string_equal(commit(usual), "LOST");
    EXPECT("0", "DBSIZE");
}

static void big_numbers_keep_their_digits(void **state)
{
    (void)state;
    set_state("9007199254740991", "4503599627370495");
    assert_string_equal(
        commit((struct envelope){"9007199254740991", "4503599627370496", "r1", "", ""}), "OK");
    EXPECT("9007199254740991 4503599627370496", "HMGET", "t:{0}:state", "epoch", "commit");
}

/* The lease may have ended unnoticed, as long as nobody took the partition. */
static void a_lease_that_ended_is_begun_again(void **state)
{
    (void)state;
    ASK("DEL", "t:{0}:lease");
    assert_string_equal(commit(usual), "OK");
    EXPECT("r1", "GET", "t:{0}:lease");
}

/* ---- the input ---- */

static void the_input_is_trimmed_to_the_entry(void **state)
{
    char id[16];

    (void)state;
    for (int i = 1; i <= 300; i++) {
        snprintf(id, sizeof(id), "7-%d", i);
        ASK("XADD", "t:{0}:in", id, "g", "g1", "n", "1", "f", "frames");
    }
    assert_string_equal(commit((struct envelope){"100", "1", "r1", "7-123", "7-124"}), "OK");
    EXPECT("177", "XLEN", "t:{0}:in");
    EXPECT("[7-124 [g g1 n 1 f frames]]", "XRANGE", "t:{0}:in", "-", "+", "COUNT", "1");
    EXPECT("7-123", "HGET", "t:{0}:state", "pos");
    assert_string_equal(commit((struct envelope){"100", "2", "r1", "", "7-300"}), "OK");
    EXPECT("177", "XLEN", "t:{0}:in");
    EXPECT("7-123", "HGET", "t:{0}:state", "pos");
    assert_string_equal(commit((struct envelope){"100", "3", "r1", "7-300", "7-301"}), "OK");
    EXPECT("0", "XLEN", "t:{0}:in");
    assert_true(begins(ASK("XADD", "t:{0}:in", "*", "g", "g1", "n", "1", "f", ""), "1"));
}

/* ---- effects ---- */

static void every_opcode_does_what_it_says(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "hash", "a", "1", "b", "2");
    EFFECT_OF(EFFECT_HDEL, "hash", "a", "missing");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "one", "g", "two");
    EFFECT_OF(EFFECT_XADD, "stream", "5-2", "f", "three");
    EFFECT_OF(EFFECT_XADD, "stream", "6-*", "f", "four");
    EFFECT_OF(EFFECT_XTRIM, "stream", "5-2");
    EFFECT_OF(EFFECT_XDEL, "stream", "5-2", "9-9");
    EFFECT_OF(EFFECT_XADD, "emptied", "1-1", "f", "x");
    EFFECT_OF(EFFECT_XDEL, "emptied", "1-1");
    EFFECT_OF(EFFECT_XADD, "cleared", "1-1", "f", "x");
    EFFECT_OF(EFFECT_XCLEAR, "cleared");
    EFFECT_OF(EFFECT_HSET, "deleted", "a", "1");
    EFFECT_OF(EFFECT_DEL, "deleted");
    EFFECT_OF(EFFECT_HSET, "brief", "a", "1");
    EFFECT_OF(EFFECT_PEXPIRE, "brief", "100000");
    EFFECT_OF(EFFECT_HSET, "kept", "a", "1");
    EFFECT_OF(EFFECT_PEXPIRE, "kept", "100000");
    EFFECT_OF(EFFECT_PERSIST, "kept");
    EFFECT_OF(EFFECT_ZADD, "scores", "1700000000000", "grace:bob");
    EFFECT_OF(EFFECT_ZADD, "scores", "5", "grace:eve");
    EFFECT_OF(EFFECT_ZREM, "scores", "grace:eve");
    open_effect(EFFECT_XADD_LONG, "long", 3);
    text("3-1"), text("e");
    effects_attach(effects, slice_of("a\0b", 3));
    assert_string_equal(commit(usual), "OK");

    EXPECT("b 2", "HGETALL", "t:{0}:hash");
    EXPECT("[6-0 [f four]]", "XRANGE", "t:{0}:stream", "-", "+");
    EXPECT("0", "EXISTS", "t:{0}:emptied", "t:{0}:deleted", "t:{0}:dead");
    EXPECT("0", "XLEN", "t:{0}:cleared");
    EXPECT("1", "EXISTS", "t:{0}:cleared");
    assert_true(begins(ASK("XADD", "t:{0}:cleared", "1-1", "f", "x"), "ERR"));
    assert_true(atoi(ASK("PTTL", "t:{0}:brief")) > 90000);
    EXPECT("-1", "PTTL", "t:{0}:kept");
    EXPECT("grace:bob 1700000000000", "ZRANGE", "t:{0}:scores", "0", "-1", "WITHSCORES");
    EXPECT("3", "EVAL", "return #redis.call('XRANGE', KEYS[1], '-', '+')[1][2][2]", "1",
           "t:{0}:long");
}

static void forward(uint32_t partition, const char *number, struct slice frames)
{
    effects_open(effects, EFFECT_FORWARD, effects_key_of(effects, partition, "in", NOBODY), 3);
    text("p0");
    text(number);
    effects_attach(effects, frames);
}

/* Work for another partition goes with the commit: once, and not without it. */
static void a_commit_writes_into_other_partitions(void **state)
{
    static const char fields[] = "return redis.call('XRANGE', KEYS[1], '-', '+')[1][2]";

    (void)state;
    forward(2, "100-1", slice_of("a\0b", 3));
    forward(1, "100-1", slice_text("c"));
    forward(0, "100-1", slice_text("d"));
    assert_string_equal(commit((struct envelope){"99", "1", "r1", "", ""}), "LOST");
    EXPECT("0", "EXISTS", "t:{0}:in", "t:{1}:in", "t:{2}:in");
    assert_string_equal(commit(usual), "OK");
    assert_string_equal(commit(usual), "DONE");
    EXPECT("1", "XLEN", "t:{0}:in");
    EXPECT("1", "XLEN", "t:{1}:in");
    EXPECT("1", "XLEN", "t:{2}:in");
    EXPECT("g p0 n 100-1 f c", "EVAL", fields, "1", "t:{1}:in");
    EXPECT("3", "EVAL", "return #redis.call('XRANGE', KEYS[1], '-', '+')[1][2][6]", "1",
           "t:{2}:in");
}

/* What a commit says to its own partition comes behind what it has applied: the trim leaves it. */
static void work_for_oneself_is_not_trimmed(void **state)
{
    char *applied, keep[64];

    (void)state;
    applied = xstrdup(ASK("XADD", "t:{0}:in", "*", "g", "g1", "n", "1", "f", ""));
    snprintf(keep, sizeof(keep), "%.*s-%d", (int)(strchr(applied, '-') - applied), applied,
             atoi(strchr(applied, '-') + 1) + 1);
    forward(0, "100-1", slice_text("d"));
    assert_string_equal(commit((struct envelope){"100", "1", "r1", applied, keep}), "OK");
    EXPECT("1", "XLEN", "t:{0}:in");
    EXPECT("p0", "EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')[1][2][2]", "1",
           "t:{0}:in");
    free(applied);
}

static void an_entry_without_its_frames_is_refused(void **state)
{
    char *before;

    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    effects_open(effects, EFFECT_FORWARD, effects_key_of(effects, 1, "in", NOBODY), 3);
    text("p0");
    text("100-1");
    text("nothing attached");
    before = digest();
    assert_false(begins(commit(usual), "OK"));
    expect_unchanged(before);
}

/* Nothing to act on is no error. */
static void effects_on_missing_keys_do_nothing(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HDEL, "missing", "a");
    EFFECT_OF(EFFECT_XTRIM, "missing", "5-2");
    EFFECT_OF(EFFECT_XDEL, "missing", "5-2");
    EFFECT_OF(EFFECT_XCLEAR, "missing");
    EFFECT_OF(EFFECT_DEL, "missing");
    EFFECT_OF(EFFECT_PEXPIRE, "missing", "10");
    EFFECT_OF(EFFECT_PERSIST, "missing");
    EFFECT_OF(EFFECT_ZREM, "missing", "a");
    assert_string_equal(commit(usual), "OK");
    EXPECT("0", "EXISTS", "t:{0}:missing", "t:{0}:dead");
}

/* The opcodes of the script's table are those of effects.def, no more and no less. */
static void the_script_knows_every_opcode(void **state)
{
    static const int opcodes[] = {
#define EFFECT(id, NAME, arguments) id,
#include "router/effects.def"
#undef EFFECT
    };
    const char *table = strstr(commit_script.text, "local operations = {");
    const char *end = strstr(table, "\n}\n");
    size_t known = 0;
    char row[32];

    (void)state;
    for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
        const char *found;

        snprintf(row, sizeof(row), "\n    [%d] = function(e)", opcodes[i]);
        found = strstr(table, row);
        if (found == NULL || found > end)
            fail_msg("commit.lua has no row for opcode %d", opcodes[i]);
    }
    for (const char *at = table; (at = strstr(at, "] = function(e)")) != NULL && at < end; at++)
        known++;
    assert_int_equal(known, sizeof(opcodes) / sizeof(opcodes[0]));
}

static void what_cannot_be_decoded_writes_nothing(void **state)
{
    /* After a good HSET of the lease's key: an opcode, a key and an attachment that are not there,
       one that is no list, no opcode; then no list, not even msgpack. */
    static const struct slice bad[] = {
        {"\x92\x94\x01\x02\xa1"
         "a\xa1"
         "b\x92\x63\x01",
         11},
        {"\x92\x94\x01\x02\xa1"
         "a\xa1"
         "b\x93\x02\x63\xa1"
         "a",
         14},
        {"\x92\x94\x01\x02\xa1"
         "a\xa1"
         "b\x95\x0c\x01\xa1"
         "a\xa1"
         "b\x01",
         17},
        {"\x92\x94\x01\x02\xa1"
         "a\xa1"
         "b\x01",
         9},
        {"\x92\x94\x01\x02\xa1"
         "a\xa1"
         "b\x90",
         9},
        {"\x01", 1},
        {"\xc0", 1},
        {"\xc1", 1},
        {"", 0},
        {"\x92\x94\x01", 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *before = digest();
        const char *result = commit_packed(bad[i]);

        if (begins(result, "OK") || begins(result, "FAILED"))
            fail_msg("case %zu: %s", i, result);
        expect_unchanged(before);
    }
    assert_true(begins(commit_packed(bad[0]), "BADEFFECT"));
    assert_true(begins(commit_packed(bad[2]), "BADEFFECT"));
}

static void one_that_fails_does_not_stop_the_others(void **state)
{
    (void)state;
    ASK("SET", "t:{0}:wrong", "text");
    EFFECT_OF(EFFECT_HSET, "before", "a", "1");
    EFFECT_OF(EFFECT_HSET, "wrong", "a", "1");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "x");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "again");
    EFFECT_OF(EFFECT_ZADD, "scores", "no number", "m");
    EFFECT_OF(EFFECT_HSET, "after", "a", "1");
    assert_string_equal(commit((struct envelope){"100", "1", "r1", "7-1", "7-2"}), "FAILED 3");
    EXPECT("2", "EXISTS", "t:{0}:before", "t:{0}:after");
    EXPECT("[5-1 [f x]]", "XRANGE", "t:{0}:stream", "-", "+");
    EXPECT("1 7-1", "HMGET", "t:{0}:state", "commit", "pos");
    EXPECT("3", "XLEN", "t:{0}:dead");
    assert_non_null(strstr(ASK("XRANGE", "t:{0}:dead", "-", "+", "COUNT", "1"),
                           "[what effect key t:{0}:wrong opcode 1 problem"));
    assert_non_null(strstr(ASK("XRANGE", "t:{0}:dead", "-", "+", "COUNT", "1"), "WRONGTYPE"));
    assert_string_equal(commit((struct envelope){"100", "1", "r1", "7-1", "7-2"}), "DONE");
    EXPECT("3", "XLEN", "t:{0}:dead");
}

/* Even the letters about failures may fail; the commit is one all the same. */
static void a_dead_that_is_none_does_not_stop_a_commit(void **state)
{
    (void)state;
    ASK("SET", "t:{0}:wrong", "text");
    ASK("SET", "t:{0}:dead", "text");
    EFFECT_OF(EFFECT_HSET, "wrong", "a", "1");
    EFFECT_OF(EFFECT_HSET, "after", "a", "1");
    assert_string_equal(commit(usual), "FAILED 1");
    EXPECT("1", "EXISTS", "t:{0}:after");
    EXPECT("1", "HGET", "t:{0}:state", "commit");
}

static void open_wide(size_t pairs)
{
    char word[24];

    open_effect(EFFECT_HSET, "wide", pairs * 2);
    for (size_t i = 0; i < pairs; i++) {
        snprintf(word, sizeof(word), "%zu", i);
        text(word);
        text("value");
    }
}

/* Far more than any effect has; one beyond what Lua can unpack fails alone. */
static void a_thousand_values_fit_into_one_effect(void **state)
{
    (void)state;
    open_wide(500);
    assert_string_equal(commit(usual), "OK");
    EXPECT("500", "HLEN", "t:{0}:wide");
    effects_reset(effects);
    open_wide(10000);
    EFFECT_OF(EFFECT_HSET, "after", "a", "1");
    assert_string_equal(commit((struct envelope){"100", "2", "r1", "", ""}), "FAILED 1");
    EXPECT("500", "HLEN", "t:{0}:wide");
    EXPECT("1", "EXISTS", "t:{0}:after");
}

/* As many effects and keys as a full batch may have: nothing of them is unpacked at once. */
static void a_big_batch_is_one_commit(void **state)
{
    char name[24];

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        effects_hset(effects, effects_key(effects, "user", slice_text(name)), slice_text("a"),
                     slice_text("1"));
    }
    for (unsigned i = 0; i < 9000; i++) {
        effects_open(effects, EFFECT_XADD_LONG, effects_key(effects, "out", slice_text("g1")), 3);
        effects_number(effects, (struct number){1, i + 1});
        text("e");
        effects_attach(effects, slice_text("body"));
    }
    assert_string_equal(commit(usual), "OK");
    EXPECT("1", "HGET", "t:{0}:user:u19999", "a");
    EXPECT("9000", "XLEN", "t:{0}:out:g1");
}

/* ---- Redis is full ---- */

static void at_maxmemory_the_scripts_still_run(void **state)
{
    (void)state;
    ASK("XADD", "t:{0}:out:g1", "1-1", "e", "x");
    ASK("CONFIG", "SET", "maxmemory-policy", "noeviction");
    ASK("CONFIG", "SET", "maxmemory", "1");
    assert_true(begins(ASK("SET", "x", "y"), "OOM"));
    assert_string_equal(EVAL(&in_script, 1, "t:{0}:in", "g1", "1", "frames"), "OK");
    EXPECT("1", "XLEN", "t:{0}:in");
    effects_open(effects, EFFECT_XTRIM, effects_key(effects, "out", slice_text("g1")), 1);
    text("1-2");
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    assert_string_equal(commit(usual), "OK");
    EXPECT("0", "XLEN", "t:{0}:out:g1");
    assert_true(
        begins(EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r1", "5000", "run"), "TAKEN "));
    assert_string_equal(EVAL(&release_script, 1, "t:{0}:lease", "r1"), "1");
    EXPECT("OK", "CONFIG", "SET", "maxmemory", "0");
}

/* ---- taking and releasing ---- */

static uint64_t take(const char *owner)
{
    const char *reply = EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", owner, "5000", "run");

    if (!begins(reply, "TAKEN "))
        fail_msg("take: %s", reply);
    return strtoull(reply + strlen("TAKEN "), NULL, 10);
}

static uint64_t redis_ms(void)
{
    const char *reply = ASK("TIME");
    char *rest;
    uint64_t seconds = strtoull(reply, &rest, 10);

    return seconds * 1000 + strtoull(rest, NULL, 10) / 1000;
}

static void a_living_lease_is_respected(void **state)
{
    char *before;

    (void)state;
    take("r1");
    before = digest();
    assert_string_equal(EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r2", "5000", "run"),
                        "HELD r1");
    expect_unchanged(before);
    ASK("PEXPIRE", "t:{0}:lease", "1");
    while (!begins(ASK("EXISTS", "t:{0}:lease"), "0"))
        ;
    take("r2");
    EXPECT("r2", "HGET", "t:{0}:state", "owner");
}

static void each_take_has_a_higher_epoch(void **state)
{
    uint64_t first, second, now = redis_ms();

    (void)state;
    first = take("r1");
    assert_true(first >= now && first <= redis_ms() + 1);
    second = take("r1");
    assert_true(second > first);
    assert_true(take("r1") > second);
    EXPECT("0", "HGET", "t:{0}:state", "commit");
    EXPECT("r1", "GET", "t:{0}:lease");
    assert_true(atoi(ASK("PTTL", "t:{0}:lease")) > 4000);
}

static void the_epoch_rises_over_a_clock_that_went_back(void **state)
{
    (void)state;
    set_state("4102444800000", "77");
    assert_true(take("r1") == 4102444800001);
    assert_true(take("r1") == 4102444800002);
    EXPECT("4102444800002 0", "HMGET", "t:{0}:state", "epoch", "commit");
}

static void a_take_tells_where_to_go_on(void **state)
{
    char expected[128];
    const char *reply;

    (void)state;
    ASK("DEL", "t:{0}:state");
    reply = EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r1", "5000", "run1");
    assert_non_null(strstr(reply, " 0-0 "));
    ASK("HSET", "t:{0}:state", "pos", "7-9");
    set_state("4102444800000", "5");
    reply = EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r1", "5000", "run2");
    snprintf(expected, sizeof(expected), "TAKEN 4102444800001 7-9 ");
    assert_true(begins(reply, expected));
    /* Another Redis: histories count anew from this epoch on. */
    assert_non_null(strstr(reply, " run1 4102444800001"));
    EXPECT("run2", "HGET", "t:{0}:state", "run_id");
    ASK("DEL", "t:{0}:lease");
    reply = EVAL(&take_script, 2, "t:{0}:state", "t:{0}:lease", "r2", "5000", "run2");
    assert_non_null(strstr(reply, "TAKEN 4102444800002 7-9 "));
    assert_non_null(strstr(reply, " run2 4102444800001"));
}

static void only_its_owner_releases_a_lease(void **state)
{
    (void)state;
    take("r1");
    assert_string_equal(EVAL(&release_script, 1, "t:{0}:lease", "r2"), "0");
    EXPECT("r1", "GET", "t:{0}:lease");
    assert_string_equal(EVAL(&release_script, 1, "t:{0}:lease", "r1"), "1");
    EXPECT("0", "EXISTS", "t:{0}:lease");
    take("r2");
}

/* ---- the model does as Redis does; a key stands for itself, as it is written ---- */

static void mirror(const struct engine_world *world, const struct model_commit *made)
{
    const struct slice *keys, *texts;
    size_t key_count = model_commit_keys(made, &keys);
    size_t text_count = model_commit_attachments(made, &texts);
    const struct number *position = model_commit_position(made);
    char epoch[24], number[24], pos[NUMBER_TEXT_SIZE] = "", keep[NUMBER_TEXT_SIZE] = "0-0";

    snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)world_epoch(world));
    snprintf(number, sizeof(number), "%llu", (unsigned long long)model_commit_number(made));
    if (position != NULL) {
        number_format(*position, pos);
        number_format(number_next(*position), keep);
    }
    if (model_commit_number(made) == 1)
        set_state(epoch, "0");
    assert_string_equal(send_commit((struct envelope){epoch, number, "r1", pos, keep}, key_count,
                                    keys, model_commit_packed(made), text_count, texts),
                        "OK");
}

static void turns(struct engine_world *world)
{
    struct model_commit *made;

    while ((made = world_turn(world, 2, false)) != NULL) {
        mirror(world, made);
        assert_int_equal(model_store_run(world_store(world), made), MODEL_OK);
        model_commit_destroy(&made);
        world_ask_pages(world);
    }
}

static void compare_hash(const struct model_store *store, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    size_t count;
    const struct engine_field *fields = model_store_hash(store, key, NOBODY, &count);
    char digits[24];

    snprintf(digits, sizeof(digits), "%zu", count);
    EXPECT(digits, "HLEN", full);
    for (size_t i = 0; i < count; i++) {
        char *field = xmemdup0(fields[i].name.data, fields[i].name.length);
        char *value = xmemdup0(fields[i].value.data, fields[i].value.length);

        EXPECT(value, "HGET", full, field);
        free(field);
        free(value);
    }
    free(full);
}

static void compare_stream(const struct model_store *store, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    size_t count;
    const struct engine_page_entry *entries = model_store_stream(store, key, NOBODY, &count);
    struct buffer ids = {0};
    char id[NUMBER_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        number_format(entries[i].number, id);
        buffer_appendf(&ids, "%s%s", i ? " " : "", id);
    }
    buffer_append_byte(&ids, '\0');
    EXPECT(ids.data, "EVAL",
           "local ids = {} for i, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do "
           "ids[i] = e[1] end return ids",
           "1", full);
    number_format(model_store_last_id(store, key, NOBODY), id);
    assert_non_null(strstr(ASK("XINFO", "STREAM", full), id));
    buffer_finish(&ids);
    free(full);
}

static void compare_scores(const struct model_store *store, const char *key)
{
    size_t count;
    const struct model_score *scores = model_store_scores(store, key, NOBODY, &count);
    struct buffer words = {0};
    char *full = xasprintf("t:{0}:%s", key);

    for (size_t i = 0; i < count; i++)
        buffer_appendf(&words, "%s%.*s %llu", i ? " " : "", (int)scores[i].member.length,
                       scores[i].member.data, (unsigned long long)scores[i].score);
    buffer_append_byte(&words, '\0');
    EXPECT(words.data, "ZRANGE", full, "0", "-1", "WITHSCORES");
    buffer_finish(&words);
    free(full);
}

static size_t compared;

/* `in` and `state` are written by others than commits. */
static void compare_key(void *arg, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    char *type = xstrdup(ASK("TYPE", full));

    compared++;
    if (strcmp(key, "in") == 0 || strcmp(key, "state") == 0)
        compared--;
    else if (strcmp(type, "hash") == 0)
        compare_hash(arg, key);
    else if (strcmp(type, "stream") == 0)
        compare_stream(arg, key);
    else if (strcmp(type, "zset") == 0)
        compare_scores(arg, key);
    else
        fail_msg("%s is not in Redis: %s", key, type);
    free(type);
    free(full);
}

static void compare(const struct engine_world *world)
{
    char digits[24];

    compared = 0;
    model_store_each_key(world_store(world), compare_key, (void *)(uintptr_t)world_store(world));
    /* Beside what was compared: state and lease, and what was said to oneself. */
    snprintf(digits, sizeof(digits), "%zu",
             compared + 2 + (strcmp(ASK("EXISTS", "t:{0}:in"), "1") == 0));
    EXPECT(digits, "DBSIZE");
}

#define G1 "g1-00000000000000a1"
#define G2 "g2-00000000000000a2"

static void say(struct buffer *entry, const struct frame *frame)
{
    frame_encode(entry, frame);
}

static void add(struct engine_world *world, const char *gateway, uint64_t number,
                struct buffer *entry)
{
    model_store_add_input(world_store(world), slice_text(gateway), number, buffer_slice(entry));
    buffer_reset(entry, SIZE_MAX);
    turns(world);
}

static void say_connect(struct buffer *entry, uint64_t connection, const char *user, uint64_t flags)
{
    say(entry, &(struct frame){.type = FRAME_USER_CONNECT,
                               .user_connect = {.connection = connection,
                                                .user = slice_text(user),
                                                .protocol = 3,
                                                .flags = flags}});
}

static void say_direct(struct buffer *entry, const char *to, const char *id)
{
    say(entry, &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                               .direct_message = {.connection = 1,
                                                  .from = slice_text("alice"),
                                                  .to = slice_text(to),
                                                  .id = slice_text(id),
                                                  .retry = 1,
                                                  .body = slice_text("body")}});
}

static void announce(struct engine_world *world, const char *gateway, uint64_t nonce,
                     struct buffer *entry)
{
    say(entry, &(struct frame){.type = FRAME_GATEWAY_ANNOUNCE,
                               .gateway_announce = {.nonce = nonce, .last = 1}});
    add(world, gateway, 0, entry);
}

static void the_model_does_as_redis_does(void **state)
{
    static const struct engine_limits limits = {
        .gateway_death_ms = 15000,
        .presence_grace_ms = 2000,
        .mailbox_messages = 100,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms = 1 << 30,
        .user_connections = 4,
        .window_messages = 2,
        .window_bytes = 1 << 18,
        .output_bytes = 1 << 24,
    };
    /* Near Redis's own time, so that no id it makes is below the model's. */
    struct engine_world *world = world_create(&limits, redis_ms() + 1000);
    struct buffer entry = {0};

    (void)state;
    world_take(world);
    turns(world);
    announce(world, G1, 1, &entry);
    announce(world, G2, 1, &entry);
    say_connect(&entry, 1, "alice", 0);
    say_connect(&entry, 2, "bob", CONNECTION_FLAG_ACK);
    say(&entry, &(struct frame){.type = FRAME_TOPIC_COUNT,
                                .topic_count = {.topic = slice_text("t"), .connections = 2}});
    say_direct(&entry, "carol", "m0");
    add(world, G1, 1, &entry);
    for (int i = 0; i < 5; i++) {
        say_direct(&entry, i % 2 ? "bob" : "alice", (const char *[]){"a", "b", "c", "d", "e"}[i]);
        say_direct(&entry, "alice", (const char *[]){"f", "g", "h", "i", "j"}[i]);
    }
    say_connect(&entry, 1, "alice", 0);
    add(world, G2, 1, &entry);
    compare(world);
    say(&entry, &(struct frame){.type = FRAME_OUTPUT_WRITTEN,
                                .output_written.number = model_store_last_id(
                                    world_store(world), "out", slice_text(G1))});
    say(&entry,
        &(struct frame){
            .type = FRAME_MESSAGE_ACK,
            .message_ack = {.connection = 2, .user = slice_text("bob"), .id = slice_text("b")}});
    add(world, G1, 2, &entry);
    compare(world);
    say(&entry,
        &(struct frame){.type = FRAME_CONNECTION_CLOSED, .connection_closed.connection = 2});
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    add(world, G1, 3, &entry);
    world_take(world);
    turns(world);
    compare(world);
    announce(world, G2, 2, &entry);
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_LEAVE});
    add(world, G2, 2, &entry);
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    add(world, "g3-00000000000000a3", 1, &entry);
    compare(world);
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + 9000);
    world_tick(world);
    turns(world);
    compare(world);
    buffer_finish(&entry);
    world_destroy(&world);
}

/* ---- the same for conversations ---- */

static void later(struct engine_world *world)
{
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + 1);
}

static void say_post(struct buffer *entry, const char *from, const char *chat)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_POST,
                               .conversation_post = {.from = slice_text(from),
                                                     .chat = slice_text(chat),
                                                     .id = slice_text("m"),
                                                     .retry = 1,
                                                     .body = slice_text("hi")}});
}

static void say_mark(struct buffer *entry, const char *from, const char *chat, uint64_t message)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_MARK,
                               .conversation_mark = {.from = slice_text(from),
                                                     .chat = slice_text(chat),
                                                     .mark = CONVERSATION_MARK_READ,
                                                     .message = message}});
}

static void say_change(struct buffer *entry, uint64_t message, uint64_t change)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_CHANGE,
                               .conversation_change = {.from = slice_text("alice"),
                                                       .chat = slice_text("bob"),
                                                       .message = message,
                                                       .change = change,
                                                       .body = slice_text("new")}});
}

static void say_group(struct buffer *entry, uint64_t change, const char *members)
{
    say(entry, &(struct frame){.type = FRAME_GROUP_CHANGE,
                               .group_change = {.from = slice_text("alice"),
                                                .chat = slice_text("group:g %"),
                                                .change = change,
                                                .name = slice_text("name"),
                                                .members = slice_text(members)}});
}

static void conversations_are_as_redis_has_them(void **state)
{
    static const struct engine_limits limits = {
        .gateway_death_ms = 15000,
        .presence_grace_ms = 2000,
        .mailbox_messages = 100,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms = 1 << 30,
        .user_connections = 4,
        .window_messages = 2,
        .window_bytes = 1 << 18,
        .output_bytes = 1 << 24,
        .conversation_messages = 2,
        .group_members = 10,
        .events = 3,
    };
    struct engine_world *world = world_create(&limits, redis_ms() + 1000);
    struct buffer entry = {0};

    (void)state;
    world_take(world);
    turns(world);
    announce(world, G1, 1, &entry);
    say_direct(&entry, "bob", "waits");
    say_connect(&entry, 1, "bob", CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN);
    say(&entry, &(struct frame){.type = FRAME_EVENTS_FOLLOW,
                                .events_follow = {.connection = 1, .user = slice_text("bob")}});
    add(world, G1, 1, &entry);
    compare(world);
    for (int i = 0; i < 4; i++) {
        later(world);
        say_post(&entry, i % 2 ? "bob" : "alice", i % 2 ? "alice" : "bob");
        say_change(&entry, 2, CONVERSATION_EDIT);
        say_mark(&entry, "bob", "alice", 1 + (uint64_t)i);
        add(world, G1, 2 + (uint64_t)i, &entry);
        compare(world);
    }
    later(world);
    say_change(&entry, 4, CONVERSATION_DELETE);
    say_group(&entry, GROUP_CREATE, "bob\ncarol\n");
    say_post(&entry, "carol", "group:g %");
    say_mark(&entry, "bob", "group:g %", 1);
    say(&entry, &(struct frame){.type = FRAME_MESSAGE_SENT,
                                .message_sent = {.user = slice_text("a:b|c"),
                                                 .id = slice_text("m"),
                                                 .chat = slice_text("bob")}});
    add(world, G1, 6, &entry);
    compare(world);
    world_take(world);
    turns(world);
    later(world);
    say_group(&entry, GROUP_REMOVE, "carol\n");
    add(world, G1, 7, &entry);
    compare(world);
    later(world);
    say_group(&entry, GROUP_DELETE, "");
    add(world, G1, 8, &entry);
    compare(world);
    buffer_finish(&entry);
    world_destroy(&world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_commit_runs),
        TEST(sent_again_it_changes_nothing),
        TEST(a_commit_out_of_turn_is_refused),
        TEST(after_a_take_it_is_lost),
        TEST(without_a_state_it_is_lost),
        TEST(big_numbers_keep_their_digits),
        TEST(a_lease_that_ended_is_begun_again),
        TEST(the_input_is_trimmed_to_the_entry),
        TEST(every_opcode_does_what_it_says),
        TEST(a_commit_writes_into_other_partitions),
        TEST(work_for_oneself_is_not_trimmed),
        TEST(an_entry_without_its_frames_is_refused),
        TEST(effects_on_missing_keys_do_nothing),
        TEST(the_script_knows_every_opcode),
        TEST(what_cannot_be_decoded_writes_nothing),
        TEST(one_that_fails_does_not_stop_the_others),
        TEST(a_dead_that_is_none_does_not_stop_a_commit),
        TEST(a_thousand_values_fit_into_one_effect),
        TEST(a_big_batch_is_one_commit),
        TEST(at_maxmemory_the_scripts_still_run),
        TEST(a_living_lease_is_respected),
        TEST(each_take_has_a_higher_epoch),
        TEST(the_epoch_rises_over_a_clock_that_went_back),
        TEST(a_take_tells_where_to_go_on),
        TEST(only_its_owner_releases_a_lease),
        TEST(the_model_does_as_redis_does),
        TEST(conversations_are_as_redis_has_them),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
