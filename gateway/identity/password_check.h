/*
 * Passwords that clients bring to the gateway (HTTP Basic): auth is asked over the bus, and its
 * limits of logins hold. What is asked is sealed for auth (common/sealed.h): in Redis and its files
 * a password never stands in the clear.
 */
#ifndef GATEWAY_PASSWORD_CHECK_H
#define GATEWAY_PASSWORD_CHECK_H

#include "common/bus.h"
#include "common/password_ask.h"
#include "common/slice.h"

#include <stdint.h>

struct gateway;
struct password_checks;

struct password_checks *password_checks_create(struct gateway *);
/* Those who wait hear nothing more. NULL-safe; clears the pointer. */
void password_checks_destroy(struct password_checks **);

/*
 * Asks whether it is user's password. address: of the client (handshake_address), for the limits.
 * done is called once, from the loop and never inside this call: PASSWORD_OK, PASSWORD_WRONG (no
 * such user, too), PASSWORD_LIMITED (too many wrong ones lately), or PASSWORD_UNAVAILABLE (no
 * answer within 5 s, or too many wait for one). Returns a number for password_check_forget, never
 * 0. The slices need to last only during the call.
 */
uint64_t password_check(struct gateway *, struct slice user, struct slice password,
                        struct slice address, void (*done)(void *arg, enum password_result),
                        void *arg);
/* Nobody waits for it any more. Unknown numbers are fine. */
void password_check_forget(struct gateway *, uint64_t number);
/* For the downlink: an entry of `<prefix>auth:answers:<g>`. */
void password_checks_on_answer(struct password_checks *, const struct bus_reply *fields);

#endif
