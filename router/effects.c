#include "router/effects.h"

#include "common/command.h"
#include "common/digits.h"
#include "common/xalloc.h"

#include <stdlib.h>

#define WORDS_MAX 3

/* Words that every effect of a kind has; NULL ends them. */
struct form {
    const char *before[WORDS_MAX + 1], *behind[WORDS_MAX + 1];
};

static const struct form forms[EFFECTS] = {
#define WORDS(...)                                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define EFFECT(NAME, before, behind, arguments) [EFFECT_##NAME] = {before, behind},
#include "router/effects.def"
#undef EFFECT
#undef WORDS
};

/* Texts, one after the other. */
struct texts {
    struct buffer bytes;
    size_t *begins;
    size_t count, capacity;
};

struct effects {
    const struct deployment *deployment;
    uint32_t partition;
    struct texts keys;
    struct buffer commands;
    size_t count;
};

/* What is appended to the bytes from here on is one more text. */
static void open_text(struct texts *texts)
{
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 16;
        texts->begins = xrealloc(texts->begins, texts->capacity * sizeof(*texts->begins));
    }
    texts->begins[texts->count++] = texts->bytes.length;
}

static struct slice text_at(const struct texts *texts, size_t index)
{
    size_t begin = texts->begins[index];
    size_t end = index + 1 < texts->count ? texts->begins[index + 1] : texts->bytes.length;

    return slice_of(texts->bytes.data + begin, end - begin);
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
    buffer_finish(&(*effects)->keys.bytes);
    free((*effects)->keys.begins);
    buffer_finish(&(*effects)->commands);
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

    buffer_reset(&effects->keys.bytes, 1 << 16);
    effects->keys.count = 0;
    buffer_reset(&effects->commands, 1 << 20);
    effects->count = 0;
    for (int i = 0; i < EFFECT_KEYS_FIXED; i++)
        effects_key(effects, fixed[i], (struct slice){0});
}

size_t effects_count(const struct effects *effects)
{
    return effects->count;
}

size_t effects_size(const struct effects *effects)
{
    return effects->commands.length;
}

uint32_t effects_key_of(struct effects *effects, uint32_t partition, const char *what,
                        struct slice name)
{
    open_text(&effects->keys);
    key_partition(&effects->keys.bytes, effects->deployment, partition, what, name);
    return (uint32_t)(effects->keys.count - 1);
}

uint32_t effects_key(struct effects *effects, const char *what, struct slice name)
{
    return effects_key_of(effects, effects->partition, what, name);
}

struct slice effects_key_text(const struct effects *effects, uint32_t key)
{
    return text_at(&effects->keys, key);
}

static size_t words_count(const char *const *words)
{
    size_t count = 0;

    while (words[count])
        count++;
    return count;
}

static void write_words(struct effects *effects, const char *const *words)
{
    for (; *words; words++)
        effects_text(effects, slice_text(*words));
}

void effects_open(struct effects *effects, enum effect_kind kind, uint32_t key,
                  size_t argument_count)
{
    const struct form *form = &forms[kind];

    effects->count++;
    command_begin(&effects->commands,
                  words_count(form->before) + 1 + words_count(form->behind) + argument_count);
    write_words(effects, form->before);
    effects_text(effects, effects_key_text(effects, key));
    write_words(effects, form->behind);
}

void effects_text(struct effects *effects, struct slice text)
{
    command_word(&effects->commands, text);
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
    effects_open(effects, EFFECT_XADD, key, 1 + 2 * said + 2);
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
    effects_text(effects, body);
}

void effects_record(struct effects *effects, uint32_t key, struct number id, const char *field,
                    const struct record_field *fields, size_t count)
{
    struct record_writer record = {0};

    record_write(&record, fields, count);
    effects_open(effects, EFFECT_XADD, key, 3);
    effects_number(effects, id);
    effects_text(effects, slice_text(field));
    effects_text(effects, buffer_slice(&record.text));
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

void effects_close(struct effects *effects, const struct effects_end *end)
{
    if (end->position) {
        effects_open(effects, EFFECT_XTRIM, EFFECT_KEY_IN, 1);
        effects_number(effects, number_next(*end->position));
    }
    effects_open(effects, EFFECT_HSET, EFFECT_KEY_STATE, end->position ? 4 : 2);
    effects_u64_pair(effects, "commit", end->commit);
    if (end->position) {
        effects_text(effects, slice_text("pos"));
        effects_number(effects, *end->position);
    }
    effects_open(effects, EFFECT_SET, EFFECT_KEY_LEASE, 3);
    effects_text(effects, end->owner);
    effects_u64_pair(effects, "PX", end->lease_ms);
}

struct slice effects_commands(const struct effects *effects)
{
    return buffer_slice(&effects->commands);
}
