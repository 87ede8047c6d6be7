#include "router/partition.h"

#include "common/embed.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "router/ownership.h"
#include "router/partition_state.h"
#include "router/reader.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

EMBED(take_lua, "router/take.lua");
EMBED(release_lua, "router/release.lua");
EMBED(tick_lua, "router/tick.lua");

static struct bus_script take_script = {.name = "take", .text = take_lua};
static struct bus_script release_script = {.name = "release", .text = release_lua};
static struct bus_script tick_script = {.name = "tick", .text = tick_lua};

#define HISTORY_TOPICS 10000

void partitions_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &take_script);
    bus_add_script(bus, &release_script);
    bus_add_script(bus, &tick_script);
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
    partition->rest = xcalloc(1, sizeof(*partition->rest));
    uv_timer_init(router->loop, partition->rest);
    partition->rest->data = partition;
    return partition;
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
    committer_destroy(&partition->committer);
    uv_timer_stop(partition->rest);
    count_engine(partition);
    engine_destroy(&partition->engine);
    partition->counted = (struct engine_counters){0};
    while (!STAILQ_EMPTY(&partition->inputs))
        partition_remove_input(partition);
    while (!STAILQ_EMPTY(&partition->pages))
        partition_remove_page(partition);
    partition_forget_fetches(partition);
    partition->committing = partition->releasing = partition->tick_sent = false;
}

static void on_rest_closed(uv_handle_t *rest)
{
    free(rest);
}

void partition_destroy(struct partition **partition)
{
    if (*partition == NULL)
        return;
    clear(*partition);
    uv_close((uv_handle_t *)(*partition)->rest, on_rest_closed);
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

struct partition_request *partition_request_create(struct partition *partition, struct slice user)
{
    struct partition_request *request = xcalloc(1, sizeof(*request));

    request->partition = partition;
    request->generation = partition->generation;
    request->user = slice_of(xmemdup0(user.data, user.length), user.length);
    return request;
}

void partition_request_destroy(struct partition_request *request)
{
    free((char *)request->user.data);
    free(request);
}

bool partition_request_counts(const struct partition_request *request)
{
    return request->generation == request->partition->generation;
}

/* ---- taking ---- */

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
    struct partition_request *request = arg;
    struct partition *partition = request->partition;
    bool counts = partition_request_counts(request);
    struct number epoch = {0};
    struct engine_limits limits;

    partition_request_destroy(request);
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
    partition_connect(partition);
}

void partition_take(struct partition *partition)
{
    struct router *router = partition->router;
    struct buffer state = {0}, lease = {0};
    struct partition_request *request;
    char lease_ms[24];
    struct slice argv[5];

    /* Which Redis it is must be known: the state says under which it was written. */
    if (partition->state != PARTITION_FREE || router->run_id[0] == '\0')
        return;
    partition->generation++;
    partition->state = PARTITION_TAKING;
    request = partition_request_create(partition, (struct slice){0});
    argv[0] = partition_key(partition, &state, "state", (struct slice){0});
    argv[1] = partition_key(partition, &lease, "lease", (struct slice){0});
    argv[2] = slice_text(router->id);
    argv[3] = slice_print(lease_ms, sizeof(lease_ms), "%" PRId64, router->settings.lease_ms);
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
    partition_pump(partition);
    reader_wake(partition->router->reader);
}

void partition_release_lease(struct partition *partition)
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
        partition_release_lease(partition);
}

/* ---- answers of Redis ---- */

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
        partition_pump(partition);
}

/* ---- the clock ---- */

/* One that was refused is not in the input: the clock sends another. */
static void on_ticked(void *arg, const struct bus_reply *reply)
{
    struct partition_request *request = arg;

    if (partition_request_counts(request) && bus_reply_kind(reply) == BUS_ERROR)
        request->partition->tick_sent = false;
    partition_request_destroy(request);
}

static void send_tick(struct partition *partition)
{
    struct partition_request *request = partition_request_create(partition, (struct slice){0});
    struct buffer frames = {0};
    struct slice argv[2] = {partition_input_key(partition)};

    frame_encode(&frames, &(struct frame){.type = FRAME_TICK});
    argv[1] = buffer_slice(&frames);
    partition->tick_sent =
        bus_eval(partition->router->bus, &tick_script, on_ticked, request, 1, 2, argv) == 0;
    if (!partition->tick_sent)
        partition_request_destroy(request);
    buffer_finish(&frames);
}

void partition_on_clock(struct partition *partition)
{
    uint64_t now = uv_now(partition->router->loop);

    if (partition->state != PARTITION_SERVING)
        return;
    if (partition->committing) {
        router_count(ROUTER_COMMIT_RETRIES, committer_on_clock(partition->committer));
        return;
    }
    if (!partition->tick_sent &&
        engine_due_ms(partition->engine) <= router_redis_ms(partition->router))
        send_tick(partition);
    if (now - partition->committed_ms >= (uint64_t)partition->router->settings.renew_ms)
        partition_commit(partition);
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
