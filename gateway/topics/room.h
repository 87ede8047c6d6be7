/*
 * Rooms: the endpoint topics ("$simple") whose members are known by name. A protocol's sessions
 * join their endpoint's room; routers are told for each user how many of this gateway's sessions
 * are in it (absolute, once a loop turn), and tell who comes and goes and who is there.
 *
 * What a session hears of its room:
 *  - changes, by protocol->encode_member, from room_join on;
 *  - with a list asked for in room_join: first that it is there itself (encode_member, exactly
 * once), then who is there, by protocol->on_member_list, then the changes that came after that
 * list: nobody is missed or named twice at the seam. The list names the session's own user too.
 */
#ifndef GATEWAY_ROOM_H
#define GATEWAY_ROOM_H

#include "common/buffer.h"
#include "common/frame.h"
#include "gateway/gateway.h"

struct session;

struct rooms *rooms_create(struct gateway *);
void rooms_destroy(struct rooms **);

/* Counts the session's user among the members. Once joined, again changes nothing. */
void room_join(struct session *, bool list);
/* The end of a session does it too. */
void room_leave(struct session *);
/*
 * Asks who is there: protocol->on_member_list, in frames of at most 1,000 lines
 * "<since, ms> <user>\n" (10,000 in all), whose request is this one (0 for the list of room_join).
 * The session need not have joined. Returns 0, or -EBUSY while it has ROOM_ASKS_MAX open.
 */
#define ROOM_ASKS_MAX 16
int room_ask(struct session *, uint64_t request) __attribute__((warn_unused_result));

/* End of the loop turn: counts that changed and questions leave. Before uplink_flush. */
void rooms_flush(struct rooms *);
/* For an announcement: this gateway's members of the partition's rooms. */
void rooms_announce(struct rooms *, uint32_t partition, struct buffer *frames);
/* A partition announced again: what was said in its rooms may be lost; their sessions are closed
 * with SESSION_CLOSE_RESTART. */
void rooms_on_gap(struct rooms *, uint32_t partition);
void rooms_session_closed(struct rooms *, struct session *);
/* Handlers of the downlink. */
void rooms_on_changed(struct rooms *, const struct frame_member_changed *);
void rooms_on_list(struct rooms *, const struct frame_member_list *);

#endif
