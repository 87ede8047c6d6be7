/*
 * SHA-256, and comparing what was hashed without telling by the time where it differs.
 */
#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

#include "common/slice.h"

#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_TEXT_SIZE (2 * SHA256_BYTES + 1)

void sha256(struct slice bytes, uint8_t digest[SHA256_BYTES]);
/* In hexadecimal, small letters. */
void sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT_SIZE]);
/* In the same time whatever they are. */
bool sha256_equal(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES]);

#endif
