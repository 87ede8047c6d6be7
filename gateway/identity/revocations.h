/*
 * Tokens that were revoked before they expired. Pure memory, bounded: when full, the one known
 * longest is forgotten.
 */
#ifndef GATEWAY_REVOCATIONS_H
#define GATEWAY_REVOCATIONS_H

#include "common/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct revocations;
struct revocations *revocations_create(size_t most);
void revocations_destroy(struct revocations **); /* NULL-safe; clears the pointer */
/* Remembers a token id until it expires (Unix seconds). Returns whether it is new here. */
bool revocations_add(struct revocations *, struct slice token_id, int64_t expires_at,
                     int64_t now_s);
bool revocations_has(const struct revocations *, const char *token_id);
/* Likewise all tokens of a user that were issued until then (Unix seconds). Returns whether that is
 * news. */
bool revocations_add_user(struct revocations *, struct slice user, int64_t issued_until,
                          int64_t expires_at, int64_t now_s);
bool revocations_has_user(const struct revocations *, const char *user, int64_t issued_at);
size_t revocations_count(const struct revocations *);

#endif
