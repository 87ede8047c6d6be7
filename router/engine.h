/*
 * The engine of one partition: a pure function of (state in memory, frame, time of its entry) to
 * effects. No I/O, no clock, no globals: the same input gives the same effects (delivery.md). The
 * partition (partition.h) feeds it and commits what it wants done.
 *
 * Life: engine_create; engine_load_* with what Redis holds, then engine_load_finish; then for each
 * commit engine_begin, any number of engine_apply and engine_page, engine_finish. What it needs
 * from Redis it names (engine_missing, engine_next_page); only the owner writes, so what was
 * fetched stays true.
 */
#ifndef ROUTER_ENGINE_H
#define ROUTER_ENGINE_H

#include "common/frame.h"
#include "common/keys.h"
#include "common/number.h"
#include "router/effects.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;

struct history_rules;

struct engine_limits {
    uint64_t gateway_death_ms;
    uint64_t presence_grace_ms;
    uint64_t mailbox_messages, mailbox_bytes, mailbox_ms;
    uint64_t user_connections;
    uint64_t window_messages, window_bytes;
    const struct history_rules *history; /* NULL: none */
    uint64_t history_bytes;              /* of one topic */
    uint64_t history_topics;             /* of the partition */
    uint64_t output_bytes; /* unconfirmed bytes in one gateway's output before durable messages wait
                              in mailboxes */
    uint64_t conversation_messages, group_members, events;
};

/* Counted over the engine's life. */
struct engine_counters {
    uint64_t frames, repeats, gaps, unknown_gateways, announcements;
    uint64_t direct_messages, stored, mailbox_full, expired;
    uint64_t publishes, topic_items, retries_answered;
    uint64_t gateways_buried, malformed;
    uint64_t forwarded, discarded;
    uint64_t posts, events;
};

struct engine *engine_create(const struct deployment *, uint32_t partition,
                             const struct engine_limits *);
void engine_destroy(struct engine **);
const struct engine_counters *engine_counters(const struct engine *);

/* ---- loading, in this order; fields as they stand in Redis ---- */
void engine_load_source(struct engine *, struct slice source, struct slice value);
void engine_load_gateway(struct engine *, struct slice gateway, struct slice nonce);
/* last_output: last-generated-id of its output stream (zero if there is none). */
void engine_load_output_cursor(struct engine *, struct slice gateway, struct number last_output);
void engine_load_connection(struct engine *, struct slice gateway, struct slice connection,
                            struct slice value);
void engine_load_subscription(struct engine *, struct slice gateway, struct slice field,
                              struct slice value);
/* Epochs of histories are raised to this one: that of the take that found another Redis, or one
 * that was rolled back. Before the histories. */
void engine_load_history_floor(struct engine *, uint64_t epoch);
void engine_load_history(struct engine *, struct slice topic, struct slice value);
void engine_load_seen(struct engine *, struct slice user, struct slice number);
void engine_load_timer(struct engine *, struct slice member, uint64_t due_ms);
void engine_load_recent(struct engine *, struct number entry, struct slice frames);
/* An entry of a gateway's output stream, in order: what is in it is unconfirmed. */
void engine_load_output(struct engine *, struct slice gateway, struct number entry,
                        struct slice frames);
/* Calls visit for each gateway that was loaded. */
void engine_each_gateway(struct engine *, void (*visit)(void *arg, struct slice gateway),
                         void *arg);
/* Calls visit for each user who must be fetched (engine_user) before engine_load_finish: the
 * connected ones and those with timers. */
void engine_load_users(struct engine *, void (*visit)(void *arg, struct slice user), void *arg);
/* now_ms: Redis time. From now on engine_begin is allowed; the first commit writes an entry to each
 * gateway. */
void engine_load_finish(struct engine *, uint64_t now_ms);

/* ---- users ---- */
/* One field of `user:<id>`: name and value. A user that Redis does not know has none. */
struct engine_field {
    struct slice name, value;
};
/* What `user:<id>` holds. Known users are left as they are. True: what `unread:<id>` holds is
 * needed too, and he is not known before engine_unread. */
bool engine_user(struct engine *, struct slice user, const struct engine_field *fields,
                 size_t count) __attribute__((warn_unused_result));
void engine_unread(struct engine *, struct slice user, const struct engine_field *fields,
                   size_t count);

/* ---- what frames need ---- */
/* A user's record (engine_user), a conversation's (engine_conversation), or of one message of a
 * conversation its entry in the log and its last change. */
enum engine_need_kind {
    ENGINE_NEED_USER,
    ENGINE_NEED_UNREAD, /* of a user, after his record: never asked for by frames */
    ENGINE_NEED_CONVERSATION,
    ENGINE_NEED_MESSAGE,
    ENGINE_NEED_CHANGE,
};
struct engine_need {
    enum engine_need_kind kind;
    struct slice name; /* the user, or conversation_name */
    uint64_t message;
};
/* Calls visit for everything that applying these frames needs and that is not in memory. Returns
 * how much that is; what has to wait for a page that is on its way counts too. With visit every
 * acknowledgement counts: whether it has to wait is known when its turn comes. */
size_t engine_missing(struct engine *, struct slice frames,
                      void (*visit)(void *arg, const struct engine_need *), void *arg);
/* Any frame may have to wait just now: engine_missing tells when its turn comes. */
bool engine_looks_again(const struct engine *);
/* What `dialog:<a>|<b>` or `group:<id>` holds, the entry of a message in `log:<conversation>` (no
 * fields if there is none), its field in `changes:<conversation>` (empty if there is none). What is
 * known is left as it is. */
void engine_conversation(struct engine *, struct slice id, const struct engine_field *fields,
                         size_t count);
void engine_message(struct engine *, struct slice id, uint64_t message,
                    const struct engine_field *fields, size_t count);
void engine_change(struct engine *, struct slice id, uint64_t message, struct slice change);
bool engine_knows(const struct engine *, struct slice user);
/* Users and conversations kept in memory beyond those that are needed: the oldest idle ones go when
 * they are more than keep. Not during a commit, nor while frames wait. */
void engine_trim_users(struct engine *, size_t keep);

/* ---- a commit ---- */
/* commit: this commit's number within the epoch, from 1. effects: empty; filled until
 * engine_finish. */
void engine_begin(struct engine *, uint64_t epoch, uint64_t commit, struct effects *,
                  uint64_t now_ms);
/* An entry of `in`: source is a gateway, with one part of the number, a partition ("p3"), with both
   (the commit it comes from), or empty for the router's own (TICK). now_ms: the entry's id. Returns
   0, or -EBADMSG when something in it was no frame for us: what came before it is applied, the rest
   is skipped, its number counts. */
int engine_apply(struct engine *, struct slice source, struct number number, struct slice frames,
                 uint64_t now_ms) __attribute__((warn_unused_result));
/* A page of a mailbox that engine_next_page asked for: entries in order. */
struct engine_page_entry {
    struct number number;
    const struct engine_field *fields;
    size_t field_count;
};
/* The ticket is the request's. */
void engine_page(struct engine *, struct slice user, uint64_t ticket,
                 const struct engine_page_entry *entries, size_t count);
/* So much was done in this commit that the rest is better left to the next one. */
bool engine_is_full(const struct engine *);
/* Closes the commit: output entries, records of users, answers to keep. Returns the count of
 * effects. */
size_t engine_finish(struct engine *);

/* A page wanted: entries of mailbox:<user> above `after`, ENGINE_PAGE_ENTRIES at most. False when
 * there is none (any more). Each is named once. Asked for when the commit has run, not before: a
 * page without what that commit stored would be taken for the end of the mailbox. */
#define ENGINE_PAGE_ENTRIES 256
struct engine_page_request {
    struct slice user;
    struct number after;
    uint64_t ticket;
};
bool engine_next_page(struct engine *, struct engine_page_request *);

/* The same for pages of a user's event log above `after`, and of a mailbox that goes into dialogs;
 * each is answered by engine_read, within a commit. */
enum engine_read_kind { ENGINE_READ_EVENTS, ENGINE_READ_MAILBOX };
struct engine_read {
    enum engine_read_kind kind;
    struct slice user;
    struct number after;
    uint64_t ticket;
};
bool engine_next_read(struct engine *, struct engine_read *);
void engine_read(struct engine *, const struct engine_read *, const struct engine_page_entry *,
                 size_t count);

/* When the engine wants a TICK: Redis milliseconds, UINT64_MAX when nothing is due. */
uint64_t engine_due_ms(const struct engine *);
/* Redis did not answer for a while or the input was not read: no gateway counts as silent before
 * now_ms. */
void engine_forgive_silence(struct engine *, uint64_t now_ms);

/* Whether a frame of this type, sent to a router by a gateway or another partition, has a handler.
 */
bool engine_handles(enum frame_type);

/* ---- for tests and metrics ---- */
struct engine_sizes {
    size_t gateways, connections, users, pending, topics, pattern_sets, recent, members;
};
struct engine_sizes engine_sizes(const struct engine *);
/* Asserts what must always be true of the state in memory (delivery.md, invariants I4 and I5 as far
 * as memory tells); aborts if not. */
void engine_check(const struct engine *);

#endif
