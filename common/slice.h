/*
 * A slice: bytes that somebody else owns. Never NUL-terminated by promise; valid as long as its
 * owner says.
 */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t length;
};

static inline struct slice slice_of(const void *data, size_t length)
{
    return (struct slice){.data = data, .length = length};
}

/* Of a C string; NULL gives the empty slice. */
static inline struct slice slice_text(const char *text)
{
    return (struct slice){.data = text, .length = text ? strlen(text) : 0};
}

/* Of what is printed into `room`; whoever calls has made it large enough. */
struct slice slice_print(char *room, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

#endif
