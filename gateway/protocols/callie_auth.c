/*
 * The token of callie: on the upgrade, or in the first payload, and again in every one that likes.
 * The last valid one counts; one that was checked before is known by its mark.
 */
#include "common/clock.h"
#include "common/siphash.h"
#include "common/uid.h"
#include "gateway/protocols/callie.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>

/* Tokens that have to be checked; the one that counts has not. */
static const struct rate check_rate = {.per_second = 1, .burst = 20};

/* 128 bits of the token under keys of this process: as good as the token to know it again. */
static void mark_token(struct slice token, uint64_t mark[2])
{
    static uint8_t keys[2][16];
    static bool made;

    if (!made)
        uid_random(keys, sizeof(keys));
    made = true;
    for (size_t i = 0; i < 2; i++)
        mark[i] = siphash(keys[i], token, 2, 4);
}

static bool counts_already(const struct callie_payload *payload)
{
    uint64_t mark[2];

    mark_token(payload->token, mark);
    return session_is_identified(payload->session) && mark[0] == payload->state->token_mark[0] &&
           mark[1] == payload->state->token_mark[1];
}

/* ---- answers ---- */

static void fail(const struct callie_payload *payload, const char *why)
{
    callie_answer(payload->session, payload->payload_id, "AUTH_FAILED", why, slice_of(NULL, 0));
}

static void limit(const struct callie_payload *payload, uint64_t wait_ms, const char *why)
{
    struct buffer more = {0};

    buffer_append_text(&more, "\"retry_after_ms\":");
    buffer_append_u64(&more, wait_ms);
    callie_answer(payload->session, payload->payload_id, "RATE_LIMITED", why, buffer_slice(&more));
    buffer_finish(&more);
}

/* ---- checking ---- */

static bool may_check(const struct callie_payload *payload)
{
    struct gateway *gateway = payload->session->gateway;
    uint64_t wait_ms = 0;

    if (gateway->settings.rate_limits)
        wait_ms =
            rate_take(&payload->state->token_checks, &check_rate, uv_now(gateway->loop) * 1000);
    if (wait_ms == 0)
        return true;
    gateway_count(GATEWAY_RATE_LIMITED, 1);
    limit(payload, wait_ms, "too many tokens");
    return false;
}

/* On true *identity is the caller's. */
static bool check(const struct callie_payload *payload, struct identity *identity)
{
    struct verifier *verifier = payload->session->gateway->verifier;
    enum verifier_result result;

    if (!may_check(payload))
        return false;
    result = verifier_check(verifier, payload->token, (int64_t)(clock_wall_ms() / 1000), identity);
    if (result == VERIFIER_UNAVAILABLE && !verifier_ready(verifier))
        callie_unavailable(payload->session, payload->payload_id, false);
    else if (result != VERIFIER_OK)
        fail(payload, verifier_reason(result));
    return result == VERIFIER_OK;
}

static bool is_users(const struct callie_payload *payload, struct slice user)
{
    if (payload->is_auth || slice_equal(payload->sender, user))
        return true;
    callie_answer(payload->session, payload->payload_id, "FORBIDDEN",
                  "sender: must be the user of the token", slice_text("\"field\":\"sender\""));
    return false;
}

/* ---- a token that counts from now on ---- */

/* As on an upgrade: how often a user connects has a limit, and his partition must answer. */
static bool may_connect(const struct callie_payload *payload, const struct identity *identity)
{
    struct gateway *gateway = payload->session->gateway;
    struct slice user = slice_text(identity->user);
    uint32_t partition = partition_of(&gateway->deployment, user);

    if (!admission_connect(gateway, user)) {
        limit(payload, 1000, "this user connects too often");
        return false;
    }
    if (!uplink_has_credit(gateway->uplink, partition) && !gateway_can_free(gateway)) {
        callie_unavailable(payload->session, payload->payload_id, false);
        return false;
    }
    return true;
}

static bool replace(const struct callie_payload *payload, struct identity *identity)
{
    struct session *session = payload->session;

    if (!slice_is(session->user, identity->user)) {
        fail(payload, "the token is another user's");
        return false;
    }
    identity_finish(&session->identity);
    session->identity = *identity;
    *identity = (struct identity){0};
    session->user = slice_text(session->identity.user);
    session_tick_soon(session);
    return true;
}

static bool adopt(const struct callie_payload *payload, struct identity *identity)
{
    struct session *session = payload->session;
    bool known = session_is_identified(session);

    if (known ? !replace(payload, identity)
              : !is_users(payload, slice_text(identity->user)) || !may_connect(payload, identity))
        return false;
    if (!known)
        session_identify(session, identity);
    mark_token(payload->token, payload->state->token_mark);
    if (!known || payload->is_auth)
        callie_greet(session, payload->payload_id);
    return true;
}

static bool take_token(const struct callie_payload *payload)
{
    struct identity identity = {0};
    bool adopted;

    if (!check(payload, &identity))
        return false;
    adopted = adopt(payload, &identity);
    identity_finish(&identity);
    return adopted;
}

void callie_do_auth(struct callie_payload *payload)
{
    if (counts_already(payload))
        callie_greet(payload->session, payload->payload_id);
    else
        take_token(payload);
}

bool callie_authenticate(struct callie_payload *payload)
{
    if (payload->token.data == NULL && !session_is_identified(payload->session)) {
        fail(payload, "a token is required");
        return false;
    }
    if (payload->token.data != NULL && !counts_already(payload) && !take_token(payload))
        return false;
    return is_users(payload, payload->session->user);
}
