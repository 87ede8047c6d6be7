/*
 * Hash tables: uthash with a keyed hash. Clients choose names of topics, users and messages; with
 * uthash's own hash they could choose them so that all fall into one bucket, and each look-up would
 * walk them all. Include this, never uthash.h.
 */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#ifdef UTHASH_H
#error "include common/table.h instead of uthash.h"
#endif

#include <stddef.h>
#include <stdlib.h>

/* Under a key that each process draws anew. Not for anything that outlives the process. */
unsigned table_hash(const void *key, size_t length);

#define HASH_FUNCTION(key, length, value) ((value) = table_hash(key, length))
#define uthash_fatal(message) abort() /* malloc failed */
#include <uthash.h>

#endif
