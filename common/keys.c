#include "common/keys.h"

#include <string.h>

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t read_le64(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
static uint64_t siphash(const uint8_t key[16], struct slice text)
{
    uint64_t k0 = read_le64(key), k1 = read_le64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    uint8_t tail[8] = {0};
    size_t whole = text.length / 8 * 8;

    for (size_t i = 0; i <= whole; i += 8) {
        const uint8_t *word = tail;

        if (i < whole) {
            word = (const uint8_t *)text.data + i;
        } else {
            if (text.length > whole)
                memcpy(tail, text.data + whole, text.length - whole);
            tail[7] = (uint8_t)text.length;
        }
        v[3] ^= read_le64(word);
        sip_round(v);
        sip_round(v);
        v[0] ^= read_le64(word);
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t partition_of(const struct deployment *deployment, struct slice key)
{
    return (uint32_t)(siphash(deployment->hash_key, key) % deployment->partitions);
}

void partition_tag(struct buffer *out, uint32_t partition)
{
    buffer_append_byte(out, '{');
    buffer_append_u64(out, partition);
    buffer_append_byte(out, '}');
}

static void append_encoded(struct buffer *out, struct slice name)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < name.length; i++) {
        unsigned char byte = (unsigned char)name.data[i];

        if (byte > ' ' && byte != 0x7f && strchr("|:%{}", byte) == NULL) {
            buffer_append_byte(out, (char)byte);
        } else {
            buffer_append_byte(out, '%');
            buffer_append_byte(out, hex[byte >> 4]);
            buffer_append_byte(out, hex[byte & 15]);
        }
    }
}

static void append_name(struct buffer *out, const char *what, struct slice name)
{
    buffer_append_text(out, what);
    if (name.data != NULL) {
        buffer_append_byte(out, ':');
        append_encoded(out, name);
    }
}

void key_partition(struct buffer *out, const struct deployment *deployment, uint32_t partition,
                   const char *what, struct slice name)
{
    buffer_append_text(out, deployment->prefix);
    partition_tag(out, partition);
    buffer_append_byte(out, ':');
    append_name(out, what, name);
}

void key_global(struct buffer *out, const struct deployment *deployment, const char *what,
                struct slice name)
{
    buffer_append_text(out, deployment->prefix);
    append_name(out, what, name);
}
