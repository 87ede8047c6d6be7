/*
 * The keys that tokens are signed with: files *.pem of a directory, RSA (RS256) or P-256 (ES256),
 * in the order of their names; one is made on the first start. All of them are published. The
 * newest signs once gateways have had the time to hear of it; the ones before it are retired when
 * no token of theirs can be alive. Several auth processes share the directory, and look at it again
 * and again.
 */
#ifndef AUTH_SIGNING_KEYS_H
#define AUTH_SIGNING_KEYS_H

#include "common/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define SIGNING_KEYS_MAX 16
/* Seconds between a key's appearance and its first signature. */
#define SIGNING_KEY_DELAY_S 10

struct signing_key {
    char *name;            /* of its file */
    char *kid;             /* the JWK's SHA-256 thumbprint (RFC 7638) */
    const char *algorithm; /* "RS256" or "ES256" */
    char *jwk;             /* the members that say what the key is: "kty":"RSA",... */
    char *public_pem;
    struct buffer private_pem; /* with a NUL behind its end */
    int64_t made_at;           /* Unix seconds: when its file was last written */
};

struct signing_keys;

/*
 * Reads the directory's keys, or makes it (0700). Makes a key (0600) of this algorithm when there
 * is none, or the newest is of the other. NULL with the line for the operator in error.
 */
struct signing_keys *signing_keys_create(const char *directory, const char *algorithm,
                                         struct buffer *error);
void signing_keys_destroy(struct signing_keys **); /* NULL-safe; clears the pointer */
size_t signing_keys_count(const struct signing_keys *);
const struct signing_key *signing_keys_at(const struct signing_keys *, size_t index);
/* The one that signs at this time (Unix seconds). */
const struct signing_key *signing_keys_current(const struct signing_keys *, int64_t now_s);
/* Reads the directory again if it has changed. Returns 1 when there are other keys now, 0, or
 * -errno with the line for the operator in error: then all is as it was. */
int signing_keys_refresh(struct signing_keys *, struct buffer *error)
    __attribute__((warn_unused_result));
/* Renames files of keys whose tokens (of at most longest_s seconds) have all expired to
 * *.pem.retired, which nobody reads. Returns how many. */
size_t signing_keys_retire(struct signing_keys *, int64_t longest_s, int64_t now_s);
/* Whether the newest is older than so many seconds; 0: never. */
bool signing_keys_are_old(const struct signing_keys *, int64_t seconds, int64_t now_s);
/*
 * Makes a key in the directory: to be found by the next refresh. Takes its time (a second), and may
 * be called on any thread. older_than: not when another process has made one since then (Unix
 * seconds); INT64_MAX: in any case. Returns 1 when it has made one, 0, or -errno with the line in
 * error.
 */
int signing_key_make(const char *directory, const char *algorithm, int64_t older_than,
                     struct buffer *error) __attribute__((warn_unused_result));
/* Appends the JWK set (RFC 7517); keys may be NULL: an empty set. */
void signing_keys_append_jwks(const struct signing_keys *, struct buffer *);

#endif
