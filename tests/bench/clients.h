/*
 * Clients of one protocol: each connects with a token of its own, waits for Welcome, subscribes if
 * it is to, and is ready then. Deliveries and acks are handed over; all the rest is counted here.
 */
#ifndef BENCH_CLIENTS_H
#define BENCH_CLIENTS_H

#include "tests/bench/connections.h"
#include "tests/bench/dialect.h"
#include "tests/bench/measure.h"
#include "tests/bench/token.h"

struct clients;

struct clients_plan {
    const struct dialect *dialect;
    unsigned count;
    unsigned subscribers; /* the first so many subscribe to the topic */
    unsigned connecting;  /* so many at once, 0: all */
    unsigned payload_size;
    bool with_ids; /* requests carry ids of the client's own */
    const struct ports *ports;
    const struct tokens *tokens;
};

struct clients_handler {
    void (*on_delivery)(void *arg, unsigned index, const struct stamp *);
    void (*on_ack)(void *arg, unsigned index, long recipients);
};

struct clients_counts {
    unsigned ready;                   /* now */
    unsigned failed;                  /* before they were ready */
    unsigned dropped;                 /* closed by the server after that */
    uint64_t acks, errors, strangers; /* strangers: texts that no client expects */
};

struct clients *clients_create(const struct clients_plan *, const struct clients_handler *,
                               void *arg);
void clients_destroy(struct clients **);
/* Connects all of them. Returns when each is ready or failed, or nothing has happened for 15 s. */
void clients_connect(struct clients *);
/* From the start of connecting to ready, in nanoseconds. */
const struct histogram *clients_connect_latency(const struct clients *);
const struct clients_counts *clients_counts(const struct clients *);
void clients_turn(struct clients *, uint64_t until_ns);
void clients_rest(struct clients *, double seconds);
void clients_broadcast(struct clients *, unsigned index, uint32_t number, uint64_t sent_ns);
void clients_direct(struct clients *, unsigned index, unsigned to, uint32_t number);

#endif
