#include "common/deployment.h"

#include "common/clock.h"
#include "common/frame.h"
#include "common/uid.h"
#include "common/xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HASH_KEY_SIZE 16

/* One call of deployment_agree, until its HGETALL is answered. */
struct deployment_check {
    struct deployment *target;
    struct deployment own; /* what this process would have */
    bool fresh;            /* its hash key is a proposal: any other will do */
    struct buffer key;     /* NUL-terminated */
    char refusal[128];     /* of the first write that Redis refused */
    deployment_done_fn *done;
    void *arg;
};

/* A field of the hash: what this process would write, and whether it can live with what is stored
   (else a sentence in error). */
struct deployment_field {
    const char *name;
    void (*format)(const struct deployment *own, struct buffer *value);
    bool (*agrees)(struct deployment_check *, struct slice stored, struct buffer *error);
};

static bool parse_number(struct slice text, uint64_t *number)
{
    uint64_t value = 0;

    if (text.length == 0 || text.length > 10)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *number = value;
    return true;
}

static bool unreadable(const struct deployment_check *check, const char *field,
                       struct buffer *error)
{
    buffer_appendf(error, "%s in Redis has no readable %s%s%s", check->key.data, field,
                   check->refusal[0] ? ": " : "", check->refusal);
    return false;
}

static void format_partitions(const struct deployment *own, struct buffer *value)
{
    buffer_append_u64(value, own->partitions);
}

static bool partitions_agree(struct deployment_check *check, struct slice stored,
                             struct buffer *error)
{
    uint64_t partitions;

    if (!parse_number(stored, &partitions) || partitions < 1 || partitions > PARTITIONS_MAX)
        return unreadable(check, "partitions", error);
    if (partitions == check->own.partitions)
        return true;
    buffer_appendf(error,
                   "TRUNKLINE_PARTITIONS is %" PRIu32 ", but this deployment has %" PRIu64
                   " (%s in Redis)",
                   check->own.partitions, partitions, check->key.data);
    return false;
}

static void format_hash_key(const struct deployment *own, struct buffer *value)
{
    for (size_t i = 0; i < HASH_KEY_SIZE; i++)
        buffer_appendf(value, "%02x", own->hash_key[i]);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash_key(struct slice text, uint8_t key[HASH_KEY_SIZE])
{
    if (text.length != 2 * HASH_KEY_SIZE)
        return false;
    for (size_t i = 0; i < HASH_KEY_SIZE; i++) {
        int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool hash_key_agrees(struct deployment_check *check, struct slice stored,
                            struct buffer *error)
{
    uint8_t key[HASH_KEY_SIZE];

    if (!parse_hash_key(stored, key))
        return unreadable(check, "hash_key", error);
    if (check->fresh)
        memcpy(check->own.hash_key, key, sizeof(key));
    if (memcmp(check->own.hash_key, key, sizeof(key)) == 0)
        return true;
    buffer_appendf(error, "hash_key of %s in Redis is another than when this process started",
                   check->key.data);
    return false;
}

static void format_frame_version(const struct deployment *own, struct buffer *value)
{
    (void)own;
    buffer_append_u64(value, FRAME_VERSION);
}

static bool frame_version_agrees(struct deployment_check *check, struct slice stored,
                                 struct buffer *error)
{
    uint64_t version;

    if (!parse_number(stored, &version))
        return unreadable(check, "frame_version", error);
    if (version == FRAME_VERSION)
        return true;
    buffer_appendf(error,
                   "this program has version %d of the frames, but this deployment has %" PRIu64
                   " (%s in Redis)",
                   FRAME_VERSION, version, check->key.data);
    return false;
}

static void format_created(const struct deployment *own, struct buffer *value)
{
    (void)own;
    buffer_append_u64(value, clock_wall_ms());
}

static const struct deployment_field fields[] = {
    {"partitions", format_partitions, partitions_agree},
    {"hash_key", format_hash_key, hash_key_agrees},
    {"frame_version", format_frame_version, frame_version_agrees},
    {"created", format_created, NULL}, /* for people */
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static bool all_agree(struct deployment_check *check, const struct bus_reply *reply,
                      struct buffer *error)
{
    if (bus_reply_kind(reply) == BUS_ERROR) {
        buffer_appendf(error, "%s in Redis: ", check->key.data);
        buffer_append_slice(error, bus_reply_text(reply));
        return false;
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        struct slice stored = bus_reply_text(bus_reply_field(reply, fields[i].name));

        if (fields[i].agrees && !fields[i].agrees(check, stored, error))
            return false;
    }
    return true;
}

static void on_fields(void *arg, const struct bus_reply *reply)
{
    struct deployment_check *check = arg;
    struct buffer error = {0};

    if (reply && all_agree(check, reply, &error)) {
        *check->target = check->own;
        check->done(check->arg, NULL);
    } else if (reply) {
        buffer_append_byte(&error, '\0');
        check->done(check->arg, error.data);
    }
    buffer_finish(&error);
    buffer_finish(&check->key);
    free(check);
}

/* A refusal (no memory, say) does not matter when the field is there already: HGETALL shows it. */
static void on_written(void *arg, const struct bus_reply *reply)
{
    struct deployment_check *check = arg;

    if (bus_reply_kind(reply) == BUS_ERROR && check->refusal[0] == '\0')
        snprintf(check->refusal, sizeof(check->refusal), "%s", bus_reply_text(reply).data);
}

static void write_if_missing(struct bus *bus, struct deployment_check *check,
                             const struct deployment_field *field)
{
    struct buffer value = {0};

    field->format(&check->own, &value);
    buffer_append_byte(&value, '\0');
    if (bus_command_text(bus, on_written, check, "HSETNX", check->key.data, field->name, value.data,
                         NULL) < 0)
        abort();
    buffer_finish(&value);
}

void deployment_agree(struct deployment *deployment, struct bus *bus,
                      const struct settings *settings, deployment_done_fn *done, void *arg)
{
    struct deployment_check *check;

    if (!bus_is_up(bus))
        return;
    check = xcalloc(1, sizeof(*check));
    *check = (struct deployment_check){
        .target = deployment, .own = *deployment, .done = done, .arg = arg};
    check->fresh = deployment->partitions == 0;
    if (check->fresh) {
        snprintf(check->own.prefix, sizeof(check->own.prefix), "%s", settings->prefix);
        check->own.partitions = (uint32_t)settings->partitions;
        uid_random(check->own.hash_key, sizeof(check->own.hash_key));
    }
    key_global(&check->key, &check->own, "deployment", slice_of(NULL, 0));
    buffer_append_byte(&check->key, '\0');
    for (size_t i = 0; i < FIELD_COUNT; i++)
        write_if_missing(bus, check, &fields[i]);
    if (bus_command_text(bus, on_fields, check, "HGETALL", check->key.data, NULL) < 0)
        abort();
}
