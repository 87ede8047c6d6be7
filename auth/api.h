/*
 * The HTTP interface of auth (docs/auth.md): which path and method does what, and how answers and
 * errors look.
 */
#ifndef AUTH_API_H
#define AUTH_API_H

#include "auth/auth.h"
#include "auth/http.h"
#include "common/json.h"

struct limits;

struct api {
    struct auth *auth;
    struct json *json;
    struct limits *by_address;
    struct limits *by_user;
};

struct api *api_create(struct auth *);
void api_destroy(struct api **); /* NULL-safe; clears the pointer */
/* The handler for http_server_create; arg is the api. */
void api_on_request(void *arg, struct http_request *);

/* An answer that many endpoints give: {"error":{"code","message"}}. */
enum api_error {
    API_NO_ERROR,
    API_MALFORMED,
    API_USER_FIELDS,
    API_REFRESH_FIELD,
    API_USERNAME,
    API_PASSWORD,
    API_TTL,
    API_CREDENTIALS,
    API_TOKEN,
    API_REFRESH_TOKEN,
    API_TAKEN,
    API_NOT_FOUND,
    API_METHOD,
    API_RATE,
    API_BUSY,
    API_UNAVAILABLE,
};

/* Each ends the request. */
void api_refuse(struct http_request *, enum api_error);
void api_refuse_rate(struct http_request *, uint64_t wait_ms);
void api_answer(struct http_request *, int status, struct slice body);

/* ---- endpoints.c ---- */
typedef void api_endpoint_fn(struct api *, struct http_request *);
api_endpoint_fn endpoint_register, endpoint_login, endpoint_refresh, endpoint_logout,
    endpoint_guest;

#endif
