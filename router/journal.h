/*
 * Journals: streams whose items have dense numbers, the events of a user and the messages of a
 * conversation. What a commit adds to one is one entry, or a few when it is long: entry `17-0` ends
 * with item 17, its only field has the number of its first item for a name and their records
 * (common/record.h) for a value. The first entry from `15` on is the one that has item 15. Inside
 * the engine.
 */
#ifndef ROUTER_JOURNAL_H
#define ROUTER_JOURNAL_H

#include "common/record.h"
#include "router/effects.h"
#include "router/engine.h"

/* The entry that is being made. NULL: nothing has been added. */
struct journal;

/* One more item: number is that of the last one and one. fields as of record_write. Returns whether
 * the entry is long enough to be written. */
bool journal_add(struct journal **, uint64_t number, const struct record_field *fields,
                 size_t count);
/* Writes the entry, if there is one, and gives its memory back. */
void journal_write(struct journal **, struct effects *, uint32_t key);
/* It is not written. */
void journal_drop(struct journal **);

/* The items of an entry that was read. */
struct journal_reader {
    uint64_t next;
    struct record_reader item;
};

void journal_read(struct journal_reader *, struct slice first, struct slice records);
/* The number of the next item, whose fields reader->item has then; 0 at the end, or where the
 * entry is none. */
uint64_t journal_next(struct journal_reader *);

#endif
