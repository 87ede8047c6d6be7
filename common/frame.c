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
    msgpack_zone *zone;
    struct slice entry;
    size_t at;
};

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

struct frame_reader *frame_reader_create(void)
{
    struct frame_reader *reader = xcalloc(1, sizeof(*reader));

    reader->zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    if (reader->zone == NULL)
        abort();
    return reader;
}

void frame_reader_destroy(struct frame_reader **reader)
{
    if (*reader == NULL)
        return;
    msgpack_zone_free((*reader)->zone);
    free(*reader);
    *reader = NULL;
}

void frame_reader_start(struct frame_reader *reader, struct slice entry)
{
    reader->entry = entry;
    reader->at = 0;
}

static int decode_u64(const msgpack_object *object, uint64_t *value)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return -EBADMSG;
    *value = object->via.u64;
    return 0;
}

static int decode_number(const msgpack_object *object, struct number *number)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 2)
        return -EBADMSG;
    if (decode_u64(&object->via.array.ptr[0], &number->epoch) < 0)
        return -EBADMSG;
    return decode_u64(&object->via.array.ptr[1], &number->sequence);
}

static int decode_u64s(msgpack_zone *zone, const msgpack_object *object, struct frame_u64s *list)
{
    size_t count;
    uint64_t *values;

    if (object->type != MSGPACK_OBJECT_ARRAY)
        return -EBADMSG;
    count = object->via.array.size;
    values = msgpack_zone_malloc(zone, (count ? count : 1) * sizeof(*values));
    if (values == NULL)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++)
        if (decode_u64(&object->via.array.ptr[i], &values[i]) < 0)
            return -EBADMSG;
    *list = (struct frame_u64s){.values = values, .count = count};
    return 0;
}

static int decode_field(msgpack_zone *zone, const msgpack_object *object, enum field_kind kind,
                        void *value)
{
    switch (kind) {
    case FIELD_U64:
        return decode_u64(object, value);
    case FIELD_STR:
        if (object->type != MSGPACK_OBJECT_STR)
            return -EBADMSG;
        *(struct slice *)value = slice_of(object->via.str.ptr, object->via.str.size);
        return 0;
    case FIELD_BIN:
        if (object->type != MSGPACK_OBJECT_BIN)
            return -EBADMSG;
        *(struct slice *)value = slice_of(object->via.bin.ptr, object->via.bin.size);
        return 0;
    case FIELD_NUMBER:
        return decode_number(object, value);
    case FIELD_U64S:
        return decode_u64s(zone, object, value);
    }
    return -EBADMSG;
}

static int decode_frame(struct frame_reader *reader, const msgpack_object *object,
                        struct frame *frame)
{
    const struct frame_descriptor *descriptor;
    const msgpack_object *elements;
    uint64_t type;

    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size == 0)
        return -EBADMSG;
    elements = object->via.array.ptr;
    if (decode_u64(&elements[0], &type) < 0)
        return -EBADMSG;
    descriptor = frame_find(type);
    if (descriptor == NULL || object->via.array.size != descriptor->field_count + 1)
        return -EBADMSG;
    frame->type = (enum frame_type)type;
    for (size_t i = 0; i < descriptor->field_count; i++)
        if (decode_field(reader->zone, &elements[i + 1], descriptor->fields[i].kind,
                         field_at(frame, &descriptor->fields[i])) < 0)
            return -EBADMSG;
    return 0;
}

/* ---- what headers claim ---- */

/* By the tag of an object: how many bytes of length follow it, how many bytes of a number. Tags
   that no frame has are not here. */
static const struct form {
    unsigned char first, last;
    unsigned char in_tag; /* the bits of the tag that are the length */
    unsigned char length_bytes, number_bytes;
    bool is_array;
} forms[] = {
    {0x00, 0x7f, 0, 0, 0, false}, {0x90, 0x9f, 0x0f, 0, 0, true}, {0xa0, 0xbf, 0x1f, 0, 0, false},
    {0xc4, 0xc4, 0, 1, 0, false}, {0xc5, 0xc5, 0, 2, 0, false},   {0xc6, 0xc6, 0, 4, 0, false},
    {0xcc, 0xcc, 0, 0, 1, false}, {0xcd, 0xcd, 0, 0, 2, false},   {0xce, 0xce, 0, 0, 4, false},
    {0xcf, 0xcf, 0, 0, 8, false}, {0xd9, 0xd9, 0, 1, 0, false},   {0xda, 0xda, 0, 2, 0, false},
    {0xdb, 0xdb, 0, 4, 0, false}, {0xdc, 0xdc, 0, 2, 0, true},    {0xdd, 0xdd, 0, 4, 0, true},
};

static const struct form *form_of(unsigned char tag)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (tag >= forms[i].first && tag <= forms[i].last)
            return &forms[i];
    return NULL;
}

/* Moves over one object, of an array over its header only: *inside more objects follow. Returns
   false when the bytes are not there, or it is none that a frame has. */
static bool skip_object(const unsigned char **at, const unsigned char *end, size_t *inside)
{
    const struct form *form = form_of(**at);
    size_t length;

    *inside = 0;
    if (form == NULL || (size_t)(end - *at) < 1u + form->length_bytes)
        return false;
    length = *(*at)++ & form->in_tag;
    for (int i = 0; i < form->length_bytes; i++)
        length = length << 8 | *(*at)++;
    if (form->is_array)
        *inside = length;
    else if (length + form->number_bytes <= (size_t)(end - *at))
        *at += length + form->number_bytes;
    else
        return false;
    return true;
}

/*
 * Whether the next object is whole, as far as its headers say. msgpack takes memory for what the
 * header of an array claims before it looks for it: a few bytes could claim 100 GB.
 */
static bool claims_are_met(struct slice rest)
{
    const unsigned char *at = (const unsigned char *)rest.data, *end = at + rest.length;
    size_t objects = 1, inside;

    for (; objects > 0; objects += inside - 1)
        if (objects > (size_t)(end - at) || !skip_object(&at, end, &inside))
            return false;
    return true;
}

int frame_reader_next(struct frame_reader *reader, struct frame *frame)
{
    msgpack_object object;
    msgpack_unpack_return result;

    if (reader->at >= reader->entry.length)
        return 0;
    if (!claims_are_met(frame_reader_rest(reader)))
        return -EBADMSG;
    msgpack_zone_clear(reader->zone);
    result = msgpack_unpack(reader->entry.data, reader->entry.length, &reader->at, reader->zone,
                            &object);
    if (result != MSGPACK_UNPACK_SUCCESS && result != MSGPACK_UNPACK_EXTRA_BYTES)
        return -EBADMSG;
    return decode_frame(reader, &object, frame) < 0 ? -EBADMSG : 1;
}

struct slice frame_reader_rest(const struct frame_reader *reader)
{
    return slice_of(reader->entry.data + reader->at, reader->entry.length - reader->at);
}
