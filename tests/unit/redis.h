/*
 * A private Redis for a test: its own port and directory, ended by its process id. Every failure to
 * start or stop it is a failed assertion.
 */
#ifndef TESTS_UNIT_REDIS_H
#define TESTS_UNIT_REDIS_H

struct redis;

/* Starts redis-server; arguments ("--name value", NULL at the end) may be NULL. Returns when it
   answers. */
struct redis *redis_start(const char *const *arguments);
/* Ends it as kill -9 does, and returns when it is gone. Port and directory stay. */
void redis_kill(struct redis *);
/* Starts it again where it was, with other arguments; does not wait until it has loaded its data.
 */
void redis_again(struct redis *, const char *const *arguments);
int redis_port(const struct redis *);
/* Kills it and removes its directory. NULL-safe; clears the pointer. */
void redis_destroy(struct redis **);

/* A port of 127.0.0.1 on which nothing listens. */
int free_port(void);
/* A socket that listens on 127.0.0.1, and its port. Connections are left to accept. */
int listen_somewhere(int *port);

#endif
