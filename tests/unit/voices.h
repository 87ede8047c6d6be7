/*
 * Gateways that say to a partition's engine what the test tells them to, over engine_world.h: for
 * tests of what each gateway hears for what was said. Included by a test's one source file.
 */
#ifndef TESTS_UNIT_VOICES_H
#define TESTS_UNIT_VOICES_H

#include "tests/unit/engine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define GATEWAYS 4
#define START_MS 1700000000000
#define NOBODY ((struct slice){0})

enum { G1, G2, G3, G4 };

/* A gateway that says what the test tells it to, and notes what it hears. */
struct voice {
    char id[32];
    uint64_t number, nonce;
    struct buffer frames;
    struct number read;
};

/* Those of all partitions of the test, and the one it speaks of (at_partition). */
static struct engine_world *worlds[WORLD_PARTITIONS];
static struct voice all_voices[WORLD_PARTITIONS][GATEWAYS];
static size_t world_count;
static struct engine_world *world;
static struct voice *voices;

static struct engine_limits limits;
static struct frame_reader *reader;

static const struct engine_limits usual_limits = {
    .gateway_death_ms = 15000,
    .presence_grace_ms = 2000,
    .mailbox_messages = 1000,
    .mailbox_bytes = 1 << 20,
    .mailbox_ms = 30ULL * 24 * 3600 * 1000,
    .user_connections = 8,
    .window_messages = 4,
    .window_bytes = 1 << 18,
    .output_bytes = 1 << 24,
    .conversation_messages = 100,
    .group_members = 5,
    .events = 1000,
};

static inline void at_partition(size_t partition)
{
    world = worlds[partition];
    voices = all_voices[partition];
}

/* ---- speaking ---- */

static inline struct slice T(const char *text) {
    return slice_text(text);
}

static inline struct slice
gateway_id(int g)
{
    return slice_text(voices[g].id);
}

static inline void say(int g, const struct frame *frame)
{
    frame_encode(&voices[g].frames, frame);
}

#define SAY(g, NAME, name, ...) say(g, &(struct frame){.type = FRAME_##NAME, .name = {__VA_ARGS__}})

static inline void add_entry(int g, uint64_t number)
{
    model_store_add_input(world_store(world), gateway_id(g), number,
                          buffer_slice(&voices[g].frames));
    buffer_reset(&voices[g].frames, SIZE_MAX);
}

/* What was said becomes an entry of its own. */
static inline void end_entry(int g)
{
    add_entry(g, ++voices[g].number);
}

/* All that was said is applied, and whatever follows from it. */
static inline void turn(void)
{
    struct engine_world *now = world;
    struct voice *of = voices;

    for (size_t i = 0; i < world_count; i++) {
        at_partition(i);
        for (int g = 0; g < GATEWAYS; g++)
            if (voices[g].frames.length)
                end_entry(g);
    }
    worlds_settle(worlds, world_count);
    world = now;
    voices = of;
}

static inline void connect_flags(int g, uint64_t connection, const char *user, uint64_t flags)
{
    SAY(g, USER_CONNECT, user_connect, .connection = connection, .user = T(user), .protocol = 3,
        .flags = flags);
}

static inline void connect_user(int g, uint64_t connection, const char *user)
{
    connect_flags(g, connection, user, 0);
}

static inline void closed(int g, uint64_t connection, struct number seen)
{
    SAY(g, CONNECTION_CLOSED, connection_closed, .connection = connection, .seen = seen);
}

static inline struct frame_direct_message direct_to(const char *from, const char *to,
                                                    const char *id)
{
    return (struct frame_direct_message){
        .connection = 1,
        .request = 1,
        .from = T(from),
        .to = T(to),
        .id = T(id),
        .protocol = 3,
        .body = T("hello"),
        .metadata = T("{}"),
    };
}

static inline void say_direct(int g, struct frame_direct_message direct)
{
    say(g, &(struct frame){.type = FRAME_DIRECT_MESSAGE, .direct_message = direct});
}

static inline void direct(int g, const char *from, const char *to, const char *id)
{
    say_direct(g, direct_to(from, to, id));
}

static inline struct frame_topic_publish publication(const char *topic, const char *id)
{
    return (struct frame_topic_publish){
        .connection = 1,
        .request = 1,
        .from = T("alice"),
        .topic = T(topic),
        .id = T(id),
        .protocol = 3,
        .body = T("news"),
    };
}

static inline void say_publish(int g, struct frame_topic_publish publish)
{
    say(g, &(struct frame){.type = FRAME_TOPIC_PUBLISH, .topic_publish = publish});
}

static inline void count_topic(int g, const char *topic, uint64_t connections)
{
    SAY(g, TOPIC_COUNT, topic_count, .topic = T(topic), .connections = connections);
}

static inline void count_patterns(int g, const char *patterns, uint64_t connections)
{
    SAY(g, PATTERNS_COUNT, patterns_count, .patterns = T(patterns), .connections = connections);
}

/* Everything in g's entries so far was taken by the peers. */
static inline void written(int g)
{
    SAY(g, OUTPUT_WRITTEN, output_written,
        .number = model_store_last_id(world_store(world), "out", gateway_id(g)));
}

static inline void ack(int g, uint64_t connection, const char *user, const char *id)
{
    SAY(g, MESSAGE_ACK, message_ack, .connection = connection, .user = T(user), .id = T(id));
}

/* Opens a chunk; what is said after it belongs to it. */
static inline void announce_chunk(int g, uint64_t nonce, uint64_t base, uint64_t chunk,
                                  uint64_t last)
{
    SAY(g, GATEWAY_ANNOUNCE, gateway_announce, .nonce = nonce, .base = base, .chunk = chunk,
        .last = last);
}

static inline void announce(int g)
{
    announce_chunk(g, ++voices[g].nonce, voices[g].number, 0, 1);
}

static inline void listed(int g, uint64_t connection, const char *user, struct number seen)
{
    SAY(g, ANNOUNCED_CONNECTION, announced_connection, .connection = connection, .user = T(user),
        .protocol = 3, .seen = seen);
}

static inline void end_announcement(int g)
{
    add_entry(g, 0);
    worlds_settle(worlds, world_count);
}

static inline void pass(uint64_t ms)
{
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + ms);
}

static inline void tick(void)
{
    world_tick(world);
    worlds_settle(worlds, world_count);
}

/* ---- hearing ---- */

/* One line for each frame of g's new entries, heads left out; each entry names the one before. */
static inline char *hear(int g)
{
    struct voice *voice = &voices[g];
    struct buffer lines = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "out", gateway_id(g), &count);

    for (size_t i = 0; i < count; i++) {
        struct frame frame;

        if (number_compare(entries[i].number, voice->read) <= 0)
            continue;
        voice->read = entries[i].number;
        frame_reader_start(reader, model_entry_field(&entries[i], "e"));
        assert_int_equal(frame_reader_next(reader, &frame), 1);
        assert_int_equal(frame.type, FRAME_OUTPUT_HEAD);
        while (frame_reader_next(reader, &frame) == 1) {
            frame_print(&lines, &frame);
            buffer_append_byte(&lines, '\n');
        }
    }
    buffer_append_byte(&lines, '\0');
    return lines.data;
}

/* '*' stands for any run of characters. */
static inline bool fits(const char *pattern, const char *text, const char *end)
{
    if (*pattern == '\0')
        return text == end;
    if (*pattern == '*') {
        for (; text <= end; text++)
            if (fits(pattern + 1, text, end))
                return true;
        return false;
    }
    return text < end && *pattern == *text && fits(pattern + 1, text + 1, end);
}

/* g has heard these frames since it was last asked, and no others; NULL ends the list. */
static inline void expect(int g, ...)
{
    char *heard = hear(g), *at = heard;
    const char *pattern;
    va_list patterns;

    va_start(patterns, g);
    while ((pattern = va_arg(patterns, const char *)) != NULL) {
        char *end = strchr(at, '\n');

        if (end == NULL || !fits(pattern, at, end))
            fail_msg("expected of g%d:\n%s\nheard:\n%s", g + 1, pattern, at);
        at = end + 1;
    }
    va_end(patterns);
    if (*at)
        fail_msg("g%d heard more:\n%s", g + 1, at);
    free(heard);
}

static inline void deaf(int g)
{
    free(hear(g));
}

static inline void deaf_all(void)
{
    for (int g = 0; g < GATEWAYS; g++)
        deaf(g);
}

/* The ids in a user's mailbox, joined by spaces. */
static inline void expect_mailbox(const char *user, const char *expected)
{
    struct buffer ids = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "mailbox", T(user), &count);
    char digits[24];
    struct slice counted = model_store_field(world_store(world), "user", T(user), T("mailbox"));

    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_append_byte(&ids, ' ');
        buffer_append_slice(&ids, model_entry_field(&entries[i], "id"));
    }
    buffer_append_byte(&ids, '\0');
    assert_string_equal(ids.data, expected);
    buffer_finish(&ids);
    snprintf(digits, sizeof(digits), "%zu", count);
    if (count || counted.length)
        assert_true(slice_is(counted, digits));
}

static inline void expect_field(const char *what, struct slice name, const char *field,
                                const char *expected)
{
    struct slice value = model_store_field(world_store(world), what, name, T(field));

    if (!slice_is(value, expected))
        fail_msg("%s %s: '%.*s', expected '%s'", what, field, (int)value.length,
                 value.data ? value.data : "", expected);
}

static inline size_t field_count(const char *what, int g)
{
    size_t count;

    model_store_hash(world_store(world), what, gateway_id(g), &count);
    return count;
}

static inline size_t output_count(int g)
{
    size_t count;

    model_store_stream(world_store(world), "out", gateway_id(g), &count);
    return count;
}

/* The number of the newest delivery in g's output. */
static inline struct number last_delivery(int g)
{
    struct number found = {0};
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world_store(world), "out", gateway_id(g), &count);
    struct frame frame;

    for (size_t i = 0; i < count; i++) {
        frame_reader_start(reader, model_entry_field(&entries[i], "e"));
        while (frame_reader_next(reader, &frame) == 1)
            if (frame.type == FRAME_MESSAGE_DELIVERY)
                found = frame.message_delivery.number;
    }
    return found;
}

static inline struct engine_sizes sizes(void)
{
    return engine_sizes(world_engine(world));
}

/* ---- the world of each test ---- */

/* Gateways 1 to 3 have announced themselves to every partition. */
static inline void begin_partition(size_t partition)
{
    at_partition(partition);
    world_take(world);
    for (int g = 0; g < GATEWAYS; g++) {
        voices[g] = (struct voice){0};
        snprintf(voices[g].id, sizeof(voices[g].id), "g%d-%016x", g + 1, 0xa0 + g + 1);
        if (g < 3) {
            announce(g);
            end_announcement(g);
        }
    }
    deaf_all();
}

static inline void begin(const struct engine_limits *wanted)
{
    limits = *wanted;
    reader = frame_reader_create();
    worlds[0] = world_create(&limits, START_MS);
    world_count = 1;
    begin_partition(0);
}

/* With WORLD_PARTITIONS partitions; the first is spoken of. */
static inline void begin_wide(const struct engine_limits *wanted)
{
    limits = *wanted;
    reader = frame_reader_create();
    worlds[0] = world_create_wide(&limits, START_MS);
    for (uint32_t i = 1; i < WORLD_PARTITIONS; i++)
        worlds[i] = world_create_beside(worlds[0], i);
    for (world_count = 1; world_count <= WORLD_PARTITIONS; world_count++)
        begin_partition(world_count - 1);
    world_count = WORLD_PARTITIONS;
    at_partition(0);
}

static inline int setup(void **state)
{
    (void)state;
    begin(&usual_limits);
    return 0;
}

static inline int setup_wide(void **state)
{
    (void)state;
    begin_wide(&usual_limits);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < world_count; i++) {
        for (int g = 0; g < GATEWAYS; g++)
            buffer_finish(&all_voices[i][g].frames);
        world_destroy(&worlds[i]);
    }
    world_count = 0;
    frame_reader_destroy(&reader);
    return 0;
}

static inline void again(const struct engine_limits *wanted)
{
    teardown(NULL);
    begin(wanted);
}

static inline void watch(int g, const char *user, uint64_t watching, uint64_t request)
{
    SAY(g, PRESENCE_WATCH, presence_watch, .user = T(user), .watching = watching,
        .request = request);
}

static inline void fill_mailbox(const char *user, int count)
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

static inline void beat(int g)
{
    SAY(g, GATEWAY_HEARTBEAT, gateway_heartbeat);
}

#endif
