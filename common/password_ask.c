#include "common/password_ask.h"

#include <errno.h>

/* Lengths are rounded up to whole blocks. */
#define BLOCK 512
#define TEXT_MAX 65535

static const char *const names[] = {
    [PASSWORD_OK] = "ok",
    [PASSWORD_WRONG] = "wrong",
    [PASSWORD_LIMITED] = "limited",
    [PASSWORD_UNAVAILABLE] = "unavailable",
};

#define RESULTS (sizeof(names) / sizeof(names[0]))

static void append_number(struct buffer *out, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        buffer_append_byte(out, (char)(number >> (8 * bytes)));
}

static void append_text(struct buffer *out, struct slice text)
{
    if (text.length > TEXT_MAX)
        text.length = TEXT_MAX;
    append_number(out, text.length, 2);
    buffer_append_slice(out, text);
}

void password_ask_append(struct buffer *out, const struct password_ask *ask)
{
    size_t start = out->length;

    append_number(out, ask->asked_ms, 8);
    buffer_append(out, ask->nonce, sizeof(ask->nonce));
    append_text(out, ask->user);
    append_text(out, ask->password);
    append_text(out, ask->address);
    while ((out->length - start) % BLOCK != 0)
        buffer_append_byte(out, '\0');
}

static int cut(struct slice *rest, size_t length, struct slice *part)
{
    if (rest->length < length)
        return -EBADMSG;
    *part = slice_of(rest->data, length);
    *rest = slice_of(rest->data + length, rest->length - length);
    return 0;
}

static int cut_number(struct slice *rest, unsigned bytes, uint64_t *number)
{
    struct slice part;

    if (cut(rest, bytes, &part) < 0)
        return -EBADMSG;
    *number = 0;
    for (unsigned i = 0; i < bytes; i++)
        *number = *number << 8 | (unsigned char)part.data[i];
    return 0;
}

static int cut_text(struct slice *rest, struct slice *text)
{
    uint64_t length;

    return cut_number(rest, 2, &length) < 0 ? -EBADMSG : cut(rest, length, text);
}

int password_ask_read(struct password_ask *ask, struct slice text)
{
    struct slice rest = text, nonce;

    if (cut_number(&rest, 8, &ask->asked_ms) < 0 || cut(&rest, sizeof(ask->nonce), &nonce) < 0 ||
        cut_text(&rest, &ask->user) < 0 || cut_text(&rest, &ask->password) < 0 ||
        cut_text(&rest, &ask->address) < 0)
        return -EBADMSG;
    memcpy(ask->nonce, nonce.data, nonce.length);
    return 0;
}

const char *password_result_name(enum password_result result)
{
    return names[result];
}

enum password_result password_result_read(struct slice name)
{
    for (size_t i = 0; i < RESULTS; i++)
        if (slice_is(name, names[i]))
            return (enum password_result)i;
    return PASSWORD_UNAVAILABLE;
}
