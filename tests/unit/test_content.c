/*
 * What a message says to receivers by other protocols (content.c): all shapes of bodies.
 */
#include "gateway/content.h"

#include "common/frame.h"
#include "gateway/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct content content;

static void read_json(uint64_t protocol, const char *body)
{
    content_read(protocol, CONTENT_JSON, slice_text(body), &content);
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.length ? slice.data : "", text);
}

static void assert_content(const char *text, const char *attachments, const char *other)
{
    assert_text(content.text, text);
    assert_text(content.attachments, attachments);
    assert_text(content.other, other);
}

/* ---- reading ---- */

static void test_realtime_payloads(void **state)
{
    static const struct {
        const char *body, *text, *attachments, *other;
    } cases[] = {
        {"{\"message\":\"hi\"}", "\"hi\"", "", ""},
        {"{\"message\":\"\"}", "\"\"", "", ""},
        {"{ \"message\" : \"a\\u00e9\\n\\\"\" , \"attachments\" : [ {\"url\":\"x\"} ] }",
         "\"a\\u00e9\\n\\\"\"", "[ {\"url\":\"x\"} ]", ""},
        {"{\"n\":9007199254740993,\"message\":\"hi\",\"m\":1.0,\"o\":{\"a\": [1]}}", "\"hi\"", "",
         "\"n\":9007199254740993,\"m\":1.0,\"o\":{\"a\": [1]}"},
        {"{\"message\":7,\"attachments\":{}}", "", "", "\"message\":7,\"attachments\":{}"},
        {"{\"message\":null,\"attachments\":null}", "", "",
         "\"message\":null,\"attachments\":null"},
        {"{\"q\\\"k\\n\":1}", "", "", "\"q\\\"k\\n\":1"},
        {"{}", "", "", ""},
        {"\"hi\"", "\"hi\"", "", ""},
        {"17", "", "", "\"payload\":17"},
        {"1e400", "", "", "\"payload\":1e400"},
        {"null", "", "", "\"payload\":null"},
        {"[1, 2]", "", "", "\"payload\":[1, 2]"},
        {"", "", "", ""},
        {"nonsense", "", "", ""},
        {"{\"message\":", "", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_json(FRAME_PROTOCOL_REALTIME, cases[i].body);
        assert_content(cases[i].text, cases[i].attachments, cases[i].other);
        read_json(FRAME_PROTOCOL_SERVER, cases[i].body);
        assert_content(cases[i].text, cases[i].attachments, cases[i].other);
    }
}

static void test_nothing_is_left_of_the_one_before(void **state)
{
    (void)state;
    read_json(FRAME_PROTOCOL_REALTIME, "{\"message\":\"hi\",\"attachments\":[1],\"a\":1}");
    read_json(FRAME_PROTOCOL_REALTIME, "{\"b\":2}");
    assert_content("", "", "\"b\":2");
    read_json(99, "{\"message\":\"hi\"}");
    assert_content("", "", "");
}

static void test_binary_is_an_attachment(void **state)
{
    static const struct {
        const char *bytes, *base64;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foobar", "Zm9vYmFy"},
                 {"\xff\xfe\xfd", "//79"},
                 {"\xfb\xef", "++8="}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer expected = {0};

        buffer_appendf(&expected, "[{\"type\":\"file\",\"data\":\"%s\"}]", cases[i].base64);
        content_read(FRAME_PROTOCOL_REALTIME, CONTENT_BINARY, slice_text(cases[i].bytes), &content);
        assert_text(content.text, "");
        assert_true(slice_equal(content.attachments, buffer_slice(&expected)));
        assert_text(content.other, "");
        buffer_finish(&expected);
    }
}

/* ---- into another object ---- */

static void expect_members(const char *begin, const char *const *taken, const char *expected)
{
    struct buffer out = {0};

    buffer_append_text(&out, begin);
    content_append_members(&out, &content, "text", "files", taken);
    assert_text(buffer_slice(&out), expected);
    buffer_finish(&out);
}

static void test_members_of_another_object(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const ids[] = {"id", "from", NULL};

    (void)state;
    read_json(FRAME_PROTOCOL_REALTIME,
              "{\"message\":\"hi\",\"id\":7,\"attachments\":[{}],\"n\":1.0,\"text\":\"other\"}");
    expect_members("{", none, "{\"text\":\"hi\",\"files\":[{}],\"id\":7,\"n\":1.0");
    expect_members("{\"id\":1", ids, "{\"id\":1,\"text\":\"hi\",\"files\":[{}],\"n\":1.0");
    /* What is not there takes no name. */
    read_json(FRAME_PROTOCOL_REALTIME, "{\"text\":5,\"files\":[],\"\\u0069d\":2}");
    expect_members("{", ids, "{\"text\":5,\"files\":[]");
    read_json(FRAME_PROTOCOL_REALTIME, "{}");
    expect_members("{", none, "{");
    expect_members("{\"id\":1", none, "{\"id\":1");
    read_json(FRAME_PROTOCOL_REALTIME, "\"hi\"");
    expect_members("", none, "\"text\":\"hi\"");
}

/* ---- plain text ---- */

static void expect_plain(const char *body, const char *expected)
{
    struct buffer out = {0};

    read_json(FRAME_PROTOCOL_REALTIME, body);
    buffer_append_text(&out, "=");
    content_append_plain(&out, &content);
    assert_text(slice_of(out.data + 1, out.length - 1), expected);
    buffer_finish(&out);
}

static void test_plain_text(void **state)
{
    struct buffer out = {0};

    (void)state;
    expect_plain("{\"message\":\"hi\"}", "\"hi\"");
    expect_plain("{}", "\"\"");
    expect_plain("{\"message\":\"\"}", "\"\"");
    expect_plain("{\"message\":\"hi\",\"attachments\":[]}", "\"hi\"");
    expect_plain("{\"message\":\"hi \\\"\",\"attachments\":[{\"url\":\"u\\u0031\"}, "
                 "{\"type\":\"image\",\"url\":\"u2\"}]}",
                 "\"hi \\\"\\nu\\u0031\\nu2\"");
    expect_plain("{\"attachments\":[{\"url\":\"u1\"},{\"url\":\"u2\"}]}", "\"u1\\nu2\"");
    /* What has no url is passed over. */
    expect_plain("{\"message\":\"hi\",\"attachments\":[7,null,\"x\",{},{\"url\":7},{\"url\":\"\"},"
                 "{\"url\":\"u\"},[]]}",
                 "\"hi\\nu\"");
    expect_plain("{\"attachments\":[{},{\"url\":\"u\"}]}", "\"u\"");
    content_read(FRAME_PROTOCOL_REALTIME, CONTENT_BINARY, slice_text("foo"), &content);
    content_append_plain(&out, &content);
    assert_text(buffer_slice(&out), "\"data:application/octet-stream;base64,Zm9v\"");
    buffer_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_realtime_payloads),
        cmocka_unit_test(test_nothing_is_left_of_the_one_before),
        cmocka_unit_test(test_binary_is_an_attachment),
        cmocka_unit_test(test_members_of_another_object),
        cmocka_unit_test(test_plain_text),
    };

    return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
