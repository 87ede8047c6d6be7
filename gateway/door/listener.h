/*
 * Where clients come in: the listening sockets, one plain, one with TLS if it is set. Each
 * connection is accepted on the loop (with the PROXY protocol, its header is read), its request is
 * read (arrival.h), and goes to a protocol's handshake (handshake.h) or to a page (http.h).
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include "common/buffer.h"
#include "gateway/gateway.h"

/*
 * Binds the address of the settings, so that a port in use is known at once; nobody is accepted
 * yet. Returns NULL with the one line for the operator in error.
 */
struct listener *listener_create(struct gateway *, struct buffer *error);
/* Takes nobody any more; handshakes that are left are abandoned. Sessions with TLS still stand.
 * NULL-safe. */
void listener_end(struct listener *);
/* When the sessions are gone, too. NULL-safe; clears the pointer. */
void listener_destroy(struct listener **);
/* From now on connections are accepted. Returns 0, or -errno with the line for the operator. */
int listener_start(struct listener *, struct buffer *error) __attribute__((warn_unused_result));
/* The bound address as text, with the port that was chosen when the settings say 0. */
const char *listener_address(const struct listener *);
/* The same with TLS; NULL without it. */
const char *listener_tls_address(const struct listener *);
size_t listener_tls_connections(const struct listener *);
/* Of HTTP: between two requests, or with one on its way. */
size_t listener_http_connections(const struct listener *);
/* Loads the certificate again (SIGHUP). */
void listener_reload(struct listener *);
/* No new connections; those whose request is being read or answered go on and end behind that. */
void listener_stop(struct listener *);

#endif
