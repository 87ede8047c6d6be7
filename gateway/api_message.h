/*
 * The bodies of POST /api/v1/publish and /api/v1/notify: what is to be sent, and to whom. Pure.
 */
#ifndef GATEWAY_API_MESSAGE_H
#define GATEWAY_API_MESSAGE_H

#include "common/buffer.h"
#include "common/json.h"

#include <stdint.h>

/* Who a message is from unless the caller says otherwise; no user can have this name. */
#define API_SENDER "SERVER"

enum api_target { API_TO_TOPIC, API_TO_USER, API_TO_GROUP, API_TO_EVERYBODY };

/* Slices are the text's, but body's. */
struct api_message {
    enum api_target target;
    struct slice address;  /* topic, user, or "group:<id>" (in chat) */
    struct slice from;     /* API_SENDER, or a user */
    struct slice id;       /* empty: none was given */
    struct slice metadata; /* an object, or empty */
    uint64_t ttl_ms, priority;
    struct buffer body; /* JSON: of the server's protocol */
    struct buffer chat; /* what address points into for a group */
};

/* What is wrong with a request. */
struct api_fault {
    const char *field; /* NULL: all of it */
    const char *message;
};

void api_message_finish(struct api_message *);
/* Reads an object. Returns 0, or -EINVAL with *fault; *message is to be finished either way. */
int api_message_read_publish(const struct json *, struct api_message *, struct api_fault *fault)
    __attribute__((warn_unused_result));
int api_message_read_notify(const struct json *, struct api_message *, struct api_fault *fault)
    __attribute__((warn_unused_result));
/* Of an id: 1 to 128 bytes. */
bool api_id_valid(struct slice id);

#endif
