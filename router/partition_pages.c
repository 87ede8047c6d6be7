#include "common/xalloc.h"
#include "router/partition_state.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE_FIELDS 16

static struct slice keep_text(struct buffer *bytes, struct slice text)
{
    struct slice kept = slice_of(bytes->data + bytes->length, text.length);

    buffer_append_slice(bytes, text);
    return kept;
}

static size_t page_size(const struct bus_reply *entries)
{
    size_t size = 0;

    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *fields = bus_reply_at(bus_reply_at(entries, i), 1);

        for (size_t j = 0; j < bus_reply_count(fields); j++)
            size += bus_reply_text(bus_reply_at(fields, j)).length;
    }
    return size;
}

static void keep_entry(struct page *page, struct buffer *bytes, const struct bus_reply *entry)
{
    struct engine_page_entry *to = &page->entries[page->count];
    struct engine_field *fields = &page->fields[page->count * PAGE_FIELDS];

    if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &to->number) < 0)
        return;
    to->fields = fields;
    to->field_count = partition_fields(bus_reply_at(entry, 1), fields, PAGE_FIELDS);
    for (size_t i = 0; i < to->field_count; i++) {
        fields[i].name = keep_text(bytes, fields[i].name);
        fields[i].value = keep_text(bytes, fields[i].value);
    }
    page->count++;
}

struct page *partition_page_create(struct slice user, const struct bus_reply *entries)
{
    struct page *page = xcalloc(1, sizeof(*page));
    size_t count = bus_reply_count(entries);
    struct buffer bytes = {0};

    /* Room for all of it at once: the slices point into it. */
    buffer_reserve(&bytes, user.length + page_size(entries) + 1);
    page->entries = xcalloc(count, sizeof(*page->entries));
    page->fields = xcalloc(count * PAGE_FIELDS, sizeof(*page->fields));
    page->user = keep_text(&bytes, user);
    for (size_t i = 0; i < count; i++)
        keep_entry(page, &bytes, bus_reply_at(entries, i));
    page->bytes = bytes.data;
    return page;
}

static void on_page(void *arg, const struct bus_reply *reply)
{
    struct partition_request *request = arg;
    struct partition *partition = request->partition;
    struct page *page;

    if (!partition_request_counts(request) || reply == NULL) {
        partition_request_destroy(request);
        return;
    }
    if (!partition_readable(partition, reply, "mailbox", request->user)) {
        partition_request_destroy(request);
        return;
    }
    page = partition_page_create(request->user, reply);
    page->ticket = request->ticket;
    STAILQ_INSERT_TAIL(&partition->pages, page, link);
    partition_request_destroy(request);
    partition_pump(partition);
}

static void ask_page(struct partition *partition, const struct engine_page_request *wanted)
{
    struct buffer key = {0};
    char from[NUMBER_TEXT_SIZE + 1] = "(";
    char count[24];
    struct partition_request *request = partition_request_create(partition, wanted->user);
    struct slice argv[6];

    request->ticket = wanted->ticket;
    number_format(wanted->after, from + 1);
    snprintf(count, sizeof(count), "%d", ENGINE_PAGE_ENTRIES);
    argv[0] = slice_text("XRANGE");
    argv[1] = partition_key(partition, &key, "mailbox", wanted->user);
    argv[2] = slice_text(number_is_zero(wanted->after) ? "-" : from);
    argv[3] = slice_text("+");
    argv[4] = slice_text("COUNT");
    argv[5] = slice_text(count);
    if (bus_command(committer_bus(partition->committer), on_page, request, 6, argv) < 0)
        partition_request_destroy(request);
    buffer_finish(&key);
}

void partition_ask_pages(struct partition *partition)
{
    struct engine_page_request wanted;

    while (engine_next_page(partition->engine, &wanted))
        ask_page(partition, &wanted);
    partition_ask_reads(partition);
}

static void page_destroy(struct page *page)
{
    free(page->entries);
    free(page->fields);
    free(page->bytes);
    free(page);
}

void partition_remove_page(struct partition *partition)
{
    struct page *page = STAILQ_FIRST(&partition->pages);

    STAILQ_REMOVE_HEAD(&partition->pages, link);
    page_destroy(page);
}
