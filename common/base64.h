/*
 * RFC 4648: base64url without padding (section 5), the form of tokens and keys; and base64 with
 * padding (section 4), the form of bytes that clients read.
 */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/buffer.h"
#include "common/slice.h"

#include <stdbool.h>

void base64_append(struct buffer *, struct slice bytes);
void base64url_append(struct buffer *, const void *data, size_t length);
/* Only letters of the alphabet, at least one, in a number that encodes whole bytes. */
bool base64url_valid(struct slice text);
/* Returns the number of bytes, or -EINVAL when text is not valid or they are more than size. */
int base64url_decode(struct slice text, unsigned char *out, size_t size)
    __attribute__((warn_unused_result));

#endif
