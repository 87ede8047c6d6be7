/*
 * TLS between a client and the rest of the gateway: the handshake, then bytes between the TCP
 * socket and one end of a socket pair, whose other end goes through the gateway as if it were the
 * client's socket. Bounded: one record's worth in each direction, and the socket pair; who does not
 * take what is there stops the other side. What the client's TCP has taken is known through peer.h.
 */
#ifndef GATEWAY_TLS_RELAY_H
#define GATEWAY_TLS_RELAY_H

#include "gateway/door/tls.h"

#include <stddef.h>
#include <stdint.h>

/* Descriptors that one connection has open. */
#define TLS_RELAY_DESCRIPTORS 3

struct tls_relays;

struct tls_relays_options {
    uv_loop_t *loop;
    struct tls *tls;
    uint64_t handshake_ms;
    /* A client's connection stands: descriptor (non-blocking) is its end of the pair. */
    void (*on_ready)(void *arg, int descriptor, const char *address);
    void *arg;
};

struct tls_relays *tls_relays_create(const struct tls_relays_options *);
/* Resets those that are left; the other ends of their pairs end. NULL-safe; clears the pointer. */
void tls_relays_destroy(struct tls_relays **);
/* Takes descriptor (a TCP socket, non-blocking) over; address: of the client. */
void tls_relays_add(struct tls_relays *, int descriptor, const char *address);
size_t tls_relays_count(const struct tls_relays *);

#endif
