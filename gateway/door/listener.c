#include "gateway/door/listener.h"

#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/door/acceptor.h"
#include "gateway/door/arrival.h"
#include "gateway/api/backend.h"
#include "gateway/door/handshake.h"
#include "gateway/door/http.h"
#include "gateway/door/preamble.h"
#include "gateway/protocol.h"
#include "gateway/door/tls_relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a TLS handshake. */
#define HANDSHAKE_MS 10000

/*
 *  plain ──▶ acceptor ──▶ [preamble] ─────────────────────────▶ arrival ──▶ request
 *  TLS ────▶ acceptor ──▶ [preamble] ──▶ TLS handshake, relay ──▶ arrival ──▶ request
 */
struct listener {
    struct gateway *gateway;
    struct acceptor *plain, *secure; /* secure: NULL without TLS */
    struct preambles *preambles;     /* NULL without the PROXY protocol */
    struct tls *tls;
    struct tls_relays *relays;
    struct arrivals *arrivals;
};

/* ---- requests ---- */

static void on_request(void *arg, struct arrival *arrival)
{
    struct listener *listener = arg;
    struct gateway *gateway = listener->gateway;
    const struct request *request = arrival_request(arrival);
    const struct protocol *protocol = protocol_find(request->path);
    struct buffer answer = {0};

    if (gateway->open_ms == 0 && (backend_has(request->path) || protocol)) {
        http_refuse(&answer, 503, "the service is not available at the moment");
        arrival_answer(arrival, &answer);
        return;
    }
    if (backend_has(request->path)) {
        backend_begin(gateway->backend, arrival);
        return;
    }
    if (!slice_is(request->method, "HEAD") && !slice_is(request->method, "GET")) {
        http_refuse(&answer, 405, "only GET and HEAD here");
    } else if (protocol) {
        handshake_begin(gateway, arrival, protocol);
        return;
    } else {
        http_answer(gateway, request, &answer);
    }
    arrival_answer(arrival, &answer);
}

static size_t body_max(void *arg, const struct request *request)
{
    struct gateway *gateway = ((const struct listener *)arg)->gateway;

    if (gateway->open_ms == 0 || !backend_has(request->path))
        return 0;
    return backend_body_max(gateway->backend, request);
}

static void on_failure(void *arg, int status, struct buffer *answer)
{
    static const struct {
        int status;
        const char *why;
    } reasons[] = {
        {400, "not an HTTP/1.1 request"},
        {408, "the request took too long"},
        {413, "the body is too long"},
        {431, "the request head is too long"},
        {501, "of transfer codings only chunked is read here"},
        {503, "nobody answered in time"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            http_refuse(answer, status, reasons[i].why);
}

/* ---- the way in ---- */

static void arrive(void *arg, int descriptor, const char *address)
{
    struct listener *listener = arg;

    gateway_count(GATEWAY_HTTP_ACCEPTED, 1);
    arrivals_add(listener->arrivals, descriptor, address);
}

static void begin_tls(void *arg, int descriptor, const char *address)
{
    struct listener *listener = arg;

    tls_relays_add(listener->relays, descriptor, address);
}

static void on_plain(void *arg, int descriptor, const char *address)
{
    struct listener *listener = arg;

    if (listener->preambles)
        preambles_add(listener->preambles, descriptor, address, arrive, listener);
    else
        arrive(listener, descriptor, address);
}

static void on_secure(void *arg, int descriptor, const char *address)
{
    struct listener *listener = arg;

    if (listener->preambles)
        preambles_add(listener->preambles, descriptor, address, begin_tls, listener);
    else
        begin_tls(listener, descriptor, address);
}

/* ---- life ---- */

static int open_sockets(struct listener *listener, struct buffer *error)
{
    struct gateway *gateway = listener->gateway;
    const struct settings *settings = &gateway->settings;

    listener->plain =
        acceptor_create(gateway->loop, "TRUNKLINE_GATEWAY_LISTEN", settings->gateway_listen, error);
    if (listener->plain == NULL)
        return -1;
    if (settings->gateway_tls_listen[0] == '\0')
        return 0;
    listener->tls = tls_create(gateway->loop, settings->gateway_tls_certificate,
                               settings->gateway_tls_key, error);
    if (listener->tls == NULL)
        return -1;
    listener->secure = acceptor_create(gateway->loop, "TRUNKLINE_GATEWAY_TLS_LISTEN",
                                       settings->gateway_tls_listen, error);
    return listener->secure != NULL ? 0 : -1;
}

struct listener *listener_create(struct gateway *gateway, struct buffer *error)
{
    struct listener *listener = xcalloc(1, sizeof(*listener));

    listener->gateway = gateway;
    if (open_sockets(listener, error) < 0)
        listener_destroy(&listener);
    return listener;
}

static void prepare(struct listener *listener)
{
    struct gateway *gateway = listener->gateway;
    uint64_t head_ms = (uint64_t)gateway->settings.head_timeout_ms;

    listener->arrivals = arrivals_create(&(struct arrivals_options){
        .loop = gateway->loop,
        .head_timeout_ms = head_ms,
        .idle_timeout_ms = (uint64_t)gateway->settings.http_idle_ms,
        .idle_max = (size_t)gateway->settings.http_idle,
        .requests_max = (uint64_t)gateway->settings.http_requests,
        .believe_forwarded = !gateway->settings.proxy_protocol,
        .body_max = body_max,
        .on_request = on_request,
        .on_failure = on_failure,
        .arg = listener,
    });
    if (gateway->settings.proxy_protocol)
        listener->preambles = preambles_create(gateway->loop, head_ms);
    if (listener->tls)
        listener->relays = tls_relays_create(&(struct tls_relays_options){
            .loop = gateway->loop,
            .tls = listener->tls,
            .handshake_ms = HANDSHAKE_MS,
            .on_ready = arrive,
            .arg = listener,
        });
}

int listener_start(struct listener *listener, struct buffer *error)
{
    int result;

    prepare(listener);
    result = acceptor_start(listener->plain, on_plain, listener, error);
    if (result == 0 && listener->secure)
        result = acceptor_start(listener->secure, on_secure, listener, error);
    return result;
}

const char *listener_address(const struct listener *listener)
{
    return acceptor_address(listener->plain);
}

const char *listener_tls_address(const struct listener *listener)
{
    return listener->secure ? acceptor_address(listener->secure) : NULL;
}

size_t listener_tls_connections(const struct listener *listener)
{
    return tls_relays_count(listener->relays);
}

size_t listener_http_connections(const struct listener *listener)
{
    return arrivals_count(listener->arrivals);
}

void listener_reload(struct listener *listener)
{
    if (listener->tls)
        tls_reload(listener->tls);
}

void listener_stop(struct listener *listener)
{
    acceptor_stop(listener->plain);
    if (listener->secure)
        acceptor_stop(listener->secure);
    arrivals_drain(listener->arrivals);
}

void listener_end(struct listener *listener)
{
    if (listener == NULL)
        return;
    acceptor_destroy(&listener->plain);
    acceptor_destroy(&listener->secure);
    preambles_destroy(&listener->preambles);
    arrivals_destroy(&listener->arrivals);
}

void listener_destroy(struct listener **listener)
{
    if (*listener == NULL)
        return;
    listener_end(*listener);
    tls_relays_destroy(&(*listener)->relays);
    tls_destroy(&(*listener)->tls);
    free(*listener);
    *listener = NULL;
}
