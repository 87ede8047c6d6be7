/*
 * Who asks for a connection, for protocols whose clients name themselves: by a token, or by a name
 * that is believed (TRUNKLINE_OPEN_IDENTITY). And the end of what a token has opened.
 */
#ifndef GATEWAY_IDENTIFY_H
#define GATEWAY_IDENTIFY_H

#include "common/identity.h"
#include "common/slice.h"

#include <stdint.h>

struct handshake;
struct session;

/* The HTTP status that refuses an upgrade, with the reason in words; 0 of one that does not. */
struct refusal {
    int status;
    const char *why;
};

/*
 * Reads the token of the request. Without one *identity has no user and nothing is refused. name is
 * what the client says beside it (data NULL: nothing): another's is 403. On success *identity is
 * the caller's.
 */
struct refusal identify_token(struct handshake *, struct slice name, struct identity *identity);
/* Believes the name; 401 for one that nobody can have, or when names are not believed here. Its
 * identity has no token and does not expire. */
struct refusal identify_name(struct handshake *, struct slice name, struct identity *identity);
/* Whether its user may connect once more now: 429 if not. */
struct refusal identify_rate(struct handshake *, const struct identity *identity);
/* For protocol->on_tick: closes a session whose token has expired with 4401. */
void identify_on_tick(struct session *, uint64_t now_ms);

#endif
