#include "gateway/api/backend_message.h"
#include "gateway/notification.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef int read_fn(const struct json *, struct backend_message *, struct backend_fault *);

static struct json *json;
static struct backend_message message;
static struct backend_fault fault;

static int read_with(read_fn *read, const char *text)
{
    backend_message_finish(&message);
    fault = (struct backend_fault){0};
    assert_int_equal(json_read(json, slice_text(text)), 0);
    return read(json, &message, &fault);
}

static void assert_text(struct slice slice, const char *text)
{
    if (!slice_is(slice, text))
        fail_msg("%.*s instead of %s", (int)slice.length, slice.data, text);
}

static void test_targets(void **state)
{
    static const struct {
        const char *text;
        enum backend_target target;
        const char *address;
    } cases[] = {
        {"{\"topic\":\"a.b\",\"message\":\"m\"}", BACKEND_TO_TOPIC, "a.b"},
        {"{\"topic\":\"$simple\",\"message\":\"m\"}", BACKEND_TO_TOPIC, "$simple"},
        {"{\"user\":\"bob\",\"message\":\"m\"}", BACKEND_TO_USER, "bob"},
        {"{\"user\":7,\"message\":\"m\"}", BACKEND_TO_USER, "7"},
        {"{\"group\":\"g1\",\"message\":\"m\"}", BACKEND_TO_GROUP, "group:g1"},
        {"{\"group\":\"group:g1\",\"message\":\"m\"}", BACKEND_TO_GROUP, "group:g1"},
        {"{\"everybody\":true,\"message\":\"m\"}", BACKEND_TO_EVERYBODY, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(read_with(backend_message_read_publish, cases[i].text), 0);
        assert_int_equal(message.target, cases[i].target);
        assert_text(message.address, cases[i].address);
        assert_text(message.from, BACKEND_SENDER);
        assert_text(buffer_slice(&message.body), "{\"message\":\"m\"}");
    }
}

static void test_what_is_sent(void **state)
{
    (void)state;
    assert_int_equal(read_with(backend_message_read_publish,
                               "{\"user\":\"bob\",\"payload\": [1.0, {\"a\": 9007199254740993}],"
                               "\"id\":\"i\",\"from\":\"alice\",\"ttl\":1.5,\"priority\":\"high\","
                               "\"metadata\":{\"x\": 1}}"),
                     0);
    assert_text(buffer_slice(&message.body), "[1.0, {\"a\": 9007199254740993}]");
    assert_text(message.id, "i");
    assert_text(message.from, "alice");
    assert_text(message.metadata, "{\"x\": 1}");
    assert_int_equal(message.ttl_ms, 1500);
    assert_int_equal(message.priority, 1);
    assert_int_equal(
        read_with(backend_message_read_publish,
                  "{\"user\":\"bob\",\"idempotency_key\":\"k\",\"message\":\"\\u00e9\","
                  "\"attachments\":[{\"url\":\"u\"}],\"payload_of_no_meaning\":1}"),
        0);
    assert_text(message.id, "k");
    assert_text(buffer_slice(&message.body),
                "{\"message\":\"\\u00e9\",\"attachments\":[{\"url\":\"u\"}]}");
}

/* Where no frame has a place for it, the metadata says it. */
static void test_what_topics_have_in_metadata(void **state)
{
    static const struct {
        const char *text, *metadata;
    } cases[] = {
        {"\"topic\":\"a\"", ""},
        {"\"topic\":\"a\",\"priority\":\"normal\"", "{\"priority\":\"normal\"}"},
        {"\"topic\":\"a\",\"metadata\":{}", "{}"},
        {"\"topic\":\"a\",\"priority\":\"high\"", "{\"priority\":\"high\"}"},
        {"\"everybody\":true,\"priority\":\"high\"", "{\"priority\":\"high\"}"},
        {"\"topic\":\"a\",\"priority\":\"high\",\"metadata\":{ }", "{\"priority\":\"high\"}"},
        {"\"topic\":\"a\",\"priority\":\"high\",\"metadata\":{ \"x\":[{}]}",
         "{\"priority\":\"high\", \"x\":[{}]}"},
        {"\"topic\":\"a\",\"priority\":\"high\",\"metadata\":{\"priority\":\"low\"}",
         "{\"priority\":\"low\"}"},
        {"\"topic\":\"a\",\"priority\":\"high\",\"ttl\":1.50,\"metadata\":{\"a\":1}",
         "{\"ttl\":1.50,\"priority\":\"high\",\"a\":1}"},
        {"\"topic\":\"a\",\"ttl\":1,\"metadata\":{\"ttl\":2}", "{\"ttl\":2}"},
        {"\"user\":\"a\",\"priority\":\"high\"", ""},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "{%s,\"payload\":1}", cases[i].text);
        assert_int_equal(read_with(backend_message_read_publish, text), 0);
        assert_int_equal(message.metadata.length, strlen(cases[i].metadata));
        if (message.metadata.length > 0)
            assert_memory_equal(message.metadata.data, cases[i].metadata, message.metadata.length);
    }
}

static void test_what_is_notified(void **state)
{
    (void)state;
    assert_int_equal(read_with(backend_message_read_notify,
                               "{\"everybody\":true,\"id\":\"i\",\"message\":\"m\",\"title\":\"t\","
                               "\"level\":\"error\",\"actions\":[],\"data\":{\"a\":1}}"),
                     0);
    assert_text(buffer_slice(&message.body),
                "{\"message\":\"m\",\"title\":\"t\",\"level\":\"error\","
                "\"actions\":[],\"data\":{\"a\":1}}");
    assert_text(message.metadata, NOTIFICATION_MARK);
}

static void test_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"[]", NULL},
        {"{}", "topic"},
        {"{\"topic\":\"a\",\"everybody\":true,\"message\":\"m\"}", "everybody"},
        {"{\"topic\":7,\"message\":\"m\"}", "topic"},
        {"{\"topic\":\"presence.bob\",\"message\":\"m\"}", "topic"},
        {"{\"user\":null,\"message\":\"m\"}", "user"},
        {"{\"user\":\"group:x\",\"message\":\"m\"}", "user"},
        {"{\"group\":\"\",\"message\":\"m\"}", "group"},
        {"{\"group\":[],\"message\":\"m\"}", "group"},
        {"{\"everybody\":false,\"message\":\"m\"}", "everybody"},
        {"{\"topic\":\"a\"}", "message"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"id\":\"\"}", "id"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"idempotency_key\":1}", "idempotency_key"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"id\":\"i\",\"idempotency_key\":1}",
         "idempotency_key"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"id\":\"i\",\"idempotency_key\":\"k\"}",
         "idempotency_key"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"from\":\"*\"}", "from"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"ttl\":\"1\"}", "ttl"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"priority\":1}", "priority"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"metadata\":null}", "metadata"},
        {"{\"topic\":\"a\",\"message\":\"m\",\"payload\":null}", "payload"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (read_with(backend_message_read_publish, cases[i].text) == 0)
            fail_msg("%s is taken", cases[i].text);
        if (cases[i].field)
            assert_string_equal(fault.field, cases[i].field);
        else
            assert_null(fault.field);
        assert_non_null(fault.message);
    }
}

static int set_up(void **state)
{
    (void)state;
    json = json_create();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend_message_finish(&message);
    json_destroy(&json);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_what_is_sent),
        cmocka_unit_test(test_what_topics_have_in_metadata),
        cmocka_unit_test(test_what_is_notified),
        cmocka_unit_test(test_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
