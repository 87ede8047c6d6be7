#include "common/buffer.h"
#include "gateway/session/outbox.h"
#include "gateway/door/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct wire *text_wire(const char *text)
{
    return wire_create(WIRE_TEXT, slice_text(text));
}

static void test_headers(void **state)
{
    static const struct {
        enum wire_opcode opcode;
        size_t length;
        unsigned char header[10];
        size_t header_length;
    } cases[] = {
        {WIRE_TEXT, 0, {0x81, 0}, 2},
        {WIRE_TEXT, 1, {0x81, 1}, 2},
        {WIRE_BINARY, 125, {0x82, 125}, 2},
        {WIRE_BINARY, 126, {0x82, 126, 0, 126}, 4},
        {WIRE_TEXT, 65535, {0x81, 126, 0xff, 0xff}, 4},
        {WIRE_TEXT, 65536, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10},
        {WIRE_TEXT, 0x1234567, {0x81, 127, 0, 0, 0, 0, 1, 0x23, 0x45, 0x67}, 10},
        {WIRE_PING, 0, {0x89, 0}, 2},
        {WIRE_PONG, 3, {0x8a, 3}, 2},
        {WIRE_CLOSE, 2, {0x88, 2}, 2},
    };
    char *payload = malloc(0x1234567);

    (void)state;
    memset(payload, 'x', 0x1234567);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire *wire = wire_create(cases[i].opcode, slice_of(payload, cases[i].length));

        assert_int_equal(wire->references, 1);
        assert_int_equal(wire->length, cases[i].header_length + cases[i].length);
        assert_memory_equal(wire->bytes, cases[i].header, cases[i].header_length);
        assert_memory_equal(wire->bytes + cases[i].header_length, payload, cases[i].length);
        wire_unref(&wire);
        assert_null(wire);
    }
    free(payload);
}

static void test_references(void **state)
{
    struct wire *wire = text_wire("shared"), *other = wire_ref(wire), *none = NULL;

    (void)state;
    assert_ptr_equal(wire, other);
    assert_int_equal(wire->references, 2);
    wire_unref(&other);
    assert_null(other);
    assert_int_equal(wire->references, 1);
    wire_unref(&wire);
    wire_unref(&none);
}

static void push_text(struct outbox *outbox, const char *text)
{
    struct wire *wire = text_wire(text);

    outbox_push(outbox, wire);
    wire_unref(&wire);
}

static void test_frames_leave_in_order_and_whole(void **state)
{
    struct outbox outbox = {0};
    char room[16];
    struct wire *held;
    struct slice run;

    (void)state;
    for (int i = 0; i < 9; i++)
        push_text(&outbox, (char[]){(char)('a' + i), 'x', 0});
    assert_int_equal(outbox.count, 9);
    assert_int_equal(outbox.bytes, 36);

    run = outbox_take(&outbox, room, 11, &held);
    assert_null(held);
    assert_int_equal(run.length, 8);
    assert_memory_equal(run.data,
                        "\x81\x02"
                        "ax"
                        "\x81\x02"
                        "bx",
                        8);
    assert_int_equal(outbox.bytes, 28);
    for (int i = 9; i < 30; i++)
        push_text(&outbox, (char[]){(char)('a' + i % 26), 'x', 0});
    for (int i = 2; i < 29; i++) {
        run = outbox_take(&outbox, room, 4, &held);
        assert_int_equal(run.length, 4);
        assert_int_equal(run.data[2], 'a' + i % 26);
        assert_null(held);
    }
    /* The last one alone is given where it lies. */
    run = outbox_take(&outbox, room, sizeof(room), &held);
    assert_non_null(held);
    assert_ptr_equal(run.data, held->bytes);
    wire_unref(&held);
    assert_true(outbox_is_empty(&outbox));
    assert_int_equal(outbox.bytes, 0);
    assert_int_equal(outbox_take(&outbox, room, sizeof(room), &held).length, 0);
    assert_null(held);
    outbox_finish(&outbox);
}

static void test_a_frame_longer_than_the_room(void **state)
{
    struct outbox outbox = {0};
    char room[8];
    struct wire *held;
    struct slice run;

    (void)state;
    push_text(&outbox, "a");
    push_text(&outbox, "much longer than the room");
    push_text(&outbox, "b");
    run = outbox_take(&outbox, room, sizeof(room), &held);
    assert_int_equal(run.length, 3);
    assert_null(held);
    run = outbox_take(&outbox, room, sizeof(room), &held);
    assert_int_equal(run.length, 27);
    assert_non_null(held);
    wire_unref(&held);
    assert_int_equal(outbox.count, 1);
    outbox_finish(&outbox);
    assert_int_equal(outbox.bytes, 0);
}

static void test_memory_comes_back(void **state)
{
    struct outbox outbox = {0};
    char room[64];
    struct wire *held;

    (void)state;
    push_text(&outbox, "a");
    outbox_trim(&outbox);
    assert_non_null(outbox.ring);
    outbox_take(&outbox, room, sizeof(room), &held);
    wire_unref(&held);
    outbox_trim(&outbox);
    assert_null(outbox.ring);
    push_text(&outbox, "b");
    assert_int_equal(outbox.count, 1);
    outbox_finish(&outbox);
    assert_null(outbox.ring);
}

static void test_a_deflated_frame_is_made_once_and_shorter(void **state)
{
    char text[1000];
    struct wire *wire, *deflated, *kept;

    (void)state;
    memset(text, 'a', sizeof(text));
    wire = wire_create(WIRE_TEXT, slice_of(text, sizeof(text)));
    deflated = wire_deflate(wire);
    assert_ptr_equal(wire_deflate(wire), deflated);
    assert_true(deflated->length < 100);
    assert_int_equal((unsigned char)deflated->bytes[0], 0xc1);
    kept = wire_ref(deflated);
    wire_unref(&wire);
    assert_int_equal(kept->references, 1);
    wire_unref(&kept);
}

static void test_what_does_not_shrink_stays(void **state)
{
    struct wire *wire = text_wire("short");
    unsigned char noise[400];
    uint32_t random = 1;

    (void)state;
    assert_ptr_equal(wire_deflate(wire), wire);
    wire_unref(&wire);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (unsigned char)((random = random * 1664525 + 1013904223) >> 24);
    wire = wire_create(WIRE_BINARY, slice_of(noise, sizeof(noise)));
    assert_ptr_equal(wire_deflate(wire), wire);
    wire_unref(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_a_deflated_frame_is_made_once_and_shorter),
        cmocka_unit_test(test_what_does_not_shrink_stays),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_frames_leave_in_order_and_whole),
        cmocka_unit_test(test_a_frame_longer_than_the_room),
        cmocka_unit_test(test_memory_comes_back),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
