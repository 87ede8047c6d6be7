/*
 * Who subscribes to what on this gateway: targets (topics, patterns, followed users), the sessions
 * that each reaches, and the subscriptions that join the two. Internal to topics.
 * Pure memory: nothing here knows of partitions' answers or sends anything.
 */
#ifndef GATEWAY_TOPIC_INDEX_H
#define GATEWAY_TOPIC_INDEX_H

#include "common/slice.h"
#include "common/table.h"
#include "common/pattern_trie.h"

#include <stdint.h>
#include <sys/queue.h>

struct session;
struct topic_change;
struct topic_pattern_set;

enum target_kind { TARGET_TOPIC, TARGET_PATTERN, TARGET_PRESENCE, TARGET_KINDS };
/* The partition of what concerns them all: a pattern, everybody's presence. */
#define TARGET_EVERYWHERE UINT32_MAX

/* Dense, so that a fan-out reads straight on; what it needs of most subscriptions is copied into
 * it. */
struct receiver {
    struct session *session;
    struct subscription *subscription;
    bool settled; /* in force everywhere, no change on its way, not behind */
};

struct target {
    enum target_kind kind;
    uint32_t partition; /* of the topic or the user, or TARGET_EVERYWHERE */
    uint32_t busy;      /* fan-outs that walk it: it stays, even without receivers */
    bool gap;           /* history.c: messages are missing, until the next mark */
    bool dirty;         /* counted has changed and is not sent */
    size_t wanted;      /* subscriptions that are wanted */
    uint64_t
        counted; /* connections as a partition counts them: wanted, without a matching pattern */
    uint64_t epoch, offset; /* of a topic with history: its newest message here; 0: none is known */
    struct receiver *receivers;
    size_t count, capacity;
    UT_hash_handle hh;
    size_t length;
    char name[]; /* topic or pattern; of presence the user, or "*" */
};

struct subscription {
    struct subscription_key {
        struct session *session;
        struct target *target;
    } key;
    size_t at_target, at_session; /* places in their lists */
    uint32_t pending;             /* changes on their way that name it */
    bool wanted;                  /* what the client asked for last */
    bool in_force;                /* of a topic, and of a settled pattern */
    bool counted;                 /* in target->counted */
    struct resume *resume;        /* history.c: it is behind; NULL: it is not */
    uint64_t above;               /* live messages up to this offset are not for it; 0: all are */
    uint64_t *mask;               /* of a pattern while pending: partitions where it is in force */
    UT_hash_handle hh;
};

LIST_HEAD(topic_changes, topic_change);

struct session_topics {
    struct subscription **list;
    size_t count, capacity;
    size_t wanted, patterns_wanted;
    size_t pattern_bytes;          /* names of the wanted patterns */
    struct topic_pattern_set *set; /* of all wanted patterns; NULL without any */
    struct topic_changes changes;
    uint64_t stamp; /* of the last message it was given */
};

struct target_list {
    struct target **targets;
    size_t count, capacity;
};

struct topic_index {
    struct target *targets[TARGET_KINDS]; /* hashes by name */
    struct subscription *subscriptions;   /* hash by (session, target) */
    struct pattern_trie *patterns;
};

void topic_index_init(struct topic_index *);
/* Ends all subscriptions. */
void topic_index_finish(struct topic_index *);

struct target *topic_index_find(const struct topic_index *, enum target_kind, struct slice name);
/* Made if there is none; topic_index_release after a use that may have left it without receivers.
 */
struct target *topic_index_get(struct topic_index *, enum target_kind, struct slice name,
                               uint32_t partition);
void topic_index_release(struct topic_index *, struct target *);
/* Appends the topic itself and the patterns that match it, each once. */
void topic_index_match(const struct topic_index *, struct slice topic, struct target_list *);
void target_list_append(struct target_list *, struct target *);

struct subscription *topic_index_subscription(const struct topic_index *, const struct session *,
                                              const struct target *);
/* Adds one that is not there; session->topics is made with the first. */
struct subscription *topic_index_subscribe(struct topic_index *, struct session *, struct target *);
/* Brings receiver.settled up to date. */
void topic_index_settle(struct subscription *);
/* Removes and frees it; the target may go with it. */
void topic_index_unsubscribe(struct topic_index *, struct subscription *);

#endif
