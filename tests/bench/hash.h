/*
 * What RFC 6455 and HS256 tokens need of cryptography, so that the load client needs no library:
 * SHA-1, HMAC-SHA-256 and Base64. Not for secrets that matter.
 */
#ifndef BENCH_HASH_H
#define BENCH_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE 20
#define SHA256_SIZE 32
/* Room for n bytes as Base64 text and its NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

void hash_sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE]);
void hash_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                      uint8_t digest[SHA256_SIZE]);
/* Each returns the length of the text. */
size_t hash_base64(const void *data, size_t length, char *text);
size_t hash_base64url(const void *data, size_t length, char *text); /* no padding */

#endif
