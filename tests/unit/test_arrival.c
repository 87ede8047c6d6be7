/*
 * A client's end of a connection, and what it is answered: where one request ends and the next
 * begins, and when the connection ends.
 */
#include "gateway/door/arrival.h"

#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX 16
#define IDLE_MAX 3
#define REQUESTS_MAX 5
#define CLIENTS 8

static struct {
    struct test_loop loop;
    struct arrivals *arrivals;
    struct arrival *later; /* asked for /later, not answered yet */
    int detached;          /* the descriptor of /upgrade; -1: none */
    char rest[64];         /* what came behind its head */
    int gone;
    int client[CLIENTS];
    struct buffer heard[CLIENTS]; /* what it was answered */
    bool ended[CLIENTS];
} test;

#define run_until(condition) loop_until(&test.loop, condition)

/* ---- the gateway's side ---- */

/* Says what was understood: "GET /path" or "POST /path (body)". */
static void answer(struct arrival *arrival)
{
    const struct request *request = arrival_request(arrival);
    struct slice body = arrival_body(arrival);
    struct buffer text = {0}, out = {0};

    buffer_appendf(&text, "%.*s %.*s", (int)request->method.length, request->method.data,
                   (int)request->path.length, request->path.data);
    if (body.length > 0)
        buffer_appendf(&text, " (%.*s)", (int)body.length, body.data);
    buffer_appendf(&out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", text.length,
                   (int)text.length, text.data);
    buffer_finish(&text);
    arrival_answer(arrival, &out);
}

static void on_gone(void *arg)
{
    (void)arg;
    test.gone++;
}

static void on_request(void *arg, struct arrival *arrival)
{
    const struct request *request = arrival_request(arrival);
    struct slice rest = arrival_rest(arrival);

    (void)arg;
    if (slice_is(request->path, "/later")) {
        test.later = arrival;
        arrival_on_gone(arrival, on_gone, NULL);
    } else if (slice_is(request->path, "/upgrade")) {
        snprintf(test.rest, sizeof(test.rest), "%.*s", (int)rest.length, rest.data);
        test.detached = arrival_detach(arrival);
        arrival_release(arrival);
    } else {
        answer(arrival);
    }
}

static void on_failure(void *arg, int status, struct buffer *out)
{
    (void)arg;
    buffer_appendf(out, "HTTP/1.1 %d Failure\r\nContent-Length: 4\r\n\r\nfail", status);
}

static size_t body_max(void *arg, const struct request *request)
{
    (void)arg;
    return slice_is(request->method, "POST") && !slice_is(request->path, "/unread") ? BODY_MAX : 0;
}

/* ---- the client's side ---- */

static void connect_client(int client)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    test.client[client] = ends[0];
    arrivals_add(test.arrivals, ends[1], "127.0.0.1");
}

static void say(int client, const char *text, size_t length)
{
    assert_int_equal(send(test.client[client], text, length, MSG_NOSIGNAL), length);
}

static void hear(int client)
{
    struct buffer *heard = &test.heard[client];
    ssize_t length;

    do {
        length = recv(test.client[client], buffer_reserve(heard, 65536), 65536, 0);
        heard->length += length > 0 ? (size_t)length : 0;
    } while (length > 0);
    test.ended[client] = length == 0;
}

/* An answer in short, "200 GET / keep", behind the others; returns what follows it. */
static const char *shorten(const char *at, struct buffer *out)
{
    const char *head_end = strstr(at, "\r\n\r\n"), *length, *close;
    int bytes;

    if (strncmp(at, "HTTP/1.1 100 ", 13) == 0) {
        buffer_append_text(out, "continue; ");
        return head_end + 4;
    }
    if (head_end == NULL)
        return NULL;
    length = strstr(at, "Content-Length: ");
    close = strstr(at, "Connection: close");
    assert_true(length && length < head_end);
    bytes = strncmp(head_end + 4, "HTTP", 4) == 0 || head_end[4] == '\0'
                ? 0 /* of HEAD */
                : atoi(length + strlen("Content-Length: "));
    buffer_appendf(out, "%.3s%s%.*s %s; ", at + 9, bytes ? " " : "", bytes, head_end + 4,
                   close && close < head_end ? "close" : "keep");
    return head_end + 4 + bytes;
}

/* All it was answered so far, in short; "end" when the connection is ended. */
static const char *heard(int client)
{
    static struct buffer out;
    const char *at;

    hear(client);
    buffer_append_byte(&test.heard[client], '\0');
    test.heard[client].length--;
    buffer_reset(&out, SIZE_MAX);
    for (at = test.heard[client].data; at && *at;)
        at = shorten(at, &out);
    if (test.ended[client])
        buffer_append_text(&out, "end");
    buffer_append_byte(&out, '\0');
    return out.data;
}

#define await(client, text) run_until(strcmp(heard(client), text) == 0)

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        uv_run(&test.loop.loop, UV_RUN_NOWAIT);
}

/* Says and awaits nothing but that. */
static void exchange(int client, const char *text, const char *expected)
{
    say(client, text, strlen(text));
    await(client, expected);
    turn();
    assert_string_equal(heard(client), expected);
}

static void hang_up(int client)
{
    if (test.client[client] >= 0)
        close(test.client[client]);
    test.client[client] = -1;
    test.ended[client] = false;
    buffer_finish(&test.heard[client]);
}

static int set_up(void **state)
{
    (void)state;
    loop_open(&test.loop);
    test.arrivals = arrivals_create(&(struct arrivals_options){
        .loop = &test.loop.loop,
        .head_timeout_ms = 1000,
        .idle_timeout_ms = 60000,
        .idle_max = IDLE_MAX,
        .requests_max = REQUESTS_MAX,
        .body_max = body_max,
        .on_request = on_request,
        .on_failure = on_failure,
    });
    test.later = NULL;
    test.detached = -1;
    test.gone = 0;
    for (int i = 0; i < CLIENTS; i++)
        test.client[i] = -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arrivals_destroy(&test.arrivals);
    for (int i = 0; i < CLIENTS; i++)
        hang_up(i);
    if (test.detached >= 0)
        close(test.detached);
    loop_close(&test.loop);
    return 0;
}

/* Other times than set_up's. */
static void set_times(uint64_t head_ms, uint64_t idle_ms)
{
    arrivals_destroy(&test.arrivals);
    test.arrivals = arrivals_create(&(struct arrivals_options){
        .loop = &test.loop.loop,
        .head_timeout_ms = head_ms,
        .idle_timeout_ms = idle_ms,
        .idle_max = IDLE_MAX,
        .requests_max = REQUESTS_MAX,
        .body_max = body_max,
        .on_request = on_request,
        .on_failure = on_failure,
    });
}

/* ---- where requests end ---- */

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path, headers, body) "POST " path " HTTP/1.1\r\nHost: x\r\n" headers "\r\n" body
#define LENGTH(n) "Content-Length: " #n "\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static const struct {
    const char *said, *heard;
} conversations[] = {
    {GET("/a") GET("/b") GET("/c"), "200 GET /a keep; 200 GET /b keep; 200 GET /c keep; "},
    {POST("/a", LENGTH(3), "abc") GET("/b"), "200 POST /a (abc) keep; 200 GET /b keep; "},
    {POST("/a", LENGTH(0), "") GET("/b"), "200 POST /a keep; 200 GET /b keep; "},
    {POST("/a", CHUNKED, "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: t\r\n\r\n") GET("/b"),
     "200 POST /a (abcd) keep; 200 GET /b keep; "},
    {POST("/a", CHUNKED, "0\r\n\r\n") POST("/b", LENGTH(2), "\r\n") GET("/c"),
     "200 POST /a keep; 200 POST /b (\r\n) keep; 200 GET /c keep; "},
    {POST("/a", LENGTH(16), "GET / HTTP/1.1\r\n") GET("/b"),
     "200 POST /a (GET / HTTP/1.1\r\n) keep; 200 GET /b keep; "},
    {"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" GET("/b"), "200 keep; 200 GET /b keep; "},
    {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", "200 GET /a keep; "},
    /* As many as one connection may have. */
    {GET("/1") GET("/2") GET("/3") GET("/4") GET("/5") GET("/6"),
     "200 GET /1 keep; 200 GET /2 keep; 200 GET /3 keep; 200 GET /4 keep; 200 GET /5 close; end"},
    /* The client's wish, and what knows no better. */
    {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n" GET("/b"),
     "200 GET /a close; end"},
    {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/b"), "200 GET /a close; end"},
    /* What follows is not certain to be a request. */
    {POST("/unread", LENGTH(3), "abc") GET("/b"), "200 POST /unread close; end"},
    {POST("/a", LENGTH(17), GET("/b")), "200 POST /a close; end"},
    {POST("/a", "", GET("/b")), "200 POST /a close; end"},
    {"GET /a HTTP/1.1\r\nHost: x\r\n" LENGTH(3) "\r\nabc" GET("/b"), "200 GET /a close; end"},
    {"GET /a HTTP/1.1\r\nHost: x\r\n" CHUNKED "\r\n0\r\n\r\n" GET("/b"), "200 GET /a close; end"},
    {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" GET("/b"),
     "200 GET /a close; end"},
    {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
     "200 GET /a keep; "},
    /* What two could read in two ways. */
    {POST("/a", LENGTH(3) CHUNKED, "abc") GET("/b"), "400 fail close; end"},
    {POST("/a", CHUNKED LENGTH(3), "0\r\n\r\n") GET("/b"), "400 fail close; end"},
    {POST("/a", LENGTH(3) LENGTH(3), "abc") GET("/b"), "400 fail close; end"},
    {POST("/unread", LENGTH(3) CHUNKED, "abc") GET("/b"), "400 fail close; end"},
    {POST("/a", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") GET("/b"),
     "501 fail close; end"},
    {"POST /a HTTP/1.0\r\n" CHUNKED "\r\n0\r\n\r\n" GET("/b"), "400 fail close; end"},
    {POST("/a", CHUNKED, "3\r\nabcd\r\n0\r\n\r\n") GET("/b"), "400 fail close; end"},
    {POST("/a", CHUNKED, "3\nabc\r\n0\r\n\r\n") GET("/b"), "400 fail close; end"},
    {POST("/a", CHUNKED, "11\r\n") GET("/b"), "413 fail close; end"},
    {GET("/a") "nonsense\r\n\r\n" GET("/b"), "200 GET /a keep; 400 fail close; end"},
};

/* However it is cut into pieces, it is understood in the same way. */
static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++) {
        const char *said = conversations[i].said;
        size_t length = strlen(said);

        for (size_t size = 1; size <= length; size += size < 8 ? 1 : size) {
            connect_client(0);
            for (size_t at = 0; at < length && !test.ended[0]; at += size) {
                /* It may have ended meanwhile: what is said behind its end is heard by nobody. */
                (void)!send(test.client[0], said + at, length - at < size ? length - at : size,
                            MSG_NOSIGNAL);
                turn();
            }
            await(0, conversations[i].heard);
            turn();
            assert_string_equal(heard(0), conversations[i].heard);
            hang_up(0);
            run_until(arrivals_count(test.arrivals) == 0);
        }
        /* In two pieces, cut at every byte. */
        for (size_t cut = 1; cut < length; cut++) {
            connect_client(0);
            say(0, said, cut);
            turn();
            (void)!send(test.client[0], said + cut, length - cut, MSG_NOSIGNAL);
            await(0, conversations[i].heard);
            hang_up(0);
            run_until(arrivals_count(test.arrivals) == 0);
        }
    }
}

static void test_a_body_is_asked_for(void **state)
{
    (void)state;
    connect_client(0);
    exchange(0, POST("/a", LENGTH(3) "Expect: 100-continue\r\n", ""), "continue; ");
    exchange(0, "abc", "continue; 200 POST /a (abc) keep; ");
    exchange(0, POST("/b", CHUNKED "Expect: 100-Continue\r\n", ""),
             "continue; 200 POST /a (abc) keep; continue; ");
    exchange(0, "1\r\na\r\n0\r\n\r\n",
             "continue; 200 POST /a (abc) keep; continue; 200 POST /b (a) keep; ");
    /* It is here already; it will not be read, and may come or not. */
    connect_client(1);
    exchange(1, POST("/a", LENGTH(3) "Expect: 100-continue\r\n", "abc"),
             "200 POST /a (abc) keep; ");
    exchange(1, POST("/a", LENGTH(17) "Expect: 100-continue\r\n", ""),
             "200 POST /a (abc) keep; 200 POST /a close; end");
}

/* The second request is read when the first is answered, not before. */
static void test_answers_come_in_order(void **state)
{
    (void)state;
    connect_client(0);
    exchange(0, GET("/later") GET("/b"), "");
    assert_non_null(test.later);
    answer(test.later);
    await(0, "200 GET /later keep; 200 GET /b keep; ");
    exchange(0, GET("/c"), "200 GET /later keep; 200 GET /b keep; 200 GET /c keep; ");
}

static void test_a_client_that_goes_is_forgotten(void **state)
{
    (void)state;
    connect_client(0);
    exchange(0, GET("/a"), "200 GET /a keep; ");
    exchange(0, GET("/later"), "200 GET /a keep; ");
    hang_up(0);
    run_until(test.gone == 1);
    assert_int_equal(arrivals_count(test.arrivals), 0);
}

static void test_an_upgrade_on_a_kept_connection(void **state)
{
    (void)state;
    connect_client(0);
    exchange(0, POST("/a", CHUNKED, "1\r\na\r\n0\r\n\r\n"), "200 POST /a (a) keep; ");
    exchange(0, GET("/upgrade") "frames", "200 POST /a (a) keep; ");
    assert_true(test.detached >= 0);
    assert_string_equal(test.rest, "frames");
    assert_int_equal(arrivals_count(test.arrivals), 0);
    assert_int_equal(send(test.detached, "x", 1, 0), 1);
}

/* ---- bounds ---- */

static void test_idle_connections_end(void **state)
{
    (void)state;
    set_times(20000, 500);
    connect_client(0);
    exchange(0, GET("/a"), "200 GET /a keep; ");
    await(0, "200 GET /a keep; end");
    /* Nothing came: nothing is said. */
    set_times(300, 60000);
    hang_up(0);
    connect_client(0);
    await(0, "end");
}

static void test_a_late_second_request_is_408(void **state)
{
    (void)state;
    set_times(300, 60000);
    connect_client(0);
    exchange(0, GET("/a") "GET /b", "200 GET /a keep; ");
    await(0, "200 GET /a keep; 408 fail close; end");
    connect_client(1);
    exchange(1, GET("/a"), "200 GET /a keep; ");
    exchange(1, POST("/b", CHUNKED, "3\r\nab"), "200 GET /a keep; ");
    await(1, "200 GET /a keep; 408 fail close; end");
}

/* As many as are allowed; what the others are told is true. */
static void test_so_many_are_kept(void **state)
{
    (void)state;
    for (int i = 0; i < IDLE_MAX; i++) {
        connect_client(i);
        exchange(i, GET("/a"), "200 GET /a keep; ");
    }
    connect_client(IDLE_MAX);
    exchange(IDLE_MAX, GET("/a"), "200 GET /a close; end");
    for (int i = 0; i < IDLE_MAX; i++)
        exchange(i, GET("/b"), "200 GET /a keep; 200 GET /b keep; ");
    hang_up(0);
    run_until(arrivals_count(test.arrivals) == IDLE_MAX - 1);
    connect_client(0);
    exchange(0, GET("/a"), "200 GET /a keep; ");
}

/* Who has been idle for long makes room for one more. */
static void test_the_longest_idle_makes_room(void **state)
{
    (void)state;
    for (int i = 0; i < IDLE_MAX; i++) {
        connect_client(i);
        exchange(i, GET("/a"), "200 GET /a keep; ");
    }
    exchange(0, GET("/b"), "200 GET /a keep; 200 GET /b keep; ");
    do {
        hang_up(IDLE_MAX);
        connect_client(IDLE_MAX);
        say(IDLE_MAX, GET("/a"), strlen(GET("/a")));
        run_until(strlen(heard(IDLE_MAX)) > 0);
    } while (strcmp(heard(IDLE_MAX), "200 GET /a keep; ") != 0);
    await(1, "200 GET /a keep; end");
    assert_int_equal(arrivals_count(test.arrivals), IDLE_MAX);
    exchange(0, GET("/c"), "200 GET /a keep; 200 GET /b keep; 200 GET /c keep; ");
}

static void test_draining(void **state)
{
    (void)state;
    for (int i = 0; i < IDLE_MAX; i++) {
        connect_client(i);
        exchange(i, GET("/a"), "200 GET /a keep; ");
    }
    exchange(0, GET("/later"), "200 GET /a keep; ");
    say(1, GET("/b"), strlen(GET("/b"))); /* not read yet */
    arrivals_drain(test.arrivals);
    await(1, "200 GET /a keep; 200 GET /b close; end");
    await(2, "200 GET /a keep; end");
    assert_string_equal(heard(0), "200 GET /a keep; ");
    answer(test.later);
    await(0, "200 GET /a keep; 200 GET /later close; end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conversations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_body_is_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_client_that_goes_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_upgrade_on_a_kept_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle_connections_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_second_request_is_408, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_so_many_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_longest_idle_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_draining, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("arrival", tests, NULL, NULL);
}
