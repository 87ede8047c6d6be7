/*
 * Messages that are kept until they are read: for users who came with CONNECTION_FLAG_KEEP. What
 * was confirmed stays in the mailbox below a watermark; a connection that keeps gets it again, page
 * by page, and then what is new.
 */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

#define KEEP CONNECTION_FLAG_KEEP
#define DAY_MS (24ULL * 3600 * 1000)

static void come(int g, uint64_t connection, uint64_t flags, const char *slot)
{
    SAY(g, USER_CONNECT, user_connect, .connection = connection, .user = T("bob"), .protocol = 3,
        .flags = flags, .slot = T(slot));
    turn();
}

static void leave(int g, uint64_t connection)
{
    closed(g, connection, (struct number){0});
    turn();
}

static void read_message(const char *id, const char *from)
{
    SAY(G1, MESSAGE_READ, message_read, .connection = 1, .user = T("bob"), .id = T(id),
        .from = T(from));
    turn();
}

static void send_one(const char *id)
{
    direct(G3, "alice", "bob", id);
    turn();
}

/* The gateways live on. */
static void pass_days(int days)
{
    for (int day = 0; day < days; day++) {
        pass(DAY_MS);
        for (int g = 0; g < 3; g++)
            say(g, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
        turn();
    }
}

static void take(void)
{
    world_take(world);
    turn();
}

static void expect_index(size_t expected)
{
    size_t count;

    model_store_hash(world_store(world), "unread", T("bob"), &count);
    assert_int_equal(count, expected);
}

/* Everything that G2 hears is a delivery to its connection 2: these ids. */
static void expect_ids(int g, const char *expected)
{
    struct buffer ids = {0};
    char *heard = hear(g), *at = heard;

    while ((at = strstr(at, " id=\"")) != NULL) {
        char *end = strchr(at + 5, '"');

        if (ids.length)
            buffer_append_byte(&ids, ' ');
        buffer_append(&ids, at + 5, (size_t)(end - at - 5));
        at = end;
    }
    buffer_append_byte(&ids, '\0');
    assert_string_equal(ids.data, expected);
    buffer_finish(&ids);
    free(heard);
}

/* ---- kept ---- */

static void what_was_written_stays_until_it_is_read(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    deaf(G1);
    written(G1);
    turn();
    expect_mailbox("bob", "m1");
    expect_index(1);
    assert_int_equal(sizes().pending, 0);
    read_message("m1", "");
    expect_mailbox("bob", "");
    expect_index(0);
    expect_field("user", T("bob"), "waiting", "0");
}

static void it_comes_again_to_those_who_keep(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    written(G1);
    turn();
    leave(G1, 1);
    send_one("m3");
    deaf_all();
    come(G2, 2, KEEP, "");
    expect_ids(G2, "m1 m2 m3");
    come(G1, 3, KEEP, "");
    expect_ids(G1, "m1 m2 m3");
}

static void others_get_only_what_is_new(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    written(G1);
    turn();
    leave(G1, 1);
    send_one("m2");
    deaf_all();
    come(G2, 2, 0, "");
    expect_ids(G2, "m2");
    written(G2);
    turn();
    leave(G2, 2);
    come(G2, 3, 0, "");
    expect_ids(G2, "");
    expect_mailbox("bob", "m1 m2");
}

static void a_live_message_goes_to_all_of_them(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "a");
    come(G2, 2, KEEP, "b");
    come(G3, 3, 0, "");
    deaf_all();
    send_one("m1");
    expect_ids(G1, "m1");
    expect_ids(G2, "m1");
    expect(G3, "MESSAGE_DELIVERY connections=[3] * id=\"m1\" *", "DIRECT_REPLY * status=0 *", NULL);
    written(G3);
    turn();
    assert_int_equal(sizes().pending, 0);
    expect_mailbox("bob", "m1");
}

static void who_had_messages_on_their_way_has_them_kept(void **state)
{
    (void)state;
    come(G3, 3, 0, "");
    send_one("m1");
    come(G1, 1, KEEP, "");
    written(G3);
    turn();
    expect_mailbox("bob", "m1");
    expect_index(1);
}

static void what_waited_for_him_is_kept_from_then_on(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        send_one((const char *[]){"a", "b", "c", "d", "e", "f"}[i]);
    deaf_all();
    come(G1, 1, KEEP, "");
    expect_ids(G1, "a b c d");
    for (int i = 0; i < 3; i++) {
        written(G1);
        turn();
    }
    expect_index(6);
    leave(G1, 1);
    deaf_all();
    come(G2, 2, KEEP, "");
    expect_ids(G2, "a b c d e f");
}

/* ---- reading ---- */

static void reading_narrows_by_sender(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    direct(G3, "alice", "bob", "1");
    direct(G3, "carol", "bob", "1");
    direct(G3, "dave", "bob", "1");
    turn();
    written(G1);
    turn();
    read_message("1", "carol");
    expect_mailbox("bob", "1 1");
    read_message("2", "");
    read_message("1", "nobody");
    expect_mailbox("bob", "1 1");
    read_message("1", "");
    expect_mailbox("bob", "");
    expect_index(0);
}

static void what_is_read_before_it_is_confirmed_is_gone(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    send_one("m3");
    read_message("m2", "");
    read_message("m1", "");
    assert_int_equal(sizes().pending, 1);
    written(G1);
    turn();
    expect_mailbox("bob", "m3");
    expect_field("user", T("bob"), "waiting", "0");
}

static void what_waits_is_read_as_well(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    for (int i = 0; i < 6; i++)
        send_one((const char *[]){"a", "b", "c", "d", "e", "f"}[i]);
    deaf_all();
    read_message("e", "");
    written(G1);
    turn();
    expect_ids(G1, "f");
    expect_mailbox("bob", "a b c d f");
}

/* ---- the output stream is its mailbox until it is confirmed ---- */

/* Nothing comes, and nothing is thought to be on its way, after a take. */
static void expect_nothing_left(void)
{
    expect_mailbox("bob", "");
    expect_index(0);
    take();
    assert_int_equal(sizes().pending, 0);
    leave(G1, 1);
    expect_mailbox("bob", "");
}

static void what_is_read_as_it_comes_is_never_stored(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    expect_mailbox("bob", "");
    read_message("m1", "");
    read_message("m2", "");
    assert_int_equal(engine_counters(world_engine(world))->stored, 0);
    expect_nothing_left();
}

/* The watermark cannot say that m2 is read while m1 is not. */
static void what_is_read_out_of_turn_has_the_others_stored(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    send_one("m3");
    read_message("m2", "");
    expect_mailbox("bob", "m1 m3");
    deaf_all();
    take();
    expect_ids(G1, "m1 m3");
    read_message("m3", "");
    read_message("m1", "");
    expect_nothing_left();
}

/* The newest of all that were read was not the last to be read, and another owner sent it. */
static void the_watermark_is_above_all_that_was_read(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    read_message("m2", "");
    take();
    SAY(G1, MESSAGE_READ, message_read, .connection = 1, .user = T("bob"), .id = T("m1"));
    direct(G1, "alice", "bob", "m3");
    turn();
    take();
    assert_int_equal(sizes().pending, 1);
    read_message("m3", "");
    expect_nothing_left();
}

static void what_is_unread_is_on_its_way_after_a_take(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    send_one("m3");
    read_message("m1", "");
    take();
    assert_int_equal(sizes().pending, 2);
    send_one("m2"); /* again: it is there already */
    read_message("m2", "");
    leave(G1, 1);
    expect_mailbox("bob", "m3");
    expect_index(1);
}

/* Its copy must be there when the stream it was in is trimmed. */
static void who_acknowledges_later_has_it_stored(void **state)
{
    (void)state;
    come(G3, 3, 0, "");
    come(G1, 1, KEEP, "");
    send_one("m1");
    come(G2, 2, KEEP | CONNECTION_FLAG_ACK, "b");
    expect_mailbox("bob", "m1");
}

/* The page of the mailbox was empty; what came meanwhile is in the next one. */
static void a_replay_waits_for_what_is_stored_behind_its_page(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "a");
    send_one("m1");
    written(G1);
    turn();
    deaf_all();
    world_hold_pages(world, true);
    SAY(G1, USER_CONNECT, user_connect, .connection = 2, .user = T("bob"), .protocol = 3,
        .flags = KEEP, .slot = T("b"));
    SAY(G1, MESSAGE_READ, message_read, .connection = 1, .user = T("bob"), .id = T("m1"));
    turn();
    send_one("m2");
    written(G1);
    turn();
    deaf_all();
    world_hold_pages(world, false);
    turn();
    turn();
    expect(G1, "MESSAGE_DELIVERY connections=[2] * id=\"m2\" *", NULL);
}

/* He goes before he has it, and nothing else changes: the watermark is above it all the same. */
static void what_is_dropped_with_its_connection_is_below_the_watermark(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    come(G1, 1, KEEP, "");
    leave(G1, 1);
    come(G3, 3, CONNECTION_FLAG_HIDDEN, "");
    message.policy = DELIVERY_DISCARD;
    say_direct(G3, message);
    turn();
    leave(G3, 3);
    expect_mailbox("bob", "");
    expect_nothing_left();
}

/* Nobody who keeps is there any more; the stream still holds what he read. */
static void a_mark_that_ends_brings_nothing_back(void **state)
{
    (void)state;
    come(G3, 3, 0, "");
    come(G1, 1, KEEP, "");
    send_one("m1");
    written(G1);
    read_message("m1", "");
    leave(G1, 1);
    pass_days(31);
    send_one("m2");
    expect_field("user", T("bob"), "keep", "");
    take();
    assert_int_equal(sizes().pending, 1);
}

static void his_last_readings_are_not_forgotten_with_the_mark(void **state)
{
    (void)state;
    come(G3, 3, 0, "");
    come(G1, 1, KEEP, "");
    leave(G1, 1);
    pass_days(29);
    send_one("m1");
    send_one("m2");
    pass_days(2);
    for (int i = 2; i > 0; i--)
        SAY(G1, MESSAGE_READ, message_read, .connection = 1, .user = T("bob"),
            .id = T(i == 2 ? "m2" : "m1"));
    direct(G1, "alice", "bob", "m3");
    turn();
    expect_field("user", T("bob"), "keep", "");
    take();
    assert_int_equal(sizes().pending, 1);
}

/* The page was read before the word came that its message is read. */
static void what_is_read_while_its_page_comes_is_not_delivered(void **state)
{
    (void)state;
    come(G1, 2, KEEP, "");
    send_one("m1");
    send_one("m2");
    leave(G1, 2);
    deaf_all();
    world_hold_pages(world, true);
    come(G1, 1, KEEP, "");
    read_message("m1", "");
    world_hold_pages(world, false);
    turn();
    expect_ids(G1, "m2");
    expect_mailbox("bob", "m2");
}

static void nobody_reads_what_is_not_kept(void **state)
{
    (void)state;
    come(G1, 1, 0, "");
    send_one("m1");
    read_message("m1", "");
    assert_int_equal(sizes().pending, 1);
}

/* ---- retries ---- */

static void while_it_is_unread_it_is_kept_once(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    written(G1);
    turn();
    pass(10 * 60 * 1000);
    deaf_all();
    send_one("m1");
    expect(G1, NULL);
    expect(G3, "DIRECT_REPLY * id=\"m1\" * status=0 *", NULL);
    expect_mailbox("bob", "m1");
    direct(G3, "carol", "bob", "m1");
    turn();
    written(G1);
    turn();
    expect_mailbox("bob", "m1 m1");
    read_message("m1", "");
    send_one("m1");
    written(G1);
    turn();
    expect_mailbox("bob", "m1");
}

/* What was swallowed has not taken the place of what was delivered. */
static void a_retry_is_known_after_another_content_was_swallowed(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    message.retry = 1;
    come(G1, 1, KEEP, "");
    say_direct(G3, message);
    turn();
    message.body = T("another");
    say_direct(G3, message);
    turn();
    read_message("m1", "");
    message.body = direct_to("alice", "bob", "m1").body;
    say_direct(G3, message);
    turn();
    expect_mailbox("bob", "");
}

static void ids_of_other_protocols_are_other_ids(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    message.protocol = 5;
    say_direct(G3, message);
    say_direct(G3, message);
    turn();
    written(G1);
    turn();
    expect_mailbox("bob", "m1 m1 m1");
}

static void kept_once_while_he_is_away(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    leave(G1, 1);
    take();
    deaf_all();
    send_one("m1");
    take();
    send_one("m1");
    expect(G3, "DIRECT_REPLY * status=2 *", "DIRECT_REPLY * status=2 *", NULL);
    expect_mailbox("bob", "m1");
}

/* ---- the replay ---- */

static char *numbered(int i)
{
    static char text[16];

    snprintf(text, sizeof(text), "n%d", i);
    return text;
}

/* So many messages that were delivered and not read. */
static void have_read_nothing_of(int count)
{
    struct engine_limits wide = usual_limits;

    wide.window_messages = 10000;
    wide.mailbox_messages = 10000;
    wide.mailbox_bytes = wide.window_bytes = 1 << 30;
    again(&wide);
    come(G1, 1, KEEP, "");
    for (int i = 0; i < count; i++)
        direct(G3, "alice", "bob", numbered(i));
    turn();
    written(G1);
    turn();
    leave(G1, 1);
    deaf_all();
}

static size_t heard_count(int g, const char *first, const char *last)
{
    char *heard = hear(g), text[32];
    size_t count = 0;

    for (const char *at = heard; (at = strstr(at, "MESSAGE_DELIVERY")) != NULL; at++)
        count++;
    snprintf(text, sizeof(text), " id=\"%s\" ", first);
    if (count)
        assert_true(strstr(heard, text) && strstr(heard, text) < strchr(heard, '\n'));
    snprintf(text, sizeof(text), " id=\"%s\" ", last);
    if (count)
        assert_non_null(strstr(heard, text));
    free(heard);
    return count;
}

static void a_page_comes_when_the_one_before_is_written(void **state)
{
    (void)state;
    have_read_nothing_of(600);
    come(G2, 2, KEEP, "");
    assert_int_equal(heard_count(G2, "n0", "n255"), 256);
    turn();
    expect(G2, NULL);
    written(G2);
    turn();
    assert_int_equal(heard_count(G2, "n256", "n511"), 256);
    written(G2);
    turn();
    assert_int_equal(heard_count(G2, "n512", "n599"), 88);
    direct(G3, "alice", "bob", "live");
    turn();
    expect_ids(G2, "live");
}

static void what_is_new_comes_behind_the_replay(void **state)
{
    (void)state;
    have_read_nothing_of(300);
    come(G2, 2, KEEP, "");
    deaf_all();
    send_one("live");
    expect(G3, "DIRECT_REPLY * status=1 *", NULL);
    expect(G2, NULL);
    written(G2);
    turn();
    assert_int_equal(heard_count(G2, "n256", "live"), 45);
}

/* His other connection goes on while one is behind; what it confirms the replay brings. */
static void a_replay_and_a_live_connection(void **state)
{
    (void)state;
    have_read_nothing_of(300);
    come(G2, 2, KEEP, "a");
    come(G1, 3, 0, "");
    deaf_all();
    send_one("live");
    expect_ids(G1, "live");
    expect(G2, NULL);
    written(G1);
    turn();
    written(G2);
    turn();
    assert_int_equal(heard_count(G2, "n256", "live"), 45);
    assert_int_equal(sizes().pending, 0);
}

static void a_take_in_the_middle_goes_on(void **state)
{
    char *line;

    (void)state;
    have_read_nothing_of(600);
    come(G2, 2, KEEP, "");
    assert_int_equal(heard_count(G2, "n0", "n255"), 256);
    take();
    assert_int_equal(heard_count(G2, "n256", "n511"), 256);
    take();
    assert_int_equal(heard_count(G2, "n512", "n599"), 88);
    line = hear(G2);
    assert_string_equal(line, "");
    free(line);
    send_one("live");
    expect_ids(G2, "live");
}

static void who_leaves_in_the_middle_begins_anew(void **state)
{
    (void)state;
    have_read_nothing_of(600);
    come(G2, 2, KEEP, "");
    deaf_all();
    world_hold_pages(world, true);
    written(G2);
    turn();
    leave(G2, 2);
    world_hold_pages(world, false);
    come(G2, 3, KEEP, "");
    assert_int_equal(heard_count(G2, "n0", "n255"), 256);
}

static void what_is_read_meanwhile_is_left_out(void **state)
{
    (void)state;
    have_read_nothing_of(300);
    come(G2, 2, KEEP, "");
    deaf_all();
    world_hold_pages(world, true);
    written(G2);
    turn();
    read_message("n256", "");
    world_hold_pages(world, false);
    turn();
    assert_int_equal(heard_count(G2, "n257", "n299"), 43);
}

static void one_that_is_replaced_in_the_middle_is_gone(void **state)
{
    (void)state;
    have_read_nothing_of(300);
    come(G2, 2, KEEP | CONNECTION_FLAG_REPLACE, "phone");
    deaf_all();
    come(G1, 3, KEEP | CONNECTION_FLAG_REPLACE, "phone");
    expect(G2, "CONNECTION_REFUSED connection=2 close_code=4001", NULL);
    assert_int_equal(field_count("conns", G2), 0);
    assert_int_equal(heard_count(G1, "n0", "n255"), 256);
}

static void an_announced_one_goes_on_from_what_it_has(void **state)
{
    struct number seen;
    char *heard;

    (void)state;
    have_read_nothing_of(300);
    come(G2, 2, KEEP, "");
    seen = last_delivery(G2);
    deaf_all();
    announce(G2);
    SAY(G2, ANNOUNCED_CONNECTION, announced_connection, .connection = 2, .user = T("bob"),
        .protocol = 3, .flags = KEEP, .seen = seen);
    end_announcement(G2);
    heard = hear(G2);
    assert_null(strstr(heard, "id=\"n255\""));
    assert_non_null(strstr(heard, "id=\"n256\""));
    assert_non_null(strstr(heard, "id=\"n299\""));
    free(heard);
}

/* ---- the end of the mark ---- */

static void the_mark_lasts_for_a_while(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    written(G1);
    turn();
    leave(G1, 1);
    pass_days(29);
    send_one("m2");
    expect_mailbox("bob", "m1 m2");
    expect_index(2);
    pass(DAY_MS);
    send_one("m3");
    /* What was delivered goes with the mark; what waits is as with anybody. */
    expect_mailbox("bob", "m2 m3");
    expect_index(0);
    expect_field("user", T("bob"), "keep", "");
    deaf_all();
    come(G2, 2, 0, "");
    expect_ids(G2, "m2 m3");
    written(G2);
    turn();
    expect_mailbox("bob", "");
}

static void what_is_too_old_goes(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    send_one("m1");
    written(G1);
    turn();
    pass(29 * DAY_MS);
    say(G1, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    send_one("m2");
    pass(2 * DAY_MS);
    send_one("m3");
    written(G1);
    turn();
    expect_mailbox("bob", "m2 m3");
    expect_index(2);
}

static void what_is_unread_counts_against_the_limit(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 2;
    again(&few);
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    written(G1);
    turn();
    deaf_all();
    send_one("m3");
    expect(G3, "DIRECT_REPLY * status=3 *", NULL);
    read_message("m1", "");
    send_one("m3");
    written(G1);
    turn();
    expect_mailbox("bob", "m2 m3");
}

/* It is not in the mailbox yet, but will be. */
static void what_is_on_its_way_counts_against_the_limit(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 2;
    again(&few);
    come(G1, 1, KEEP, "");
    send_one("m1");
    send_one("m2");
    deaf_all();
    send_one("m3");
    expect(G3, "DIRECT_REPLY * status=3 *", NULL);
    leave(G1, 1);
    expect_mailbox("bob", "m1 m2");
}

/* An acknowledging client may do so out of turn: the watermark waits for the first. */
static void acknowledged_out_of_turn(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    leave(G1, 1);
    come(G2, 2, CONNECTION_FLAG_ACK, "");
    send_one("m1");
    send_one("m2");
    ack(G2, 2, "bob", "m2");
    turn();
    expect_field("user", T("bob"), "waiting", "2");
    ack(G2, 2, "bob", "m1");
    turn();
    expect_field("user", T("bob"), "waiting", "0");
    expect_mailbox("bob", "m1 m2");
}

/* One that keeps came between: it has not had what another acknowledged before its turn. */
static void what_another_acknowledged_comes_all_the_same(void **state)
{
    (void)state;
    come(G1, 1, KEEP, "");
    leave(G1, 1);
    come(G2, 2, CONNECTION_FLAG_ACK, "");
    for (int i = 0; i < 5; i++)
        send_one((const char *[]){"a", "b", "c", "d", "e"}[i]);
    ack(G2, 2, "bob", "e");
    turn();
    deaf_all();
    come(G1, 3, KEEP, "");
    ack(G2, 2, "bob", "a");
    turn();
    expect_ids(G1, "a b c d e");
}

static void a_guest_keeps_nothing(void **state)
{
    (void)state;
    SAY(G1, USER_CONNECT, user_connect, .connection = 1, .user = T("guest:1"), .protocol = 3,
        .flags = KEEP);
    turn();
    direct(G3, "alice", "guest:1", "m1");
    turn();
    expect_mailbox("guest:1", "");
    written(G1);
    turn();
    assert_int_equal(sizes().pending, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_stays_until_it_is_read),
        TEST(it_comes_again_to_those_who_keep),
        TEST(others_get_only_what_is_new),
        TEST(a_live_message_goes_to_all_of_them),
        TEST(who_had_messages_on_their_way_has_them_kept),
        TEST(what_waited_for_him_is_kept_from_then_on),
        TEST(reading_narrows_by_sender),
        TEST(what_is_read_before_it_is_confirmed_is_gone),
        TEST(what_waits_is_read_as_well),
        TEST(what_is_read_as_it_comes_is_never_stored),
        TEST(what_is_read_out_of_turn_has_the_others_stored),
        TEST(the_watermark_is_above_all_that_was_read),
        TEST(what_is_unread_is_on_its_way_after_a_take),
        TEST(who_acknowledges_later_has_it_stored),
        TEST(a_replay_waits_for_what_is_stored_behind_its_page),
        TEST(what_is_dropped_with_its_connection_is_below_the_watermark),
        TEST(a_mark_that_ends_brings_nothing_back),
        TEST(his_last_readings_are_not_forgotten_with_the_mark),
        TEST(what_is_read_while_its_page_comes_is_not_delivered),
        TEST(nobody_reads_what_is_not_kept),
        TEST(while_it_is_unread_it_is_kept_once),
        TEST(a_retry_is_known_after_another_content_was_swallowed),
        TEST(ids_of_other_protocols_are_other_ids),
        TEST(kept_once_while_he_is_away),
        TEST(a_page_comes_when_the_one_before_is_written),
        TEST(what_is_new_comes_behind_the_replay),
        TEST(a_replay_and_a_live_connection),
        TEST(a_take_in_the_middle_goes_on),
        TEST(who_leaves_in_the_middle_begins_anew),
        TEST(what_is_read_meanwhile_is_left_out),
        TEST(one_that_is_replaced_in_the_middle_is_gone),
        TEST(an_announced_one_goes_on_from_what_it_has),
        TEST(the_mark_lasts_for_a_while),
        TEST(what_is_too_old_goes),
        TEST(what_is_unread_counts_against_the_limit),
        TEST(what_is_on_its_way_counts_against_the_limit),
        TEST(acknowledged_out_of_turn),
        TEST(what_another_acknowledged_comes_all_the_same),
        TEST(a_guest_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
