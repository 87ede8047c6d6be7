/* A request that is sent again is answered as before, and done once. */
#include "tests/unit/voices.h"

static struct frame_direct_message retried(const char *id, const char *body, uint64_t request)
{
    struct frame_direct_message message = direct_to("alice", "bob", id);

    message.retry = 1;
    message.request = request;
    message.body = T(body);
    return message;
}

static void the_same_request_is_answered_as_before(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    say_direct(G1, retried("m1", "one", 1));
    turn();
    expect(G1, "DIRECT_REPLY connection=1 request=1 id=\"m1\" * status=0 delivered=[162,1]", NULL);
    closed(G2, 1, last_delivery(G2));
    turn();
    deaf_all();
    for (int take = 0; take < 2; take++) {
        say_direct(G3, retried("m1", "one", 2));
        turn();
        expect(G3, "DIRECT_REPLY connection=1 request=2 id=\"m1\" * status=0 delivered=[162,1]",
               NULL);
        expect_mailbox("bob", "");
        world_take(world);
        turn();
        deaf_all();
    }
    say_direct(G3, retried("m1", "other", 3));
    turn();
    expect(G3, "DIRECT_REPLY connection=1 request=3 id=\"m1\" * status=2 delivered=[]", NULL);
    expect_mailbox("bob", "m1");
}

static void answers_are_kept_for_two_minutes(void **state)
{
    (void)state;
    say_direct(G1, retried("m1", "one", 1));
    turn();
    pass(2 * 60 * 1000);
    say_direct(G1, retried("m1", "one", 1));
    turn();
    expect_mailbox("bob", "m1");
    pass(1);
    say_direct(G1, retried("m1", "one", 1));
    turn();
    expect_mailbox("bob", "m1 m1");
    pass(2 * 60 * 1000 + 1);
    say_direct(G1, retried("m2", "one", 1));
    turn();
    assert_int_equal(sizes().recent, 1);
}

static void another_user_or_kind_of_request_is_another(void **state)
{
    struct frame_direct_message carol = retried("m1", "one", 1);
    struct frame_topic_publish publish = publication("t", "m1");

    (void)state;
    say_direct(G1, retried("m1", "one", 1));
    carol.from = T("carol");
    say_direct(G1, carol);
    turn();
    expect_mailbox("bob", "m1 m1");
    publish.retry = 1;
    say_publish(G1, publish);
    count_topic(G2, "t", 1);
    turn();
    say_publish(G1, publish);
    turn();
    expect(G2, NULL);
    publish.body = T("newer");
    say_publish(G1, publish);
    turn();
    expect(G2, "TOPIC_MESSAGE *", NULL);
}

/* A refused message was not applied: the client may try again when there is room. */
static void a_refused_request_may_succeed_later(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 1;
    again(&few);
    direct(G1, "alice", "bob", "m0");
    say_direct(G1, retried("m1", "one", 1));
    turn();
    expect(G1, "* status=2 *", "* id=\"m1\" * status=3 *", NULL);
    connect_user(G2, 1, "bob");
    turn();
    written(G2);
    turn();
    deaf_all();
    say_direct(G1, retried("m1", "one", 2));
    turn();
    expect(G1, "DIRECT_REPLY * request=2 id=\"m1\" * status=0 *", NULL);
}

/* The last owner's idea of Redis's time was ahead of the next one's. */
static void answers_are_kept_when_the_clock_goes_back(void **state)
{
    (void)state;
    world_set_ahead(world, 5000);
    say_direct(G1, retried("m1", "one", 1));
    turn();
    world_set_ahead(world, 0);
    world_take(world);
    turn();
    say_direct(G1, retried("m2", "one", 1));
    turn();
    expect_mailbox("bob", "m1 m2");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_request_is_answered_as_before),     TEST(answers_are_kept_for_two_minutes),
        TEST(another_user_or_kind_of_request_is_another), TEST(a_refused_request_may_succeed_later),
        TEST(answers_are_kept_when_the_clock_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
