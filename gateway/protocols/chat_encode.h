/*
 * chat: what is sent to clients. Appends to a buffer; knows no session.
 */
#ifndef GATEWAY_PROTOCOLS_CHAT_ENCODE_H
#define GATEWAY_PROTOCOLS_CHAT_ENCODE_H

#include "common/buffer.h"
#include "common/frame.h"

struct content;

/* Codes of errors. */
enum chat_code {
    CHAT_BAD_REQUEST = 400,
    CHAT_FORBIDDEN = 403,
    CHAT_NOT_FOUND = 404,
    CHAT_CONFLICT = 409,
    CHAT_RATE_LIMITED = 429,
    CHAT_INTERNAL = 500,
    CHAT_UNAVAILABLE = 503,
};

/* What an answer says of its request. data is NULL of what could not be read. */
struct chat_name {
    struct slice id;
    struct slice type; /* payloadType */
};

/* When somebody had a message, ms; 0: not yet. */
struct chat_mark {
    struct slice user;
    uint64_t delivered_ms, read_ms;
};

/* A message as it stands in a conversation's log, and its last change. */
struct chat_message {
    uint64_t message;
    struct slice from;
    uint64_t at_ms;
    uint64_t protocol, content;
    struct slice body;
    uint64_t updated_ms, deleted_ms; /* 0: never */
    uint64_t edit_protocol, edit_content;
    struct slice edit; /* its body since updated_ms */
    bool group;
    const struct chat_mark *marks; /* of a dialog: the one of the recipient */
    size_t mark_count;
};

void chat_encode_response(struct buffer *, uint64_t now_s, const struct chat_name *,
                          struct slice payload);
/* retry_after_ms: 0 is none. */
void chat_encode_error(struct buffer *, uint64_t now_s, const struct chat_name *, enum chat_code,
                       const char *message, uint64_t retry_after_ms);
void chat_encode_message(struct buffer *, const struct chat_message *);

/* Whether a member of this name is ours to say: a client's own is not passed on. */
bool chat_is_reserved(struct slice name);
/* Of the protocol. */
void chat_read_content(struct slice body, struct content *);
void chat_encode_event(struct buffer *, const struct frame_event_delivery *, int *opcode);
void chat_encode_topic_message(struct buffer *, const struct frame_topic_message *, int *opcode);
void chat_encode_signal(struct buffer *, const struct frame_signal_delivery *, int *opcode);
void chat_encode_presence(struct buffer *, const struct frame_presence_state *, int *opcode);

#endif
