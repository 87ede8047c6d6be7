/*
 * What the kernel knows of a TCP socket. Apart from the rest because Linux's struct tcp_info and
 * the C library's shorter one do not meet in one file.
 */
#ifndef GATEWAY_TCP_H
#define GATEWAY_TCP_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes in the kernel that the peer has not acknowledged, sent or not; UINT64_MAX when it cannot be
 * told. One system call. */
uint64_t tcp_unacknowledged(int descriptor);

struct tcp_state {
    uint64_t acknowledged; /* bytes, since the connection was made */
    uint64_t silence_ms;   /* since the last byte came from the peer */
    bool ended; /* our end of stream was sent: it counts as a byte that can be unacknowledged */
};

/* All zero when it cannot be told. */
struct tcp_state tcp_look(int descriptor);

#endif
