/*
 * The RSA keys that tokens are signed with: files *.pem of a directory, one of which is made on the
 * first start. All of them are published; the one whose name sorts last signs, so a new key takes
 * over at the next start and the old ones stay valid.
 */
#ifndef AUTH_SIGNING_KEYS_H
#define AUTH_SIGNING_KEYS_H

#include "common/buffer.h"

#define SIGNING_KEYS_MAX 16

struct signing_key {
    char *kid;     /* the JWK's SHA-256 thumbprint (RFC 7638) */
    char *modulus; /* n and e of the JWK: base64url */
    char *exponent;
    char *public_pem;
    struct buffer private_pem; /* with a NUL behind its end */
};

struct signing_keys;

/* Reads the directory's keys, or makes it (0700) and one key (0600). NULL with the line for the
 * operator in error. */
struct signing_keys *signing_keys_create(const char *directory, struct buffer *error);
void signing_keys_destroy(struct signing_keys **); /* NULL-safe; clears the pointer */
size_t signing_keys_count(const struct signing_keys *);
const struct signing_key *signing_keys_at(const struct signing_keys *, size_t index);
/* The one that signs. */
const struct signing_key *signing_keys_current(const struct signing_keys *);
/* Appends the JWK set (RFC 7517); keys may be NULL: an empty set. */
void signing_keys_append_jwks(const struct signing_keys *, struct buffer *);

#endif
