#include "common/bus_address.h"

#include "common/slice.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes text into out. Returns 0 or -EINVAL. */
static int decode_part(struct slice text, char *out, size_t size)
{
    size_t length = 0;

    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            if (i + 2 >= text.length || hex_digit(text.data[i + 1]) < 0 ||
                hex_digit(text.data[i + 2]) < 0)
                return -EINVAL;
            byte = (char)(hex_digit(text.data[i + 1]) << 4 | hex_digit(text.data[i + 2]));
            i += 2;
        }
        if (length + 1 >= size || byte == '\0')
            return -EINVAL;
        out[length++] = byte;
    }
    out[length] = '\0';
    return 0;
}

static int parse_credentials(struct slice text, struct bus_address *address)
{
    const char *colon = memchr(text.data, ':', text.length);
    size_t user_length;

    if (colon == NULL)
        return -EINVAL;
    user_length = (size_t)(colon - text.data);
    if (decode_part(slice_of(text.data, user_length), address->user, sizeof(address->user)) < 0)
        return -EINVAL;
    if (decode_part(slice_of(colon + 1, text.length - user_length - 1), address->password,
                    sizeof(address->password)) < 0)
        return -EINVAL;
    return address->password[0] ? 0 : -EINVAL;
}

static int parse_port(struct slice text, int *port)
{
    int value = 0;

    if (text.length == 0 || text.length > 5)
        return -EINVAL;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -EINVAL;
        value = value * 10 + (text.data[i] - '0');
    }
    if (value < 1 || value > 65535)
        return -EINVAL;
    *port = value;
    return 0;
}

/* host, host:port, [v6] or [v6]:port */
static int parse_host(struct slice text, struct bus_address *address)
{
    bool bracketed = text.length > 0 && text.data[0] == '[';
    const char *start = text.data + bracketed;
    const char *end = text.data + text.length;
    const char *stop = memchr(start, bracketed ? ']' : ':', (size_t)(end - start));
    const char *rest;

    if (stop == NULL && bracketed)
        return -EINVAL;
    if (stop == NULL)
        stop = end;
    if (stop == start || (size_t)(stop - start) >= sizeof(address->host))
        return -EINVAL;
    memcpy(address->host, start, (size_t)(stop - start));
    rest = stop + bracketed;
    if (rest == end)
        return 0;
    return *rest == ':' ? parse_port(slice_of(rest + 1, (size_t)(end - rest - 1)), &address->port)
                        : -EINVAL;
}

int bus_address_parse(const char *url, struct bus_address *address)
{
    static const char scheme[] = "redis://";
    struct bus_address result = {.port = 6379};
    const char *at, *slash;

    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return -EINVAL;
    url += sizeof(scheme) - 1;
    at = strrchr(url, '@');
    if (at) {
        if (parse_credentials(slice_of(url, (size_t)(at - url)), &result) < 0)
            return -EINVAL;
        url = at + 1;
    }
    slash = strchrnul(url, '/');
    if (strcmp(slash, "") != 0 && strcmp(slash, "/") != 0 && strcmp(slash, "/0") != 0)
        return -EINVAL;
    if (parse_host(slice_of(url, (size_t)(slash - url)), &result) < 0)
        return -EINVAL;
    *address = result;
    return 0;
}
