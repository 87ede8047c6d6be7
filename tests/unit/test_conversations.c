/*
 * Dialogs: posts are numbered, logged and told to both, changes and marks are the author's and the
 * reader's own, and all of it is the same for the next owner (docs/delivery.md, S11).
 */
#include "common/uid.h"
#include "common/xalloc.h"
#include "tests/unit/voices.h"

static struct frame_conversation_post post_to(const char *from, const char *chat, const char *id)
{
    return (struct frame_conversation_post){
        .connection = 1,
        .request = 7,
        .from = T(from),
        .chat = T(chat),
        .id = T(id),
        .protocol = 2,
        .body = T("{\"message\":\"hi\"}"),
    };
}

static void say_post(int g, struct frame_conversation_post post)
{
    say(g, &(struct frame){.type = FRAME_CONVERSATION_POST, .conversation_post = post});
}

static void post(int g, const char *from, const char *chat, const char *id)
{
    say_post(g, post_to(from, chat, id));
}

static void change(int g, const char *from, const char *chat, uint64_t message, uint64_t kind,
                   const char *body)
{
    SAY(g, CONVERSATION_CHANGE, conversation_change, .connection = 1, .request = 8, .from = T(from),
        .chat = T(chat), .message = message, .change = kind, .protocol = 2, .body = T(body));
}

static void mark(int g, const char *from, const char *chat, uint64_t kind, uint64_t message)
{
    SAY(g, CONVERSATION_MARK, conversation_mark, .connection = 1, .request = 9, .from = T(from),
        .chat = T(chat), .mark = kind, .message = message);
}

#define DIALOG "alice\nbob"

static const struct engine_page_entry *log_of(const char *conversation, size_t *count)
{
    return model_store_journal(world_store(world), "log", T(conversation), count);
}

/* The stream `delivered` or `read` of a user in the dialog: "1@0 3@500", times after the start. */
static void expect_marks(const char *what, const char *name, const char *expected)
{
    struct buffer text = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), what, T(name), &count);

    for (size_t i = 0; i < count; i++) {
        struct number at;

        assert_int_equal(number_parse(model_entry_field(&entries[i], "at"), &at), 0);
        buffer_appendf(&text, "%s%llu@%llu", i ? " " : "",
                       (unsigned long long)entries[i].number.epoch,
                       (unsigned long long)(at.epoch - START_MS));
    }
    buffer_append_byte(&text, '\0');
    assert_string_equal(text.data, expected);
    buffer_finish(&text);
}

static void take_again(void)
{
    world_take(world);
    worlds_settle(worlds, world_count);
}

/* ---- posts ---- */

static void posts_are_numbered_and_answered(void **state)
{
    size_t count;
    const struct engine_page_entry *entries;

    (void)state;
    post(G1, "alice", "bob", "a1");
    post(G2, "bob", "alice", "b1");
    post(G1, "alice", "bob", "a2");
    turn();
    expect(G1, "CONVERSATION_REPLY connection=1 request=7 status=0 message=1",
           "CONVERSATION_REPLY connection=1 request=7 status=0 message=2", NULL);
    expect(G2, "CONVERSATION_REPLY connection=1 request=7 status=0 message=3", NULL);
    entries = log_of(DIALOG, &count);
    assert_int_equal(count, 3);
    assert_int_equal(entries[0].number.epoch, 1);
    assert_int_equal(entries[0].number.sequence, 0);
    assert_true(slice_is(model_entry_field(&entries[0], "from"), "alice"));
    assert_true(slice_is(model_entry_field(&entries[0], "id"), "a1"));
    assert_true(slice_is(model_entry_field(&entries[0], "at"), "1700000000000"));
    assert_true(slice_is(model_entry_field(&entries[2], "from"), "bob"));
    expect_field("dialog", T(DIALOG), "last", "3");
    expect_field("dialog", T(DIALOG), "+alice", "0 0 0 2 1700000000000");
    expect_field("dialog", T(DIALOG), "+bob", "0 0 0 3 1700000000000");
}

static void numbers_go_on_after_a_take(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    take_again();
    deaf_all();
    post(G1, "bob", "alice", "b1");
    turn();
    expect(G1, "CONVERSATION_REPLY connection=1 request=7 status=0 message=2", NULL);
}

static void numbers_go_on_when_it_was_forgotten(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    engine_trim_users(world_engine(world), 0);
    deaf_all();
    post(G1, "alice", "bob", "a2");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=2", NULL);
}

static void a_post_that_is_sent_again_keeps_its_number(void **state)
{
    struct frame_conversation_post again_post = post_to("alice", "bob", "a1");

    (void)state;
    again_post.retry = 1;
    say_post(G1, again_post);
    turn();
    pass(1000);
    say_post(G1, again_post);
    take_again();
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", "CONVERSATION_REPLY * status=0 message=1",
           NULL);
    expect_field("dialog", T(DIALOG), "last", "1");
    /* Other content under the same id is another message; so is the same after two minutes. */
    again_post.body = T("other");
    say_post(G1, again_post);
    turn();
    pass(121000);
    say_post(G1, again_post);
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=2", "CONVERSATION_REPLY * status=0 message=3",
           NULL);
}

static void a_log_keeps_so_many_messages_and_their_changes(void **state)
{
    struct engine_limits few = usual_limits;
    size_t count;

    (void)state;
    few.conversation_messages = 3;
    again(&few);
    post(G1, "alice", "bob", "a1");
    post(G1, "alice", "bob", "a2");
    turn();
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "x");
    turn();
    for (int i = 0; i < 3; i++)
        post(G1, "alice", "bob", "a");
    turn();
    /* The first two came in one commit, in one entry; so did these. */
    assert_int_equal(log_of(DIALOG, &count)[0].number.epoch, 3);
    assert_int_equal(count, 3);
    expect_field("dialog", T(DIALOG), "first", "3");
    expect_field("changes", T(DIALOG), "1", "");
    deaf_all();
    change(G1, "alice", "bob", 2, CONVERSATION_EDIT, "x");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=2 *", NULL);
}

/* ---- who hears of a post ---- */

static void the_other_gets_it_as_a_message(void **state)
{
    (void)state;
    connect_user(G2, 5, "bob");
    connect_user(G3, 6, "alice");
    turn();
    deaf_all();
    post(G1, "alice", "bob", "a1");
    turn();
    expect(G2,
           "MESSAGE_DELIVERY connections=[5] * from=\"alice\" to=\"bob\" chat=\"\" id=\"a1\" "
           "message=1 *",
           NULL);
    expect(G3, NULL);
    assert_true(
        slice_is(model_store_scores(world_store(world), "chats", T("bob"), &(size_t){0})[0].member,
                 "alice"));
    assert_true(slice_is(
        model_store_scores(world_store(world), "chats", T("alice"), &(size_t){0})[0].member,
        "bob"));
}

static void one_who_is_away_finds_it_in_the_mailbox(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    expect_mailbox("bob", "a1");
    expect_mailbox("alice", "");
    deaf_all();
    take_again();
    connect_user(G2, 5, "bob");
    turn();
    expect(G2, "MESSAGE_DELIVERY connections=[5] * id=\"a1\" message=1 *", NULL);
}

static void a_full_mailbox_is_told_to_the_author(void **state)
{
    struct engine_limits few = usual_limits;

    (void)state;
    few.mailbox_messages = 1;
    again(&few);
    connect_user(G3, 6, "alice");
    post(G1, "alice", "bob", "a1");
    post(G1, "alice", "bob", "a2");
    turn();
    expect(G3, "MESSAGE_STATUS connections=[6] to=\"bob\" id=\"a2\" status=*", NULL);
    expect_mailbox("bob", "a1");
}

static void a_dialog_with_oneself_has_one_member(void **state)
{
    (void)state;
    post(G1, "alice", "alice", "a1");
    turn();
    expect_field("dialog", T("alice\nalice"), "last", "1");
    expect_mailbox("alice", "");
    change(G1, "alice", "alice", 1, CONVERSATION_DELETE, "");
    mark(G1, "alice", "alice", CONVERSATION_MARK_READ, 1);
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", "CONVERSATION_REPLY * status=0 message=1",
           "CONVERSATION_REPLY * status=0 message=1", NULL);
}

/* ---- changes ---- */

static void an_author_changes_his_message(void **state)
{
    (void)state;
    connect_user(G2, 5, "bob");
    connect_user(G3, 6, "alice");
    post(G1, "alice", "bob", "a1");
    turn();
    deaf_all();
    pass(500);
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "new body");
    turn();
    expect(G1, "CONVERSATION_REPLY connection=1 request=8 status=0 message=1", NULL);
    expect(G2,
           "SIGNAL_DELIVERY connections=[5] kind=3 from=\"alice\" to=\"bob\" chat=\"\" id=\"a1\" "
           "message=1 protocol=2 content=0 body=(8 bytes)",
           NULL);
    expect(G3, NULL);
    expect_field("changes", T(DIALOG), "1", "edit 1700000000500 2 0 new body");
    change(G1, "alice", "bob", 1, CONVERSATION_DELETE, "");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", NULL);
    expect(G2, "SIGNAL_DELIVERY connections=[5] kind=4 * id=\"a1\" message=1 *", NULL);
    expect_field("changes", T(DIALOG), "1", "delete 1700000000500");
}

/* The id in the one frame that g has heard; owned. */
static char *id_heard(int g)
{
    char *heard = hear(g), *begin = strstr(heard, " id=\""), *id;

    if (begin == NULL || strstr(begin + 1, " id=\""))
        fail_msg("heard: %s", heard);
    begin += sizeof(" id=\"") - 1;
    id = strndup(begin, strcspn(begin, "\""));
    free(heard);
    return id;
}

/* Where it is read and where it is changed: nobody has written it down. */
static void one_without_an_id_has_one_all_the_same(void **state)
{
    char *id, *other, *edited;

    (void)state;
    connect_user(G2, 5, "bob");
    post(G1, "alice", "bob", "");
    turn();
    id = id_heard(G2);
    assert_int_equal(strlen(id), ULID_TEXT_SIZE - 1);
    pass(500);
    post(G1, "alice", "bob", "");
    turn();
    other = id_heard(G2);
    assert_string_not_equal(id, other);
    world_take(world);
    worlds_settle(worlds, world_count);
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "new body");
    turn();
    edited = id_heard(G2);
    assert_string_equal(id, edited);
    free(id);
    free(other);
    free(edited);
}

/* The ids in g's new frames, in order, each with a space behind it; owned. */
static char *ids_heard(int g)
{
    static const char word[] = " id=\"";
    char *heard = hear(g);
    struct buffer ids = {0};

    for (const char *at = heard; (at = strstr(at, word)) != NULL;) {
        at += sizeof(word) - 1;
        buffer_appendf(&ids, "%.*s ", (int)strcspn(at, "\""), at);
    }
    buffer_append_byte(&ids, '\0');
    free(heard);
    return ids.data;
}

/* Written in one commit, and so read from one entry of the log. */
static void one_without_an_id_is_found_among_others(void **state)
{
    char *delivered, *edited, first[32], third[32];

    (void)state;
    connect_user(G2, 5, "bob");
    connect_user(G3, 6, "carol");
    post(G1, "alice", "bob", "");
    post(G1, "alice", "bob", "a2");
    post(G1, "alice", "bob", "");
    post(G1, "alice", "carol", "");
    turn();
    delivered = ids_heard(G2);
    assert_int_equal(sscanf(delivered, "%31s a2 %31s", first, third), 2);
    assert_string_not_equal(first, third);
    /* The first one's number and time, in another dialog. */
    edited = ids_heard(G3);
    edited[ULID_TEXT_SIZE - 1] = '\0';
    assert_string_not_equal(first, edited);
    free(edited);
    engine_trim_users(world_engine(world), 0);
    pass(500);
    for (uint64_t message = 3; message > 0; message--)
        change(G1, "alice", "bob", message, CONVERSATION_EDIT, "new body");
    turn();
    edited = ids_heard(G2);
    free(delivered);
    delivered = xmalloc(128);
    snprintf(delivered, 128, "%s a2 %s ", third, first);
    assert_string_equal(edited, delivered);
    free(delivered);
    free(edited);
}

/* It waits under the id by which it is read, and is changed. */
static void one_without_an_id_waits_and_is_read(void **state)
{
    char *id, *edited;

    (void)state;
    connect_flags(G2, 5, "bob", CONNECTION_FLAG_KEEP);
    turn();
    closed(G2, 5, (struct number){0});
    turn();
    deaf_all();
    post(G1, "alice", "bob", "");
    turn();
    pass(500);
    take_again();
    deaf_all();
    connect_flags(G2, 6, "bob", CONNECTION_FLAG_KEEP);
    turn();
    id = id_heard(G2);
    written(G2);
    turn();
    expect_mailbox("bob", id);
    change(G1, "alice", "bob", 1, CONVERSATION_DELETE, "");
    turn();
    edited = id_heard(G2);
    assert_string_equal(id, edited);
    SAY(G2, MESSAGE_READ, message_read, .connection = 6, .user = T("bob"), .id = T(id),
        .from = T("alice"));
    turn();
    expect_mailbox("bob", "");
    free(id);
    free(edited);
}

static void a_full_mailbox_has_an_id_for_it(void **state)
{
    struct engine_limits few = usual_limits;
    char *id, *edited;

    (void)state;
    few.mailbox_messages = 1;
    again(&few);
    connect_user(G3, 6, "alice");
    post(G1, "alice", "bob", "a1");
    post(G1, "alice", "bob", "");
    turn();
    id = id_heard(G3);
    deaf_all();
    connect_user(G2, 5, "bob");
    turn();
    deaf_all();
    change(G1, "alice", "bob", 2, CONVERSATION_DELETE, "");
    turn();
    edited = id_heard(G2);
    assert_string_equal(id, edited);
    free(id);
    free(edited);
}

static void what_is_deleted_stays_deleted(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    change(G1, "alice", "bob", 1, CONVERSATION_DELETE, "");
    turn();
    deaf_all();
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "again");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=2 message=1", NULL);
    take_again();
    deaf_all();
    change(G1, "alice", "bob", 1, CONVERSATION_DELETE, "");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=2 message=1", NULL);
}

static void only_the_author_changes(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    deaf_all();
    change(G1, "bob", "alice", 1, CONVERSATION_EDIT, "forged");
    change(G1, "alice", "bob", 2, CONVERSATION_EDIT, "never posted");
    change(G1, "alice", "bob", 0, CONVERSATION_EDIT, "no id");
    change(G1, "carol", "bob", 1, CONVERSATION_EDIT, "no dialog");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=1 *", "CONVERSATION_REPLY * status=2 *",
           "CONVERSATION_REPLY * status=2 *", "CONVERSATION_REPLY * status=2 *", NULL);
    expect_field("changes", T(DIALOG), "1", "");
}

static void a_message_looked_for_too_early_can_be_changed_later(void **state)
{
    (void)state;
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "too early");
    turn();
    post(G1, "alice", "bob", "a1");
    turn();
    deaf_all();
    change(G1, "alice", "bob", 1, CONVERSATION_EDIT, "now");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", NULL);
}

/* ---- marks ---- */

static void marks_rise_and_keep_their_first_time(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        post(G1, "alice", "bob", "a");
    turn();
    deaf_all();
    mark(G2, "bob", "alice", CONVERSATION_MARK_DELIVERED, 2);
    turn();
    pass(500);
    mark(G2, "bob", "alice", CONVERSATION_MARK_DELIVERED, 1);
    mark(G2, "bob", "alice", CONVERSATION_MARK_READ, 3);
    turn();
    take_again();
    pass(500);
    mark(G2, "bob", "alice", CONVERSATION_MARK_DELIVERED, 3);
    mark(G2, "bob", "alice", CONVERSATION_MARK_READ, 3);
    turn();
    expect(G2, "CONVERSATION_REPLY * status=0 message=2", "CONVERSATION_REPLY * status=0 message=2",
           "CONVERSATION_REPLY * status=0 message=3", "CONVERSATION_REPLY * status=0 message=3",
           "CONVERSATION_REPLY * status=0 message=3", NULL);
    expect_marks("delivered", DIALOG "\nbob", "2@0 3@500");
    expect_marks("read", DIALOG "\nbob", "3@500");
    expect_field("dialog", T(DIALOG), "+bob", "3 3 0 0 1700000000000");
}

static void a_mark_needs_a_message_and_a_member(void **state)
{
    (void)state;
    post(G1, "alice", "bob", "a1");
    turn();
    deaf_all();
    mark(G2, "bob", "alice", CONVERSATION_MARK_READ, 2);
    mark(G2, "bob", "alice", CONVERSATION_MARK_READ, 0);
    mark(G2, "bob", "carol", CONVERSATION_MARK_READ, 1);
    turn();
    expect(G2, "CONVERSATION_REPLY * status=2 message=0", "CONVERSATION_REPLY * status=2 message=0",
           "CONVERSATION_REPLY * status=2 message=0", NULL);
}

/* ---- groups ---- */

static void group(int g, const char *from, uint64_t kind, const char *members)
{
    SAY(g, GROUP_CHANGE, group_change, .connection = 1, .request = 6, .from = T(from),
        .chat = T("group:g"), .change = kind, .name = T("Friends"), .members = T(members));
}

static void expect_status(int g, unsigned status)
{
    char pattern[64];

    snprintf(pattern, sizeof(pattern), "CONVERSATION_REPLY * status=%u *", status);
    expect(g, pattern, NULL);
}

static bool has_chat(const char *user, const char *chat)
{
    size_t count;
    const struct model_score *scores =
        model_store_scores(world_store(world), "chats", T(user), &count);

    for (size_t i = 0; i < count; i++)
        if (slice_is(scores[i].member, chat))
            return true;
    return false;
}

static void a_group_is_made_and_its_members_hear(void **state)
{
    (void)state;
    connect_user(G2, 5, "bob");
    connect_user(G2, 6, "carol");
    connect_user(G2, 7, "dave");
    turn();
    deaf_all();
    group(G1, "alice", GROUP_CREATE, "bob\ncarol\n");
    turn();
    expect_status(G1, CONVERSATION_OK);
    expect(G2,
           "SIGNAL_DELIVERY connections=[5] kind=5 from=\"alice\" to=\"bob\" chat=\"group:g\" *",
           "SIGNAL_DELIVERY connections=[6] kind=5 from=\"alice\" to=\"carol\" chat=\"group:g\" *",
           NULL);
    expect_field("group", T("g"), "owner", "alice");
    expect_field("group", T("g"), "name", "Friends");
    assert_true(has_chat("alice", "group:g") && has_chat("bob", "group:g"));
    post(G1, "bob", "group:g", "b1");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", NULL);
    expect(G2, "MESSAGE_DELIVERY connections=[6] * from=\"bob\" to=\"carol\" chat=\"group:g\" *",
           NULL);
    expect_mailbox("alice", "b1");
}

/* Members at several partitions, by names that keys write otherwise. */
static void one_without_an_id_has_the_same_everywhere(void **state)
{
    static const char *const names[] = {"a|b", "%41", "\xc3\xa9", "bob", "x y", "group"};
    char *ids[6], *changed;
    unsigned partitions = 0;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        at_partition(partition_of(world_deployment_wide(), T(names[i])));
        partitions |= 1u << partition_of(world_deployment_wide(), T(names[i]));
        connect_user(G1, i + 1, names[i]);
    }
    assert_true(partitions & (partitions - 1));
    at_partition(partition_of(world_deployment_wide(), T("group:g")));
    group(G2, "alice", GROUP_CREATE, "a|b\n%41\n\xc3\xa9\nbob\n");
    turn();
    for (size_t p = 0; p < WORLD_PARTITIONS; p++) {
        at_partition(p);
        deaf_all();
    }
    for (unsigned i = 0; i < 4; i++) {
        at_partition(partition_of(world_deployment_wide(), T("group:g")));
        post(G2, "alice", "group:g", "");
        turn();
        ids[i] = NULL;
        for (size_t p = 0; p < WORLD_PARTITIONS; p++) {
            at_partition(p);
            changed = ids_heard(G1);
            for (char *id = strtok(changed, " "); id; id = strtok(NULL, " ")) {
                if (ids[i] == NULL)
                    ids[i] = strdup(id);
                assert_string_equal(ids[i], id);
            }
            free(changed);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned count = 0;

        at_partition(partition_of(world_deployment_wide(), T("group:g")));
        change(G2, "alice", "group:g", i + 1, CONVERSATION_EDIT, "new");
        turn();
        for (size_t p = 0; p < WORLD_PARTITIONS; p++) {
            at_partition(p);
            changed = ids_heard(G1);
            for (char *id = strtok(changed, " "); id; id = strtok(NULL, " "), count++)
                assert_string_equal(ids[i], id);
            free(changed);
        }
        assert_int_equal(count, 4);
        free(ids[i]);
    }
    for (size_t p = 0; p < WORLD_PARTITIONS; p++) {
        at_partition(p);
        written(G1);
    }
    turn();
    /* Dialogs, whoever of both is first. */
    for (unsigned i = 0; i < 6; i++) {
        const char *other = names[(i + 1) % 6];

        at_partition(partition_of_chat(world_deployment_wide(), T(names[i]), T(other)));
        post(G2, names[i], other, "");
        turn();
        at_partition(partition_of(world_deployment_wide(), T(other)));
        ids[i] = id_heard(G1);
        at_partition(partition_of_chat(world_deployment_wide(), T(names[i]), T(other)));
        change(G2, names[i], other, 1, CONVERSATION_EDIT, "new");
        turn();
        at_partition(partition_of(world_deployment_wide(), T(other)));
        changed = id_heard(G1);
        assert_string_equal(ids[i], changed);
        free(changed);
        free(ids[i]);
    }
}

static void the_server_writes_to_groups(void **state)
{
    (void)state;
    group(G1, "alice", GROUP_CREATE, "bob\n");
    turn();
    deaf_all();
    post(G1, "SERVER", "group:g", "s1");
    turn();
    take_again();
    post(G1, "SERVER", "group:g", "s2");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 message=1", "CONVERSATION_REPLY * status=0 message=2",
           NULL);
    expect_field("group", T("g"), "last", "2");
    expect_mailbox("alice", "s1 s2");
}

static void a_group_has_limits_and_an_owner(void **state)
{
    (void)state;
    group(G1, "alice", GROUP_CREATE, "b\nc\nd\ne\nf\n");
    turn();
    expect_status(G1, CONVERSATION_FULL);
    group(G1, "bob", GROUP_JOIN, "");
    turn();
    expect_status(G1, CONVERSATION_NOT_FOUND);
    group(G1, "alice", GROUP_CREATE, "b\nc\n");
    turn();
    expect_status(G1, CONVERSATION_OK);
    group(G1, "z", GROUP_CREATE, "");
    turn();
    expect_status(G1, CONVERSATION_EXISTS);
    group(G1, "b", GROUP_ADD, "x\n");
    turn();
    expect_status(G1, CONVERSATION_FORBIDDEN);
    group(G1, "x", GROUP_LEAVE, "");
    turn();
    expect_status(G1, CONVERSATION_FORBIDDEN);
    group(G1, "b", GROUP_DELETE, "");
    turn();
    expect_status(G1, CONVERSATION_FORBIDDEN);
    group(G1, "alice", GROUP_ADD, "b\nd\ne\nf\n");
    turn();
    expect_status(G1, CONVERSATION_FULL);
    take_again();
    deaf_all();
    group(G1, "alice", GROUP_ADD, "b\nd\ne\n");
    turn();
    expect_status(G1, CONVERSATION_OK);
    group(G1, "f", GROUP_JOIN, "");
    turn();
    expect_status(G1, CONVERSATION_FULL);
    group(G1, "alice", GROUP_REMOVE, "d\nnobody\n");
    turn();
    expect_status(G1, CONVERSATION_OK);
    group(G1, "alice", GROUP_REMOVE, "d\n");
    turn();
    expect_status(G1, CONVERSATION_NOT_FOUND);
    group(G1, "alice", GROUP_ADD, "b\n");
    turn();
    expect_status(G1, CONVERSATION_EXISTS);
    group(G1, "b", GROUP_JOIN, "");
    turn();
    expect_status(G1, CONVERSATION_EXISTS);
    assert_true(has_chat("e", "group:g") && !has_chat("d", "group:g"));
    post(G1, "d", "group:g", "d1");
    turn();
    expect_status(G1, CONVERSATION_FORBIDDEN);
    post(G1, "d", "group:none", "d1");
    turn();
    expect_status(G1, CONVERSATION_NOT_FOUND);
}

static void a_new_member_is_owed_nothing_old(void **state)
{
    (void)state;
    group(G1, "alice", GROUP_CREATE, "bob\n");
    turn();
    post(G1, "alice", "group:g", "a1");
    post(G1, "alice", "group:g", "a2");
    turn();
    group(G1, "carol", GROUP_JOIN, "");
    turn();
    expect_field("group", T("g"), "+carol", "2 2 2 0 1700000000000");
    expect_field("group", T("g"), "+bob", "0 0 0 0 1700000000000");
}

static void an_owner_who_leaves_hands_on(void **state)
{
    (void)state;
    group(G1, "alice", GROUP_CREATE, "");
    turn();
    pass(10);
    group(G1, "carol", GROUP_JOIN, "");
    turn();
    pass(10);
    group(G1, "bob", GROUP_JOIN, "");
    turn();
    group(G1, "alice", GROUP_LEAVE, "");
    turn();
    expect_field("group", T("g"), "owner", "carol");
    expect_field("group", T("g"), "+alice", "");
    assert_false(has_chat("alice", "group:g"));
    group(G1, "carol", GROUP_LEAVE, "");
    group(G1, "bob", GROUP_LEAVE, "");
    turn();
    expect_field("group", T("g"), "owner", "");
    expect_field("group", T("g"), "deleted", "1700000000020");
}

static void a_deleted_group_leaves_nothing_but_its_name(void **state)
{
    size_t count;

    (void)state;
    connect_user(G2, 5, "bob");
    group(G1, "alice", GROUP_CREATE, "bob\n");
    post(G1, "bob", "group:g", "b1");
    turn();
    mark(G1, "alice", "group:g", CONVERSATION_MARK_READ, 1);
    change(G1, "bob", "group:g", 1, CONVERSATION_EDIT, "x");
    turn();
    deaf_all();
    group(G1, "alice", GROUP_DELETE, "");
    turn();
    expect_status(G1, CONVERSATION_OK);
    expect(G2, "SIGNAL_DELIVERY connections=[5] kind=6 *", NULL);
    assert_false(has_chat("alice", "group:g") || has_chat("bob", "group:g"));
    log_of("group:g", &count);
    assert_int_equal(count, 0);
    expect_marks("read", "group:g\nalice", "");
    expect_marks("delivered", "group:g\nalice", "");
    expect_field("changes", T("group:g"), "1", "");
    for (int i = 0; i < 2; i++) {
        group(G1, "alice", GROUP_CREATE, "");
        turn();
        expect_status(G1, CONVERSATION_EXISTS);
        post(G1, "alice", "group:g", "a1");
        turn();
        expect_status(G1, CONVERSATION_NOT_FOUND);
        take_again();
        deaf_all();
    }
}

static void all_at_once_in_one_batch(void **state)
{
    (void)state;
    group(G1, "alice", GROUP_CREATE, "bob\n");
    post(G1, "bob", "group:g", "b1");
    group(G1, "alice", GROUP_REMOVE, "bob\n");
    post(G1, "bob", "group:g", "b2");
    group(G1, "bob", GROUP_JOIN, "");
    mark(G1, "bob", "group:g", CONVERSATION_MARK_READ, 1);
    group(G1, "alice", GROUP_DELETE, "");
    turn();
    expect(G1, "CONVERSATION_REPLY * status=0 *", "CONVERSATION_REPLY * status=0 message=1",
           "CONVERSATION_REPLY * status=0 *", "CONVERSATION_REPLY * status=1 *",
           "CONVERSATION_REPLY * status=0 *", "CONVERSATION_REPLY * status=0 message=1",
           "CONVERSATION_REPLY * status=0 *", NULL);
    expect_field("group", T("g"), "last", "");
    assert_false(has_chat("bob", "group:g"));
}

/* ---- signals ---- */

static void signals_reach_those_who_are_there(void **state)
{
    (void)state;
    connect_user(G2, 5, "bob");
    group(G1, "alice", GROUP_CREATE, "bob\ncarol\n");
    turn();
    deaf_all();
    SAY(G1, SIGNAL_SEND, signal_send, .kind = SIGNAL_PASSED_ON, .from = T("alice"), .to = T("bob"),
        .id = T("s1"), .protocol = 5, .body = T("x"));
    SAY(G1, SIGNAL_SEND, signal_send, .kind = SIGNAL_PASSED_ON, .from = T("alice"),
        .to = T("carol"));
    SAY(G1, CONVERSATION_SIGNAL, conversation_signal, .kind = SIGNAL_TYPING, .from = T("alice"),
        .chat = T("bob"));
    SAY(G1, CONVERSATION_SIGNAL, conversation_signal, .kind = SIGNAL_TYPING, .from = T("alice"),
        .chat = T("group:g"), .request = 3);
    SAY(G1, CONVERSATION_SIGNAL, conversation_signal, .kind = SIGNAL_TYPING, .from = T("dave"),
        .chat = T("group:g"), .request = 4);
    SAY(G1, CONVERSATION_SIGNAL, conversation_signal, .kind = SIGNAL_TYPING, .from = T("dave"),
        .chat = T("group:h"), .request = 5);
    turn();
    expect(G1, "CONVERSATION_REPLY * request=3 status=0 *",
           "CONVERSATION_REPLY * request=4 status=1 *", "CONVERSATION_REPLY * request=5 status=2 *",
           NULL);
    expect(G2,
           "SIGNAL_DELIVERY connections=[5] kind=2 from=\"alice\" to=\"bob\" chat=\"\" id=\"s1\" *",
           "SIGNAL_DELIVERY connections=[5] kind=1 from=\"alice\" to=\"bob\" chat=\"\" *",
           "SIGNAL_DELIVERY connections=[5] kind=1 from=\"alice\" to=\"bob\" chat=\"group:g\" *",
           NULL);
}

static void where_messages_went_is_remembered(void **state)
{
    size_t count;
    const struct engine_page_entry *entries;

    (void)state;
    for (int i = 0; i < 1005; i++) {
        SAY(G1, MESSAGE_SENT, message_sent, .user = T("alice"), .id = T("m"), .chat = T("bob"));
        SAY(G1, MESSAGE_SENT, message_sent, .user = T("alice"), .id = T("n"), .chat = T("carol"));
        turn();
    }
    entries = model_store_stream(world_store(world), "sent", T("alice"), &count);
    assert_int_equal(count, 1000);
    assert_true(slice_is(model_entry_field(&entries[0], "m"), "bob"));
    assert_true(slice_is(model_entry_field(&entries[0], "n"), "carol"));
}

/* As many as one script can unpack go into one entry. */
static void many_messages_of_a_commit_are_remembered(void **state)
{
    const struct engine_page_entry *entries;
    size_t count, pairs = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        SAY(G1, MESSAGE_SENT, message_sent, .user = T("alice"), .id = T("m"), .chat = T("bob"));
    turn();
    entries = model_store_stream(world_store(world), "sent", T("alice"), &count);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++)
        pairs += entries[i].field_count;
    assert_true(pairs >= 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WIDE(name) cmocka_unit_test_setup_teardown(name, setup_wide, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(posts_are_numbered_and_answered),
        TEST(numbers_go_on_after_a_take),
        TEST(numbers_go_on_when_it_was_forgotten),
        TEST(a_post_that_is_sent_again_keeps_its_number),
        TEST(a_log_keeps_so_many_messages_and_their_changes),
        TEST(the_other_gets_it_as_a_message),
        TEST(one_who_is_away_finds_it_in_the_mailbox),
        TEST(a_full_mailbox_is_told_to_the_author),
        TEST(a_dialog_with_oneself_has_one_member),
        TEST(an_author_changes_his_message),
        TEST(one_without_an_id_has_one_all_the_same),
        TEST(one_without_an_id_is_found_among_others),
        TEST(one_without_an_id_waits_and_is_read),
        TEST(a_full_mailbox_has_an_id_for_it),
        TEST_WIDE(one_without_an_id_has_the_same_everywhere),
        TEST(what_is_deleted_stays_deleted),
        TEST(only_the_author_changes),
        TEST(a_message_looked_for_too_early_can_be_changed_later),
        TEST(marks_rise_and_keep_their_first_time),
        TEST(a_mark_needs_a_message_and_a_member),
        TEST(a_group_is_made_and_its_members_hear),
        TEST(the_server_writes_to_groups),
        TEST(a_group_has_limits_and_an_owner),
        TEST(a_new_member_is_owed_nothing_old),
        TEST(an_owner_who_leaves_hands_on),
        TEST(a_deleted_group_leaves_nothing_but_its_name),
        TEST(all_at_once_in_one_batch),
        TEST(signals_reach_those_who_are_there),
        TEST(where_messages_went_is_remembered),
        TEST(many_messages_of_a_commit_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
