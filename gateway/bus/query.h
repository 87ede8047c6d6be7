/*
 * Questions to Redis that routers stay out of: read-only scripts on the keys of one partition
 * (messages of a chat, a user's chats, members), asked for a session or for somebody else. A script
 * is embedded, begins with "#!lua flags=no-writes", and has all its keys declared; it is what
 * judges whether the asker may see what he asks for. So many at once as settings.queries says are
 * Redis' to answer, the others wait for their turn.
 */
#ifndef GATEWAY_QUERY_H
#define GATEWAY_QUERY_H

#include "common/bus.h"
#include "gateway/gateway.h"

struct session;

/* Questions of one session that are not answered yet. */
#define QUERIES_OPEN_MAX 16

/* A key of the partition, as key_partition names it: "log", "alice\nbob". */
struct query_key {
    const char *what;
    struct slice name;
};

/* Everything is copied but the script, which protocol->scripts lists, or queries_add_scripts. */
struct query {
    struct bus_script *script;
    uint32_t partition;
    const struct query_key *keys;
    size_t key_count;
    const struct slice *arguments;
    size_t argument_count;
};

/*
 * The answer: later, never inside query_ask. reply is NULL when there is none: Redis is away, has
 * refused the script (logged), or has not answered within 5 s of the asking; otherwise it is no
 * error, and valid during the call.
 */
typedef void query_session_fn(struct session *, uint64_t request, const struct bus_reply *reply);
typedef void query_fn(void *arg, uint64_t request, const struct bus_reply *reply);

/* Before the bus is up for the first time: those of all protocols and of the HTTP API. */
void queries_add_scripts(struct bus *);
struct queries *queries_create(struct gateway *);
/* Questions that are open are not answered any more. */
void queries_destroy(struct queries **);
/*
 * Asks for a session; answer is not called when it is gone (or closing). request is passed through.
 * Returns 0, -EBUSY when it has QUERIES_OPEN_MAX open or all sessions together too many, -ENOTCONN
 * while Redis is away. What it costs is for the protocol to charge (LIMIT_READ).
 */
int query_ask(struct queries *, const struct query *, struct session *, uint64_t request,
              query_session_fn *answer) __attribute__((warn_unused_result));
/* The same for others. *number (may be NULL) is for query_forget. */
int query_ask_for(struct queries *, const struct query *, uint64_t request, query_fn *answer,
                  void *arg, uint64_t *number) __attribute__((warn_unused_result));
/* The answer is not wanted any more. One that has come is no error. */
void query_forget(struct queries *, uint64_t number);

#endif
