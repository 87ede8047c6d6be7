#include "gateway/identity/identify.h"

#include "common/user.h"
#include "common/xalloc.h"
#include "gateway/session/admission.h"
#include "gateway/door/handshake.h"
#include "gateway/session/session.h"

#include <time.h>

/* The wall clock may be set: it is asked again before long. */
#define TICK_MS_MAX 10000

static const struct refusal none;

/* A key that is not known is the token's fault once the keys are here. */
static int status_of(struct gateway *gateway, enum verifier_result result)
{
    return result == VERIFIER_UNAVAILABLE && !verifier_ready(gateway->verifier) ? 503 : 401;
}

struct refusal identify_token(struct handshake *handshake, struct slice name,
                              struct identity *identity)
{
    struct gateway *gateway = handshake_gateway(handshake);
    struct slice token = handshake_token(handshake);
    enum verifier_result result;

    if (token.data == NULL)
        return none;
    result = verifier_check(gateway->verifier, token, time(NULL), identity);
    if (result != VERIFIER_OK)
        return (struct refusal){status_of(gateway, result), verifier_reason(result)};
    if (name.data == NULL || slice_is(name, identity->user))
        return none;
    identity_finish(identity);
    return (struct refusal){403, "the token is another user's"};
}

struct refusal identify_name(struct handshake *handshake, struct slice name,
                             struct identity *identity)
{
    if (!handshake_gateway(handshake)->settings.open_identity)
        return (struct refusal){401, "a token is required"};
    if (!user_allowed(name, false))
        return (struct refusal){401, "this is no user id"};
    *identity = (struct identity){.user = xmemdup0(name.data, name.length)};
    return none;
}

struct refusal identify_rate(struct handshake *handshake, const struct identity *identity)
{
    if (admission_connect(handshake_gateway(handshake), slice_text(identity->user)))
        return none;
    return (struct refusal){429, "this user connects too often"};
}

void identify_on_tick(struct session *session, uint64_t now_ms)
{
    int64_t left_s = session->identity.expires_at - time(NULL);

    if (session->identity.expires_at == 0)
        left_s = TICK_MS_MAX;
    if (left_s <= 0)
        session_close(session, SESSION_CLOSE_TOKEN, "token expired");
    else
        session->tick_due_ms =
            now_ms + (left_s < TICK_MS_MAX / 1000 ? (uint64_t)left_s * 1000 : TICK_MS_MAX);
}
