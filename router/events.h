/*
 * Events of users and those who follow them (docs/delivery.md, S12), inside the engine: events.c
 * (the log, what happened), follow.c (followers and their pages), signals.c (what is never kept),
 * groups.c (who is in a group).
 */
#ifndef ROUTER_EVENTS_H
#define ROUTER_EVENTS_H

#include "router/state.h"

/* Of a connection that follows, kept with its flags: it has events only up to connection->event. */
#define CONNECTION_BEHIND (1u << 16)

/* ---- events.c ---- */
/* Handler: something happened in a conversation of these users. */
void events_on_happened(struct engine *, const struct frame_conversation_event *);
/* One more event of a user who is marked; those who follow live get it. */
void events_append(struct engine *, struct user *, const struct frame_conversation_event *);
/* What is older than the log keeps goes. */
void events_age(struct engine *, struct user *);
/* A direct message to one who follows events goes to the dialog: true, and *reply says so. */
bool events_take_direct(struct engine *, struct user *, const struct frame_direct_message *,
                        struct frame_direct_reply *reply);
/* To the dialog that it belongs to. */
void events_forward(struct engine *, struct frame_post_forwarded *);
/* What the commit adds to his log, and takes from it. */
void events_finish(struct engine *, struct user *);
/* His fields in `user:<id>`. */
size_t events_record_pairs(const struct user *);
void events_write_record(struct engine *, struct user *);
/* Nothing of them stays (of a guest who is gone). */
void events_forget(struct engine *, struct user *);
void events_load_days(struct user *, struct slice days);
void chats_add(struct engine *, struct user *, struct slice chat, uint64_t at_ms);
void chats_remove(struct engine *, struct user *, struct slice chat);
/* Cuts off the first of users, each ended by a newline; lines without a name are none. */
bool events_next_user(struct slice *lines, struct slice *user);

/* ---- follow.c ---- */
void follow_on_request(struct engine *, struct gateway *, const struct frame_events_follow *);
/* A gateway announces a follower: it was handed events up to this one. */
void follow_resume(struct engine *, struct connection *, uint64_t event);
void follow_on_closed(struct engine *, struct connection *);
/* One of another kind has come, which takes what waits in the mailbox. */
void follow_stop_draining(struct engine *, struct user *);
void follow_on_written(struct engine *, struct gateway *, struct number number);
/* The user's newest event: sent to those who are live. */
void follow_on_event(struct engine *, struct user *, const struct frame_conversation_event *);
/* Loading, when his record has come. */
void follow_load_user(struct engine *, struct user *);

/* ---- signals.c ---- */
void signals_on_send(struct engine *, const struct frame_signal_send *);
void signals_on_conversation(struct engine *, struct gateway *,
                             const struct frame_conversation_signal *);
void signals_on_forwarded(struct engine *, const struct frame_signal_forwarded *);

/* ---- sent.c ---- */
/* Written at the end of the commit. */
void sent_add(struct engine *, const struct frame_message_sent *);
void sent_finish(struct engine *);
void sent_destroy(struct engine *);

/* ---- groups.c ---- */
void groups_on_change(struct engine *, struct gateway *, const struct frame_group_change *);

#endif
