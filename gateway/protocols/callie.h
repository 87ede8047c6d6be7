/*
 * callie: JSON payloads {token?, sender, recipient, timestamp, type, content, metadata?, payloadID,
 * payloadVersion} on /callie (callie.md). callie.c has the life of a connection and what comes from
 * routers, callie_payload.c the validation of a whole payload, callie_auth.c its token,
 * callie_send.c what goes to others, callie_commands.c what CMD can do, callie_lists.c those that
 * ask, callie_pending.c requests that wait for an answer, callie_encode.c every payload that is
 * sent.
 */
#ifndef GATEWAY_PROTOCOLS_CALLIE_H
#define GATEWAY_PROTOCOLS_CALLIE_H

#include "common/json.h"
#include "gateway/session/admission.h"
#include "gateway/content.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"

#include <sys/queue.h>

extern const struct protocol protocol_callie;

#define CALLIE_ID_MAX 128
#define CALLIE_GROUP_PREFIX "group:"
/* Of a chat's name: "group:<id>", or a user. */
#define CALLIE_CHAT_MAX (sizeof(CALLIE_GROUP_PREFIX) - 1 + CALLIE_ID_MAX)

struct callie_pending;
TAILQ_HEAD(callie_pendings, callie_pending);

struct callie_state {
    struct callie_pendings open; /* in the order they were asked */
    struct callie_pendings sent; /* messages that were answered, the newest last */
    size_t open_count, sent_count, open_bytes;
    size_t waiting_count; /* open ones that wait for another */
    uint64_t last_number;
    uint64_t opened_ms;       /* loop time */
    uint64_t pinged_heard_ms; /* heard_ms of the session when it was pinged last */
    uint64_t token_mark[2];   /* of the token that counts (callie_auth.c); zeros: not seen here */
    struct rate_bucket token_checks;
};

enum callie_recipient { CALLIE_TO_USER, CALLIE_TO_GROUP, CALLIE_TO_SERVER, CALLIE_TO_BROADCAST };

struct callie_payload;

/* A row of the table of types. */
struct callie_type {
    const char *name;
    unsigned recipients; /* 1 << enum callie_recipient of each that it may go to */
    bool (*check)(struct callie_payload *); /* of its content */
    void (*handle)(struct callie_payload *);
};

/* One payload of a client; valid during its handling. */
struct callie_payload {
    struct session *session;
    struct callie_state *state;
    const struct json *json;
    const struct json_value *root, *content;
    const struct callie_type *type; /* NULL: none is known */
    bool is_auth;                   /* {"type":"AUTH","token"}, which is no payload */
    struct slice payload_id;        /* data is NULL while none could be read */
    struct slice token;             /* data is NULL when it has none */
    struct slice sender, recipient; /* recipient of a group: "group:<id>" */
    enum callie_recipient to;
    struct slice message_id; /* of a MSG */
    char recipient_text[CALLIE_CHAT_MAX];
    /* What is wrong with it: the code of the SYS that says so; NULL: nothing. */
    const char *fault_code, *fault_field, *fault;
};

/* ---- callie.c ---- */
/* Its user is known: AUTH_OK, and it is counted among the users of /callie. */
void callie_greet(struct session *, struct slice payload_id);

/* ---- callie_payload.c ---- */
void callie_on_text(struct session *, struct slice message);
void callie_on_binary(struct session *, struct slice message);
/* Notes what is wrong: INVALID_PAYLOAD naming the field. Return false, so that a check can end in
 * it. */
bool callie_blame(struct callie_payload *, const char *field, const char *why);
/* 1 to 128 bytes without controls. */
bool callie_is_id(struct slice);
/* A group as clients name it, "group:<id>" or the id alone: writes "group:<id>". False: it can be
 * none. */
bool callie_read_group(struct slice text, char chat[CALLIE_CHAT_MAX], struct slice *group);
/* "g" and a ULID: ids of groups that callie makes can be told from names of users. */
bool callie_is_own_group(struct slice id);

/* ---- callie_auth.c ---- */
/* {"type":"AUTH"}: the token is replaced, or counts from now on. */
void callie_do_auth(struct callie_payload *);
/* Checks the payload's token and sender, and makes the session known if it is not yet. Answers and
 * returns false if it may not be handled. */
bool callie_authenticate(struct callie_payload *);

/* ---- callie_send.c ---- */
bool callie_check_message(struct callie_payload *);
bool callie_check_beat(struct callie_payload *);
void callie_do_message(struct callie_payload *);
void callie_do_beat(struct callie_payload *); /* PING and PONG */
/* Whether all these partitions take a client's frame; answers if not. */
bool callie_has_credit(const struct callie_payload *, const uint32_t *partitions, size_t count);

/* ---- callie_commands.c ---- */
bool callie_check_command(struct callie_payload *);
/* What one to SERVER is charged as: those that reach into others' lists of chats are dearer, and
 * those that ask Redis. */
enum limit callie_limit_of_command(const struct callie_payload *);
void callie_do_command(struct callie_payload *);
/* The chat that an EDIT_MESSAGE or DELETE_MESSAGE speaks of is known, or it has none of his
 * (empty). */
void callie_change_in_chat(struct session *, struct callie_pending *, struct slice chat);
/* The message's number in its conversation is known; 0: it has none. */
void callie_change_number(struct session *, struct callie_pending *, uint64_t number);

/* ---- callie_lists.c: questions; each answers in the end ---- */
extern struct bus_script *const callie_scripts[];
void callie_find_sent(struct session *, struct callie_pending *);
void callie_find_number(struct session *, struct callie_pending *);
void callie_list_groups(struct session *, struct callie_pending *);
void callie_list_members(struct session *, struct callie_pending *);
void callie_list_users(struct session *, struct callie_pending *);
void callie_get_status(struct session *, struct callie_pending *);
void callie_on_member_list(struct session *, const struct frame_member_list *);

/* ---- callie_pending.c ---- */
enum callie_kind {
    CALLIE_DIRECT, /* a MSG to a user */
    CALLIE_POST,   /* a MSG to a group */
    CALLIE_GROUP,  /* a GROUP_CHANGE */
    CALLIE_CHANGE, /* an EDIT_MESSAGE or DELETE_MESSAGE */
    CALLIE_QUESTION,
};

struct callie_pending {
    TAILQ_ENTRY(callie_pending) link;
    uint64_t number; /* request on the bus */
    enum callie_kind kind;
    uint64_t asked_ms;  /* loop time */
    uint64_t waits_for; /* number of the message that it speaks of, as long as that is open */
    uint64_t detail;    /* enum group_change or conversation_change */
    uint64_t message;   /* number in its conversation of one that was sent; 0 unknown */
    bool waited;        /* its conversation has done all that was on its way to it... */
    bool waits;         /* ... or is asked to say so */
    struct slice payload_id, message_id, chat, text;
    char *found_chat; /* owned: chat, when it came to be known later */
    size_t bytes;
    bool asked;                   /* Redis, once at least: that is what was admitted */
    bool truncated;               /* the list has had no room for more */
    struct buffer result;         /* of a list, as far as it has come */
    struct callie_groups *groups; /* of LIST_GROUPS */
    char texts[];                 /* of the slices */
};

/* What a request has to remember: copied. */
struct callie_memory {
    enum callie_kind kind;
    uint64_t detail;
    struct slice message_id, chat, text;
};

/* NULL when too much is open: answered then. */
struct callie_pending *callie_open(const struct callie_payload *, const struct callie_memory *);
/* What is open waits until the message, which is open too, is answered: then it goes on
 * (callie_change_in_chat). */
void callie_pending_wait(struct session *, struct callie_pending *,
                         const struct callie_pending *message);
/* NULL: none such is open. */
struct callie_pending *callie_pending_find(struct session *, uint64_t number);
/* One of his messages that went to a user or a group, open or among the last that were answered. */
struct callie_pending *callie_pending_sent(struct session *, struct slice message_id);
bool callie_pending_is_open(const struct callie_pending *);
/* It is answered: a message is kept for a while, anything else freed; what waited for it goes on.
 */
void callie_pending_done(struct session *, struct callie_pending *);
/* Its answer will not come: its client is told to try again, and it is done. */
void callie_pending_fail(struct session *, struct callie_pending *);
/* Answers that do not come any more are answered as unavailable. Returns whether any is open. */
bool callie_pending_expire(struct session *, uint64_t now_ms);
void callie_pending_finish(struct session *);

/* ---- callie_encode.c ---- */
/* An empty buffer for one payload to be sent; shared by all. */
struct buffer *callie_scratch(void);
/* A SYS about the payload with this id (data NULL: none could be read). more: members of metadata
 * behind payloadID, "a":1; may be empty. */
void callie_answer(struct session *, struct slice payload_id, const char *code,
                   const char *description, struct slice more);
/* A SYS that answers nothing. */
void callie_notify(struct session *, const char *code, const char *description);
/* UNAVAILABLE, or COMMAND_FAILED of a command, with retry_after_ms. */
void callie_unavailable(struct session *, struct slice payload_id, bool command);
void callie_send_ping(struct session *);
void callie_send_pong(struct session *, struct slice payload_id);
/* The body of a message whose text was edited. */
void callie_encode_edit(struct buffer *, struct slice message_id, struct slice text);
void callie_read_content(struct slice body, struct content *);
void callie_encode_delivery(struct buffer *, const struct frame_message_delivery *, int *opcode);
void callie_encode_topic_message(struct buffer *, const struct frame_topic_message *, int *opcode);
void callie_encode_signal(struct buffer *, const struct frame_signal_delivery *, int *opcode);

#endif
