/*
 * One read for all partitions: what it brings goes to those that asked, and only as long as they
 * are what they were when they asked.
 */
#include "router/reader.h"
#include "router/partition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define PARTITIONS 2

/* ---- partitions and a bus of the test ---- */

struct partition {
    uint64_t generation;
    struct number position;
    size_t entries;   /* that were handed to it */
    bool drops_other; /* handling them, it gives up the other one, which is taken anew */
};

struct bus_reply {
    const char *text;
    const struct bus_reply *items;
    size_t count;
};

static struct {
    struct router router;
    struct partition partitions[PARTITIONS], *list[PARTITIONS];
    bus_reply_fn *callback; /* of the read in flight */
    void *arg;
    char read[128]; /* its last words: keys, positions */
    unsigned reads, unblocks;
} test;

bool partition_wants_input(const struct partition *partition)
{
    (void)partition;
    return true;
}

struct slice partition_input_key(const struct partition *partition)
{
    return slice_text(partition == &test.partitions[0] ? "in:0" : "in:1");
}

uint64_t partition_generation(const struct partition *partition)
{
    return partition->generation;
}

struct number partition_input_position(const struct partition *partition)
{
    return partition->position;
}

static void take_anew(struct partition *partition, uint64_t position)
{
    partition->generation++;
    partition->position = (struct number){.epoch = position};
    reader_wake(test.router.reader);
}

void partition_on_input(struct partition *partition, const struct bus_reply *entries)
{
    partition->entries += bus_reply_count(entries);
    if (partition->drops_other)
        take_anew(&test.partitions[1], 3);
}

struct bus *bus_create(uv_loop_t *loop, const struct bus_options *options)
{
    (void)loop;
    test.arg = options->arg;
    return (struct bus *)(void *)&test;
}

void bus_destroy(struct bus **bus)
{
    *bus = NULL;
}

bool bus_is_up(const struct bus *bus)
{
    return bus != NULL;
}

uint64_t bus_client_id(const struct bus *bus)
{
    (void)bus;
    return 7;
}

int bus_command(struct bus *bus, bus_reply_fn *callback, void *arg, size_t argc,
                const struct slice *argv)
{
    size_t length = 0;

    (void)bus, (void)arg;
    test.callback = callback;
    test.reads++;
    for (size_t i = 6; i < argc; i++)
        length += (size_t)snprintf(test.read + length, sizeof(test.read) - length, "%.*s ",
                                   (int)argv[i].length, argv[i].data);
    return 0;
}

int bus_command_text(struct bus *bus, bus_reply_fn *callback, void *arg, ...)
{
    (void)bus, (void)callback, (void)arg;
    test.unblocks++;
    return 0;
}

enum bus_reply_kind bus_reply_kind(const struct bus_reply *reply)
{
    return reply ? BUS_ARRAY : BUS_NONE;
}

struct slice bus_reply_text(const struct bus_reply *reply)
{
    return reply->text ? slice_text(reply->text) : slice_of(NULL, 0);
}

size_t bus_reply_count(const struct bus_reply *reply)
{
    return reply ? reply->count : 0;
}

const struct bus_reply *bus_reply_at(const struct bus_reply *reply, size_t index)
{
    return index < bus_reply_count(reply) ? &reply->items[index] : NULL;
}

/* Three entries for the first, five for the second. */
static void answer(void)
{
    static const struct bus_reply entries[5];
    const struct bus_reply first[] = {{.text = "in:0"}, {.items = entries, .count = 3}};
    const struct bus_reply second[] = {{.text = "in:1"}, {.items = entries, .count = 5}};
    const struct bus_reply streams[] = {{.items = first, .count = 2},
                                        {.items = second, .count = 2}};
    const struct bus_reply reply = {.items = streams, .count = 2};

    test.callback(test.router.reader, &reply);
}

static int setup(void **state)
{
    (void)state;
    memset(&test, 0, sizeof(test));
    for (size_t i = 0; i < PARTITIONS; i++) {
        test.list[i] = &test.partitions[i];
        test.partitions[i].position.epoch = 9;
    }
    test.router.deployment.partitions = PARTITIONS;
    test.router.partitions = test.list;
    test.router.reader = reader_create(&test.router);
    reader_wake(test.router.reader);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    reader_destroy(&test.router.reader);
    return 0;
}

/* ---- the tests ---- */

static void each_gets_its_own(void **state)
{
    (void)state;
    assert_string_equal(test.read, "in:0 in:1 9-0 9-0 ");
    answer();
    assert_int_equal(test.partitions[0].entries, 3);
    assert_int_equal(test.partitions[1].entries, 5);
    assert_int_equal(test.reads, 2);
}

/* It had read up to 9 and applied up to 4: the read in flight begins behind 9. */
static void one_that_is_taken_anew_reads_anew(void **state)
{
    (void)state;
    take_anew(&test.partitions[1], 4);
    assert_int_equal(test.unblocks, 1);
    answer();
    assert_int_equal(test.partitions[0].entries, 3);
    assert_int_equal(test.partitions[1].entries, 0);
    assert_string_equal(test.read, "in:0 in:1 9-0 4-0 ");
    answer();
    assert_int_equal(test.partitions[1].entries, 5);
}

/* While an answer is handed out, no other read begins: it would be one of other partitions. */
static void one_may_be_taken_anew_by_what_another_gets(void **state)
{
    (void)state;
    test.partitions[0].drops_other = true;
    answer();
    assert_int_equal(test.partitions[1].entries, 0);
    assert_int_equal(test.reads, 2);
    assert_string_equal(test.read, "in:0 in:1 9-0 3-0 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_gets_its_own),
        TEST(one_that_is_taken_anew_reads_anew),
        TEST(one_may_be_taken_anew_by_what_another_gets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
