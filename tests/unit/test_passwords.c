#include "auth/passwords.h"

#include "common/xalloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

static uv_loop_t loop;
static char *encoded;
static int answers, right_ones;

static void on_hashed(void *arg, const char *text)
{
    (void)arg;
    answers++;
    free(encoded);
    encoded = text ? xstrdup(text) : NULL;
}

static void on_checked(void *arg, bool right)
{
    (void)arg;
    answers++;
    right_ones += right;
}

static bool check(struct passwords *passwords, const char *password, const char *against)
{
    right_ones = 0;
    assert_int_equal(passwords_check(passwords, slice_text(password), against, on_checked, NULL),
                     0);
    uv_run(&loop, UV_RUN_DEFAULT);
    return right_ones == 1;
}

static void only_the_password_is_right(void **state)
{
    struct passwords *passwords = passwords_create(&loop);

    (void)state;
    assert_int_equal(passwords_hash(passwords, slice_of("a\0b", 3), on_hashed, NULL), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_false(check(passwords, "a", encoded));
    assert_int_equal(passwords_hash(passwords, slice_text("secret"), on_hashed, NULL), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_memory_equal(encoded, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
    assert_true(check(passwords, "secret", encoded));
    assert_false(check(passwords, "secret ", encoded));
    assert_false(check(passwords, "", encoded));
    assert_false(check(passwords, "secret", NULL));
    assert_false(check(passwords, "secret", "nonsense"));
    assert_false(check(passwords, "secret", ""));
    passwords_destroy(&passwords);
    assert_null(passwords);
}

static void a_crowd_is_turned_away(void **state)
{
    struct passwords *passwords = passwords_create(&loop);

    (void)state;
    answers = 0;
    for (int i = 0; i < PASSWORDS_MAX; i++)
        assert_int_equal(passwords_check(passwords, slice_text("x"), "nonsense", on_checked, NULL),
                         0);
    assert_int_equal(passwords_hash(passwords, slice_text("x"), on_hashed, NULL), -EBUSY);
    assert_int_equal(passwords_check(passwords, slice_text("x"), NULL, on_checked, NULL), -EBUSY);
    assert_int_equal(passwords_jobs(passwords), PASSWORDS_MAX);
    passwords_destroy(&passwords); /* gone with the last of them */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(answers, PASSWORDS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_password_is_right),
        cmocka_unit_test(a_crowd_is_turned_away),
    };
    int failed;

    uv_loop_init(&loop);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    uv_loop_close(&loop);
    free(encoded);
    return failed;
}
