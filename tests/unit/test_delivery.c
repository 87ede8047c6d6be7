/*
 * What has been written and what may be reported as such (written.c): X over the entries of a
 * partition, Y of each connection. And how messages are handed to sessions (delivery.c), with
 * sessions and an uplink that only keep what they are given.
 */
#include "gateway/bus/delivery.h"
#include "gateway/bus/uplink.h"
#include "gateway/bus/written.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

/* So many wait, and some are always taken, that what keeps them has to grow in its middle. */
static void test_many_messages_keep_their_order(void **state)
{
    struct written *written = written_create();
    struct unconfirmed a = {0};
    uint64_t taken = 0;

    (void)state;
    for (uint64_t n = 1; n <= 1000; n++) {
        entry_for(written, n, &a, n, n * 10);
        if (n % 3 > 0)
            continue;
        unconfirmed_take(&a, written, ++taken * 10);
        assert_number(a.seen, taken);
        assert_number(written_report(written), taken);
    }
    unconfirmed_take(&a, written, 10000);
    assert_true(unconfirmed_empty(&a));
    assert_number(written_report(written), 1000);
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

/* ---- batches ---- */

#define RECEIVERS 3

struct receiver {
    struct session session;
    struct buffer frames; /* a line each */
    size_t frame_count;
    uint64_t queued, taken;
    bool refuses; /* the next frame, and closes */
};

static struct {
    struct gateway gateway;
    struct receiver receivers[RECEIVERS];
    uint64_t reported; /* the last OUTPUT_WRITTEN */
    struct number closed_seen;
    size_t encoded;
    uint64_t entry, done;
} fake;

void uplink_send(struct uplink *uplink, uint32_t partition, const struct frame *frame)
{
    (void)uplink, (void)partition;
    if (frame->type == FRAME_OUTPUT_WRITTEN)
        fake.reported = frame->output_written.number.sequence;
    else if (frame->type == FRAME_CONNECTION_CLOSED)
        fake.closed_seen = frame->connection_closed.seen;
    else
        fail();
}

struct session *session_find_any(struct sessions *sessions, uint64_t id)
{
    (void)sessions;
    return id >= 1 && id <= RECEIVERS ? &fake.receivers[id - 1].session : NULL;
}

static bool take_frame(struct session *session, struct slice payload)
{
    struct receiver *receiver = (struct receiver *)session;

    if (receiver->refuses)
        session->state = SESSION_CLOSING;
    if (session->state != SESSION_OPEN)
        return false;
    buffer_append_slice(&receiver->frames, payload);
    buffer_append_byte(&receiver->frames, '\n');
    receiver->frame_count++;
    receiver->queued += payload.length;
    return true;
}

bool session_send(struct session *session, struct wire *wire, enum send_class class)
{
    (void)class;
    return take_frame(session, slice_of(wire->bytes + 2, wire->length - 2));
}

/* Nothing waits here. */
bool session_send_urgent(struct session *session, struct wire *wire, uint64_t *begin, uint64_t *end)
{
    *begin = session_bytes_queued(session);
    if (!session_send(session, wire, SEND_NORMAL))
        return false;
    *end = session_bytes_queued(session);
    return true;
}

bool session_send_text(struct session *session, struct slice payload)
{
    return take_frame(session, payload);
}

uint64_t session_bytes_queued(const struct session *session)
{
    return ((const struct receiver *)session)->queued;
}

uint64_t session_bytes_taken(struct session *session)
{
    return ((struct receiver *)session)->taken;
}

/* Says nothing to a body of "-". */
static void encode_item(struct buffer *out, const struct frame_message_delivery *message,
                        int *opcode)
{
    (void)opcode;
    fake.encoded++;
    if (!slice_is(message->body, "-"))
        buffer_append_slice(out, message->body);
}

static const struct message_batch batch = {"[", ",", "]", 3};
static const struct protocol gathering = {.name = "gathering",
                                          .id = FRAME_PROTOCOL_MESSAGING,
                                          .encode_delivery = encode_item,
                                          .batch = &batch};
static const struct protocol single = {
    .name = "single", .id = FRAME_PROTOCOL_REALTIME, .encode_delivery = encode_item};

static int set_up_deliveries(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.gateway.loop = uv_default_loop();
    fake.gateway.deployment.partitions = 1;
    fake.gateway.settings.confirm_ms = 1;
    fake.gateway.deliveries = deliveries_create(&fake.gateway);
    for (size_t i = 0; i < RECEIVERS; i++) {
        struct session *session = &fake.receivers[i].session;

        session->id = i + 1;
        session->gateway = &fake.gateway;
        session->state = SESSION_OPEN;
        session->protocol = &gathering;
    }
    return 0;
}

static int tear_down_deliveries(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECEIVERS; i++) {
        deliveries_session_closed(fake.gateway.deliveries, &fake.receivers[i].session);
        buffer_finish(&fake.receivers[i].frames);
    }
    deliveries_destroy(&fake.gateway.deliveries);
    uv_run(fake.gateway.loop, UV_RUN_DEFAULT);
    return 0;
}

static void begin_entry(void)
{
    deliveries_entry_begin(fake.gateway.deliveries, 0, number(++fake.entry));
}

static void end_entry(void)
{
    deliveries_entry_end(fake.gateway.deliveries, 0, 100);
}

/* To receivers 1 to count. */
static void deliver_to(size_t count, uint64_t sequence, const char *body)
{
    const uint64_t connections[RECEIVERS] = {1, 2, 3};
    const struct frame_message_delivery message = {
        .connections = {.values = connections, .count = count},
        .number = number(sequence),
        .body = slice_text(body),
    };

    deliveries_on_message(fake.gateway.deliveries, 0, &message);
}

static void expect_frames(size_t receiver, const char *lines)
{
    struct buffer *frames = &fake.receivers[receiver].frames;

    if (!slice_is(buffer_slice(frames), lines))
        fail_msg("%.*s instead of %s", (int)frames->length, frames->data ? frames->data : "",
                 lines);
    buffer_reset(frames, SIZE_MAX);
}

/* What the timer does. */
static uint64_t confirm(size_t receiver, uint64_t taken)
{
    fake.receivers[receiver].taken = taken;
    deliveries_update_seen(fake.gateway.deliveries, &fake.receivers[receiver].session);
    deliveries_report(fake.gateway.deliveries, 0);
    return fake.reported;
}

static void test_messages_of_an_entry_are_one_frame(void **state)
{
    (void)state;
    begin_entry();
    deliver_to(1, 1, "a");
    deliver_to(2, 2, "b");
    deliver_to(1, 3, "c");
    deliver_to(1, 4, "d");
    deliver_to(1, 4, "d"); /* again */
    expect_frames(0, "[a,b,c]\n");
    expect_frames(1, "");
    end_entry();
    expect_frames(0, "[d]\n");
    expect_frames(1, "[b]\n");
    begin_entry();
    end_entry();
    expect_frames(0, "");
    begin_entry();
    deliver_to(1, 5, "e");
    end_entry();
    expect_frames(0, "[e]\n");
}

static void encode_event(struct buffer *out, const struct frame_event_delivery *event, int *opcode)
{
    (void)opcode;
    buffer_append_u64(out, event->event);
}

static void on_event_done(struct session *session, const struct frame_event_done *done)
{
    (void)session;
    fake.done = done->event;
}

static const struct protocol following = {.name = "following",
                                          .id = FRAME_PROTOCOL_CHAT,
                                          .encode_event = encode_event,
                                          .on_event_done = on_event_done};

static void event_to_first(uint64_t event)
{
    const uint64_t connection = 1;

    deliveries_on_event(fake.gateway.deliveries, 0,
                        &(struct frame_event_delivery){
                            .connections = {.values = &connection, .count = 1},
                            .number = number(event),
                            .event = event,
                        });
}

static void done_by_first(uint64_t event)
{
    fake.done = 0;
    deliveries_on_event_done(fake.gateway.deliveries, 0,
                             &(struct frame_event_done){.connection = 1, .event = event});
}

static void test_each_event_is_had_once(void **state)
{
    struct session *session = &fake.receivers[0].session;

    (void)state;
    session->protocol = &following;
    begin_entry();
    event_to_first(1);
    done_by_first(2);
    assert_int_equal(fake.done, 2);
    assert_int_equal(session->event, 2);
    done_by_first(2); /* again */
    assert_int_equal(fake.done, 0);
    event_to_first(2);
    event_to_first(3);
    end_entry();
    expect_frames(0, "1\n3\n");
    /* Until it follows it has all. */
    session->event = UINT64_MAX;
    done_by_first(4);
    assert_int_equal(fake.done, 0);
    assert_int_equal(confirm(0, 100), fake.entry);
}

static void test_a_session_that_closes_is_not_told_what_is_done(void **state)
{
    struct session *session = &fake.receivers[0].session;

    (void)state;
    session->protocol = &following;
    session->state = SESSION_CLOSING;
    begin_entry();
    done_by_first(1);
    assert_int_equal(fake.done, 0);
    assert_int_equal(session->event, 1);
    end_entry();
}

static void test_an_item_is_encoded_once(void **state)
{
    (void)state;
    fake.receivers[2].session.protocol = &single;
    begin_entry();
    deliver_to(3, 1, "a");
    assert_int_equal(fake.encoded, 2);
    end_entry();
    expect_frames(0, "[a]\n");
    expect_frames(1, "[a]\n");
    expect_frames(2, "a\n");
    begin_entry();
    deliver_to(3, 2, "-");
    deliver_to(3, 3, "b");
    assert_int_equal(fake.encoded, 6);
    end_entry();
    expect_frames(0, "[b]\n");
    expect_frames(2, "b\n");
}

static void test_messages_end_with_their_frame(void **state)
{
    (void)state;
    begin_entry();
    deliver_to(1, 1, "aa");
    deliver_to(1, 2, "bb");
    end_entry(); /* [aa,bb]: 7 bytes */
    begin_entry();
    deliver_to(1, 3, "-");
    deliver_to(1, 4, "c");
    end_entry(); /* [c] */
    assert_int_equal(confirm(0, 6), 0);
    assert_int_equal(fake.receivers[0].session.unconfirmed.seen.sequence, 0);
    assert_int_equal(confirm(0, 7), 1);
    assert_int_equal(fake.receivers[0].session.unconfirmed.seen.sequence, 3);
    assert_int_equal(confirm(0, 10), 2);
    assert_int_equal(fake.receivers[0].session.unconfirmed.seen.sequence, 4);
    /* Nothing to say is written when what was before it is. */
    begin_entry();
    deliver_to(1, 5, "d");
    deliver_to(1, 6, "-");
    end_entry();
    assert_int_equal(confirm(0, 12), 2);
    assert_int_equal(confirm(0, 13), 3);
    begin_entry();
    deliver_to(1, 7, "-");
    end_entry();
    assert_int_equal(confirm(0, 13), 4);
}

static void test_a_session_that_closes_takes_no_batch(void **state)
{
    struct session *session = &fake.receivers[0].session;

    (void)state;
    begin_entry();
    deliver_to(1, 1, "a");
    end_entry();
    begin_entry();
    deliver_to(1, 2, "b");
    session->state = SESSION_CLOSING; /* in between */
    deliver_to(1, 3, "c");
    end_entry();
    expect_frames(0, "[a]\n");
    assert_int_equal(confirm(0, 1000), 1);
    deliveries_session_closed(fake.gateway.deliveries, session);
    assert_int_equal(fake.closed_seen.sequence, 1);
    deliveries_report(fake.gateway.deliveries, 0);
    assert_int_equal(fake.reported, 2);
}

static void test_a_batch_that_is_refused_never_ends(void **state)
{
    struct session *session = &fake.receivers[0].session;

    (void)state;
    fake.receivers[0].refuses = true;
    begin_entry();
    deliver_to(1, 1, "a");
    deliver_to(2, 2, "b");
    end_entry();
    assert_int_equal(confirm(1, 1000), 0);
    assert_int_equal(confirm(0, 1000), 0);
    deliveries_session_closed(fake.gateway.deliveries, session);
    assert_int_equal(fake.closed_seen.sequence, 0);
    deliveries_report(fake.gateway.deliveries, 0);
    assert_int_equal(fake.reported, 1);
}

static void test_a_session_that_ends_has_no_batch(void **state)
{
    struct session *session = &fake.receivers[0].session;

    (void)state;
    begin_entry();
    deliver_to(2, 1, "a");
    deliveries_session_closed(fake.gateway.deliveries, session);
    assert_null(session->batch);
    end_entry();
    expect_frames(0, "");
    expect_frames(1, "[a]\n");
    assert_int_equal(confirm(1, 3), 1);
}

static void test_long_messages_fill_a_batch_sooner(void **state)
{
    char *body = malloc(70001);

    (void)state;
    memset(body, 'x', 70000);
    body[70000] = '\0';
    begin_entry();
    deliver_to(1, 1, body);
    deliver_to(1, 2, body);
    assert_int_equal(fake.receivers[0].frame_count, 1);
    deliver_to(1, 3, "c");
    end_entry();
    assert_int_equal(fake.receivers[0].frame_count, 2);
    assert_int_equal(confirm(0, fake.receivers[0].queued), 1);
    free(body);
}

static void test_an_entry_made_void_in_between(void **state)
{
    (void)state;
    begin_entry();
    deliver_to(1, 1, "a");
    deliveries_on_announce(fake.gateway.deliveries, 0);
    end_entry();
    expect_frames(0, "[a]\n");
    begin_entry();
    deliver_to(1, 1, "a");
    deliver_to(1, 2, "b");
    end_entry();
    expect_frames(0, "[b]\n");
    assert_int_equal(confirm(0, 3), 0);
    assert_int_equal(confirm(0, 6), 2);
}

static void deliver_with(uint64_t sequence, const char *body, uint64_t priority)
{
    const uint64_t connection = 1;
    const struct frame_message_delivery message = {
        .connections = {.values = &connection, .count = 1},
        .number = number(sequence),
        .priority = priority,
        .body = slice_text(body),
    };

    deliveries_on_message(fake.gateway.deliveries, 0, &message);
}

static void test_one_that_went_ahead_comes_once(void **state)
{
    (void)state;
    fake.receivers[0].session.protocol = &single;
    begin_entry();
    deliver_with(1, "a", PRIORITY_NORMAL);
    deliver_with(9, "high", PRIORITY_AHEAD);
    deliver_with(9, "high", PRIORITY_AHEAD);
    end_entry();
    expect_frames(0, "a\nhigh\n");
    assert_int_equal(confirm(0, 5), 1);
    begin_entry();
    deliver_with(2, "b", PRIORITY_NORMAL);
    deliver_with(9, "high", PRIORITY_HIGH);
    deliver_with(10, "c", PRIORITY_HIGH);
    end_entry();
    expect_frames(0, "b\nc\n");
    assert_int_equal(confirm(0, 6), 1);
    assert_int_equal(confirm(0, 7), 2);
    begin_entry();
    deliver_with(9, "high", PRIORITY_AHEAD);
    end_entry();
    expect_frames(0, "");
}

static void test_those_that_gather_get_it_in_its_turn(void **state)
{
    (void)state;
    begin_entry();
    deliver_with(9, "high", PRIORITY_AHEAD);
    deliver_with(1, "a", PRIORITY_NORMAL);
    deliver_with(9, "high", PRIORITY_HIGH);
    end_entry();
    expect_frames(0, "[a,high]\n");
}

#define gathers(test) cmocka_unit_test_setup_teardown(test, set_up_deliveries, tear_down_deliveries)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_waits_for_its_messages),
        cmocka_unit_test(test_x_is_the_longest_prefix),
        cmocka_unit_test(test_an_open_entry_does_not_count),
        cmocka_unit_test(test_many_messages_keep_their_order),
        cmocka_unit_test(test_what_nobody_waits_for_is_reported_lazily),
        cmocka_unit_test(test_nothing_is_handed_over_twice),
        cmocka_unit_test(test_void_entries_are_not_waited_for),
        cmocka_unit_test(test_a_closed_connection_is_not_waited_for),
        cmocka_unit_test(test_x_never_passes_what_is_not_taken),
        gathers(test_messages_of_an_entry_are_one_frame),
        gathers(test_each_event_is_had_once),
        gathers(test_a_session_that_closes_is_not_told_what_is_done),
        gathers(test_an_item_is_encoded_once),
        gathers(test_messages_end_with_their_frame),
        gathers(test_a_session_that_closes_takes_no_batch),
        gathers(test_a_batch_that_is_refused_never_ends),
        gathers(test_a_session_that_ends_has_no_batch),
        gathers(test_long_messages_fill_a_batch_sooner),
        gathers(test_an_entry_made_void_in_between),
        gathers(test_one_that_went_ahead_comes_once),
        gathers(test_those_that_gather_get_it_in_its_turn),
    };

    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
