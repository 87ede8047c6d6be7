/*
 * Messages whose policy keeps nothing for one who is not there: dropped when he leaves before he
 * had them, whether they were on their way or waited, and told to the sender who asked for it.
 */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

static void send_policy(const char *id, enum delivery_policy policy)
{
    struct frame_direct_message message = direct_to("alice", "bob", id);

    message.policy = policy;
    say_direct(G1, message);
}

/* Alice hears of this on her connection 9 of G1, and of nothing else. */
static void expect_told(const char *first, const char *second)
{
    char lines[2][80];
    const char *ids[] = {first, second};

    for (int i = 0; i < 2; i++)
        if (ids[i])
            snprintf(lines[i], sizeof(lines[i]),
                     "MESSAGE_STATUS connections=[9] to=\"bob\" id=\"%s\" status=4", ids[i]);
    expect(G1, first ? lines[0] : NULL, second ? lines[1] : NULL, NULL);
}

static void begin_both(void)
{
    connect_user(G1, 9, "alice");
    connect_user(G2, 1, "bob");
    turn();
    deaf_all();
}

static void what_was_on_its_way_is_told(void **state)
{
    (void)state;
    begin_both();
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    send_policy("m2", DELIVERY_DISCARD);
    send_policy("m3", DELIVERY_STORE);
    turn();
    deaf_all();
    closed(G2, 1, (struct number){0});
    turn();
    expect_told("m1", NULL);
    expect_mailbox("bob", "m3");
}

static void what_he_has_is_not_told(void **state)
{
    (void)state;
    begin_both();
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    deaf(G1);
    closed(G2, 1, last_delivery(G2));
    turn();
    expect_told(NULL, NULL);
}

static void his_other_connection_may_still_take_it(void **state)
{
    (void)state;
    begin_both();
    connect_user(G3, 2, "bob");
    turn();
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    deaf(G1);
    closed(G2, 1, (struct number){0});
    turn();
    expect_told(NULL, NULL);
    closed(G3, 2, (struct number){0});
    turn();
    expect_told("m1", NULL);
}

/* The window is 4: what is behind it was stored for as long as he is there. */
static void what_waited_behind_goes_with_him(void **state)
{
    (void)state;
    begin_both();
    for (int i = 0; i < 4; i++)
        send_policy((const char *[]){"a", "b", "c", "d"}[i], DELIVERY_STORE);
    send_policy("m1", DELIVERY_DISCARD);
    send_policy("m2", DELIVERY_DISCARD_AND_TELL);
    send_policy("m3", DELIVERY_STORE);
    turn();
    expect_mailbox("bob", "a b c d m1 m2 m3");
    deaf_all();
    closed(G2, 1, (struct number){0});
    turn();
    expect_told("m2", NULL);
    expect_mailbox("bob", "a b c d m3");
}

static void what_waits_comes_while_he_stays(void **state)
{
    (void)state;
    begin_both();
    for (int i = 0; i < 4; i++)
        send_policy((const char *[]){"a", "b", "c", "d"}[i], DELIVERY_STORE);
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    deaf_all();
    written(G2);
    turn();
    expect(G2, "MESSAGE_DELIVERY * id=\"m1\" *", NULL);
    expect_told(NULL, NULL);
    expect_mailbox("bob", "m1");
}

/* A page that was not in memory when he left: found when he comes again, and dropped then. */
static void what_was_not_in_memory_is_dropped_when_he_comes_again(void **state)
{
    (void)state;
    begin_both();
    for (int i = 0; i < 4; i++)
        send_policy((const char *[]){"a", "b", "c", "d"}[i], DELIVERY_STORE);
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    /* The next owner has read no page yet when he goes. */
    world_take(world);
    world_hold_pages(world, true);
    deaf_all();
    closed(G2, 1, (struct number){0});
    turn();
    world_hold_pages(world, false);
    turn();
    expect_mailbox("bob", "a b c d m1");
    deaf_all();
    connect_user(G3, 2, "bob");
    turn();
    expect(G3, "MESSAGE_DELIVERY * id=\"a\" *", "MESSAGE_DELIVERY * id=\"b\" *",
           "MESSAGE_DELIVERY * id=\"c\" *", "MESSAGE_DELIVERY * id=\"d\" *", NULL);
    written(G3);
    turn();
    expect_told("m1", NULL);
    expect_mailbox("bob", "");
    expect(G3, NULL);
}

/* One who stays over a take gets what came while he was there. */
static void a_take_drops_nothing_of_one_who_stays(void **state)
{
    (void)state;
    begin_both();
    for (int i = 0; i < 4; i++)
        send_policy((const char *[]){"a", "b", "c", "d"}[i], DELIVERY_STORE);
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    world_take(world);
    turn();
    deaf_all();
    written(G2);
    turn();
    expect(G2, "MESSAGE_DELIVERY * id=\"m1\" *", NULL);
    expect_told(NULL, NULL);
}

/* Far behind: only what stays in memory can be told of when he goes, so no more is accepted. */
static void so_far_behind_it_is_refused_at_once(void **state)
{
    char id[16];

    (void)state;
    begin_both();
    for (int i = 0; i < 270; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        send_policy(id, DELIVERY_STORE);
    }
    turn();
    deaf_all();
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    expect(G1, "DIRECT_REPLY * id=\"m1\" * status=4 delivered=[]", NULL);
}

static void a_sender_who_is_not_there_hears_nothing(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    send_policy("m1", DELIVERY_DISCARD_AND_TELL);
    turn();
    deaf_all();
    closed(G2, 1, (struct number){0});
    turn();
    expect(G1, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_on_its_way_is_told),
        TEST(what_he_has_is_not_told),
        TEST(his_other_connection_may_still_take_it),
        TEST(what_waited_behind_goes_with_him),
        TEST(what_waits_comes_while_he_stays),
        TEST(what_was_not_in_memory_is_dropped_when_he_comes_again),
        TEST(a_take_drops_nothing_of_one_who_stays),
        TEST(so_far_behind_it_is_refused_at_once),
        TEST(a_sender_who_is_not_there_hears_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
