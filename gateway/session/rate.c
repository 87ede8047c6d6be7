#include "gateway/session/rate.h"

#include "common/table.h"
#include "common/xalloc.h"

#include <stdlib.h>
#include <sys/queue.h>

struct rate_user {
    struct rate_bucket buckets[RATE_USER_BUCKETS];
    uint32_t sessions;
    TAILQ_ENTRY(rate_user) idle_link; /* while sessions is 0 */
    UT_hash_handle hh;
    uint32_t length;
    char user[];
};

TAILQ_HEAD(idle_users, rate_user);

struct rate_users {
    struct rate_user *users; /* hash by user */
    struct idle_users idle;  /* without sessions, those that left first at the front */
};

struct rate_users *rate_users_create(void)
{
    struct rate_users *users = xcalloc(1, sizeof(*users));

    TAILQ_INIT(&users->idle);
    return users;
}

static void forget(struct rate_users *users, struct rate_user *user)
{
    HASH_DEL(users->users, user);
    free(user);
}

void rate_users_destroy(struct rate_users **users)
{
    struct rate_user *user;

    if (*users == NULL)
        return;
    while ((user = (*users)->users) != NULL)
        forget(*users, user);
    free(*users);
    *users = NULL;
}

static bool all_are_full(const struct rate_user *user, uint64_t now_us)
{
    for (size_t i = 0; i < RATE_USER_BUCKETS; i++)
        if (!rate_is_full(&user->buckets[i], now_us))
            return false;
    return true;
}

/* Full buckets say no more than none. Those behind one that is not full wait for it: a second or
 * two. */
static void forget_full(struct rate_users *users, uint64_t now_us)
{
    struct rate_user *user;

    while ((user = TAILQ_FIRST(&users->idle)) && all_are_full(user, now_us)) {
        TAILQ_REMOVE(&users->idle, user, idle_link);
        forget(users, user);
    }
}

static struct rate_user *add(struct rate_users *users, struct slice name)
{
    struct rate_user *user = xcalloc(1, sizeof(*user) + name.length);

    user->length = (uint32_t)name.length;
    memcpy(user->user, name.data, name.length);
    HASH_ADD_KEYPTR(hh, users->users, user->user, user->length, user);
    return user;
}

struct rate_user *rate_user_get(struct rate_users *users, struct slice name, uint64_t now_us)
{
    struct rate_user *user;

    forget_full(users, now_us);
    HASH_FIND(hh, users->users, name.data, name.length, user);
    if (user == NULL)
        user = add(users, name);
    else if (user->sessions == 0)
        TAILQ_REMOVE(&users->idle, user, idle_link);
    user->sessions++;
    return user;
}

struct rate_bucket *rate_user_buckets(struct rate_user *user)
{
    return user->buckets;
}

void rate_user_put(struct rate_users *users, struct rate_user **user, uint64_t now_us)
{
    struct rate_user *given = *user;

    *user = NULL;
    if (given == NULL || --given->sessions > 0)
        return;
    TAILQ_INSERT_TAIL(&users->idle, given, idle_link);
    forget_full(users, now_us);
}

size_t rate_users_count(const struct rate_users *users)
{
    return HASH_COUNT(users->users);
}
