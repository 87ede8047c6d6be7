/*
 * Frames in the log, at level debug: each process writes what it sends and takes with the id that
 * clients know their connection by, so that one search follows a client through the house.
 */
#ifndef COMMON_FRAME_LOG_H
#define COMMON_FRAME_LOG_H

#include "common/frame.h"
#include "common/log.h"

/* "to partition 5: connection <uuid>: DIRECT_MESSAGE ...". gateway_bits: of the gateway whose
 * connections the frame speaks of. */
void frame_log_one(const char *way, uint32_t partition, uint64_t gateway_bits,
                   const struct frame *);
/* Each frame of an entry. */
void frame_log_entry(const char *way, uint32_t partition, uint64_t gateway_bits,
                     struct slice frames);
/* The bits of a gateway's id: its last 16 hex digits; 0 if it is none. */
uint64_t frame_log_bits(struct slice gateway_id);

/* Costs nothing but a comparison unless debug is on. */
static inline void frame_log(const char *way, uint32_t partition, uint64_t gateway_bits,
                             const struct frame *frame)
{
    if (log_enabled(LOG_LEVEL_DEBUG))
        frame_log_one(way, partition, gateway_bits, frame);
}

#endif
