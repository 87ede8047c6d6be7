/*
 * The effects of one commit: what the engine wants done to the partition's keys, written as the
 * commands that Redis will run. No I/O; the bytes stay as they are until effects_reset, so that a
 * commit can be sent again unchanged.
 */
#ifndef ROUTER_EFFECTS_H
#define ROUTER_EFFECTS_H

#include "common/buffer.h"
#include "common/keys.h"
#include "common/number.h"
#include "common/record.h"

#include <stdint.h>

#define EFFECT_DEL_EMPTY_LUA "if redis.call('XLEN',KEYS[1])==0 then redis.call('DEL',KEYS[1]) end"

enum effect_kind {
#define EFFECT(NAME, before, behind, arguments) EFFECT_##NAME,
#include "router/effects.def"
#undef EFFECT
    EFFECTS
};

/* Keys that every commit has, in this order; others follow. */
enum effect_key {
    EFFECT_KEY_STATE,
    EFFECT_KEY_LEASE,
    EFFECT_KEY_IN,
    EFFECT_KEY_DEAD,
    EFFECT_KEYS_FIXED
};

struct effects;

struct effects *effects_create(const struct deployment *, uint32_t partition);
void effects_destroy(struct effects **);
/* Empty again, with the fixed keys only. */
void effects_reset(struct effects *);
/* How many effects there are. */
size_t effects_count(const struct effects *);
/* Bytes written so far. */
size_t effects_size(const struct effects *);
/* Adds a key of the partition and returns its index; the same key twice does no harm. name as in
 * key_partition. */
uint32_t effects_key(struct effects *, const char *what, struct slice name);
/* The same of another partition's key. */
uint32_t effects_key_of(struct effects *, uint32_t partition, const char *what, struct slice name);

/* A key as text. */
struct slice effects_key_text(const struct effects *, uint32_t key);

/* Opens an effect with argument_count arguments of its own; exactly as many effects_text or
 * effects_number calls follow. */
void effects_open(struct effects *, enum effect_kind, uint32_t key, size_t argument_count);
void effects_text(struct effects *, struct slice);
void effects_u64(struct effects *, uint64_t);
/* A field and its value: two arguments. */
void effects_text_pair(struct effects *, const char *name, struct slice value);
void effects_u64_pair(struct effects *, const char *name, uint64_t value);
void effects_number(struct effects *, struct number);

/*
 * An entry with those of the fields that say something (a text that is not empty, a number that is
 * not zero; what is absent reads as empty and 0), and body as the last of them.
 */
void effects_entry(struct effects *, uint32_t key, struct number id,
                   const struct record_field *fields, size_t count, struct slice body);

/* An entry with one field, whose value is one record (common/record.h). */
void effects_record(struct effects *, uint32_t key, struct number id, const char *field,
                    const struct record_field *fields, size_t count);

/* Shorthand for one pair. */
void effects_hset(struct effects *, uint32_t key, struct slice field, struct slice value);
void effects_hdel(struct effects *, uint32_t key, struct slice field);

/* What every commit ends with: its number, where the input stands, and the lease. */
struct effects_end {
    uint64_t commit;
    const struct number *position; /* of the last entry applied; NULL: unchanged */
    struct slice owner;
    uint64_t lease_ms;
};
void effects_close(struct effects *, const struct effects_end *);

/* For the commit: the effects_count commands as Redis reads them (common/command.h). Valid until
 * the next change. */
struct slice effects_commands(const struct effects *);

#endif
