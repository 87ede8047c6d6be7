#include "gateway/door/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V4_BLOCK "\xc0\0\2\7\xc0\0\2\1\x12\x34\0\x50"

struct good {
    const char *bytes;
    size_t length;
    const char *address;
};

#define TEXT(text) text, sizeof(text) - 1

static const struct good good[] = {
    {TEXT("PROXY TCP4 192.0.2.7 192.0.2.1 4660 80\r\n"), "192.0.2.7"},
    {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n"), "1.2.3.4"},
    {TEXT("PROXY TCP6 2001:db8::7 ::1 4660 80\r\n"), "2001:db8::7"},
    {TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {TEXT("PROXY UNKNOWN\r\n"), ""},
    {TEXT("PROXY UNKNOWN whatever it says here\r\n"), ""},
    {TEXT(V2 "\x21\x11\0\x0c" V4_BLOCK), "192.0.2.7"},
    {TEXT(V2 "\x21\x11\0\x0f" V4_BLOCK "\4\0\0"), "192.0.2.7"}, /* with a TLV */
    {TEXT(V2 "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x12\x34\0\x50"),
     "2001:db8::7"},
    {TEXT(V2 "\x20\0\0\0"), ""},              /* LOCAL: a health check */
    {TEXT(V2 "\x20\x11\0\x0c" V4_BLOCK), ""}, /* whose addresses do not count */
    {TEXT(V2 "\x21\0\0\0"), ""},              /* UNSPEC */
    {TEXT(V2 "\x21\x31\0\2xx"), ""},          /* a UNIX socket */
};

/* As it comes byte by byte: never wants more than there is, and ends where it ends. */
static void headers_are_read_to_their_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct proxy_header header;
        size_t length = 0;
        int result;

        while ((result = proxy_header_read(slice_of(good[i].bytes, length), &header)) == -EAGAIN) {
            assert_true(header.length > length);
            assert_true(header.length <= good[i].length);
            length = header.length;
        }
        assert_int_equal(result, 0);
        assert_int_equal(header.length, good[i].length);
        assert_string_equal(header.address, good[i].address);
        for (length = 0; length < good[i].length; length++)
            assert_int_equal(proxy_header_read(slice_of(good[i].bytes, length), &header), -EAGAIN);
    }
}

static void what_follows_is_not_read(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_int_equal(
        proxy_header_read(slice_text("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n"),
                          &header),
        0);
    assert_int_equal(header.length, 32);
}

static void what_is_no_header_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        {TEXT("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
        {TEXT("\x16\x03\x01")},
        {TEXT("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n")},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n")},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n")},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n")},
        {TEXT("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n")},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n")},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n")},
        {TEXT("PROXY TCP4 1.2.3.400 5.6.7.8 1 2\r\n")},
        {TEXT("PROXY TCP4 ::1 ::1 1 2\r\n")},
        {TEXT("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n")},
        {TEXT("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n")},
        {TEXT("PROXY \r\n        \r\n")},
        {TEXT("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789"
              "0123456789012345678901234567890123456789")},
        {TEXT(V2 "\x22\x11\0\x0c" V4_BLOCK)},                      /* neither LOCAL nor PROXY */
        {TEXT(V2 "\x11\x11\0\x0c" V4_BLOCK)},                      /* version 1 */
        {TEXT(V2 "\x21\x11\0\x0b\xc0\0\2\7\xc0\0\2\1\x12\x34\0")}, /* too short for its kind */
        {TEXT(V2 "\x21\x21\0\x0c" V4_BLOCK)},
        {TEXT(V2 "\x21\x11\xff\xff")}, /* too long */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct proxy_header header;

        assert_int_equal(proxy_header_read(slice_of(bad[i].bytes, bad[i].length), &header),
                         -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_to_their_end),
        cmocka_unit_test(what_follows_is_not_read),
        cmocka_unit_test(what_is_no_header_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
