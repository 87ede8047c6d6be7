/*
 * Conversations: a dialog of two users or a group, an object with one owner, the partition that
 * partition_of_chat names (docs/delivery.md, S11). In memory as long as room allows: what is
 * written at the end of each commit is all there is to it.
 *
 * conversation.c has the objects and what is read of them, conversation_write.c what is written,
 * conversation_tell.c who hears of it, conversation_posts.c messages and their changes,
 * conversation_marks.c what was delivered and read, groups.c who is in a group, signals.c what is
 * not kept.
 */
#ifndef ROUTER_CONVERSATION_H
#define ROUTER_CONVERSATION_H

#include "common/uid.h"
#include "router/state.h"

/* A user in it, and what he has of it: message ids. */
struct participant {
    uint64_t delivered, read; /* all messages up to here */
    uint64_t since;           /* the newest message when he joined */
    uint64_t wrote;           /* the newest of his own */
    uint64_t joined_ms;
    uint32_t partition;
    bool changed;
    struct participant *next_changed;
    UT_hash_handle hh;
    size_t length;
    char id[];
};

/* One message as a change of it needs it, fetched in two parts. */
struct known_message {
    uint64_t id;
    bool from_log, from_changes; /* which parts have come */
    bool exists, deleted;
    struct slice from, own_id; /* in text */
    char *text;
    UT_hash_handle hh;
};

struct conversation {
    bool loaded, exists;
    bool group;
    bool ended; /* a group that was deleted: its id is not given again */
    uint64_t last, created_ms;
    uint64_t trimmed;            /* messages up to here are not held any more */
    struct slice owner, name;    /* owned */
    struct participant *members; /* hash by id */
    struct known_message *messages;

    bool changed, record_changed; /* in this commit */
    struct journal *log;          /* what it adds */
    struct participant *changed_members;
    uint32_t keys[3]; /* of the effects of commit keys_commit */
    uint64_t keys_commit;
    TAILQ_ENTRY(conversation) changed_link;
    TAILQ_ENTRY(conversation) age_link; /* least recently used first */
    UT_hash_handle hh;
    size_t id_length;
    char id[]; /* conversation_name */
};
TAILQ_HEAD(conversation_list, conversation);

struct conversations {
    struct conversation *all; /* hash by id */
    struct conversation_list ages, changed;
    size_t members; /* of all of them */
    struct buffer id;
    struct buffer *lines; /* users of each partition, of the event that is being told */
    struct buffer line;
};

static inline struct slice conversation_slice(const struct conversation *conversation)
{
    return slice_of(conversation->id, conversation->id_length);
}

static inline struct slice participant_slice(const struct participant *member)
{
    return slice_of(member->id, member->length);
}

/* ---- conversation.c ---- */

/* Its name; valid until the next one. */
struct slice conversation_id(struct engine *, struct slice user, struct slice chat);
/* The conversation of this user's chat, in memory; NULL if it is not. */
struct conversation *conversation_find(struct engine *, struct slice user, struct slice chat);
/* The same, made if it is not there (of frames that nothing was fetched for). */
struct conversation *conversation_get(struct engine *, struct slice user, struct slice chat);
struct participant *conversation_member(const struct conversation *, struct slice user);
size_t conversation_member_count(const struct conversation *);
/* In memory alone: conversation_add_member writes it too. */
struct participant *conversation_new_member(struct engine *, struct conversation *, struct slice);
/* The newest message that is too old to be held. */
uint64_t conversation_trimmed_of(const struct engine *, const struct conversation *);
/* A message of which something was fetched, or NULL. */
struct known_message *conversation_known(const struct conversation *, uint64_t id);
/* The id of a message whose author gave it none: of the conversation of this name, this number and
 * time. The same at every partition. */
void conversation_message_id(struct slice conversation, uint64_t number, uint64_t at_ms,
                             char text[ULID_TEXT_SIZE]);
/* What was looked up before the message was there tells nothing of it. */
void conversation_forget_known(struct conversation *, uint64_t id);

/* ---- conversation_write.c ---- */

enum conversation_key { CONVERSATION_OBJECT, CONVERSATION_LOG, CONVERSATION_CHANGES };
uint32_t conversation_key(struct engine *, struct conversation *, enum conversation_key);
/* `delivered` or `read` of a member. */
uint32_t conversation_marks_key(struct engine *, const struct conversation *, const char *what,
                                const struct participant *);
struct participant *conversation_add_member(struct engine *, struct conversation *,
                                            struct slice user);
void conversation_remove_member(struct engine *, struct conversation *, struct participant *);
/* Its record is written at the end of the commit. */
void conversation_changed(struct engine *, struct conversation *);
/* With it, the fields that do not change but when a group is made or gets another owner. */
void conversation_record_changed(struct engine *, struct conversation *);
void conversation_member_changed(struct engine *, struct conversation *, struct participant *);

/* ---- conversation_tell.c ---- */

/* Answers a request, unless it is 0. */
void conversation_reply(struct gateway *, uint64_t connection, uint64_t request,
                        enum conversation_status, uint64_t message);

/* Says what happened to the partitions of its members, to each with those who are there (users) and
 * what they call it (chat). */
void conversation_tell(struct engine *, struct conversation *,
                       const struct frame_conversation_event *);
/* To one member of a dialog alone, or of a group. */
void conversation_tell_one(struct engine *, const struct conversation *,
                           const struct frame_conversation_event *, const struct participant *);
/* To the members of a group but one (or NULL): what is not kept. Its users are filled in. */
void conversation_signal(struct engine *, struct conversation *,
                         const struct frame_signal_forwarded *, const struct participant *without);

#endif
