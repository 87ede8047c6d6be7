/*
 * Connections of which a proxy says whose they are (proxy_protocol.h), until it has said so.
 * Nothing behind the header is read.
 */
#ifndef GATEWAY_PREAMBLE_H
#define GATEWAY_PREAMBLE_H

#include <stdint.h>
#include <uv.h>

struct preambles;

/* A connection goes on, with the address of its client. */
typedef void preamble_done_fn(void *arg, int descriptor, const char *address);

struct preambles *preambles_create(uv_loop_t *, uint64_t timeout_ms);
/* Closes those that are left. NULL-safe; clears the pointer. */
void preambles_destroy(struct preambles **);
/* Takes descriptor (non-blocking) over until done, which may be called at once; peer: its address.
 * Without a header in time, or with a wrong one, the connection is closed. */
void preambles_add(struct preambles *, int descriptor, const char *peer, preamble_done_fn *done,
                   void *arg);

#endif
