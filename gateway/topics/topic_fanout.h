/*
 * Hands topic messages and presence to the sessions that subscribe: each is encoded once for each
 * protocol, and reaches a session once. Internal to topics.
 */
#ifndef GATEWAY_TOPIC_FANOUT_H
#define GATEWAY_TOPIC_FANOUT_H

#include "common/buffer.h"
#include "common/frame.h"
#include "gateway/topics/topic_index.h"

struct protocol;
struct sessions;

/* Memory that fan-outs use one after another. Zeroed is fine. */
struct topic_fanout {
    struct target_list matches;
    struct buffer encoded;
    uint64_t stamp;
};

void topic_fanout_finish(struct topic_fanout *);
/* Whether what this partition sends reaches the subscription. */
bool topic_fanout_in_force(const struct subscription *, uint32_t partition);
/* To all whose subscription is in force for the partition, but exclude (may be NULL). */
void topic_fanout_message(struct topic_fanout *, struct topic_index *, uint32_t partition,
                          const struct session *exclude, const struct frame_topic_message *);
/* To all sessions of a protocol (NULL: all) but exclude. */
void topic_fanout_endpoint(struct topic_fanout *, struct sessions *, const struct protocol *only,
                           const struct session *exclude, const struct frame_topic_message *);
/* To the connections it lists. */
void topic_fanout_signal(struct topic_fanout *, struct sessions *,
                         const struct frame_signal_delivery *);
/* A change, to all that follow the user. */
void topic_fanout_presence(struct topic_fanout *, struct topic_index *,
                           const struct frame_presence_state *);
/* The present state, to one of them. */
void topic_fanout_state(struct topic_fanout *, struct session *,
                        const struct frame_presence_state *);

#endif
