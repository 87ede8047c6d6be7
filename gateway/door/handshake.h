/*
 * A WebSocket upgrade on its way: the request head is read, its protocol is known, who asks is
 * being found out. Owned by the listener; gone after handshake_accept or handshake_refuse, or when
 * on_abandoned has been called (the client hung up).
 */
#ifndef GATEWAY_HANDSHAKE_H
#define GATEWAY_HANDSHAKE_H

#include "common/client_address.h"
#include "common/slice.h"
#include "gateway/gateway.h"
#include "gateway/identity/verifier.h"

struct arrival;
struct handshake;
struct protocol;

/* For the listener: a request for the endpoint of a protocol. Answers it, or hands it to the
 * protocol's identify. */
void handshake_begin(struct gateway *, struct arrival *, const struct protocol *);

struct gateway *handshake_gateway(struct handshake *);
/* The value of a query parameter, percent-decoded; data is NULL when it is absent. Valid as long as
 * the handshake. */
struct slice handshake_query(struct handshake *, const char *name);
/* How often it is given. */
size_t handshake_query_count(struct handshake *, const char *name);
/* A request header's value by its lower-case name; data is NULL when it is absent. */
struct slice handshake_header(struct handshake *, const char *name);
/* The client's address, as limits and logs know it (client_address.h). */
void handshake_address(struct handshake *, char text[CLIENT_ADDRESS_SIZE]);
/*
 * The bearer token of the request, wherever it stands: Authorization header, then ?token= or
 * ?access_token=, then subprotocol access_token.<JWT> (which is echoed in the 101). Empty when
 * there is none.
 */
struct slice handshake_token(struct handshake *);
/* identity is moved (verifier.h); without a user it is said later (session_identify), or the
 * upgrade is answered 503 when too many have not said it yet. flags: enum connection_flag. slot:
 * see CONNECTION_FLAG_REPLACE; may be empty. */
void handshake_accept(struct handshake *, struct identity *identity, uint64_t flags,
                      struct slice slot);
/* Answers with an HTTP status (401, 403, 404, 426, 503 …) and a JSON body that says why. */
void handshake_refuse(struct handshake *, int status, const char *why);
/* Called instead of an answer when the client has gone: forget the handshake. */
void handshake_on_abandoned(struct handshake *, void (*callback)(void *arg), void *arg);

#endif
