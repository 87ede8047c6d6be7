/*
 * The decisions of the way in and of the chain of output entries: entries.c and output.c without
 * any bus, the first also against a router of a few lines behind a bus that loses, delays and
 * refuses.
 */
#include "common/buffer.h"
#include "gateway/bus/downlink.h"
#include "gateway/bus/entries.h"
#include "gateway/bus/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned gave_up;

static void add_request(struct entries *entries, uint64_t request)
{
    entries_add(entries, &(struct frame){.type = FRAME_SUBSCRIPTION_SYNC,
                                         .subscription_sync.request = request});
}

static void announce(struct entries *entries)
{
    entries_announce_begin(entries);
    entries_announce_end(entries);
}

/* Created, announced once and answered. */
static struct entries *entries_in_step(void)
{
    struct entries *entries = entries_create();
    struct entries_outgoing out;

    announce(entries);
    assert_true(entries_next(entries, &out));
    entries_answered(entries, true);
    assert_true(entries_announced(entries, entries_nonce(entries)));
    return entries;
}

static void assert_next(struct entries *entries, uint64_t number)
{
    struct entries_outgoing out;

    assert_true(entries_next(entries, &out));
    assert_int_equal(out.number, number);
}

static void assert_nothing_next(struct entries *entries)
{
    struct entries_outgoing out;

    assert_false(entries_next(entries, &out));
}

/* The first frame of what goes next, which must be a chunk. */
static struct frame_gateway_announce next_chunk(struct entries *entries)
{
    struct frame_reader *reader = frame_reader_create();
    struct entries_outgoing out;
    struct frame frame;

    assert_true(entries_next(entries, &out));
    assert_int_equal(out.number, 0);
    frame_reader_start(reader, out.frames);
    assert_int_equal(frame_reader_next(reader, &frame), 1);
    assert_int_equal(frame.type, FRAME_GATEWAY_ANNOUNCE);
    frame_reader_destroy(&reader);
    return frame.gateway_announce;
}

static void test_one_entry_is_in_flight_and_gathers_the_next(void **state)
{
    struct entries *entries = entries_in_step();

    (void)state;
    assert_nothing_next(entries);
    add_request(entries, 1);
    assert_next(entries, 1);
    add_request(entries, 2);
    add_request(entries, 3);
    assert_nothing_next(entries);
    entries_answered(entries, true);
    assert_next(entries, 2);
    entries_answered(entries, true);
    assert_nothing_next(entries);
    assert_int_equal(entries_last(entries), 2);
    assert_false(entries_busy(entries));
    entries_destroy(&entries);
}

static void test_entries_are_held_until_accepted(void **state)
{
    struct entries *entries = entries_in_step();
    size_t held;

    (void)state;
    add_request(entries, 1);
    held = entries_bytes(entries);
    assert_true(held > 0);
    assert_next(entries, 1);
    entries_answered(entries, true);
    add_request(entries, 2);
    assert_next(entries, 2);
    assert_int_equal(entries_bytes(entries), 2 * held);
    entries_accepted(entries, 1);
    assert_int_equal(entries_bytes(entries), held);
    /* Before its own answer: the two come over different connections. */
    entries_accepted(entries, 2);
    assert_int_equal(entries_bytes(entries), 0);
    entries_answered(entries, false);
    assert_nothing_next(entries);
    entries_destroy(&entries);
}

static void count_and_add(void *arg, struct slice frames)
{
    struct entries *entries = *(struct entries **)arg;

    assert_true(frames.length > 0);
    /* Whoever is told may have something to say. */
    add_request(entries, 9);
    gave_up++;
}

static void test_what_was_applied_unheard_is_handed_out_once(void **state)
{
    struct entries *entries = entries_in_step();

    (void)state;
    gave_up = 0;
    for (uint64_t n = 1; n <= 3; n++) {
        add_request(entries, n);
        assert_next(entries, n);
        entries_answered(entries, true);
    }
    entries_accepted(entries, 1);
    entries_suspend(entries);
    entries_lost(entries, 2, count_and_add, &entries);
    assert_int_equal(gave_up, 1);
    /* More than was ever sent. */
    entries_lost(entries, 100, count_and_add, &entries);
    assert_int_equal(gave_up, 2);
    announce(entries);
    assert_int_equal(next_chunk(entries).base, 3);
    entries_answered(entries, true);
    assert_true(entries_announced(entries, entries_nonce(entries)));
    assert_next(entries, 4);
    entries_destroy(&entries);
}

static void test_what_was_not_answered_goes_again(void **state)
{
    struct entries *entries = entries_in_step();

    (void)state;
    add_request(entries, 1);
    assert_next(entries, 1);
    entries_answered(entries, false);
    assert_next(entries, 1);
    entries_answered(entries, true);
    assert_nothing_next(entries);
    entries_destroy(&entries);
}

static void test_missing_entries_go_again_in_order(void **state)
{
    struct entries *entries = entries_in_step();

    (void)state;
    for (uint64_t n = 1; n <= 4; n++) {
        add_request(entries, n);
        assert_next(entries, n);
        entries_answered(entries, n < 4);
    }
    entries_accepted(entries, 1);
    /* 4 is in flight again when the router says that it has not seen 2. */
    assert_next(entries, 4);
    assert_true(entries_missing(entries, 1));
    entries_answered(entries, true);
    assert_next(entries, 2);
    entries_accepted(entries, 2);
    entries_answered(entries, false);
    assert_next(entries, 3);
    entries_answered(entries, true);
    assert_next(entries, 4);
    entries_answered(entries, true);
    assert_nothing_next(entries);
    entries_destroy(&entries);
}

static void test_what_is_held_no_more_needs_an_announcement(void **state)
{
    struct entries *entries = entries_in_step();

    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        add_request(entries, n);
        assert_next(entries, n);
        entries_answered(entries, true);
    }
    entries_accepted(entries, 2);
    /* A gap that was filled before the same output entry was written. */
    assert_true(entries_missing(entries, 1));
    entries_answered(entries, true);
    /* Redis was rolled back: the head says less than it did. */
    entries_accepted(entries, 1);
    assert_false(entries_missing(entries, 1));
    entries_destroy(&entries);
}

static void test_long_entries_are_split(void **state)
{
    struct entries *entries = entries_in_step();
    char *body = calloc(1, ENTRIES_ENTRY_BYTES / 2);
    const struct frame frame = {.type = FRAME_TOPIC_PUBLISH,
                                .topic_publish.body = slice_of(body, ENTRIES_ENTRY_BYTES / 2)};
    struct entries_outgoing out;

    (void)state;
    for (int i = 0; i < 5; i++)
        entries_add(entries, &frame);
    for (uint64_t n = 1; n <= 3; n++) {
        assert_true(entries_next(entries, &out));
        assert_int_equal(out.number, n);
        assert_true(out.frames.length <= ENTRIES_ENTRY_BYTES + ENTRIES_ENTRY_BYTES / 2 + 200);
        entries_answered(entries, true);
    }
    assert_nothing_next(entries);
    free(body);
    entries_destroy(&entries);
}

static void test_an_announcement_goes_first_and_names_what_is_held(void **state)
{
    struct entries *entries = entries_create();
    struct frame_gateway_announce chunk;

    (void)state;
    add_request(entries, 1);
    assert_nothing_next(entries);
    announce(entries);
    chunk = next_chunk(entries);
    assert_int_equal(chunk.nonce, 1);
    assert_int_equal(chunk.base, 0);
    assert_int_equal(chunk.last, 1);
    assert_false(entries_announce_sent(entries));
    entries_answered(entries, true);
    assert_true(entries_announce_sent(entries));
    assert_nothing_next(entries);
    assert_false(entries_announced(entries, 7));
    assert_true(entries_announced(entries, 1));
    assert_next(entries, 1);
    entries_answered(entries, true);
    add_request(entries, 2);
    assert_next(entries, 2);
    entries_answered(entries, true);
    entries_accepted(entries, 1);
    /* 2 is held, 3 not made yet. */
    add_request(entries, 3);
    announce(entries);
    chunk = next_chunk(entries);
    assert_int_equal(chunk.nonce, 2);
    assert_int_equal(chunk.base, 1);
    entries_answered(entries, true);
    assert_true(entries_announced(entries, 2));
    assert_next(entries, 2);
    entries_answered(entries, true);
    assert_next(entries, 3);
    entries_destroy(&entries);
}

static void test_a_new_announcement_voids_the_one_on_its_way(void **state)
{
    struct entries *entries = entries_create();

    (void)state;
    announce(entries);
    assert_int_equal(next_chunk(entries).nonce, 1);
    announce(entries);
    /* The answer belongs to the old chunk. */
    entries_answered(entries, true);
    assert_false(entries_announce_started(entries));
    assert_int_equal(next_chunk(entries).nonce, 2);
    assert_false(entries_announced(entries, 1));
    /* The nonce may be faster than the answer. */
    assert_true(entries_announced(entries, 2));
    entries_answered(entries, true);
    assert_nothing_next(entries);
    entries_destroy(&entries);
}

static void test_an_announcement_is_cut_into_chunks(void **state)
{
    struct entries *entries = entries_create();
    char user[100] = {0};
    const struct frame frame = {.type = FRAME_ANNOUNCED_CONNECTION,
                                .announced_connection.user = slice_of(user, sizeof(user))};
    struct frame_gateway_announce chunk;

    (void)state;
    entries_announce_begin(entries);
    for (int i = 0; i < 25000; i++)
        entries_announce_add(entries, &frame);
    entries_announce_end(entries);
    for (uint64_t i = 0; i < 3; i++) {
        chunk = next_chunk(entries);
        entries_answered(entries, false);
        chunk = next_chunk(entries);
        assert_int_equal(chunk.chunk, i);
        assert_int_equal(chunk.last, i == 2);
        entries_answered(entries, true);
    }
    assert_true(entries_announce_sent(entries));
    entries_destroy(&entries);
}

/* ---- against a router behind a bad bus ---- */

#define LATE_MAX 8

/* Takes exactly the next entry and the requests in it, which must be 1, 2, 3 … */
struct router {
    struct frame_reader *reader;
    uint64_t applied, nonce, request;
};

struct late {
    uint64_t number;
    struct buffer frames;
};

struct world {
    struct entries *entries;
    struct router router;
    struct late late[LATE_MAX];
    unsigned late_count;
    uint64_t requests;
};

static bool chance(unsigned percent)
{
    return (unsigned)rand() % 100 < percent;
}

static void router_announce(struct world *world, const struct frame_gateway_announce *announce)
{
    struct router *router = &world->router;

    if (announce->nonce <= router->nonce || !announce->last)
        return;
    router->nonce = announce->nonce;
    if (announce->base > router->applied)
        router->applied = announce->base;
    if (entries_announced(world->entries, announce->nonce))
        entries_accepted(world->entries, router->applied);
}

static void router_read(struct world *world, uint64_t number, struct slice frames)
{
    struct router *router = &world->router;
    struct frame frame;

    frame_reader_start(router->reader, frames);
    assert_int_equal(frame_reader_next(router->reader, &frame), 1);
    if (number == 0) {
        router_announce(world, &frame.gateway_announce);
    } else if (number != router->applied + 1) {
        if (!entries_announcing(world->entries) && number > router->applied)
            assert_true(entries_missing(world->entries, router->applied));
    } else {
        router->applied = number;
        do
            assert_int_equal(frame.subscription_sync.request, ++router->request);
        while (frame_reader_next(router->reader, &frame) > 0);
        if (!entries_announcing(world->entries) && chance(70))
            entries_accepted(world->entries, router->applied);
    }
}

static void run_late(struct world *world)
{
    struct late late;

    if (world->late_count == 0)
        return;
    late = world->late[--world->late_count];
    router_read(world, late.number, buffer_slice(&late.frames));
    buffer_finish(&late.frames);
}

/* One try to send: it runs or not, now or later, and is answered or not. */
static void try_to_send(struct world *world, bool calm)
{
    struct entries_outgoing out;
    unsigned fate = calm ? 99 : (unsigned)rand() % 100;
    struct buffer copy = {0};
    uint64_t number;

    if (!entries_next(world->entries, &out))
        return;
    number = out.number;
    buffer_append_slice(&copy, out.frames);
    if (fate < 10 && world->late_count < LATE_MAX) {
        world->late[world->late_count++] = (struct late){.number = number, .frames = copy};
        entries_answered(world->entries, false);
        return;
    }
    if (fate >= 20)
        router_read(world, number, buffer_slice(&copy));
    entries_answered(world->entries, fate >= 30);
    buffer_finish(&copy);
}

static void step(struct world *world)
{
    if (chance(50))
        add_request(world->entries, ++world->requests);
    if (chance(1))
        entries_suspend(world->entries);
    if (entries_announcing(world->entries) && (entries_nonce(world->entries) == 0 || chance(10)))
        announce(world->entries);
    if (chance(20))
        run_late(world);
    try_to_send(world, false);
}

static void test_each_frame_is_applied_once_and_in_order(void **state)
{
    struct world world = {.entries = entries_create(), .router.reader = frame_reader_create()};

    (void)state;
    srand(20261121);
    for (int i = 0; i < 200000; i++)
        step(&world);
    while (world.late_count)
        run_late(&world);
    if (entries_announcing(world.entries))
        announce(world.entries);
    while (entries_busy(world.entries))
        try_to_send(&world, true);
    assert_int_equal(world.router.request, world.requests);
    entries_accepted(world.entries, world.router.applied);
    assert_int_equal(entries_bytes(world.entries), 0);
    frame_reader_destroy(&world.router.reader);
    entries_destroy(&world.entries);
}

/* ---- output entries ---- */

static const struct number first = {100, 1}, second = {100, 2}, third = {101, 1};

static void put_head(struct buffer *entry, struct number previous, uint64_t accepted)
{
    frame_encode(entry,
                 &(struct frame){.type = FRAME_OUTPUT_HEAD, .output_head = {previous, accepted}});
}

static void put_announced(struct buffer *entry, uint64_t nonce)
{
    frame_encode(
        entry, &(struct frame){.type = FRAME_GATEWAY_ANNOUNCED, .gateway_announced.nonce = nonce});
}

static struct output_judgement judge(struct frame_reader *reader, const struct buffer *entry,
                                     struct output_wait wait, struct number *cursor)
{
    return output_judge(reader, buffer_slice(entry), wait, third, cursor);
}

static void test_an_entry_must_name_its_predecessor(void **state)
{
    struct frame_reader *reader = frame_reader_create();
    const struct output_wait in_step = {0};
    struct output_judgement judgement;
    struct number cursor = second;
    struct buffer entry = {0};

    (void)state;
    put_head(&entry, second, 17);
    judgement = judge(reader, &entry, in_step, &cursor);
    assert_int_equal(judgement.verdict, OUTPUT_TAKE);
    assert_int_equal(judgement.accepted, 17);
    assert_false(judgement.announced);
    assert_int_equal(number_compare(cursor, third), 0);
    cursor = first;
    judgement = judge(reader, &entry, in_step, &cursor);
    assert_int_equal(judgement.verdict, OUTPUT_BROKEN);
    assert_int_equal(judgement.last, 17);
    assert_int_equal(number_compare(cursor, third), 0);
    frame_encode(&entry, &(struct frame){.type = FRAME_WHO_ARE_YOU, .who_are_you.last = 16});
    cursor = first;
    assert_int_equal(judge(reader, &entry, in_step, &cursor).last, 16);
    buffer_finish(&entry);
    frame_reader_destroy(&reader);
}

static void test_while_announcing_entries_are_skipped_up_to_the_nonce(void **state)
{
    struct frame_reader *reader = frame_reader_create();
    struct output_judgement judgement;
    struct number cursor = first;
    struct buffer entry = {0};
    struct frame frame;

    (void)state;
    put_head(&entry, second, 5);
    put_announced(&entry, 3);
    frame_encode(&entry, &(struct frame){.type = FRAME_SUBSCRIPTION_SYNCED,
                                         .subscription_synced.request = 9});
    judgement = judge(reader, &entry, (struct output_wait){true, 4}, &cursor);
    assert_int_equal(judgement.verdict, OUTPUT_SKIP);
    assert_int_equal(number_compare(cursor, third), 0);
    judgement = judge(reader, &entry, (struct output_wait){true, 0}, &cursor);
    assert_int_equal(judgement.verdict, OUTPUT_SKIP);
    judgement = judge(reader, &entry, (struct output_wait){true, 3}, &cursor);
    assert_int_equal(judgement.verdict, OUTPUT_TAKE);
    assert_true(judgement.announced);
    assert_int_equal(judgement.accepted, 5);
    assert_int_equal(frame_reader_next(reader, &frame), 1);
    assert_int_equal(frame.type, FRAME_SUBSCRIPTION_SYNCED);
    buffer_finish(&entry);
    frame_reader_destroy(&reader);
}

static void test_what_is_no_output_entry_is_bad(void **state)
{
    struct frame_reader *reader = frame_reader_create();
    static const char *const texts[] = {"", "x", "\xff\xff", "\x91\xcd\xff\xff"};
    struct number cursor = second;
    struct buffer entry = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        entry.length = 0;
        buffer_append_text(&entry, texts[i]);
        assert_int_equal(judge(reader, &entry, (struct output_wait){0}, &cursor).verdict,
                         OUTPUT_BAD);
        assert_int_equal(judge(reader, &entry, (struct output_wait){true, 1}, &cursor).verdict,
                         OUTPUT_SKIP);
    }
    entry.length = 0;
    put_announced(&entry, 1);
    assert_int_equal(judge(reader, &entry, (struct output_wait){0}, &cursor).verdict, OUTPUT_BAD);
    buffer_finish(&entry);
    frame_reader_destroy(&reader);
}

static void test_every_frame_to_a_gateway_has_a_handler(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        enum frame_party from, to;

        assert_true(frame_parties(types[i], &from, &to));
        if (downlink_handles(types[i]) != (from == FRAME_PARTY_ROUTER && to == FRAME_PARTY_GATEWAY))
            fail_msg("%s", frame_name(types[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_entry_is_in_flight_and_gathers_the_next),
        cmocka_unit_test(test_entries_are_held_until_accepted),
        cmocka_unit_test(test_what_was_applied_unheard_is_handed_out_once),
        cmocka_unit_test(test_what_was_not_answered_goes_again),
        cmocka_unit_test(test_missing_entries_go_again_in_order),
        cmocka_unit_test(test_what_is_held_no_more_needs_an_announcement),
        cmocka_unit_test(test_long_entries_are_split),
        cmocka_unit_test(test_an_announcement_goes_first_and_names_what_is_held),
        cmocka_unit_test(test_a_new_announcement_voids_the_one_on_its_way),
        cmocka_unit_test(test_an_announcement_is_cut_into_chunks),
        cmocka_unit_test(test_each_frame_is_applied_once_and_in_order),
        cmocka_unit_test(test_an_entry_must_name_its_predecessor),
        cmocka_unit_test(test_while_announcing_entries_are_skipped_up_to_the_nonce),
        cmocka_unit_test(test_what_is_no_output_entry_is_bad),
        cmocka_unit_test(test_every_frame_to_a_gateway_has_a_handler),
    };

    return cmocka_run_group_tests_name("uplink", tests, NULL, NULL);
}
