/*
 * What has been written to clients (delivery.md S7 and S8). `struct written`: the output entries of
 * one partition, each with its count of durable messages that a peer's TCP has not taken; X is the
 * last of the longest prefix without any. `struct unconfirmed`: the durable messages of one
 * connection, in the order of their bytes; Y is the highest number with nothing unwritten below it.
 * Pure memory: no I/O, no clock.
 */
#ifndef GATEWAY_WRITTEN_H
#define GATEWAY_WRITTEN_H

#include "common/number.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct written;
struct delivery_item;

/* Of a connection; zeroed memory is a valid empty one. */
struct unconfirmed {
    struct number seen;          /* Y */
    struct number handed;        /* the highest number handed to the connection's queue */
    struct delivery_item *items; /* a ring of capacity (0, or a power of two), in order */
    uint32_t capacity, first, count;
    struct ahead *ahead; /* numbers above handed that went before their turn; NULL: none */
};

/* When X is to be reported. */
enum written_urgency {
    WRITTEN_NOTHING, /* it has been */
    WRITTEN_ALONG,   /* with whatever goes to the partition next: only heads of entries, which the
                        report itself would answer with one more */
    WRITTEN_SOON,    /* the router keeps entries that nobody waits for */
    WRITTEN_NOW,     /* durable messages are confirmed, or much is kept */
};

/* An end that is never reached: the connection is closing and takes nothing more, or its frame is
 * not complete yet. */
#define WRITTEN_NEVER UINT64_MAX

struct written *written_create(void);
void written_destroy(struct written **); /* NULL-safe; clears the pointer */
/* An entry begins. Until its end it does not count as written. */
void written_begin(struct written *, struct number entry);
/* It has ended. content: bytes of it that were more than its head; durable: messages among them. */
void written_end(struct written *, size_t content, bool durable);
/* All entries are void: what was unwritten in them is expected again in new ones. */
void written_restart(struct written *);
enum written_urgency written_urgency(const struct written *);
/* X, which from now on counts as reported. Zero when nothing of this partition was written. */
struct number written_report(struct written *);

/*
 * Message number has come, in the entry that is open. Returns whether it is new to the connection:
 * then it is to be handed over and, if that succeeds, added. If it was handed over before and is
 * not written, this entry waits for it now.
 */
bool unconfirmed_meet(struct unconfirmed *, struct written *, struct number number);
/* A copy of message number may go before its turn: returns whether it is to. False when it went
 * before, or so many have gone that one more has to wait for its turn. */
bool unconfirmed_go_ahead(struct unconfirmed *, struct number number);
/* Its turn has come: whether it went ahead. */
bool unconfirmed_went_ahead(struct unconfirmed *, struct number number);
/* What begins at this byte of the connection, or behind it, is so much further back now. */
void unconfirmed_shift(struct unconfirmed *, uint64_t begin, uint64_t length);
/* Handed over, in the entry that is open; end: where it ends in the connection's byte stream. */
void unconfirmed_add(struct unconfirmed *, struct written *, struct number number, uint64_t end);
/* What was added with WRITTEN_NEVER, from number first on, ends here after all. */
void unconfirmed_set_end(struct unconfirmed *, struct number first, uint64_t end);
/* The peer has taken this many bytes of the connection. */
void unconfirmed_take(struct unconfirmed *, struct written *, uint64_t taken);
/* The connection is gone: no entry waits for it. */
void unconfirmed_clear(struct unconfirmed *, struct written *);

static inline bool unconfirmed_empty(const struct unconfirmed *unconfirmed)
{
    return unconfirmed->count == 0;
}

#endif
