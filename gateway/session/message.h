/*
 * A client's message on its way in: pieces as they come, put together up to a limit. Pure memory:
 * no socket.
 */
#ifndef GATEWAY_MESSAGE_H
#define GATEWAY_MESSAGE_H

#include "common/buffer.h"
#include "gateway/door/websocket.h"

/* Zeroed memory is ready; buffer_finish(&gathered) gives its memory back. */
struct message {
    struct buffer gathered;
    bool deflated;
};

/*
 * Adds a piece. Returns 1: *whole is the message (valid until the next call, which forgets it); 0:
 * more is to come; -EMSGSIZE: it is, or will be, longer than limit; -EILSEQ: a text that is not
 * UTF-8, or deflated bytes that are none. The limit holds for what a deflated message inflates to.
 * After an error the connection has to be closed.
 */
int message_add(struct message *, const struct websocket_piece *, size_t limit, struct slice *whole)
    __attribute__((warn_unused_result));
/* Shortest forms only, no surrogates, nothing above U+10FFFF. */
bool message_is_utf8(struct slice text);

#endif
