#include "tests/unit/model_gateway.h"

#include "common/xalloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#define PATTERNS 3
#define SETS (1 << PATTERNS)
#define CHUNKS_MAX 4

const char *const model_topics[MODEL_TOPICS] = {"a.x", "b.x", "c"};
static const char *const pattern_names[PATTERNS] = {"**", "a.*", "b.*"};
/* Which topics each pattern matches. */
static const unsigned pattern_matches[PATTERNS] = {7, 1, 2};

/* A durable message in a connection's queue. */
struct item {
    STAILQ_ENTRY(item) link;
    struct number number;
    uint64_t place; /* of the entry that waits for it */
    uint64_t event; /* 0: a message */
    size_t length;
    char id[];
};

struct peer {
    LIST_ENTRY(peer) link;
    uint64_t id, flags;
    uint64_t event; /* the last one that was handed over */
    char *user;
    bool gone;
    unsigned topics, patterns;
    struct number seen, handed;
    STAILQ_HEAD(, item) queue;
    struct number *numbers; /* all that were handed over */
    size_t number_count;
};

struct held {
    STAILQ_ENTRY(held) link;
    uint64_t number;
    struct buffer frames;
};

struct output {
    struct number number;
    size_t outstanding;
    bool content; /* more than its head */
    bool open;    /* being read */
};

struct model_gateway {
    struct model_store *store;
    struct model_listener listener;
    char id[40];
    struct frame_reader *reader;
    LIST_HEAD(, peer) peers;
    uint64_t last_connection;

    struct buffer gathered;
    struct frame_said *said; /* in it */
    STAILQ_HEAD(, held) held;
    uint64_t last, accepted, nonce;
    struct held *unsent;
    bool announcing, excused;
    struct buffer chunks[CHUNKS_MAX];
    size_t chunk_count, next_chunk, chunks_wanted;

    struct number cursor, last_topic_number;
    struct output *outputs; /* those that are not written to the end */
    size_t output_count;
    uint64_t first_place;
    struct number written;
    bool worth_reporting; /* something of content is written and not reported */

    uint64_t topic_counts[MODEL_TOPICS], set_counts[SETS]; /* as said */
};

struct model_gateway *model_gateway_create(struct model_store *store, const char *id,
                                           const struct model_listener *listener)
{
    struct model_gateway *gateway = xcalloc(1, sizeof(*gateway));

    gateway->store = store;
    gateway->listener = *listener;
    snprintf(gateway->id, sizeof(gateway->id), "%s", id);
    gateway->reader = frame_reader_create();
    gateway->said = frame_said_create();
    LIST_INIT(&gateway->peers);
    STAILQ_INIT(&gateway->held);
    gateway->chunks_wanted = 1;
    model_gateway_announce(gateway, 1);
    return gateway;
}

static void pop_item(struct peer *peer)
{
    struct item *item = STAILQ_FIRST(&peer->queue);

    STAILQ_REMOVE_HEAD(&peer->queue, link);
    free(item);
}

static void peer_destroy(struct peer *peer)
{
    while (!STAILQ_EMPTY(&peer->queue))
        pop_item(peer);
    LIST_REMOVE(peer, link);
    free(peer->numbers);
    free(peer->user);
    free(peer);
}

static void drop_held(struct model_gateway *gateway)
{
    struct held *held = STAILQ_FIRST(&gateway->held);

    STAILQ_REMOVE_HEAD(&gateway->held, link);
    if (gateway->unsent == held)
        gateway->unsent = STAILQ_FIRST(&gateway->held);
    buffer_finish(&held->frames);
    free(held);
}

void model_gateway_destroy(struct model_gateway **pointer)
{
    struct model_gateway *gateway = *pointer;

    if (gateway == NULL)
        return;
    *pointer = NULL;
    while (!LIST_EMPTY(&gateway->peers))
        peer_destroy(LIST_FIRST(&gateway->peers));
    while (!STAILQ_EMPTY(&gateway->held))
        drop_held(gateway);
    for (size_t i = 0; i < CHUNKS_MAX; i++)
        buffer_finish(&gateway->chunks[i]);
    buffer_finish(&gateway->gathered);
    frame_said_destroy(&gateway->said);
    frame_reader_destroy(&gateway->reader);
    free(gateway->outputs);
    free(gateway);
}

struct slice model_gateway_id(const struct model_gateway *gateway)
{
    return slice_text(gateway->id);
}

static struct peer *peer_find(const struct model_gateway *gateway, uint64_t id)
{
    struct peer *peer;

    LIST_FOREACH(peer, &gateway->peers, link)
    if (peer->id == id)
        return peer;
    return NULL;
}

void model_gateway_say(struct model_gateway *gateway, const struct frame *frame)
{
    frame_encode_next(&gateway->gathered, gateway->said, frame);
}

bool model_gateway_in_step(const struct model_gateway *gateway)
{
    return !gateway->announcing;
}

void model_gateway_excuse(struct model_gateway *gateway)
{
    gateway->excused = true;
}

bool model_gateway_quiet(const struct model_gateway *gateway)
{
    return !gateway->announcing && gateway->gathered.length == 0 && STAILQ_EMPTY(&gateway->held) &&
           !gateway->worth_reporting;
}

/* ---- subscriptions ---- */

static bool covered(unsigned patterns, unsigned topic)
{
    for (unsigned i = 0; i < PATTERNS; i++)
        if (patterns >> i & 1 && pattern_matches[i] >> topic & 1)
            return true;
    return false;
}

static void count_all(const struct model_gateway *gateway, uint64_t topics[MODEL_TOPICS],
                      uint64_t sets[SETS])
{
    const struct peer *peer;

    memset(topics, 0, MODEL_TOPICS * sizeof(*topics));
    memset(sets, 0, SETS * sizeof(*sets));
    LIST_FOREACH(peer, &gateway->peers, link)
    {
        sets[peer->patterns]++;
        for (unsigned t = 0; t < MODEL_TOPICS; t++)
            topics[t] += (peer->topics >> t & 1) && !covered(peer->patterns, t);
    }
}

static struct frame count_of_topic(unsigned topic, uint64_t connections)
{
    return (struct frame){
        .type = FRAME_TOPIC_COUNT,
        .topic_count = {.topic = slice_text(model_topics[topic]), .connections = connections},
    };
}

/* names: of the set, valid until the next call. */
static struct frame count_of_set(unsigned set, uint64_t connections, struct buffer *names)
{
    names->length = 0;
    for (unsigned i = 0; i < PATTERNS; i++) {
        if (!(set >> i & 1))
            continue;
        if (names->length)
            buffer_append_byte(names, ',');
        buffer_append_text(names, pattern_names[i]);
    }
    return (struct frame){
        .type = FRAME_PATTERNS_COUNT,
        .patterns_count = {.patterns = buffer_slice(names), .connections = connections},
    };
}

static void say_counts(struct model_gateway *gateway)
{
    uint64_t topics[MODEL_TOPICS], sets[SETS];
    struct buffer names = {0};
    struct frame frame;

    count_all(gateway, topics, sets);
    for (unsigned t = 0; t < MODEL_TOPICS; t++) {
        frame = count_of_topic(t, topics[t]);
        if (topics[t] != gateway->topic_counts[t])
            model_gateway_say(gateway, &frame);
    }
    for (unsigned s = 1; s < SETS; s++) {
        frame = count_of_set(s, sets[s], &names);
        if (sets[s] != gateway->set_counts[s])
            model_gateway_say(gateway, &frame);
    }
    buffer_finish(&names);
    memcpy(gateway->topic_counts, topics, sizeof(topics));
    memcpy(gateway->set_counts, sets, sizeof(sets));
}

void model_gateway_subscribe(struct model_gateway *gateway, uint64_t connection, unsigned topics,
                             unsigned patterns)
{
    struct peer *peer = peer_find(gateway, connection);

    if (peer == NULL)
        return;
    peer->topics = topics;
    peer->patterns = patterns;
    say_counts(gateway);
}

bool model_gateway_matches(const struct model_gateway *gateway, uint64_t connection, unsigned topic)
{
    const struct peer *peer = peer_find(gateway, connection);

    return peer && ((peer->topics >> topic & 1) || covered(peer->patterns, topic));
}

/* ---- connections ---- */

uint64_t model_gateway_open(struct model_gateway *gateway, const char *user, uint64_t flags)
{
    struct peer *peer = xcalloc(1, sizeof(*peer));

    peer->id = ++gateway->last_connection;
    peer->user = xstrdup(user);
    peer->flags = flags;
    STAILQ_INIT(&peer->queue);
    LIST_INSERT_HEAD(&gateway->peers, peer, link);
    model_gateway_say(gateway, &(struct frame){.type = FRAME_USER_CONNECT,
                                               .user_connect = {.connection = peer->id,
                                                                .user = slice_text(user),
                                                                .protocol = FRAME_PROTOCOL_REALTIME,
                                                                .flags = flags}});
    return peer->id;
}

void model_gateway_follow(struct model_gateway *gateway, uint64_t connection, uint64_t after,
                          bool echo)
{
    struct peer *peer = peer_find(gateway, connection);

    if (peer == NULL || (peer->flags & CONNECTION_FLAG_FOLLOWING))
        return;
    peer->flags &= ~(uint64_t)CONNECTION_FLAG_ECHO;
    if (echo)
        peer->flags |= CONNECTION_FLAG_ECHO;
    model_gateway_say(gateway,
                      &(struct frame){.type = FRAME_EVENTS_FOLLOW,
                                      .events_follow = {.connection = connection,
                                                        .request = 1,
                                                        .user = slice_text(peer->user),
                                                        .after = after,
                                                        .flags = echo ? CONNECTION_FLAG_ECHO : 0}});
}

bool model_gateway_follows(const struct model_gateway *gateway, uint64_t connection)
{
    const struct peer *peer = peer_find(gateway, connection);

    return peer != NULL && (peer->flags & CONNECTION_FLAG_FOLLOWING);
}

static void advance(struct model_gateway *gateway)
{
    size_t done = 0;

    while (done < gateway->output_count && !gateway->outputs[done].open &&
           gateway->outputs[done].outstanding == 0) {
        gateway->worth_reporting |= gateway->outputs[done].content;
        gateway->written = gateway->outputs[done++].number;
    }
    if (done == 0)
        return;
    gateway->output_count -= done;
    gateway->first_place += done;
    memmove(gateway->outputs, gateway->outputs + done,
            gateway->output_count * sizeof(*gateway->outputs));
}

static void finish_item(struct model_gateway *gateway, struct peer *peer)
{
    const struct item *item = STAILQ_FIRST(&peer->queue);

    if (item->place >= gateway->first_place)
        gateway->outputs[item->place - gateway->first_place].outstanding--;
    pop_item(peer);
}

/* Closed stands before any report that passes it: what is written is reported first, as far as it
 * goes without this connection. */
void model_gateway_close(struct model_gateway *gateway, uint64_t connection)
{
    struct peer *peer = peer_find(gateway, connection);

    if (peer == NULL)
        return;
    model_gateway_say(gateway, &(struct frame){.type = FRAME_CONNECTION_CLOSED,
                                               .connection_closed = {.connection = connection,
                                                                     .seen = peer->seen}});
    while (!STAILQ_EMPTY(&peer->queue))
        finish_item(gateway, peer);
    peer_destroy(peer);
    say_counts(gateway);
    advance(gateway);
}

void model_gateway_half_open(struct model_gateway *gateway, uint64_t connection)
{
    struct peer *peer = peer_find(gateway, connection);

    if (peer != NULL)
        peer->gone = true;
}

const char *model_gateway_user(const struct model_gateway *gateway, uint64_t connection)
{
    const struct peer *peer = peer_find(gateway, connection);

    return peer ? peer->user : NULL;
}

size_t model_gateway_connections(const struct model_gateway *gateway)
{
    const struct peer *peer;
    size_t count = 0;

    LIST_FOREACH(peer, &gateway->peers, link)
    count++;
    return count;
}

/* ---- the way in ---- */

static void close_entry(struct model_gateway *gateway)
{
    struct held *held = xcalloc(1, sizeof(*held));

    held->number = ++gateway->last;
    held->frames = gateway->gathered;
    gateway->gathered = (struct buffer){0};
    STAILQ_INSERT_TAIL(&gateway->held, held, link);
    if (gateway->unsent == NULL)
        gateway->unsent = held;
}

const struct buffer *model_gateway_next(struct model_gateway *gateway, uint64_t *number)
{
    *number = 0;
    if (gateway->announcing)
        return gateway->next_chunk < gateway->chunk_count ? &gateway->chunks[gateway->next_chunk]
                                                          : NULL;
    if (gateway->unsent == NULL && gateway->gathered.length)
        close_entry(gateway);
    if (gateway->unsent == NULL)
        return NULL;
    *number = gateway->unsent->number;
    return &gateway->unsent->frames;
}

void model_gateway_sent(struct model_gateway *gateway, enum model_fate fate)
{
    if (fate != FATE_SENT && fate != FATE_FORGOTTEN)
        return; /* again, from this one on */
    if (gateway->announcing)
        gateway->next_chunk++;
    else
        gateway->unsent = STAILQ_NEXT(gateway->unsent, link);
}

static void accept_up_to(struct model_gateway *gateway, uint64_t number)
{
    struct held *held;

    gateway->accepted = number;
    while ((held = STAILQ_FIRST(&gateway->held)) != NULL && held->number <= number)
        drop_held(gateway);
}

/* ---- announcements ---- */

static void encode_announced(struct buffer *out, const struct peer *peer)
{
    frame_encode(out, &(struct frame){.type = FRAME_ANNOUNCED_CONNECTION,
                                      .announced_connection = {.connection = peer->id,
                                                               .user = slice_text(peer->user),
                                                               .protocol = FRAME_PROTOCOL_REALTIME,
                                                               .flags = peer->flags,
                                                               .event = peer->event,
                                                               .seen = peer->seen}});
}

static void open_chunk(struct model_gateway *gateway, size_t chunk, uint64_t base)
{
    buffer_reset(&gateway->chunks[chunk], SIZE_MAX);
    frame_encode(&gateway->chunks[chunk],
                 &(struct frame){.type = FRAME_GATEWAY_ANNOUNCE,
                                 .gateway_announce = {.nonce = gateway->nonce,
                                                      .base = base,
                                                      .chunk = chunk,
                                                      .last = chunk + 1 == gateway->chunk_count}});
}

void model_gateway_announce(struct model_gateway *gateway, size_t chunks)
{
    const struct held *first = STAILQ_FIRST(&gateway->held);
    const struct peer *peer;
    struct buffer names = {0};
    struct frame frame;
    size_t at = 0;

    assert(chunks <= CHUNKS_MAX);
    gateway->announcing = true;
    gateway->nonce++;
    gateway->chunk_count = gateway->chunks_wanted = chunks;
    gateway->next_chunk = 0;
    gateway->unsent = STAILQ_FIRST(&gateway->held);
    gateway->first_place += gateway->output_count;
    gateway->output_count = 0;
    gateway->written = (struct number){0};
    gateway->worth_reporting = false;
    for (size_t i = 0; i < chunks; i++)
        open_chunk(gateway, i, first ? first->number - 1 : gateway->last);
    LIST_FOREACH(peer, &gateway->peers, link)
    encode_announced(&gateway->chunks[at++ % chunks], peer);
    count_all(gateway, gateway->topic_counts, gateway->set_counts);
    for (unsigned t = 0; t < MODEL_TOPICS; t++) {
        frame = count_of_topic(t, gateway->topic_counts[t]);
        if (gateway->topic_counts[t])
            frame_encode(&gateway->chunks[0], &frame);
    }
    for (unsigned s = 1; s < SETS; s++) {
        frame = count_of_set(s, gateway->set_counts[s], &names);
        if (gateway->set_counts[s])
            frame_encode(&gateway->chunks[chunks - 1], &frame);
    }
    buffer_finish(&names);
}

/* ---- the way out ---- */

static void wrong(struct model_gateway *gateway, const char *what)
{
    gateway->listener.wrong(gateway->listener.arg, what);
}

static bool was_handed(const struct peer *peer, struct number number)
{
    for (size_t i = 0; i < peer->number_count; i++)
        if (number_compare(peer->numbers[i], number) == 0)
            return true;
    return false;
}

static struct output *open_output(struct model_gateway *gateway)
{
    return &gateway->outputs[gateway->output_count - 1];
}

static void hand_over(struct model_gateway *gateway, struct peer *peer, struct number number,
                      struct slice id, uint64_t event)
{
    struct item *item = xcalloc(1, sizeof(*item) + id.length);

    item->number = number;
    item->event = event;
    item->place = gateway->first_place + gateway->output_count - 1;
    item->length = id.length;
    if (id.length)
        memcpy(item->id, id.data, id.length);
    STAILQ_INSERT_TAIL(&peer->queue, item, link);
    open_output(gateway)->outstanding++;
    peer->handed = number;
    if ((peer->number_count & (peer->number_count - 1)) == 0)
        peer->numbers = xrealloc(peer->numbers, (peer->number_count ? peer->number_count * 2 : 1) *
                                                    sizeof(*peer->numbers));
    peer->numbers[peer->number_count++] = number;
}

/* It came before; if it is not written, and its entry is void, this entry waits for it. */
static void meet_again(struct model_gateway *gateway, struct peer *peer,
                       const struct frame_message_delivery *delivery)
{
    struct number number = delivery->number;
    struct item *item;
    char text[96];

    snprintf(text, sizeof(text), "I4: %.*s came to %s of %s below what he had before",
             (int)delivery->id.length, delivery->id.data, peer->user, gateway->id);
    if (!was_handed(peer, number))
        wrong(gateway, text);
    STAILQ_FOREACH(item, &peer->queue, link)
    {
        if (number_compare(item->number, number) != 0 || item->place >= gateway->first_place)
            continue;
        item->place = gateway->first_place + gateway->output_count - 1;
        open_output(gateway)->outstanding++;
    }
}

static void on_delivery(struct model_gateway *gateway,
                        const struct frame_message_delivery *delivery)
{
    for (size_t i = 0; i < delivery->connections.count; i++) {
        struct peer *peer = peer_find(gateway, delivery->connections.values[i]);

        if (peer == NULL)
            continue;
        if (!slice_is(delivery->to, peer->user))
            wrong(gateway, "a message went to another user's connection");
        if (number_compare(delivery->number, peer->handed) > 0)
            hand_over(gateway, peer, delivery->number, delivery->id, 0);
        else
            meet_again(gateway, peer, delivery);
    }
}

/* Told again after an announcement, it is dropped. */
static void on_event(struct model_gateway *gateway, const struct frame_event_delivery *event)
{
    for (size_t i = 0; i < event->connections.count; i++) {
        struct peer *peer = peer_find(gateway, event->connections.values[i]);

        if (peer == NULL || event->event <= peer->event)
            continue;
        if (event->event != peer->event + 1)
            wrong(gateway, "I7: an event is missing");
        if (number_compare(event->number, peer->handed) <= 0)
            wrong(gateway, "I4: an event came below what the connection had before");
        peer->event = event->event;
        hand_over(gateway, peer, event->number, (struct slice){0}, event->event);
    }
}

static void on_done(struct model_gateway *gateway, const struct frame_event_done *done)
{
    struct peer *peer = peer_find(gateway, done->connection);

    if (peer == NULL || done->event <= peer->event)
        return;
    if (done->event != peer->event + 1)
        wrong(gateway, "I7: an event is missing");
    if ((peer->flags & CONNECTION_FLAG_ECHO) || gateway->listener.done_event == NULL)
        wrong(gateway, "an event that was asked for is told without its body");
    else
        gateway->listener.done_event(gateway->listener.arg, gateway, peer->id, done);
    peer->event = done->event;
}

static void on_followed(struct model_gateway *gateway, const struct frame_events_followed *followed)
{
    struct peer *peer = peer_find(gateway, followed->connection);

    if (peer == NULL)
        return;
    peer->flags |= CONNECTION_FLAG_FOLLOWING;
    /* Asked twice: the second time from further on, perhaps. */
    if (followed->newest - followed->count > peer->event)
        peer->event = followed->newest - followed->count;
}

static void on_topic_message(struct model_gateway *gateway,
                             const struct frame_topic_message *message)
{
    if (number_compare(message->number, gateway->last_topic_number) <= 0)
        wrong(gateway, "a topic's message came twice, or out of order");
    gateway->last_topic_number = message->number;
}

static void on_missing(struct model_gateway *gateway, uint64_t last)
{
    const struct held *first = STAILQ_FIRST(&gateway->held);

    /* What the same output entry accepts by its head may be more. */
    if (first != NULL && first->number > last + 1 && gateway->accepted <= last)
        wrong(gateway, "I2: an entry that is not held any more is missing");
    gateway->unsent = STAILQ_FIRST(&gateway->held);
}

static void on_refused(struct model_gateway *gateway, uint64_t connection)
{
    if (peer_find(gateway, connection) == NULL)
        return;
    model_gateway_close(gateway, connection);
    gateway->listener.refused(gateway->listener.arg, gateway, connection);
}

static void on_frame(struct model_gateway *gateway, const struct frame *frame)
{
    switch ((int)frame->type) {
    case FRAME_WHO_ARE_YOU:
        accept_up_to(gateway, frame->who_are_you.last);
        model_gateway_announce(gateway, gateway->chunks_wanted);
        return;
    case FRAME_ENTRIES_MISSING:
        on_missing(gateway, frame->entries_missing.last);
        break;
    case FRAME_MESSAGE_DELIVERY:
        on_delivery(gateway, &frame->message_delivery);
        break;
    case FRAME_EVENT_DELIVERY:
        on_event(gateway, &frame->event_delivery);
        break;
    case FRAME_EVENT_DONE:
        on_done(gateway, &frame->event_done);
        break;
    case FRAME_EVENTS_FOLLOWED:
        on_followed(gateway, &frame->events_followed);
        break;
    case FRAME_TOPIC_MESSAGE:
        on_topic_message(gateway, &frame->topic_message);
        break;
    case FRAME_CONNECTION_REFUSED:
        on_refused(gateway, frame->connection_refused.connection);
        break;
    }
    gateway->listener.heard(gateway->listener.arg, gateway, frame);
}

static void begin_output(struct model_gateway *gateway, struct number number)
{
    gateway->outputs =
        xrealloc(gateway->outputs, (gateway->output_count + 1) * sizeof(*gateway->outputs));
    gateway->outputs[gateway->output_count++] = (struct output){.number = number, .open = true};
}

static void read_frames(struct model_gateway *gateway, struct number number)
{
    uint64_t nonce = gateway->nonce;
    struct frame frame;

    begin_output(gateway, number);
    while (gateway->nonce == nonce && frame_reader_next(gateway->reader, &frame) == 1) {
        open_output(gateway)->content = true;
        on_frame(gateway, &frame);
    }
    if (gateway->nonce == nonce)
        open_output(gateway)->open = false;
    advance(gateway);
}

/* Until the nonce comes back, everything is skipped but a question. */
static void read_announcing(struct model_gateway *gateway, struct number number, uint64_t accepted)
{
    struct frame frame;

    while (frame_reader_next(gateway->reader, &frame) == 1) {
        if (frame.type == FRAME_WHO_ARE_YOU && gateway->next_chunk) {
            accept_up_to(gateway, frame.who_are_you.last);
            model_gateway_announce(gateway, gateway->chunks_wanted);
            return;
        }
        if (frame.type == FRAME_GATEWAY_ANNOUNCED &&
            frame.gateway_announced.nonce == gateway->nonce) {
            gateway->announcing = gateway->excused = false;
            accept_up_to(gateway, accepted);
            read_frames(gateway, number);
            return;
        }
    }
}

static void read_entry(struct model_gateway *gateway, const struct engine_page_entry *entry)
{
    struct number before = gateway->cursor;
    struct frame head;

    gateway->cursor = entry->number;
    frame_reader_start(gateway->reader, model_entry_field(entry, "e"));
    if (frame_reader_next(gateway->reader, &head) != 1 || head.type != FRAME_OUTPUT_HEAD) {
        wrong(gateway, "an entry without a head");
        return;
    }
    if (gateway->announcing) {
        read_announcing(gateway, entry->number, head.output_head.accepted);
        return;
    }
    if (number_compare(head.output_head.previous, before) != 0) {
        if (!gateway->excused)
            wrong(gateway, "I1: the chain of output entries is broken");
        accept_up_to(gateway, head.output_head.accepted);
        model_gateway_announce(gateway, gateway->chunks_wanted);
        return;
    }
    accept_up_to(gateway, head.output_head.accepted);
    read_frames(gateway, entry->number);
}

void model_gateway_read(struct model_gateway *gateway, size_t count)
{
    size_t there;
    const struct engine_page_entry *entries =
        model_store_stream(gateway->store, "out", model_gateway_id(gateway), &there);

    for (size_t i = 0; i < there && count; i++) {
        if (number_compare(entries[i].number, gateway->cursor) <= 0)
            continue;
        read_entry(gateway, &entries[i]);
        count--;
    }
}

static void write_peer(struct model_gateway *gateway, struct peer *peer, size_t count)
{
    while (count-- && !STAILQ_EMPTY(&peer->queue)) {
        const struct item *item = STAILQ_FIRST(&peer->queue);

        peer->seen = item->number;
        if (item->event == 0)
            gateway->listener.taken(gateway->listener.arg, gateway, peer->id,
                                    slice_of(item->id, item->length), item->number);
        else if (gateway->listener.taken_event != NULL)
            gateway->listener.taken_event(gateway->listener.arg, gateway, peer->id, item->event);
        finish_item(gateway, peer);
    }
}

void model_gateway_write(struct model_gateway *gateway, size_t count, uint64_t (*pick)(void *),
                         void *arg)
{
    struct peer *peer;

    LIST_FOREACH(peer, &gateway->peers, link)
    if (!peer->gone && pick(arg) % 4)
        write_peer(gateway, peer, count);
    advance(gateway);
}

void model_gateway_report(struct model_gateway *gateway, bool along)
{
    if (gateway->announcing || number_is_zero(gateway->written) ||
        !(gateway->worth_reporting || along))
        return;
    gateway->worth_reporting = false;
    model_gateway_say(gateway, &(struct frame){.type = FRAME_OUTPUT_WRITTEN,
                                               .output_written.number = gateway->written});
}
