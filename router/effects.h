/*
 * The effects of one commit: what the engine wants done to the partition's keys, as opcodes with
 * arguments, packed for commit.lua. Ids travel as text: Lua's numbers lose digits. No I/O; the
 * bytes stay as they are until effects_reset, so that a commit can be sent again unchanged.
 */
#ifndef ROUTER_EFFECTS_H
#define ROUTER_EFFECTS_H

#include "common/buffer.h"
#include "common/keys.h"
#include "common/number.h"
#include "common/record.h"

#include <stdint.h>

enum effect_opcode {
#define EFFECT(id, NAME, arguments) EFFECT_##NAME = id,
#include "router/effects.def"
#undef EFFECT
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
/* Bytes packed so far. */
size_t effects_size(const struct effects *);
/* Adds a key of the partition and returns its index; the same key twice does no harm. name as in
 * key_partition. */
uint32_t effects_key(struct effects *, const char *what, struct slice name);
/* The same of another partition's key. */
uint32_t effects_key_of(struct effects *, uint32_t partition, const char *what, struct slice name);

/* Opens an effect with argument_count arguments after its key; exactly as many effects_text or
 * effects_number calls follow. */
void effects_open(struct effects *, enum effect_opcode, uint32_t key, size_t argument_count);
void effects_text(struct effects *, struct slice);
void effects_u64(struct effects *, uint64_t);
/* A field and its value: two arguments. */
void effects_text_pair(struct effects *, const char *name, struct slice value);
void effects_u64_pair(struct effects *, const char *name, uint64_t value);
void effects_number(struct effects *, struct number);
/* A long text: it travels beside the list. Only where the opcode takes an attachment. */
void effects_attach(struct effects *, struct slice);

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

/* For the commit: the keys as text, the packed list and its attachments. Valid until the next
 * change. */
size_t effects_keys(struct effects *, const struct slice **keys);
struct slice effects_packed(struct effects *);
size_t effects_attachments(struct effects *, const struct slice **texts);

#endif
