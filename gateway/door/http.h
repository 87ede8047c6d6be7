/*
 * HTTP of the gateway: its few pages (/healthz, /readyz, /metrics) and its refusals, as answers for
 * arrival_answer: with a body also where the request is HEAD, without a word on the connection.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "common/buffer.h"
#include "gateway/gateway.h"
#include "gateway/door/request.h"

/* Appends the answer to a request that is no upgrade. */
void http_answer(struct gateway *, const struct request *, struct buffer *out);
/* Appends a refusal: {"error":{"code","message"}} and the headers its status asks for. */
void http_refuse(struct buffer *out, int status, const char *why);
/* Appends a 401 that asks for something else or a bearer token. */
void http_challenge(struct buffer *out, const char *challenge, const char *why);
/* Appends an answer with a JSON body. */
void http_respond(struct buffer *out, int status, struct slice body);
/* Appends a 405 that says what is allowed: "POST". */
void http_refuse_method(struct buffer *out, const char *allowed);

/* Appends the page of /metrics; arg: the gateway. */
void http_append_metrics(void *arg, struct buffer *body);

#endif
