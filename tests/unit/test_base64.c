#include "common/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

static const struct {
    const char *bytes, *text;
} pairs[] = {
    /* RFC 4648, section 10. */
    {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},          {"foob", "Zm9vYg"},
    {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"},
};

static void both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct slice bytes = slice_text(pairs[i].bytes);
        struct buffer text = {0};
        unsigned char back[6];

        base64url_append(&text, bytes.data, bytes.length);
        assert_true(slice_is(buffer_slice(&text), pairs[i].text));
        assert_int_equal(base64url_decode(buffer_slice(&text), back, bytes.length), bytes.length);
        assert_memory_equal(back, bytes.data, bytes.length);
        assert_int_equal(base64url_decode(buffer_slice(&text), back, bytes.length - 1), -EINVAL);
        buffer_finish(&text);
    }
}

static void with_padding(void **state)
{
    static const struct {
        const char *bytes, *text;
    } padded[] = {{"", ""},
                  {"f", "Zg=="},
                  {"fo", "Zm8="},
                  {"foo", "Zm9v"},
                  {"foob", "Zm9vYg=="},
                  {"fooba", "Zm9vYmE="},
                  {"foobar", "Zm9vYmFy"},
                  {"\xfb\xff\xbf", "+/+/"}};

    (void)state;
    for (size_t i = 0; i < sizeof(padded) / sizeof(padded[0]); i++) {
        struct buffer text = {0};

        base64_append(&text, slice_text(padded[i].bytes));
        assert_true(slice_is(buffer_slice(&text), padded[i].text));
        buffer_finish(&text);
    }
}

static void other_forms_are_refused(void **state)
{
    static const char *const texts[] = {"", "A", "AAAAA", "Zg==", "Zm 8", "Zm+8", "Zm/8", "Zm\n8"};
    unsigned char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(base64url_valid(slice_text(texts[i])));
        assert_int_equal(base64url_decode(slice_text(texts[i]), out, sizeof(out)), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(with_padding),
        cmocka_unit_test(other_forms_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
