/*
 * A model in memory of what Redis holds of a partition: runs commits by the rule of
 * committer.h, takes a new epoch as take.lua does, and gives back what a load, a fetch or a page
 * would read. Hashes, streams with their last ids, sorted sets, keys that expire at a time that the
 * test gives. What Redis would refuse is refused, and counted.
 */
#ifndef TESTS_UNIT_MODEL_STORE_H
#define TESTS_UNIT_MODEL_STORE_H

#include "router/effects.h"
#include "router/engine.h"

struct model_store;

struct model_store *model_store_create(const struct deployment *, uint32_t partition);
/* Another partition of the same Redis. */
struct model_store *model_store_beside(const struct model_store *, uint32_t partition);
void model_store_destroy(struct model_store **);
/* Redis time, of all its partitions: what expires until then goes. */
void model_store_set_time(struct model_store *, uint64_t now_ms);
uint64_t model_store_time(const struct model_store *);

/* ---- commits ---- */
/* A commit as it travels: a copy of its bytes, so that it can run late, or again. */
struct model_commit;
/* Closes the effects (effects_close). position NULL: unchanged. */
struct model_commit *model_commit_create(struct effects *, uint64_t epoch, uint64_t commit,
                                         const struct number *position);
void model_commit_destroy(struct model_commit **);
enum model_result { MODEL_OK, MODEL_DONE, MODEL_STALE, MODEL_LOST, MODEL_FAILED };
/* MODEL_FAILED: it ran, and an effect was refused; model_store_problem says which. */
enum model_result model_store_run(struct model_store *, const struct model_commit *);
const char *model_store_problem(const struct model_store *);
/* For a real Redis. */
struct slice model_commit_commands(const struct model_commit *, size_t *count);
uint64_t model_commit_number(const struct model_commit *);

struct model_taken {
    uint64_t epoch;
    struct number position;
};
struct model_taken model_store_take(struct model_store *);
/* An entry of `in`, as in.lua writes it; gateway empty for a TICK. */
void model_store_add_input(struct model_store *, struct slice gateway, uint64_t number,
                           struct slice frames);

/* One of another partition, as its commit writes it. */
void model_store_add_forward(struct model_store *, struct slice source, struct number number,
                             struct slice frames);

/* ---- reading: valid until the next change; a name without data names a key of the partition ----
 */
const struct engine_field *model_store_hash(const struct model_store *, const char *what,
                                            struct slice name, size_t *count);
/* Empty if there is none. */
struct slice model_store_field(const struct model_store *, const char *what, struct slice name,
                               struct slice field);
const struct engine_page_entry *model_store_stream(const struct model_store *, const char *what,
                                                   struct slice name, size_t *count);
/* The items of a journal (router/journal.h), as if each were an entry of its own. */
const struct engine_page_entry *model_store_journal(const struct model_store *, const char *what,
                                                    struct slice name, size_t *count);
struct number model_store_last_id(const struct model_store *, const char *what, struct slice name);
struct model_score {
    struct slice member;
    uint64_t score;
};
const struct model_score *model_store_scores(const struct model_store *, const char *what,
                                             struct slice name, size_t *count);
/* Of an entry whose only field is a record, a field of that. */
struct slice model_entry_field(const struct engine_page_entry *, const char *name);
/* Calls visit for each key, without the partition's prefix ("out:g1"). */
void model_store_each_key(const struct model_store *, void (*visit)(void *arg, const char *key),
                          void *arg);
/* Of all keys and values of all partitions: equal for equal contents. */
uint64_t model_store_digest(const struct model_store *);

#endif
