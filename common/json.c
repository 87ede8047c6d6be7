#include "common/json.h"

#include "common/buffer.h"
#include "common/xalloc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

/* What a reader keeps between texts; a bigger text's memory is given back with the next. */
#define KEEP_BYTES (1u << 20)
/* Up to here the keys of an object are compared one with another, above they are sorted. */
#define FEW_KEYS 12

struct json {
    struct buffer
        text; /* a copy that yyjson decodes strings in: offsets are those of the original */
    struct buffer values; /* the pool that yyjson takes all its memory from */
    struct buffer keys;   /* of one big object, to sort them */
    struct slice original;
    yyjson_doc *document; /* in the pool: nothing to free */
};

static yyjson_val *in(const struct json_value *value)
{
    return (yyjson_val *)(uintptr_t)value;
}

static const struct json_value *out(const yyjson_val *value)
{
    return (const struct json_value *)value;
}

struct json *json_create(void)
{
    return xcalloc(1, sizeof(struct json));
}

void json_destroy(struct json **json)
{
    if (*json == NULL)
        return;
    buffer_finish(&(*json)->text);
    buffer_finish(&(*json)->values);
    buffer_finish(&(*json)->keys);
    free(*json);
    *json = NULL;
}

static struct slice string_of(yyjson_val *value)
{
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

static int compare_slices(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;

    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return a->length ? memcmp(a->data, b->data, a->length) : 0;
}

static bool few_keys_repeat(yyjson_val *object)
{
    struct slice keys[FEW_KEYS];
    size_t count = 0, index, max;
    yyjson_val *key, *value;

    yyjson_obj_foreach(object, index, max, key, value)
    {
        keys[count] = string_of(key);
        for (size_t i = 0; i < count; i++)
            if (slice_equal(keys[i], keys[count]))
                return true;
        count++;
    }
    return false;
}

/* Sorting bounds the work, whatever keys a client thinks of. */
static bool many_keys_repeat(struct json *json, yyjson_val *object)
{
    size_t count = yyjson_obj_size(object), index, max;
    yyjson_val *key, *value;
    struct slice *keys;

    buffer_reset(&json->keys, KEEP_BYTES);
    keys = (struct slice *)(void *)buffer_reserve(&json->keys, count * sizeof(*keys));
    yyjson_obj_foreach(object, index, max, key, value) keys[index] = string_of(key);
    qsort(keys, count, sizeof(*keys), compare_slices);
    for (size_t i = 1; i < count; i++)
        if (slice_equal(keys[i - 1], keys[i]))
            return true;
    return false;
}

static bool keys_repeat(struct json *json, yyjson_val *object)
{
    size_t count = yyjson_obj_size(object);

    if (count < 2)
        return false;
    return count <= FEW_KEYS ? few_keys_repeat(object) : many_keys_repeat(json, object);
}

/* Values lie in the order of the text, each container before its content: one walk, with a stack of
 * where they end. */
static int check_values(struct json *json)
{
    yyjson_val *value = yyjson_doc_get_root(json->document);
    yyjson_val *end = value + yyjson_doc_get_val_count(json->document);
    yyjson_val *ends[JSON_DEPTH_MAX];
    size_t depth = 0;

    for (; value < end; value++) {
        while (depth && value >= ends[depth - 1])
            depth--;
        if (!yyjson_is_ctn(value))
            continue;
        if (depth == JSON_DEPTH_MAX)
            return -EOVERFLOW;
        ends[depth++] = unsafe_yyjson_get_next(value);
        if (yyjson_is_obj(value) && keys_repeat(json, value))
            return -EEXIST;
    }
    return 0;
}

int json_read(struct json *json, struct slice text)
{
    const yyjson_read_flag flags = YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW;
    size_t pool = yyjson_read_max_memory_usage(text.length, flags);
    yyjson_alc allocator;
    int result;

    json->document = NULL;
    json->original = text;
    if (text.length == 0)
        return -EBADMSG;
    buffer_reset(&json->text, KEEP_BYTES);
    buffer_reset(&json->values, KEEP_BYTES);
    memcpy(buffer_reserve(&json->text, text.length + YYJSON_PADDING_SIZE), text.data, text.length);
    memset(json->text.data + text.length, 0, YYJSON_PADDING_SIZE);
    if (!yyjson_alc_pool_init(&allocator, buffer_reserve(&json->values, pool), pool))
        return -EBADMSG;
    json->document = yyjson_read_opts(json->text.data, text.length, flags, &allocator, NULL);
    if (json->document == NULL)
        return -EBADMSG;
    result = check_values(json);
    if (result != 0)
        json->document = NULL;
    return result;
}

const struct json_value *json_root(const struct json *json)
{
    return out(yyjson_doc_get_root(json->document));
}

enum json_type json_type(const struct json_value *value)
{
    switch (yyjson_get_type(in(value))) {
    case YYJSON_TYPE_NULL:
        return JSON_NULL;
    case YYJSON_TYPE_BOOL:
        return JSON_BOOL;
    case YYJSON_TYPE_RAW:
        return JSON_NUMBER;
    case YYJSON_TYPE_STR:
        return JSON_STRING;
    case YYJSON_TYPE_ARR:
        return JSON_ARRAY;
    case YYJSON_TYPE_OBJ:
        return JSON_OBJECT;
    default:
        return JSON_NONE;
    }
}

const struct json_value *json_member(const struct json_value *value, const char *name)
{
    return out(yyjson_obj_get(in(value), name));
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* An odd number of backslashes before a quote means that it is part of the string. */
static bool is_escaped(const char *begin, const char *quote)
{
    const char *at = quote;

    while (at > begin && at[-1] == '\\')
        at--;
    return (quote - at) % 2 == 1;
}

/* at is where a string's text begins; returns the place after its closing quote. */
static const char *after_string(const char *at, const char *end)
{
    const char *begin = at, *quote = memchr(at, '"', (size_t)(end - at));

    while (quote && is_escaped(begin, quote)) {
        begin = quote + 1;
        quote = memchr(begin, '"', (size_t)(end - begin));
    }
    return quote ? quote + 1 : end;
}

static const char *after_container(const char *at, const char *end)
{
    /* What each byte does to the depth; 2: begins a string. */
    static const signed char steps[256] = {['{'] = 1, ['['] = 1, ['}'] = -1, [']'] = -1, ['"'] = 2};
    size_t depth = 0;

    while (at < end) {
        signed char step = steps[(unsigned char)*at++];

        if (step == 2)
            at = after_string(at, end);
        else if (step != 0 && (depth += (size_t)step) == 0)
            break;
    }
    return at;
}

/* The text is known to be JSON: a value ends where its kind ends. */
static const char *after_value(const char *at, const char *end)
{
    if (*at == '"')
        return after_string(at + 1, end);
    if (*at == '{' || *at == '[')
        return after_container(at, end);
    while (at < end && !is_space(*at) && *at != ',' && *at != '}' && *at != ']')
        at++;
    return at;
}

static yyjson_val *find_key(yyjson_val *object, const char *name)
{
    size_t index, max;
    yyjson_val *key, *value;

    yyjson_obj_foreach(object, index, max, key, value) if (yyjson_equals_str(key, name)) return key;
    return NULL;
}

/* The value of a key. yyjson gives no positions of values, but a key's text lies where it stood. */
static struct slice raw_behind(const struct json *json, yyjson_val *key)
{
    const char *end = json->original.data + json->original.length;
    const char *at =
        after_string(json->original.data + (yyjson_get_str(key) - json->text.data), end);

    while (is_space(*at) || *at == ':')
        at++;
    return slice_of(at, (size_t)(after_value(at, end) - at));
}

struct slice json_member_raw(const struct json *json, const struct json_value *object,
                             const char *name)
{
    yyjson_val *key = find_key(in(object), name);

    return key ? raw_behind(json, key) : slice_of(NULL, 0);
}

static struct json_pair pair_of(const struct json *json, yyjson_val *key, size_t left)
{
    return (struct json_pair){
        .name = string_of(key),
        .value = out(yyjson_obj_iter_get_val(key)),
        .raw = raw_behind(json, key),
        .left = left,
    };
}

struct json_pair json_first_pair(const struct json *json, const struct json_value *object)
{
    size_t count = json_type(object) == JSON_OBJECT ? json_count(object) : 0;

    return count ? pair_of(json, unsafe_yyjson_get_first(in(object)), count - 1)
                 : (struct json_pair){0};
}

struct json_pair json_next_pair(const struct json *json, const struct json_pair *pair)
{
    return pair->left ? pair_of(json, unsafe_yyjson_get_next(in(pair->value)), pair->left - 1)
                      : (struct json_pair){0};
}

struct slice json_elements(struct slice array)
{
    return array.length >= 2 ? slice_of(array.data + 1, array.length - 2) : slice_of(NULL, 0);
}

bool json_cut_element(struct slice *rest, struct slice *element)
{
    const char *at = rest->data, *end = rest->data + rest->length;

    while (at < end && (is_space(*at) || *at == ','))
        at++;
    if (at == end)
        return false;
    *element = slice_of(at, (size_t)(after_value(at, end) - at));
    at += element->length;
    *rest = slice_of(at, (size_t)(end - at));
    return true;
}

struct slice json_text(const struct json_value *value)
{
    yyjson_val *given = in(value);

    if (yyjson_is_str(given))
        return string_of(given);
    if (yyjson_is_raw(given))
        return slice_of(yyjson_get_raw(given), yyjson_get_len(given));
    return slice_of(NULL, 0);
}

bool json_is_true(const struct json_value *value)
{
    return yyjson_is_true(in(value));
}

size_t json_count(const struct json_value *value)
{
    return yyjson_is_ctn(in(value)) ? yyjson_get_len(in(value)) : 0;
}

const struct json_value *json_first(const struct json_value *array)
{
    return out(yyjson_arr_get_first(in(array)));
}

const struct json_value *json_next(const struct json_value *element)
{
    return out(unsafe_yyjson_get_next(in(element)));
}

int json_double(const struct json_value *value, double *number)
{
    double read;

    if (!yyjson_is_raw(in(value)))
        return -EINVAL;
    read = strtod(yyjson_get_raw(in(value)), NULL);
    if (!isfinite(read))
        return -EINVAL;
    *number = read;
    return 0;
}
