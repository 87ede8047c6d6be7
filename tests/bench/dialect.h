/*
 * The protocols as the load client speaks them: the texts it sends, and what a text that came is. A
 * payload is a text that opens with a stamp, padded to its size.
 */
#ifndef BENCH_DIALECT_H
#define BENCH_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MIN 32 /* a stamp */
#define PAYLOAD_MAX 60000
#define TEXT_SIZE (PAYLOAD_MAX + 1024)

struct stamp {
    uint64_t sent_ns;
    uint32_t sender;
    uint32_t number;
};

enum said_kind {
    SAID_WELCOME,
    SAID_SUBSCRIBED,
    SAID_ACK,
    SAID_DELIVERY, /* with a stamp */
    SAID_ERROR,
    SAID_PING,
    SAID_NOTHING, /* that a load client looks at */
    SAID_OTHER,   /* what no client expects */
};

struct said {
    enum said_kind kind;
    struct stamp stamp;  /* of a SAID_DELIVERY */
    long recipients;     /* of an Ack; -1: it has none */
    long long timestamp; /* of a Ping */
};

/* What a request says; with an id it may be sent again. */
struct letter {
    const char *from, *to;
    struct stamp stamp;
    const struct stamp *read; /* what it answers; NULL: nothing */
    size_t payload_size;
    bool with_id;
};

struct dialect {
    const char *name;
    const char *target;   /* of the upgrade; the token follows */
    const char *naming;   /* behind that, followed by the user's name; NULL: the token says it */
    const char *greeting; /* sent on opening; NULL: none */
    bool ready_on_open;   /* nothing is said to a client that has come */
    /* Writes a message to a user; returns its length. */
    size_t (*direct)(char text[TEXT_SIZE], const struct letter *);
    /* Of a text that came, what begins at *at; moves *at behind it. False at the end. */
    bool (*read)(const char *text, size_t length, size_t *at, struct said *);
};

extern const struct dialect dialect_realtime, dialect_messaging, dialect_chat, dialect_simple,
    dialect_callie;
/* NULL if there is none of this name. */
const struct dialect *dialect_find(const char *name);

/* Topics are realtime's alone. Each writes a message and returns its length. */
size_t realtime_subscribe(char text[TEXT_SIZE], const char *topic);
size_t realtime_pong(char text[TEXT_SIZE], long long timestamp);
size_t realtime_broadcast(char text[TEXT_SIZE], const char *topic, const struct stamp *,
                          size_t payload_size, bool with_id);

/* ---- for the dialects' files ---- */
/* What follows the first key in text, or NULL. The servers write JSON without blanks. */
const char *said_after(const char *text, size_t length, const char *key);
/* A stamp in hexadecimal digits. */
bool said_stamp(const char *text, const char *end, struct stamp *);
/* Writes a stamp and what pads it; returns the end. */
char *write_payload(char *at, const struct stamp *, size_t payload_size);

#endif
