#include "gateway/protocols/chat_open.h"

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
    open = xmalloc(sizeof(*open) + length);
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
    struct chat_open *open = TAILQ_FIRST(&list->queue);

    while (open && open->number < number)
        open = TAILQ_NEXT(open, link);
    return open && open->number == number ? open : NULL;
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

/* ---- requests that were given up ---- */

void chat_give_up(struct chat_given_up *given_up, uint64_t number)
{
    uint64_t *place;

    if (given_up->numbers == NULL)
        given_up->numbers = xcalloc(CHAT_OPEN_MAX, sizeof(*given_up->numbers));
    place = &given_up->numbers[given_up->next++ % CHAT_OPEN_MAX];
    if (*place > given_up->forgotten)
        given_up->forgotten = *place;
    *place = number;
}

bool chat_was_given_up(const struct chat_given_up *given_up, uint64_t number)
{
    for (size_t i = 0; given_up->numbers && i < CHAT_OPEN_MAX; i++)
        if (given_up->numbers[i] == number)
            return true;
    return number <= given_up->forgotten;
}

void chat_given_up_finish(struct chat_given_up *given_up)
{
    free(given_up->numbers);
    *given_up = (struct chat_given_up){0};
}

/* ---- answers ---- */

#define FIRST_PLACES 8
/* What a place keeps of a long answer's memory for the next one. */
#define PLACE_KEEP_BYTES 256

/* A place of the ring. What was forgotten leaves its memory to the next answer that comes there. */
struct chat_known {
    struct buffer bytes; /* id, answer */
    size_t id_length;
};

static size_t place_of(const struct chat_answers *answers, size_t index)
{
    return (answers->first + index) & (answers->capacity - 1);
}

static void grow(struct chat_answers *answers)
{
    size_t capacity = answers->capacity ? answers->capacity * 2 : FIRST_PLACES;
    struct chat_known *known = xcalloc(capacity, sizeof(*known));
    unsigned *hashes = xcalloc(capacity, sizeof(*hashes));

    for (size_t i = 0; i < answers->count; i++) {
        known[i] = answers->known[place_of(answers, i)];
        hashes[i] = answers->hashes[place_of(answers, i)];
    }
    free(answers->known);
    free(answers->hashes);
    answers->known = known;
    answers->hashes = hashes;
    answers->capacity = capacity;
    answers->first = 0;
}

static void forget_oldest(struct chat_answers *answers)
{
    struct chat_known *oldest = &answers->known[answers->first];

    answers->bytes -= oldest->bytes.length;
    buffer_reset(&oldest->bytes, PLACE_KEEP_BYTES);
    answers->first = place_of(answers, 1);
    answers->count--;
}

static void make_room(struct chat_answers *answers, size_t bytes)
{
    while (answers->count == CHAT_ANSWERS_MAX ||
           (answers->count > 0 && answers->bytes + bytes > CHAT_ANSWERS_BYTES))
        forget_oldest(answers);
    if (answers->count == answers->capacity)
        grow(answers);
}

/* Ids of one client differ in their ends. That he can choose them so that they do not is his own
 * affair: it is his connection that is slower then. */
static unsigned hash_of(struct slice id)
{
    size_t length = id.length < sizeof(uint64_t) ? id.length : sizeof(uint64_t);
    uint64_t end = 0;

    memcpy(&end, id.data + id.length - length, length);
    return (unsigned)((end + id.length) * 0x9e3779b97f4a7c15 >> 32);
}

void chat_answers_keep(struct chat_answers *answers, struct slice id, struct slice answer)
{
    struct chat_known *known;
    size_t place;

    if (answer.length > CHAT_ANSWERS_BYTES / 8)
        answer.length = 0;
    make_room(answers, id.length + answer.length);
    place = place_of(answers, answers->count++);
    known = &answers->known[place];
    known->id_length = id.length;
    buffer_append_slice(&known->bytes, id);
    buffer_append_slice(&known->bytes, answer);
    answers->hashes[place] = hash_of(id);
    answers->bytes += known->bytes.length;
}

/* The last one with this id. */
struct slice chat_answers_find(const struct chat_answers *answers, struct slice id)
{
    unsigned hash = hash_of(id);

    for (size_t i = answers->count; i > 0; i--) {
        size_t place = place_of(answers, i - 1);
        const struct chat_known *known = &answers->known[place];

        if (answers->hashes[place] == hash &&
            slice_equal(slice_of(known->bytes.data, known->id_length), id))
            return slice_of(known->bytes.data + known->id_length,
                            known->bytes.length - known->id_length);
    }
    return slice_of(NULL, 0);
}

void chat_answers_finish(struct chat_answers *answers)
{
    for (size_t i = 0; i < answers->capacity; i++)
        buffer_finish(&answers->known[i].bytes);
    free(answers->known);
    free(answers->hashes);
    *answers = (struct chat_answers){0};
}
