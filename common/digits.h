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
size_t digits_write(uint64_t value, char digits[DIGITS_MAX]);

/* The digits of value, written into `digits`, which must stay as long as the slice. */
static inline struct slice digits_slice(uint64_t value, char digits[DIGITS_MAX])
{
    size_t length = digits_write(value, digits);

    return slice_of(digits, length);
}

#endif
