/*
 * The client's side of RFC 6455 as pure functions: the upgrade's key, frame heads, masking.
 */
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_KEY "dHJ1bmtsaW5lIGJlbmNoIQ==" /* any 16 bytes will do */
#define WEBSOCKET_HEAD_MAX 14

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

struct websocket_frame {
    enum websocket_opcode opcode;
    bool final;
    size_t head;   /* bytes before the payload */
    uint64_t size; /* bytes of the payload */
};

/* Whether the head of an HTTP answer accepts the upgrade asked for with WEBSOCKET_KEY. */
bool websocket_accepted(const char *head, size_t length);
/* Reads a server's frame head. Returns 0 with *frame, -EAGAIN when bytes are missing, -EPROTO. */
int websocket_read_head(const uint8_t *data, size_t length, struct websocket_frame *frame);
/* Writes the head of a final, masked frame; returns its length. */
size_t websocket_write_head(uint8_t head[WEBSOCKET_HEAD_MAX], enum websocket_opcode opcode,
                            size_t size, uint32_t mask);
void websocket_mask(void *data, size_t size, uint32_t mask);

#endif
