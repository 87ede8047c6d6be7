/*
 * Numbers in decimal digits: what snprintf does, without reading a format each time.
 */
#ifndef COMMON_DIGITS_H
#define COMMON_DIGITS_H

#include "common/slice.h"

#include <stddef.h>
#include <stdint.h>

#define DIGITS_MAX 20

/* Writes the digits of value, without a NUL, and returns how many they are. */
static inline size_t digits_write(uint64_t value, char digits[DIGITS_MAX])
{
    char backwards[DIGITS_MAX];
    size_t count = 0;

    do {
        backwards[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < count; i++)
        digits[i] = backwards[count - 1 - i];
    return count;
}

/* The digits of value, written into `digits`, which must stay as long as the slice. */
static inline struct slice digits_slice(uint64_t value, char digits[DIGITS_MAX])
{
    size_t length = digits_write(value, digits);

    return slice_of(digits, length);
}

#endif
