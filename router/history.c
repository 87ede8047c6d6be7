/*
 * The last messages of topics that keep them: a stream with a dense offset for each topic, and an
 * epoch that says to which count the offsets belong: another one when Redis was emptied or rolled
 * back, or when the topic was forgotten in between. Gateways read the streams themselves; here they
 * are written and trimmed, and `histories` says what there is. See state.h.
 */
#include "router/history_rules.h"

#include "common/xalloc.h"
#include "router/state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A history's bytes are known by blocks of consecutive messages: a part of the bytes or of the
 * messages that it may hold. */
#define BLOCKS 16
#define BLOCK_PART 4
/* What all histories of a partition hold: this many times the bytes of one. */
#define TOGETHER 16

struct block {
    uint64_t first, bytes;
};

struct history {
    uint64_t keep; /* messages; 0: not known yet, it was loaded */
    uint64_t epoch, last;
    uint64_t first;   /* offsets below are trimmed */
    uint64_t used_ms; /* when it was published to */
    uint64_t bytes;
    struct block blocks[BLOCKS]; /* oldest first */
    size_t block_count;
    bool changed;                  /* in this commit */
    TAILQ_ENTRY(history) use_link; /* engine->histories_by_use */
    UT_hash_handle hh;
    size_t length;
    char topic[];
};

static struct slice topic_slice(const struct history *history)
{
    return slice_of(history->topic, history->length);
}

static struct history *history_find(const struct engine *engine, struct slice topic)
{
    struct history *history;

    HASH_FIND(hh, engine->histories, topic.data, topic.length, history);
    return history;
}

static struct history *history_add(struct engine *engine, struct slice topic)
{
    struct history *history = xcalloc(1, sizeof(*history) + topic.length + 1);

    memcpy(history->topic, topic.data, topic.length);
    history->length = topic.length;
    history->first = 1;
    HASH_ADD_KEYPTR(hh, engine->histories, history->topic, history->length, history);
    TAILQ_INSERT_TAIL(&engine->histories_by_use, history, use_link);
    return history;
}

static void history_remove(struct engine *engine, struct history *history)
{
    engine->history_bytes -= history->bytes;
    TAILQ_REMOVE(&engine->histories_by_use, history, use_link);
    HASH_DEL(engine->histories, history);
    free(history);
}

/* NULL if the topic keeps nothing. */
static struct history *history_get(struct engine *engine, struct slice topic)
{
    uint64_t keep = history_rules_size(engine->limits.history, topic);
    struct history *history;

    if (keep == 0)
        return NULL;
    history = history_find(engine, topic);
    if (history == NULL) {
        history = history_add(engine, topic);
        history->epoch = engine->history_birth;
        history->used_ms = engine->now_ms;
        history->changed = true;
    }
    history->keep = keep;
    return history;
}

/* ---- what is held ---- */

static void drop_block(struct engine *engine, struct history *history)
{
    uint64_t bytes = history->blocks[0].bytes;

    history->bytes -= bytes;
    engine->history_bytes -= bytes;
    history->block_count--;
    memmove(history->blocks, history->blocks + 1, history->block_count * sizeof(struct block));
}

static bool block_is_full(const struct engine *engine, const struct history *history, size_t bytes)
{
    const struct block *last = &history->blocks[history->block_count - 1];

    return last->bytes + bytes > engine->limits.history_bytes / BLOCK_PART ||
           history->last - last->first > history->keep / BLOCK_PART;
}

static void hold(struct engine *engine, struct history *history, size_t bytes)
{
    if (history->block_count == BLOCKS)
        drop_block(engine, history);
    if (history->block_count == 0 || block_is_full(engine, history, bytes))
        history->blocks[history->block_count++] = (struct block){.first = history->last};
    history->blocks[history->block_count - 1].bytes += bytes;
    history->bytes += bytes;
    engine->history_bytes += bytes;
    while (history->bytes > engine->limits.history_bytes && history->block_count > 1)
        drop_block(engine, history);
    while (history->block_count > 1 &&
           history->last - history->blocks[1].first + 1 >= history->keep)
        drop_block(engine, history);
    history->first = history->blocks[0].first;
    if (history->last >= history->keep && history->first < history->last - history->keep + 1)
        history->first = history->last - history->keep + 1;
}

/* ---- publishing ---- */

static void write_message(struct engine *engine, const struct history *history,
                          const struct gateway *gateway, const struct frame_topic_publish *publish)
{
    char author[64];
    const int length = snprintf(author, sizeof(author), "%" PRIu64 " %" PRIu64, gateway->bits,
                                publish->echo ? 0 : publish->connection);
    const struct record_field fields[] = {
        {"from", publish->from, 0},
        {"id", publish->id, 0},
        {"author", slice_of(author, (size_t)length), 0},
        {"at", {0}, engine->now_ms},
        {"protocol", {0}, publish->protocol},
        {"content", {0}, publish->content},
        {"metadata", publish->metadata, 0},
    };

    effects_entry(engine->effects, effects_key(engine->effects, "topic", topic_slice(history)),
                  (struct number){.epoch = history->last}, fields,
                  sizeof(fields) / sizeof(fields[0]), publish->body);
}

void history_on_publish(struct engine *engine, const struct gateway *gateway,
                        const struct frame_topic_publish *publish,
                        struct frame_topic_message *message)
{
    struct history *history = history_get(engine, publish->topic);

    if (history == NULL)
        return;
    message->epoch = history->epoch;
    message->offset = ++history->last;
    history->used_ms = engine->now_ms;
    history->changed = true;
    TAILQ_REMOVE(&engine->histories_by_use, history, use_link);
    TAILQ_INSERT_TAIL(&engine->histories_by_use, history, use_link);
    hold(engine, history, publish->body.length + publish->metadata.length + 256);
    write_message(engine, history, gateway, publish);
}

static void say_mark(struct gateway *gateway, struct slice topic, const struct history *history)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_TOPIC_MARK,
                                         .topic_mark = {.topic = topic,
                                                        .epoch = history ? history->epoch : 0,
                                                        .offset = history ? history->last : 0}});
}

void history_on_count(struct engine *engine, struct gateway *gateway, struct slice topic)
{
    const struct history *history = history_get(engine, topic);

    if (history != NULL)
        say_mark(gateway, topic, history);
}

void history_on_ask(struct engine *engine, struct gateway *gateway, struct slice topic)
{
    say_mark(gateway, topic, history_get(engine, topic));
}

/* ---- the end of a commit ---- */

static void write_history(struct engine *engine, struct history *history)
{
    struct buffer value = {0};

    buffer_appendf(&value, "%" PRIu64 " %" PRIu64 " %" PRIu64, history->epoch, history->last,
                   history->used_ms);
    for (size_t i = 0; i < history->block_count; i++)
        buffer_appendf(&value, " %" PRIu64 " %" PRIu64, history->blocks[i].first,
                       history->blocks[i].bytes);
    effects_hset(engine->effects, engine_key(engine, &engine->key_histories, "histories"),
                 topic_slice(history), buffer_slice(&value));
    buffer_finish(&value);
    if (history->first == 1)
        return;
    effects_open(engine->effects, EFFECT_XTRIM,
                 effects_key(engine->effects, "topic", topic_slice(history)), 1);
    effects_number(engine->effects, (struct number){.epoch = history->first});
}

static bool too_much(const struct engine *engine)
{
    return HASH_COUNT(engine->histories) > engine->limits.history_topics ||
           engine->history_bytes > engine->limits.history_bytes * TOGETHER;
}

/* One that comes again counts anew, under another epoch. */
static void forget(struct engine *engine, struct history *history)
{
    effects_open(engine->effects, EFFECT_DEL,
                 effects_key(engine->effects, "topic", topic_slice(history)), 0);
    effects_hdel(engine->effects, engine_key(engine, &engine->key_histories, "histories"),
                 topic_slice(history));
    history_remove(engine, history);
}

/* Those of this commit are the last of the list. */
void history_finish(struct engine *engine)
{
    struct history *history, *before;
    bool forgotten = false;

    for (history = TAILQ_LAST(&engine->histories_by_use, history_list); history && history->changed;
         history = before) {
        before = TAILQ_PREV(history, history_list, use_link);
        history->changed = false;
        write_history(engine, history);
    }
    while (too_much(engine)) {
        forget(engine, TAILQ_FIRST(&engine->histories_by_use));
        forgotten = true;
    }
    engine->history_birth += forgotten;
}

void history_begin(struct engine *engine)
{
    if (engine->history_birth < engine->epoch)
        engine->history_birth = engine->epoch;
}

/* ---- loading ---- */

void history_load(struct engine *engine, struct slice topic, struct slice value)
{
    struct history *history = history_add(engine, topic);

    history->epoch = load_u64(load_word(&value));
    history->last = load_u64(load_word(&value));
    history->used_ms = load_u64(load_word(&value));
    while (value.length && history->block_count < BLOCKS) {
        struct block *block = &history->blocks[history->block_count++];

        block->first = load_u64(load_word(&value));
        block->bytes = load_u64(load_word(&value));
        history->bytes += block->bytes;
    }
    if (history->epoch < engine->history_floor)
        history->epoch = engine->history_floor;
    if (history->block_count)
        history->first = history->blocks[0].first;
    engine->history_bytes += history->bytes;
}

static int by_use(const struct history *left, const struct history *right)
{
    return (left->used_ms > right->used_ms) - (left->used_ms < right->used_ms);
}

void history_load_finish(struct engine *engine)
{
    HASH_SORT(engine->histories, by_use);
    TAILQ_INIT(&engine->histories_by_use);
    for (struct history *history = engine->histories; history; history = history->hh.next)
        TAILQ_INSERT_TAIL(&engine->histories_by_use, history, use_link);
}

void history_destroy(struct engine *engine)
{
    while (engine->histories)
        history_remove(engine, engine->histories);
}

void history_check(const struct engine *engine)
{
    uint64_t together = 0;

    for (const struct history *history = engine->histories; history; history = history->hh.next) {
        uint64_t bytes = 0, last = 0;

        for (size_t i = 0; i < history->block_count; i++) {
            assert(history->blocks[i].first > last);
            last = history->blocks[i].first;
            bytes += history->blocks[i].bytes;
        }
        assert(bytes == history->bytes && last <= history->last && !history->changed);
        together += bytes;
    }
    assert(together == engine->history_bytes);
}
