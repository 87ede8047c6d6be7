/*
 * A growable run of bytes. Zeroed memory is a valid empty buffer; buffer_finish gives its memory
 * back.
 */
#ifndef COMMON_BUFFER_H
#define COMMON_BUFFER_H

#include "common/slice.h"

#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data;
    size_t length;
    size_t capacity;
};

void buffer_finish(struct buffer *);
/* Empties it and keeps its memory, unless that is more than keep bytes (then it is freed). */
void buffer_reset(struct buffer *, size_t keep);
/* For buffer_reserve. */
void buffer_grow(struct buffer *, size_t more);
/* Makes room for more bytes and returns where they go; length is unchanged. */
__attribute__((returns_nonnull)) static inline char *buffer_reserve(struct buffer *buffer,
                                                                    size_t more)
{
    if (buffer->data == NULL || buffer->capacity - buffer->length < more)
        buffer_grow(buffer, more);
    return buffer->data + buffer->length;
}

static inline void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return;
    memcpy(buffer_reserve(buffer, length), data, length);
    buffer->length += length;
}

static inline void buffer_append_slice(struct buffer *buffer, struct slice slice)
{
    buffer_append(buffer, slice.data, slice.length);
}

/* Appends the text without its NUL. */
static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

static inline void buffer_append_byte(struct buffer *buffer, char byte)
{
    *buffer_reserve(buffer, 1) = byte;
    buffer->length++;
}

/* Appends the digits of value. */
void buffer_append_u64(struct buffer *, uint64_t value);
void buffer_appendf(struct buffer *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends text as a JSON string, with its quotes. text must be valid UTF-8. */
void buffer_append_json_string(struct buffer *, struct slice text);
/* Drops the first count bytes. */
void buffer_consume(struct buffer *, size_t count);

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return slice_of(buffer->data, buffer->length);
}

#endif
