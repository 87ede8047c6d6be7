/*
 * What the metadata of a topic's message does on its last step. It is an object of its own or,
 * where a mark stands in its place, a member of the body (realtime's own types). Pure.
 */
#ifndef GATEWAY_TOPIC_METADATA_H
#define GATEWAY_TOPIC_METADATA_H

#include "common/frame.h"

#include <stdbool.h>

/*
 * "priority": "high": it goes before others that wait for a connection. Never of a topic with
 * history: who comes back goes on behind the last offset he has seen.
 */
bool topic_message_is_urgent(const struct frame_topic_message *);
/*
 * "ttl": so many seconds after it was sent it is not to be delivered any more. now_ms: Unix time.
 * By two clocks, the router's and ours: only for messages that have been kept.
 */
bool topic_message_is_expired(const struct frame_topic_message *, uint64_t now_ms);

#endif
