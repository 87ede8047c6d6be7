/*
 * Garbage on the bus: frames of every type with fields at random (what a gateway of another make,
 * or one that is broken, might say), and entries that are no frames. A partition refuses or ignores
 * them, is never in a state that engine_check calls impossible, and can always be taken over.
 *
 *     ENGINE_SEED=n    begins with this seed (1)
 *     ENGINE_RUNS=n    so many runs (40)
 */
#include "router/engine.h"

#include "common/xalloc.h"
#include "tests/unit/engine_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES 300
#define GATEWAYS 3
#define LENGTH(list) (sizeof(list) / sizeof((list)[0]))

struct dice {
    uint64_t state;
    uint64_t numbers[GATEWAYS];
    uint64_t forwarded;
};

static uint64_t draw(struct dice *dice, uint64_t below)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return (dice->state >> 11) % below;
}

/* ---- fields ---- */

/* Mostly small, so that they meet; at times one that only garbage has. */
static uint64_t pick_u64(struct dice *dice)
{
    static const uint64_t wild[] = {100, 1000, 1ull << 32, 1ull << 53, INT64_MAX, UINT64_MAX};

    return draw(dice, 10) ? draw(dice, 6) : wild[draw(dice, LENGTH(wild))];
}

static struct slice pick_text(struct dice *dice)
{
    static const char *const usual[] = {"u0",   "u1",       "u2", "group:g",  "group:h", "a.b",
                                        "a.*",  "$simple",  "m1", "m2",       "s",       "online",
                                        "away", "guest:u3", "u4", "history.a"};
    static const char *const wild[] = {"",    "*",       "\n",          "u0\nu1",  "group:",   "@",
                                       "**",  "a.*,b.*", "presence.u0", "%7C|{}",  "\xff\xfe", " ",
                                       "+u0", "u0\n",    "-1",          "offline", "0-0"};
    static char big[300];

    if (big[0] == '\0')
        memset(big, 'x', sizeof(big) - 1);
    if (draw(dice, 6))
        return slice_text(usual[draw(dice, LENGTH(usual))]);
    return draw(dice, 20) ? slice_text(wild[draw(dice, LENGTH(wild))]) : slice_of(big, 299);
}

static struct slice pick_bytes(struct dice *dice)
{
    static const char *const bytes[] = {"{\"a\":1}", "u0\nu1\n", "u2\n\n\n", "", "\"x\"", "\n"};

    return slice_text(bytes[draw(dice, LENGTH(bytes))]);
}

static struct number pick_number(struct dice *dice)
{
    return (struct number){.epoch = pick_u64(dice), .sequence = pick_u64(dice)};
}

static struct frame_u64s pick_list(struct dice *dice)
{
    static uint64_t values[4];

    for (size_t i = 0; i < LENGTH(values); i++)
        values[i] = pick_u64(dice);
    return (struct frame_u64s){values, draw(dice, LENGTH(values) + 1)};
}

#define U64(field) at->field = pick_u64(dice);
#define STR(field) at->field = pick_text(dice);
#define BIN(field) at->field = pick_bytes(dice);
#define NUMBER(field) at->field = pick_number(dice);
#define U64S(field) at->field = pick_list(dice);
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    static void fill_##name(struct dice *dice, struct frame *frame)                                \
    {                                                                                              \
        struct frame_##name *at = &frame->name;                                                    \
                                                                                                   \
        (void)dice, (void)at;                                                                      \
        __VA_ARGS__                                                                                \
    }
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

static const struct {
    enum frame_type type;
    void (*fill)(struct dice *, struct frame *);
} fillers[] = {
#define FRAME(id, NAME, name, from, to, ...) {FRAME_##NAME, fill_##name},
#include "common/frames.def"
#undef FRAME
};

static void append_frame(struct dice *dice, struct buffer *out)
{
    size_t row = draw(dice, LENGTH(fillers));
    struct frame frame = {.type = fillers[row].type};

    fillers[row].fill(dice, &frame);
    frame_encode(out, &frame);
}

/* ---- entries ---- */

/* A few bytes of it are others, or missing. */
static void damage(struct dice *dice, struct buffer *entry)
{
    if (entry->length == 0 || draw(dice, 10))
        return;
    for (uint64_t left = draw(dice, 4); left > 0; left--)
        entry->data[draw(dice, entry->length)] = (char)draw(dice, 256);
    if (draw(dice, 2))
        entry->length = draw(dice, entry->length + 1);
}

static void announce(struct dice *dice, struct buffer *out)
{
    frame_encode(out, &(struct frame){.type = FRAME_GATEWAY_ANNOUNCE,
                                      .gateway_announce = {.nonce = 1 + draw(dice, 5),
                                                           .chunk = draw(dice, 8) ? 0 : 1,
                                                           .last = draw(dice, 8) != 0}});
}

static void send_gateways(struct dice *dice, struct model_store *store, const struct buffer *entry)
{
    static const char *const names[GATEWAYS] = {"g1", "g2", "g3"};
    size_t gateway = draw(dice, GATEWAYS);
    uint64_t *last = &dice->numbers[gateway];

    *last = draw(dice, 20) ? *last + 1 : draw(dice, *last + 3);
    model_store_add_input(store, slice_text(names[gateway]), *last, buffer_slice(entry));
}

/* Returns whether it is the entry of one who may leave with it. */
static bool add_entry(struct dice *dice, struct model_store *store)
{
    static const struct slice nobody;
    struct buffer entry = {0};
    uint64_t kind = draw(dice, 20);

    if (kind == 0)
        announce(dice, &entry);
    for (uint64_t left = draw(dice, 4); left > 0; left--)
        append_frame(dice, &entry);
    damage(dice, &entry);
    if (kind == 0)
        model_store_add_input(store, slice_text("g1"), 0, buffer_slice(&entry));
    else if (kind == 1)
        model_store_add_input(store, nobody, 0, buffer_slice(&entry));
    else if (kind < 6)
        model_store_add_forward(
            store, slice_text("p1"),
            (struct number){.epoch = 1, .sequence = ++dice->forwarded << NUMBER_INDEX_BITS},
            buffer_slice(&entry));
    else
        send_gateways(dice, store, &entry);
    buffer_finish(&entry);
    return kind == 0 || kind >= 6;
}

/* ---- the test ---- */

static const struct engine_limits limits = {
    .gateway_death_ms = 5000,
    .presence_grace_ms = 100,
    .mailbox_messages = 20,
    .mailbox_bytes = 4096,
    .mailbox_ms = 100000,
    .user_connections = 4,
    .window_messages = 3,
    .window_bytes = 1024,
    .output_bytes = 8192,
    .conversation_messages = 10,
    .group_members = 5,
    .events = 10,
};

static void run(uint64_t seed)
{
    struct engine_world *world = world_create_wide(&limits, 1000000);
    struct dice dice = {.state = seed * 0x9e3779b97f4a7c15ull + 1};

    world_take(world);
    for (size_t i = 0; i < ENTRIES; i++) {
        /* One that left does not come again, under its name, before that is written. */
        if (add_entry(&dice, world_store(world)))
            world_settle(world);
        if (draw(&dice, 4) == 0)
            world_settle(world);
        if (draw(&dice, 10) == 0)
            model_store_set_time(world_store(world),
                                 model_store_time(world_store(world)) + draw(&dice, 3000));
        if (draw(&dice, 30) == 0 && world_engine(world))
            world_tick(world);
        if (draw(&dice, 60) == 0)
            world_take(world);
    }
    world_settle(world);
    world_take(world);
    world_settle(world);
    assert_true(world_malformed(world) > 0);
    world_destroy(&world);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value ? strtoull(value, NULL, 10) : otherwise;
}

static void garbage_breaks_nothing(void **state)
{
    uint64_t seed = setting("ENGINE_SEED", 1), runs = setting("ENGINE_RUNS", 40);

    (void)state;
    for (uint64_t i = 0; i < runs; i++) {
        if (getenv("ENGINE_SEED"))
            fprintf(stderr, "seed %llu\n", (unsigned long long)(seed + i));
        run(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(garbage_breaks_nothing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
