#include "gateway/identity/revocations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void a_revocation_is_known_until_it_expires(void **state)
{
    struct revocations *revocations = revocations_create(10);

    (void)state;
    assert_false(revocations_has(revocations, "a"));
    assert_true(revocations_add(revocations, slice_text("a"), 100, 50));
    assert_false(revocations_add(revocations, slice_text("a"), 100, 50));
    assert_false(revocations_add(revocations, slice_text("b"), 50, 50));
    assert_true(revocations_has(revocations, "a"));
    assert_false(revocations_has(revocations, "b"));
    assert_true(revocations_add(revocations, slice_text("c"), 200, 100));
    assert_false(revocations_has(revocations, "a"));
    revocations_destroy(&revocations);
    assert_null(revocations);
}

static void the_oldest_goes_when_it_is_full(void **state)
{
    struct revocations *revocations = revocations_create(2);

    (void)state;
    assert_true(revocations_add(revocations, slice_text("a"), 100, 1));
    assert_true(revocations_add(revocations, slice_text("b"), 100, 1));
    assert_true(revocations_add(revocations, slice_text("c"), 100, 1));
    assert_int_equal(revocations_count(revocations), 2);
    assert_false(revocations_has(revocations, "a"));
    assert_true(revocations_has(revocations, "b"));
    assert_true(revocations_has(revocations, "c"));
    revocations_destroy(&revocations);
}

static void test_all_of_a_users_tokens(void **state)
{
    struct revocations *revocations = revocations_create(2);

    (void)state;
    assert_true(revocations_add_user(revocations, slice_text("bob"), 100, 1000, 100));
    assert_true(revocations_has_user(revocations, "bob", 0));
    assert_true(revocations_has_user(revocations, "bob", 100));
    assert_false(revocations_has_user(revocations, "bob", 101));
    assert_false(revocations_has_user(revocations, "bo", 100));
    /* Older news are none, later ones are. */
    assert_false(revocations_add_user(revocations, slice_text("bob"), 99, 2000, 100));
    assert_false(revocations_add_user(revocations, slice_text("carol"), 90, 100, 100));
    assert_true(revocations_add_user(revocations, slice_text("bob"), 101, 1000, 100));
    assert_true(revocations_has_user(revocations, "bob", 101));
    /* Full: the one known longest goes. */
    assert_true(revocations_add_user(revocations, slice_text("carol"), 100, 1000, 100));
    assert_true(revocations_add_user(revocations, slice_text("dave"), 100, 1000, 100));
    assert_false(revocations_has_user(revocations, "bob", 0));
    assert_true(revocations_has_user(revocations, "dave", 0));
    revocations_destroy(&revocations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_revocation_is_known_until_it_expires),
        cmocka_unit_test(the_oldest_goes_when_it_is_full),
        cmocka_unit_test(test_all_of_a_users_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
