#include "common/user.h"

#include <stdint.h>

/* Reads one code point of shortest form, no surrogate. Returns its length, 0 when it is not UTF-8.
 */
static size_t read_code_point(const unsigned char *bytes, size_t left, uint32_t *code)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length;

    if (bytes[0] < 0x80) {
        *code = bytes[0];
        return 1;
    }
    length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 0;
    if (length == 0 || length > left || bytes[0] >= 0xf8)
        return 0;
    *code = bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (bytes[i] & 0x3f);
    }
    if (*code < smallest[length] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
        return 0;
    return length;
}

bool text_is_printable(struct slice text)
{
    size_t length;
    uint32_t code;

    for (size_t i = 0; i < text.length; i += length) {
        length = read_code_point((const unsigned char *)text.data + i, text.length - i, &code);
        if (length == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
            return false;
    }
    return true;
}

static bool begins_with(struct slice text, const char *prefix)
{
    size_t length = strlen(prefix);

    return text.length >= length && memcmp(text.data, prefix, length) == 0;
}

bool user_allowed(struct slice user, bool from_auth)
{
    static const char *const reserved[] = {"SERVER", "BROADCAST", "*"};

    if (user.length == 0 || user.length > USER_ID_MAX || !text_is_printable(user))
        return false;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (slice_is(user, reserved[i]))
            return false;
    if (begins_with(user, "group:"))
        return false;
    return from_auth || !begins_with(user, "guest:");
}
