/*
 * What auth tells gateways over the bus: its public keys (hash `<prefix>auth:keys`), the key that
 * passwords are sealed for (hash `<prefix>auth:box`), and revoked tokens (zset
 * `<prefix>auth:revoked`, "jti user" by expiry), each with an event in the stream
 * `<prefix>auth:events`.
 */
#ifndef AUTH_ANNOUNCEMENTS_H
#define AUTH_ANNOUNCEMENTS_H

#include "auth/auth.h"

#include <stdint.h>

/* Before the bus is first up. */
void announcements_add_scripts(struct bus *);

/*
 * Keeps the public keys in Redis: looks every few seconds, so that a Redis that was emptied has
 * them again. on_published is called each time they were found or written there.
 */
struct key_publisher;
struct key_publisher *key_publisher_create(struct auth *, void (*on_published)(struct auth *));
void key_publisher_destroy(
    struct key_publisher **); /* the bus is gone before; NULL-safe; clears the pointer */
/* Looks now: at each on_up, once the deployment agrees. */
void key_publisher_look(struct key_publisher *);

/*
 * Revokes a token until it expires: done(arg, 0) when Redis has it for gateways that start later
 * and the event for those that run, or done(arg, -EAGAIN). Returns 0, or -ENOTCONN: done is not
 * called.
 */
typedef void revoke_done_fn(void *arg, int result);
int revoke_token(struct auth *, const char *token_id, struct slice user, int64_t expires_at,
                 revoke_done_fn *done, void *arg) __attribute__((warn_unused_result));

#endif
