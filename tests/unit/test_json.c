#include "common/json.h"

#include "common/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct json *json;

static int set_up(void **state)
{
    (void)state;
    json = json_create();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_destroy(&json);
    return 0;
}

static void assert_slice(struct slice slice, const char *text)
{
    assert_int_equal(slice.length, strlen(text));
    assert_memory_equal(slice.data, text, slice.length);
}

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"{}", 0},
        {"null", 0},
        {" [1, 2] ", 0},
        {"{\"a\":1,\"b\":{\"a\":1}}", 0},
        {"", -EBADMSG},
        {" ", -EBADMSG},
        {"{", -EBADMSG},
        {"{} {}", -EBADMSG},
        {"{\"a\":1,}", -EBADMSG},
        {"{'a':1}", -EBADMSG},
        {"[NaN]", -EBADMSG},
        {"[01]", -EBADMSG},
        {"[1.]", -EBADMSG},
        {"// no\n1", -EBADMSG},
        {"\"\\ud800\"", -EBADMSG},
        {"\"\xff\"", -EBADMSG},
        {"\xef\xbb\xbf{}", -EBADMSG},
        {"{\"a\":1,\"a\":2}", -EEXIST},
        {"{\"a\":1,\"\\u0061\":2}", -EEXIST},
        {"[{\"x\":[{\"\":1,\"\":2}]}]", -EEXIST},
        {"{\"k1\":0,\"k2\":0,\"k3\":0,\"k4\":0,\"k5\":0,\"k6\":0,\"k7\":0,\"k8\":0,\"k9\":0,"
         "\"ka\":0,\"kb\":0,\"kc\":0,\"kd\":0,\"ke\":0}",
         0},
        {"{\"k1\":0,\"k2\":0,\"k3\":0,\"k4\":0,\"k5\":0,\"k6\":0,\"k7\":0,\"k8\":0,\"k9\":0,"
         "\"ka\":0,\"kb\":0,\"kc\":0,\"kd\":0,\"k3\":0}",
         -EEXIST},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(json_read(json, slice_text(cases[i].text)), cases[i].result);
        assert_int_equal(json_root(json) != NULL, cases[i].result == 0);
    }
}

static int read_nested(size_t depth, char open, const char *middle, char close)
{
    struct buffer text = {0};
    int result;

    for (size_t i = 0; i < depth; i++)
        buffer_append_byte(&text, open);
    buffer_append_text(&text, middle);
    for (size_t i = 0; i < depth; i++)
        buffer_append_byte(&text, close);
    result = json_read(json, buffer_slice(&text));
    buffer_finish(&text);
    return result;
}

static void test_nesting_is_limited(void **state)
{
    (void)state;
    assert_int_equal(read_nested(JSON_DEPTH_MAX, '[', "1", ']'), 0);
    assert_int_equal(read_nested(JSON_DEPTH_MAX + 1, '[', "1", ']'), -EOVERFLOW);
    assert_int_equal(read_nested(10000, '[', "", ']'), -EOVERFLOW);
    assert_int_equal(read_nested(1000000, '[', "", ']'), -EOVERFLOW);
    assert_int_equal(read_nested(10000, '[', "", ' '), -EBADMSG);
    assert_int_equal(read_nested(10000, '{', "", ' '), -EBADMSG);
    assert_int_equal(read_nested(JSON_DEPTH_MAX, '[', "],[", ']'), 0);
}

static void test_depth_is_of_open_containers(void **state)
{
    struct buffer text = {0};

    (void)state;
    buffer_append_byte(&text, '[');
    for (int i = 0; i < 1000; i++)
        buffer_append_text(&text, i ? ",[[],{}]" : "[]");
    buffer_append_byte(&text, ']');
    assert_int_equal(json_read(json, buffer_slice(&text)), 0);
    buffer_finish(&text);
}

static void test_values(void **state)
{
    const struct json_value *root, *element;
    double number;

    (void)state;
    assert_int_equal(json_read(json, slice_text("{\"s\":\"a\\u00e9\\n\",\"n\":9007199254740993,"
                                                "\"t\":true,\"z\":null,\"l\":[\"x\",[1],-2.50]}")),
                     0);
    root = json_root(json);
    assert_int_equal(json_type(root), JSON_OBJECT);
    assert_int_equal(json_type(json_member(root, "s")), JSON_STRING);
    assert_slice(json_text(json_member(root, "s")), "a\xc3\xa9\n");
    assert_int_equal(json_type(json_member(root, "n")), JSON_NUMBER);
    assert_slice(json_text(json_member(root, "n")), "9007199254740993");
    assert_true(json_is_true(json_member(root, "t")));
    assert_false(json_is_true(json_member(root, "n")));
    assert_int_equal(json_type(json_member(root, "z")), JSON_NULL);
    assert_null(json_text(json_member(root, "z")).data);
    assert_int_equal(json_count(json_member(root, "l")), 3);
    element = json_first(json_member(root, "l"));
    assert_slice(json_text(element), "x");
    element = json_next(element);
    assert_int_equal(json_type(element), JSON_ARRAY);
    element = json_next(element);
    assert_slice(json_text(element), "-2.50");
    assert_int_equal(json_double(element, &number), 0);
    assert_true(number == -2.5);
}

static void test_absent_values(void **state)
{
    double number = 7;

    (void)state;
    assert_int_equal(json_read(json, slice_text("{\"big\":1e999}")), 0);
    assert_null(json_member(json_root(json), "no"));
    assert_null(json_member(json_member(json_root(json), "no"), "no"));
    assert_null(json_member(json_member(json_root(json), "big"), "no"));
    assert_int_equal(json_type(NULL), JSON_NONE);
    assert_int_equal(json_count(NULL), 0);
    assert_null(json_first(NULL));
    assert_null(json_text(NULL).data);
    assert_int_equal(json_double(NULL, &number), -EINVAL);
    assert_int_equal(json_double(json_member(json_root(json), "big"), &number), -EINVAL);
    assert_true(number == 7);
    assert_int_equal(json_member_raw(json, NULL, "x").length, 0);
}

static void test_values_come_out_as_they_stood(void **state)
{
    static const char *const values[] = {
        "1.0",
        "9007199254740993",
        "-0",
        "1E+2",
        "null",
        "true",
        "\"\"",
        "\"a\\\"}]\\\\\"",
        "\"\\u0041\\n\"",
        "{ \"b\" : [ 1 , \"]}\" , { } ] }",
        "[]",
        "[\"\\\\\",[[\"[\"]]]",
    };
    static const char *const frames[] = {
        "{\"v\":%s}",
        "{\"v\":%s,\"w\":{\"v\":0}}",
        " { \"w\" : { \"v\" : [ 0 ] } ,\n\t\"v\" :\r\n %s } ",
        "{\"a\\\"\":\"\\\"v\\\":1\",\"\\u0076\":%s ,\"z\":1}",
    };
    struct buffer text = {0};

    (void)state;
    for (size_t f = 0; f < sizeof(frames) / sizeof(frames[0]); f++) {
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            const char *hole = strstr(frames[f], "%s");

            buffer_reset(&text, 0);
            buffer_append(&text, frames[f], (size_t)(hole - frames[f]));
            buffer_append_text(&text, values[v]);
            buffer_append_text(&text, hole + 2);
            assert_int_equal(json_read(json, buffer_slice(&text)), 0);
            assert_slice(json_member_raw(json, json_root(json), "v"), values[v]);
        }
    }
    buffer_finish(&text);
}

static void test_many_keys(void **state)
{
    struct buffer text = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        buffer_appendf(&text, "%c\"%d\":0", i ? ',' : '{', i);
    buffer_append_byte(&text, '}');
    assert_int_equal(json_read(json, buffer_slice(&text)), 0);
    text.length--;
    buffer_append_text(&text, ",\"500\":1}");
    assert_int_equal(json_read(json, buffer_slice(&text)), -EEXIST);
    buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_nesting_is_limited),
        cmocka_unit_test(test_depth_is_of_open_containers),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_absent_values),
        cmocka_unit_test(test_values_come_out_as_they_stood),
        cmocka_unit_test(test_many_keys),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
