/*
 * Work for another partition (delivery.md, S9): what an engine says to another's partition is in
 * its `in` with the commit, and applied there once, in order, whatever becomes of either owner.
 * What is sent here is what is told of dropped messages (discard.c).
 */
#include "common/xalloc.h"
#include "tests/unit/voices.h"

/* A user's name that belongs to the partition; of each partition several are at hand. */
static const char *user_of(uint32_t partition, unsigned number)
{
    static char names[WORLD_PARTITIONS][4][16];
    char *name = names[partition][number];
    unsigned found = 0;

    for (unsigned i = 0;; i++) {
        snprintf(name, sizeof(names[0][0]), "user%u", i);
        if (partition_of(world_deployment_wide(), T(name)) == partition && found++ == number)
            return name;
    }
}

static size_t input_count(void)
{
    size_t count;

    model_store_stream(world_store(world), "in", NOBODY, &count);
    return count;
}

/* The newest entry of the partition's `in`. */
static struct engine_page_entry newest_input(void)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "in", NOBODY, &count);

    assert_true(count > 0);
    return entries[count - 1];
}

static void say_told(const char *from, const char *to, const char *id, const char *source,
                     const char *number)
{
    struct buffer frames = {0};
    struct number parsed;

    assert_int_equal(number_parse(T(number), &parsed), 0);
    frame_encode(&frames, &(struct frame){.type = FRAME_MESSAGE_DISCARDED,
                                          .message_discarded = {T(from), T(to), T(id)}});
    model_store_add_forward(world_store(world), T(source), parsed, buffer_slice(&frames));
    buffer_finish(&frames);
}

/* A message to a connected user of partition 0, and his end, said but not applied. */
static void lose_message(const char *from, const char *to, const char *id)
{
    struct frame_direct_message message = direct_to(from, to, id);

    at_partition(0);
    message.policy = DELIVERY_DISCARD_AND_TELL;
    connect_user(G1, 1, to);
    say_direct(G1, message);
    closed(G1, 1, (struct number){0});
}

static void what_is_said_is_heard_in_the_other_partition(void **state)
{
    const char *to = user_of(0, 0), *from = user_of(1, 0);

    (void)state;
    at_partition(1);
    connect_user(G2, 5, from);
    connect_user(G2, 6, from);
    connect_user(G3, 7, from);
    turn();
    deaf_all();
    lose_message(from, to, "m1");
    turn();
    at_partition(1);
    expect(G2, "MESSAGE_STATUS connections=[6,5] to=* id=\"m1\" status=4", NULL);
    expect(G3, "MESSAGE_STATUS connections=[7] to=* id=\"m1\" status=4", NULL);
    expect(G1, NULL);
    assert_int_equal(input_count(), 0);
}

static void the_own_partition_is_like_any_other(void **state)
{
    const char *to = user_of(0, 0), *from = user_of(0, 1);

    (void)state;
    at_partition(0);
    connect_user(G2, 5, from);
    turn();
    deaf_all();
    lose_message(from, to, "m1");
    turn();
    at_partition(0);
    expect(G2, "MESSAGE_STATUS connections=[5] * id=\"m1\" status=4", NULL);
}

/* One entry for all that a commit says to a partition; its number is that of the commit. */
static void a_commit_adds_one_entry_for_each_partition(void **state)
{
    struct engine_page_entry entry;
    struct model_commit *commit;
    char expected[NUMBER_TEXT_SIZE];
    struct frame frame;

    (void)state;
    for (int i = 0; i < 3; i++)
        lose_message(user_of(1, 0), user_of(0, 0), (const char *[]){"a", "b", "c"}[i]);
    lose_message(user_of(2, 0), user_of(0, 0), "d");
    end_entry(G1);
    at_partition(0);
    while ((commit = world_turn(world, SIZE_MAX, false)) != NULL) {
        number_format(number_make(world_epoch(world), model_commit_number(commit), 0), expected);
        assert_int_equal(model_store_run(world_store(world), commit), MODEL_OK);
        model_commit_destroy(&commit);
    }
    at_partition(1);
    assert_int_equal(input_count(), 1);
    entry = newest_input();
    assert_true(slice_is(model_entry_field(&entry, "g"), "p0"));
    assert_true(slice_is(model_entry_field(&entry, "n"), expected));
    frame_reader_start(reader, model_entry_field(&entry, "f"));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(frame_reader_next(reader, &frame), 1);
        assert_int_equal(frame.type, FRAME_MESSAGE_DISCARDED);
        assert_true(slice_is(frame.message_discarded.id, (const char *[]){"a", "b", "c"}[i]));
    }
    assert_int_equal(frame_reader_next(reader, &frame), 0);
    at_partition(2);
    assert_int_equal(input_count(), 1);
}

static void a_commit_that_never_ran_says_nothing(void **state)
{
    struct model_commit *commit;
    char text[NUMBER_TEXT_SIZE];

    (void)state;
    lose_message(user_of(1, 0), user_of(0, 0), "m1");
    end_entry(G1);
    at_partition(0);
    commit = world_turn(world, SIZE_MAX, false);
    assert_non_null(commit);
    world_take(world);
    assert_int_equal(model_store_run(world_store(world), commit), MODEL_LOST);
    at_partition(1);
    assert_int_equal(input_count(), 0);
    /* The new owner does it, once. */
    turn();
    assert_int_equal(model_store_run(world_store(worlds[0]), commit), MODEL_LOST);
    model_commit_destroy(&commit);
    number_format(number_make(world_epoch(worlds[0]), 1, 0), text);
    expect_field("sources", NOBODY, "p0", text);
}

static void an_entry_is_taken_when_it_is_above_the_last(void **state)
{
    const char *from = user_of(1, 0);

    (void)state;
    at_partition(1);
    connect_user(G2, 5, from);
    turn();
    deaf_all();
    say_told(from, "x", "m1", "p0", "100-5");
    say_told(from, "x", "m2", "p0", "100-5"); /* the same again */
    say_told(from, "x", "m3", "p0", "100-4"); /* and below */
    say_told(from, "x", "m4", "p2", "90-1");  /* of another partition */
    say_told(from, "x", "m5", "p0", "100-9"); /* a gap is none */
    say_told(from, "x", "m6", "p0", "101-1"); /* the next owner counts from 1 again */
    turn();
    expect(G2, "MESSAGE_STATUS * id=\"m1\" *", "MESSAGE_STATUS * id=\"m4\" *",
           "MESSAGE_STATUS * id=\"m5\" *", "MESSAGE_STATUS * id=\"m6\" *", NULL);
    expect_field("sources", NOBODY, "p0", "101-1");
    expect_field("sources", NOBODY, "p2", "90-1");
}

static void what_was_taken_is_known_after_a_take(void **state)
{
    const char *from = user_of(1, 0);

    (void)state;
    at_partition(1);
    connect_user(G2, 5, from);
    say_told(from, "x", "m1", "p0", "100-5");
    turn();
    world_take(world);
    turn();
    deaf_all();
    say_told(from, "x", "m2", "p0", "100-5");
    say_told(from, "x", "m3", "p0", "100-6");
    turn();
    expect(G2, "MESSAGE_STATUS * id=\"m3\" *", NULL);
    expect_field("sources", NOBODY, "p0", "100-6");
}

/* So that who applies it need not do all of it in one commit. */
static void much_is_said_in_several_entries(void **state)
{
    const char *group_user = user_of(1, 0), *author = user_of(0, 0);
    char *body = xcalloc(1, 64 * 1024);
    struct model_commit *commit;
    size_t count;

    (void)state;
    memset(body, 'x', 64 * 1024 - 1);
    at_partition(partition_of_chat(world_deployment_wide(), T(author), T(group_user)));
    for (int i = 0; i < 10; i++)
        SAY(G1, CONVERSATION_POST, conversation_post, .from = T(author), .chat = T(group_user),
            .id = T("m"), .body = T(body));
    end_entry(G1);
    commit = world_turn(world, SIZE_MAX, false);
    assert_int_equal(model_store_run(world_store(world), commit), MODEL_OK);
    model_commit_destroy(&commit);
    at_partition(1);
    model_store_stream(world_store(world), "in", NOBODY, &count);
    assert_true(count >= 3);
    turn();
    model_store_stream(world_store(world), "mailbox", T(group_user), &count);
    assert_int_equal(count, 10);
    free(body);
}

/* The partition's numbers are no gateway's: neither is forgotten as one of the dead. */
static void a_partition_is_never_forgotten_as_a_source(void **state)
{
    (void)state;
    at_partition(1);
    say_told(user_of(1, 0), "x", "m1", "p0", "100-5");
    turn();
    world_take(world);
    for (int i = 0; i < 60; i++) {
        pass(15000);
        for (int g = 0; g < 3; g++)
            say(g, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
        turn();
        tick();
    }
    expect_field("sources", NOBODY, "p0", "100-5");
}

static void what_is_no_frame_between_partitions_is_refused(void **state)
{
    struct buffer frames = {0};

    (void)state;
    at_partition(1);
    /* A gateway's frame has no business here; nor has ours in a gateway's entry. */
    frame_encode(&frames, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    model_store_add_forward(world_store(world), T("p0"), (struct number){100, 1},
                            buffer_slice(&frames));
    buffer_finish(&frames);
    say(G1, &(struct frame){.type = FRAME_MESSAGE_DISCARDED,
                            .message_discarded = {T("a"), T("b"), T("c")}});
    turn();
    assert_int_equal(world_malformed(world), 2);
    expect_field("sources", NOBODY, "p0", "100-1");
}

static void a_partition_that_is_not_there_is_a_stranger(void **state)
{
    (void)state;
    at_partition(1);
    deaf_all();
    say_told(user_of(1, 0), "x", "m1", "p3", "100-1");
    say_told(user_of(1, 0), "x", "m1", "p99999999999", "100-1");
    turn();
    expect_field("sources", NOBODY, "p3", "");
    expect(G1, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_wide, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_said_is_heard_in_the_other_partition),
        TEST(the_own_partition_is_like_any_other),
        TEST(a_commit_adds_one_entry_for_each_partition),
        TEST(a_commit_that_never_ran_says_nothing),
        TEST(much_is_said_in_several_entries),
        TEST(an_entry_is_taken_when_it_is_above_the_last),
        TEST(what_was_taken_is_known_after_a_take),
        TEST(a_partition_is_never_forgotten_as_a_source),
        TEST(what_is_no_frame_between_partitions_is_refused),
        TEST(a_partition_that_is_not_there_is_a_stranger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
