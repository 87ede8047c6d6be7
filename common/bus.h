/*
 * One connection to Redis on a libuv loop: the only file that sees hiredis. It connects again by
 * itself with backoff, loads its scripts on each connection, and never blocks: names are resolved
 * by uv_getaddrinfo. Everything is in the order it was sent.
 */
#ifndef COMMON_BUS_H
#define COMMON_BUS_H

#include "common/bus_address.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct bus;
struct bus_reply; /* valid during the callback only */

struct bus_options {
    const struct bus_address *address; /* copied */
    const char *client_name;           /* CLIENT SETNAME; copied */
    /* Each time it is connected, authenticated and its scripts are loaded. */
    void (*on_up)(void *arg);
    /* Each time a connection is lost or an attempt failed; every callback in flight has run with
       NULL before. It tries again by itself; reason names host, port and cause, and is valid during
       the call. */
    void (*on_down)(void *arg, const char *reason);
    void *arg;
};

/* A script: text embedded in the program, name for errors. sha is filled when it is loaded.
   Static; shared by buses. */
struct bus_script {
    const char *name;
    const char *text;
    char sha[41];
};

/* Starts to connect; callbacks come from the loop, never from inside this call. */
struct bus *bus_create(uv_loop_t *, const struct bus_options *);
/* Closes, at any moment, also inside a callback; callbacks in flight run with NULL now, on_down
   does not. The loop frees the rest in its next turn. NULL-safe; clears the pointer. */
void bus_destroy(struct bus **);
bool bus_is_up(const struct bus *);
/* Of on_down: Redis answered with a refusal that no waiting changes (a password, a permission). */
bool bus_is_refused(const struct bus *);
/* Of CLIENT ID on this connection, 0 while down: for CLIENT UNBLOCK from another bus. */
uint64_t bus_client_id(const struct bus *);
/* Loaded on each connection from then on; call before the first on_up. */
void bus_add_script(struct bus *, struct bus_script *);

/*
 * reply is NULL when the connection was lost first (it may or may not have run), an error reply
 * when Redis refused. arg is as given.
 */
typedef void bus_reply_fn(void *arg, const struct bus_reply *reply);

/* Sends one command. callback may be NULL. Returns 0, or -ENOTCONN while down or without a bus
   (callback is not called). Bytes are copied; all of a loop turn goes out in one write. */
int bus_command(struct bus *, bus_reply_fn *callback, void *arg, size_t argc,
                const struct slice *argv) __attribute__((warn_unused_result));
/* The same from words (const char *), for short fixed commands:
   bus_command_text(bus, cb, arg, "XLEN", key, NULL). */
int bus_command_text(struct bus *, bus_reply_fn *callback, void *arg, ...)
    __attribute__((sentinel, warn_unused_result));
/*
 * EVALSHA of a script that was added: argv holds key_count keys, then the arguments. NOSCRIPT and
 * READONLY arrive as error replies that mean "not run"; after NOSCRIPT the script is loaded again
 * by itself, so the caller's next try works.
 */
int bus_eval(struct bus *, struct bus_script *, bus_reply_fn *callback, void *arg, size_t key_count,
             size_t argc, const struct slice *argv) __attribute__((warn_unused_result));

/*
 * Commands as Redis reads them (common/command.h), count of them, at least one, run as one: MULTI,
 * these, EXEC. The reply is the first error when one of them was refused (then none has run), else
 * what EXEC says: an answer for each, or nil when a key that this connection watches has changed.
 * Bytes are copied.
 */
int bus_transaction(struct bus *, bus_reply_fn *callback, void *arg, struct slice commands,
                    size_t count) __attribute__((warn_unused_result));

/* ---- replies; each is safe on NULL ---- */
enum bus_reply_kind { BUS_NONE, BUS_NIL, BUS_INTEGER, BUS_TEXT, BUS_STATUS, BUS_ERROR, BUS_ARRAY };
enum bus_reply_kind bus_reply_kind(const struct bus_reply *); /* BUS_NONE for NULL */
int64_t bus_reply_integer(const struct bus_reply *);          /* 0 if it is none */
struct slice bus_reply_text(const struct bus_reply *); /* of TEXT, STATUS, ERROR; else empty */
size_t bus_reply_count(const struct bus_reply *);      /* 0 if it is no array */
const struct bus_reply *bus_reply_at(const struct bus_reply *, size_t index); /* NULL beyond */
/* The value after field in a flat array of pairs (HGETALL, stream fields); NULL if absent. */
const struct bus_reply *bus_reply_field(const struct bus_reply *, const char *field);
/* An error that says the command did not run: NOSCRIPT, READONLY, LOADING, MASTERDOWN. */
bool bus_reply_not_run(const struct bus_reply *);

#endif
