/*
 * The gateway's certificate and key (TRUNKLINE_GATEWAY_TLS_CERTIFICATE, _KEY), as OpenSSL has them:
 * loaded at the start, and again when a file changes or on SIGHUP. Connections that stand keep what
 * they began with.
 */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H

#include "common/buffer.h"

#include <openssl/ssl.h>
#include <uv.h>

struct tls;

/* NULL with the line for the operator in error. */
struct tls *tls_create(uv_loop_t *, const char *certificate, const char *key, struct buffer *error);
void tls_destroy(struct tls **); /* NULL-safe; clears the pointer */
/* Loads both files again; if that fails, says so in the log and goes on with what there is. */
void tls_reload(struct tls *);
/* The server's side of a new connection on descriptor; NULL when there is no memory for it. */
SSL *tls_accept(struct tls *, int descriptor);

#endif
