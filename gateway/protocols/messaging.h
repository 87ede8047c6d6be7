/*
 * messaging: sections of messages, {"send":[...],"read":[...]} and {"messages":[...]}, on
 * /messaging (messaging.md, beside this file). messaging.c has the life of a connection and what
 * comes from routers, messaging_sections.c what clients ask for, messaging_encode.c what is sent.
 */
#ifndef GATEWAY_PROTOCOLS_MESSAGING_H
#define GATEWAY_PROTOCOLS_MESSAGING_H

#include "common/json.h"
#include "gateway/content.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"

#include <sys/queue.h>

extern const struct protocol protocol_messaging;

/* The name of the topic that rid "*" stands for. */
#define MESSAGING_EVERYBODY "$messaging"
/* Session flag: what was sent is answered (?acks=1). */
#define MESSAGING_FLAG_ACKS SESSION_FLAG_OWN

/* Codes of entries in the errors section. */
enum messaging_code {
    MESSAGING_MALFORMED = 400,
    MESSAGING_FORBIDDEN = 403,
    MESSAGING_NOT_THERE = 404, /* a guest who is not connected: nothing is kept for him */
    MESSAGING_RATE_LIMITED = 429,
    MESSAGING_INTERNAL = 500,
    MESSAGING_UNAVAILABLE = 503,
    MESSAGING_FULL = 507,
};

/* Of MESSAGING_UNAVAILABLE. */
#define MESSAGING_RETRY_MS 1000

/* Numbers of requests say how the answer writes id and rid: the digits of a number, or a string;
 * and what the message went to. */
enum messaging_note {
    MESSAGING_NUMBER_ID = 1,
    MESSAGING_NUMBER_RID = 2,
    MESSAGING_TO_EVERYBODY = 4,
    MESSAGING_NOTE_BITS = 3,
};

/* A change of channels that is answered when it is in force. */
struct messaging_change;
TAILQ_HEAD(messaging_changes, messaging_change);

struct messaging_state {
    struct messaging_changes changes;
    size_t changes_bytes;
};

/* ---- messaging.c ---- */
/* An empty buffer for one frame to be sent; shared by all. */
struct buffer *messaging_scratch(void);

/* ---- messaging_sections.c ---- */
void messaging_on_text(struct session *, struct slice message);
void messaging_on_binary(struct session *, struct slice message);

/* ---- messaging_channels.c: subscribe, unsubscribe ---- */
/* What is wrong with an entry of a section. */
struct messaging_fault {
    enum messaging_code code;
    const char *message; /* NULL: nothing */
};
/* id: JSON, or empty. */
typedef void messaging_report_fn(void *arg, struct slice id, struct messaging_fault);
/* Changes the subscriptions that can be changed; report is called for each of the others. */
void messaging_change_channels(struct session *, const struct json_value *topics, bool want,
                               messaging_report_fn *report, void *arg);
/* The change is in force. */
void messaging_on_subscribed(struct session *, uint64_t request);
void messaging_forget_changes(struct session *);

/* ---- messaging_encode.c ---- */
struct messaging_error {
    const char *section; /* NULL: of the frame as a whole */
    struct slice id;     /* JSON; empty: null */
    enum messaging_code code;
    const char *message;
    uint64_t retry_after_ms; /* 0: none */
};
/* Appends an entry of the errors section, with what must stand before it; at most 256 stand in one
 * frame: *count counts them. */
void messaging_encode_error(struct buffer *, const struct messaging_error *);
void messaging_close_errors(struct buffer *);
/* {"sent":[{...}]} */
void messaging_encode_sent(struct buffer *, uint64_t request, struct slice id, struct slice rid,
                           const char *status);
/* An id as its client wrote it. */
void messaging_append_id(struct buffer *, struct slice id, bool is_number);
void messaging_read_content(struct slice body, struct content *);
void messaging_encode_delivery(struct buffer *, const struct frame_message_delivery *, int *opcode);
void messaging_encode_topic_message(struct buffer *, const struct frame_topic_message *,
                                    int *opcode);

#endif
