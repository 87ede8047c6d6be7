/*
 * The bodies of POST /api/v1/publish and /api/v1/notify: what is to be sent, and to whom. Pure.
 */
#ifndef GATEWAY_BACKEND_MESSAGE_H
#define GATEWAY_BACKEND_MESSAGE_H

#include "common/buffer.h"
#include "common/json.h"

#include <stdint.h>

/* Who a message is from unless the caller says otherwise; no user can have this name. */
#define BACKEND_SENDER "SERVER"

enum backend_target { BACKEND_TO_TOPIC, BACKEND_TO_USER, BACKEND_TO_GROUP, BACKEND_TO_EVERYBODY };

/* Slices are the text's, but body's. */
struct backend_message {
    enum backend_target target;
    struct slice address;  /* topic, user, or "group:<id>" (in chat) */
    struct slice from;     /* BACKEND_SENDER, or a user */
    struct slice id;       /* empty: none was given */
    struct slice metadata; /* an object, or empty; the text's, or of what follows */
    struct buffer merged;  /* of a message to topics: metadata, with ttl and priority */
    uint64_t ttl_ms, priority;
    struct buffer body; /* JSON: of the server's protocol */
    struct buffer chat; /* what address points into for a group */
};

/* What is wrong with a request. */
struct backend_fault {
    const char *field; /* NULL: all of it */
    const char *message;
};

void backend_message_finish(struct backend_message *);
/* Reads an object. Returns 0, or -EINVAL with *fault; *message is to be finished either way. */
int backend_message_read_publish(const struct json *, struct backend_message *,
                                 struct backend_fault *fault) __attribute__((warn_unused_result));
int backend_message_read_notify(const struct json *, struct backend_message *,
                                struct backend_fault *fault) __attribute__((warn_unused_result));
/* Of an id: 1 to 128 bytes. */
bool backend_id_valid(struct slice id);

#endif
