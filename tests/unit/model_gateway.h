/*
 * A model of a gateway for random tests of the engine: numbers and holds its entries (delivery.md
 * S2), checks the chain of its output and announces itself (S5), hands each durable message to a
 * connection once, in order, and reports what was written (S7). The test decides when it sends,
 * reads and writes, and what becomes of each entry on the way.
 */
#ifndef TESTS_UNIT_MODEL_GATEWAY_H
#define TESTS_UNIT_MODEL_GATEWAY_H

#include "common/frame.h"
#include "tests/unit/model_store.h"

#define MODEL_TOPICS 3
extern const char *const model_topics[MODEL_TOPICS];

struct model_gateway;

/* What the test hears. */
struct model_listener {
    void *arg;
    /* The peer's TCP of the connection has taken the message. */
    void (*taken)(void *arg, struct model_gateway *, uint64_t connection, struct slice id,
                  struct number);
    /* The same of an event of its user. May be NULL. */
    void (*taken_event)(void *arg, struct model_gateway *, uint64_t connection, uint64_t event);
    /* The connection did this itself, and asked for no echo. May be NULL: then it is wrong. */
    void (*done_event)(void *arg, struct model_gateway *, uint64_t connection,
                       const struct frame_event_done *);
    /* The router refused the connection; it is closed. */
    void (*refused)(void *arg, struct model_gateway *, uint64_t connection);
    /* Every frame of an entry that was read in step. */
    void (*heard)(void *arg, struct model_gateway *, const struct frame *);
    /* Something that must never happen. */
    void (*wrong)(void *arg, const char *what);
};

/* What becomes of an entry: in `in` and answered; never there; there, but the answer was lost; not
 * there yet (the test adds it later); answered, and lost all the same (a Redis that forgets). */
enum model_fate { FATE_SENT, FATE_REFUSED, FATE_ANSWER_LOST, FATE_LATE, FATE_FORGOTTEN };

struct model_gateway *model_gateway_create(struct model_store *, const char *id,
                                           const struct model_listener *);
void model_gateway_destroy(struct model_gateway **);
struct slice model_gateway_id(const struct model_gateway *);

/* ---- clients ---- */
uint64_t model_gateway_open(struct model_gateway *, const char *user, uint64_t flags);
/* Asks for its user's events above `after`; again if no answer came. */
void model_gateway_follow(struct model_gateway *, uint64_t connection, uint64_t after, bool echo);
/* Whether it was answered. */
bool model_gateway_follows(const struct model_gateway *, uint64_t connection);
/* Reports it closed. Unknown ones: nothing. */
void model_gateway_close(struct model_gateway *, uint64_t connection);
/* Its peer is gone, and nobody knows: nothing more is written. */
void model_gateway_half_open(struct model_gateway *, uint64_t connection);
size_t model_gateway_connections(const struct model_gateway *);
/* NULL when it is not known (any more). */
const char *model_gateway_user(const struct model_gateway *, uint64_t connection);
/* Bits of topics by name and of patterns (a.*, b.*, **). */
void model_gateway_subscribe(struct model_gateway *, uint64_t connection, unsigned topics,
                             unsigned patterns);
/* Whether the connection's subscriptions match the topic. */
bool model_gateway_matches(const struct model_gateway *, uint64_t connection, unsigned topic);
/* Puts any frame into the next entry. */
void model_gateway_say(struct model_gateway *, const struct frame *);

/* ---- the bus ---- */
/* The next entry or chunk, NULL if there is nothing to send; *number 0 for a chunk. */
const struct buffer *model_gateway_next(struct model_gateway *, uint64_t *number);
/* What became of it. */
void model_gateway_sent(struct model_gateway *, enum model_fate);
/* Reads up to count entries. */
void model_gateway_read(struct model_gateway *, size_t count);
/* The peers take up to count messages of most connections. pick: the test's random numbers. */
void model_gateway_write(struct model_gateway *, size_t count, uint64_t (*pick)(void *), void *arg);
/* Reports what was written since the last report, if it is worth an entry or goes along with one.
 */
void model_gateway_report(struct model_gateway *, bool along);
/* The nonce has not come back: announces again. chunks: into how many pieces, from now on. */
void model_gateway_announce(struct model_gateway *, size_t chunks);
bool model_gateway_in_step(const struct model_gateway *);
/* The router has forgotten it: its chain may break. */
void model_gateway_excuse(struct model_gateway *);
/* Nothing held, gathered or unreported. */
bool model_gateway_quiet(const struct model_gateway *);

#endif
