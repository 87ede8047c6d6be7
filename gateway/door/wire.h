/*
 * One WebSocket frame ready for a socket (server to client, unmasked, unfragmented), built once and
 * shared by all its receivers.
 */
#ifndef GATEWAY_WIRE_H
#define GATEWAY_WIRE_H

#include "common/slice.h"

#include <stdint.h>

enum wire_opcode { WIRE_TEXT = 1, WIRE_BINARY = 2, WIRE_CLOSE = 8, WIRE_PING = 9, WIRE_PONG = 10 };

struct wire {
    uint32_t references;
    uint32_t length; /* of bytes: header and payload */
    struct wire
        *deflated; /* the same for those who take permessage-deflate; NULL: not made (yet) */
    char bytes[];
};

/* With one reference, the caller's. */
struct wire *wire_create(enum wire_opcode, struct slice payload);
struct wire *wire_ref(struct wire *);
/* The same message, deflated by itself (RFC 7692), made once; wire itself when it is too short to
 * gain by it. Belongs to wire: take a reference of one's own. */
struct wire *wire_deflate(struct wire *);
/* NULL-safe; clears the pointer; frees with the last reference. */
void wire_unref(struct wire **);

#endif
