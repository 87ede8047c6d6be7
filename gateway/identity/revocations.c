#include "gateway/identity/revocations.h"

#include "common/table.h"
#include "common/xalloc.h"

#include <stdlib.h>

struct revocation {
    UT_hash_handle hh; /* keeps the order of addition */
    int64_t expires_at;
    char token_id[];
};

/* Of all of a user's tokens. */
struct user_revocation {
    UT_hash_handle hh;
    int64_t issued_until, expires_at;
    char user[];
};

struct revocations {
    struct revocation *all;
    struct user_revocation *users;
    size_t most;
};

struct revocations *revocations_create(size_t most)
{
    struct revocations *revocations = xcalloc(1, sizeof(*revocations));

    revocations->most = most;
    return revocations;
}

static void forget(struct revocations *revocations, struct revocation *revocation)
{
    HASH_DEL(revocations->all, revocation);
    free(revocation);
}

static void forget_user(struct revocations *revocations, struct user_revocation *revocation)
{
    HASH_DEL(revocations->users, revocation);
    free(revocation);
}

void revocations_destroy(struct revocations **revocations)
{
    struct revocation *revocation, *next;

    if (*revocations == NULL)
        return;
    HASH_ITER(hh, (*revocations)->all, revocation, next)
    forget(*revocations, revocation);
    while ((*revocations)->users != NULL)
        forget_user(*revocations, (*revocations)->users);
    free(*revocations);
    *revocations = NULL;
}

bool revocations_add(struct revocations *revocations, struct slice token_id, int64_t expires_at,
                     int64_t now_s)
{
    struct revocation *revocation;

    HASH_FIND(hh, revocations->all, token_id.data, token_id.length, revocation);
    if (revocation != NULL || expires_at <= now_s)
        return false;
    /* Tokens live about equally long, so those known longest are the first to expire. */
    while (revocations->all != NULL && (revocations->all->expires_at <= now_s ||
                                        HASH_COUNT(revocations->all) >= revocations->most))
        forget(revocations, revocations->all);
    revocation = xcalloc(1, sizeof(*revocation) + token_id.length + 1);
    memcpy(revocation->token_id, token_id.data, token_id.length);
    revocation->expires_at = expires_at;
    HASH_ADD(hh, revocations->all, token_id[0], token_id.length, revocation);
    return true;
}

bool revocations_has(const struct revocations *revocations, const char *token_id)
{
    struct revocation *revocation;

    HASH_FIND_STR(revocations->all, token_id, revocation);
    return revocation != NULL;
}

static struct user_revocation *find_user(const struct revocations *revocations, struct slice user)
{
    struct user_revocation *revocation;

    HASH_FIND(hh, revocations->users, user.data, user.length, revocation);
    return revocation;
}

bool revocations_add_user(struct revocations *revocations, struct slice user, int64_t issued_until,
                          int64_t expires_at, int64_t now_s)
{
    struct user_revocation *revocation = find_user(revocations, user);

    if (expires_at <= now_s || (revocation && revocation->issued_until >= issued_until))
        return false;
    if (revocation)
        forget_user(revocations, revocation);
    while (revocations->users != NULL && (revocations->users->expires_at <= now_s ||
                                          HASH_COUNT(revocations->users) >= revocations->most))
        forget_user(revocations, revocations->users);
    revocation = xcalloc(1, sizeof(*revocation) + user.length + 1);
    memcpy(revocation->user, user.data, user.length);
    revocation->issued_until = issued_until;
    revocation->expires_at = expires_at;
    HASH_ADD(hh, revocations->users, user[0], user.length, revocation);
    return true;
}

bool revocations_has_user(const struct revocations *revocations, const char *user,
                          int64_t issued_at)
{
    const struct user_revocation *revocation = find_user(revocations, slice_text(user));

    return revocation != NULL && issued_at <= revocation->issued_until;
}

size_t revocations_count(const struct revocations *revocations)
{
    return HASH_COUNT(revocations->all);
}
