#include "auth/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW 1800000000

static char path[] = "/tmp/trunkline-secret-XXXXXX";
static struct settings settings = {.token_secret_file = path,
                                   .token_issuer = "us",
                                   .token_audience = "chat",
                                   .admins = "root,Zoë"};

static struct tokens *create(void)
{
    struct buffer error = {0};
    struct tokens *tokens = tokens_create(&settings, NULL, &error);

    assert_non_null(tokens);
    return tokens;
}

/* Issues one and reads it back. */
static void round_trip(const char *user, bool admin)
{
    struct tokens *tokens = create();
    struct issued_token token;
    struct identity identity = {0};

    token_plan(&token, NOW, 60);
    assert_int_equal(token_sign(tokens, slice_text(user), NOW, &token), 0);
    assert_int_equal(token_check(tokens, slice_text(token.text), NOW, &identity), VERIFIER_OK);
    assert_string_equal(identity.user, user);
    assert_string_equal(identity.token_id, token.token_id);
    assert_int_equal(identity.issued_at, NOW);
    assert_int_equal(identity.expires_at, NOW + 60);
    assert_int_equal(identity.admin, admin);
    assert_null(identity.subscribe_topics);
    identity_finish(&identity);
    assert_int_equal(token_check(tokens, slice_text(token.text), NOW + 60, &identity),
                     VERIFIER_EXPIRED);
    free(token.text);
    tokens_destroy(&tokens);
}

static void what_is_issued_is_accepted(void **state)
{
    (void)state;
    round_trip("alice", false);
    round_trip("guest:1", false);
    round_trip("\"\\ |:{}🙂", false);
    round_trip("root", true);
    round_trip("Zoë", true);
    round_trip("roo", false);
    round_trip("root,Zoë", false);
}

/* Signed by libjwt, checked without it. */
static void each_algorithm_is_accepted(void **state)
{
    static const char *const algorithms[] = {"RS256", "ES256"};
    static const struct settings plain = {
        .token_secret_file = "", .token_issuer = "", .token_audience = "", .admins = ""};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char directory[] = "/tmp/trunkline-keys-XXXXXX", command[64];
        struct buffer error = {0};
        struct identity identity = {0};
        struct issued_token token;
        struct signing_keys *keys;
        struct tokens *tokens;

        assert_non_null(mkdtemp(directory));
        keys = signing_keys_create(directory, algorithms[i], &error);
        assert_non_null(keys);
        tokens = tokens_create(&plain, keys, &error);
        assert_non_null(tokens);
        for (int n = 0; n < 20; n++) {
            token_plan(&token, NOW, 60);
            assert_int_equal(token_sign(tokens, slice_text("alice"), NOW, &token), 0);
            assert_int_equal(token_check(tokens, slice_text(token.text), NOW, &identity),
                             VERIFIER_OK);
            identity_finish(&identity);
            free(token.text);
        }
        tokens_keys_changed(tokens);
        tokens_destroy(&tokens);
        signing_keys_destroy(&keys);
        snprintf(command, sizeof(command), "rm -r '%s'", directory);
        assert_int_equal(system(command), 0);
    }
}

static void ids_differ(void **state)
{
    struct issued_token one, other;

    (void)state;
    token_plan(&one, NOW, 1);
    token_plan(&other, NOW, 1);
    assert_int_equal(strlen(one.token_id), TOKEN_ID_SIZE - 1);
    assert_string_not_equal(one.token_id, other.token_id);
}

static void a_secret_must_be_long(void **state)
{
    static const struct {
        const char *text;
        bool fits;
    } cases[] = {
        {"", false},
        {"\n", false},
        {"0123456789012345678901234567890", false},
        {"0123456789012345678901234567890\n", false},
        {"01234567890123456789012345678901\r\n", true},
        {"01234567890123456789012345678901", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer error = {0};
        struct tokens *tokens;
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        fputs(cases[i].text, file);
        fclose(file);
        tokens = tokens_create(&settings, NULL, &error);
        assert_int_equal(tokens != NULL, cases[i].fits);
        assert_int_equal(error.length == 0, cases[i].fits);
        tokens_destroy(&tokens);
        buffer_finish(&error);
    }
}

/* ---- refresh tokens ----------------------------------------------------------------------------
 */

static void a_refresh_token_is_read_back(void **state)
{
    struct refresh_token made, read, next;
    char user[USER_ID_MAX];

    (void)state;
    memset(user, 'x', sizeof(user));
    refresh_token_make(&made, slice_of(user, sizeof(user)), NULL);
    assert_int_equal(refresh_token_read(&read, slice_text(made.text)), 0);
    assert_string_equal(read.user, made.user);
    assert_string_equal(read.login, made.login);
    assert_string_equal(read.hash, made.hash);
    refresh_token_make(&next, slice_of(user, sizeof(user)), made.login);
    assert_string_equal(next.login, made.login);
    assert_string_not_equal(next.text, made.text);
    assert_string_not_equal(next.hash, made.hash);
}

#define LOGIN "0123456789abcdef0123456789abcdef"

static void what_never_was_one_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        ".",
        "..",
        LOGIN,
        LOGIN ".x",
        LOGIN ".x.",
        LOGIN ".x.!",
        LOGIN ".x.U0VSVkVS",   /* SERVER */
        LOGIN ".x.Z3Vlc3Q6MQ", /* guest:1 */
        "0123456789ABCDEF0123456789ABCDEF.x.YWxpY2U",
        "0123456789abcdef.x.YWxpY2U",
        LOGIN "0.x.YWxpY2U",
    };
    struct refresh_token token;
    char longest[REFRESH_TOKEN_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (refresh_token_read(&token, slice_text(texts[i])) != -EINVAL)
            fail_msg("%s", texts[i]);
    memset(longest, 'A', sizeof(longest));
    memcpy(longest, LOGIN ".", strlen(LOGIN "."));
    longest[40] = '.';
    assert_int_equal(refresh_token_read(&token, slice_of(longest, sizeof(longest))), -EINVAL);
    assert_int_equal(refresh_token_read(&token, slice_text(LOGIN ".x.YWxpY2U")), 0);
    assert_string_equal(token.user, "alice");
}

static int setup(void **state)
{
    static const char secret[] = "a secret of more than thirty-two bytes\n";
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0 || write(fd, secret, strlen(secret)) < 0)
        return -1;
    return close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_issued_is_accepted),
        cmocka_unit_test(each_algorithm_is_accepted),
        cmocka_unit_test(ids_differ),
        cmocka_unit_test(a_secret_must_be_long),
        cmocka_unit_test(a_refresh_token_is_read_back),
        cmocka_unit_test(what_never_was_one_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
