#include "common/base64.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* 6 bits of up to three bytes each; returns how many bytes they were. */
static size_t append_group(struct buffer *out, const char *alphabet, const unsigned char *bytes,
                           size_t left)
{
    size_t count = left < 3 ? left : 3;
    uint32_t bits = 0;

    for (size_t n = 0; n < 3; n++)
        bits = bits << 8 | (n < count ? bytes[n] : 0);
    for (size_t n = 0; n <= count; n++)
        buffer_append_byte(out, alphabet[bits >> (18 - 6 * n) & 63]);
    return count;
}

void base64url_append(struct buffer *out, const void *data, size_t length)
{
    for (size_t i = 0; i < length; i += 3)
        append_group(out, LETTERS_AND_DIGITS "-_", (const unsigned char *)data + i, length - i);
}

void base64_append(struct buffer *out, struct slice bytes)
{
    const unsigned char *data = (const unsigned char *)bytes.data;

    for (size_t i = 0; i < bytes.length; i += 3)
        for (size_t n = append_group(out, LETTERS_AND_DIGITS "+/", data + i, bytes.length - i);
             n < 3; n++)
            buffer_append_byte(out, '=');
}

bool base64url_valid(struct slice text)
{
    if (text.length == 0 || text.length % 4 == 1)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (value_of(text.data[i]) < 0)
            return false;
    return true;
}

int base64url_decode(struct slice text, unsigned char *out, size_t size)
{
    uint32_t bits = 0;
    size_t length = 0;

    if (text.length > INT_MAX || !base64url_valid(text) ||
        text.length / 4 * 3 + text.length % 4 * 3 / 4 > size)
        return -EINVAL;
    for (size_t i = 0; i < text.length; i++) {
        bits = bits << 6 | (uint32_t)value_of(text.data[i]);
        if (i % 4 != 0)
            out[length++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return (int)length;
}
