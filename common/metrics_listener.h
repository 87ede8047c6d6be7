/*
 * GET /metrics, /healthz and /readyz of a process that has no HTTP of its own: small, bounded, one
 * answer a connection.
 */
#ifndef COMMON_METRICS_LISTENER_H
#define COMMON_METRICS_LISTENER_H

#include "common/buffer.h"

#include <stdbool.h>
#include <uv.h>

struct metrics_listener;

/* address: "127.0.0.1:9100" or "[::1]:9100". append writes the page of /metrics; ready is what
 * /readyz says. Returns NULL with the one line for the operator in error. */
struct metrics_listener *metrics_listener_create(uv_loop_t *, const char *address,
                                                 void (*append)(void *arg, struct buffer *page),
                                                 bool (*ready)(void *arg), void *arg,
                                                 struct buffer *error);
void metrics_listener_destroy(struct metrics_listener **); /* NULL-safe; clears the pointer */

#endif
