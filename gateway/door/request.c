#include "gateway/door/request.h"

#include "gateway/door/octets.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* What is not read yet. */
struct cursor {
    char *at;
    char *end;
};

/* ---- bytes ---- */

static bool is_target_byte(char byte)
{
    return (unsigned char)byte > 0x20 && (unsigned char)byte < 0x7f;
}

static bool all(struct slice text, bool (*is)(char))
{
    for (size_t i = 0; i < text.length; i++)
        if (!is(text.data[i]))
            return false;
    return true;
}

static struct slice trim(struct slice text)
{
    while (text.length > 0 && octet_is_blank(text.data[0]))
        text = slice_of(text.data + 1, text.length - 1);
    while (text.length > 0 && octet_is_blank(text.data[text.length - 1]))
        text.length--;
    return text;
}

static bool equal_ignoring_case(struct slice a, const char *b)
{
    return a.length == strlen(b) && strncasecmp(a.data, b, a.length) == 0;
}

/* ---- the query ---- */

/* In place: decoded text is never longer. '+' is a space, as browsers write it. */
static int decode(char *text, size_t length, struct slice *decoded)
{
    size_t to = 0;

    for (size_t from = 0; from < length; from++, to++) {
        if (text[from] == '+') {
            text[to] = ' ';
        } else if (text[from] != '%') {
            text[to] = text[from];
        } else {
            int high = from + 2 < length ? octet_hex(text[from + 1]) : -1;
            int low = from + 2 < length ? octet_hex(text[from + 2]) : -1;

            if (high < 0 || low < 0)
                return -EBADMSG;
            text[to] = (char)(high << 4 | low);
            from += 2;
        }
    }
    *decoded = slice_of(text, to);
    return 0;
}

/* The part up to the separator, or all; moves the cursor behind it. */
static struct cursor take_until(struct cursor *rest, char separator)
{
    char *found = memchr(rest->at, separator, (size_t)(rest->end - rest->at));
    struct cursor part = {.at = rest->at, .end = found ? found : rest->end};

    rest->at = found ? found + 1 : rest->end;
    return part;
}

static int parse_parameter(struct request *request, struct cursor part)
{
    struct cursor name = take_until(&part, '=');
    struct request_field *field = &request->parameters[request->parameter_count];
    int error;

    if (request->parameter_count == REQUEST_PARAMETERS_MAX)
        return -E2BIG;
    error = decode(name.at, (size_t)(name.end - name.at), &field->name);
    if (error == 0)
        error = decode(part.at, (size_t)(part.end - part.at), &field->value);
    if (error == 0)
        request->parameter_count++;
    return error;
}

static int parse_query(struct request *request, struct cursor query)
{
    while (query.at < query.end) {
        struct cursor part = take_until(&query, '&');
        int error = part.at < part.end ? parse_parameter(request, part) : 0;

        if (error < 0)
            return error;
    }
    return 0;
}

/* ---- lines ---- */

/* GET /path?query HTTP/1.1 */
static int parse_request_line(struct request *request, struct cursor line)
{
    struct cursor method = take_until(&line, ' ');
    struct cursor target = take_until(&line, ' ');
    struct slice version = slice_of(line.at, (size_t)(line.end - line.at));
    struct cursor path;

    request->method = slice_of(method.at, (size_t)(method.end - method.at));
    if (request->method.length == 0 || !all(request->method, octet_is_token))
        return -EBADMSG;
    if (target.at == target.end || target.at[0] != '/' ||
        !all(slice_of(target.at, (size_t)(target.end - target.at)), is_target_byte))
        return -EBADMSG;
    if (version.length != 8 || memcmp(version.data, "HTTP/1.", 7) != 0 ||
        (version.data[7] != '0' && version.data[7] != '1'))
        return -EBADMSG;
    request->minor_version = version.data[7] - '0';
    path = take_until(&target, '?');
    request->path = slice_of(path.at, (size_t)(path.end - path.at));
    return parse_query(request, target);
}

/* Name: value. No blank before the colon, no continued lines: both are ways to smuggle. */
static int parse_header(struct request *request, struct cursor line)
{
    char *colon = memchr(line.at, ':', (size_t)(line.end - line.at));
    struct request_field *field = &request->headers[request->header_count];

    if (request->header_count == REQUEST_HEADERS_MAX)
        return -E2BIG;
    if (colon == NULL)
        return -EBADMSG;
    field->name = slice_of(line.at, (size_t)(colon - line.at));
    field->value = trim(slice_of(colon + 1, (size_t)(line.end - colon - 1)));
    if (field->name.length == 0 || !all(field->name, octet_is_token) ||
        !all(field->value, octet_is_value))
        return -EBADMSG;
    for (char *at = line.at; at < colon; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at |= 0x20;
    request->header_count++;
    return 0;
}

/* Up to CRLF, which is known to be there. */
static struct cursor take_line(struct cursor *rest)
{
    char *found = memmem(rest->at, (size_t)(rest->end - rest->at), "\r\n", 2);
    struct cursor line = {.at = rest->at, .end = found};

    rest->at = found + 2;
    return line;
}

static size_t count_headers(const struct request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->header_count; i++)
        count += slice_is(request->headers[i].name, name);
    return count;
}

int request_parse(struct request *request, char *head, size_t length)
{
    size_t limit = length < REQUEST_HEAD_MAX ? length : REQUEST_HEAD_MAX;
    char *end = memmem(head, limit, "\r\n\r\n", 4);
    struct cursor rest = {.at = head, .end = end ? end + 2 : NULL};
    size_t hosts;
    int error;

    if (end == NULL)
        return length < REQUEST_HEAD_MAX ? -EAGAIN : -E2BIG;
    request->header_count = request->parameter_count = 0;
    request->length = (size_t)(end + 4 - head);
    error = parse_request_line(request, take_line(&rest));
    while (error == 0 && rest.at < rest.end)
        error = parse_header(request, take_line(&rest));
    hosts = error == 0 ? count_headers(request, "host") : 0;
    if (error == 0 && (hosts > 1 || (hosts == 0 && request->minor_version == 1)))
        error = -EBADMSG;
    return error;
}

/* ---- looking things up ---- */

static struct slice find(const struct request_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_is(fields[i].name, name))
            return fields[i].value;
    return slice_of(NULL, 0);
}

struct slice request_header(const struct request *request, const char *name)
{
    return find(request->headers, request->header_count, name);
}

struct slice request_parameter(const struct request *request, const char *name)
{
    return find(request->parameters, request->parameter_count, name);
}

size_t request_parameter_count(const struct request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->parameter_count; i++)
        count += slice_is(request->parameters[i].name, name);
    return count;
}

static bool find_in_list(struct slice list, bool (*visit)(struct slice, void *), void *arg)
{
    const char *at = list.data, *end = list.data + list.length;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct slice element = trim(slice_of(at, (size_t)((comma ? comma : end) - at)));

        if (element.length > 0 && visit(element, arg))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

bool request_list_find(const struct request *request, const char *name,
                       bool (*visit)(struct slice, void *), void *arg)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (slice_is(request->headers[i].name, name) &&
            find_in_list(request->headers[i].value, visit, arg))
            return true;
    return false;
}

static bool is_word(struct slice element, void *word)
{
    return equal_ignoring_case(element, word);
}

bool request_list_has(const struct request *request, const char *name, const char *word)
{
    return request_list_find(request, name, is_word, (void *)word);
}

/* ---- the body ---- */

#define LENGTH_DIGITS_MAX 15

static int read_length(struct slice text, uint64_t *length)
{
    if (text.length == 0 || text.length > LENGTH_DIGITS_MAX)
        return -EBADMSG;
    *length = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -EBADMSG;
        *length = *length * 10 + (uint64_t)(text.data[i] - '0');
    }
    return 0;
}

/* A coding and a length are two opinions of where the body ends; HTTP/1.0 knows no codings. */
static int read_coding(const struct request *request, struct request_body *body)
{
    if (request_header(request, "content-length").data || request->minor_version == 0 ||
        count_headers(request, "transfer-encoding") > 1)
        return -EBADMSG;
    if (!equal_ignoring_case(request_header(request, "transfer-encoding"), "chunked"))
        return -ENOTSUP;
    *body = (struct request_body){.said = true, .chunked = true};
    return 0;
}

int request_body(const struct request *request, struct request_body *body)
{
    uint64_t length = 0;
    size_t lengths = count_headers(request, "content-length");

    if (request_header(request, "transfer-encoding").data)
        return read_coding(request, body);
    if (lengths > 1)
        return -EBADMSG;
    if (lengths == 1 && read_length(request_header(request, "content-length"), &length) < 0)
        return -EBADMSG;
    *body = (struct request_body){.said = lengths > 0, .length = length};
    return 0;
}
