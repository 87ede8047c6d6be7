#include "gateway/session/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define INFLATED_KEEP (256 * 1024)
#define ASCII_MASK 0x8080808080808080u

/* The ranges of the second byte make a form the shortest, and no surrogate (Unicode, table 3-7). */
static const struct form {
    unsigned char first_low, first_high;
    unsigned char second_low, second_high;
    size_t length;
} forms[] = {
    {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Bytes of the code point at the front, 0 if it is none. */
static size_t code_point_length(const unsigned char *at, size_t left)
{
    const struct form *form = forms;
    const struct form *end = forms + sizeof(forms) / sizeof(forms[0]);

    while (form < end && (at[0] < form->first_low || at[0] > form->first_high))
        form++;
    if (form == end || form->length > left)
        return 0;
    if (form->length > 1 && (at[1] < form->second_low || at[1] > form->second_high))
        return 0;
    for (size_t i = 2; i < form->length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return form->length;
}

bool message_is_utf8(struct slice text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.length, length;

    while (left > 0) {
        uint64_t eight;

        if (left >= sizeof(eight)) {
            memcpy(&eight, at, sizeof(eight));
            if ((eight & ASCII_MASK) == 0) {
                at += sizeof(eight);
                left -= sizeof(eight);
                continue;
            }
        }
        length = code_point_length(at, left);
        if (length == 0)
            return false;
        at += length;
        left -= length;
    }
    return true;
}

/* RFC 7692, 7.2.2: what the sender left out of the end is put back. One inflater and one buffer for
 * all: each message is by itself. */
static int inflate_message(struct slice deflated, size_t limit, struct slice *text)
{
    static const unsigned char end[] = {0, 0, 0xff, 0xff};
    static struct buffer inflated;
    static z_stream stream;
    static bool ready;
    struct slice parts[] = {deflated, slice_of(end, sizeof(end))};

    if (!ready && inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        abort(); /* no memory */
    ready = true;
    inflateReset(&stream);
    buffer_reset(&inflated, INFLATED_KEEP);
    /* A byte more than is allowed, to see that there is more. */
    stream.next_out = (unsigned char *)buffer_reserve(&inflated, limit + 1);
    stream.avail_out = (uInt)limit + 1;
    for (size_t i = 0; i < 2; i++) {
        int result;

        stream.next_in = (unsigned char *)(uintptr_t)parts[i].data;
        stream.avail_in = (uInt)parts[i].length;
        result = inflate(&stream, Z_SYNC_FLUSH);
        if (stream.avail_out == 0)
            return -EMSGSIZE;
        if (result != Z_OK && result != Z_BUF_ERROR)
            return -EILSEQ;
    }
    inflated.length = limit + 1 - stream.avail_out;
    *text = buffer_slice(&inflated);
    return 0;
}

int message_add(struct message *message, const struct websocket_piece *piece, size_t limit,
                struct slice *whole)
{
    struct buffer *gathered = &message->gathered;
    struct slice text = piece->bytes;

    if (piece->first) {
        buffer_finish(gathered);
        message->deflated = piece->deflated;
    }
    if (piece->bytes.length > limit - gathered->length ||
        piece->remaining > limit - gathered->length - piece->bytes.length)
        return -EMSGSIZE;
    if (!piece->first || !piece->last) {
        buffer_reserve(gathered, piece->bytes.length + piece->remaining);
        buffer_append_slice(gathered, piece->bytes);
        text = buffer_slice(gathered);
    }
    if (!piece->last)
        return 0;
    if (message->deflated) {
        int result = inflate_message(text, limit, &text);

        if (result < 0)
            return result;
    }
    if (!piece->binary && !message_is_utf8(text))
        return -EILSEQ;
    *whole = text;
    return 1;
}
