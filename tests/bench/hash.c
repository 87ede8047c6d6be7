#include "tests/bench/hash.h"

#include <string.h>

#define BLOCK_SIZE 64

/* Both hashes eat blocks of 64 bytes and end in the same padding; only the compression differs. */
typedef void (*compress_function)(uint32_t *state, const uint8_t *block);

static uint32_t rotate_left(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t rotate_right(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_be32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* FIPS 180-4, 6.1.2 */
static void sha1_compress(uint32_t *state, const uint8_t *block)
{
    static const uint32_t constants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], v[5];

    for (int i = 0; i < 16; i++)
        w[i] = load_be32(block + 4 * i);
    for (int i = 16; i < 80; i++)
        w[i] = rotate_left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 80; i++) {
        uint32_t choose = (v[1] & v[2]) | (~v[1] & v[3]);
        uint32_t parity = v[1] ^ v[2] ^ v[3];
        uint32_t majority = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
        uint32_t f = i < 20 ? choose : i >= 40 && i < 60 ? majority : parity;
        uint32_t next = rotate_left(v[0], 5) + f + v[4] + constants[i / 20] + w[i];

        memmove(v + 1, v, 4 * sizeof *v);
        v[2] = rotate_left(v[2], 30);
        v[0] = next;
    }
    for (int i = 0; i < 5; i++)
        state[i] += v[i];
}

/* FIPS 180-4, 4.2.2 */
static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* FIPS 180-4, 6.2.2 */
static void sha256_compress(uint32_t *state, const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = load_be32(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + (rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
        uint32_t s0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
        uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t next = v[7] + s1 + choose + sha256_constants[i] + w[i];

        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += next;
        v[0] = next + s0 + majority;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

/* The blocks of data after prefix bytes that went before it, and the padding. */
static void hash_finish(compress_function compress, uint32_t *state, uint64_t prefix,
                        const uint8_t *data, size_t length)
{
    uint8_t tail[2 * BLOCK_SIZE] = {0};
    uint64_t bits = (prefix + length) * 8;
    size_t rest = length % BLOCK_SIZE;
    size_t tail_size = rest + 9 <= BLOCK_SIZE ? BLOCK_SIZE : 2 * BLOCK_SIZE;

    for (; length >= BLOCK_SIZE; data += BLOCK_SIZE, length -= BLOCK_SIZE)
        compress(state, data);
    memcpy(tail, data, rest);
    tail[rest] = 0x80;
    store_be32(tail + tail_size - 8, (uint32_t)(bits >> 32));
    store_be32(tail + tail_size - 4, (uint32_t)bits);
    for (size_t at = 0; at < tail_size; at += BLOCK_SIZE)
        compress(state, tail + at);
}

static void write_state(const uint32_t *state, int words, uint8_t *digest)
{
    for (int i = 0; i < words; i++)
        store_be32(digest + 4 * i, state[i]);
}

void hash_sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

    hash_finish(sha1_compress, state, 0, data, length);
    write_state(state, 5, digest);
}

/* A first block of its own (HMAC's padded key; NULL: none), then data. */
static void sha256(const uint8_t *first, const void *data, size_t length, uint8_t *digest)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    if (first)
        sha256_compress(state, first);
    hash_finish(sha256_compress, state, first ? BLOCK_SIZE : 0, data, length);
    write_state(state, 8, digest);
}

/* RFC 2104 */
void hash_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                      uint8_t digest[SHA256_SIZE])
{
    uint8_t block[BLOCK_SIZE] = {0}, inner[SHA256_SIZE];

    if (key_length > BLOCK_SIZE)
        sha256(NULL, key, key_length, block);
    else
        memcpy(block, key, key_length);
    for (int i = 0; i < BLOCK_SIZE; i++)
        block[i] ^= 0x36;
    sha256(block, data, length, inner);
    for (int i = 0; i < BLOCK_SIZE; i++)
        block[i] ^= 0x36 ^ 0x5c;
    sha256(block, inner, sizeof inner, digest);
}

static size_t encode_base64(const uint8_t *data, size_t length, const char *last_two, char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint32_t bits = 0;
    unsigned held = 0;
    size_t size = 0;

    for (size_t i = 0; i < length || held; held -= 6) {
        if (held < 6 && i < length) {
            bits = bits << 8 | data[i++];
            held += 8;
        } else if (held < 6) {
            bits <<= 6 - held;
            held = 6;
        }
        uint32_t six = bits >> (held - 6) & 63;
        text[size++] = six < 62 ? letters[six] : last_two[six - 62];
    }
    text[size] = '\0';
    return size;
}

size_t hash_base64(const void *data, size_t length, char *text)
{
    size_t size = encode_base64(data, length, "+/", text);

    while (size % 4)
        text[size++] = '=';
    text[size] = '\0';
    return size;
}

size_t hash_base64url(const void *data, size_t length, char *text)
{
    return encode_base64(data, length, "-_", text);
}
