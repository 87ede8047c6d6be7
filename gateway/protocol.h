/*
 * A protocol is a value: one `const struct protocol` in a file of gateway/protocols/, listed in
 * protocol.c. It turns a client's messages into frames for partitions, and frames from routers into
 * that client's messages. It keeps nothing but what a connection needs.
 */
#ifndef GATEWAY_PROTOCOL_H
#define GATEWAY_PROTOCOL_H

#include "common/buffer.h"
#include "common/frame.h"

#include <uv.h>

struct handshake;
struct session;

struct protocol {
    const char *name;     /* "realtime" */
    const char *endpoint; /* "/ws" */
    uint64_t id;          /* enum frame_protocol */
    size_t state_size;    /* bytes of session->protocol_state, zeroed before open */

    /* Says who asks, now or later: must end in one handshake_accept or handshake_refuse. */
    void (*identify)(struct handshake *);
    /* The connection is established and known to its partition: sends the welcome. */
    void (*open)(struct session *);
    /* One whole message of the client. text is valid UTF-8. */
    void (*on_text)(struct session *, struct slice message);
    void (*on_binary)(struct session *, struct slice message);
    /* Answers to this session's requests. */
    void (*on_direct_reply)(struct session *, const struct frame_direct_reply *);
    void (*on_publish_reply)(struct session *, const struct frame_publish_reply *);
    void (*on_request_refused)(struct session *, const struct frame_request_refused *);
    /* A change of subscriptions asked for with topics_subscribe or topics_unsubscribe is in force
     * everywhere. */
    void (*on_subscribed)(struct session *, uint64_t request);
    /* Encoders: append the payload of one message, once for all receivers of this protocol; *opcode
     * is WIRE_TEXT unless changed. */
    void (*encode_delivery)(struct buffer *, const struct frame_message_delivery *, int *opcode);
    void (*encode_topic_message)(struct buffer *, const struct frame_topic_message *, int *opcode);
    void (*encode_presence)(struct buffer *, const struct frame_presence_state *, int *opcode);
    /* Called within a second of session->tick_due_ms (0 at first), which it sets anew, and each
       second while the client is silent for ping_after_ms: heartbeats in the protocol's own form,
       token expiry. now_ms: loop time. May close the session. */
    void (*on_tick)(struct session *, uint64_t now_ms);
    /* The connection has ended; protocol_state is freed after it. May be NULL. */
    void (*close)(struct session *);
};

/* Slots for arrays by protocol; ids are below it. */
#define PROTOCOL_SLOTS 8
extern const struct protocol *const protocols[]; /* ends with NULL */
/* Of an endpoint's path; NULL if there is none. */
const struct protocol *protocol_find(struct slice path);

#endif
