/*
 * Subscriptions that follow a topic's history: a session that begins, or goes on after a gap, at
 * some offset. Routers write histories, each message under a dense offset; here a session that is
 * behind is kept off the live messages and reads the stream page by page, each page when the one
 * before was taken by its peer, until it has reached what is live: by the offsets nothing is missed
 * or sent twice at the seam. Internal to topics.
 */
#ifndef GATEWAY_HISTORY_H
#define GATEWAY_HISTORY_H

#include "common/bus.h"
#include "common/frame.h"
#include "gateway/gateway.h"
#include "gateway/topics/topic_index.h"

struct history_wish;
struct history_answer;

/* Before the bus is up for the first time. */
void histories_add_script(struct bus *);
struct histories *histories_create(struct gateway *);
void histories_destroy(struct histories **);

/* From now on the subscription's live messages that have an offset are held back. Once more begins
 * anew: the newest wish is what all who have held it are told of and what follows. */
void history_hold(struct histories *, struct subscription *, const struct history_wish *);
/* It is in force, once for each hold: with the last one asks where the history is; done when that
 * is known, or never if it ends first. */
void history_ask(struct histories *, struct subscription *,
                 void (*done)(void *arg, struct subscription *), void *arg);
/* What it was told; false if it does not follow a history. */
bool history_answer_of(const struct subscription *, struct history_answer *);
/* A Status has gone out, once for each ask: after the last one what is missed may follow. */
void history_go(struct histories *, struct subscription *);
/* The subscription ends. */
void history_drop(struct subscription *);

/* A message of the target's topic is about to be fanned out. */
void history_on_message(struct histories *, struct target *, const struct frame_topic_message *);
/* Whether this message, with an offset, is for the subscription now. */
bool history_passes(struct subscription *, const struct frame_topic_message *);
/* TOPIC_MARK. */
void history_on_mark(struct histories *, struct target *, const struct frame_topic_mark *);
/* What was published meanwhile did not come: asks for the topic's mark. False: it has no history
 * that could make up for it. */
bool history_on_gap(struct histories *, struct target *);

#endif
