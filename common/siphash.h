/*
 * SipHash (Aumasson and Bernstein, 2012): without the key nobody can choose texts whose hashes
 * collide. 2 and 4 rounds are the standard form, 1 and 3 enough for a table in memory.
 */
#ifndef COMMON_SIPHASH_H
#define COMMON_SIPHASH_H

#include "common/slice.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t siphash_rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void siphash_rounds(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = siphash_rotate(v[1], 13) ^ v[0];
        v[0] = siphash_rotate(v[0], 32);
        v[2] += v[3];
        v[3] = siphash_rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = siphash_rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = siphash_rotate(v[1], 17) ^ v[2];
        v[2] = siphash_rotate(v[2], 32);
    }
}

/* Up to 8 bytes, little-endian. */
static inline uint64_t siphash_read(const void *bytes, size_t length)
{
    uint64_t word = 0;

    if (length > 0)
        memcpy(&word, bytes, length);
    return le64toh(word);
}

static inline uint64_t siphash(const uint8_t key[16], struct slice text, int word_rounds,
                               int end_rounds)
{
    uint64_t k0 = siphash_read(key, 8), k1 = siphash_read(key + 8, 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    size_t left = text.length;
    const char *at = text.data;
    uint64_t word;

    for (; left >= 8; left -= 8, at += 8) {
        word = siphash_read(at, 8);
        v[3] ^= word;
        siphash_rounds(v, word_rounds);
        v[0] ^= word;
    }
    word = siphash_read(at, left) | (uint64_t)text.length << 56;
    v[3] ^= word;
    siphash_rounds(v, word_rounds);
    v[0] ^= word;
    v[2] ^= 0xff;
    siphash_rounds(v, end_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
