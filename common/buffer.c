#include "common/buffer.h"

#include "common/digits.h"
#include "common/xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_finish(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_reset(struct buffer *buffer, size_t keep)
{
    if (buffer->capacity > keep)
        buffer_finish(buffer);
    buffer->length = 0;
}

void buffer_grow(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 128;

    while (capacity - buffer->length < more)
        capacity *= 2;
    buffer->data = xrealloc(buffer->data, capacity);
    buffer->capacity = capacity;
}

void buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    buffer->length += digits_write(value, buffer_reserve(buffer, DIGITS_MAX));
}

void buffer_appendf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    buffer_reserve(buffer, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->length += (size_t)length;
}

static const char *json_escape(unsigned char byte, char hex[7])
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        snprintf(hex, 7, "\\u%04x", byte);
        return hex;
    }
}

void buffer_append_json_string(struct buffer *buffer, struct slice text)
{
    size_t start = 0;
    char hex[7];

    buffer_append_byte(buffer, '"');
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buffer_append(buffer, text.data + start, i - start);
        buffer_append_text(buffer, json_escape(byte, hex));
        start = i + 1;
    }
    if (text.length > start)
        buffer_append(buffer, text.data + start, text.length - start);
    buffer_append_byte(buffer, '"');
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    if (count < buffer->length)
        memmove(buffer->data, buffer->data + count, buffer->length - count);
    buffer->length -= count;
}
