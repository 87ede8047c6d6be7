#include "common/frame.h"

#include "common/xalloc.h"

#include <assert.h>
#include <endian.h>
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

/* The types from 0 on, and how many texts each has. */
#define U64(field)
#define STR(field) +1
#define BIN(field)
#define NUMBER(field)
#define U64S(field)
#define FRAME(id, NAME, name, from, to, ...) INDEX_##NAME,
enum {
#include "common/frames.def"
    TYPES
};
#undef FRAME
#define TEXTS_MOST 4
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    _Static_assert(0 __VA_ARGS__ <= TEXTS_MOST, #NAME " has more texts than are remembered");
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

/* Where a run of frames has the last texts of each type. */
struct frame_said {
    size_t end; /* of the run so far; 0: it begins */
    struct place {
        uint32_t at, length;
    } texts[TYPES][TEXTS_MOST];
};

/* What is not read yet. */
struct rest {
    const unsigned char *at, *end;
};

/* The texts of the last frame of a type in this run. */
struct before {
    uint64_t run;
    struct slice texts[TEXTS_MOST];
};

struct frame_reader {
    struct rest rest;
    struct buffer list; /* values of the list of the frame that was read last */
    uint64_t run;
    struct before before[TYPES];
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
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

#define BODY_OFFSET offsetof(struct frame, gateway_announce)

static const void *field_const(const struct frame *frame, const struct frame_field *field)
{
    return (const char *)frame + BODY_OFFSET + field->offset;
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

/* ---- writing ---- */

/* The most bytes before a text, of a number alone, and of a message number. */
#define HEAD_MOST 5
#define U64_MOST 9
#define NUMBER_MOST (1 + 2 * U64_MOST)

/* There is room: most_of has seen to it. */
static inline int put(void *place, const char *bytes, size_t length)
{
    char **at = place;

    if (length)
        memcpy(*at, bytes, length);
    *at += length;
    return 0;
}

/* A packer for one value, so that the compiler sees where it writes. */
static inline msgpack_packer packer_at(char **at)
{
    msgpack_packer packer;

    msgpack_packer_init(&packer, at, put);
    return packer;
}

static inline char *put_u64(char *at, uint64_t value)
{
    msgpack_packer packer = packer_at(&at);

    msgpack_pack_uint64(&packer, value);
    return at;
}

static inline char *put_array(char *at, size_t count)
{
    msgpack_packer packer = packer_at(&at);

    msgpack_pack_array(&packer, count);
    return at;
}

static char *put_str(char *at, struct slice text)
{
    msgpack_packer packer = packer_at(&at);

    msgpack_pack_str(&packer, text.length);
    msgpack_pack_str_body(&packer, text.data, text.length);
    return at;
}

/* Of a frame in a run that begins at `run`, if place is given; it says where the last one stands.
 */
static inline char *put_text(char *at, const char *run, struct place *place, struct slice text)
{
    if (place != NULL && text.length && text.length == place->length &&
        memcmp(run + place->at, text.data, text.length) == 0) {
        msgpack_packer packer = packer_at(&at);

        msgpack_pack_nil(&packer);
        return at;
    }
    at = put_str(at, text);
    if (place != NULL)
        *place =
            (struct place){(uint32_t)((size_t)(at - run) - text.length), (uint32_t)text.length};
    return at;
}

static char *put_bin(char *at, struct slice bytes)
{
    msgpack_packer packer = packer_at(&at);

    msgpack_pack_bin(&packer, bytes.length);
    msgpack_pack_bin_body(&packer, bytes.data, bytes.length);
    return at;
}

static char *put_number(char *at, struct number number)
{
    return put_u64(put_u64(put_array(at, 2), number.epoch), number.sequence);
}

static char *put_u64s(char *at, const struct frame_u64s *list)
{
    at = put_array(at, list->count);
    for (size_t i = 0; i < list->count; i++)
        at = put_u64(at, list->values[i]);
    return at;
}

/* How many fields each has. */
#define FRAME(id, NAME, name, from, to, ...) FIELDS_##NAME = 0 __VA_ARGS__,
#define U64(field) +1
#define STR(field) +1
#define BIN(field) +1
#define NUMBER(field) +1
#define U64S(field) +1
enum {
#include "common/frames.def"
};
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

/* What a frame takes at most, and its fields one after the other: one case for each type. */
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME: {                                                                           \
        const struct frame_##name *body = &frame->name;                                            \
        (void)body;                                                                                \
        return HEAD_MOST + U64_MOST __VA_ARGS__;                                                   \
    }
#define U64(field) +U64_MOST
#define STR(field) +HEAD_MOST + body->field.length
#define BIN(field) STR(field)
#define NUMBER(field) +NUMBER_MOST
#define U64S(field) +HEAD_MOST + U64_MOST * body->field.count
static size_t most_of(const struct frame *frame)
{
    switch (frame->type) {
#include "common/frames.def"
    }
    abort();
}
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME: {                                                                           \
        const struct frame_##name *body = &frame->name;                                            \
        struct place *places = said ? said->texts[INDEX_##NAME] : NULL;                            \
        size_t text = 0;                                                                           \
        (void)body, (void)places, (void)text;                                                      \
        at = put_u64(put_array(at, 1 + FIELDS_##NAME), FRAME_##NAME);                              \
        __VA_ARGS__                                                                                \
        return at;                                                                                 \
    }
#define U64(field) at = put_u64(at, body->field);
#define STR(field) at = put_text(at, run, places ? &places[text++] : NULL, body->field);
#define BIN(field) at = put_bin(at, body->field);
#define NUMBER(field) at = put_number(at, body->field);
#define U64S(field) at = put_u64s(at, &body->field);
static char *put_frame(char *at, const char *run, struct frame_said *said,
                       const struct frame *frame)
{
    switch (frame->type) {
#include "common/frames.def"
    }
    return at;
}
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

struct frame_said *frame_said_create(void)
{
    return xcalloc(1, sizeof(struct frame_said));
}

void frame_said_destroy(struct frame_said **said)
{
    free(*said);
    *said = NULL;
}

void frame_said_forget(struct frame_said *said)
{
    memset(said, 0, sizeof(*said));
}

static void append_frame(struct buffer *buffer, struct frame_said *said, const struct frame *frame)
{
    char *at = buffer_reserve(buffer, most_of(frame));

    buffer->length += (size_t)(put_frame(at, buffer->data, said, frame) - at);
}

void frame_encode(struct buffer *buffer, const struct frame *frame)
{
    append_frame(buffer, NULL, frame);
}

void frame_encode_next(struct buffer *buffer, struct frame_said *said, const struct frame *frame)
{
    if (buffer->length == 0)
        frame_said_forget(said);
    assert(said->end == 0 || said->end == buffer->length);
    append_frame(buffer, said, frame);
    said->end = buffer->length;
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
    const unsigned char *bytes = (const unsigned char *)entry.data;

    reader->rest = (struct rest){.at = bytes, .end = bytes + entry.length};
    reader->run++;
}

static inline size_t length_of(const struct rest *rest)
{
    return (size_t)(rest->end - rest->at);
}

struct slice frame_reader_rest(const struct frame_reader *reader)
{
    return slice_of(reader->rest.at, length_of(&reader->rest));
}

#define NIL 0xc0

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

/* So many bytes, 1, 2, 4 or 8. */
static inline uint64_t big_endian(const unsigned char *at, unsigned bytes)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    switch (bytes) {
    case 1:
        return *at;
    case 2:
        return be16toh(*(const uint16_t *)memcpy(&two, at, 2));
    case 4:
        return be32toh(*(const uint32_t *)memcpy(&four, at, 4));
    default:
        return be64toh(*(const uint64_t *)memcpy(&eight, at, 8));
    }
}

static int read_head(struct rest *rest, enum object object, uint64_t *value)
{
    const struct form *form;

    if (rest->at == rest->end)
        return -EBADMSG;
    form = &forms[*rest->at];
    if (form->object != object || form->bytes >= length_of(rest))
        return -EBADMSG;
    *value = form->bytes ? big_endian(rest->at + 1, form->bytes) : *rest->at & form->bits;
    rest->at += 1u + form->bytes;
    return 0;
}

static int read_bytes(struct rest *rest, enum object object, struct slice *bytes)
{
    uint64_t length;

    if (read_head(rest, object, &length) < 0 || length > length_of(rest))
        return -EBADMSG;
    *bytes = slice_of(rest->at, (size_t)length);
    rest->at += length;
    return 0;
}

/* Most are small, and one byte. */
static inline bool read_u64(struct rest *rest, uint64_t *value)
{
    if (rest->at < rest->end && *rest->at < 0x80) {
        *value = *rest->at++;
        return true;
    }
    return read_head(rest, OBJECT_NUMBER, value) == 0;
}

/* *last: the same text of the last frame of the type. */
static inline bool read_text(struct rest *rest, struct slice *last, struct slice *text)
{
    if (rest->at < rest->end && *rest->at == NIL && last->length) {
        rest->at++;
        *text = *last;
        return true;
    }
    if (read_bytes(rest, OBJECT_STR, text) < 0)
        return false;
    *last = *text;
    return true;
}

static inline struct slice *texts_before(struct frame_reader *reader, struct before *before)
{
    if (before->run != reader->run)
        *before = (struct before){.run = reader->run};
    return before->texts;
}

static bool read_bin(struct rest *rest, struct slice *bytes)
{
    return read_bytes(rest, OBJECT_BIN, bytes) == 0;
}

static bool read_number(struct rest *rest, struct number *number)
{
    uint64_t count;

    return read_head(rest, OBJECT_ARRAY, &count) == 0 && count == 2 &&
           read_u64(rest, &number->epoch) && read_u64(rest, &number->sequence);
}

/* No more are believed in than there are bytes: a header of a few could claim gigabytes. */
static bool read_list(struct rest *rest, struct buffer *memory, struct frame_u64s *list)
{
    uint64_t count, *values;

    if (read_head(rest, OBJECT_ARRAY, &count) < 0 || count > length_of(rest))
        return false;
    buffer_reset(memory, LIST_KEEP);
    values = (uint64_t *)(void *)buffer_reserve(memory, count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        if (!read_u64(rest, &values[i]))
            return false;
    *list = (struct frame_u64s){.values = values, .count = (size_t)count};
    return true;
}

/* One case for each type, straight through its fields. */
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME: {                                                                           \
        struct frame_##name *body = &frame->name;                                                  \
        struct slice *last = texts_before(reader, &reader->before[INDEX_##NAME]);                  \
        (void)body, (void)last;                                                                    \
        return count == 1 + FIELDS_##NAME __VA_ARGS__;                                             \
    }
#define U64(field) &&read_u64(rest, &body->field)
#define STR(field) &&read_text(rest, last++, &body->field)
#define BIN(field) &&read_bin(rest, &body->field)
#define NUMBER(field) &&read_number(rest, &body->field)
#define U64S(field) &&read_list(rest, &reader->list, &body->field)
static bool read_body(struct frame_reader *reader, uint64_t count, struct frame *frame)
{
    struct rest *rest = &reader->rest;

    switch (frame->type) {
#include "common/frames.def"
    }
    return false;
}
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

int frame_reader_next(struct frame_reader *reader, struct frame *frame)
{
    struct rest *rest = &reader->rest;
    uint64_t count, type;

    if (rest->at == rest->end)
        return 0;
    if (read_head(rest, OBJECT_ARRAY, &count) < 0 || !read_u64(rest, &type))
        return -EBADMSG;
    frame->type = (enum frame_type)type;
    return frame->type == type && read_body(reader, count, frame) ? 1 : -EBADMSG;
}
