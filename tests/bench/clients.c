#include "tests/bench/clients.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS 15000000000ull /* without any progress while connecting */
#define TURN_NS 20000000ull
#define COMPLAINTS_MAX 5
#define USER_SIZE 64

struct client {
    bool ready;
    uint64_t started_ns;
};

struct clients {
    struct clients_plan plan;
    struct connections *connections;
    struct client *all;
    unsigned started;
    char run[24]; /* makes users and topics this run's own */
    char topic[40];
    struct histogram connect_latency;
    struct clients_counts counts;
    unsigned complaints;
    const struct stamp *answering; /* what is being handed over */
    const struct clients_handler *handler;
    void *arg;
    char text[TEXT_SIZE]; /* of the request being written */
};

static void user_name(const struct clients *clients, unsigned index, char user[USER_SIZE])
{
    snprintf(user, USER_SIZE, "bench-%s-%u", clients->run, index);
}

static void complain(struct clients *clients, unsigned index, const char *what, int length)
{
    if (clients->complaints++ < COMPLAINTS_MAX)
        warnx("client %u: %.*s", index, length, what);
}

/* ---- getting ready ---- */

static void set_ready(struct clients *clients, unsigned index)
{
    struct client *client = &clients->all[index];

    if (client->ready)
        return;
    client->ready = true;
    clients->counts.ready++;
    histogram_add(&clients->connect_latency, monotonic_ns() - client->started_ns);
}

static void on_welcome(struct clients *clients, unsigned index)
{
    if (index < clients->plan.subscribers)
        connections_send(clients->connections, index, clients->text,
                         realtime_subscribe(clients->text, clients->topic));
    else
        set_ready(clients, index);
}

static void on_open(void *arg, unsigned index)
{
    struct clients *clients = arg;
    const char *greeting = clients->plan.dialect->greeting;

    if (greeting)
        connections_send(clients->connections, index, greeting, strlen(greeting));
    if (clients->plan.dialect->ready_on_open)
        set_ready(clients, index);
}

static void on_close(void *arg, unsigned index, const char *why)
{
    struct clients *clients = arg;

    if (clients->all[index].ready) {
        clients->counts.ready--;
        clients->counts.dropped++;
    } else {
        clients->counts.failed++;
    }
    clients->all[index].ready = false;
    complain(clients, index, why, 200);
}

static void hear(struct clients *clients, unsigned index, const struct said *said, const char *text,
                 size_t length)
{
    switch (said->kind) {
    case SAID_DELIVERY:
        if (said->stamp.sender == index) /* his own, as another device of his would see it */
            break;
        clients->answering = &said->stamp;
        clients->handler->on_delivery(clients->arg, index, &said->stamp);
        clients->answering = NULL;
        break;
    case SAID_ACK:
        clients->counts.acks++;
        clients->handler->on_ack(clients->arg, index, said->recipients);
        break;
    case SAID_WELCOME:
        on_welcome(clients, index);
        break;
    case SAID_SUBSCRIBED:
        set_ready(clients, index);
        break;
    case SAID_PING:
        connections_send(clients->connections, index, clients->text,
                         realtime_pong(clients->text, said->timestamp));
        break;
    case SAID_ERROR:
        clients->counts.errors++;
        complain(clients, index, text, (int)length);
        break;
    case SAID_NOTHING:
        break;
    case SAID_OTHER:
        clients->counts.strangers++;
        complain(clients, index, text, (int)length);
        break;
    }
}

static void on_text(void *arg, unsigned index, const char *text, size_t length)
{
    struct clients *clients = arg;
    struct said said;
    size_t at = 0;

    while (clients->plan.dialect->read(text, length, &at, &said))
        hear(clients, index, &said, text, length);
}

static void start_next(struct clients *clients)
{
    char user[USER_SIZE], token[TOKEN_SIZE], target[TOKEN_SIZE + USER_SIZE + 64];
    const struct dialect *dialect = clients->plan.dialect;
    unsigned index = clients->started++;

    user_name(clients, index, user);
    tokens_write(clients->plan.tokens, index, user, token);
    snprintf(target, sizeof target, "%s%s%s%s", dialect->target, token,
             dialect->naming ? dialect->naming : "", dialect->naming ? user : "");
    clients->all[index].started_ns = monotonic_ns();
    connections_open(clients->connections, index, target);
}

void clients_connect(struct clients *clients)
{
    unsigned at_once = clients->plan.connecting ? clients->plan.connecting : clients->plan.count;
    uint64_t last_progress_ns = monotonic_ns();
    unsigned settled = 0;

    while (settled < clients->plan.count && monotonic_ns() - last_progress_ns < PATIENCE_NS) {
        unsigned before = settled;

        while (clients->started < clients->plan.count && clients->started - settled < at_once)
            start_next(clients);
        clients_turn(clients, monotonic_ns() + TURN_NS);
        settled = clients->counts.ready + clients->counts.failed + clients->counts.dropped;
        if (settled != before)
            last_progress_ns = monotonic_ns();
    }
}

/* ---- what scenarios do ---- */

void clients_broadcast(struct clients *clients, unsigned index, uint32_t number, uint64_t sent_ns)
{
    struct stamp stamp = {.sent_ns = sent_ns, .sender = index, .number = number};
    size_t length = realtime_broadcast(clients->text, clients->topic, &stamp,
                                       clients->plan.payload_size, clients->plan.with_ids);

    connections_send(clients->connections, index, clients->text, length);
}

void clients_direct(struct clients *clients, unsigned index, unsigned to, uint32_t number)
{
    char user[USER_SIZE], self[USER_SIZE];
    struct letter letter = {
        .from = self,
        .to = user,
        .stamp = {.sent_ns = monotonic_ns(), .sender = index, .number = number},
        .read = clients->answering,
        .payload_size = clients->plan.payload_size,
        .with_id = clients->plan.with_ids,
    };

    user_name(clients, to, user);
    user_name(clients, index, self);
    connections_send(clients->connections, index, clients->text,
                     clients->plan.dialect->direct(clients->text, &letter));
}

void clients_turn(struct clients *clients, uint64_t until_ns)
{
    connections_turn(clients->connections, until_ns);
}

void clients_rest(struct clients *clients, double seconds)
{
    uint64_t until = monotonic_ns() + (uint64_t)(seconds * 1e9);

    while (monotonic_ns() < until)
        clients_turn(clients, until);
}

const struct histogram *clients_connect_latency(const struct clients *clients)
{
    return &clients->connect_latency;
}

const struct clients_counts *clients_counts(const struct clients *clients)
{
    return &clients->counts;
}

/* ---- life ---- */

static const struct connections_handler connections_handler = {
    .on_open = on_open, .on_text = on_text, .on_close = on_close};

struct clients *clients_create(const struct clients_plan *plan,
                               const struct clients_handler *handler, void *arg)
{
    struct clients *clients = calloc(1, sizeof *clients);

    if (tokens_limit(plan->tokens) < plan->count)
        errx(1, "%u clients need as many tokens; the list has %zu", plan->count,
             tokens_limit(plan->tokens));
    if (!clients || !(clients->all = calloc(plan->count, sizeof *clients->all)))
        err(1, "clients");
    clients->plan = *plan;
    clients->handler = handler;
    clients->arg = arg;
    snprintf(clients->run, sizeof clients->run, "%llx",
             (unsigned long long)monotonic_ns() / 1000000 << 16 | (unsigned)getpid() % 65536);
    snprintf(clients->topic, sizeof clients->topic, "bench.%s", clients->run);
    clients->connections =
        connections_create(plan->count, plan->ports, &connections_handler, clients);
    return clients;
}

void clients_destroy(struct clients **clients)
{
    if (!*clients)
        return;
    connections_destroy(&(*clients)->connections);
    free((*clients)->all);
    free(*clients);
    *clients = NULL;
}
