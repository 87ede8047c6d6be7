/*
 * Judges a partition's output entries (delivery.md S5): each must name its predecessor, and while
 * an announcement is on its way all are skipped until its nonce comes back. Pure: no I/O, no clock.
 */
#ifndef GATEWAY_OUTPUT_H
#define GATEWAY_OUTPUT_H

#include "common/frame.h"

#include <stdbool.h>

enum output_verdict {
    OUTPUT_TAKE,   /* the reader stands before the first frame to handle */
    OUTPUT_SKIP,   /* an announcement is on its way */
    OUTPUT_BROKEN, /* not the next one, or nobody knows us: announce */
    OUTPUT_BAD,    /* no output entry */
};

/* What this gateway waits for. */
struct output_wait {
    bool announcing;
    uint64_t nonce; /* 0: not made yet */
};

struct output_judgement {
    enum output_verdict verdict;
    bool announced;    /* TAKE: the nonce waited for came back in it */
    uint64_t accepted; /* TAKE: entries up to this one are applied */
    uint64_t last;     /* BROKEN, BAD: entries up to this one were applied; 0 if that is unknown */
};

/*
 * Judges entry number `entry` with these frames; *cursor is the entry before it and becomes this
 * one, whatever the verdict. The reader reads the frames from then on.
 */
struct output_judgement output_judge(struct frame_reader *, struct slice frames,
                                     struct output_wait wait, struct number entry,
                                     struct number *cursor);

#endif
