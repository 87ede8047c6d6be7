/*
 * What the engine needs of Redis before it can go on: users, conversations, single messages, and
 * pages of event logs and of mailboxes that go into dialogs. Answers come in the order of their
 * questions. See partition_state.h.
 */
#include "common/xalloc.h"
#include "router/partition_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is on its way ---- */

struct fetch {
    uint64_t number; /* counts up over all fetches of the partition */
    UT_hash_handle hh;
    size_t length;
    char name[]; /* kind, message, name */
};

static struct slice fetch_name(struct buffer *text, const struct engine_need *need)
{
    buffer_append_byte(text, (char)need->kind);
    buffer_append(text, &need->message, sizeof(need->message));
    buffer_append_slice(text, need->name);
    return buffer_slice(text);
}

static struct fetch *fetch_find(struct partition *partition, struct slice name)
{
    struct fetch *fetch;

    HASH_FIND(hh, partition->fetches, name.data, name.length, fetch);
    return fetch;
}

static bool fetch_add(struct partition *partition, const struct engine_need *need)
{
    struct buffer text = {0};
    struct slice name = fetch_name(&text, need);
    bool is_new = fetch_find(partition, name) == NULL;

    if (is_new) {
        struct fetch *fetch = xcalloc(1, sizeof(*fetch) + name.length);

        fetch->length = name.length;
        memcpy(fetch->name, name.data, name.length);
        fetch->number = ++partition->asked;
        HASH_ADD_KEYPTR(hh, partition->fetches, fetch->name, fetch->length, fetch);
    }
    buffer_finish(&text);
    return is_new;
}

static void fetch_remove(struct partition *partition, const struct engine_need *need)
{
    struct buffer text = {0};
    struct fetch *fetch = fetch_find(partition, fetch_name(&text, need));

    buffer_finish(&text);
    if (fetch == NULL)
        return;
    partition->fetched = fetch->number;
    HASH_DEL(partition->fetches, fetch);
    free(fetch);
}

void partition_forget_fetches(struct partition *partition)
{
    struct fetch *fetch, *next;

    HASH_ITER(hh, partition->fetches, fetch, next)
    {
        HASH_DEL(partition->fetches, fetch);
        free(fetch);
    }
    partition->fetched = partition->asked;
}

size_t partition_fetching(const struct partition *partition)
{
    return HASH_COUNT(partition->fetches);
}

/* ---- one row for each kind ---- */

struct fields {
    struct engine_field *items;
    size_t count;
};

static struct fields fields_of(const struct bus_reply *pairs)
{
    size_t count = bus_reply_count(pairs) / 2;
    struct fields fields = {.items = xcalloc(count ? count : 1, sizeof(*fields.items))};

    fields.count = partition_fields(pairs, fields.items, count);
    return fields;
}

static void on_user(struct partition *partition, const struct engine_need *need,
                    const struct bus_reply *reply)
{
    struct fields fields = fields_of(reply);

    if (engine_user(partition->engine, need->name, fields.items, fields.count))
        partition_fetch(partition,
                        &(struct engine_need){.kind = ENGINE_NEED_UNREAD, .name = need->name});
    free(fields.items);
}

static void on_unread(struct partition *partition, const struct engine_need *need,
                      const struct bus_reply *reply)
{
    struct fields fields = fields_of(reply);

    engine_unread(partition->engine, need->name, fields.items, fields.count);
    free(fields.items);
}

static void on_conversation(struct partition *partition, const struct engine_need *need,
                            const struct bus_reply *reply)
{
    struct fields fields = fields_of(reply);

    engine_conversation(partition->engine, need->name, fields.items, fields.count);
    free(fields.items);
}

static void on_message(struct partition *partition, const struct engine_need *need,
                       const struct bus_reply *reply)
{
    struct fields fields = fields_of(bus_reply_at(bus_reply_at(reply, 0), 1));

    engine_message(partition->engine, need->name, need->message, fields.items, fields.count);
    free(fields.items);
}

static void on_change(struct partition *partition, const struct engine_need *need,
                      const struct bus_reply *reply)
{
    engine_change(partition->engine, need->name, need->message,
                  bus_reply_text(bus_reply_at(reply, 0)));
}

static const struct {
    const char *command, *what;
    size_t words; /* that follow the key: the message's id, and what else the command wants */
    void (*handle)(struct partition *, const struct engine_need *, const struct bus_reply *);
} kinds[] = {
    [ENGINE_NEED_USER] = {"HGETALL", "user", 0, on_user},
    [ENGINE_NEED_UNREAD] = {"HGETALL", "unread", 0, on_unread},
    [ENGINE_NEED_CONVERSATION] = {"HGETALL", NULL, 0, on_conversation},
    [ENGINE_NEED_MESSAGE] = {"XRANGE", "log", 4, on_message},
    [ENGINE_NEED_CHANGE] = {"HMGET", "changes", 1, on_change},
};

/* ---- asking ---- */

struct fetch_request {
    struct partition *partition;
    uint64_t generation;
    struct engine_need need;
    char name[];
};

static void on_fetched(void *arg, const struct bus_reply *reply)
{
    struct fetch_request *request = arg;
    struct partition *partition = request->partition;
    const struct engine_need *need = &request->need;

    if (request->generation == partition->generation && reply != NULL &&
        partition_readable(partition, reply, kinds[need->kind].what, need->name)) {
        fetch_remove(partition, need);
        kinds[need->kind].handle(partition, need, reply);
        partition_go_on(partition);
    }
    free(request);
}

static struct fetch_request *request_create(struct partition *partition,
                                            const struct engine_need *need)
{
    struct fetch_request *request = xcalloc(1, sizeof(*request) + need->name.length + 1);

    request->partition = partition;
    request->generation = partition->generation;
    request->need = *need;
    memcpy(request->name, need->name.data, need->name.length);
    request->need.name = slice_of(request->name, need->name.length);
    return request;
}

static struct slice key_of(struct partition *partition, struct buffer *key,
                           const struct engine_need *need)
{
    struct slice id = need->name;

    if (kinds[need->kind].what != NULL)
        return partition_key(partition, key, kinds[need->kind].what, id);
    if (chat_is_group(id))
        return partition_key(partition, key, "group", slice_of(id.data + 6, id.length - 6));
    return partition_key(partition, key, "dialog", id);
}

void partition_fetch(struct partition *partition, const struct engine_need *need)
{
    struct buffer key = {0};
    char id[24];
    /* Behind the id, the entry that has the message: the first one from there on. */
    struct slice argv[6] = {
        [0] = slice_text(kinds[need->kind].command),
        [3] = slice_text("+"),
        [4] = slice_text("COUNT"),
        [5] = slice_text("1"),
    };
    struct fetch_request *request;

    if (!fetch_add(partition, need))
        return;
    argv[1] = key_of(partition, &key, need);
    argv[2] = slice_print(id, sizeof(id), "%" PRIu64, need->message);
    request = request_create(partition, need);
    if (bus_command(committer_bus(partition->committer), on_fetched, request,
                    2 + kinds[need->kind].words, argv) < 0)
        free(request);
    buffer_finish(&key);
}

/* ---- pages of logs ---- */

struct read_request {
    struct partition *partition;
    uint64_t generation;
    struct engine_read read;
    char user[];
};

static const char *const read_keys[] = {
    [ENGINE_READ_EVENTS] = "events",
    [ENGINE_READ_MAILBOX] = "mailbox",
};

static void on_read(void *arg, const struct bus_reply *reply)
{
    struct read_request *request = arg;
    struct partition *partition = request->partition;

    if (request->generation == partition->generation && reply != NULL &&
        partition_readable(partition, reply, read_keys[request->read.kind], request->read.user)) {
        struct page *page = partition_page_create(request->read.user, reply);

        page->of_read = true;
        page->read = request->read;
        page->read.user = page->user;
        STAILQ_INSERT_TAIL(&partition->pages, page, link);
        partition_go_on(partition);
    }
    free(request);
}

static void ask_read(struct partition *partition, const struct engine_read *read)
{
    struct read_request *request = xcalloc(1, sizeof(*request) + read->user.length + 1);
    struct buffer key = {0};
    char from[NUMBER_TEXT_SIZE + 1] = "(", count[24];
    struct slice argv[6] = {slice_text("XRANGE")};

    request->partition = partition;
    request->generation = partition->generation;
    request->read = *read;
    memcpy(request->user, read->user.data, read->user.length);
    request->read.user = slice_of(request->user, read->user.length);
    number_format(read->after, from + 1);
    snprintf(count, sizeof(count), "%d", ENGINE_PAGE_ENTRIES);
    argv[1] = partition_key(partition, &key, read_keys[read->kind], read->user);
    argv[2] = slice_text(from);
    argv[3] = slice_text("+");
    argv[4] = slice_text("COUNT");
    argv[5] = slice_text(count);
    if (bus_command(committer_bus(partition->committer), on_read, request, 6, argv) < 0)
        free(request);
    buffer_finish(&key);
}

void partition_ask_reads(struct partition *partition)
{
    struct engine_read read;

    while (engine_next_read(partition->engine, &read))
        ask_read(partition, &read);
}
