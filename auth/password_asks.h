/*
 * Passwords that gateways ask about (simple's HTTP Basic): sealed for auth (password_box.h), in the
 * stream `<prefix>auth:asks`, answered in `<prefix>auth:answers:<gateway>`. Each is read by one of
 * the auth processes, once; what was asked before, or long ago, is not answered. The limits of
 * logins hold.
 */
#ifndef AUTH_PASSWORD_ASKS_H
#define AUTH_PASSWORD_ASKS_H

#include "auth/auth.h"
#include "common/sealed.h"

struct api;
struct password_asks;

/* box must outlive it. Reads when the deployment is agreed on. */
struct password_asks *password_asks_create(struct auth *, const struct unsealing_key *box,
                                           const struct bus_address *);
/* Reads no more; what was read is still answered. */
void password_asks_stop(struct password_asks *);
/* Before auth's bus is destroyed, or after. NULL-safe; clears the pointer. */
void password_asks_destroy(struct password_asks **);

#endif
