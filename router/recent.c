/*
 * Answers to requests whose ids their clients supplied: the same id with the same content within two minutes is answered as before and not applied again
 * (decisions.md, idempotent retry). Bounded by age, by answers of a user, and by bytes. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdio.h>
#include <stdlib.h>

#define RECENT_MS (2 * 60 * 1000)
#define RECENT_PER_USER 1000
#define RECENT_BYTES (16 * 1024 * 1024)

struct recent_user;

struct recent_item {
    struct recent_answer answer;
    uint64_t at_ms;
    size_t bytes;
    struct recent_user *owner;
    TAILQ_ENTRY(recent_item) by_age, of_user;
    UT_hash_handle hh; /* in owner->items, by id */
    size_t id_length;
    char id[];
};
TAILQ_HEAD(recent_items, recent_item);

struct recent_user {
    struct recent_item *items;
    struct recent_items by_age;
    UT_hash_handle hh;
    char id[];
};

struct recent {
    struct recent_user *users;
    struct recent_items by_age;
    size_t count, bytes;
    struct buffer answers; /* of this commit, as frames */
};

struct recent *recent_create(void)
{
    struct recent *recent = xcalloc(1, sizeof(*recent));

    TAILQ_INIT(&recent->by_age);
    return recent;
}

static void drop(struct recent *recent, struct recent_item *item)
{
    struct recent_user *owner = item->owner;

    TAILQ_REMOVE(&recent->by_age, item, by_age);
    TAILQ_REMOVE(&owner->by_age, item, of_user);
    HASH_DEL(owner->items, item);
    recent->count--;
    recent->bytes -= item->bytes;
    free((void *)item->answer.delivered);
    free(item);
    if (owner->items == NULL) {
        HASH_DEL(recent->users, owner);
        free(owner);
    }
}

void recent_destroy(struct recent **recent)
{
    if (*recent == NULL)
        return;
    while (!TAILQ_EMPTY(&(*recent)->by_age))
        drop(*recent, TAILQ_FIRST(&(*recent)->by_age));
    buffer_finish(&(*recent)->answers);
    free(*recent);
    *recent = NULL;
}

size_t recent_count(const struct recent *recent)
{
    return recent->count;
}

/* FNV-1a, 64 bits; each text is closed so that ("ab","c") is not ("a","bc"). */
uint64_t recent_hash_begin(void)
{
    return 0xcbf29ce484222325;
}

uint64_t recent_hash_add(uint64_t hash, struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3;
    return (hash ^ text.length) * 0x100000001b3;
}

static struct recent_user *owner_find(const struct recent *recent, struct slice user)
{
    struct recent_user *owner;

    HASH_FIND(hh, recent->users, user.data, user.length, owner);
    return owner;
}

static struct recent_user *owner_get(struct recent *recent, struct slice user)
{
    struct recent_user *owner = owner_find(recent, user);

    if (owner != NULL)
        return owner;
    owner = xcalloc(1, sizeof(*owner) + user.length + 1);
    memcpy(owner->id, user.data, user.length);
    TAILQ_INIT(&owner->by_age);
    HASH_ADD_KEYPTR(hh, recent->users, owner->id, user.length, owner);
    return owner;
}

static struct recent_item *item_find(const struct recent_user *owner, struct slice id)
{
    struct recent_item *item = NULL;

    if (owner != NULL)
        HASH_FIND(hh, owner->items, id.data, id.length, item);
    return item;
}

const struct recent_answer *recent_find(struct engine *engine, struct slice user, struct slice id,
                                        uint64_t content_hash)
{
    const struct recent_item *item = item_find(owner_find(engine->recent, user), id);

    if (item == NULL || item->answer.content_hash != content_hash ||
        item->at_ms + RECENT_MS < engine->now_ms)
        return NULL;
    return &item->answer;
}

static void drop_excess(struct recent *recent, uint64_t now_ms)
{
    struct recent_item *oldest;

    while ((oldest = TAILQ_FIRST(&recent->by_age)) != NULL &&
           (recent->bytes > RECENT_BYTES || oldest->at_ms + RECENT_MS < now_ms))
        drop(recent, oldest);
}

static void insert(struct recent *recent, struct slice user, struct slice id, uint64_t at_ms,
                   const struct recent_answer *answer)
{
    struct recent_user *owner = owner_get(recent, user);
    struct recent_item *item = item_find(owner, id);
    size_t list = answer->delivered_count * sizeof(*answer->delivered);

    if (item != NULL) {
        drop(recent, item);
        owner = owner_get(recent, user);
    }
    item = xcalloc(1, sizeof(*item) + id.length + 1);
    memcpy(item->id, id.data, id.length);
    item->id_length = id.length;
    item->answer = *answer;
    item->answer.delivered = NULL;
    if (list) {
        item->answer.delivered = xmalloc(list);
        memcpy((void *)item->answer.delivered, answer->delivered, list);
    }
    item->at_ms = at_ms;
    item->bytes = sizeof(*item) + id.length + list;
    item->owner = owner;
    HASH_ADD_KEYPTR(hh, owner->items, item->id, item->id_length, item);
    TAILQ_INSERT_TAIL(&owner->by_age, item, of_user);
    TAILQ_INSERT_TAIL(&recent->by_age, item, by_age);
    recent->count++;
    recent->bytes += item->bytes;
    if (HASH_COUNT(owner->items) > RECENT_PER_USER)
        drop(recent, TAILQ_FIRST(&owner->by_age));
    drop_excess(recent, at_ms);
}

void recent_keep(struct engine *engine, struct slice user, struct slice id,
                 const struct recent_answer *answer)
{
    insert(engine->recent, user, id, engine->now_ms, answer);
    frame_encode(&engine->recent->answers,
                 &(struct frame){.type = FRAME_RECENT_ANSWER,
                                 .recent_answer = {
                                     .user = user,
                                     .id = id,
                                     .content_hash = answer->content_hash,
                                     .kind = answer->kind,
                                     .status = answer->status,
                                     .recipients = answer->recipients,
                                     .delivered = {.values = answer->delivered,
                                                   .count = answer->delivered_count},
                                 }});
}

void recent_load(struct engine *engine, uint64_t at_ms, struct slice frames)
{
    struct frame frame;

    frame_reader_start(engine->scanner, frames);
    while (frame_reader_next(engine->scanner, &frame) == 1) {
        const struct frame_recent_answer *kept = &frame.recent_answer;
        struct recent_answer answer = {
            .content_hash = kept->content_hash,
            .kind = kept->kind,
            .status = kept->status,
            .recipients = kept->recipients,
            .delivered = kept->delivered.values,
            .delivered_count = kept->delivered.count,
        };

        if (frame.type == FRAME_RECENT_ANSWER)
            insert(engine->recent, kept->user, kept->id, at_ms, &answer);
    }
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
