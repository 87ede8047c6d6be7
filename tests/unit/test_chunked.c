#include "gateway/door/chunked.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MAX 100

static struct buffer body;
static size_t used;

/* Of exactly length bytes on the heap, so that a sanitizer sees the first one too many. */
static int read_piece(struct chunked *chunked, const char *bytes, size_t length, size_t *taken)
{
    char *copy = malloc(length ? length : 1);
    int result;

    memcpy(copy, bytes, length);
    result = chunked_read(chunked, slice_of(copy, length), &body, MAX, taken);
    free(copy);
    return result;
}

/* In pieces of that many bytes; what comes behind the end of the body is not offered again. */
static int read_in_pieces(const char *text, size_t size)
{
    struct chunked chunked = {0};
    size_t length = strlen(text), taken;
    int result = -EAGAIN;

    buffer_finish(&body);
    used = 0;
    for (size_t at = 0; at < length && result == -EAGAIN; at += size) {
        result = read_piece(&chunked, text + at, length - at < size ? length - at : size, &taken);
        used += taken;
    }
    return result;
}

static int finish(void **state)
{
    (void)state;
    buffer_finish(&body);
    return 0;
}

static void assert_body(const char *text)
{
    assert_int_equal(body.length, strlen(text));
    assert_memory_equal(body.data, text, body.length);
}

static void test_bodies_cut_at_every_byte(void **state)
{
    static const struct {
        const char *text, *body;
    } cases[] = {
        {"0\r\n\r\n", ""},
        {"000\r\n\r\n", ""},
        {"1\r\na\r\n0\r\n\r\n", "a"},
        {"0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"},
        {"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", "hello, world"},
        {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
        {"4\r\n\r\n0\r\r\n0\r\n\r\n", "\r\n0\r"},
        {"1;name=value\r\na\r\n0;b=\"c;d\"\r\n\r\n", "a"},
        {"1 \t; name\r\na\r\n0\r\n\r\n", "a"},
        {"1\r\na\r\n0\r\nX-Sum: 1\r\ny:\t\r\n\r\n", "a"},
        {"1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "a"},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = strlen(cases[i].text);

        for (size_t size = 1; size <= length; size++) {
            assert_int_equal(read_in_pieces(cases[i].text, size), 0);
            assert_body(cases[i].body);
            assert_int_equal(used, length);
        }
        snprintf(text, sizeof(text), "%s0\r\n\r\nGET / ", cases[i].text);
        assert_int_equal(read_in_pieces(text, strlen(text)), 0);
        assert_body(cases[i].body);
        assert_int_equal(used, length);
        for (size_t end = 0; end < length; end++) {
            snprintf(text, sizeof(text), "%.*s", (int)end, cases[i].text);
            assert_int_equal(read_in_pieces(text, sizeof(text)), -EAGAIN);
        }
    }
}

static void test_what_is_refused(void **state)
{
    static const char *const texts[] = {
        "\r\n",
        "\n",
        " 1\r\na\r\n",
        "g\r\n",
        "-1\r\na\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        "1,1\r\na\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\ra\r\n",
        "1 \r\na\r\n",
        "1 1\r\na\r\n",
        ";a\r\n",
        "1;a\nb\r\na\r\n",
        "1;a\x01\r\na\r\n",
        "1;a\x7f\r\na\r\n",
        "1;a\rb\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r\r\n",
        "1\r\na0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n", /* the line's end is data, and what follows is none */
        "0\n\n",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\r\nname\r\n\r\n",
        "0\r\n name: a\r\n\r\n",
        "0\r\n: a\r\n\r\n",
        "0\r\nna me: a\r\n\r\n",
        "0\r\nname: a\n\r\n",
        "0\r\nname: a\rb\r\n\r\n",
        "0\r\nname: a\r\n b\r\n\r\n",
        "00000000000000001\r\na\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (size_t size = 1; size <= strlen(texts[i]); size++)
            assert_int_equal(read_in_pieces(texts[i], size), -EBADMSG);
}

/* head, count times byte, tail. */
static int read_long(const char *head, size_t count, char byte, const char *tail)
{
    struct buffer text = {0};
    struct chunked chunked = {0};
    int result;

    buffer_finish(&body);
    buffer_append_text(&text, head);
    memset(buffer_reserve(&text, count), byte, count);
    text.length += count;
    buffer_append_text(&text, tail);
    result = read_piece(&chunked, text.data, text.length, &used);
    buffer_finish(&text);
    return result;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(read_long("64\r\n", MAX, 'a', "\r\n0\r\n\r\n"), 0);
    assert_int_equal(read_long("63\r\n", MAX - 1, 'a', "\r\n1\r\na\r\n0\r\n\r\n"), 0);
    assert_int_equal(read_long("64\r\n", MAX, 'a', "\r\n1\r\na\r\n0\r\n\r\n"), -E2BIG);
    /* Nothing of a chunk that is too long is waited for, or kept. */
    assert_int_equal(read_in_pieces("65\r\n", 4), -E2BIG);
    assert_int_equal(read_in_pieces("ffffffffffffffff\r\n", 18), -E2BIG);
    assert_int_equal(read_in_pieces("1\r\na\r\nffffffffffffffff\r\n", 24), -E2BIG);

    assert_int_equal(read_long("1;", CHUNKED_EXTRA_MAX - 1, 'x', "\r\na\r\n0\r\n\r\n"), 0);
    assert_int_equal(read_long("1;", CHUNKED_EXTRA_MAX, 'x', "\r\na\r\n0\r\n\r\n"), -E2BIG);
    assert_int_equal(read_long("1", CHUNKED_EXTRA_MAX + 1, ' ', ""), -E2BIG);
    assert_int_equal(read_long("0\r\n", CHUNKED_EXTRA_MAX, 'x', ""), -EAGAIN);
    assert_int_equal(read_long("0\r\n", CHUNKED_EXTRA_MAX + 1, 'x', ""), -E2BIG);
    assert_int_equal(read_long("0\r\nx:", CHUNKED_EXTRA_MAX - 1, 'x', "\r\n\r\n"), -E2BIG);
    assert_int_equal(read_long("0\r\nx:", CHUNKED_EXTRA_MAX - 2, 'x', "\r\n\r\n"), 0);
    /* All of one body's together. */
    assert_int_equal(read_long("1;", CHUNKED_EXTRA_MAX - 1, 'x', "\r\na\r\n1;\r\na\r\n"), -E2BIG);
}

/* Whatever comes: an answer, not more content than allowed, and nothing outside is touched. */
static void test_garbage(void **state)
{
    static const char seed[] = "5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET";
    char bytes[sizeof(seed)];

    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        struct chunked chunked = {0};

        memcpy(bytes, seed, sizeof(seed));
        for (int change = 0; change <= round % 4; change++)
            bytes[(size_t)rand() % sizeof(seed)] = "\r\n :;0195afx\0"[rand() % 13];
        buffer_finish(&body);
        (void)!read_piece(&chunked, bytes, sizeof(seed) - (size_t)rand() % 8, &used);
        assert_true(used <= sizeof(seed) && body.length <= MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_bodies_cut_at_every_byte, finish),
        cmocka_unit_test_teardown(test_what_is_refused, finish),
        cmocka_unit_test_teardown(test_limits, finish),
        cmocka_unit_test_teardown(test_garbage, finish),
    };

    return cmocka_run_group_tests_name("chunked", tests, NULL, NULL);
}
