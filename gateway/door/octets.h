/*
 * The bytes of HTTP by what they may be part of (RFC 9110, 5.5 and 5.6.2).
 */
#ifndef GATEWAY_OCTETS_H
#define GATEWAY_OCTETS_H

#include <stdbool.h>
#include <string.h>

/* Of a method or a header's name. */
static inline bool octet_is_token(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

/* A header's value has no controls but tabs. */
static inline bool octet_is_value(char byte)
{
    return byte == '\t' || ((unsigned char)byte >= 0x20 && byte != 0x7f);
}

static inline bool octet_is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* What a hexadecimal digit stands for; -1: it is none. */
static inline int octet_hex(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

#endif
