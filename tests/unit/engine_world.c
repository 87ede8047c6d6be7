#include "tests/unit/engine_world.h"

#include "common/xalloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

struct world_page {
    STAILQ_ENTRY(world_page) link;
    struct slice user;
    uint64_t ticket;
    bool of_read;
    struct engine_read read;
    struct engine_page_entry *entries;
    size_t count;
};

struct engine_world {
    struct engine_limits limits;
    const struct deployment *deployment;
    uint32_t partition;
    struct model_store *store;
    struct engine *engine;
    struct effects *effects;
    uint64_t epoch, commit, ahead_ms;
    struct number position;
    bool first, tick_sent, hold_pages;
    STAILQ_HEAD(, world_page) pages;
    size_t malformed;
    bool rolled_back;
    uint64_t history_floor;
};

const struct deployment *world_deployment(void)
{
    static const struct deployment deployment = {.prefix = "t:", .partitions = 1};

    return &deployment;
}

const struct deployment *world_deployment_wide(void)
{
    static const struct deployment deployment = {.prefix = "t:", .partitions = WORLD_PARTITIONS};

    return &deployment;
}

static struct engine_world *create(const struct deployment *deployment, uint32_t partition,
                                   struct model_store *store, const struct engine_limits *limits)
{
    struct engine_world *world = xcalloc(1, sizeof(*world));

    world->limits = *limits;
    world->deployment = deployment;
    world->partition = partition;
    world->store = store;
    world->effects = effects_create(deployment, partition);
    STAILQ_INIT(&world->pages);
    return world;
}

static struct engine_world *create_first(const struct deployment *deployment,
                                         const struct engine_limits *limits, uint64_t now_ms)
{
    struct model_store *store = model_store_create(deployment, 0);

    model_store_set_time(store, now_ms);
    return create(deployment, 0, store, limits);
}

struct engine_world *world_create(const struct engine_limits *limits, uint64_t now_ms)
{
    return create_first(world_deployment(), limits, now_ms);
}

struct engine_world *world_create_wide(const struct engine_limits *limits, uint64_t now_ms)
{
    return create_first(world_deployment_wide(), limits, now_ms);
}

struct engine_world *world_create_beside(const struct engine_world *other, uint32_t partition)
{
    return create(other->deployment, partition, model_store_beside(other->store, partition),
                  &other->limits);
}

void world_destroy(struct engine_world **world)
{
    if (*world == NULL)
        return;
    world_drop(*world);
    model_store_destroy(&(*world)->store);
    effects_destroy(&(*world)->effects);
    free(*world);
    *world = NULL;
}

struct model_store *world_store(const struct engine_world *world)
{
    return world->store;
}

struct engine *world_engine(const struct engine_world *world)
{
    return world->engine;
}

uint64_t world_epoch(const struct engine_world *world)
{
    return world->epoch;
}

size_t world_malformed(const struct engine_world *world)
{
    return world->malformed;
}

/* ---- pages ---- */

static struct slice copy(struct slice text)
{
    return slice_of(xmemdup0(text.data ? text.data : "", text.length), text.length);
}

static void page_destroy(struct world_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        for (size_t j = 0; j < page->entries[i].field_count; j++) {
            free((char *)page->entries[i].fields[j].name.data);
            free((char *)page->entries[i].fields[j].value.data);
        }
        free((struct engine_field *)page->entries[i].fields);
    }
    free(page->entries);
    free((char *)page->user.data);
    free(page);
}

static void drop_pages(struct engine_world *world)
{
    struct world_page *page;

    while ((page = STAILQ_FIRST(&world->pages)) != NULL) {
        STAILQ_REMOVE_HEAD(&world->pages, link);
        page_destroy(page);
    }
}

static struct engine_page_entry copy_entry(const struct engine_page_entry *entry)
{
    struct engine_field *fields = xcalloc(entry->field_count, sizeof(*fields));

    for (size_t i = 0; i < entry->field_count; i++)
        fields[i] =
            (struct engine_field){copy(entry->fields[i].name), copy(entry->fields[i].value)};
    return (struct engine_page_entry){entry->number, fields, entry->field_count};
}

static struct world_page *read_page(struct engine_world *world, const char *what,
                                    const struct engine_page_request *wanted)
{
    struct world_page *page = xcalloc(1, sizeof(*page));
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world->store, what, wanted->user, &count);

    page->user = copy(wanted->user);
    page->ticket = wanted->ticket;
    page->entries = xcalloc(ENGINE_PAGE_ENTRIES, sizeof(*page->entries));
    for (size_t i = 0; i < count && page->count < ENGINE_PAGE_ENTRIES; i++)
        if (number_compare(entries[i].number, wanted->after) > 0)
            page->entries[page->count++] = copy_entry(&entries[i]);
    STAILQ_INSERT_TAIL(&world->pages, page, link);
    return page;
}

static void ask_read(struct engine_world *world, const struct engine_read *read)
{
    struct world_page *page =
        read_page(world, read->kind == ENGINE_READ_EVENTS ? "events" : "mailbox",
                  &(struct engine_page_request){.user = read->user, .after = read->after});

    page->of_read = true;
    page->read = *read;
    page->read.user = page->user;
}

void world_ask_pages(struct engine_world *world)
{
    struct engine_page_request wanted;

    struct engine_read read;

    while (engine_next_page(world->engine, &wanted))
        read_page(world, "mailbox", &wanted);
    while (engine_next_read(world->engine, &read))
        ask_read(world, &read);
}

void world_hold_pages(struct engine_world *world, bool held)
{
    world->hold_pages = held;
}

static void apply_pages(struct engine_world *world)
{
    struct world_page *page;

    while (!world->hold_pages && (page = STAILQ_FIRST(&world->pages)) != NULL) {
        STAILQ_REMOVE_HEAD(&world->pages, link);
        if (page->of_read)
            engine_read(world->engine, &page->read, page->entries, page->count);
        else
            engine_page(world->engine, page->user, page->ticket, page->entries, page->count);
        page_destroy(page);
    }
}

/* ---- taking: the stages of load_stages.c, in its order ---- */

static void load_gateway(struct engine_world *world, struct slice gateway, struct slice nonce)
{
    const struct engine_field *fields;
    size_t count;
    struct number last = model_store_last_id(world->store, "out", gateway);

    engine_load_gateway(world->engine, gateway, nonce);
    fields = model_store_hash(world->store, "conns", gateway, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_connection(world->engine, gateway, fields[i].name, fields[i].value);
    fields = model_store_hash(world->store, "subs", gateway, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_subscription(world->engine, gateway, fields[i].name, fields[i].value);
    if (!number_is_zero(last))
        engine_load_output_cursor(world->engine, gateway, last);
}

static void stage_names(struct engine_world *world)
{
    static const struct slice none;
    const struct engine_field *fields;
    const struct model_score *scores;
    const struct engine_page_entry *entries;
    size_t count;

    fields = model_store_hash(world->store, "sources", none, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_source(world->engine, fields[i].name, fields[i].value);
    fields = model_store_hash(world->store, "histories", none, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_history(world->engine, fields[i].name, fields[i].value);
    fields = model_store_hash(world->store, "seen", none, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_seen(world->engine, fields[i].name, fields[i].value);
    scores = model_store_scores(world->store, "timers", none, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_timer(world->engine, scores[i].member, scores[i].score);
    entries = model_store_stream(world->store, "recent", none, &count);
    for (size_t i = 0; i < count; i++)
        engine_load_recent(world->engine, entries[i].number, model_entry_field(&entries[i], "f"));
    fields = model_store_hash(world->store, "gateways", none, &count);
    for (size_t i = 0; i < count; i++)
        load_gateway(world, fields[i].name, fields[i].value);
}

static void load_output(void *arg, struct slice gateway)
{
    struct engine_world *world = arg;
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world->store, "out", gateway, &count);

    for (size_t i = 0; i < count; i++)
        engine_load_output(world->engine, gateway, entries[i].number,
                           model_entry_field(&entries[i], "e"));
}

static void fetch_user(void *arg, struct slice user)
{
    struct engine_world *world = arg;
    size_t count;
    const struct engine_field *fields = model_store_hash(world->store, "user", user, &count);

    if (engine_user(world->engine, user, fields, count)) {
        fields = model_store_hash(world->store, "unread", user, &count);
        engine_unread(world->engine, user, fields, count);
    }
}

void world_take(struct engine_world *world)
{
    struct model_taken taken;

    world_drop(world);
    taken = model_store_take(world->store);
    world->epoch = taken.epoch;
    world->commit = 0;
    world->position = taken.position;
    world->first = true;
    world->engine = engine_create(world->deployment, world->partition, &world->limits);
    if (world->rolled_back)
        world->history_floor = world->epoch;
    world->rolled_back = false;
    engine_load_history_floor(world->engine, world->history_floor);
    stage_names(world);
    engine_each_gateway(world->engine, load_output, world);
    engine_load_users(world->engine, fetch_user, world);
    engine_load_finish(world->engine, model_store_time(world->store));
    engine_check(world->engine);
}

void world_drop(struct engine_world *world)
{
    engine_destroy(&world->engine);
    drop_pages(world);
    world->tick_sent = false;
}

/* ---- turns ---- */

static struct number entry_number(const struct engine_page_entry *entry)
{
    struct number number = {0};

    return number_parse(model_entry_field(entry, "n"), &number) == 0 ? number : (struct number){0};
}

static struct number message_number(uint64_t message)
{
    return (struct number){.epoch = message};
}

static void fetch_message(struct engine_world *world, const struct engine_need *need)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(world->store, "log", need->name, &count);

    while (count && number_compare(entries->number, message_number(need->message)) < 0) {
        entries++;
        count--;
    }
    if (count)
        engine_message(world->engine, need->name, need->message, entries->fields,
                       entries->field_count);
    else
        engine_message(world->engine, need->name, need->message, NULL, 0);
}

static void fetch_conversation(struct engine_world *world, struct slice id)
{
    bool group = chat_is_group(id);
    size_t count;
    const struct engine_field *fields =
        model_store_hash(world->store, group ? "group" : "dialog",
                         group ? slice_of(id.data + 6, id.length - 6) : id, &count);

    engine_conversation(world->engine, id, fields, count);
}

static void fetch(void *arg, const struct engine_need *need)
{
    struct engine_world *world = arg;
    char field[24];

    switch (need->kind) {
    case ENGINE_NEED_USER:
        fetch_user(world, need->name);
        break;
    case ENGINE_NEED_UNREAD:
        fail_msg("frames never ask for an index");
        break;
    case ENGINE_NEED_CONVERSATION:
        fetch_conversation(world, need->name);
        break;
    case ENGINE_NEED_MESSAGE:
        fetch_message(world, need);
        break;
    case ENGINE_NEED_CHANGE:
        snprintf(field, sizeof(field), "%llu", (unsigned long long)need->message);
        engine_change(world->engine, need->name, need->message,
                      model_store_field(world->store, "changes", need->name, slice_text(field)));
        break;
    }
}

/* False: it has to wait, and what is behind it too. */
static bool is_ready(struct engine_world *world, const struct engine_page_entry *entry)
{
    struct slice frames = model_entry_field(entry, "f");

    return engine_missing(world->engine, frames, fetch, world) == 0 ||
           engine_missing(world->engine, frames, NULL, NULL) == 0;
}

static void apply_entry(struct engine_world *world, const struct engine_page_entry *entry)
{
    struct slice source = model_entry_field(entry, "g");
    struct slice frames = model_entry_field(entry, "f");

    if (engine_apply(world->engine, source, entry_number(entry), frames, entry->number.epoch) < 0)
        world->malformed++;
    if (source.length == 0)
        world->tick_sent = false;
    world->position = entry->number;
}

static const struct engine_page_entry *next_input(const struct engine_world *world, size_t *count)
{
    static const struct slice none;
    const struct engine_page_entry *entries = model_store_stream(world->store, "in", none, count);

    while (*count && number_compare(entries->number, world->position) <= 0) {
        entries++;
        --*count;
    }
    return entries;
}

struct model_commit *world_turn(struct engine_world *world, size_t entries, bool forced)
{
    size_t count, applied = 0;
    const struct engine_page_entry *input = next_input(world, &count);
    bool pages = !world->hold_pages && !STAILQ_EMPTY(&world->pages);

    if (count > entries)
        count = entries;
    if (!forced && !world->first && !pages && (count == 0 || !is_ready(world, input)))
        return NULL;
    world->first = false;
    effects_reset(world->effects);
    engine_begin(world->engine, world->epoch, ++world->commit, world->effects,
                 model_store_time(world->store) + world->ahead_ms);
    apply_pages(world);
    while (applied < count && is_ready(world, &input[applied]))
        apply_entry(world, &input[applied++]);
    engine_finish(world->engine);
    engine_check(world->engine);
    return model_commit_create(world->effects, world->epoch, world->commit,
                               applied ? &world->position : NULL);
}

void world_roll_back(struct engine_world *world)
{
    world->rolled_back = true;
}

void world_set_ahead(struct engine_world *world, uint64_t ahead_ms)
{
    world->ahead_ms = ahead_ms;
}

static bool settle(struct engine_world *world)
{
    struct model_commit *commit;
    bool any = false;

    while ((commit = world_turn(world, SIZE_MAX, false)) != NULL) {
        enum model_result result = model_store_run(world->store, commit);

        if (result != MODEL_OK) {
            model_commit_destroy(&commit);
            fail_msg("commit: result %d, %s", (int)result, model_store_problem(world->store));
        }
        model_commit_destroy(&commit);
        world_ask_pages(world);
        any = true;
    }
    return any;
}

void world_settle(struct engine_world *world)
{
    worlds_settle(&world, 1);
}

void worlds_settle(struct engine_world *const *worlds, size_t count)
{
    bool any;

    do {
        any = false;
        for (size_t i = 0; i < count; i++)
            any |= worlds[i]->engine != NULL && settle(worlds[i]);
    } while (any);
}

bool world_tick(struct engine_world *world)
{
    struct buffer frames = {0};

    if (world->tick_sent || engine_due_ms(world->engine) > model_store_time(world->store))
        return false;
    frame_encode(&frames, &(struct frame){.type = FRAME_TICK});
    model_store_add_input(world->store, (struct slice){0}, 0, buffer_slice(&frames));
    world->tick_sent = true;
    buffer_finish(&frames);
    return true;
}
