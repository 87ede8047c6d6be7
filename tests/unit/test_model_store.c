/*
 * The model of Redis, on which the engine is tested, does the same as a real one with the same
 * commits.
 */
#include "common/xalloc.h"
#include "tests/unit/asking.h"
#include "tests/unit/engine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY ((struct slice){0})

/* Near Redis's own time, so that no id it makes is below the model's. */
static uint64_t redis_ms(void)
{
    const char *reply = ASK("TIME");
    char *rest;
    uint64_t seconds = strtoull(reply, &rest, 10);

    return seconds * 1000 + strtoull(rest, NULL, 10) / 1000;
}

/* A key stands for itself, as it is written. */

static void mirror(const struct engine_world *world, const struct model_commit *made)
{
    char *epoch = xasprintf("%llu", (unsigned long long)world_epoch(world));
    size_t count;
    struct slice commands = model_commit_commands(made, &count);
    const char *answers;

    if (model_commit_number(made) == 1)
        ASK("HSET", "t:{0}:state", "epoch", epoch, "commit", "0");
    answers = ask_transaction(commands, count);
    if (strstr(answers, "ERR") || strstr(answers, "WRONGTYPE"))
        fail_msg("%s", answers);
    free(epoch);
}

static void turns(struct engine_world *world)
{
    struct model_commit *made;

    while ((made = world_turn(world, 2, false)) != NULL) {
        mirror(world, made);
        assert_int_equal(model_store_run(world_store(world), made), MODEL_OK);
        model_commit_destroy(&made);
        world_ask_pages(world);
    }
}

static void compare_hash(const struct model_store *store, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    size_t count;
    const struct engine_field *fields = model_store_hash(store, key, NOBODY, &count);
    char digits[24];

    snprintf(digits, sizeof(digits), "%zu", count);
    EXPECT(digits, "HLEN", full);
    for (size_t i = 0; i < count; i++) {
        char *field = xmemdup0(fields[i].name.data, fields[i].name.length);
        char *value = xmemdup0(fields[i].value.data, fields[i].value.length);

        EXPECT(value, "HGET", full, field);
        free(field);
        free(value);
    }
    free(full);
}

static void compare_stream(const struct model_store *store, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    size_t count;
    const struct engine_page_entry *entries = model_store_stream(store, key, NOBODY, &count);
    struct buffer ids = {0};
    char id[NUMBER_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        number_format(entries[i].number, id);
        buffer_appendf(&ids, "%s%s", i ? " " : "", id);
    }
    buffer_append_byte(&ids, '\0');
    EXPECT(ids.data, "EVAL",
           "local ids = {} for i, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do "
           "ids[i] = e[1] end return ids",
           "1", full);
    number_format(model_store_last_id(store, key, NOBODY), id);
    assert_non_null(strstr(ASK("XINFO", "STREAM", full), id));
    buffer_finish(&ids);
    free(full);
}

static void compare_scores(const struct model_store *store, const char *key)
{
    size_t count;
    const struct model_score *scores = model_store_scores(store, key, NOBODY, &count);
    struct buffer words = {0};
    char *full = xasprintf("t:{0}:%s", key);

    for (size_t i = 0; i < count; i++)
        buffer_appendf(&words, "%s%.*s %llu", i ? " " : "", (int)scores[i].member.length,
                       scores[i].member.data, (unsigned long long)scores[i].score);
    buffer_append_byte(&words, '\0');
    EXPECT(words.data, "ZRANGE", full, "0", "-1", "WITHSCORES");
    buffer_finish(&words);
    free(full);
}

static size_t compared;

/* `in` and `state` are written by others than commits. */
static void compare_key(void *arg, const char *key)
{
    char *full = xasprintf("t:{0}:%s", key);
    char *type = xstrdup(ASK("TYPE", full));

    compared++;
    if (strcmp(key, "in") == 0 || strcmp(key, "state") == 0)
        compared--;
    else if (strcmp(type, "hash") == 0)
        compare_hash(arg, key);
    else if (strcmp(type, "stream") == 0)
        compare_stream(arg, key);
    else if (strcmp(type, "zset") == 0)
        compare_scores(arg, key);
    else
        fail_msg("%s is not in Redis: %s", key, type);
    free(type);
    free(full);
}

static void compare(const struct engine_world *world)
{
    char digits[24];

    compared = 0;
    model_store_each_key(world_store(world), compare_key, (void *)(uintptr_t)world_store(world));
    /* Beside what was compared: state and lease, and what was said to oneself. */
    snprintf(digits, sizeof(digits), "%zu",
             compared + 2 + (strcmp(ASK("EXISTS", "t:{0}:in"), "1") == 0));
    EXPECT(digits, "DBSIZE");
}

#define G1 "g1-00000000000000a1"
#define G2 "g2-00000000000000a2"

static void say(struct buffer *entry, const struct frame *frame)
{
    frame_encode(entry, frame);
}

static void add(struct engine_world *world, const char *gateway, uint64_t number,
                struct buffer *entry)
{
    model_store_add_input(world_store(world), slice_text(gateway), number, buffer_slice(entry));
    buffer_reset(entry, SIZE_MAX);
    turns(world);
}

static void say_connect(struct buffer *entry, uint64_t connection, const char *user, uint64_t flags)
{
    say(entry, &(struct frame){.type = FRAME_USER_CONNECT,
                               .user_connect = {.connection = connection,
                                                .user = slice_text(user),
                                                .protocol = 3,
                                                .flags = flags}});
}

static void say_direct(struct buffer *entry, const char *to, const char *id)
{
    say(entry, &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                               .direct_message = {.connection = 1,
                                                  .from = slice_text("alice"),
                                                  .to = slice_text(to),
                                                  .id = slice_text(id),
                                                  .retry = 1,
                                                  .body = slice_text("body")}});
}

static void announce(struct engine_world *world, const char *gateway, uint64_t nonce,
                     struct buffer *entry)
{
    say(entry, &(struct frame){.type = FRAME_GATEWAY_ANNOUNCE,
                               .gateway_announce = {.nonce = nonce, .last = 1}});
    add(world, gateway, 0, entry);
}

static void the_model_does_as_redis_does(void **state)
{
    static const struct engine_limits limits = {
        .gateway_death_ms = 15000,
        .presence_grace_ms = 2000,
        .mailbox_messages = 100,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms = 1 << 30,
        .user_connections = 4,
        .window_messages = 2,
        .window_bytes = 1 << 18,
        .output_bytes = 1 << 24,
    };
    struct engine_world *world = world_create(&limits, redis_ms() + 1000);
    struct buffer entry = {0};

    (void)state;
    world_take(world);
    turns(world);
    announce(world, G1, 1, &entry);
    announce(world, G2, 1, &entry);
    say_connect(&entry, 1, "alice", 0);
    say_connect(&entry, 2, "bob", CONNECTION_FLAG_ACK);
    say(&entry, &(struct frame){.type = FRAME_TOPIC_COUNT,
                                .topic_count = {.topic = slice_text("t"), .connections = 2}});
    say_direct(&entry, "carol", "m0");
    add(world, G1, 1, &entry);
    for (int i = 0; i < 5; i++) {
        say_direct(&entry, i % 2 ? "bob" : "alice", (const char *[]){"a", "b", "c", "d", "e"}[i]);
        say_direct(&entry, "alice", (const char *[]){"f", "g", "h", "i", "j"}[i]);
    }
    say_connect(&entry, 1, "alice", 0);
    add(world, G2, 1, &entry);
    compare(world);
    say(&entry, &(struct frame){.type = FRAME_OUTPUT_WRITTEN,
                                .output_written.number = model_store_last_id(
                                    world_store(world), "out", slice_text(G1))});
    say(&entry,
        &(struct frame){
            .type = FRAME_MESSAGE_ACK,
            .message_ack = {.connection = 2, .user = slice_text("bob"), .id = slice_text("b")}});
    add(world, G1, 2, &entry);
    compare(world);
    say(&entry,
        &(struct frame){.type = FRAME_CONNECTION_CLOSED, .connection_closed.connection = 2});
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    add(world, G1, 3, &entry);
    world_take(world);
    turns(world);
    compare(world);
    announce(world, G2, 2, &entry);
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_LEAVE});
    add(world, G2, 2, &entry);
    say(&entry, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    add(world, "g3-00000000000000a3", 1, &entry);
    compare(world);
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + 9000);
    world_tick(world);
    turns(world);
    compare(world);
    buffer_finish(&entry);
    world_destroy(&world);
}

/* ---- the same for conversations ---- */

static void later(struct engine_world *world)
{
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + 1);
}

static void say_post(struct buffer *entry, const char *from, const char *chat)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_POST,
                               .conversation_post = {.from = slice_text(from),
                                                     .chat = slice_text(chat),
                                                     .id = slice_text("m"),
                                                     .retry = 1,
                                                     .body = slice_text("hi")}});
}

static void say_mark(struct buffer *entry, const char *from, const char *chat, uint64_t message)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_MARK,
                               .conversation_mark = {.from = slice_text(from),
                                                     .chat = slice_text(chat),
                                                     .mark = CONVERSATION_MARK_READ,
                                                     .message = message}});
}

static void say_change(struct buffer *entry, uint64_t message, uint64_t change)
{
    say(entry, &(struct frame){.type = FRAME_CONVERSATION_CHANGE,
                               .conversation_change = {.from = slice_text("alice"),
                                                       .chat = slice_text("bob"),
                                                       .message = message,
                                                       .change = change,
                                                       .body = slice_text("new")}});
}

static void say_group(struct buffer *entry, uint64_t change, const char *members)
{
    say(entry, &(struct frame){.type = FRAME_GROUP_CHANGE,
                               .group_change = {.from = slice_text("alice"),
                                                .chat = slice_text("group:g %"),
                                                .change = change,
                                                .name = slice_text("name"),
                                                .members = slice_text(members)}});
}

static void conversations_are_as_redis_has_them(void **state)
{
    static const struct engine_limits limits = {
        .gateway_death_ms = 15000,
        .presence_grace_ms = 2000,
        .mailbox_messages = 100,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms = 1 << 30,
        .user_connections = 4,
        .window_messages = 2,
        .window_bytes = 1 << 18,
        .output_bytes = 1 << 24,
        .conversation_messages = 2,
        .group_members = 10,
        .events = 3,
    };
    struct engine_world *world = world_create(&limits, redis_ms() + 1000);
    struct buffer entry = {0};

    (void)state;
    world_take(world);
    turns(world);
    announce(world, G1, 1, &entry);
    say_direct(&entry, "bob", "waits");
    say_connect(&entry, 1, "bob", CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN);
    say(&entry, &(struct frame){.type = FRAME_EVENTS_FOLLOW,
                                .events_follow = {.connection = 1, .user = slice_text("bob")}});
    add(world, G1, 1, &entry);
    compare(world);
    for (int i = 0; i < 4; i++) {
        later(world);
        say_post(&entry, i % 2 ? "bob" : "alice", i % 2 ? "alice" : "bob");
        say_change(&entry, 2, CONVERSATION_EDIT);
        say_mark(&entry, "bob", "alice", 1 + (uint64_t)i);
        add(world, G1, 2 + (uint64_t)i, &entry);
        compare(world);
    }
    later(world);
    say_change(&entry, 4, CONVERSATION_DELETE);
    say_group(&entry, GROUP_CREATE, "bob\ncarol\n");
    say_post(&entry, "carol", "group:g %");
    say_mark(&entry, "bob", "group:g %", 1);
    say(&entry, &(struct frame){.type = FRAME_MESSAGE_SENT,
                                .message_sent = {.user = slice_text("a:b|c"),
                                                 .id = slice_text("m"),
                                                 .chat = slice_text("bob")}});
    add(world, G1, 6, &entry);
    compare(world);
    world_take(world);
    turns(world);
    later(world);
    say_group(&entry, GROUP_REMOVE, "carol\n");
    add(world, G1, 7, &entry);
    compare(world);
    later(world);
    say_group(&entry, GROUP_DELETE, "");
    add(world, G1, 8, &entry);
    compare(world);
    buffer_finish(&entry);
    world_destroy(&world);
}

#define TEST(name) cmocka_unit_test_setup(name, asking_empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_model_does_as_redis_does),
        TEST(conversations_are_as_redis_has_them),
    };

    return cmocka_run_group_tests(tests, asking_start, asking_stop);
}
