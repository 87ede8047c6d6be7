/*
 * Answers to requests whose ids their clients supplied: the same id with the same content within
 * two minutes is answered as before and not applied again (decisions.md, idempotent retry). Bounded
 * by age, by answers of a user, and by bytes. See state.h.
 *
 * A ring in order of age, and an index into it by open addressing: every message with an id passes
 * here, so one look costs one or two cache lines. Users, ids and contents are held as 64-bit
 * hashes, together 128 bits that a wrong answer would have to match.
 */
#include "common/siphash.h"
#include "common/xalloc.h"
#include "router/state.h"

#include <stdio.h>
#include <stdlib.h>

#define RECENT_MS (2 * 60 * 1000)
#define RECENT_PER_USER 1000
#define RECENT_BYTES (16 * 1024 * 1024)

/* So many values of an answer's list are in its item. */
#define LIST_SHORT 2

/* An answer, packed: there are many. */
struct item {
    uint64_t key; /* of user and id */
    uint64_t content_hash, recipients;
    union {
        uint64_t short_list[LIST_SHORT];
        uint64_t *long_list; /* owned */
    };
    uint32_t list_count;
    uint8_t kind, status;
    bool dropped; /* before its time: not in the index any more */
    uint64_t at_ms;
    uint64_t owner;         /* of the user */
    uint64_t next_of_owner; /* place in the ring; 0: none yet */
};

struct owner {
    uint64_t user;
    uint64_t first, last; /* places of his answers that are not dropped */
    size_t count;
    UT_hash_handle hh;
};

/* Has the key beside the place, so that a look touches no item but the right one. */
struct slot {
    uint64_t key;
    uint64_t place; /* 0: free */
};

struct recent {
    struct item *items; /* item at place p is items[p & (capacity - 1)]; places count from 1 */
    uint64_t oldest, next;
    size_t capacity;
    struct slot *index; /* at most half full */
    size_t index_size;
    struct owner *owners;
    size_t count, bytes;
    struct buffer answers;      /* of this commit, as frames */
    struct recent_answer found; /* the last one that was asked for */
};

struct recent *recent_create(void)
{
    struct recent *recent = xcalloc(1, sizeof(*recent));

    recent->oldest = recent->next = 1;
    recent->capacity = 64;
    recent->items = xcalloc(recent->capacity, sizeof(*recent->items));
    recent->index_size = recent->capacity * 2;
    recent->index = xcalloc(recent->index_size, sizeof(*recent->index));
    return recent;
}

size_t recent_count(const struct recent *recent)
{
    return recent->count;
}

uint64_t recent_hash_begin(void)
{
    return 0;
}

/* Each text under the hash of those before it, so that ("ab","c") is not ("a","bc"). The same in
 * every process: answers outlive the router that gave them. */
uint64_t recent_hash_add(uint64_t hash, struct slice text)
{
    uint8_t key[16] = {0};

    memcpy(key, &hash, sizeof(hash));
    return siphash(key, text, 1, 3);
}

static struct item *item_at(const struct recent *recent, uint64_t place)
{
    return &recent->items[place & (recent->capacity - 1)];
}

/* ---- the index ---- */

static size_t home_of(const struct recent *recent, uint64_t key)
{
    return (key ^ key >> 32) & (recent->index_size - 1);
}

/* The slot that holds key, or the free one where it would go. */
static size_t slot_of(const struct recent *recent, uint64_t key)
{
    size_t slot = home_of(recent, key);

    while (recent->index[slot].place != 0 && recent->index[slot].key != key)
        slot = (slot + 1) & (recent->index_size - 1);
    return slot;
}

/* Closes the gap, so that every key is found from its home on without a break. */
static void index_remove(struct recent *recent, uint64_t key)
{
    size_t mask = recent->index_size - 1;
    size_t gap = slot_of(recent, key);

    if (recent->index[gap].place == 0)
        return;
    for (size_t slot = (gap + 1) & mask; recent->index[slot].place != 0; slot = (slot + 1) & mask) {
        size_t home = home_of(recent, recent->index[slot].key);

        if (((slot - home) & mask) >= ((slot - gap) & mask)) {
            recent->index[gap] = recent->index[slot];
            gap = slot;
        }
    }
    recent->index[gap].place = 0;
}

static void index_add(struct recent *recent, uint64_t key, uint64_t place)
{
    recent->index[slot_of(recent, key)] = (struct slot){.key = key, .place = place};
}

static void grow(struct recent *recent)
{
    size_t capacity = recent->capacity * 2;
    struct item *items = xcalloc(capacity, sizeof(*items));

    for (uint64_t place = recent->oldest; place < recent->next; place++)
        items[place & (capacity - 1)] = *item_at(recent, place);
    free(recent->items);
    free(recent->index);
    recent->items = items;
    recent->capacity = capacity;
    recent->index_size = capacity * 2;
    recent->index = xcalloc(recent->index_size, sizeof(*recent->index));
    for (uint64_t place = recent->oldest; place < recent->next; place++)
        if (!item_at(recent, place)->dropped)
            index_add(recent, item_at(recent, place)->key, place);
}

/* ---- dropping ---- */

static bool has_long_list(const struct item *item)
{
    return item->list_count > LIST_SHORT;
}

static size_t item_bytes(const struct item *item)
{
    return sizeof(*item) + (has_long_list(item) ? item->list_count * sizeof(uint64_t) : 0);
}

static struct owner *owner_find(const struct recent *recent, uint64_t user)
{
    struct owner *owner;

    HASH_FIND(hh, recent->owners, &user, sizeof(user), owner);
    return owner;
}

/* The first of his answers that is still here, the others having been dropped before. */
static void owner_advance(struct recent *recent, struct owner *owner)
{
    owner->count--;
    while (owner->count && item_at(recent, owner->first)->dropped)
        owner->first = item_at(recent, owner->first)->next_of_owner;
    if (owner->count == 0) {
        HASH_DEL(recent->owners, owner);
        free(owner);
    }
}

static void drop(struct recent *recent, uint64_t place)
{
    struct item *item = item_at(recent, place);

    if (item->dropped)
        return;
    index_remove(recent, item->key);
    item->dropped = true;
    recent->count--;
    recent->bytes -= item_bytes(item);
    if (has_long_list(item))
        free(item->long_list);
    owner_advance(recent, owner_find(recent, item->owner));
}

static void drop_old(struct recent *recent, uint64_t now_ms)
{
    while (recent->oldest < recent->next) {
        const struct item *item = item_at(recent, recent->oldest);

        if (!item->dropped && item->at_ms + RECENT_MS >= now_ms && recent->bytes <= RECENT_BYTES)
            return;
        drop(recent, recent->oldest++);
    }
}

void recent_destroy(struct recent **recent)
{
    if (*recent == NULL)
        return;
    drop_old(*recent, UINT64_MAX);
    buffer_finish(&(*recent)->answers);
    free((*recent)->items);
    free((*recent)->index);
    free(*recent);
    *recent = NULL;
}

/* ---- finding and keeping ---- */

static struct recent_request request_of(struct slice user, struct slice id)
{
    uint64_t owner = recent_hash_add(recent_hash_begin(), user);

    return (struct recent_request){
        .user = user, .id = id, .owner = owner, .key = recent_hash_add(owner, id)};
}

struct recent_request recent_request(const struct engine *engine, struct slice user,
                                     struct slice id)
{
    struct recent_request request = request_of(user, id);

    __builtin_prefetch(&engine->recent->index[home_of(engine->recent, request.key)]);
    return request;
}

static const struct item *known(const struct engine *engine, const struct recent_request *request)
{
    const struct recent *recent = engine->recent;
    uint64_t place = recent->index[slot_of(recent, request->key)].place;
    const struct item *item = place ? item_at(recent, place) : NULL;

    return item && item->at_ms + RECENT_MS >= engine->now_ms ? item : NULL;
}

bool recent_knows(const struct engine *engine, const struct recent_request *request)
{
    return known(engine, request) != NULL;
}

const struct recent_answer *recent_find(struct engine *engine, const struct recent_request *request,
                                        uint64_t content_hash)
{
    const struct item *item = known(engine, request);

    if (item == NULL || item->content_hash != content_hash)
        return NULL;
    engine->recent->found = (struct recent_answer){
        .content_hash = content_hash,
        .kind = item->kind,
        .status = item->status,
        .recipients = item->recipients,
        .delivered = has_long_list(item) ? item->long_list : item->short_list,
        .delivered_count = item->list_count,
    };
    return &engine->recent->found;
}

static void owner_append(struct recent *recent, uint64_t user, uint64_t place)
{
    struct owner *owner = owner_find(recent, user);

    if (owner == NULL) {
        owner = xcalloc(1, sizeof(*owner));
        owner->user = user;
        owner->first = place;
        HASH_ADD(hh, recent->owners, user, sizeof(owner->user), owner);
    } else {
        item_at(recent, owner->last)->next_of_owner = place;
    }
    owner->last = place;
    if (++owner->count > RECENT_PER_USER)
        drop(recent, owner->first);
}

/* The caller's list is not ours to keep. */
static void keep_list(struct item *item, const struct recent_answer *answer)
{
    size_t bytes = answer->delivered_count * sizeof(uint64_t);

    item->list_count = (uint32_t)answer->delivered_count;
    if (has_long_list(item))
        item->long_list = xmalloc(bytes);
    if (bytes > 0)
        memcpy(has_long_list(item) ? item->long_list : item->short_list, answer->delivered, bytes);
}

static void insert(struct recent *recent, const struct recent_request *request, uint64_t at_ms,
                   const struct recent_answer *answer)
{
    uint64_t same = recent->index[slot_of(recent, request->key)].place;
    struct item *item;

    if (same != 0)
        drop(recent, same);
    drop_old(recent, at_ms);
    if (recent->next - recent->oldest == recent->capacity)
        grow(recent);
    item = item_at(recent, recent->next);
    *item = (struct item){
        .key = request->key,
        .content_hash = answer->content_hash,
        .recipients = answer->recipients,
        .kind = (uint8_t)answer->kind,
        .status = (uint8_t)answer->status,
        .at_ms = at_ms,
        .owner = request->owner,
    };
    keep_list(item, answer);
    index_add(recent, request->key, recent->next);
    recent->count++;
    recent->bytes += item_bytes(item);
    owner_append(recent, item->owner, recent->next++);
}

void recent_keep(struct engine *engine, const struct recent_request *request,
                 const struct recent_answer *answer)
{
    insert(engine->recent, request, engine->now_ms, answer);
    frame_encode(&engine->recent->answers,
                 &(struct frame){.type = FRAME_RECENT_ANSWER,
                                 .recent_answer = {
                                     .user = request->user,
                                     .id = request->id,
                                     .content_hash = answer->content_hash,
                                     .kind = answer->kind,
                                     .status = answer->status,
                                     .recipients = answer->recipients,
                                     .delivered = {.values = answer->delivered,
                                                   .count = answer->delivered_count},
                                 }});
}

static void load_answer(struct recent *recent, uint64_t at_ms,
                        const struct frame_recent_answer *kept)
{
    const struct recent_request request = request_of(kept->user, kept->id);
    const struct recent_answer answer = {
        .content_hash = kept->content_hash,
        .kind = kept->kind,
        .status = kept->status,
        .recipients = kept->recipients,
        .delivered = kept->delivered.values,
        .delivered_count = kept->delivered.count,
    };

    insert(recent, &request, at_ms, &answer);
}

void recent_load(struct engine *engine, uint64_t at_ms, struct slice frames)
{
    struct frame frame;

    frame_reader_start(engine->scanner, frames);
    while (frame_reader_next(engine->scanner, &frame) == 1)
        if (frame.type == FRAME_RECENT_ANSWER)
            load_answer(engine->recent, at_ms, &frame.recent_answer);
}

void recent_finish(struct engine *engine)
{
    struct recent *recent = engine->recent;
    char id[32];
    int length;
    uint32_t key;

    if (recent->answers.length == 0)
        return;
    /* By time, not by number: what is too old is trimmed by its id. */
    length = snprintf(id, sizeof(id), "%llu-*", (unsigned long long)engine->now_ms);
    key = effects_key(engine->effects, "recent", (struct slice){0});
    effects_open(engine->effects, EFFECT_XADD, key, 3);
    effects_text(engine->effects, slice_of(id, (size_t)length));
    effects_text(engine->effects, slice_text("f"));
    effects_text(engine->effects, buffer_slice(&recent->answers));
    effects_open(engine->effects, EFFECT_XTRIM, key, 1);
    effects_number(engine->effects, (struct number){.epoch = engine->now_ms - RECENT_MS});
    buffer_reset(&recent->answers, 1 << 16);
}
