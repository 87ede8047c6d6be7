#include "gateway/bus/entries.h"

#include "common/buffer.h"
#include "common/xalloc.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Memory of the gathering buffer that is kept between entries. */
#define GATHER_KEEP (64 * 1024)

/* A numbered entry, or a chunk of an announcement (then number counts chunks). */
struct entry {
    STAILQ_ENTRY(entry) link;
    uint64_t number;
    size_t length;
    char bytes[];
};

STAILQ_HEAD(entry_list, entry);

enum entries_state { ENTRIES_IN_STEP, ENTRIES_SUSPENDED, ENTRIES_ANNOUNCING };
enum flight { FLIGHT_NONE, FLIGHT_ENTRY, FLIGHT_CHUNK };

struct entries {
    enum entries_state state;
    struct buffer gathered;
    struct frame_said *said; /* in it */
    struct entry_list held;
    struct entry *unsent; /* the first of held that the bus has not taken */
    size_t held_bytes;
    uint64_t last;     /* number of the last entry made */
    uint64_t accepted; /* as the router said last; lower than before when Redis was rolled back */

    struct entry_list chunks; /* of the announcement, not taken yet */
    struct buffer chunk;      /* the one being filled */
    uint64_t nonce, base, chunk_count;
    bool started;

    enum flight flight;
    uint64_t flight_number, flight_nonce;
};

static struct entry *entry_create(uint64_t number, struct slice head, struct slice frames)
{
    struct entry *entry = xmalloc(sizeof(*entry) + head.length + frames.length);

    entry->number = number;
    entry->length = head.length + frames.length;
    if (head.length)
        memcpy(entry->bytes, head.data, head.length);
    if (frames.length)
        memcpy(entry->bytes + head.length, frames.data, frames.length);
    return entry;
}

static void list_pop(struct entry_list *list)
{
    struct entry *entry = STAILQ_FIRST(list);

    STAILQ_REMOVE_HEAD(list, link);
    free(entry);
}

static void list_clear(struct entry_list *list)
{
    while (!STAILQ_EMPTY(list))
        list_pop(list);
}

struct entries *entries_create(void)
{
    struct entries *entries = xcalloc(1, sizeof(*entries));

    STAILQ_INIT(&entries->held);
    STAILQ_INIT(&entries->chunks);
    entries->said = frame_said_create();
    entries->state = ENTRIES_SUSPENDED;
    return entries;
}

void entries_destroy(struct entries **pointer)
{
    struct entries *entries = *pointer;

    if (entries == NULL)
        return;
    *pointer = NULL;
    list_clear(&entries->held);
    list_clear(&entries->chunks);
    buffer_finish(&entries->gathered);
    frame_said_destroy(&entries->said);
    buffer_finish(&entries->chunk);
    free(entries);
}

/* ---- what is held ---- */

/* What is gathered becomes an entry. */
static void close_entry(struct entries *entries)
{
    struct entry *entry =
        entry_create(++entries->last, slice_of(NULL, 0), buffer_slice(&entries->gathered));

    STAILQ_INSERT_TAIL(&entries->held, entry, link);
    entries->held_bytes += entry->length;
    if (entries->unsent == NULL)
        entries->unsent = entry;
    buffer_reset(&entries->gathered, GATHER_KEEP);
}

void entries_add(struct entries *entries, const struct frame *frame)
{
    frame_encode_next(&entries->gathered, entries->said, frame);
    if (entries->gathered.length >= ENTRIES_ENTRY_BYTES)
        close_entry(entries);
}

size_t entries_bytes(const struct entries *entries)
{
    return entries->held_bytes + entries->gathered.length;
}

uint64_t entries_last(const struct entries *entries)
{
    return entries->last;
}

uint64_t entries_tail(const struct entries *entries)
{
    return entries->last + (entries->gathered.length > 0);
}

bool entries_busy(const struct entries *entries)
{
    return entries->flight != FLIGHT_NONE || entries->state != ENTRIES_IN_STEP ||
           entries->unsent != NULL || entries->gathered.length > 0;
}

bool entries_ready(const struct entries *entries)
{
    return entries->flight == FLIGHT_NONE && entries->state == ENTRIES_IN_STEP &&
           (entries->unsent != NULL || entries->gathered.length > 0);
}

/* The first of what is held, if it is one up to number; it is held no more, and the caller's. */
static struct entry *take_held(struct entries *entries, uint64_t number)
{
    struct entry *entry = STAILQ_FIRST(&entries->held);

    if (entry == NULL || entry->number > number)
        return NULL;
    if (entries->unsent == entry)
        entries->unsent = STAILQ_NEXT(entry, link);
    entries->held_bytes -= entry->length;
    STAILQ_REMOVE_HEAD(&entries->held, link);
    return entry;
}

void entries_accepted(struct entries *entries, uint64_t number)
{
    struct entry *entry;

    entries->accepted = number;
    while ((entry = take_held(entries, number)) != NULL)
        free(entry);
}

/* What visit adds is behind all of these. */
void entries_lost(struct entries *entries, uint64_t number,
                  void (*visit)(void *arg, struct slice frames), void *arg)
{
    uint64_t end = number < entries->last ? number : entries->last;
    struct entry *entry;

    entries->accepted = number;
    while ((entry = take_held(entries, end)) != NULL) {
        visit(arg, slice_of(entry->bytes, entry->length));
        free(entry);
    }
}

bool entries_missing(struct entries *entries, uint64_t last)
{
    struct entry *first = STAILQ_FIRST(&entries->held);

    entries->unsent = first;
    /* Filled before the same output entry was written: its head says more. */
    if (last < entries->accepted)
        return true;
    return first ? first->number == last + 1 : last >= entries->last;
}

/* ---- what goes next ---- */

static struct entry *next_of(struct entries *entries)
{
    if (entries->state != ENTRIES_IN_STEP)
        return STAILQ_FIRST(&entries->chunks);
    if (entries->unsent == NULL && entries->gathered.length > 0)
        close_entry(entries);
    return entries->unsent;
}

bool entries_next(struct entries *entries, struct entries_outgoing *outgoing)
{
    struct entry *entry;

    if (entries->flight != FLIGHT_NONE || (entry = next_of(entries)) == NULL)
        return false;
    entries->flight = entries->state == ENTRIES_IN_STEP ? FLIGHT_ENTRY : FLIGHT_CHUNK;
    entries->flight_number = entry->number;
    entries->flight_nonce = entries->nonce;
    outgoing->number = entries->flight == FLIGHT_ENTRY ? entry->number : 0;
    outgoing->frames = slice_of(entry->bytes, entry->length);
    return true;
}

/* Meanwhile the entry may have been accepted, or sending gone back, or another announcement begun:
   then the answer says nothing about what goes next. */
void entries_answered(struct entries *entries, bool taken)
{
    struct entry *chunk = STAILQ_FIRST(&entries->chunks);
    enum flight flight = entries->flight;

    entries->flight = FLIGHT_NONE;
    if (!taken)
        return;
    if (flight == FLIGHT_ENTRY && entries->unsent &&
        entries->unsent->number == entries->flight_number && entries->state == ENTRIES_IN_STEP)
        entries->unsent = STAILQ_NEXT(entries->unsent, link);
    if (flight == FLIGHT_CHUNK && chunk && entries->nonce == entries->flight_nonce &&
        chunk->number == entries->flight_number) {
        entries->started = true;
        list_pop(&entries->chunks);
    }
}

/* ---- announcements ---- */

void entries_suspend(struct entries *entries)
{
    list_clear(&entries->chunks);
    entries->state = ENTRIES_SUSPENDED;
    entries->started = false;
}

void entries_announce_begin(struct entries *entries)
{
    struct entry *first = STAILQ_FIRST(&entries->held);

    entries_suspend(entries);
    entries->nonce++;
    entries->base = first ? first->number - 1 : entries->last;
    entries->unsent = first;
    entries->chunk_count = 0;
    buffer_reset(&entries->chunk, ENTRIES_CHUNK_BYTES);
}

static void close_chunk(struct entries *entries, bool last)
{
    const struct frame head = {
        .type = FRAME_GATEWAY_ANNOUNCE,
        .gateway_announce = {.nonce = entries->nonce,
                             .base = entries->base,
                             .chunk = entries->chunk_count,
                             .last = last},
    };
    struct buffer bytes = {0};
    struct entry *chunk;

    frame_encode(&bytes, &head);
    chunk =
        entry_create(entries->chunk_count++, buffer_slice(&bytes), buffer_slice(&entries->chunk));
    STAILQ_INSERT_TAIL(&entries->chunks, chunk, link);
    buffer_finish(&bytes);
    buffer_reset(&entries->chunk, ENTRIES_CHUNK_BYTES);
}

void entries_announce_add(struct entries *entries, const struct frame *frame)
{
    if (entries->chunk.length >= ENTRIES_CHUNK_BYTES)
        close_chunk(entries, false);
    frame_encode(&entries->chunk, frame);
}

void entries_announce_end(struct entries *entries)
{
    close_chunk(entries, true);
    buffer_finish(&entries->chunk);
    entries->state = ENTRIES_ANNOUNCING;
}

bool entries_announcing(const struct entries *entries)
{
    return entries->state != ENTRIES_IN_STEP;
}

uint64_t entries_nonce(const struct entries *entries)
{
    return entries->state == ENTRIES_ANNOUNCING ? entries->nonce : 0;
}

bool entries_announce_started(const struct entries *entries)
{
    return entries->state == ENTRIES_ANNOUNCING && entries->started;
}

bool entries_announce_sent(const struct entries *entries)
{
    return entries->state == ENTRIES_ANNOUNCING && STAILQ_EMPTY(&entries->chunks);
}

bool entries_announced(struct entries *entries, uint64_t nonce)
{
    if (entries->state != ENTRIES_ANNOUNCING || nonce != entries->nonce)
        return false;
    list_clear(&entries->chunks);
    entries->state = ENTRIES_IN_STEP;
    return true;
}
