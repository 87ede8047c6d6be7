/*
 * Messages of high priority: they go before others that wait, and are neither lost nor doubled by
 * that. The gateway's side is written.c itself, the client a list of what was sent to it.
 */
#include "common/xalloc.h"
#include "gateway/session/outbox.h"
#include "gateway/bus/written.h"
#include "tests/unit/voices.h"

#define CONNECTION 5
#define MESSAGES 600

/* One connection of bob at the first gateway. */
static struct {
    struct unconfirmed unconfirmed;
    struct written *written;
    uint64_t bytes;
    struct buffer sent; /* ids, each followed by a space */
    unsigned times[MESSAGES];
} peer;

static int set_up(void **state)
{
    setup(state);
    memset(&peer, 0, sizeof(peer));
    peer.written = written_create();
    return 0;
}

static int tear_down(void **state)
{
    unconfirmed_clear(&peer.unconfirmed, peer.written);
    written_destroy(&peer.written);
    buffer_finish(&peer.sent);
    return teardown(state);
}

static void send_to_client(struct slice id)
{
    buffer_append_slice(&peer.sent, id);
    buffer_append_byte(&peer.sent, ' ');
    if (id.data[0] == 'r')
        peer.times[strtoul(id.data + 1, NULL, 10)]++;
}

/* As delivery.c does. */
static void take_delivery(const struct frame_message_delivery *delivery)
{
    bool sent;

    assert_int_equal(delivery->connections.values[0], CONNECTION);
    if (delivery->priority == PRIORITY_AHEAD) {
        if (unconfirmed_go_ahead(&peer.unconfirmed, delivery->number))
            send_to_client(delivery->id);
        return;
    }
    if (!unconfirmed_meet(&peer.unconfirmed, peer.written, delivery->number))
        return;
    sent = unconfirmed_went_ahead(&peer.unconfirmed, delivery->number);
    unconfirmed_add(&peer.unconfirmed, peer.written, delivery->number, ++peer.bytes);
    if (!sent)
        send_to_client(delivery->id);
}

static void listen(void)
{
    struct frame frame;
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "out", gateway_id(G1), &count);

    for (size_t i = 0; i < count; i++) {
        bool durable = false;

        if (number_compare(entries[i].number, voices[G1].read) <= 0)
            continue;
        voices[G1].read = entries[i].number;
        written_begin(peer.written, entries[i].number);
        frame_reader_start(reader, model_entry_field(&entries[i], "e"));
        while (frame_reader_next(reader, &frame) == 1) {
            if (frame.type != FRAME_MESSAGE_DELIVERY)
                continue;
            durable |= frame.message_delivery.priority != PRIORITY_AHEAD;
            take_delivery(&frame.message_delivery);
        }
        written_end(peer.written, durable, durable);
    }
}

/* The client's TCP takes all. */
static void take_all(void)
{
    unconfirmed_take(&peer.unconfirmed, peer.written, peer.bytes);
    if (written_urgency(peer.written) == WRITTEN_NOTHING)
        return;
    SAY(G1, OUTPUT_WRITTEN, output_written, .number = written_report(peer.written));
    turn();
    listen();
}

static void send_message(const char *id, bool high, uint64_t policy)
{
    struct frame_direct_message message = direct_to("alice", "bob", id);

    message.priority = high;
    message.policy = policy;
    say_direct(G2, message);
    turn();
    listen();
}

static void come(uint64_t flags)
{
    connect_flags(G1, CONNECTION, "bob", flags);
    turn();
    listen();
}

static void expect_sent(const char *ids)
{
    buffer_append_byte(&peer.sent, '\0');
    assert_string_equal(peer.sent.data, ids);
    buffer_reset(&peer.sent, SIZE_MAX);
}

static void drain(void)
{
    while (written_urgency(peer.written) >= WRITTEN_SOON || !unconfirmed_empty(&peer.unconfirmed))
        take_all();
}

/* The window of the tests' engines has room for four. */
static void fill_window(void)
{
    static const char *const ids[] = {"1", "2", "3", "4"};

    for (size_t i = 0; i < 4; i++)
        send_message(ids[i], false, DELIVERY_STORE);
}

static void one_goes_before_those_that_wait(void **state)
{
    (void)state;
    come(0);
    fill_window();
    send_message("5", false, DELIVERY_STORE);
    send_message("6", false, DELIVERY_STORE);
    send_message("high", true, DELIVERY_STORE);
    expect_sent("1 2 3 4 high ");
    drain();
    expect_sent("5 6 ");
    assert_int_equal(sizes().pending, 0);
    assert_true(
        slice_is(model_store_field(world_store(world), "user", T("bob"), T("mailbox")), "0"));
}

static void one_that_waited_for_its_user_goes_first_too(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        char id[16];

        snprintf(id, sizeof(id), "%d", i);
        send_message(id, i == 7, DELIVERY_STORE);
    }
    come(0);
    expect_sent("0 1 2 3 7 ");
    drain();
    expect_sent("4 5 6 8 ");
}

static void those_who_confirm_themselves_get_all_in_turn(void **state)
{
    (void)state;
    come(CONNECTION_FLAG_ACK);
    fill_window();
    send_message("5", false, DELIVERY_STORE);
    send_message("high", true, DELIVERY_STORE);
    expect_sent("1 2 3 4 ");
}

static void what_is_not_kept_comes_in_turn(void **state)
{
    (void)state;
    come(0);
    fill_window();
    send_message("5", false, DELIVERY_STORE);
    send_message("high", true, DELIVERY_DISCARD_AND_TELL);
    expect_sent("1 2 3 4 ");
    drain();
    expect_sent("5 high ");
}

static void a_copy_is_no_confirmation(void **state)
{
    (void)state;
    come(0);
    fill_window();
    send_message("5", false, DELIVERY_STORE);
    send_message("high", true, DELIVERY_STORE);
    expect_sent("1 2 3 4 high ");
    SAY(G1, CONNECTION_CLOSED, connection_closed, .connection = CONNECTION,
        .seen = peer.unconfirmed.seen);
    turn();
    unconfirmed_clear(&peer.unconfirmed, peer.written);
    peer.unconfirmed = (struct unconfirmed){0};
    come(0);
    expect_sent("1 2 3 4 high ");
    drain();
    expect_sent("5 ");
}

static uint64_t random_state;

static unsigned roll(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

static void announce_again(void)
{
    written_restart(peer.written);
    announce(G1);
    SAY(G1, ANNOUNCED_CONNECTION, announced_connection, .connection = CONNECTION, .user = T("bob"),
        .protocol = 3, .seen = peer.unconfirmed.seen);
    end_announcement(G1);
    listen();
}

static void whatever_happens_each_comes_once(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        unsigned count = 0;

        tear_down(NULL);
        set_up(NULL);
        random_state = seed;
        come(0);
        while (count < MESSAGES) {
            unsigned what = roll(20);
            char id[16];

            if (what == 0) {
                world_take(world);
                world_settle(world);
                listen();
            } else if (what == 1) {
                announce_again();
            } else if (what < 6) {
                take_all();
            } else {
                snprintf(id, sizeof(id), "r%u", count++);
                send_message(id, roll(5) == 0, DELIVERY_STORE);
            }
            assert_true(sizes().pending <= 4);
        }
        drain();
        for (unsigned i = 0; i < MESSAGES; i++)
            if (peer.times[i] != 1)
                fail_msg("seed %u: r%u came %u times", seed, i, peer.times[i]);
    }
}

/* ---- the connection's queue ---- */

static void urgent_frames_go_before_others_in_their_own_order(void **state)
{
    static const char *const texts[] = {"a", "b", "X", "c", "Y"};
    struct outbox outbox = {0};
    struct wire *held;
    char room[64];
    struct slice run;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct wire *wire = wire_create(WIRE_TEXT, slice_text(texts[i]));

        if (texts[i][0] < 'a')
            outbox_push_urgent(&outbox, wire);
        else
            outbox_push(&outbox, wire);
        wire_unref(&wire);
    }
    assert_int_equal(outbox.urgent_bytes, 6);
    run = outbox_take(&outbox, room, 6, &held);
    assert_int_equal(run.length, 6);
    assert_true(run.data[2] == 'X' && run.data[5] == 'Y');
    assert_int_equal(outbox.urgent_bytes, 0);
    run = outbox_take(&outbox, room, sizeof(room), &held);
    assert_true(run.data[2] == 'a' && run.data[5] == 'b' && run.data[8] == 'c');
    outbox_finish(&outbox);
}

static void what_stands_behind_ends_later(void **state)
{
    struct unconfirmed of = {0};
    struct written *written = written_create();

    (void)state;
    written_begin(written, number_make(1, 0, 1));
    unconfirmed_add(&of, written, number_make(1, 0, 2), 10);
    unconfirmed_add(&of, written, number_make(1, 0, 3), 20);
    unconfirmed_shift(&of, 10, 7);
    unconfirmed_add(&of, written, number_make(1, 0, 4), 17);
    written_end(written, 1, true);
    unconfirmed_take(&of, written, 17);
    assert_int_equal(number_compare(of.seen, number_make(1, 0, 2)), 0);
    unconfirmed_take(&of, written, 26);
    assert_int_equal(number_compare(of.seen, number_make(1, 0, 2)), 0);
    unconfirmed_take(&of, written, 27);
    assert_int_equal(number_compare(of.seen, number_make(1, 0, 4)), 0);
    written_destroy(&written);
}

static void only_so_many_go_ahead(void **state)
{
    struct unconfirmed of = {0};
    struct written *written = written_create();

    (void)state;
    for (uint64_t i = 0; i < 64; i++)
        assert_true(unconfirmed_go_ahead(&of, number_make(1, 0, 10 + i)));
    assert_false(unconfirmed_go_ahead(&of, number_make(1, 0, 10)));
    assert_false(unconfirmed_go_ahead(&of, number_make(1, 0, 100)));
    written_begin(written, number_make(1, 0, 1));
    unconfirmed_add(&of, written, number_make(1, 0, 20), 1);
    assert_false(unconfirmed_went_ahead(&of, number_make(1, 0, 20)));
    assert_true(unconfirmed_went_ahead(&of, number_make(1, 0, 21)));
    assert_true(unconfirmed_go_ahead(&of, number_make(1, 0, 100)));
    assert_false(unconfirmed_go_ahead(&of, number_make(1, 0, 15)));
    unconfirmed_clear(&of, written);
    written_destroy(&written);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_goes_before_those_that_wait),
        TEST(one_that_waited_for_its_user_goes_first_too),
        TEST(those_who_confirm_themselves_get_all_in_turn),
        TEST(what_is_not_kept_comes_in_turn),
        TEST(a_copy_is_no_confirmation),
        TEST(whatever_happens_each_comes_once),
        cmocka_unit_test(urgent_frames_go_before_others_in_their_own_order),
        cmocka_unit_test(what_stands_behind_ends_later),
        cmocka_unit_test(only_so_many_go_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
