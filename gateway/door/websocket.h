/*
 * The door to libwebsockets: the only file that sees it. It takes over sockets whose upgrade is
 * decided already, answers them with 101, and passes on what happens on each to one set of
 * handlers. Frames go out ready-made; closing and control frames of the peer are its work.
 */
#ifndef GATEWAY_WEBSOCKET_H
#define GATEWAY_WEBSOCKET_H

#include "common/slice.h"

#include <stdint.h>
#include <uv.h>

struct websocket; /* one connection */
struct websocket_server;

/* A part of a message from the peer. */
struct websocket_piece {
    struct slice bytes;
    size_t remaining; /* more bytes of the same frame to come */
    bool first;       /* of its message */
    bool last;
    bool binary;
    bool deflated; /* of the first piece: the message is (RFC 7692) */
};

/* owner: what websocket_adopt was given. */
struct websocket_handlers {
    /* The 101 is on its way. */
    void (*on_open)(void *owner, struct websocket *);
    void (*on_piece)(void *owner, const struct websocket_piece *);
    void (*on_pong)(void *owner);
    /* The peer's close frame came: it is being answered, nothing may be written any more. */
    void (*on_peer_close)(void *owner);
    /* All that was written has left this process. */
    void (*on_writable)(void *owner);
    /* The last call for this owner: once for each adopted socket, opened or not. The descriptor is
     * still open if on_open was called. */
    void (*on_end)(void *owner);
};

/* What the handshake has found out. Slices need to last only during the call. */
struct websocket_upgrade {
    struct slice key;         /* Sec-WebSocket-Key */
    struct slice subprotocol; /* to be echoed; may be empty */
    bool deflate;             /* permessage-deflate, without context takeover on both sides */
    struct slice rest;        /* what came behind the request head */
};

struct websocket_server *websocket_server_create(uv_loop_t *, const struct websocket_handlers *);
/* Ends all connections; the library's handles close in the loop's next turns. */
void websocket_server_stop(struct websocket_server *);
/* After those turns. NULL-safe; clears the pointer. */
void websocket_server_destroy(struct websocket_server **);
/* Takes descriptor over. Handlers may be called inside. */
void websocket_adopt(struct websocket_server *, int descriptor, const struct websocket_upgrade *,
                     void *owner);

/* Writes whole frames in one system call; what does not fit now is kept and written by itself. Not
   while websocket_is_writing. Returns 0, or -EPIPE: the connection is broken and will end. */
int websocket_write(struct websocket *, struct slice frames) __attribute__((warn_unused_result));
/* Part of the last write is still in this process. */
bool websocket_is_writing(const struct websocket *);
/* A close frame was begun, by websocket_close or by the library: for the peer's, or because the
 * peer broke the protocol. */
bool websocket_is_closing(const struct websocket *);
int websocket_descriptor(const struct websocket *);
/*
 * Sends the close frame and waits for the peer's, with no time limit of its own. Not inside a
 * handler, and not while websocket_is_writing. on_end may come inside.
 */
void websocket_close(struct websocket *, int code, struct slice text);
/* Ends it soon, from the loop, without a word to the peer; what its TCP has not taken is discarded.
 */
void websocket_cut(struct websocket *);

#endif
