/*
 * Users whose messages stay in the mailbox until they are read: those who came with
 * CONNECTION_FLAG_KEEP, for mailbox_days after they were last here so. What was confirmed stays
 * below a watermark; the index `unread:<id>` names all that is there. See mailbox.h.
 */
#include "common/xalloc.h"
#include "router/mailbox.h"

#include <stdlib.h>

/* Pairs of one effect: Lua unpacks so many arguments. */
#define WRITTEN_AT_ONCE 250

struct unread_item {
    struct number number;
    uint64_t size, sent_at_ms, protocol;
    struct slice from, id; /* in text */
    TAILQ_ENTRY(unread_item) link;
    LIST_ENTRY(unread_item) fresh_link;
    bool stored;              /* in the mailbox; otherwise only pending */
    bool fresh;               /* stored in this commit, not written yet */
    struct unread_item *same; /* another with this id; only the first is in the table by id */
    bool first;
    UT_hash_handle hh, hh_id;
    char text[];
};

struct unread {
    struct unread_item *by_number, *by_id;
    TAILQ_HEAD(unread_list, unread_item) items; /* in order of numbers */
    LIST_HEAD(, unread_item) fresh;
};

static struct unread *index_of(struct user *user)
{
    if (user->unread == NULL) {
        user->unread = xcalloc(1, sizeof(*user->unread));
        TAILQ_INIT(&user->unread->items);
    }
    return user->unread;
}

/* Nobody outside chooses numbers. */
static unsigned number_hash(struct number number)
{
    return (unsigned)((number.sequence ^ number.epoch) * 0x9e3779b97f4a7c15 >> 32);
}

static struct unread_item *find(const struct user *user, struct number number)
{
    struct unread_item *item = user->unread ? TAILQ_LAST(&user->unread->items, unread_list) : NULL;

    if (item == NULL || number_compare(item->number, number) < 0)
        return NULL;
    HASH_FIND_BYHASHVALUE(hh, user->unread->by_number, &number, sizeof(number), number_hash(number),
                          item);
    return item;
}

static struct unread_item *find_id(const struct user *user, struct slice id)
{
    struct unread_item *item = NULL;

    if (user->unread != NULL)
        HASH_FIND(hh_id, user->unread->by_id, id.data, id.length, item);
    return item;
}

static struct unread_item *item_create(struct slice from, struct slice id)
{
    struct unread_item *item = xcalloc(1, sizeof(*item) + from.length + id.length + 1);

    item->from = slice_of(item->text, from.length);
    item->id = slice_of(item->text + from.length, id.length);
    if (from.length)
        memcpy(item->text, from.data, from.length);
    if (id.length)
        memcpy(item->text + from.length, id.data, id.length);
    return item;
}

static void add_id(struct unread *unread, struct unread_item *item)
{
    struct unread_item *same;
    unsigned hash = table_hash(item->id.data, item->id.length);

    HASH_FIND_BYHASHVALUE(hh_id, unread->by_id, item->id.data, item->id.length, hash, same);
    item->first = same == NULL;
    if (item->first) {
        HASH_ADD_KEYPTR_BYHASHVALUE(hh_id, unread->by_id, item->id.data, item->id.length, hash,
                                    item);
    } else {
        item->same = same->same;
        same->same = item;
    }
}

static void insert(struct unread *unread, struct unread_item *item)
{
    struct unread_item *before = TAILQ_LAST(&unread->items, unread_list);

    while (before != NULL && number_compare(before->number, item->number) > 0)
        before = TAILQ_PREV(before, unread_list, link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&unread->items, before, item, link);
    else
        TAILQ_INSERT_HEAD(&unread->items, item, link);
    HASH_ADD_BYHASHVALUE(hh, unread->by_number, number, sizeof(item->number),
                         number_hash(item->number), item);
    add_id(unread, item);
}

static void remove_id(struct unread *unread, struct unread_item *item)
{
    struct unread_item *first, *second = item->same;

    if (item->first) {
        HASH_DELETE(hh_id, unread->by_id, item);
        if (second != NULL)
            add_id(unread, second);
        return;
    }
    HASH_FIND(hh_id, unread->by_id, item->id.data, item->id.length, first);
    while (first->same != item)
        first = first->same;
    first->same = second;
}

static void item_destroy(struct unread *unread, struct unread_item *item)
{
    if (item->fresh)
        LIST_REMOVE(item, fresh_link);
    remove_id(unread, item);
    HASH_DEL(unread->by_number, item);
    TAILQ_REMOVE(&unread->items, item, link);
    free(item);
}

void unread_forget_gone(struct user *user)
{
    free(user->gone);
    user->gone = NULL;
    user->gone_count = 0;
}

void unread_destroy(struct user *user)
{
    if (user->unread == NULL)
        return;
    while (!TAILQ_EMPTY(&user->unread->items))
        item_destroy(user->unread, TAILQ_FIRST(&user->unread->items));
    free(user->unread);
    user->unread = NULL;
}

size_t unread_count(const struct user *user)
{
    return user->unread ? HASH_COUNT(user->unread->by_number) : 0;
}

/* ---- the index in Redis ---- */

static uint32_t unread_key(struct engine *engine, const struct user *user)
{
    return effects_key(engine->effects, "unread", user_slice(user));
}

/* "size sent_at protocol from", and behind a newline, which no user id has, the message's id. */
static void write_item(struct effects *effects, const struct unread_item *item,
                       struct buffer *value)
{
    value->length = 0;
    buffer_append_u64(value, item->size);
    buffer_append_byte(value, ' ');
    buffer_append_u64(value, item->sent_at_ms);
    buffer_append_byte(value, ' ');
    buffer_append_u64(value, item->protocol);
    buffer_append_byte(value, ' ');
    buffer_append_slice(value, item->from);
    buffer_append_byte(value, '\n');
    buffer_append_slice(value, item->id);
    effects_number(effects, item->number);
    effects_text(effects, buffer_slice(value));
}

void unread_finish(struct engine *engine, struct user *user)
{
    struct unread_item *item;
    struct buffer value = {0};
    size_t count = 0, left = 0;

    if (user->unread == NULL)
        return;
    LIST_FOREACH(item, &user->unread->fresh, fresh_link)
    left++;
    while ((item = LIST_FIRST(&user->unread->fresh)) != NULL) {
        if (count == 0) {
            count = left < WRITTEN_AT_ONCE ? left : WRITTEN_AT_ONCE;
            effects_open(engine->effects, EFFECT_HSET, unread_key(engine, user), 2 * count);
        }
        write_item(engine->effects, item, &value);
        item->fresh = false;
        LIST_REMOVE(item, fresh_link);
        count--;
        left--;
    }
    buffer_finish(&value);
}

static struct unread_item *load_item(const struct engine_field *field)
{
    struct slice value = field->value, sender;
    uint64_t size = load_u64(load_word(&value)), sent_at_ms = load_u64(load_word(&value));
    uint64_t protocol = load_u64(load_word(&value));
    const char *newline = value.length ? memchr(value.data, '\n', value.length) : NULL;
    struct unread_item *item;
    struct number number;

    if (newline == NULL || number_parse(field->name, &number) < 0)
        return NULL;
    sender = slice_of(value.data, (size_t)(newline - value.data));
    item = item_create(sender, slice_of(newline + 1, value.length - sender.length - 1));
    item->number = number;
    item->size = size;
    item->sent_at_ms = sent_at_ms;
    item->protocol = protocol;
    item->stored = true;
    return item;
}

static int compare_items(const void *a, const void *b)
{
    return number_compare((*(struct unread_item *const *)a)->number,
                          (*(struct unread_item *const *)b)->number);
}

void unread_load(struct user *user, const struct engine_field *fields, size_t count)
{
    struct unread_item **items = xcalloc(count ? count : 1, sizeof(struct unread_item *));
    struct unread *unread = index_of(user);
    size_t loaded = 0;

    for (size_t i = 0; i < count; i++)
        if ((items[loaded] = load_item(&fields[i])) != NULL)
            loaded++;
    qsort(items, loaded, sizeof(struct unread_item *), compare_items);
    for (size_t i = 0; i < loaded; i++)
        insert(unread, items[i]);
    free(items);
}

static struct unread_item *enter(struct user *user, const struct message *message)
{
    struct unread_item *item = find(user, message->number);

    if (item != NULL)
        return item;
    item = item_create(message->from, message->id);
    item->number = message->number;
    item->size = message_size(message);
    item->sent_at_ms = message->sent_at_ms;
    item->protocol = message->protocol;
    insert(index_of(user), item);
    return item;
}

void unread_add(struct engine *engine, struct user *user, const struct message *message)
{
    struct unread_item *item = enter(user, message);

    if (!message->stored || item->stored)
        return;
    item->stored = item->fresh = true;
    LIST_INSERT_HEAD(&user->unread->fresh, item, fresh_link);
    user_mailbox_changed(engine, user);
}

static void remove_item(struct user *user, struct unread_item *item)
{
    user->unread_changed |= item->stored;
    item_destroy(user->unread, item);
}

void unread_remove(struct user *user, struct number number)
{
    struct unread_item *item = find(user, number);

    if (item != NULL)
        remove_item(user, item);
}

bool unread_known(const struct user *user, struct number number)
{
    return find(user, number) != NULL;
}

/* ---- the watermark ---- */

static void raise_watermark(struct engine *engine, struct user *user, struct number number)
{
    user->delivered = number;
    if (number_compare(user->paged, number) < 0)
        user->paged = number;
    user_delivered_changed(engine, user);
}

void unread_confirm(struct engine *engine, struct user *user, const struct message *message)
{
    user->waiting -= user->waiting > 0;
    user_mailbox_changed(engine, user);
    raise_watermark(engine, user, message->number);
}

void unread_settle(struct engine *engine, struct user *user)
{
    if (user->keep && user->waiting == 0 && user->pending_count == 0 &&
        number_compare(user->delivered, user->sent) < 0)
        raise_watermark(engine, user, user->sent);
}

bool unread_next(const struct user *user, struct number after, struct number *number)
{
    const struct unread_item *item;

    if (user->unread == NULL)
        return false;
    TAILQ_FOREACH(item, &user->unread->items, link)
    {
        if (number_compare(item->number, user->delivered) > 0)
            return false;
        if (number_compare(item->number, after) > 0) {
            *number = item->number;
            return true;
        }
    }
    return false;
}

/* ---- the mark ---- */

static void stay_marked(struct engine *engine, struct user *user)
{
    user->keep_until_ms = engine->now_ms + engine->limits.mailbox_ms;
    user_mailbox_changed(engine, user);
}

/* All that waits already, as far as it is in memory; the rest is entered as it is read. */
static void index_waiting(struct engine *engine, struct user *user)
{
    const struct message *message;

    TAILQ_FOREACH(message, &user->pending, link)
    unread_add(engine, user, message);
    TAILQ_FOREACH(message, &user->window, link)
    unread_add(engine, user, message);
}

void unread_begin(struct engine *engine, struct user *user, uint64_t protocol)
{
    stay_marked(engine, user);
    user->keep_protocol = protocol;
    if (user->keep)
        return;
    user->keep = true;
    index_waiting(engine, user);
}

void unread_on_closed(struct engine *engine, struct user *user)
{
    stay_marked(engine, user);
}

static void note_gone(struct user *user, struct number number)
{
    user->gone = xrealloc(user->gone, (user->gone_count + 1) * sizeof(*user->gone));
    user->gone[user->gone_count++] = number;
}

bool unread_was_read(const struct user *user, struct number number)
{
    for (size_t i = 0; i < user->gone_count; i++)
        if (number_compare(user->gone[i], number) == 0)
            return true;
    return false;
}

/*
 * What has no place but the output stream is read as it comes, as a rule: then the watermark rises
 * over it, and it was never stored. Read out of turn, all that is pending must be in the mailbox.
 */
static void leave_stream(struct engine *engine, struct user *user, struct unread_item *item)
{
    if (mailbox_next_is(user, item->number))
        raise_watermark(engine, user, item->number);
    else
        mailbox_store_pending(engine, user);
}

static void drop(struct engine *engine, struct user *user, struct unread_item *item)
{
    struct number number = item->number;

    if (!item->stored)
        leave_stream(engine, user, item);
    if (user->page_asked)
        note_gone(user, number);
    if (item->stored)
        unstore_entry(engine, user, number, item->size);
    remove_item(user, item);
    mailbox_forget(engine, user, number);
}

static void end_mark(struct engine *engine, struct user *user)
{
    static const char *const fields[] = {"keep", "delivered", "waiting"};
    struct effects *effects = engine->effects;
    struct unread_item *item;

    while ((item = TAILQ_FIRST(&index_of(user)->items)) != NULL &&
           number_compare(item->number, user->delivered) <= 0)
        drop(engine, user, item);
    unread_destroy(user);
    effects_open(effects, EFFECT_DEL, unread_key(engine, user), 0);
    effects_open(effects, EFFECT_HDEL, effects_key(effects, "user", user_slice(user)), 3);
    for (int i = 0; i < 3; i++)
        effects_text(effects, slice_text(fields[i]));
    /* Of what is below the watermark, the output streams may still hold some: also of what was read
     * in this commit. */
    unread_settle(engine, user);
    user_remember_seen(engine, user, user->delivered);
    user->keep = false;
    user->keep_written = 0;
    user->waiting = user->mailbox_count;
    user->delivered = (struct number){0};
    user_mailbox_changed(engine, user);
    mailbox_end_keep(engine, user);
}

void unread_age(struct engine *engine, struct user *user)
{
    struct unread_item *item;

    if (!user->keep)
        return;
    if (user->keep_count == 0 && user->keep_until_ms <= engine->now_ms) {
        end_mark(engine, user);
        return;
    }
    while ((item = TAILQ_FIRST(&index_of(user)->items)) != NULL &&
           item->sent_at_ms + engine->limits.mailbox_ms < engine->now_ms) {
        engine->counters.expired++;
        drop(engine, user, item);
    }
}

/* ---- reading ---- */

void unread_on_read(struct engine *engine, struct user *user, struct slice id, struct slice from)
{
    struct unread_item *item = find_id(user, id), *next;

    for (; item != NULL; item = next) {
        next = item->same;
        if (from.length == 0 || slice_equal(item->from, from))
            drop(engine, user, item);
    }
    mailbox_page(engine, user);
    user_settle(engine, user);
}

bool unread_repeated(const struct user *user, const struct message *message,
                     struct frame_direct_reply *reply)
{
    const struct unread_item *item = find_id(user, message->id);

    if (message->protocol != user->keep_protocol)
        return false;
    while (item != NULL &&
           (item->protocol != message->protocol || !slice_equal(item->from, message->from)))
        item = item->same;
    if (item == NULL)
        return false;
    if (number_compare(item->number, user->delivered) <= 0)
        reply->status = DIRECT_DELIVERED;
    else
        reply->status = user->connection_count ? DIRECT_BACKLOGGED : DIRECT_QUEUED;
    return true;
}
