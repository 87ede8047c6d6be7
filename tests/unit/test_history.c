/*
 * Histories of topics, the router's side: what is kept of which, under which offsets and epochs.
 */
#include "common/xalloc.h"
#include "router/history_rules.h"
#include "tests/unit/voices.h"

static struct history_rules *rules;

static void begin_with(uint64_t bytes, uint64_t topics)
{
    struct engine_limits with = usual_limits;

    with.history = rules;
    with.history_bytes = bytes;
    with.history_topics = topics;
    begin(&with);
}

static int set_up(void **state)
{
    (void)state;
    rules = history_rules_create("kept.small:3,kept.**:40");
    assert_non_null(rules);
    begin_with(1 << 20, 3);
    return 0;
}

static int tear_down(void **state)
{
    teardown(state);
    history_rules_destroy(&rules);
    return 0;
}

static void publish(const char *topic, const char *id)
{
    say_publish(G1, publication(topic, id));
    turn();
}

/* "<offset>:<id> ..." of what the topic keeps. */
static void expect_kept(const char *topic, const char *expected)
{
    struct buffer text = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "topic", T(topic), &count);

    for (size_t i = 0; i < count; i++) {
        buffer_appendf(&text, i ? " %d:" : "%d:", (int)entries[i].number.epoch);
        buffer_append_slice(&text, model_entry_field(&entries[i], "id"));
    }
    buffer_append_byte(&text, '\0');
    assert_string_equal(text.data, expected);
    buffer_finish(&text);
}

/* The mark that a gateway hears of a topic. */
static struct frame_topic_mark mark(const char *topic)
{
    struct frame frame, last = {0};
    size_t count;
    const struct engine_page_entry *entries;

    SAY(G3, TOPIC_MARK_ASK, topic_mark_ask, .topic = T(topic));
    turn();
    entries = model_store_stream(world_store(world), "out", gateway_id(G3), &count);
    frame_reader_start(reader, model_entry_field(&entries[count - 1], "e"));
    while (frame_reader_next(reader, &frame) == 1)
        last = frame;
    assert_int_equal(last.type, FRAME_TOPIC_MARK);
    assert_true(slice_is(last.topic_mark.topic, topic));
    return last.topic_mark;
}

static void rules_say_what_is_kept(void **state)
{
    static const char *const bad[] = {"a",         "a:",           "a:0",  ":5",   "a:5x",
                                      "a..b:5",    "**.a:5",       "a:-1", "a: 5", "a:5,b",
                                      "a:1000000", "presence.x:5", "a b:5"};
    struct history_rules *some;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        some = history_rules_create(bad[i]);
        if (some != NULL)
            fail_msg("%s", bad[i]);
    }
    some = history_rules_create("");
    assert_non_null(some);
    assert_int_equal(history_rules_size(some, T("a")), 0);
    history_rules_destroy(&some);
    assert_int_equal(history_rules_size(NULL, T("a")), 0);
    assert_int_equal(history_rules_size(rules, T("kept.small")), 3);
    assert_int_equal(history_rules_size(rules, T("kept.a.b")), 40);
    assert_int_equal(history_rules_size(rules, T("kept")), 0);
    assert_int_equal(history_rules_size(rules, T("other")), 0);
}

static void messages_get_dense_offsets(void **state)
{
    (void)state;
    count_topic(G2, "kept.a", 1);
    count_topic(G2, "other", 1);
    turn();
    expect(G2, "TOPIC_MARK topic=\"kept.a\" epoch=1700000000000 offset=0", NULL);
    publish("kept.a", "p1");
    publish("other", "p2");
    publish("kept.a", "p3");
    expect(G2, "TOPIC_MESSAGE exclude=0 number=* epoch=1700000000000 offset=1 *\"p1\"*",
           "TOPIC_MESSAGE exclude=0 number=* epoch=0 offset=0 *\"p2\"*",
           "TOPIC_MESSAGE exclude=0 number=* epoch=1700000000000 offset=2 *\"p3\"*", NULL);
    expect_kept("kept.a", "1:p1 2:p3");
    expect_kept("other", "");
    assert_int_equal(mark("kept.a").offset, 2);
    assert_int_equal(mark("other").epoch, 0);
}

static void what_is_kept_says_who_and_what(void **state)
{
    const struct engine_page_entry *entry;
    struct frame_topic_publish said = publication("kept.a", "p1");
    size_t count;

    (void)state;
    said.content = CONTENT_BINARY;
    said.metadata = T("{\"a\":1}");
    said.connection = 7;
    say_publish(G1, said);
    said.echo = 1;
    say_publish(G1, said);
    turn();
    entry = model_store_stream(world_store(world), "topic", T("kept.a"), &count);
    assert_int_equal(count, 2);
    assert_true(slice_is(model_entry_field(entry, "from"), "alice"));
    assert_true(slice_is(model_entry_field(entry, "at"), "1700000000000"));
    assert_true(slice_is(model_entry_field(entry, "protocol"), "3"));
    assert_true(slice_is(model_entry_field(entry, "content"), "1"));
    assert_true(slice_is(model_entry_field(entry, "body"), "news"));
    assert_true(slice_is(model_entry_field(entry, "metadata"), "{\"a\":1}"));
    assert_true(slice_is(model_entry_field(entry, "author"), "161 7"));
    assert_true(slice_is(model_entry_field(entry + 1, "author"), "161 0"));
}

static void only_the_last_are_kept(void **state)
{
    (void)state;
    for (int i = 1; i <= 5; i++) {
        char id[16];

        snprintf(id, sizeof(id), "p%d", i);
        publish("kept.small", id);
    }
    expect_kept("kept.small", "3:p3 4:p4 5:p5");
    world_take(world);
    publish("kept.small", "p6");
    expect_kept("kept.small", "4:p4 5:p5 6:p6");
}

static void bytes_have_a_limit(void **state)
{
    struct frame_topic_publish said = publication("kept.a", "big");
    char *body = xcalloc(1, 10000);
    size_t count;

    (void)state;
    memset(body, 'x', 10000);
    said.body = slice_of(body, 10000);
    teardown(NULL);
    begin_with(50000, 3);
    for (int i = 0; i < 30; i++) {
        say_publish(G1, said);
        turn();
        model_store_stream(world_store(world), "topic", T("kept.a"), &count);
        assert_true(count * 10256 <= 50000);
        assert_true(i < 3 || count >= 2);
    }
    assert_int_equal(mark("kept.a").offset, 30);
    free(body);
}

static void a_retry_is_not_kept_twice(void **state)
{
    struct frame_topic_publish said = publication("kept.a", "p1");

    (void)state;
    said.retry = 1;
    say_publish(G1, said);
    say_publish(G1, said);
    turn();
    say_publish(G1, said);
    turn();
    expect_kept("kept.a", "1:p1");
}

static void a_take_goes_on_and_a_roll_back_counts_anew(void **state)
{
    struct frame_topic_mark before, after;

    (void)state;
    publish("kept.a", "p1");
    before = mark("kept.a");
    pass(1000);
    world_take(world);
    world_settle(world);
    after = mark("kept.a");
    assert_int_equal(after.epoch, before.epoch);
    assert_int_equal(after.offset, 1);
    publish("kept.a", "p2");
    expect_kept("kept.a", "1:p1 2:p2");
    pass(1000);
    world_roll_back(world);
    world_take(world);
    world_settle(world);
    after = mark("kept.a");
    assert_true(after.epoch > before.epoch);
    assert_int_equal(after.offset, 2);
    before = after;
    pass(1000);
    world_take(world);
    world_settle(world);
    assert_int_equal(mark("kept.a").epoch, before.epoch);
    publish("kept.a", "p3");
    assert_int_equal(mark("kept.a").epoch, before.epoch);
    assert_true(mark("kept.new").epoch > before.epoch);
}

static void the_topics_used_last_are_kept(void **state)
{
    uint64_t epoch;

    (void)state;
    publish("kept.a", "p1");
    pass(1);
    publish("kept.b", "p2");
    pass(1);
    publish("kept.c", "p3");
    pass(1);
    publish("kept.a", "p4");
    epoch = mark("kept.b").epoch;
    publish("kept.d", "p5");
    expect_kept("kept.b", "");
    expect_kept("kept.a", "1:p1 2:p4");
    world_take(world);
    world_settle(world);
    publish("kept.b", "p6");
    expect_kept("kept.b", "1:p6");
    expect_kept("kept.c", "");
    assert_true(mark("kept.b").epoch > epoch);
    publish("kept.c", "p7");
    epoch = mark("kept.c").epoch;
    publish("kept.x", "p8");
    publish("kept.y", "p9");
    publish("kept.z", "p10");
    publish("kept.c", "p11");
    assert_true(mark("kept.c").epoch > epoch);
}

static void an_announcement_hears_the_marks(void **state)
{
    (void)state;
    publish("kept.a", "p1");
    deaf_all();
    announce(G2);
    count_topic(G2, "kept.a", 2);
    count_topic(G2, "other", 2);
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED*", "TOPIC_MARK topic=\"kept.a\" epoch=1700000000000 offset=1",
           NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rules_say_what_is_kept),
        TEST(messages_get_dense_offsets),
        TEST(what_is_kept_says_who_and_what),
        TEST(only_the_last_are_kept),
        TEST(bytes_have_a_limit),
        TEST(a_retry_is_not_kept_twice),
        TEST(a_take_goes_on_and_a_roll_back_counts_anew),
        TEST(the_topics_used_last_are_kept),
        TEST(an_announcement_hears_the_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
