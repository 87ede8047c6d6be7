#include "gateway/door/handshake.h"

#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/door/arrival.h"
#include "gateway/door/http.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"
#include "gateway/door/websocket.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SUBPROTOCOL_PREFIX "access_token."
/* Base64 of 16 bytes (RFC 6455, 4.1). */
#define KEY_LENGTH 24

struct handshake {
    struct gateway *gateway;
    struct arrival *arrival;
    const struct protocol *protocol;
    struct slice subprotocol; /* access_token.<JWT> as offered; empty if it was not */
    void (*on_abandoned)(void *arg);
    void *on_abandoned_arg;
};

/* ---- what the request says ---- */

struct gateway *handshake_gateway(struct handshake *handshake)
{
    return handshake->gateway;
}

struct slice handshake_query(struct handshake *handshake, const char *name)
{
    return request_parameter(arrival_request(handshake->arrival), name);
}

size_t handshake_query_count(struct handshake *handshake, const char *name)
{
    return request_parameter_count(arrival_request(handshake->arrival), name);
}

struct slice handshake_header(struct handshake *handshake, const char *name)
{
    return request_header(arrival_request(handshake->arrival), name);
}

void handshake_address(struct handshake *handshake, char text[CLIENT_ADDRESS_SIZE])
{
    arrival_address(handshake->arrival, text);
}

/* What stands behind the prefix; data is NULL when text does not begin with it. */
static struct slice after_prefix(struct slice text, const char *prefix, bool ignore_case)
{
    size_t length = strlen(prefix);

    if (text.length < length || (ignore_case ? strncasecmp(text.data, prefix, length)
                                             : strncmp(text.data, prefix, length)) != 0)
        return slice_of(NULL, 0);
    return slice_of(text.data + length, text.length - length);
}

struct slice handshake_token(struct handshake *handshake)
{
    struct slice sources[] = {
        after_prefix(handshake_header(handshake, "authorization"), "Bearer ", true),
        handshake_query(handshake, "token"),
        handshake_query(handshake, "access_token"),
        after_prefix(handshake->subprotocol, SUBPROTOCOL_PREFIX, false),
    };

    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        if (sources[i].data)
            return sources[i];
    return slice_of(NULL, 0);
}

static bool take_token_subprotocol(struct slice element, void *subprotocol)
{
    if (after_prefix(element, SUBPROTOCOL_PREFIX, false).data == NULL)
        return false;
    *(struct slice *)subprotocol = element;
    return true;
}

/* ---- answers ---- */

static void refuse(struct arrival *arrival, int status, const char *challenge, const char *why)
{
    char address[CLIENT_ADDRESS_SIZE];
    struct buffer answer = {0};

    gateway_count(GATEWAY_CONNECTIONS_REFUSED, 1);
    arrival_address(arrival, address);
    log_debug("upgrade of %.*s from %s refused with %d: %s",
              (int)arrival_request(arrival)->path.length, arrival_request(arrival)->path.data,
              address, status, why);
    if (status == 401 && challenge)
        http_challenge(&answer, challenge, why);
    else
        http_refuse(&answer, status, why);
    arrival_answer(arrival, &answer);
}

void handshake_refuse(struct handshake *handshake, int status, const char *why)
{
    /* A page whose token has ended shall not have its user asked for a password by the browser. */
    const char *challenge =
        handshake_token(handshake).data == NULL ? handshake->protocol->challenge : NULL;

    refuse(handshake->arrival, status, challenge, why);
    free(handshake);
}

/* Why nobody more, or not this user, can be taken at the moment; NULL: he can. */
static const char *why_not(struct gateway *gateway, const struct identity *identity)
{
    uint32_t partition;

    if (identity->user == NULL)
        return sessions_unidentified(gateway->sessions) < (size_t)gateway->settings.unidentified
                   ? NULL
                   : "too many connections have not authenticated yet";
    partition = partition_of(&gateway->deployment, slice_text(identity->user));
    return uplink_has_credit(gateway->uplink, partition) || gateway_can_free(gateway)
               ? NULL
               : "the service cannot take this user at the moment";
}

/* An offer that leaves the windows to us: one that asks for a smaller one of ours is passed over.
 */
static bool is_deflate_offer(struct slice element, void *arg)
{
    static const char name[] = "permessage-deflate", window[] = "server_max_window_bits";
    size_t length = sizeof(name) - 1;

    (void)arg;
    return element.length >= length && memcmp(element.data, name, length) == 0 &&
           (element.length == length || strchr("; \t", element.data[length])) &&
           memmem(element.data, element.length, window, sizeof(window) - 1) == NULL;
}

void handshake_accept(struct handshake *handshake, struct identity *identity, uint64_t flags,
                      struct slice slot)
{
    struct gateway *gateway = handshake->gateway;
    struct arrival *arrival = handshake->arrival;
    const char *obstacle = why_not(gateway, identity);
    struct websocket_upgrade upgrade = {
        .key = handshake_header(handshake, "sec-websocket-key"),
        .subprotocol = handshake->subprotocol,
        .deflate = gateway->settings.deflate &&
                   request_list_find(arrival_request(arrival), "sec-websocket-extensions",
                                     is_deflate_offer, NULL),
        .rest = arrival_rest(arrival),
    };

    if (obstacle) {
        identity_finish(identity);
        handshake_refuse(handshake, 503, obstacle);
        return;
    }
    sessions_adopt(gateway->sessions, arrival_detach(arrival), &upgrade, handshake->protocol,
                   identity, flags, slot);
    arrival_release(arrival);
    free(handshake);
}

void handshake_on_abandoned(struct handshake *handshake, void (*callback)(void *arg), void *arg)
{
    handshake->on_abandoned = callback;
    handshake->on_abandoned_arg = arg;
}

static void on_gone(void *arg)
{
    struct handshake *handshake = arg;

    if (handshake->on_abandoned)
        handshake->on_abandoned(handshake->on_abandoned_arg);
    free(handshake);
}

/* ---- what keeps a request from being an upgrade ---- */

struct obstacle {
    int status;
    const char *why;
    bool (*is_there)(const struct gateway *, const struct request *);
};

static bool is_no_upgrade(const struct gateway *gateway, const struct request *request)
{
    (void)gateway;
    return !slice_is(request->method, "GET") || request->minor_version < 1 ||
           !request_list_has(request, "upgrade", "websocket") ||
           !request_list_has(request, "connection", "upgrade");
}

static bool is_other_version(const struct gateway *gateway, const struct request *request)
{
    (void)gateway;
    return !slice_is(request_header(request, "sec-websocket-version"), "13");
}

static bool has_no_key(const struct gateway *gateway, const struct request *request)
{
    (void)gateway;
    return request_header(request, "sec-websocket-key").length != KEY_LENGTH;
}

/* What a proxy takes for the body, and we for the first frames. */
static bool has_body(const struct gateway *gateway, const struct request *request)
{
    struct slice length = request_header(request, "content-length");

    (void)gateway;
    return request_header(request, "transfer-encoding").data != NULL ||
           (length.data != NULL && !slice_is(length, "0"));
}

static bool is_draining(const struct gateway *gateway, const struct request *request)
{
    (void)request;
    return gateway->draining;
}

static bool is_full(const struct gateway *gateway, const struct request *request)
{
    (void)request;
    return sessions_count(gateway->sessions) >= (size_t)gateway->settings.connections;
}

static bool is_cut_off(const struct gateway *gateway, const struct request *request)
{
    (void)request;
    return !bus_is_up(gateway->bus) || uplink_partitions_answering(gateway->uplink) == 0;
}

static const struct obstacle obstacles[] = {
    {426, "this is a WebSocket endpoint", is_no_upgrade},
    {426, "only version 13 of WebSocket is spoken here", is_other_version},
    {400, "an upgrade has no body", has_body},
    {400, "Sec-WebSocket-Key is missing or malformed", has_no_key},
    {503, "this gateway is shutting down", is_draining},
    {503, "this gateway has all the connections it can hold", is_full},
    {503, "the message bus is not reachable at the moment", is_cut_off},
};

void handshake_begin(struct gateway *gateway, struct arrival *arrival,
                     const struct protocol *protocol)
{
    const struct request *request = arrival_request(arrival);
    struct handshake *handshake;

    for (size_t i = 0; i < sizeof(obstacles) / sizeof(obstacles[0]); i++) {
        if (obstacles[i].is_there(gateway, request)) {
            refuse(arrival, obstacles[i].status, NULL, obstacles[i].why);
            return;
        }
    }
    handshake = xcalloc(1, sizeof(*handshake));
    handshake->gateway = gateway;
    handshake->arrival = arrival;
    handshake->protocol = protocol;
    request_list_find(request, "sec-websocket-protocol", take_token_subprotocol,
                      &handshake->subprotocol);
    arrival_on_gone(arrival, on_gone, handshake);
    protocol->identify(handshake);
}
