#include "gateway/topics/topic_metadata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_who_is_urgent(void **state)
{
    static const struct {
        const char *metadata, *body;
        uint64_t offset;
        bool urgent;
    } cases[] = {
        {"{\"priority\":\"high\"}", "1", 0, true},
        {"{ \"ttl\":1 , \"priority\" : \"high\" }", "1", 0, true},
        {"{\"p\\u0072iority\":\"high\"}", "1", 0, true},
        {"{\"priority\":\"high\"}", "1", 7, false},
        {"", "{\"metadata\":{\"priority\":\"high\"}}", 0, false},
        {"{}", "{\"metadata\":{\"priority\":\"high\"}}", 0, false},
        {"{\"priority\":\"normal\"}", "1", 0, false},
        {"{\"priority\":\"higher\"}", "1", 0, false},
        {"{\"priority\":1}", "1", 0, false},
        {"{\"priority\":{\"priority\":\"high\"}}", "1", 0, false},
        {"{\"x\":\"priority\"}", "1", 0, false},
        {"\"extension\"", "{\"metadata\":{\"priority\":\"high\"}}", 0, true},
        {"\"extension\"", "{\"metadata\":{\"priority\":\"high\"}}", 1, false},
        {"\"extension\"", "{\"data\":{\"priority\":\"high\"}}", 0, false},
        {"\"extension\"", "{\"priority\":\"high\"}", 0, false},
        {"\"extension\"", "priority, and no JSON", 0, false},
        {"\"extension\"", "", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct frame_topic_message message = {
            .offset = cases[i].offset,
            .metadata = slice_text(cases[i].metadata),
            .body = slice_text(cases[i].body),
        };

        assert_int_equal(topic_message_is_urgent(&message), cases[i].urgent);
    }
}

static void test_who_is_expired(void **state)
{
    static const struct {
        const char *metadata, *body;
        uint64_t now_ms;
        bool expired;
    } cases[] = {
        {"{\"ttl\":2}", "1", 11999, false},
        {"{\"ttl\":2}", "1", 12000, true},
        {"{\"ttl\":0.5}", "1", 10499, false},
        {"{\"ttl\":0.5}", "1", 10500, true},
        {"{\"ttl\":0}", "1", 10000, true},
        {"{\"ttl\":0}", "1", 9999, false}, /* by another clock */
        {"{\"ttl\":1e300}", "1", UINT64_MAX, false},
        {"{\"ttl\":\"1\"}", "1", 99999, false},
        {"{}", "{\"metadata\":{\"ttl\":1}}", 99999, false},
        {"", "1", 99999, false},
        {"\"extension\"", "{\"metadata\":{\"ttl\":1}}", 99999, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct frame_topic_message message = {
            .offset = 1,
            .sent_at_ms = 10000,
            .metadata = slice_text(cases[i].metadata),
            .body = slice_text(cases[i].body),
        };

        assert_int_equal(topic_message_is_expired(&message, cases[i].now_ms), cases[i].expired);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_urgent),
        cmocka_unit_test(test_who_is_expired),
    };

    return cmocka_run_group_tests_name("topic_metadata", tests, NULL, NULL);
}
