/*
 * The head of an HTTP request, read strictly (RFC 9112): what two servers could read in two ways is
 * refused. Pure: slices of a request point into the head, which it changes in place.
 */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include "common/slice.h"

#include <stdint.h>

/* Bytes of a whole head, with its empty line. */
#define REQUEST_HEAD_MAX 16384
#define REQUEST_HEADERS_MAX 64
#define REQUEST_PARAMETERS_MAX 32

struct request_field {
    struct slice name;
    struct slice value;
};

struct request {
    struct slice method;
    struct slice path; /* as sent, not decoded */
    int minor_version; /* of HTTP/1 */
    size_t length;     /* of the head: what comes behind it begins there */
    size_t header_count, parameter_count;
    struct request_field headers[REQUEST_HEADERS_MAX];       /* names in lower case */
    struct request_field parameters[REQUEST_PARAMETERS_MAX]; /* of the query, decoded */
};

/*
 * Reads the head at the front of length bytes. Returns 0; -EAGAIN: its end has not come; -E2BIG: it
 * has no end within REQUEST_HEAD_MAX, or too many headers or parameters; -EBADMSG: it is no HTTP/1
 * request.
 */
int request_parse(struct request *, char *head, size_t length) __attribute__((warn_unused_result));

struct request_body {
    bool said;    /* the head says something of a body */
    bool chunked; /* how long it is, is known at its end (chunked.h) */
    uint64_t length;
};

/*
 * What the head says of the body. Returns 0; -EBADMSG: two lengths, one that is no number, or a
 * length and a coding; -ENOTSUP: a coding other than chunked.
 */
int request_body(const struct request *, struct request_body *) __attribute__((warn_unused_result));
/* The first header or parameter of that name; data is NULL when there is none. */
struct slice request_header(const struct request *, const char *name);
struct slice request_parameter(const struct request *, const char *name);
/* How often a parameter of that name is there. */
size_t request_parameter_count(const struct request *, const char *name);
/* Calls visit for each element of a header's comma-separated lists, until it returns true: what is
 * returned. */
bool request_list_find(const struct request *, const char *name,
                       bool (*visit)(struct slice element, void *arg), void *arg);
/* Whether such a list has the word, in any case of letters. */
bool request_list_has(const struct request *, const char *name, const char *word);

#endif
