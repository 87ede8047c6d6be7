/*
 * The life of a process, the same for all three kinds: settings, log, loop, Redis, agreement on the
 * deployment, running, an orderly end. What the operator has set wrongly is one line on stderr and
 * exit 1 (Redis' refusal of the password, too); a Redis that is not there, at the start or later,
 * is a state, logged when it changes.
 */
#ifndef COMMON_PROCESS_H
#define COMMON_PROCESS_H

#include "common/bus.h"
#include "common/keys.h"
#include "common/settings.h"

#include <uv.h>

struct process;

struct process_kind {
    const char *name; /* "router" */
    enum settings_process settings;
    /* The loop is there, the bus was made and is not connected yet: adds scripts, opens what may be
       refused (ports, files). Returns 0, or -1 with the one line for the operator in error. */
    int (*on_start)(struct process *, struct buffer *error);
    /* Redis answers and all agree on the deployment: the first time (as on_start), and each time.
     */
    int (*on_ready)(struct process *, struct buffer *error);
    void (*on_up)(struct process *);
    /* Redis is away. Only after on_ready. May be NULL, like on_up. */
    void (*on_down)(struct process *, const char *reason);
    /* SIGTERM or SIGINT, only after on_ready: must end in process_end, now or later. A second
       signal does not wait. */
    void (*on_stop)(struct process *);
    /* SIGHUP, once it is ready: reads files again. May be NULL: nothing to read. */
    void (*on_reload)(struct process *);
    /* Closes all it has on the loop, in reverse order of its start; also after a start that failed
     * half-way. */
    void (*on_finish)(struct process *);
    /* The loop has run out: frees what had to wait for that. May be NULL. */
    void (*on_finished)(struct process *);
};

struct process {
    const struct process_kind *kind;
    uv_loop_t loop;
    struct settings settings;
    struct bus_address address;
    struct deployment deployment;
    char name[64];
    struct bus *bus;
    struct name_claim *claim;

    uv_signal_t signals[3];
    uv_timer_t agreement;
    bool agreed; /* on this connection to Redis */
    bool named;  /* no other process has the name */
    bool ready, stopping, finished;
    char away[256]; /* why Redis is; empty when it is not */
    int status;
};

/* Runs until the end; returns the exit status. Called by main and nobody else. */
int process_main(struct process *, const struct process_kind *, int argc, char **argv);
/* Ends with status 0: on_finish, then the loop runs out. */
void process_end(struct process *);
#endif
