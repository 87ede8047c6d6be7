#include "common/frame.h"

#include "common/xalloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS 3

/* What the fields of a frame are filled with, one after the other: the edges of each kind. */
static const uint64_t u64_samples[] = {0, 127, 128, 65536, 9007199254740993, UINT64_MAX};
static const struct slice text_samples[TEXTS] = {{"anna", 4}, {"", 0}, {"gr\xc3\xbc\xc3\x9f\0", 7}};
static const uint64_t list_samples[] = {UINT64_MAX, 0, 77};

static uint64_t sample_u64(unsigned n)
{
    return u64_samples[n % (sizeof(u64_samples) / sizeof(u64_samples[0]))];
}

/* Fills the body of a frame of this type; seed varies what comes where. */
static struct frame make_frame(enum frame_type type, unsigned seed)
{
    struct frame frame = {.type = type};
    unsigned n = seed;

    switch (type) {
#define U64(field) body->field = sample_u64(n++);
#define STR(field) body->field = text_samples[n++ % TEXTS];
#define BIN(field) body->field = text_samples[n++ % TEXTS];
#define NUMBER(field) body->field = (struct number){sample_u64(n), sample_u64(n + 1)}, n++;
#define U64S(field) body->field = (struct frame_u64s){list_samples, n++ % 4};
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME: {                                                                           \
        struct frame_##name *body = &frame.name;                                                   \
        (void)body;                                                                                \
        __VA_ARGS__                                                                                \
        break;                                                                                     \
    }
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S
    }
    return frame;
}

static void assert_lists_equal(struct frame_u64s a, struct frame_u64s b)
{
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_int_equal(a.values[i], b.values[i]);
}

static void assert_frames_equal(const struct frame *a, const struct frame *b)
{
    assert_int_equal(a->type, b->type);
    switch (a->type) {
#define U64(field) assert_int_equal(x->field, y->field);
#define STR(field) assert_true(slice_equal(x->field, y->field));
#define BIN(field) assert_true(slice_equal(x->field, y->field));
#define NUMBER(field) assert_int_equal(number_compare(x->field, y->field), 0);
#define U64S(field) assert_lists_equal(x->field, y->field);
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME: {                                                                           \
        const struct frame_##name *x = &a->name, *y = &b->name;                                    \
        (void)x, (void)y;                                                                          \
        __VA_ARGS__                                                                                \
        break;                                                                                     \
    }
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S
    }
}

static struct frame_reader *reader;

static int set_up(void **state)
{
    (void)state;
    reader = frame_reader_create();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    frame_reader_destroy(&reader);
    frame_reader_destroy(&reader);
    return 0;
}

/* Reads an entry to its end. The copy has no byte to spare, so that a sanitizer sees reading
 * beyond. */
static int read_entry(const void *data, size_t length)
{
    void *copy = xmalloc(length);
    struct frame frame;
    int result;

    if (length)
        memcpy(copy, data, length);
    frame_reader_start(reader, slice_of(copy, length));
    while ((result = frame_reader_next(reader, &frame)) > 0)
        ;
    free(copy);
    return result;
}

static void test_every_type_comes_back_as_it_was(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        for (unsigned seed = 0; seed < 12; seed++) {
            struct frame in = make_frame(types[i], seed), out;
            struct buffer entry = {0};

            frame_encode(&entry, &in);
            frame_reader_start(reader, buffer_slice(&entry));
            assert_int_equal(frame_reader_next(reader, &out), 1);
            assert_frames_equal(&in, &out);
            assert_int_equal(frame_reader_next(reader, &out), 0);
            assert_int_equal(frame_reader_next(reader, &out), 0);
            buffer_finish(&entry);
        }
    }
}

static void test_an_entry_is_a_run_of_frames(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);
    struct buffer entry = {0};
    struct frame frame;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        frame = make_frame(types[i], (unsigned)i);
        frame_encode(&entry, &frame);
    }
    frame_reader_start(reader, buffer_slice(&entry));
    for (size_t i = 0; i < count; i++) {
        struct frame expected = make_frame(types[i], (unsigned)i);

        assert_int_equal(frame_reader_next(reader, &frame), 1);
        assert_frames_equal(&frame, &expected);
    }
    assert_int_equal(frame_reader_next(reader, &frame), 0);
    assert_int_equal(frame_reader_rest(reader).length, 0);
    assert_int_equal(read_entry(NULL, 0), 0);
    buffer_finish(&entry);
}

/* Frames of one type, and others between them: each comes back whole, whatever was said before. */
static void test_what_a_run_has_said_is_left_out(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);
    struct frame_said *said = frame_said_create();
    struct buffer run = {0}, alone = {0};
    struct frame frame;

    (void)state;
    for (size_t kinds = 1; kinds <= count; kinds++) {
        run.length = alone.length = 0;
        for (size_t i = 0; i < 5 * kinds; i++) {
            frame = make_frame(types[i % kinds], (unsigned)(i / (2 * kinds)));
            frame_encode_next(&run, said, &frame);
            frame_encode(&alone, &frame);
        }
        assert_true(kinds == 1 || run.length < alone.length);
        frame_reader_start(reader, buffer_slice(&run));
        for (size_t i = 0; i < 5 * kinds; i++) {
            struct frame expected = make_frame(types[i % kinds], (unsigned)(i / (2 * kinds)));

            assert_int_equal(frame_reader_next(reader, &frame), 1);
            assert_frames_equal(&frame, &expected);
        }
        assert_int_equal(frame_reader_next(reader, &frame), 0);
    }
    frame_said_destroy(&said);
    buffer_finish(&run);
    buffer_finish(&alone);
}

/* A run stands for itself: what another has said is not left out, and not filled in. */
static void test_a_run_says_all_of_it_anew(void **state)
{
    const struct frame read = {.type = FRAME_MESSAGE_READ,
                               .message_read = {.user = slice_text("bob"), .id = slice_text("m")}};
    struct frame_said *said = frame_said_create();
    struct buffer frames = {0};
    size_t first, second;
    struct frame frame;

    (void)state;
    frame_encode_next(&frames, said, &read);
    first = frames.length;
    frame_encode_next(&frames, said, &read);
    assert_int_equal(frames.length, 2 * first - strlen("bob") - strlen("m"));
    assert_int_equal(read_entry(frames.data, frames.length), 0);
    assert_int_equal(read_entry(frames.data + first, frames.length - first), -EBADMSG);
    second = frames.length;
    frame_said_forget(said);
    frame_encode_next(&frames, said, &read);
    assert_int_equal(frames.length, second + first);
    frame_reader_start(reader, slice_of(frames.data + second, first));
    assert_int_equal(frame_reader_next(reader, &frame), 1);
    assert_frames_equal(&frame, &read);
    frames.length = 0;
    frame_encode_next(&frames, said, &read);
    assert_int_equal(frames.length, first);
    frame_said_destroy(&said);
    frame_said_destroy(&said);
    buffer_finish(&frames);
}

static void test_names_and_parties(void **state)
{
    static const struct {
        enum frame_type type;
        const char *name;
        enum frame_party from, to;
    } cases[] = {
        {FRAME_GATEWAY_ANNOUNCE, "GATEWAY_ANNOUNCE", FRAME_PARTY_GATEWAY, FRAME_PARTY_ROUTER},
        {FRAME_TOPIC_MESSAGE, "TOPIC_MESSAGE", FRAME_PARTY_ROUTER, FRAME_PARTY_GATEWAY},
        {FRAME_TICK, "TICK", FRAME_PARTY_ROUTER, FRAME_PARTY_ROUTER},
    };
    const enum frame_type *types;
    size_t count = frame_types(&types);
    enum frame_party from, to;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(frame_name(cases[i].type), cases[i].name);
        assert_true(frame_parties(cases[i].type, &from, &to));
        assert_int_equal(from, cases[i].from);
        assert_int_equal(to, cases[i].to);
    }
    assert_string_equal(frame_name((enum frame_type)9999), "unknown");
    assert_false(frame_parties((enum frame_type)9999, &from, &to));
    for (size_t i = 0; i < count; i++) {
        assert_string_not_equal(frame_name(types[i]), "unknown");
        assert_true(frame_parties(types[i], &from, &to));
        for (size_t j = 0; j < i; j++)
            assert_true(types[j] < types[i]); /* the table stands in order */
    }
}

static void test_every_truncation_is_refused(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct frame frame = make_frame(types[i], 3);
        struct buffer entry = {0};

        frame_encode(&entry, &frame);
        for (size_t length = 1; length < entry.length; length++)
            assert_int_equal(read_entry(entry.data, length), -EBADMSG);
        assert_int_equal(read_entry(entry.data, entry.length), 0);
        buffer_finish(&entry);
    }
}

static int write_buffer(void *buffer, const char *data, size_t length)
{
    buffer_append(buffer, data, length);
    return 0;
}

/* What is done to an encoded frame before it is read: element at becomes something else. */
enum damage { DAMAGE_NIL, DAMAGE_NEGATIVE, DAMAGE_MAP, DAMAGE_NESTED, DAMAGE_COUNT };

static void pack_damage(msgpack_packer *packer, enum damage damage)
{
    switch (damage) {
    case DAMAGE_NIL:
        msgpack_pack_nil(packer);
        break;
    case DAMAGE_NEGATIVE:
        msgpack_pack_int64(packer, -1);
        break;
    case DAMAGE_MAP:
        msgpack_pack_map(packer, 0);
        break;
    case DAMAGE_NESTED:
        msgpack_pack_array(packer, 1);
        msgpack_pack_array(packer, 0);
        break;
    case DAMAGE_COUNT:
        break;
    }
}

/* Encodes a frame with its elements up to count, the one at damaged replaced, and extra nils
 * behind. */
static void encode_damaged(struct buffer *out, const struct frame *frame, size_t keep,
                           size_t damaged, enum damage damage, size_t extra)
{
    struct buffer entry = {0};
    msgpack_unpacked whole;
    msgpack_packer packer;

    frame_encode(&entry, frame);
    msgpack_unpacked_init(&whole);
    assert_int_equal(msgpack_unpack_next(&whole, entry.data, entry.length, NULL),
                     MSGPACK_UNPACK_SUCCESS);
    if (keep > whole.data.via.array.size)
        keep = whole.data.via.array.size;
    msgpack_packer_init(&packer, out, write_buffer);
    msgpack_pack_array(&packer, keep + extra);
    for (size_t i = 0; i < keep; i++) {
        if (i == damaged)
            pack_damage(&packer, damage);
        else
            msgpack_pack_object(&packer, whole.data.via.array.ptr[i]);
    }
    while (extra--)
        msgpack_pack_nil(&packer);
    msgpack_unpacked_destroy(&whole);
    buffer_finish(&entry);
}

static size_t field_count(enum frame_type type)
{
    switch (type) {
#define U64(field) +1
#define STR(field) +1
#define BIN(field) +1
#define NUMBER(field) +1
#define U64S(field) +1
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    case FRAME_##NAME:                                                                             \
        return 0 __VA_ARGS__;
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S
    }
    return 0;
}

static int read_damaged(const struct frame *frame, size_t keep, size_t damaged, enum damage damage,
                        size_t extra)
{
    struct buffer entry = {0};
    int result;

    encode_damaged(&entry, frame, keep, damaged, damage, extra);
    result = read_entry(entry.data, entry.length);
    buffer_finish(&entry);
    return result;
}

static void test_every_wrong_type_is_refused(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct frame frame = make_frame(types[i], 5);

        for (size_t at = 0; at <= field_count(types[i]); at++)
            for (int damage = 0; damage < DAMAGE_COUNT; damage++)
                assert_int_equal(read_damaged(&frame, SIZE_MAX, at, (enum damage)damage, 0),
                                 -EBADMSG);
    }
}

static void test_a_whole_body_must_be_consumed(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct frame frame = make_frame(types[i], 1);

        assert_int_equal(read_damaged(&frame, SIZE_MAX, SIZE_MAX, DAMAGE_NIL, 0), 0);
        assert_int_equal(read_damaged(&frame, SIZE_MAX, SIZE_MAX, DAMAGE_NIL, 1), -EBADMSG);
        for (size_t keep = 0; keep <= field_count(types[i]); keep++)
            assert_int_equal(read_damaged(&frame, keep, SIZE_MAX, DAMAGE_NIL, 0), -EBADMSG);
    }
}

static void test_what_is_no_frame_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"\x00", 1},                             /* a number */
        {"\xc0", 1},                             /* nil */
        {"\xc1", 1},                             /* never used */
        {"\x80", 1},                             /* a map */
        {"\x90", 1},                             /* an empty array */
        {"\x91\x01", 2},                         /* no such type */
        {"\x91\xcd\x01\x2d", 4},                 /* RECENT_ANSWER without its body */
        {"\x91\xff", 2},                         /* a negative type */
        {"\x91\xa4TICK", 6},                     /* a type in words */
        {"\x91\xcb\x40\x72\xc0\0\0\0\0\0", 10},  /* 300.0 */
        {"\x91\xcf\0\0\0\1\0\0\1\x2c", 10},      /* 2^32 + 300 */
        {"\x91\xcd\x01\x2c\xc1", 5},             /* a whole TICK, then rubbish */
        {"\xdc\xff\xff\xcd\x01\x2c", 6},         /* claims 65,535 elements */
        {"\xdd\x00\x10\x00\x00\xcd\x01\x2c", 8}, /* claims a million */
        {"\x93\x66\xdb\xff\xff\xff\xff", 7},     /* a text of 4 GiB */
    };

    (void)state;
    assert_int_equal(read_entry("\x91\xcd\x01\x2c", 4), 0); /* a TICK, as a person would write it */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(read_entry(cases[i].bytes, cases[i].length), -EBADMSG);
}

/* A few bytes that claim to be the beginning of gigabytes. */
static void test_claims_cost_no_memory(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"\xdd\x00\x10\x00\x00\xcd\x01\x2c", 8},                      /* 24 MB of elements */
        {"\xdd\x7f\xff\xff\xff\xcd\x01\x2c", 8},                      /* 48 GB */
        {"\x92\xdd\x00\x10\x00\x00\xdd\x00\x10\x00\x00\x01", 12},     /* one in another */
        {"\x92\xcd\x01\x2c\xdf\x00\x10\x00\x00\x01\x01", 11},         /* a map */
        {"\x92\xcd\x01\x2c\xdd\xff\xff\xff\xff\x01\x01\x01\x01", 13}, /* 96 GB, a field */
        {"\x95\xcc\xe1\xdd\xff\xff\xff\xff\x01\x01", 10}, /* MESSAGE_STATUS: 32 GB, its list */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t before = mallinfo2().hblkhd;

        assert_int_equal(read_entry(cases[i].bytes, cases[i].length), -EBADMSG);
        assert_true(mallinfo2().hblkhd <= before);
    }
}

static void test_text_is_not_bytes_and_bytes_are_not_text(void **state)
{
    /* PRESENCE_SET: connection, user, status, metadata. */
    static const struct {
        const char *bytes;
        size_t length;
        int result;
    } cases[] = {
        {"\x95\xcc\x84\x01\xa1u\xa1s\xc4\x01m", 11, 0},
        {"\x95\xcc\x84\x01\xc4\x01u\xa1s\xc4\x01m", 12, -EBADMSG},
        {"\x95\xcc\x84\x01\xa1u\xa1s\xa1m", 10, -EBADMSG},
        {"\x95\xcc\x84\xa1\x31\xa1u\xa1s\xc4\x01m", 12, -EBADMSG},
        {"\x95\xcc\x84\xca\x3f\x80\x00\x00\xa1u\xa1s\xc4\x01m", 15, -EBADMSG},
    };

    (void)state;
    assert_int_equal(FRAME_PRESENCE_SET, 132);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(read_entry(cases[i].bytes, cases[i].length), cases[i].result);
}

/* Whatever comes, the reader ends, and refuses or accepts: flipped bits of every frame. */
static void test_flipped_bits_do_no_harm(void **state)
{
    const enum frame_type *types;
    size_t count = frame_types(&types);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        struct frame frame = make_frame(types[i], 2);
        struct buffer entry = {0};

        frame_encode(&entry, &frame);
        for (size_t bit = 0; bit < entry.length * 8; bit++) {
            int result;

            entry.data[bit / 8] ^= (char)(1 << bit % 8);
            result = read_entry(entry.data, entry.length);
            assert_true(result == 0 || result == -EBADMSG);
            entry.data[bit / 8] ^= (char)(1 << bit % 8);
        }
        buffer_finish(&entry);
    }
}

static void test_frames_in_words(void **state)
{
    const struct frame frames[] = {
        {.type = FRAME_TICK},
        {.type = FRAME_OUTPUT_WRITTEN, .output_written = {.number = {7, 8}}},
        {.type = FRAME_PRESENCE_SET,
         .presence_set = {.connection = 5,
                          .user = slice_text("an\"na"),
                          .status = slice_text("away"),
                          .metadata = slice_text("{}")}},
        {.type = FRAME_DIRECT_REPLY,
         .direct_reply = {.id = slice_text("i"),
                          .to = slice_text("t"),
                          .delivered = {list_samples + 1, 2}}},
        {.type = (enum frame_type)9999},
    };
    static const char *const words[] = {
        "TICK",
        "OUTPUT_WRITTEN number=7-8",
        "PRESENCE_SET connection=5 user=\"an\\\"na\" status=\"away\" metadata=(2 bytes)",
        "DIRECT_REPLY connection=0 request=0 id=\"i\" to=\"t\" status=0 delivered=[0,77]",
        "unknown frame 9999",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct buffer text = {0};

        frame_print(&text, &frames[i]);
        buffer_append_byte(&text, '\0');
        assert_string_equal(text.data, words[i]);
        buffer_finish(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_comes_back_as_it_was),
        cmocka_unit_test(test_an_entry_is_a_run_of_frames),
        cmocka_unit_test(test_what_a_run_has_said_is_left_out),
        cmocka_unit_test(test_a_run_says_all_of_it_anew),
        cmocka_unit_test(test_names_and_parties),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_wrong_type_is_refused),
        cmocka_unit_test(test_a_whole_body_must_be_consumed),
        cmocka_unit_test(test_what_is_no_frame_is_refused),
        cmocka_unit_test(test_claims_cost_no_memory),
        cmocka_unit_test(test_text_is_not_bytes_and_bytes_are_not_text),
        cmocka_unit_test(test_flipped_bits_do_no_harm),
        cmocka_unit_test(test_frames_in_words),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
