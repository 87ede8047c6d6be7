#include "gateway/door/proxy_protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V1_MAX 107 /* with its line end */
/* "PROXY UNKNOWN\r\n" */
#define V1_MIN 15
#define V2_HEAD 16
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_BYTES 12

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

static int wants(struct proxy_header *header, size_t length)
{
    header->length = length;
    return -EAGAIN;
}

/* ---- version 1: a line ---- */

/* Cuts the next word off, which ends at one space or the end of the line. */
static struct slice next_word(struct slice *line)
{
    const char *space = line->length ? memchr(line->data, ' ', line->length) : NULL;
    size_t length = space ? (size_t)(space - line->data) : line->length;
    struct slice word = slice_of(line->data, length);

    *line = space ? slice_of(space + 1, line->length - length - 1) : slice_of(NULL, 0);
    return word;
}

static bool is_address(int family, struct slice word, char address[CLIENT_ADDRESS_SIZE])
{
    unsigned char number[sizeof(struct in6_addr)];

    if (word.length == 0 || word.length >= CLIENT_ADDRESS_SIZE)
        return false;
    memcpy(address, word.data, word.length);
    address[word.length] = '\0';
    return inet_pton(family, address, number) == 1 &&
           inet_ntop(family, number, address, CLIENT_ADDRESS_SIZE) != NULL;
}

static bool is_port(struct slice word)
{
    unsigned long port = 0;

    if (word.length == 0 || word.length > 5)
        return false;
    for (size_t i = 0; i < word.length; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(word.data[i] - '0');
    }
    return port <= 65535;
}

static int read_line(struct slice line, struct proxy_header *header)
{
    struct slice family, source, destination, source_port;
    char ignored[CLIENT_ADDRESS_SIZE];
    int number;

    next_word(&line); /* PROXY */
    family = next_word(&line);
    if (slice_is(family, "UNKNOWN"))
        return 0;
    number = slice_is(family, "TCP4") ? AF_INET : slice_is(family, "TCP6") ? AF_INET6 : 0;
    source = next_word(&line);
    destination = next_word(&line);
    source_port = next_word(&line);
    if (number == 0 || !is_address(number, source, header->address) ||
        !is_address(number, destination, ignored) || !is_port(source_port) || !is_port(line))
        return -EBADMSG;
    return 0;
}

static int read_v1(struct slice bytes, struct proxy_header *header)
{
    size_t most = bytes.length < V1_MAX ? bytes.length : V1_MAX;
    const char *end = memchr(bytes.data, '\n', most);

    if (end == NULL)
        return most < V1_MAX ? wants(header, most < V1_MIN ? V1_MIN : most + 1) : -EBADMSG;
    header->length = (size_t)(end + 1 - bytes.data);
    if (header->length < V1_MIN || end[-1] != '\r')
        return -EBADMSG;
    return read_line(slice_of(bytes.data, header->length - 2), header);
}

/* ---- version 2: binary ---- */

static int read_v2(struct slice bytes, struct proxy_header *header)
{
    const unsigned char *byte = (const unsigned char *)bytes.data;
    size_t length, least;

    if (bytes.length < V2_HEAD)
        return wants(header, V2_HEAD);
    length = (size_t)byte[14] << 8 | byte[15];
    if ((byte[12] != V2_LOCAL && byte[12] != V2_PROXY) || V2_HEAD + length > PROXY_HEADER_MAX)
        return -EBADMSG;
    if (bytes.length < V2_HEAD + length)
        return wants(header, V2_HEAD + length);
    header->length = V2_HEAD + length;
    if (byte[12] == V2_LOCAL || (byte[13] != V2_TCP4 && byte[13] != V2_TCP6))
        return 0;
    least = byte[13] == V2_TCP4 ? 12 : 36;
    if (length < least || inet_ntop(byte[13] == V2_TCP4 ? AF_INET : AF_INET6, byte + V2_HEAD,
                                    header->address, sizeof(header->address)) == NULL)
        return -EBADMSG;
    return 0;
}

/* ---- either ---- */

static bool may_begin(struct slice bytes, const char *with, size_t length)
{
    return memcmp(bytes.data, with, bytes.length < length ? bytes.length : length) == 0;
}

int proxy_header_read(struct slice bytes, struct proxy_header *header)
{
    *header = (struct proxy_header){0};
    if (bytes.length == 0)
        return wants(header, V1_MIN);
    if (may_begin(bytes, V2_SIGNATURE, V2_SIGNATURE_BYTES))
        return read_v2(bytes, header);
    if (may_begin(bytes, "PROXY ", 6))
        return read_v1(bytes, header);
    return -EBADMSG;
}
