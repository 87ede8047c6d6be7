/*
 * The way out of one session: its queue, one write of all of it, and what the peer's TCP has taken.
 * Bytes are counted from the first frame on; what libwebsockets sends by itself (the 101, pongs,
 * the close frame) is not counted.
 */
#ifndef GATEWAY_CONNECTION_H
#define GATEWAY_CONNECTION_H

#include "gateway/session/outbox.h"
#include "gateway/door/websocket.h"

struct connection {
    struct websocket *websocket; /* NULL before it is open and after it has ended */
    struct outbox outbox;
    uint64_t queued;  /* bytes that were ever queued */
    uint64_t written; /* of them, handed to the websocket */
    uint64_t given;   /* of them, known to have left this process */
    uint64_t taken;   /* of them, known to have been taken by the peer's TCP */
    /* Once closing has begun: where our last byte ends in all that the kernel was given, so that
     * what follows does not count. */
    uint64_t end_mark;
    uint64_t progress;    /* peer_progress at the last look */
    uint64_t progress_ms; /* when that has changed, or there was nothing to take */
};

enum connection_progress { CONNECTION_SETTLED, CONNECTION_MOVING, CONNECTION_STALLED };

void connection_push(struct connection *, struct wire *);
/* Before all that is queued, but behind others that were pushed so. Returns where it begins in the
 * connection's byte stream: what was queued from there on is further back now. */
uint64_t connection_push_urgent(struct connection *, struct wire *);
/* Forgets what is queued. */
void connection_drop(struct connection *);
/* Writes what is queued, while the kernel takes it. Returns 0, or -EPIPE: it is broken, and what
 * was queued is forgotten. */
int connection_write(struct connection *) __attribute__((warn_unused_result));
/* The kernel has room again, though something of the last write is left in this process: it goes on
 * in this turn of the loop, or the next. */
bool connection_may_go_on(const struct connection *);
/* Nothing is queued, and nothing of the last write is left in this process. */
bool connection_is_written(const struct connection *);
/* Our last frame has been written or dropped: what goes out from now on is not ours. Counts twice
 * like once. */
void connection_mark_end(struct connection *);
/* Bytes that the peer's TCP has taken. */
uint64_t connection_taken(struct connection *);
/* A look at a connection that something was written to, once in a while: STALLED when its peer has
 * taken nothing for stall_ms. */
enum connection_progress connection_look(struct connection *, uint64_t now_ms, uint64_t stall_ms);
/* Milliseconds since the last byte from the peer. */
uint64_t connection_silence_ms(const struct connection *);

#endif
