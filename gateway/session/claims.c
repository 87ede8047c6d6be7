#include "gateway/session/claims.h"

#include "common/table.h"
#include "common/xalloc.h"
#include "gateway/protocol.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>

#define ANSWER_MS 5000
#define LOOK_MS 500

struct claim {
    uint64_t number;
    uint64_t deadline_ms;
    void (*done)(void *arg, enum claim_result);
    void *arg;
    UT_hash_handle hh;
};

struct claims {
    struct gateway *gateway;
    struct claim *open; /* hash by number, in the order they were made */
    uint64_t last;
    uv_timer_t timer; /* runs while one is open */
};

static void end(struct claims *claims, struct claim *claim, enum claim_result result)
{
    HASH_DEL(claims->open, claim);
    claim->done(claim->arg, result);
    free(claim);
}

static void on_timer(uv_timer_t *timer)
{
    struct claims *claims = timer->data;

    while (claims->open && claims->open->deadline_ms <= uv_now(claims->gateway->loop))
        end(claims, claims->open, CLAIM_UNANSWERED);
    if (claims->open == NULL)
        uv_timer_stop(timer);
}

static struct claim *find(struct claims *claims, uint64_t number)
{
    struct claim *claim;

    HASH_FIND(hh, claims->open, &number, sizeof(number), claim);
    return claim;
}

uint64_t claims_ask(struct claims *claims, const struct protocol *protocol, struct slice user,
                    void (*done)(void *arg, enum claim_result), void *arg)
{
    struct claim *claim = xcalloc(1, sizeof(*claim));

    claim->number = ++claims->last;
    claim->deadline_ms = uv_now(claims->gateway->loop) + ANSWER_MS;
    claim->done = done;
    claim->arg = arg;
    HASH_ADD(hh, claims->open, number, sizeof(claim->number), claim);
    if (!uv_is_active((uv_handle_t *)&claims->timer))
        uv_timer_start(&claims->timer, on_timer, LOOK_MS, LOOK_MS);
    uplink_send(
        claims->gateway->uplink, partition_of(&claims->gateway->deployment, user),
        &(struct frame){
            .type = FRAME_NAME_CLAIM,
            .name_claim = {.request = claim->number, .user = user, .protocol = protocol->id}});
    return claim->number;
}

void claims_forget(struct claims *claims, uint64_t number)
{
    struct claim *claim = find(claims, number);

    if (claim == NULL)
        return;
    HASH_DEL(claims->open, claim);
    free(claim);
}

void claims_on_answer(struct claims *claims, uint64_t number, bool granted)
{
    struct claim *claim = find(claims, number);

    if (claim)
        end(claims, claim, granted ? CLAIM_GRANTED : CLAIM_REFUSED);
}

void claims_on_unanswered(struct claims *claims, uint64_t number)
{
    struct claim *claim = find(claims, number);

    if (claim)
        end(claims, claim, CLAIM_UNANSWERED);
}

struct claims *claims_create(struct gateway *gateway)
{
    struct claims *claims = xcalloc(1, sizeof(*claims));

    claims->gateway = gateway;
    uv_timer_init(gateway->loop, &claims->timer);
    claims->timer.data = claims;
    return claims;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void claims_destroy(struct claims **pointer)
{
    struct claims *claims = *pointer;

    if (claims == NULL)
        return;
    *pointer = NULL;
    while (claims->open)
        claims_forget(claims, claims->open->number);
    uv_close((uv_handle_t *)&claims->timer, on_closed);
}
