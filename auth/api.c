#include "auth/api.h"

#include "auth/limits.h"
#include "auth/passwords.h"
#include "auth/signing_keys.h"
#include "common/log.h"
#include "common/xalloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of one address: behind a company's single one there may be many people. */
#define ADDRESSES_MAX 100000
#define ADDRESS_BURST 100
#define ADDRESS_INTERVAL_MS 50
/* Wrong passwords for one user; right ones do not count. */
#define USERS_MAX 100000
#define USER_BURST 10
#define USER_INTERVAL_MS 5000

static const struct {
    int status;
    unsigned wait_ms;
    const char *code, *message;
} errors[] = {
    [API_MALFORMED] = {400, 0, "malformed", "the body is no JSON object, or has a key twice"},
    [API_USER_FIELDS] = {400, 0, "invalid_field", "username and password must be texts"},
    [API_REFRESH_FIELD] = {400, 0, "invalid_field", "refresh_token must be a text"},
    [API_USERNAME] = {400, 0, "invalid_username",
                      "username: 1 to 128 bytes, no control characters, no reserved name"},
    [API_PASSWORD] = {400, 0, "invalid_password", "password: 8 to 1024 bytes"},
    [API_TTL] = {400, 0, "invalid_ttl", "ttl: whole seconds, from 1 to the configured lifetime"},
    [API_CREDENTIALS] = {401, 0, "invalid_credentials", "wrong username or password"},
    [API_TOKEN] = {401, 0, "invalid_token", "a valid bearer token is required"},
    [API_REFRESH_TOKEN] = {401, 0, "invalid_refresh_token",
                           "the refresh token is unknown, expired or spent"},
    [API_TAKEN] = {409, 0, "username_taken", "this username is taken"},
    [API_NOT_FOUND] = {404, 0, "not_found", "there is nothing here"},
    [API_METHOD] = {405, 0, "method_not_allowed", "this path does not know the method"},
    [API_RATE] = {429, 0, "rate_limited", "too many requests"},
    [API_BUSY] = {503, 1000, "busy", "too many passwords are being checked"},
    [API_UNAVAILABLE] = {503, 1000, "unavailable", "the service is not available at the moment"},
};

/* ---- answers -----------------------------------------------------------------------------------
 */

void api_answer(struct http_request *request, int status, struct slice body)
{
    http_respond(request, &(struct http_answer){.status = status, .body = body});
}

/* wait_ms: when to try again, 0 if that is not known. */
static void refuse(struct http_request *request, enum api_error error, uint64_t wait_ms,
                   const char *allow)
{
    struct buffer body = {0};

    if (errors[error].status == 503)
        auth_count(AUTH_UNAVAILABLE);
    buffer_appendf(&body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"", errors[error].code,
                   errors[error].message);
    if (wait_ms > 0)
        buffer_appendf(&body, ",\"retry_after_ms\":%" PRIu64, wait_ms);
    buffer_append_text(&body, "}}");
    http_respond(request,
                 &(struct http_answer){.status = errors[error].status,
                                       .body = buffer_slice(&body),
                                       .allow = allow,
                                       .retry_after_s = (unsigned)((wait_ms + 999) / 1000)});
    buffer_finish(&body);
}

void api_refuse(struct http_request *request, enum api_error error)
{
    refuse(request, error, errors[error].wait_ms, NULL);
}

void api_refuse_rate(struct http_request *request, uint64_t wait_ms)
{
    auth_count(AUTH_RATE_LIMITED);
    refuse(request, API_RATE, wait_ms, NULL);
}

/* ---- endpoints that need nobody ----------------------------------------------------------------
 */

static void endpoint_jwks(struct api *api, struct http_request *request)
{
    struct buffer body = {0};

    signing_keys_append_jwks(api->auth->keys, &body);
    api_answer(request, 200, buffer_slice(&body));
    buffer_finish(&body);
}

static void endpoint_health(struct api *api, struct http_request *request)
{
    (void)api;
    api_answer(request, 200, slice_text("{\"status\":\"ok\"}"));
}

static void endpoint_ready(struct api *api, struct http_request *request)
{
    if (api->auth->ready)
        api_answer(request, 200, slice_text("{\"status\":\"ready\"}"));
    else
        api_refuse(request, API_UNAVAILABLE);
}

static void endpoint_metrics(struct api *api, struct http_request *request)
{
    struct buffer body = {0};

    metrics_text(&body, api->auth->name, auth_metrics, AUTH_METRICS);
    http_respond(request, &(struct http_answer){.status = 200,
                                                .type = "text/plain; version=0.0.4",
                                                .body = buffer_slice(&body)});
    buffer_finish(&body);
}

/* ---- the way of a request ----------------------------------------------------------------------
 */

static const struct endpoint {
    const char *path;
    enum http_method method;
    bool limited; /* by address; these need Redis */
    api_endpoint_fn *handler;
} endpoints[] = {
    {"/register", HTTP_POST, true, endpoint_register},
    {"/login", HTTP_POST, true, endpoint_login},
    {"/refresh", HTTP_POST, true, endpoint_refresh},
    {"/logout", HTTP_POST, true, endpoint_logout},
    {"/guest", HTTP_POST, true, endpoint_guest},
    {"/.well-known/jwks.json", HTTP_GET, false, endpoint_jwks},
    {"/healthz", HTTP_GET, false, endpoint_health},
    {"/readyz", HTTP_GET, false, endpoint_ready},
    {"/metrics", HTTP_GET, false, endpoint_metrics},
};

static const struct endpoint *find_endpoint(const char *path)
{
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++)
        if (strcmp(endpoints[i].path, path) == 0)
            return &endpoints[i];
    return NULL;
}

/* Answers what the endpoint does not do: another method, a browser's question before a request. */
static void answer_method(const struct endpoint *endpoint, struct http_request *request)
{
    const char *allow = endpoint->method == HTTP_POST ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";

    if (http_request_method(request) == HTTP_OPTIONS)
        http_respond(request, &(struct http_answer){.status = 204, .allow = allow});
    else
        refuse(request, API_METHOD, 0, allow);
}

void api_on_request(void *arg, struct http_request *request)
{
    struct api *api = arg;
    const struct endpoint *endpoint = find_endpoint(http_request_path(request));
    uint64_t wait_ms = 0;

    auth_count(AUTH_REQUESTS);
    if (endpoint == NULL) {
        api_refuse(request, API_NOT_FOUND);
        return;
    }
    if (endpoint->method != http_request_method(request)) {
        answer_method(endpoint, request);
        return;
    }
    if (endpoint->limited && api->auth->deployment.partitions == 0) {
        api_refuse(request, API_UNAVAILABLE);
        return;
    }
    if (endpoint->limited && api->auth->settings.rate_limits)
        wait_ms = limits_take(api->by_address, slice_text(http_request_address(request)),
                              uv_now(api->auth->loop));
    if (wait_ms > 0)
        api_refuse_rate(request, wait_ms);
    else
        endpoint->handler(api, request);
}

struct api *api_create(struct auth *auth)
{
    struct api *api = xcalloc(1, sizeof(*api));

    api->auth = auth;
    api->json = json_create();
    api->by_address = limits_create(ADDRESSES_MAX, ADDRESS_BURST, ADDRESS_INTERVAL_MS);
    api->by_user = limits_create(USERS_MAX, USER_BURST, USER_INTERVAL_MS);
    return api;
}

void api_destroy(struct api **api)
{
    if (*api == NULL)
        return;
    json_destroy(&(*api)->json);
    limits_destroy(&(*api)->by_address);
    limits_destroy(&(*api)->by_user);
    free(*api);
    *api = NULL;
}
