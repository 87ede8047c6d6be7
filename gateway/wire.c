#include "gateway/wire.h"

#include "common/xalloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FINAL_FRAME 0x80
#define HEADER_MAX 10

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

void wire_unref(struct wire **wire)
{
    if (*wire && --(*wire)->references == 0)
        free(*wire);
    *wire = NULL;
}
