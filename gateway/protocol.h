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

struct bus_script;
struct content;
struct handshake;
struct session;

/* Messages that reach one session in one turn, in one frame of at most so many: what stands before,
 * between and behind them. */
struct message_batch {
    const char *open, *separator, *close;
    size_t most;
};

struct protocol {
    const char *name;      /* "realtime" */
    const char *endpoint;  /* "/ws" */
    uint64_t id;           /* enum frame_protocol */
    size_t state_size;     /* bytes of session->protocol_state, zeroed before open */
    const char *challenge; /* of a 401 to one who brought no token, beside Bearer's; or NULL */

    struct bus_script *const *scripts; /* of its queries (query.h); ends with NULL, or is NULL */

    /* Says who asks, now or later: must end in one handshake_accept or handshake_refuse. */
    void (*identify)(struct handshake *);
    /* The connection is established and, if its user is known, so is it to its partition: sends the
     * welcome. */
    void (*open)(struct session *);
    /* One whole message of the client. text is valid UTF-8. */
    void (*on_text)(struct session *, struct slice message);
    void (*on_binary)(struct session *, struct slice message);
    /* Answers to this session's requests; NULL of those that it never sends. */
    void (*on_direct_reply)(struct session *, const struct frame_direct_reply *);
    void (*on_publish_reply)(struct session *, const struct frame_publish_reply *);
    void (*on_conversation_reply)(struct session *, const struct frame_conversation_reply *);
    void (*on_events_followed)(struct session *, const struct frame_events_followed *);
    /* An event has been handed over, just now. */
    void (*on_event)(struct session *, const struct frame_event_delivery *);
    /* A request of this session is done, and an event of its user's, just now (EVENT_DONE). */
    void (*on_event_done)(struct session *, const struct frame_event_done *);
    /* One of these was lost: the request (id: of its message; empty if it has none) was done, or
       refused. */
    void (*on_unanswered)(struct session *, uint64_t request, struct slice id);
    /* What became of a message of this session's user later. */
    void (*on_message_status)(struct session *, const struct frame_message_status *);
    void (*on_member_list)(struct session *, const struct frame_member_list *);
    /* A change of subscriptions asked for with topics_subscribe or topics_unsubscribe is in force
     * everywhere. */
    void (*on_subscribed)(struct session *, uint64_t request);
    /* What a body of this protocol (CONTENT_JSON) says, for receivers by others (content.h). */
    void (*read_content)(struct slice body, struct content *);
    /* Encoders: append the payload of one message, once for all receivers of this protocol; *opcode
     * is WIRE_TEXT unless changed. One that appends nothing sends nothing; so does NULL. */
    void (*encode_delivery)(struct buffer *, const struct frame_message_delivery *, int *opcode);
    void (*encode_topic_message)(struct buffer *, const struct frame_topic_message *, int *opcode);
    /* An event of its user's log (EVENTS connections), something not kept, a change in a room. */
    void (*encode_event)(struct buffer *, const struct frame_event_delivery *, int *opcode);
    void (*encode_signal)(struct buffer *, const struct frame_signal_delivery *, int *opcode);
    void (*encode_member)(struct buffer *, const struct frame_member_changed *, int *opcode);
    /* How encode_delivery's messages are gathered; NULL: each is a frame of its own. */
    const struct message_batch *batch;
    void (*encode_presence)(struct buffer *, const struct frame_presence_state *, int *opcode);
    /* Called within a second of session->tick_due_ms (0 at first), which it sets anew, and each
       second while the client is silent for ping_after_ms: heartbeats in the protocol's own form,
       token expiry. now_ms: loop time. May close the session. */
    void (*on_tick)(struct session *, uint64_t now_ms);
    /* The gateway goes away and closes the session next: a word of it before. May be NULL. */
    void (*on_drain)(struct session *);
    /* The connection has ended; protocol_state is freed after it. May be NULL. */
    void (*close)(struct session *);
};

/* Slots for arrays by protocol; ids are below it. */
#define PROTOCOL_SLOTS 8
extern const struct protocol *const protocols[]; /* ends with NULL */
/* By enum frame_protocol; NULL if there is none. */
const struct protocol *protocol_by_id(uint64_t id);
/* Of an endpoint's path; NULL if there is none. */
const struct protocol *protocol_find(struct slice path);

#endif
