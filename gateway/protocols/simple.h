/*
 * simple: one room of users, {"type":"send_message"} and {"type":"message_sent"}, on /simple
 * (simple.md, beside this file). simple.c has the life of a connection, what clients send and what
 * comes from routers; simple_identify.c who they are: HTTP Basic, token or name.
 */
#ifndef GATEWAY_PROTOCOLS_SIMPLE_H
#define GATEWAY_PROTOCOLS_SIMPLE_H

#include "gateway/protocol.h"

extern const struct protocol protocol_simple;

void simple_identify(struct handshake *);

#endif
