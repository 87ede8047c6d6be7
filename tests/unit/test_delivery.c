/*
 * What has been written and what may be reported as such (written.c): X over the entries of a
 * partition, Y of each connection.
 */
#include "gateway/written.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct number number(uint64_t sequence)
{
    return (struct number){.epoch = 7, .sequence = sequence};
}

static void assert_number(struct number got, uint64_t sequence)
{
    assert_int_equal(got.sequence, sequence);
    assert_int_equal(got.epoch, sequence ? 7 : 0);
}

/* An entry with message `message` for one connection, which ends at `end`. Returns whether it was
 * new. */
static bool entry_for(struct written *written, uint64_t entry, struct unconfirmed *connection,
                      uint64_t message, uint64_t end)
{
    bool new;

    written_begin(written, number(entry));
    new = unconfirmed_meet(connection, written, number(message));
    if (new)
        unconfirmed_add(connection, written, number(message), end);
    written_end(written, 100, true);
    return new;
}

static void test_entry_waits_for_its_messages(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0}, b = {0};

    (void)state;
    written_begin(written, number(10));
    assert_true(unconfirmed_meet(&a, written, number(1)));
    unconfirmed_add(&a, written, number(1), 50);
    assert_true(unconfirmed_meet(&b, written, number(1)));
    unconfirmed_add(&b, written, number(1), 70);
    assert_true(unconfirmed_meet(&a, written, number(2)));
    unconfirmed_add(&a, written, number(2), 90);
    written_end(written, 300, true);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 89);
    assert_number(a.seen, 1);
    assert_number(a.handed, 2);
    unconfirmed_take(&b, written, 70);
    assert_true(unconfirmed_empty(&b));
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 90);
    assert_number(a.seen, 2);
    assert_int_equal(written_urgency(written), WRITTEN_NOW);
    assert_number(written_report(written), 10);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    written_destroy(&written);
}

static void test_x_is_the_longest_prefix(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0}, b = {0};

    (void)state;
    entry_for(written, 10, &a, 1, 100);
    entry_for(written, 20, &b, 2, 100);
    entry_for(written, 30, &a, 3, 200);
    unconfirmed_take(&b, written, 100);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 100);
    assert_number(written_report(written), 20);
    unconfirmed_take(&a, written, 200);
    assert_number(written_report(written), 30);
    written_destroy(&written);
}

static void test_an_open_entry_does_not_count(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0};

    (void)state;
    written_begin(written, number(10));
    assert_true(unconfirmed_meet(&a, written, number(1)));
    unconfirmed_add(&a, written, number(1), 10);
    unconfirmed_take(&a, written, 10);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    written_end(written, 100, true);
    assert_int_equal(written_urgency(written), WRITTEN_NOW);
    written_destroy(&written);
}

static void test_what_nobody_waits_for_is_reported_lazily(void **state)
{
    struct written *written = written_create();
    uint64_t entry = 0;

    (void)state;
    /* Heads alone are never a reason: the report would be answered with another. */
    while (entry < 1000) {
        written_begin(written, number(++entry));
        written_end(written, 0, false);
    }
    assert_int_equal(written_urgency(written), WRITTEN_ALONG);
    assert_number(written_report(written), 1000);
    written_begin(written, number(++entry));
    written_end(written, 300, false);
    assert_int_equal(written_urgency(written), WRITTEN_SOON);
    while (written_urgency(written) == WRITTEN_SOON) {
        written_begin(written, number(++entry));
        written_end(written, 300, false);
    }
    assert_int_equal(written_urgency(written), WRITTEN_NOW);
    assert_number(written_report(written), 1064);
    written_begin(written, number(++entry));
    written_end(written, 1 << 20, false);
    assert_int_equal(written_urgency(written), WRITTEN_NOW);
    written_destroy(&written);
}

static void test_nothing_is_handed_over_twice(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0};

    (void)state;
    assert_true(entry_for(written, 10, &a, 1, 100));
    assert_true(entry_for(written, 20, &a, 2, 200));
    unconfirmed_take(&a, written, 100);
    assert_number(written_report(written), 10);
    /* An announcement: both come again. The first is written, the second only handed over. */
    written_restart(written);
    assert_false(entry_for(written, 30, &a, 1, 0));
    assert_number(written_report(written), 30);
    assert_false(entry_for(written, 40, &a, 2, 0));
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    assert_true(entry_for(written, 50, &a, 3, 300));
    unconfirmed_take(&a, written, 300);
    assert_number(written_report(written), 50);
    assert_number(a.seen, 3);
    /* Twice in entries that are in force: the first one waits, and is enough. */
    assert_true(entry_for(written, 60, &a, 4, 400));
    assert_false(entry_for(written, 70, &a, 4, 0));
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 400);
    assert_number(written_report(written), 70);
    written_destroy(&written);
}

static void test_void_entries_are_not_waited_for(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0}, b = {0};

    (void)state;
    entry_for(written, 10, &a, 1, 100);
    entry_for(written, 20, &b, 2, 100);
    written_restart(written);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    assert_number(written_report(written), 0);
    entry_for(written, 30, &a, 3, 200);
    unconfirmed_take(&b, written, 100);
    unconfirmed_take(&a, written, 100);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 200);
    assert_number(written_report(written), 30);
    /* Nor does a message of a void entry count for one that has its place in memory now. */
    entry_for(written, 31, &b, 4, 200);
    written_restart(written);
    for (uint64_t i = 0; i < 100; i++)
        entry_for(written, 32 + i / 10, &a, 10 + i, 1000 + i);
    unconfirmed_take(&b, written, 200);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    unconfirmed_take(&a, written, 1099);
    assert_number(written_report(written), 41);
    /* Also in the middle of one. */
    written_begin(written, number(50));
    written_restart(written);
    written_end(written, 100, true);
    assert_int_equal(written_urgency(written), WRITTEN_NOTHING);
    written_destroy(&written);
}

static void test_a_closed_connection_is_not_waited_for(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0};

    (void)state;
    entry_for(written, 10, &a, 1, 100);
    entry_for(written, 20, &a, 2, WRITTEN_NEVER);
    unconfirmed_take(&a, written, 1000000);
    assert_number(a.seen, 1);
    assert_number(written_report(written), 10);
    unconfirmed_clear(&a, written);
    assert_number(a.seen, 1);
    assert_number(written_report(written), 20);
    written_destroy(&written);
}

/* ---- at random ---- */

#define CONNECTIONS 5
#define MESSAGES 20000

/* What really is: each message and its entry, and how far each connection's bytes are. */
struct world {
    struct written *written;
    struct unconfirmed connections[CONNECTIONS];
    uint64_t queued[CONNECTIONS], taken[CONNECTIONS];
    uint64_t end_of[MESSAGES + 1]; /* 0: not handed over */
    uint64_t in_entry[MESSAGES + 1];
    uint64_t message, entry, reported;
};

static unsigned owner(uint64_t message)
{
    return (unsigned)(message * 2654435761u >> 7) % CONNECTIONS;
}

static bool is_taken(const struct world *world, uint64_t message)
{
    return world->end_of[message] && world->end_of[message] <= world->taken[owner(message)];
}

static void put(struct world *world, uint64_t message)
{
    unsigned c = owner(message);

    world->in_entry[message] = world->entry;
    if (!unconfirmed_meet(&world->connections[c], world->written, number(message))) {
        assert_true(world->end_of[message] > 0);
        return;
    }
    assert_true(world->end_of[message] == 0);
    world->queued[c] += 1 + (uint64_t)rand() % 50;
    world->end_of[message] = world->queued[c];
    unconfirmed_add(&world->connections[c], world->written, number(message), world->queued[c]);
}

static void put_entry(struct world *world, uint64_t from, uint64_t to)
{
    written_begin(world->written, number(++world->entry));
    for (uint64_t message = from; message < to; message++)
        put(world, message);
    written_end(world->written, to - from, to > from);
}

static void report(struct world *world)
{
    uint64_t x;

    if (written_urgency(world->written) == WRITTEN_NOTHING)
        return;
    x = written_report(world->written).sequence;
    assert_true(x > world->reported);
    world->reported = x;
    for (uint64_t message = 1; message < world->message; message++)
        if (world->in_entry[message] <= x)
            assert_true(is_taken(world, message));
}

static void take_some(struct world *world, bool all)
{
    for (unsigned c = 0; c < CONNECTIONS; c++) {
        uint64_t ahead = world->queued[c] - world->taken[c];

        world->taken[c] += all ? ahead : ahead / (1 + (uint64_t)rand() % 4);
        unconfirmed_take(&world->connections[c], world->written, world->taken[c]);
    }
}

/* The router sends again, in one entry, what it does not know to be confirmed. */
static void announce(struct world *world)
{
    uint64_t from = world->message;

    written_restart(world->written);
    while (from > 1 && world->in_entry[from - 1] > world->reported)
        from--;
    put_entry(world, from, world->message);
}

static void test_x_never_passes_what_is_not_taken(void **state)
{
    static struct world world;

    (void)state;
    srand(20261121);
    world.written = written_create();
    world.message = 1;
    while (world.message < MESSAGES - 10) {
        uint64_t to = world.message + (uint64_t)rand() % 4, from = world.message;

        world.message = to;
        put_entry(&world, from, to);
        if (rand() % 3 == 0)
            take_some(&world, false);
        if (rand() % 200 == 0)
            announce(&world);
        if (rand() % 50 == 0)
            report(&world);
    }
    take_some(&world, true);
    report(&world);
    assert_int_equal(world.reported, world.entry);
    for (unsigned c = 0; c < CONNECTIONS; c++)
        assert_true(unconfirmed_empty(&world.connections[c]));
    written_destroy(&world.written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_waits_for_its_messages),
        cmocka_unit_test(test_x_is_the_longest_prefix),
        cmocka_unit_test(test_an_open_entry_does_not_count),
        cmocka_unit_test(test_what_nobody_waits_for_is_reported_lazily),
        cmocka_unit_test(test_nothing_is_handed_over_twice),
        cmocka_unit_test(test_void_entries_are_not_waited_for),
        cmocka_unit_test(test_a_closed_connection_is_not_waited_for),
        cmocka_unit_test(test_x_never_passes_what_is_not_taken),
    };

    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
