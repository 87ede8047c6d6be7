/*
 * The realtime protocol as the load client speaks it: the texts it sends, and what a text that
 * came is. A payload is a JSON string that opens with a stamp, padded to its size.
 */
#ifndef BENCH_REALTIME_H
#define BENCH_REALTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REALTIME_PAYLOAD_MIN 32 /* a stamp */
#define REALTIME_PAYLOAD_MAX 60000
#define REALTIME_TEXT_SIZE (REALTIME_PAYLOAD_MAX + 1024)

struct stamp {
    uint64_t sent_ns;
    uint32_t sender;
    uint32_t number;
};

enum realtime_kind {
    REALTIME_WELCOME,
    REALTIME_SUBSCRIBED,
    REALTIME_ACK,
    REALTIME_DELIVERY, /* Broadcast or DirectMessage with a stamp */
    REALTIME_ERROR,
    REALTIME_PING,
    REALTIME_OTHER,
};

struct realtime_message {
    enum realtime_kind kind;
    struct stamp stamp;  /* of a REALTIME_DELIVERY */
    long recipients;     /* of an Ack; -1: it has none */
    long long timestamp; /* of a Ping */
};

void realtime_read(const char *text, size_t length, struct realtime_message *);

/* Each writes a message and returns its length. With an id a request may be sent again. */
size_t realtime_subscribe(char text[REALTIME_TEXT_SIZE], const char *topic);
size_t realtime_pong(char text[REALTIME_TEXT_SIZE], long long timestamp);
size_t realtime_broadcast(char text[REALTIME_TEXT_SIZE], const char *topic, const struct stamp *,
                          size_t payload_size, bool with_id);
size_t realtime_direct(char text[REALTIME_TEXT_SIZE], const char *user, const struct stamp *,
                       size_t payload_size, bool with_id);

#endif
