/*
 * The PROXY protocol (haproxy's proxy-protocol.txt), versions 1 and 2: the first bytes of a
 * connection say whose it is. Pure: reads what it is given.
 */
#ifndef GATEWAY_PROXY_PROTOCOL_H
#define GATEWAY_PROXY_PROTOCOL_H

#include "common/client_address.h"

/* Bytes of a header: more is refused. */
#define PROXY_HEADER_MAX 1024

struct proxy_header {
    char address[CLIENT_ADDRESS_SIZE]; /* of the client; empty: the proxy's own connection */
    size_t length;                     /* bytes of the header */
};

/*
 * Reads the header at the front of bytes. Returns 0; -EBADMSG: it is none; or -EAGAIN: it is not
 * whole, and header->length is how many bytes there must be at least to go on (the header itself is
 * not shorter).
 */
int proxy_header_read(struct slice bytes, struct proxy_header *)
    __attribute__((warn_unused_result));

#endif
