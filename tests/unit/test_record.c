/*
 * Records: what is written is read, whatever it holds; what is as before is left out; what is no
 * record is refused.
 */
#include "common/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

static struct slice S(const char *text) {
    return slice_text(text);
}

static void
fields_are_written_with_their_lengths(void **state)
{
    struct record_writer writer = {0};
    const struct record_field fields[] = {
        {"at", {0}, 17}, {"from", S("alice"), 0}, {"id", {0}, 0}, {"body", S("{\"a\":1}"), 0}};

    (void)state;
    record_write(&writer, fields, 4);
    buffer_append_byte(&writer.text, '\0');
    assert_string_equal(writer.text.data, "at 2:17 from 5:alice body 7:{\"a\":1}\n");
    record_writer_finish(&writer);
}

static void what_is_as_before_is_left_out(void **state)
{
    struct record_writer writer = {0};

    (void)state;
    record_write(&writer, (struct record_field[]){{"from", S("ann"), 0}, {"id", S("1"), 0}}, 2);
    record_write(&writer, (struct record_field[]){{"from", S("ann"), 0}, {"id", S("2"), 0}}, 2);
    record_write(&writer, (struct record_field[]){{"from", S("ann"), 0}, {"id", S("2"), 0}}, 2);
    record_write(&writer, (struct record_field[]){{"from", S("bob"), 0}, {"id", S(""), 0}}, 2);
    buffer_append_byte(&writer.text, '\0');
    assert_string_equal(writer.text.data, "from 3:ann id 1:1\nid 1:2\n\nfrom 3:bob id 0:\n");
    record_writer_finish(&writer);
}

static void what_is_written_is_read(void **state)
{
    static const char body[] = "line\nid 3:no \0 colon:";
    struct record_writer writer = {0};
    struct record_reader reader;

    (void)state;
    record_write(
        &writer,
        (struct record_field[]){{"at", {0}, UINT64_MAX}, {"body", slice_of(body, sizeof(body)), 0}},
        2);
    record_write(&writer, (struct record_field[]){{"at", {0}, UINT64_MAX}, {"body", S("x"), 0}}, 2);
    record_write(&writer, (struct record_field[]){{"at", {0}, 0}, {"body", S("x"), 0}}, 2);
    record_reader_start(&reader, buffer_slice(&writer.text));
    assert_int_equal(record_next(&reader), 1);
    assert_true(record_number(&reader, "at") == UINT64_MAX);
    assert_true(slice_equal(record_text(&reader, "body"), slice_of(body, sizeof(body))));
    assert_int_equal(record_text(&reader, "id").length, 0);
    assert_int_equal(record_next(&reader), 1);
    assert_true(record_number(&reader, "at") == UINT64_MAX);
    assert_true(slice_is(record_text(&reader, "body"), "x"));
    assert_int_equal(record_next(&reader), 1);
    assert_int_equal(record_number(&reader, "at"), 0);
    assert_true(slice_is(record_text(&reader, "body"), "x"));
    assert_int_equal(record_next(&reader), 0);
    record_writer_finish(&writer);
}

/* Whatever is cut off a text, or changed in it, is read or refused, and never read past its end. */
static void what_is_no_record_is_refused(void **state)
{
    static const char *const texts[] = {
        "id",
        "id ",
        "id 1",
        "id 1:",
        "id 1:x",
        "id :x\n",
        "id x:x\n",
        "id -1:x\n",
        "id 2:x\n",
        "id 1:xy 1:z\n",
        "id 1:x\nfrom",
        " 1:x",
        "id 1:x ",
        "id 1:xx\n",
        "id 99999999999999999999999:x\n",
        "id 18446744073709551615:x\n",
        "a 1:x b 1:x c 1:x d 1:x e 1:x f 1:x g 1:x h 1:x i 1:x j 1:x k 1:x l 1:x m 1:x n 1:x o 1:x "
        "p 1:x q 1:x\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice text = S(texts[i]);
        char *copy = malloc(text.length);
        struct record_reader reader;
        int result;

        memcpy(copy, text.data, text.length);
        record_reader_start(&reader, slice_of(copy, text.length));
        while ((result = record_next(&reader)) == 1)
            ;
        if (result != -EBADMSG)
            fail_msg("was read: %s", texts[i]);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_written_with_their_lengths),
        cmocka_unit_test(what_is_as_before_is_left_out),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_no_record_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
