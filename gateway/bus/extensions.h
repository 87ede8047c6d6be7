/*
 * What clients have to say to a backend: messages of types that are theirs alone wait in the stream
 * `<prefix>extensions` for whoever reads it (XREAD, or a consumer group), the newest
 * TRUNKLINE_EXTENSIONS of them. Fields: user, connection, type, id, message (JSON).
 */
#ifndef GATEWAY_EXTENSIONS_H
#define GATEWAY_EXTENSIONS_H

#include "gateway/gateway.h"

struct extension {
    struct slice user, connection, type, id, message;
    bool retry; /* the id is the client's own: the same within two minutes is put there once */
};

/* Before the bus is up for the first time. */
void extensions_add_script(struct bus *);
/* done(arg, true) when Redis has it, else false: whether it was kept is not known then. Returns 0,
 * or -ENOTCONN: done is not called. */
int extensions_put(struct gateway *, const struct extension *, void (*done)(void *arg, bool kept),
                   void *arg) __attribute__((warn_unused_result));

#endif
