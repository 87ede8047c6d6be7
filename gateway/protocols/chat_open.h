/*
 * chat: what a connection remembers of its requests, within limits: those that wait for an answer,
 * and the answers of the last ones, for a client that asks again. Pure memory.
 */
#ifndef GATEWAY_PROTOCOLS_CHAT_OPEN_H
#define GATEWAY_PROTOCOLS_CHAT_OPEN_H

#include "common/buffer.h"
#include "common/slice.h"
#include "gateway/protocols/chat_encode.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Requests of one connection that wait. */
#define CHAT_OPEN_MAX 256
/* Answers that are remembered, and their bytes. A longer one than an eighth of these is not: only
 * what is read is so long, and reading twice does no harm. */
#define CHAT_ANSWERS_MAX 256
#define CHAT_ANSWERS_BYTES (128u << 10)

/* Names in a row. */
struct chat_list {
    struct buffer bytes;
    struct buffer ends; /* of size_t */
    size_t next;        /* for whoever walks it */
};
void chat_list_add(struct chat_list *, struct slice name);
size_t chat_list_count(const struct chat_list *);
struct slice chat_list_at(const struct chat_list *, size_t index);
void chat_list_finish(struct chat_list *);

/* Chats that are read one partition after another. */
struct chat_walk {
    struct chat_list chats;
    struct chat_part *parts; /* of each chat */
    size_t room;             /* bytes that may still be read */
};
struct chat_part {
    uint32_t partition;
    bool done;
    struct buffer json; /* empty: it is none of the user's */
};

struct bus_reply;
struct chat_command;
struct session;

struct chat_open {
    TAILQ_ENTRY(chat_open) link;
    uint64_t number; /* the request's on the bus */
    uint64_t deadline_ms;
    const struct chat_command *command;
    struct chat_name name;
    struct slice chat;      /* the name of the chat, and the JSON that the client wrote */
    struct slice chat_json; /* may be empty */
    struct slice client_id; /* clientMessageId as JSON; may be empty */
    uint64_t message;       /* messageId, eventId, lastEventId; or the newest asked for */
    uint64_t count;
    struct chat_walk *walk;
    bool waiting; /* to ask Redis */
    bool asked;   /* once at least: that is what was admitted */
    void (*answered)(struct session *, struct chat_open *, const struct bus_reply *);
    char bytes[]; /* of the slices */
};

TAILQ_HEAD(chat_open_queue, chat_open);
struct chat_open_list {
    struct chat_open_queue queue; /* in the order of their numbers, and deadlines */
    size_t count;
    size_t waiting;
};

void chat_open_init(struct chat_open_list *);
void chat_open_finish(struct chat_open_list *);
/* wanted is copied, with all its slices. NULL when there are CHAT_OPEN_MAX. */
struct chat_open *chat_open_add(struct chat_open_list *, const struct chat_open *wanted);
struct chat_open *chat_open_find(struct chat_open_list *, uint64_t number);
/* Whether the request with this id waits. */
bool chat_open_has(const struct chat_open_list *, struct slice id);
/* It waits for its turn to ask; the next one whose turn it is, or NULL. */
void chat_open_wait(struct chat_open_list *, struct chat_open *);
struct chat_open *chat_open_next_waiting(struct chat_open_list *);
void chat_open_remove(struct chat_open_list *, struct chat_open *);
struct chat_open *chat_open_first(const struct chat_open_list *);

/* Requests that may be done although their answer was 503: the newest CHAT_OPEN_MAX of them, and
 * all up to the newest that is remembered no more. Zeroed memory is ready. */
struct chat_given_up {
    uint64_t *numbers; /* a ring; NULL: none */
    size_t next;
    uint64_t forgotten;
};
void chat_give_up(struct chat_given_up *, uint64_t number);
bool chat_was_given_up(const struct chat_given_up *, uint64_t number);
void chat_given_up_finish(struct chat_given_up *);

struct chat_known;
/* A ring. Zeroed memory is ready. */
struct chat_answers {
    struct chat_known *known;
    unsigned *hashes; /* of their ids, side by side: most requests are new, and touch no more */
    size_t capacity;  /* 0, or a power of two */
    size_t first, count, bytes;
};

/* The oldest go to make room. */
void chat_answers_keep(struct chat_answers *, struct slice id, struct slice answer);
/* Empty when it is not known. */
struct slice chat_answers_find(const struct chat_answers *, struct slice id);
void chat_answers_finish(struct chat_answers *);

#endif
