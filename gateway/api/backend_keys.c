#include "gateway/api/backend_keys.h"

#include "common/sha256.h"
#include "common/xalloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define KEYS_MAX 256
#define FILE_MAX ((size_t)256 << 10)

struct backend_key {
    uint8_t digest[SHA256_BYTES];
    uint64_t scopes;
};

struct backend_keys {
    struct backend_key keys[KEYS_MAX];
    size_t count;
};

/* ---- reading ---- */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* The part up to the separator, or all; moves rest behind it. */
static struct slice cut(struct slice *rest, char separator)
{
    const char *found = rest->length ? memchr(rest->data, separator, rest->length) : NULL;
    size_t length = found ? (size_t)(found - rest->data) : rest->length;
    struct slice part = slice_of(rest->data, length);
    size_t gone = found ? length + 1 : length;

    *rest = slice_of(rest->data + gone, rest->length - gone);
    return part;
}

/* 0 when there is none, or one that is unknown. */
static uint64_t read_scopes(struct slice text)
{
    static const struct {
        const char *name;
        uint64_t scopes;
    } names[] = {
        {"publish", BACKEND_SCOPE_PUBLISH},
        {"notify", BACKEND_SCOPE_NOTIFY},
        {"read", BACKEND_SCOPE_READ},
        {"admin", BACKEND_SCOPES_ALL},
    };
    uint64_t scopes = 0;

    while (text.length > 0) {
        struct slice name = cut(&text, ',');
        size_t i = 0;

        while (i < sizeof(names) / sizeof(names[0]) && !slice_is(name, names[i].name))
            i++;
        if (i == sizeof(names) / sizeof(names[0]))
            return 0;
        scopes |= names[i].scopes;
    }
    return scopes;
}

/* Returns what is wrong, NULL when nothing is. */
static const char *add_key(struct backend_keys *keys, struct slice text)
{
    struct slice name = cut(&text, ':');
    struct slice scopes = cut(&text, ':');
    struct backend_key *key = &keys->keys[keys->count];

    if (keys->count == KEYS_MAX)
        return "more than 256 keys";
    if (name.length == 0 || scopes.length == 0 || text.length == 0)
        return "a key must be name:scopes:secret";
    if (text.length < BACKEND_SECRET_MIN || text.length > BACKEND_SECRET_MAX)
        return "a secret must have 16 to 256 bytes";
    key->scopes = read_scopes(scopes);
    if (key->scopes == 0)
        return "scopes are publish, notify, read and admin, joined by commas";
    sha256(text, key->digest);
    keys->count++;
    return NULL;
}

static const char *add_words(struct backend_keys *keys, struct slice line)
{
    const char *wrong = NULL;

    while (wrong == NULL && line.length > 0) {
        size_t length = 0;

        while (length < line.length && !is_space(line.data[length]))
            length++;
        if (length > 0)
            wrong = add_key(keys, slice_of(line.data, length));
        length += length < line.length;
        line = slice_of(line.data + length, line.length - length);
    }
    return wrong;
}

static const char *add_lines(struct backend_keys *keys, struct slice text)
{
    const char *wrong = NULL;

    while (wrong == NULL && text.length > 0) {
        struct slice line = cut(&text, '\n');

        wrong = add_words(keys, cut(&line, '#'));
    }
    return wrong;
}

static int read_file(const char *path, struct buffer *text)
{
    FILE *file = fopen(path, "re");
    size_t length;
    int failed;

    if (file == NULL)
        return -errno;
    length = fread(buffer_reserve(text, FILE_MAX), 1, FILE_MAX, file);
    text->length = length;
    failed = ferror(file) ? -EIO : length == FILE_MAX ? -EFBIG : 0;
    (void)!fclose(file);
    return failed;
}

static bool add_file(struct backend_keys *keys, const char *path, struct buffer *error)
{
    struct buffer text = {0};
    int result = path[0] ? read_file(path, &text) : 0;
    const char *wrong = result < 0 ? strerror(-result) : add_lines(keys, buffer_slice(&text));

    if (wrong)
        buffer_appendf(error, "TRUNKLINE_API_KEYS_FILE: %s: %s", path, wrong);
    if (text.data)
        explicit_bzero(text.data, text.capacity);
    buffer_finish(&text);
    return wrong == NULL;
}

struct backend_keys *backend_keys_create(const char *text, const char *path, struct buffer *error)
{
    struct backend_keys *keys = xcalloc(1, sizeof(*keys));
    const char *wrong = add_words(keys, slice_text(text));

    if (wrong)
        buffer_appendf(error, "TRUNKLINE_API_KEYS: %s", wrong);
    if (wrong || !add_file(keys, path, error))
        backend_keys_destroy(&keys);
    return keys;
}

void backend_keys_destroy(struct backend_keys **keys)
{
    free(*keys);
    *keys = NULL;
}

/* ---- comparing ---- */

size_t backend_keys_count(const struct backend_keys *keys)
{
    return keys->count;
}

uint64_t backend_keys_scopes(const struct backend_keys *keys, struct slice secret)
{
    uint8_t digest[SHA256_BYTES];
    uint64_t scopes = 0;

    sha256(secret, digest);
    for (size_t i = 0; i < keys->count; i++)
        scopes |= sha256_equal(digest, keys->keys[i].digest) ? keys->keys[i].scopes : 0;
    return scopes;
}
