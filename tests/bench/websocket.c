#include "tests/bench/websocket.h"
#include "tests/bench/hash.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define MASKED 0x80
#define FINAL 0x80
#define RESERVED 0x70

/* Section 4.2.2: the key and this text, hashed. */
static const char key_and_magic[] = WEBSOCKET_KEY "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* The value of a header field; its length goes to *size. */
static const char *find_field(const char *head, size_t length, const char *name, size_t *size)
{
    const char *line = head, *end = head + length;
    size_t name_length = strlen(name);

    while ((line = memmem(line, (size_t)(end - line), "\r\n", 2))) {
        line += 2;
        if ((size_t)(end - line) <= name_length || line[name_length] != ':' ||
            strncasecmp(line, name, name_length) != 0)
            continue;
        line += name_length + 1;
        while (line < end && *line == ' ')
            line++;
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        *size = (size_t)((stop ? stop : end) - line);
        return line;
    }
    return NULL;
}

bool websocket_accepted(const char *head, size_t length)
{
    static const char status[] = "HTTP/1.1 101";
    uint8_t digest[SHA1_SIZE];
    char wanted[BASE64_SIZE(SHA1_SIZE)];
    size_t size = 0, wanted_size;
    const char *field = find_field(head, length, "Sec-WebSocket-Accept", &size);

    if (length < strlen(status) || memcmp(head, status, strlen(status)) != 0 || !field)
        return false;
    hash_sha1(key_and_magic, strlen(key_and_magic), digest);
    wanted_size = hash_base64(digest, sizeof digest, wanted);
    return size == wanted_size && memcmp(field, wanted, size) == 0;
}

static uint64_t read_be(const uint8_t *data, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes--)
        value = value << 8 | *data++;
    return value;
}

int websocket_read_head(const uint8_t *data, size_t length, struct websocket_frame *frame)
{
    unsigned extra;

    if (length < 2)
        return -EAGAIN;
    if (data[0] & RESERVED || data[1] & MASKED)
        return -EPROTO; /* no extension was asked for, and a server never masks */
    extra = data[1] == 126 ? 2 : data[1] == 127 ? 8 : 0;
    if (length < 2 + extra)
        return -EAGAIN;
    frame->opcode = data[0] & 15;
    frame->final = data[0] & FINAL;
    frame->head = 2 + extra;
    frame->size = extra ? read_be(data + 2, extra) : data[1];
    return 0;
}

size_t websocket_write_head(uint8_t head[WEBSOCKET_HEAD_MAX], enum websocket_opcode opcode,
                            size_t size, uint32_t mask)
{
    unsigned extra = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;

    head[0] = FINAL | (uint8_t)opcode;
    head[1] = MASKED | (extra == 0 ? (uint8_t)size : extra == 2 ? 126 : 127);
    for (unsigned i = 0; i < extra; i++)
        head[2 + i] = (uint8_t)((uint64_t)size >> 8 * (extra - 1 - i));
    memcpy(head + 2 + extra, &mask, sizeof mask);
    return 2 + extra + sizeof mask;
}

void websocket_mask(void *data, size_t size, uint32_t mask)
{
    uint8_t *byte = data, key[4];

    memcpy(key, &mask, sizeof key);
    for (size_t i = 0; i < size; i++)
        byte[i] ^= key[i & 3];
}
