#include "gateway/bus/downlink.h"

#include "common/frame_log.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/api/backend.h"
#include "gateway/session/claims.h"
#include "gateway/bus/delivery.h"
#include "gateway/bus/output.h"
#include "gateway/topics/room.h"
#include "gateway/identity/password_check.h"
#include "gateway/session/session.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"
#include "gateway/identity/verifier.h"

#include <stdio.h>
#include <stdlib.h>

/* Redis holds a read so long when nothing comes, and gives so many entries of a stream at once. */
#define BLOCK_MS "5000"
#define READ_ENTRIES "256"
/* "XREAD" "BLOCK" ms "COUNT" n "STREAMS" */
#define READ_WORDS 6
#define RETRY_MS 200

/* This gateway's output stream of one partition. */
struct output_stream {
    uint32_t partition;
    struct buffer key;
    struct number cursor;
    bool joined;   /* an announcement was answered once */
    bool reported; /* that something in it cannot be read */
};

/* What auth says: events to all gateways, answers about passwords to this one. */
struct auth_stream {
    struct buffer key;
    struct number cursor;
};

#define AUTH_STREAMS 2

struct downlink {
    struct gateway *gateway;
    struct bus *bus;
    struct frame_reader *reader;
    struct output_stream *outputs;
    uint32_t count;
    struct auth_stream events, answers;
    bool events_placed; /* the cursor is where the stream ended when we came */
    bool refused;       /* Redis refused the last read */
    uv_timer_t retry_timer;
    /* Of the XREAD: words, keys, cursors. */
    struct slice *arguments;
    char (*cursors)[NUMBER_TEXT_SIZE];
};

/* ---- frames ---- */

static void on_head(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    uplink_on_accepted(gateway->uplink, partition, frame->output_head.accepted);
}

static void on_who_are_you(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    uplink_announce(gateway->uplink, partition, frame->who_are_you.last);
}

/* Of an announcement that another one has replaced; output_judge sees the one waited for. */
static void on_announced(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    (void)gateway;
    log_debug("partition %u: nonce %llu is old", partition,
              (unsigned long long)frame->gateway_announced.nonce);
}

static void on_missing(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    uplink_on_missing(gateway->uplink, partition, frame->entries_missing.last);
}

static void on_message(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    deliveries_on_message(gateway->deliveries, partition, &frame->message_delivery);
}

static void on_topic_message(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    topics_on_message(gateway->topics, partition, &frame->topic_message);
}

static void on_direct_reply(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    struct session *session = session_find(gateway->sessions, frame->direct_reply.connection);

    (void)partition;
    if (frame->direct_reply.connection == BACKEND_CONNECTION)
        backend_on_direct_reply(gateway->backend, &frame->direct_reply);
    else if (session && session->protocol->on_direct_reply)
        session->protocol->on_direct_reply(session, &frame->direct_reply);
}

static void on_publish_reply(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    struct session *session = session_find(gateway->sessions, frame->publish_reply.connection);

    (void)partition;
    if (frame->publish_reply.connection == BACKEND_CONNECTION)
        backend_on_publish_reply(gateway->backend, &frame->publish_reply);
    else if (session && session->protocol->on_publish_reply)
        session->protocol->on_publish_reply(session, &frame->publish_reply);
}

static void on_synced(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    topics_on_synced(gateway->topics, partition, frame->subscription_synced.request);
}

static void on_topic_mark(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    (void)partition;
    topics_on_mark(gateway->topics, &frame->topic_mark);
}

static void on_presence(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    topics_on_presence(gateway->topics, partition, &frame->presence_state);
}

static void on_connection_refused(struct gateway *gateway, uint32_t partition,
                                  const struct frame *frame)
{
    struct session *session = session_find(gateway->sessions, frame->connection_refused.connection);

    log_debug("partition %u: connection %llu is refused", partition,
              (unsigned long long)frame->connection_refused.connection);
    if (session == NULL)
        return;
    if (frame->connection_refused.close_code == CONNECTION_REPLACED)
        session_close(session, SESSION_CLOSE_REPLACED, NULL);
    else if (frame->connection_refused.close_code == CONNECTION_ENDED)
        session_close(session, SESSION_CLOSE_NORMAL, "disconnected by the service");
    else
        session_close(session, SESSION_CLOSE_POLICY, "refused");
}

static void on_conversation_reply(struct gateway *gateway, uint32_t partition,
                                  const struct frame *frame)
{
    struct session *session = session_find(gateway->sessions, frame->conversation_reply.connection);

    (void)partition;
    if (frame->conversation_reply.connection == BACKEND_CONNECTION)
        backend_on_conversation_reply(gateway->backend, &frame->conversation_reply);
    else if (session && session->protocol->on_conversation_reply)
        session->protocol->on_conversation_reply(session, &frame->conversation_reply);
}

static void on_events_followed(struct gateway *gateway, uint32_t partition,
                               const struct frame *frame)
{
    struct session *session = session_find(gateway->sessions, frame->events_followed.connection);

    (void)partition;
    if (session && session->protocol->on_events_followed)
        session->protocol->on_events_followed(session, &frame->events_followed);
}

static void on_event(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    struct frame_event_delivery event = frame->event_delivery;

    event.from = event_from_read(event.chat, event.from);
    deliveries_on_event(gateway->deliveries, partition, &event);
}

static void on_event_done(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    deliveries_on_event_done(gateway->deliveries, partition, &frame->event_done);
}

static void on_message_status(struct gateway *gateway, uint32_t partition,
                              const struct frame *frame)
{
    const struct frame_message_status *status = &frame->message_status;

    (void)partition;
    for (size_t i = 0; i < status->connections.count; i++) {
        struct session *session = session_find(gateway->sessions, status->connections.values[i]);

        if (session && session->protocol->on_message_status)
            session->protocol->on_message_status(session, status);
    }
}

static void on_signal(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    (void)partition;
    topics_on_signal(gateway->topics, &frame->signal_delivery);
}

static void on_member_changed(struct gateway *gateway, uint32_t partition,
                              const struct frame *frame)
{
    (void)partition;
    rooms_on_changed(gateway->rooms, &frame->member_changed);
}

static void on_member_list(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    (void)partition;
    rooms_on_list(gateway->rooms, &frame->member_list);
}

static void on_name_answer(struct gateway *gateway, uint32_t partition, const struct frame *frame)
{
    (void)partition;
    claims_on_answer(gateway->claims, frame->name_answer.request, frame->name_answer.granted);
}

/* content: a reason for the router to keep its entry until it is confirmed. answer: to a request of
 * an entry that is accepted by now. */
static const struct handler {
    enum frame_type type;
    bool content, answer;
    void (*run)(struct gateway *, uint32_t partition, const struct frame *);
} handlers[] = {
    {FRAME_MESSAGE_DELIVERY, true, false, on_message},
    {FRAME_TOPIC_MESSAGE, true, false, on_topic_message},
    {FRAME_DIRECT_REPLY, true, true, on_direct_reply},
    {FRAME_PUBLISH_REPLY, true, true, on_publish_reply},
    {FRAME_EVENT_DELIVERY, true, false, on_event},
    {FRAME_EVENT_DONE, true, false, on_event_done},
    {FRAME_CONVERSATION_REPLY, true, true, on_conversation_reply},
    {FRAME_SIGNAL_DELIVERY, true, false, on_signal},
    {FRAME_OUTPUT_HEAD, false, false, on_head},
    {FRAME_SUBSCRIPTION_SYNCED, true, false, on_synced},
    {FRAME_TOPIC_MARK, true, false, on_topic_mark},
    {FRAME_PRESENCE_STATE, true, false, on_presence},
    {FRAME_CONNECTION_REFUSED, true, false, on_connection_refused},
    {FRAME_EVENTS_FOLLOWED, true, true, on_events_followed},
    {FRAME_MEMBER_CHANGED, true, false, on_member_changed},
    {FRAME_MEMBER_LIST, true, false, on_member_list},
    {FRAME_MESSAGE_STATUS, true, false, on_message_status},
    {FRAME_NAME_ANSWER, true, true, on_name_answer},
    {FRAME_ENTRIES_MISSING, false, false, on_missing},
    {FRAME_WHO_ARE_YOU, false, false, on_who_are_you},
    {FRAME_GATEWAY_ANNOUNCED, false, false, on_announced},
};

static const struct handler *handler_of(enum frame_type type)
{
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (handlers[i].type == type)
            return &handlers[i];
    return NULL;
}

bool downlink_handles(enum frame_type type)
{
    return handler_of(type) != NULL;
}

/* ---- entries ---- */

/* What was in it is not known: everything is said anew. */
static void on_bad_entry(struct downlink *downlink, struct output_stream *output, uint64_t last)
{
    char text[NUMBER_TEXT_SIZE];

    gateway_count(GATEWAY_BAD_ENTRIES, 1);
    number_format(output->cursor, text);
    if (!output->reported)
        log_error("partition %u: output entry %s cannot be read; announcing again",
                  output->partition, text);
    output->reported = true;
    uplink_announce(downlink->gateway->uplink, output->partition, last);
}

/*
 * Runs the handlers of the reader's frames, to the end of the entry. When one of them begins an
 * announcement, the rest will come again, but for answers. Returns 0 or -EBADMSG; *content becomes
 * true when the router keeps the entry for more than its head.
 */
static int run_frames(struct downlink *downlink, uint32_t partition, bool *content)
{
    const struct handler *handler;
    bool in_step = true;
    struct frame frame;
    int result;

    while ((result = frame_reader_next(downlink->reader, &frame)) > 0) {
        handler = handler_of(frame.type);
        if (handler == NULL)
            return -EBADMSG;
        *content |= handler->content;
        frame_log("from", partition, downlink->gateway->bits, &frame);
        if (in_step || handler->answer)
            handler->run(downlink->gateway, partition, &frame);
        in_step = in_step && !uplink_is_announcing(downlink->gateway->uplink, partition);
    }
    return result;
}

static void take_entry(struct downlink *downlink, struct output_stream *output, size_t length,
                       uint64_t accepted)
{
    struct deliveries *deliveries = downlink->gateway->deliveries;
    bool content = false;

    uplink_on_accepted(downlink->gateway->uplink, output->partition, accepted);
    deliveries_entry_begin(deliveries, output->partition, output->cursor);
    if (run_frames(downlink, output->partition, &content) < 0)
        on_bad_entry(downlink, output, accepted);
    deliveries_entry_end(deliveries, output->partition, content ? length : 0);
}

static void on_gap(struct gateway *gateway, uint32_t partition)
{
    topics_on_gap(gateway->topics, partition);
    rooms_on_gap(gateway->rooms, partition);
}

/* In step again. What was published between the gap and the nonce is lost for subscribers. */
static void on_in_step(struct downlink *downlink, struct output_stream *output, uint64_t last,
                       struct slice frames)
{
    struct gateway *gateway = downlink->gateway;

    uplink_on_announced(gateway->uplink, output->partition, last, frames);
    if (output->joined)
        on_gap(gateway, output->partition);
    output->joined = true;
}

static void on_entry(struct downlink *downlink, struct output_stream *output, struct number number,
                     struct slice frames)
{
    struct uplink *uplink = downlink->gateway->uplink;
    const struct output_wait wait = {.announcing = uplink_is_announcing(uplink, output->partition),
                                     .nonce = uplink_nonce(uplink, output->partition)};
    struct output_judgement judgement;

    gateway_count(GATEWAY_ENTRIES_OUT, 1);
    uplink_on_output(uplink, output->partition);
    judgement = output_judge(downlink->reader, frames, wait, number, &output->cursor);
    switch (judgement.verdict) {
    case OUTPUT_TAKE:
        if (judgement.announced)
            on_in_step(downlink, output, judgement.accepted, frames);
        take_entry(downlink, output, frames.length, judgement.accepted);
        break;
    case OUTPUT_SKIP:
        break;
    case OUTPUT_BROKEN:
        log_info("partition %u: output is not in step; announcing", output->partition);
        uplink_announce(uplink, output->partition, judgement.last);
        break;
    case OUTPUT_BAD:
        on_bad_entry(downlink, output, judgement.last);
        break;
    }
}

/* ---- reading ---- */

static void read_next(struct downlink *);

static void on_retry(uv_timer_t *timer)
{
    read_next(timer->data);
}

static void on_auth_entry(struct downlink *downlink, struct auth_stream *stream,
                          struct number number, const struct bus_reply *fields)
{
    stream->cursor = number;
    if (stream == &downlink->events)
        verifier_on_event(downlink->gateway->verifier, fields);
    else
        password_checks_on_answer(downlink->gateway->passwords, fields);
}

/* Each [id, fields] of a stream: of output, or when that is NULL of auth's. */
static void each_entry(struct downlink *downlink, const struct bus_reply *entries,
                       struct output_stream *output, struct auth_stream *stream)
{
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *entry = bus_reply_at(entries, i);
        const struct bus_reply *fields = bus_reply_at(entry, 1);
        struct number number;

        if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &number) < 0)
            continue;
        if (output)
            on_entry(downlink, output, number, bus_reply_text(bus_reply_field(fields, "e")));
        else
            on_auth_entry(downlink, stream, number, fields);
    }
}

/* Streams come in the order they were asked for, those without news left out. */
static void each_stream(struct downlink *downlink, const struct bus_reply *streams)
{
    uint32_t p = 0;

    for (size_t i = 0; i < bus_reply_count(streams); i++) {
        const struct bus_reply *stream = bus_reply_at(streams, i);
        struct slice key = bus_reply_text(bus_reply_at(stream, 0));

        while (p < downlink->count && !slice_equal(buffer_slice(&downlink->outputs[p].key), key))
            p++;
        each_entry(downlink, bus_reply_at(stream, 1),
                   p < downlink->count ? &downlink->outputs[p] : NULL,
                   slice_equal(buffer_slice(&downlink->events.key), key) ? &downlink->events
                                                                         : &downlink->answers);
    }
}

static void on_read(void *arg, const struct bus_reply *reply)
{
    struct downlink *downlink = arg;
    struct slice why = bus_reply_text(reply);

    /* Lost: on_up reads on. */
    if (reply == NULL)
        return;
    if (bus_reply_kind(reply) == BUS_ERROR) {
        if (!downlink->refused && !bus_reply_not_run(reply))
            log_warn("Redis refused to be read: %.*s", (int)why.length, why.data);
        downlink->refused = true;
        uv_timer_start(&downlink->retry_timer, on_retry, RETRY_MS, 0);
        return;
    }
    downlink->refused = false;
    each_stream(downlink, reply);
    read_next(downlink);
}

/* In the order of the keys. */
static struct number cursor_of(const struct downlink *downlink, size_t stream)
{
    if (stream < downlink->count)
        return downlink->outputs[stream].cursor;
    return stream == downlink->count ? downlink->events.cursor : downlink->answers.cursor;
}

static void read_next(struct downlink *downlink)
{
    size_t streams = downlink->count + AUTH_STREAMS;
    struct slice *keys = downlink->arguments + READ_WORDS, *cursors = keys + streams;

    for (size_t i = 0; i < streams; i++)
        cursors[i] = slice_of(downlink->cursors[i],
                              (size_t)number_format(cursor_of(downlink, i), downlink->cursors[i]));
    /* Down already: on_up reads on. */
    (void)!bus_command(downlink->bus, on_read, downlink, READ_WORDS + 2 * streams,
                       downlink->arguments);
}

/* Events from now on: what was revoked before, the verifier has loaded, or loads when we know where
   the stream ends. */
static void on_events_end(void *arg, const struct bus_reply *reply)
{
    struct downlink *downlink = arg;
    const struct bus_reply *last = bus_reply_at(bus_reply_at(reply, 0), 0);

    if (reply == NULL)
        return;
    if (number_parse(bus_reply_text(last), &downlink->events.cursor) == 0)
        log_debug("events are read from %.*s on", (int)bus_reply_text(last).length,
                  bus_reply_text(last).data);
    downlink->events_placed = true;
    verifier_refresh(downlink->gateway->verifier);
    read_next(downlink);
}

static void on_up(void *arg)
{
    struct downlink *downlink = arg;
    const struct slice argv[] = {slice_text("XREVRANGE"), buffer_slice(&downlink->events.key),
                                 slice_text("+"),         slice_text("-"),
                                 slice_text("COUNT"),     slice_text("1")};

    uv_timer_stop(&downlink->retry_timer);
    if (downlink->events_placed)
        read_next(downlink);
    else
        (void)!bus_command(downlink->bus, on_events_end, downlink, sizeof(argv) / sizeof(argv[0]),
                           argv);
}

/* The gateway's own bus speaks of the same Redis, louder. */
static void on_down(void *arg, const char *reason)
{
    (void)arg;
    log_debug("nothing is read: %s", reason);
}

/* ---- life ---- */

static void init_output(struct downlink *downlink, uint32_t partition)
{
    struct output_stream *output = &downlink->outputs[partition];

    output->partition = partition;
    key_partition(&output->key, &downlink->gateway->deployment, partition, "out",
                  slice_text(downlink->gateway->id));
}

static void init_arguments(struct downlink *downlink)
{
    static const char *const words[READ_WORDS] = {"XREAD", "BLOCK",      BLOCK_MS,
                                                  "COUNT", READ_ENTRIES, "STREAMS"};
    size_t streams = downlink->count + AUTH_STREAMS;

    downlink->arguments = xcalloc(READ_WORDS + 2 * streams, sizeof(*downlink->arguments));
    downlink->cursors = xcalloc(streams, sizeof(*downlink->cursors));
    for (size_t i = 0; i < READ_WORDS; i++)
        downlink->arguments[i] = slice_text(words[i]);
    for (uint32_t p = 0; p < downlink->count; p++)
        downlink->arguments[READ_WORDS + p] = buffer_slice(&downlink->outputs[p].key);
    downlink->arguments[READ_WORDS + downlink->count] = buffer_slice(&downlink->events.key);
    downlink->arguments[READ_WORDS + downlink->count + 1] = buffer_slice(&downlink->answers.key);
}

struct downlink *downlink_create(struct gateway *gateway, const struct bus_address *address)
{
    struct downlink *downlink = xcalloc(1, sizeof(*downlink));
    char name[sizeof(gateway->name) + 8];

    snprintf(name, sizeof(name), "%s-read", gateway->name);
    downlink->gateway = gateway;
    downlink->count = gateway->deployment.partitions;
    downlink->reader = frame_reader_create();
    downlink->outputs = xcalloc(downlink->count, sizeof(*downlink->outputs));
    for (uint32_t p = 0; p < downlink->count; p++)
        init_output(downlink, p);
    key_global(&downlink->events.key, &gateway->deployment, "auth:events", slice_of(NULL, 0));
    key_global(&downlink->answers.key, &gateway->deployment, "auth:answers",
               slice_text(gateway->id));
    init_arguments(downlink);
    uv_timer_init(gateway->loop, &downlink->retry_timer);
    downlink->retry_timer.data = downlink;
    downlink->bus = bus_create(gateway->loop, &(struct bus_options){.address = address,
                                                                    .client_name = name,
                                                                    .on_up = on_up,
                                                                    .on_down = on_down,
                                                                    .arg = downlink});
    return downlink;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void downlink_destroy(struct downlink **pointer)
{
    struct downlink *downlink = *pointer;

    if (downlink == NULL)
        return;
    *pointer = NULL;
    bus_destroy(&downlink->bus);
    for (uint32_t p = 0; p < downlink->count; p++)
        buffer_finish(&downlink->outputs[p].key);
    free(downlink->outputs);
    free(downlink->arguments);
    free(downlink->cursors);
    buffer_finish(&downlink->events.key);
    buffer_finish(&downlink->answers.key);
    frame_reader_destroy(&downlink->reader);
    uv_close((uv_handle_t *)&downlink->retry_timer, on_closed);
}
