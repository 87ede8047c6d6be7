/*
 * A listening socket: binds, accepts on the loop, and hands each connection over with its address.
 */
#ifndef GATEWAY_ACCEPTOR_H
#define GATEWAY_ACCEPTOR_H

#include "common/buffer.h"

#include <uv.h>

struct acceptor;

/* descriptor: non-blocking, the callee's; address: of the peer (client_address.h). */
typedef void acceptor_fn(void *arg, int descriptor, const char *address);

/*
 * Binds address ("host:port", from that setting), so that a port in use is known at once; nobody is
 * accepted yet. Returns NULL with the one line for the operator in error.
 */
struct acceptor *acceptor_create(uv_loop_t *, const char *setting, const char *address,
                                 struct buffer *error);
/* NULL-safe; clears the pointer. */
void acceptor_destroy(struct acceptor **);
/* From now on connections are accepted. Returns 0, or -errno with the line for the operator. */
int acceptor_start(struct acceptor *, acceptor_fn *, void *arg, struct buffer *error)
    __attribute__((warn_unused_result));
/* The bound address as text, with the port that was chosen when the setting says 0. */
const char *acceptor_address(const struct acceptor *);
/* No new connections. */
void acceptor_stop(struct acceptor *);

#endif
