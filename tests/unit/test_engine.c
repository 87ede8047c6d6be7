#include "common/xalloc.h"
#include "tests/unit/voices.h"

#include <errno.h>

/* ---- every frame has a handler ---- */

/* What a router says to itself only. */
static bool travels(enum frame_type type)
{
    return type != FRAME_TICK && type != FRAME_RECENT_ANSWER;
}

static void every_frame_to_routers_is_handled(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        enum frame_party from, to;

        assert_true(frame_parties(types[i], &from, &to));
        if (to == FRAME_PARTY_ROUTER && travels(types[i]))
            assert_true(engine_handles(types[i]));
        else
            assert_false(engine_handles(types[i]));
    }
}

/* ---- connections ---- */

static void a_connection_is_known_until_it_is_closed(void **state)
{
    (void)state;
    connect_user(G1, 7, "bob");
    turn();
    expect_field("conns", gateway_id(G1), "7", "3 0 0 bob");
    expect_field("user", T("bob"), "status", "online");
    assert_int_equal(sizes().connections, 1);
    connect_user(G1, 7, "bob");
    turn();
    assert_int_equal(sizes().connections, 1);
    closed(G1, 7, (struct number){0});
    closed(G1, 7, (struct number){0});
    closed(G1, 99, (struct number){0});
    turn();
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(field_count("conns", G1), 0);
}

static void connections_of_a_user_are_limited(void **state)
{
    (void)state;
    for (uint64_t c = 1; c <= limits.user_connections; c++)
        connect_user(G1, c, "bob");
    turn();
    deaf_all();
    connect_user(G2, 50, "bob");
    connect_user(G2, 51, "carol");
    turn();
    expect(G2, "CONNECTION_REFUSED connection=50 close_code=1008", NULL);
    assert_int_equal(field_count("conns", G2), 1);
    closed(G1, 1, (struct number){0});
    turn();
    connect_user(G2, 52, "bob");
    turn();
    expect(G2, NULL);
    assert_int_equal(field_count("conns", G2), 2);
}

/* ---- direct messages ---- */

static void a_direct_message_reaches_every_connection(void **state)
{
    (void)state;
    connect_user(G1, 5, "bob");
    connect_user(G2, 6, "bob");
    connect_user(G2, 7, "bob");
    turn();
    deaf_all();
    direct(G3, "alice", "bob", "m1");
    turn();
    expect(G3,
           "DIRECT_REPLY connection=1 request=1 id=\"m1\" to=\"bob\" status=0 "
           "delivered=[162,7,162,6,161,5]",
           NULL);
    expect(
        G1,
        "MESSAGE_DELIVERY connections=[5] number=* from=\"alice\" to=\"bob\" chat=\"\" id=\"m1\" "
        "message=0 "
        "sent_at_ms=1700000000000 expires_ms=0 policy=0 priority=0 protocol=3 content=0 "
        "body=(5 bytes) metadata=(2 bytes)",
        NULL);
    expect(G2, "MESSAGE_DELIVERY connections=[7,6] *", NULL);
    assert_int_equal(sizes().pending, 1);
    expect_mailbox("bob", "");
}

static void an_offline_user_finds_messages_in_the_mailbox(void **state)
{
    (void)state;
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "DIRECT_REPLY * id=\"m1\" to=\"bob\" status=2 delivered=[]",
           "DIRECT_REPLY * id=\"m2\" to=\"bob\" status=2 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2");
    connect_user(G2, 9, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[9] * id=\"m1\" *",
           "MESSAGE_DELIVERY connections=[9] * id=\"m2\" *", NULL);
    expect_mailbox("bob", "m1 m2");
    written(G2);
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
    assert_int_equal(output_count(G2), 1);
}

static void policies_that_keep_nothing_keep_nothing(void **state)
{
    static const enum delivery_policy policies[] = {DELIVERY_DISCARD, DELIVERY_DISCARD_AND_TELL};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct frame_direct_message message = direct_to("alice", "bob", "m1");

        message.policy = policies[i];
        say_direct(G1, message);
        turn();
        expect(G1, "DIRECT_REPLY * status=4 delivered=[]", NULL);
    }
    expect_mailbox("bob", "");
}

static void a_full_mailbox_refuses(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 2;
    again(&few);
    for (int i = 0; i < 3; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3"}[i]);
    turn();
    expect(G1, "DIRECT_REPLY * id=\"m1\" * status=2 *", "DIRECT_REPLY * id=\"m2\" * status=2 *",
           "DIRECT_REPLY * id=\"m3\" * status=3 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2");
    few = usual_limits;
    few.mailbox_bytes = 1;
    again(&few);
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "DIRECT_REPLY * status=2 *", "DIRECT_REPLY * status=3 *", NULL);
    expect_mailbox("bob", "m1");
}

static void a_full_mailbox_refuses_those_who_are_behind(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 3;
    few.window_messages = 2;
    again(&few);
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 4; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4"}[i]);
    turn();
    expect(G1, "DIRECT_REPLY * status=0 *", "DIRECT_REPLY * status=0 *",
           "DIRECT_REPLY * status=1 delivered=[]", "DIRECT_REPLY * status=3 delivered=[]", NULL);
    expect_mailbox("bob", "m1 m2 m3");
}

/* ---- the window and the mailbox ---- */

static void beyond_the_window_messages_wait_in_the_mailbox(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    expect_mailbox("bob", "m1 m2 m3 m4 m5 m6");
    expect(G1, "* status=0 *", "* status=0 *", "* status=0 *", "* status=0 *",
           "* status=1 delivered=[]", "* status=1 delivered=[]", NULL);
    written(G2);
    direct(G1, "alice", "bob", "m7");
    turn();
    expect(G2, "* id=\"m5\" *", "* id=\"m6\" *", "* id=\"m7\" *", NULL);
    expect_mailbox("bob", "m5 m6 m7");
    written(G2);
    turn();
    expect_mailbox("bob", "");
    direct(G1, "alice", "bob", "m8");
    turn();
    expect(G2, "* id=\"m8\" *", NULL);
    expect_mailbox("bob", "");
}

static void one_big_message_is_admitted_to_an_empty_window(void **state)
{
    struct engine_limits small = usual_limits;

    (void)state;
    small.window_bytes = 1;
    small.output_bytes = 1;
    again(&small);
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G2, "* id=\"m1\" *", NULL);
    written(G2);
    turn();
    expect(G2, "* id=\"m2\" *", NULL);
    written(G2);
    turn();
    expect_mailbox("bob", "");
}

static void fill_mailbox(const char *user, int count)
{
    char id[16];

    for (int i = 1; i <= count; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        direct(G1, "alice", user, id);
        if (i % 50 == 0)
            turn();
    }
    turn();
    deaf_all();
}

/* Reads and confirms until nothing more comes; returns how many came, in order from m<first> on. */
static int drain(int g, int first)
{
    int next = first;
    bool more = true;

    while (more) {
        char *heard = hear(g), *line = heard, wanted[24];

        more = false;
        for (; (line = strstr(line, " id=\"m")) != NULL; line++) {
            snprintf(wanted, sizeof(wanted), " id=\"m%d\"", next++);
            assert_memory_equal(line, wanted, strlen(wanted));
            more = true;
        }
        free(heard);
        written(g);
        turn();
    }
    return next - first;
}

static void a_long_mailbox_comes_in_pages(void **state)
{
    struct engine_limits wide = usual_limits;

    (void)state;
    wide.window_messages = 100;
    for (int count = ENGINE_PAGE_ENTRIES - 1; count <= 2 * ENGINE_PAGE_ENTRIES + 1;
         count += ENGINE_PAGE_ENTRIES / 2) {
        again(&wide);
        fill_mailbox("bob", count);
        connect_user(G2, 1, "bob");
        turn();
        assert_int_equal(drain(G2, 1), count);
        expect_mailbox("bob", "");
    }
}

static void what_comes_while_a_page_is_on_its_way_follows_it(void **state)
{
    (void)state;
    fill_mailbox("bob", 2);
    connect_user(G2, 1, "bob");
    world_hold_pages(world, true);
    turn();
    direct(G1, "alice", "bob", "m3");
    turn();
    expect(G1, "* status=1 *", NULL);
    world_hold_pages(world, false);
    turn();
    assert_int_equal(drain(G2, 1), 3);
    expect_mailbox("bob", "");
}

static void a_page_of_a_connection_that_went_is_not_mixed_up(void **state)
{
    (void)state;
    fill_mailbox("bob", 6);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    world_take(world);
    world_hold_pages(world, true);
    turn();
    closed(G2, 1, (struct number){0});
    connect_user(G2, 2, "bob");
    turn();
    deaf(G2);
    world_hold_pages(world, false);
    turn();
    assert_int_equal(drain(G2, 1), 6);
    expect_mailbox("bob", "");
}

static void a_message_that_comes_to_another_user_is_not_his_page(void **state)
{
    (void)state;
    fill_mailbox("bob", 1);
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "carol");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[1] *", NULL);
}

static void expired_messages_are_not_delivered(void **state)
{
    struct frame_direct_message brief = direct_to("alice", "bob", "m1");

    (void)state;
    brief.ttl_ms = 1000;
    say_direct(G1, brief);
    direct(G1, "alice", "bob", "m2");
    turn();
    deaf_all();
    pass(1000);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY * id=\"m2\" *", NULL);
    expect_mailbox("bob", "m2");
    assert_int_equal(engine_counters(world_engine(world))->expired, 1);
}

static void a_ttl_that_has_not_passed_is_passed_on(void **state)
{
    struct frame_direct_message brief = direct_to("alice", "bob", "m1");

    (void)state;
    brief.ttl_ms = 1000;
    say_direct(G1, brief);
    turn();
    pass(999);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY * sent_at_ms=1700000000000 expires_ms=1700000001000 *", NULL);
}

static void messages_older_than_the_mailbox_keeps_are_not_delivered(void **state)
{
    (void)state;
    fill_mailbox("bob", 2);
    pass(limits.mailbox_ms + 1);
    for (int g = 0; g < 3; g++)
        SAY(g, GATEWAY_HEARTBEAT, gateway_heartbeat);
    connect_user(G2, 1, "bob");
    turn();
    expect(G2, NULL);
    expect_mailbox("bob", "");
}

/* ---- confirming ---- */

static void written_confirms_and_trims(void **state)
{
    struct number first;

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    first = model_store_last_id(world_store(world), "out", gateway_id(G2));
    direct(G1, "alice", "bob", "m2");
    turn();
    assert_int_equal(sizes().pending, 2);
    SAY(G2, OUTPUT_WRITTEN, output_written, .number = first);
    turn();
    assert_int_equal(sizes().pending, 1);
    SAY(G2, OUTPUT_WRITTEN, output_written, .number = first);
    turn();
    assert_int_equal(sizes().pending, 1);
    written(G2);
    turn();
    assert_int_equal(sizes().pending, 0);
    assert_int_equal(output_count(G2), 1);
}

static void closed_confirms_what_was_seen_and_stores_the_rest(void **state)
{
    struct number first;

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    first = last_delivery(G2);
    direct(G1, "alice", "bob", "m2");
    direct(G1, "alice", "bob", "m3");
    turn();
    closed(G2, 1, first);
    turn();
    assert_int_equal(sizes().pending, 0);
    expect_mailbox("bob", "m2 m3");
}

static void discarded_on_close_unless_to_be_stored(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "m1");

    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    message.policy = DELIVERY_DISCARD;
    say_direct(G1, message);
    direct(G1, "alice", "bob", "m2");
    turn();
    closed(G2, 1, (struct number){0});
    turn();
    expect_mailbox("bob", "m2");
}

static void one_of_two_connections_confirms_for_both(void **state)
{
    char number[NUMBER_TEXT_SIZE];

    (void)state;
    connect_user(G1, 1, "bob");
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    number_format(last_delivery(G2), number);
    written(G1);
    turn();
    assert_int_equal(sizes().pending, 0);
    expect_field("seen", NOBODY, "bob", number);
    /* After a take, G2's stream still has it; it is confirmed. */
    world_take(world);
    assert_int_equal(sizes().pending, 0);
    turn();
    expect_field("seen", NOBODY, "bob", number);
    /* When no stream has it any more, nothing is remembered. */
    written(G1);
    written(G2);
    written(G3);
    turn();
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    expect_field("seen", NOBODY, "bob", "");
}

static void a_second_connection_gets_what_is_pending_first(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    direct(G3, "alice", "bob", "m2");
    turn();
    connect_user(G2, 2, "bob");
    direct(G3, "alice", "bob", "m3");
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", "* connections=[2] * id=\"m2\" *",
           "* connections=[2] * id=\"m3\" *", NULL);
    closed(G1, 1, (struct number){0});
    turn();
    assert_int_equal(sizes().pending, 3);
    expect_mailbox("bob", "");
    written(G2);
    turn();
    assert_int_equal(sizes().pending, 0);
}

/* Its gateway would take the entry for written, and the message for confirmed. */
static void nothing_more_goes_to_a_connection_that_is_closed(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    connect_user(G2, 2, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G3, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    deaf_all();
    closed(G1, 1, last_delivery(G1));
    turn();
    expect(G1, NULL);
    expect(G2, "* connections=[2] * id=\"m5\" *", "* connections=[2] * id=\"m6\" *", NULL);
    written(G1);
    turn();
    expect_mailbox("bob", "m5 m6");
}

static void what_is_pending_survives_a_take(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    deaf_all();
    world_take(world);
    turn();
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", "* id=\"m3\" *", "* id=\"m4\" *", NULL);
    assert_int_equal(sizes().pending, 4);
    written(G2);
    turn();
    expect(G2, "* id=\"m5\" *", "* id=\"m6\" *", NULL);
    written(G2);
    turn();
    expect_mailbox("bob", "");
}

/* ---- clients that acknowledge themselves ---- */

static void an_acknowledging_client_decides_alone(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    expect(G1, "* status=0 delivered=[162,1]", "* status=0 delivered=[162,1]", NULL);
    expect(G2, "* id=\"m1\" *", "* id=\"m2\" *", NULL);
    expect_mailbox("bob", "m1 m2");
    written(G2);
    turn();
    expect_mailbox("bob", "m1 m2");
    assert_int_equal(output_count(G2), 1);
    ack(G2, 1, "bob", "m1");
    ack(G2, 1, "bob", "unknown");
    ack(G2, 1, "nobody", "m1");
    turn();
    expect_mailbox("bob", "m2");
}

static void what_was_written_and_not_acknowledged_comes_again(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    written(G2);
    turn();
    closed(G2, 1, last_delivery(G2));
    turn();
    expect_mailbox("bob", "m1");
    deaf(G2);
    connect_flags(G2, 2, "bob", CONNECTION_FLAG_ACK);
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", NULL);
}

static void a_plain_connection_confirms_once_nobody_acknowledges(void **state)
{
    (void)state;
    connect_flags(G1, 1, "bob", CONNECTION_FLAG_ACK);
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    written(G2);
    turn();
    expect_mailbox("bob", "m1");
    closed(G1, 1, (struct number){0});
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* Written, and waiting for a word that never comes: no stream holds it any more, but a later one.
 */
static void what_waits_for_a_word_keeps_its_place_over_a_take(void **state)
{
    (void)state;
    connect_flags(G1, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    connect_user(G2, 2, "bob");
    turn();
    direct(G3, "alice", "bob", "m1");
    turn();
    written(G1);
    written(G2);
    turn();
    direct(G3, "alice", "bob", "m2");
    turn();
    world_take(world);
    world_hold_pages(world, true);
    turn();
    closed(G1, 1, (struct number){0});
    turn();
    world_take(world);
    world_hold_pages(world, false);
    turn();
    deaf_all();
    connect_user(G3, 3, "bob");
    turn();
    expect(G3, "* id=\"m1\" *", "* id=\"m2\" *", NULL);
}

static void pending_is_stored_when_an_acknowledging_client_comes(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G3, "alice", "bob", "m1");
    turn();
    expect_mailbox("bob", "");
    connect_flags(G2, 2, "bob", CONNECTION_FLAG_ACK);
    turn();
    expect(G2, "* connections=[2] * id=\"m1\" *", NULL);
    expect_mailbox("bob", "m1");
    ack(G2, 2, "bob", "m1");
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* The client has it from before; its word comes while the page that would bring it again is on its
 * way. */
static void an_ack_after_a_take_counts(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    direct(G1, "alice", "bob", "m1");
    direct(G1, "alice", "bob", "m2");
    turn();
    world_take(world);
    world_hold_pages(world, true);
    turn();
    ack(G2, 1, "bob", "m1");
    turn();
    world_hold_pages(world, false);
    turn();
    expect_mailbox("bob", "m2");
    ack(G2, 1, "bob", "m2");
    turn();
    expect_mailbox("bob", "");
    assert_int_equal(sizes().pending, 0);
}

/* It waits behind the window: acknowledged by another device, or sent before the take. */
static void an_ack_of_what_waits_counts(void **state)
{
    (void)state;
    connect_flags(G2, 1, "bob", CONNECTION_FLAG_ACK);
    turn();
    for (int i = 0; i < 6; i++)
        direct(G1, "alice", "bob", (const char *[]){"m1", "m2", "m3", "m4", "m5", "m6"}[i]);
    turn();
    ack(G2, 1, "bob", "m6");
    turn();
    expect_mailbox("bob", "m1 m2 m3 m4 m5");
}

/* ---- requests that are sent again ---- */

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

/* ---- topics ---- */

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

/* ---- presence ---- */

static void watch(int g, const char *user, uint64_t watching, uint64_t request)
{
    SAY(g, PRESENCE_WATCH, presence_watch, .user = T(user), .watching = watching,
        .request = request);
}

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

/* ---- numbers of entries ---- */

static void entries_are_applied_once_and_in_order(void **state)
{
    (void)state;
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m3");
    add_entry(G1, 3);
    world_settle(world);
    expect(G1, "DIRECT_REPLY * id=\"m1\" *", "ENTRIES_MISSING last=1", NULL);
    expect_mailbox("bob", "m1");
    expect_field("sources", NOBODY, voices[G1].id, "1");
    world_take(world);
    world_settle(world);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 1);
    direct(G1, "alice", "bob", "m2");
    add_entry(G1, 2);
    direct(G1, "alice", "bob", "m3");
    add_entry(G1, 3);
    world_settle(world);
    expect(G1, "* id=\"m2\" *", "* id=\"m3\" *", NULL);
    expect_mailbox("bob", "m1 m2 m3");
}

static void each_entry_is_answered_with_what_was_accepted(void **state)
{
    struct frame frame;
    size_t count;
    const struct engine_page_entry *entries;
    struct number before = model_store_last_id(world_store(world), "out", gateway_id(G1));

    (void)state;
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
    turn();
    entries = model_store_stream(world_store(world), "out", gateway_id(G1), &count);
    for (uint64_t accepted = 1; accepted <= 2; accepted++) {
        const struct engine_page_entry *entry = &entries[count - 3 + accepted];

        frame_reader_start(reader, model_entry_field(entry, "e"));
        assert_int_equal(frame_reader_next(reader, &frame), 1);
        assert_int_equal(frame.output_head.accepted, accepted);
        assert_int_equal(number_compare(frame.output_head.previous, before), 0);
        before = entry->number;
    }
}

static void the_first_commit_of_a_take_speaks_to_every_gateway(void **state)
{
    size_t before[3];

    (void)state;
    for (int g = 0; g < 3; g++)
        before[g] = output_count(g);
    world_take(world);
    world_settle(world);
    for (int g = 0; g < 3; g++)
        assert_int_equal(output_count(g), before[g] + 1);
}

/* ---- announcements ---- */

static void an_unknown_gateway_is_asked_who_it_is(void **state)
{
    (void)state;
    direct(G4, "alice", "bob", "m1");
    turn();
    direct(G4, "alice", "bob", "m2");
    turn();
    expect(G4, "WHO_ARE_YOU last=0", "WHO_ARE_YOU last=0", NULL);
    expect_mailbox("bob", "");
    pass(10000);
    assert_int_equal(output_count(G4), 0);
    voices[G4].number = 0;
    announce(G4);
    end_announcement(G4);
    direct(G4, "alice", "bob", "m1");
    turn();
    expect(G4, "GATEWAY_ANNOUNCED nonce=1", "DIRECT_REPLY *", NULL);
    pass(20000);
    assert_int_equal(output_count(G4), 2);
}

static void an_announcement_replaces_everything(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    connect_user(G2, 2, "carol");
    count_topic(G2, "t", 2);
    watch(G2, "dave", 1, 0);
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    deaf_all();
    announce(G2);
    listed(G2, 1, "bob", (struct number){0});
    listed(G2, 3, "erin", (struct number){0});
    count_topic(G2, "u", 1);
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=2", "MESSAGE_DELIVERY connections=[1] * id=\"m1\" *", NULL);
    expect_field("conns", gateway_id(G2), "1", "3 0 0 bob");
    expect_field("conns", gateway_id(G2), "2", "");
    expect_field("conns", gateway_id(G2), "3", "3 0 0 erin");
    expect_field("subs", gateway_id(G2), "=t", "");
    expect_field("subs", gateway_id(G2), "=u", "1");
    expect_field("subs", gateway_id(G2), "?dave", "");
    assert_int_equal(sizes().connections, 2);
    assert_int_equal(sizes().topics, 1);
    connect_user(G1, 9, "dave");
    turn();
    expect(G2, NULL);
}

static void an_announcement_confirms_what_was_seen(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    direct(G1, "alice", "bob", "m1");
    turn();
    announce(G2);
    listed(G2, 1, "bob", last_delivery(G2));
    end_announcement(G2);
    deaf(G2);
    assert_int_equal(output_count(G2), 1);
    assert_int_equal(sizes().pending, 0);
    expect_mailbox("bob", "");
}

static void an_announcement_comes_in_chunks(void **state)
{
    (void)state;
    connect_user(G2, 1, "bob");
    turn();
    deaf_all();
    voices[G2].nonce = 5;
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    listed(G2, 2, "carol", (struct number){0});
    add_entry(G2, 0);
    world_settle(world);
    assert_int_equal(sizes().connections, 1);
    expect(G2, NULL);
    /* The first one again, then the third, are not taken. */
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 2, 1);
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 1, 0);
    listed(G2, 3, "dave", (struct number){0});
    add_entry(G2, 0);
    announce_chunk(G2, 5, voices[G2].number, 2, 1);
    listed(G2, 4, "erin", (struct number){0});
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=5", NULL);
    assert_int_equal(field_count("conns", G2), 3);
    expect_field("conns", gateway_id(G2), "2", "3 0 0 carol");
    expect_field("conns", gateway_id(G2), "4", "3 0 0 erin");
}

/* A mailbox is lost to a user of whom nothing was fetched. */
static void users_of_the_first_chunk_are_kept_until_the_last(void **state)
{
    (void)state;
    fill_mailbox("bob", 1);
    announce_chunk(G2, 5, voices[G2].number, 0, 0);
    listed(G2, 1, "bob", (struct number){0});
    end_announcement(G2);
    engine_trim_users(world_engine(world), 0);
    announce_chunk(G2, 5, voices[G2].number, 1, 1);
    end_announcement(G2);
    expect(G2, "GATEWAY_ANNOUNCED nonce=5", "* id=\"m1\" *", NULL);
}

static void old_announcements_are_dropped(void **state)
{
    (void)state;
    voices[G2].nonce = 7;
    announce(G2);
    listed(G2, 1, "bob", (struct number){0});
    end_announcement(G2);
    deaf(G2);
    for (int take = 0; take < 2; take++) {
        announce_chunk(G2, 8, voices[G2].number, 0, 1);
        end_announcement(G2);
        announce_chunk(G2, 3, voices[G2].number, 0, 1);
        end_announcement(G2);
        expect(G2, NULL);
        assert_int_equal(sizes().connections, 1);
        world_take(world);
        world_settle(world);
        deaf(G2);
    }
}

static void an_announcement_moves_the_number_forward_only(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        SAY(G1, GATEWAY_HEARTBEAT, gateway_heartbeat);
        end_entry(G1);
    }
    turn();
    announce_chunk(G1, 2, 1, 0, 1);
    end_announcement(G1);
    expect_field("sources", NOBODY, voices[G1].id, "3");
    announce_chunk(G1, 3, 10, 0, 1);
    end_announcement(G1);
    expect_field("sources", NOBODY, voices[G1].id, "10");
    deaf(G1);
    direct(G1, "alice", "bob", "m1");
    add_entry(G1, 11);
    world_settle(world);
    expect(G1, "DIRECT_REPLY *", NULL);
}

/* ---- the end of gateways ---- */

static void beat(int g)
{
    SAY(g, GATEWAY_HEARTBEAT, gateway_heartbeat);
}

static void find_of_gateway(void *arg, const char *key)
{
    const char *colon = strrchr(key, ':');

    if (colon != NULL && strcmp(colon + 1, voices[G1].id) == 0)
        *(const char **)arg = key;
}

static void expect_no_keys_of_g1(void)
{
    const char *key = NULL;

    model_store_each_key(world_store(world), find_of_gateway, &key);
    if (key != NULL)
        fail_msg("left behind: %s", key);
    expect_field("gateways", NOBODY, voices[G1].id, "");
}

static void a_gateway_that_leaves_leaves_nothing(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G2, "alice", "bob", "m1");
    count_topic(G1, "t", 1);
    turn();
    deaf(G1);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    beat(G1); /* nobody is there any more to say it */
    turn();
    expect(G1, NULL);
    assert_int_equal(sizes().gateways, 2);
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(sizes().topics, 0);
    expect_mailbox("bob", "m1");
    pass(10000);
    expect_no_keys_of_g1();
    pass(10 * 60 * 1000);
    tick();
    expect_field("sources", NOBODY, voices[G1].id, "");
}

static void a_last_entry_that_is_sent_again_does_no_harm(void **state)
{
    (void)state;
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    world_settle(world);
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    add_entry(G1, 1);
    world_settle(world);
    deaf(G1);
}

static void a_silent_gateway_is_buried(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    direct(G2, "alice", "bob", "m1");
    turn();
    deaf_all();
    pass(limits.gateway_death_ms - 1);
    beat(G2);
    beat(G3);
    turn();
    assert_false(world_tick(world));
    pass(1);
    tick();
    expect_no_keys_of_g1();
    assert_int_equal(sizes().gateways, 2);
    expect_mailbox("bob", "m1");
    assert_int_equal(engine_counters(world_engine(world))->gateways_buried, 1);
}

static void half_of_them_silent_at_once_is_a_doubt(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    beat(G3);
    turn();
    tick();
    assert_int_equal(sizes().gateways, 3);
    beat(G1);
    turn();
    pass(limits.gateway_death_ms);
    beat(G3);
    beat(G1);
    turn();
    tick();
    assert_int_equal(sizes().gateways, 2);
    assert_int_equal(field_count("gateways", G2), 0);
}

static void a_doubt_is_no_reprieve_for_ever(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    tick();
    assert_int_equal(sizes().gateways, 3);
    pass(limits.gateway_death_ms);
    tick();
    assert_int_equal(sizes().gateways, 0);
}

static void a_new_owner_waits_again(void **state)
{
    (void)state;
    pass(limits.gateway_death_ms);
    world_take(world);
    world_settle(world);
    tick();
    assert_int_equal(sizes().gateways, 3);
    engine_forgive_silence(world_engine(world), model_store_time(world_store(world)) + 1);
    assert_false(world_tick(world));
}

static void one_that_was_buried_by_mistake_goes_on(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    beat(G1);
    turn();
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    tick();
    direct(G2, "alice", "bob", "m1");
    turn();
    voices[G1].read = (struct number){0};
    direct(G1, "bob", "carol", "m2");
    turn();
    expect(G1, "WHO_ARE_YOU last=1", NULL);
    voices[G1].number = 1;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    end_announcement(G1);
    direct(G1, "bob", "carol", "m2");
    turn();
    expect(G1, "GATEWAY_ANNOUNCED nonce=2", "* connections=[1] * id=\"m1\" *",
           "DIRECT_REPLY * id=\"m2\" *", NULL);
    expect_field("sources", NOBODY, voices[G1].id, "2");
}

static void fill_gateway(int g, uint64_t connections)
{
    char user[24];

    for (uint64_t c = 1; c <= connections; c++) {
        snprintf(user, sizeof(user), "user%d", (int)c);
        connect_user(g, c, user);
    }
    turn();
    deaf_all();
}

static void many_connections_are_buried_in_several_commits(void **state)
{
    (void)state;
    fill_gateway(G1, 1100);
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    for (int left = 1100; left > 0; left -= 500) {
        assert_int_equal(sizes().connections, left);
        assert_int_equal(sizes().gateways, 3);
        tick();
    }
    assert_int_equal(sizes().connections, 0);
    assert_int_equal(sizes().gateways, 2);
    expect_no_keys_of_g1();
}

/* Its clients are still there, and would be deaf for ever. */
static void one_that_speaks_while_it_is_buried_must_announce(void **state)
{
    (void)state;
    for (int take = 0; take < 2; take++) {
        again(&usual_limits);
        fill_gateway(G1, 600);
        pass(limits.gateway_death_ms);
        beat(G2);
        beat(G3);
        turn();
        tick();
        assert_int_equal(sizes().connections, 100);
        if (take) {
            world_take(world);
            world_settle(world);
        }
        deaf_all();
        direct(G1, "user1", "carol", "m1");
        turn();
        expect(G1, "WHO_ARE_YOU last=1", NULL);
        expect_mailbox("carol", "");
        voices[G1].number = 1;
        announce(G1);
        listed(G1, 1, "user1", (struct number){0});
        end_announcement(G1);
        expect(G1, "GATEWAY_ANNOUNCED nonce=2", NULL);
        assert_int_equal(sizes().connections, 1);
        direct(G1, "user1", "carol", "m1");
        turn();
        expect(G1, "DIRECT_REPLY *", NULL);
        world_take(world);
        world_settle(world);
        beat(G1);
        turn();
        expect(G1, NULL);
    }
}

static void buried_and_announced_in_one_commit(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    turn();
    pass(limits.gateway_death_ms);
    beat(G2);
    beat(G3);
    turn();
    assert_true(world_tick(world));
    direct(G1, "bob", "carol", "m1");
    add_entry(G1, 2);
    announce_chunk(G1, 2, 1, 0, 1);
    listed(G1, 1, "bob", (struct number){0});
    add_entry(G1, 0);
    direct(G1, "bob", "carol", "m1");
    add_entry(G1, 2);
    voices[G1].read = (struct number){0};
    world_settle(world);
    expect(G1, "GATEWAY_ANNOUNCED nonce=2", "DIRECT_REPLY *", NULL);
    expect_mailbox("carol", "m1");
    assert_int_equal(sizes().connections, 1);
}

/* ---- what is no frame ---- */

static void the_good_part_of_a_bad_entry_counts(void **state)
{
    static const struct slice bad[] = {
        {"\xc1", 1}, {"\x91\xcd\xff\xff", 4}, {"\x91\x66\x00", 3}, {"nonsense", 8}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        again(&usual_limits);
        direct(G1, "alice", "bob", "m1");
        buffer_append_slice(&voices[G1].frames, bad[i]);
        direct(G1, "alice", "bob", "m2");
        turn();
        expect_mailbox("bob", "m1");
        assert_int_equal(world_malformed(world), 1);
        direct(G1, "alice", "bob", "m3");
        turn();
        expect_mailbox("bob", "m1 m3");
        expect(G1, "* id=\"m1\" *", "* id=\"m3\" *", NULL);
    }
}

static void frames_of_others_are_refused(void **state)
{
    (void)state;
    SAY(G1, WHO_ARE_YOU, who_are_you, .last = 1);
    turn();
    SAY(G1, GATEWAY_ANNOUNCE, gateway_announce, .nonce = 9, .last = 1);
    turn();
    beat(G1);
    add_entry(G1, 0);
    world_settle(world);
    assert_int_equal(world_malformed(world), 3);
    expect(G1, NULL);
}

static void an_announcement_with_something_else_in_it_does_no_harm(void **state)
{
    (void)state;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    SAY(G1, GATEWAY_LEAVE, gateway_leave);
    listed(G1, 2, "carol", (struct number){0});
    end_announcement(G1);
    assert_int_equal(sizes().gateways, 2);
    voices[G1].number = 0;
    announce(G1);
    listed(G1, 1, "bob", (struct number){0});
    buffer_append_slice(&voices[G1].frames, T("nonsense"));
    listed(G1, 2, "carol", (struct number){0});
    end_announcement(G1);
    assert_int_equal(world_malformed(world), 1);
    assert_int_equal(sizes().connections, 1);
}

/* ---- memory ---- */

static void idle_users_can_be_forgotten(void **state)
{
    (void)state;
    connect_user(G1, 1, "online");
    direct(G1, "alice", "offline", "m1");
    watch(G1, "watched", 1, 0);
    turn();
    engine_trim_users(world_engine(world), 0);
    assert_true(engine_knows(world_engine(world), T("online")));
    assert_true(engine_knows(world_engine(world), T("watched")));
    assert_false(engine_knows(world_engine(world), T("offline")));
    direct(G1, "alice", "offline", "m2");
    turn();
    expect_mailbox("offline", "m1 m2");
}

static void note_user(void *arg, const struct engine_need *need)
{
    buffer_append_slice(arg, need->name);
    buffer_append_byte(arg, ' ');
}

static void users_that_frames_need_are_named(void **state)
{
    struct buffer names = {0};

    (void)state;
    connect_user(G1, 1, "known");
    turn();
    connect_user(G1, 2, "known");
    connect_user(G1, 3, "a");
    direct(G1, "sender", "b", "m1");
    watch(G1, "c", 1, 0);
    watch(G1, "*", 1, 0);
    listed(G1, 4, "d", (struct number){0});
    say_publish(G1, publication("t", "p1"));
    assert_int_equal(
        engine_missing(world_engine(world), buffer_slice(&voices[G1].frames), note_user, &names),
        4);
    buffer_append_byte(&names, '\0');
    assert_string_equal(names.data, "a b c d ");
    buffer_finish(&names);
}

static void finish_tells_how_much_there_is_to_do(void **state)
{
    struct effects *effects = effects_create(world_deployment(), 0);

    (void)state;
    engine_begin(world_engine(world), world_epoch(world), 1000, effects, START_MS);
    assert_int_equal(engine_finish(world_engine(world)), 0);
    effects_reset(effects);
    beat(G1);
    engine_begin(world_engine(world), world_epoch(world), 1001, effects, START_MS);
    assert_int_equal(engine_apply(world_engine(world), gateway_id(G1), (struct number){1, 0},
                                  buffer_slice(&voices[G1].frames), START_MS),
                     0);
    assert_int_equal(engine_finish(world_engine(world)), effects_count(effects));
    assert_true(effects_count(effects) > 0);
    effects_destroy(&effects);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_frame_to_routers_is_handled),
        TEST(a_connection_is_known_until_it_is_closed),
        TEST(connections_of_a_user_are_limited),
        TEST(a_direct_message_reaches_every_connection),
        TEST(an_offline_user_finds_messages_in_the_mailbox),
        TEST(policies_that_keep_nothing_keep_nothing),
        TEST(a_full_mailbox_refuses),
        TEST(a_full_mailbox_refuses_those_who_are_behind),
        TEST(beyond_the_window_messages_wait_in_the_mailbox),
        TEST(one_big_message_is_admitted_to_an_empty_window),
        TEST(a_long_mailbox_comes_in_pages),
        TEST(what_comes_while_a_page_is_on_its_way_follows_it),
        TEST(a_page_of_a_connection_that_went_is_not_mixed_up),
        TEST(a_message_that_comes_to_another_user_is_not_his_page),
        TEST(expired_messages_are_not_delivered),
        TEST(a_ttl_that_has_not_passed_is_passed_on),
        TEST(messages_older_than_the_mailbox_keeps_are_not_delivered),
        TEST(written_confirms_and_trims),
        TEST(closed_confirms_what_was_seen_and_stores_the_rest),
        TEST(discarded_on_close_unless_to_be_stored),
        TEST(one_of_two_connections_confirms_for_both),
        TEST(a_second_connection_gets_what_is_pending_first),
        TEST(nothing_more_goes_to_a_connection_that_is_closed),
        TEST(what_is_pending_survives_a_take),
        TEST(an_acknowledging_client_decides_alone),
        TEST(what_was_written_and_not_acknowledged_comes_again),
        TEST(a_plain_connection_confirms_once_nobody_acknowledges),
        TEST(what_waits_for_a_word_keeps_its_place_over_a_take),
        TEST(pending_is_stored_when_an_acknowledging_client_comes),
        TEST(an_ack_after_a_take_counts),
        TEST(an_ack_of_what_waits_counts),
        TEST(the_same_request_is_answered_as_before),
        TEST(answers_are_kept_for_two_minutes),
        TEST(another_user_or_kind_of_request_is_another),
        TEST(a_refused_request_may_succeed_later),
        TEST(answers_are_kept_when_the_clock_goes_back),
        TEST(recipients_are_exact),
        TEST(overlapping_pattern_sets_are_counted_once),
        TEST(the_publisher_is_left_out_unless_it_wants_an_echo),
        TEST(counts_end_at_zero),
        TEST(a_subscription_is_in_force_at_its_synced),
        TEST(watchers_hear_of_changes),
        TEST(a_short_absence_is_not_seen),
        TEST(without_grace_it_is_seen_at_once),
        TEST(everybody_can_be_watched),
        TEST(entries_are_applied_once_and_in_order),
        TEST(each_entry_is_answered_with_what_was_accepted),
        TEST(the_first_commit_of_a_take_speaks_to_every_gateway),
        TEST(an_unknown_gateway_is_asked_who_it_is),
        TEST(an_announcement_replaces_everything),
        TEST(an_announcement_confirms_what_was_seen),
        TEST(an_announcement_comes_in_chunks),
        TEST(users_of_the_first_chunk_are_kept_until_the_last),
        TEST(old_announcements_are_dropped),
        TEST(an_announcement_moves_the_number_forward_only),
        TEST(a_gateway_that_leaves_leaves_nothing),
        TEST(a_last_entry_that_is_sent_again_does_no_harm),
        TEST(a_silent_gateway_is_buried),
        TEST(half_of_them_silent_at_once_is_a_doubt),
        TEST(a_doubt_is_no_reprieve_for_ever),
        TEST(a_new_owner_waits_again),
        TEST(one_that_was_buried_by_mistake_goes_on),
        TEST(many_connections_are_buried_in_several_commits),
        TEST(one_that_speaks_while_it_is_buried_must_announce),
        TEST(buried_and_announced_in_one_commit),
        TEST(the_good_part_of_a_bad_entry_counts),
        TEST(frames_of_others_are_refused),
        TEST(an_announcement_with_something_else_in_it_does_no_harm),
        TEST(idle_users_can_be_forgotten),
        TEST(users_that_frames_need_are_named),
        TEST(finish_tells_how_much_there_is_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
