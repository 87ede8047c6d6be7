/*
 * A small HTTP server: the only file of auth that sees libwebsockets. Whole requests come in,
 * answers go out when they are ready; bodies are at most HTTP_BODY_MAX, and every answer ends its
 * connection. Any origin may read the answers (CORS): browsers log in from pages of other sites.
 */
#ifndef AUTH_HTTP_H
#define AUTH_HTTP_H

#include "common/buffer.h"

#include <uv.h>

#define HTTP_BODY_MAX 16384

enum http_method { HTTP_GET, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER };

struct http_request; /* from the handler's call to http_respond; the client may be gone meanwhile */

enum http_method http_request_method(const struct http_request *);
const char *http_request_path(const struct http_request *); /* without the query */
struct slice http_request_body(const struct http_request *);
/* Of Authorization: Bearer; empty when there is none. */
struct slice http_request_token(const struct http_request *);
/* Of the client: behind a proxy on this machine or a private network, what that says in
 * X-Forwarded-For. */
const char *http_request_address(const struct http_request *);

struct http_answer {
    int status;
    const char *type;       /* NULL: application/json */
    struct slice body;      /* copied */
    const char *allow;      /* for 405 and OPTIONS: the methods; else NULL */
    unsigned retry_after_s; /* for 429 and 503; 0: none */
};

/* Ends the request: the pointer is void. */
void http_respond(struct http_request *, const struct http_answer *);

struct http_server;
/* Each request must be answered, once, now or later. */
typedef void http_handler_fn(void *arg, struct http_request *);
/* address: "host:port", a numeric host. NULL with what is wrong in error. */
struct http_server *http_server_create(uv_loop_t *loop, const char *address,
                                       http_handler_fn *handler, void *arg, struct buffer *error);
/* Closes all connections; requests under way are still to be answered, to nobody. */
void http_server_stop(struct http_server *);
/* After http_server_stop and a run of the loop to its end. NULL-safe; clears the pointer. */
void http_server_destroy(struct http_server **);
/* Requests without an answer yet. */
size_t http_server_requests(const struct http_server *);

#endif
