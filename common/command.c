#include "common/command.h"

#include "common/xalloc.h"

#include <assert.h>
#include <stdlib.h>

static size_t read_count(struct slice *rest, char form)
{
    size_t count = 0, at = 1;

    assert(rest->length > 3 && rest->data[0] == form);
    for (; rest->data[at] != '\r'; at++)
        count = count * 10 + (size_t)(rest->data[at] - '0');
    rest->data += at + 2;
    rest->length -= at + 2;
    return count;
}

bool command_next(struct command_reader *reader)
{
    if (reader->rest.length == 0)
        return false;
    reader->count = read_count(&reader->rest, '*');
    if (reader->count > reader->capacity) {
        reader->capacity = reader->count * 2;
        reader->words = xrealloc(reader->words, reader->capacity * sizeof(*reader->words));
    }
    for (size_t i = 0; i < reader->count; i++) {
        size_t length = read_count(&reader->rest, '$');

        assert(length + 2 <= reader->rest.length);
        reader->words[i] = slice_of(reader->rest.data, length);
        reader->rest.data += length + 2;
        reader->rest.length -= length + 2;
    }
    return true;
}

void command_reader_finish(struct command_reader *reader)
{
    free(reader->words);
    *reader = (struct command_reader){0};
}
