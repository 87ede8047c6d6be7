/*
 * Commands as Redis reads them: how many words, then each word behind its length
 * (https://redis.io/docs/latest/develop/reference/protocol-spec, arrays of bulk strings).
 */
#ifndef COMMON_COMMAND_H
#define COMMON_COMMAND_H

#include "common/buffer.h"
#include "common/digits.h"

#include <stdbool.h>

static inline void command_count(struct buffer *commands, char form, uint64_t count)
{
    char *at = buffer_reserve(commands, 1 + DIGITS_MAX + 2), *start = at;

    *at++ = form;
    at += digits_write(count, at);
    *at++ = '\r';
    *at++ = '\n';
    commands->length += (size_t)(at - start);
}

/* Begins a command; exactly as many command_word calls follow. */
static inline void command_begin(struct buffer *commands, size_t words)
{
    command_count(commands, '*', words);
}

static inline void command_word(struct buffer *commands, struct slice word)
{
    command_count(commands, '$', word.length);
    buffer_append_slice(commands, word);
    buffer_append(commands, "\r\n", 2);
}

/* Reads what was written so, one command at a time. Zeroed but for rest: at its beginning. */
struct command_reader {
    struct slice rest;
    struct slice *words; /* of the command that was read; in rest's bytes */
    size_t count, capacity;
};

/* False at the end. What is no command is a bug of ours, and ends the process. */
bool command_next(struct command_reader *);
void command_reader_finish(struct command_reader *);

#endif
