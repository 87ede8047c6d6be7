#include "gateway/bus/delivery.h"

#include "common/buffer.h"
#include "common/xalloc.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

/* How long the router may keep entries that nobody waits for (topic messages, replies). */
#define SOON_MS 200
/* Memory of the encoding buffer that is kept between messages. */
#define PAYLOAD_KEEP (64 * 1024)
/* A batch that has so many bytes is sent: far below any send budget. */
#define BATCH_BYTES (128 * 1024)

/* What one partition's entries wait for, and the entry that is being handled. */
struct delivery_partition {
    struct written *written;
    bool durable; /* the entry has a message */
};

/* Messages of one entry for one session, gathered into its next frame (protocol->batch). */
struct delivery_batch {
    struct session *session;
    struct buffer payload; /* open, then items with separators between */
    struct number first;   /* its first message */
    size_t count;
    TAILQ_ENTRY(delivery_batch) link;
};

TAILQ_HEAD(batch_list, delivery_batch);

struct deliveries {
    struct gateway *gateway;
    struct delivery_partition *partitions;
    struct session *listed; /* sessions with something unconfirmed */
    struct buffer payload;
    struct buffer items[PROTOCOL_SLOTS]; /* of the message that is handled, for batches */
    struct batch_list batches;           /* of the entry that is handled */
    uv_timer_t confirm_timer; /* runs while something is unconfirmed or is to be reported now */
    uv_timer_t soon_timer;    /* one shot */
    unsigned handles;
};

/* A message or an event on its way to the receivers of one entry: encoded once for each protocol.
 */
struct delivery {
    struct deliveries *deliveries;
    struct written *written;
    struct number number;
    const struct frame_message_delivery *message; /* or NULL: an event */
    const struct frame_event_delivery *event;
    struct wire *wires[PROTOCOL_SLOTS];
    bool empty[PROTOCOL_SLOTS];   /* the protocol has no words for it */
    bool encoded[PROTOCOL_SLOTS]; /* as an item of batches */
};

static uint32_t partition_count(const struct deliveries *deliveries)
{
    return deliveries->gateway->deployment.partitions;
}

static struct written *written_of(struct deliveries *deliveries, uint32_t partition)
{
    return deliveries->partitions[partition].written;
}

/* ---- the list of sessions to look at ---- */

static void list_add(struct deliveries *deliveries, struct session *session)
{
    if (session->confirm_listed)
        return;
    session->confirm_listed = true;
    session->confirm_previous = NULL;
    session->confirm_next = deliveries->listed;
    if (deliveries->listed)
        deliveries->listed->confirm_previous = session;
    deliveries->listed = session;
}

static void list_remove(struct deliveries *deliveries, struct session *session)
{
    if (!session->confirm_listed)
        return;
    session->confirm_listed = false;
    if (session->confirm_previous)
        session->confirm_previous->confirm_next = session->confirm_next;
    else
        deliveries->listed = session->confirm_next;
    if (session->confirm_next)
        session->confirm_next->confirm_previous = session->confirm_previous;
}

/* ---- reporting ---- */

void deliveries_report(struct deliveries *deliveries, uint32_t partition)
{
    struct written *written = written_of(deliveries, partition);

    if (written_urgency(written) == WRITTEN_NOTHING)
        return;
    uplink_send(deliveries->gateway->uplink, partition,
                &(struct frame){.type = FRAME_OUTPUT_WRITTEN,
                                .output_written.number = written_report(written)});
}

/* Reports what is at least so urgent. Returns whether there was any. */
static bool report_all(struct deliveries *deliveries, enum written_urgency least)
{
    bool any = false;

    for (uint32_t p = 0; p < partition_count(deliveries); p++) {
        if (written_urgency(written_of(deliveries, p)) < least)
            continue;
        deliveries_report(deliveries, p);
        any = true;
    }
    return any;
}

static void on_confirm(uv_timer_t *timer)
{
    struct deliveries *deliveries = timer->data;
    struct session *next;

    for (struct session *session = deliveries->listed; session; session = next) {
        next = session->confirm_next;
        deliveries_update_seen(deliveries, session);
    }
    if (!report_all(deliveries, WRITTEN_NOW) && deliveries->listed == NULL)
        uv_timer_stop(timer);
}

static void on_soon(uv_timer_t *timer)
{
    report_all(timer->data, WRITTEN_SOON);
}

static void start_confirming(struct deliveries *deliveries)
{
    uint64_t interval_ms = (uint64_t)deliveries->gateway->settings.confirm_ms;

    if (!uv_is_active((uv_handle_t *)&deliveries->confirm_timer))
        uv_timer_start(&deliveries->confirm_timer, on_confirm, interval_ms, interval_ms);
}

static void see_to_report(struct deliveries *deliveries, enum written_urgency urgency)
{
    if (urgency == WRITTEN_NOW)
        start_confirming(deliveries);
    else if (urgency == WRITTEN_SOON && !uv_is_active((uv_handle_t *)&deliveries->soon_timer))
        uv_timer_start(&deliveries->soon_timer, on_soon, SOON_MS, 0);
}

/* ---- handing over ---- */

void deliveries_entry_begin(struct deliveries *deliveries, uint32_t partition, struct number entry)
{
    deliveries->partitions[partition].durable = false;
    written_begin(written_of(deliveries, partition), entry);
}

/* ---- batches ---- */

static void batch_destroy(struct deliveries *deliveries, struct delivery_batch *batch)
{
    TAILQ_REMOVE(&deliveries->batches, batch, link);
    batch->session->batch = NULL;
    buffer_finish(&batch->payload);
    free(batch);
}

/* If the session does not take it (any more), its messages never end. */
static void batch_send(struct deliveries *deliveries, struct delivery_batch *batch)
{
    struct session *session = batch->session;

    buffer_append_text(&batch->payload, session->protocol->batch->close);
    if (session->state == SESSION_OPEN &&
        session_send_text(session, buffer_slice(&batch->payload))) {
        unconfirmed_set_end(&session->unconfirmed, batch->first, session_bytes_queued(session));
        gateway_count(GATEWAY_DELIVERIES, batch->count);
    }
    batch_destroy(deliveries, batch);
}

static struct delivery_batch *batch_get(struct deliveries *deliveries, struct session *session,
                                        struct number first)
{
    struct delivery_batch *batch = session->batch;

    if (batch)
        return batch;
    batch = session->batch = xcalloc(1, sizeof(*batch));
    batch->session = session;
    batch->first = first;
    buffer_append_text(&batch->payload, session->protocol->batch->open);
    TAILQ_INSERT_TAIL(&deliveries->batches, batch, link);
    return batch;
}

static void batch_add(struct deliveries *deliveries, struct session *session, struct number number,
                      struct slice item)
{
    struct delivery_batch *batch = batch_get(deliveries, session, number);
    const struct message_batch *form = session->protocol->batch;

    if (batch->count++ > 0)
        buffer_append_text(&batch->payload, form->separator);
    buffer_append_slice(&batch->payload, item);
    if (batch->count >= form->most || batch->payload.length >= BATCH_BYTES)
        batch_send(deliveries, batch);
}

static void send_batches(struct deliveries *deliveries)
{
    struct delivery_batch *batch;

    while ((batch = TAILQ_FIRST(&deliveries->batches)))
        batch_send(deliveries, batch);
}

void deliveries_entry_end(struct deliveries *deliveries, uint32_t partition, size_t content)
{
    struct written *written = written_of(deliveries, partition);

    send_batches(deliveries);
    written_end(written, content, deliveries->partitions[partition].durable);
    see_to_report(deliveries, written_urgency(written));
}

static void encode(const struct delivery *delivery, const struct protocol *protocol,
                   struct buffer *payload, int *opcode)
{
    if (delivery->message && protocol->encode_delivery)
        protocol->encode_delivery(payload, delivery->message, opcode);
    else if (delivery->event && protocol->encode_event)
        protocol->encode_event(payload, delivery->event, opcode);
}

/* Whether the message goes to this protocol's sessions in batches. */
static bool is_gathered(const struct delivery *delivery, const struct protocol *protocol)
{
    return delivery->message && protocol->batch;
}

/* The message as an item of batches; empty when the protocol has nothing to say. */
static struct slice item_for(struct delivery *delivery, const struct protocol *protocol)
{
    struct buffer *item = &delivery->deliveries->items[protocol->id];
    int opcode = WIRE_TEXT;

    if (!delivery->encoded[protocol->id]) {
        delivery->encoded[protocol->id] = true;
        buffer_reset(item, PAYLOAD_KEEP);
        encode(delivery, protocol, item, &opcode);
    }
    return buffer_slice(item);
}

/* NULL when the protocol has nothing to say. */
static struct wire *wire_for(struct delivery *delivery, const struct protocol *protocol)
{
    struct buffer *payload = &delivery->deliveries->payload;
    struct wire **wire = &delivery->wires[protocol->id];
    int opcode = WIRE_TEXT;

    if (*wire != NULL || delivery->empty[protocol->id])
        return *wire;
    buffer_reset(payload, PAYLOAD_KEEP);
    encode(delivery, protocol, payload, &opcode);
    delivery->empty[protocol->id] = payload->length == 0;
    if (payload->length > 0)
        *wire = wire_create((enum wire_opcode)opcode, buffer_slice(payload));
    return *wire;
}

static bool send_wire(struct session *session, struct wire *wire)
{
    if (wire != NULL && !session_send(session, wire, SEND_NORMAL))
        return false;
    gateway_count(GATEWAY_DELIVERIES, wire != NULL);
    return true;
}

/* Before others that wait for the connection. Returns where it ends. */
static uint64_t send_first(struct session *session, struct wire *wire)
{
    uint64_t begin, end;

    if (!session_send_urgent(session, wire, &begin, &end))
        return WRITTEN_NEVER;
    unconfirmed_shift(&session->unconfirmed, begin, end - begin);
    gateway_count(GATEWAY_DELIVERIES, 1);
    return end;
}

static void send_alone(struct delivery *delivery, struct session *session)
{
    bool sent = unconfirmed_went_ahead(&session->unconfirmed, delivery->number);
    struct wire *wire = sent ? NULL : wire_for(delivery, session->protocol);
    uint64_t end = WRITTEN_NEVER;

    if (wire && delivery->message && delivery->message->priority == PRIORITY_HIGH)
        end = send_first(session, wire);
    else if (session->state == SESSION_OPEN && send_wire(session, wire))
        end = session_bytes_queued(session);
    unconfirmed_add(&session->unconfirmed, delivery->written, delivery->number, end);
}

/* Where it ends is known when its batch is sent. */
static void send_gathered(struct delivery *delivery, struct session *session)
{
    struct slice item = item_for(delivery, session->protocol);
    bool is_said = item.length > 0 && session->state == SESSION_OPEN;
    uint64_t end =
        is_said || session->state != SESSION_OPEN ? WRITTEN_NEVER : session_bytes_queued(session);

    unconfirmed_add(&session->unconfirmed, delivery->written, delivery->number, end);
    if (is_said)
        batch_add(delivery->deliveries, session, delivery->number, item);
}

/*
 * A connection that is closing, now or because of this very message, takes nothing more; but its
 * entry waits until CONNECTION_CLOSED has said what it had.
 */
static void hand_over(struct delivery *delivery, struct session *session)
{
    if (!unconfirmed_meet(&session->unconfirmed, delivery->written, delivery->number))
        return;
    if (is_gathered(delivery, session->protocol))
        send_gathered(delivery, session);
    else
        send_alone(delivery, session);
    list_add(delivery->deliveries, session);
    start_confirming(delivery->deliveries);
}

static struct session *receiver(const struct deliveries *deliveries, uint32_t partition,
                                uint64_t connection)
{
    struct session *session = session_find_any(deliveries->gateway->sessions, connection);

    return session && session->partition == partition ? session : NULL;
}

static void release_wires(struct delivery *delivery)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++)
        wire_unref(&delivery->wires[i]);
}

/* By two clocks, Redis' and ours: not below zero, and no more exact than they are set. */
static void observe_age(uint64_t accepted_ms)
{
    struct timespec now;
    uint64_t now_ms;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    histogram_observe(&gateway_histograms[GATEWAY_DELIVERY_SECONDS],
                      now_ms > accepted_ms ? now_ms - accepted_ms : 0);
}

/* It comes again in its turn: no entry waits for it. */
static void send_ahead(struct delivery *delivery, struct session *session)
{
    struct wire *wire = NULL;

    if (session->state != SESSION_OPEN || is_gathered(delivery, session->protocol) ||
        !unconfirmed_go_ahead(&session->unconfirmed, delivery->number))
        return;
    wire = wire_for(delivery, session->protocol);
    if (wire)
        (void)send_first(session, wire);
}

static void on_ahead(struct delivery *delivery, uint32_t partition)
{
    const struct frame_message_delivery *message = delivery->message;

    for (size_t i = 0; i < message->connections.count; i++) {
        struct session *session =
            receiver(delivery->deliveries, partition, message->connections.values[i]);

        if (session)
            send_ahead(delivery, session);
    }
    release_wires(delivery);
}

void deliveries_on_message(struct deliveries *deliveries, uint32_t partition,
                           const struct frame_message_delivery *message)
{
    struct delivery delivery = {
        .deliveries = deliveries,
        .written = written_of(deliveries, partition),
        .number = message->number,
        .message = message,
    };

    if (message->priority == PRIORITY_AHEAD) {
        on_ahead(&delivery, partition);
        return;
    }
    deliveries->partitions[partition].durable = true;
    observe_age(message->sent_at_ms);
    for (size_t i = 0; i < message->connections.count; i++) {
        struct session *session = receiver(deliveries, partition, message->connections.values[i]);

        if (session)
            hand_over(&delivery, session);
    }
    release_wires(&delivery);
}

void deliveries_on_event(struct deliveries *deliveries, uint32_t partition,
                         const struct frame_event_delivery *event)
{
    struct delivery delivery = {
        .deliveries = deliveries,
        .written = written_of(deliveries, partition),
        .number = event->number,
        .event = event,
    };

    deliveries->partitions[partition].durable = true;
    for (size_t i = 0; i < event->connections.count; i++) {
        struct session *session = receiver(deliveries, partition, event->connections.values[i]);

        /* Told again after an announcement. */
        if (session == NULL || event->event <= session->event)
            continue;
        session->event = event->event;
        hand_over(&delivery, session);
        if (session->state == SESSION_OPEN && session->protocol->on_event)
            session->protocol->on_event(session, event);
    }
    release_wires(&delivery);
}

void deliveries_on_event_done(struct deliveries *deliveries, uint32_t partition,
                              const struct frame_event_done *done)
{
    struct session *session = receiver(deliveries, partition, done->connection);

    if (session == NULL || done->event <= session->event)
        return;
    session->event = done->event;
    if (session->state == SESSION_OPEN && session->protocol->on_event_done)
        session->protocol->on_event_done(session, done);
}

struct number deliveries_update_seen(struct deliveries *deliveries, struct session *session)
{
    struct unconfirmed *unconfirmed = &session->unconfirmed;

    if (!unconfirmed_empty(unconfirmed)) {
        unconfirmed_take(unconfirmed, written_of(deliveries, session->partition),
                         session_bytes_taken(session));
        if (unconfirmed_empty(unconfirmed))
            list_remove(deliveries, session);
    }
    return unconfirmed->seen;
}

void deliveries_session_closed(struct deliveries *deliveries, struct session *session)
{
    struct written *written = written_of(deliveries, session->partition);
    struct number seen = deliveries_update_seen(deliveries, session);

    if (session->batch)
        batch_destroy(deliveries, session->batch);
    /* Before any X that its messages held back. */
    uplink_send(deliveries->gateway->uplink, session->partition,
                &(struct frame){.type = FRAME_CONNECTION_CLOSED,
                                .connection_closed = {.connection = session->id, .seen = seen}});
    unconfirmed_clear(&session->unconfirmed, written);
    list_remove(deliveries, session);
    see_to_report(deliveries, written_urgency(written));
}

void deliveries_on_announce(struct deliveries *deliveries, uint32_t partition)
{
    written_restart(written_of(deliveries, partition));
}

/* ---- life ---- */

static void init_timer(struct deliveries *deliveries, uv_timer_t *timer)
{
    uv_timer_init(deliveries->gateway->loop, timer);
    timer->data = deliveries;
    deliveries->handles++;
}

struct deliveries *deliveries_create(struct gateway *gateway)
{
    struct deliveries *deliveries = xcalloc(1, sizeof(*deliveries));

    deliveries->gateway = gateway;
    TAILQ_INIT(&deliveries->batches);
    deliveries->partitions =
        xcalloc(gateway->deployment.partitions, sizeof(*deliveries->partitions));
    for (uint32_t p = 0; p < gateway->deployment.partitions; p++)
        deliveries->partitions[p].written = written_create();
    init_timer(deliveries, &deliveries->confirm_timer);
    init_timer(deliveries, &deliveries->soon_timer);
    return deliveries;
}

static void on_closed(uv_handle_t *handle)
{
    struct deliveries *deliveries = handle->data;

    if (--deliveries->handles == 0)
        free(deliveries);
}

void deliveries_destroy(struct deliveries **pointer)
{
    struct deliveries *deliveries = *pointer;

    if (deliveries == NULL)
        return;
    *pointer = NULL;
    for (uint32_t p = 0; p < partition_count(deliveries); p++)
        written_destroy(&deliveries->partitions[p].written);
    free(deliveries->partitions);
    while (!TAILQ_EMPTY(&deliveries->batches))
        batch_destroy(deliveries, TAILQ_FIRST(&deliveries->batches));
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++)
        buffer_finish(&deliveries->items[i]);
    buffer_finish(&deliveries->payload);
    uv_close((uv_handle_t *)&deliveries->confirm_timer, on_closed);
    uv_close((uv_handle_t *)&deliveries->soon_timer, on_closed);
}
