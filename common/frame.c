#include "common/frame.h"

#include "common/xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

enum field_kind { FIELD_U64, FIELD_STR, FIELD_BIN, FIELD_NUMBER, FIELD_U64S };

struct frame_field {
    const char *name;
    enum field_kind kind;
    size_t offset;
};

struct frame_descriptor {
    const char *name;
    enum frame_party from, to;
    const struct frame_field *fields;
    size_t field_count;
};

struct frame_reader {
    struct slice entry;
    size_t at;
    struct buffer list; /* values of the list of the frame that was read last */
};

/* What a reader keeps of a long list's memory. */
#define LIST_KEEP (64 * 1024)

#define U64(field)
#define STR(field)
#define BIN(field)
#define NUMBER(field)
#define U64S(field) +1
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    _Static_assert(0 __VA_ARGS__ <= 1, #NAME " has one list at most: a reader has room for one");
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

#define FRAME_PARTY(name) FRAME_PARTY_##name
#define FIELD(field, kind) {#field, kind, offsetof(struct frame_body, body.field)},
#define U64(field) FIELD(field, FIELD_U64)
#define STR(field) FIELD(field, FIELD_STR)
#define BIN(field) FIELD(field, FIELD_BIN)
#define NUMBER(field) FIELD(field, FIELD_NUMBER)
#define U64S(field) FIELD(field, FIELD_U64S)

static const struct frame_descriptor *frame_find(uint64_t type)
{
    switch (type) {
#define FRAME(id, NAME, name_, from_, to_, ...)                                                    \
    case FRAME_##NAME: {                                                                           \
        struct frame_body {                                                                        \
            struct frame_##name_ body;                                                             \
        };                                                                                         \
        static const struct frame_field fields[] = {__VA_ARGS__{NULL, FIELD_U64, 0}};              \
        static const struct frame_descriptor descriptor = {                                        \
            .name = #NAME,                                                                         \
            .from = FRAME_PARTY(from_),                                                            \
            .to = FRAME_PARTY(to_),                                                                \
            .fields = fields,                                                                      \
            .field_count = sizeof(fields) / sizeof(fields[0]) - 1,                                 \
        };                                                                                         \
        return &descriptor;                                                                        \
    }
#include "common/frames.def"
#undef FRAME
    default:
        return NULL;
    }
}

#define BODY_OFFSET offsetof(struct frame, gateway_announce)

static const void *field_const(const struct frame *frame, const struct frame_field *field)
{
    return (const char *)frame + BODY_OFFSET + field->offset;
}

static void *field_at(struct frame *frame, const struct frame_field *field)
{
    return (char *)frame + BODY_OFFSET + field->offset;
}

const char *frame_name(enum frame_type type)
{
    const struct frame_descriptor *descriptor = frame_find(type);

    return descriptor ? descriptor->name : "unknown";
}

bool frame_parties(enum frame_type type, enum frame_party *from, enum frame_party *to)
{
    const struct frame_descriptor *descriptor = frame_find(type);

    if (descriptor == NULL)
        return false;
    *from = descriptor->from;
    *to = descriptor->to;
    return true;
}

size_t frame_types(const enum frame_type **types)
{
#define FRAME(id, NAME, name, from, to, ...) FRAME_##NAME,
    static const enum frame_type all[] = {
#include "common/frames.def"
    };
#undef FRAME

    *types = all;
    return sizeof(all) / sizeof(all[0]);
}

static int write_buffer(void *buffer, const char *data, size_t length)
{
    buffer_append(buffer, data, length);
    return 0;
}

static void encode_str(msgpack_packer *packer, struct slice text)
{
    msgpack_pack_str(packer, text.length);
    msgpack_pack_str_body(packer, text.data, text.length);
}

static void encode_bin(msgpack_packer *packer, struct slice bytes)
{
    msgpack_pack_bin(packer, bytes.length);
    msgpack_pack_bin_body(packer, bytes.data, bytes.length);
}

static void encode_number(msgpack_packer *packer, struct number number)
{
    msgpack_pack_array(packer, 2);
    msgpack_pack_uint64(packer, number.epoch);
    msgpack_pack_uint64(packer, number.sequence);
}

static void encode_u64s(msgpack_packer *packer, const struct frame_u64s *list)
{
    msgpack_pack_array(packer, list->count);
    for (size_t i = 0; i < list->count; i++)
        msgpack_pack_uint64(packer, list->values[i]);
}

static void encode_field(msgpack_packer *packer, enum field_kind kind, const void *value)
{
    switch (kind) {
    case FIELD_U64:
        msgpack_pack_uint64(packer, *(const uint64_t *)value);
        break;
    case FIELD_STR:
        encode_str(packer, *(const struct slice *)value);
        break;
    case FIELD_BIN:
        encode_bin(packer, *(const struct slice *)value);
        break;
    case FIELD_NUMBER:
        encode_number(packer, *(const struct number *)value);
        break;
    case FIELD_U64S:
        encode_u64s(packer, value);
        break;
    }
}

void frame_encode(struct buffer *buffer, const struct frame *frame)
{
    const struct frame_descriptor *descriptor = frame_find(frame->type);
    msgpack_packer packer;

    if (descriptor == NULL)
        abort();
    msgpack_packer_init(&packer, buffer, write_buffer);
    msgpack_pack_array(&packer, descriptor->field_count + 1);
    msgpack_pack_uint64(&packer, frame->type);
    for (size_t i = 0; i < descriptor->field_count; i++)
        encode_field(&packer, descriptor->fields[i].kind,
                     field_const(frame, &descriptor->fields[i]));
}

static void print_field(struct buffer *out, enum field_kind kind, const void *value)
{
    char text[NUMBER_TEXT_SIZE];
    const struct frame_u64s *list = value;
    struct slice slice;

    switch (kind) {
    case FIELD_U64:
        buffer_append_u64(out, *(const uint64_t *)value);
        break;
    case FIELD_STR:
        buffer_append_json_string(out, *(const struct slice *)value);
        break;
    case FIELD_BIN:
        slice = *(const struct slice *)value;
        buffer_appendf(out, "(%zu bytes)", slice.length);
        break;
    case FIELD_NUMBER:
        number_format(*(const struct number *)value, text);
        buffer_append_text(out, text);
        break;
    case FIELD_U64S:
        for (size_t i = 0; i < list->count; i++)
            buffer_appendf(out, "%s%" PRIu64, i ? "," : "[", list->values[i]);
        buffer_append_text(out, list->count ? "]" : "[]");
        break;
    }
}

void frame_print(struct buffer *out, const struct frame *frame)
{
    const struct frame_descriptor *descriptor = frame_find(frame->type);

    if (descriptor == NULL) {
        buffer_appendf(out, "unknown frame %d", (int)frame->type);
        return;
    }
    buffer_append_text(out, descriptor->name);
    for (size_t i = 0; i < descriptor->field_count; i++) {
        buffer_appendf(out, " %s=", descriptor->fields[i].name);
        print_field(out, descriptor->fields[i].kind, field_const(frame, &descriptor->fields[i]));
    }
}

size_t frame_connections(const struct frame *frame, const uint64_t **connections)
{
    const struct frame_descriptor *descriptor = frame_find(frame->type);

    for (size_t i = 0; descriptor && i < descriptor->field_count; i++) {
        const struct frame_field *field = &descriptor->fields[i];
        const void *value = field_const(frame, field);

        if (field->kind == FIELD_U64 && strcmp(field->name, "connection") == 0) {
            *connections = value;
            return 1;
        }
        if (field->kind == FIELD_U64S && strcmp(field->name, "connections") == 0) {
            *connections = ((const struct frame_u64s *)value)->values;
            return ((const struct frame_u64s *)value)->count;
        }
    }
    return 0;
}

/* ---- reading ---- */

struct frame_reader *frame_reader_create(void)
{
    return xcalloc(1, sizeof(struct frame_reader));
}

void frame_reader_destroy(struct frame_reader **reader)
{
    if (*reader == NULL)
        return;
    buffer_finish(&(*reader)->list);
    free(*reader);
    *reader = NULL;
}

void frame_reader_start(struct frame_reader *reader, struct slice entry)
{
    reader->entry = entry;
    reader->at = 0;
}

struct slice frame_reader_rest(const struct frame_reader *reader)
{
    return slice_of(reader->entry.data + reader->at, reader->entry.length - reader->at);
}

enum object { OBJECT_NONE, OBJECT_NUMBER, OBJECT_STR, OBJECT_BIN, OBJECT_ARRAY };

/* How an object begins, by its first byte: its value (of a text and the like the length) stands in
   some bits of that byte, or in as many bytes behind it. Forms that no frame has are not here. */
static const struct form {
    unsigned char object, bits, bytes;
} forms[256] = {
    [0x00 ... 0x7f] = {OBJECT_NUMBER, 0x7f, 0},
    [0x90 ... 0x9f] = {OBJECT_ARRAY, 0x0f, 0},
    [0xa0 ... 0xbf] = {OBJECT_STR, 0x1f, 0},
    [0xc4] = {OBJECT_BIN, 0, 1},
    [0xc5] = {OBJECT_BIN, 0, 2},
    [0xc6] = {OBJECT_BIN, 0, 4},
    [0xcc] = {OBJECT_NUMBER, 0, 1},
    [0xcd] = {OBJECT_NUMBER, 0, 2},
    [0xce] = {OBJECT_NUMBER, 0, 4},
    [0xcf] = {OBJECT_NUMBER, 0, 8},
    [0xd9] = {OBJECT_STR, 0, 1},
    [0xda] = {OBJECT_STR, 0, 2},
    [0xdb] = {OBJECT_STR, 0, 4},
    [0xdc] = {OBJECT_ARRAY, 0, 2},
    [0xdd] = {OBJECT_ARRAY, 0, 4},
};

static int read_head(struct frame_reader *reader, enum object object, uint64_t *value)
{
    struct slice rest = frame_reader_rest(reader);
    const unsigned char *at = (const unsigned char *)rest.data;
    const struct form *form;

    if (rest.length == 0)
        return -EBADMSG;
    form = &forms[*at];
    if (form->object != object || form->bytes >= rest.length)
        return -EBADMSG;
    *value = *at & form->bits;
    for (unsigned i = 1; i <= form->bytes; i++)
        *value = *value << 8 | at[i];
    reader->at += 1u + form->bytes;
    return 0;
}

static int read_bytes(struct frame_reader *reader, enum object object, struct slice *bytes)
{
    struct slice rest;
    uint64_t length;

    if (read_head(reader, object, &length) < 0)
        return -EBADMSG;
    rest = frame_reader_rest(reader);
    if (length > rest.length)
        return -EBADMSG;
    *bytes = slice_of(rest.data, (size_t)length);
    reader->at += (size_t)length;
    return 0;
}

static int read_number(struct frame_reader *reader, struct number *number)
{
    uint64_t count;

    if (read_head(reader, OBJECT_ARRAY, &count) < 0 || count != 2 ||
        read_head(reader, OBJECT_NUMBER, &number->epoch) < 0)
        return -EBADMSG;
    return read_head(reader, OBJECT_NUMBER, &number->sequence);
}

/* No more are believed in than there are bytes: a header of a few could claim gigabytes. */
static int read_list(struct frame_reader *reader, struct frame_u64s *list)
{
    uint64_t count, *values;

    if (read_head(reader, OBJECT_ARRAY, &count) < 0 || count > frame_reader_rest(reader).length)
        return -EBADMSG;
    buffer_reset(&reader->list, LIST_KEEP);
    values = (uint64_t *)(void *)buffer_reserve(&reader->list, count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        if (read_head(reader, OBJECT_NUMBER, &values[i]) < 0)
            return -EBADMSG;
    *list = (struct frame_u64s){.values = values, .count = (size_t)count};
    return 0;
}

static int read_field(struct frame_reader *reader, enum field_kind kind, void *value)
{
    switch (kind) {
    case FIELD_U64:
        return read_head(reader, OBJECT_NUMBER, value);
    case FIELD_STR:
        return read_bytes(reader, OBJECT_STR, value);
    case FIELD_BIN:
        return read_bytes(reader, OBJECT_BIN, value);
    case FIELD_NUMBER:
        return read_number(reader, value);
    case FIELD_U64S:
        return read_list(reader, value);
    }
    return -EBADMSG;
}

int frame_reader_next(struct frame_reader *reader, struct frame *frame)
{
    const struct frame_descriptor *descriptor;
    uint64_t count, type;

    if (reader->at >= reader->entry.length)
        return 0;
    if (read_head(reader, OBJECT_ARRAY, &count) < 0 || read_head(reader, OBJECT_NUMBER, &type) < 0)
        return -EBADMSG;
    descriptor = frame_find(type);
    if (descriptor == NULL || count != descriptor->field_count + 1)
        return -EBADMSG;
    frame->type = (enum frame_type)type;
    for (size_t i = 0; i < descriptor->field_count; i++)
        if (read_field(reader, descriptor->fields[i].kind,
                       field_at(frame, &descriptor->fields[i])) < 0)
            return -EBADMSG;
    return 1;
}
