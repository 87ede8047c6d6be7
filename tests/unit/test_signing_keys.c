#include "auth/signing_keys.h"

#include "common/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char directory[] = "/tmp/trunkline-keys-XXXXXX";
static char inner[64]; /* made by the keys themselves */

/* With a key of this algorithm: one is made, if the newest is of another and from before this
 * second. */
static struct signing_keys *create_with(const char *algorithm)
{
    struct buffer error = {0};
    struct signing_keys *keys = signing_keys_create(inner, algorithm, &error);

    assert_int_equal(error.length, 0);
    assert_non_null(keys);
    return keys;
}

static struct signing_keys *create(void)
{
    return create_with("RS256");
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
    const struct signing_key *key = signing_keys_current(keys, time(NULL));
    struct stat status;

    (void)state;
    assert_int_equal(signing_keys_count(keys), 1);
    assert_int_equal(stat(inner, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(last_file(), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(strlen(key->kid), 43);
    assert_string_equal(key->algorithm, "RS256");
    assert_non_null(strstr(key->jwk, "\"e\":\"AQAB\""));
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
    assert_string_equal(signing_keys_at(first, 0)->kid, signing_keys_at(second, 0)->kid);
    signing_keys_destroy(&first);
    signing_keys_destroy(&second);
}

/* Moves the times of all files of the directory. */
static void age_files(int seconds)
{
    char command[256];

    snprintf(command, sizeof(command), "touch -d '-%d seconds' '%s'/*", seconds, inner);
    assert_int_equal(system(command), 0);
}

static void make_key(const char *algorithm)
{
    struct buffer error = {0};

    assert_int_equal(signing_key_make(inner, algorithm, INT64_MAX, &error), 1);
    assert_int_equal(error.length, 0);
}

static void refresh(struct signing_keys *keys, int expected)
{
    struct buffer error = {0};

    assert_int_equal(signing_keys_refresh(keys, &error), expected);
    assert_int_equal(error.length, 0);
}

static void a_new_key_signs_when_all_know_it(void **state)
{
    struct signing_keys *keys = create(), *same = create();
    char *old = strdup(signing_keys_at(keys, 0)->kid);
    struct buffer jwks = {0};
    int64_t now = time(NULL);

    (void)state;
    refresh(keys, 0);
    age_files(100);
    make_key("ES256");
    refresh(keys, 1);
    refresh(keys, 0);
    refresh(same, 1);
    assert_int_equal(signing_keys_count(keys), 2);
    assert_string_equal(signing_keys_at(keys, 0)->kid, old);
    assert_string_equal(signing_keys_at(keys, 1)->algorithm, "ES256");
    assert_string_equal(signing_keys_current(keys, now)->kid, old);
    assert_ptr_equal(signing_keys_current(keys, now + SIGNING_KEY_DELAY_S + 3),
                     signing_keys_at(keys, 1));
    signing_keys_append_jwks(keys, &jwks);
    buffer_append_byte(&jwks, '\0');
    assert_non_null(strstr(jwks.data, signing_keys_at(keys, 0)->kid));
    assert_non_null(strstr(jwks.data, signing_keys_at(keys, 1)->jwk));
    assert_non_null(strstr(jwks.data, "\"alg\":\"ES256\""));
    buffer_finish(&jwks);
    signing_keys_destroy(&keys);
    signing_keys_destroy(&same);
    free(old);
}

static void the_old_one_is_retired_when_its_tokens_have_expired(void **state)
{
    struct signing_keys *keys = create_with("ES256"); /* as the newest is */
    char *next = strdup(signing_keys_at(keys, 1)->kid);
    int64_t made = signing_keys_at(keys, 1)->made_at;

    (void)state;
    assert_int_equal(signing_keys_retire(keys, 3600, made + 3600), 0);
    assert_int_equal(signing_keys_retire(keys, 3600, made + 3600 + SIGNING_KEY_DELAY_S), 0);
    assert_int_equal(signing_keys_retire(keys, 3600, made + 3600 + 200), 1);
    refresh(keys, 1);
    assert_int_equal(signing_keys_count(keys), 1);
    assert_string_equal(signing_keys_at(keys, 0)->kid, next);
    assert_int_equal(signing_keys_retire(keys, 0, made + 1000000), 0);
    signing_keys_destroy(&keys);
    free(next);
}

static void another_algorithm_makes_another_key(void **state)
{
    struct buffer error = {0};
    struct signing_keys *keys;

    (void)state;
    age_files(100);
    keys = signing_keys_create(inner, "RS256", &error);
    assert_int_equal(signing_keys_count(keys), 2);
    assert_string_equal(signing_keys_at(keys, 1)->algorithm, "RS256");
    signing_keys_destroy(&keys);
    keys = signing_keys_create(inner, "RS256", &error);
    assert_int_equal(signing_keys_count(keys), 2);
    assert_false(signing_keys_are_old(keys, 60, time(NULL)));
    assert_true(signing_keys_are_old(keys, 60, time(NULL) + 100));
    assert_false(signing_keys_are_old(keys, 0, time(NULL) + 100));
    /* Another process was quicker. */
    assert_int_equal(signing_key_make(inner, "RS256", signing_keys_at(keys, 1)->made_at, &error),
                     0);
    signing_keys_destroy(&keys);
}

static void a_broken_file_changes_nothing(void **state)
{
    struct signing_keys *keys = create();
    struct buffer error = {0};
    char path[128];
    FILE *file;

    (void)state;
    snprintf(path, sizeof(path), "%s/x.pem", inner);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(signing_keys_refresh(keys, &error), -EINVAL);
    assert_true(error.length > 0);
    assert_int_equal(signing_keys_count(keys), 2);
    assert_int_equal(signing_keys_refresh(keys, &error), 0); /* said once */
    unlink(path);
    refresh(keys, 0);
    buffer_finish(&error);
    signing_keys_destroy(&keys);
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
    assert_null(signing_keys_create(inner, "RS256", &error));
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
        cmocka_unit_test(a_new_key_signs_when_all_know_it),
        cmocka_unit_test(the_old_one_is_retired_when_its_tokens_have_expired),
        cmocka_unit_test(another_algorithm_makes_another_key),
        cmocka_unit_test(a_broken_file_changes_nothing),
        cmocka_unit_test(no_key_is_no_key),
        cmocka_unit_test(without_keys_the_set_is_empty),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
