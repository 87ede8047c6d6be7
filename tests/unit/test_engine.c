/* What the engine makes of entries, whatever the frames in them want. */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

#include <errno.h>

/* ---- every frame has a handler ---- */

/* What a router says to itself only. */
static bool travels(enum frame_type type)
{
    return type != FRAME_TICK && type != FRAME_RECENT_ANSWER;
}

static void every_frame_to_routers_is_handled(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        enum frame_party from, to;

        assert_true(frame_parties(types[i], &from, &to));
        if (to == FRAME_PARTY_ROUTER && travels(types[i]))
            assert_true(engine_handles(types[i]));
        else
            assert_false(engine_handles(types[i]));
    }
}

/* ---- connections ---- */

static void a_connection_is_known_until_it_is_closed(void **state)
{
    (void)state;
    connect_user(G1, 7, "bob");
    turn();
    expect_field("conns", gateway_id(G1), "7", "3 0 0 bob");
    expect_field("user", T("bob"), "status", "online");
    assert_int_equal(sizes().connections, 1);
    connect_user(G1, 7, "bob");
    turn();
    assert_int_equal(sizes().connections, 1);
    closed(G1, 7, (struct number){0});
    closed(G1, 7, (struct number){0});
    closed(G1, 99, (struct number){0});
    turn();
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(field_count("conns", G1), 0);
}

static void connections_of_a_user_are_limited(void **state)
{
    (void)state;
    for (uint64_t c = 1; c <= limits.user_connections; c++)
        connect_user(G1, c, "bob");
    turn();
    deaf_all();
    connect_user(G2, 50, "bob");
    connect_user(G2, 51, "carol");
    turn();
    expect(G2, "CONNECTION_REFUSED connection=50 close_code=1008", NULL);
    assert_int_equal(field_count("conns", G2), 1);
    closed(G1, 1, (struct number){0});
    turn();
    connect_user(G2, 52, "bob");
    turn();
    expect(G2, NULL);
    assert_int_equal(field_count("conns", G2), 2);
}

/* ---- numbers of entries ---- */

static void entries_are_applied_once_and_in_order(void **state)
{
    (void)state;
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m3");
    add_entry(G1, 3);
    world_settle(world);
    expect(G1, "DIRECT_REPLY * id=\"m1\" *", "ENTRIES_MISSING last=1", NULL);
    expect_mailbox("bob", "m1");
    expect_field("sources", NOBODY, voices[G1].id, "1");
    world_take(world);
    world_settle(world);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m2");
    add_entry(G1, 2);
    direct(G1, "alice", "bob", "m3");
    add_entry(G1, 3);
    world_settle(world);
    expect(G1, "* id=\"m2\" *", "* id=\"m3\" *", NULL);
    expect_mailbox("bob", "m1 m2 m3");
}

static void each_entry_is_answered_with_what_was_accepted(void **state)
{
    struct frame frame;
    size_t count;
    const struct engine_page_entry *entries;
    struct number before = model_store_last_id(world_store(world), "out", gateway_id(G1));

    (void)state;
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    entries = model_store_stream(world_store(world), "out", gateway_id(G1), &count);
    for (uint64_t accepted = 1; accepted <= 2; accepted++) {
        const struct engine_page_entry *entry = &entries[count - 3 + accepted];

        frame_reader_start(reader, model_entry_field(entry, "e"));
        assert_int_equal(frame_reader_next(reader, &frame), 1);
        assert_int_equal(frame.output_head.accepted, accepted);
        assert_int_equal(number_compare(frame.output_head.previous, before), 0);
        before = entry->number;
    }
}

static void the_first_commit_of_a_take_speaks_to_every_gateway(void **state)
{
    size_t before[3];

    (void)state;
    for (int g = 0; g < 3; g++)
        before[g] = output_count(g);
    world_take(world);
    world_settle(world);
    for (int g = 0; g < 3; g++)
        assert_int_equal(output_count(g), before[g] + 1);
}

/* ---- what is no frame ---- */

static void the_good_part_of_a_bad_entry_counts(void **state)
{
    static const struct slice bad[] = {
        {"\xc1", 1}, {"\x91\xcd\xff\xff", 4}, {"\x91\x66\x00", 3}, {"nonsense", 8}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        again(&usual_limits);
        direct(G1, "alice", "bob", "m1");
        buffer_append_slice(&voices[G1].frames, bad[i]);
        direct(G1, "alice", "bob", "m2");
        turn();
        expect_mailbox("bob", "m1");
        assert_int_equal(world_malformed(world), 1);
        direct(G1, "alice", "bob", "m3");
        turn();
        expect_mailbox("bob", "m1 m3");
        expect(G1, "* id=\"m1\" *", "* id=\"m3\" *", NULL);
    }
}

static void frames_of_others_are_refused(void **state)
{
    (void)state;
    SAY(G1, WHO_ARE_YOU, who_are_you, .last = 1);
    turn();
    SAY(G1, GATEWAY_ANNOUNCE, gateway_announce, .nonce = 9, .last = 1);
    turn();
    beat(G1);
    add_entry(G1, 0);
    world_settle(world);
    assert_int_equal(world_malformed(world), 3);
    expect(G1, NULL);
}

static void an_announcement_with_something_else_in_it_does_no_harm(void **state)
{
    (void)state;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    listed(G1, 2, "carol", (struct number){0});
    end_announcement(G1);
    assert_int_equal(sizes().gateways, 2);
    voices[G1].number = 0;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    buffer_append_slice(&voices[G1].frames, T("nonsense"));
    listed(G1, 2, "carol", (struct number){0});
    end_announcement(G1);
    assert_int_equal(world_malformed(world), 1);
    assert_int_equal(sizes().connections, 1);
}

/* ---- memory ---- */

static void idle_users_can_be_forgotten(void **state)
{
    (void)state;
    connect_user(G1, 1, "online");
    direct(G1, "alice", "offline", "m1");
    watch(G1, "watched", 1, 0);
    turn();
    engine_trim_users(world_engine(world), 0);
    assert_true(engine_knows(world_engine(world), T("online")));
    assert_true(engine_knows(world_engine(world), T("watched")));
    assert_false(engine_knows(world_engine(world), T("offline")));
    direct(G1, "alice", "offline", "m2");
    turn();
    expect_mailbox("offline", "m1 m2");
}

static void note_user(void *arg, const struct engine_need *need)
{
    buffer_append_slice(arg, need->name);
    buffer_append_byte(arg, ' ');
}

static void users_that_frames_need_are_named(void **state)
{
    struct buffer names = {0};

    (void)state;
    connect_user(G1, 1, "known");
    turn();
    connect_user(G1, 2, "known");
    connect_user(G1, 3, "a");
    direct(G1, "sender", "b", "m1");
    watch(G1, "c", 1, 0);
    watch(G1, "*", 1, 0);
    listed(G1, 4, "d", (struct number){0});
    say_publish(G1, publication("t", "p1"));
    assert_int_equal(
        engine_missing(world_engine(world), buffer_slice(&voices[G1].frames), note_user, &names),
        4);
    buffer_append_byte(&names, '\0');
    assert_string_equal(names.data, "a b c d ");
    buffer_finish(&names);
}

static void finish_tells_how_much_there_is_to_do(void **state)
{
    struct effects *effects = effects_create(world_deployment(), 0);

    (void)state;
    engine_begin(world_engine(world), world_epoch(world), 1000, effects, START_MS);
    assert_int_equal(engine_finish(world_engine(world)), 0);
    effects_reset(effects);
    beat(G1);
    engine_begin(world_engine(world), world_epoch(world), 1001, effects, START_MS);
    assert_int_equal(engine_apply(world_engine(world), gateway_id(G1), (struct number){1, 0},
                                  buffer_slice(&voices[G1].frames), START_MS),
                     0);
    assert_int_equal(engine_finish(world_engine(world)), effects_count(effects));
    assert_true(effects_count(effects) > 0);
    effects_destroy(&effects);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_frame_to_routers_is_handled),
        TEST(a_connection_is_known_until_it_is_closed),
        TEST(connections_of_a_user_are_limited),
        TEST(entries_are_applied_once_and_in_order),
        TEST(each_entry_is_answered_with_what_was_accepted),
        TEST(the_first_commit_of_a_take_speaks_to_every_gateway),
        TEST(the_good_part_of_a_bad_entry_counts),
        TEST(frames_of_others_are_refused),
        TEST(an_announcement_with_something_else_in_it_does_no_harm),
        TEST(idle_users_can_be_forgotten),
        TEST(users_that_frames_need_are_named),
        TEST(finish_tells_how_much_there_is_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
