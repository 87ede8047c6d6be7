#include "router/effects.h"

#include "common/xalloc.h"

#include <msgpack.h>
#include <stdlib.h>

/* The list's header is written last, into the room left for it: array 32, big-endian count. */
#define LIST_HEADER 5

struct effects {
    const struct deployment *deployment;
    uint32_t partition;
    struct buffer names; /* texts of the keys, one after the other */
    size_t *name_ends;
    struct slice *keys;
    size_t key_count, key_capacity;
    struct buffer packed;
    size_t count;
};

static void add_key(struct effects *effects, const char *what, struct slice name)
{
    if (effects->key_count == effects->key_capacity) {
        effects->key_capacity = effects->key_capacity ? effects->key_capacity * 2 : 16;
        effects->name_ends =
            xrealloc(effects->name_ends, effects->key_capacity * sizeof(*effects->name_ends));
        effects->keys = xrealloc(effects->keys, effects->key_capacity * sizeof(*effects->keys));
    }
    key_partition(&effects->names, effects->deployment, effects->partition, what, name);
    effects->name_ends[effects->key_count++] = effects->names.length;
}

struct effects *effects_create(const struct deployment *deployment, uint32_t partition)
{
    struct effects *effects = xcalloc(1, sizeof(*effects));

    effects->deployment = deployment;
    effects->partition = partition;
    effects_reset(effects);
    return effects;
}

void effects_destroy(struct effects **effects)
{
    if (*effects == NULL)
        return;
    buffer_finish(&(*effects)->names);
    buffer_finish(&(*effects)->packed);
    free((*effects)->name_ends);
    free((*effects)->keys);
    free(*effects);
    *effects = NULL;
}

void effects_reset(struct effects *effects)
{
    static const char *const fixed[EFFECT_KEYS_FIXED] = {
        [EFFECT_KEY_STATE] = "state",
        [EFFECT_KEY_LEASE] = "lease",
        [EFFECT_KEY_IN] = "in",
        [EFFECT_KEY_DEAD] = "dead",
    };

    buffer_reset(&effects->names, 1 << 16);
    buffer_reset(&effects->packed, 1 << 20);
    effects->key_count = 0;
    effects->count = 0;
    for (int i = 0; i < EFFECT_KEYS_FIXED; i++)
        add_key(effects, fixed[i], (struct slice){0});
    buffer_append(&effects->packed, "\xdd\0\0\0\0", LIST_HEADER);
}

size_t effects_count(const struct effects *effects)
{
    return effects->count;
}

size_t effects_size(const struct effects *effects)
{
    return effects->packed.length;
}

uint32_t effects_key(struct effects *effects, const char *what, struct slice name)
{
    add_key(effects, what, name);
    return (uint32_t)(effects->key_count - 1);
}

static int write_packed(void *packed, const char *data, size_t length)
{
    buffer_append(packed, data, length);
    return 0;
}

static msgpack_packer packer_of(struct effects *effects)
{
    msgpack_packer packer;

    msgpack_packer_init(&packer, &effects->packed, write_packed);
    return packer;
}

void effects_open(struct effects *effects, enum effect_opcode opcode, uint32_t key,
                  size_t argument_count)
{
    msgpack_packer packer = packer_of(effects);

    msgpack_pack_array(&packer, argument_count + 2);
    msgpack_pack_uint32(&packer, opcode);
    /* Lua counts from 1. */
    msgpack_pack_uint32(&packer, key + 1);
    effects->count++;
}

void effects_text(struct effects *effects, struct slice text)
{
    msgpack_packer packer = packer_of(effects);

    msgpack_pack_str(&packer, text.length);
    msgpack_pack_str_body(&packer, text.data, text.length);
}

void effects_u64(struct effects *effects, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    effects_text(effects, slice_of(digits + at, sizeof(digits) - at));
}

void effects_number(struct effects *effects, struct number number)
{
    char text[NUMBER_TEXT_SIZE];
    int length = number_format(number, text);

    effects_text(effects, slice_of(text, (size_t)length));
}

void effects_hset(struct effects *effects, uint32_t key, struct slice field, struct slice value)
{
    effects_open(effects, EFFECT_HSET, key, 2);
    effects_text(effects, field);
    effects_text(effects, value);
}

void effects_hdel(struct effects *effects, uint32_t key, struct slice field)
{
    effects_open(effects, EFFECT_HDEL, key, 1);
    effects_text(effects, field);
}

size_t effects_keys(const struct effects *effects, const struct slice **keys)
{
    size_t start = 0;

    for (size_t i = 0; i < effects->key_count; i++) {
        effects->keys[i] = slice_of(effects->names.data + start, effects->name_ends[i] - start);
        start = effects->name_ends[i];
    }
    *keys = effects->keys;
    return effects->key_count;
}

struct slice effects_packed(struct effects *effects)
{
    for (int i = 0; i < 4; i++)
        effects->packed.data[1 + i] = (char)(effects->count >> (8 * (3 - i)));
    return buffer_slice(&effects->packed);
}
