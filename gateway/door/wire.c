#include "gateway/door/wire.h"

#include "common/buffer.h"
#include "common/xalloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FINAL_FRAME 0x80
#define DEFLATED_FRAME 0x40 /* RSV1 */
#define OPCODE_BITS 0x0f
#define HEADER_MAX 10
/* Shorter payloads gain nothing worth the work. */
#define DEFLATE_MIN 128
/* A flush ends in 00 00 ff ff, which is left out. */
#define FLUSH_END 4

/* RFC 6455, 5.2: the length in 7 bits, or 126 and 16 bits, or 127 and 64 bits. */
static size_t write_header(unsigned char header[HEADER_MAX], enum wire_opcode opcode, size_t length)
{
    size_t bytes = length < 126 ? 0 : length <= 0xffff ? 2 : 8;

    header[0] = (unsigned char)(FINAL_FRAME | opcode);
    header[1] = (unsigned char)(bytes == 0 ? length : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++)
        header[2 + i] = (unsigned char)((uint64_t)length >> (8 * (bytes - 1 - i)));
    return 2 + bytes;
}

struct wire *wire_create(enum wire_opcode opcode, struct slice payload)
{
    unsigned char header[HEADER_MAX];
    size_t header_length = write_header(header, opcode, payload.length);
    struct wire *wire;

    assert(payload.length <= UINT32_MAX - HEADER_MAX);
    wire = xmalloc(sizeof(*wire) + header_length + payload.length);
    wire->references = 1;
    wire->deflated = NULL;
    wire->length = (uint32_t)(header_length + payload.length);
    memcpy(wire->bytes, header, header_length);
    if (payload.length > 0)
        memcpy(wire->bytes + header_length, payload.data, payload.length);
    return wire;
}

struct wire *wire_ref(struct wire *wire)
{
    assert(wire->references > 0 && wire->references < UINT32_MAX);
    wire->references++;
    return wire;
}

/* A deflated one has none of its own. */
static void wire_unref_deflated(struct wire *wire)
{
    if (wire && --wire->references == 0)
        free(wire);
}

void wire_unref(struct wire **wire)
{
    if (*wire && --(*wire)->references == 0) {
        if ((*wire)->deflated != *wire)
            wire_unref_deflated((*wire)->deflated);
        free(*wire);
    }
    *wire = NULL;
}

/* ---- permessage-deflate ---- */

static struct slice payload_of(const struct wire *wire)
{
    unsigned char length = (unsigned char)wire->bytes[1];
    size_t header = length < 126 ? 2 : length == 126 ? 4 : HEADER_MAX;

    return slice_of(wire->bytes + header, wire->length - header);
}

/* Returns the deflated length without the four bytes that end a flush (RFC 7692, 7.2.1); 0: no
 * gain. */
static size_t deflate_payload(struct slice payload, struct buffer *out)
{
    static z_stream stream;
    static bool ready;
    size_t room = payload.length; /* not longer than it was */

    if (!ready &&
        deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    ready = true;
    deflateReset(&stream);
    stream.next_in = (unsigned char *)(uintptr_t)payload.data;
    stream.avail_in = (uInt)payload.length;
    stream.next_out = (unsigned char *)buffer_reserve(out, room);
    stream.avail_out = (uInt)room;
    if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_out == 0)
        return 0;
    return room - stream.avail_out - FLUSH_END;
}

struct wire *wire_deflate(struct wire *wire)
{
    struct buffer deflated = {0};
    struct slice payload = payload_of(wire);
    size_t length;

    if (wire->deflated)
        return wire->deflated;
    wire->deflated = wire;
    if (payload.length < DEFLATE_MIN)
        return wire;
    length = deflate_payload(payload, &deflated);
    if (length > 0) {
        wire->deflated = wire_create((enum wire_opcode)(wire->bytes[0] & OPCODE_BITS),
                                     slice_of(deflated.data, length));
        wire->deflated->bytes[0] |= DEFLATED_FRAME;
    }
    buffer_finish(&deflated);
    return wire->deflated;
}
