/*
 * The inside of mailboxes, shared by message.c (messages), store.c (their entries in Redis),
 * mailbox.c (on their way, waiting, confirmed), unread.c (kept until read) and replay.c (all of it
 * again, for those who want that), and nobody else. See state.h.
 */
#ifndef ROUTER_MAILBOX_H
#define ROUTER_MAILBOX_H

#include "router/state.h"

/* ---- message.c ---- */
struct message *message_new(struct slice from, struct slice chat, struct slice id,
                            struct slice body, struct slice metadata);
bool message_expired(const struct engine *, const struct message *);
struct target *message_target(struct message *, const struct gateway *, uint64_t connection);
void message_add_target(struct message *, struct gateway *, uint64_t connection);
void message_remove_target(struct message *, struct target *);
/* To connections of the user at one gateway. */
void message_say(const struct user *, const struct message *, struct gateway *,
                 const uint64_t *connections, size_t count, enum delivery_priority);

/* ---- store.c ---- */
void store_message(struct engine *, struct user *, struct message *);
/* It goes out of the mailbox: confirmed, read, expired or dropped. */
void unstore_message(struct engine *, struct user *, const struct message *);
/* The same of an entry that is known by its number only; size: message_size. */
void unstore_entry(struct engine *, struct user *, struct number number, size_t size);
/* Takes what left the mailbox in this commit out of Redis: one effect a user. */
void store_finish(struct engine *, struct user *);
bool store_full(const struct engine *, const struct user *);
/* A message as its entry has it. */
struct message *store_read(const struct engine_page_entry *);

/* ---- mailbox.c ---- */
/* Whether it is the oldest that is pending. */
bool mailbox_next_is(const struct user *, struct number number);
/* Out of memory: it was read by its user before it was confirmed, or is too old. */
void mailbox_forget(struct engine *, struct user *, struct number number);

/* The mark is over: what was confirmed out of turn goes. */
void mailbox_end_keep(struct engine *, struct user *);

/* ---- unread.c ---- */
bool unread_known(const struct user *, struct number number);
/* While the page that has come was on its way. */
bool unread_was_read(const struct user *, struct number number);
void unread_forget_gone(struct user *);
/* Enters it into the index, unless it is there; in Redis only if it is stored. */
void unread_add(struct engine *, struct user *, const struct message *);
/* Writes what was added in this commit. */
void unread_finish(struct engine *, struct user *);
void unread_remove(struct user *, struct number number);
/* With nothing unconfirmed, the watermark is above all that the output streams hold. */
void unread_settle(struct engine *, struct user *);
/* A confirmed message of a user whose messages are kept: it stays, below the watermark. */
void unread_confirm(struct engine *, struct user *, const struct message *);
/* The oldest entry above `after` that was confirmed; false if there is none. */
bool unread_next(const struct user *, struct number after, struct number *number);
/* Whether the same message of the same sender waits to be read; then *reply says what became of
 * it. */
bool unread_repeated(const struct user *, const struct message *, struct frame_direct_reply *reply);

#endif
