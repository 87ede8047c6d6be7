/*
 * Names of topics, and patterns that stand for many. Pure.
 *
 * A topic: 1 to 8 segments of [A-Za-z0-9_-], joined by dots, 256 bytes; the first may begin with
 * '$' (topics that no one may use unless a token lists them). A pattern: '*' stands for exactly one
 * segment, '**' (only at the end) for one or more; neither stands for a first segment that begins
 * with '$'. presence.<user> (bytes of the user id other than those above as %XX, 400 bytes),
 * presence.* and presence.** (everybody) follow users and are no topics.
 */
#ifndef COMMON_TOPIC_H
#define COMMON_TOPIC_H

#include "common/buffer.h"
#include "common/slice.h"

#include <stdbool.h>

#define TOPIC_MAX 256
#define TOPIC_SEGMENTS_MAX 8
#define TOPIC_PRESENCE_MAX 400

/* Of a topic that can be published to: no wildcards, not presence. */
bool topic_valid(struct slice topic);
/* Of a topic or a pattern: what can be subscribed to, but for presence. */
bool topic_pattern_valid(struct slice pattern);
/* Whether a valid name is a pattern. */
bool topic_has_wildcard(struct slice name);
/* A pattern may be a topic, which matches itself. */
bool topic_matches(struct slice pattern, struct slice topic);
/* Whether pattern matches whatever inner (a topic or a pattern) matches. */
bool topic_covers(struct slice pattern, struct slice inner);

/* Whether what a token lists (NULL-terminated patterns; NULL: all but names that begin with '$')
 * covers the name, a topic or a pattern. */
bool topic_permitted(char *const *patterns, struct slice name);

/* Whether the name's first segment of several is "presence". */
bool topic_is_presence(struct slice name);
/* Reads presence.<user> and appends the user id, "*" for everybody. Returns 0, or -EINVAL when it
 * is malformed or not that of a user. */
int topic_presence_user(struct slice name, struct buffer *user) __attribute__((warn_unused_result));

/* Appends the name under which a user's presence is followed. */
void topic_presence_name(struct buffer *, struct slice user);

/* Cuts the first segment off rest, which is not empty: what stays has no leading dot, and data NULL
 * behind the last segment. */
struct slice topic_cut_segment(struct slice *rest);

#endif
