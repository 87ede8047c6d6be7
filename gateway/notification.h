/*
 * Notifications: what an admin or the HTTP API has to say to people. To the router they are
 * messages of the server (FRAME_PROTOCOL_SERVER) like others, with a text and more; their metadata
 * is a mark, so that protocols that have a form for notifications know them.
 */
#ifndef GATEWAY_NOTIFICATION_H
#define GATEWAY_NOTIFICATION_H

#include "common/buffer.h"
#include "common/json.h"

/* A JSON string: the metadata that clients send are objects, and never this. */
#define NOTIFICATION_MARK "\"notification\""

/*
 * Appends the body {"level", "title"?, "message", "actions"?, ...} that an object asks for; its
 * members of the names in skip (NULL-terminated) are left out. level is "info" unless it says
 * otherwise. Returns NULL, or the member that is at fault (*why says why; out is as before).
 */
const char *notification_read(struct buffer *out, const struct json *,
                              const struct json_value *object, const char *const *skip,
                              const char **why);

#endif
