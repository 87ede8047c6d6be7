#include "router/effects.h"

#include "common/digits.h"
#include "common/xalloc.h"

#include <msgpack.h>
#include <stdlib.h>

/* The list's header is written last, into the room left for it: array 32, big-endian count. */
#define LIST_HEADER 5

/* Texts, one after the other. */
struct texts {
    struct buffer bytes;
    size_t *ends;
    struct slice *slices; /* made when they are asked for */
    size_t count, capacity;
};

struct effects {
    const struct deployment *deployment;
    uint32_t partition;
    struct texts keys, attachments;
    struct buffer packed;
    size_t count;
};

/* What was appended to the bytes since the last call is one more text. */
static void close_text(struct texts *texts)
{
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 16;
        texts->ends = xrealloc(texts->ends, texts->capacity * sizeof(*texts->ends));
        texts->slices = xrealloc(texts->slices, texts->capacity * sizeof(*texts->slices));
    }
    texts->ends[texts->count++] = texts->bytes.length;
}

static size_t slices_of(struct texts *texts, const struct slice **slices)
{
    size_t start = 0;

    for (size_t i = 0; i < texts->count; i++) {
        texts->slices[i] = slice_of(texts->bytes.data + start, texts->ends[i] - start);
        start = texts->ends[i];
    }
    *slices = texts->slices;
    return texts->count;
}

static void clear_texts(struct texts *texts, size_t keep)
{
    buffer_reset(&texts->bytes, keep);
    texts->count = 0;
}

static void finish_texts(struct texts *texts)
{
    buffer_finish(&texts->bytes);
    free(texts->ends);
    free(texts->slices);
}

static void add_key(struct effects *effects, uint32_t partition, const char *what,
                    struct slice name)
{
    key_partition(&effects->keys.bytes, effects->deployment, partition, what, name);
    close_text(&effects->keys);
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
    finish_texts(&(*effects)->keys);
    finish_texts(&(*effects)->attachments);
    buffer_finish(&(*effects)->packed);
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

    clear_texts(&effects->keys, 1 << 16);
    clear_texts(&effects->attachments, 1 << 20);
    buffer_reset(&effects->packed, 1 << 20);
    effects->count = 0;
    for (int i = 0; i < EFFECT_KEYS_FIXED; i++)
        add_key(effects, effects->partition, fixed[i], (struct slice){0});
    buffer_append(&effects->packed, "\xdd\0\0\0\0", LIST_HEADER);
}

size_t effects_count(const struct effects *effects)
{
    return effects->count;
}

size_t effects_size(const struct effects *effects)
{
    return effects->packed.length + effects->attachments.bytes.length;
}

uint32_t effects_key_of(struct effects *effects, uint32_t partition, const char *what,
                        struct slice name)
{
    add_key(effects, partition, what, name);
    return (uint32_t)(effects->keys.count - 1);
}

uint32_t effects_key(struct effects *effects, const char *what, struct slice name)
{
    return effects_key_of(effects, effects->partition, what, name);
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
    char digits[DIGITS_MAX];

    effects_text(effects, digits_slice(value, digits));
}

void effects_text_pair(struct effects *effects, const char *name, struct slice value)
{
    effects_text(effects, slice_text(name));
    effects_text(effects, value);
}

void effects_u64_pair(struct effects *effects, const char *name, uint64_t value)
{
    effects_text(effects, slice_text(name));
    effects_u64(effects, value);
}

void effects_number(struct effects *effects, struct number number)
{
    char text[NUMBER_TEXT_SIZE];
    int length = number_format(number, text);

    effects_text(effects, slice_of(text, (size_t)length));
}

void effects_attach(struct effects *effects, struct slice text)
{
    msgpack_packer packer = packer_of(effects);

    buffer_append_slice(&effects->attachments.bytes, text);
    close_text(&effects->attachments);
    /* Lua counts from 1. */
    msgpack_pack_uint32(&packer, (uint32_t)effects->attachments.count);
}

static bool says_something(const struct record_field *field)
{
    return field->text.length > 0 || field->number > 0;
}

void effects_entry(struct effects *effects, uint32_t key, struct number id,
                   const struct record_field *fields, size_t count, struct slice body)
{
    size_t said = 0;

    for (size_t i = 0; i < count; i++)
        said += says_something(&fields[i]);
    effects_open(effects, EFFECT_XADD_ENTRY, key, 1 + 2 * said + 2);
    effects_number(effects, id);
    for (size_t i = 0; i < count; i++) {
        if (!says_something(&fields[i]))
            continue;
        effects_text(effects, slice_text(fields[i].name));
        if (fields[i].text.length)
            effects_text(effects, fields[i].text);
        else
            effects_u64(effects, fields[i].number);
    }
    effects_text(effects, slice_text("body"));
    effects_attach(effects, body);
}

void effects_record(struct effects *effects, uint32_t key, struct number id, const char *field,
                    const struct record_field *fields, size_t count)
{
    struct record_writer record = {0};

    record_write(&record, fields, count);
    effects_open(effects, EFFECT_XADD_LONG, key, 3);
    effects_number(effects, id);
    effects_text(effects, slice_text(field));
    effects_attach(effects, buffer_slice(&record.text));
    record_writer_finish(&record);
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

size_t effects_keys(struct effects *effects, const struct slice **keys)
{
    return slices_of(&effects->keys, keys);
}

size_t effects_attachments(struct effects *effects, const struct slice **texts)
{
    return slices_of(&effects->attachments, texts);
}

struct slice effects_packed(struct effects *effects)
{
    for (int i = 0; i < 4; i++)
        effects->packed.data[1 + i] = (char)(effects->count >> (8 * (3 - i)));
    return buffer_slice(&effects->packed);
}
