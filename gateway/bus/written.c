#include "gateway/bus/written.h"

#include "common/xalloc.h"

#include <assert.h>
#include <stdlib.h>

/* So much that the router keeps is reported without waiting. */
#define REPORT_ENTRIES 64
#define REPORT_BYTES (256 * 1024)
#define ITEMS_MIN 8

struct written_entry {
    struct number number;
    size_t content;
    uint32_t outstanding;
    bool durable, open;
};

/*
 * Entries stand in a ring. Each has a place that is never used again, so a message whose place is
 * before the ring waits in no entry: void entries need no walk over messages.
 */
struct written {
    struct written_entry *ring;
    size_t capacity; /* a power of two */
    uint64_t first;  /* place of the first entry */
    size_t count;

    struct number x;
    enum written_urgency urgency;
    size_t kept_entries, kept_bytes; /* covered by x, not reported */
};

struct delivery_item {
    struct number number;
    uint64_t end;
    uint64_t place; /* of the entry that waits for it */
};

struct written *written_create(void)
{
    return xcalloc(1, sizeof(struct written));
}

void written_destroy(struct written **pointer)
{
    struct written *written = *pointer;

    if (written == NULL)
        return;
    *pointer = NULL;
    free(written->ring);
    free(written);
}

static struct written_entry *entry_at(const struct written *written, uint64_t place)
{
    return &written->ring[place & (written->capacity - 1)];
}

static void ring_grow(struct written *written)
{
    size_t capacity = written->capacity ? written->capacity * 2 : 16;
    struct written_entry *ring = xcalloc(capacity, sizeof(*ring));

    for (size_t i = 0; i < written->count; i++)
        ring[(written->first + i) & (capacity - 1)] = *entry_at(written, written->first + i);
    free(written->ring);
    written->ring = ring;
    written->capacity = capacity;
}

/* The entry that is open; NULL when there is none (any more: it was made void). */
static struct written_entry *open_entry(const struct written *written)
{
    struct written_entry *last;

    if (written->count == 0)
        return NULL;
    last = entry_at(written, written->first + written->count - 1);
    return last->open ? last : NULL;
}

void written_begin(struct written *written, struct number number)
{
    assert(open_entry(written) == NULL);
    if (written->count == written->capacity)
        ring_grow(written);
    *entry_at(written, written->first + written->count++) =
        (struct written_entry){.number = number, .open = true};
}

static void cover(struct written *written, const struct written_entry *entry)
{
    enum written_urgency urgency = WRITTEN_ALONG;

    written->x = entry->number;
    written->kept_entries++;
    written->kept_bytes += entry->content;
    if (entry->content)
        urgency = WRITTEN_SOON;
    if (entry->durable || (entry->content && written->kept_entries >= REPORT_ENTRIES) ||
        written->kept_bytes >= REPORT_BYTES)
        urgency = WRITTEN_NOW;
    if (urgency > written->urgency)
        written->urgency = urgency;
}

static void advance(struct written *written)
{
    while (written->count) {
        const struct written_entry *entry = entry_at(written, written->first);

        if (entry->open || entry->outstanding)
            return;
        cover(written, entry);
        written->first++;
        written->count--;
    }
}

void written_end(struct written *written, size_t content, bool durable)
{
    struct written_entry *entry = open_entry(written);

    if (entry == NULL)
        return;
    entry->open = false;
    entry->content = content;
    entry->durable = durable;
    advance(written);
}

void written_restart(struct written *written)
{
    written->first += written->count;
    written->count = 0;
    written->x = (struct number){0};
    written->urgency = WRITTEN_NOTHING;
    written->kept_entries = written->kept_bytes = 0;
}

enum written_urgency written_urgency(const struct written *written)
{
    return written->urgency;
}

struct number written_report(struct written *written)
{
    written->urgency = WRITTEN_NOTHING;
    written->kept_entries = written->kept_bytes = 0;
    return written->x;
}

/* ---- messages ---- */

static void hold(struct written *written, struct delivery_item *item)
{
    struct written_entry *entry = open_entry(written);

    assert(entry != NULL);
    item->place = written->first + written->count - 1;
    entry->outstanding++;
}

static void release(struct written *written, const struct delivery_item *item)
{
    struct written_entry *entry;

    if (item->place < written->first)
        return;
    entry = entry_at(written, item->place);
    assert(entry->outstanding > 0);
    if (--entry->outstanding == 0)
        advance(written);
}

static struct delivery_item *item_at(const struct unconfirmed *unconfirmed, uint32_t index)
{
    return &unconfirmed->items[(unconfirmed->first + index) & (unconfirmed->capacity - 1)];
}

static void items_grow(struct unconfirmed *unconfirmed)
{
    uint32_t capacity = unconfirmed->capacity ? unconfirmed->capacity * 2 : ITEMS_MIN;
    struct delivery_item *items = xmalloc(capacity * sizeof(*items));

    for (uint32_t i = 0; i < unconfirmed->count; i++)
        items[i] = *item_at(unconfirmed, i);
    free(unconfirmed->items);
    unconfirmed->items = items;
    unconfirmed->capacity = capacity;
    unconfirmed->first = 0;
}

/* Handed over in an entry that is void now. In a valid one it waits already. */
static void meet_again(struct unconfirmed *unconfirmed, struct written *written,
                       struct number number)
{
    for (uint32_t i = 0; i < unconfirmed->count; i++) {
        struct delivery_item *item = item_at(unconfirmed, i);

        if (number_compare(item->number, number) == 0 && item->place < written->first)
            hold(written, item);
    }
}

bool unconfirmed_meet(struct unconfirmed *unconfirmed, struct written *written,
                      struct number number)
{
    if (number_compare(number, unconfirmed->handed) > 0)
        return true;
    if (number_compare(number, unconfirmed->seen) > 0)
        meet_again(unconfirmed, written, number);
    return false;
}

/* ---- before their turn ---- */

#define AHEAD_MAX 64

struct ahead {
    size_t count;
    struct number numbers[AHEAD_MAX];
};

/* Those whose turn is over: they were delivered, or are no more. */
static void forget_ahead(struct unconfirmed *unconfirmed)
{
    struct ahead *ahead = unconfirmed->ahead;
    size_t left = 0;

    for (size_t i = 0; i < ahead->count; i++)
        if (number_compare(ahead->numbers[i], unconfirmed->handed) > 0)
            ahead->numbers[left++] = ahead->numbers[i];
    ahead->count = left;
    if (left > 0)
        return;
    free(ahead);
    unconfirmed->ahead = NULL;
}

static bool is_ahead(const struct ahead *ahead, struct number number)
{
    for (size_t i = 0; ahead && i < ahead->count; i++)
        if (number_compare(ahead->numbers[i], number) == 0)
            return true;
    return false;
}

bool unconfirmed_go_ahead(struct unconfirmed *unconfirmed, struct number number)
{
    if (unconfirmed->ahead)
        forget_ahead(unconfirmed);
    if (number_compare(number, unconfirmed->handed) <= 0 || is_ahead(unconfirmed->ahead, number))
        return false;
    if (unconfirmed->ahead == NULL)
        unconfirmed->ahead = xcalloc(1, sizeof(*unconfirmed->ahead));
    if (unconfirmed->ahead->count == AHEAD_MAX)
        return false;
    unconfirmed->ahead->numbers[unconfirmed->ahead->count++] = number;
    return true;
}

bool unconfirmed_went_ahead(struct unconfirmed *unconfirmed, struct number number)
{
    return is_ahead(unconfirmed->ahead, number);
}

void unconfirmed_shift(struct unconfirmed *unconfirmed, uint64_t begin, uint64_t length)
{
    for (uint32_t i = 0; i < unconfirmed->count; i++) {
        struct delivery_item *item = item_at(unconfirmed, i);

        if (item->end > begin && item->end != WRITTEN_NEVER)
            item->end += length;
    }
}

void unconfirmed_add(struct unconfirmed *unconfirmed, struct written *written, struct number number,
                     uint64_t end)
{
    struct delivery_item *item;

    assert(number_compare(number, unconfirmed->handed) > 0);
    if (unconfirmed->count == unconfirmed->capacity)
        items_grow(unconfirmed);
    item = item_at(unconfirmed, unconfirmed->count++);
    *item = (struct delivery_item){.number = number, .end = end};
    hold(written, item);
    unconfirmed->handed = number;
    if (unconfirmed->ahead)
        forget_ahead(unconfirmed);
}

void unconfirmed_set_end(struct unconfirmed *unconfirmed, struct number first, uint64_t end)
{
    for (uint32_t i = 0; i < unconfirmed->count; i++)
        if (number_compare(item_at(unconfirmed, i)->number, first) >= 0)
            item_at(unconfirmed, i)->end = end;
}

static void pop(struct unconfirmed *unconfirmed, struct written *written)
{
    release(written, item_at(unconfirmed, 0));
    unconfirmed->first++;
    unconfirmed->count--;
}

/* A connection that waits for nothing keeps nothing. */
static void items_trim(struct unconfirmed *unconfirmed)
{
    if (unconfirmed->count > 0)
        return;
    free(unconfirmed->items);
    unconfirmed->items = NULL;
    unconfirmed->capacity = 0;
}

void unconfirmed_take(struct unconfirmed *unconfirmed, struct written *written, uint64_t taken)
{
    while (unconfirmed->count > 0 && item_at(unconfirmed, 0)->end <= taken) {
        unconfirmed->seen = item_at(unconfirmed, 0)->number;
        pop(unconfirmed, written);
    }
    items_trim(unconfirmed);
}

void unconfirmed_clear(struct unconfirmed *unconfirmed, struct written *written)
{
    while (unconfirmed->count > 0)
        pop(unconfirmed, written);
    items_trim(unconfirmed);
    free(unconfirmed->ahead);
    unconfirmed->ahead = NULL;
}
