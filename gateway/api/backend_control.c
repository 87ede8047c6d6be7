/*
 * What the HTTP API ends: connections, and the tokens they came with. see backend.h.
 */
#include "common/embed.h"
#include "common/identity.h"
#include "common/user.h"
#include "common/uid.h"
#include "common/xalloc.h"
#include "gateway/api/backend.h"
#include "gateway/bus/uplink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Longer than any token lives (TRUNKLINE_TOKEN_TTL). */
#define TOKEN_LIFE_S (366 * 24 * 3600)

EMBED(revoke_lua, "gateway/api/revoke.lua");
static struct bus_script script = {.name = "revoke", .text = revoke_lua};

void backend_control_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &script);
}

/* ---- what both are asked for: a user, or one thing of his ---- */

struct target {
    struct slice user, other;
};

/* Exactly one of both; answered if not. */
static bool read_target(struct arrival *arrival, const struct json *json, const char *other,
                        struct target *target)
{
    const struct json_value *root = json_root(json);

    target->user = json_text(json_member(root, "user"));
    target->other = json_text(json_member(root, other));
    if (!json_member(root, "user") == !json_member(root, other))
        backend_refuse(arrival, 400, "user", "a user is required, or what is to end: one of both");
    else if (json_member(root, "user") && !user_allowed(target->user, true))
        backend_refuse(arrival, 400, "user", "this is no user id");
    else if (json_member(root, other) && json_type(json_member(root, other)) != JSON_STRING)
        backend_refuse(arrival, 400, other, "this must be a string");
    else
        return true;
    return false;
}

/* ---- disconnect ---- */

static bool has_credit(struct gateway *gateway, const struct target *target)
{
    uint32_t first = 0, end = gateway->deployment.partitions;

    if (target->user.length > 0) {
        first = partition_of(&gateway->deployment, target->user);
        end = first + 1;
    }
    for (uint32_t p = first; p < end; p++)
        if (!uplink_has_credit(gateway->uplink, p))
            return false;
    return true;
}

static void send_disconnect(struct backend_call *call, const struct target *target)
{
    struct gateway *gateway = backend_gateway(call->backend);
    const struct frame frame = {
        .type = FRAME_USER_DISCONNECT,
        .user_disconnect = {.connection = BACKEND_CONNECTION,
                            .request = call->number,
                            .user = target->user,
                            .uuid = target->other},
    };

    if (target->user.length > 0) {
        uplink_send(gateway->uplink, partition_of(&gateway->deployment, target->user), &frame);
        return;
    }
    call->awaited = gateway->deployment.partitions;
    uplink_send_all(gateway->uplink, &frame);
}

void backend_do_disconnect(struct backend *backend, struct arrival *arrival, struct slice argument,
                           uint64_t scopes)
{
    const struct json *json = backend_read_object(arrival);
    struct target target;
    struct backend_call *call;

    (void)argument, (void)scopes;
    if (json == NULL || !read_target(arrival, json, "connection_id", &target))
        return;
    if (target.other.length > UUID_TEXT_SIZE) {
        backend_refuse(arrival, 400, "connection_id", "this is no connection's id");
    } else if (!has_credit(backend_gateway(backend), &target)) {
        backend_refuse(arrival, 503, NULL, "the service cannot take this now");
    } else if ((call = backend_open(backend, arrival))) {
        call->disconnecting = true;
        send_disconnect(call, &target);
    }
}

/* ---- revoke ---- */

struct revocation {
    struct gateway *gateway; /* its backend is NULL when the process ends */
    uint64_t number;
};

static void on_revoked(void *arg, const struct bus_reply *reply)
{
    struct revocation *revocation = arg;
    struct backend *backend = revocation->gateway->backend;
    struct backend_call *call = backend ? backend_find(backend, revocation->number) : NULL;
    struct buffer body = {0};

    free(revocation);
    if (call == NULL)
        return;
    if (bus_reply_kind(reply) != BUS_INTEGER) {
        backend_fail(call, 503, "the revocation was not written");
        return;
    }
    buffer_append_text(&body, "{\"status\":\"revoked\"}");
    backend_answer(call, 200, &body);
}

static int send_revocation(struct gateway *gateway, struct revocation *revocation,
                           struct slice token_id, struct slice user)
{
    struct buffer revoked = {0}, events = {0}, logins = {0};
    char end[24];
    int result;

    snprintf(end, sizeof(end), "%" PRId64, (int64_t)time(NULL) + TOKEN_LIFE_S);
    key_global(&revoked, &gateway->deployment, "auth:revoked", slice_of(NULL, 0));
    key_global(&events, &gateway->deployment, "auth:events", slice_of(NULL, 0));
    key_global(&logins, &gateway->deployment, "auth:logins", user);
    {
        const struct slice of_token[] = {buffer_slice(&revoked), buffer_slice(&events), token_id,
                                         user, slice_text(end)};
        const struct slice of_user[] = {
            buffer_slice(&revoked), buffer_slice(&events), buffer_slice(&logins), token_id, user,
            slice_text(end)};

        result = user.length
                     ? bus_eval(gateway->bus, &script, on_revoked, revocation, 3, 6, of_user)
                     : bus_eval(gateway->bus, &script, on_revoked, revocation, 2, 5, of_token);
    }
    buffer_finish(&revoked);
    buffer_finish(&events);
    buffer_finish(&logins);
    return result;
}

static void begin_revocation(struct backend *backend, struct arrival *arrival,
                             const struct target *target)
{
    struct gateway *gateway = backend_gateway(backend);
    struct backend_call *call = backend_open(backend, arrival);
    struct revocation *revocation;
    char all[32];

    if (call == NULL)
        return;
    snprintf(all, sizeof(all), "*%" PRId64, (int64_t)time(NULL));
    revocation = xmalloc(sizeof(*revocation));
    *revocation = (struct revocation){gateway, call->number};
    if (send_revocation(gateway, revocation, target->user.length ? slice_text(all) : target->other,
                        target->user) == 0)
        return;
    free(revocation);
    backend_fail(call, 503, "the message bus is not reachable at the moment");
}

static bool token_id_valid(struct slice id)
{
    for (size_t i = 0; i < id.length; i++)
        if ((unsigned char)id.data[i] <= ' ' || id.data[i] == '*')
            return false;
    return id.length > 0 && id.length <= TOKEN_ID_MAX;
}

void backend_do_revoke(struct backend *backend, struct arrival *arrival, struct slice argument,
                       uint64_t scopes)
{
    const struct json *json = backend_read_object(arrival);
    struct target target;

    (void)argument, (void)scopes;
    if (json == NULL || !read_target(arrival, json, "token_id", &target))
        return;
    if (target.user.length == 0 && !token_id_valid(target.other))
        backend_refuse(arrival, 400, "token_id", "this is no token's id");
    else
        begin_revocation(backend, arrival, &target);
}
