/*
 * The inside of a partition, shared by partition.c (from its take to its release), load_stages.c
 * (after a take), partition_input.c (what is read of its input), fetch.c and partition_pages.c
 * (what else is asked of Redis), partition_commit.c (batches and their commits), and nobody else.
 */
#ifndef ROUTER_PARTITION_STATE_H
#define ROUTER_PARTITION_STATE_H

#include "common/buffer.h"
#include "common/table.h"
#include "router/committer.h"
#include "router/effects.h"
#include "router/partition.h"

#include <sys/queue.h>

/* An entry of `in` that was read and is not applied yet. */
struct input {
    STAILQ_ENTRY(input) link;
    struct number id;
    struct number number;        /* of a gateway: one part of it */
    struct slice source, frames; /* in bytes */
    uint64_t fetch;  /* it waits for this one; 0: all its users were in memory when it came */
    bool look_again; /* something was missing when it came, or may be when its turn comes */
    size_t size;
    char bytes[];
};
STAILQ_HEAD(input_list, input);

/* A page of a mailbox, or of a log, that has come and waits for the next commit. */
struct page {
    STAILQ_ENTRY(page) link;
    struct slice user;
    bool of_read; /* one that engine_next_read asked for: */
    struct engine_read read;
    uint64_t ticket;
    struct engine_page_entry *entries;
    struct engine_field *fields;
    size_t count;
    char *bytes;
};
STAILQ_HEAD(page_list, page);

struct partition {
    struct router *router;
    uint32_t number;
    enum partition_state state;
    struct committer *committer; /* from its take to its release */
    /* Rises whenever what was asked of Redis before does not count any more. */
    uint64_t generation;
    struct buffer in_key;

    struct engine *engine;
    struct engine_counters counted; /* what of its counters is in the router's metrics */
    struct effects *effects;
    uint64_t epoch, commit;
    struct number position;      /* of the last entry applied */
    struct number read_position; /* of the last entry read */
    bool position_moved;         /* by the commit that is being made */
    struct input_list inputs;
    size_t input_bytes;
    struct page_list pages;
    struct fetch *fetches;   /* on their way (fetch.c) */
    uint64_t asked, fetched; /* numbers of the last fetch sent and of the last answered */

    bool committing;       /* a commit has no answer yet */
    uint64_t sent_ns;      /* uv_hrtime when it left */
    uint64_t committed_ms; /* loop time of the last answer */
    uv_timer_t *rest;      /* active: the next commit waits for what comes meanwhile */
    bool first_commit;
    bool releasing;
    bool tick_sent;

    size_t loads; /* answers of a load still to come */
    int load_stage;
};

/* ---- partition.c ---- */
/* A request to Redis that counts only as long as the partition is what it was. */
struct partition_request {
    struct partition *partition;
    uint64_t generation;
    struct slice user; /* owned; of fetches and pages */
    uint64_t ticket;   /* of pages */
};
struct partition_request *partition_request_create(struct partition *, struct slice user);
void partition_request_destroy(struct partition_request *);
bool partition_request_counts(const struct partition_request *);
/* The lease goes, and what is in memory. */
void partition_release_lease(struct partition *);

/* ---- partition_input.c ---- */
/* The first one, which was applied or does not count any more. */
void partition_remove_input(struct partition *);

/* ---- partition_pages.c ---- */
/* Asks for what the engine wants to be read: after a commit, which a page read before it would
 * lack. */
void partition_ask_pages(struct partition *);
/* Copies a page out of the answer: it may have to wait for a commit. */
struct page *partition_page_create(struct slice user, const struct bus_reply *entries);
/* The first one. */
void partition_remove_page(struct partition *);

/* ---- partition_commit.c ---- */
/* Commits what there is, unless a commit is in flight: then its answer calls again. */
void partition_pump(struct partition *);
/* Commits, even nothing: that renews the lease. */
void partition_commit(struct partition *);
/* Connects, then loads; or drops the partition. */
void partition_connect(struct partition *);

/* ---- load_stages.c, and what it needs ---- */
/* Begins to load the state; ends in partition_loaded or partition_drop. */
void partition_load(struct partition *);
/* A user that was asked for while loading has come. */
void partition_load_progress(struct partition *);
/* All is in the engine. */
void partition_loaded(struct partition *);
/* A key of the partition as text; valid until the buffer changes. */
struct slice partition_key(struct partition *, struct buffer *, const char *what,
                           struct slice name);
/* Something that was asked for has come: goes on with the load, or commits what there is. */
void partition_go_on(struct partition *);
/* Whether an answer is what was asked for; if not, the partition may be given up. */
bool partition_readable(struct partition *, const struct bus_reply *, const char *what,
                        struct slice name);

/* ---- fetch.c ---- */
/* Fetches it unless it is on its way. */
void partition_fetch(struct partition *, const struct engine_need *);
/* How many are on their way. */
size_t partition_fetching(const struct partition *);
void partition_forget_fetches(struct partition *);
/* Asks for the pages that the engine wants of logs. */
void partition_ask_reads(struct partition *);

/* Fields of a flat array of pairs: up to max; returns how many. */
size_t partition_fields(const struct bus_reply *pairs, struct engine_field *fields, size_t max);

#endif
