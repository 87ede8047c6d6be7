/*
 * The way out: reads this gateway's output stream of every partition and auth's events with one
 * blocking XREAD on its own connection, checks that each entry names its predecessor, and hands
 * each frame to its handler (one table, downlink.c).
 */
#ifndef GATEWAY_DOWNLINK_H
#define GATEWAY_DOWNLINK_H

#include "common/bus.h"
#include "common/frame.h"
#include "gateway/gateway.h"

struct downlink *downlink_create(struct gateway *, const struct bus_address *);
void downlink_destroy(struct downlink **);
/* Whether frames of this type have a handler: those that routers send to gateways do. */
bool downlink_handles(enum frame_type);

#endif
