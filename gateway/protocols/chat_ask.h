/*
 * chat: questions to Redis (query.h), of requests that wait and of the session itself.
 */
#ifndef GATEWAY_PROTOCOLS_CHAT_ASK_H
#define GATEWAY_PROTOCOLS_CHAT_ASK_H

#include "gateway/protocols/chat.h"
#include "gateway/bus/query.h"

/* Members of a group whose marks a Message shows. */
#define CHAT_MARKS_MAX 100

/* The answer to a request's question, never NULL: without one the request has been answered 503. */
typedef void chat_answered_fn(struct session *, struct chat_open *, const struct bus_reply *);

/* Begins a request's questions (its command's ask), now or when others of the session have been
 * answered. */
void chat_ask_begin(struct session *, struct chat_open *);

/* ---- questions of a request; it is answered when they cannot be asked ---- */
/* The user's chats, latest first. */
void chat_ask_chats(struct session *, struct chat_open *, chat_answered_fn *);
/* The members of the request's chat, a group; nobody when he is none of them. */
void chat_ask_members(struct session *, struct chat_open *, chat_answered_fn *);
/* Events from the request's `message` on, or that one alone. */
void chat_ask_events(struct session *, struct chat_open *, bool single, chat_answered_fn *);

/* What is read of a chat: {status, name, newest, missed, messages} of each (chat_read.lua). */
struct chat_reading {
    uint64_t lowest, highest; /* of messages; highest 0: the newest */
    uint64_t count;
    bool missed;                     /* how many are not read */
    const struct bus_reply *members; /* of a group: whose marks; may be NULL */
};
void chat_ask_reading(struct session *, struct chat_open *, const struct chat_reading *,
                      chat_answered_fn *);
/* The same of several chats of one partition: those of the request's walk with these places. */
void chat_ask_readings(struct session *, struct chat_open *, const struct chat_reading *,
                       const size_t *places, size_t count, chat_answered_fn *);

/* ---- questions of the session itself; as query_ask ---- */
int chat_ask_own_chats(struct session *, query_session_fn *);
int chat_ask_own_members(struct session *, struct slice group, query_session_fn *);

uint32_t chat_partition(const struct session *, struct slice chat);

#endif
