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

int accounts_find(struct auth *, struct slice user, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* 0, or -ENOENT. */
int accounts_found(const struct bus_reply *, struct slice *encoded_password);

int logins_begin(struct auth *, const struct refresh_token *, const struct issued_token *,
                 int64_t now_s, bus_reply_fn *, void *arg) __attribute__((warn_unused_result));
int logins_begun(const struct bus_reply *);

/* A token whose login has ended before the token does. */
struct ended_token {
    char token_id[TOKEN_ID_SIZE];
    int64_t expires_at;
};

/* Spends one refresh token for the next. */
int logins_renew(struct auth *, const struct refresh_token *spent, const struct refresh_token *next,
                 const struct issued_token *, int64_t now_s, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* 0, -ENOENT: there is no such login, or -ESTALE: it was spent before, so the login is over and its
 * token is to be revoked. */
int logins_renewed(const struct bus_reply *, struct ended_token *);

int logins_end(struct auth *, const struct refresh_token *, bus_reply_fn *, void *arg)
    __attribute__((warn_unused_result));
/* 0: its token is to be revoked, or -ENOENT. */
int logins_ended(const struct bus_reply *, struct ended_token *);

#endif
