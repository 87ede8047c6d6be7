/*
 * Passwords: hashed and compared with Argon2id on libuv's threads, never on the loop. At most
 * PASSWORDS_MAX at a time.
 */
#ifndef AUTH_PASSWORDS_H
#define AUTH_PASSWORDS_H

#include "common/slice.h"

#include <stdbool.h>
#include <uv.h>

#define PASSWORDS_MAX 64

struct passwords;
struct passwords *passwords_create(uv_loop_t *);
/* With jobs under way, it is gone when the last has called back. */
void passwords_destroy(struct passwords **); /* NULL-safe; clears the pointer */
size_t passwords_jobs(const struct passwords *);

/* encoded has algorithm, parameters, salt and hash; valid during the call; NULL: failed. */
typedef void passwords_hashed_fn(void *arg, const char *encoded);
typedef void passwords_checked_fn(void *arg, bool right);

/* Copies what it is given. The callback comes later, from the loop. Returns 0, or -EBUSY when too
 * many wait. */
int passwords_hash(struct passwords *, struct slice password, passwords_hashed_fn *, void *arg)
    __attribute__((warn_unused_result));
/* encoded may be NULL (no such user): it takes as long, and is wrong. */
int passwords_check(struct passwords *, struct slice password, const char *encoded,
                    passwords_checked_fn *, void *arg) __attribute__((warn_unused_result));

#endif
