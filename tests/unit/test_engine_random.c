/*
 * A random world around the engine, from a seed: three partitions that send each other work, each
 * with one router at a time, over a model of Redis; three gateways, eight users. Lost answers, late
 * and repeated commits, routers and gateways killed at any moment, gateways buried by mistake,
 * half-open clients. The invariants of delivery.md are looked at after each commit, and at the end
 * nothing may be lost or doubled.
 *
 *     ENGINE_SEED=n    begins with this seed (1)
 *     ENGINE_RUNS=n    so many runs (250)
 *     ENGINE_STEPS=n   of so many steps (160)
 */
#include "router/engine.h"

#include "common/xalloc.h"
#include "tests/unit/random_world.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- names ---- */

static struct slice message_id(size_t index, char text[24])
{
    return slice_print(text, 24, "m%zu", index);
}

/* The place's line to the partition that is spoken of. */
static bool device_keeps(unsigned user, unsigned device)
{
    return keeps_unread(user) && (user != MIXED_KEEP_USER || device == 0);
}

static bool acknowledges(unsigned user, unsigned device)
{
    return user >= FIRST_ACK_USER || (user == MIXED_USER && device == 0);
}

static bool alive(const struct sim *sim, const struct model_gateway *gateway)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        for (size_t j = 0; j < PARTITIONS; j++)
            if (sim->places[i].lines[j].gateway == gateway)
                return true;
    return false;
}

static struct place *place_of(struct sim *sim, const struct model_gateway *gateway)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        for (size_t j = 0; j < PARTITIONS; j++)
            if (sim->places[i].lines[j].gateway == gateway)
                return &sim->places[i];
    return NULL;
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
        chance_fail(&sim->chance, "order: m%zu after m%zu", index, *last - 1);
    if (*last == index + 1)
        chance_fail(&sim->chance, "twice on one connection: m%zu", index);
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
        chance_fail(&sim->chance, "m%zu was written to a connection that nobody has", index);
    note_order(sim, device, index);
    /* One who keeps reads what he has: of that too there is a word. */
    if (device->flags & (CONNECTION_FLAG_ACK | CONNECTION_FLAG_KEEP))
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

/* S9: what was dropped is told once. A gateway hears of it for all of the sender's connections. */
static void note_told(struct sim *sim, struct model_gateway *gateway,
                      const struct frame_message_status *status)
{
    struct sent *sent = &sim->sent[message_index(sim, status->id)];
    const struct place *place = place_of(sim, gateway);

    if (!sent->tells || status->status != DIRECT_DISCARDED ||
        !slice_is(status->to, user_name(sent->to)))
        chance_fail(&sim->chance, "told of a message that nobody wanted to hear of");
    for (size_t i = 0; i < sent->told; i++)
        if (sent->told_at[i] == place)
            chance_fail(&sim->chance, "S9: told twice: %.*s", (int)status->id.length,
                        status->id.data);
    if (sent->told < GATEWAYS + 1)
        sent->told_at[sent->told++] = place;
    sim->told++;
}

static void on_heard(void *arg, struct model_gateway *gateway, const struct frame *frame)
{
    struct sim *sim = arg;

    if (frame->type == FRAME_MESSAGE_STATUS)
        note_told(sim, gateway, &frame->message_status);
    if (frame->type == FRAME_DIRECT_REPLY)
        sim->sent[message_index(sim, frame->direct_reply.id)].replied = true;
}

static void on_wrong(void *arg, const char *what)
{
    const struct sim *sim = arg;

    chance_fail(&sim->chance, "%s", what);
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
    *place = (struct place){0};
    snprintf(place->id, sizeof(place->id), "g%zu-%016zx", sim->born, 0x100 + sim->born);
    for (size_t i = 0; i < PARTITIONS; i++)
        place->lines[i] = (struct line){
            .gateway = model_gateway_create(sim->sides[i].store, place->id, &listener),
            .sent_ms = model_store_time(sim->sides[i].store),
        };
}

/* ---- clients ---- */

static struct place *pick_place(struct sim *sim)
{
    return &sim->places[chance_below(&sim->chance, GATEWAYS)];
}

static uint64_t pick_flags(struct sim *sim, unsigned user, unsigned number)
{
    uint64_t flags = acknowledges(user, number) ? CONNECTION_FLAG_ACK : 0;

    /* All of a user's connections are in one slot here. */
    if (replaces(user) && chance_of(&sim->chance, 40))
        flags |= CONNECTION_FLAG_REPLACE;
    if (number && chance_of(&sim->chance, 20))
        flags |= CONNECTION_FLAG_HIDDEN;
    if (!keeps_unread(user))
        return flags;
    if (chance_of(&sim->chance, 10))
        flags |= CONNECTION_FLAG_ACK;
    return device_keeps(user, number) ? flags | CONNECTION_FLAG_KEEP : flags;
}

static void connect_device(struct sim *sim, unsigned user, unsigned number)
{
    struct device *device = &sim->devices[user][number];
    struct place *place = pick_place(sim);
    struct model_gateway *gateway = place->lines[partition_of_user(user)].gateway;

    *device = (struct device){.place = place, .gateway = gateway, .serial = ++sim->serials};
    device->flags = pick_flags(sim, user, number);
    device->connection = model_gateway_open(gateway, user_name(user), device->flags);
    if (chance_of(&sim->chance, 50))
        model_gateway_subscribe(
            gateway, device->connection, (unsigned)chance_below(&sim->chance, 8),
            chance_of(&sim->chance, 50) ? (unsigned)chance_below(&sim->chance, 8) : 0);
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
        chance_fail(&sim->chance, "too many zombies: the test is wrong");
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
    uint64_t policy = chance_of(&sim->chance, 20) ? DELIVERY_DISCARD + chance_below(&sim->chance, 2)
                                                  : DELIVERY_STORE;
    uint64_t ttl_ms = chance_of(&sim->chance, 10) ? 500 + chance_below(&sim->chance, 5000) : 0;
    struct sent *sent = &sim->sent[sim->sent_count];

    if (sim->sent_count == SENT_MAX)
        return;
    *sent = (struct sent){
        .from = user,
        .to = (unsigned)chance_below(&sim->chance, USERS),
        .serial = device->serial,
        .retry = chance_of(&sim->chance, 50),
        .keeps = policy == DELIVERY_STORE && ttl_ms == 0 && !sim->forgetful,
        .tells = policy == DELIVERY_DISCARD_AND_TELL,
        .first_ms = model_store_time(sim->side->store),
    };
    sent->by = device->place->lines[partition_of_user(sent->to)].gateway;
    say_message(sim, sent->by, device->connection, sim->sent_count++, policy, ttl_ms);
}

static void send_publish(struct sim *sim, unsigned user, struct device *device)
{
    unsigned topic = (unsigned)chance_below(&sim->chance, MODEL_TOPICS);
    bool matches = model_gateway_matches(device->gateway, device->connection, topic);

    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_TOPIC_PUBLISH,
                                      .topic_publish = {.connection = device->connection,
                                                        .request = chance_draw(&sim->chance) | 1,
                                                        .from = slice_text(user_name(user)),
                                                        .topic = slice_text(model_topics[topic]),
                                                        .id = slice_text("p"),
                                                        .matches = matches,
                                                        .echo = chance_of(&sim->chance, 30)}});
}

static void say_read(unsigned user, const struct device *device, size_t index)
{
    char text[24];

    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_MESSAGE_READ,
                                      .message_read = {.connection = device->connection,
                                                       .user = slice_text(user_name(user)),
                                                       .id = message_id(index, text)}});
}

static void acknowledge(unsigned user, const struct device *device, size_t index)
{
    char text[24];

    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_MESSAGE_ACK,
                                      .message_ack = {.connection = device->connection,
                                                      .user = slice_text(user_name(user)),
                                                      .id = message_id(index, text)}});
}

/* His word about one that he has: acknowledged, or, of one who keeps, read; some do both. */
static void say_ack(struct sim *sim, unsigned user, struct device *device)
{
    size_t at = sim->in_order ? 0 : chance_below(&sim->chance, device->unacked_count);
    size_t index = device->unacked[at];
    bool reads = device->flags & CONNECTION_FLAG_KEEP;

    if (device->flags & CONNECTION_FLAG_ACK)
        acknowledge(user, device, index);
    if (reads && device->flags & CONNECTION_FLAG_ACK && chance_rarely(&sim->chance, 5000))
        return;
    if (reads)
        say_read(user, device, index);
    sim->sent[index].acked |= reads || !keeps_unread(user);
    device->unacked_count--;
    memmove(&device->unacked[at], &device->unacked[at + 1],
            (device->unacked_count - at) * sizeof(device->unacked[0]));
}

static void set_presence(unsigned user, struct device *device)
{
    model_gateway_say(device->gateway,
                      &(struct frame){.type = FRAME_PRESENCE_SET,
                                      .presence_set = {.connection = device->connection,
                                                       .user = slice_text(user_name(user)),
                                                       .status = slice_text("away")}});
}

static bool is_marked(struct sim *sim, unsigned user)
{
    speak_of(sim, partition_of_user(user));
    return model_store_field(sim->side->store, "user", slice_text(user_name(user)),
                             slice_text("keep"))
               .length > 0;
}

static void step_device(struct sim *sim, unsigned user, unsigned number)
{
    struct device *device = &sim->devices[user][number];

    if (device->gateway == NULL) {
        if (keeps_unread(user) && !device_keeps(user, number) && !is_marked(sim, user))
            return;
        if (chance_of(&sim->chance, number ? 5 : 20))
            connect_device(sim, user, number);
        return;
    }
    if (device->unacked_count && chance_of(&sim->chance, 30))
        say_ack(sim, user, device);
    if (chance_of(&sim->chance, 12))
        send_direct(sim, user, device);
    if (chance_of(&sim->chance, 4))
        send_publish(sim, user, device);
    if (chance_of(&sim->chance, 2))
        set_presence(user, device);
    if (chance_of(&sim->chance, 2))
        model_gateway_subscribe(device->gateway, device->connection,
                                (unsigned)chance_below(&sim->chance, 8),
                                (unsigned)chance_below(&sim->chance, 8));
    if (chance_rarely(&sim->chance, 150))
        disconnect_device(device);
    else if (chance_rarely(&sim->chance, 150))
        lose_device(sim, device);
}

static void step_clients(struct sim *sim)
{
    for (unsigned user = 0; user < USERS; user++)
        for (unsigned number = 0; number < DEVICES; number++)
            step_device(sim, user, number);
    if (sim->zombie_count && (sim->zombie_count > 20 || chance_of(&sim->chance, 10)))
        end_zombie(sim, chance_below(&sim->chance, sim->zombie_count));
}

/* ---- gateways ---- */

static void keep_late_entry(struct sim *sim, const struct place *place, uint64_t number,
                            const struct buffer *frames)
{
    size_t at = sim->side->late_entry_count++;

    memcpy(sim->side->late_entries[at].gateway, place->id, sizeof(place->id));
    sim->side->late_entries[at].number = number;
    buffer_append_slice(&sim->side->late_entries[at].frames, buffer_slice(frames));
}

static void arrive_late(struct sim *sim, size_t at)
{
    size_t last = --sim->side->late_entry_count;

    model_store_add_input(sim->side->store, slice_text(sim->side->late_entries[at].gateway),
                          sim->side->late_entries[at].number,
                          buffer_slice(&sim->side->late_entries[at].frames));
    buffer_finish(&sim->side->late_entries[at].frames);
    sim->side->late_entries[at] = sim->side->late_entries[last];
    sim->side->late_entries[last].frames = (struct buffer){0};
}

static enum model_fate pick_fate(struct sim *sim)
{
    if (chance_rarely(&sim->chance, 200))
        return FATE_REFUSED;
    if (chance_rarely(&sim->chance, 200))
        return FATE_ANSWER_LOST;
    if (chance_rarely(&sim->chance, 100))
        return FATE_FORGOTTEN;
    if (sim->side->late_entry_count < LATE_MAX && chance_rarely(&sim->chance, 100))
        return FATE_LATE;
    return FATE_SENT;
}

static void send_one(struct sim *sim, struct place *place)
{
    enum model_fate fate = pick_fate(sim);
    uint64_t number;
    const struct buffer *frames = model_gateway_next(line_of(sim, place)->gateway, &number);

    if (frames == NULL)
        return;
    if (fate == FATE_LATE)
        keep_late_entry(sim, place, number, frames);
    if (fate == FATE_SENT || fate == FATE_ANSWER_LOST)
        model_store_add_input(sim->side->store, slice_text(place->id), number,
                              buffer_slice(frames));
    model_gateway_sent(line_of(sim, place)->gateway, fate);
    line_of(sim, place)->sent_ms = model_store_time(sim->side->store);
}

/* The nonce may have been lost with the chunks that a router had not put together. */
static void announce_again(struct sim *sim, struct line *line)
{
    uint64_t now = model_store_time(sim->side->store);

    if (model_gateway_in_step(line->gateway)) {
        line->waiting_since = now;
    } else if (now > line->waiting_since + 3000) {
        line->waiting_since = now;
        model_gateway_announce(line->gateway, 1 + chance_below(&sim->chance, 3));
    }
}

static void beat(struct line *line)
{
    model_gateway_report(line->gateway, true);
    model_gateway_say(line->gateway, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
}

static void step_gateway(struct sim *sim, struct place *place)
{
    uint64_t now = model_store_time(sim->side->store);
    struct line *line = line_of(sim, place);

    if (now < place->mute_until)
        return;
    if (chance_of(&sim->chance, 70))
        model_gateway_read(line->gateway, 1 + chance_below(&sim->chance, 8));
    if (chance_of(&sim->chance, 80))
        model_gateway_write(line->gateway, 1 + chance_below(&sim->chance, 4), chance_draw,
                            &sim->chance);
    if (chance_of(&sim->chance, 40))
        model_gateway_report(line->gateway, false);
    if (now > line->sent_ms + 2000)
        beat(line);
    announce_again(sim, line);
    if (chance_of(&sim->chance, 80))
        send_one(sim, place);
    if (chance_rarely(&sim->chance, 40))
        place->mute_until = now + sim->limits.gateway_death_ms + chance_below(&sim->chance, 10000);
}

static void send_again(struct sim *sim, size_t index)
{
    struct sent *sent = &sim->sent[index];

    sent->resent = true;
    sent->first_ms = model_store_time(sim->side->store);
    sent->by = pick_place(sim)->lines[partition_of_user(sent->to)].gateway;
    say_message(sim, sent->by, 0, index, DELIVERY_STORE, 0);
}

static bool is_line_of(const struct place *place, const struct model_gateway *gateway)
{
    for (size_t i = 0; i < PARTITIONS; i++)
        if (place->lines[i].gateway == gateway)
            return true;
    return false;
}

static void forget_told(struct sim *sim, const struct place *place)
{
    for (size_t i = 0; i < sim->sent_count; i++)
        for (size_t j = 0; j < sim->sent[i].told; j++)
            if (sim->sent[i].told_at[j] == place)
                sim->sent[i].told_at[j] = NULL;
}

/* Its clients go elsewhere; who waits for an answer asks again there. */
static void kill_gateway(struct sim *sim, struct place *place)
{
    struct place dead = *place;

    memcpy(sim->dead[sim->dead_count++], place->id, sizeof(place->id));
    for (size_t i = sim->zombie_count; i-- > 0;)
        if (is_line_of(&dead, sim->zombies[i].gateway))
            sim->zombies[i] = sim->zombies[--sim->zombie_count];
    forget_told(sim, place);
    bear_gateway(sim, place);
    for (unsigned user = 0; user < USERS; user++)
        for (unsigned number = 0; number < DEVICES; number++)
            if (is_line_of(&dead, sim->devices[user][number].gateway))
                sim->devices[user][number] = (struct device){0};
    for (size_t i = 0; i < sim->sent_count; i++) {
        struct sent *sent = &sim->sent[i];

        if (sent->by == NULL || !is_line_of(&dead, sent->by))
            continue;
        sent->by = NULL;
        if (sent->retry && !sent->replied && sent->keeps && chance_of(&sim->chance, 70))
            send_again(sim, i);
    }
    for (size_t i = 0; i < PARTITIONS; i++)
        model_gateway_destroy(&dead.lines[i].gateway);
}

/* ---- the router ---- */

static void committed(struct sim *sim)
{
    model_commit_destroy(&sim->side->before);
    sim->side->before = sim->side->flying;
    sim->side->flying = NULL;
    world_ask_pages(sim->side->world);
}

static void give_up(struct sim *sim, bool will_run)
{
    world_drop(sim->side->world);
    if (will_run && sim->side->flying && sim->side->late_count < LATE_MAX)
        sim->side->late[sim->side->late_count++] = sim->side->flying;
    else
        model_commit_destroy(&sim->side->flying);
    sim->side->flying = NULL;
}

/* The commit in flight, for the first time or again. */
static void fly(struct sim *sim)
{
    enum model_result result;

    if (chance_rarely(&sim->chance, 300)) {
        give_up(sim, true);
        return;
    }
    if (chance_rarely(&sim->chance, 300))
        return; /* not run, and we know it: sent again */
    result = sim_run_commit(sim, sim->side->flying);
    if (result != MODEL_OK && result != MODEL_DONE)
        chance_fail(&sim->chance, "the owner's commit was refused: %d", (int)result);
    if (chance_rarely(&sim->chance, 300))
        return; /* its answer is lost: sent again */
    if (chance_rarely(&sim->chance, 150)) {
        give_up(sim, true);
        return;
    }
    committed(sim);
}

static void step_router(struct sim *sim)
{
    static const size_t batches[] = {1, 1, 3, 50};

    if (world_engine(sim->side->world) == NULL) {
        if (chance_of(&sim->chance, 50))
            world_take(sim->side->world);
        return;
    }
    if (chance_rarely(&sim->chance, sim->restless ? 1500 : 120)) {
        give_up(sim, chance_of(&sim->chance, 30));
        return;
    }
    if (sim->side->flying == NULL) {
        world_hold_pages(sim->side->world, !sim->chance.calm && chance_of(&sim->chance, 30));
        if (chance_of(&sim->chance, 20))
            engine_trim_users(world_engine(sim->side->world), chance_below(&sim->chance, 3));
        world_tick(sim->side->world);
        sim_expect_recipients(sim);
        sim->side->flying = world_turn(sim->side->world, batches[chance_below(&sim->chance, 4)],
                                       chance_of(&sim->chance, 3));
    }
    if (sim->side->flying != NULL)
        fly(sim);
    sim->expected_request = 0;
}

/* ---- a run ---- */

static void pass(struct sim *sim, uint64_t ms)
{
    model_store_set_time(sim->side->store, model_store_time(sim->side->store) + ms);
}

static void step_late(struct sim *sim)
{
    if (sim->side->late_count && chance_of(&sim->chance, 30)) {
        size_t at = chance_below(&sim->chance, sim->side->late_count);
        struct model_commit *commit = sim->side->late[at];

        sim->side->late[at] = sim->side->late[--sim->side->late_count];
        sim_run_commit(sim, commit);
        model_commit_destroy(&commit);
    }
    if (sim->side->late_entry_count && chance_of(&sim->chance, 20))
        arrive_late(sim, chance_below(&sim->chance, sim->side->late_entry_count));
}

static void step_side(struct sim *sim)
{
    for (int i = 0; i < 3; i++)
        step_router(sim);
    for (size_t i = 0; i < GATEWAYS; i++)
        step_gateway(sim, &sim->places[i]);
    step_late(sim);
}

static void step(struct sim *sim)
{
    pass(sim, 1 + chance_below(&sim->chance, 50));
    if (chance_rarely(&sim->chance, 200))
        pass(sim, sim->limits.gateway_death_ms / 3);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        speak_of(sim, i);
        step_side(sim);
    }
    if (!sim->chance.calm)
        step_clients(sim);
    if (sim->dead_count < BORN_MAX && chance_rarely(&sim->chance, 60))
        kill_gateway(sim, pick_place(sim));
}

static void create_sides(struct sim *sim)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        speak_of(sim, i);
        sim->side->partition = i;
        sim->side->world = i ? world_create_beside(sim->sides[0].world, i)
                             : world_create_wide(&sim->limits, 1700000000000);
        sim->side->store = world_store(sim->side->world);
    }
    speak_of(sim, 0);
}

static void start(struct sim *sim, uint64_t seed, size_t steps)
{
    *sim = (struct sim){.steps = steps};
    chance_start(&sim->chance, seed);
    sim->in_order = chance_of(&sim->chance, 25);
    sim->restless = chance_of(&sim->chance, 20);
    sim->forgetful = chance_of(&sim->chance, 5);
    sim->limits = (struct engine_limits){
        .gateway_death_ms = 15000,
        .presence_grace_ms = chance_of(&sim->chance, 30) ? 0 : 2000,
        .mailbox_messages = chance_of(&sim->chance, 20) ? 8 : 1000,
        .mailbox_bytes = 1 << 20,
        .mailbox_ms =
            sim->forgetful ? 200 + chance_below(&sim->chance, 800) : 30ULL * 24 * 3600 * 1000,
        .user_connections = 2 + chance_below(&sim->chance, 3),
        .window_messages = 2 + chance_below(&sim->chance, 5),
        .window_bytes = chance_of(&sim->chance, 20) ? 200 : 1 << 18,
        .output_bytes = chance_of(&sim->chance, 20) ? 500 : 1 << 24,
        .conversation_messages = 100,
        .group_members = 5,
        .events = 1000,
    };
    create_sides(sim);
    sim->reader = frame_reader_create();
    for (size_t i = 0; i < GATEWAYS; i++)
        bear_gateway(sim, &sim->places[i]);
}

static void finish_side(struct sim *sim)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        model_gateway_destroy(&line_of(sim, &sim->places[i])->gateway);
    for (size_t i = 0; i < LATE_MAX; i++)
        buffer_finish(&sim->side->late_entries[i].frames);
    while (sim->side->late_count)
        model_commit_destroy(&sim->side->late[--sim->side->late_count]);
    model_commit_destroy(&sim->side->flying);
    model_commit_destroy(&sim->side->before);
    world_destroy(&sim->side->world);
}

static void finish(struct sim *sim)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        speak_of(sim, i);
        finish_side(sim);
    }
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

static void calm_line(struct sim *sim, struct place *place)
{
    struct line *line = line_of(sim, place);

    model_gateway_read(line->gateway, SIZE_MAX);
    model_gateway_write(line->gateway, SIZE_MAX, always, NULL);
    model_gateway_report(line->gateway, false);
    if (model_store_time(sim->side->store) >= line->sent_ms + 2000)
        beat(line);
    announce_again(sim, line);
    for (int n = 0; n < 4; n++)
        send_one(sim, place);
}

static void calm_step(struct sim *sim, uint64_t ms)
{
    pass(sim, ms);
    settle_clients(sim);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        speak_of(sim, p);
        for (size_t i = 0; i < GATEWAYS; i++) {
            sim->places[i].mute_until = 0;
            calm_line(sim, &sim->places[i]);
        }
        for (int i = 0; i < 4; i++)
            step_router(sim);
    }
}

static void come_to_rest(struct sim *sim)
{
    sim->chance.calm = true;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        speak_of(sim, i);
        while (sim->side->late_count || sim->side->late_entry_count)
            step_late(sim);
    }
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
            chance_fail(&sim->chance, "I6: a key names a dead gateway: %s", key);
    if (strncmp(key, "mailbox:", 8) == 0 || strncmp(key, "unread:", 7) == 0)
        chance_fail(&sim->chance, "a mailbox of one who is connected is not empty: %s", key);
    if (strcmp(key, "seen") == 0 || strcmp(key, "timers") == 0 || strcmp(key, "dead") == 0)
        chance_fail(&sim->chance, "I6: left behind: %s", key);
}

static void check_hash_names(const struct sim *sim, const char *what)
{
    size_t count;
    const struct engine_field *fields = model_store_hash(sim->side->store, what, NONE, &count);

    for (size_t i = 0; i < count; i++) {
        bool known = false;

        for (size_t j = 0; j < GATEWAYS; j++)
            known |= slice_is(fields[i].name, sim->places[j].id);
        known |= fields[i].name.data[0] == 'p';
        if (!known)
            chance_fail(&sim->chance, "I6: %s still names %.*s", what, (int)fields[i].name.length,
                        fields[i].name.data);
    }
}

/* S9: every entry that was written for another partition was taken there. */
static void check_forwards(struct sim *sim)
{
    for (uint32_t from = 0; from < PARTITIONS; from++) {
        char name[8];
        struct slice text;
        struct number taken = {0};

        snprintf(name, sizeof(name), "p%u", from);
        text = model_store_field(sim->side->store, "sources", NONE, slice_text(name));
        if (text.length && number_parse(text, &taken) < 0)
            chance_fail(&sim->chance, "what was taken of %s is no number", name);
        if (number_compare(taken, sim->side->forwarded[from]) != 0)
            chance_fail(&sim->chance, "S9: an entry of %s was not taken", name);
    }
}

static void check_side_at_rest(struct sim *sim)
{
    struct engine_sizes sizes = engine_sizes(world_engine(sim->side->world));
    size_t count;

    model_store_stream(sim->side->store, "in", NONE, &count);
    if (count)
        chance_fail(&sim->chance, "I6: `in` is not empty");
    if (sizes.pending)
        chance_fail(&sim->chance, "%zu messages are pending at rest", sizes.pending);
    if (sizes.gateways != GATEWAYS)
        chance_fail(&sim->chance, "%zu gateways at rest", sizes.gateways);
    model_store_each_key(sim->side->store, check_key, sim);
    check_hash_names(sim, "gateways");
    check_hash_names(sim, "sources");
    check_forwards(sim);
    for (size_t i = 0; i < GATEWAYS; i++) {
        const struct model_gateway *gateway = line_of(sim, &sim->places[i])->gateway;

        if (!model_gateway_in_step(gateway))
            chance_fail(&sim->chance, "a gateway is not in step at rest");
        model_store_hash(sim->side->store, "conns", slice_text(sim->places[i].id), &count);
        if (count != model_gateway_connections(gateway))
            chance_fail(&sim->chance, "conns: %zu, the gateway has %zu", count,
                        model_gateway_connections(gateway));
    }
}

static void check_rest(struct sim *sim)
{
    sim->chance.step = sim->steps;
    for (size_t i = 0; i < sim->sent_count; i++) {
        const struct sent *sent = &sim->sent[i];

        if (sent->keeps && sent->by && !sent->refused && !sent->accepted)
            chance_fail(&sim->chance, "m%zu was sent by a living gateway and never applied", i);
        if (sent->keeps && sent->accepted && !sent->taken)
            chance_fail(&sim->chance, "m%zu to u%u was accepted and never received", i, sent->to);
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        speak_of(sim, i);
        check_side_at_rest(sim);
    }
    for (unsigned user = 0; user < USERS; user++) {
        speak_of(sim, partition_of_user(user));
        if (slice_is(model_store_field(sim->side->store, "user", slice_text(user_name(user)),
                                       slice_text("status")),
                     "offline"))
            chance_fail(&sim->chance, "u%u is connected and offline", user);
    }
}

static void run(struct sim *sim, uint64_t seed, size_t steps)
{
    start(sim, seed, steps);
    for (sim->chance.step = 0; sim->chance.step < steps; sim->chance.step++)
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
    for (int i = 0; i < 2; i++) {
        run(&sim, chance_setting("ENGINE_SEED", 1), 100);
        digests[i] = model_store_digest(sim.side->store);
        finish(&sim);
    }
    chance_end();
    assert_true(digests[0] == digests[1]);
}

static void random_runs_keep_the_invariants(void **state)
{
    uint64_t first = chance_setting("ENGINE_SEED", 1), runs = chance_setting("ENGINE_RUNS", 250);
    size_t steps = chance_setting("ENGINE_STEPS", 160), checked = 0, sent = 0, told = 0;
    static struct sim sim;

    (void)state;
    for (uint64_t seed = first; seed < first + runs; seed++) {
        run(&sim, seed, steps);
        checked += sim.recipients_checked;
        sent += sim.sent_count;
        told += sim.told;
        finish(&sim);
    }
    chance_end();
    /* So many runs have all of it in them. */
    assert_true(runs < 50 || (told > 0 && checked > 0));
    print_message("%zu direct messages, %zu told of, %zu publishes counted\n", sent, told, checked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_ends_the_same),
        cmocka_unit_test(random_runs_keep_the_invariants),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
