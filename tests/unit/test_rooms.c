/*
 * Rooms: who hears of whom, and when; what is kept of it.
 */
#include "tests/unit/voices.h"

static void count_member(int g, const char *user, uint64_t connections, uint64_t request)
{
    SAY(g, MEMBER_COUNT, member_count, .topic = T("$room"), .user = T(user),
        .connections = connections, .announce = 1, .request = request);
}

static void ask(int g, uint64_t request)
{
    SAY(g, MEMBERS_ASK, members_ask, .topic = T("$room"), .request = request);
}

/* Gateways 1 and 2 are in the room. */
static int set_up(void **state)
{
    setup(state);
    count_topic(G1, "$room", 1);
    count_topic(G2, "$room", 1);
    turn();
    deaf_all();
    return 0;
}

static const char *subscription(int g, const char *field)
{
    static char text[64];
    struct slice value = model_store_field(world_store(world), "subs", gateway_id(g), T(field));

    snprintf(text, sizeof(text), "%.*s", (int)value.length, value.length ? value.data : "");
    return text;
}

/* The last frame that g has been sent is this list. */
static void expect_list(int g, uint64_t request, const char *lines)
{
    struct frame frame, last = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "out", gateway_id(g), &count);

    assert_true(count > 0);
    frame_reader_start(reader, model_entry_field(&entries[count - 1], "e"));
    while (frame_reader_next(reader, &frame) == 1)
        last = frame;
    assert_int_equal(last.type, FRAME_MEMBER_LIST);
    assert_int_equal(last.member_list.request, request);
    assert_true(slice_is(last.member_list.members, lines));
    assert_true(last.member_list.last);
    deaf(g);
}

#define CAME(user) "MEMBER_CHANGED topic=\"$room\" user=\"" user "\" present=1 at_ms=1700000000000"
#define WENT(user) "MEMBER_CHANGED topic=\"$room\" user=\"" user "\" present=0 at_ms=*"

static void the_rooms_gateways_hear_who_comes_and_goes(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    turn();
    expect(G1, CAME("alice"), NULL);
    expect(G2, CAME("alice"), NULL);
    expect(G3, NULL);
    assert_string_equal(subscription(G1, "@$room\nalice"), "1 1700000000000 1");
    count_member(G1, "alice", 0, 0);
    turn();
    expect(G1, WENT("alice"), NULL);
    expect(G2, WENT("alice"), NULL);
    assert_string_equal(subscription(G1, "@$room\nalice"), "");
    assert_int_equal(sizes().members, 0);
}

static void a_member_is_there_as_long_as_one_gateway_has_him(void **state)
{
    (void)state;
    count_member(G1, "alice", 2, 0);
    turn();
    count_member(G2, "alice", 1, 0);
    turn();
    deaf_all();
    count_member(G1, "alice", 1, 0);
    turn();
    count_member(G1, "alice", 0, 0);
    turn();
    expect(G2, NULL);
    assert_int_equal(sizes().members, 1);
    count_member(G2, "alice", 0, 0);
    turn();
    expect(G2, WENT("alice"), NULL);
}

static void who_moves_within_one_commit_has_not_been_away(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    turn();
    deaf_all();
    count_member(G1, "alice", 0, 0);
    count_member(G2, "alice", 1, 0);
    turn();
    expect(G1, NULL);
    expect(G2, NULL);
    count_member(G2, "alice", 0, 0);
    count_member(G2, "alice", 1, 0);
    turn();
    expect(G1, NULL);
    count_member(G2, "dave", 1, 0);
    count_member(G2, "dave", 0, 0);
    turn();
    expect(G1, NULL);
    assert_int_equal(sizes().members, 1);
}

static void unless_asked_to_nobody_is_told(void **state)
{
    (void)state;
    SAY(G1, MEMBER_COUNT, member_count, .topic = T("$room"), .user = T("alice"), .connections = 1);
    turn();
    expect(G2, NULL);
    ask(G1, 5);
    turn();
    expect_list(G1, 5, "1700000000000 alice\n");
    SAY(G1, MEMBER_COUNT, member_count, .topic = T("$room"), .user = T("alice"));
    turn();
    expect(G2, NULL);
}

static void a_list_follows_the_change_it_was_asked_with(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    turn();
    pass(5);
    deaf_all();
    count_member(G2, "bob", 1, 9);
    turn();
    expect(G1, "MEMBER_CHANGED*bob* at_ms=1700000000005", NULL);
    expect_list(G2, 9, "1700000000000 alice\n1700000000005 bob\n");
    SAY(G3, MEMBERS_ASK, members_ask, .topic = T("$empty"), .request = 3);
    turn();
    expect_list(G3, 3, "");
}

static void who_comes_is_told_before_what_he_says(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    say_publish(G1, publication("$room", "p1"));
    count_member(G1, "alice", 0, 0);
    turn();
    expect(G2, CAME("alice"), "TOPIC_MESSAGE*p1*", WENT("alice"), NULL);
}

static void lists_come_in_chunks(void **state)
{
    struct frame frame;
    size_t frames = 0, lines = 0, count;
    const struct engine_page_entry *entries;

    (void)state;
    for (int i = 0; i < 2500; i++) {
        char user[16];

        snprintf(user, sizeof(user), "user%d", i);
        count_member(G1, user, 1, 0);
    }
    turn();
    deaf_all();
    ask(G2, 1);
    turn();
    entries = model_store_stream(world_store(world), "out", gateway_id(G2), &count);
    frame_reader_start(reader, model_entry_field(&entries[count - 1], "e"));
    while (frame_reader_next(reader, &frame) == 1) {
        size_t before = lines;

        if (frame.type != FRAME_MEMBER_LIST)
            continue;
        for (size_t i = 0; i < frame.member_list.members.length; i++)
            lines += frame.member_list.members.data[i] == '\n';
        assert_true(lines - before <= 1000);
        assert_int_equal(frame.member_list.last, ++frames == 3);
    }
    assert_int_equal(frames, 3);
    assert_int_equal(lines, 2500);
}

static void an_announcement_does_not_flap(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    count_member(G1, "bob", 1, 0);
    turn();
    pass(5);
    deaf_all();
    announce(G1);
    count_topic(G1, "$room", 1);
    count_member(G1, "alice", 2, 0);
    count_member(G1, "carol", 1, 0);
    end_announcement(G1);
    expect(G2, WENT("bob"), "MEMBER_CHANGED*carol* present=1 at_ms=1700000000005", NULL);
    expect(G1, "GATEWAY_ANNOUNCED*", WENT("bob"), "MEMBER_CHANGED*carol*", NULL);
    assert_string_equal(subscription(G1, "@$room\nalice"), "2 1700000000000 1");
}

static void a_take_changes_nothing(void **state)
{
    (void)state;
    count_member(G1, "bob", 1, 0);
    turn();
    pass(5);
    count_member(G2, "alice", 1, 0);
    turn();
    count_member(G2, "bob", 1, 0);
    turn();
    deaf_all();
    pass(100);
    world_take(world);
    world_settle(world);
    expect(G1, NULL);
    count_member(G1, "bob", 0, 0);
    turn();
    world_take(world);
    ask(G1, 1);
    turn();
    expect_list(G1, 1, "1700000000000 bob\n1700000000005 alice\n");
    count_member(G2, "bob", 0, 0);
    turn();
    expect(G1, WENT("bob"), NULL);
}

static void who_was_on_a_dead_gateway_is_gone(void **state)
{
    (void)state;
    count_member(G1, "alice", 1, 0);
    count_member(G2, "alice", 1, 0);
    count_member(G2, "bob", 1, 0);
    turn();
    deaf_all();
    for (int i = 0; i < 2; i++) {
        pass(limits.gateway_death_ms / 2 + 1);
        SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat, );
        SAY(G3, GATEWAY_HEARTBEAT, gateway_heartbeat, );
        turn();
        tick();
    }
    expect(G1, WENT("bob"), NULL);
    assert_int_equal(sizes().members, 1);
    SAY(G1, GATEWAY_LEAVE, gateway_leave, );
    turn();
    assert_int_equal(sizes().members, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_rooms_gateways_hear_who_comes_and_goes),
        TEST(a_member_is_there_as_long_as_one_gateway_has_him),
        TEST(who_moves_within_one_commit_has_not_been_away),
        TEST(unless_asked_to_nobody_is_told),
        TEST(a_list_follows_the_change_it_was_asked_with),
        TEST(who_comes_is_told_before_what_he_says),
        TEST(lists_come_in_chunks),
        TEST(an_announcement_does_not_flap),
        TEST(a_take_changes_nothing),
        TEST(who_was_on_a_dead_gateway_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
