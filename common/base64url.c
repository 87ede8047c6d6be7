#include "common/base64url.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

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

void base64url_append(struct buffer *out, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < length; i += 3) {
        size_t count = length - i < 3 ? length - i : 3;
        uint32_t bits = 0;

        for (size_t n = 0; n < 3; n++)
            bits = bits << 8 | (n < count ? bytes[i + n] : 0);
        for (size_t n = 0; n <= count; n++)
            buffer_append_byte(out, alphabet[bits >> (18 - 6 * n) & 63]);
    }
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
