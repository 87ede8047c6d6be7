#include "gateway/session/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define LIMIT 10

static struct websocket_piece piece_of(const char *text, size_t remaining, bool first, bool last)
{
    return (struct websocket_piece){
        .bytes = slice_text(text), .remaining = remaining, .first = first, .last = last};
}

static int add(struct message *message, struct websocket_piece piece, struct slice *whole)
{
    return message_add(message, &piece, LIMIT, whole);
}

static void test_one_piece_is_not_copied(void **state)
{
    struct message message = {0};
    static const char text[] = "hello";
    struct slice whole;

    (void)state;
    assert_int_equal(add(&message, piece_of(text, 0, true, true), &whole), 1);
    assert_ptr_equal(whole.data, text);
    assert_int_equal(whole.length, 5);
    assert_null(message.gathered.data);
    assert_int_equal(add(&message, piece_of("", 0, true, true), &whole), 1);
    assert_int_equal(whole.length, 0);
}

static void test_pieces_are_put_together(void **state)
{
    struct message message = {0};
    struct slice whole;

    (void)state;
    assert_int_equal(add(&message, piece_of("he", 3, true, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("llo", 0, false, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("", 0, false, false), &whole), 0);
    assert_int_equal(add(&message, piece_of(" you!", 0, false, true), &whole), 1);
    assert_true(slice_is(whole, "hello you!"));
    /* The next message forgets it. */
    assert_int_equal(add(&message, piece_of("a", 1, true, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("b", 0, false, true), &whole), 1);
    assert_true(slice_is(whole, "ab"));
    buffer_finish(&message.gathered);
}

static void test_limit(void **state)
{
    struct message message = {0};
    struct slice whole;

    (void)state;
    assert_int_equal(add(&message, piece_of("0123456789", 0, true, true), &whole), 1);
    assert_int_equal(add(&message, piece_of("0123456789a", 0, true, true), &whole), -EMSGSIZE);
    /* At its beginning, before anything is kept. */
    assert_int_equal(add(&message, piece_of("01", 9, true, false), &whole), -EMSGSIZE);
    assert_int_equal(add(&message, piece_of("01", SIZE_MAX, true, false), &whole), -EMSGSIZE);
    assert_null(message.gathered.data);
    /* In parts that each are short. */
    assert_int_equal(add(&message, piece_of("01234567", 0, true, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("ab", 0, false, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("c", 0, false, true), &whole), -EMSGSIZE);
    buffer_finish(&message.gathered);
}

static void test_text_is_checked_whole(void **state)
{
    struct message message = {0};
    struct websocket_piece binary = piece_of("\xff", 0, true, true);
    struct slice whole;

    (void)state;
    assert_int_equal(add(&message, piece_of("\xc3", 1, true, false), &whole), 0);
    assert_int_equal(add(&message, piece_of("\xbc", 0, false, true), &whole), 1);
    assert_true(slice_is(whole, "\xc3\xbc"));
    assert_int_equal(add(&message, piece_of("\xc3", 0, true, true), &whole), -EILSEQ);
    binary.binary = true;
    assert_int_equal(add(&message, binary, &whole), 1);
    buffer_finish(&message.gathered);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"ascii of some length, more than a word", true},
        {"\xc2\x80\xdf\xbf", true},
        {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
        {"1234567\xe2\x82\xac", true}, /* across a word */
        {"\x80", false},               /* a continuation alone */
        {"\xc0\x80", false},           /* not the shortest */
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},     /* a surrogate */
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\xc3", false}, /* cut */
        {"\xe2\x82", false},
        {"\xf0\x90\x80", false},
        {"\xe2\x28\xa1", false},
        {"\xe2\x82\x28", false},
        {"\xf0\x90\x28\xbc", false},
        {"12345678123456\xff", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(message_is_utf8(slice_text(cases[i].text)), cases[i].valid);
    assert_true(message_is_utf8(slice_of("\0", 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_piece_is_not_copied),
        cmocka_unit_test(test_pieces_are_put_together),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_text_is_checked_whole),
        cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
