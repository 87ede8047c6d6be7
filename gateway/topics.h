/*
 * Subscriptions of this gateway's sessions, exact topics and patterns, and presence that they
 * follow. Keeps the absolute counts that partitions need to tell recipients exactly (delivery.md,
 * Topics), and fans topic messages out: each connection once, however many of its subscriptions
 * match.
 */
#ifndef GATEWAY_TOPICS_H
#define GATEWAY_TOPICS_H

#include "common/frame.h"
#include "common/topic.h"
#include "gateway/gateway.h"
#include "gateway/session.h"

/* In a PRESENCE_STATE's request beside the session: it has been told before, and may have missed a
 * change since. */
#define PRESENCE_AGAIN (1ull << 63)

struct topics *topics_create(struct gateway *);
void topics_destroy(struct topics **);
/*
 * Adds or removes subscriptions (valid ones; already there or absent changes nothing), and calls
 * protocol->on_subscribed(session, request) when the last partition has replied: what is published
 * after that is delivered, and counted. Removed ones deliver until then.
 */
void topics_subscribe(struct topics *, struct session *, const struct slice *names, size_t count,
                      uint64_t request);
void topics_unsubscribe(struct topics *, struct session *, const struct slice *names, size_t count,
                        uint64_t request);
/* Whether the partitions that a change of these names goes to take frames of clients now. */
bool topics_has_credit(struct topics *, const struct slice *names, size_t count);
/* Subscriptions of the session, counting what is on its way in and not what is on its way out. */
size_t topics_count(const struct session *);
/* Of the names of its patterns: each partition keeps them, and hears them all when one changes. */
size_t topics_pattern_bytes(const struct session *);
bool topics_has(const struct session *, struct slice name);
/* Whether a message to topic would reach the session. */
bool topics_session_matches(const struct session *, struct slice topic);

void topics_session_closed(struct topics *, struct session *);
/* Handlers of the downlink. */
void topics_on_message(struct topics *, uint32_t partition, const struct frame_topic_message *);
void topics_on_synced(struct topics *, uint32_t partition, uint64_t request);
void topics_on_presence(struct topics *, uint32_t partition, const struct frame_presence_state *);
/* Something not kept, for the connections it lists. */
void topics_on_signal(struct topics *, const struct frame_signal_delivery *);
/* For an announcement: appends all counts and presence of the partition as frames. */
void topics_announce(struct topics *, uint32_t partition, struct buffer *frames);
/* A partition announced again: topic messages may be lost between; closes its subscribers with
 * SESSION_CLOSE_RESTART. */
void topics_on_gap(struct topics *, uint32_t partition);

#endif
