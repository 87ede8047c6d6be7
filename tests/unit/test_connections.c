/*
 * Connections that stand in each other's way or count differently: slots and their replacement,
 * names of which each user has one connection, hidden connections, guests.
 */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

enum { PROTOCOL = 4 };

static void come(int g, uint64_t connection, const char *user, uint64_t flags, const char *slot)
{
    SAY(g, USER_CONNECT, user_connect, .connection = connection, .user = T(user),
        .protocol = PROTOCOL, .flags = flags, .slot = T(slot));
}

static void announce_one(int g, uint64_t connection, const char *user, uint64_t flags,
                         const char *slot)
{
    announce(g);
    SAY(g, ANNOUNCED_CONNECTION, announced_connection, .connection = connection, .user = T(user),
        .protocol = PROTOCOL, .flags = flags, .slot = T(slot));
    end_announcement(g);
}

static void claim(int g, uint64_t request, const char *user)
{
    SAY(g, NAME_CLAIM, name_claim, .request = request, .user = T(user), .protocol = PROTOCOL);
    turn();
}

static void visible(int g, uint64_t connection, uint64_t how)
{
    SAY(g, CONNECTION_VISIBLE, connection_visible, .connection = connection, .visible = how);
    turn();
}

static void expect_status(const char *user, const char *status)
{
    expect_field("user", T(user), "status", status);
}

/* ---- slots ---- */

static void the_older_of_a_slot_is_replaced(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    deaf_all();
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=1 close_code=4001", NULL);
    expect(G2, NULL);
    assert_int_equal(field_count("conns", G1), 0);
    assert_int_equal(field_count("conns", G2), 1);
    expect_field("conns", gateway_id(G2), "2", "4 32 0 bob\nphone");
}

static void other_slots_users_and_protocols_stay(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    come(G1, 2, "bob", CONNECTION_FLAG_REPLACE, "desk");
    come(G1, 3, "bob", CONNECTION_FLAG_REPLACE, "");
    come(G1, 4, "carol", CONNECTION_FLAG_REPLACE, "phone");
    SAY(G1, USER_CONNECT, user_connect, .connection = 5, .user = T("bob"), .protocol = PROTOCOL + 1,
        .flags = CONNECTION_FLAG_REPLACE, .slot = T("phone"));
    come(G1, 6, "bob", 0, "watch");
    turn();
    deaf_all();
    come(G2, 7, "bob", CONNECTION_FLAG_REPLACE, "watch");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=6 close_code=4001", NULL);
    assert_int_equal(field_count("conns", G1), 5);
}

static void the_late_close_of_the_older_changes_nothing(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    deaf_all();
    closed(G1, 1, (struct number){0});
    turn();
    pass(5000);
    tick();
    expect_status("bob", "online");
    direct(G3, "alice", "bob", "m1");
    turn();
    expect(G1, NULL);
    expect(G2, "MESSAGE_DELIVERY connections=[2] * id=\"m1\" *", NULL);
}

static void what_the_older_had_on_its_way_comes_to_the_newer(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    deaf_all();
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    direct(G3, "alice", "bob", "m2");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[2] * id=\"m1\" *",
           "MESSAGE_DELIVERY connections=[2] * id=\"m2\" *", NULL);
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 2);
    written(G2);
    turn();
    assert_int_equal(sizes().pending, 0);
}

static void replacing_needs_no_room(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= limits.user_connections; i++) {
        char slot[8];

        snprintf(slot, sizeof(slot), "s%d", (int)i);
        come(G1, i, "bob", CONNECTION_FLAG_REPLACE, slot);
    }
    turn();
    deaf_all();
    come(G2, 50, "bob", CONNECTION_FLAG_REPLACE, "s1");
    come(G2, 51, "bob", CONNECTION_FLAG_REPLACE, "new");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=1 close_code=4001", NULL);
    expect(G2, "CONNECTION_REFUSED connection=51 close_code=1008", NULL);
}

static void slots_are_known_after_a_take(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "a b\nc");
    turn();
    world_take(world);
    turn();
    deaf_all();
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "a b\nc");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=1 close_code=4001", NULL);
}

/* Its gateway has not heard that it was replaced: it does not take the place back. */
static void an_announced_one_replaces_nobody(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    deaf_all();
    announce_one(G1, 1, "bob", CONNECTION_FLAG_REPLACE, "phone");
    expect(G1, "GATEWAY_ANNOUNCED *", "CONNECTION_REFUSED connection=1 close_code=4001", NULL);
    expect(G2, NULL);
    deaf_all();
    announce_one(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    expect(G2, "GATEWAY_ANNOUNCED *", NULL);
    assert_int_equal(field_count("conns", G2), 1);
}

/* What a gateway said before it announced itself comes behind the announcement. */
static void what_was_said_before_an_announcement_replaces_nobody(void **state)
{
    (void)state;
    announce_one(G1, 5, "bob", CONNECTION_FLAG_REPLACE, "phone");
    deaf_all();
    come(G1, 3, "bob", CONNECTION_FLAG_REPLACE, "phone");
    come(G1, 5, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=3 close_code=4001", NULL);
    assert_int_equal(field_count("conns", G1), 1);
    come(G1, 6, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=5 close_code=4001", NULL);
}

static void who_was_replaced_stays_so_until_he_is_closed(void **state)
{
    (void)state;
    announce_one(G1, 5, "bob", CONNECTION_FLAG_REPLACE, "phone");
    come(G2, 2, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    deaf_all();
    come(G1, 5, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    expect(G1, "CONNECTION_REFUSED connection=5 close_code=4001", NULL);
    expect(G2, NULL);
    closed(G1, 5, (struct number){0});
    come(G1, 6, "bob", CONNECTION_FLAG_REPLACE, "phone");
    turn();
    expect(G2, "CONNECTION_REFUSED connection=2 close_code=4001", NULL);
}

/* ---- names in use ---- */

static void a_second_exclusive_connection_is_refused(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    deaf_all();
    come(G2, 2, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    expect(G2, "CONNECTION_REFUSED connection=2 close_code=1008", NULL);
    expect(G1, NULL);
    closed(G1, 1, (struct number){0});
    come(G2, 3, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    expect(G2, NULL);
    assert_int_equal(field_count("conns", G2), 1);
}

static void a_name_in_use_is_not_granted(void **state)
{
    (void)state;
    claim(G1, 5, "bob");
    expect(G1, "NAME_ANSWER request=5 granted=1", NULL);
    come(G1, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    claim(G2, 6, "bob");
    expect(G2, "NAME_ANSWER request=6 granted=0", NULL);
    SAY(G2, NAME_CLAIM, name_claim, .request = 7, .user = T("bob"), .protocol = PROTOCOL + 1);
    turn();
    expect(G2, "NAME_ANSWER request=7 granted=1", NULL);
}

static void a_granted_name_is_kept_for_its_asker(void **state)
{
    (void)state;
    claim(G1, 5, "bob");
    deaf_all();
    claim(G2, 6, "bob");
    claim(G1, 7, "bob"); /* nor for another client there */
    expect(G2, "NAME_ANSWER request=6 granted=0", NULL);
    expect(G1, "NAME_ANSWER request=7 granted=0", NULL);
    come(G2, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    expect(G2, "CONNECTION_REFUSED connection=1 close_code=1008", NULL);
    come(G1, 2, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    expect(G1, NULL);
    assert_int_equal(field_count("conns", G1), 1);
}

static void a_name_is_not_kept_for_ever(void **state)
{
    (void)state;
    claim(G1, 5, "bob");
    pass(9999);
    claim(G2, 6, "bob");
    expect(G2, "NAME_ANSWER request=6 granted=0", NULL);
    pass(1);
    claim(G2, 7, "bob");
    expect(G2, "NAME_ANSWER request=7 granted=1", NULL);
}

static void a_gateway_that_leaves_keeps_no_names(void **state)
{
    (void)state;
    claim(G1, 5, "bob");
    say(G1, &(struct frame){.type = FRAME_GATEWAY_LEAVE});
    turn();
    claim(G2, 6, "bob");
    expect(G2, "NAME_ANSWER request=6 granted=1", NULL);
}

/* Names kept are forgotten with their owner; two who were granted it after each other are not both
 * let in. */
static void after_a_take_the_first_to_come_has_the_name(void **state)
{
    (void)state;
    claim(G1, 5, "bob");
    world_take(world);
    turn();
    claim(G2, 6, "bob");
    deaf_all();
    come(G2, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    come(G1, 2, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    expect(G2, NULL);
    expect(G1, "CONNECTION_REFUSED connection=2 close_code=1008", NULL);
}

static void an_exclusive_one_stays_when_its_gateway_announces_itself(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    turn();
    deaf_all();
    announce_one(G1, 1, "bob", CONNECTION_FLAG_EXCLUSIVE, "");
    expect(G1, "GATEWAY_ANNOUNCED *", NULL);
    assert_int_equal(field_count("conns", G1), 1);
}

/* ---- hidden connections ---- */

static void a_hidden_connection_does_not_make_present(void **state)
{
    (void)state;
    SAY(G3, PRESENCE_WATCH, presence_watch, .user = T("bob"), .watching = 1);
    turn();
    come(G1, 1, "bob", CONNECTION_FLAG_HIDDEN, "");
    turn();
    expect(G3, NULL);
    direct(G2, "alice", "bob", "m1");
    turn();
    expect(G1, "MESSAGE_DELIVERY connections=[1] *", NULL);
    come(G1, 2, "bob", 0, "");
    turn();
    expect(G3, "PRESENCE_STATE user=\"bob\" status=\"online\" *", NULL);
    closed(G1, 2, (struct number){0});
    turn();
    pass(2000);
    tick();
    expect(G3, "PRESENCE_STATE user=\"bob\" status=\"offline\" *", NULL);
}

static void a_connection_may_show_and_hide_itself(void **state)
{
    (void)state;
    SAY(G3, PRESENCE_WATCH, presence_watch, .user = T("bob"), .watching = 1);
    come(G1, 1, "bob", CONNECTION_FLAG_HIDDEN, "");
    turn();
    deaf_all();
    visible(G1, 1, 1);
    expect(G3, "PRESENCE_STATE user=\"bob\" status=\"online\" *", NULL);
    visible(G1, 1, 1);
    expect_field("conns", gateway_id(G1), "1", "4 0 0 bob");
    visible(G1, 1, 0);
    visible(G1, 77, 0);
    expect(G3, NULL);
    expect_field("conns", gateway_id(G1), "1", "4 16 0 bob");
    pass(2000);
    tick();
    expect(G3, "PRESENCE_STATE user=\"bob\" status=\"offline\" *", NULL);
}

static void who_hides_and_shows_himself_again_was_never_away(void **state)
{
    (void)state;
    SAY(G3, PRESENCE_WATCH, presence_watch, .user = T("bob"), .watching = 1);
    come(G1, 1, "bob", 0, "");
    turn();
    deaf_all();
    visible(G1, 1, 0);
    visible(G1, 1, 1);
    pass(5000);
    tick();
    expect(G3, NULL);
}

static void what_is_hidden_stays_hidden_over_a_take(void **state)
{
    (void)state;
    come(G1, 1, "bob", CONNECTION_FLAG_HIDDEN, "");
    come(G1, 2, "carol", 0, "");
    turn();
    visible(G1, 2, 0);
    world_take(world);
    turn();
    pass(2000);
    tick();
    expect_status("bob", "");
    expect_status("carol", "offline");
}

/* ---- guests ---- */

static void nothing_is_kept_for_a_guest_who_is_away(void **state)
{
    (void)state;
    direct(G1, "alice", "guest:1", "m1");
    turn();
    expect(G1, "DIRECT_REPLY * status=4 delivered=[]", NULL);
    expect_mailbox("guest:1", "");
}

static void nothing_of_a_guest_stays(void **state)
{
    size_t count;

    (void)state;
    connect_user(G2, 1, "guest:1");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "guest:1", (const char *[]){"a", "b", "c", "d", "e", "f"}[i]);
    turn();
    expect_mailbox("guest:1", "a b c d e f");
    closed(G2, 1, (struct number){0});
    turn();
    pass(2000);
    tick();
    model_store_stream(world_store(world), "mailbox", T("guest:1"), &count);
    assert_int_equal(count, 0);
    model_store_hash(world_store(world), "user", T("guest:1"), &count);
    assert_int_equal(count, 0);
    deaf_all();
    connect_user(G2, 2, "guest:1");
    turn();
    expect(G2, NULL);
}

static void a_guest_who_is_here_is_like_any_other(void **state)
{
    (void)state;
    connect_user(G2, 1, "guest:1");
    turn();
    deaf_all();
    direct(G1, "alice", "guest:1", "m1");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[1] * id=\"m1\" *", NULL);
    expect(G1, "DIRECT_REPLY * status=0 *", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_older_of_a_slot_is_replaced),
        TEST(other_slots_users_and_protocols_stay),
        TEST(the_late_close_of_the_older_changes_nothing),
        TEST(what_the_older_had_on_its_way_comes_to_the_newer),
        TEST(replacing_needs_no_room),
        TEST(slots_are_known_after_a_take),
        TEST(an_announced_one_replaces_nobody),
        TEST(what_was_said_before_an_announcement_replaces_nobody),
        TEST(who_was_replaced_stays_so_until_he_is_closed),
        TEST(a_second_exclusive_connection_is_refused),
        TEST(a_name_in_use_is_not_granted),
        TEST(a_granted_name_is_kept_for_its_asker),
        TEST(a_name_is_not_kept_for_ever),
        TEST(a_gateway_that_leaves_keeps_no_names),
        TEST(after_a_take_the_first_to_come_has_the_name),
        TEST(an_exclusive_one_stays_when_its_gateway_announces_itself),
        TEST(a_hidden_connection_does_not_make_present),
        TEST(a_connection_may_show_and_hide_itself),
        TEST(who_hides_and_shows_himself_again_was_never_away),
        TEST(what_is_hidden_stays_hidden_over_a_take),
        TEST(nothing_is_kept_for_a_guest_who_is_away),
        TEST(nothing_of_a_guest_stays),
        TEST(a_guest_who_is_here_is_like_any_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
