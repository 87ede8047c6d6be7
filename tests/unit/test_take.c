/*
 * The scripts with which a partition changes hands, on a real Redis: take and release.
 */
#include "common/xalloc.h"
#include "tests/unit/asking.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define TAKE "router/take.lua"
#define RELEASE "router/release.lua"

static int setup(void **state)
{
    asking_empty(state);
    ASK("HSET", "t:{0}:state", "epoch", "100", "commit", "0");
    return 0;
}

static uint64_t take(const char *owner)
{
    const char *reply =
        ASK_SCRIPT(asking_script(TAKE), 2, "t:{0}:state", "t:{0}:lease", owner, "5000", "run");

    if (!text_begins(reply, "TAKEN "))
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
    before = asking_digest();
    assert_string_equal(
        ASK_SCRIPT(asking_script(TAKE), 2, "t:{0}:state", "t:{0}:lease", "r2", "5000", "run"),
        "HELD r1");
    expect_unchanged(before);
    ASK("PEXPIRE", "t:{0}:lease", "1");
    while (!text_begins(ASK("EXISTS", "t:{0}:lease"), "0"))
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
    ASK("HSET", "t:{0}:state", "epoch", "4102444800000", "commit", "77");
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
    reply = ASK_SCRIPT(asking_script(TAKE), 2, "t:{0}:state", "t:{0}:lease", "r1", "5000", "run1");
    assert_non_null(strstr(reply, " 0-0 "));
    ASK("HSET", "t:{0}:state", "pos", "7-9");
    ASK("HSET", "t:{0}:state", "epoch", "4102444800000", "commit", "5");
    reply = ASK_SCRIPT(asking_script(TAKE), 2, "t:{0}:state", "t:{0}:lease", "r1", "5000", "run2");
    snprintf(expected, sizeof(expected), "TAKEN 4102444800001 7-9 ");
    assert_true(text_begins(reply, expected));
    /* Another Redis: histories count anew from this epoch on. */
    assert_non_null(strstr(reply, " run1 4102444800001"));
    EXPECT("run2", "HGET", "t:{0}:state", "run_id");
    ASK("DEL", "t:{0}:lease");
    reply = ASK_SCRIPT(asking_script(TAKE), 2, "t:{0}:state", "t:{0}:lease", "r2", "5000", "run2");
    assert_non_null(strstr(reply, "TAKEN 4102444800002 7-9 "));
    assert_non_null(strstr(reply, " run2 4102444800001"));
}

static void only_its_owner_releases_a_lease(void **state)
{
    (void)state;
    take("r1");
    assert_string_equal(ASK_SCRIPT(asking_script(RELEASE), 1, "t:{0}:lease", "r2"), "0");
    EXPECT("r1", "GET", "t:{0}:lease");
    assert_string_equal(ASK_SCRIPT(asking_script(RELEASE), 1, "t:{0}:lease", "r1"), "1");
    EXPECT("0", "EXISTS", "t:{0}:lease");
    take("r2");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_living_lease_is_respected),
        TEST(each_take_has_a_higher_epoch),
        TEST(the_epoch_rises_over_a_clock_that_went_back),
        TEST(a_take_tells_where_to_go_on),
        TEST(only_its_owner_releases_a_lease),
    };

    return cmocka_run_group_tests(tests, asking_start, asking_stop);
}
