/*
 * The keys that tokens may be signed with. The algorithm is the key's, never the token's: RS256 for
 * an RSA key, ES256 for one on P-256, HS256 for the secret.
 */
#ifndef COMMON_TOKEN_KEYS_H
#define COMMON_TOKEN_KEYS_H

#include "common/buffer.h"
#include "common/slice.h"

#include <stdbool.h>

/* Bytes of a file of keys. */
#define TOKEN_KEYS_FILE_MAX 262144

struct token_keys;
struct token_keys *token_keys_create(void);
void token_keys_destroy(struct token_keys **); /* NULL-safe; clears the pointer */
void token_keys_set_secret(struct token_keys *, struct slice secret);
/* Adds a public key: RSA of 2048 to 8192 bits, or P-256. Returns 0, -EINVAL (no such key) or
 * -ENOSPC (32 are there). */
int token_keys_add(struct token_keys *, struct slice kid, struct slice pem)
    __attribute__((warn_unused_result));
/*
 * Adds the keys of another issuer: a JWK set (RFC 7517), or public keys or certificates as PEM,
 * whose kid nobody knows: they are tried for tokens with a kid that is no other key's, or none.
 * Keys of a set that are not for signatures, or of other kinds, are passed over. Returns 0; or
 * -EBADMSG or -ENOSPC with what is wrong in error, and some may have been added.
 */
int token_keys_read(struct token_keys *, struct slice text, struct buffer *error)
    __attribute__((warn_unused_result));
/* Appends a file's bytes. Returns 0, or -errno with the cause in error, which has the path in any
 * case. */
int token_keys_load_file(const char *path, struct buffer *text, struct buffer *error)
    __attribute__((warn_unused_result));
bool token_keys_empty(const struct token_keys *);

enum signature_result { SIGNATURE_RIGHT, SIGNATURE_WRONG, SIGNATURE_NO_KEY };
/* algorithm and kid: of the token's header; kid may be NULL. */
enum signature_result token_keys_check(const struct token_keys *, const char *algorithm,
                                       const char *kid, struct slice text, struct slice signature);

#endif
