/*
 * The grammar of Redis keys, and which partition a key belongs to. `<prefix>{<p>}:<what>` for what
 * a partition owns (one hash tag: one transaction commits all of it), `<prefix><what>` for the few
 * global ones.
 */
#ifndef COMMON_KEYS_H
#define COMMON_KEYS_H

#include "common/buffer.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define PARTITIONS_MAX 1024

/* What every process of a deployment shares: fixed at its first start, kept in Redis
 * (deployment.h). */
struct deployment {
    char prefix[64];     /* "trunkline:" */
    uint32_t partitions; /* P */
    uint8_t hash_key[16];
};

/* The partition of a user, topic or group: SipHash-2-4 of it under the deployment's key, modulo P.
 */
uint32_t partition_of(const struct deployment *, struct slice key);
/* The partition of a user's chat: a group's is its own ("group:<id>"), a dialog's that of the
 * smaller of both user ids. */
uint32_t partition_of_chat(const struct deployment *, struct slice user, struct slice chat);
bool chat_is_group(struct slice chat);
/* Appends the one name of a conversation that all its members share: "group:<id>", or
 * "<smaller>\n<greater>" (no user id has a newline; in keys it is written as |). */
void conversation_name(struct buffer *, struct slice user, struct slice chat);
/* Appends the hash tag of a partition, "{3}": the only function that knows it. */
void partition_tag(struct buffer *, uint32_t partition);
/*
 * Appends "<prefix>{3}:<what>" or, with a name, "<prefix>{3}:<what>:<name>". Bytes of the name that
 * have a meaning in keys
 * (| : % braces, controls, space) are percent-encoded, so that different names never share a key;
 * the newline between the users of a dialog is written as |.
 */
void key_partition(struct buffer *, const struct deployment *, uint32_t partition, const char *what,
                   struct slice name);
/* Appends "<prefix><what>", with a name "<prefix><what>:<name>". */
void key_global(struct buffer *, const struct deployment *, const char *what, struct slice name);

#endif
