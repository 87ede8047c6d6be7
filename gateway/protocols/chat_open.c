#include "gateway/protocols/chat_open.h"

#include "common/table.h"
#include "common/xalloc.h"

#include <stdlib.h>

/* ---- lists of names ---- */

static size_t end_of(const struct chat_list *list, size_t index)
{
    size_t end;

    memcpy(&end, list->ends.data + index * sizeof(end), sizeof(end));
    return end;
}

void chat_list_add(struct chat_list *list, struct slice name)
{
    buffer_append_slice(&list->bytes, name);
    buffer_append(&list->ends, &list->bytes.length, sizeof(list->bytes.length));
}

size_t chat_list_count(const struct chat_list *list)
{
    return list->ends.length / sizeof(size_t);
}

struct slice chat_list_at(const struct chat_list *list, size_t index)
{
    size_t begin = index ? end_of(list, index - 1) : 0;

    return slice_of(list->bytes.data + begin, end_of(list, index) - begin);
}

void chat_list_finish(struct chat_list *list)
{
    buffer_finish(&list->bytes);
    buffer_finish(&list->ends);
    *list = (struct chat_list){0};
}

static void destroy_walk(struct chat_walk *walk)
{
    if (walk == NULL)
        return;
    for (size_t i = 0; walk->parts && i < chat_list_count(&walk->chats); i++)
        buffer_finish(&walk->parts[i].json);
    free(walk->parts);
    chat_list_finish(&walk->chats);
    free(walk);
}

/* ---- requests that wait ---- */

void chat_open_init(struct chat_open_list *list)
{
    TAILQ_INIT(&list->queue);
    list->count = list->waiting = 0;
}

void chat_open_remove(struct chat_open_list *list, struct chat_open *open)
{
    TAILQ_REMOVE(&list->queue, open, link);
    list->count--;
    list->waiting -= open->waiting;
    destroy_walk(open->walk);
    free(open);
}

void chat_open_finish(struct chat_open_list *list)
{
    struct chat_open *open;

    while ((open = TAILQ_FIRST(&list->queue)) != NULL)
        chat_open_remove(list, open);
}

/* What is not there keeps data NULL. */
static void take(struct slice *slice, char **at)
{
    if (slice->data == NULL)
        return;
    if (slice->length > 0)
        memcpy(*at, slice->data, slice->length);
    slice->data = *at;
    *at += slice->length;
}

struct chat_open *chat_open_add(struct chat_open_list *list, const struct chat_open *wanted)
{
    size_t length = wanted->name.id.length + wanted->name.type.length + wanted->chat.length +
                    wanted->chat_json.length + wanted->client_id.length;
    struct chat_open *open;
    char *at;

    if (list->count >= CHAT_OPEN_MAX)
        return NULL;
    open = xcalloc(1, sizeof(*open) + length + 1);
    *open = *wanted;
    at = open->bytes;
    take(&open->name.id, &at);
    take(&open->name.type, &at);
    take(&open->chat, &at);
    take(&open->chat_json, &at);
    take(&open->client_id, &at);
    TAILQ_INSERT_TAIL(&list->queue, open, link);
    list->count++;
    return open;
}

struct chat_open *chat_open_find(struct chat_open_list *list, uint64_t number)
{
    struct chat_open *open;

    TAILQ_FOREACH(open, &list->queue, link)
    {
        if (open->number == number)
            return open;
    }
    return NULL;
}

bool chat_open_has(const struct chat_open_list *list, struct slice id)
{
    const struct chat_open *open;

    TAILQ_FOREACH(open, &list->queue, link)
    {
        if (open->name.id.data && slice_equal(open->name.id, id))
            return true;
    }
    return false;
}

void chat_open_wait(struct chat_open_list *list, struct chat_open *open)
{
    open->waiting = true;
    list->waiting++;
}

struct chat_open *chat_open_next_waiting(struct chat_open_list *list)
{
    struct chat_open *open = list->waiting ? TAILQ_FIRST(&list->queue) : NULL;

    while (open && !open->waiting)
        open = TAILQ_NEXT(open, link);
    if (open) {
        open->waiting = false;
        list->waiting--;
    }
    return open;
}

struct chat_open *chat_open_first(const struct chat_open_list *list)
{
    return TAILQ_FIRST(&list->queue);
}

/* ---- answers ---- */

struct chat_known {
    TAILQ_ENTRY(chat_known) link;
    UT_hash_handle hh;
    size_t id_length, length;
    char bytes[]; /* id, answer */
};

static size_t size_of(const struct chat_known *known)
{
    return sizeof(*known) + known->id_length + known->length;
}

static void forget(struct chat_answers *answers, struct chat_known *known)
{
    HASH_DEL(answers->by_id, known);
    TAILQ_REMOVE(answers->queue, known, link);
    answers->count--;
    answers->bytes -= size_of(known);
    free(known);
}

static struct chat_known *find_known(const struct chat_answers *answers, struct slice id)
{
    struct chat_known *known;

    HASH_FIND(hh, answers->by_id, id.data, id.length, known);
    return known;
}

static struct chat_known *make(struct slice id, struct slice answer)
{
    struct chat_known *known = xcalloc(1, sizeof(*known) + id.length + answer.length);

    known->id_length = id.length;
    known->length = answer.length;
    memcpy(known->bytes, id.data, id.length);
    memcpy(known->bytes + id.length, answer.data, answer.length);
    return known;
}

void chat_answers_keep(struct chat_answers *answers, struct slice id, struct slice answer)
{
    struct chat_known *known;

    if (answers->queue == NULL) {
        answers->queue = xcalloc(1, sizeof(*answers->queue));
        TAILQ_INIT(answers->queue);
    }
    known = find_known(answers, id);
    if (known)
        forget(answers, known);
    if (answer.length > CHAT_ANSWERS_BYTES / 8)
        return;
    known = make(id, answer);
    while (answers->count == CHAT_ANSWERS_MAX ||
           answers->bytes + size_of(known) > CHAT_ANSWERS_BYTES)
        forget(answers, TAILQ_FIRST(answers->queue));
    HASH_ADD_KEYPTR(hh, answers->by_id, known->bytes, known->id_length, known);
    TAILQ_INSERT_TAIL(answers->queue, known, link);
    answers->count++;
    answers->bytes += size_of(known);
}

struct slice chat_answers_find(const struct chat_answers *answers, struct slice id)
{
    const struct chat_known *known = find_known(answers, id);

    return known ? slice_of(known->bytes + known->id_length, known->length) : slice_of(NULL, 0);
}

void chat_answers_finish(struct chat_answers *answers)
{
    while (answers->count > 0)
        forget(answers, TAILQ_FIRST(answers->queue));
    free(answers->queue);
    answers->queue = NULL;
}
