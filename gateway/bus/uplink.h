/*
 * The way in: frames to partitions, in numbered entries (delivery.md S2). For each partition at
 * most one XADD is in flight; what comes meanwhile goes into the next entry. Entries are held until
 * the router has accepted them, and sent again, in order, after an error.
 */
#ifndef GATEWAY_UPLINK_H
#define GATEWAY_UPLINK_H

#include "common/bus.h"
#include "common/frame.h"
#include "gateway/gateway.h"

/* Before the bus is up for the first time: what the uplink sends with is loaded by then. */
void uplink_add_script(struct bus *);
struct uplink *uplink_create(struct gateway *);
void uplink_destroy(struct uplink **);
/* Puts the frame into the partition's next entry; it leaves at the end of the loop turn. */
void uplink_send(struct uplink *, uint32_t partition, const struct frame *);
/* The number of the entry that has what was sent to the partition last; 0: nothing ever was. */
uint64_t uplink_last(const struct uplink *, uint32_t partition);
/* The same to every partition. */
void uplink_send_all(struct uplink *, const struct frame *);
/*
 * Whether a client's frame may be taken. False while more than the credit is not accepted, the
 * partition has accepted nothing of what it was sent for 10 s or was never reached, Redis is away
 * for more than a second, or at its maxmemory. Frames that free memory (closed, written) are sent
 * without asking.
 */
bool uplink_has_credit(const struct uplink *, uint32_t partition);
/* Partitions that have this gateway announced and have accepted something within the last three
 * heartbeats. */
uint32_t uplink_partitions_answering(const struct uplink *);
uint64_t uplink_held_bytes(const struct uplink *);
/* End of the loop turn: entries leave. Called from the gateway's prepare handle. */
void uplink_flush(struct uplink *);
/* The bus is back (its on_up): sends again what was not answered. */
void uplink_on_bus_up(struct uplink *);
/* An orderly end: GATEWAY_LEAVE to every partition behind all else; frames that come later are
   dropped. done when Redis has all of it or timeout_ms is over. */
void uplink_leave(struct uplink *, uint64_t timeout_ms, void (*done)(void *arg), void *arg);

/* ---- for the downlink ---- */
/* An entry of the partition came: whatever it says, somebody is there. */
void uplink_on_output(struct uplink *, uint32_t partition);
void uplink_on_accepted(struct uplink *, uint32_t partition, uint64_t number);
/* ENTRIES_MISSING: sends again from last + 1, or announces if it has that no more. */
void uplink_on_missing(struct uplink *, uint32_t partition, uint64_t last);
/* The chain of output entries broke or the router asks who we are: announces everything under a new
   nonce at the end of the loop turn. Held entries up to last were applied; their answers are lost.
 */
void uplink_announce(struct uplink *, uint32_t partition, uint64_t last);
/* The nonce waited for came back, in this output entry, which accepts entries up to last: the
   partition is in step. */
void uplink_on_announced(struct uplink *, uint32_t partition, uint64_t last, struct slice output);
bool uplink_is_announcing(const struct uplink *, uint32_t partition);
/* The nonce waited for; 0 while none was sent. */
uint64_t uplink_nonce(const struct uplink *, uint32_t partition);

#endif
