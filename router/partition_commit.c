#include "common/embed.h"
#include "common/frame_log.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "router/partition_state.h"
#include "router/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

EMBED(commit_lua, "router/commit.lua");

static struct bus_script commit_script = {.name = "commit", .text = commit_lua};

/* Bounds of one commit: what is beyond waits for the next. */
#define BATCH_ENTRIES 4096
#define BATCH_BYTES (4 * 1024 * 1024)
/* Users kept in memory whom nobody needs just now. */
#define IDLE_USERS 10000
#define RETRY_MS 100

void partition_add_commit_script(struct bus *bus)
{
    bus_add_script(bus, &commit_script);
}

static void on_committed(void *arg, const struct bus_reply *reply)
{
    struct partition_request *request = arg;
    struct partition *partition = request->partition;
    struct slice result = bus_reply_text(reply);
    bool counts = partition_request_counts(request) && reply != NULL;

    partition_request_destroy(request);
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
        partition_release_lease(partition);
        return;
    }
    /* Only now: a page that was read before the commit ran would lack what it stored. */
    partition_ask_pages(partition);
    partition_pump(partition);
}

void partition_send_commit(struct partition *partition)
{
    struct router *router = partition->router;
    const struct slice *keys;
    size_t key_count = effects_keys(partition->effects, &keys);
    const struct slice *attachments;
    size_t attachment_count = effects_attachments(partition->effects, &attachments);
    struct slice *argv = xmalloc((key_count + 7 + attachment_count) * sizeof(*argv));
    struct partition_request *request = partition_request_create(partition, (struct slice){0});
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
        partition_request_destroy(request);
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
        partition_remove_input(partition);
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
        partition_remove_page(partition);
    }
}

void partition_commit(struct partition *partition)
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
    partition_send_commit(partition);
    router_count(ROUTER_COMMITS, 1);
    if (was_full && partition_wants_input(partition))
        reader_wake(partition->router->reader);
}

void partition_pump(struct partition *partition)
{
    const struct input *input;

    if (partition->state != PARTITION_SERVING || partition->committing)
        return;
    input = STAILQ_FIRST(&partition->inputs);
    if (partition->first_commit || !STAILQ_EMPTY(&partition->pages) ||
        (input != NULL && users_here(partition, input)))
        partition_commit(partition);
    else if (input == NULL && partition_fetching(partition) == 0)
        engine_trim_users(partition->engine, IDLE_USERS);
}
