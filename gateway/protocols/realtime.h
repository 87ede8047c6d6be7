/*
 * realtime: JSON messages {type, data, id?, timestamp?, metadata?} on /ws
 * (realtime.md). realtime.c has the life of a connection and what comes from routers,
 * realtime_requests.c what clients ask for, realtime_send.c what they send on, realtime_encode.c
 * every message that is sent.
 */
#ifndef GATEWAY_PROTOCOLS_REALTIME_H
#define GATEWAY_PROTOCOLS_REALTIME_H

#include "common/json.h"
#include "gateway/content.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"

#include <sys/queue.h>

extern const struct protocol protocol_realtime;

/* Codes of Error messages. */
enum realtime_code {
    REALTIME_BAD_REQUEST = 400,
    REALTIME_UNAUTHORIZED = 401,
    REALTIME_FORBIDDEN = 403,
    REALTIME_NOT_FOUND = 404,
    REALTIME_RATE_LIMITED = 429,
    REALTIME_UNAVAILABLE = 503,
};

/* A Subscribe or Unsubscribe whose Status is to be sent when it is in force. */
struct realtime_change;
TAILQ_HEAD(realtime_changes, realtime_change);
/* A binary message that a router has not answered. */
struct realtime_binary;
TAILQ_HEAD(realtime_binaries, realtime_binary);

struct realtime_state {
    struct realtime_changes changes;
    size_t changes_bytes;
    struct realtime_binaries binaries;
    size_t binaries_count;
    uint64_t pinged_heard_ms; /* heard_ms of the session when it was pinged last */
    int64_t opened_s;         /* Unix seconds */
    bool expiry_told;         /* token_expiring has been sent for this token */
};

/* One message of a client; valid during its handling. */
struct realtime_request {
    struct session *session;
    struct realtime_state *state;
    const struct json *json;
    const struct json_value *root, *data;
    struct slice id; /* data is NULL when it has none */
};

/* ---- realtime.c ---- */
/* An empty buffer for one message to be sent; shared by all. */
struct buffer *realtime_scratch(void);
/* details: a JSON object, or empty for {}. */
void realtime_error(struct session *, struct slice id, enum realtime_code, const char *message,
                    struct slice details);
/* An Ack {message_id, status}, with the request's id. */
void realtime_ack(struct session *, struct slice id, const char *status);
int64_t realtime_now_s(void);

/* ---- realtime_requests.c: the message as a whole, rate limits, dispatch ---- */
void realtime_on_text(struct session *, struct slice message);
/* Charges the message. Answers and returns false when a limit is passed: it has no effect then. */
bool realtime_admit(const struct realtime_request *, enum limit);
/* Answers 400 or 403 about a field. Return false, so that a check can end in them. */
bool realtime_refuse_field(const struct realtime_request *, const char *field, const char *message);
bool realtime_forbid(const struct realtime_request *, const char *field, const char *message);
/* An error with the time after which to try again, REALTIME_RETRY_MS if that is not known. */
#define REALTIME_RETRY_MS 1000
void realtime_retry_later(struct session *, struct slice id, enum realtime_code,
                          const char *message, uint64_t retry_after_ms);
/* Answers 503 so. */
void realtime_unavailable(const struct realtime_request *);
/* A member of data that must be a string; answers and returns false if it is none. */
bool realtime_need_string(const struct realtime_request *, const char *field, struct slice *text);

/* ---- realtime_send.c: what goes to a topic or a user ---- */
/* What the reply of a router is for; in the lowest bits of a request's number. */
enum realtime_reply {
    REALTIME_REPLY_HAS_ID = 1,    /* the id in it is the client's own */
    REALTIME_REPLY_BINARY = 2,    /* to a binary message */
    REALTIME_REPLY_EVERYBODY = 4, /* nobody has counted the recipients */
};
struct realtime_content {
    uint64_t protocol, kind; /* enum frame_protocol, enum content_kind */
    uint64_t reply;          /* enum realtime_reply but HAS_ID */
    struct slice body, metadata;
    const char *id_prefix; /* of an id when the client has given none */
};
#define REALTIME_ID_SIZE 48
/* The client's own id, or a new one in text: "broadcast_<ulid>". */
struct slice realtime_choose_id(const struct realtime_request *, const char *prefix,
                                char text[REALTIME_ID_SIZE]);
/* False when the partition takes nothing now; answered. */
bool realtime_has_credit(const struct realtime_request *, uint32_t partition);
/* Whether the client may publish there; answered if not. field: where the name stands. */
bool realtime_check_topic(const struct realtime_request *, const char *field, struct slice topic);
/* data.topic and data.target_user (a number names the user of the same digits). */
bool realtime_need_topic(const struct realtime_request *, struct slice *topic);
bool realtime_need_user(const struct realtime_request *, struct slice *user);
/* Sends it, as far as the message's own metadata allow. Returns the request's number; 0: it was
   refused, and answered. */
uint64_t realtime_publish(const struct realtime_request *, struct slice topic,
                          const struct realtime_content *);
uint64_t realtime_send_direct(const struct realtime_request *, struct slice user,
                              const struct realtime_content *);

/* ---- realtime_binary.c: [type][length][address][body] ---- */
void realtime_on_binary(struct session *, struct slice message);
/* Whether the reply was to one; answered if so. recipients and delivered as in the replies. */
void realtime_on_binary_published(struct session *, const struct frame_publish_reply *);
void realtime_on_binary_sent(struct session *, const struct frame_direct_reply *);
void realtime_forget_binary(struct session *, uint64_t request);
/* Appends the message as its receivers get it. */
void realtime_encode_binary(struct buffer *, struct slice from, struct slice address,
                            struct slice mark, bool to_topic, struct slice body);

/* ---- realtime_extension.c: types of clients' own, "X-..." ---- */
#define REALTIME_EXTENSION_MARK "\"extension\"" /* as metadata: the body is the whole message */
void realtime_do_extension_topic(struct realtime_request *);
void realtime_do_extension_user(struct realtime_request *);
void realtime_do_extension_backend(struct realtime_request *);

/* ---- realtime_commands.c and realtime_subscribe.c: what clients ask for ---- */
void realtime_do_ping(struct realtime_request *);
void realtime_do_pong(struct realtime_request *);
void realtime_do_broadcast(struct realtime_request *);
void realtime_do_direct_message(struct realtime_request *);
void realtime_do_presence(struct realtime_request *);
void realtime_do_auth(struct realtime_request *);
void realtime_do_ack(struct realtime_request *);
void realtime_do_notification(struct realtime_request *);
void realtime_do_subscribe(struct realtime_request *);
void realtime_do_unsubscribe(struct realtime_request *);
/* A change of subscriptions is in force: sends its Status, and the Ack. */
void realtime_on_subscribed(struct session *, uint64_t request);
void realtime_forget_changes(struct session *);
/* Ends the subscriptions that the session's token does not permit; the Status names them. */
void realtime_end_forbidden(const struct realtime_request *);

/* ---- realtime_encode.c: appends one message; id may have data NULL (none) ---- */
void realtime_encode_welcome(struct buffer *, uint64_t gateway_bits, uint64_t connection,
                             int64_t now_s);
void realtime_encode_ping(struct buffer *, int64_t now_s);
/* timestamp: a JSON value. */
void realtime_encode_pong(struct buffer *, struct slice id, struct slice timestamp);
/* topics: a JSON array; history: a JSON object, or empty; reason: NULL for none. */
void realtime_encode_subscriptions(struct buffer *, struct slice id, const char *status,
                                   struct slice topics, size_t active, struct slice history,
                                   const char *reason);
void realtime_encode_ack(struct buffer *, struct slice id, struct slice message_id,
                         const char *status);
void realtime_encode_ack_recipients(struct buffer *, struct slice id, struct slice message_id,
                                    uint64_t recipients);
/* delivered: pairs of gateway bits and connection. */
void realtime_encode_ack_delivered(struct buffer *, struct slice id, struct slice message_id,
                                   const char *status, const struct frame_u64s *delivered);
/* Appends the member delivered_to alone, with a comma before it. */
void realtime_append_delivered_to(struct buffer *, const struct frame_u64s *delivered);
void realtime_encode_error(struct buffer *, struct slice id, enum realtime_code,
                           const char *message, struct slice details);
void realtime_encode_auth_status(struct buffer *, struct slice id, const char *status,
                                 int64_t expires_at, bool refresh_required);
/* A payload's message, attachments and other members. */
void realtime_read_content(struct slice body, struct content *);
void realtime_encode_delivery(struct buffer *, const struct frame_message_delivery *, int *opcode);
void realtime_encode_topic_message(struct buffer *, const struct frame_topic_message *,
                                   int *opcode);
void realtime_encode_presence(struct buffer *, const struct frame_presence_state *, int *opcode);

#endif
