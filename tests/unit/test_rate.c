#include "gateway/session/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define SECOND 1000000ull

static const struct rate rate = {.per_second = 100, .burst = 200};

static unsigned take_all(struct rate_bucket *bucket, uint64_t now_us)
{
    unsigned taken = 0;

    while (rate_take(bucket, &rate, now_us) == 0)
        taken++;
    return taken;
}

static void test_burst_then_rate(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    assert_int_equal(take_all(&bucket, SECOND), 200);
    assert_int_equal(take_all(&bucket, SECOND), 0);
    assert_int_equal(take_all(&bucket, 2 * SECOND), 100);
    assert_int_equal(take_all(&bucket, 2 * SECOND + 10000), 1);
    assert_int_equal(take_all(&bucket, 1000 * SECOND), 200);
}

static void test_debts_are_paid_back(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    assert_int_equal(rate_wait(&bucket, &rate, SECOND), 0);
    rate_charge(&bucket, &rate, 500, SECOND);
    /* 300 are owed, and one is asked for. */
    assert_int_equal(rate_wait(&bucket, &rate, SECOND), 3010);
    assert_int_equal(rate_take(&bucket, &rate, SECOND), 3010);
    assert_int_equal(take_all(&bucket, SECOND + 3009000), 0);
    assert_int_equal(take_all(&bucket, SECOND + 3010000), 1);
    rate_charge(&bucket, &rate, 0, 100 * SECOND);
    assert_int_equal(take_all(&bucket, 100 * SECOND), 200);
}

static void test_retry_after_is_true(void **state)
{
    struct rate_bucket bucket = {0};
    uint64_t wait_ms;

    (void)state;
    take_all(&bucket, SECOND);
    wait_ms = rate_take(&bucket, &rate, SECOND);
    assert_int_equal(wait_ms, 10);
    assert_int_equal(rate_take(&bucket, &rate, SECOND + 8999), 2);
    assert_int_equal(rate_take(&bucket, &rate, SECOND + wait_ms * 1000), 0);
}

static void test_refusal_takes_nothing(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    take_all(&bucket, SECOND);
    for (int i = 0; i < 1000; i++)
        assert_int_not_equal(rate_take(&bucket, &rate, SECOND), 0);
    assert_false(rate_is_full(&bucket, 3 * SECOND - 1));
    assert_true(rate_is_full(&bucket, 3 * SECOND));
}

static void test_users_share_a_bucket(void **state)
{
    struct rate_users *users = rate_users_create();
    struct rate_user *phone = rate_user_get(users, slice_text("alice"), SECOND);
    struct rate_user *laptop = rate_user_get(users, slice_text("alice"), SECOND);
    struct rate_user *bob = rate_user_get(users, slice_text("bob"), SECOND);

    (void)state;
    assert_ptr_equal(phone, laptop);
    assert_ptr_not_equal(phone, bob);
    assert_int_equal(take_all(rate_user_buckets(phone), SECOND), 200);
    assert_int_equal(take_all(rate_user_buckets(bob), SECOND), 200);
    rate_user_put(users, &phone, SECOND);
    assert_null(phone);
    assert_int_equal(take_all(rate_user_buckets(laptop), SECOND), 0);
    rate_user_put(users, &laptop, SECOND);
    rate_user_put(users, &bob, SECOND);
    rate_users_destroy(&users);
    assert_null(users);
}

static void test_reconnecting_fills_no_bucket(void **state)
{
    struct rate_users *users = rate_users_create();
    struct rate_user *alice = rate_user_get(users, slice_text("alice"), SECOND);

    (void)state;
    take_all(rate_user_buckets(alice), SECOND);
    rate_user_put(users, &alice, SECOND);
    assert_int_equal(rate_users_count(users), 1);
    alice = rate_user_get(users, slice_text("alice"), 2 * SECOND);
    assert_int_equal(take_all(rate_user_buckets(alice), 2 * SECOND), 100);
    rate_user_put(users, &alice, 2 * SECOND);
    rate_users_destroy(&users);
}

static void test_full_buckets_are_forgotten(void **state)
{
    struct rate_users *users = rate_users_create();
    struct rate_user *alice = rate_user_get(users, slice_text("alice"), SECOND);
    struct rate_user *bob = rate_user_get(users, slice_text("bob"), SECOND);

    (void)state;
    rate_user_put(users, &bob, SECOND);
    assert_int_equal(rate_users_count(users), 1);
    take_all(rate_user_buckets(alice), SECOND);
    rate_user_put(users, &alice, SECOND);
    assert_int_equal(rate_users_count(users), 1);
    bob = rate_user_get(users, slice_text("bob"), 4 * SECOND);
    assert_int_equal(rate_users_count(users), 1);
    rate_user_put(users, &bob, 4 * SECOND);
    assert_int_equal(rate_users_count(users), 0);
    rate_user_put(users, &bob, 4 * SECOND);
    rate_users_destroy(&users);
    rate_users_destroy(&users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_debts_are_paid_back),
        cmocka_unit_test(test_retry_after_is_true),
        cmocka_unit_test(test_refusal_takes_nothing),
        cmocka_unit_test(test_users_share_a_bucket),
        cmocka_unit_test(test_reconnecting_fills_no_bucket),
        cmocka_unit_test(test_full_buckets_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
