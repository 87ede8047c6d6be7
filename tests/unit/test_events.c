/*
 * Events of a user and those who follow them: numbered without gaps, each of them told once to each
 * connection, or that it is done to the one that did it, and in order, whatever becomes of routers
 * and gateways (docs/delivery.md, S12).
 */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

#define CHAT CONNECTION_FLAG_EVENTS
#define CHAT_CONNECTION (CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN)

static void post(int g, const char *from, const char *chat, const char *id)
{
    SAY(g, CONVERSATION_POST, conversation_post, .connection = 1, .from = T(from), .chat = T(chat),
        .id = T(id), .protocol = 2, .body = T("hi"));
}

static void posts(const char *from, const char *chat, int count)
{
    for (int i = 0; i < count; i++)
        post(G3, from, chat, "m");
    turn();
    deaf(G3);
}

/* Each in a commit, and so in an entry, of its own. */
static void posts_apart(const char *from, const char *chat, int count)
{
    while (count--)
        posts(from, chat, 1);
}

static void follow(int g, uint64_t connection, const char *user, uint64_t after)
{
    SAY(g, EVENTS_FOLLOW, events_follow, .connection = connection, .request = 5, .user = T(user),
        .after = after);
}

static void open_chat(int g, uint64_t connection, const char *user)
{
    connect_flags(g, connection, user, CHAT_CONNECTION);
}

/* A user who follows, and has heard all there is. */
static void follower(int g, uint64_t connection, const char *user)
{
    open_chat(g, connection, user);
    follow(g, connection, user, 0);
    turn();
    deaf(g);
}

/* The events in g's new frames, as "1 2 3"; other frames are left out. */
static char *events_of(int g)
{
    char *heard = hear(g);
    struct buffer events = {0};

    for (char *line = strtok(heard, "\n"); line; line = strtok(NULL, "\n")) {
        const char *at = strstr(line, " event=");

        if (strncmp(line, "EVENT_DELIVERY", 14) == 0 && at != NULL)
            buffer_appendf(&events, "%s%d", events.length ? " " : "", atoi(at + 7));
    }
    buffer_append_byte(&events, '\0');
    free(heard);
    return events.data;
}

static void expect_events(int g, const char *expected)
{
    char *events = events_of(g);

    assert_string_equal(events, expected);
    free(events);
}

/* "first-last", or "none": each once, in order. */
static void expect_run(int g, int first, int last)
{
    struct buffer expected = {0};

    for (int i = first; i <= last; i++)
        buffer_appendf(&expected, "%s%d", i > first ? " " : "", i);
    buffer_append_byte(&expected, '\0');
    expect_events(g, expected.data);
    buffer_finish(&expected);
}

static void take_again(void)
{
    world_take(world);
    worlds_settle(worlds, world_count);
}

/* ---- the log ---- */

static void events_are_logged_from_the_first_follow_on(void **state)
{
    size_t count;
    const struct engine_page_entry *entries;

    (void)state;
    connect_user(G2, 9, "bob");
    turn();
    posts("alice", "bob", 1);
    follower(G1, 1, "bob");
    pass(10);
    posts("alice", "bob", 1);
    posts("bob", "alice", 1);
    entries = model_store_journal(world_store(world), "events", T("bob"), &count);
    assert_int_equal(count, 2);
    assert_int_equal(entries[0].number.epoch, 1);
    assert_int_equal(entries[1].number.epoch, 2);
    assert_true(slice_is(model_entry_field(&entries[0], "kind"), "1"));
    assert_true(slice_is(model_entry_field(&entries[0], "chat"), "alice"));
    assert_true(slice_is(model_entry_field(&entries[0], "from"), "")); /* as chat */
    assert_true(slice_is(model_entry_field(&entries[0], "message"), "2"));
    assert_true(slice_is(model_entry_field(&entries[0], "at"), "1700000000010"));
    assert_true(slice_is(model_entry_field(&entries[1], "from"), "bob"));
    expect_field("user", T("bob"), "chat", "1");
    expect_field("user", T("bob"), "event", "2");
    expect_field("user", T("alice"), "chat", "");
}

static void a_follower_hears_what_happens(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    follower(G1, 2, "bob");
    follower(G2, 3, "alice");
    SAY(G3, CONVERSATION_POST, conversation_post, .connection = 1, .request = 7, .from = T("alice"),
        .chat = T("bob"), .id = T("a1"), .protocol = 2, .body = T("hi"));
    turn();
    expect(G1,
           "EVENT_DELIVERY connections=[2,1] number=* event=1 at_ms=1700000000000 kind=1 "
           "chat=\"alice\" from=\"\" message=1 protocol=2 content=0 "
           "body=(2 bytes) *",
           NULL);
    expect(G2,
           "EVENT_DELIVERY connections=[3] number=* event=1 * kind=1 chat=\"bob\" "
           "from=\"alice\" message=1 *",
           NULL);
    expect(G3, "CONVERSATION_REPLY * status=0 message=1", NULL);
    SAY(G1, CONVERSATION_MARK, conversation_mark, .connection = 1, .from = T("bob"),
        .chat = T("alice"), .mark = CONVERSATION_MARK_READ, .message = 1);
    SAY(G2, CONVERSATION_CHANGE, conversation_change, .connection = 1, .from = T("alice"),
        .chat = T("bob"), .message = 1, .change = CONVERSATION_EDIT, .body = T("hello"));
    turn();
    expect(G1, "EVENT_DELIVERY * event=2 * kind=2 chat=\"alice\" from=\"\" message=1 *", NULL);
    expect(G2, "EVENT_DELIVERY * event=2 * kind=5 chat=\"bob\" from=\"\" message=1 *",
           "EVENT_DELIVERY * event=3 * kind=2 chat=\"bob\" *", NULL);
}

/* How many of g's new frames begin so. */
static unsigned count_heard(int g, const char *begin)
{
    char *heard = hear(g);
    unsigned count = 0;

    for (const char *line = strtok(heard, "\n"); line; line = strtok(NULL, "\n"))
        count += strncmp(line, begin, strlen(begin)) == 0;
    free(heard);
    return count;
}

static void write_as(int g, uint64_t connection, const char *from, const char *chat)
{
    SAY(g, CONVERSATION_POST, conversation_post, .connection = connection, .request = 7,
        .from = T(from), .chat = T(chat), .body = T("hi"));
    turn();
    SAY(g, CONVERSATION_CHANGE, conversation_change, .connection = connection, .request = 8,
        .from = T(from), .chat = T(chat), .message = 1, .change = CONVERSATION_EDIT,
        .body = T("ho"));
    turn();
}

static void who_did_it_hears_that_it_is_done(void **state)
{
    (void)state;
    follower(G1, 1, "alice");
    follower(G1, 2, "alice");
    follower(G2, 1, "alice");
    follower(G3, 1, "bob");
    write_as(G1, 1, "alice", "bob");
    expect(G1, "CONVERSATION_REPLY connection=1 request=7 status=0 message=1",
           "EVENT_DELIVERY connections=[2] * event=1 *",
           "EVENT_DONE connection=1 request=7 event=1 kind=1 chat=\"bob\" message=1",
           "CONVERSATION_REPLY connection=1 request=8 status=0 message=1",
           "EVENT_DELIVERY connections=[2] * event=2 *",
           "EVENT_DONE connection=1 request=8 event=2 kind=2 chat=\"bob\" message=1", NULL);
    expect_events(G2, "1 2");
    expect_events(G3, "1 2");
    /* The next one comes to it as to all others. */
    post(G3, "bob", "alice", "b1");
    turn();
    expect(G1, "EVENT_DELIVERY connections=[2,1] * event=3 *", NULL);
    expect_events(G2, "3");
    /* Nobody waits for an answer: the event tells it. */
    expect_events(G3, "3");
}

/* Of what is to have no answer it does not hear that it is done. */
static void what_nobody_waits_for_is_an_event(void **state)
{
    (void)state;
    follower(G1, 1, "alice");
    write_as(G1, 1, "alice", "bob");
    deaf(G1);
    SAY(G1, CONVERSATION_CHANGE, conversation_change, .connection = 1, .from = T("alice"),
        .chat = T("bob"), .message = 1, .change = CONVERSATION_DELETE);
    SAY(G1, CONVERSATION_POST, conversation_post, .connection = 1, .from = T("alice"),
        .chat = T("bob"), .body = T("hi"));
    turn();
    expect_events(G1, "3 4");
}

static void an_echo_is_asked_for(void **state)
{
    (void)state;
    follower(G1, 1, "alice");
    SAY(G1, EVENTS_FOLLOW, events_follow, .connection = 1, .user = T("alice"),
        .flags = CONNECTION_FLAG_ECHO);
    write_as(G1, 1, "alice", "bob");
    expect_events(G1, "1 2");
    /* Over a take, too. */
    take_again();
    write_as(G1, 1, "alice", "bob");
    expect_events(G1, "3 4");
    follow(G1, 1, "alice", 4);
    write_as(G1, 1, "alice", "bob");
    expect_events(G1, "");
}

static void what_it_did_itself_is_in_the_pages(void **state)
{
    (void)state;
    follower(G1, 1, "alice");
    write_as(G1, 1, "alice", "bob");
    deaf_all();
    follow(G1, 1, "alice", 0);
    turn();
    expect_run(G1, 1, 2);
}

static void a_mark_is_announced_once(void **state)
{
    (void)state;
    follower(G1, 1, "alice");
    posts("alice", "bob", 3);
    deaf(G1);
    for (int i = 0; i < 2; i++) {
        SAY(G3, CONVERSATION_MARK, conversation_mark, .from = T("bob"), .chat = T("alice"),
            .mark = CONVERSATION_MARK_READ, .message = 2);
        SAY(G3, CONVERSATION_MARK, conversation_mark, .from = T("bob"), .chat = T("alice"),
            .mark = CONVERSATION_MARK_DELIVERED, .message = 2);
    }
    turn();
    expect(G1, "EVENT_DELIVERY * kind=5 * message=2 *", NULL);
    /* Of one's own messages nobody is told. */
    SAY(G3, CONVERSATION_MARK, conversation_mark, .from = T("alice"), .chat = T("bob"),
        .mark = CONVERSATION_MARK_READ, .message = 3);
    turn();
    expect(G1, NULL);
}

static void the_log_keeps_so_many(void **state)
{
    struct engine_limits few = usual_limits;
    size_t count;

    (void)state;
    few.events = 3;
    again(&few);
    follower(G1, 1, "bob");
    posts("alice", "bob", 2);
    posts("alice", "bob", 3);
    model_store_journal(world_store(world), "events", T("bob"), &count);
    assert_int_equal(count, 3);
    expect_field("user", T("bob"), "event_first", "3");
    take_again();
    deaf_all();
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 1);
    turn();
    expect(G2, "EVENTS_FOLLOWED connection=2 request=5 newest=5 count=3 oldest=3 resync=1",
           "EVENT_DELIVERY * event=3 *", "EVENT_DELIVERY * event=4 *", "EVENT_DELIVERY * event=5 *",
           NULL);
    follow(G2, 2, "bob", 2);
    turn();
    expect(G2, "EVENTS_FOLLOWED * count=3 oldest=3 resync=0", "EVENT_DELIVERY * event=3 *",
           "EVENT_DELIVERY * event=4 *", "EVENT_DELIVERY * event=5 *", NULL);
}

static void old_events_go(void **state)
{
    const uint64_t day = 24ULL * 3600 * 1000;

    (void)state;
    follower(G1, 1, "bob");
    posts("alice", "bob", 2);
    pass(20 * day);
    posts("alice", "bob", 1);
    take_again();
    pass(15 * day);
    announce(G1);
    end_announcement(G1);
    deaf_all();
    open_chat(G1, 2, "bob");
    follow(G1, 2, "bob", 0);
    turn();
    expect(G1, "EVENTS_FOLLOWED * newest=3 count=1 oldest=3 resync=1", "EVENT_DELIVERY * event=3 *",
           NULL);
    pass(40 * day);
    announce(G1);
    end_announcement(G1);
    deaf_all();
    open_chat(G1, 3, "bob");
    follow(G1, 3, "bob", 3);
    turn();
    expect(G1, "EVENTS_FOLLOWED * newest=3 count=0 * resync=0", NULL);
}

/* ---- following ---- */

static void what_was_missed_comes_first(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    closed(G1, 1, (struct number){0});
    turn();
    posts("alice", "bob", 3);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 1);
    turn();
    expect(G2, "EVENTS_FOLLOWED connection=2 request=5 newest=3 count=2 oldest=1 resync=0",
           "EVENT_DELIVERY connections=[2] * event=2 *", "EVENT_DELIVERY * event=3 *", NULL);
    posts("alice", "bob", 1);
    expect_events(G2, "4");
}

static void an_event_ahead_of_all_is_no_promise(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts("alice", "bob", 2);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 77);
    turn();
    expect(G2, "EVENTS_FOLLOWED * newest=2 count=0 oldest=1 resync=1", NULL);
    posts("alice", "bob", 1);
    expect_events(G2, "3");
}

static void pages_follow_what_was_written(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts_apart("alice", "bob", 600);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 0);
    turn();
    expect_run(G2, 1, 256);
    posts("alice", "bob", 10);
    expect_events(G2, "");
    written(G2);
    turn();
    expect_run(G2, 257, 512);
    written(G2);
    turn();
    expect_run(G2, 513, 610);
    posts("alice", "bob", 1);
    expect_events(G2, "611");
    deaf(G1);
}

static void a_follower_may_begin_in_the_middle_of_an_entry(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts("alice", "bob", 200);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 7);
    turn();
    expect_run(G2, 8, 200);
    follow(G2, 2, "bob", 199);
    turn();
    expect_run(G2, 200, 200);
    deaf(G1);
}

static void what_happens_while_a_page_is_read_follows_it(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts("alice", "bob", 3);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 0);
    world_hold_pages(world, true);
    turn();
    posts("alice", "bob", 2);
    world_hold_pages(world, false);
    turn();
    expect_run(G2, 1, 3);
    written(G2);
    turn();
    expect_run(G2, 4, 5);
    posts("alice", "bob", 1);
    expect_events(G2, "6");
}

static void a_page_of_another_request_is_dropped(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts("alice", "bob", 5);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 0);
    world_hold_pages(world, true);
    turn();
    follow(G2, 2, "bob", 3);
    turn();
    world_hold_pages(world, false);
    turn();
    expect_run(G2, 4, 5);
    /* And of one that is closed. */
    follow(G2, 2, "bob", 0);
    world_hold_pages(world, true);
    turn();
    closed(G2, 2, (struct number){0});
    turn();
    world_hold_pages(world, false);
    turn();
    expect_events(G2, "");
}

static void a_take_in_the_middle_loses_and_doubles_nothing(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts_apart("alice", "bob", 600);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 0);
    turn();
    expect_run(G2, 1, 256);
    take_again();
    expect_run(G2, 257, 512);
    written(G2);
    turn();
    expect_run(G2, 513, 600);
    take_again();
    expect_events(G2, "");
    posts("alice", "bob", 1);
    expect_events(G2, "601");
    take_again();
    posts("alice", "bob", 1);
    expect_events(G2, "602");
    deaf(G1);
}

static void a_gateway_that_announces_goes_on_from_what_it_handed_over(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    posts_apart("alice", "bob", 300);
    open_chat(G2, 2, "bob");
    follow(G2, 2, "bob", 0);
    turn();
    expect_run(G2, 1, 256);
    announce(G2);
    SAY(G2, ANNOUNCED_CONNECTION, announced_connection, .connection = 2, .user = T("bob"),
        .protocol = 2, .flags = CHAT | CONNECTION_FLAG_FOLLOWING, .event = 100);
    end_announcement(G2);
    expect_run(G2, 101, 300);
    posts("alice", "bob", 1);
    expect_events(G2, "301");
    announce(G2);
    SAY(G2, ANNOUNCED_CONNECTION, announced_connection, .connection = 2, .user = T("bob"),
        .protocol = 2, .flags = CHAT | CONNECTION_FLAG_FOLLOWING, .event = 301);
    end_announcement(G2);
    expect_events(G2, "");
    posts("alice", "bob", 1);
    expect_events(G2, "302");
    deaf(G1);
}

static void add_events(struct buffer *all, int g)
{
    char *events = events_of(g);

    if (*events)
        buffer_appendf(all, "%s ", events);
    free(events);
}

static void a_gateway_that_is_full_sends_its_followers_back(void **state)
{
    struct engine_limits small = usual_limits;
    struct buffer all = {0};

    (void)state;
    small.output_bytes = 300;
    again(&small);
    follower(G1, 1, "bob");
    follower(G2, 2, "bob");
    for (int i = 0; i < 20; i++) {
        posts("alice", "bob", 1);
        add_events(&all, G2);
        /* Until somebody confirms, the gateway gets no more. */
        if (i == 9)
            assert_true(all.length && all.length < strlen("1 2 3 4 5 6 7 8 9 "));
        if (i == 12)
            take_again();
        if (i < 10)
            continue;
        written(G2);
        turn();
        add_events(&all, G2);
    }
    buffer_append_byte(&all, '\0');
    assert_string_equal(all.data, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ");
    buffer_finish(&all);
}

/* What it did it gets then from the log, too. */
static void a_full_gateway_is_not_told_what_is_done(void **state)
{
    struct engine_limits small = usual_limits;

    (void)state;
    small.output_bytes = 300;
    again(&small);
    follower(G1, 1, "alice");
    for (int i = 0; i < 20; i++)
        write_as(G1, 1, "alice", "bob");
    assert_in_range(count_heard(G1, "EVENT_DONE "), 1, 20);
    for (int i = 0; i < 40; i++) {
        written(G1);
        turn();
    }
    write_as(G1, 1, "alice", "bob");
    expect_field("user", T("alice"), "event", "42");
    assert_int_equal(count_heard(G1, "EVENT_DONE "), 2);
}

static void a_user_is_present_while_he_follows(void **state)
{
    (void)state;
    open_chat(G1, 1, "bob");
    turn();
    expect_field("user", T("bob"), "status", "");
    follow(G1, 1, "bob", 0);
    turn();
    expect_field("user", T("bob"), "status", "online");
    closed(G1, 1, (struct number){0});
    turn();
    pass(3000);
    tick();
    expect_field("user", T("bob"), "status", "offline");
}

static void one_who_follows_hidden_is_not_present(void **state)
{
    (void)state;
    open_chat(G1, 1, "bob");
    SAY(G1, EVENTS_FOLLOW, events_follow, .connection = 1, .user = T("bob"),
        .flags = CONNECTION_FLAG_HIDDEN);
    turn();
    expect_field("user", T("bob"), "status", "");
    post(G3, "alice", "bob", "a1");
    turn();
    expect_events(G1, "1");
    follow(G1, 1, "bob", 1);
    turn();
    expect_field("user", T("bob"), "status", "online");
}

static void one_that_gets_messages_cannot_follow(void **state)
{
    (void)state;
    connect_user(G1, 1, "bob");
    follow(G1, 1, "bob", 0);
    follow(G1, 99, "bob", 0);
    turn();
    expect(G1, NULL);
    expect_field("user", T("bob"), "chat", "");
}

/* ---- direct messages to one who follows ---- */

static void direct_messages_become_events(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    connect_user(G2, 2, "bob");
    turn();
    deaf_all();
    direct(G3, "alice", "bob", "d1");
    turn();
    expect(G3, "DIRECT_REPLY * id=\"d1\" to=\"bob\" status=0 delivered=[162,2,161,1]", NULL);
    expect(G1,
           "EVENT_DELIVERY connections=[1] * event=1 * chat=\"alice\" from=\"\" message=1 "
           "protocol=3 *",
           NULL);
    expect(G2,
           "MESSAGE_DELIVERY connections=[2] * from=\"alice\" to=\"bob\" chat=\"\" id=\"d1\" "
           "message=1 *",
           NULL);
    closed(G1, 1, (struct number){0});
    closed(G2, 2, last_delivery(G2));
    turn();
    direct(G3, "alice", "bob", "d2");
    turn();
    expect(G3, "DIRECT_REPLY * id=\"d2\" * status=2 *", NULL);
    expect_mailbox("bob", "");
    expect_field("user", T("bob"), "event", "2");
}

static void a_policy_that_keeps_nothing_keeps_no_event(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "d1");

    (void)state;
    follower(G1, 1, "bob");
    closed(G1, 1, (struct number){0});
    turn();
    message.policy = DELIVERY_DISCARD_AND_TELL;
    say_direct(G3, message);
    turn();
    expect(G3, "DIRECT_REPLY * status=4 *", NULL);
    expect_field("user", T("bob"), "event", "0");
    follower(G1, 2, "bob");
    say_direct(G3, message);
    turn();
    expect(G3, "DIRECT_REPLY * status=0 *", NULL);
    expect_events(G1, "1");
}

static void the_same_direct_message_is_one_event(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "d1");

    (void)state;
    follower(G1, 1, "bob");
    message.retry = 1;
    say_direct(G3, message);
    turn();
    take_again();
    say_direct(G3, message);
    turn();
    expect_events(G1, "1");
}

static void without_a_user_it_comes_from_the_server(void **state)
{
    (void)state;
    follower(G1, 1, "bob");
    direct(G3, "", "bob", "n1");
    turn();
    expect(G1, "EVENT_DELIVERY * chat=\"SERVER\" from=\"\" *", NULL);
}

/* ---- a first follow, with a mailbox ---- */

static void a_first_follow_empties_the_mailbox(void **state)
{
    (void)state;
    direct(G3, "alice", "bob", "d1");
    direct(G3, "carol", "bob", "d2");
    post(G3, "dave", "bob", "c1");
    turn();
    direct(G3, "alice", "bob", "d3");
    turn();
    expect_mailbox("bob", "d1 d2 c1 d3");
    open_chat(G1, 1, "bob");
    turn();
    expect(G1, NULL);
    follow(G1, 1, "bob", 0);
    turn();
    expect(G1, "EVENTS_FOLLOWED * newest=0 count=0 oldest=1 resync=0",
           "EVENT_DELIVERY * event=1 * chat=\"dave\" from=\"\" message=1 *",
           "EVENT_DELIVERY * event=2 * chat=\"alice\" * message=1 *",
           "EVENT_DELIVERY * event=3 * chat=\"carol\" * message=1 *",
           "EVENT_DELIVERY * event=4 * chat=\"alice\" * message=2 *", NULL);
    expect_mailbox("bob", "");
    expect_field("user", T("bob"), "chat", "1");
    expect_field("dialog", T("bob\ndave"), "last", "1");
    connect_user(G2, 2, "bob");
    turn();
    expect(G2, NULL);
}

static void a_long_mailbox_is_emptied_over_a_take(void **state)
{
    struct engine_limits wide = usual_limits;
    char id[16];

    (void)state;
    wide.conversation_messages = 2000;
    again(&wide);
    for (int i = 0; i < 700; i++) {
        snprintf(id, sizeof(id), "d%d", i);
        direct(G3, "alice", "bob", id);
    }
    turn();
    open_chat(G1, 1, "bob");
    follow(G1, 1, "bob", 0);
    world_hold_pages(world, true);
    turn();
    deaf(G3);
    /* What comes meanwhile goes in behind. */
    direct(G3, "alice", "bob", "last");
    turn();
    expect(G3, "DIRECT_REPLY * status=2 *", NULL);
    expect_field("user", T("bob"), "chat", "draining");
    world_take(world);
    world_hold_pages(world, false);
    worlds_settle(worlds, world_count);
    turn();
    expect_mailbox("bob", "");
    expect_field("user", T("bob"), "chat", "1");
    expect_field("dialog", T("alice\nbob"), "last", "701");
    expect_field("user", T("bob"), "event", "701");
    {
        size_t count;
        const struct engine_page_entry *entries =
            model_store_journal(world_store(world), "log", T("alice\nbob"), &count);

        assert_true(slice_is(model_entry_field(&entries[0], "id"), "d0"));
        assert_true(slice_is(model_entry_field(&entries[700], "id"), "last"));
    }
    expect_run(G1, 1, 701);
}

static void events_wait_until_the_mailbox_is_empty(void **state)
{
    (void)state;
    post(G3, "alice", "bob", "c1");
    turn();
    open_chat(G1, 1, "bob");
    follow(G1, 1, "bob", 0);
    world_hold_pages(world, true);
    turn();
    deaf(G1);
    post(G3, "alice", "bob", "c2");
    turn();
    expect(G1, NULL);
    world_hold_pages(world, false);
    turn();
    expect(G1, "EVENT_DELIVERY * event=1 * message=1 *", "EVENT_DELIVERY * event=2 * message=2 *",
           NULL);
}

static void another_connection_takes_what_waits(void **state)
{
    (void)state;
    direct(G3, "alice", "bob", "d1");
    turn();
    open_chat(G1, 1, "bob");
    follow(G1, 1, "bob", 0);
    world_hold_pages(world, true);
    turn();
    connect_user(G2, 2, "bob");
    turn();
    world_hold_pages(world, false);
    turn();
    expect(G2, "MESSAGE_DELIVERY * id=\"d1\" *", NULL);
    expect_events(G1, "");
    expect_field("user", T("bob"), "chat", "1");
}

static void expired_messages_are_not_forwarded(void **state)
{
    struct frame_direct_message message = direct_to("alice", "bob", "d1");

    (void)state;
    message.ttl_ms = 100;
    say_direct(G3, message);
    direct(G3, "alice", "bob", "d2");
    turn();
    pass(200);
    follower(G1, 1, "bob");
    expect_field("dialog", T("alice\nbob"), "last", "1");
}

/* ---- groups ---- */

static void one_frame_a_partition_carries_a_group_post(void **state)
{
    const char *names[6];
    struct buffer members = {0};
    unsigned found = 0, told = 0;
    char name[8][8];

    (void)state;
    for (int i = 0; found < 5; i++) {
        snprintf(name[found], sizeof(name[found]), "u%d", i);
        names[found] = name[found];
        if (found)
            buffer_appendf(&members, "%s\n", names[found]);
        found++;
    }
    buffer_append_byte(&members, '\0');
    for (unsigned i = 0; i < found; i++) {
        at_partition(partition_of(world_deployment_wide(), T(names[i])));
        open_chat(G1, i + 1, names[i]);
        follow(G1, i + 1, names[i], 0);
    }
    turn();
    at_partition(partition_of(world_deployment_wide(), T("group:g")));
    SAY(G2, GROUP_CHANGE, group_change, .from = T(names[0]), .chat = T("group:g"),
        .change = GROUP_CREATE, .members = T(members.data));
    post(G2, names[1], "group:g", "g1");
    post(G2, names[2], "group:g", "g2");
    turn();
    for (unsigned i = 0; i < found; i++) {
        at_partition(partition_of(world_deployment_wide(), T(names[i])));
        expect_field("user", T(names[i]), "event", "2");
    }
    at_partition(partition_of(world_deployment_wide(), T("group:g")));
    write_as(G1, 2, names[1], "group:g");
    for (unsigned i = 0; i < found; i++) {
        at_partition(partition_of(world_deployment_wide(), T(names[i])));
        expect_field("user", T(names[i]), "event", "4");
    }
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        at_partition((size_t)p);
        told += count_heard(G1, "EVENT_DONE connection=2 request=");
        deaf_all();
    }
    assert_int_equal(told, 2);
    buffer_finish(&members);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WIDE(name) cmocka_unit_test_setup_teardown(name, setup_wide, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_logged_from_the_first_follow_on),
        TEST(a_follower_hears_what_happens),
        TEST(who_did_it_hears_that_it_is_done),
        TEST(what_nobody_waits_for_is_an_event),
        TEST(an_echo_is_asked_for),
        TEST(what_it_did_itself_is_in_the_pages),
        TEST(a_mark_is_announced_once),
        TEST(the_log_keeps_so_many),
        TEST(old_events_go),
        TEST(what_was_missed_comes_first),
        TEST(an_event_ahead_of_all_is_no_promise),
        TEST(pages_follow_what_was_written),
        TEST(a_follower_may_begin_in_the_middle_of_an_entry),
        TEST(what_happens_while_a_page_is_read_follows_it),
        TEST(a_page_of_another_request_is_dropped),
        TEST(a_take_in_the_middle_loses_and_doubles_nothing),
        TEST(a_gateway_that_announces_goes_on_from_what_it_handed_over),
        TEST(a_gateway_that_is_full_sends_its_followers_back),
        TEST(a_full_gateway_is_not_told_what_is_done),
        TEST(a_user_is_present_while_he_follows),
        TEST(one_who_follows_hidden_is_not_present),
        TEST(one_that_gets_messages_cannot_follow),
        TEST(direct_messages_become_events),
        TEST(a_policy_that_keeps_nothing_keeps_no_event),
        TEST(the_same_direct_message_is_one_event),
        TEST(without_a_user_it_comes_from_the_server),
        TEST(a_first_follow_empties_the_mailbox),
        TEST(a_long_mailbox_is_emptied_over_a_take),
        TEST(events_wait_until_the_mailbox_is_empty),
        TEST(another_connection_takes_what_waits),
        TEST(expired_messages_are_not_forwarded),
        TEST_WIDE(one_frame_a_partition_carries_a_group_post),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
