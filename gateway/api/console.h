/*
 * The console: a page from which a person connects to any endpoint, sends messages and sees what
 * comes (gateway/api/console/). Served when TRUNKLINE_CONSOLE is on; it needs nothing from
 * elsewhere.
 */
#ifndef GATEWAY_CONSOLE_H
#define GATEWAY_CONSOLE_H

#include "common/slice.h"

struct console_file {
    const char *path; /* "/" */
    const char *type;
    const char *text;
};

/* What its pages may do: nothing but talk to where they came from. */
#define CONSOLE_POLICY                                                                             \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "            \
    "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"

/* NULL when it has no such file. */
const struct console_file *console_find(struct slice path);

#endif
