/*
 * The chunked coding of a request's body (RFC 9112, 7.1), read strictly and piece by piece.
 * Extensions and trailers are passed over. Pure.
 */
#ifndef GATEWAY_CHUNKED_H
#define GATEWAY_CHUNKED_H

#include "common/buffer.h"

/* Bytes of extensions and trailers in one body: more is refused. */
#define CHUNKED_EXTRA_MAX 4096

/* Where a body is. Zeroed memory is the beginning of one. */
struct chunked {
    int state;
    int digits;    /* of a size, so far */
    uint64_t left; /* of the chunk: bytes that have not come */
    size_t extra;  /* bytes of extensions and trailers, so far */
};

/*
 * Goes on with these bytes: content is appended to body, up to max bytes in all; used is how many
 * of them are the body's (the others come behind it). Returns 0: the body is whole; -EAGAIN: there
 * is more to come; -EBADMSG: this is no chunked body; -E2BIG: it has more content, or more
 * extensions and trailers, than it may have.
 */
int chunked_read(struct chunked *, struct slice bytes, struct buffer *body, size_t max,
                 size_t *used) __attribute__((warn_unused_result));

#endif
