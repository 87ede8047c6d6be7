/*
 * The inside of topics, shared by topics.c (names, what routers send, the end of a session),
 * topic_changes.c (subscriptions on their way), topic_counts.c (what partitions are told) and
 * nobody else.
 */
#ifndef GATEWAY_TOPICS_STATE_H
#define GATEWAY_TOPICS_STATE_H

#include "gateway/topics/topic_fanout.h"
#include "gateway/topics/topic_index.h"
#include "gateway/topics/topics.h"

/* The distinct sets of patterns that sessions have, as routers count them. */
struct topic_pattern_set {
    uint64_t connections;
    UT_hash_handle hh;
    size_t length;
    char patterns[]; /* sorted, joined by ',' */
};

/* Subscriptions of one session that change together, until all partitions concerned have replied.
 */
struct topic_change {
    uint64_t number; /* SUBSCRIPTION_SYNC's request */
    struct session *session;
    uint64_t request; /* the protocol's */
    bool want;
    bool patterns; /* some of its items are patterns that were not (or were) wanted before */
    struct subscription **items;
    size_t count;
    bool follows;   /* histories: its items hold back what is live */
    size_t asking;  /* of whose histories it is not known where they are */
    size_t waiting; /* partitions that have not replied */
    UT_hash_handle hh;
    LIST_ENTRY(topic_change) link;
    uint64_t mask[]; /* which */
};

struct topics {
    struct gateway *gateway;
    struct topic_index index;
    struct topic_fanout fanout;
    struct topic_pattern_set *sets; /* hash by patterns */
    struct topic_change *changes;   /* hash by number */
    uint64_t last_change;
    struct target_list dirty;
    struct buffer scratch;
};

static inline uint32_t topics_partitions(const struct topics *topics)
{
    return topics->gateway->deployment.partitions;
}

static inline size_t topics_mask_words(const struct topics *topics)
{
    return (topics_partitions(topics) + 63) / 64;
}

static inline bool mask_test(const uint64_t *mask, uint32_t partition)
{
    return mask[partition / 64] >> partition % 64 & 1;
}

static inline void mask_set(uint64_t *mask, uint32_t partition, bool on)
{
    uint64_t bit = 1ull << partition % 64;

    mask[partition / 64] = on ? mask[partition / 64] | bit : mask[partition / 64] & ~bit;
}

static inline struct slice target_name(const struct target *target)
{
    return slice_of(target->name, target->length);
}

/* ---- topics.c ---- */
/* The session's subscription, or NULL; made if there is none. */
struct subscription *topics_find(struct topics *, const struct session *, struct slice name);
struct subscription *topics_get(struct topics *, struct session *, struct slice name);
void topics_end(struct topics *, struct subscription *);
/* To a partition, or to all for TARGET_EVERYWHERE. */
void topics_send(struct topics *, uint32_t partition, const struct frame *);
void topics_send_watch(struct topics *, const struct target *, bool watching, uint64_t request);

/* ---- topic_counts.c ---- */
struct frame topic_counts_of_topic(const struct target *);
struct frame topic_counts_of_set(const struct topic_pattern_set *);
/* Whether the subscription counts for its topic; topic_counts_send tells. */
void topic_counts_set(struct topics *, struct subscription *, bool counted);
/* Sends the counts that have changed; all are absolute, so one frame says the last word. */
void topic_counts_send(struct topics *);
/* After a change, of all that it touches. */
void topic_counts_change(struct topics *, const struct topic_change *);
/* Whether a wanted pattern of the session matches: then the topic itself does not count. */
bool topic_counts_by_pattern(struct topics *, const struct session *, struct slice topic);
/* The session's set of wanted patterns, told to all partitions. */
void topic_counts_update_set(struct topics *, struct session_topics *);
void topic_counts_leave_set(struct topics *, struct session_topics *);

/* ---- topic_changes.c ---- */
/* Nobody waits for it any more. */
void topic_change_end(struct topics *, struct topic_change *);
void topic_changes_drop(struct topics *, struct session_topics *);
/* Asks a partition again: the answer may have been lost, or what it was to be an answer to. */
void topic_changes_sync(struct topics *, uint32_t partition);

#endif
