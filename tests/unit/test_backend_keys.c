#include "gateway/api/backend_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define SECRET "0123456789abcdef"

static void test_keys_and_scopes(void **state)
{
    struct buffer error = {0};
    struct backend_keys *keys = backend_keys_create("a:publish:" SECRET "1 \n b:read,notify:" SECRET
                                                    ":with:colons\tc:admin:" SECRET "3 ",
                                                    "", &error);

    (void)state;
    assert_non_null(keys);
    assert_int_equal(backend_keys_count(keys), 3);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET "1")), BACKEND_SCOPE_PUBLISH);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET ":with:colons")),
                     BACKEND_SCOPE_READ | BACKEND_SCOPE_NOTIFY);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET "3")), BACKEND_SCOPES_ALL);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET)), 0);
    assert_int_equal(backend_keys_scopes(keys, slice_text("")), 0);
    assert_int_equal(backend_keys_scopes(keys, slice_of(NULL, 0)), 0);
    backend_keys_destroy(&keys);
    assert_null(keys);
}

static void test_wrong_keys(void **state)
{
    static const char *const cases[] = {
        "a",
        "a:publish",
        "a:publish:",
        ":publish:" SECRET,
        "a::" SECRET,
        "a:publish:short",
        "a:everything:" SECRET,
        "a:publish,:" SECRET " b",
        "a:publish,,read:" SECRET,
        "a:PUBLISH:" SECRET,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer error = {0};

        if (backend_keys_create(cases[i], "", &error) != NULL)
            fail_msg("%s is taken", cases[i]);
        buffer_append_byte(&error, '\0');
        assert_non_null(strstr(error.data, "TRUNKLINE_API_KEYS: "));
        assert_null(strstr(error.data, SECRET));
        buffer_finish(&error);
    }
}

static void test_a_file_of_keys(void **state)
{
    static const char text[] = "# of the shop\n\nshop:publish:" SECRET " # rotated\n";
    char path[] = "/tmp/trunkline-keys-XXXXXX";
    struct buffer error = {0};
    struct backend_keys *keys;
    int descriptor = mkstemp(path);

    (void)state;
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, sizeof(text) - 1), sizeof(text) - 1);
    close(descriptor);
    keys = backend_keys_create("b:read:" SECRET "2", path, &error);
    assert_non_null(keys);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET)), BACKEND_SCOPE_PUBLISH);
    assert_int_equal(backend_keys_scopes(keys, slice_text(SECRET "2")), BACKEND_SCOPE_READ);
    backend_keys_destroy(&keys);
    unlink(path);
    assert_null(backend_keys_create("", path, &error));
    buffer_append_byte(&error, '\0');
    assert_non_null(strstr(error.data, path));
    buffer_finish(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_scopes),
        cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_a_file_of_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
