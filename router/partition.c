#include "router/partition.h"

#include "common/embed.h"
#include "common/frame_log.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "router/ownership.h"
#include "router/partition_state.h"
#include "router/reader.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

EMBED(commit_lua, "router/commit.lua");
EMBED(take_lua, "router/take.lua");
EMBED(release_lua, "router/release.lua");

static struct bus_script commit_script = {.name = "commit", .text = commit_lua};
static struct bus_script take_script = {.name = "take", .text = take_lua};
static struct bus_script release_script = {.name = "release", .text = release_lua};

/* Bounds of one commit: what is beyond waits for the next. */
#define BATCH_ENTRIES 4096
#define BATCH_BYTES (4 * 1024 * 1024)
/* Read and not applied: beyond it the input waits in Redis. */
#define INPUT_BYTES_MAX (16 * 1024 * 1024)
/* Users kept in memory whom nobody needs just now. */
#define IDLE_USERS 10000
#define RETRY_MS 100
#define HISTORY_TOPICS 10000
#define PAGE_FIELDS 16

void partitions_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &commit_script);
    bus_add_script(bus, &take_script);
    bus_add_script(bus, &release_script);
}

struct partition *partition_create(struct router *router, uint32_t number)
{
    struct partition *partition = xcalloc(1, sizeof(*partition));

    partition->router = router;
    partition->number = number;
    key_partition(&partition->in_key, &router->deployment, number, "in", (struct slice){0});
    partition->effects = effects_create(&router->deployment, number);
    STAILQ_INIT(&partition->inputs);
    STAILQ_INIT(&partition->pages);
    return partition;
}

static void page_destroy(struct page *page)
{
    free(page->entries);
    free(page->fields);
    free(page->bytes);
    free(page);
}

static void remove_input(struct partition *partition)
{
    struct input *input = STAILQ_FIRST(&partition->inputs);

    STAILQ_REMOVE_HEAD(&partition->inputs, link);
    partition->input_bytes -= input->size;
    free(input);
}

static void remove_page(struct partition *partition)
{
    struct page *page = STAILQ_FIRST(&partition->pages);

    STAILQ_REMOVE_HEAD(&partition->pages, link);
    page_destroy(page);
}

/* What the engine has counted since the last time, in the process's own counters: an engine ends
 * with its partition. */
static void count_engine(struct partition *partition)
{
    static const struct {
        enum router_metric metric;
        size_t offset;
    } rows[] = {
#define ROW(NAME, field) {ROUTER_##NAME, offsetof(struct engine_counters, field)}
        ROW(FRAMES, frames),
        ROW(REPEATS, repeats),
        ROW(GAPS, gaps),
        ROW(UNKNOWN_GATEWAYS, unknown_gateways),
        ROW(ANNOUNCEMENTS, announcements),
        ROW(GATEWAYS_BURIED, gateways_buried),
        ROW(MALFORMED, malformed),
        ROW(DIRECT_MESSAGES, direct_messages),
        ROW(STORED, stored),
        ROW(MAILBOX_FULL, mailbox_full),
        ROW(EXPIRED, expired),
        ROW(PUBLISHES, publishes),
        ROW(RETRIES_ANSWERED, retries_answered),
        ROW(FORWARDED, forwarded),
        ROW(DISCARDED, discarded),
        ROW(POSTS, posts),
        ROW(EVENTS, events),
#undef ROW
    };
    const struct engine_counters *now;

    if (partition->engine == NULL)
        return;
    now = engine_counters(partition->engine);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        router_count(rows[i].metric,
                     *(const uint64_t *)(const void *)((const char *)now + rows[i].offset) -
                         *(const uint64_t *)(const void *)((const char *)&partition->counted +
                                                           rows[i].offset));
    partition->counted = *now;
}

static void clear(struct partition *partition)
{
    partition->generation++;
    partition->state = PARTITION_FREE;
    count_engine(partition);
    engine_destroy(&partition->engine);
    partition->counted = (struct engine_counters){0};
    while (!STAILQ_EMPTY(&partition->inputs))
        remove_input(partition);
    while (!STAILQ_EMPTY(&partition->pages))
        remove_page(partition);
    partition_forget_fetches(partition);
    partition->committing = partition->releasing = partition->tick_sent = false;
    partition->retry_ms = 0;
}

void partition_destroy(struct partition **partition)
{
    if (*partition == NULL)
        return;
    clear(*partition);
    effects_destroy(&(*partition)->effects);
    buffer_finish(&(*partition)->in_key);
    free(*partition);
    *partition = NULL;
}

enum partition_state partition_state(const struct partition *partition)
{
    return partition->state;
}

void partition_drop(struct partition *partition, const char *why)
{
    if (partition->state == PARTITION_FREE)
        return;
    log_info("partition %u: given up: %s", partition->number, why);
    clear(partition);
    reader_wake(partition->router->reader);
}

struct slice partition_key(struct partition *partition, struct buffer *key, const char *what,
                           struct slice name)
{
    buffer_reset(key, SIZE_MAX);
    key_partition(key, &partition->router->deployment, partition->number, what,
                  name.length ? name : (struct slice){0});
    return buffer_slice(key);
}

/* ---- a request to Redis that counts only as long as the partition is what it was ---- */

struct request {
    struct partition *partition;
    uint64_t generation;
    struct slice user; /* owned; of fetches and pages */
    uint64_t ticket;   /* of pages */
};

static struct request *request_create(struct partition *partition, struct slice user)
{
    struct request *request = xcalloc(1, sizeof(*request));

    request->partition = partition;
    request->generation = partition->generation;
    request->user = slice_of(xmemdup0(user.data, user.length), user.length);
    return request;
}

static void request_destroy(struct request *request)
{
    free((char *)request->user.data);
    free(request);
}

static bool request_counts(const struct request *request)
{
    return request->generation == request->partition->generation;
}

/* ---- taking ---- */

static void pump(struct partition *partition);

static struct engine_limits limits_of(const struct settings *settings)
{
    return (struct engine_limits){
        .gateway_death_ms = (uint64_t)settings->gateway_death_ms,
        .presence_grace_ms = (uint64_t)settings->presence_grace_ms,
        .mailbox_messages = (uint64_t)settings->mailbox_messages,
        .mailbox_bytes = (uint64_t)settings->mailbox_bytes,
        .mailbox_ms = (uint64_t)settings->mailbox_days * 24 * 3600 * 1000,
        .user_connections = (uint64_t)settings->user_connections,
        .window_messages = (uint64_t)settings->window_messages,
        .window_bytes = (uint64_t)settings->window_bytes,
        .history_bytes = (uint64_t)settings->history_bytes,
        .history_topics = HISTORY_TOPICS,
        .output_bytes = (uint64_t)settings->output_bytes,
        .conversation_messages = (uint64_t)settings->conversation_messages,
        .group_members = (uint64_t)settings->group_members,
        .events = (uint64_t)settings->events,
    };
}

static void on_taken(void *arg, const struct bus_reply *reply)
{
    struct request *request = arg;
    struct partition *partition = request->partition;
    bool counts = request_counts(request);
    struct number epoch = {0};
    struct engine_limits limits;

    request_destroy(request);
    if (!counts)
        return;
    if (!slice_is(bus_reply_text(bus_reply_at(reply, 0)), "TAKEN") ||
        number_parse(bus_reply_text(bus_reply_at(reply, 1)), &epoch) < 0 ||
        number_parse(bus_reply_text(bus_reply_at(reply, 2)), &partition->position) < 0) {
        if (bus_reply_kind(reply) == BUS_ERROR)
            log_warn("partition %u: take refused: %.*s", partition->number,
                     (int)bus_reply_text(reply).length, bus_reply_text(reply).data);
        clear(partition);
        if (slice_is(bus_reply_text(bus_reply_at(reply, 0)), "HELD"))
            ownership_refused(partition->router->ownership);
        return;
    }
    router_saw_time(partition->router,
                    strtoull(bus_reply_text(bus_reply_at(reply, 3)).data, NULL, 10));
    partition->epoch = epoch.epoch;
    partition->commit = 0;
    partition->read_position = partition->position;
    partition->first_commit = true;
    limits = limits_of(&partition->router->settings);
    limits.history = partition->router->history;
    partition->engine = engine_create(&partition->router->deployment, partition->number, &limits);
    engine_load_history_floor(partition->engine,
                              strtoull(bus_reply_text(bus_reply_at(reply, 5)).data, NULL, 10));
    partition_load(partition);
}

void partition_take(struct partition *partition)
{
    struct router *router = partition->router;
    struct buffer state = {0}, lease = {0};
    struct request *request;
    char lease_ms[24];
    struct slice argv[5];

    /* Which Redis it is must be known: the state says under which it was written. */
    if (partition->state != PARTITION_FREE || router->run_id[0] == '\0')
        return;
    partition->generation++;
    partition->state = PARTITION_TAKING;
    request = request_create(partition, (struct slice){0});
    argv[0] = partition_key(partition, &state, "state", (struct slice){0});
    argv[1] = partition_key(partition, &lease, "lease", (struct slice){0});
    argv[2] = slice_text(router->id);
    argv[3] = slice_of(lease_ms, (size_t)snprintf(lease_ms, sizeof(lease_ms), "%" PRId64,
                                                  router->settings.lease_ms));
    argv[4] = slice_text(router->run_id);
    if (bus_eval(router->bus, &take_script, on_taken, request, 2, 5, argv) < 0)
        on_taken(request, NULL);
    buffer_finish(&state);
    buffer_finish(&lease);
}

void partition_loaded(struct partition *partition)
{
    engine_load_finish(partition->engine, router_redis_ms(partition->router));
    partition->state = PARTITION_SERVING;
    partition->committed_ms = uv_now(partition->router->loop);
    router_count(ROUTER_TAKES, 1);
    log_info("partition %u: serving, epoch %" PRIu64, partition->number, partition->epoch);
    pump(partition);
    reader_wake(partition->router->reader);
}

static void release_lease(struct partition *partition)
{
    struct router *router = partition->router;
    struct buffer key = {0};
    struct slice argv[2] = {partition_key(partition, &key, "lease", (struct slice){0}),
                            slice_text(router->id)};

    /* Not sent: the lease ends by itself. */
    if (bus_eval(router->bus, &release_script, NULL, NULL, 1, 2, argv) < 0)
        log_debug("partition %u: lease not released, Redis is away", partition->number);
    buffer_finish(&key);
    partition_drop(partition, "handed over");
}

void partition_release(struct partition *partition)
{
    if (partition->state == PARTITION_FREE)
        return;
    if (partition->state == PARTITION_SERVING && partition->committing)
        partition->releasing = true;
    else
        release_lease(partition);
}

/* ---- users ---- */

size_t partition_fields(const struct bus_reply *pairs, struct engine_field *fields, size_t max)
{
    size_t count = bus_reply_count(pairs) / 2;

    if (count > max)
        count = max;
    for (size_t i = 0; i < count; i++)
        fields[i] = (struct engine_field){.name = bus_reply_text(bus_reply_at(pairs, i * 2)),
                                          .value = bus_reply_text(bus_reply_at(pairs, i * 2 + 1))};
    return count;
}

/* A key that somebody else made something of counts as empty: it must not stop the whole partition.
 * Any other refusal does, until the partition is taken anew. */
bool partition_readable(struct partition *partition, const struct bus_reply *reply,
                        const char *what, struct slice name)
{
    static const char wrong_type[] = "WRONGTYPE";
    struct slice text = bus_reply_text(reply);

    if (bus_reply_kind(reply) == BUS_ARRAY)
        return true;
    log_error("partition %u: %s:%.*s cannot be read: %.*s", partition->number,
              what ? what : "conversation", (int)name.length, name.data, (int)text.length,
              text.data);
    if (text.length >= sizeof(wrong_type) - 1 &&
        memcmp(text.data, wrong_type, sizeof(wrong_type) - 1) == 0)
        return true;
    partition_drop(partition, "a record could not be read");
    return false;
}

void partition_go_on(struct partition *partition)
{
    if (partition->state == PARTITION_LOADING)
        partition_load_progress(partition);
    else
        pump(partition);
}

/* ---- pages of mailboxes ---- */

static struct slice keep_text(struct buffer *bytes, struct slice text)
{
    struct slice kept = slice_of(bytes->data + bytes->length, text.length);

    buffer_append_slice(bytes, text);
    return kept;
}

static size_t page_size(const struct bus_reply *entries)
{
    size_t size = 0;

    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *fields = bus_reply_at(bus_reply_at(entries, i), 1);

        for (size_t j = 0; j < bus_reply_count(fields); j++)
            size += bus_reply_text(bus_reply_at(fields, j)).length;
    }
    return size;
}

static void keep_entry(struct page *page, struct buffer *bytes, const struct bus_reply *entry)
{
    struct engine_page_entry *to = &page->entries[page->count];
    struct engine_field *fields = &page->fields[page->count * PAGE_FIELDS];

    if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &to->number) < 0)
        return;
    to->fields = fields;
    to->field_count = partition_fields(bus_reply_at(entry, 1), fields, PAGE_FIELDS);
    for (size_t i = 0; i < to->field_count; i++) {
        fields[i].name = keep_text(bytes, fields[i].name);
        fields[i].value = keep_text(bytes, fields[i].value);
    }
    page->count++;
}

/* Copies a page out of the answer: it may have to wait for a commit. */
struct page *partition_page_create(struct slice user, const struct bus_reply *entries)
{
    struct page *page = xcalloc(1, sizeof(*page));
    size_t count = bus_reply_count(entries);
    struct buffer bytes = {0};

    /* Room for all of it at once: the slices point into it. */
    buffer_reserve(&bytes, user.length + page_size(entries) + 1);
    page->entries = xcalloc(count, sizeof(*page->entries));
    page->fields = xcalloc(count * PAGE_FIELDS, sizeof(*page->fields));
    page->user = keep_text(&bytes, user);
    for (size_t i = 0; i < count; i++)
        keep_entry(page, &bytes, bus_reply_at(entries, i));
    page->bytes = bytes.data;
    return page;
}

static void on_page(void *arg, const struct bus_reply *reply)
{
    struct request *request = arg;
    struct partition *partition = request->partition;
    struct page *page;

    if (!request_counts(request) || reply == NULL) {
        request_destroy(request);
        return;
    }
    if (!partition_readable(partition, reply, "mailbox", request->user)) {
        request_destroy(request);
        return;
    }
    page = partition_page_create(request->user, reply);
    page->ticket = request->ticket;
    STAILQ_INSERT_TAIL(&partition->pages, page, link);
    request_destroy(request);
    pump(partition);
}

static void ask_page(struct partition *partition, const struct engine_page_request *wanted)
{
    struct buffer key = {0};
    char from[NUMBER_TEXT_SIZE + 1] = "(";
    char count[24];
    struct request *request = request_create(partition, wanted->user);
    struct slice argv[6];

    request->ticket = wanted->ticket;
    number_format(wanted->after, from + 1);
    snprintf(count, sizeof(count), "%d", ENGINE_PAGE_ENTRIES);
    argv[0] = slice_text("XRANGE");
    argv[1] = partition_key(partition, &key, "mailbox", wanted->user);
    argv[2] = slice_text(number_is_zero(wanted->after) ? "-" : from);
    argv[3] = slice_text("+");
    argv[4] = slice_text("COUNT");
    argv[5] = slice_text(count);
    if (bus_command(partition->router->bus, on_page, request, 6, argv) < 0)
        request_destroy(request);
    buffer_finish(&key);
}

static void ask_pages(struct partition *partition)
{
    struct engine_page_request wanted;

    while (engine_next_page(partition->engine, &wanted))
        ask_page(partition, &wanted);
    partition_ask_reads(partition);
}

/* ---- the commit ---- */

static void on_committed(void *arg, const struct bus_reply *reply)
{
    struct request *request = arg;
    struct partition *partition = request->partition;
    struct slice result = bus_reply_text(reply);
    bool counts = request_counts(request) && reply != NULL;

    request_destroy(request);
    if (!counts)
        return;
    if (bus_reply_not_run(reply)) {
        partition->retry_ms = uv_now(partition->router->loop) + RETRY_MS;
        return;
    }
    if (result.length >= 6 && memcmp(result.data, "FAILED", 6) == 0) {
        /* What is in memory is not what is in Redis any more. */
        log_error("partition %u: an effect failed, see dead: %.*s", partition->number,
                  (int)result.length, result.data);
        router_count(ROUTER_EFFECTS_FAILED, 1);
        partition_drop(partition, "an effect failed");
        return;
    }
    if (!slice_is(result, "OK") && !slice_is(result, "DONE")) {
        log_warn("partition %u: commit: %.*s", partition->number, (int)result.length, result.data);
        router_count(ROUTER_LOSSES, 1);
        partition_drop(partition, "its commit was refused");
        return;
    }
    histogram_observe(&router_histograms[ROUTER_COMMIT_SECONDS],
                      (uv_hrtime() - partition->sent_ns) / 1000);
    partition->committing = false;
    partition->committed_ms = uv_now(partition->router->loop);
    if (partition->releasing) {
        release_lease(partition);
        return;
    }
    /* Only now: a page that was read before the commit ran would lack what it stored. */
    ask_pages(partition);
    pump(partition);
}

static void send_commit(struct partition *partition)
{
    struct router *router = partition->router;
    const struct slice *keys;
    size_t key_count = effects_keys(partition->effects, &keys);
    const struct slice *attachments;
    size_t attachment_count = effects_attachments(partition->effects, &attachments);
    struct slice *argv = xmalloc((key_count + 7 + attachment_count) * sizeof(*argv));
    struct request *request = request_create(partition, (struct slice){0});
    char texts[5][NUMBER_TEXT_SIZE];
    size_t at = key_count;

    memcpy(argv, keys, key_count * sizeof(*argv));
    argv[at++] = slice_of(texts[0], (size_t)sprintf(texts[0], "%" PRIu64, partition->epoch));
    argv[at++] = slice_of(texts[1], (size_t)sprintf(texts[1], "%" PRIu64, partition->commit));
    argv[at++] = slice_text(router->id);
    argv[at++] =
        slice_of(texts[2], (size_t)sprintf(texts[2], "%" PRId64, router->settings.lease_ms));
    argv[at] = slice_of(texts[3], (size_t)number_format(partition->position, texts[3]));
    argv[at].length = partition->position_moved ? argv[at].length : 0;
    at++;
    argv[at++] =
        slice_of(texts[4], (size_t)number_format(number_next(partition->position), texts[4]));
    argv[at++] = effects_packed(partition->effects);
    if (attachment_count)
        memcpy(argv + at, attachments, attachment_count * sizeof(*argv));
    at += attachment_count;
    partition->committing = true;
    partition->sent_ns = uv_hrtime();
    partition->retry_ms = 0;
    /* Not sent: the bus is about to say that it is down, and the partition is taken anew. */
    if (bus_eval(router->bus, &commit_script, on_committed, request, key_count, at, argv) < 0)
        request_destroy(request);
    free(argv);
}

static void to_dead(struct partition *partition, const struct input *input)
{
    struct effects *effects = partition->effects;
    char number[NUMBER_TEXT_SIZE];

    number_format(input->number, number);
    log_warn("partition %u: entry %s of %.*s holds what is no frame: moved to dead",
             partition->number, number, (int)input->source.length, input->source.data);
    effects_open(effects, EFFECT_XADD, EFFECT_KEY_DEAD, 12);
    effects_text(effects, slice_text("MAXLEN"));
    effects_text(effects, slice_text("~"));
    effects_text(effects, slice_text("1000"));
    effects_text(effects, slice_text("*"));
    effects_text_pair(effects, "what", slice_text("frames"));
    effects_text_pair(effects, "source", input->source);
    effects_text_pair(effects, "number", slice_text(number));
    effects_text_pair(effects, "f", input->frames);
}

/* Answers come in the order of their questions, so one number tells for any input. An
   acknowledgement may have to wait for a page as well: engine_missing knows. */
static bool users_here(struct partition *partition, const struct input *input)
{
    return partition->fetched >= input->fetch &&
           ((!input->look_again && !engine_looks_again(partition->engine)) ||
            engine_missing(partition->engine, input->frames, NULL, NULL) == 0);
}

static void observe_lag(const struct partition *partition, const struct input *input)
{
    uint64_t now_ms = router_redis_ms(partition->router);

    histogram_observe(&router_histograms[ROUTER_LAG_SECONDS],
                      now_ms > input->id.epoch ? now_ms - input->id.epoch : 0);
}

static bool is_full(const struct partition *partition)
{
    return effects_size(partition->effects) > BATCH_BYTES || engine_is_full(partition->engine);
}

static void apply_inputs(struct partition *partition)
{
    struct input *input;
    int entries = 0;

    while ((input = STAILQ_FIRST(&partition->inputs)) != NULL && users_here(partition, input)) {
        if (entries == BATCH_ENTRIES || is_full(partition))
            break;
        entries++;
        observe_lag(partition, input);
        if (log_enabled(LOG_LEVEL_DEBUG))
            frame_log_entry("applied in", partition->number, frame_log_bits(input->source),
                            input->frames);
        if (engine_apply(partition->engine, input->source, input->number, input->frames,
                         input->id.epoch) < 0)
            to_dead(partition, input);
        if (input->source.length == 0)
            partition->tick_sent = false;
        partition->position = input->id;
        partition->position_moved = true;
        router_count(ROUTER_ENTRIES, 1);
        remove_input(partition);
    }
    if (entries > 0)
        histogram_observe(&router_histograms[ROUTER_COMMIT_ENTRIES], (uint64_t)entries);
}

static void apply_pages(struct partition *partition)
{
    while (!STAILQ_EMPTY(&partition->pages) && !is_full(partition)) {
        const struct page *page = STAILQ_FIRST(&partition->pages);

        if (page->of_read)
            engine_read(partition->engine, &page->read, page->entries, page->count);
        else
            engine_page(partition->engine, page->user, page->ticket, page->entries, page->count);
        remove_page(partition);
    }
}

static void commit(struct partition *partition)
{
    bool was_full = !partition_wants_input(partition);

    effects_reset(partition->effects);
    partition->position_moved = false;
    partition->first_commit = false;
    partition->commit++;
    engine_begin(partition->engine, partition->epoch, partition->commit, partition->effects,
                 router_redis_ms(partition->router));
    apply_pages(partition);
    apply_inputs(partition);
    engine_finish(partition->engine);
    send_commit(partition);
    router_count(ROUTER_COMMITS, 1);
    if (was_full && partition_wants_input(partition))
        reader_wake(partition->router->reader);
}

/* Commits what there is, unless a commit is in flight: then its answer calls again. */
static void pump(struct partition *partition)
{
    const struct input *input;

    if (partition->state != PARTITION_SERVING || partition->committing)
        return;
    input = STAILQ_FIRST(&partition->inputs);
    if (partition->first_commit || !STAILQ_EMPTY(&partition->pages) ||
        (input != NULL && users_here(partition, input)))
        commit(partition);
    else if (input == NULL && partition_fetching(partition) == 0)
        engine_trim_users(partition->engine, IDLE_USERS);
}

/* ---- input ---- */

bool partition_wants_input(const struct partition *partition)
{
    return partition->state == PARTITION_SERVING && partition->input_bytes < INPUT_BYTES_MAX;
}

struct slice partition_input_key(const struct partition *partition)
{
    return buffer_slice(&partition->in_key);
}

struct number partition_input_position(const struct partition *partition)
{
    return partition->read_position;
}

static struct slice put(char **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.length);

    memcpy(*at, text.data, text.length);
    *at += text.length;
    return kept;
}

static struct input *input_create(const struct bus_reply *entry)
{
    const struct bus_reply *fields = bus_reply_at(entry, 1);
    struct slice source = bus_reply_text(bus_reply_field(fields, "g"));
    struct slice frames = bus_reply_text(bus_reply_field(fields, "f"));
    struct input *input = xcalloc(1, sizeof(*input) + source.length + frames.length + 1);
    char *at = input->bytes;

    if (number_parse(bus_reply_text(bus_reply_field(fields, "n")), &input->number) < 0)
        input->number = (struct number){0};
    input->size = sizeof(*input) + source.length + frames.length;
    if (source.length)
        input->source = put(&at, source);
    if (frames.length)
        input->frames = put(&at, frames);
    return input;
}

static void fetch_missing(void *arg, const struct engine_need *need)
{
    partition_fetch(arg, need);
}

void partition_on_input(struct partition *partition, const struct bus_reply *entries)
{
    if (partition->state != PARTITION_SERVING)
        return;
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *entry = bus_reply_at(entries, i);
        struct input *input;
        struct number id;

        /* The answer of a read that began before the partition was taken anew may overlap. */
        if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &id) < 0 ||
            number_compare(id, partition->read_position) <= 0)
            continue;
        input = input_create(entry);
        input->id = id;
        input->look_again =
            engine_missing(partition->engine, input->frames, fetch_missing, partition) > 0;
        if (input->look_again)
            input->fetch = partition->asked;
        partition->read_position = id;
        partition->input_bytes += input->size;
        STAILQ_INSERT_TAIL(&partition->inputs, input, link);
        router_saw_time(partition->router, id.epoch);
    }
    pump(partition);
}

/* ---- the clock ---- */

static void send_tick(struct partition *partition)
{
    struct buffer frames = {0};
    struct slice argv[9] = {slice_text("XADD"), partition_input_key(partition),
                            slice_text("*"),    slice_text("g"),
                            slice_text(""),     slice_text("n"),
                            slice_text("0"),    slice_text("f")};

    frame_encode(&frames, &(struct frame){.type = FRAME_TICK});
    argv[8] = buffer_slice(&frames);
    partition->tick_sent = bus_command(partition->router->bus, NULL, NULL, 9, argv) == 0;
    buffer_finish(&frames);
}

void partition_on_clock(struct partition *partition)
{
    uint64_t now = uv_now(partition->router->loop);

    if (partition->state != PARTITION_SERVING)
        return;
    if (partition->committing) {
        if (partition->retry_ms && now >= partition->retry_ms) {
            router_count(ROUTER_COMMIT_RETRIES, 1);
            send_commit(partition);
        }
        return;
    }
    if (!partition->tick_sent &&
        engine_due_ms(partition->engine) <= router_redis_ms(partition->router))
        send_tick(partition);
    if (now - partition->committed_ms >= (uint64_t)partition->router->settings.renew_ms)
        commit(partition);
}

void partition_add_metrics(struct partition *partition)
{
    struct engine_sizes sizes;

    if (partition->state != PARTITION_SERVING)
        return;
    count_engine(partition);
    sizes = engine_sizes(partition->engine);
    router_count(ROUTER_PARTITIONS, 1);
    router_count(ROUTER_CONNECTIONS, sizes.connections);
    router_count(ROUTER_USERS, sizes.users);
    router_count(ROUTER_PENDING, sizes.pending);
    router_count(ROUTER_QUEUED_BYTES, partition->input_bytes);
}
