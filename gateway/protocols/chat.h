/*
 * chat: requests, responses and events on /chat (gateway/protocols/chat.md). chat.c has the life of
 * a connection and what comes from routers, chat_requests.c the message as a whole and its
 * dispatch, chat_commands.c what is asked of routers, chat_ask.c
 * and chat_queries.c what is read from Redis,
 * chat_open.c what a connection remembers of its requests, chat_presence.c whom it follows,
 * chat_encode.c every message that is sent.
 */
#ifndef GATEWAY_PROTOCOLS_CHAT_H
#define GATEWAY_PROTOCOLS_CHAT_H

#include "common/bus.h"
#include "common/json.h"
#include "gateway/protocol.h"
#include "gateway/protocols/chat_encode.h"
#include "gateway/protocols/chat_open.h"
#include "gateway/session/session.h"

extern const struct protocol protocol_chat;

/* Ids that clients choose: of requests, of messages. */
#define CHAT_ID_MAX 128
/* Who writes when it is no user: his dialogs can be read. */
#define CHAT_SERVER "SERVER"
/* What a client can count to exactly. */
#define CHAT_NUMBER_MAX ((1ull << 53) - 1)
/* Bytes of messages in one answer, so that it fits into the send budget with others. */
#define CHAT_ANSWER_BYTES (256u << 10)
/* Answered 503 when a router has not replied by then: its reply may be lost. */
#define CHAT_OPEN_MS 10000
#define CHAT_RETRY_MS 1000

struct chat_state {
    struct chat_open_list open;
    struct chat_given_up given_up;
    struct chat_answers answers;
    uint64_t last_number;        /* of its requests */
    uint64_t hidden_at;          /* the newest one when it said that it is offline */
    struct chat_list groups;     /* whose members are to be followed */
    struct buffer last_followed; /* the last user who was seen to be followed */
    bool tell_again;             /* those who are followed already are told of once more */
};

/* One message of a client; valid during its handling. */
struct chat_request {
    struct session *session;
    struct chat_state *state;
    const struct json *json;
    const struct json_value *root, *payload; /* payload is NULL when it has none */
    bool event;                              /* of type "event" */
    struct chat_name name;
    const struct chat_command *command;
};

/* A row for each thing that clients may ask for. */
struct chat_command {
    const char *name;
    void (*handle)(struct chat_request *);
    /* The router's reply was CONVERSATION_OK. Ends with chat_end or a query. */
    void (*finish)(struct session *, struct chat_open *, const struct frame_conversation_reply *);
    /* Asks Redis; chat_ask_begin calls it. */
    void (*ask)(struct session *, struct chat_open *);
    enum limit limit;
    bool event;   /* clients may send it as an event */
    bool payload; /* it needs one */
};

/* ---- chat.c ---- */
/* An empty buffer for one message to be sent; shared by all. */
struct buffer *chat_scratch(void);
/* A response with this payload (a JSON value, or empty); remembered for a duplicate of the request.
 * Nothing for a request without an id. */
void chat_answer(struct session *, const struct chat_name *, struct slice payload);
/* An error; what can be tried again (429, 503) is not remembered, and says when: retry_after_ms. */
void chat_fail(struct session *, const struct chat_name *, enum chat_code, const char *message,
               uint64_t retry_after_ms);
/* The same of a request that waited; it is gone then. */
void chat_end(struct session *, struct chat_open *, struct slice payload);
void chat_end_failed(struct session *, struct chat_open *, enum chat_code, const char *message);
/* The service cannot take it, or did not answer: 503. */
void chat_end_unavailable(struct session *, struct chat_open *);
/* A query could not be asked: 429 or 503. */
void chat_end_unasked(struct session *, struct chat_open *, int error);
/* The session's event: nothing is handed over until its subscribe is answered. */
void chat_stop_following(struct session *);

/* ---- chat_requests.c ---- */
void chat_on_text(struct session *, struct slice message);
void chat_on_binary(struct session *, struct slice message);
/* Answers 400. Returns false, so that a check can end in it. */
bool chat_refuse(const struct chat_request *, const char *message);
bool chat_has_credit(const struct chat_request *, uint32_t partition);
/* Members of the payload: they answer and return false when it is not what it must be. */
bool chat_need_chat(const struct chat_request *, struct slice *chat);
/* One that can be written to: not the server's. */
bool chat_need_writable(const struct chat_request *, struct slice *chat);
bool chat_need_number(const struct chat_request *, const char *field, uint64_t least,
                      uint64_t *number);
/* The same; without it *number stays. */
bool chat_read_number(const struct chat_request *, const char *field, uint64_t least,
                      uint64_t *number);
/* The request waits for an answer. NULL when too many do; that is answered. */
struct chat_open *chat_open_request(const struct chat_request *, struct slice chat,
                                    uint64_t message);

/* ---- chat_commands.c ---- */
void chat_do_new(struct chat_request *);
void chat_do_edit(struct chat_request *);
void chat_do_delete(struct chat_request *);
void chat_do_delivered(struct chat_request *);
void chat_do_read(struct chat_request *);
void chat_do_subscribe(struct chat_request *);
/* Follows anew from this event, and is as visible as it was; what cannot be done closes the session
 * with 1012. */
void chat_catch_up(struct session *, uint64_t after);
bool chat_is_catching_up(const struct chat_open *);
void chat_do_typing(struct chat_request *);
void chat_do_offline(struct chat_request *);
void chat_finish_new(struct session *, struct chat_open *, const struct frame_conversation_reply *);
void chat_finish_plain(struct session *, struct chat_open *,
                       const struct frame_conversation_reply *);
void chat_finish_delivered(struct session *, struct chat_open *,
                           const struct frame_conversation_reply *);

/* ---- chat_ask.c, chat_queries.c ---- */
extern struct bus_script *const chat_scripts[];
void chat_do_get_message(struct chat_request *);
void chat_do_get_messages(struct chat_request *);
void chat_do_get_chat(struct chat_request *);
void chat_do_get_chats(struct chat_request *);
void chat_do_get_event(struct chat_request *);
void chat_do_get_events(struct chat_request *);
void chat_finish_read(struct session *, struct chat_open *,
                      const struct frame_conversation_reply *);
/* What each asks (chat_ask.h). */
void chat_ask_messages(struct session *, struct chat_open *);
void chat_ask_chat(struct session *, struct chat_open *);
void chat_ask_all_chats(struct session *, struct chat_open *);
void chat_ask_event(struct session *, struct chat_open *);
void chat_ask_event_page(struct session *, struct chat_open *);
void chat_ask_missed(struct session *, struct chat_open *);

/* ---- chat_presence.c ---- */
/* Follows those who share a chat with the user, when his events are followed. */
void chat_follow_all(struct session *);
/* It has written into this chat: if it is a dialog, with whom may be new. */
void chat_follow_chat(struct session *, struct slice chat);
/* Hook: an event was handed over: a new chat has new people. */
void chat_on_event(struct session *, const struct frame_event_delivery *);

#endif
