#include "tests/unit/model_store.h"

#include "common/command.h"
#include "common/record.h"
#include "common/xalloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum model_kind { MODEL_HASH, MODEL_STREAM, MODEL_SCORES };

struct model_value {
    enum model_kind kind;
    uint64_t expires_ms; /* 0: never */
    struct engine_field *fields;
    size_t field_count;
    struct engine_page_entry *entries;
    size_t entry_count, entry_capacity;
    struct engine_page_entry *items; /* of a journal, when somebody has asked for them */
    size_t item_count;
    struct number last_id;
    struct model_score *scores;
    size_t score_count;
    UT_hash_handle hh;
    size_t length;
    char key[];
};

/* What all partitions of a Redis share. */
struct model_redis {
    size_t references;
    uint64_t now_ms;
    struct model_value *values;
};

struct model_store {
    const struct deployment *deployment;
    uint32_t partition;
    struct model_redis *redis;
    char problem[512];
};

struct model_commit {
    uint64_t epoch, commit;
    struct slice commands;
    size_t count;
};

/* ---- values ---- */

static struct slice copy(struct slice text)
{
    return slice_of(xmemdup0(text.data ? text.data : "", text.length), text.length);
}

static void release(struct slice text)
{
    free((char *)text.data);
}

static void entry_free(struct engine_page_entry *entry)
{
    for (size_t i = 0; i < entry->field_count; i++) {
        release(entry->fields[i].name);
        release(entry->fields[i].value);
    }
    free((struct engine_field *)entry->fields);
}

static void forget_items(struct model_value *value)
{
    while (value->item_count)
        free((struct engine_field *)value->items[--value->item_count].fields);
    free(value->items);
    value->items = NULL;
}

static void value_destroy(struct model_store *store, struct model_value *value)
{
    HASH_DEL(store->redis->values, value);
    for (size_t i = 0; i < value->field_count; i++) {
        release(value->fields[i].name);
        release(value->fields[i].value);
    }
    for (size_t i = 0; i < value->entry_count; i++)
        entry_free(&value->entries[i]);
    for (size_t i = 0; i < value->score_count; i++)
        release(value->scores[i].member);
    forget_items(value);
    free(value->fields);
    free(value->entries);
    free(value->scores);
    free(value);
}

static struct model_value *value_find(const struct model_store *store, struct slice key)
{
    struct model_value *value;

    HASH_FIND(hh, store->redis->values, key.data, key.length, value);
    return value;
}

/* NULL when there is one of another kind. */
static struct model_value *value_get(struct model_store *store, struct slice key,
                                     enum model_kind kind)
{
    struct model_value *value = value_find(store, key);

    if (value != NULL)
        return value->kind == kind ? value : NULL;
    value = xcalloc(1, sizeof(*value) + key.length + 1);
    value->kind = kind;
    value->length = key.length;
    memcpy(value->key, key.data, key.length);
    HASH_ADD_KEYPTR(hh, store->redis->values, value->key, value->length, value);
    return value;
}

static struct model_value *value_named(const struct model_store *store, const char *what,
                                       struct slice name)
{
    struct buffer key = {0};
    struct model_value *value;

    key_partition(&key, store->deployment, store->partition, what, name);
    value = value_find(store, buffer_slice(&key));
    buffer_finish(&key);
    return value;
}

struct model_store *model_store_create(const struct deployment *deployment, uint32_t partition)
{
    struct model_store *store = xcalloc(1, sizeof(*store));

    store->deployment = deployment;
    store->partition = partition;
    store->redis = xcalloc(1, sizeof(*store->redis));
    store->redis->references = 1;
    return store;
}

struct model_store *model_store_beside(const struct model_store *other, uint32_t partition)
{
    struct model_store *store = xcalloc(1, sizeof(*store));

    *store = *other;
    store->partition = partition;
    store->redis->references++;
    return store;
}

void model_store_destroy(struct model_store **store)
{
    struct model_value *value, *next;

    if (*store == NULL)
        return;
    if (--(*store)->redis->references == 0) {
        HASH_ITER(hh, (*store)->redis->values, value, next)
        value_destroy(*store, value);
        free((*store)->redis);
    }
    free(*store);
    *store = NULL;
}

void model_store_set_time(struct model_store *store, uint64_t now_ms)
{
    struct model_value *value, *next;

    store->redis->now_ms = now_ms;
    HASH_ITER(hh, store->redis->values, value, next)
    {
        if (value->expires_ms && value->expires_ms <= now_ms)
            value_destroy(store, value);
    }
}

uint64_t model_store_time(const struct model_store *store)
{
    return store->redis->now_ms;
}

const char *model_store_problem(const struct model_store *store)
{
    return store->problem;
}

static int refuse(struct model_store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(struct model_store *store, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(store->problem, sizeof(store->problem), format, arguments);
    va_end(arguments);
    return -1;
}

static int wrong_type(struct model_store *store, struct slice key)
{
    return refuse(store, "WRONGTYPE %.*s", (int)key.length, key.data);
}

/* ---- hashes ---- */

static struct engine_field *field_find(const struct model_value *value, struct slice name)
{
    for (size_t i = 0; i < value->field_count; i++)
        if (slice_equal(value->fields[i].name, name))
            return &value->fields[i];
    return NULL;
}

static void hash_set(struct model_value *value, struct slice name, struct slice text)
{
    struct engine_field *field = field_find(value, name);

    if (field == NULL) {
        value->fields = xrealloc(value->fields, (value->field_count + 1) * sizeof(*value->fields));
        field = &value->fields[value->field_count++];
        field->name = copy(name);
    } else {
        release(field->value);
    }
    field->value = copy(text);
}

static void hash_delete(struct model_value *value, struct slice name)
{
    struct engine_field *field = field_find(value, name);

    if (field == NULL)
        return;
    release(field->name);
    release(field->value);
    *field = value->fields[--value->field_count];
}

/* ---- streams ---- */

static void stream_push(struct model_value *value, struct number id, const struct slice *pairs,
                        size_t pair_count)
{
    struct engine_field *fields = xcalloc(pair_count, sizeof(*fields));

    for (size_t i = 0; i < pair_count; i++)
        fields[i] = (struct engine_field){copy(pairs[i * 2]), copy(pairs[i * 2 + 1])};
    if (value->entry_count == value->entry_capacity) {
        value->entry_capacity = value->entry_capacity ? value->entry_capacity * 2 : 8;
        value->entries = xrealloc(value->entries, value->entry_capacity * sizeof(*value->entries));
    }
    value->entries[value->entry_count++] =
        (struct engine_page_entry){.number = id, .fields = fields, .field_count = pair_count};
    value->last_id = id;
}

/* "*", "ms-*" or an id above the last. Returns 0 or -1. */
static int stream_id(const struct model_store *store, const struct model_value *value,
                     struct slice text, struct number *id)
{
    if (slice_is(text, "*") || (text.length > 2 && text.data[text.length - 1] == '*')) {
        struct number wanted = {.epoch = store->redis->now_ms};

        if (text.length > 1 && number_parse(slice_of(text.data, text.length - 2), &wanted) < 0)
            return -1;
        if (text.length == 1 && wanted.epoch < value->last_id.epoch)
            wanted.epoch = value->last_id.epoch;
        if (wanted.epoch == value->last_id.epoch)
            wanted = number_next(value->last_id);
        *id = wanted;
    } else if (number_parse(text, id) < 0) {
        return -1;
    }
    return number_compare(*id, value->last_id) > 0 ? 0 : -1;
}

static void stream_remove(struct model_value *value, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        entry_free(&value->entries[i]);
    memmove(value->entries + from, value->entries + from + count,
            (value->entry_count - from - count) * sizeof(*value->entries));
    value->entry_count -= count;
}

static void stream_trim(struct model_value *value, struct number first_kept)
{
    size_t gone = 0;

    while (gone < value->entry_count && number_compare(value->entries[gone].number, first_kept) < 0)
        gone++;
    if (gone)
        stream_remove(value, 0, gone);
}

static void stream_delete(struct model_value *value, struct number id)
{
    for (size_t i = 0; i < value->entry_count; i++) {
        if (number_compare(value->entries[i].number, id) == 0) {
            stream_remove(value, i, 1);
            return;
        }
    }
}

/* ---- effects: each checks as strictly as Redis, and never half ---- */

/* What stands behind the key. */
struct arguments {
    struct slice key;
    const struct slice *values;
    size_t count;
};

static int run_hset(struct model_store *store, const struct arguments *a)
{
    struct model_value *value;

    if (a->count == 0 || a->count % 2)
        return refuse(store, "HSET: wrong number of arguments");
    if ((value = value_get(store, a->key, MODEL_HASH)) == NULL)
        return wrong_type(store, a->key);
    for (size_t i = 0; i < a->count; i += 2)
        hash_set(value, a->values[i], a->values[i + 1]);
    return 0;
}

static int run_hdel(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);

    if (a->count == 0)
        return refuse(store, "HDEL: wrong number of arguments");
    if (value != NULL && value->kind != MODEL_HASH)
        return wrong_type(store, a->key);
    for (size_t i = 0; value && i < a->count; i++)
        hash_delete(value, a->values[i]);
    if (value != NULL && value->field_count == 0)
        value_destroy(store, value);
    return 0;
}

/* MAXLEN and ~ before the id: exactly so many stay, where Redis may keep some more. */
static int run_xadd(struct model_store *store, const struct arguments *a)
{
    static const struct model_value nothing;
    bool capped = a->count > 3 && slice_is(a->values[0], "MAXLEN") && slice_is(a->values[1], "~");
    const struct slice *entry = a->values + (capped ? 3 : 0);
    size_t words = a->count - (capped ? 3 : 0);
    struct model_value *value = value_find(store, a->key);
    struct number id, most = {0};

    if (words < 3 || words % 2 == 0 || (capped && number_parse(a->values[2], &most) < 0))
        return refuse(store, "XADD: wrong arguments");
    if (value != NULL && value->kind != MODEL_STREAM)
        return wrong_type(store, a->key);
    if (stream_id(store, value ? value : &nothing, entry[0], &id) < 0)
        return refuse(store, "XADD %.*s: id %.*s is not above the last", (int)a->key.length,
                      a->key.data, (int)entry[0].length, entry[0].data);
    value = value_get(store, a->key, MODEL_STREAM);
    stream_push(value, id, entry + 1, words / 2);
    if (capped && value->entry_count > most.epoch)
        stream_remove(value, 0, value->entry_count - most.epoch);
    return 0;
}

/* MINID and the first that stays, or MAXLEN and 0. */
static int run_xtrim(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);
    bool all = a->count == 2 && slice_is(a->values[0], "MAXLEN") && slice_is(a->values[1], "0");
    struct number first;

    if (!all && (a->count != 2 || !slice_is(a->values[0], "MINID") ||
                 number_parse(a->values[1], &first) < 0))
        return refuse(store, "XTRIM: wrong arguments");
    if (value != NULL && value->kind != MODEL_STREAM)
        return wrong_type(store, a->key);
    if (value != NULL && all)
        stream_remove(value, 0, value->entry_count);
    else if (value != NULL)
        stream_trim(value, first);
    return 0;
}

static int run_xdel(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);
    struct number id;

    if (a->count == 0)
        return refuse(store, "XDEL: wrong number of arguments");
    if (value != NULL && value->kind != MODEL_STREAM)
        return wrong_type(store, a->key);
    for (size_t i = 0; i < a->count; i++) {
        if (number_parse(a->values[i], &id) < 0)
            return refuse(store, "XDEL: not an id");
        if (value != NULL)
            stream_delete(value, id);
    }
    return 0;
}

/* EFFECT_DEL_EMPTY_LUA; its key stands where others have it. */
static int run_eval(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);

    if (a->count)
        return refuse(store, "EVAL: not the script of effects.h");
    if (value != NULL && value->kind != MODEL_STREAM)
        return wrong_type(store, a->key);
    if (value != NULL && value->entry_count == 0)
        value_destroy(store, value);
    return 0;
}

/* Of the lease, which is not modelled. */
static int run_set(struct model_store *store, const struct arguments *a)
{
    return a->count == 3 ? 0 : refuse(store, "SET: wrong number of arguments");
}

static int run_del(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);

    if (a->count)
        return refuse(store, "DEL: wrong number of arguments");
    if (value != NULL)
        value_destroy(store, value);
    return 0;
}

static int run_pexpire(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);
    struct number after;

    if (a->count != 1 || number_parse(a->values[0], &after) < 0)
        return refuse(store, "PEXPIRE: wrong arguments");
    if (value != NULL)
        value->expires_ms = store->redis->now_ms + after.epoch;
    return 0;
}

static int run_persist(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);

    if (a->count)
        return refuse(store, "PERSIST: wrong number of arguments");
    if (value != NULL)
        value->expires_ms = 0;
    return 0;
}

static void scores_remove(struct model_value *value, struct slice member)
{
    for (size_t i = 0; i < value->score_count; i++) {
        if (!slice_equal(value->scores[i].member, member))
            continue;
        release(value->scores[i].member);
        memmove(value->scores + i, value->scores + i + 1,
                (value->score_count - i - 1) * sizeof(*value->scores));
        value->score_count--;
        return;
    }
}

static int run_zadd(struct model_store *store, const struct arguments *a)
{
    struct model_value *value;
    struct number score;
    size_t at = 0;

    if (a->count != 2 || number_parse(a->values[0], &score) < 0)
        return refuse(store, "ZADD: wrong arguments");
    if ((value = value_get(store, a->key, MODEL_SCORES)) == NULL)
        return wrong_type(store, a->key);
    scores_remove(value, a->values[1]);
    value->scores = xrealloc(value->scores, (value->score_count + 1) * sizeof(*value->scores));
    while (at < value->score_count && value->scores[at].score <= score.epoch)
        at++;
    memmove(value->scores + at + 1, value->scores + at,
            (value->score_count++ - at) * sizeof(*value->scores));
    value->scores[at] = (struct model_score){copy(a->values[1]), score.epoch};
    return 0;
}

static int run_zrem(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);

    if (a->count != 1)
        return refuse(store, "ZREM: wrong number of arguments");
    if (value != NULL && value->kind != MODEL_SCORES)
        return wrong_type(store, a->key);
    if (value == NULL)
        return 0;
    scores_remove(value, a->values[0]);
    if (value->score_count == 0)
        value_destroy(store, value);
    return 0;
}

/* From rank 0 to one that is counted from the end: as many as -1 - rank have higher scores. */
static int run_zremrangebyrank(struct model_store *store, const struct arguments *a)
{
    struct model_value *value = value_find(store, a->key);
    struct number kept;

    if (a->count != 2 || !slice_is(a->values[0], "0") || a->values[1].length < 2 ||
        a->values[1].data[0] != '-' ||
        number_parse(slice_of(a->values[1].data + 1, a->values[1].length - 1), &kept) < 0)
        return refuse(store, "ZREMRANGEBYRANK: wrong arguments");
    if (value != NULL && value->kind != MODEL_SCORES)
        return wrong_type(store, a->key);
    while (value != NULL && value->score_count >= kept.epoch)
        scores_remove(value, value->scores[0].member);
    return 0;
}

static const struct operation {
    const char *name;
    int (*run)(struct model_store *, const struct arguments *);
    size_t key; /* which word is the key */
} operations[] = {
    {"HSET", run_hset, 1},
    {"HDEL", run_hdel, 1},
    {"XADD", run_xadd, 1},
    {"XTRIM", run_xtrim, 1},
    {"XDEL", run_xdel, 1},
    {"DEL", run_del, 1},
    {"EVAL", run_eval, 3},
    {"SET", run_set, 1},
    {"PEXPIRE", run_pexpire, 1},
    {"PERSIST", run_persist, 1},
    {"ZADD", run_zadd, 1},
    {"ZREM", run_zrem, 1},
    {"ZREMRANGEBYRANK", run_zremrangebyrank, 1},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* ---- commits ---- */

struct model_commit *model_commit_create(struct effects *effects, uint64_t epoch, uint64_t commit,
                                         const struct number *position)
{
    struct model_commit *copied = xcalloc(1, sizeof(*copied));

    effects_close(effects, &(struct effects_end){.commit = commit,
                                                 .position = position,
                                                 .owner = slice_text("r1"),
                                                 .lease_ms = 5000});
    copied->epoch = epoch;
    copied->commit = commit;
    copied->commands = copy(effects_commands(effects));
    copied->count = effects_count(effects);
    return copied;
}

void model_commit_destroy(struct model_commit **commit)
{
    if (*commit == NULL)
        return;
    release((*commit)->commands);
    free(*commit);
    *commit = NULL;
}

struct slice model_commit_commands(const struct model_commit *commit, size_t *count)
{
    *count = commit->count;
    return commit->commands;
}

uint64_t model_commit_number(const struct model_commit *commit)
{
    return commit->commit;
}

/* What is none of effects.def is a failed assertion: the engine makes none. */
static int run_command(struct model_store *store, const struct command_reader *command)
{
    const struct operation *operation = operations;
    struct arguments arguments;

    while (!slice_is(command->words[0], operation->name)) {
        operation++;
        assert(operation < operations + OPERATIONS);
    }
    assert(command->count > operation->key);
    arguments.key = command->words[operation->key];
    arguments.values = command->words + operation->key + 1;
    arguments.count = command->count - operation->key - 1;
    return operation->run(store, &arguments);
}

static bool run_commands(struct model_store *store, const struct model_commit *commit)
{
    struct command_reader reader = {.rest = commit->commands};
    bool all = true;

    while (command_next(&reader))
        all = run_command(store, &reader) == 0 && all;
    command_reader_finish(&reader);
    return all;
}

static uint64_t state_u64(const struct model_store *store, const char *field)
{
    struct slice text = model_store_field(store, "state", (struct slice){0}, slice_text(field));
    struct number number = {0};

    return text.length && number_parse(text, &number) == 0 ? number.epoch : 0;
}

static void set_state(struct model_store *store, const char *field, uint64_t number)
{
    struct buffer key = {0};
    char text[DIGITS_MAX];

    key_partition(&key, store->deployment, store->partition, "state", (struct slice){0});
    hash_set(value_get(store, buffer_slice(&key), MODEL_HASH), slice_text(field),
             digits_slice(number, text));
    buffer_finish(&key);
}

enum model_result model_store_run(struct model_store *store, const struct model_commit *commit)
{
    uint64_t at = state_u64(store, "commit");

    if (state_u64(store, "epoch") != commit->epoch)
        return MODEL_LOST;
    if (at == commit->commit)
        return MODEL_DONE;
    if (at + 1 != commit->commit)
        return MODEL_STALE;
    return run_commands(store, commit) ? MODEL_OK : MODEL_FAILED;
}

struct model_taken model_store_take(struct model_store *store)
{
    struct slice position = model_store_field(store, "state", (struct slice){0}, slice_text("pos"));
    uint64_t above = state_u64(store, "epoch") + 1;
    struct model_taken taken = {.epoch =
                                    above > store->redis->now_ms ? above : store->redis->now_ms};

    if (position.length)
        assert(number_parse(position, &taken.position) == 0);
    set_state(store, "epoch", taken.epoch);
    set_state(store, "commit", 0);
    return taken;
}

static void add_entry(struct model_store *store, struct slice source, struct slice number,
                      struct slice frames)
{
    const struct slice words[] = {slice_text("*"), slice_text("g"), source, slice_text("n"),
                                  number,          slice_text("f"), frames};
    struct arguments arguments = {.values = words, .count = sizeof(words) / sizeof(words[0])};
    struct buffer key = {0};
    int added;

    key_partition(&key, store->deployment, store->partition, "in", (struct slice){0});
    arguments.key = buffer_slice(&key);
    added = run_xadd(store, &arguments);
    assert(added == 0);
    (void)added;
    buffer_finish(&key);
}

void model_store_add_input(struct model_store *store, struct slice gateway, uint64_t number,
                           struct slice frames)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    add_entry(store, gateway, slice_text(digits), frames);
}

void model_store_add_forward(struct model_store *store, struct slice source, struct number number,
                             struct slice frames)
{
    char text[NUMBER_TEXT_SIZE];

    add_entry(store, source, slice_of(text, (size_t)number_format(number, text)), frames);
}

/* ---- reading ---- */

const struct engine_field *model_store_hash(const struct model_store *store, const char *what,
                                            struct slice name, size_t *count)
{
    const struct model_value *value = value_named(store, what, name);

    *count = value ? value->field_count : 0;
    return value ? value->fields : NULL;
}

struct slice model_store_field(const struct model_store *store, const char *what, struct slice name,
                               struct slice field)
{
    const struct model_value *value = value_named(store, what, name);
    const struct engine_field *found = value ? field_find(value, field) : NULL;

    return found ? found->value : (struct slice){0};
}

const struct engine_page_entry *model_store_stream(const struct model_store *store,
                                                   const char *what, struct slice name,
                                                   size_t *count)
{
    const struct model_value *value = value_named(store, what, name);

    *count = value ? value->entry_count : 0;
    return value ? value->entries : NULL;
}

static void add_item(struct model_value *value, uint64_t number, const struct record_reader *record)
{
    struct engine_field *fields = xcalloc(RECORD_FIELDS_MAX, sizeof(*fields));

    for (size_t i = 0; i < record->count; i++)
        fields[i] = (struct engine_field){record->fields[i].name, record->fields[i].value};
    value->items = xrealloc(value->items, (value->item_count + 1) * sizeof(*value->items));
    value->items[value->item_count++] = (struct engine_page_entry){
        .number = {.epoch = number},
        .fields = fields,
        .field_count = record->count,
    };
}

static void add_items(struct model_value *value, const struct engine_page_entry *entry)
{
    struct record_reader record;
    struct number first;

    assert(entry->field_count == 1);
    if (number_parse(entry->fields[0].name, &first) < 0)
        abort();
    record_reader_start(&record, entry->fields[0].value);
    while (record_next(&record) == 1)
        add_item(value, first.epoch++, &record);
    assert(record.rest.length == 0 && first.epoch == entry->number.epoch + 1);
}

const struct engine_page_entry *model_store_journal(const struct model_store *store,
                                                    const char *what, struct slice name,
                                                    size_t *count)
{
    struct model_value *value = value_named(store, what, name);

    *count = 0;
    if (value == NULL)
        return NULL;
    forget_items(value);
    for (size_t i = 0; i < value->entry_count; i++)
        add_items(value, &value->entries[i]);
    *count = value->item_count;
    return value->items;
}

struct number model_store_last_id(const struct model_store *store, const char *what,
                                  struct slice name)
{
    const struct model_value *value = value_named(store, what, name);

    return value ? value->last_id : (struct number){0};
}

const struct model_score *model_store_scores(const struct model_store *store, const char *what,
                                             struct slice name, size_t *count)
{
    const struct model_value *value = value_named(store, what, name);

    *count = value ? value->score_count : 0;
    return value ? value->scores : NULL;
}

struct slice model_entry_field(const struct engine_page_entry *entry, const char *name)
{
    struct record_reader record;

    if (entry->field_count == 1 && slice_is(entry->fields[0].name, "message")) {
        record_reader_start(&record, entry->fields[0].value);
        return record_next(&record) == 1 ? record_text(&record, name) : (struct slice){0};
    }
    for (size_t i = 0; i < entry->field_count; i++)
        if (slice_is(entry->fields[i].name, name))
            return entry->fields[i].value;
    return (struct slice){0};
}

void model_store_each_key(const struct model_store *store,
                          void (*visit)(void *arg, const char *key), void *arg)
{
    struct buffer prefix = {0};

    buffer_append_text(&prefix, store->deployment->prefix);
    partition_tag(&prefix, store->partition);
    for (const struct model_value *value = store->redis->values; value; value = value->hh.next)
        if (value->length > prefix.length && memcmp(value->key, prefix.data, prefix.length) == 0)
            visit(arg, value->key + prefix.length + 1);
    buffer_finish(&prefix);
}

/* ---- the digest ---- */

static uint64_t mix(uint64_t hash, struct slice text)
{
    for (size_t i = 0; i < text.length; i += sizeof(hash)) {
        size_t length = text.length - i < sizeof(hash) ? text.length - i : sizeof(hash);
        uint64_t word = 0;

        memcpy(&word, text.data + i, length);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 29;
    }
    return (hash ^ text.length) * 0x9e3779b97f4a7c15;
}

static uint64_t mix_number(uint64_t hash, struct number number)
{
    return mix(hash, slice_of(&number, sizeof(number)));
}

/* Fields of a hash and keys have no order: their hashes are added. */
static uint64_t value_digest(const struct model_value *value)
{
    uint64_t fields = 0, rest = mix(0xcbf29ce484222325, slice_of(value->key, value->length));

    for (size_t i = 0; i < value->field_count; i++)
        fields += mix(mix(1, value->fields[i].name), value->fields[i].value);
    rest = mix_number(mix_number(rest, value->last_id), (struct number){value->expires_ms, 0});
    for (size_t i = 0; i < value->entry_count; i++) {
        rest = mix_number(rest, value->entries[i].number);
        for (size_t j = 0; j < value->entries[i].field_count; j++)
            rest =
                mix(mix(rest, value->entries[i].fields[j].name), value->entries[i].fields[j].value);
    }
    for (size_t i = 0; i < value->score_count; i++)
        rest = mix_number(mix(rest, value->scores[i].member),
                          (struct number){value->scores[i].score, 0});
    return mix_number(rest, (struct number){fields, 0});
}

uint64_t model_store_digest(const struct model_store *store)
{
    uint64_t sum = 0;

    for (const struct model_value *value = store->redis->values; value; value = value->hh.next)
        sum += value_digest(value);
    return sum;
}
