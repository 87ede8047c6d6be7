/*
 * What a message says, in words that every protocol knows: text, attachments, other fields. A body
 * is its sender's own JSON; a receiver by the same protocol gets it as it was, one by another gets
 * its content.
 */
#ifndef GATEWAY_CONTENT_H
#define GATEWAY_CONTENT_H

#include "common/buffer.h"
#include "common/json.h"
#include "common/slice.h"

#include <stdint.h>

/* Each part is JSON, byte for byte as it was sent; valid until the next content_read. */
struct content {
    struct slice text;        /* a JSON string, with its quotes; empty if there is none */
    struct slice attachments; /* a JSON array; empty if there is none */
    struct slice other; /* members of an object without its braces, "a":1,"b":2; may be empty */
};

/*
 * Reads a body with the reader of the protocol it came by (protocol->read_content); one of the HTTP
 * API is read as a payload with "message" and "attachments". CONTENT_BINARY gives one attachment
 * {"type":"file","data":"<base64>"}. A body that cannot be read gives an empty content.
 */
void content_read(uint64_t protocol, uint64_t kind, struct slice body, struct content *);

/*
 * For readers: the usual case, an object whose members text_name and attachments_name are what
 * their names say, when they are a string and an array; every other member but those of skip
 * (NULL-terminated names) is other.
 */
void content_of_object(const struct json *, const struct json_value *object, const char *text_name,
                       const char *attachments_name, const char *const *skip, struct content *);
/* Likewise of a body that may be any JSON: an object as above, a string is text, anything else is a
 * member "payload" of other. */
void content_of_payload(struct slice body, const char *text_name, const char *attachments_name,
                        struct content *);
/*
 * Appends what it says as members of an object that out has begun, with commas where they are
 * needed. A member of other with a name that the object has already (of taken, NULL-terminated, or
 * one of the two) is left out: no object has a key twice.
 */
void content_append_members(struct buffer *out, const struct content *, const char *text_name,
                            const char *attachments_name, const char *const *taken);
/* A JSON reader for read_content: shared, so that what a content points into stays until the next
 * one. */
struct json *content_json(void);
/* For receivers that know only text: the text with each attachment's url behind it, a line each, as
 * a JSON string. An attachment without a url that has base64 data comes as a data: URL. */
void content_append_plain(struct buffer *out, const struct content *);

#endif
