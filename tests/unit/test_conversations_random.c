/*
 * A random world of conversations, from a seed: three partitions, each with one router at a time,
 * over one model of Redis; two gateways, five users who write to each other and in a group, change,
 * mark, and follow their events with up to two devices each. Routers and gateways are killed at any
 * moment, commits run late, entries are lost or come twice. Every event comes to every follower
 * once and in order, or is what he has done; at rest every message is where it belongs.
 *
 *     ENGINE_SEED=n    begins with this seed (1)
 *     ENGINE_RUNS=n    so many runs (60)
 *     ENGINE_STEPS=n   of so many steps (150)
 */
#include "common/xalloc.h"
#include "tests/unit/chance.h"
#include "tests/unit/engine_world.h"
#include "tests/unit/model_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define USERS 5
#define DEVICES 2
/* These follow from the beginning; the others begin at some time, with a mailbox. */
#define EARLY_USERS 2
/* Has messages only. */
#define PLAIN_USER (USERS - 1)
#define PLACES 2
#define PARTS WORLD_PARTITIONS
#define SENT_MAX 400
#define EVENTS_MAX 4000
#define LATE_MAX 12
#define NONE ((struct slice){0})
#define GROUP "group:g"
/* Of all that is asked. */
#define REQUEST 1

/* A gateway as each partition knows it. */
struct place {
    struct model_gateway *gateways[PARTS];
    uint64_t sent_ms[PARTS], waiting_ms[PARTS];
    char id[40];
    size_t life;
};

struct device {
    struct place *place; /* NULL: not connected */
    size_t life;         /* of the place */
    uint64_t connection;
    uint64_t asked_step; /* when it asked to follow */
    bool echo;
};

struct sent {
    unsigned from;
    int to; /* -1: the group */
    bool direct, taken;
    struct place *by;
    size_t life;
    uint64_t partition, connection; /* connection: of his device that writes it, or 0 */
};

/* What an event of a user was when it came first. */
struct seen_event {
    uint64_t kind, message;
    char chat[16];
};

struct router {
    struct engine_world *world;
    struct model_commit *flying;
    struct model_commit *late[LATE_MAX];
    size_t late_count;
};

struct late_entry {
    char gateway[40];
    uint32_t partition;
    uint64_t number;
    struct buffer frames;
};

struct sim {
    struct chance chance;
    size_t steps, born;
    struct engine_limits limits;
    struct router routers[PARTS];
    struct place places[PLACES];
    struct device devices[USERS][DEVICES];
    uint64_t last_event[USERS]; /* what its client would ask to follow after */
    struct seen_event seen[USERS][EVENTS_MAX];
    struct sent sent[SENT_MAX];
    size_t sent_count, events, done;
    struct late_entry late[LATE_MAX];
    size_t late_count;
};

static const char *const names[USERS] = {"u0", "u1", "u2", "u3", "u4"};

/* ---- names and places ---- */

static uint32_t home_of(unsigned user)
{
    return partition_of(world_deployment_wide(), slice_text(names[user]));
}

static struct slice chat_of(int to)
{
    return slice_text(to < 0 ? GROUP : names[to]);
}

static uint32_t chat_home(unsigned from, int to)
{
    return partition_of_chat(world_deployment_wide(), slice_text(names[from]), chat_of(to));
}

static struct model_store *store_of(struct sim *sim, uint32_t partition)
{
    return world_store(sim->routers[partition].world);
}

static uint64_t now_ms(struct sim *sim)
{
    return model_store_time(store_of(sim, 0));
}

static size_t message_index(const struct sim *sim, struct slice id)
{
    size_t index = 0;

    for (size_t i = 1; i < id.length; i++)
        index = index * 10 + (size_t)(id.data[i] - '0');
    if (id.length < 2 || index >= sim->sent_count)
        chance_fail(&sim->chance, "a message nobody sent: %.*s", (int)id.length, id.data);
    return index;
}

/* ---- what gateways tell ---- */

static struct device *device_at(struct sim *sim, const struct model_gateway *gateway,
                                uint64_t connection, unsigned *user)
{
    for (*user = 0; *user < USERS; ++*user)
        for (unsigned n = 0; n < DEVICES; n++) {
            struct device *device = &sim->devices[*user][n];

            if (device->place && device->place->gateways[home_of(*user)] == gateway &&
                device->connection == connection)
                return device;
        }
    return NULL;
}

static void on_taken(void *arg, struct model_gateway *gateway, uint64_t connection, struct slice id,
                     struct number number)
{
    struct sim *sim = arg;
    unsigned user;

    (void)number;
    if (device_at(sim, gateway, connection, &user) == NULL || user != PLAIN_USER)
        chance_fail(&sim->chance, "%.*s was written as a message to one who follows",
                    (int)id.length, id.data);
    sim->sent[message_index(sim, id)].taken = true;
}

static void on_taken_event(void *arg, struct model_gateway *gateway, uint64_t connection,
                           uint64_t event)
{
    struct sim *sim = arg;
    unsigned user;

    if (device_at(sim, gateway, connection, &user) == NULL)
        return;
    sim->events++;
    if (event > sim->last_event[user])
        sim->last_event[user] = event;
}

static uint64_t field_u64(const struct engine_page_entry *entry, const char *name)
{
    struct number number = {0};

    return number_parse(model_entry_field(entry, name), &number) < 0 ? 0 : number.epoch;
}

/* He did it himself: on this connection, or, with 0, on any. */
static bool is_own(struct sim *sim, unsigned user, const struct engine_page_entry *event,
                   uint64_t connection)
{
    struct slice body = model_entry_field(event, "body");
    uint64_t by = 0;

    if (!slice_is(model_entry_field(event, "from"), names[user]))
        return false;
    if (slice_is(model_entry_field(event, "kind"), "1"))
        by = slice_is(body, "body") ? 0 : sim->sent[message_index(sim, body)].connection;
    else if (slice_is(model_entry_field(event, "kind"), "2"))
        by = strtoull(body.data + 1, NULL, 10);
    else /* a deletion does not say it */
        return slice_is(model_entry_field(event, "kind"), "3");
    return by != 0 && (connection == 0 || by == connection);
}

static void on_done_event(void *arg, struct model_gateway *gateway, uint64_t connection,
                          const struct frame_event_done *done)
{
    struct sim *sim = arg;
    unsigned user;
    size_t count;
    const struct engine_page_entry *events;

    if (device_at(sim, gateway, connection, &user) == NULL)
        return;
    events = model_store_journal(store_of(sim, home_of(user)), "events", slice_text(names[user]),
                                 &count);
    if (done->event > count || !is_own(sim, user, &events[done->event - 1], connection) ||
        field_u64(&events[done->event - 1], "message") != done->message || done->request != REQUEST)
        chance_fail(&sim->chance, "event %d of u%u is not what connection %d did", (int)done->event,
                    user, (int)connection);
    sim->done++;
}

static void on_refused(void *arg, struct model_gateway *gateway, uint64_t connection)
{
    const struct sim *sim = arg;

    (void)gateway, (void)connection;
    chance_fail(&sim->chance, "a connection was refused");
}

static unsigned user_of(struct sim *sim, struct slice name)
{
    for (unsigned user = 0; user < USERS; user++)
        if (slice_is(name, names[user]))
            return user;
    chance_fail(&sim->chance, "nobody is called %.*s", (int)name.length, name.data);
    return 0;
}

/* An event is the same whenever it is told, and to whichever of its user's connections. */
static void meet(struct sim *sim, const char *user, const struct frame_event_delivery *event)
{
    struct seen_event *seen;

    if (event->event >= EVENTS_MAX)
        chance_fail(&sim->chance, "too many events: the test is wrong");
    seen = &sim->seen[user_of(sim, slice_text(user))][event->event];
    if (seen->kind == 0) {
        seen->kind = event->kind;
        seen->message = event->message;
        snprintf(seen->chat, sizeof(seen->chat), "%.*s", (int)event->chat.length, event->chat.data);
    }
    if (seen->kind != event->kind || seen->message != event->message ||
        !slice_is(event->chat, seen->chat))
        chance_fail(&sim->chance, "event %d of %s is not what it was", (int)event->event, user);
}

static void on_heard(void *arg, struct model_gateway *gateway, const struct frame *frame)
{
    const struct frame_event_delivery *event = &frame->event_delivery;

    if (frame->type != FRAME_EVENT_DELIVERY)
        return;
    for (size_t i = 0; i < event->connections.count; i++) {
        const char *user = model_gateway_user(gateway, event->connections.values[i]);

        if (user != NULL)
            meet(arg, user, event);
    }
}

static void on_wrong(void *arg, const char *what)
{
    const struct sim *sim = arg;

    chance_fail(&sim->chance, "%s", what);
}

static void bear_place(struct sim *sim, struct place *place)
{
    const struct model_listener listener = {
        .arg = sim,
        .taken = on_taken,
        .taken_event = on_taken_event,
        .done_event = on_done_event,
        .refused = on_refused,
        .heard = on_heard,
        .wrong = on_wrong,
    };
    size_t life = place->life + 1;

    sim->born++;
    *place = (struct place){.life = life};
    snprintf(place->id, sizeof(place->id), "g%zu-%016zx", sim->born, 0x100 + sim->born);
    for (uint32_t p = 0; p < PARTS; p++) {
        place->gateways[p] = model_gateway_create(store_of(sim, p), place->id, &listener);
        place->sent_ms[p] = now_ms(sim);
    }
}

static void kill_place(struct sim *sim, struct place *place)
{
    struct place dead = *place;

    for (unsigned user = 0; user < USERS; user++)
        for (unsigned n = 0; n < DEVICES; n++)
            if (sim->devices[user][n].place == place)
                sim->devices[user][n] = (struct device){0};
    bear_place(sim, place);
    for (uint32_t p = 0; p < PARTS; p++)
        model_gateway_destroy(&dead.gateways[p]);
}

/* ---- clients ---- */

static void connect_device(struct sim *sim, unsigned user, struct device *device)
{
    struct place *place = &sim->places[chance_below(&sim->chance, PLACES)];
    bool plain = user == PLAIN_USER;
    struct model_gateway *gateway = place->gateways[home_of(user)];

    *device = (struct device){.place = place,
                              .life = place->life,
                              .asked_step = sim->chance.step,
                              .echo = chance_of(&sim->chance, 30)};
    device->connection = model_gateway_open(
        gateway, names[user], plain ? 0 : CONNECTION_FLAG_EVENTS | CONNECTION_FLAG_HIDDEN);
    if (!plain)
        model_gateway_follow(gateway, device->connection, sim->last_event[user], device->echo);
}

static void disconnect_device(unsigned user, struct device *device)
{
    struct device gone = *device;

    *device = (struct device){0};
    model_gateway_close(gone.place->gateways[home_of(user)], gone.connection);
}

static void say(struct place *place, uint32_t partition, struct frame frame)
{
    model_gateway_say(place->gateways[partition], &frame);
}

/* The connection of a device of his at this place that does what is done now; 0: none of his. */
static uint64_t acting(struct sim *sim, unsigned user, const struct place *place)
{
    const struct device *device = &sim->devices[user][chance_below(&sim->chance, DEVICES)];

    return user != PLAIN_USER && device->place == place ? device->connection : 0;
}

static void write_message(struct sim *sim, unsigned user, struct place *place)
{
    struct sent *sent = &sim->sent[sim->sent_count];
    char text[24];
    struct slice id;

    /* What a message says is its id. */
    if (sim->sent_count == SENT_MAX)
        return;
    *sent = (struct sent){.from = user,
                          .to = (int)chance_below(&sim->chance, USERS + 1) - 1,
                          .by = place,
                          .life = place->life,
                          .connection = acting(sim, user, place)};
    if (sent->to == (int)user)
        sent->to = -1;
    sent->direct = sent->to >= 0 && chance_of(&sim->chance, 40);
    sent->partition = sent->direct ? home_of((unsigned)sent->to) : chat_home(user, sent->to);
    id = slice_print(text, sizeof(text), "m%zu", sim->sent_count++);
    if (sent->direct)
        say(place, (uint32_t)sent->partition,
            (struct frame){.type = FRAME_DIRECT_MESSAGE,
                           .direct_message = {.from = slice_text(names[user]),
                                              .to = chat_of(sent->to),
                                              .id = id,
                                              .retry = chance_of(&sim->chance, 50),
                                              .body = slice_text("body")}});
    else
        say(place, (uint32_t)sent->partition,
            (struct frame){.type = FRAME_CONVERSATION_POST,
                           .conversation_post = {.from = slice_text(names[user]),
                                                 .chat = chat_of(sent->to),
                                                 .id = id,
                                                 .connection = sent->connection,
                                                 .request = REQUEST,
                                                 .retry = chance_of(&sim->chance, 50),
                                                 .body = id}});
}

static void mark_or_change(struct sim *sim, unsigned user, struct place *place)
{
    int to = (int)chance_below(&sim->chance, USERS + 1) - 1;
    uint64_t message = 1 + chance_below(&sim->chance, 30), by = acting(sim, user, place);
    char text[24];

    if (to == (int)user)
        return;
    if (chance_of(&sim->chance, 60))
        say(place, chat_home(user, to),
            (struct frame){.type = FRAME_CONVERSATION_MARK,
                           .conversation_mark = {.from = slice_text(names[user]),
                                                 .chat = chat_of(to),
                                                 .mark = 1 + chance_below(&sim->chance, 2),
                                                 .message = message}});
    else
        say(place, chat_home(user, to),
            (struct frame){.type = FRAME_CONVERSATION_CHANGE,
                           .conversation_change = {.connection = by,
                                                   .request = REQUEST,
                                                   .from = slice_text(names[user]),
                                                   .chat = chat_of(to),
                                                   .change = 1 + chance_below(&sim->chance, 2),
                                                   .message = message,
                                                   .body = slice_print(text, sizeof(text), "c%llu",
                                                                       (unsigned long long)by)}});
}

static bool may_connect(const struct sim *sim, unsigned user)
{
    return user < EARLY_USERS || user == PLAIN_USER || sim->chance.calm ||
           sim->chance.step > sim->steps / 3;
}

static void step_device(struct sim *sim, unsigned user, unsigned n)
{
    struct device *device = &sim->devices[user][n];
    struct model_gateway *gateway;

    if (device->place == NULL) {
        if (may_connect(sim, user) && chance_of(&sim->chance, sim->chance.calm ? 100 : 15))
            connect_device(sim, user, device);
        return;
    }
    gateway = device->place->gateways[home_of(user)];
    /* The answer is lost when its gateway announced itself at that moment: clients ask again. */
    if (user != PLAIN_USER && !model_gateway_follows(gateway, device->connection) &&
        sim->chance.step > device->asked_step + 40) {
        device->asked_step = sim->chance.step;
        model_gateway_follow(gateway, device->connection, sim->last_event[user], device->echo);
    }
    if (chance_rarely(&sim->chance, 150))
        disconnect_device(user, device);
}

static void step_clients(struct sim *sim)
{
    for (unsigned user = 0; user < USERS; user++) {
        struct place *place = &sim->places[chance_below(&sim->chance, PLACES)];

        for (unsigned n = 0; n < DEVICES; n++)
            step_device(sim, user, n);
        if (!sim->chance.calm && chance_of(&sim->chance, 12))
            write_message(sim, user, place);
        if (!sim->chance.calm && chance_of(&sim->chance, 8))
            mark_or_change(sim, user, place);
    }
}

/* ---- gateways ---- */

static enum model_fate pick_fate(struct sim *sim)
{
    if (chance_rarely(&sim->chance, 200))
        return FATE_REFUSED;
    if (chance_rarely(&sim->chance, 200))
        return FATE_ANSWER_LOST;
    if (chance_rarely(&sim->chance, 150) && sim->late_count < LATE_MAX)
        return FATE_LATE;
    return FATE_SENT;
}

static void send_one(struct sim *sim, struct place *place, uint32_t p)
{
    enum model_fate fate = pick_fate(sim);
    uint64_t number;
    const struct buffer *frames = model_gateway_next(place->gateways[p], &number);

    if (frames == NULL)
        return;
    if (fate == FATE_LATE) {
        struct late_entry *late = &sim->late[sim->late_count++];

        *late = (struct late_entry){.partition = p, .number = number};
        memcpy(late->gateway, place->id, sizeof(place->id));
        buffer_append_slice(&late->frames, buffer_slice(frames));
    }
    if (fate == FATE_SENT || fate == FATE_ANSWER_LOST)
        model_store_add_input(store_of(sim, p), slice_text(place->id), number,
                              buffer_slice(frames));
    model_gateway_sent(place->gateways[p], fate);
    place->sent_ms[p] = now_ms(sim);
}

static uint64_t always(void *arg)
{
    (void)arg;
    return 1;
}

static void step_gateway(struct sim *sim, struct place *place, uint32_t p)
{
    struct model_gateway *gateway = place->gateways[p];
    uint64_t now = now_ms(sim);

    if (sim->chance.calm || chance_of(&sim->chance, 70))
        model_gateway_read(gateway,
                           sim->chance.calm ? SIZE_MAX : 1 + chance_below(&sim->chance, 8));
    if (sim->chance.calm || chance_of(&sim->chance, 80))
        model_gateway_write(gateway,
                            sim->chance.calm ? SIZE_MAX : 1 + chance_below(&sim->chance, 4),
                            sim->chance.calm ? always : chance_draw, &sim->chance);
    if (sim->chance.calm || chance_of(&sim->chance, 40))
        model_gateway_report(gateway, false);
    if (now > place->sent_ms[p] + 2000) {
        model_gateway_report(gateway, true);
        model_gateway_say(gateway, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    }
    if (model_gateway_in_step(gateway)) {
        place->waiting_ms[p] = now;
        if (chance_rarely(&sim->chance, 60))
            model_gateway_announce(gateway, 1 + chance_below(&sim->chance, 2));
    } else if (now > place->waiting_ms[p] + 3000) {
        place->waiting_ms[p] = now;
        model_gateway_announce(gateway, 1 + chance_below(&sim->chance, 2));
    }
    if (sim->chance.calm || chance_of(&sim->chance, 80))
        send_one(sim, place, p);
}

/* ---- routers ---- */

static void give_up(struct router *router, bool will_run)
{
    world_drop(router->world);
    if (will_run && router->flying && router->late_count < LATE_MAX)
        router->late[router->late_count++] = router->flying;
    else
        model_commit_destroy(&router->flying);
    router->flying = NULL;
}

static void fly(struct sim *sim, struct router *router)
{
    enum model_result result;

    if (chance_rarely(&sim->chance, 300)) {
        give_up(router, true);
        return;
    }
    if (chance_rarely(&sim->chance, 200))
        return; /* not run, and we know it: sent again */
    result = model_store_run(world_store(router->world), router->flying);
    if (result != MODEL_OK && result != MODEL_DONE)
        chance_fail(&sim->chance, "the owner's commit was refused: %d, %s", (int)result,
                    model_store_problem(world_store(router->world)));
    if (chance_rarely(&sim->chance, 200))
        return; /* its answer is lost: sent again */
    if (chance_rarely(&sim->chance, 150)) {
        give_up(router, true);
        return;
    }
    model_commit_destroy(&router->flying);
    world_ask_pages(router->world);
}

static void step_router(struct sim *sim, struct router *router)
{
    static const size_t batches[] = {1, 1, 3, 50};

    if (world_engine(router->world) == NULL) {
        if (chance_of(&sim->chance, 50))
            world_take(router->world);
        return;
    }
    if (chance_rarely(&sim->chance, 150)) {
        give_up(router, chance_of(&sim->chance, 30));
        return;
    }
    if (router->flying == NULL) {
        world_hold_pages(router->world, !sim->chance.calm && chance_of(&sim->chance, 30));
        if (chance_of(&sim->chance, 20))
            engine_trim_users(world_engine(router->world), chance_below(&sim->chance, 3));
        world_tick(router->world);
        router->flying = world_turn(router->world, batches[chance_below(&sim->chance, 4)],
                                    chance_of(&sim->chance, 3));
    }
    if (router->flying != NULL)
        fly(sim, router);
}

static void step_late(struct sim *sim)
{
    for (uint32_t p = 0; p < PARTS; p++) {
        struct router *router = &sim->routers[p];

        if (router->late_count == 0 || !chance_of(&sim->chance, 30))
            continue;
        if (model_store_run(world_store(router->world), router->late[--router->late_count]) ==
            MODEL_FAILED)
            chance_fail(&sim->chance, "an effect failed: %s",
                        model_store_problem(world_store(router->world)));
        model_commit_destroy(&router->late[router->late_count]);
    }
    if (sim->late_count && chance_of(&sim->chance, 20)) {
        struct late_entry *late = &sim->late[--sim->late_count];

        model_store_add_input(store_of(sim, late->partition), slice_text(late->gateway),
                              late->number, buffer_slice(&late->frames));
        buffer_finish(&late->frames);
    }
}

/* ---- a run ---- */

static void step(struct sim *sim, uint64_t ms)
{
    model_store_set_time(store_of(sim, 0), now_ms(sim) + ms);
    for (uint32_t p = 0; p < PARTS; p++)
        for (int i = 0; i < 3; i++)
            step_router(sim, &sim->routers[p]);
    for (size_t i = 0; i < PLACES; i++)
        for (uint32_t p = 0; p < PARTS; p++)
            step_gateway(sim, &sim->places[i], p);
    step_late(sim);
    step_clients(sim);
    if (chance_rarely(&sim->chance, 60))
        kill_place(sim, &sim->places[chance_below(&sim->chance, PLACES)]);
}

static void make_group(struct sim *sim)
{
    say(&sim->places[0], chat_home(0, -1),
        (struct frame){.type = FRAME_GROUP_CHANGE,
                       .group_change = {.from = slice_text(names[0]),
                                        .chat = slice_text(GROUP),
                                        .change = GROUP_CREATE,
                                        .members = slice_text("u1\nu2\nu3\nu4\n")}});
}

static void start(struct sim *sim, uint64_t seed, size_t steps)
{
    memset(sim, 0, sizeof(*sim));
    sim->steps = steps;
    chance_start(&sim->chance, seed);
    sim->limits = (struct engine_limits){
        .gateway_death_ms = 15000,
        .presence_grace_ms = 2000,
        .mailbox_messages = 100000,
        .mailbox_bytes = 1 << 24,
        .mailbox_ms = 30ULL * 24 * 3600 * 1000,
        .user_connections = 64,
        .window_messages = 2 + chance_below(&sim->chance, 5),
        .window_bytes = 1 << 18,
        .output_bytes = chance_of(&sim->chance, 30) ? 600 : 1 << 24,
        .conversation_messages = 10000,
        .group_members = 10,
        .events = 10000,
    };
    sim->routers[0].world = world_create_wide(&sim->limits, 1700000000000);
    for (uint32_t p = 1; p < PARTS; p++)
        sim->routers[p].world = world_create_beside(sim->routers[0].world, p);
    for (size_t i = 0; i < PLACES; i++)
        bear_place(sim, &sim->places[i]);
    /* The first users follow before anything happens. */
    sim->chance.calm = true;
    make_group(sim);
    for (unsigned user = 0; user < EARLY_USERS; user++)
        connect_device(sim, user, &sim->devices[user][0]);
    for (int i = 0; i < 20; i++)
        for (uint32_t p = 0; p < PARTS; p++) {
            step_router(sim, &sim->routers[p]);
            for (size_t place = 0; place < PLACES; place++)
                step_gateway(sim, &sim->places[place], p);
        }
    sim->chance.calm = false;
}

static void finish(struct sim *sim)
{
    for (size_t i = 0; i < PLACES; i++)
        for (uint32_t p = 0; p < PARTS; p++)
            model_gateway_destroy(&sim->places[i].gateways[p]);
    while (sim->late_count)
        buffer_finish(&sim->late[--sim->late_count].frames);
    for (uint32_t p = 0; p < PARTS; p++) {
        struct router *router = &sim->routers[p];

        while (router->late_count)
            model_commit_destroy(&router->late[--router->late_count]);
        model_commit_destroy(&router->flying);
        world_destroy(&router->world);
    }
}

static void come_to_rest(struct sim *sim)
{
    sim->chance.calm = true;
    for (int i = 0; i < 400; i++) {
        sim->chance.step++;
        step(sim, 20);
    }
    for (uint64_t ms = 0; ms < 60000; ms += 1500)
        step(sim, 1500);
    for (int i = 0; i < 40; i++)
        step(sim, 20);
}

/* ---- what must hold at rest ---- */

/* The log of a conversation of this user. */
static const struct engine_page_entry *log_of(struct sim *sim, unsigned user, int to, size_t *count)
{
    struct buffer name = {0};
    const struct engine_page_entry *entries;

    conversation_name(&name, slice_text(names[user]), chat_of(to));
    entries =
        model_store_journal(store_of(sim, chat_home(user, to)), "log", buffer_slice(&name), count);
    buffer_finish(&name);
    return entries;
}

static void check_log(struct sim *sim, unsigned user, int to, size_t *found)
{
    size_t count;
    const struct engine_page_entry *entries = log_of(sim, user, to, &count);

    for (size_t i = 0; i < count; i++) {
        size_t index = message_index(sim, model_entry_field(&entries[i], "id"));

        if (entries[i].number.epoch != i + 1)
            chance_fail(&sim->chance, "message %zu of a conversation is number %d", i + 1,
                        (int)entries[i].number.epoch);
        if (found[index]++)
            chance_fail(&sim->chance, "m%zu is in a log twice", index);
    }
}

static void check_messages(struct sim *sim)
{
    static size_t found[SENT_MAX];

    memset(found, 0, sizeof(found));
    for (unsigned user = 0; user < USERS; user++)
        for (int to = -1; to < (int)user; to++)
            if (to >= 0 || user == 0)
                check_log(sim, user, to, found);
    for (size_t i = 0; i < sim->sent_count; i++) {
        const struct sent *sent = &sim->sent[i];
        bool plain = sent->direct && sent->to == PLAIN_USER;

        if (plain ? found[i] : sent->life == sent->by->life && !found[i])
            chance_fail(&sim->chance, "m%zu from u%u to %d: %s", i, sent->from, sent->to,
                        plain ? "in a dialog that nobody needs" : "not in its log");
        if ((sent->to == PLAIN_USER || (sent->to < 0 && sent->from != PLAIN_USER)) &&
            !sent->taken && (found[i] || (plain && sent->life == sent->by->life)))
            chance_fail(&sim->chance, "m%zu from u%u to %d was never received", i, sent->from,
                        sent->to);
    }
}

/* The user's own events of one chat: each of its messages once, in order; marks rise. */
static void check_chat(struct sim *sim, unsigned user, int to,
                       const struct engine_page_entry *events, size_t event_count)
{
    uint64_t next = 1, marks[USERS][8] = {{0}};
    size_t count;
    const struct engine_page_entry *log = log_of(sim, user, to, &count);

    for (size_t i = 0; i < event_count; i++) {
        uint64_t kind = field_u64(&events[i], "kind"), message = field_u64(&events[i], "message");
        unsigned from = user_of(sim, event_from_read(model_entry_field(&events[i], "chat"),
                                                     model_entry_field(&events[i], "from")));

        if (!slice_equal(model_entry_field(&events[i], "chat"), chat_of(to)))
            continue;
        if (kind == EVENT_DELIVERED || kind == EVENT_READ) {
            if (message < marks[from][kind] || (to >= 0 && message == marks[from][kind]))
                chance_fail(&sim->chance, "u%u heard of a mark of u%u twice: %d", user, from,
                            (int)message);
            marks[from][kind] = message;
        }
        if (kind != EVENT_NEW)
            continue;
        /* One who began later has none of his own from before. */
        while (user >= EARLY_USERS && next < message && next <= count &&
               slice_is(model_entry_field(&log[next - 1], "from"), names[user]))
            next++;
        if (message != next++)
            chance_fail(&sim->chance, "I7: u%u in chat %d: message %d where %d was to come", user,
                        to, (int)message, (int)next - 1);
    }
    while (user >= EARLY_USERS && next <= count &&
           slice_is(model_entry_field(&log[next - 1], "from"), names[user]))
        next++;
    if (next != count + 1)
        chance_fail(&sim->chance, "u%u in chat %d has events to %d of %zu messages", user, to,
                    (int)next - 1, count);
}

static void check_events(struct sim *sim, unsigned user)
{
    struct model_store *store = store_of(sim, home_of(user));
    size_t count;
    const struct engine_page_entry *events =
        model_store_journal(store, "events", slice_text(names[user]), &count);
    struct slice newest =
        model_store_field(store, "user", slice_text(names[user]), slice_text("event"));
    struct number number = {0};

    if (number_parse(newest, &number) < 0 || number.epoch != count)
        chance_fail(&sim->chance, "u%u has %zu events, counted %.*s", user, count,
                    (int)newest.length, newest.data);
    for (size_t i = 0; i < count; i++)
        if (events[i].number.epoch != i + 1)
            chance_fail(&sim->chance, "I7: event %zu of u%u is number %d", i + 1, user,
                        (int)events[i].number.epoch);
    for (int to = -1; to < USERS; to++)
        if (to != (int)user)
            check_chat(sim, user, to, events, count);
    /* What he did himself last need not have come. */
    while (count > sim->last_event[user] && is_own(sim, user, &events[count - 1], 0))
        count--;
    if (sim->last_event[user] != count)
        chance_fail(&sim->chance, "u%u follows and has had %d of %zu events", user,
                    (int)sim->last_event[user], count);
}

static void check_key(void *arg, const char *key)
{
    const struct sim *sim = arg;

    if (strncmp(key, "mailbox:", 8) == 0 || strcmp(key, "dead") == 0)
        chance_fail(&sim->chance, "left behind: %s", key);
}

static void check_rest(struct sim *sim)
{
    check_messages(sim);
    for (unsigned user = 0; user < PLAIN_USER; user++)
        check_events(sim, user);
    model_store_each_key(store_of(sim, 0), check_key, sim);
    for (uint32_t p = 0; p < PARTS; p++) {
        size_t count;

        model_store_stream(store_of(sim, p), "in", NONE, &count);
        if (count)
            chance_fail(&sim->chance, "I6: `in` of partition %u is not empty", p);
    }
}

static void random_runs_keep_the_order(void **state)
{
    uint64_t first = chance_setting("ENGINE_SEED", 1), runs = chance_setting("ENGINE_RUNS", 60);
    size_t steps = chance_setting("ENGINE_STEPS", 150), sent = 0, events = 0, done = 0;
    static struct sim sim;

    (void)state;
    for (uint64_t seed = first; seed < first + runs; seed++) {
        start(&sim, seed, steps);
        for (sim.chance.step = 0; sim.chance.step < steps; sim.chance.step++)
            step(&sim, 1 + chance_below(&sim.chance, 50));
        come_to_rest(&sim);
        check_rest(&sim);
        sent += sim.sent_count;
        events += sim.events;
        done += sim.done;
        finish(&sim);
    }
    chance_end();
    print_message("%zu messages, %zu events taken, %zu of one's own only told\n", sent, events,
                  done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_keep_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
