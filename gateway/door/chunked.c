#include "gateway/door/chunked.h"

#include "gateway/door/octets.h"

#include <errno.h>

/* Of a size: what 64 bits hold. */
#define DIGITS_MAX 16

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_BLANK, /* before an extension */
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER, /* the begin of a line */
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_LF,
    CHUNKED_LAST_LF,
    CHUNKED_WHOLE,
};

/* ---- bytes that are not data: each says what follows it ---- */

static int expect(struct chunked *chunked, bool is_it, enum chunked_state next)
{
    chunked->state = (int)next;
    return is_it ? 0 : -EBADMSG;
}

/* One more that is passed over. */
static int pass_over(struct chunked *chunked, bool allowed, enum chunked_state next)
{
    if (++chunked->extra > CHUNKED_EXTRA_MAX)
        return -E2BIG;
    return expect(chunked, allowed, next);
}

static int on_size(struct chunked *chunked, char byte)
{
    int digit = octet_hex(byte);

    if (digit >= 0) {
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return expect(chunked, ++chunked->digits <= DIGITS_MAX, CHUNKED_SIZE);
    }
    if (chunked->digits == 0)
        return -EBADMSG;
    if (byte == '\r')
        return expect(chunked, true, CHUNKED_SIZE_LF);
    if (byte == ';')
        return pass_over(chunked, true, CHUNKED_EXTENSION);
    return pass_over(chunked, octet_is_blank(byte), CHUNKED_BLANK);
}

static int on_blank(struct chunked *chunked, char byte)
{
    if (byte == ';')
        return pass_over(chunked, true, CHUNKED_EXTENSION);
    return pass_over(chunked, octet_is_blank(byte), CHUNKED_BLANK);
}

static int on_extension(struct chunked *chunked, char byte)
{
    if (byte == '\r')
        return expect(chunked, true, CHUNKED_SIZE_LF);
    return pass_over(chunked, octet_is_value(byte), CHUNKED_EXTENSION);
}

static int on_size_lf(struct chunked *chunked, char byte)
{
    chunked->digits = 0;
    return expect(chunked, byte == '\n', chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER);
}

static int on_data_cr(struct chunked *chunked, char byte)
{
    return expect(chunked, byte == '\r', CHUNKED_DATA_LF);
}

static int on_data_lf(struct chunked *chunked, char byte)
{
    return expect(chunked, byte == '\n', CHUNKED_SIZE);
}

static int on_trailer(struct chunked *chunked, char byte)
{
    if (byte == '\r')
        return expect(chunked, true, CHUNKED_LAST_LF);
    return pass_over(chunked, octet_is_token(byte), CHUNKED_TRAILER_NAME);
}

static int on_trailer_name(struct chunked *chunked, char byte)
{
    if (byte == ':')
        return pass_over(chunked, true, CHUNKED_TRAILER_VALUE);
    return pass_over(chunked, octet_is_token(byte), CHUNKED_TRAILER_NAME);
}

static int on_trailer_value(struct chunked *chunked, char byte)
{
    if (byte == '\r')
        return expect(chunked, true, CHUNKED_TRAILER_LF);
    return pass_over(chunked, octet_is_value(byte), CHUNKED_TRAILER_VALUE);
}

static int on_trailer_lf(struct chunked *chunked, char byte)
{
    return expect(chunked, byte == '\n', CHUNKED_TRAILER);
}

static int on_last_lf(struct chunked *chunked, char byte)
{
    return expect(chunked, byte == '\n', CHUNKED_WHOLE);
}

/* ---- all of it ---- */

static void take_data(struct chunked *chunked, struct slice bytes, struct buffer *body,
                      size_t *used)
{
    size_t length = bytes.length - *used;

    if (length > chunked->left)
        length = chunked->left;
    buffer_append(body, bytes.data + *used, length);
    *used += length;
    chunked->left -= length;
    if (chunked->left == 0)
        chunked->state = CHUNKED_DATA_CR;
}

int chunked_read(struct chunked *chunked, struct slice bytes, struct buffer *body, size_t max,
                 size_t *used)
{
    static int (*const steps[])(struct chunked *, char byte) = {
        [CHUNKED_SIZE] = on_size,
        [CHUNKED_BLANK] = on_blank,
        [CHUNKED_EXTENSION] = on_extension,
        [CHUNKED_SIZE_LF] = on_size_lf,
        [CHUNKED_DATA_CR] = on_data_cr,
        [CHUNKED_DATA_LF] = on_data_lf,
        [CHUNKED_TRAILER] = on_trailer,
        [CHUNKED_TRAILER_NAME] = on_trailer_name,
        [CHUNKED_TRAILER_VALUE] = on_trailer_value,
        [CHUNKED_TRAILER_LF] = on_trailer_lf,
        [CHUNKED_LAST_LF] = on_last_lf,
    };

    *used = 0;
    while (*used < bytes.length && chunked->state != CHUNKED_WHOLE) {
        int error;

        if (chunked->state == CHUNKED_DATA) {
            take_data(chunked, bytes, body, used);
            continue;
        }
        error = steps[chunked->state](chunked, bytes.data[(*used)++]);
        if (error < 0)
            return error;
        if (chunked->state == CHUNKED_DATA && chunked->left > max - body->length)
            return -E2BIG;
    }
    return chunked->state == CHUNKED_WHOLE ? 0 : -EAGAIN;
}
