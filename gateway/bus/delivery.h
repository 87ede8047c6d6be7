/*
 * Durable messages on their last step: handed to connections once, in order, and confirmed to the
 * router when the peers' TCP has taken them (delivery.md S5 to S8). What is unconfirmed and what
 * that says is in written.h; here are the sessions, the clock and the bus.
 */
#ifndef GATEWAY_DELIVERY_H
#define GATEWAY_DELIVERY_H

#include "common/frame.h"
#include "gateway/gateway.h"
#include "gateway/session/session.h"

struct deliveries *deliveries_create(struct gateway *);
void deliveries_destroy(struct deliveries **);
/* An output entry begins and ends; frames of its body come between. content: its bytes besides what
   only speaks of entries (its head), 0 for none. */
void deliveries_entry_begin(struct deliveries *, uint32_t partition, struct number entry);
void deliveries_entry_end(struct deliveries *, uint32_t partition, size_t content);
/* Hands the message to each connection that has not had it; encodes once for each protocol. */
void deliveries_on_message(struct deliveries *, uint32_t partition,
                           const struct frame_message_delivery *);
/* Likewise an event, to connections that have not had it: an event's id says so, its number only
 * that it was written. */
void deliveries_on_event(struct deliveries *, uint32_t partition,
                         const struct frame_event_delivery *);
/* The session has had the event, for it did it: its protocol hears so. */
void deliveries_on_event_done(struct deliveries *, uint32_t partition,
                              const struct frame_event_done *);
/* The session has ended (its socket may be gone): reports CONNECTION_CLOSED with its Y, and counts
 * nothing of it as outstanding. */
void deliveries_session_closed(struct deliveries *, struct session *);
/* An announcement of this partition begins: the old entries are void; what is still unwritten is
 * expected again in new ones. */
void deliveries_on_announce(struct deliveries *, uint32_t partition);
/* Brings the session's Y up to date (one SIOCOUTQ if anything is unconfirmed) and returns it. */
struct number deliveries_update_seen(struct deliveries *, struct session *);
/* An entry leaves for the partition: adds OUTPUT_WRITTEN to it if X is not reported. */
void deliveries_report(struct deliveries *, uint32_t partition);

#endif
