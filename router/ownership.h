/*
 * Which partitions this router serves: each router says that it lives, and takes its fair share of
 * them, by leases. One that joins takes free ones, one that has too many hands over, a dead one's
 * leases end.
 */
#ifndef ROUTER_OWNERSHIP_H
#define ROUTER_OWNERSHIP_H

#include "router/router.h"

void ownership_add_scripts(struct bus *);
struct ownership *ownership_create(struct router *);
void ownership_destroy(struct ownership **);
/* A partition that was asked for is another's. */
void ownership_refused(struct ownership *);
/* Hands everything over; done when no lease is held or timeout_ms is over. */
void ownership_leave(struct ownership *, uint64_t timeout_ms, void (*done)(void *arg), void *arg);

#endif
