/*
 * Gateways as a partition sees them: which have announced themselves, up to which number their
 * entries are applied, what goes into their next output entry and what of the earlier ones is not
 * confirmed. See state.h.
 */
#include "common/xalloc.h"
#include "router/events.h"

#include <stdio.h>
#include <stdlib.h>

/* Connections closed in one commit when a gateway is buried. */
#define BURIAL_CONNECTIONS 500
/* "Who are you" and a last word wait this long for a gateway to read them. */
#define LAST_WORD_MS "10000"

static uint64_t id_bits(struct slice id)
{
    uint64_t bits = 0;

    for (size_t i = id.length > 16 ? id.length - 16 : 0; i < id.length; i++) {
        char digit = id.data[i];

        bits = bits << 4 | (uint64_t)(digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10);
    }
    return bits;
}

static struct slice gateway_slice(const struct gateway *gateway)
{
    return slice_text(gateway->id);
}

struct source *source_find(struct source *sources, struct slice id)
{
    struct source *source;

    HASH_FIND(hh, sources, id.data, id.length, source);
    return source;
}

static struct source *source_add(struct engine *engine, struct slice id)
{
    struct source *source = source_find(engine->sources, id);

    if (source != NULL)
        return source;
    source = xcalloc(1, sizeof(*source) + id.length + 1);
    memcpy(source->id, id.data, id.length);
    HASH_ADD_KEYPTR(hh, engine->sources, source->id, id.length, source);
    return source;
}

static void source_remove(struct source **sources, struct source *source)
{
    HASH_DEL(*sources, source);
    free(source);
}

struct gateway *gateway_find(struct engine *engine, struct slice id)
{
    struct gateway *gateway;

    HASH_FIND(hh, engine->gateways, id.data, id.length, gateway);
    return gateway;
}

struct gateway *gateway_add(struct engine *engine, struct slice id)
{
    struct gateway *gateway = xcalloc(1, sizeof(*gateway));
    struct source *source = source_find(engine->sources, id);

    gateway->id = xmemdup0(id.data, id.length);
    gateway->bits = id_bits(id);
    gateway->heard_ms = engine->now_ms;
    gateway->said = frame_said_create();
    TAILQ_INIT(&gateway->unwritten);
    TAILQ_INIT(&gateway->replays);
    if (source != NULL) {
        gateway->applied = source->applied;
        source_remove(&engine->sources, source);
    }
    HASH_ADD_KEYPTR(hh, engine->gateways, gateway->id, id.length, gateway);
    return gateway;
}

/* ---- records of what is not confirmed: a ring in order of entries ---- */

void gateway_record(struct gateway *gateway, struct number entry, uint64_t connection,
                    struct message *message, size_t bytes)
{
    size_t at;

    if (gateway->record_count == gateway->record_capacity) {
        size_t capacity = gateway->record_capacity ? gateway->record_capacity * 2 : 64;
        struct record *records = xmalloc(capacity * sizeof(*records));

        for (size_t i = 0; i < gateway->record_count; i++)
            records[i] = gateway->records[(gateway->record_first + i) % gateway->record_capacity];
        free(gateway->records);
        gateway->records = records;
        gateway->record_first = 0;
        gateway->record_capacity = capacity;
    }
    if (message != NULL)
        message->references++;
    at = (gateway->record_first + gateway->record_count++) % gateway->record_capacity;
    gateway->records[at] = (struct record){
        .entry = entry, .connection = connection, .message = message, .bytes = bytes};
    gateway->output_bytes += bytes;
}

static void drop_first_record(struct gateway *gateway)
{
    struct record *record = &gateway->records[gateway->record_first];

    gateway->output_bytes -= record->bytes;
    message_unref(&record->message);
    gateway->record_first = (gateway->record_first + 1) % gateway->record_capacity;
    gateway->record_count--;
}

static void clear_records(struct gateway *gateway)
{
    while (gateway->record_count)
        drop_first_record(gateway);
    free(gateway->records);
    gateway->records = NULL;
    gateway->record_first = gateway->record_capacity = 0;
}

void gateway_on_written(struct engine *engine, struct gateway *gateway, struct number number)
{
    uint32_t out;

    while (gateway->record_count) {
        struct record *record = &gateway->records[gateway->record_first];

        if (number_compare(record->entry, number) > 0)
            break;
        if (record->message != NULL)
            mailbox_on_written(engine, record->message, gateway, record->connection);
        drop_first_record(gateway);
    }
    follow_on_written(engine, gateway, number);
    if (gateway->record_count == 0 && gateway->record_capacity > 4096)
        clear_records(gateway);
    replay_on_written(engine, gateway, number);
    out = effects_key(engine->effects, "out", gateway_slice(gateway));
    effects_open(engine->effects, EFFECT_XTRIM, out, 1);
    effects_number(engine->effects, number_next(number));
}

/* ---- announcements ---- */

bool gateway_on_announce_chunk(struct gateway *gateway,
                               const struct frame_gateway_announce *announce, struct slice frames)
{
    if (announce->nonce <= gateway->nonce || announce->nonce < gateway->announcing)
        return false;
    if (announce->nonce != gateway->announcing) {
        gateway->announcing = announce->nonce;
        gateway->announce_chunk = 0;
        buffer_reset(&gateway->announced, 0);
    }
    if (announce->chunk != gateway->announce_chunk)
        return false;
    gateway->announce_chunk++;
    buffer_append_slice(&gateway->announced, frames);
    if (announce->last)
        gateway->announcing = 0;
    return announce->last;
}

/* The Y of each connection that was here before, as its gateway tells it now. */
static void close_listed(struct engine *engine, struct gateway *gateway)
{
    struct frame frame;

    frame_reader_start(engine->reader, buffer_slice(&gateway->announced));
    while (frame_reader_next(engine->reader, &frame) == 1)
        if (frame.type == FRAME_ANNOUNCED_CONNECTION)
            connection_on_closed(engine, gateway, frame.announced_connection.connection,
                                 frame.announced_connection.seen);
}

static void close_all(struct engine *engine, struct gateway *gateway, size_t most)
{
    struct connection *connection, *next;

    HASH_ITER(hh, gateway->connections, connection, next)
    {
        if (most-- == 0)
            return;
        connection_on_closed(engine, gateway, connection->id, (struct number){0});
    }
}

static void forget_keys(struct engine *engine, struct gateway *gateway)
{
    static const char *const keys[] = {"conns", "subs"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        effects_open(engine->effects, EFFECT_DEL,
                     effects_key(engine->effects, keys[i], gateway_slice(gateway)), 0);
}

void gateway_start_over(struct engine *engine, struct gateway *gateway,
                        const struct frame_gateway_announce *announce)
{
    struct effects *effects = engine->effects;
    uint32_t out = effects_key(effects, "out", gateway_slice(gateway));
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)announce->nonce);

    engine->counters.announcements++;
    close_listed(engine, gateway);
    close_all(engine, gateway, SIZE_MAX);
    fanout_forget_gateway(engine, gateway);
    rooms_forget_gateway(engine, gateway);
    presence_forget_gateway(engine, gateway);
    forget_keys(engine, gateway);
    clear_records(gateway);
    gateway->nonce = announce->nonce;
    gateway->burying = false;
    if (announce->base > gateway->applied)
        gateway->applied = announce->base;
    gateway->applied_changed = true;
    effects_hset(effects, engine_key(engine, &engine->key_gateways, "gateways"),
                 gateway_slice(gateway), slice_of(digits, (size_t)length));
    effects_open(effects, EFFECT_PERSIST, out, 0);
    effects_open(effects, EFFECT_XCLEAR, out, 0);
    buffer_reset(&gateway->output, 1 << 16);
    gateway_say(gateway, &(struct frame){.type = FRAME_GATEWAY_ANNOUNCED,
                                         .gateway_announced.nonce = announce->nonce});
    gateway->answer = true;
}

/* ---- the end of a gateway ---- */

/* Forgets it in memory; its connections must be gone. */
static void remove_gateway(struct engine *engine, struct gateway *gateway)
{
    claims_forget_gateway(engine, gateway);
    slots_forget_gateway(gateway);
    HASH_DEL(engine->gateways, gateway);
    clear_records(gateway);
    buffer_finish(&gateway->output);
    frame_said_destroy(&gateway->said);
    buffer_finish(&gateway->announced);
    free(gateway->id);
    free(gateway);
}

static void write_source(struct engine *engine, struct slice id, uint64_t applied,
                         uint64_t forget_ms)
{
    char text[48];
    int length = snprintf(text, sizeof(text), forget_ms ? "%llu %llu" : "%llu",
                          (unsigned long long)applied, (unsigned long long)forget_ms);

    effects_hset(engine->effects, engine_key(engine, &engine->key_sources, "sources"), id,
                 slice_of(text, (size_t)length));
}

/* Begins an output entry: its head. What else is in it comes behind, then write_entry. */
static struct buffer *open_entry(struct engine *engine, struct number previous, uint64_t accepted)
{
    buffer_reset(&engine->entry, 1 << 20);
    frame_encode(&engine->entry,
                 &(struct frame){.type = FRAME_OUTPUT_HEAD,
                                 .output_head = {.previous = previous, .accepted = accepted}});
    return &engine->entry;
}

static void write_entry(struct engine *engine, struct slice id)
{
    static const struct slice field = {"e", 1};

    effects_open(engine->effects, EFFECT_XADD, effects_key(engine->effects, "out", id), 3);
    effects_number(engine->effects, engine_entry_number(engine));
    effects_text(engine->effects, field);
    effects_text(engine->effects, buffer_slice(&engine->entry));
}

static void expire_output(struct engine *engine, struct slice id)
{
    effects_open(engine->effects, EFFECT_PEXPIRE, effects_key(engine->effects, "out", id), 1);
    effects_text(engine->effects, slice_text(LAST_WORD_MS));
}

void gateway_bury(struct engine *engine, struct gateway *gateway, bool left)
{
    struct slice id = gateway_slice(gateway);
    struct source *source;

    close_all(engine, gateway, SIZE_MAX);
    fanout_forget_gateway(engine, gateway);
    rooms_forget_gateway(engine, gateway);
    presence_forget_gateway(engine, gateway);
    forget_keys(engine, gateway);
    effects_hdel(engine->effects, engine_key(engine, &engine->key_gateways, "gateways"), id);
    source = source_add(engine, id);
    source->applied = gateway->applied;
    source->forget_ms = engine->now_ms + SOURCE_KEPT_MS;
    write_source(engine, id, source->applied, source->forget_ms);
    if (left) {
        buffer_append_slice(open_entry(engine, gateway->last_output, gateway->applied),
                            buffer_slice(&gateway->output));
        write_entry(engine, id);
        expire_output(engine, id);
        source->told = engine_entry_number(engine);
    } else {
        engine->counters.gateways_buried++;
        effects_open(engine->effects, EFFECT_DEL, effects_key(engine->effects, "out", id), 0);
    }
    remove_gateway(engine, gateway);
}

static uint64_t silent_since(const struct engine *engine, const struct gateway *gateway)
{
    return gateway->heard_ms + engine->limits.gateway_death_ms * (gateway->doubted ? 2 : 1);
}

/* Many silent at once: more likely the network or we are at fault than they. They get as long
 * again. */
static bool in_doubt(const struct engine *engine)
{
    size_t all = 0, silent = 0;

    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next) {
        all++;
        silent += !gateway->doubted &&
                  engine->now_ms >= gateway->heard_ms + engine->limits.gateway_death_ms;
    }
    return silent * 2 > all;
}

/* Heard of again before the end, it would not know which of its connections are gone; nor would the
   next owner, so it is written. */
static void begin_burial(struct engine *engine, struct gateway *gateway)
{
    char text[40];
    int length = snprintf(text, sizeof(text), "%llu burying", (unsigned long long)gateway->nonce);

    if (gateway->burying)
        return;
    gateway->burying = true;
    effects_hset(engine->effects, engine_key(engine, &engine->key_gateways, "gateways"),
                 gateway_slice(gateway), slice_of(text, (size_t)length));
}

void gateway_ask(struct engine *engine, struct gateway *gateway)
{
    engine->counters.unknown_gateways++;
    gateway_say(gateway,
                &(struct frame){.type = FRAME_WHO_ARE_YOU, .who_are_you.last = gateway->applied});
}

static void forget_sources(struct engine *engine)
{
    struct source *source, *next;

    HASH_ITER(hh, engine->sources, source, next)
    {
        if (source->forget_ms == 0 || source->forget_ms > engine->now_ms)
            continue;
        effects_hdel(engine->effects, engine_key(engine, &engine->key_sources, "sources"),
                     slice_text(source->id));
        source_remove(&engine->sources, source);
    }
}

void gateways_on_tick(struct engine *engine)
{
    struct gateway *gateway, *next;
    bool doubt = in_doubt(engine);

    HASH_ITER(hh, engine->gateways, gateway, next)
    {
        if (engine->now_ms < silent_since(engine, gateway))
            continue;
        if (doubt && !gateway->doubted) {
            gateway->doubted = true;
        } else if (HASH_COUNT(gateway->connections) > BURIAL_CONNECTIONS) {
            begin_burial(engine, gateway);
            close_all(engine, gateway, BURIAL_CONNECTIONS);
        } else {
            gateway_bury(engine, gateway, false);
        }
    }
    forget_sources(engine);
}

uint64_t gateways_due_ms(const struct engine *engine)
{
    uint64_t due = UINT64_MAX;

    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        if (silent_since(engine, gateway) < due)
            due = silent_since(engine, gateway);
    for (const struct source *source = engine->sources; source; source = source->hh.next)
        if (source->forget_ms && source->forget_ms < due)
            due = source->forget_ms;
    return due;
}

/* ---- the end of a commit ---- */

void gateway_say(struct gateway *gateway, const struct frame *frame)
{
    frame_encode_next(&gateway->output, gateway->said, frame);
}

static void finish_gateway(struct engine *engine, struct gateway *gateway)
{
    if (gateway->applied_changed)
        write_source(engine, gateway_slice(gateway), gateway->applied, 0);
    gateway->applied_changed = false;
    if (gateway->nonce == 0)
        return;
    if (!gateway->answer && gateway->output.length == 0 && !engine->first_commit)
        return;
    buffer_append_slice(open_entry(engine, gateway->last_output, gateway->applied),
                        buffer_slice(&gateway->output));
    write_entry(engine, gateway_slice(gateway));
    gateway->last_output = engine_entry_number(engine);
    gateway_record(gateway, gateway->last_output, 0, NULL, engine->entry.length);
    gateway->answer = false;
    buffer_reset(&gateway->output, 1 << 18);
}

static void finish_stranger(struct engine *engine, struct source *stranger)
{
    struct slice id = slice_text(stranger->id);
    const struct source *source = source_find(engine->sources, id);
    const struct gateway *gateway = gateway_find(engine, id);
    uint64_t last = gateway ? gateway->applied : source ? source->applied : 0;
    bool told = source && number_compare(source->told, engine_entry_number(engine)) == 0;

    /* Nothing to ask of one that announced itself later in this batch, or has just left. */
    if ((gateway == NULL || gateway->nonce == 0) && !told) {
        frame_encode(open_entry(engine, (struct number){0}, last),
                     &(struct frame){.type = FRAME_WHO_ARE_YOU, .who_are_you.last = last});
        write_entry(engine, id);
        expire_output(engine, id);
    }
    source_remove(&engine->strangers, stranger);
}

void gateways_finish(struct engine *engine)
{
    struct source *stranger, *next;

    for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        finish_gateway(engine, gateway);
    HASH_ITER(hh, engine->strangers, stranger, next)
    finish_stranger(engine, stranger);
}

void gateways_destroy(struct engine *engine)
{
    struct gateway *gateway, *next;
    struct source *source, *next_source;

    HASH_ITER(hh, engine->gateways, gateway, next)
    {
        struct connection *connection, *next_connection;

        HASH_ITER(hh, gateway->connections, connection, next_connection)
        {
            connection_destroy(connection);
        }
        fanout_forget_gateway(engine, gateway);
        rooms_forget_gateway(engine, gateway);
        presence_forget_gateway(engine, gateway);
        remove_gateway(engine, gateway);
    }
    HASH_ITER(hh, engine->sources, source, next_source)
    source_remove(&engine->sources, source);
    HASH_ITER(hh, engine->strangers, source, next_source)
    source_remove(&engine->strangers, source);
}
