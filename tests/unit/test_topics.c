#include "common/topic.h"
#include "tests/unit/fake_gateway.h"

/* ---- names ---- */

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool topic, pattern;
    } cases[] = {
        {"a", true, true},
        {"chat.general", true, true},
        {"A-Z_0.9", true, true},
        {"a.b.c.d.e.f.g.h", true, true},
        {"a.b.c.d.e.f.g.h.i", false, false},
        {"$sys.load", true, true},
        {"$", false, false},
        {"a.$b", false, false},
        {"", false, false},
        {".", false, false},
        {".a", false, false},
        {"a.", false, false},
        {"a..b", false, false},
        {"a b", false, false},
        {"a/b", false, false},
        {"caf\xc3\xa9", false, false},
        {"a%20b", false, false},
        {"*", false, true},
        {"**", false, true},
        {"*.a.*", false, true},
        {"a.**", false, true},
        {"**.a", false, false},
        {"a.**.b", false, false},
        {"a*", false, false},
        {"***", false, false},
        {"presence", true, true},
        {"presence.bob", false, false},
        {"presence.*", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice name = slice_text(cases[i].name);

        if (topic_valid(name) != cases[i].topic || topic_pattern_valid(name) != cases[i].pattern)
            fail_msg("%s", cases[i].name);
    }
}

static void test_longest_name(void **state)
{
    char name[TOPIC_MAX + 1];

    (void)state;
    memset(name, 'a', sizeof(name));
    assert_true(topic_valid(slice_of(name, TOPIC_MAX)));
    assert_false(topic_valid(slice_of(name, TOPIC_MAX + 1)));
}

static void test_covering(void **state)
{
    static const struct {
        const char *pattern, *inner;
        bool covers;
    } cases[] = {
        {"a.b", "a.b", true},
        {"a.b", "a.c", false},
        {"a.b", "a", false},
        {"a", "a.b", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"a.*", "a.b", true},
        {"a.*", "a", false},
        {"a.*", "a.b.c", false},
        {"*.b", "a.b", true},
        {"*.b", "a.c", false},
        {"**", "a", true},
        {"**", "a.b.c", true},
        {"a.**", "a", false},
        {"a.**", "a.b", true},
        {"a.**", "a.b.c.d", true},
        {"a.**", "b.c", false},
        {"*.**", "a", false},
        {"*.**", "a.b.c", true},
        {"*", "$a", false},
        {"**", "$a.b", false},
        {"*.b", "$a.b", false},
        {"$a.**", "$a.b", true},
        {"$a.*", "$a.b", true},
        {"a.*", "a.*", true},
        {"a.*", "a.**", false},
        {"a.**", "a.*", true},
        {"a.**", "a.**", true},
        {"a.**", "a.b.**", true},
        {"*.*", "**", false},
        {"**", "**", true},
        {"**", "*.b", true},
        {"a.b", "a.*", false},
        {"*.b", "a.*", false},
        {"presence.*", "presence.bob", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (topic_covers(slice_text(cases[i].pattern), slice_text(cases[i].inner)) !=
            cases[i].covers)
            fail_msg("%s over %s", cases[i].pattern, cases[i].inner);
}

static void test_presence_names(void **state)
{
    static const struct {
        const char *name, *user; /* NULL: refused */
    } cases[] = {
        {"presence.bob", "bob"},
        {"presence.a%2Eb", "a.b"},
        {"presence.a%2eb", "a.b"},
        {"presence.%C3%A9", "\xc3\xa9"},
        {"presence.guest%3A1", "guest:1"},
        {"presence.*", "*"},
        {"presence.**", "*"},
        {"presence.a.b", NULL},
        {"presence.", NULL},
        {"presence.%2", NULL},
        {"presence.%zz", NULL},
        {"presence.%FF", NULL},
        {"presence.%0A", NULL},
        {"presence.%2A", NULL},
        {"presence.SERVER", NULL},
        {"presence.group%3Ax", NULL},
        {"presence.a*", NULL},
        {"presence", NULL},
    };
    struct buffer user = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int result = topic_presence_user(slice_text(cases[i].name), &user);

        if ((result == 0) != (cases[i].user != NULL))
            fail_msg("%s", cases[i].name);
        assert_true(slice_is(buffer_slice(&user), cases[i].user ? cases[i].user : ""));
        buffer_reset(&user, 4096);
    }
    buffer_finish(&user);
}

/* ---- a protocol that tells what it is told ---- */

static uint64_t subscribed[64];
static size_t subscribed_count;

static void on_subscribed(struct session *session, uint64_t request)
{
    (void)session;
    assert_true(subscribed_count < 64);
    subscribed[subscribed_count++] = request;
}

static unsigned encoded;

static void encode_topic_message(struct buffer *out, const struct frame_topic_message *message,
                                 int *opcode)
{
    (void)opcode;
    encoded++;
    buffer_append_slice(out, message->topic);
}

static void encode_presence(struct buffer *out, const struct frame_presence_state *state,
                            int *opcode)
{
    (void)opcode;
    buffer_append_slice(out, state->user);
    buffer_append_byte(out, '=');
    buffer_append_slice(out, state->status);
}

static const struct protocol protocol = {
    .name = "told",
    .id = 3,
    .on_subscribed = on_subscribed,
    .encode_topic_message = encode_topic_message,
    .encode_presence = encode_presence,
};

/* ---- helpers: partitions are 4, and where a name lies is asked for, not assumed ---- */

static uint32_t at(const char *name)
{
    return partition_of(&fake.gateway.deployment, slice_text(name));
}

static void change(struct session *session, bool want, uint64_t request, const char *first,
                   const char *second)
{
    struct slice names[] = {slice_text(first), slice_text(second)};
    size_t count = second ? 2 : 1;

    if (want)
        topics_subscribe(fake.gateway.topics, session, names, count, request);
    else
        topics_unsubscribe(fake.gateway.topics, session, names, count, request);
}

static void publish_without(const char *topic, uint64_t exclude)
{
    struct frame_topic_message message = {.topic = slice_text(topic), .exclude = exclude};

    topics_on_message(fake.gateway.topics, at(topic), &message);
}

static void publish(const char *topic)
{
    publish_without(topic, 0);
}

static void tell_presence(const char *user, const char *status, uint64_t request)
{
    struct frame_presence_state state = {
        .user = slice_text(user), .status = slice_text(status), .request = request};

    topics_on_presence(fake.gateway.topics, at(user), &state);
}

/* Answers all that the frames ask for, as routers would. */
static void sync_all(void)
{
    for (size_t i = 0; i < fake.frame_count; i++) {
        struct frame frame = fake_frame_at(i);

        if (frame.type == FRAME_SUBSCRIPTION_SYNC)
            topics_on_synced(fake.gateway.topics, fake.frames[i].partition,
                             frame.subscription_sync.request);
    }
    fake_forget_frames();
}

static void expect(struct session *session, const char *text)
{
    const char *const expected[] = {text};

    fake_expect_messages(session, text ? 1 : 0, expected);
}

static void expect_frame(size_t index, uint32_t partition, const char *printed)
{
    struct frame frame = fake_frame_at(index);
    struct buffer text = {0};

    frame_print(&text, &frame);
    buffer_append_byte(&text, '\0');
    assert_string_equal(text.data, printed);
    assert_int_equal(fake.frames[index].partition, partition);
    buffer_finish(&text);
}

static int set_up(void **state)
{
    (void)state;
    fake_start(4);
    subscribed_count = 0;
    encoded = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

/* ---- subscriptions ---- */

static void test_topic_is_in_force_from_its_reply_on(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);

    (void)state;
    change(alice, true, 9, "news", NULL);
    expect_frame(0, at("news"), "TOPIC_COUNT topic=\"news\" connections=1");
    expect_frame(1, at("news"), "SUBSCRIPTION_SYNC request=1");
    assert_int_equal(fake.frame_count, 2);
    assert_int_equal(topics_count(alice), 1);
    assert_true(topics_session_matches(alice, slice_text("news")));
    publish("news");
    expect(alice, NULL);
    topics_on_synced(fake.gateway.topics, (at("news") + 1) % 4, 1);
    assert_int_equal(subscribed_count, 0);
    sync_all();
    assert_int_equal(subscribed_count, 1);
    assert_int_equal(subscribed[0], 9);
    publish("news");
    expect(alice, "news");
    topics_on_synced(fake.gateway.topics, at("news"), 1);
    assert_int_equal(subscribed_count, 1);
}

static void test_removed_one_delivers_until_its_reply(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);

    (void)state;
    change(alice, true, 1, "news", NULL);
    sync_all();
    change(alice, false, 2, "news", NULL);
    expect_frame(0, at("news"), "TOPIC_COUNT topic=\"news\" connections=0");
    assert_int_equal(topics_count(alice), 0);
    assert_false(topics_session_matches(alice, slice_text("news")));
    publish("news");
    expect(alice, "news");
    sync_all();
    assert_int_equal(subscribed[1], 2);
    publish("news");
    expect(alice, NULL);
}

static void test_pattern_is_in_force_partition_by_partition(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);
    struct frame_topic_message message = {.topic = slice_text("chat.x")};

    (void)state;
    change(alice, true, 1, "chat.*", "a.**");
    expect_frame(0, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"a.**,chat.*\" connections=1");
    for (uint32_t p = 0; p < 4; p++)
        expect_frame(1 + p, p, "SUBSCRIPTION_SYNC request=1");
    topics_on_synced(fake.gateway.topics, 2, 1);
    topics_on_message(fake.gateway.topics, 1, &message);
    expect(alice, NULL);
    topics_on_message(fake.gateway.topics, 2, &message);
    expect(alice, "chat.x");
    assert_int_equal(subscribed_count, 0);
    sync_all();
    assert_int_equal(subscribed_count, 1);
    topics_on_message(fake.gateway.topics, 1, &message);
    expect(alice, "chat.x");
}

static void test_overlapping_subscriptions_deliver_once(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);

    (void)state;
    change(alice, true, 1, "chat.x", NULL);
    sync_all();
    change(alice, true, 2, "chat.*", "*.x");
    expect_frame(0, at("chat.x"), "TOPIC_COUNT topic=\"chat.x\" connections=0");
    expect_frame(1, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"*.x,chat.*\" connections=1");
    sync_all();
    publish("chat.x");
    expect(alice, "chat.x");
    change(alice, false, 3, "chat.*", NULL);
    expect_frame(0, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"*.x,chat.*\" connections=0");
    expect_frame(1, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"*.x\" connections=1");
    sync_all();
    change(alice, false, 4, "*.x", NULL);
    expect_frame(0, at("chat.x"), "TOPIC_COUNT topic=\"chat.x\" connections=1");
    expect_frame(1, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"*.x\" connections=0");
    sync_all();
    publish("chat.x");
    expect(alice, "chat.x");
    assert_int_equal(topics_count(alice), 1);
}

static void test_message_is_encoded_once_and_leaves_one_out(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);
    struct session *bob = fake_session(2, "bob", &protocol);
    struct session *carol = fake_session(3, "carol", &protocol);

    (void)state;
    change(alice, true, 1, "news", NULL);
    change(bob, true, 2, "news", NULL);
    expect_frame(2, at("news"), "TOPIC_COUNT topic=\"news\" connections=2");
    change(carol, true, 3, "news", NULL);
    sync_all();
    publish_without("news", 2);
    expect(alice, "news");
    expect(bob, NULL);
    expect(carol, "news");
    assert_int_equal(encoded, 1);
}

static void test_repeats_and_strangers_change_nothing(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);

    (void)state;
    change(alice, true, 1, "news", "news");
    sync_all();
    assert_int_equal(topics_count(alice), 1);
    change(alice, true, 2, "news", NULL);
    change(alice, false, 3, "other", "*.x");
    assert_int_equal(fake.frame_count, 0);
    assert_int_equal(subscribed_count, 3);
    publish("news");
    expect(alice, "news");
}

static void test_repeat_waits_for_what_is_on_its_way(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);

    (void)state;
    change(alice, true, 1, "news", NULL);
    change(alice, true, 2, "news", NULL);
    assert_int_equal(subscribed_count, 0);
    assert_int_equal(fake.frame_count, 3);
    sync_all();
    assert_int_equal(subscribed_count, 2);
    publish("news");
    expect(alice, "news");
}

static struct slice announced_elsewhere(struct buffer *frames)
{
    topics_announce(fake.gateway.topics, (at("news") + 1) % 4, frames);
    return buffer_slice(frames);
}

static void test_closed_session_leaves_nothing(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);
    struct session *bob = fake_session(2, "bob", &protocol);
    struct frame_reader *reader = frame_reader_create();
    struct buffer frames = {0};
    struct frame frame;

    (void)state;
    change(bob, true, 1, "news", NULL);
    change(alice, true, 2, "news", "chat.*");
    change(alice, true, 3, "presence.bob", NULL);
    sync_all();
    change(alice, true, 4, "late", NULL);
    fake_forget_frames();
    fake_end_session(alice);
    expect_frame(0, FAKE_EVERYWHERE, "PATTERNS_COUNT patterns=\"chat.*\" connections=0");
    expect_frame(1, at("bob"), "PRESENCE_WATCH user=\"bob\" watching=0 request=0");
    expect_frame(2, at("news"), "TOPIC_COUNT topic=\"news\" connections=1");
    expect_frame(3, at("late"), "TOPIC_COUNT topic=\"late\" connections=0");
    assert_int_equal(fake.frame_count, 4);
    topics_on_synced(fake.gateway.topics, at("late"), 3);
    publish("news");
    expect(bob, "news");
    frame_reader_start(reader, announced_elsewhere(&frames));
    while (frame_reader_next(reader, &frame) == 1)
        assert_true(frame.type == FRAME_TOPIC_COUNT && frame.topic_count.topic.data[0] == '$');
    frame_reader_destroy(&reader);
    buffer_finish(&frames);
}

/* ---- presence ---- */

static void test_presence_is_asked_for_by_session(void **state)
{
    struct session *alice = fake_session(11, "alice", &protocol);
    struct session *carol = fake_session(12, "carol", &protocol);

    (void)state;
    change(alice, true, 1, "presence.bob", NULL);
    assert_int_equal(subscribed_count, 1);
    expect_frame(0, at("bob"), "PRESENCE_WATCH user=\"bob\" watching=1 request=11");
    assert_int_equal(fake.frame_count, 1);
    change(carol, true, 2, "presence.b%6Fb", "presence.*");
    expect_frame(1, at("bob"), "PRESENCE_WATCH user=\"bob\" watching=1 request=12");
    expect_frame(2, FAKE_EVERYWHERE, "PRESENCE_WATCH user=\"*\" watching=1 request=12");
    tell_presence("bob", "online", 11);
    expect(alice, "bob=online");
    expect(carol, NULL);
    tell_presence("bob", "away", 0);
    expect(alice, "bob=away");
    expect(carol, "bob=away");
    tell_presence("dave", "online", 0);
    expect(alice, NULL);
    expect(carol, "dave=online");
    tell_presence("dave", "online", 11);
    expect(alice, NULL);
}

static void test_presence_is_left_with_the_last(void **state)
{
    struct session *alice = fake_session(11, "alice", &protocol);
    struct session *carol = fake_session(12, "carol", &protocol);

    (void)state;
    change(alice, true, 1, "presence.bob", NULL);
    change(carol, true, 2, "presence.bob", NULL);
    fake_forget_frames();
    change(alice, false, 3, "presence.bob", NULL);
    assert_int_equal(fake.frame_count, 0);
    tell_presence("bob", "away", 0);
    expect(alice, NULL);
    expect(carol, "bob=away");
    change(carol, false, 4, "presence.bob", NULL);
    expect_frame(0, at("bob"), "PRESENCE_WATCH user=\"bob\" watching=0 request=0");
    assert_int_equal(subscribed_count, 4);
}

static void test_states_come_behind_the_reply(void **state)
{
    struct session *alice = fake_session(11, "alice", &protocol);

    (void)state;
    change(alice, true, 1, "presence.bob", "news");
    assert_int_equal(fake.frame_count, 2);
    assert_int_equal(subscribed_count, 0);
    topics_on_synced(fake.gateway.topics, at("news"), 1);
    expect_frame(2, at("bob"), "PRESENCE_WATCH user=\"bob\" watching=1 request=11");
    assert_int_equal(subscribed_count, 1);
}

/* ---- announcements ---- */

static void test_announcement_names_what_a_partition_needs(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);
    struct frame_reader *reader = frame_reader_create();
    struct buffer frames = {0};
    size_t topics = 0, patterns = 0, users = 0;
    struct frame frame;

    (void)state;
    change(alice, true, 1, "news", "chat.*");
    change(alice, true, 2, "chat.x", "presence.*");
    for (uint32_t p = 0; p < 4; p++) {
        buffer_reset(&frames, 4096);
        topics_announce(fake.gateway.topics, p, &frames);
        frame_reader_start(reader, buffer_slice(&frames));
        while (frame_reader_next(reader, &frame) == 1) {
            topics += frame.type == FRAME_TOPIC_COUNT && frame.topic_count.topic.data[0] != '$';
            patterns += frame.type == FRAME_PATTERNS_COUNT;
            users += frame.type == FRAME_PRESENCE_WATCH;
        }
    }
    assert_int_equal(topics, 1);
    assert_int_equal(patterns, 4);
    assert_int_equal(users, 4);
    buffer_finish(&frames);
    frame_reader_destroy(&reader);
}

static void test_gap_closes_those_who_may_have_missed(void **state)
{
    struct session *alice = fake_session(1, "alice", &protocol);
    struct session *bob = fake_session(2, "bob", &protocol);
    struct session *carol = fake_session(3, "carol", &protocol);
    uint32_t other = (at("news") + 1) % 4;

    (void)state;
    change(alice, true, 1, "news", NULL);
    change(bob, true, 2, "chat.*", NULL);
    change(carol, true, 3, "presence.*", NULL);
    sync_all();
    topics_on_gap(fake.gateway.topics, other);
    assert_false(((struct fake_session *)alice)->closed);
    assert_true(((struct fake_session *)bob)->closed);
    assert_int_equal(((struct fake_session *)bob)->reason, SESSION_CLOSE_RESTART);
    assert_false(((struct fake_session *)carol)->closed);
    /* A session that was told before: PRESENCE_AGAIN is set. */
    expect_frame(0, other, "PRESENCE_WATCH user=\"*\" watching=1 request=9223372036854775811");
    topics_on_gap(fake.gateway.topics, at("news"));
    assert_true(((struct fake_session *)alice)->closed);
}

/* ---- a model of the partitions: what they count is what is delivered ---- */

#define MODEL_COUNTS 64

struct model_count {
    char name[64];
    uint64_t connections;
};

/* Each partition takes the frames sent to it in order, but as late as it likes. */
static struct {
    size_t taken[4];
    struct model_count topics[4][MODEL_COUNTS], sets[4][MODEL_COUNTS];
} model;

static void model_set(struct model_count *counts, struct slice name, uint64_t connections)
{
    size_t i = 0;

    while (counts[i].name[0] && !slice_is(name, counts[i].name))
        i++;
    assert_true(i < MODEL_COUNTS - 1 && name.length < sizeof(counts[i].name));
    snprintf(counts[i].name, sizeof(counts[i].name), "%.*s", (int)name.length, name.data);
    counts[i].connections = connections;
}

static bool model_set_matches(const char *set, struct slice topic)
{
    char patterns[64], *rest = NULL;

    snprintf(patterns, sizeof(patterns), "%s", set);
    for (char *p = strtok_r(patterns, ",", &rest); p; p = strtok_r(NULL, ",", &rest))
        if (topic_matches(slice_text(p), topic))
            return true;
    return false;
}

static uint64_t model_recipients(uint32_t partition, const char *topic)
{
    uint64_t recipients = 0;

    for (size_t i = 0; model.topics[partition][i].name[0]; i++)
        if (strcmp(model.topics[partition][i].name, topic) == 0)
            recipients += model.topics[partition][i].connections;
    for (size_t i = 0; model.sets[partition][i].name[0]; i++)
        if (model.sets[partition][i].connections &&
            model_set_matches(model.sets[partition][i].name, slice_text(topic)))
            recipients += model.sets[partition][i].connections;
    return recipients;
}

static void model_take(uint32_t partition, const struct frame *frame)
{
    if (frame->type == FRAME_TOPIC_COUNT)
        model_set(model.topics[partition], frame->topic_count.topic,
                  frame->topic_count.connections);
    else if (frame->type == FRAME_PATTERNS_COUNT)
        model_set(model.sets[partition], frame->patterns_count.patterns,
                  frame->patterns_count.connections);
    else if (frame->type == FRAME_SUBSCRIPTION_SYNC)
        topics_on_synced(fake.gateway.topics, partition, frame->subscription_sync.request);
}

/* A change arrives whole, in one entry, and its SUBSCRIPTION_SYNC is the last of it. */
static void model_run(uint32_t partition, size_t changes)
{
    for (; changes > 0 && model.taken[partition] < fake.frame_count; model.taken[partition]++) {
        const struct fake_frame *kept = &fake.frames[model.taken[partition]];
        struct frame frame;

        if (kept->partition != partition && kept->partition != FAKE_EVERYWHERE)
            continue;
        frame = fake_decode(kept);
        model_take(partition, &frame);
        changes -= frame.type == FRAME_SUBSCRIPTION_SYNC;
    }
}

static void model_drain(void)
{
    for (uint32_t p = 0; p < 4; p++)
        model_run(p, SIZE_MAX);
    fake_forget_frames();
    memset(model.taken, 0, sizeof(model.taken));
}

static void model_publish(const char *topic)
{
    size_t delivered = 0;

    publish(topic);
    for (size_t i = 0; i < FAKE_SESSIONS; i++) {
        if (fake.sessions[i] == NULL)
            continue;
        assert_true(fake.sessions[i]->count <= 1);
        delivered += fake.sessions[i]->count;
        fake_forget_messages(&fake.sessions[i]->session);
    }
    assert_int_equal(delivered, model_recipients(at(topic), topic));
}

static void model_step(unsigned *seed, uint64_t *next_id)
{
    static const char *const names[] = {"a", "a.b", "a.c", "b.c", "*", "a.*", "*.c", "a.**", "**"};
    static const char *const topics[] = {"a", "a.b", "a.c", "b.c", "a.b.c"};
    struct fake_session **slot = &fake.sessions[rand_r(seed) % 6];
    unsigned dice = (unsigned)rand_r(seed) % 100;

    if (*slot == NULL) {
        fake_session(++*next_id, "user", &protocol);
    } else if (dice < 30) {
        change(&(*slot)->session, true, 1, names[rand_r(seed) % 9], names[rand_r(seed) % 9]);
    } else if (dice < 50) {
        change(&(*slot)->session, false, 1, names[rand_r(seed) % 9], names[rand_r(seed) % 9]);
    } else if (dice < 53) {
        fake_end_session(&(*slot)->session);
        model_drain();
    } else if (dice < 75) {
        model_run((uint32_t)(rand_r(seed) % 4), (size_t)(rand_r(seed) % 4));
    } else {
        model_publish(topics[rand_r(seed) % 5]);
    }
    if (fake.frame_count > FAKE_FRAMES / 2)
        model_drain();
    subscribed_count = 0;
}

static void test_counts_and_deliveries_agree(void **state)
{
    unsigned seed = 1;
    uint64_t next_id = 0;

    (void)state;
    memset(&model, 0, sizeof(model));
    for (int i = 0; i < 20000; i++)
        model_step(&seed, &next_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_covering),
        cmocka_unit_test(test_presence_names),
#define SCENE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        SCENE(test_topic_is_in_force_from_its_reply_on),
        SCENE(test_removed_one_delivers_until_its_reply),
        SCENE(test_pattern_is_in_force_partition_by_partition),
        SCENE(test_overlapping_subscriptions_deliver_once),
        SCENE(test_message_is_encoded_once_and_leaves_one_out),
        SCENE(test_repeats_and_strangers_change_nothing),
        SCENE(test_repeat_waits_for_what_is_on_its_way),
        SCENE(test_closed_session_leaves_nothing),
        SCENE(test_presence_is_asked_for_by_session),
        SCENE(test_presence_is_left_with_the_last),
        SCENE(test_states_come_behind_the_reply),
        SCENE(test_announcement_names_what_a_partition_needs),
        SCENE(test_gap_closes_those_who_may_have_missed),
        SCENE(test_counts_and_deliveries_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
