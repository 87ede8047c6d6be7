/* A message is kept until somebody has it: by TCP, or by a word of the client. */
#include "tests/unit/voices.h"

/* ---- confirming ---- */

static void written_confirms_and_trims(void **state)
{
    struct number first;

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    first = model_store_last_id(world_store(world), "out", gateway_id(G2));
    direct(G1, "alice", "bob", "m2");
    turn();
    assert_int_equal(sizes().pending, 2);
    SAY(G2, OUTPUT_WRITTEN, output_written, .number = first);
    turn();
    assert_int_equal(sizes().pending, 1);
    SAY(G2, OUTPUT_WRITTEN, output_written, .number = first);
    turn();
    assert_int_equal(sizes().pending, 1);
    written(G2);
    turn();
    assert_int_equal(sizes().pending, 0);
    assert_int_equal(output_count(G2), 1);
}

static void closed_confirms_what_was_seen_and_stores_the_rest(void **state)
{
    struct number first;

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    first = last_delivery(G2);
    direct(G1, "alice", "bob", "m2");
    direct(G1, "alice", "bob", "m3");
    turn();
    closed(G2, 1, first);
    turn();
    assert_int_equal(sizes().pending, 0);
    expect_mailbox("bob", "m2 m3");
}

static void discarded_on_close_unless_to_be_stored(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    message.policy = DELIVERY_DISCARD;
    say_direct(G1, message);
    direct(G1, "alice", "bob", "m2");
    turn();
    closed(G2, 1, (struct number){0});
    turn();
    expect_mailbox("bob", "m2");
}

static void one_of_two_connections_confirms_for_both(void **state)
{
    char number[NUMBER_TEXT_SIZE];

    (void)state;
    connect_user(G1, 1, "bob");
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    number_format(last_delivery(G2), number);
    written(G1);
    turn();
    assert_int_equal(sizes().pending, 0);
    expect_field("seen", NOBODY, "bob", number);
    /* After a take, G2's stream still has it; it is confirmed. */
    world_take(world);
    assert_int_equal(sizes().pending, 0);
    turn();
    expect_field("seen", NOBODY, "bob", number);
    /* When no stream has it any more, nothing is remembered. */
    written(G1);
    written(G2);
    written(G3);
    turn();
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    expect_field("seen", NOBODY, "bob", "");
}

static void a_second_connection_gets_what_is_pending_first(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    direct(G3, "alice", "bob", "m2");
    turn();
    connect_user(G2, 2, "bob");
    direct(G3, "alice", "bob", "m3");
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", "* connections=[2] * id=\"m2\" *",
           "* connections=[2] * id=\"m3\" *", NULL);
    closed(G1, 1, (struct number){0});
    turn();
    assert_int_equal(sizes().pending, 3);
    expect_mailbox("bob", "");
    written(G2);
    turn();
    assert_int_equal(sizes().pending, 0);
}

/* Its gateway would take the entry for written, and the message for confirmed. */
static void nothing_more_goes_to_a_connection_that_is_closed(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    connect_user(G2, 2, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G3, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    deaf_all();
    closed(G1, 1, last_delivery(G1));
    turn();
    expect(G1, NULL);
    expect(G2, "* connections=[2] * id=\"m5\" *", "* connections=[2] * id=\"m6\" *", NULL);
    written(G1);
    turn();
    expect_mailbox("bob", "m5 m6");
}

static void what_is_pending_survives_a_take(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    deaf_all();
    world_take(world);
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    assert_int_equal(sizes().pending, 4);
    written(G2);
    turn();
    expect(G2, "* id=\"m5\" *", "* id=\"m6\" *", NULL);
    written(G2);
    turn();
    expect_mailbox("bob", "");
}

/* ---- clients that acknowledge themselves ---- */

static void an_acknowledging_client_decides_alone(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "* status=0 delivered=[162,1]", "* status=0 delivered=[162,1]", NULL);
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", NULL);
    expect_mailbox("bob", "m1 m2");
    written(G2);
    turn();
    expect_mailbox("bob", "m1 m2");
    assert_int_equal(output_count(G2), 1);
    ack(G2, 1, "bob", "m1");
    ack(G2, 1, "bob", "unknown");
    ack(G2, 1, "nobody", "m1");
    turn();
    expect_mailbox("bob", "m2");
}

static void what_was_written_and_not_acknowledged_comes_again(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    written(G2);
    turn();
    closed(G2, 1, last_delivery(G2));
    turn();
    expect_mailbox("bob", "m1");
    deaf(G2);
    connect_flags(G2, 2, "bob", CONNECTION_FLAG_ACK);
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", NULL);
}

static void a_plain_connection_confirms_once_nobody_acknowledges(void **state)
{
    (void)state;
    connect_flags(G1, 1, "bob", CONNECTION_FLAG_ACK);
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    written(G2);
    turn();
    expect_mailbox("bob", "m1");
    closed(G1, 1, (struct number){0});
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* Written, and waiting for a word that never comes: no stream holds it any more, but a later one.
 */
static void what_waits_for_a_word_keeps_its_place_over_a_take(void **state)
{
    (void)state;
    connect_flags(G1, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    written(G1);
    written(G2);
    turn();
    direct(G3, "alice", "bob", "m2");
    turn();
    world_take(world);
    world_hold_pages(world, true);
    turn();
    closed(G1, 1, (struct number){0});
    turn();
    world_take(world);
    world_hold_pages(world, false);
    turn();
    deaf_all();
    connect_user(G3, 3, "bob");
    turn();
    expect(G3, "* id=\"m1\" *", "* id=\"m2\" *", NULL);
}

static void pending_is_stored_when_an_acknowledging_client_comes(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G3, "alice", "bob", "m1");
    turn();
    expect_mailbox("bob", "");
    connect_flags(G2, 2, "bob", CONNECTION_FLAG_ACK);
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", NULL);
    expect_mailbox("bob", "m1");
    ack(G2, 2, "bob", "m1");
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* The client has it from before; its word comes while the page that would bring it again is on its
 * way. */
static void an_ack_after_a_take_counts(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    world_take(world);
    world_hold_pages(world, true);
    turn();
    ack(G2, 1, "bob", "m1");
    turn();
    world_hold_pages(world, false);
    turn();
    expect_mailbox("bob", "m2");
    ack(G2, 1, "bob", "m2");
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* It waits behind the window: acknowledged by another device, or sent before the take. */
/* m1 was sent again when m2 had been acknowledged: until that is written, too, it is remembered. */
static void an_ack_out_of_turn_is_remembered_as_long(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    connect_user(G3, 2, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    ack(G2, 1, "bob", "m2");
    turn();
    world_take(world);
    turn();
    ack(G2, 1, "bob", "m1");
    turn();
    /* All that was there before the take. */
    for (int g = 0; g < 3; g++)
        SAY(g, OUTPUT_WRITTEN, output_written, .number = {.epoch = world_epoch(world)});
    turn();
    closed(G2, 1, (struct number){0});
    turn();
    world_take(world);
    turn();
    assert_int_equal(sizes().pending, 0);
}

/* A take finds it in the stream of the connection that was there when it waited. */
static void what_was_too_old_is_not_pending_for_ever(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    message.ttl_ms = 1000;
    say_direct(G1, message);
    connect_user(G2, 1, "bob");
    turn();
    world_take(world);
    pass(2000);
    turn();
    expect_mailbox("bob", "");
    connect_user(G3, 2, "bob");
    turn();
    world_take(world);
    turn();
    assert_int_equal(sizes().pending, 1);
    closed(G2, 1, (struct number){0});
    turn();
    assert_int_equal(sizes().pending, 0);
}

static void an_ack_of_what_waits_counts(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    ack(G2, 1, "bob", "m6");
    turn();
    expect_mailbox("bob", "m1 m2 m3 m4 m5");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(written_confirms_and_trims),
        TEST(closed_confirms_what_was_seen_and_stores_the_rest),
        TEST(discarded_on_close_unless_to_be_stored),
        TEST(one_of_two_connections_confirms_for_both),
        TEST(a_second_connection_gets_what_is_pending_first),
        TEST(nothing_more_goes_to_a_connection_that_is_closed),
        TEST(what_is_pending_survives_a_take),
        TEST(an_acknowledging_client_decides_alone),
        TEST(what_was_written_and_not_acknowledged_comes_again),
        TEST(a_plain_connection_confirms_once_nobody_acknowledges),
        TEST(what_waits_for_a_word_keeps_its_place_over_a_take),
        TEST(pending_is_stored_when_an_acknowledging_client_comes),
        TEST(an_ack_after_a_take_counts),
        TEST(an_ack_out_of_turn_is_remembered_as_long),
        TEST(what_was_too_old_is_not_pending_for_ever),
        TEST(an_ack_of_what_waits_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
