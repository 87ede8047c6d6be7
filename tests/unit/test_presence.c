/* Who hears that a user came, went or is busy. */
#include "tests/unit/voices.h"

static void set_presence(int g, uint64_t connection, const char *user, const char *status)
{
    SAY(g, PRESENCE_SET, presence_set, .connection = connection, .user = T(user),
        .status = T(status), .metadata = T("[1]"));
}

static void watchers_hear_of_changes(void **state)
{
    (void)state;
    watch(G1, "bob", 1, 9);
    turn();
    expect(G1,
           "PRESENCE_STATE user=\"bob\" status=\"offline\" last_seen_ms=0 metadata=(0 bytes) "
           "request=9",
           NULL);
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "bob");
    connect_user(G2, 3, "carol");
    turn();
    expect(G1,
           "PRESENCE_STATE user=\"bob\" status=\"online\" last_seen_ms=1700000000000 * "
           "request=0",
           NULL);
    set_presence(G2, 1, "bob", "away");
    set_presence(G2, 1, "bob", "away");
    set_presence(G2, 1, "bob", "dancing");
    set_presence(G2, 1, "bob", "offline");
    turn();
    expect(G1, "* status=\"away\" * metadata=(3 bytes) request=0", NULL);
    closed(G2, 1, (struct number){0});
    turn();
    expect(G1, NULL);
    watch(G1, "bob", 1, 0);
    watch(G1, "bob", 0, 5);
    set_presence(G2, 2, "bob", "busy");
    turn();
    expect(G1, NULL);
    expect_field("user", T("bob"), "status", "busy");
}

static void a_short_absence_is_not_seen(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    watch(G1, "bob", 1, 0);
    turn();
    deaf_all();
    closed(G2, 1, (struct number){0});
    turn();
    pass(limits.presence_grace_ms - 1);
    tick();
    connect_user(G3, 1, "bob");
    turn();
    pass(limits.presence_grace_ms * 2);
    tick();
    expect(G1, NULL);
    expect_field("user", T("bob"), "status", "online");
    closed(G3, 1, (struct number){0});
    turn();
    assert_true(engine_due_ms(world_engine(world)) ==
                model_store_time(world_store(world)) + limits.presence_grace_ms);
    world_take(world);
    turn();
    pass(limits.presence_grace_ms);
    tick();
    expect(G1, "PRESENCE_STATE user=\"bob\" status=\"offline\" *", NULL);
    expect_field("user", T("bob"), "status", "offline");
    expect_field("timers", NOBODY, "grace:bob", "");
}

static void without_grace_it_is_seen_at_once(void **state)
{
    struct engine_limits none = usual_limits;

    (void)state;
    none.presence_grace_ms = 0;
    again(&none);
    watch(G1, "bob", 1, 0);
    connect_user(G2, 1, "bob");
    turn();
    closed(G2, 1, (struct number){0});
    turn();
    expect(G1, "* status=\"online\" *", "* status=\"offline\" *", NULL);
}

static void everybody_can_be_watched(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "carol");
    direct(G2, "bob", "dave", "m1");
    turn();
    watch(G1, "*", 1, 3);
    watch(G1, "bob", 1, 0);
    turn();
    expect(G1, "* user=\"bob\" status=\"online\" * request=3",
           "* user=\"carol\" status=\"online\" * request=3", NULL);
    for (int take = 0; take < 2; take++) {
        set_presence(G2, 1, "bob", take ? "online" : "busy");
        turn();
        expect(G1, "* user=\"bob\" * request=0", NULL);
        world_take(world);
        turn();
        deaf_all();
    }
    watch(G1, "*", 0, 0);
    connect_user(G2, 3, "erin");
    set_presence(G2, 1, "bob", "away");
    turn();
    expect(G1, "* user=\"bob\" status=\"away\" *", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(watchers_hear_of_changes),
        TEST(a_short_absence_is_not_seen),
        TEST(without_grace_it_is_seen_at_once),
        TEST(everybody_can_be_watched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
