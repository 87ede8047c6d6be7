/* Who hears a topic, and how many they are said to be. */
#include "tests/unit/voices.h"

static void recipients_are_exact(void **state)
{
    static const struct {
        const char *topic;
        uint64_t recipients;
        const char *g1, *g2, *g3;
    } cases[] = {
        {"a.b", 2 + 3 + 4 + 5, "*", "*", "*"},
        {"a.c", 3 + 5 + 7, "*", NULL, "*"},
        {"a.b.c", 5, NULL, NULL, "*"},
        {"x", 0, NULL, NULL, NULL},
        {"c", 5, NULL, NULL, "*"},
    };

    (void)state;
    count_topic(G1, "a.b", 2);
    count_patterns(G1, "a.*", 3);
    count_topic(G2, "a.b", 4);
    count_patterns(G3, "a.**,c", 5);
    count_patterns(G3, "a.c", 7);
    turn();
    for (int take = 0; take < 2; take++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char reply[128];

            deaf_all();
            say_publish(G2, publication(cases[i].topic, "p1"));
            turn();
            snprintf(reply, sizeof(reply),
                     "PUBLISH_REPLY connection=1 request=1 id=\"p1\" recipients=%d",
                     (int)cases[i].recipients);
            expect(G1, cases[i].g1, NULL);
            expect(G3, cases[i].g3, NULL);
            if (cases[i].g2)
                expect(G2, "TOPIC_MESSAGE exclude=1 *", reply, NULL);
            else
                expect(G2, reply, NULL);
        }
        world_take(world);
        turn();
    }
}

static void overlapping_pattern_sets_are_counted_once(void **state)
{
    (void)state;
    count_patterns(G1, "a.*", 1);
    count_patterns(G1, "a.*,a.**", 2);
    count_patterns(G1, "**", 4);
    turn();
    say_publish(G2, publication("a.b", "p1"));
    turn();
    expect(G1, "TOPIC_MESSAGE *", NULL);
    expect(G2, "PUBLISH_REPLY * recipients=7", NULL);
    count_patterns(G1, "a.*,a.**", 0);
    count_patterns(G1, "**", 1);
    turn();
    say_publish(G2, publication("a.b", "p2"));
    turn();
    deaf(G1);
    expect(G2, "PUBLISH_REPLY * recipients=2", NULL);
    assert_int_equal(sizes().pattern_sets, 2);
}

static void the_publisher_is_left_out_unless_it_wants_an_echo(void **state)
{
    static const struct {
        uint64_t matches, echo, own;
        const char *message, *reply;
    } cases[] = {
        {0, 0, 2, "TOPIC_MESSAGE exclude=1 *", "* recipients=3"},
        {1, 0, 2, "TOPIC_MESSAGE exclude=1 *", "* recipients=2"},
        {1, 1, 2, "TOPIC_MESSAGE exclude=0 *", "* recipients=3"},
        {1, 0, 1, NULL, "* recipients=1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_topic_publish publish = publication("t", "p1");

        count_topic(G1, "t", cases[i].own);
        count_topic(G2, "t", 1);
        turn();
        deaf_all();
        publish.matches = cases[i].matches;
        publish.echo = cases[i].echo;
        say_publish(G1, publish);
        turn();
        if (cases[i].message)
            expect(G1, cases[i].message, cases[i].reply, NULL);
        else
            expect(G1, cases[i].reply, NULL);
        expect(G2, "TOPIC_MESSAGE exclude=0 * from=\"alice\" topic=\"t\" id=\"p1\" *", NULL);
    }
}

static void counts_end_at_zero(void **state)
{
    (void)state;
    count_topic(G1, "t", 3);
    count_topic(G1, "t", 0);
    count_topic(G2, "u", 0);
    count_patterns(G2, "x.*", 0);
    turn();
    assert_int_equal(sizes().topics, 0);
    assert_int_equal(sizes().pattern_sets, 0);
    assert_int_equal(field_count("subs", G1), 0);
}

static void a_subscription_is_in_force_at_its_synced(void **state)
{
    (void)state;
    count_topic(G2, "t", 1);
    end_entry(G2);
    say_publish(G1, publication("t", "p1"));
    end_entry(G1);
    SAY(G2, SUBSCRIPTION_SYNC, subscription_sync, .request = 44);
    count_topic(G2, "t", 0);
    end_entry(G2);
    say_publish(G1, publication("t", "p2"));
    turn();
    expect(G2, "TOPIC_MESSAGE * id=\"p1\" *", "SUBSCRIPTION_SYNCED request=44", NULL);
    expect(G1, "* recipients=1", "* recipients=0", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(recipients_are_exact),
        TEST(overlapping_pattern_sets_are_counted_once),
        TEST(the_publisher_is_left_out_unless_it_wants_an_echo),
        TEST(counts_end_at_zero),
        TEST(a_subscription_is_in_force_at_its_synced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
