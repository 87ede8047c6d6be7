/*
 * Frames: what gateways and routers say to each other in the entries of the bus (frames.def).
 * Encodes into a buffer, decodes out of an entry without copying: slices and lists of a decoded
 * frame are valid until the reader's next frame or its end.
 */
#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include "common/buffer.h"
#include "common/number.h"
#include "common/slice.h"

#include <stdint.h>

/* Raised when a body in frames.def changes; processes of different versions refuse each other. */
#define FRAME_VERSION 5

enum frame_party { FRAME_PARTY_GATEWAY, FRAME_PARTY_ROUTER };

/* The protocol a message came in by: USER_CONNECT.protocol and every message's protocol. */
enum frame_protocol {
    FRAME_PROTOCOL_SERVER = 0, /* the HTTP API */
    FRAME_PROTOCOL_MESSAGING = 1,
    FRAME_PROTOCOL_CHAT = 2,
    FRAME_PROTOCOL_REALTIME = 3,
    FRAME_PROTOCOL_SIMPLE = 4,
    FRAME_PROTOCOL_CALLIE = 5,
};
/* Flags of a connection: what it wants of its user's partition. */
enum connection_flag {
    CONNECTION_FLAG_ACK = 1,        /* its client acknowledges what it was sent */
    CONNECTION_FLAG_KEEP = 2,       /* messages stay in the mailbox until they are read; all of them
                                       come at its beginning */
    CONNECTION_FLAG_EVENTS = 4,     /* gets its user's events in place of messages */
    CONNECTION_FLAG_FOLLOWING = 8,  /* set by EVENTS_FOLLOW: they are on their way */
    CONNECTION_FLAG_HIDDEN = 16,    /* does not make its user present */
    CONNECTION_FLAG_REPLACE = 32,   /* an older one of the user with the same protocol and slot is
                                       closed with 4001 */
    CONNECTION_FLAG_EXCLUSIVE = 64, /* refused while the user has another by this protocol */
    CONNECTION_FLAG_ECHO = 128, /* of EVENTS_FOLLOW: gets events of what it did itself as well */
};
/* Close codes of CONNECTION_REFUSED. */
enum { CONNECTION_ENDED = 1000, CONNECTION_OVER_LIMIT = 1008, CONNECTION_REPLACED = 4001 };
/* What becomes of a message to a user who is not connected. */
enum delivery_policy { DELIVERY_STORE, DELIVERY_DISCARD, DELIVERY_DISCARD_AND_TELL };
/* Of a delivery: HIGH goes before what waits in the connection's queue. AHEAD too, and is a copy of
 * what waits in the mailbox and comes in its turn as well: nothing is confirmed by it. */
enum delivery_priority { PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_AHEAD };
enum content_kind { CONTENT_JSON, CONTENT_BINARY };
enum direct_status {
    DIRECT_DELIVERED,    /* on its way to the connections listed */
    DIRECT_BACKLOGGED,   /* connected, but behind: it follows what waits in the mailbox */
    DIRECT_QUEUED,       /* offline: in the mailbox */
    DIRECT_MAILBOX_FULL, /* refused: nothing was kept */
    DIRECT_DISCARDED,    /* offline, and its policy keeps nothing */
};

/* Of EVENT_DELIVERY and of CONVERSATION_*. */
enum event_kind { EVENT_NEW = 1, EVENT_EDIT, EVENT_DELETE, EVENT_DELIVERED, EVENT_READ };
enum conversation_change { CONVERSATION_EDIT = 1, CONVERSATION_DELETE };
enum conversation_mark { CONVERSATION_MARK_DELIVERED = 1, CONVERSATION_MARK_READ };
enum conversation_status {
    CONVERSATION_OK,
    CONVERSATION_FORBIDDEN, /* not a member, not the author, not the owner */
    CONVERSATION_NOT_FOUND, /* no such message, group or member */
    CONVERSATION_DISCARDED, /* its policy keeps nothing, and nobody is there */
    CONVERSATION_FULL,      /* as many members as there may be */
    CONVERSATION_EXISTS,    /* a group of this id; a member already */
};
enum group_change {
    GROUP_CREATE = 1,
    GROUP_DELETE,
    GROUP_JOIN,
    GROUP_LEAVE,
    GROUP_ADD,
    GROUP_REMOVE,
};
enum signal_kind {
    SIGNAL_TYPING = 1,
    SIGNAL_PASSED_ON, /* a client's own, for a protocol that knows what it is */
    SIGNAL_EDITED,    /* message id of chat: body is the new one */
    SIGNAL_DELETED,
    SIGNAL_GROUP_CREATED,
    SIGNAL_GROUP_DELETED,
    SIGNAL_MEMBER_JOINED, /* body: the user */
    SIGNAL_MEMBER_LEFT,
    SIGNAL_NOTIFICATION, /* body: a JSON object of the HTTP API or an admin */
};

struct frame_u64s {
    const uint64_t *values;
    size_t count;
};

#define FRAME(id, NAME, name, from, to, ...) FRAME_##NAME = id,
enum frame_type {
#include "common/frames.def"
};
#undef FRAME

#define U64(field) uint64_t field;
#define STR(field) struct slice field;
#define BIN(field) struct slice field;
#define NUMBER(field) struct number field;
#define U64S(field) struct frame_u64s field;
#define FRAME(id, NAME, name, from, to, ...)                                                       \
    struct frame_##name {                                                                          \
        __VA_ARGS__                                                                                \
    };
#include "common/frames.def"
#undef FRAME
#undef U64
#undef STR
#undef BIN
#undef NUMBER
#undef U64S

struct frame {
    enum frame_type type;
    union {
#define FRAME(id, NAME, name, from, to, ...) struct frame_##name name;
#include "common/frames.def"
#undef FRAME
    };
};

/* "TOPIC_PUBLISH", or "unknown". */
const char *frame_name(enum frame_type);
/* Who may send it, and to whom. Returns false for an unknown type. */
bool frame_parties(enum frame_type, enum frame_party *from, enum frame_party *to);
/* Of an event `from` is left out where it is `chat`: a dialog has the name of the other user, and
 * what happens in it is mostly his. So it stands in EVENT_DELIVERY and CONVERSATION_EVENT and in
 * the records of `events:<user>`; whoever reads one fills it in. */
static inline struct slice event_from_told(struct slice chat, struct slice from)
{
    return slice_equal(from, chat) ? slice_of(NULL, 0) : from;
}

static inline struct slice event_from_read(struct slice chat, struct slice from)
{
    return from.length ? from : chat;
}

/* Appends the frame, with all of its texts. */
void frame_encode(struct buffer *, const struct frame *);

/* What a run of frames has said. */
struct frame_said;
struct frame_said *frame_said_create(void);
void frame_said_destroy(struct frame_said **);
/* Another run begins in the same buffer. In one that is empty a run begins by itself. */
void frame_said_forget(struct frame_said *);
/* Appends the frame to a run, and leaves out each text that the last frame of its type in it had,
 * too. All of a run is appended by this; it must stay as it is, and be read from its beginning. */
void frame_encode_next(struct buffer *, struct frame_said *, const struct frame *);
/* Appends the frame in words, for logs and tools; bodies are shortened. */
void frame_print(struct buffer *, const struct frame *);
/* The connections it speaks of, as its gateway counts them; returns how many. */
size_t frame_connections(const struct frame *, const uint64_t **connections);
/* Every type in the order of frames.def; returns their count. */
size_t frame_types(const enum frame_type **types);

/* Reads the frames of an entry one by one. A reader keeps memory between entries: one for each
 * place that reads. */
struct frame_reader;
struct frame_reader *frame_reader_create(void);
void frame_reader_destroy(struct frame_reader **);
/* Begins to read an entry, which must stay where it is until it is read. */
void frame_reader_start(struct frame_reader *, struct slice entry);
/* 1: *frame is the next. 0: the entry has ended. -EBADMSG: what follows is no frame known to this
   version (a whole body must be consumed, no more and no less). */
int frame_reader_next(struct frame_reader *, struct frame *frame)
    __attribute__((warn_unused_result));
/* The bytes that are not read yet. */
struct slice frame_reader_rest(const struct frame_reader *);

#endif
