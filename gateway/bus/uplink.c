#include "gateway/bus/uplink.h"

#include "common/embed.h"
#include "common/frame_log.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/bus/delivery.h"
#include "gateway/bus/entries.h"
#include "gateway/bus/unanswered.h"
#include "gateway/topics/room.h"
#include "gateway/session/session.h"
#include "gateway/topics/topics.h"

#include <stdio.h>
#include <stdlib.h>

/* Between tries after Redis refused an entry. */
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 1000
/* At maxmemory the script is used for so long before the plain command is tried again. */
#define FULL_MS 1000
/* An announcement whose nonce does not come back is made again after this at least (a new router
   may have taken over in the middle of it), then ever later: it may be large, and nobody there. */
#define ANNOUNCE_AGAIN_MS 2000
#define ANNOUNCE_AGAIN_MAX_MS 60000
/* Two announcements are so far apart, whatever their reasons. */
#define ANNOUNCE_GAP_MS 500
/* A partition that accepts nothing for so long gets no more of clients' frames. */
#define SILENT_MS 10000
/* Redis away for less than this is not told to clients. */
#define BLINK_MS 1000

struct uplink_partition {
    struct uplink *uplink; /* NULL after uplink_destroy: the answer in flight frees it */
    uint32_t index;
    struct entries *entries;
    struct buffer key;
    bool in_flight; /* an answer will come */
    bool queued;    /* to be looked at when the turn ends */
    struct uplink_partition *queue_next;

    uint64_t retry_ms;    /* the wait after the last refusal; 0: it was taken */
    uint64_t retry_at_ms; /* nothing is sent before */
    bool reached;         /* an announcement was answered once */
    uint64_t announced_ms;
    uint64_t announce_at_ms; /* suspended, or sent and not answered: the next one is made then */
    uint64_t announce_wait_ms;
    uint64_t sent_ms;    /* anything, last */
    uint64_t heard_ms;   /* anything accepted, last */
    uint64_t waiting_ms; /* since when it accepts nothing of what is held; 0: nothing is held */
    uint64_t timed, timed_ns; /* number of an entry whose acceptance is timed; 0: none */
};

struct uplink {
    struct gateway *gateway;
    struct uplink_partition **partitions;
    uint32_t count;
    struct uplink_partition *queue;
    uv_timer_t heartbeat_timer;
    uv_timer_t due_timer; /* looks at all partitions when the earliest of them wants it */
    uint64_t due_ms;
    uv_timer_t leave_timer;
    unsigned handles;
    uint64_t down_ms; /* since when the bus was seen down; 0: it is up */
    bool refused;     /* Redis refuses entries; said once */
    bool full;        /* Redis is at maxmemory: the last plain XADD was refused */
    uint64_t full_until_ms;
    bool leaving;
    void (*left)(void *arg);
    void *left_arg;
};

EMBED(uplink_in_script, "gateway/bus/in.lua");
static struct bus_script in_script = {.name = "in", .text = uplink_in_script};

static uint64_t now_ms(const struct uplink *uplink)
{
    return uv_now(uplink->gateway->loop);
}

static uint64_t again_ms(const struct uplink *uplink)
{
    uint64_t heartbeat_ms = (uint64_t)uplink->gateway->settings.heartbeat_ms;

    return heartbeat_ms > ANNOUNCE_AGAIN_MS ? heartbeat_ms : ANNOUNCE_AGAIN_MS;
}

static void queue(struct uplink_partition *partition)
{
    if (partition->queued)
        return;
    partition->queued = true;
    partition->queue_next = partition->uplink->queue;
    partition->uplink->queue = partition;
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer)
{
    struct uplink *uplink = timer->data;

    for (uint32_t p = 0; p < uplink->count; p++)
        queue(uplink->partitions[p]);
}

static void wake_at(struct uplink *uplink, uint64_t at_ms)
{
    uint64_t now = now_ms(uplink);

    if (uv_is_active((uv_handle_t *)&uplink->due_timer) && uplink->due_ms <= at_ms)
        return;
    uplink->due_ms = at_ms;
    uv_timer_start(&uplink->due_timer, on_due, at_ms > now ? at_ms - now : 0, 0);
}

static void beat(struct uplink_partition *partition)
{
    const struct uplink *uplink = partition->uplink;

    if (!uplink->leaving && !entries_busy(partition->entries))
        uplink_send(partition->uplink, partition->index,
                    &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct uplink *uplink = timer->data;

    for (uint32_t p = 0; p < uplink->count; p++)
        if (now_ms(uplink) - uplink->partitions[p]->sent_ms >=
            (uint64_t)uplink->gateway->settings.heartbeat_ms)
            beat(uplink->partitions[p]);
}

/* ---- announcements ---- */

static void suspend(struct uplink_partition *partition, uint64_t announce_at_ms)
{
    entries_suspend(partition->entries);
    partition->announce_at_ms = announce_at_ms;
    queue(partition);
}

static void announce_session(struct session *session, void *arg)
{
    const struct uplink_partition *partition = arg;

    if (session->partition != partition->index)
        return;
    entries_announce_add(
        partition->entries,
        &(struct frame){.type = FRAME_ANNOUNCED_CONNECTION,
                        .announced_connection = {.connection = session->id,
                                                 .user = session->user,
                                                 .protocol = session->protocol->id,
                                                 .flags = session_connection_flags(session),
                                                 .slot = session->slot,
                                                 .event = session->event,
                                                 .seen = deliveries_update_seen(
                                                     session->gateway->deliveries, session)}});
}

/* Frame by frame, so that chunks end between frames. */
static void announce_topics(struct uplink_partition *partition)
{
    struct frame_reader *reader = frame_reader_create();
    struct buffer frames = {0};
    struct frame frame;

    topics_announce(partition->uplink->gateway->topics, partition->index, &frames);
    rooms_announce(partition->uplink->gateway->rooms, partition->index, &frames);
    frame_reader_start(reader, buffer_slice(&frames));
    while (frame_reader_next(reader, &frame) > 0)
        entries_announce_add(partition->entries, &frame);
    frame_reader_destroy(&reader);
    buffer_finish(&frames);
}

static void make_announcement(struct uplink_partition *partition)
{
    struct gateway *gateway = partition->uplink->gateway;

    entries_announce_begin(partition->entries);
    deliveries_on_announce(gateway->deliveries, partition->index);
    sessions_each(gateway->sessions, announce_session, partition);
    announce_topics(partition);
    entries_announce_end(partition->entries);
    partition->announced_ms = now_ms(partition->uplink);
    gateway_count(GATEWAY_ANNOUNCEMENTS, 1);
    log_debug("partition %u: announcing under nonce %llu", partition->index,
              (unsigned long long)entries_nonce(partition->entries));
}

/* Makes the announcement that is due. One that was sent and not answered is due again later. */
static void see_to_announcement(struct uplink_partition *partition)
{
    struct uplink *uplink = partition->uplink;
    bool made = entries_nonce(partition->entries) != 0;

    if (made && !entries_announce_sent(partition->entries))
        return;
    if (now_ms(uplink) < partition->announce_at_ms) {
        wake_at(uplink, partition->announce_at_ms);
        return;
    }
    if (made && partition->announce_wait_ms < ANNOUNCE_AGAIN_MAX_MS)
        partition->announce_wait_ms *= 2;
    make_announcement(partition);
}

struct loss {
    struct gateway *gateway;
    struct slice output;
};

static void tell_unanswered(void *arg, struct slice frames)
{
    const struct loss *loss = arg;

    unanswered_tell(loss->gateway, frames, loss->output);
}

/* Entries up to last were applied, and what they were answered stood in output that was skipped. */
static void lose_answers(struct uplink_partition *partition, uint64_t last, struct slice output)
{
    struct loss loss = {.gateway = partition->uplink->gateway, .output = output};

    entries_lost(partition->entries, last, tell_unanswered, &loss);
}

void uplink_announce(struct uplink *uplink, uint32_t index, uint64_t last)
{
    struct uplink_partition *partition = uplink->partitions[index];

    if (uplink->leaving)
        return;
    lose_answers(partition, last, slice_of(NULL, 0));
    deliveries_on_announce(uplink->gateway->deliveries, index);
    partition->announce_wait_ms = again_ms(uplink);
    suspend(partition, partition->reached ? partition->announced_ms + ANNOUNCE_GAP_MS : 0);
}

/* ---- sending ---- */

static void partition_free(struct uplink_partition *partition)
{
    entries_destroy(&partition->entries);
    buffer_finish(&partition->key);
    free(partition);
}

static void take_note(struct uplink_partition *partition)
{
    partition->retry_ms = partition->retry_at_ms = 0;
    partition->uplink->refused = false;
    if (entries_announce_sent(partition->entries))
        partition->announce_at_ms = now_ms(partition->uplink) + partition->announce_wait_ms;
}

static bool refused_for_memory(const struct bus_reply *reply)
{
    static const char oom[] = "OOM ";
    struct slice why = bus_reply_text(reply);

    return bus_reply_kind(reply) == BUS_ERROR && why.length >= sizeof(oom) - 1 &&
           memcmp(why.data, oom, sizeof(oom) - 1) == 0;
}

static void note_full(struct uplink *uplink, bool full)
{
    uplink->full_until_ms = full ? now_ms(uplink) + FULL_MS : 0;
    if (uplink->full == full)
        return;
    uplink->full = full;
    if (full)
        log_warn("Redis is at its maxmemory: requests of clients are refused");
    else
        log_info("Redis has memory again");
}

/* What Redis did not run (NOSCRIPT: the bus has loaded it again) is tried once more at once. */
static void back_off(struct uplink_partition *partition, const struct bus_reply *reply)
{
    struct slice why = bus_reply_text(reply);
    uint64_t wait_ms = partition->retry_ms * 2;

    if (refused_for_memory(reply)) {
        note_full(partition->uplink, true);
        return;
    }
    if (partition->retry_ms == 0 && bus_reply_not_run(reply)) {
        partition->retry_ms = RETRY_MIN_MS / 2;
        return;
    }
    if (reply && !partition->uplink->refused) {
        log_warn("Redis refuses entries: %.*s", (int)why.length, why.data);
        partition->uplink->refused = true;
    }
    if (wait_ms < RETRY_MIN_MS)
        wait_ms = RETRY_MIN_MS;
    partition->retry_ms = wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
    partition->retry_at_ms = now_ms(partition->uplink) + partition->retry_ms;
}

static void on_answer(void *arg, const struct bus_reply *reply)
{
    struct uplink_partition *partition = arg;
    enum bus_reply_kind kind = bus_reply_kind(reply);
    bool taken = kind == BUS_TEXT || kind == BUS_STATUS;

    partition->in_flight = false;
    if (partition->uplink == NULL) {
        partition_free(partition);
        return;
    }
    entries_answered(partition->entries, taken);
    /* The plain command answers with the entry's id, the script with a word of its own. */
    if (taken && partition->uplink->full && !slice_is(bus_reply_text(reply), "OK"))
        note_full(partition->uplink, false);
    if (taken)
        take_note(partition);
    else
        back_off(partition, reply);
    queue(partition);
}

/* The plain command costs Redis half of what the script does; the script is for when it is full. */
static int add_entry(struct uplink_partition *partition, struct slice number, struct slice frames)
{
    struct gateway *gateway = partition->uplink->gateway;
    struct slice key = buffer_slice(&partition->key);
    struct slice id = slice_text(gateway->id);
    const struct slice script[] = {key, id, number, frames};
    const struct slice command[] = {
        slice_text("XADD"), key,    slice_text("*"), slice_text("g"), id,
        slice_text("n"),    number, slice_text("f"), frames};

    if (now_ms(partition->uplink) < partition->uplink->full_until_ms)
        return bus_eval(gateway->bus, &in_script, on_answer, partition, 1, 4, script);
    return bus_command(gateway->bus, on_answer, partition, 9, command);
}

static void send_entry(struct uplink_partition *partition, const struct entries_outgoing *entry)
{
    char number[24];
    int length = snprintf(number, sizeof(number), "%llu", (unsigned long long)entry->number);

    if (add_entry(partition, slice_of(number, (size_t)length), entry->frames) < 0) {
        entries_answered(partition->entries, false);
        return;
    }
    partition->in_flight = true;
    partition->sent_ms = now_ms(partition->uplink);
    gateway_count(GATEWAY_ENTRIES_IN, 1);
}

/* One entry of a partition at a time is timed: enough for a histogram, and nothing to keep. */
static void time_entry(struct uplink_partition *partition, uint64_t number)
{
    if (partition->timed > 0 || number == 0)
        return;
    partition->timed = number;
    partition->timed_ns = uv_hrtime();
}

static void observe_timed(struct uplink_partition *partition)
{
    histogram_observe(&gateway_histograms[GATEWAY_ACCEPT_SECONDS],
                      (uv_hrtime() - partition->timed_ns) / 1000);
    partition->timed = 0;
}

static void flush(struct uplink_partition *partition)
{
    struct uplink *uplink = partition->uplink;
    struct entries_outgoing entry;

    if (entries_announcing(partition->entries))
        see_to_announcement(partition);
    if (now_ms(uplink) < partition->retry_at_ms) {
        wake_at(uplink, partition->retry_at_ms);
        return;
    }
    /* Along with what goes anyway. */
    if (entries_ready(partition->entries) && !uplink->leaving)
        deliveries_report(uplink->gateway->deliveries, partition->index);
    if (entries_next(partition->entries, &entry)) {
        histogram_observe(&gateway_histograms[GATEWAY_ENTRY_BYTES], entry.frames.length);
        time_entry(partition, entry.number);
        send_entry(partition, &entry);
    }
}

static bool all_sent(const struct uplink *uplink)
{
    for (uint32_t p = 0; p < uplink->count; p++)
        if (entries_busy(uplink->partitions[p]->entries))
            return false;
    return true;
}

static void see_to_leaving(struct uplink *uplink, bool in_time)
{
    void (*left)(void *arg) = uplink->left;

    if (left == NULL || (in_time && !all_sent(uplink)))
        return;
    uplink->left = NULL;
    uv_timer_stop(&uplink->leave_timer);
    left(uplink->left_arg);
}

/* Partitions leave the queue only afterwards: what flush adds to its own goes out with it. */
static void flush_queue(struct uplink *uplink)
{
    struct uplink_partition *partition = uplink->queue, *next;

    uplink->queue = NULL;
    for (; partition; partition = next) {
        next = partition->queue_next;
        flush(partition);
        partition->queued = false;
    }
}

void uplink_flush(struct uplink *uplink)
{
    if (bus_is_up(uplink->gateway->bus)) {
        flush_queue(uplink);
        see_to_leaving(uplink, true);
    } else if (uplink->down_ms == 0) {
        uplink->down_ms = now_ms(uplink);
    }
}

/* ---- for the modules of the gateway ---- */

void uplink_send(struct uplink *uplink, uint32_t index, const struct frame *frame)
{
    struct uplink_partition *partition = uplink->partitions[index];

    if (uplink->leaving)
        return;
    if (partition->waiting_ms == 0)
        partition->waiting_ms = now_ms(uplink);
    frame_log("to", index, uplink->gateway->bits, frame);
    entries_add(partition->entries, frame);
    queue(partition);
}

uint64_t uplink_last(const struct uplink *uplink, uint32_t index)
{
    return entries_tail(uplink->partitions[index]->entries);
}

void uplink_send_all(struct uplink *uplink, const struct frame *frame)
{
    for (uint32_t p = 0; p < uplink->count; p++)
        uplink_send(uplink, p, frame);
}

bool uplink_has_credit(const struct uplink *uplink, uint32_t index)
{
    const struct uplink_partition *partition = uplink->partitions[index];
    uint64_t now = now_ms(uplink);

    if (!partition->reached || uplink->full ||
        entries_bytes(partition->entries) > (size_t)uplink->gateway->settings.credit)
        return false;
    if (partition->waiting_ms && now - partition->waiting_ms > SILENT_MS)
        return false;
    return uplink->down_ms == 0 || now - uplink->down_ms <= BLINK_MS;
}

uint32_t uplink_partitions_answering(const struct uplink *uplink)
{
    uint64_t within_ms = 3 * (uint64_t)uplink->gateway->settings.heartbeat_ms;
    uint32_t answering = 0;

    /* The downlink's connection may be back before. */
    if (!bus_is_up(uplink->gateway->bus))
        return 0;
    for (uint32_t p = 0; p < uplink->count; p++)
        answering += uplink->partitions[p]->reached && !uplink_is_announcing(uplink, p) &&
                     now_ms(uplink) - uplink->partitions[p]->heard_ms <= within_ms;
    return answering;
}

uint64_t uplink_held_bytes(const struct uplink *uplink)
{
    uint64_t bytes = 0;

    for (uint32_t p = 0; p < uplink->count; p++)
        bytes += entries_bytes(uplink->partitions[p]->entries);
    return bytes;
}

/* An announcement of which something went out may be lost with the Redis that had it. */
void uplink_on_bus_up(struct uplink *uplink)
{
    uplink->down_ms = 0;
    for (uint32_t p = 0; p < uplink->count; p++) {
        struct uplink_partition *partition = uplink->partitions[p];

        partition->retry_ms = partition->retry_at_ms = 0;
        if (partition->waiting_ms)
            partition->waiting_ms = now_ms(uplink);
        if (entries_announce_started(partition->entries)) {
            partition->announce_wait_ms = again_ms(uplink);
            suspend(partition, 0);
        }
        beat(partition);
        queue(partition);
    }
}

static void on_leave_timeout(uv_timer_t *timer)
{
    see_to_leaving(timer->data, false);
}

void uplink_leave(struct uplink *uplink, uint64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    uplink_send_all(uplink, &(struct frame){.type = FRAME_GATEWAY_LEAVE});
    uplink->leaving = true;
    uplink->left = done;
    uplink->left_arg = arg;
    uv_timer_start(&uplink->leave_timer, on_leave_timeout, timeout_ms, 0);
}

/* ---- for the downlink ---- */

void uplink_on_output(struct uplink *uplink, uint32_t index)
{
    struct uplink_partition *partition = uplink->partitions[index];
    uint64_t again_at = now_ms(uplink) + again_ms(uplink);

    partition->announce_wait_ms = again_ms(uplink);
    if (entries_announce_sent(partition->entries) && partition->announce_at_ms > again_at) {
        partition->announce_at_ms = again_at;
        wake_at(uplink, again_at);
    }
}

void uplink_on_accepted(struct uplink *uplink, uint32_t index, uint64_t number)
{
    struct uplink_partition *partition = uplink->partitions[index];

    partition->heard_ms = now_ms(uplink);
    if (partition->timed > 0 && number >= partition->timed)
        observe_timed(partition);
    entries_accepted(partition->entries, number);
    sessions_on_accepted(uplink->gateway->sessions, index, number);
    partition->waiting_ms = entries_bytes(partition->entries) ? partition->heard_ms : 0;
}

void uplink_on_missing(struct uplink *uplink, uint32_t index, uint64_t last)
{
    if (entries_missing(uplink->partitions[index]->entries, last))
        queue(uplink->partitions[index]);
    else
        uplink_announce(uplink, index, last);
}

void uplink_on_announced(struct uplink *uplink, uint32_t index, uint64_t last, struct slice output)
{
    struct uplink_partition *partition = uplink->partitions[index];

    entries_announced(partition->entries, entries_nonce(partition->entries));
    partition->reached = true;
    partition->announce_wait_ms = again_ms(uplink);
    lose_answers(partition, last, output);
    queue(partition);
}

bool uplink_is_announcing(const struct uplink *uplink, uint32_t index)
{
    return entries_announcing(uplink->partitions[index]->entries);
}

uint64_t uplink_nonce(const struct uplink *uplink, uint32_t index)
{
    return entries_nonce(uplink->partitions[index]->entries);
}

/* ---- life ---- */

static struct uplink_partition *partition_create(struct uplink *uplink, uint32_t index)
{
    struct uplink_partition *partition = xcalloc(1, sizeof(*partition));

    partition->uplink = uplink;
    partition->index = index;
    partition->entries = entries_create();
    partition->announce_wait_ms = again_ms(uplink);
    key_partition(&partition->key, &uplink->gateway->deployment, index, "in", slice_of(NULL, 0));
    queue(partition);
    return partition;
}

static void init_timer(struct uplink *uplink, uv_timer_t *timer)
{
    uv_timer_init(uplink->gateway->loop, timer);
    timer->data = uplink;
    uplink->handles++;
}

void uplink_add_script(struct bus *bus)
{
    bus_add_script(bus, &in_script);
}

struct uplink *uplink_create(struct gateway *gateway)
{
    struct uplink *uplink = xcalloc(1, sizeof(*uplink));
    uint64_t heartbeat_ms = (uint64_t)gateway->settings.heartbeat_ms;

    uplink->gateway = gateway;
    uplink->count = gateway->deployment.partitions;
    uplink->partitions = xcalloc(uplink->count, sizeof(struct uplink_partition *));
    for (uint32_t p = 0; p < uplink->count; p++)
        uplink->partitions[p] = partition_create(uplink, p);
    uplink_add_script(gateway->bus);
    init_timer(uplink, &uplink->heartbeat_timer);
    init_timer(uplink, &uplink->due_timer);
    init_timer(uplink, &uplink->leave_timer);
    uv_timer_start(&uplink->heartbeat_timer, on_heartbeat, heartbeat_ms, heartbeat_ms);
    return uplink;
}

static void on_closed(uv_handle_t *handle)
{
    struct uplink *uplink = handle->data;

    if (--uplink->handles == 0)
        free(uplink);
}

void uplink_destroy(struct uplink **pointer)
{
    struct uplink *uplink = *pointer;

    if (uplink == NULL)
        return;
    *pointer = NULL;
    for (uint32_t p = 0; p < uplink->count; p++) {
        uplink->partitions[p]->uplink = NULL;
        if (!uplink->partitions[p]->in_flight)
            partition_free(uplink->partitions[p]);
    }
    free(uplink->partitions);
    uv_close((uv_handle_t *)&uplink->heartbeat_timer, on_closed);
    uv_close((uv_handle_t *)&uplink->due_timer, on_closed);
    uv_close((uv_handle_t *)&uplink->leave_timer, on_closed);
}
