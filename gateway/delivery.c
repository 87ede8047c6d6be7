#include "gateway/delivery.h"

#include "common/buffer.h"
#include "common/xalloc.h"
#include "gateway/uplink.h"

#include <stdlib.h>
#include <time.h>

/* How long the router may keep entries that nobody waits for (topic messages, replies). */
#define SOON_MS 200
/* Memory of the encoding buffer that is kept between messages. */
#define PAYLOAD_KEEP (64 * 1024)

/* What one partition's entries wait for, and the entry that is being handled. */
struct delivery_partition {
    struct written *written;
    bool durable; /* the entry has a message */
};

struct deliveries {
    struct gateway *gateway;
    struct delivery_partition *partitions;
    struct session *listed; /* sessions with something unconfirmed */
    struct buffer payload;
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
    bool empty[PROTOCOL_SLOTS]; /* the protocol has no words for it */
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

void deliveries_entry_end(struct deliveries *deliveries, uint32_t partition, size_t content)
{
    struct written *written = written_of(deliveries, partition);

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

/*
 * A connection that is closing, now or because of this very message, takes nothing more; but its
 * entry waits until CONNECTION_CLOSED has said what it had.
 */
static void hand_over(struct delivery *delivery, struct session *session)
{
    uint64_t end = WRITTEN_NEVER;

    if (!unconfirmed_meet(&session->unconfirmed, delivery->written, delivery->number))
        return;
    if (session->state == SESSION_OPEN && send_wire(session, wire_for(delivery, session->protocol)))
        end = session_bytes_queued(session);
    unconfirmed_add(&session->unconfirmed, delivery->written, delivery->number, end);
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

void deliveries_on_message(struct deliveries *deliveries, uint32_t partition,
                           const struct frame_message_delivery *message)
{
    struct delivery delivery = {
        .deliveries = deliveries,
        .written = written_of(deliveries, partition),
        .number = message->number,
        .message = message,
    };

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
    }
    release_wires(&delivery);
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
    buffer_finish(&deliveries->payload);
    uv_close((uv_handle_t *)&deliveries->confirm_timer, on_closed);
    uv_close((uv_handle_t *)&deliveries->soon_timer, on_closed);
}
