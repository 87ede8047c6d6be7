/*
 * Accounts and logins in Redis: `<prefix>auth:account:<user>` (password, created) and
 * `<prefix>auth:logins:<user>` (login -> its present refresh token's hash and access token). Each
 * operation sends one command; its second function reads the reply that the callback gets.
 */
#ifndef AUTH_ACCOUNTS_H
#define AUTH_ACCOUNTS_H

#include "auth/auth.h"
#include "auth/tokens.h"

/* Before the bus is first up. */
void accounts_add_scripts(struct bus *);

/* Those that send return 0, or -ENOTCONN: the callback is not called. Those that read return
 * -EAGAIN when Redis did not do it (or may not have). */
int accounts_create(struct auth *, struct slice user, const char *encoded_password, bus_reply_fn *,
                    void *arg) __attribute__((warn_unused_result));
/* 0, or -EEXIST: the name is taken. */
int accounts_created(const struct bus_reply *);

/* Of a user who has an account. */
int accounts_set_password(struct auth *, struct slice user, const char *encoded_password,
                          bus_reply_fn *, void *arg) __attribute__((warn_unused_result));
/* The account; his logins are ended apart. */
int accounts_remove(struct auth *, struct slice user, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* Of either: 0, or -ENOENT: there is no such user. */
int accounts_changed(const struct bus_reply *);

int accounts_find(struct auth *, struct slice user, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* 0, or -ENOENT. */
int accounts_found(const struct bus_reply *, struct slice *encoded_password);

int logins_begin(struct auth *, const struct refresh_token *, const struct issued_token *,
                 int64_t now_s, bus_reply_fn *, void *arg) __attribute__((warn_unused_result));
int logins_begun(const struct bus_reply *);

/* Live tokens of one login; one more revokes the oldest. */
#define LOGIN_TOKENS_MAX "16"

/* A token whose login has ended before the token does. */
struct ended_token {
    char token_id[TOKEN_ID_SIZE];
    int64_t expires_at;
};

/* Those that are to be revoked; zeroed is empty. */
struct ended_tokens {
    struct ended_token *all;
    size_t count;
};

void ended_tokens_add(struct ended_tokens *, struct slice token_id, int64_t expires_at);
void ended_tokens_finish(struct ended_tokens *);

/* Spends one refresh token for the next. */
int logins_renew(struct auth *, const struct refresh_token *spent, const struct refresh_token *next,
                 const struct issued_token *, int64_t now_s, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* 0, -ENOENT: there is no such login, or -ESTALE: it was spent before, so the login is over. Adds
 * the tokens that are to be revoked. */
int logins_renewed(const struct bus_reply *, struct ended_tokens *);

/* login: NULL ends all of the user's. */
int logins_end(struct auth *, struct slice user, const char *login, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* The number of logins ended, or -EAGAIN. Adds their tokens, which are to be revoked. */
int logins_ended(const struct bus_reply *, struct ended_tokens *);
/* All logins of a user. */
int logins_find(struct auth *, struct slice user, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));

#endif
