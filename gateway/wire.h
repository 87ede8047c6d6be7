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
    char bytes[];
};

/* With one reference, the caller's. */
struct wire *wire_create(enum wire_opcode, struct slice payload);
struct wire *wire_ref(struct wire *);
/* NULL-safe; clears the pointer; frees with the last reference. */
void wire_unref(struct wire **);

#endif
