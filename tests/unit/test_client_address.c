#include "common/client_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void who_asks(void **state)
{
    static const struct {
        const char *peer, *forwarded, *client;
    } cases[] = {
        {"192.0.2.7", "", "192.0.2.7"},
        {"192.0.2.7", "198.51.100.1", "192.0.2.7"}, /* whoever says so is no proxy of ours */
        {"127.0.0.1", "198.51.100.1", "198.51.100.1"},
        {"10.1.2.3", "6.6.6.6, 198.51.100.1", "198.51.100.1"},
        {"172.31.0.1", "198.51.100.1", "198.51.100.1"},
        {"172.32.0.1", "198.51.100.1", "172.32.0.1"},
        {"192.168.0.1", "2001:db8::1", "2001:db8::1"},
        {"::1", "198.51.100.1", "198.51.100.1"},
        {"fd00::1", "198.51.100.1", "198.51.100.1"},
        {"::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"},
        {"2001:db8::1", "198.51.100.1", "2001:db8::1"},
        {"127.0.0.1", "198.51.100.1,", "127.0.0.1"},
        {"127.0.0.1", "  ", "127.0.0.1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLIENT_ADDRESS_SIZE];

        client_address_choose(text, cases[i].peer, slice_text(cases[i].forwarded));
        assert_string_equal(text, cases[i].client);
    }
}

static void a_long_word_is_cut(void **state)
{
    char text[CLIENT_ADDRESS_SIZE], word[1000];

    (void)state;
    memset(word, 'x', sizeof(word));
    client_address_choose(text, "127.0.0.1", slice_of(word, sizeof(word)));
    assert_int_equal(strlen(text), CLIENT_ADDRESS_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks),
        cmocka_unit_test(a_long_word_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
