/*
 * The client's TCP behind a connection's descriptor: what it has taken of what was written there.
 * Mostly the descriptor is that TCP socket. With TLS it is one end of a socket pair, and a relay
 * between that and the TCP socket (tls_relay.h) knows: then what the relay holds, and what its
 * socket holds, is not taken.
 */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <stdbool.h>
#include <stdint.h>

struct peer_relay {
    /* Bytes written to the descriptor that the client's TCP has not taken: never too few. */
    uint64_t (*unacknowledged)(void *relay);
    /* All bytes that were ever written to the descriptor. */
    uint64_t (*written)(void *relay);
    /* Changes when the client's TCP takes something. */
    uint64_t (*progress)(void *relay);
    /* Since its last byte. */
    uint64_t (*silence_ms)(void *relay);
    /* Resets the client's connection; what it has not taken is discarded. */
    void (*cut)(void *relay);
};

/* From now on relay answers for descriptor, as long as that is open. */
void peer_set_relay(int descriptor, const struct peer_relay *, void *relay);
/* Whether it still does. */
bool peer_has_relay(int descriptor, const void *relay);
/* The relay is gone; should the descriptor still be open, nothing more is known to be taken. */
void peer_forget_relay(int descriptor, void *relay);

/* Bytes written to the descriptor that the client's TCP has not taken; UINT64_MAX when it cannot be
 * told. */
uint64_t peer_unacknowledged(int descriptor);
/* Where all that was written so far ends: a mark for peer_unacknowledged_before. */
uint64_t peer_end(int descriptor);
/* Of the bytes before that mark, those that are not taken; what follows it (a close frame, the end
 * of the stream) does not count. */
uint64_t peer_unacknowledged_before(int descriptor, uint64_t end);
/* Changes when the client's TCP takes something. */
uint64_t peer_progress(int descriptor);
/* Milliseconds since the last byte from the client. */
uint64_t peer_silence_ms(int descriptor);
/* Makes the close of the descriptor a reset: what the client's TCP has not taken is discarded. */
void peer_cut(int descriptor);

#endif
