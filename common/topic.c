#include "common/topic.h"

#include "common/user.h"

#include <errno.h>

#define PRESENCE "presence."

static bool is_segment_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

static bool is_word(struct slice segment)
{
    for (size_t i = 0; i < segment.length; i++)
        if (!is_segment_byte(segment.data[i]))
            return false;
    return segment.length > 0;
}

static bool is_private(struct slice segment)
{
    return segment.length > 0 && segment.data[0] == '$';
}

static bool is_first_word(struct slice segment)
{
    if (is_private(segment))
        segment = slice_of(segment.data + 1, segment.length - 1);
    return is_word(segment);
}

struct slice topic_cut_segment(struct slice *rest)
{
    const char *dot = memchr(rest->data, '.', rest->length);
    struct slice segment = *rest;

    if (dot == NULL) {
        *rest = slice_of(NULL, 0);
        return segment;
    }
    segment.length = (size_t)(dot - rest->data);
    *rest = slice_of(dot + 1, rest->length - segment.length - 1);
    return segment;
}

static bool name_valid(struct slice name, bool wildcards)
{
    size_t count = 0;

    if (name.length == 0 || name.length > TOPIC_MAX)
        return false;
    while (name.data != NULL) {
        struct slice segment = topic_cut_segment(&name);
        bool wild = slice_is(segment, "*") || (slice_is(segment, "**") && name.data == NULL);

        if (++count > TOPIC_SEGMENTS_MAX)
            return false;
        if (!(wild && wildcards) && !(count == 1 ? is_first_word(segment) : is_word(segment)))
            return false;
    }
    return true;
}

bool topic_valid(struct slice topic)
{
    return !topic_is_presence(topic) && name_valid(topic, false);
}

bool topic_pattern_valid(struct slice pattern)
{
    return !topic_is_presence(pattern) && name_valid(pattern, true);
}

bool topic_has_wildcard(struct slice name)
{
    return name.length > 0 && memchr(name.data, '*', name.length) != NULL;
}

/* Whether a segment of a pattern stands for one of a topic, or for all that one of another pattern
 * stands for. */
static bool segment_covers(struct slice segment, struct slice inner, bool first)
{
    if (slice_is(segment, "*"))
        return !slice_is(inner, "**") && !(first && is_private(inner));
    return slice_equal(segment, inner);
}

bool topic_covers(struct slice pattern, struct slice inner)
{
    bool first = true;

    while (pattern.data != NULL && inner.data != NULL) {
        struct slice segment = topic_cut_segment(&pattern);
        struct slice other = topic_cut_segment(&inner);

        if (slice_is(segment, "**") && pattern.data == NULL)
            return !(first && is_private(other));
        if (!segment_covers(segment, other, first))
            return false;
        first = false;
    }
    return pattern.data == NULL && inner.data == NULL;
}

bool topic_matches(struct slice pattern, struct slice topic)
{
    return topic_covers(pattern, topic);
}

bool topic_permitted(char *const *patterns, struct slice name)
{
    /* Two names of one subscription: everybody's presence. */
    if (slice_is(name, "presence.**"))
        name = slice_text("presence.*");
    if (patterns == NULL)
        return name.length > 0 && name.data[0] != '$';
    for (; *patterns; patterns++)
        if (topic_covers(slice_text(*patterns), name))
            return true;
    return false;
}

bool topic_is_presence(struct slice name)
{
    return name.length >= strlen(PRESENCE) && memcmp(name.data, PRESENCE, strlen(PRESENCE)) == 0;
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Appends the byte that stands at the front of text; returns the bytes it took, or 0 when it is
 * malformed. */
static size_t decode_byte(struct slice text, struct buffer *user)
{
    int high, low;

    if (is_segment_byte(text.data[0])) {
        buffer_append_byte(user, text.data[0]);
        return 1;
    }
    if (text.data[0] != '%' || text.length < 3)
        return 0;
    high = hex_digit(text.data[1]);
    low = hex_digit(text.data[2]);
    if (high < 0 || low < 0)
        return 0;
    buffer_append_byte(user, (char)(high << 4 | low));
    return 3;
}

static int decode_user(struct slice text, struct buffer *user)
{
    size_t start = user->length;

    while (text.length > 0) {
        size_t taken = decode_byte(text, user);

        if (taken == 0)
            return -EINVAL;
        text = slice_of(text.data + taken, text.length - taken);
    }
    return user_allowed(slice_of(user->data + start, user->length - start), true) ? 0 : -EINVAL;
}

void topic_presence_name(struct buffer *out, struct slice user)
{
    buffer_append_text(out, PRESENCE);
    for (size_t i = 0; i < user.length; i++) {
        if (is_segment_byte(user.data[i]))
            buffer_append_byte(out, user.data[i]);
        else
            buffer_appendf(out, "%%%02X", (unsigned char)user.data[i]);
    }
}

int topic_presence_user(struct slice name, struct buffer *user)
{
    size_t start = user->length;
    struct slice rest;
    int result;

    if (!topic_is_presence(name) || name.length > TOPIC_PRESENCE_MAX)
        return -EINVAL;
    rest = slice_of(name.data + strlen(PRESENCE), name.length - strlen(PRESENCE));
    if (slice_is(rest, "*") || slice_is(rest, "**")) {
        buffer_append_byte(user, '*');
        return 0;
    }
    result = decode_user(rest, user);
    if (result != 0)
        user->length = start;
    return result;
}
