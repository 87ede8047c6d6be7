#include "common/uid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void uid_random(void *bytes, unsigned length)
{
    char *at = bytes;

    while (length) {
        ssize_t got = getrandom(at, length, 0);

        if (got <= 0)
            abort();
        at += got;
        length -= (unsigned)got;
    }
}

uint64_t uid_random64(void)
{
    uint64_t bits = 0;

    while (bits == 0)
        uid_random(&bits, sizeof(bits));
    return bits;
}

/* The finalizer of SplitMix64: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/* The same backwards. */
static uint64_t unmix(uint64_t x)
{
    x = (x ^ (x >> 31) ^ (x >> 62)) * 0x319642b2d24d8ec3;
    x = (x ^ (x >> 27) ^ (x >> 54)) * 0x96de1b173f119089;
    return x ^ (x >> 30) ^ (x >> 60);
}

void uid_connection(uint64_t gateway_bits, uint64_t connection, char text[UUID_TEXT_SIZE])
{
    uint64_t high = mix(gateway_bits + connection * 0x9e3779b97f4a7c15);
    uint64_t low = mix(high ^ gateway_bits);

    high = (high & 0xffffffffffff0fff) | 0x8000;
    low = (low & 0x3fffffffffffffff) | 0x8000000000000000;
    snprintf(text, UUID_TEXT_SIZE, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff), (unsigned)(low >> 48),
             (unsigned long long)(low & 0xffffffffffff));
}

/* The first 64 bits without the hyphens. */
static bool read_high(struct slice uuid, uint64_t *high)
{
    static const char digits[] = "0123456789abcdef";

    *high = 0;
    if (uuid.length != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < 18; i++) {
        const char *digit = strchr(digits, uuid.data[i]);

        if (i == 8 || i == 13)
            continue;
        if (digit == NULL || *digit == '\0')
            return false;
        *high = *high << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

/* The four bits of the version took the place of others: all sixteen are tried. */
bool uid_connection_find(uint64_t gateway_bits, struct slice uuid, uint64_t *connection)
{
    char text[UUID_TEXT_SIZE];
    uint64_t high;

    if (!read_high(uuid, &high))
        return false;
    for (uint64_t lost = 0; lost < 16; lost++) {
        uint64_t guess = (high & 0xffffffffffff0fff) | lost << 12;
        uint64_t found = (unmix(guess) - gateway_bits) * 0xf1de83e19937733d;

        uid_connection(gateway_bits, found, text);
        if (slice_is(uuid, text)) {
            *connection = found;
            return true;
        }
    }
    return false;
}

/* 80 fresh bits a call, from a pool that is filled rarely: a system call per message would be one
 * too many. */
static void pooled_random(uint8_t bits[10])
{
    static uint8_t pool[4000];
    static unsigned left;

    if (left < 10) {
        uid_random(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= 10;
    memcpy(bits, pool + left, 10);
}

/* `count` digits of 5 bits each, from the lowest of the number. */
static void base32(char *text, int count, uint64_t number)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    while (count--) {
        text[count] = alphabet[number & 31];
        number >>= 5;
    }
}

/* Of high and low the lowest 40 bits. */
static void write_ulid(uint64_t ms, uint64_t high, uint64_t low, char text[ULID_TEXT_SIZE])
{
    base32(text, 10, ms);
    base32(text + 10, 8, high);
    base32(text + 18, 8, low);
    text[26] = '\0';
}

void uid_ulid(uint64_t now_ms, char text[ULID_TEXT_SIZE])
{
    uint8_t bits[10];
    uint64_t high = 0, low = 0;

    pooled_random(bits);
    for (int i = 0; i < 5; i++) {
        high = high << 8 | bits[i];
        low = low << 8 | bits[i + 5];
    }
    write_ulid(now_ms, high, low, text);
}

void uid_ulid_of(uint64_t at_ms, uint64_t hash, uint64_t number, char text[ULID_TEXT_SIZE])
{
    uint64_t high = mix(hash + number * 0x9e3779b97f4a7c15);

    write_ulid(at_ms, high, mix(high ^ hash), text);
}
