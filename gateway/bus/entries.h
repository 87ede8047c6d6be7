/*
 * The numbered entries of one partition on their way in (delivery.md S2 and S5): gathers frames,
 * numbers entries, holds them until the router has accepted them, and says which one goes next; at
 * most one is in flight. An announcement goes out before all that is held. Pure memory: no I/O, no
 * clock.
 */
#ifndef GATEWAY_ENTRIES_H
#define GATEWAY_ENTRIES_H

#include "common/frame.h"

#include <stdbool.h>
#include <stdint.h>

/* An entry is closed when it has this many bytes, so it is at most this and one frame long. */
#define ENTRIES_ENTRY_BYTES (512 * 1024)
/* Likewise a chunk of an announcement. */
#define ENTRIES_CHUNK_BYTES (1024 * 1024)

struct entries;

/* What is to be sent: number 0 for a chunk of an announcement. Valid until the next call. */
struct entries_outgoing {
    uint64_t number;
    struct slice frames;
};

/* Suspended: an announcement comes first. */
struct entries *entries_create(void);
void entries_destroy(struct entries **); /* NULL-safe; clears the pointer */
/* Puts the frame into the next entry. */
void entries_add(struct entries *, const struct frame *);
/* Bytes of frames that the router has not accepted. */
size_t entries_bytes(const struct entries *);
/* The number of the last entry; what is gathered gets the next. */
uint64_t entries_last(const struct entries *);
/* The number that what was added last has, or will get. */
uint64_t entries_tail(const struct entries *);
/* Something waits to be sent or is in flight, an announcement included. */
bool entries_busy(const struct entries *);
/* In step, and the next call of entries_next takes what is gathered or held. */
bool entries_ready(const struct entries *);

/* What goes next; it is in flight from now on. Returns false for nothing, also while one is. */
bool entries_next(struct entries *, struct entries_outgoing *);
/* The one in flight was taken by the bus, or may not have been: then it goes again. */
void entries_answered(struct entries *, bool taken);
/* The router has applied everything up to number: it is held no more. */
void entries_accepted(struct entries *, uint64_t number);
/* The same, but what it answered to these frames will not come: visit gets those of each entry. */
void entries_lost(struct entries *, uint64_t number, void (*visit)(void *arg, struct slice frames),
                  void *arg);
/* An entry was not applied for want of last + 1: all that is held goes again. Returns false when
   last + 1 is not there any more (Redis was rolled back): then only an announcement helps. */
bool entries_missing(struct entries *, uint64_t last);

/* Nothing but an announcement goes out from here on; one on its way is dropped. */
void entries_suspend(struct entries *);
/*
 * Makes an announcement under the next nonce, to be filled with entries_announce_add and closed
 * with entries_announce_end; what is held goes again from its beginning behind it.
 */
void entries_announce_begin(struct entries *);
void entries_announce_add(struct entries *, const struct frame *);
void entries_announce_end(struct entries *);
/* Suspended, or the nonce of an announcement has not come back. */
bool entries_announcing(const struct entries *);
/* The nonce to wait for; 0 while there is none. */
uint64_t entries_nonce(const struct entries *);
/* Of the announcement that was made: something of it was taken, all of it was. */
bool entries_announce_started(const struct entries *);
bool entries_announce_sent(const struct entries *);
/* The nonce came back. Returns whether it is the one waited for: then the entries are in step. */
bool entries_announced(struct entries *, uint64_t nonce);

#endif
