/*
 * The rooms of a gateway: what its partitions are told of members, and what a session hears of its
 * room, and in which order.
 */
#include "gateway/topics/room.h"
#include "tests/unit/fake_gateway.h"

static void encode_member(struct buffer *out, const struct frame_member_changed *change,
                          int *opcode)
{
    (void)opcode;
    buffer_append_byte(out, change->present ? '+' : '-');
    buffer_append_slice(out, change->user);
}

static void on_member_list(struct session *session, const struct frame_member_list *list)
{
    struct buffer text = {0};
    char request[32];
    int length =
        snprintf(request, sizeof(request), "%d%s:", (int)list->request, list->last ? "" : "...");

    buffer_append(&text, request, (size_t)length);
    buffer_append_slice(&text, list->members);
    session_send_text(session, buffer_slice(&text));
    buffer_finish(&text);
}

static const struct protocol told = {
    .name = "told", .id = 4, .encode_member = encode_member, .on_member_list = on_member_list};
static const struct protocol mute = {.name = "mute", .id = 5, .on_member_list = on_member_list};

static int set_up(void **state)
{
    (void)state;
    fake_start(4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

static void flush(void)
{
    fake_forget_frames();
    rooms_flush(fake.gateway.rooms);
}

/* The frames since the last flush, all to this topic's partition. */
static void expect_sent(const char *topic, size_t count, const char *const *expected)
{
    assert_int_equal(fake.frame_count, count);
    for (size_t i = 0; i < count; i++) {
        struct frame frame = fake_frame_at(i);
        struct buffer text = {0};

        frame_print(&text, &frame);
        buffer_append_byte(&text, '\0');
        assert_string_equal(text.data, expected[i]);
        assert_int_equal(fake.frames[i].partition,
                         partition_of(&fake.gateway.deployment, slice_text(topic)));
        buffer_finish(&text);
    }
}

#define SENT(...)                                                                                  \
    expect_sent("$told", sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                   \
                (const char *const[]){__VA_ARGS__})
#define HEARS(session, ...)                                                                        \
    fake_expect_messages(session, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),          \
                         (const char *const[]){__VA_ARGS__})
#define HEARS_NOTHING(session) fake_expect_messages(session, 0, NULL)

static void change(const char *user, bool present)
{
    rooms_on_changed(fake.gateway.rooms,
                     &(struct frame_member_changed){.topic = slice_text("$told"),
                                                    .user = slice_text(user),
                                                    .present = present});
}

static void list(uint64_t request, const char *members, bool last)
{
    rooms_on_list(fake.gateway.rooms, &(struct frame_member_list){.request = request,
                                                                  .topic = slice_text("$told"),
                                                                  .members = slice_text(members),
                                                                  .last = last});
}

static void test_counts_are_absolute_and_sent_once_a_turn(void **state)
{
    struct session *phone = fake_session(1, "alice", &told);
    struct session *laptop = fake_session(2, "alice", &told);

    (void)state;
    room_join(phone, false);
    room_join(phone, false);
    room_join(laptop, false);
    flush();
    SENT("MEMBER_COUNT topic=\"$told\" user=\"alice\" connections=2 announce=1 request=0");
    flush();
    assert_int_equal(fake.frame_count, 0);
    room_leave(phone);
    room_leave(phone);
    flush();
    SENT("MEMBER_COUNT topic=\"$told\" user=\"alice\" connections=1 announce=1 request=0");
    fake_end_session(laptop);
    room_join(phone, false);
    room_leave(phone);
    flush();
    SENT("MEMBER_COUNT topic=\"$told\" user=\"alice\" connections=0 announce=1 request=0");
}

static void test_protocol_without_words_for_changes_announces_nobody(void **state)
{
    (void)state;
    room_join(fake_session(1, "alice", &mute), false);
    flush();
    expect_sent(
        "$mute", 1,
        (const char *const[]){
            "MEMBER_COUNT topic=\"$mute\" user=\"alice\" connections=1 announce=0 request=0"});
}

static void test_newcomer_hears_of_himself_then_the_list_then_changes(void **state)
{
    struct session *alice = fake_session(1, "alice", &told);
    struct session *bob = fake_session(2, "bob", &told);

    (void)state;
    room_join(bob, false);
    room_join(alice, true);
    flush();
    assert_int_equal(fake.frame_count, 3);
    change("carol", true);
    change("alice", true);
    change("dave", true);
    HEARS(alice, "+alice");
    HEARS(bob, "+carol", "+alice", "+dave");
    list(1, "1 bob\n2 carol\n", false);
    change("erin", true);
    list(1, "3 alice\n4 dave\n5 erin\n", true);
    HEARS(alice, "0...:1 bob\n2 carol\n", "0:3 alice\n4 dave\n5 erin\n");
    HEARS(bob, "+erin");
    change("erin", false);
    HEARS(alice, "-erin");
    HEARS(bob, "-erin");
}

static void test_newcomer_whose_user_is_there_is_told_himself(void **state)
{
    struct session *alice = fake_session(1, "alice", &told);

    (void)state;
    room_join(alice, true);
    flush();
    change("alice", false);
    list(1, "3 bob\n", true);
    HEARS(alice, "+alice", "0:3 bob\n");
}

static void test_one_list_at_a_time_answers_all_who_ask(void **state)
{
    struct session *alice = fake_session(1, "alice", &told);
    struct session *bob = fake_session(2, "bob", &told);

    (void)state;
    assert_int_equal(room_ask(alice, 7), 0);
    assert_int_equal(room_ask(bob, 8), 0);
    assert_int_equal(room_ask(bob, 9), 0);
    flush();
    SENT("MEMBERS_ASK topic=\"$told\" request=1");
    assert_int_equal(room_ask(bob, 10), 0);
    flush();
    assert_int_equal(fake.frame_count, 0);
    list(99, "0 other\n", true);
    HEARS_NOTHING(alice);
    list(1, "1 x\n", true);
    HEARS(alice, "7:1 x\n");
    HEARS(bob, "8:1 x\n", "9:1 x\n");
    flush();
    SENT("MEMBERS_ASK topic=\"$told\" request=2");
    fake_end_session(bob);
    list(2, "1 x\n", true);
    HEARS_NOTHING(alice);
}

static void test_questions_have_a_limit(void **state)
{
    struct session *alice = fake_session(1, "alice", &told);

    (void)state;
    for (uint64_t i = 1; i <= ROOM_ASKS_MAX; i++)
        assert_int_equal(room_ask(alice, i), 0);
    assert_int_equal(room_ask(alice, 99), -EBUSY);
    flush();
    list(1, "", true);
    assert_int_equal(room_ask(alice, 99), 0);
}

static void test_announcements_count_who_is_there(void **state)
{
    struct buffer frames = {0};
    struct session *bob = fake_session(2, "bob", &told);
    uint32_t partition = partition_of(&fake.gateway.deployment, slice_text("$told"));

    (void)state;
    room_join(fake_session(1, "alice", &told), false);
    room_join(bob, false);
    flush();
    room_leave(bob);
    rooms_announce(fake.gateway.rooms, (partition + 1) % 4, &frames);
    assert_int_equal(frames.length, 0);
    rooms_announce(fake.gateway.rooms, partition, &frames);
    fake_forget_frames();
    buffer_append_slice(&fake.frames[0].bytes, buffer_slice(&frames));
    fake.frame_count = 1;
    fake.frames[0].partition = partition;
    SENT("MEMBER_COUNT topic=\"$told\" user=\"alice\" connections=1 announce=1 request=0");
    buffer_finish(&frames);
}

static void test_a_gap_ends_the_rooms_sessions_and_asks_again(void **state)
{
    struct session *alice = fake_session(1, "alice", &told);
    struct session *bob = fake_session(2, "bob", &told);
    uint32_t partition = partition_of(&fake.gateway.deployment, slice_text("$told"));

    (void)state;
    room_join(alice, false);
    assert_int_equal(room_ask(bob, 5), 0);
    flush();
    rooms_on_gap(fake.gateway.rooms, (partition + 1) % 4);
    assert_false(((struct fake_session *)alice)->closed);
    rooms_on_gap(fake.gateway.rooms, partition);
    assert_true(((struct fake_session *)alice)->closed);
    assert_int_equal(((struct fake_session *)alice)->reason, SESSION_CLOSE_RESTART);
    assert_false(((struct fake_session *)bob)->closed);
    flush();
    SENT("MEMBERS_ASK topic=\"$told\" request=2");
    list(2, "", true);
    HEARS(bob, "5:");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_counts_are_absolute_and_sent_once_a_turn),
        TEST(test_protocol_without_words_for_changes_announces_nobody),
        TEST(test_newcomer_hears_of_himself_then_the_list_then_changes),
        TEST(test_newcomer_whose_user_is_there_is_told_himself),
        TEST(test_one_list_at_a_time_answers_all_who_ask),
        TEST(test_questions_have_a_limit),
        TEST(test_announcements_count_who_is_there),
        TEST(test_a_gap_ends_the_rooms_sessions_and_asks_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
