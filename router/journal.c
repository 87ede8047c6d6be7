#include "router/journal.h"

#include "common/xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* An entry that is longer is written, and another one begins: a reader takes whole entries. */
#define ENTRY_BYTES 4096

struct journal {
    uint64_t first, last;
    struct record_writer records;
};

bool journal_add(struct journal **journal, uint64_t number, const struct record_field *fields,
                 size_t count)
{
    if (*journal == NULL) {
        *journal = xcalloc(1, sizeof(**journal));
        (*journal)->first = number;
    }
    (*journal)->last = number;
    record_write(&(*journal)->records, fields, count);
    return (*journal)->records.text.length >= ENTRY_BYTES;
}

void journal_write(struct journal **journal, struct effects *effects, uint32_t key)
{
    if (*journal == NULL)
        return;
    effects_open(effects, EFFECT_XADD, key, 3);
    effects_number(effects, (struct number){.epoch = (*journal)->last});
    effects_u64(effects, (*journal)->first);
    effects_text(effects, buffer_slice(&(*journal)->records.text));
    journal_drop(journal);
}

void journal_drop(struct journal **journal)
{
    if (*journal == NULL)
        return;
    record_writer_finish(&(*journal)->records);
    free(*journal);
    *journal = NULL;
}

void journal_read(struct journal_reader *reader, struct slice first, struct slice records)
{
    struct number number;

    reader->next = number_parse(first, &number) < 0 ? 0 : number.epoch;
    record_reader_start(&reader->item, records);
}

uint64_t journal_next(struct journal_reader *reader)
{
    if (reader->next == 0 || record_next(&reader->item) != 1)
        return 0;
    return reader->next++;
}
