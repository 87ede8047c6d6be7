/*
 * Where a user's messages went: `sent:<user>`, a stream whose entries are pairs of a message's id
 * and its chat, one entry a commit. Nothing of it is needed in memory. See events.h.
 */
#include "common/xalloc.h"
#include "router/events.h"

#include <stdlib.h>

/* Entries of `sent:<user>`, and pairs of one of them: Lua unpacks so many arguments. */
#define ENTRIES_KEPT 1000
#define PAIRS_MAX 200

/* What a user sent in the commit that is being made. */
struct sent {
    struct buffer texts; /* id, chat, id, chat... */
    size_t ends[2 * PAIRS_MAX];
    size_t count; /* of texts */
    UT_hash_handle hh;
    size_t length;
    char user[];
};

static void write_entry(struct engine *engine, struct sent *sent)
{
    struct effects *effects = engine->effects;
    size_t at = 0;

    if (sent->count == 0)
        return;
    effects_open(effects, EFFECT_XADD_CAPPED,
                 effects_key(effects, "sent", slice_of(sent->user, sent->length)), 2 + sent->count);
    effects_u64(effects, ENTRIES_KEPT);
    effects_number(effects, engine_next_number(engine));
    for (size_t i = 0; i < sent->count; i++) {
        effects_text(effects, slice_of(sent->texts.data + at, sent->ends[i] - at));
        at = sent->ends[i];
    }
    sent->count = 0;
    sent->texts.length = 0;
}

static struct sent *sent_get(struct engine *engine, struct slice user)
{
    struct sent *sent;

    HASH_FIND(hh, engine->sent, user.data, user.length, sent);
    if (sent != NULL)
        return sent;
    sent = xcalloc(1, sizeof(*sent) + user.length);
    memcpy(sent->user, user.data, user.length);
    sent->length = user.length;
    HASH_ADD_KEYPTR(hh, engine->sent, sent->user, sent->length, sent);
    return sent;
}

static void add_text(struct sent *sent, struct slice text)
{
    buffer_append_slice(&sent->texts, text);
    sent->ends[sent->count++] = sent->texts.length;
}

void sent_add(struct engine *engine, const struct frame_message_sent *message)
{
    struct sent *sent = sent_get(engine, message->user);

    if (sent->count == 2 * PAIRS_MAX)
        write_entry(engine, sent);
    add_text(sent, message->id);
    add_text(sent, message->chat);
}

static void forget(struct engine *engine, struct sent *sent)
{
    HASH_DEL(engine->sent, sent);
    buffer_finish(&sent->texts);
    free(sent);
}

void sent_finish(struct engine *engine)
{
    struct sent *sent, *next;

    HASH_ITER(hh, engine->sent, sent, next)
    {
        write_entry(engine, sent);
        forget(engine, sent);
    }
}

void sent_destroy(struct engine *engine)
{
    struct sent *sent, *next;

    HASH_ITER(hh, engine->sent, sent, next)
    forget(engine, sent);
}
