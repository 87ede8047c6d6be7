#include "gateway/door/http.h"

#include "common/bus.h"
#include "common/histogram.h"
#include "common/metrics.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"
#include "gateway/api/console.h"

#include <stdio.h>
#include <string.h>

/* ---- statuses ---- */

static const struct status {
    int code;
    const char *reason;
    const char *headers; /* that the status asks for */
} statuses[] = {
    {200, "OK", ""},
    {400, "Bad Request", ""},
    {401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
    {403, "Forbidden", ""},
    {404, "Not Found", ""},
    {405, "Method Not Allowed", "Allow: GET, HEAD\r\n"},
    {408, "Request Timeout", ""},
    {411, "Length Required", ""},
    {413, "Content Too Large", ""},
    {415, "Unsupported Media Type", ""},
    {426, "Upgrade Required",
     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {429, "Too Many Requests", "Retry-After: 1\r\n"},
    {431, "Request Header Fields Too Large", ""},
    {501, "Not Implemented", ""},
    {503, "Service Unavailable", "Retry-After: 2\r\n"},
    {504, "Gateway Timeout", ""},
    {507, "Insufficient Storage", ""},
    {500, "Internal Server Error", ""}, /* last: any other */
};

static const struct status *find_status(int code)
{
    const struct status *status = statuses;

    while (status->code != code && status->code != 500)
        status++;
    return status;
}

static void append_with(struct buffer *out, const struct status *status, const char *type,
                        struct slice body)
{
    buffer_appendf(out,
                   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                   "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n",
                   status->code, status->reason, type, body.length, status->headers);
    buffer_append_slice(out, body);
}

static void append_answer(struct buffer *out, int code, const char *type, struct slice body)
{
    append_with(out, find_status(code), type, body);
}

void http_respond(struct buffer *out, int code, struct slice body)
{
    append_answer(out, code, "application/json", body);
}

void http_refuse_method(struct buffer *out, const char *allowed)
{
    char headers[64];
    const struct status status = {405, "Method Not Allowed", headers};

    snprintf(headers, sizeof(headers), "Allow: %s\r\n", allowed);
    append_with(out, &status, "application/json",
                slice_text("{\"error\":{\"code\":405,\"message\":\"not by this method\"}}\n"));
}

static void append_refusal(struct buffer *out, const struct status *status, const char *why)
{
    struct buffer body = {0};

    buffer_appendf(&body, "{\"error\":{\"code\":%d,\"message\":", status->code);
    buffer_append_json_string(&body, slice_text(why));
    buffer_append_text(&body, "}}\n");
    append_with(out, status, "application/json", buffer_slice(&body));
    buffer_finish(&body);
}

void http_refuse(struct buffer *out, int code, const char *why)
{
    append_refusal(out, find_status(code), why);
}

void http_challenge(struct buffer *out, const char *challenge, const char *why)
{
    char headers[128];
    const struct status status = {401, "Unauthorized", headers};

    snprintf(headers, sizeof(headers), "WWW-Authenticate: %s\r\nWWW-Authenticate: Bearer\r\n",
             challenge);
    append_refusal(out, &status, why);
}

/* ---- pages: each appends its body and returns its status ---- */

/* The process runs its loop. */
static int healthz_page(struct gateway *gateway, struct buffer *body)
{
    buffer_append_text(body, "{\"status\":\"ok\",\"name\":");
    buffer_append_json_string(body, slice_text(gateway->name));
    buffer_append_text(body, "}\n");
    return 200;
}

static const char *hop_at_fault(struct gateway *gateway)
{
    if (!bus_is_up(gateway->bus))
        return "redis";
    if (gateway_partitions_answering(gateway) > 0 && !gateway_can_identify(gateway))
        return "auth";
    return "router";
}

/* Red when no partition answers (one that is silent alone is a metric and an alarm: else one lease
 * time would take every gateway out of the balancer) or no token can be checked, with the hop that
 * is at fault. */
static int readyz_page(struct gateway *gateway, struct buffer *body)
{
    uint32_t answering = gateway_partitions_answering(gateway);
    bool ready = gateway_is_ready(gateway);
    const char *status = gateway->draining ? "draining" : ready ? "ready" : "unavailable";

    buffer_appendf(body, "{\"status\":\"%s\",\"partitions_answering\":%u,\"partitions\":%u", status,
                   answering, gateway->deployment.partitions);
    if (!ready && !gateway->draining)
        buffer_appendf(body, ",\"hop\":\"%s\"", hop_at_fault(gateway));
    buffer_append_text(body, "}\n");
    return ready ? 200 : 503;
}

static void count_protocol(struct session *session, void *arg)
{
    ((size_t *)arg)[session->protocol->id]++;
}

static void append_protocols(struct gateway *gateway, struct buffer *body)
{
    size_t counts[PROTOCOL_SLOTS] = {0};

    if (gateway->sessions != NULL)
        sessions_each(gateway->sessions, count_protocol, counts);
    buffer_append_text(body, "# HELP trunkline_protocol_connections WebSocket connections open\n"
                             "# TYPE trunkline_protocol_connections gauge\n");
    for (size_t i = 0; protocols[i]; i++) {
        buffer_append_text(body, "trunkline_protocol_connections{process=\"");
        metrics_append_label(body, gateway->name);
        buffer_appendf(body, "\",protocol=\"%s\"} %zu\n", protocols[i]->name,
                       counts[protocols[i]->id]);
    }
}

void http_append_metrics(void *arg, struct buffer *body)
{
    struct gateway *gateway = arg;

    gateway_refresh_metrics(gateway);
    metrics_text(body, gateway->name, gateway_metrics, GATEWAY_METRICS);
    histograms_text(body, gateway->name, gateway_histograms, GATEWAY_HISTOGRAMS);
    append_protocols(gateway, body);
}

static int metrics_page(struct gateway *gateway, struct buffer *body)
{
    http_append_metrics(gateway, body);
    return 200;
}

static const struct {
    const char *path;
    const char *type;
    int (*append)(struct gateway *, struct buffer *body);
} pages[] = {
    {"/healthz", "application/json", healthz_page},
    {"/readyz", "application/json", readyz_page},
    {"/metrics", "text/plain; version=0.0.4", metrics_page},
};

/* False when there is no such page. */
static bool append_console(const struct gateway *gateway, struct slice path, struct buffer *out)
{
    const struct console_file *file = gateway->settings.console ? console_find(path) : NULL;
    const struct status status = {200, "OK", CONSOLE_POLICY};

    if (file)
        append_with(out, &status, file->type, slice_text(file->text));
    return file != NULL;
}

void http_answer(struct gateway *gateway, const struct request *request, struct buffer *out)
{
    struct buffer body = {0};

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        int status;

        if (!slice_is(request->path, pages[i].path))
            continue;
        status = pages[i].append(gateway, &body);
        append_answer(out, status, pages[i].type, buffer_slice(&body));
        buffer_finish(&body);
        return;
    }
    if (!append_console(gateway, request->path, out))
        http_refuse(out, 404, "there is nothing here");
}
