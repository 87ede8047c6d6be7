/*
 * The state of a partition in memory, shared by the files of the engine and nobody else: gateways
 * and their connections, users and what is on its way to them, topics, answers to repeat.
 */
#ifndef ROUTER_STATE_H
#define ROUTER_STATE_H

#include "common/table.h"
#include "router/engine.h"
#include "router/forward.h"
#include "router/journal.h"

#include <sys/queue.h>

/* A dead gateway's number stays this long: one that was buried by mistake goes on from it
 * (delivery.md, S10). */
#define SOURCE_KEPT_MS (10 * 60 * 1000)

struct connection;
TAILQ_HEAD(connection_queue, connection);
struct gateway;
struct user;

/* Flags of a connection that only the router knows. */
enum {
    CONNECTION_REPLAYING = 1 << 20, /* in user->replaying: gets what was confirmed before */
};

/* One unconfirmed message on its way to one connection. */
struct target {
    struct gateway *gateway;
    uint64_t connection;
};

/* A durable message to a user: held once, however many connections it goes to. */
struct message {
    uint32_t references; /* the user's list, and each gateway's record of it */
    struct user *user;   /* NULL once confirmed, expired or gone to the mailbox alone */
    struct number number;
    bool stored;    /* the mailbox has a copy */
    bool written;   /* a peer's TCP has it; kept because its user acknowledges himself */
    bool priority;  /* goes before others that wait */
    bool ahead;     /* a copy has gone before its turn */
    bool confirmed; /* of one whose messages are kept: waits for those before it */
    uint64_t protocol, content, policy;
    uint64_t sent_at_ms, expires_ms;             /* 0: never */
    uint64_t in_chat;                            /* its id in a conversation; 0: it is in none */
    struct slice from, chat, id, body, metadata; /* in text below; chat: of a group */
    struct target *targets;                      /* &only, or owned */
    size_t target_count;
    struct target only;
    TAILQ_ENTRY(message) link; /* user->pending or user->window */
    char text[];
};
TAILQ_HEAD(message_list, message);

/* How many connections of a gateway a topic or a set of patterns has. */
struct share {
    struct gateway *gateway;
    uint64_t connections;
};

struct shares {
    struct share *items;
    size_t count;
};

/* What an output entry of a gateway carries that is not confirmed: in order of entries. */
struct record {
    struct number entry;
    uint64_t connection;
    struct message *message; /* NULL: only the size of an entry */
    size_t bytes;
};

struct gateway {
    char *id;
    uint64_t bits;    /* the last 16 hex digits of the id */
    uint64_t nonce;   /* of its last announcement */
    uint64_t applied; /* number of its last entry that was applied */
    uint64_t heard_ms;
    bool doubted; /* silent with too many others: waits once more */
    bool burying; /* some of its connections are closed: it must announce before it is heard */
    struct number last_output;
    struct connection *connections;    /* hash by id */
    struct connection_queue unwritten; /* followers that wait for what is on its way to them */
    struct connection_queue replays;   /* those that get what was confirmed before, likewise */

    struct replaced *replaced; /* hash by id: connections (slots.c) */

    struct record *records; /* ring */
    size_t record_first, record_count, record_capacity;
    uint64_t output_bytes;

    /* the commit that is being made */
    struct buffer output;    /* frames for its entry, after the head */
    struct frame_said *said; /* in it */
    bool answer;             /* an entry goes out even if it holds nothing but the head */
    bool applied_changed;

    uint64_t announcing;     /* nonce of an announcement of which chunks have come; 0: none */
    uint64_t announce_chunk; /* the next one */
    struct buffer announced; /* frames of its chunks so far */
    UT_hash_handle hh;
};

/* A number of entries applied of a gateway that is not here (any more). */
struct source {
    uint64_t applied;
    uint64_t forget_ms; /* 0: its gateway is alive */
    struct number told; /* the entry that was its last word */
    UT_hash_handle hh;
    char id[];
};

struct connection {
    uint64_t id;
    struct gateway *gateway;
    struct user *user;
    uint64_t protocol, flags;
    uint64_t event; /* the last of its user's events that it was told of (follow.c) */
    bool wants_page, waits_written;
    struct number page_entry; /* waits_written: until this output entry is */
    uint64_t ticket;          /* of the page that was asked for it; 0: none */
    TAILQ_ENTRY(connection) wait_link;
    struct number replayed;                /* while it is replaying: how far it is (replay.c) */
    uint64_t replay_ticket;                /* of the page that was asked for; 0: none */
    uint64_t replay_stores;                /* user->stores when it was */
    struct number replay_entry;            /* in gateway->replays: this must be written */
    struct connection_queue *replay_queue; /* it waits there; NULL: nowhere */
    TAILQ_ENTRY(connection) replay_link;
    struct slice slot;              /* in slot_text */
    LIST_ENTRY(connection) of_user; /* user->connections, replaying or followers */
    UT_hash_handle hh;
    char slot_text[];
};
LIST_HEAD(connection_list, connection);

struct watcher {
    struct gateway *gateway;
    struct watcher *next;
};

enum presence_status { PRESENCE_OFFLINE, PRESENCE_ONLINE, PRESENCE_AWAY, PRESENCE_BUSY };

struct user {
    bool loaded;
    bool known_in_part; /* his record has come, the rest of it not yet */
    struct connection_list connections, replaying;
    bool guest; /* nothing is kept of him when he is not connected */
    size_t connection_count, replaying_count;
    struct connection_list followers; /* those with EVENTS: they get no messages */
    size_t follower_count;
    size_t ack_count, visible_count, keep_count; /* of all */

    struct message_list pending; /* sent and unconfirmed, in order of numbers */
    size_t pending_count, pending_bytes;

    uint64_t mailbox_count, mailbox_bytes;
    uint64_t waiting; /* of mailbox_count: those that are not confirmed */
    /* While its messages are kept until they are read; otherwise waiting is mailbox_count. */
    bool keep;
    uint64_t keep_until_ms, keep_protocol;
    struct number delivered; /* confirmed up to here */
    struct number sent;      /* the newest that an output stream may hold */
    struct number *gone;     /* read while a page is on its way that may still have it */
    size_t gone_count;
    struct unread *unread;      /* what is kept, by number and id; NULL: nothing known */
    struct number mailbox_last; /* highest number stored; zero when not known */
    struct number paged;        /* highest number of the mailbox that is in pending */
    struct message_list window; /* loaded from the mailbox, above paged, not sent yet */
    size_t window_count, window_bytes;
    bool window_complete; /* the mailbox has nothing above the window */
    bool page_wanted, page_asked;
    struct number page_after; /* what page_asked asked for */
    uint64_t page_stores;     /* and how many were stored then */
    uint64_t stores;          /* messages stored since he is in memory */
    struct number came;       /* the newest number when the first of his connections came; zero
                                 when that was before a take */
    struct number seen;       /* confirmed up to here, on one of several connections */
    struct number seen_entry; /* the newest output entry when it was */

    enum presence_status status; /* as others see it */
    uint64_t last_seen_ms;
    struct slice presence_metadata; /* owned */
    uint64_t grace_ms;              /* when it goes offline; 0: no timer */
    struct watcher *watchers;

    bool chat;     /* has ever followed his events: they are logged */
    bool draining; /* what waits in the mailbox is on its way into dialogs */
    bool drain_wanted;
    uint64_t drain_ticket; /* of the page that was asked for it; 0: none */
    uint64_t event_newest,
        event_oldest; /* of those that are held; oldest is newest + 1 if none is */
    struct event_day *event_days;
    size_t event_day_count;
    struct journal *events;              /* what this commit adds to his log */
    bool events_trimmed, events_new_day; /* in this commit */
    uint32_t events_key;                 /* of the effects of commit events_key_commit */
    uint64_t events_key_commit;

    bool events_changed;    /* his events in `user:<id>` are written at the end of the commit */
    struct buffer unstored; /* numbers that leave his mailbox in this commit */
    bool unread_changed;    /* and the index of what is kept, too */
    uint64_t keep_written, events_written; /* hashes of what of his record seldom changes */
    struct slice front_chat;               /* owned; the first of his chats, empty when not known */
    bool record_changed;  /* presence in `user:<id>` is written at the end of the commit */
    bool mailbox_changed; /* likewise the size of the mailbox */
    bool delivered_changed;
    TAILQ_ENTRY(user) changed_link;
    TAILQ_ENTRY(user) grace_link;
    TAILQ_ENTRY(user) page_link;
    TAILQ_ENTRY(user) idle_link;
    TAILQ_ENTRY(user) remembered_link;
    TAILQ_ENTRY(user) drain_link;
    bool in_changed, in_idle, in_remembered;
    uint32_t mailbox_key; /* of the effects of commit mailbox_key_commit */
    uint64_t mailbox_key_commit;
    UT_hash_handle hh;
    size_t id_length;
    char id[];
};
TAILQ_HEAD(user_list, user);

TAILQ_HEAD(member_list, member);
TAILQ_HEAD(history_list, history);

struct engine {
    const struct deployment *deployment;
    uint32_t partition;
    struct engine_limits limits;
    struct engine_counters counters;
    struct frame_reader *reader, *scanner;
    bool loading;

    struct gateway *gateways; /* hash by id */
    struct source *sources;   /* hash by id: of gateways that are gone */
    struct source *strangers; /* hash by id: asked who they are in this commit */
    struct user *users;       /* hash by id */
    struct user_list idle;    /* in memory, needed by nobody; oldest first */
    size_t idle_count;
    struct user_list grace;               /* by grace_ms */
    struct user_list pages;               /* want a page */
    struct connection_queue replays;      /* likewise */
    TAILQ_HEAD(claim_list, claim) claims; /* by time */
    struct watcher *watch_all;            /* gateways that follow everybody's presence */
    struct topic *topics;                 /* hash by name */
    struct pattern_set *pattern_sets;     /* hash by set */
    struct pattern *patterns;             /* hash by name: of all sets */
    struct pattern_trie *pattern_trie;
    uint64_t gatherings;       /* of what matches a topic */
    uint64_t patterns_version; /* rises when a count of a set changes between zero and not */
    struct room *rooms;        /* hash by topic */
    struct member_list changed_members; /* counts have changed, nobody was told */
    struct conversations *conversations;
    struct connection_queue readers;       /* followers that want a page of their user's log */
    struct user_list drains;               /* want a page of the mailbox that goes into dialogs */
    size_t draining;                       /* users */
    uint64_t tickets;                      /* of pages that were asked for */
    struct history *histories;             /* hash by topic */
    struct history_list histories_by_use;  /* the oldest first */
    uint64_t history_floor, history_birth; /* epochs: of the last roll-back, of new ones */
    uint64_t history_bytes;
    struct recent *recent;
    struct sent *sent; /* hash by user: sent.c */
    struct forwards *forwards;
    struct user_list remembered; /* users with a seen number */
    size_t pending_count;
    struct buffer delivered; /* pairs of the answer that is being made */
    struct buffer entry;     /* the output entry that is being made */

    /* the commit that is being made */
    uint64_t epoch, commit, index;
    uint64_t now_ms;
    struct effects *effects;
    struct user_list changed;
    size_t journaled;  /* bytes of bodies that wait in journals */
    bool first_commit; /* of this take: each gateway gets an entry */
    uint32_t key_sources, key_gateways, key_seen, key_timers,
        key_histories; /* 0: not named in this commit */
};

static inline struct slice user_slice(const struct user *user)
{
    return slice_of(user->id, user->id_length);
}

/* Where a user's connections are: those that get messages, that get all of it first, that get
 * events. */
#define USER_LISTS 3
static inline const struct connection_list *user_connection_list(const struct user *user, int list)
{
    const struct connection_list *const lists[USER_LISTS] = {
        &user->connections,
        &user->replaying,
        &user->followers,
    };

    return lists[list];
}

static inline struct number engine_entry_number(const struct engine *engine)
{
    return number_make(engine->epoch, engine->commit, 0);
}

static inline struct number engine_next_number(struct engine *engine)
{
    return number_make(engine->epoch, engine->commit, ++engine->index);
}

/* Sets a slice whose memory is its owner's: of the heap, or NULL. */
void engine_set_text(struct slice *, struct slice value);
/* The index of a key of the partition in this commit's effects; *cached as long as the commit
 * lasts. */
uint32_t engine_key(struct engine *, uint32_t *cached, const char *what);

/* ---- gateways.c ---- */
struct gateway *gateway_find(struct engine *, struct slice id);
struct gateway *gateway_add(struct engine *, struct slice id);
void gateway_record(struct gateway *, struct number entry, uint64_t connection, struct message *,
                    size_t bytes);
/* Puts a frame into the entry that this commit writes for it. */
void gateway_say(struct gateway *, const struct frame *);
/* Handlers. A chunk of an announcement has come: true when it was the last one; gateway->announced
   then holds all of its frames. Repeats and chunks out of order are dropped: the gateway announces
   again when its nonce does not come back. */
bool gateway_on_announce_chunk(struct gateway *, const struct frame_gateway_announce *,
                               struct slice frames);
/* An announcement is complete: its connections are closed with the Y they were listed with, its
   keys and counts emptied; what follows in gateway->announced is then applied like any frames. */
void gateway_start_over(struct engine *, struct gateway *, const struct frame_gateway_announce *);
void gateway_on_written(struct engine *, struct gateway *, struct number number);
/* Its connections are closed with nothing more confirmed, its keys go; its number is kept for a
 * while. One that left is told a last time. */
void gateway_bury(struct engine *, struct gateway *, bool left);
/* In its own output: who are you? */
void gateway_ask(struct engine *, struct gateway *);
/* Buries those that are silent; at most a bounded number of connections in one commit. */
void gateways_on_tick(struct engine *);
uint64_t gateways_due_ms(const struct engine *);
/* Writes the entry of each gateway that has something to hear. */
void gateways_finish(struct engine *);
void gateways_destroy(struct engine *);
/* What is known of a gateway that is not alive; NULL if nothing. */
struct source *source_find(struct source *, struct slice id);

/* ---- users.c ---- */
struct user *user_find(const struct engine *, struct slice id);
/* Finds or makes it; a made one is not loaded. */
struct user *user_get(struct engine *, struct slice id);
/* Something of `user:<id>` has changed: it is written at the end of the commit. */
void user_record_changed(struct engine *, struct user *);
void user_mailbox_changed(struct engine *, struct user *);
void user_delivered_changed(struct engine *, struct user *);
void user_events_changed(struct engine *, struct user *);
/* Confirmed on one of several connections: an output stream may still hold it for another
 * (delivery.md, S7). */
void user_remember_seen(struct engine *, struct user *, struct number number);
/* Nobody may need it any more: it goes to the idle list, or out of it. */
void user_settle(struct engine *, struct user *);
void users_finish(struct engine *);
void users_destroy(struct engine *);
/* The index of `mailbox:<id>` in this commit's effects. */
uint32_t user_mailbox_key(struct engine *, struct user *);
/* ---- connections.c ---- */
/* What a gateway tells of a connection that comes. */
struct arrival {
    uint64_t connection, protocol, flags;
    struct slice user, slot;
    bool announced;     /* it was here before, for all its gateway knows; then: */
    struct number seen; /* its Y */
    uint64_t event;     /* the last event it was handed */
};
struct connection *connection_find(struct gateway *, uint64_t id);
/* Which of a user's connections: those that get messages, and those that follow his events. */
enum user_connections { USER_MESSAGES, USER_ALL };
/* Says a frame to each gateway with such connections; *connections, a field of it, names them. */
void user_say(const struct user *, enum user_connections, const struct frame *,
              struct frame_u64s *connections);
/* Appends a pair (gateway's bits, connection) for each. */
void user_list(const struct user *, enum user_connections, struct buffer *pairs);
/* Whether it is the first of its user's connections at its gateway: with it, something is done once
 * for each gateway. */
bool user_first_of_gateway(const struct user *, const struct connection *);
/* Writes the ids of his connections there; returns how many. */
size_t user_connections_at(const struct user *, const struct gateway *, uint64_t *ids);
/* Its line in `conns:<g>`, as it is now. */
void connection_write(struct engine *, const struct connection *);
/* Loading: a line of `conns:<g>`. */
void connection_load(struct engine *, struct gateway *, uint64_t id, struct slice line);
/* Out of its gateway's table, without effects. */
void connection_destroy(struct connection *);
/* Handlers. */
void connection_on_connect(struct engine *, struct gateway *, const struct arrival *);
/* seen: Y, what the gateway knows to be with the client. */
void connection_on_closed(struct engine *, struct gateway *, uint64_t id, struct number seen);
/* Whether it makes its user present. */
void connection_set_visible(struct engine *, struct connection *, bool visible);

/* ---- slots.c: connections in each other's way ---- */
/* The close code to refuse it with; 0: it may come. */
uint64_t slot_refuses(struct engine *, const struct gateway *, const struct user *,
                      const struct arrival *);
void slot_refuse(struct gateway *, uint64_t id, uint64_t close_code);
/* It has come: with REPLACE, the older one of its slot goes. */
void slot_take(struct engine *, struct user *, const struct arrival *, const struct connection *);
/* One that is not here is closed. */
void slot_forget(struct gateway *, uint64_t id);
void slots_forget_gateway(struct gateway *);

/* ---- claims.c: names asked for before the connection ---- */
void claim_on_asked(struct engine *, struct gateway *, const struct frame_name_claim *);
/* False when the name is kept for another gateway; one that was kept for this one is used up. */
bool claim_take(struct engine *, const struct gateway *, struct slice user, uint64_t protocol);
void claims_forget_gateway(struct engine *, const struct gateway *);
void claims_expire(struct engine *);
void claims_destroy(struct engine *);
/* Tells the connections that it names to end, and who asked which they are. */
void connections_on_disconnect(struct engine *, struct gateway *asker,
                               const struct frame_user_disconnect *);

/* ---- mailbox.c: durable messages ---- */
struct message *message_create(const struct frame_direct_message *, struct number number,
                               uint64_t now_ms);
/* Of something that was posted in a conversation. */
struct message *message_of_event(const struct frame_conversation_event *, struct number number);
void message_unref(struct message **);
size_t message_size(const struct message *);
/* Sends, stores or discards it; says in *reply what became of it. False: it is there already, since
 * messages are kept until they are read, and *reply is that one's. */
bool mailbox_accept(struct engine *, struct user *, struct message *,
                    struct frame_direct_reply *reply);
/* What is pending has copies in the mailbox from now on. */
void mailbox_store_pending(struct engine *, struct user *);
/* A connection has come: pending first, then what waits. */
void mailbox_on_connect(struct engine *, struct user *, struct connection *);
/* A connection goes: what it has is confirmed, what was for it alone is stored. Called while it is
 * still listed. */
void mailbox_on_closed(struct engine *, struct user *, struct connection *, struct number seen);
/* Whether what comes for him goes through the mailbox: somebody is there to have it, or will. */
bool mailbox_wants(const struct user *);
/* Takes an entry out of it; NULL if nobody is to have it any more. */
struct message *mailbox_take(struct engine *, struct user *, const struct engine_page_entry *);
/* Nothing is in it, whatever was counted. */
void mailbox_emptied(struct engine *, struct user *);
/* One target's written. */
void mailbox_on_written(struct engine *, struct message *, struct gateway *, uint64_t connection);
void mailbox_on_ack(struct engine *, struct user *, struct slice id);
/* What it speaks of may be in a page that is on its way: after a take or an announcement the
 * mailbox is read from its beginning again. */
bool mailbox_ack_waits(const struct user *, struct slice id);
/* Sends from the mailbox while the window is free. */
void mailbox_page(struct engine *, struct user *);
/* Loading: an unconfirmed delivery found in an output stream. */
void mailbox_load_pending(struct engine *, struct gateway *, struct number entry,
                          const struct frame_message_delivery *);
void mailbox_load_finish(struct engine *, struct user *);
void mailbox_destroy(struct engine *, struct user *);

/* ---- unread.c: messages kept until they are read ---- */
/* A connection with CONNECTION_FLAG_KEEP comes: from now on, if not before. */
void unread_begin(struct engine *, struct user *, uint64_t protocol);
/* The mark lasts from now. */
void unread_on_closed(struct engine *, struct user *);
/* Handler. from: empty for any sender. */
void unread_on_read(struct engine *, struct user *, struct slice id, struct slice from);
void unread_load(struct user *, const struct engine_field *fields, size_t count);
void unread_destroy(struct user *);
size_t unread_count(const struct user *);
/* The mark, if it is over, goes, and with it what was kept for it; what is too old goes too. */
void unread_age(struct engine *, struct user *);

/* ---- replay.c: what was confirmed before, to a connection that wants all that is unread ---- */
/* It is in user->replaying; it begins above `after`, and joins the others when it has all. */
void replay_begin(struct engine *, struct connection *, struct number after);
void replay_forget(struct connection *);
void replay_on_written(struct engine *, struct gateway *, struct number number);
bool replay_next_page(struct engine *, struct engine_page_request *);
void replay_on_page(struct engine *, struct user *, uint64_t ticket,
                    const struct engine_page_entry *, size_t count);
/* Loading: those who were in the middle of it go on. */
void replay_load(struct engine *, struct user *);

/* ---- discard.c: accepted messages that are dropped ---- */
/* Tells the sender, if he asked for it. */
void discard_tell(struct engine *, const struct user *, const struct message *);
/* Handler. A message of a user of this partition was dropped: his connections hear it. */
void discard_on_told(struct engine *, const struct frame_message_discarded *);

/* ---- conversation.c ---- */
struct conversations *conversations_create(void);
void conversations_destroy(struct engine *);
void conversations_trim(struct engine *, size_t keep);
void conversations_finish(struct engine *);
bool conversation_is_known(const struct engine *, struct slice id);
/* Whether one message's entry in the log, or its last change, need not be fetched. */
bool conversation_message_is_known(const struct engine *, struct slice id, uint64_t message,
                                   bool change);
/* Handlers. */
void conversation_on_post(struct engine *, struct gateway *,
                          const struct frame_conversation_post *);
void conversation_on_change(struct engine *, struct gateway *,
                            const struct frame_conversation_change *);
void conversation_on_mark(struct engine *, struct gateway *,
                          const struct frame_conversation_mark *);
void conversation_on_forwarded(struct engine *, const struct frame_post_forwarded *);

/* ---- presence.c ---- */
void presence_on_connect(struct engine *, struct user *);
void presence_on_last_closed(struct engine *, struct user *);
void presence_on_set(struct engine *, struct user *, struct slice status, struct slice metadata);
void presence_on_watch(struct engine *, struct gateway *, struct slice user, bool watching,
                       uint64_t request);
/* Loading, or without a reply. */
void presence_watch(struct engine *, struct gateway *, struct slice user, bool watching);
void presence_forget_gateway(struct engine *, struct gateway *);
void presence_on_tick(struct engine *);
uint64_t presence_due_ms(const struct engine *);
const char *presence_name(enum presence_status);
enum presence_status presence_parse(struct slice name);
/* Puts the user into the list of those on grace, by time. */
void presence_load_grace(struct engine *, struct user *, uint64_t due_ms);

/* ---- shares.c ---- */
void shares_add(struct shares *, struct gateway *, uint64_t connections);
void shares_remove(struct shares *, const struct gateway *);
/* Absolute; 0 removes it. */
void shares_set(struct shares *, struct gateway *, uint64_t connections);
uint64_t shares_of(const struct shares *, const struct gateway *);
void shares_clear(struct shares *);

/* ---- history.c: topics that keep their last messages ---- */
void history_begin(struct engine *);
/* Keeps it, if the topic does, and says where in *message. */
void history_on_publish(struct engine *, const struct gateway *, const struct frame_topic_publish *,
                        struct frame_topic_message *message);
/* Tells a gateway that counts connections of the topic, or asks, where the history is. */
void history_on_count(struct engine *, struct gateway *, struct slice topic);
void history_on_ask(struct engine *, struct gateway *, struct slice topic);
void history_finish(struct engine *);
void history_load(struct engine *, struct slice topic, struct slice value);
void history_load_finish(struct engine *);
void history_destroy(struct engine *);
void history_check(const struct engine *);

/* ---- rooms.c: topics that know their members ---- */
void rooms_on_count(struct engine *, struct gateway *, const struct frame_member_count *);
void rooms_on_ask(struct engine *, struct gateway *, const struct frame_members_ask *);
/* Says what has changed in this room so far: before something is published in it. */
void rooms_settle(struct engine *, struct slice topic);
/* Loading: one gateway's count of a member as `subs:<g>` holds it, field without its kind. */
void rooms_load(struct engine *, struct gateway *, struct slice field, struct slice value);
void rooms_load_finish(struct engine *);
void rooms_forget_gateway(struct engine *, struct gateway *);
/* Says all that has changed in this commit. */
void rooms_finish(struct engine *);
void rooms_destroy(struct engine *);
size_t rooms_members(const struct engine *);
void rooms_check(const struct engine *);

/* ---- fanout.c: topics ---- */
void fanout_on_count(struct engine *, struct gateway *, struct slice topic, uint64_t connections);
void fanout_on_patterns(struct engine *, struct gateway *, struct slice set, uint64_t connections);
/* Without effects (loading). */
void fanout_set_count(struct engine *, struct gateway *, struct slice topic, uint64_t connections);
void fanout_set_patterns(struct engine *, struct gateway *, struct slice set, uint64_t connections);
/* To every gateway that has connections with this exact topic. */
void fanout_tell(struct engine *, struct slice topic, const struct frame *);
void fanout_on_publish(struct engine *, struct gateway *, const struct frame_topic_publish *);
void fanout_forget_gateway(struct engine *, struct gateway *);
void fanout_destroy(struct engine *);
void fanout_sizes(const struct engine *, size_t *topics, size_t *pattern_sets);

/* ---- load.c: for what other files load ---- */
/* 0 when it is no number. */
uint64_t load_u64(struct slice text);
/* Cuts off what stands before the next space. */
struct slice load_word(struct slice *rest);
/* A field of an entry; empty if there is none. */
struct slice load_entry_field(const struct engine_page_entry *, const char *name);

/* ---- recent.c: answers to requests that their clients may send again ---- */
struct recent *recent_create(void);
void recent_destroy(struct recent **);
size_t recent_count(const struct recent *);
enum recent_kind { RECENT_DIRECT, RECENT_PUBLISH, RECENT_CONVERSATION };
struct recent_answer {
    uint64_t content_hash, kind, status, recipients;
    const uint64_t *delivered;
    size_t delivered_count;
};
struct recent_request {
    struct slice user, id;
    uint64_t owner, key; /* hashes: of the user, of both */
};
/* A request with an id of its client's own. What the others look at is fetched from memory
   meanwhile: to be called before the content is hashed. */
struct recent_request recent_request(const struct engine *, struct slice user, struct slice id);
/* Whether it had an answer within the last two minutes, with whatever content. */
bool recent_knows(const struct engine *, const struct recent_request *);
/* The answer given to it with this content within the last two minutes; NULL if none. Valid until
   the next call. */
const struct recent_answer *recent_find(struct engine *, const struct recent_request *,
                                        uint64_t content_hash);
void recent_keep(struct engine *, const struct recent_request *, const struct recent_answer *);
/* Loading. */
void recent_load(struct engine *, uint64_t at_ms, struct slice frames);
/* Writes this commit's answers. */
void recent_finish(struct engine *);
uint64_t recent_hash_begin(void);
uint64_t recent_hash_add(uint64_t hash, struct slice);

#endif
