/*
 * A gateway's question about a password, as it is sealed. The label in the clear is
 * "<gateway> <number>".
 */
#ifndef COMMON_PASSWORD_ASK_H
#define COMMON_PASSWORD_ASK_H

#include "common/buffer.h"

#include <stdbool.h>

#define PASSWORD_ASK_NONCE 16
/* Bytes of a password. */
#define PASSWORD_MIN 8
#define PASSWORD_MAX 1024
/* Entries of the stream of asks: those before them have nobody waiting any more. */
#define PASSWORD_ASKS_KEPT "256"

enum password_result { PASSWORD_OK, PASSWORD_WRONG, PASSWORD_LIMITED, PASSWORD_UNAVAILABLE };

struct password_ask {
    uint64_t asked_ms; /* Unix milliseconds */
    unsigned char nonce[PASSWORD_ASK_NONCE];
    struct slice user, password, address;
};

/* Appends the text to be sealed; its length says little about that of the password. */
void password_ask_append(struct buffer *, const struct password_ask *);
/* Slices point into text. Returns 0 or -EBADMSG. */
int password_ask_read(struct password_ask *, struct slice text) __attribute__((warn_unused_result));

const char *password_result_name(enum password_result);
/* PASSWORD_UNAVAILABLE when the name is none. */
enum password_result password_result_read(struct slice name);

#endif
