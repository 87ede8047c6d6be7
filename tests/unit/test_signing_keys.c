#include "auth/signing_keys.h"

#include "common/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/trunkline-keys-XXXXXX";
static char inner[64]; /* made by the keys themselves */

static struct signing_keys *create(void)
{
    struct buffer error = {0};
    struct signing_keys *keys = signing_keys_create(inner, &error);

    assert_int_equal(error.length, 0);
    assert_non_null(keys);
    return keys;
}

/* The name of the directory's only file, or of the one that sorts last. */
static char *last_file(void)
{
    static char path[512];
    struct dirent **entries;
    int count = scandir(inner, &entries, NULL, alphasort);

    assert_true(count > 2);
    snprintf(path, sizeof(path), "%s/%s", inner, entries[count - 1]->d_name);
    while (count-- > 0)
        free(entries[count]);
    free(entries);
    return path;
}

static void the_first_start_makes_a_private_key(void **state)
{
    struct signing_keys *keys = create();
    struct token_keys *accepted = token_keys_create();
    const struct signing_key *key = signing_keys_current(keys);
    struct stat status;

    (void)state;
    assert_int_equal(signing_keys_count(keys), 1);
    assert_int_equal(stat(inner, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(last_file(), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(strlen(key->kid), 43);
    assert_string_equal(key->exponent, "AQAB");
    assert_int_equal(token_keys_add(accepted, slice_text(key->kid), slice_text(key->public_pem)),
                     0);
    assert_null(strstr(key->public_pem, "PRIVATE"));
    token_keys_destroy(&accepted);
    signing_keys_destroy(&keys);
}

static void later_starts_find_it(void **state)
{
    struct signing_keys *first = create(), *second = create();

    (void)state;
    assert_int_equal(signing_keys_count(second), 1);
    assert_string_equal(signing_keys_current(first)->kid, signing_keys_current(second)->kid);
    signing_keys_destroy(&first);
    signing_keys_destroy(&second);
}

static void the_one_that_sorts_last_signs(void **state)
{
    struct signing_keys *old = create(), *both;
    struct buffer jwks = {0};
    char aside[128], path[128];

    (void)state;
    snprintf(aside, sizeof(aside), "%s.aside", inner);
    assert_int_equal(rename(last_file(), aside), 0);
    both = create();
    signing_keys_destroy(&both);
    snprintf(path, sizeof(path), "%s/0.pem", inner);
    assert_int_equal(rename(aside, path), 0);
    both = create();
    assert_int_equal(signing_keys_count(both), 2);
    assert_string_equal(signing_keys_at(both, 0)->kid, signing_keys_current(old)->kid);
    assert_string_not_equal(signing_keys_current(both)->kid, signing_keys_current(old)->kid);
    signing_keys_append_jwks(both, &jwks);
    buffer_append_byte(&jwks, '\0');
    assert_non_null(strstr(jwks.data, signing_keys_at(both, 0)->kid));
    assert_non_null(strstr(jwks.data, signing_keys_at(both, 1)->modulus));
    buffer_finish(&jwks);
    signing_keys_destroy(&old);
    signing_keys_destroy(&both);
}

static void no_key_is_no_key(void **state)
{
    struct buffer error = {0};
    char path[128];
    FILE *file;

    (void)state;
    snprintf(path, sizeof(path), "%s/x.pem", inner);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", file);
    fclose(file);
    assert_null(signing_keys_create(inner, &error));
    buffer_append_byte(&error, '\0');
    assert_non_null(strstr(error.data, "TRUNKLINE_AUTH_KEYS"));
    assert_non_null(strstr(error.data, "x.pem"));
    buffer_finish(&error);
    unlink(path);
}

static void without_keys_the_set_is_empty(void **state)
{
    struct buffer jwks = {0};

    (void)state;
    signing_keys_append_jwks(NULL, &jwks);
    assert_true(slice_is(buffer_slice(&jwks), "{\"keys\":[]}"));
    buffer_finish(&jwks);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(inner, sizeof(inner), "%s/a/b", directory);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_start_makes_a_private_key),
        cmocka_unit_test(later_starts_find_it),
        cmocka_unit_test(the_one_that_sorts_last_signs),
        cmocka_unit_test(no_key_is_no_key),
        cmocka_unit_test(without_keys_the_set_is_empty),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
