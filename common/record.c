#include "common/record.h"

#include "common/digits.h"

#include <assert.h>
#include <errno.h>

/* ---- writing ---- */

static struct slice value_of(const struct record_field *field, char digits[DIGITS_MAX])
{
    if (field->text.length || field->number == 0)
        return field->text;
    return digits_slice(field->number, digits);
}

/* What a field takes at most beside its text: its name and the length of its value, what stands
 * between them, and the digits of a number. */
#define FIELD_MOST (RECORD_NAME_MAX + DIGITS_MAX + 3 + DIGITS_MAX)

static size_t most_of(const struct record_field *fields, size_t count)
{
    size_t most = 1 + count * FIELD_MOST;

    for (size_t i = 0; i < count; i++)
        most += fields[i].text.length;
    return most;
}

static char *put(char *at, struct slice text)
{
    if (text.length)
        memcpy(at, text.data, text.length);
    return at + text.length;
}

static bool is_said(const struct buffer *text, const struct record_said *said,
                    const struct record_field *field)
{
    if (field->text.length == 0)
        return field->number ? said->number == field->number : said->length == 0;
    return slice_equal(field->text, slice_of(text->data + said->at, said->length));
}

void record_write(struct record_writer *writer, const struct record_field *fields, size_t count)
{
    struct buffer *text = &writer->text;
    char *begin = buffer_reserve(text, most_of(fields, count)), *at = begin;
    char digits[DIGITS_MAX];

    assert(count <= RECORD_FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct record_said *said = &writer->said[i];
        struct slice name, value;

        if (is_said(text, said, &fields[i]))
            continue;
        name = slice_text(fields[i].name);
        value = value_of(&fields[i], digits);
        if (at > begin)
            *at++ = ' ';
        assert(name.length <= RECORD_NAME_MAX);
        at = put(at, name);
        *at++ = ' ';
        at += digits_write(value.length, at);
        *at++ = ':';
        *said = (struct record_said){.at = (size_t)(at - text->data),
                                     .length = value.length,
                                     .number = fields[i].text.length ? 0 : fields[i].number};
        at = put(at, value);
    }
    *at++ = '\n';
    text->length += (size_t)(at - begin);
}

void record_writer_finish(struct record_writer *writer)
{
    buffer_finish(&writer->text);
    *writer = (struct record_writer){0};
}

/* ---- reading ---- */

void record_reader_start(struct record_reader *reader, struct slice text)
{
    reader->rest = text;
    reader->count = 0;
}

/* What stands before the next such byte; false if there is none. */
static bool take_to(struct slice *rest, char end, struct slice *taken)
{
    const char *at = rest->length ? memchr(rest->data, end, rest->length) : NULL;

    if (at == NULL)
        return false;
    *taken = slice_of(rest->data, (size_t)(at - rest->data));
    *rest = slice_of(at + 1, rest->length - taken->length - 1);
    return true;
}

static bool parse_number(struct slice digits, uint64_t *value)
{
    *value = 0;
    if (digits.length == 0 || digits.length > 20)
        return false;
    for (size_t i = 0; i < digits.length; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(digits.data[i] - '0');
    }
    return true;
}

static struct record_value *field_named(struct record_reader *reader, struct slice name)
{
    for (size_t i = 0; i < reader->count; i++)
        if (slice_equal(reader->fields[i].name, name))
            return &reader->fields[i];
    if (reader->count == RECORD_FIELDS_MAX)
        return NULL;
    reader->fields[reader->count] = (struct record_value){.name = name};
    return &reader->fields[reader->count++];
}

static bool take_field(struct record_reader *reader)
{
    struct slice name, digits;
    struct record_value *field;
    uint64_t length;

    if (!take_to(&reader->rest, ' ', &name) || !take_to(&reader->rest, ':', &digits) ||
        !parse_number(digits, &length) || length >= reader->rest.length ||
        (field = field_named(reader, name)) == NULL)
        return false;
    field->value = slice_of(reader->rest.data, (size_t)length);
    reader->rest = slice_of(reader->rest.data + length, reader->rest.length - (size_t)length);
    return true;
}

int record_next(struct record_reader *reader)
{
    if (reader->rest.length == 0)
        return 0;
    while (reader->rest.data[0] != '\n') {
        if (!take_field(reader))
            return -EBADMSG;
        if (reader->rest.data[0] == ' ')
            reader->rest = slice_of(reader->rest.data + 1, reader->rest.length - 1);
        else if (reader->rest.data[0] != '\n')
            return -EBADMSG;
        if (reader->rest.length == 0)
            return -EBADMSG;
    }
    reader->rest = slice_of(reader->rest.data + 1, reader->rest.length - 1);
    return 1;
}

struct slice record_text(const struct record_reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->count; i++)
        if (slice_is(reader->fields[i].name, name))
            return reader->fields[i].value;
    return (struct slice){0};
}

uint64_t record_number(const struct record_reader *reader, const char *name)
{
    uint64_t value;

    return parse_number(record_text(reader, name), &value) ? value : 0;
}
