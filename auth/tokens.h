/*
 * The tokens of this deployment: issues them (the only file of auth that sees libjwt), and reads
 * those that come back. And refresh tokens:
 * `<login>.<secret>.<user>`, of which Redis has only the hash.
 */
#ifndef AUTH_TOKENS_H
#define AUTH_TOKENS_H

#include "auth/signing_keys.h"
#include "common/identity.h"
#include "common/settings.h"
#include "common/user.h"

#define TOKEN_ID_SIZE 33       /* 128 bits in hex */
#define REFRESH_HASH_SIZE 65   /* SHA-256 in hex */
#define REFRESH_TOKEN_SIZE 300 /* most bytes of one, with its NUL */

struct tokens;

/* keys: NULL when the settings name a secret's file (HS256). What it is given must outlive it. NULL
 * with the line for the operator in error. */
struct tokens *tokens_create(const struct settings *, const struct signing_keys *keys,
                             struct buffer *error);
/* The signing keys are others now. */
void tokens_keys_changed(struct tokens *);
void tokens_destroy(struct tokens **); /* NULL-safe; clears the pointer */

struct issued_token {
    char *text; /* free it */
    char token_id[TOKEN_ID_SIZE];
    int64_t expires_at; /* Unix seconds */
};

/* Signs a token of user for ttl seconds; token_id and expires_at are as wanted by token_plan.
 * Returns 0 or -EIO. */
void token_plan(struct issued_token *, int64_t now_s, int64_t ttl);
int token_sign(const struct tokens *, struct slice user, int64_t now_s, struct issued_token *)
    __attribute__((warn_unused_result));
/* All but revocation; the identity is the caller's on VERIFIER_OK. */
enum verifier_result token_check(const struct tokens *, struct slice token, int64_t now_s,
                                 struct identity *) __attribute__((warn_unused_result));

/* ---- refresh tokens ---- */
struct refresh_token {
    char text[REFRESH_TOKEN_SIZE];
    char login[TOKEN_ID_SIZE];    /* names the login through all its refresh tokens */
    char hash[REFRESH_HASH_SIZE]; /* of the whole text */
    char user[USER_ID_MAX + 1];
};

/* A fresh one of user; of a new login when login is NULL. */
void refresh_token_make(struct refresh_token *, struct slice user, const char *login);
/* Returns 0 or -EINVAL: it never was one. */
int refresh_token_read(struct refresh_token *, struct slice text)
    __attribute__((warn_unused_result));

#endif
