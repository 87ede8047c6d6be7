/*
 * Names that were asked for before their connection is there (NAME_CLAIM): of some protocols a user
 * has one connection, and the second is refused before it is made. A granted name is kept for its
 * asker for a while, in memory only: a connection that comes all the same finds out by itself
 * (connections.c).
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

#define CLAIM_MS 10000

struct claim {
    TAILQ_ENTRY(claim) link; /* in engine->claims, by time */
    const struct gateway *gateway;
    uint64_t protocol, until_ms;
    size_t length;
    char user[];
};

static void claim_remove(struct engine *engine, struct claim *claim)
{
    TAILQ_REMOVE(&engine->claims, claim, link);
    free(claim);
}

void claims_expire(struct engine *engine)
{
    struct claim *claim;

    while ((claim = TAILQ_FIRST(&engine->claims)) != NULL && claim->until_ms <= engine->now_ms)
        claim_remove(engine, claim);
}

static struct claim *claim_find(struct engine *engine, struct slice user, uint64_t protocol)
{
    struct claim *claim;

    claims_expire(engine);
    TAILQ_FOREACH(claim, &engine->claims, link)
    {
        if (claim->protocol == protocol && slice_equal(slice_of(claim->user, claim->length), user))
            return claim;
    }
    return NULL;
}

static bool name_in_use(struct engine *engine, struct slice id, uint64_t protocol)
{
    const struct user *user = user_find(engine, id);
    const struct connection *connection;

    if (claim_find(engine, id, protocol) != NULL)
        return true;
    for (int i = 0; user != NULL && i < USER_LISTS; i++)
        LIST_FOREACH(connection, user_connection_list(user, i), of_user)
    if (connection->protocol == protocol)
        return true;
    return false;
}

static void claim_add(struct engine *engine, const struct gateway *gateway, struct slice user,
                      uint64_t protocol)
{
    struct claim *claim = xcalloc(1, sizeof(*claim) + user.length);

    claim->gateway = gateway;
    claim->protocol = protocol;
    claim->until_ms = engine->now_ms + CLAIM_MS;
    claim->length = user.length;
    memcpy(claim->user, user.data, user.length);
    TAILQ_INSERT_TAIL(&engine->claims, claim, link);
}

void claim_on_asked(struct engine *engine, struct gateway *gateway,
                    const struct frame_name_claim *asked)
{
    bool granted = !name_in_use(engine, asked->user, asked->protocol);

    if (granted)
        claim_add(engine, gateway, asked->user, asked->protocol);
    gateway_say(gateway,
                &(struct frame){.type = FRAME_NAME_ANSWER,
                                .name_answer = {.request = asked->request, .granted = granted}});
}

bool claim_take(struct engine *engine, const struct gateway *gateway, struct slice user,
                uint64_t protocol)
{
    struct claim *claim = claim_find(engine, user, protocol);

    if (claim == NULL)
        return true;
    if (claim->gateway != gateway)
        return false;
    claim_remove(engine, claim);
    return true;
}

void claims_forget_gateway(struct engine *engine, const struct gateway *gateway)
{
    struct claim *claim, *next;

    for (claim = TAILQ_FIRST(&engine->claims); claim != NULL; claim = next) {
        next = TAILQ_NEXT(claim, link);
        if (claim->gateway == gateway)
            claim_remove(engine, claim);
    }
}

void claims_destroy(struct engine *engine)
{
    while (!TAILQ_EMPTY(&engine->claims))
        claim_remove(engine, TAILQ_FIRST(&engine->claims));
}
