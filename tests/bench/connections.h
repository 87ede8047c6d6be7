/*
 * Many WebSocket connections to 127.0.0.1 on one epoll, known by their index. What is sent during a
 * turn leaves in one write per connection at the next; what comes is handed over message by
 * message.
 */
#ifndef BENCH_CONNECTIONS_H
#define BENCH_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

#define CONNECTIONS_PORTS_MAX 64

struct connections;

struct connections_handler {
    void (*on_open)(void *arg, unsigned index); /* the upgrade was accepted */
    void (*on_text)(void *arg, unsigned index, const char *text, size_t length);
    void (*on_close)(void *arg, unsigned index, const char *why); /* also: it could not be opened */
};

/* Connection i goes to port i modulo count: neighbours use different gateways. */
struct ports {
    unsigned count;
    uint16_t port[CONNECTIONS_PORTS_MAX];
};

/* Ends the program when the system allows fewer descriptors than connections. */
struct connections *connections_create(unsigned count, const struct ports *ports,
                                       const struct connections_handler *, void *arg);
void connections_destroy(struct connections **);
/* Starts connecting and asks for target ("/ws?token=..."); on_open or on_close follows. */
void connections_open(struct connections *, unsigned index, const char *target);
/* On a connection that is not open: nothing. */
void connections_send(struct connections *, unsigned index, const char *text, size_t length);
/* One turn: writes what was sent, waits for events until then (monotonic_ns), handles them. */
void connections_turn(struct connections *, uint64_t until_ns);

uint64_t monotonic_ns(void);

#endif
