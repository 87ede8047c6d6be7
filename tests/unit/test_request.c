#include "common/buffer.h"
#include "gateway/door/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HOST "Host: x\r\n"

static char *head;
static struct request request;

/* Of exactly length bytes on the heap, so that a sanitizer sees the first one too many. */
static int parse_bytes(const char *bytes, size_t length)
{
    free(head);
    head = malloc(length ? length : 1);
    memcpy(head, bytes, length);
    return request_parse(&request, head, length);
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void assert_slice(struct slice slice, const char *text)
{
    if (text == NULL) {
        assert_null(slice.data);
        return;
    }
    assert_non_null(slice.data);
    assert_int_equal(slice.length, strlen(text));
    assert_memory_equal(slice.data, text, slice.length);
}

static int release(void **state)
{
    (void)state;
    free(head);
    head = NULL;
    return 0;
}

static void test_an_upgrade(void **state)
{
    static const char text[] = "GET /ws?token=a.b-c_d&name=J%c3%bcrgen+M HTTP/1.1\r\n"
                               "Host: example.org\r\n"
                               "Connection: keep-alive , Upgrade\r\n"
                               "UPGRADE:websocket\r\n"
                               "Sec-WebSocket-Protocol: a, access_token.x\r\n"
                               "Sec-WebSocket-Protocol: b\r\n"
                               "\r\n\x81\x80rest";

    (void)state;
    assert_int_equal(parse_bytes(text, sizeof(text) - 1), 0);
    assert_slice(request.method, "GET");
    assert_slice(request.path, "/ws");
    assert_int_equal(request.minor_version, 1);
    assert_int_equal(request.length, sizeof(text) - 1 - 6);
    assert_slice(request_parameter(&request, "token"), "a.b-c_d");
    assert_slice(request_parameter(&request, "name"), "J\xc3\xbcrgen M");
    assert_slice(request_parameter(&request, "nothing"), NULL);
    assert_slice(request_header(&request, "upgrade"), "websocket");
    assert_slice(request_header(&request, "cookie"), NULL);
    assert_true(request_list_has(&request, "connection", "upgrade"));
    assert_true(request_list_has(&request, "sec-websocket-protocol", "B"));
    assert_false(request_list_has(&request, "sec-websocket-protocol", "access_token"));
    assert_false(request_list_has(&request, "connection", "keep"));
}

static void test_queries(void **state)
{
    static const struct {
        const char *query;
        const char *value; /* of a; NULL: there is none */
    } cases[] = {
        {"", NULL},
        {"?", NULL},
        {"?a", ""},
        {"?a=", ""},
        {"?a=1", "1"},
        {"?b=2&a=1", "1"},
        {"?a=1&a=2", "1"},
        {"?&&a=1&", "1"},
        {"?a=b=c", "b=c"},
        {"?%61=1", "1"},
        {"?a=%2B+", "+ "},
        {"?a=%25%32", "%2"},
        {"?a=1?b=2", "1?b=2"},
        {"?=1", NULL},
        {"?A=1", NULL},
        {"?a=%e2%82%ac", "\xe2\x82\xac"},
    };
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        strcpy(text, "GET /ws");
        strcat(strcat(text, cases[i].query), " HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(parse(text), 0);
        assert_slice(request_parameter(&request, "a"), cases[i].value);
    }
}

static void test_what_is_refused(void **state)
{
    static const char *const texts[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        " / HTTP/1.1\r\n" HOST "\r\n",
        "GET  / HTTP/1.1\r\n" HOST "\r\n",
        "G(T / HTTP/1.1\r\n" HOST "\r\n",
        "GET  HTTP/1.1\r\n" HOST "\r\n",
        "GET * HTTP/1.1\r\n" HOST "\r\n",
        "GET ws HTTP/1.1\r\n" HOST "\r\n",
        "GET http://x/ HTTP/1.1\r\n" HOST "\r\n",
        "GET /\x01 HTTP/1.1\r\n" HOST "\r\n",
        "GET /\xc3\xbc HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/2.0\r\n" HOST "\r\n",
        "GET / HTTP/1.2\r\n" HOST "\r\n",
        "GET / HTTP/1.1 \r\n" HOST "\r\n",
        "GET / http/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\n" HOST "\r\n",
        "GET /?a=% HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=%2 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=%2x HTTP/1.1\r\n" HOST "\r\n",
        "GET /?%=1 HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1\r\n\r\n",              /* no host */
        "GET / HTTP/1.1\r\n" HOST HOST "\r\n", /* two */
        "GET / HTTP/1.1\r\n" HOST "A\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A : a\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST " A: a\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: a\r\n b\r\n\r\n", /* a continued line */
        "GET / HTTP/1.1\r\n" HOST "A: a\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: a\nB: b\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: a\rB: b\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(parse(texts[i]), -EBADMSG);
    assert_int_equal(parse_bytes("GET / HTTP/1.1\r\nHost: \0\r\n\r\n", 28), -EBADMSG);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 0);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost:\r\nA:\t \r\n\r\n"), 0);
    assert_slice(request_header(&request, "a"), "");
}

static void test_a_head_that_has_not_ended(void **state)
{
    static const char text[] = "GET /ws?a=%41 HTTP/1.1\r\n" HOST "\r\n";

    (void)state;
    for (size_t length = 0; length < sizeof(text) - 1; length++)
        assert_int_equal(parse_bytes(text, length), -EAGAIN);
    assert_int_equal(parse(text), 0);
}

/* A head of so many bytes in all, the last of its header lines filling it up. */
static int parse_head_of(size_t length, const char *rest)
{
    static const char begin[] = "GET / HTTP/1.1\r\n" HOST "A: ";
    struct buffer text = {0};
    int result;

    buffer_append_text(&text, begin);
    memset(buffer_reserve(&text, length), 'a', length);
    text.length = length - 4;
    buffer_append_text(&text, "\r\n\r\n");
    buffer_append_text(&text, rest);
    result = parse_bytes(text.data, text.length);
    buffer_finish(&text);
    return result;
}

static void test_limits(void **state)
{
    struct buffer text = {0};

    (void)state;
    assert_int_equal(parse_head_of(REQUEST_HEAD_MAX, ""), 0);
    assert_int_equal(parse_head_of(REQUEST_HEAD_MAX, "more"), 0);
    assert_int_equal(request.length, REQUEST_HEAD_MAX);
    assert_int_equal(parse_head_of(REQUEST_HEAD_MAX + 1, ""), -E2BIG);

    buffer_append_text(&text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < REQUEST_HEADERS_MAX; i++)
        buffer_append_text(&text, "A: b\r\n");
    buffer_append_text(&text, "\r\n");
    assert_int_equal(parse_bytes(text.data, text.length), 0);
    text.length -= 2;
    buffer_append_text(&text, "A: b\r\n\r\n");
    assert_int_equal(parse_bytes(text.data, text.length), -E2BIG);

    buffer_reset(&text, SIZE_MAX);
    buffer_append_text(&text, "GET /?a");
    for (int i = 1; i < REQUEST_PARAMETERS_MAX; i++)
        buffer_append_text(&text, "&a");
    buffer_append_text(&text, " HTTP/1.0\r\n\r\n");
    assert_int_equal(parse_bytes(text.data, text.length), 0);
    buffer_finish(&text);
    buffer_append_text(&text, "GET /?a");
    for (int i = 0; i < REQUEST_PARAMETERS_MAX; i++)
        buffer_append_text(&text, "&a");
    buffer_append_text(&text, " HTTP/1.0\r\n\r\n");
    assert_int_equal(parse_bytes(text.data, text.length), -E2BIG);
    buffer_finish(&text);
}

/* Whatever comes: an answer, and nothing outside the head is touched (a sanitizer looks). */
static void test_garbage(void **state)
{
    static const char seed[] = "GET /ws?a=%41&b=c+d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                               "Sec-WebSocket-Protocol: a, b ,c\r\n\r\nrest";
    char bytes[sizeof(seed)];

    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, seed, sizeof(seed));
        for (int change = 0; change <= round % 4; change++)
            bytes[(size_t)rand() % sizeof(seed)] = "\r\n :?&%=+,/\0A"[rand() % 13];
        if (parse_bytes(bytes, sizeof(seed) - (size_t)rand() % 8) == 0)
            request_list_has(&request, "sec-websocket-protocol", "z");
    }
}

static void test_bodies(void **state)
{
    static const struct {
        const char *headers;
        int result;
        struct request_body body;
    } cases[] = {
        {"", 0, {0}},
        {"Content-Length: 0\r\n", 0, {.said = true}},
        {"content-length:  42 \r\n", 0, {.said = true, .length = 42}},
        {"Content-Length: 999999999999999\r\n", 0, {.said = true, .length = 999999999999999}},
        {"Transfer-Encoding: chunked\r\n", 0, {.said = true, .chunked = true}},
        {"TRANSFER-encoding:Chunked\t\r\n", 0, {.said = true, .chunked = true}},
        {"Content-Length: 9999999999999999\r\n", -EBADMSG, {0}},
        {"Content-Length:\r\n", -EBADMSG, {0}},
        {"Content-Length: -1\r\n", -EBADMSG, {0}},
        {"Content-Length: +1\r\n", -EBADMSG, {0}},
        {"Content-Length: 1,1\r\n", -EBADMSG, {0}},
        {"Content-Length: 0x1\r\n", -EBADMSG, {0}},
        {"Content-Length: 1\r\nContent-Length: 1\r\n", -EBADMSG, {0}},
        {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: chunked\r\nContent-Length:\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: identity\r\nContent-Length: 1\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", -EBADMSG, {0}},
        {"Transfer-Encoding: gzip, chunked\r\n", -ENOTSUP, {0}},
        {"Transfer-Encoding: chunked, chunked\r\n", -ENOTSUP, {0}},
        {"Transfer-Encoding: chunked;q=1\r\n", -ENOTSUP, {0}},
        {"Transfer-Encoding: xchunked\r\n", -ENOTSUP, {0}},
        {"Transfer-Encoding: \x0b"
         "chunked\r\n",
         -EBADMSG,
         {0}},
        {"Transfer-Encoding:\r\n", -ENOTSUP, {0}},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request_body body = {0};
        int result;

        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "%s\r\n", cases[i].headers);
        result = parse(text);
        assert_int_equal(result < 0 ? result : request_body(&request, &body), cases[i].result);
        assert_int_equal(body.said, cases[i].body.said);
        assert_int_equal(body.chunked, cases[i].body.chunked);
        assert_int_equal(body.length, cases[i].body.length);
    }
}

static void test_codings_are_unknown_to_http_1_0(void **state)
{
    struct request_body body;

    (void)state;
    assert_int_equal(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
    assert_int_equal(request_body(&request, &body), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_an_upgrade, release),
        cmocka_unit_test_teardown(test_queries, release),
        cmocka_unit_test_teardown(test_what_is_refused, release),
        cmocka_unit_test_teardown(test_a_head_that_has_not_ended, release),
        cmocka_unit_test_teardown(test_limits, release),
        cmocka_unit_test_teardown(test_garbage, release),
        cmocka_unit_test_teardown(test_bodies, release),
        cmocka_unit_test_teardown(test_codings_are_unknown_to_http_1_0, release),
    };

    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
