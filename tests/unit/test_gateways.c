/* A gateway as the engine knows it: announced, silent, buried, back again. */
#include "tests/unit/voices.h"

/* ---- announcements ---- */

static void an_unknown_gateway_is_asked_who_it_is(void **state)
{
    (void)state;
    direct(G4, "alice", "bob", "m1");
    turn();
    direct(G4, "alice", "bob", "m2");
    turn();
    expect(G4, "WHO_ARE_YOU last=0", "WHO_ARE_YOU last=0", NULL);
    expect_mailbox("bob", "");
    pass(10000);
    assert_int_equal(output_count(G4), 0);
    voices[G4].number = 0;
    announce(G4);
    end_announcement(G4);
    direct(G4, "alice", "bob", "m1");
    turn();
    expect(G4, "GATEWAY_ANNOUNCED nonce=1", "DIRECT_REPLY *", NULL);
    pass(20000);
    assert_int_equal(output_count(G4), 2);
}

static void an_announcement_replaces_everything(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "carol");
    count_topic(G2, "t", 2);
    watch(G2, "dave", 1, 0);
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    deaf_all();
    announce(G2);
    listed(G2, 1, "bob", (struct number){0});
    listed(G2, 3, "erin", (struct number){0});
    count_topic(G2, "u", 1);
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=2", "MESSAGE_DELIVERY connections=[1] * id=\"m1\" *", NULL);
    expect_field("conns", gateway_id(G2), "1", "3 0 0 bob");
    expect_field("conns", gateway_id(G2), "2", "");
    expect_field("conns", gateway_id(G2), "3", "3 0 0 erin");
    expect_field("subs", gateway_id(G2), "=t", "");
    expect_field("subs", gateway_id(G2), "=u", "1");
    expect_field("subs", gateway_id(G2), "?dave", "");
    assert_int_equal(sizes().connections, 2);
    assert_int_equal(sizes().topics, 1);
    connect_user(G1, 9, "dave");
    turn();
    expect(G2, NULL);
}

static void an_announcement_confirms_what_was_seen(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    announce(G2);
    listed(G2, 1, "bob", last_delivery(G2));
    end_announcement(G2);
    deaf(G2);
    assert_int_equal(output_count(G2), 1);
    assert_int_equal(sizes().pending, 0);
    expect_mailbox("bob", "");
}

static void an_announcement_comes_in_chunks(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    deaf_all();
    voices[G2].nonce = 5;
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    listed(G2, 2, "carol", (struct number){0});
    add_entry(G2, 0);
    world_settle(world);
    assert_int_equal(sizes().connections, 1);
    expect(G2, NULL);
    /* The first one again, then the third, are not taken. */
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 2, 1);
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 1, 0);
    listed(G2, 3, "dave", (struct number){0});
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 2, 1);
    listed(G2, 4, "erin", (struct number){0});
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=5", NULL);
    assert_int_equal(field_count("conns", G2), 3);
    expect_field("conns", gateway_id(G2), "2", "3 0 0 carol");
    expect_field("conns", gateway_id(G2), "4", "3 0 0 erin");
}

/* A mailbox is lost to a user of whom nothing was fetched. */
static void users_of_the_first_chunk_are_kept_until_the_last(void **state)
{
    (void)state;
    fill_mailbox("bob", 1);
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    listed(G2, 1, "bob", (struct number){0});
    end_announcement(G2);
    engine_trim_users(world_engine(world), 0);
    announce_chunk(G2, 5, voices[G2].number, 1, 1);
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=5", "* id=\"m1\" *", NULL);
}

static void old_announcements_are_dropped(void **state)
{
    (void)state;
    voices[G2].nonce = 7;
    announce(G2);
    listed(G2, 1, "bob", (struct number){0});
    end_announcement(G2);
    deaf(G2);
    for (int take = 0; take < 2; take++) {
        announce_chunk(G2, 8, voices[G2].number, 0, 1);
        end_announcement(G2);
        announce_chunk(G2, 3, voices[G2].number, 0, 1);
        end_announcement(G2);
        expect(G2, NULL);
        assert_int_equal(sizes().connections, 1);
        world_take(world);
        world_settle(world);
        deaf(G2);
    }
}

static void an_announcement_moves_the_number_forward_only(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
        end_entry(G1);
    }
    turn();
    announce_chunk(G1, 2, 1, 0, 1);
    end_announcement(G1);
    expect_field("sources", NOBODY, voices[G1].id, "3");
    announce_chunk(G1, 3, 10, 0, 1);
    end_announcement(G1);
    expect_field("sources", NOBODY, voices[G1].id, "10");
    deaf(G1);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 11);
    world_settle(world);
    expect(G1, "DIRECT_REPLY *", NULL);
}

/* ---- the end of gateways ---- */

static void find_of_gateway(void *arg, const char *key)
{
    const char *colon = strrchr(key, ':');

    if (colon != NULL && strcmp(colon + 1, voices[G1].id) == 0)
        *(const char **)arg = key;
}

static void expect_no_keys_of_g1(void)
{
    const char *key = NULL;

    model_store_each_key(world_store(world), find_of_gateway, &key);
    if (key != NULL)
        fail_msg("left behind: %s", key);
    expect_field("gateways", NOBODY, voices[G1].id, "");
}

static void a_gateway_that_leaves_leaves_nothing(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G2, "alice", "bob", "m1");
    count_topic(G1, "t", 1);
    turn();
    deaf(G1);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    beat(G1); /* nobody is there any more to say it */
    turn();
    expect(G1, NULL);
    assert_int_equal(sizes().gateways, 2);
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(sizes().topics, 0);
    expect_mailbox("bob", "m1");
    pass(10000);
    expect_no_keys_of_g1();
    pass(10 * 60 * 1000);
    tick();
    expect_field("sources", NOBODY, voices[G1].id, "");
}

static void a_last_entry_that_is_sent_again_does_no_harm(void **state)
{
    (void)state;
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    world_settle(world);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    world_settle(world);
    deaf(G1);
}

static void a_silent_gateway_is_buried(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G2, "alice", "bob", "m1");
    turn();
    deaf_all();
    pass(limits.gateway_death_ms - 1);
    beat(G2);
    beat(G3);
    turn();
    assert_false(world_tick(world));
    pass(1);
    tick();
    expect_no_keys_of_g1();
    assert_int_equal(sizes().gateways, 2);
    expect_mailbox("bob", "m1");
    assert_int_equal(engine_counters(world_engine(world))->gateways_buried, 1);
}

static void half_of_them_silent_at_once_is_a_doubt(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    beat(G3);
    turn();
    tick();
    assert_int_equal(sizes().gateways, 3);
    beat(G1);
    turn();
    pass(limits.gateway_death_ms);
    beat(G3);
    beat(G1);
    turn();
    tick();
    assert_int_equal(sizes().gateways, 2);
    assert_int_equal(field_count("gateways", G2), 0);
}

static void a_doubt_is_no_reprieve_for_ever(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    tick();
    assert_int_equal(sizes().gateways, 3);
    pass(limits.gateway_death_ms);
    tick();
    assert_int_equal(sizes().gateways, 0);
}

static void a_new_owner_waits_again(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    world_take(world);
    world_settle(world);
    tick();
    assert_int_equal(sizes().gateways, 3);
    engine_forgive_silence(world_engine(world), model_store_time(world_store(world)) + 1);
    assert_false(world_tick(world));
}

static void one_that_was_buried_by_mistake_goes_on(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    beat(G1);
    turn();
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    tick();
    direct(G2, "alice", "bob", "m1");
    turn();
    voices[G1].read = (struct number){0};
    direct(G1, "bob", "carol", "m2");
    turn();
    expect(G1, "WHO_ARE_YOU last=1", NULL);
    voices[G1].number = 1;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    end_announcement(G1);
    direct(G1, "bob", "carol", "m2");
    turn();
    expect(G1, "GATEWAY_ANNOUNCED nonce=2", "* connections=[1] * id=\"m1\" *",
           "DIRECT_REPLY * id=\"m2\" *", NULL);
    expect_field("sources", NOBODY, voices[G1].id, "2");
}

static void fill_gateway(int g, uint64_t connections)
{
    char user[24];

    for (uint64_t c = 1; c <= connections; c++) {
        snprintf(user, sizeof(user), "user%d", (int)c);
        connect_user(g, c, user);
    }
    turn();
    deaf_all();
}

static void many_connections_are_buried_in_several_commits(void **state)
{
    (void)state;
    fill_gateway(G1, 1100);
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    for (int left = 1100; left > 0; left -= 500) {
        assert_int_equal(sizes().connections, left);
        assert_int_equal(sizes().gateways, 3);
        tick();
    }
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(sizes().gateways, 2);
    expect_no_keys_of_g1();
}

/* Its clients are still there, and would be deaf for ever. */
static void one_that_speaks_while_it_is_buried_must_announce(void **state)
{
    (void)state;
    for (int take = 0; take < 2; take++) {
        again(&usual_limits);
        fill_gateway(G1, 600);
        pass(limits.gateway_death_ms);
        beat(G2);
        beat(G3);
        turn();
        tick();
        assert_int_equal(sizes().connections, 100);
        if (take) {
            world_take(world);
            world_settle(world);
        }
        deaf_all();
        direct(G1, "user1", "carol", "m1");
        turn();
        expect(G1, "WHO_ARE_YOU last=1", NULL);
        expect_mailbox("carol", "");
        voices[G1].number = 1;
        announce(G1);
        listed(G1, 1, "user1", (struct number){0});
        end_announcement(G1);
        expect(G1, "GATEWAY_ANNOUNCED nonce=2", NULL);
        assert_int_equal(sizes().connections, 1);
        direct(G1, "user1", "carol", "m1");
        turn();
        expect(G1, "DIRECT_REPLY *", NULL);
        world_take(world);
        world_settle(world);
        beat(G1);
        turn();
        expect(G1, NULL);
    }
}

static void buried_and_announced_in_one_commit(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    assert_true(world_tick(world));
    direct(G1, "bob", "carol", "m1");
    add_entry(G1, 2);
    announce_chunk(G1, 2, 1, 0, 1);
    listed(G1, 1, "bob", (struct number){0});
    add_entry(G1, 0);
    direct(G1, "bob", "carol", "m1");
    add_entry(G1, 2);
    voices[G1].read = (struct number){0};
    world_settle(world);
    expect(G1, "GATEWAY_ANNOUNCED nonce=2", "DIRECT_REPLY *", NULL);
    expect_mailbox("carol", "m1");
    assert_int_equal(sizes().connections, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_gateway_is_asked_who_it_is),
        TEST(an_announcement_replaces_everything),
        TEST(an_announcement_confirms_what_was_seen),
        TEST(an_announcement_comes_in_chunks),
        TEST(users_of_the_first_chunk_are_kept_until_the_last),
        TEST(old_announcements_are_dropped),
        TEST(an_announcement_moves_the_number_forward_only),
        TEST(a_gateway_that_leaves_leaves_nothing),
        TEST(a_last_entry_that_is_sent_again_does_no_harm),
        TEST(a_silent_gateway_is_buried),
        TEST(half_of_them_silent_at_once_is_a_doubt),
        TEST(a_doubt_is_no_reprieve_for_ever),
        TEST(a_new_owner_waits_again),
        TEST(one_that_was_buried_by_mistake_goes_on),
        TEST(many_connections_are_buried_in_several_commits),
        TEST(one_that_speaks_while_it_is_buried_must_announce),
        TEST(buried_and_announced_in_one_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
