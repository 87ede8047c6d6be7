#include "common/frame_log.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "router/partition_state.h"
#include "router/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Bounds of one commit: what is beyond waits for the next. */
#define BATCH_ENTRIES 4096
#define BATCH_BYTES (4 * 1024 * 1024)
/* The longest rest after a commit. */
#define REST_MS 10
/* Entries of `dead`. */
#define DEAD_KEPT "1000"
/* Users kept in memory whom nobody needs just now. */
#define IDLE_USERS 10000

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
    effects_text(effects, slice_text(DEAD_KEPT));
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
    effects_close(partition->effects,
                  &(struct effects_end){
                      .commit = partition->commit,
                      .position = partition->position_moved ? &partition->position : NULL,
                      .owner = slice_text(partition->router->id),
                      .lease_ms = (uint64_t)partition->router->settings.lease_ms,
                  });
    partition->committing = true;
    partition->sent_ns = uv_hrtime();
    committer_send(partition->committer, partition->commit);
    router_count(ROUTER_COMMITS, 1);
    if (was_full && partition_wants_input(partition))
        reader_wake(partition->router->reader);
}

void partition_pump(struct partition *partition)
{
    const struct input *input;

    if (partition->state != PARTITION_SERVING || partition->committing ||
        uv_is_active((uv_handle_t *)partition->rest))
        return;
    input = STAILQ_FIRST(&partition->inputs);
    if (partition->first_commit || !STAILQ_EMPTY(&partition->pages) ||
        (input != NULL && users_here(partition, input)))
        partition_commit(partition);
    else if (input == NULL && partition_fetching(partition) == 0)
        engine_trim_users(partition->engine, IDLE_USERS);
}

/* ---- what becomes of it ---- */

static void on_ready(void *arg)
{
    partition_load(arg);
}

static void on_rested(uv_timer_t *timer)
{
    partition_pump(timer->data);
}

/*
 * A commit costs by itself, and for each user in it, beside what it costs for each message. When
 * Redis is so busy that one takes milliseconds, the next waits twice as long as the last one took:
 * it is larger then, and Redis does less for each message. One that is quicker is followed at once.
 */
static void rest(struct partition *partition, uint64_t commit_us)
{
    uint64_t ms = commit_us / 1000 * 2;

    if (ms > 0)
        uv_timer_start(partition->rest, on_rested, ms < REST_MS ? ms : REST_MS, 0);
}

static void on_committed(void *arg)
{
    struct partition *partition = arg;
    uint64_t us = (uv_hrtime() - partition->sent_ns) / 1000;

    histogram_observe(&router_histograms[ROUTER_COMMIT_SECONDS], us);
    partition->committing = false;
    rest(partition, us);
    partition->committed_ms = uv_now(partition->router->loop);
    if (partition->releasing) {
        partition_release_lease(partition);
        return;
    }
    /* Only now: a page that was read before the commit ran would lack what it stored. */
    partition_ask_pages(partition);
    partition_pump(partition);
}

/* Over the router's connection: the partition's own ends. */
static void on_failed(void *arg, const struct slice *words, struct slice problem)
{
    struct partition *partition = arg;
    struct buffer key = {0};
    const struct slice dead[] = {
        slice_text("XADD"),    partition_key(partition, &key, "dead", (struct slice){0}),
        slice_text("MAXLEN"),  slice_text("~"),
        slice_text(DEAD_KEPT), slice_text("*"),
        slice_text("what"),    slice_text("effect"),
        slice_text("command"), words[0],
        slice_text("key"),     words[1],
        slice_text("problem"), problem,
    };

    log_error("partition %u: an effect failed, see dead: %.*s %.*s: %.*s", partition->number,
              (int)words[0].length, words[0].data, (int)words[1].length, words[1].data,
              (int)problem.length, problem.data);
    if (bus_command(partition->router->bus, NULL, NULL, sizeof(dead) / sizeof(dead[0]), dead) < 0)
        log_debug("partition %u: Redis is away", partition->number);
    buffer_finish(&key);
}

static void on_end(void *arg, enum committer_end how, const char *why)
{
    if (how == COMMITTER_LOST || how == COMMITTER_REFUSED)
        router_count(ROUTER_LOSSES, 1);
    if (how == COMMITTER_FAILED)
        router_count(ROUTER_EFFECTS_FAILED, 1);
    partition_drop(arg, why);
}

void partition_connect(struct partition *partition)
{
    struct router *router = partition->router;
    char name[96];
    const struct committer_options options = {
        .loop = router->loop,
        .address = router->address,
        .client_name = name,
        .effects = partition->effects,
        .epoch = partition->epoch,
        .on_ready = on_ready,
        .on_committed = on_committed,
        .on_failed = on_failed,
        .on_end = on_end,
        .arg = partition,
    };

    snprintf(name, sizeof(name), "%s-p%" PRIu32, router->name, partition->number);
    partition->committer = committer_create(&options);
}
