/*
 * The gateway's side of histories: from a Subscribe, or a gap, to what is live, with nothing missed
 * or twice. Redis is a list of offsets here; what a session gets is "<topic>#<offset>".
 */
#include "gateway/bus/query.h"

#include <errno.h>

static int ask_redis(const struct query *, query_fn *, void *, uint64_t *);

int query_ask_for(struct queries *queries, const struct query *query, uint64_t request,
                  query_fn *answer, void *arg, uint64_t *number)
{
    (void)queries, (void)request;
    return ask_redis(query, answer, arg, number);
}

/* Of protocols that are linked in with theirs. */
int query_ask(struct queries *queries, const struct query *query, struct session *session,
              uint64_t request, query_session_fn *answer)
{
    (void)queries, (void)query, (void)session, (void)request, (void)answer;
    return -ENOTCONN;
}

static uint64_t forgotten;

void query_forget(struct queries *queries, uint64_t number)
{
    (void)queries;
    forgotten = number;
}

#define FAKE_QUERIES
#include "tests/unit/fake_gateway.h"

/* A bus_reply is hiredis's own: made here, for nobody else has one to give. */
#include <hiredis/hiredis.h>

/* ---- Redis, and the question that is open ---- */

static struct {
    uint64_t epoch, newest, oldest;
    uint64_t page; /* entries of one, if it wants more */
    const char *author;
} redis;

static struct {
    uint64_t number;
    bool open, entries;
    uint64_t after;
    query_fn *answer;
    void *arg;
} asked;

static int ask_redis(const struct query *query, query_fn *answer, void *arg, uint64_t *number)
{
    char after[24];

    assert_false(asked.open);
    assert_int_equal(query->key_count, 3);
    snprintf(after, sizeof(after), "%.*s", (int)query->arguments[1].length,
             query->arguments[1].data);
    asked.open = true;
    asked.after = strtoull(after, NULL, 10);
    asked.entries = !slice_is(query->arguments[2], "0");
    asked.answer = answer;
    asked.arg = arg;
    *number = ++asked.number;
    return 0;
}

static redisReply *text_of(const char *text)
{
    redisReply *reply = xcalloc(1, sizeof(*reply));

    reply->type = REDIS_REPLY_STRING;
    reply->str = xstrdup(text);
    reply->len = strlen(text);
    return reply;
}

static redisReply *number_of(uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return text_of(text);
}

static redisReply *list_of(size_t count)
{
    redisReply *reply = xcalloc(1, sizeof(*reply));

    reply->type = REDIS_REPLY_ARRAY;
    reply->elements = count;
    reply->element = xcalloc(count + 1, sizeof(*reply->element));
    return reply;
}

static redisReply *entry_of(uint64_t offset)
{
    redisReply *entry = list_of(2);
    char id[32];

    snprintf(id, sizeof(id), "%llu-0", (unsigned long long)offset);
    entry->element[0] = text_of(id);
    entry->element[1] = list_of(2);
    entry->element[1]->element[0] = text_of("author");
    entry->element[1]->element[1] = text_of(redis.author ? redis.author : "1 1");
    return entry;
}

/* What the script answers now to the question that is open. */
static void answer(void)
{
    redisReply *reply = list_of(4);
    uint64_t first = asked.after + 1 > redis.oldest ? asked.after + 1 : redis.oldest;
    size_t count = asked.entries && redis.newest >= first ? (size_t)(redis.newest - first + 1) : 0;

    assert_true(asked.open);
    asked.open = false;
    if (redis.page && count > redis.page)
        count = (size_t)redis.page;
    reply->element[0] = number_of(redis.epoch);
    reply->element[1] = number_of(redis.newest);
    reply->element[2] = number_of(redis.oldest);
    reply->element[3] = list_of(count);
    for (size_t i = 0; i < count; i++)
        reply->element[3]->element[i] = entry_of(first + i);
    asked.answer(asked.arg, 0, (const struct bus_reply *)reply);
    freeReplyObject(reply);
}

static void answer_with_nothing(void)
{
    asked.open = false;
    asked.answer(asked.arg, 0, NULL);
}

/* Until a question is open that has to wait its turn. */
static void await_question(void)
{
    while (!asked.open)
        uv_run(fake.gateway.loop, UV_RUN_ONCE);
}

/* ---- a protocol that tells ---- */

static size_t subscribed;

static void on_subscribed(struct session *session, uint64_t request)
{
    struct history_answer told = {0};
    char text[128];
    bool follows = topics_history(session, slice_text("news"), &told);

    (void)request;
    subscribed++;
    snprintf(text, sizeof(text), follows ? "status %llu/%llu %s" : "status",
             (unsigned long long)told.epoch, (unsigned long long)told.offset,
             told.recovered ? "recovered" : "not recovered");
    session_send_text(session, slice_text(text));
}

static void encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                 int *opcode)
{
    (void)opcode;
    buffer_append_slice(out, message->topic);
    buffer_appendf(out, "#%d", (int)message->offset);
}

static const struct protocol protocol = {
    .name = "told",
    .id = 3,
    .on_subscribed = on_subscribed,
    .encode_topic_message = encode_topic_message,
};

/* ---- helpers ---- */

static struct session *alice;

static uint32_t at(const char *name)
{
    return partition_of(&fake.gateway.deployment, slice_text(name));
}

static void follow(struct history_wish wish)
{
    const struct slice name = slice_text("news");

    topics_follow(fake.gateway.topics, alice, &name, &wish, 1, 7);
}

static void last(uint64_t count)
{
    follow((struct history_wish){.count = count});
}

static void since(uint64_t epoch, uint64_t offset)
{
    follow((struct history_wish){.since = true, .epoch = epoch, .offset = offset});
}

static void subscribe(const char *name)
{
    const struct slice names = slice_text(name);

    topics_subscribe(fake.gateway.topics, alice, &names, 1, 7);
}

static void mark(uint64_t epoch, uint64_t offset)
{
    topics_on_mark(
        fake.gateway.topics,
        &(struct frame_topic_mark){.topic = slice_text("news"), .epoch = epoch, .offset = offset});
}

/* As routers answer what was asked of them. */
static void reply_frames(void)
{
    for (size_t i = 0; i < fake.frame_count; i++) {
        struct frame frame = fake_frame_at(i);

        if (frame.type == FRAME_TOPIC_MARK_ASK)
            mark(redis.epoch, redis.newest);
        if (frame.type == FRAME_SUBSCRIPTION_SYNC)
            for (uint32_t p = 0; p < 4; p++)
                if (fake.frames[i].partition == p || fake.frames[i].partition == FAKE_EVERYWHERE)
                    topics_on_synced(fake.gateway.topics, p, frame.subscription_sync.request);
    }
    fake_forget_frames();
}

/* Published, and on its way here. */
static void live(uint64_t epoch, uint64_t offset)
{
    topics_on_message(fake.gateway.topics, at("news"),
                      &(struct frame_topic_message){
                          .topic = slice_text("news"), .epoch = epoch, .offset = offset});
}

static void publish(uint64_t offset)
{
    redis.newest = offset;
    live(redis.epoch, offset);
}

#define HEARS(...)                                                                                 \
    fake_expect_messages(alice, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),            \
                         (const char *const[]){__VA_ARGS__})
#define HEARS_NOTHING() fake_expect_messages(alice, 0, NULL)

static bool is_closed(void)
{
    return ((struct fake_session *)alice)->closed;
}

static int set_up(void **state)
{
    (void)state;
    fake_start(4);
    fake.gateway.queries = (struct queries *)&asked; /* not looked into */
    memset(&redis, 0, sizeof(redis));
    memset(&asked, 0, sizeof(asked));
    subscribed = 0;
    redis.epoch = 9;
    redis.newest = 10;
    redis.oldest = 1;
    alice = fake_session(1, "alice", &protocol);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    return 0;
}

/* ---- beginnings ---- */

static void test_the_last_messages_follow_the_status(void **state)
{
    (void)state;
    last(3);
    HEARS_NOTHING();
    reply_frames();
    HEARS_NOTHING();
    answer();
    HEARS("status 9/10 recovered");
    answer();
    HEARS("news#8", "news#9", "news#10");
    assert_false(asked.open);
    publish(11);
    HEARS("news#11");
}

static void test_what_came_since_follows_the_status(void **state)
{
    (void)state;
    since(9, 8);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered", "news#9", "news#10");
    since(9, 10);
    reply_frames();
    answer();
    HEARS("status 9/10 recovered");
    assert_false(asked.open);
    publish(11);
    HEARS("news#11");
}

static void test_what_is_not_kept_any_more_is_not_recovered(void **state)
{
    (void)state;
    redis.oldest = 9;
    since(9, 3);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 not recovered", "news#9", "news#10");
    since(8, 9);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 not recovered", "news#9", "news#10");
    since(9, 99);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 not recovered", "news#9", "news#10");
    last(1000);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered", "news#9", "news#10");
}

static void test_a_topic_without_history_is_only_live(void **state)
{
    (void)state;
    redis.epoch = redis.newest = 0;
    last(3);
    reply_frames();
    live(0, 0);
    HEARS("news#0");
    answer();
    HEARS("status 0/0 not recovered");
    live(0, 0);
    HEARS("news#0");
}

static void test_an_empty_history_is_one(void **state)
{
    (void)state;
    redis.newest = 0;
    since(9, 0);
    reply_frames();
    answer();
    HEARS("status 9/0 recovered");
    publish(1);
    HEARS("news#1");
}

/* ---- the seam ---- */

static void test_live_ones_wait_and_come_once(void **state)
{
    (void)state;
    last(2);
    publish(11);
    reply_frames();
    publish(12);
    redis.newest = 13; /* committed, and not here yet */
    answer();
    publish(13);
    HEARS("status 9/13 recovered");
    redis.newest = 15;
    answer();
    /* 11 came while it waited: it may have been due by a pattern. */
    HEARS("news#11", "news#12", "news#13", "news#14", "news#15");
    live(9, 14);
    live(9, 15);
    HEARS_NOTHING();
    publish(16);
    HEARS("news#16");
}

static void test_one_that_is_ahead_of_redis_asks_again(void **state)
{
    (void)state;
    redis.page = 2;
    last(3);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered", "news#8", "news#9");
    publish(11);
    await_question();
    publish(12);
    answer();
    HEARS("news#10", "news#11");
    await_question();
    answer();
    HEARS("news#12");
    publish(13);
    HEARS("news#13");
}

static void test_what_a_pattern_would_bring_comes_once(void **state)
{
    (void)state;
    subscribe("*");
    reply_frames();
    HEARS("status");
    publish(11);
    HEARS("news#11");
    last(1);
    publish(12);
    publish(13);
    reply_frames();
    answer();
    publish(14);
    answer();
    HEARS("status 9/13 recovered", "news#12", "news#13", "news#14");
    publish(15);
    HEARS("news#15");
}

static void test_what_is_trimmed_on_the_way_ends_it(void **state)
{
    (void)state;
    redis.page = 2;
    since(9, 2);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered", "news#3", "news#4");
    await_question();
    redis.oldest = 6;
    answer();
    assert_true(is_closed());
    HEARS_NOTHING();
}

static void test_a_question_without_answer_is_asked_again(void **state)
{
    (void)state;
    last(1);
    reply_frames();
    answer_with_nothing();
    await_question();
    answer();
    HEARS("status 9/10 recovered");
    answer_with_nothing();
    await_question();
    answer();
    HEARS("news#10");
}

static void test_its_own_messages_are_left_out(void **state)
{
    (void)state;
    redis.author = "77 1";
    last(3);
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered");
    publish(11);
    HEARS("news#11");
}

static void test_two_in_a_row_are_told_the_same(void **state)
{
    (void)state;
    last(1);
    last(3);
    reply_frames();
    HEARS_NOTHING();
    answer();
    HEARS("status 9/10 recovered", "status 9/10 recovered");
    answer();
    HEARS("news#8", "news#9", "news#10");
    publish(11);
    HEARS("news#11");
}

static void test_one_more_while_the_first_is_asked_for(void **state)
{
    (void)state;
    last(1);
    reply_frames();
    assert_true(asked.open);
    last(3);
    assert_int_equal(forgotten, asked.number);
    asked.open = false;
    publish(11);
    reply_frames();
    answer();
    HEARS("status 9/11 recovered", "status 9/11 recovered");
    answer();
    HEARS("news#9", "news#10", "news#11");
}

static void test_a_session_that_ends_asks_no_more(void **state)
{
    (void)state;
    last(3);
    reply_frames();
    fake_end_session(alice);
    assert_int_equal(forgotten, asked.number);
    alice = fake_session(2, "alice", &protocol);
    asked.open = false;
    last(3);
    fake_end_session(alice);
    alice = fake_session(3, "alice", &protocol);
    last(1);
    last(3);
    reply_frames();
    fake_end_session(alice);
    alice = fake_session(4, "alice", &protocol);
    assert_int_equal(subscribed, 0);
}

static void test_unsubscribing_on_the_way_ends_it(void **state)
{
    const struct slice name = slice_text("news");

    (void)state;
    redis.page = 2;
    last(5);
    reply_frames();
    topics_unsubscribe(fake.gateway.topics, alice, &name, 1, 8);
    reply_frames();
    assert_int_equal(subscribed, 1);
    answer();
    assert_int_equal(subscribed, 2);
    publish(11);
    assert_false(asked.open);
    assert_int_equal(topics_count(alice), 0);
}

/* ---- gaps ---- */

static void test_after_a_gap_it_goes_on_from_what_it_has(void **state)
{
    (void)state;
    subscribe("news");
    mark(9, 10);
    reply_frames();
    publish(11);
    HEARS("status", "news#11");
    redis.newest = 14;
    topics_on_gap(fake.gateway.topics, at("news"));
    mark(9, 14);
    live(9, 15);
    redis.newest = 15;
    answer();
    HEARS("news#12", "news#13", "news#14", "news#15");
    reply_frames();
    publish(16);
    HEARS("news#16");
    assert_false(is_closed());
    topics_on_gap(fake.gateway.topics, at("news"));
    reply_frames();
    assert_false(asked.open);
    publish(17);
    HEARS("news#17");
}

static void test_a_gap_in_the_middle_of_pages(void **state)
{
    (void)state;
    redis.page = 2;
    last(4);
    reply_frames();
    answer();
    answer();
    topics_on_gap(fake.gateway.topics, at("news"));
    await_question();
    answer();
    HEARS("status 9/10 recovered", "news#7", "news#8", "news#9", "news#10");
    redis.newest = 12;
    mark(9, 12);
    answer();
    HEARS("news#11", "news#12");
    publish(13);
    HEARS("news#13");
}

static void test_after_a_gap_that_counts_anew_it_is_closed(void **state)
{
    (void)state;
    subscribe("news");
    mark(9, 10);
    reply_frames();
    topics_on_gap(fake.gateway.topics, at("news"));
    assert_false(is_closed());
    mark(12, 10);
    assert_true(is_closed());
}

static void test_a_topic_without_history_is_closed_after_a_gap(void **state)
{
    (void)state;
    subscribe("news");
    reply_frames();
    topics_on_gap(fake.gateway.topics, at("news"));
    assert_true(is_closed());
}

static void test_counting_anew_without_a_gap_goes_on(void **state)
{
    (void)state;
    last(1);
    reply_frames();
    answer();
    answer();
    redis.epoch = 12;
    publish(11);
    mark(12, 11);
    publish(12);
    HEARS("status 9/10 recovered", "news#10", "news#11", "news#12");
    assert_false(is_closed());
}

static void test_a_hole_is_filled(void **state)
{
    (void)state;
    subscribe("news");
    mark(9, 10);
    reply_frames();
    publish(13);
    answer();
    HEARS("status", "news#11", "news#12", "news#13");
}

static void test_a_change_that_a_gap_has_swallowed_is_asked_for_again(void **state)
{
    (void)state;
    last(1);
    fake_forget_frames();
    topics_on_gap(fake.gateway.topics, at("news"));
    reply_frames();
    answer();
    answer();
    HEARS("status 9/10 recovered", "news#10");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_last_messages_follow_the_status),
        TEST(test_what_came_since_follows_the_status),
        TEST(test_what_is_not_kept_any_more_is_not_recovered),
        TEST(test_a_topic_without_history_is_only_live),
        TEST(test_an_empty_history_is_one),
        TEST(test_live_ones_wait_and_come_once),
        TEST(test_one_that_is_ahead_of_redis_asks_again),
        TEST(test_what_a_pattern_would_bring_comes_once),
        TEST(test_what_is_trimmed_on_the_way_ends_it),
        TEST(test_a_question_without_answer_is_asked_again),
        TEST(test_its_own_messages_are_left_out),
        TEST(test_two_in_a_row_are_told_the_same),
        TEST(test_one_more_while_the_first_is_asked_for),
        TEST(test_a_session_that_ends_asks_no_more),
        TEST(test_unsubscribing_on_the_way_ends_it),
        TEST(test_after_a_gap_it_goes_on_from_what_it_has),
        TEST(test_a_gap_in_the_middle_of_pages),
        TEST(test_after_a_gap_that_counts_anew_it_is_closed),
        TEST(test_a_topic_without_history_is_closed_after_a_gap),
        TEST(test_counting_anew_without_a_gap_goes_on),
        TEST(test_a_hole_is_filled),
        TEST(test_a_change_that_a_gap_has_swallowed_is_asked_for_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
