/*
 * Frames that wait for one connection. Pure memory: no socket, no clock; the frames are shared, the
 * queue only refers to them.
 */
#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include "common/slice.h"
#include "gateway/door/wire.h"

#include <stdbool.h>

/* Zeroed memory is an empty outbox. */
struct outbox {
    struct wire *
        *ring; /* capacity is a power of two; NULL while nothing was queued for some time */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    size_t bytes;
    uint32_t urgent; /* at the front: those that went before others */
    size_t urgent_bytes;
};

void outbox_finish(struct outbox *);
/* Takes a reference of its own. */
void outbox_push(struct outbox *, struct wire *);
/* The same, before all but those that were pushed so themselves. */
void outbox_push_urgent(struct outbox *, struct wire *);
/*
 * Takes whole frames from the front, as many as fit into room bytes, and returns them as one run:
 * of into, or of a single frame where it lies (however long). *held is that frame, to be released
 * with wire_unref after use, or NULL.
 */
struct slice outbox_take(struct outbox *, char *into, size_t room, struct wire **held);
/* Gives the ring's memory back if the outbox is empty. */
void outbox_trim(struct outbox *);

static inline bool outbox_is_empty(const struct outbox *outbox)
{
    return outbox->count == 0;
}

#endif
