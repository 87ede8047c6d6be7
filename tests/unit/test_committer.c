/*
 * Commits over a partition's own connection to a real Redis (delivery.md, S3): each once, and none
 * once the partition is another's.
 */
#include "router/committer.h"

#include "common/command.h"
#include "common/xalloc.h"
#include "tests/unit/asking.h"
#include "tests/unit/engine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EPOCH 100

static struct effects *effects;
static struct committer *committer;
static struct number position;
static bool moved; /* the next commit says position */

/* What the committer has said. */
static struct {
    unsigned ready, committed, failed, ended;
    enum committer_end how;
    char first_failed[128];
} said;

/* ---- what it says ---- */

static void on_ready(void *arg)
{
    (void)arg;
    said.ready++;
}

static void on_committed(void *arg)
{
    (void)arg;
    said.committed++;
}

static void on_failed(void *arg, const struct slice *words, struct slice problem)
{
    (void)arg;
    if (said.failed++ == 0)
        snprintf(said.first_failed, sizeof(said.first_failed), "%.*s %.*s: %.*s",
                 (int)words[0].length, words[0].data, (int)words[1].length, words[1].data,
                 (int)problem.length, problem.data);
}

static void on_end(void *arg, enum committer_end how, const char *why)
{
    (void)arg;
    (void)why;
    said.ended++;
    said.how = how;
}

static void create_at(const char *user, int port, uint64_t epoch)
{
    struct bus_address address;
    char *url = xasprintf("redis://%s127.0.0.1:%d", user, port);
    struct committer_options options = {
        .loop = &asking_loop.loop,
        .address = &address,
        .client_name = "r1-p0",
        .effects = effects,
        .epoch = epoch,
        .on_ready = on_ready,
        .on_committed = on_committed,
        .on_failed = on_failed,
        .on_end = on_end,
    };

    assert_int_equal(bus_address_parse(url, &address), 0);
    free(url);
    committer = committer_create(&options);
}

static void connect_with(uint64_t epoch)
{
    create_at("", redis_port(asking_server), epoch);
    loop_until(&asking_loop, said.ready || said.ended);
}

static void set_state(const char *epoch, const char *commit)
{
    ASK("HSET", "t:{0}:state", "epoch", epoch, "commit", commit);
}

static int setup(void **state)
{
    asking_empty(state);
    set_state("100", "0");
    memset(&said, 0, sizeof(said));
    moved = false;
    effects = effects_create(world_deployment(), 0);
    connect_with(EPOCH);
    assert_int_equal(said.ready, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    committer_destroy(&committer);
    effects_destroy(&effects);
    return 0;
}

/* ---- commits ---- */

static void close_effects(uint64_t number)
{
    effects_close(effects, &(struct effects_end){.commit = number,
                                                 .position = moved ? &position : NULL,
                                                 .owner = slice_text("r1"),
                                                 .lease_ms = 5000});
}

/* The effects as they stand; sent, not awaited. */
static void start_commit(uint64_t number)
{
    close_effects(number);
    committer_send(committer, number);
}

static void await(void)
{
    unsigned before = said.committed;

    loop_until(&asking_loop, said.committed > before || said.ended);
}

/* Returns true when it ran. */
static bool commit(uint64_t number)
{
    unsigned before = said.committed;

    start_commit(number);
    await();
    return said.committed > before;
}

static void expect_end(enum committer_end how)
{
    assert_int_equal(said.ended, 1);
    assert_int_equal(said.how, how);
}

static void text(const char *word)
{
    effects_text(effects, slice_text(word));
}

/* An effect whose arguments are texts, NULL at the end. */
static void effect(enum effect_kind kind, const char *what, ...)
{
    size_t count = 0;
    va_list words;

    va_start(words, what);
    while (va_arg(words, const char *))
        count++;
    va_end(words);
    effects_open(effects, kind, effects_key(effects, what, (struct slice){0}), count);
    va_start(words, what);
    while (count--)
        text(va_arg(words, const char *));
    va_end(words);
}

#define EFFECT_OF(...) effect(__VA_ARGS__, NULL)

/* ---- each once ---- */

static void a_commit_runs(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "9007199254740993");
    assert_true(commit(1));
    EXPECT("9007199254740993", "HGET", "t:{0}:sources", "g1");
    EXPECT("100 1", "HMGET", "t:{0}:state", "epoch", "commit");
    EXPECT("(nil)", "HGET", "t:{0}:state", "pos");
    EXPECT("r1", "GET", "t:{0}:lease");
    assert_true(atoi(ASK("PTTL", "t:{0}:lease")) > 4000);
}

static void one_follows_the_other(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 50; number++) {
        effects_reset(effects);
        EFFECT_OF(EFFECT_XADD, "stream", "*", "f", "x");
        assert_true(commit(number));
    }
    EXPECT("50", "XLEN", "t:{0}:stream");
    EXPECT("50", "HGET", "t:{0}:state", "commit");
}

static void big_numbers_keep_their_digits(void **state)
{
    (void)state;
    committer_destroy(&committer);
    set_state("9007199254740993", "9007199254740992");
    said.ready = 0;
    connect_with(9007199254740993);
    assert_true(commit(9007199254740993));
    EXPECT("9007199254740993 9007199254740993", "HMGET", "t:{0}:state", "epoch", "commit");
}

static void one_out_of_turn_is_told(void **state)
{
    (void)state;
    assert_true(commit(1));
    effects_reset(effects);
    /* As a commit that somebody else has made in this epoch would leave it. */
    set_state("100", "7");
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    start_commit(2);
    await();
    expect_end(COMMITTER_LOST);
    EXPECT("0", "EXISTS", "t:{0}:sources");
}

/* Somebody touches the state and means nothing by it. */
static void a_commit_that_did_not_run_is_sent_again(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_XADD, "stream", "*", "f", "x");
    ASK("HSET", "t:{0}:state", "note", "x");
    start_commit(1);
    loop_until(&asking_loop, committer_on_clock(committer) || said.committed || said.ended);
    assert_int_equal(said.committed, 0);
    await();
    assert_int_equal(said.committed, 1);
    EXPECT("1", "XLEN", "t:{0}:stream");
}

/* ---- only while it is ours ---- */

/* The lease has ended, and another takes the partition. */
static void take(void)
{
    ASK("SET", "t:{0}:lease", "r2");
    assert_true(text_begins(ASK_SCRIPT(asking_script("router/take.lua"), 2, "t:{0}:state",
                                       "t:{0}:lease", "r2", "5000", "run"),
                            "TAKEN "));
}

static void after_a_take_it_is_lost(void **state)
{
    char *before;

    (void)state;
    take();
    before = asking_digest();
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    assert_false(commit(1));
    expect_end(COMMITTER_LOST);
    expect_unchanged(before);
    EXPECT("r2", "GET", "t:{0}:lease");
}

/* The take comes between two commits, the second of which is on its way. */
static void a_take_between_two_ends_the_second(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    assert_true(commit(1));
    take();
    effects_reset(effects);
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "2");
    assert_false(commit(2));
    expect_end(COMMITTER_LOST);
    EXPECT("1", "HGET", "t:{0}:sources", "g1");
}

/* A commit whose answer is never read is on its way while another takes the partition, at any
   moment of both: either it has run before the take, or it does not run. */
static void a_commit_never_runs_behind_a_take(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        bool ran;

        effects_reset(effects);
        EFFECT_OF(EFFECT_XADD, "stream", "*", "f", "x");
        start_commit(1);
        for (int turns = 0; turns < i % 7; turns++)
            uv_run(&asking_loop.loop, UV_RUN_NOWAIT);
        /* Its own other start: the lease that the commit may write is no hindrance. */
        assert_true(text_begins(ASK_SCRIPT(asking_script("router/take.lua"), 2, "t:{0}:state",
                                           "t:{0}:lease", "r1", "5000", "run"),
                                "TAKEN "));
        ran = strcmp(ASK("XLEN", "t:{0}:stream"), "1") == 0;
        committer_destroy(&committer);
        EXPECT("0", "HGET", "t:{0}:state", "commit");
        EXPECT(ran ? "1" : "0", "XLEN", "t:{0}:stream");
        EXPECT("OK", "FLUSHALL");
        set_state("100", "0");
        said.ready = said.committed = said.ended = 0;
        connect_with(EPOCH);
    }
}

static void of_another_epoch_it_is_never_ready(void **state)
{
    (void)state;
    committer_destroy(&committer);
    said.ready = 0;
    connect_with(99);
    assert_int_equal(said.ready, 0);
    expect_end(COMMITTER_LOST);
}

static void without_a_state_it_is_lost(void **state)
{
    (void)state;
    ASK("DEL", "t:{0}:state");
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    assert_false(commit(1));
    expect_end(COMMITTER_LOST);
    EXPECT("0", "DBSIZE");
}

static void a_connection_that_is_lost_is_the_end(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    ASK("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    assert_false(commit(1));
    expect_end(COMMITTER_DOWN);
}

/* Redis has no room for one more connection: it comes when there is. */
static void a_connection_that_never_stood_is_tried_again(void **state)
{
    (void)state;
    committer_destroy(&committer);
    said.ready = 0;
    loop_until(&asking_loop, text_begins(ASK("CLIENT", "LIST"), "id=") &&
                                 strstr(ASK("CLIENT", "LIST"), "name=r1-p0") == NULL);
    EXPECT("OK", "CONFIG", "SET", "maxclients", "1");
    create_at("", redis_port(asking_server), EPOCH);
    loop_until(&asking_loop,
               strtol(strstr(ASK("INFO", "stats"), "rejected_connections:") + 21, NULL, 10) >= 2 ||
                   said.ended);
    assert_int_equal(said.ended + said.ready, 0);
    EXPECT("OK", "CONFIG", "SET", "maxclients", "1000");
    loop_until(&asking_loop, said.ready || said.ended);
    assert_int_equal(said.ended, 0);
    assert_true(commit(1));
}

/* What would be sent between MULTI and EXEC would run without them. */
static void without_transactions_nothing_is_sent(void **state)
{
    (void)state;
    committer_destroy(&committer);
    said.ready = 0;
    EXPECT("OK", "ACL", "SETUSER", "some", "on", "nopass", "+@all", "-multi", "~*");
    create_at("some:any@", redis_port(asking_server), EPOCH);
    loop_until(&asking_loop, said.ready || said.ended);
    assert_int_equal(said.ready, 0);
    expect_end(COMMITTER_REFUSED);
    EXPECT("1", "ACL", "DELUSER", "some");
}

/* The lease may have ended unnoticed, as long as nobody took the partition. */
static void a_lease_that_ended_is_begun_again(void **state)
{
    (void)state;
    ASK("DEL", "t:{0}:lease");
    assert_true(commit(1));
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
    moved = true;
    position = (struct number){7, 123};
    assert_true(commit(1));
    EXPECT("177", "XLEN", "t:{0}:in");
    EXPECT("[7-124 [g g1 n 1 f frames]]", "XRANGE", "t:{0}:in", "-", "+", "COUNT", "1");
    EXPECT("7-123", "HGET", "t:{0}:state", "pos");
    moved = false;
    effects_reset(effects);
    assert_true(commit(2));
    EXPECT("177", "XLEN", "t:{0}:in");
    EXPECT("7-123", "HGET", "t:{0}:state", "pos");
    moved = true;
    position = (struct number){7, 300};
    effects_reset(effects);
    assert_true(commit(3));
    EXPECT("0", "XLEN", "t:{0}:in");
    assert_true(text_begins(ASK("XADD", "t:{0}:in", "*", "g", "g1", "n", "1", "f", ""), "1"));
}

/* ---- effects ---- */

static void every_effect_does_what_it_says(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HSET, "hash", "a", "1", "b", "2");
    EFFECT_OF(EFFECT_HDEL, "hash", "a", "missing");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "one", "g", "two");
    EFFECT_OF(EFFECT_XADD, "stream", "5-2", "f", "three");
    EFFECT_OF(EFFECT_XADD, "stream", "6-*", "f", "four");
    EFFECT_OF(EFFECT_XTRIM, "stream", "5-2");
    EFFECT_OF(EFFECT_XDEL, "stream", "5-2", "9-9");
    EFFECT_OF(EFFECT_DEL_EMPTY, "stream");
    EFFECT_OF(EFFECT_XADD, "emptied", "1-1", "f", "x");
    EFFECT_OF(EFFECT_XDEL, "emptied", "1-1");
    EFFECT_OF(EFFECT_DEL_EMPTY, "emptied");
    EFFECT_OF(EFFECT_XADD, "cleared", "1-1", "f", "x");
    EFFECT_OF(EFFECT_XCLEAR, "cleared");
    EFFECT_OF(EFFECT_XADD_CAPPED, "capped", "1000", "1-1", "f", "x");
    EFFECT_OF(EFFECT_HSET, "deleted", "a", "1");
    EFFECT_OF(EFFECT_DEL, "deleted");
    EFFECT_OF(EFFECT_HSET, "brief", "a", "1");
    EFFECT_OF(EFFECT_PEXPIRE, "brief", "100000");
    EFFECT_OF(EFFECT_HSET, "kept", "a", "1");
    EFFECT_OF(EFFECT_PEXPIRE, "kept", "100000");
    EFFECT_OF(EFFECT_PERSIST, "kept");
    EFFECT_OF(EFFECT_SET, "text", "x");
    EFFECT_OF(EFFECT_ZADD, "scores", "1700000000000", "grace:bob");
    EFFECT_OF(EFFECT_ZADD, "scores", "5", "grace:eve");
    EFFECT_OF(EFFECT_ZADD, "scores", "6", "grace:carol");
    EFFECT_OF(EFFECT_ZREM, "scores", "grace:carol");
    EFFECT_OF(EFFECT_ZCAP, "scores", "-2");
    effects_open(effects, EFFECT_XADD, effects_key(effects, "long", (struct slice){0}), 3);
    text("3-1"), text("e");
    effects_text(effects, slice_of("a\0b", 3));
    assert_true(commit(1));
    assert_int_equal(said.failed, 0);

    EXPECT("b 2", "HGETALL", "t:{0}:hash");
    EXPECT("[6-0 [f four]]", "XRANGE", "t:{0}:stream", "-", "+");
    EXPECT("0", "EXISTS", "t:{0}:emptied", "t:{0}:deleted");
    EXPECT("0", "XLEN", "t:{0}:cleared");
    EXPECT("1", "EXISTS", "t:{0}:cleared");
    EXPECT("1", "XLEN", "t:{0}:capped");
    assert_true(text_begins(ASK("XADD", "t:{0}:cleared", "1-1", "f", "x"), "ERR"));
    assert_true(atoi(ASK("PTTL", "t:{0}:brief")) > 90000);
    EXPECT("-1", "PTTL", "t:{0}:kept");
    EXPECT("x", "GET", "t:{0}:text");
    EXPECT("grace:bob 1700000000000", "ZRANGE", "t:{0}:scores", "0", "-1", "WITHSCORES");
    EXPECT("3", "EVAL", "return #redis.call('XRANGE', KEYS[1], '-', '+')[1][2][2]", "1",
           "t:{0}:long");
}

/* Nothing to act on is no error. */
static void effects_on_missing_keys_do_nothing(void **state)
{
    (void)state;
    EFFECT_OF(EFFECT_HDEL, "missing", "a");
    EFFECT_OF(EFFECT_XTRIM, "missing", "5-2");
    EFFECT_OF(EFFECT_XDEL, "missing", "5-2");
    EFFECT_OF(EFFECT_DEL_EMPTY, "missing");
    EFFECT_OF(EFFECT_XCLEAR, "missing");
    EFFECT_OF(EFFECT_DEL, "missing");
    EFFECT_OF(EFFECT_PEXPIRE, "missing", "10");
    EFFECT_OF(EFFECT_PERSIST, "missing");
    EFFECT_OF(EFFECT_ZREM, "missing", "a");
    EFFECT_OF(EFFECT_ZCAP, "missing", "-2");
    assert_true(commit(1));
    assert_int_equal(said.failed, 0);
    EXPECT("0", "EXISTS", "t:{0}:missing");
}

static void forward(uint32_t partition, const char *number, struct slice frames)
{
    effects_open(effects, EFFECT_XADD, effects_key_of(effects, partition, "in", (struct slice){0}),
                 7);
    text("*"), text("g"), text("p0"), text("n"), text(number), text("f");
    effects_text(effects, frames);
}

/* Work for another partition goes with the commit: once, and not without it. */
static void a_commit_writes_into_other_partitions(void **state)
{
    (void)state;
    forward(2, "100-1", slice_of("a\0b", 3));
    forward(1, "100-1", slice_text("c"));
    assert_true(commit(1));
    EXPECT("1", "XLEN", "t:{1}:in");
    EXPECT("1", "XLEN", "t:{2}:in");
    EXPECT("g p0 n 100-1 f c", "EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')[1][2]", "1",
           "t:{1}:in");
    take();
    effects_reset(effects);
    forward(1, "100-2", slice_text("d"));
    assert_false(commit(2));
    EXPECT("1", "XLEN", "t:{1}:in");
}

/* What a commit says to its own partition comes behind what it has applied: the trim leaves it. */
static void work_for_oneself_is_not_trimmed(void **state)
{
    (void)state;
    if (number_parse(slice_text(ASK("XADD", "t:{0}:in", "*", "g", "g1", "n", "1", "f", "")),
                     &position) < 0)
        fail();
    forward(0, "100-1", slice_text("d"));
    moved = true;
    assert_true(commit(1));
    EXPECT("1", "XLEN", "t:{0}:in");
    EXPECT("p0", "EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')[1][2][2]", "1",
           "t:{0}:in");
}

static void fail_some(void)
{
    ASK("SET", "t:{0}:wrong", "text");
    EFFECT_OF(EFFECT_HSET, "before", "a", "1");
    EFFECT_OF(EFFECT_HSET, "wrong", "a", "1");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "x");
    EFFECT_OF(EFFECT_XADD, "stream", "5-1", "f", "again");
    EFFECT_OF(EFFECT_ZADD, "scores", "no number", "m");
    EFFECT_OF(EFFECT_DEL_EMPTY, "wrong");
    EFFECT_OF(EFFECT_HSET, "after", "a", "1");
    moved = true;
    position = (struct number){7, 1};
}

static void expect_some_failed(void)
{
    expect_end(COMMITTER_FAILED);
    assert_int_equal(said.failed, 4);
    assert_non_null(strstr(said.first_failed, "HSET t:{0}:wrong: WRONGTYPE"));
    EXPECT("2", "EXISTS", "t:{0}:before", "t:{0}:after");
    EXPECT("[5-1 [f x]]", "XRANGE", "t:{0}:stream", "-", "+");
    EXPECT("1 7-1", "HMGET", "t:{0}:state", "commit", "pos");
}

static void one_that_fails_does_not_stop_the_others(void **state)
{
    (void)state;
    fail_some();
    assert_false(commit(1));
    expect_some_failed();
}

/* A key that somebody else made something of may be one that a batch writes again and again. */
static void many_that_fail_are_told_at_once(void **state)
{
    uint64_t start;

    (void)state;
    ASK("SET", "t:{0}:wrong", "text");
    for (unsigned i = 0; i < 30000; i++)
        EFFECT_OF(EFFECT_HSET, "wrong", "a", "1");
    start = uv_hrtime();
    assert_false(commit(1));
    expect_end(COMMITTER_FAILED);
    assert_int_equal(said.failed, 30000);
    assert_true(uv_hrtime() - start < 5000000000);
}

/* As many effects and keys as a full batch may have. */
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
        effects_open(effects, EFFECT_XADD, effects_key(effects, "out", slice_text("g1")), 3);
        effects_number(effects, (struct number){1, i + 1});
        effects_text_pair(effects, "e", slice_text("body"));
    }
    assert_true(commit(1));
    EXPECT("1", "HGET", "t:{0}:user:u19999", "a");
    EXPECT("9000", "XLEN", "t:{0}:out:g1");
}

/* ---- Redis is full ---- */

static void fill(void)
{
    ASK("CONFIG", "SET", "maxmemory-policy", "noeviction");
    ASK("CONFIG", "SET", "maxmemory", "1");
    assert_true(text_begins(ASK("SET", "x", "y"), "OOM"));
}

static int teardown_filled(void **state)
{
    EXPECT("OK", "CONFIG", "SET", "maxmemory", "0");
    return teardown(state);
}

static void at_maxmemory_commits_still_run(void **state)
{
    (void)state;
    ASK("XADD", "t:{0}:out:g1", "1-1", "e", "x");
    fill();
    effects_open(effects, EFFECT_XTRIM, effects_key(effects, "out", slice_text("g1")), 1);
    text("1-2");
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "1");
    EFFECT_OF(EFFECT_XADD, "emptied", "1-1", "f", "x");
    EFFECT_OF(EFFECT_XDEL, "emptied", "1-1");
    EFFECT_OF(EFFECT_DEL_EMPTY, "emptied");
    assert_true(commit(1));
    EXPECT("0", "XLEN", "t:{0}:out:g1");
    EXPECT("1", "HGET", "t:{0}:sources", "g1");
    EXPECT("0", "EXISTS", "t:{0}:emptied");
    EXPECT("1", "HGET", "t:{0}:state", "commit");
    effects_reset(effects);
    EFFECT_OF(EFFECT_HSET, "sources", "g1", "2");
    assert_true(commit(2));
    EXPECT("2", "HGET", "t:{0}:sources", "g1");
}

/* Each commit is answered without being sent again. */
static void maxmemory_comes_and_goes(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 6; number++) {
        if (number % 2)
            fill();
        effects_reset(effects);
        EFFECT_OF(EFFECT_XADD, "stream", "*", "f", "x");
        assert_true(commit(number));
        EXPECT("OK", "CONFIG", "SET", "maxmemory", "0");
    }
    EXPECT("6", "XLEN", "t:{0}:stream");
    EXPECT("6", "HGET", "t:{0}:state", "commit");
}

static void at_maxmemory_the_other_scripts_run(void **state)
{
    (void)state;
    asking_script("router/release.lua");
    asking_script("router/take.lua");
    asking_script("gateway/bus/in.lua");
    fill();
    assert_string_equal(
        ASK_SCRIPT(asking_script("gateway/bus/in.lua"), 1, "t:{0}:in", "g1", "1", "frames"), "OK");
    EXPECT("1", "XLEN", "t:{0}:in");
    take();
    assert_string_equal(ASK_SCRIPT(asking_script("router/release.lua"), 1, "t:{0}:lease", "r2"),
                        "1");
}

static void at_maxmemory_one_that_fails_does_not_stop_the_others(void **state)
{
    (void)state;
    fail_some();
    fill();
    assert_false(commit(1));
    expect_some_failed();
}

/* The script judges as EXEC does. */
static void at_maxmemory_after_a_take_it_is_lost(void **state)
{
    static const char *const befores[] = {"1", "7"};
    char *before;

    (void)state;
    fill();
    before = asking_digest();
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(ASK_SCRIPT(asking_script("router/commit.lua"), 1, "t:{0}:state", "100",
                                       befores[i], "3", "SET", "t:{0}:x", "y"),
                            "LOST");
    assert_string_equal(ASK_SCRIPT(asking_script("router/commit.lua"), 1, "t:{0}:state", "99", "0",
                                   "3", "SET", "t:{0}:x", "y"),
                        "LOST");
    expect_unchanged(before);
}

/* ---- what Redis says only at certain moments ---- */

static struct {
    int listener, fd, port;
    struct buffer heard; /* NUL-terminated */
} peer;

/* Hears until what was said last has come to the end, and answers byte by byte. */
static void peer_answers(const char *end, const char *answer)
{
    char bytes[4096];
    ssize_t length;

    while (peer.heard.length == 0 || strstr(peer.heard.data, end) == NULL) {
        uv_run(&asking_loop.loop, UV_RUN_ONCE);
        if (peer.fd < 0)
            peer.fd = accept(peer.listener, NULL, NULL);
        length = peer.fd < 0 ? 0 : recv(peer.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (length <= 0)
            continue;
        buffer_append(&peer.heard, bytes, (size_t)length);
        *buffer_reserve(&peer.heard, 1) = '\0';
    }
    buffer_reset(&peer.heard, SIZE_MAX);
    for (; *answer; answer++) {
        assert_int_equal(write(peer.fd, answer, 1), 1);
        uv_run(&asking_loop.loop, UV_RUN_ONCE);
    }
}

#define STATE(commit) "+OK\r\n*2\r\n$3\r\n100\r\n$1\r\n" commit "\r\n"

static int setup_peer(void **state)
{
    setup(state);
    committer_destroy(&committer);
    memset(&said, 0, sizeof(said));
    peer.fd = -1;
    peer.listener = listen_somewhere(&peer.port);
    create_at("", peer.port, EPOCH);
    peer_answers("PING", "+OK\r\n:7\r\n$40\r\n0123456789012345678901234567890123456789\r\n"
                         "+PONG\r\n");
    peer_answers("HMGET", "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n" STATE("0"));
    loop_until(&asking_loop, said.ready);
    return 0;
}

static int teardown_peer(void **state)
{
    close(peer.fd);
    close(peer.listener);
    buffer_finish(&peer.heard);
    return teardown(state);
}

#define AT_EXEC "-EXECABORT Transaction discarded because of: "

static void memory_may_end_at_exec(void **state)
{
    (void)state;
    start_commit(1);
    peer_answers("HMGET", "+OK\r\n+QUEUED\r\n+QUEUED\r\n" AT_EXEC
                          "OOM command not allowed when used memory > 'maxmemory'.\r\n" STATE("0"));
    assert_int_equal(said.ended, 0);
    peer_answers("HMGET", "*0\r\n+OK\r\n" STATE("1"));
    loop_until(&asking_loop, said.committed || said.ended);
    assert_int_equal(said.committed, 1);
}

static void a_replica_may_be_made_at_exec(void **state)
{
    (void)state;
    start_commit(1);
    peer_answers("HMGET", "+OK\r\n+QUEUED\r\n+QUEUED\r\n" AT_EXEC
                          "READONLY You can't write against a read only replica.\r\n" STATE("0"));
    loop_until(&asking_loop, committer_on_clock(committer) || said.ended);
    assert_int_equal(said.ended, 0);
    peer_answers("HMGET", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n+OK\r\n" STATE("1"));
    loop_until(&asking_loop, said.committed || said.ended);
    assert_int_equal(said.committed, 1);
}

#define TEST_PEER(name) cmocka_unit_test_setup_teardown(name, setup_peer, teardown_peer)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_FILLED(name) cmocka_unit_test_setup_teardown(name, setup, teardown_filled)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_commit_runs),
        TEST(one_follows_the_other),
        TEST(big_numbers_keep_their_digits),
        TEST(one_out_of_turn_is_told),
        TEST(a_commit_that_did_not_run_is_sent_again),
        TEST(after_a_take_it_is_lost),
        TEST(a_take_between_two_ends_the_second),
        TEST(a_commit_never_runs_behind_a_take),
        TEST(of_another_epoch_it_is_never_ready),
        TEST(without_a_state_it_is_lost),
        TEST(a_connection_that_is_lost_is_the_end),
        TEST(a_connection_that_never_stood_is_tried_again),
        TEST(without_transactions_nothing_is_sent),
        TEST(a_lease_that_ended_is_begun_again),
        TEST(the_input_is_trimmed_to_the_entry),
        TEST(every_effect_does_what_it_says),
        TEST(effects_on_missing_keys_do_nothing),
        TEST(a_commit_writes_into_other_partitions),
        TEST(work_for_oneself_is_not_trimmed),
        TEST(one_that_fails_does_not_stop_the_others),
        TEST(many_that_fail_are_told_at_once),
        TEST(a_big_batch_is_one_commit),
        TEST_FILLED(at_maxmemory_commits_still_run),
        TEST_FILLED(maxmemory_comes_and_goes),
        TEST_FILLED(at_maxmemory_the_other_scripts_run),
        TEST_FILLED(at_maxmemory_one_that_fails_does_not_stop_the_others),
        TEST_FILLED(at_maxmemory_after_a_take_it_is_lost),
        TEST_PEER(memory_may_end_at_exec),
        TEST_PEER(a_replica_may_be_made_at_exec),
    };

    return cmocka_run_group_tests(tests, asking_start, asking_stop);
}
