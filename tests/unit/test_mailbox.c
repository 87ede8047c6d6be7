/* What waits for a user: what is stored, what is refused, and how it comes. */
#include "tests/unit/voices.h"

/* ---- direct messages ---- */

static void a_direct_message_reaches_every_connection(void **state)
{
    (void)state;
    connect_user(G1, 5, "bob");
    connect_user(G2, 6, "bob");
    connect_user(G2, 7, "bob");
    turn();
    deaf_all();
    direct(G3, "alice", "bob", "m1");
    turn();
    expect(G3,
           "DIRECT_REPLY connection=1 request=1 id=\"m1\" to=\"bob\" status=0 "
           "delivered=[162,7,162,6,161,5]",
           NULL);
    expect(
        G1,
        "MESSAGE_DELIVERY connections=[5] number=* from=\"alice\" to=\"bob\" chat=\"\" id=\"m1\" "
        "message=0 "
        "sent_at_ms=1700000000000 expires_ms=0 policy=0 priority=0 protocol=3 content=0 "
        "body=(5 bytes) metadata=(2 bytes)",
        NULL);
    expect(G2, "MESSAGE_DELIVERY connections=[7,6] *", NULL);
    assert_int_equal(sizes().pending, 1);
    expect_mailbox("bob", "");
}

static void an_offline_user_finds_messages_in_the_mailbox(void **state)
{
    (void)state;
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "DIRECT_REPLY * id=\"m1\" to=\"bob\" status=2 delivered=[]",
           "DIRECT_REPLY * id=\"m2\" to=\"bob\" status=2 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2");
    connect_user(G2, 9, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[9] * id=\"m1\" *",
           "MESSAGE_DELIVERY connections=[9] * id=\"m2\" *", NULL);
    expect_mailbox("bob", "m1 m2");
    written(G2);
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
    assert_int_equal(output_count(G2), 1);
}

static void policies_that_keep_nothing_keep_nothing(void **state)
{
    static const enum delivery_policy policies[] = {DELIVERY_DISCARD, DELIVERY_DISCARD_AND_TELL};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct frame_direct_message message = direct_to("alice", "bob", "m1");

        message.policy = policies[i];
        say_direct(G1, message);
        turn();
        expect(G1, "DIRECT_REPLY * status=4 delivered=[]", NULL);
    }
    expect_mailbox("bob", "");
}

static void a_full_mailbox_refuses(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 2;
    again(&few);
    for (int i = 0; i < 3; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3"}[i]);
    turn();
    expect(G1, "DIRECT_REPLY * id=\"m1\" * status=2 *", "DIRECT_REPLY * id=\"m2\" * status=2 *",
           "DIRECT_REPLY * id=\"m3\" * status=3 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2");
    few = usual_limits;
    few.mailbox_bytes = 1;
    again(&few);
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "DIRECT_REPLY * status=2 *", "DIRECT_REPLY * status=3 *", NULL);
    expect_mailbox("bob", "m1");
}

static void a_full_mailbox_refuses_those_who_are_behind(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 3;
    few.window_messages = 2;
    again(&few);
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 4; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4"}[i]);
    turn();
    expect(G1, "DIRECT_REPLY * status=0 *", "DIRECT_REPLY * status=0 *",
           "DIRECT_REPLY * status=1 delivered=[]", "DIRECT_REPLY * status=3 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2 m3");
}

/* ---- the window and the mailbox ---- */

static void beyond_the_window_messages_wait_in_the_mailbox(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    expect_mailbox("bob", "m1 m2 m3 m4 m5 m6");
    expect(G1, "* status=0 *", "* status=0 *", "* status=0 *", "* status=0 *",
           "* status=1 delivered=[]", "* status=1 delivered=[]", NULL);
    written(G2);
    direct(G1, "alice", "bob", "m7");
    turn();
    expect(G2, "* id=\"m5\" *", "* id=\"m6\" *", "* id=\"m7\" *", NULL);
    expect_mailbox("bob", "m5 m6 m7");
    written(G2);
    turn();
    expect_mailbox("bob", "");
    direct(G1, "alice", "bob", "m8");
    turn();
    expect(G2, "* id=\"m8\" *", NULL);
    expect_mailbox("bob", "");
}

static void one_big_message_is_admitted_to_an_empty_window(void **state)
{
    struct engine_limits small = usual_limits;

    (void)state;
    small.window_bytes = 1;
    small.output_bytes = 1;
    again(&small);
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G2, "* id=\"m1\" *", NULL);
    written(G2);
    turn();
    expect(G2, "* id=\"m2\" *", NULL);
    written(G2);
    turn();
    expect_mailbox("bob", "");
}

/* Reads and confirms until nothing more comes; returns how many came, in order from m<first> on. */
static int drain(int g, int first)
{
    int next = first;
    bool more = true;

    while (more) {
        char *heard = hear(g), *line = heard, wanted[24];

        more = false;
        for (; (line = strstr(line, " id=\"m")) != NULL; line++) {
            snprintf(wanted, sizeof(wanted), " id=\"m%d\"", next++);
            assert_memory_equal(line, wanted, strlen(wanted));
            more = true;
        }
        free(heard);
        written(g);
        turn();
    }
    return next - first;
}

static void a_long_mailbox_comes_in_pages(void **state)
{
    struct engine_limits wide = usual_limits;

    (void)state;
    wide.window_messages = 100;
    for (int count = ENGINE_PAGE_ENTRIES - 1; count <= 2 * ENGINE_PAGE_ENTRIES + 1;
         count += ENGINE_PAGE_ENTRIES / 2) {
        again(&wide);
        fill_mailbox("bob", count);
        connect_user(G2, 1, "bob");
        turn();
        assert_int_equal(drain(G2, 1), count);
        expect_mailbox("bob", "");
    }
}

static void what_comes_while_a_page_is_on_its_way_follows_it(void **state)
{
    (void)state;
    fill_mailbox("bob", 2);
    connect_user(G2, 1, "bob");
    world_hold_pages(world, true);
    turn();
    direct(G1, "alice", "bob", "m3");
    turn();
    expect(G1, "* status=1 *", NULL);
    world_hold_pages(world, false);
    turn();
    assert_int_equal(drain(G2, 1), 3);
    expect_mailbox("bob", "");
}

static void a_page_of_a_connection_that_went_is_not_mixed_up(void **state)
{
    (void)state;
    fill_mailbox("bob", 6);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    world_take(world);
    world_hold_pages(world, true);
    turn();
    closed(G2, 1, (struct number){0});
    connect_user(G2, 2, "bob");
    turn();
    deaf(G2);
    world_hold_pages(world, false);
    turn();
    assert_int_equal(drain(G2, 1), 6);
    expect_mailbox("bob", "");
}

static void a_message_that_comes_to_another_user_is_not_his_page(void **state)
{
    (void)state;
    fill_mailbox("bob", 1);
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "carol");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[1] *", NULL);
}

static void expired_messages_are_not_delivered(void **state)
{
    struct frame_direct_message brief = direct_to("alice", "bob", "m1");

    (void)state;
    brief.ttl_ms = 1000;
    say_direct(G1, brief);
    direct(G1, "alice", "bob", "m2");
    turn();
    deaf_all();
    pass(1000);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY * id=\"m2\" *", NULL);
    expect_mailbox("bob", "m2");
    assert_int_equal(engine_counters(world_engine(world))->expired, 1);
}

static void a_ttl_that_has_not_passed_is_passed_on(void **state)
{
    struct frame_direct_message brief = direct_to("alice", "bob", "m1");

    (void)state;
    brief.ttl_ms = 1000;
    say_direct(G1, brief);
    turn();
    pass(999);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY * sent_at_ms=1700000000000 expires_ms=1700000001000 *", NULL);
}

static void messages_older_than_the_mailbox_keeps_are_not_delivered(void **state)
{
    (void)state;
    fill_mailbox("bob", 2);
    pass(limits.mailbox_ms + 1);
    for (int g = 0; g < 3; g++)
        SAY(g, GATEWAY_HEARTBEAT, gateway_heartbeat);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, NULL);
    expect_mailbox("bob", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_direct_message_reaches_every_connection),
        TEST(an_offline_user_finds_messages_in_the_mailbox),
        TEST(policies_that_keep_nothing_keep_nothing),
        TEST(a_full_mailbox_refuses),
        TEST(a_full_mailbox_refuses_those_who_are_behind),
        TEST(beyond_the_window_messages_wait_in_the_mailbox),
        TEST(one_big_message_is_admitted_to_an_empty_window),
        TEST(a_long_mailbox_comes_in_pages),
        TEST(what_comes_while_a_page_is_on_its_way_follows_it),
        TEST(a_page_of_a_connection_that_went_is_not_mixed_up),
        TEST(a_message_that_comes_to_another_user_is_not_his_page),
        TEST(expired_messages_are_not_delivered),
        TEST(a_ttl_that_has_not_passed_is_passed_on),
        TEST(messages_older_than_the_mailbox_keeps_are_not_delivered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
