/*
 * Sealed texts: what only the owner of a private key can read, and nobody can change. A fresh
 * AES-256-GCM key for each, encrypted with RSA-OAEP (SHA-256):
 *
 *     version (1 byte: 1) | length of the key's part (2 bytes, big-endian) | key | nonce (12)
 *     | tag (16) | text
 *
 * label goes with the text in the clear and must be the same when it is opened.
 */
#ifndef COMMON_SEALED_H
#define COMMON_SEALED_H

#include "common/buffer.h"

/* Bytes that a sealed text has more than the text, for keys of at most 4096 bits. */
#define SEALED_OVERHEAD (1 + 2 + 512 + 12 + 16)

struct sealing_key;   /* public: closes */
struct unsealing_key; /* private: opens */

/* Reads an RSA public key of 2048 to 4096 bits; NULL when it is none. */
struct sealing_key *sealing_key_read(struct slice pem);
void sealing_key_destroy(struct sealing_key **); /* NULL-safe; clears the pointer */
/* Appends the sealed text. Returns 0 or -EIO. */
int seal(const struct sealing_key *, struct slice text, struct slice label, struct buffer *out)
    __attribute__((warn_unused_result));

/* The same of a private key in PEM, without a passphrase. */
struct unsealing_key *unsealing_key_read(struct slice pem);
void unsealing_key_destroy(struct unsealing_key **); /* NULL-safe; clears the pointer */
/* Appends the PEM that sealing_key_read takes. */
void unsealing_key_append_public(const struct unsealing_key *, struct buffer *out);
/* Appends the text. Returns 0, or -EBADMSG: it was not sealed with this key and label, or was
 * changed. */
int unseal(const struct unsealing_key *, struct slice sealed, struct slice label,
           struct buffer *out) __attribute__((warn_unused_result));

#endif
