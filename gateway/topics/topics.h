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
#include "gateway/session/session.h"

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
/*
 * The same for topics (no patterns) whose history is wanted, a wish for each name: what comes live
 * meanwhile waits. on_subscribed is called when it is also known where the histories are: then
 * topics_history tells, and what is missed follows that call, then what is live, none of it lost or
 * twice. A topic already subscribed to begins anew.
 */
struct history_wish {
    bool since;             /* what came after this place; else the last messages */
    uint64_t epoch, offset; /* of since */
    uint64_t count;         /* else */
};
struct history_answer {
    uint64_t epoch, offset; /* of the newest message; epoch 0: the topic keeps none */
    bool recovered;         /* all that was asked for follows */
};
void topics_follow(struct topics *, struct session *, const struct slice *names,
                   const struct history_wish *wishes, size_t count, uint64_t request);
/* During on_subscribed; false for a topic that was not followed. */
bool topics_history(const struct session *, struct slice name, struct history_answer *);
/* Whether the partitions that a change of these names goes to take frames of clients now. */
bool topics_has_credit(struct topics *, const struct slice *names, size_t count);
/* Subscriptions of the session, counting what is on its way in and not what is on its way out. */
size_t topics_count(const struct session *);
/* Of the names of its patterns: each partition keeps them, and hears them all when one changes. */
size_t topics_pattern_bytes(const struct session *);
bool topics_has(const struct session *, struct slice name);
/* Calls visit with the name of each that topics_count counts, valid during the call; visit changes
 * none. */
void topics_each_wanted(struct topics *, const struct session *,
                        void (*visit)(void *arg, struct slice name), void *arg);
/* Of presence.<user>; user "*" is everybody. */
bool topics_has_presence(const struct session *, struct slice user);
/* Whether a message to topic would reach the session. */
bool topics_session_matches(const struct session *, struct slice topic);

void topics_session_closed(struct topics *, struct session *);
/* Handlers of the downlink. */
void topics_on_message(struct topics *, uint32_t partition, const struct frame_topic_message *);
void topics_on_mark(struct topics *, const struct frame_topic_mark *);
void topics_on_synced(struct topics *, uint32_t partition, uint64_t request);
void topics_on_presence(struct topics *, uint32_t partition, const struct frame_presence_state *);
/* Something not kept, for the connections it lists. */
void topics_on_signal(struct topics *, const struct frame_signal_delivery *);
/* For an announcement: appends all counts and presence of the partition as frames. */
void topics_announce(struct topics *, uint32_t partition, struct buffer *frames);
/* A partition announced again: topic messages may be lost between. Topics with history make up for
 * them; other subscribers are closed with SESSION_CLOSE_RESTART. */
void topics_on_gap(struct topics *, uint32_t partition);

#endif
