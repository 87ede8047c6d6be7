/*
 * A random world around the engine, from a seed: one router at a time over a model of Redis, three
 * gateways, eight users. Lost answers, late and repeated commits, routers and gateways killed at
 * any moment, gateways buried by mistake, half-open clients. The invariants of delivery.md are
 * looked at after each commit, and at the end nothing may be lost or doubled.
 *
 *     ENGINE_SEED=n    begins with this seed (1)
 *     ENGINE_RUNS=n    so many runs (250)
 *     ENGINE_STEPS=n   of so many steps (160)
 */
#include "router/engine.h"

#include "common/topic.h"
#include "common/xalloc.h"
#include "tests/unit/engine_world.h"
#include "tests/unit/model_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define USERS 8
#define DEVICES 2
#define GATEWAYS 3
#define SENT_MAX 600
#define BORN_MAX 64
#define LATE_MAX 16
#define SENDERS_MAX 256
#define NONE ((struct slice){0})
/* Users whose connections acknowledge themselves: these, and user 5 with one of his two. */
#define FIRST_ACK_USER 6
#define MIXED_USER 5

/* Where a gateway runs: after one that was killed, another one does. */
struct place {
    struct model_gateway *gateway;
    uint64_t mute_until, sent_ms, waiting_since;
    char id[40];
};

struct device {
    struct model_gateway *gateway; /* NULL: not connected */
    uint64_t connection;
    size_t serial;               /* of this connection among all */
    size_t last_of[SENDERS_MAX]; /* newest message taken of each sender's connection */
    size_t unacked[SENT_MAX], unacked_count;
};

struct sent {
    unsigned from, to;
    size_t serial; /* the sender's connection */
    struct model_gateway *by;
    bool retry, resent, keeps, accepted, refused, taken, acked, replied;
    uint64_t first_ms;
    struct number number;
    size_t present;
};

struct sim {
    uint64_t seed, state;
    size_t steps, step;
    struct engine_limits limits;
    struct engine_world *world;
    struct model_store *store;
    struct frame_reader *reader;
    struct place places[GATEWAYS];
    char dead[BORN_MAX][40];
    size_t dead_count, born;
    struct device devices[USERS][DEVICES];
    struct {
        struct model_gateway *gateway;
        uint64_t connection;
    } zombies[64];
    size_t zombie_count;
    struct sent sent[SENT_MAX];
    size_t sent_count, serials;
    struct model_commit *flying, *before;
    struct model_commit *late[LATE_MAX];
    size_t late_count;
    struct {
        char gateway[40];
        uint64_t number;
        struct buffer frames;
    } late_entries[LATE_MAX];
    size_t late_entry_count;
    size_t stamp;
    uint64_t commit_epoch, commit_number;
    uint64_t expected_request, expected_recipients; /* request 0: nothing expected */
    size_t recipients_checked;
    bool calm;
};

static struct sim *running;

/* ---- chance ---- */

static uint64_t draw(void *arg)
{
    struct sim *sim = arg;

    sim->state ^= sim->state << 13;
    sim->state ^= sim->state >> 7;
    sim->state ^= sim->state << 17;
    return sim->state;
}

static uint64_t below(struct sim *sim, uint64_t limit)
{
    return (draw(sim) >> 11) % limit;
}

static bool chance(struct sim *sim, unsigned percent)
{
    return below(sim, 100) < percent;
}

/* Of ten thousand. */
static bool rarely(struct sim *sim, unsigned of_10000)
{
    return !sim->calm && below(sim, 10000) < of_10000;
}

static void violation(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void violation(const struct sim *sim, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fail_msg("%s (step %zu; ENGINE_SEED=%llu ENGINE_RUNS=1)", text, sim->step,
             (unsigned long long)sim->seed);
}

static void on_abort(int signal_number)
{
    char text[80];
    int length =
        snprintf(text, sizeof(text), "aborted: ENGINE_SEED=%llu ENGINE_RUNS=1 step %zu\n",
                 running ? (unsigned long long)running->seed : 0, running ? running->step : 0);

    if (write(2, text, (size_t)length) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
}

/* ---- names ---- */

static const char *user_name(unsigned user)
{
    static const char *const names[USERS] = {"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"};

    return names[user];
}

static struct slice message_id(size_t index, char text[24])
{
    return slice_of(text, (size_t)snprintf(text, 24, "m%zu", index));
}

static size_t message_index(const struct sim *sim, struct slice id)
{
    size_t index = 0;

    for (size_t i = 1; i < id.length; i++)
        index = index * 10 + (size_t)(id.data[i] - '0');
    if (id.length < 2 || index >= sim->sent_count)
        violation(sim, "a message nobody sent: %.*s", (int)id.length, id.data);
    return index;
}

static bool acknowledges(unsigned user, unsigned device)
{
    return user >= FIRST_ACK_USER || (user == MIXED_USER && device == 0);
}

static bool alive(const struct sim *sim, const struct model_gateway *gateway)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        if (sim->places[i].gateway == gateway)
            return true;
    return false;
}

/* ---- what gateways tell ---- */

static struct device *device_at(struct sim *sim, const struct model_gateway *gateway,
                                uint64_t connection, unsigned *user, unsigned *number)
{
    for (*user = 0; *user < USERS; ++*user)
        for (*number = 0; *number < DEVICES; ++*number) {
            struct device *device = &sim->devices[*user][*number];

            if (device->gateway == gateway && device->connection == connection)
                return device;
        }
    return NULL;
}

static void note_order(struct sim *sim, struct device *device, size_t index)
{
    const struct sent *sent = &sim->sent[index];
    size_t *last = &device->last_of[sent->serial % SENDERS_MAX];

    if (sent->resent)
        return;
    if (*last > index + 1)
        violation(sim, "order: m%zu after m%zu", index, *last - 1);
    if (*last == index + 1)
        violation(sim, "twice on one connection: m%zu", index);
    *last = index + 1;
}

static void on_taken(void *arg, struct model_gateway *gateway, uint64_t connection, struct slice id,
                     struct number number)
{
    struct sim *sim = arg;
    size_t index = message_index(sim, id);
    unsigned user, number_of;
    struct device *device = device_at(sim, gateway, connection, &user, &number_of);

    (void)number;
    sim->sent[index].taken = true;
    if (device == NULL)
        violation(sim, "m%zu was written to a connection that nobody has", index);
    note_order(sim, device, index);
    if (acknowledges(user, number_of))
        device->unacked[device->unacked_count++] = index;
}

static void on_refused(void *arg, struct model_gateway *gateway, uint64_t connection)
{
    struct sim *sim = arg;
    unsigned user, number;
    struct device *device = device_at(sim, gateway, connection, &user, &number);

    if (device != NULL)
        *device = (struct device){0};
}

static void on_heard(void *arg, struct model_gateway *gateway, const struct frame *frame)
{
    struct sim *sim = arg;

    (void)gateway;
    if (frame->type == FRAME_DIRECT_REPLY)
        sim->sent[message_index(sim, frame->direct_reply.id)].replied = true;
}

static void on_wrong(void *arg, const char *what)
{
    violation(arg, "%s", what);
}

static void bear_gateway(struct sim *sim, struct place *place)
{
    const struct model_listener listener = {
        .arg = sim,
        .taken = on_taken,
        .refused = on_refused,
        .heard = on_heard,
        .wrong = on_wrong,
    };

    sim->born++;
    *place = (struct place){.sent_ms = model_store_time(sim->store)};
    snprintf(place->id, sizeof(place->id), "g%zu-%016zx", sim->born, 0x100 + sim->born);
    place->gateway = model_gateway_create(sim->store, place->id, &listener);
}

/* ---- clients ---- */

static struct place *pick_place(struct sim *sim)
{
    return &sim->places[below(sim, GATEWAYS)];
}

static void connect_device(struct sim *sim, unsigned user, unsigned number)
{
    struct device *device = &sim->devices[user][number];
    struct place *place = pick_place(sim);
    uint64_t flags = acknowledges(user, number) ? CONNECTION_FLAG_ACK : 0;

    *device = (struct device){.gateway = place->gateway, .serial = ++sim->serials};
    device->connection = model_gateway_open(place->gateway, user_name(user), flags);
    if (chance(sim, 50))
        model_gateway_subscribe(place->gateway, device->connection, (unsigned)below(sim, 8),
                                chance(sim, 50) ? (unsigned)below(sim, 8) : 0);
}

static void disconnect_device(struct device *device)
{
    struct device gone = *device;

    *device = (struct device){0};
    model_gateway_close(gone.gateway, gone.connection);
}

static void lose_device(struct sim *sim, struct device *device)
{
    model_gateway_half_open(device->gateway, device->connection);
    if (sim->zombie_count == sizeof(sim->zombies) / sizeof(sim->zombies[0]))
        violation(sim, "too many zombies: the test is wrong");
    sim->zombies[sim->zombie_count].gateway = device->gateway;
    sim->zombies[sim->zombie_count++].connection = device->connection;
    *device = (struct device){0};
}

static void end_zombie(struct sim *sim, size_t at)
{
    struct model_gateway *gateway = sim->zombies[at].gateway;
    uint64_t connection = sim->zombies[at].connection;

    sim->zombies[at] = sim->zombies[--sim->zombie_count];
    if (alive(sim, gateway))
        model_gateway_close(gateway, connection);
}

static void say_message(struct sim *sim, struct model_gateway *gateway, uint64_t connection,
                        size_t index, uint64_t policy, uint64_t ttl_ms)
{
    const struct sent *sent = &sim->sent[index];
    char text[24];

    model_gateway_say(gateway,
                      &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                                      .direct_message = {.connection = connection,
                                                         .request = index + 1,
                                                         .from = slice_text(user_name(sent->from)),
                                                         .to = slice_text(user_name(sent->to)),
                                                         .id = message_id(index, text),
                                                         .retry = sent->retry,
                                                         .policy = policy,
                                                         .ttl_ms = ttl_ms,
                                                         .protocol = FRAME_PROTOCOL_REALTIME,
                                                         .body = slice_text("body")}});
}

static void send_direct(struct sim *sim, unsigned user, struct device *device)
{
    uint64_t policy = chance(sim, 10) ? DELIVERY_DISCARD : DELIVERY_STORE;
    uint64_t ttl_ms = chance(sim, 10) ? 500 + below(sim, 5000) : 0;
    struct sent *sent = &sim->sent[sim->sent_count];

    if (sim->sent_count == SENT_MAX)
        return;
    *sent = (struct sent){
        .from = user,
        .to = (unsigned)below(sim, USERS),
        .serial = device->serial,
        .by = device->gateway,
        .retry = chance(sim, 50),
        .keeps = policy == DELIVERY_STORE && ttl_ms == 0,
        .first_ms = model_store_time(sim->store),
    };
    say_message(sim, device->gateway, device->connection, sim->sent_count++, policy, ttl_ms);
}

static void send_publish(struct sim *sim, unsigned user, struct device *device)
{
    unsigned topic = (unsigned)below(sim, MODEL_TOPICS);
    bool matches = model_gateway_matches(device->gateway, device->connection, topic);

    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_TOPIC_PUBLISH,
                                      .topic_publish = {.connection = device->connection,
                                                        .request = draw(sim) | 1,
                                                        .from = slice_text(user_name(user)),
                                                        .topic = slice_text(model_topics[topic]),
                                                        .id = slice_text("p"),
                                                        .matches = matches,
                                                        .echo = chance(sim, 30)}});
}

static void say_ack(struct sim *sim, unsigned user, struct device *device)
{
    size_t at = below(sim, device->unacked_count);
    size_t index = device->unacked[at];
    char text[24];

    device->unacked[at] = device->unacked[--device->unacked_count];
    sim->sent[index].acked = true;
    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_MESSAGE_ACK,
                                      .message_ack = {.connection = device->connection,
                                                      .user = slice_text(user_name(user)),
                                                      .id = message_id(index, text)}});
}

static void set_presence(unsigned user, struct device *device)
{
    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_PRESENCE_SET,
                                      .presence_set = {.connection = device->connection,
                                                       .user = slice_text(user_name(user)),
                                                       .status = slice_text("away")}});
}

static void step_device(struct sim *sim, unsigned user, unsigned number)
{
    struct device *device = &sim->devices[user][number];

    if (device->gateway == NULL) {
        if (chance(sim, number ? 5 : 20))
            connect_device(sim, user, number);
        return;
    }
    if (device->unacked_count && chance(sim, 30))
        say_ack(sim, user, device);
    if (chance(sim, 12))
        send_direct(sim, user, device);
    if (chance(sim, 4))
        send_publish(sim, user, device);
    if (chance(sim, 2))
        set_presence(user, device);
    if (chance(sim, 2))
        model_gateway_subscribe(device->gateway, device->connection, (unsigned)below(sim, 8),
                                (unsigned)below(sim, 8));
    if (rarely(sim, 150))
        disconnect_device(device);
    else if (rarely(sim, 150))
        lose_device(sim, device);
}

static void step_clients(struct sim *sim)
{
    for (unsigned user = 0; user < USERS; user++)
        for (unsigned number = 0; number < DEVICES; number++)
            step_device(sim, user, number);
    if (sim->zombie_count && (sim->zombie_count > 20 || chance(sim, 10)))
        end_zombie(sim, below(sim, sim->zombie_count));
}

/* ---- gateways ---- */

static void keep_late_entry(struct sim *sim, const struct place *place, uint64_t number,
                            const struct buffer *frames)
{
    size_t at = sim->late_entry_count++;

    memcpy(sim->late_entries[at].gateway, place->id, sizeof(place->id));
    sim->late_entries[at].number = number;
    buffer_append_slice(&sim->late_entries[at].frames, buffer_slice(frames));
}

static void arrive_late(struct sim *sim, size_t at)
{
    size_t last = --sim->late_entry_count;

    model_store_add_input(sim->store, slice_text(sim->late_entries[at].gateway),
                          sim->late_entries[at].number,
                          buffer_slice(&sim->late_entries[at].frames));
    buffer_finish(&sim->late_entries[at].frames);
    sim->late_entries[at] = sim->late_entries[last];
    sim->late_entries[last].frames = (struct buffer){0};
}

static enum model_fate pick_fate(struct sim *sim)
{
    if (rarely(sim, 200))
        return FATE_REFUSED;
    if (rarely(sim, 200))
        return FATE_ANSWER_LOST;
    if (rarely(sim, 100))
        return FATE_FORGOTTEN;
    if (sim->late_entry_count < LATE_MAX && rarely(sim, 100))
        return FATE_LATE;
    return FATE_SENT;
}

static void send_one(struct sim *sim, struct place *place)
{
    enum model_fate fate = pick_fate(sim);
    uint64_t number;
    const struct buffer *frames = model_gateway_next(place->gateway, &number);

    if (frames == NULL)
        return;
    if (fate == FATE_LATE)
        keep_late_entry(sim, place, number, frames);
    if (fate == FATE_SENT || fate == FATE_ANSWER_LOST)
        model_store_add_input(sim->store, slice_text(place->id), number, buffer_slice(frames));
    model_gateway_sent(place->gateway, fate);
    place->sent_ms = model_store_time(sim->store);
}

/* The nonce may have been lost with the chunks that a router had not put together. */
static void announce_again(struct sim *sim, struct place *place)
{
    uint64_t now = model_store_time(sim->store);

    if (model_gateway_in_step(place->gateway)) {
        place->waiting_since = now;
    } else if (now > place->waiting_since + 3000) {
        place->waiting_since = now;
        model_gateway_announce(place->gateway, 1 + below(sim, 3));
    }
}

static void beat(struct place *place)
{
    model_gateway_report(place->gateway, true);
    model_gateway_say(place->gateway, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
}

static void step_gateway(struct sim *sim, struct place *place)
{
    uint64_t now = model_store_time(sim->store);

    if (now < place->mute_until)
        return;
    if (chance(sim, 70))
        model_gateway_read(place->gateway, 1 + below(sim, 8));
    if (chance(sim, 80))
        model_gateway_write(place->gateway, 1 + below(sim, 4), draw, sim);
    if (chance(sim, 40))
        model_gateway_report(place->gateway, false);
    if (now > place->sent_ms + 2000)
        beat(place);
    announce_again(sim, place);
    if (chance(sim, 80))
        send_one(sim, place);
    if (rarely(sim, 40))
        place->mute_until = now + sim->limits.gateway_death_ms + below(sim, 10000);
}

static void send_again(struct sim *sim, size_t index)
{
    struct sent *sent = &sim->sent[index];

    sent->resent = true;
    sent->first_ms = model_store_time(sim->store);
    sent->by = pick_place(sim)->gateway;
    say_message(sim, sent->by, 0, index, DELIVERY_STORE, 0);
}

/* Its clients go elsewhere; who waits for an answer asks again there. */
static void kill_gateway(struct sim *sim, struct place *place)
{
    struct model_gateway *gateway = place->gateway;

    memcpy(sim->dead[sim->dead_count++], place->id, sizeof(place->id));
    bear_gateway(sim, place);
    for (unsigned user = 0; user < USERS; user++)
        for (unsigned number = 0; number < DEVICES; number++)
            if (sim->devices[user][number].gateway == gateway)
                sim->devices[user][number] = (struct device){0};
    for (size_t i = sim->zombie_count; i-- > 0;)
        if (sim->zombies[i].gateway == gateway)
            end_zombie(sim, i);
    for (size_t i = 0; i < sim->sent_count; i++) {
        struct sent *sent = &sim->sent[i];

        if (sent->by != gateway)
            continue;
        sent->by = NULL;
        if (sent->retry && !sent->replied && sent->keeps && chance(sim, 70))
            send_again(sim, i);
    }
    model_gateway_destroy(&gateway);
}

/* ---- the router ---- */

static bool set_matches(struct slice patterns, struct slice topic)
{
    while (patterns.length) {
        const char *comma = memchr(patterns.data, ',', patterns.length);
        size_t length = comma ? (size_t)(comma - patterns.data) : patterns.length;

        if (topic_matches(slice_of(patterns.data, length), topic))
            return true;
        length += comma != NULL;
        patterns = slice_of(patterns.data + length, patterns.length - length);
    }
    return false;
}

/* The gateway's connections that a topic reaches, as Redis has them. */
static uint64_t reached(const struct sim *sim, struct slice gateway, struct slice topic)
{
    size_t count;
    const struct engine_field *subs = model_store_hash(sim->store, "subs", gateway, &count);
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        char kind = subs[i].name.data[0];
        struct slice name = slice_of(subs[i].name.data + 1, subs[i].name.length - 1);
        struct number connections = {0};

        if ((kind == '=' && slice_equal(name, topic)) || (kind == '~' && set_matches(name, topic)))
            if (number_parse(subs[i].value, &connections) == 0)
                total += connections.epoch;
    }
    return total;
}

/* If the next entry is a publish alone, its recipients can be told from what Redis holds. */
static void expect_recipients(struct sim *sim)
{
    size_t count;
    const struct engine_page_entry *entries = model_store_stream(sim->store, "in", NONE, &count);
    const struct engine_field *gateways;
    struct frame frame, more;

    sim->expected_request = sim->expected_recipients = 0;
    if (count != 1)
        return;
    frame_reader_start(sim->reader, model_entry_field(entries, "f"));
    if (frame_reader_next(sim->reader, &frame) != 1 || frame.type != FRAME_TOPIC_PUBLISH)
        return;
    gateways = model_store_hash(sim->store, "gateways", NONE, &count);
    for (size_t i = 0; i < count; i++) {
        uint64_t all = reached(sim, gateways[i].name, frame.topic_publish.topic);
        bool own = slice_equal(gateways[i].name, model_entry_field(entries, "g"));

        if (all && own && frame.topic_publish.matches && !frame.topic_publish.echo)
            all--;
        sim->expected_recipients += all;
    }
    sim->expected_request = frame.topic_publish.request;
    if (frame_reader_next(sim->reader, &more) != 0)
        sim->expected_request = 0;
}

/* ---- what must hold after each commit ---- */

static void note_number(struct sim *sim, struct slice id, struct number number, const char *where)
{
    struct sent *sent = &sim->sent[message_index(sim, id)];

    if (number_is_zero(sent->number))
        sent->number = number;
    else if (number_compare(sent->number, number) != 0 &&
             model_store_time(sim->store) < sent->first_ms + 110000)
        violation(sim, "I2: %.*s was applied twice (%s)", (int)id.length, id.data, where);
}

/* The connections of a gateway, as Redis has them. */
struct listed {
    const struct engine_field *fields;
    size_t count;
};

static bool lives(const struct listed *listed, uint64_t connection, struct slice to)
{
    for (size_t i = 0; i < listed->count; i++) {
        struct slice value = listed->fields[i].value;
        struct number id = {0};

        if (number_parse(listed->fields[i].name, &id) == 0 && id.epoch == connection)
            return value.length > to.length &&
                   memcmp(value.data + value.length - to.length, to.data, to.length) == 0;
    }
    return false;
}

static bool in_mailbox(const struct sim *sim, struct slice user, struct number number)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->store, "mailbox", user, &count);

    for (size_t i = 0; i < count; i++)
        if (number_compare(entries[i].number, number) == 0)
            return true;
    return count == 0;
}

static void check_delivery(struct sim *sim, const struct listed *listed,
                           const struct frame_message_delivery *delivery)
{
    struct number seen = {0};
    struct slice seen_text;
    bool live = false;
    struct sent *sent = &sim->sent[message_index(sim, delivery->id)];

    note_number(sim, delivery->id, delivery->number, "delivered");
    for (size_t i = 0; i < delivery->connections.count; i++)
        live |= lives(listed, delivery->connections.values[i], delivery->to);
    if (!live)
        return;
    seen_text = model_store_field(sim->store, "seen", NONE, delivery->to);
    if (seen_text.length && number_parse(seen_text, &seen) < 0)
        violation(sim, "seen is no number");
    if (number_compare(delivery->number, seen) <= 0)
        return;
    sent->present = sim->stamp;
    if (sent->to < MIXED_USER && sent->keeps && !in_mailbox(sim, delivery->to, delivery->number))
        violation(sim, "I5: m%zu is on its way and not in the mailbox", (size_t)(sent - sim->sent));
}

static void check_reply(struct sim *sim, const struct frame_direct_reply *reply)
{
    struct sent *sent = &sim->sent[message_index(sim, reply->id)];

    if (reply->status <= DIRECT_QUEUED)
        sent->accepted = true;
    else
        sent->refused = true;
}

static void check_recipients(struct sim *sim, const struct frame_publish_reply *reply)
{
    if (sim->expected_request == 0 || reply->request != sim->expected_request)
        return;
    sim->recipients_checked++;
    if (reply->recipients != sim->expected_recipients)
        violation(sim, "recipients %d, not %d", (int)reply->recipients,
                  (int)sim->expected_recipients);
}

static void check_output(struct sim *sim, struct slice gateway)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->store, "out", gateway, &count);
    struct listed listed;
    struct number this_commit = number_make(sim->commit_epoch, sim->commit_number, 0);
    struct frame frame;

    listed.fields = model_store_hash(sim->store, "conns", gateway, &listed.count);
    for (size_t i = 0; i < count; i++) {
        frame_reader_start(sim->reader, model_entry_field(&entries[i], "e"));
        while (frame_reader_next(sim->reader, &frame) == 1) {
            if (frame.type == FRAME_MESSAGE_DELIVERY)
                check_delivery(sim, &listed, &frame.message_delivery);
            else if (frame.type == FRAME_DIRECT_REPLY)
                check_reply(sim, &frame.direct_reply);
            else if (frame.type == FRAME_PUBLISH_REPLY &&
                     number_compare(entries[i].number, this_commit) == 0)
                check_recipients(sim, &frame.publish_reply);
        }
    }
}

static void check_mailbox(struct sim *sim, unsigned user)
{
    struct slice name = slice_text(user_name(user));
    struct slice counted = model_store_field(sim->store, "user", name, slice_text("mailbox"));
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->store, "mailbox", name, &count);
    struct number number = {0};

    for (size_t i = 0; i < count; i++) {
        struct slice id = model_entry_field(&entries[i], "id");

        note_number(sim, id, entries[i].number, "stored");
        sim->sent[message_index(sim, id)].present = sim->stamp;
    }
    if (counted.length && number_parse(counted, &number) < 0)
        violation(sim, "mailbox of u%u is no number", user);
    if (number.epoch != count)
        violation(sim, "mailbox of u%u: %zu entries, counted %d", user, count, (int)number.epoch);
}

/* I3: what was accepted is on its way, or waits, until somebody has it (or, of one who
 * acknowledges, until his word). */
static void check_kept(struct sim *sim)
{
    for (size_t i = 0; i < sim->sent_count; i++) {
        struct sent *sent = &sim->sent[i];
        bool done = sent->to >= FIRST_ACK_USER ? sent->acked : sent->taken;

        if (sent->present == sim->stamp)
            sent->accepted = true;
        if (sent->accepted && sent->keeps && !done && sent->present != sim->stamp)
            violation(sim, "I3: m%zu to u%u was accepted and is gone", i, sent->to);
    }
}

/* I1 and I2: numbers of commits, and what is left of `in`. */
static void check_state(struct sim *sim)
{
    struct number epoch = {0}, commit = {0}, position = {0};
    struct slice text = model_store_field(sim->store, "state", NONE, slice_text("pos"));
    size_t count;
    const struct engine_page_entry *entries = model_store_stream(sim->store, "in", NONE, &count);

    if (number_parse(model_store_field(sim->store, "state", NONE, slice_text("epoch")), &epoch) <
            0 ||
        number_parse(model_store_field(sim->store, "state", NONE, slice_text("commit")), &commit) <
            0)
        violation(sim, "state is not readable");
    if (epoch.epoch < sim->commit_epoch ||
        (epoch.epoch == sim->commit_epoch && commit.epoch != sim->commit_number + 1))
        violation(sim, "I1: commit %d after %d", (int)commit.epoch, (int)sim->commit_number);
    sim->commit_epoch = epoch.epoch;
    sim->commit_number = commit.epoch;
    if (text.length && number_parse(text, &position) < 0)
        violation(sim, "pos is no number");
    if (count && number_compare(entries[0].number, position) <= 0)
        violation(sim, "I2: an applied entry is still in `in`");
}

static void excuse_forgotten(struct sim *sim)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        if (model_store_field(sim->store, "gateways", NONE, slice_text(sim->places[i].id)).length ==
            0)
            model_gateway_excuse(sim->places[i].gateway);
}

static void check_all(struct sim *sim)
{
    size_t count;
    const struct engine_field *gateways = model_store_hash(sim->store, "gateways", NONE, &count);

    sim->stamp++;
    check_state(sim);
    for (size_t i = 0; i < count; i++)
        check_output(sim, gateways[i].name);
    for (unsigned user = 0; user < USERS; user++)
        check_mailbox(sim, user);
    check_kept(sim);
    excuse_forgotten(sim);
}

/* I8: the same bytes again change nothing. */
static void check_replay(struct sim *sim, const struct model_commit *commit)
{
    uint64_t digest = model_store_digest(sim->store);

    if (model_store_run(sim->store, commit) != MODEL_DONE)
        violation(sim, "I8: a commit that ran could run again");
    if (sim->before != NULL) {
        enum model_result result = model_store_run(sim->store, sim->before);

        if (result != MODEL_STALE && result != MODEL_LOST && result != MODEL_DONE)
            violation(sim, "I8: an old commit ran again");
    }
    if (model_store_digest(sim->store) != digest)
        violation(sim, "I8: a replay changed something");
}

static enum model_result run_commit(struct sim *sim, const struct model_commit *commit)
{
    enum model_result result = model_store_run(sim->store, commit);

    if (result == MODEL_FAILED)
        violation(sim, "an effect failed: %s", model_store_problem(sim->store));
    if (result == MODEL_OK) {
        check_replay(sim, commit);
        check_all(sim);
    }
    return result;
}

/* ---- the router ---- */

static void committed(struct sim *sim)
{
    model_commit_destroy(&sim->before);
    sim->before = sim->flying;
    sim->flying = NULL;
    world_ask_pages(sim->world);
}

static void give_up(struct sim *sim, bool will_run)
{
    world_drop(sim->world);
    if (will_run && sim->flying && sim->late_count < LATE_MAX)
        sim->late[sim->late_count++] = sim->flying;
    else
        model_commit_destroy(&sim->flying);
    sim->flying = NULL;
}

/* The commit in flight, for the first time or again. */
static void fly(struct sim *sim)
{
    enum model_result result;

    if (rarely(sim, 300)) {
        give_up(sim, true);
        return;
    }
    if (rarely(sim, 300))
        return; /* not run, and we know it: sent again */
    result = run_commit(sim, sim->flying);
    if (result != MODEL_OK && result != MODEL_DONE)
        violation(sim, "the owner's commit was refused: %d", (int)result);
    if (rarely(sim, 300))
        return; /* its answer is lost: sent again */
    if (rarely(sim, 150)) {
        give_up(sim, true);
        return;
    }
    committed(sim);
}

static void step_router(struct sim *sim)
{
    static const size_t batches[] = {1, 1, 3, 50};

    if (world_engine(sim->world) == NULL) {
        if (chance(sim, 50))
            world_take(sim->world);
        return;
    }
    if (rarely(sim, 120)) {
        give_up(sim, chance(sim, 30));
        return;
    }
    if (sim->flying == NULL) {
        world_hold_pages(sim->world, !sim->calm && chance(sim, 30));
        if (chance(sim, 20))
            engine_trim_users(world_engine(sim->world), below(sim, 3));
        world_tick(sim->world);
        expect_recipients(sim);
        sim->flying = world_turn(sim->world, batches[below(sim, 4)], chance(sim, 3));
    }
    if (sim->flying != NULL)
        fly(sim);
    sim->expected_request = 0;
}

/* ---- a run ---- */

static void pass(struct sim *sim, uint64_t ms)
{
    model_store_set_time(sim->store, model_store_time(sim->store) + ms);
}

static void step_late(struct sim *sim)
{
    if (sim->late_count && chance(sim, 30)) {
        size_t at = below(sim, sim->late_count);
        struct model_commit *commit = sim->late[at];

        sim->late[at] = sim->late[--sim->late_count];
        run_commit(sim, commit);
        model_commit_destroy(&commit);
    }
    if (sim->late_entry_count && chance(sim, 20))
        arrive_late(sim, below(sim, sim->late_entry_count));
}

static void step(struct sim *sim)
{
    pass(sim, 1 + below(sim, 50));
    if (rarely(sim, 200))
        pass(sim, sim->limits.gateway_death_ms / 3);
    for (int i = 0; i < 3; i++)
        step_router(sim);
    for (size_t i = 0; i < GATEWAYS; i++)
        step_gateway(sim, &sim->places[i]);
    step_late(sim);
    if (!sim->calm)
        step_clients(sim);
    if (sim->dead_count < BORN_MAX && rarely(sim, 60))
        kill_gateway(sim, pick_place(sim));
}

static void start(struct sim *sim, uint64_t seed, size_t steps)
{
    *sim = (struct sim){.seed = seed, .state = seed * 0x9e3779b97f4a7c15 + 1, .steps = steps};
    for (int i = 0; i < 8; i++)
        draw(sim);
    sim->limits = (struct engine_limits){
        .gateway_death_ms = 15000,
        .presence_grace_ms = chance(sim, 30) ? 0 : 2000,
        .mailbox_messages = chance(sim, 20) ? 8 : 1000,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms = 30ULL * 24 * 3600 * 1000,
        .user_connections = 2 + below(sim, 3),
        .window_messages = 2 + below(sim, 5),
        .window_bytes = chance(sim, 20) ? 200 : 1 << 18,
        .output_bytes = chance(sim, 20) ? 500 : 1 << 24,
        .conversation_messages = 100,
        .group_members = 5,
        .events = 1000,
    };
    sim->world = world_create(&sim->limits, 1700000000000);
    sim->store = world_store(sim->world);
    sim->reader = frame_reader_create();
    for (size_t i = 0; i < GATEWAYS; i++)
        bear_gateway(sim, &sim->places[i]);
}

static void finish(struct sim *sim)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        model_gateway_destroy(&sim->places[i].gateway);
    for (size_t i = 0; i < LATE_MAX; i++)
        buffer_finish(&sim->late_entries[i].frames);
    while (sim->late_count)
        model_commit_destroy(&sim->late[--sim->late_count]);
    model_commit_destroy(&sim->flying);
    model_commit_destroy(&sim->before);
    world_destroy(&sim->world);
    frame_reader_destroy(&sim->reader);
}

/* ---- the end: everything comes to rest ---- */

static uint64_t always(void *arg)
{
    (void)arg;
    return 1;
}

static void settle_clients(struct sim *sim)
{
    while (sim->zombie_count)
        end_zombie(sim, 0);
    for (unsigned user = 0; user < USERS; user++) {
        if (sim->devices[user][0].gateway == NULL)
            connect_device(sim, user, 0);
        for (unsigned number = 0; number < DEVICES; number++)
            while (sim->devices[user][number].unacked_count)
                say_ack(sim, user, &sim->devices[user][number]);
    }
}

static void calm_step(struct sim *sim, uint64_t ms)
{
    pass(sim, ms);
    settle_clients(sim);
    for (size_t i = 0; i < GATEWAYS; i++) {
        struct place *place = &sim->places[i];

        place->mute_until = 0;
        model_gateway_read(place->gateway, SIZE_MAX);
        model_gateway_write(place->gateway, SIZE_MAX, always, NULL);
        model_gateway_report(place->gateway, false);
        if (model_store_time(sim->store) >= place->sent_ms + 2000)
            beat(place);
        announce_again(sim, place);
        for (int n = 0; n < 4; n++)
            send_one(sim, place);
    }
    for (int i = 0; i < 4; i++)
        step_router(sim);
}

static void come_to_rest(struct sim *sim)
{
    sim->calm = true;
    while (sim->late_count || sim->late_entry_count)
        step_late(sim);
    for (int i = 0; i < 60; i++)
        calm_step(sim, 20);
    /* The dead are buried, the numbers that were kept of them forgotten. */
    for (uint64_t ms = 0; ms < 13 * 60 * 1000; ms += 12000)
        calm_step(sim, 12000);
    for (int i = 0; i < 20; i++)
        calm_step(sim, 20);
}

static void check_key(void *arg, const char *key)
{
    const struct sim *sim = arg;

    for (size_t i = 0; i < sim->dead_count; i++)
        if (strstr(key, sim->dead[i]) != NULL)
            violation(sim, "I6: a key names a dead gateway: %s", key);
    if (strncmp(key, "mailbox:", 8) == 0)
        violation(sim, "a mailbox of one who is connected is not empty: %s", key);
    if (strcmp(key, "seen") == 0 || strcmp(key, "timers") == 0 || strcmp(key, "dead") == 0)
        violation(sim, "I6: left behind: %s", key);
}

static void check_hash_names(const struct sim *sim, const char *what)
{
    size_t count;
    const struct engine_field *fields = model_store_hash(sim->store, what, NONE, &count);

    for (size_t i = 0; i < count; i++) {
        bool known = false;

        for (size_t j = 0; j < GATEWAYS; j++)
            known |= slice_is(fields[i].name, sim->places[j].id);
        if (!known)
            violation(sim, "I6: %s still names %.*s", what, (int)fields[i].name.length,
                      fields[i].name.data);
    }
}

static void check_rest(struct sim *sim)
{
    struct engine_sizes sizes = engine_sizes(world_engine(sim->world));
    size_t count;

    sim->step = sim->steps;
    for (size_t i = 0; i < sim->sent_count; i++) {
        const struct sent *sent = &sim->sent[i];

        if (sent->keeps && sent->by && !sent->refused && !sent->accepted)
            violation(sim, "m%zu was sent by a living gateway and never applied", i);
        if (sent->keeps && sent->accepted && !sent->taken)
            violation(sim, "m%zu to u%u was accepted and never received", i, sent->to);
    }
    model_store_stream(sim->store, "in", NONE, &count);
    if (count)
        violation(sim, "I6: `in` is not empty");
    if (sizes.pending)
        violation(sim, "%zu messages are pending at rest", sizes.pending);
    if (sizes.gateways != GATEWAYS)
        violation(sim, "%zu gateways at rest", sizes.gateways);
    model_store_each_key(sim->store, check_key, sim);
    check_hash_names(sim, "gateways");
    check_hash_names(sim, "sources");
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (!model_gateway_in_step(sim->places[i].gateway))
            violation(sim, "a gateway is not in step at rest");
        model_store_hash(sim->store, "conns", slice_text(sim->places[i].id), &count);
        if (count != model_gateway_connections(sim->places[i].gateway))
            violation(sim, "conns: %zu, the gateway has %zu", count,
                      model_gateway_connections(sim->places[i].gateway));
    }
    for (unsigned user = 0; user < USERS; user++)
        if (slice_is(model_store_field(sim->store, "user", slice_text(user_name(user)),
                                       slice_text("status")),
                     "offline"))
            violation(sim, "u%u is connected and offline", user);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void run(struct sim *sim, uint64_t seed, size_t steps)
{
    start(sim, seed, steps);
    for (sim->step = 0; sim->step < steps; sim->step++)
        step(sim);
    come_to_rest(sim);
    check_rest(sim);
}

/* The engine is a function of its input: nothing in it depends on addresses or clocks. */
static void the_same_seed_ends_the_same(void **state)
{
    static struct sim sim;
    uint64_t digests[2];

    (void)state;
    running = &sim;
    for (int i = 0; i < 2; i++) {
        run(&sim, setting("ENGINE_SEED", 1), 100);
        digests[i] = model_store_digest(sim.store);
        finish(&sim);
    }
    running = NULL;
    assert_true(digests[0] == digests[1]);
}

static void random_runs_keep_the_invariants(void **state)
{
    uint64_t first = setting("ENGINE_SEED", 1), runs = setting("ENGINE_RUNS", 250);
    size_t steps = setting("ENGINE_STEPS", 160), checked = 0, sent = 0;
    static struct sim sim;

    (void)state;
    running = &sim;
    for (uint64_t seed = first; seed < first + runs; seed++) {
        run(&sim, seed, steps);
        checked += sim.recipients_checked;
        sent += sim.sent_count;
        finish(&sim);
    }
    running = NULL;
    print_message("%zu direct messages, %zu publishes counted\n", sent, checked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_ends_the_same),
        cmocka_unit_test(random_runs_keep_the_invariants),
    };

    signal(SIGABRT, on_abort);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
