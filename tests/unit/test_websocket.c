/*
 * The door to libwebsockets: the library itself, and a client that is one end of a socket pair.
 */
#include "gateway/door/websocket.h"

#include "common/buffer.h"
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_BYTES 200

static struct {
    struct test_loop loop;
    struct websocket_server *server;
    struct websocket *websocket;
    int client;
    size_t messages, bytes;
    bool ended;
} test;

#define run_until(condition) loop_until(&test.loop, condition)

static void on_open(void *owner, struct websocket *websocket)
{
    (void)owner;
    test.websocket = websocket;
}

static void on_piece(void *owner, const struct websocket_piece *piece)
{
    (void)owner;
    test.messages += piece->last;
    test.bytes += piece->bytes.length;
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void on_end(void *owner)
{
    (void)owner;
    test.ended = true;
}

static int set_up(void **state)
{
    static const struct websocket_handlers handlers = {
        .on_open = on_open,
        .on_piece = on_piece,
        .on_pong = on_nothing,
        .on_peer_close = on_nothing,
        .on_writable = on_nothing,
        .on_end = on_end,
    };
    static const struct websocket_upgrade upgrade = {
        .key = {"dGhlIHNhbXBsZSBub25jZQ==", 24},
    };
    static int owner;
    int ends[2];

    (void)state;
    memset(&test, 0, sizeof(test));
    loop_open(&test.loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    test.client = ends[0];
    test.server = websocket_server_create(&test.loop.loop, &handlers);
    assert_non_null(test.server);
    websocket_adopt(test.server, ends[1], &upgrade, &owner);
    run_until(test.websocket != NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(test.client);
    run_until(test.ended);
    websocket_server_stop(test.server);
    loop_close(&test.loop);
    websocket_server_destroy(&test.server);
    return 0;
}

/* In one write, as a client does that has so much to say. */
static void say(size_t count)
{
    /* RFC 6455, 5.2: final text, masked, 16 bits of length, a mask of zeroes. */
    static const unsigned char head[8] = {0x81, 0xfe, 0, MESSAGE_BYTES};
    static const char text[MESSAGE_BYTES] = "hello";
    struct buffer frames = {0};

    for (size_t i = 0; i < count; i++) {
        buffer_append(&frames, head, sizeof(head));
        buffer_append(&frames, text, sizeof(text));
    }
    assert_int_equal(write(test.client, frames.data, frames.length), frames.length);
    buffer_finish(&frames);
}

static void run_turn(void)
{
    uv_run(&test.loop.loop, UV_RUN_ONCE);
}

static void what_is_sent_at_once_is_read_in_one_turn(void **state)
{
    (void)state;
    say(20);
    while (test.messages == 0)
        run_turn();
    assert_int_equal(test.messages, 20);
    assert_int_equal(test.bytes, 20 * MESSAGE_BYTES);
}

static void a_turn_takes_only_so_much_of_a_connection(void **state)
{
    (void)state;
    say(200);
    while (test.messages == 0)
        run_turn();
    assert_in_range(test.messages, 20, 60);
    run_until(test.messages == 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_sent_at_once_is_read_in_one_turn),
        TEST(a_turn_takes_only_so_much_of_a_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
