/*
 * Who may use the HTTP API: keys, each "name:scopes:secret" (scopes joined by ','), of
 * TRUNKLINE_API_KEYS and the file TRUNKLINE_API_KEYS_FILE. Of secrets only hashes are kept, and all
 * of them are compared each time: how long that takes says nothing of any. Pure but for the file.
 */
#ifndef GATEWAY_BACKEND_KEYS_H
#define GATEWAY_BACKEND_KEYS_H

#include "common/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum backend_scope {
    BACKEND_SCOPE_PUBLISH = 1,
    BACKEND_SCOPE_NOTIFY = 2,
    BACKEND_SCOPE_READ = 4,
    BACKEND_SCOPE_ADMIN = 8, /* and all others */
    BACKEND_SCOPES_ALL = 15,
};

/* Bytes of a secret. */
#define BACKEND_SECRET_MIN 16
#define BACKEND_SECRET_MAX 256

struct backend_keys;
/*
 * text: keys separated by white space; in the file at path ("" is none) also comments, from '#' to
 * the end of the line. NULL with the line for the operator in error (which has no secret in it).
 */
struct backend_keys *backend_keys_create(const char *text, const char *path, struct buffer *error);
void backend_keys_destroy(struct backend_keys **); /* NULL-safe; clears the pointer */
size_t backend_keys_count(const struct backend_keys *);
/* The scopes of the key with this secret; 0 when there is none. */
uint64_t backend_keys_scopes(const struct backend_keys *, struct slice secret);

#endif
