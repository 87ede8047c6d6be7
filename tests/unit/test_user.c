#include "common/user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static const struct {
    const char *user;
    size_t length;
    bool allowed, from_auth;
} cases[] = {
#define TEXT(text) text, sizeof(text) - 1
    {TEXT("alice"), true, true},
    {TEXT("a"), true, true},
    {TEXT("Zoë 🙂 |:%{}"), true, true},
    {TEXT("server"), true, true},
    {TEXT("group"), true, true},
    {TEXT("guestbook"), true, true},
    {TEXT("\xf4\x8f\xbf\xbf"), true, true},
    {TEXT("guest:1"), false, true},
    {TEXT("guest:"), false, true},
    {TEXT(""), false, false},
    {TEXT("SERVER"), false, false},
    {TEXT("BROADCAST"), false, false},
    {TEXT("*"), false, false},
    {TEXT("group:a"), false, false},
    {TEXT("group:"), false, false},
    {TEXT("a\n"), false, false},
    {TEXT("a\0b"), false, false},
    {TEXT("a\x7f"), false, false},
    {TEXT("a\xc2\x85"), false, false},        /* U+0085, a control */
    {TEXT("a\xff"), false, false},            /* no UTF-8 */
    {TEXT("a\x80"), false, false},            /* no beginning */
    {TEXT("a\xc3"), false, false},            /* cut off */
    {TEXT("\xc1\xa1"), false, false},         /* 'a' in two bytes */
    {TEXT("\xe0\x9f\xbf"), false, false},     /* two bytes' worth in three */
    {TEXT("\xed\xa0\x80"), false, false},     /* a surrogate */
    {TEXT("\xf4\x90\x80\x80"), false, false}, /* beyond U+10FFFF */
    {TEXT("\xf8\x88\x80\x80\x80"), false, false},
#undef TEXT
};

static void only_good_names_are_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice user = slice_of(cases[i].user, cases[i].length);

        if (user_allowed(user, false) != cases[i].allowed ||
            user_allowed(user, true) != cases[i].from_auth)
            fail_msg("case %zu", i);
    }
}

static void a_name_has_128_bytes_at_most(void **state)
{
    char name[USER_ID_MAX + 1];

    (void)state;
    memset(name, 'x', sizeof(name));
    assert_true(user_allowed(slice_of(name, USER_ID_MAX), false));
    assert_false(user_allowed(slice_of(name, USER_ID_MAX + 1), false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_good_names_are_allowed),
        cmocka_unit_test(a_name_has_128_bytes_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
