/*
 * Gateways that say to an engine what a test tells them to, and note what they hear; around an
 * engine_world. Included by a test's one source file.
 */
#ifndef TESTS_UNIT_VOICES_H
#define TESTS_UNIT_VOICES_H

#include "common/xalloc.h"
#include "router/engine.h"
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

enum { G1, G2, G3, G4 };

/* A gateway that says what the test tells it to, and notes what it hears. */
struct voice {
    char id[32];
    uint64_t number, nonce;
    struct buffer frames;
    struct number read;
};

static struct engine_world *world;
static struct voice voices[GATEWAYS];
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
};

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
    for (int g = 0; g < GATEWAYS; g++)
        if (voices[g].frames.length)
            end_entry(g);
    world_settle(world);
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

static inline void end_announcement(int g)
{
    add_entry(g, 0);
    world_settle(world);
}

static inline void pass(uint64_t ms)
{
    model_store_set_time(world_store(world), model_store_time(world_store(world)) + ms);
}

static inline void tick(void)
{
    world_tick(world);
    world_settle(world);
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

static inline struct engine_sizes sizes(void)
{
    return engine_sizes(world_engine(world));
}

/* ---- the world of each test ---- */

static inline void begin(const struct engine_limits *wanted)
{
    limits = *wanted;
    world = world_create(&limits, START_MS);
    reader = frame_reader_create();
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

static inline int setup(void **state)
{
    (void)state;
    begin(&usual_limits);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    for (int g = 0; g < GATEWAYS; g++)
        buffer_finish(&voices[g].frames);
    world_destroy(&world);
    frame_reader_destroy(&reader);
    return 0;
}

#endif
