/*
 * Topics that nobody subscribes to: "$<protocol>" reaches every session of that protocol, "$all"
 * all sessions. Every gateway counts itself in each of them once.
 */
#ifndef GATEWAY_ENDPOINT_TOPIC_H
#define GATEWAY_ENDPOINT_TOPIC_H

#include "common/buffer.h"
#include "gateway/gateway.h"
#include "gateway/protocol.h"

struct session;

#define ENDPOINT_TOPIC_ALL "$all"

/* Whether it is one; *only is the protocol whose sessions it reaches, NULL for all. */
bool endpoint_topic_is(struct slice topic, const struct protocol **only);
/* "$simple"; appends. */
void endpoint_topic_name(struct buffer *, const struct protocol *);
/* Whether the session's user may say something to all of its protocol: unless his token lists what
 * he may publish to, and not this. */
bool endpoint_topic_permitted(const struct session *);
/* For an announcement: this gateway's counts in those of the partition. */
void endpoint_topics_announce(struct gateway *, uint32_t partition, struct buffer *frames);

#endif
