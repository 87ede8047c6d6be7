#include "router/engine.h"

#include "common/pattern_trie.h"
#include "common/xalloc.h"
#include "router/events.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct engine *engine_create(const struct deployment *deployment, uint32_t partition,
                             const struct engine_limits *limits)
{
    struct engine *engine = xcalloc(1, sizeof(*engine));

    engine->deployment = deployment;
    engine->partition = partition;
    engine->limits = *limits;
    engine->reader = frame_reader_create();
    engine->scanner = frame_reader_create();
    engine->recent = recent_create();
    engine->forwards = forwards_create(deployment->partitions);
    engine->pattern_trie = pattern_trie_create();
    engine->loading = true;
    engine->first_commit = true;
    TAILQ_INIT(&engine->idle);
    TAILQ_INIT(&engine->grace);
    TAILQ_INIT(&engine->claims);
    TAILQ_INIT(&engine->pages);
    TAILQ_INIT(&engine->replays);
    TAILQ_INIT(&engine->changed);
    TAILQ_INIT(&engine->remembered);
    TAILQ_INIT(&engine->changed_members);
    TAILQ_INIT(&engine->readers);
    TAILQ_INIT(&engine->drains);
    engine->conversations = conversations_create();
    TAILQ_INIT(&engine->histories_by_use);
    return engine;
}

void engine_destroy(struct engine **engine)
{
    if (*engine == NULL)
        return;
    gateways_destroy(*engine);
    users_destroy(*engine);
    claims_destroy(*engine);
    rooms_destroy(*engine);
    conversations_destroy(*engine);
    history_destroy(*engine);
    fanout_destroy(*engine);
    pattern_trie_destroy(&(*engine)->pattern_trie);
    recent_destroy(&(*engine)->recent);
    sent_destroy(*engine);
    forwards_destroy(&(*engine)->forwards, (*engine)->deployment->partitions);
    buffer_finish(&(*engine)->delivered);
    buffer_finish(&(*engine)->entry);
    frame_reader_destroy(&(*engine)->reader);
    frame_reader_destroy(&(*engine)->scanner);
    free(*engine);
    *engine = NULL;
}

const struct engine_counters *engine_counters(const struct engine *engine)
{
    return &engine->counters;
}

void engine_set_text(struct slice *text, struct slice value)
{
    free((char *)text->data);
    *text = slice_of(xmemdup0(value.data ? value.data : "", value.length), value.length);
}

uint32_t engine_key(struct engine *engine, uint32_t *cached, const char *what)
{
    if (*cached == 0)
        *cached = effects_key(engine->effects, what, (struct slice){0});
    return *cached;
}

void engine_begin(struct engine *engine, uint64_t epoch, uint64_t commit, struct effects *effects,
                  uint64_t now_ms)
{
    assert(!engine->loading);
    engine->epoch = epoch;
    engine->commit = commit;
    engine->index = 0;
    engine->journaled = 0;
    engine->effects = effects;
    if (now_ms > engine->now_ms)
        engine->now_ms = now_ms;
    engine->key_sources = engine->key_gateways = engine->key_seen = engine->key_timers = 0;
    engine->key_histories = 0;
    history_begin(engine);
}

/* ---- the frames of a gateway: one small handler for each ---- */

static void on_heartbeat(struct engine *engine, struct gateway *gateway, const struct frame *frame)
{
    (void)engine, (void)gateway, (void)frame; /* having been heard is all of it */
}

static void on_leave(struct engine *engine, struct gateway *gateway, const struct frame *frame)
{
    (void)frame;
    gateway_bury(engine, gateway, true);
}

static void on_user_connect(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    const struct frame_user_connect *connect = &frame->user_connect;

    connection_on_connect(engine, gateway,
                          &(struct arrival){
                              .connection = connect->connection,
                              .protocol = connect->protocol,
                              .flags = connect->flags,
                              .user = connect->user,
                              .slot = connect->slot,
                          });
}

static void on_announced_connection(struct engine *engine, struct gateway *gateway,
                                    const struct frame *frame)
{
    const struct frame_announced_connection *announced = &frame->announced_connection;

    connection_on_connect(engine, gateway,
                          &(struct arrival){
                              .connection = announced->connection,
                              .protocol = announced->protocol,
                              .flags = announced->flags,
                              .user = announced->user,
                              .slot = announced->slot,
                              .announced = true,
                              .seen = announced->seen,
                              .event = announced->event,
                          });
}

static void on_connection_closed(struct engine *engine, struct gateway *gateway,
                                 const struct frame *frame)
{
    connection_on_closed(engine, gateway, frame->connection_closed.connection,
                         frame->connection_closed.seen);
}

static void on_connection_visible(struct engine *engine, struct gateway *gateway,
                                  const struct frame *frame)
{
    struct connection *connection = connection_find(gateway, frame->connection_visible.connection);

    if (connection != NULL)
        connection_set_visible(engine, connection, frame->connection_visible.visible != 0);
}

static void on_name_claim(struct engine *engine, struct gateway *gateway, const struct frame *frame)
{
    claim_on_asked(engine, gateway, &frame->name_claim);
}

static void on_user_disconnect(struct engine *engine, struct gateway *gateway,
                               const struct frame *frame)
{
    connections_on_disconnect(engine, gateway, &frame->user_disconnect);
}

static void on_output_written(struct engine *engine, struct gateway *gateway,
                              const struct frame *frame)
{
    gateway_on_written(engine, gateway, frame->output_written.number);
}

static void on_message_ack(struct engine *engine, struct gateway *gateway,
                           const struct frame *frame)
{
    struct user *user = user_find(engine, frame->message_ack.user);

    (void)gateway;
    if (user != NULL)
        mailbox_on_ack(engine, user, frame->message_ack.id);
}

static void on_message_read(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    struct user *user = user_find(engine, frame->message_read.user);

    (void)gateway;
    if (user != NULL)
        unread_on_read(engine, user, frame->message_read.id, frame->message_read.from);
}

static void on_topic_count(struct engine *engine, struct gateway *gateway,
                           const struct frame *frame)
{
    fanout_on_count(engine, gateway, frame->topic_count.topic, frame->topic_count.connections);
}

static void on_patterns_count(struct engine *engine, struct gateway *gateway,
                              const struct frame *frame)
{
    fanout_on_patterns(engine, gateway, frame->patterns_count.patterns,
                       frame->patterns_count.connections);
}

static void on_subscription_sync(struct engine *engine, struct gateway *gateway,
                                 const struct frame *frame)
{
    (void)engine;
    gateway_say(gateway, &(struct frame){
                             .type = FRAME_SUBSCRIPTION_SYNCED,
                             .subscription_synced.request = frame->subscription_sync.request,
                         });
}

static void on_presence_watch(struct engine *engine, struct gateway *gateway,
                              const struct frame *frame)
{
    presence_on_watch(engine, gateway, frame->presence_watch.user, frame->presence_watch.watching,
                      frame->presence_watch.request);
}

static void on_member_count(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    rooms_on_count(engine, gateway, &frame->member_count);
}

static void on_members_ask(struct engine *engine, struct gateway *gateway,
                           const struct frame *frame)
{
    rooms_on_ask(engine, gateway, &frame->members_ask);
}

static void on_topic_mark_ask(struct engine *engine, struct gateway *gateway,
                              const struct frame *frame)
{
    history_on_ask(engine, gateway, frame->topic_mark_ask.topic);
}

static void on_topic_publish(struct engine *engine, struct gateway *gateway,
                             const struct frame *frame)
{
    fanout_on_publish(engine, gateway, &frame->topic_publish);
}

static uint64_t direct_hash(const struct frame_direct_message *direct)
{
    uint64_t hash = recent_hash_begin();

    hash = recent_hash_add(hash, direct->to);
    hash = recent_hash_add(hash, direct->body);
    return recent_hash_add(hash, direct->metadata);
}

/* False: it is there already. */
static bool accept_direct(struct engine *engine, struct user *user,
                          const struct frame_direct_message *direct,
                          struct frame_direct_reply *reply)
{
    if (events_take_direct(engine, user, direct, reply))
        return true;
    return mailbox_accept(
        engine, user, message_create(direct, engine_next_number(engine), engine->now_ms), reply);
}

/* What was refused was not applied: it may be tried again. Nor was what is there already: the
 * memory is of the one that was. */
static bool is_to_be_kept(const struct engine *engine, const struct recent_request *request,
                          const struct frame_direct_reply *reply, bool taken)
{
    return reply->status != DIRECT_MAILBOX_FULL && reply->status != DIRECT_DISCARDED &&
           (taken || !recent_knows(engine, request));
}

static void on_direct_message(struct engine *engine, struct gateway *gateway,
                              const struct frame *frame)
{
    const struct frame_direct_message *direct = &frame->direct_message;
    struct frame reply = {
        .type = FRAME_DIRECT_REPLY,
        .direct_reply = {.connection = direct->connection,
                         .request = direct->request,
                         .id = direct->id,
                         .to = direct->to},
    };
    const struct recent_answer *answer = NULL;
    struct recent_request request;
    uint64_t hash = 0;
    bool taken;

    if (direct->retry) {
        request = recent_request(engine, direct->from, direct->id);
        hash = direct_hash(direct);
        answer = recent_find(engine, &request, hash);
    }
    if (answer != NULL && answer->kind == RECENT_DIRECT) {
        engine->counters.retries_answered++;
        reply.direct_reply.status = answer->status;
        reply.direct_reply.delivered.values = answer->delivered;
        reply.direct_reply.delivered.count = answer->delivered_count;
        gateway_say(gateway, &reply);
        return;
    }
    engine->counters.direct_messages++;
    taken = accept_direct(engine, user_get(engine, direct->to), direct, &reply.direct_reply);
    gateway_say(gateway, &reply);
    if (direct->retry && is_to_be_kept(engine, &request, &reply.direct_reply, taken)) {
        struct recent_answer kept = {
            .content_hash = hash,
            .kind = RECENT_DIRECT,
            .status = reply.direct_reply.status,
            .delivered = reply.direct_reply.delivered.values,
            .delivered_count = reply.direct_reply.delivered.count,
        };

        recent_keep(engine, &request, &kept);
    }
}

static void on_presence_set(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    struct connection *connection = connection_find(gateway, frame->presence_set.connection);

    if (connection != NULL)
        presence_on_set(engine, connection->user, frame->presence_set.status,
                        frame->presence_set.metadata);
}

static void on_events_follow(struct engine *engine, struct gateway *gateway,
                             const struct frame *frame)
{
    follow_on_request(engine, gateway, &frame->events_follow);
}

static void on_signal_send(struct engine *engine, struct gateway *gateway,
                           const struct frame *frame)
{
    (void)gateway;
    signals_on_send(engine, &frame->signal_send);
}

static void on_message_sent(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    (void)gateway;
    sent_add(engine, &frame->message_sent);
}

static void on_conversation_post(struct engine *engine, struct gateway *gateway,
                                 const struct frame *frame)
{
    conversation_on_post(engine, gateway, &frame->conversation_post);
}

static void on_conversation_change(struct engine *engine, struct gateway *gateway,
                                   const struct frame *frame)
{
    conversation_on_change(engine, gateway, &frame->conversation_change);
}

static void on_conversation_mark(struct engine *engine, struct gateway *gateway,
                                 const struct frame *frame)
{
    conversation_on_mark(engine, gateway, &frame->conversation_mark);
}

static void on_conversation_signal(struct engine *engine, struct gateway *gateway,
                                   const struct frame *frame)
{
    signals_on_conversation(engine, gateway, &frame->conversation_signal);
}

static void on_group_change(struct engine *engine, struct gateway *gateway,
                            const struct frame *frame)
{
    groups_on_change(engine, gateway, &frame->group_change);
}

/* names: where the frame has those without which it says nothing (users, chats, topics). */
#define NAMES_MAX 2
#define NAME(field) offsetof(struct frame, field)

struct frame_handler {
    void (*handle)(struct engine *, struct gateway *, const struct frame *);
    size_t names[NAMES_MAX]; /* 0: no more */
};

/* By type. GATEWAY_ANNOUNCE is not here: it opens an entry of its own kind (engine_apply). */
static const struct frame_handler frame_handlers[] = {
    [FRAME_ANNOUNCED_CONNECTION] = {on_announced_connection, {NAME(announced_connection.user)}},
    [FRAME_GATEWAY_HEARTBEAT] = {on_heartbeat, {0}},
    [FRAME_GATEWAY_LEAVE] = {on_leave, {0}},
    [FRAME_USER_CONNECT] = {on_user_connect, {NAME(user_connect.user)}},
    [FRAME_CONNECTION_CLOSED] = {on_connection_closed, {0}},
    [FRAME_CONNECTION_VISIBLE] = {on_connection_visible, {0}},
    [FRAME_NAME_CLAIM] = {on_name_claim, {NAME(name_claim.user)}},
    [FRAME_USER_DISCONNECT] = {on_user_disconnect, {0}},
    [FRAME_OUTPUT_WRITTEN] = {on_output_written, {0}},
    [FRAME_MESSAGE_ACK] = {on_message_ack, {NAME(message_ack.user)}},
    [FRAME_MESSAGE_READ] = {on_message_read, {NAME(message_read.user)}},
    [FRAME_TOPIC_COUNT] = {on_topic_count, {NAME(topic_count.topic)}},
    [FRAME_PATTERNS_COUNT] = {on_patterns_count, {NAME(patterns_count.patterns)}},
    [FRAME_SUBSCRIPTION_SYNC] = {on_subscription_sync, {0}},
    [FRAME_PRESENCE_WATCH] = {on_presence_watch, {NAME(presence_watch.user)}},
    [FRAME_MEMBER_COUNT] = {on_member_count, {NAME(member_count.topic), NAME(member_count.user)}},
    [FRAME_MEMBERS_ASK] = {on_members_ask, {NAME(members_ask.topic)}},
    [FRAME_TOPIC_MARK_ASK] = {on_topic_mark_ask, {NAME(topic_mark_ask.topic)}},
    [FRAME_TOPIC_PUBLISH] = {on_topic_publish, {NAME(topic_publish.topic)}},
    [FRAME_DIRECT_MESSAGE] = {on_direct_message, {NAME(direct_message.to)}},
    [FRAME_PRESENCE_SET] = {on_presence_set, {0}},
    [FRAME_EVENTS_FOLLOW] = {on_events_follow, {NAME(events_follow.user)}},
    [FRAME_SIGNAL_SEND] = {on_signal_send, {NAME(signal_send.to)}},
    [FRAME_MESSAGE_SENT] = {on_message_sent, {NAME(message_sent.user)}},
    [FRAME_CONVERSATION_POST] = {on_conversation_post,
                                 {NAME(conversation_post.from), NAME(conversation_post.chat)}},
    [FRAME_CONVERSATION_CHANGE] = {on_conversation_change,
                                   {NAME(conversation_change.from),
                                    NAME(conversation_change.chat)}},
    [FRAME_CONVERSATION_MARK] = {on_conversation_mark,
                                 {NAME(conversation_mark.from), NAME(conversation_mark.chat)}},
    [FRAME_CONVERSATION_SIGNAL] = {on_conversation_signal,
                                   {NAME(conversation_signal.from),
                                    NAME(conversation_signal.chat)}},
    [FRAME_GROUP_CHANGE] = {on_group_change, {NAME(group_change.from), NAME(group_change.chat)}},
};

/* NULL if it has none. */
static const struct frame_handler *handler_of(enum frame_type type)
{
    bool listed = (size_t)type < sizeof(frame_handlers) / sizeof(frame_handlers[0]);

    return listed && frame_handlers[type].handle ? &frame_handlers[type] : NULL;
}

bool engine_handles(enum frame_type type)
{
    return handler_of(type) != NULL || type == FRAME_GATEWAY_ANNOUNCE || forward_handles(type);
}

/* Gateways let no others through; lists have a name on each line. */
static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.length; i++)
        if ((unsigned char)name.data[i] < ' ')
            return false;
    return name.length > 0;
}

static bool has_names(const struct frame_handler *handler, const struct frame *frame)
{
    struct slice name;

    for (size_t i = 0; i < NAMES_MAX && handler->names[i] != 0; i++) {
        memcpy(&name, (const char *)frame + handler->names[i], sizeof(name));
        if (!is_name(name))
            return false;
    }
    return true;
}

static int dispatch(struct engine *engine, struct gateway *gateway, const struct frame *frame)
{
    const struct frame_handler *handler = handler_of(frame->type);

    if (handler == NULL || !has_names(handler, frame))
        return -EBADMSG;
    engine->counters.frames++;
    handler->handle(engine, gateway, frame);
    return 0;
}

/* A frame may end its gateway's life here (GATEWAY_LEAVE): then what follows has nobody to come
 * from. */
static int apply_frames(struct engine *engine, struct slice gateway_id, struct slice frames)
{
    struct gateway *gateway = gateway_find(engine, gateway_id);
    struct frame frame;
    int more = 0;

    frame_reader_start(engine->reader, frames);
    while (gateway != NULL && (more = frame_reader_next(engine->reader, &frame)) == 1) {
        if (dispatch(engine, gateway, &frame) < 0)
            return -EBADMSG;
        if (frame.type == FRAME_GATEWAY_LEAVE)
            gateway = gateway_find(engine, gateway_id);
    }
    return gateway != NULL ? more : 0;
}

static int apply_announcement(struct engine *engine, struct slice gateway_id, struct slice frames)
{
    struct buffer announced;
    struct frame frame;
    struct gateway *gateway;
    int result;

    frame_reader_start(engine->reader, frames);
    if (frame_reader_next(engine->reader, &frame) != 1 || frame.type != FRAME_GATEWAY_ANNOUNCE)
        return -EBADMSG;
    gateway = gateway_find(engine, gateway_id);
    if (gateway == NULL)
        gateway = gateway_add(engine, gateway_id);
    gateway->heard_ms = engine->now_ms;
    if (!gateway_on_announce_chunk(gateway, &frame.gateway_announce,
                                   frame_reader_rest(engine->reader)))
        return 0;
    gateway_start_over(engine, gateway, &frame.gateway_announce);
    /* Out of the gateway, whose life a frame may end. */
    announced = gateway->announced;
    gateway->announced = (struct buffer){0};
    result = apply_frames(engine, gateway_id, buffer_slice(&announced));
    buffer_finish(&announced);
    return result;
}

static void ask_stranger(struct engine *engine, struct slice gateway)
{
    struct source *stranger = source_find(engine->strangers, gateway);

    engine->counters.unknown_gateways++;
    if (stranger != NULL)
        return;
    stranger = xcalloc(1, sizeof(*stranger) + gateway.length + 1);
    memcpy(stranger->id, gateway.data, gateway.length);
    HASH_ADD_KEYPTR(hh, engine->strangers, stranger->id, gateway.length, stranger);
}

static int apply_numbered(struct engine *engine, struct gateway *gateway, struct slice gateway_id,
                          uint64_t number, struct slice frames)
{
    if (gateway->burying) {
        gateway_ask(engine, gateway);
        return 0;
    }
    gateway->heard_ms = engine->now_ms;
    gateway->doubted = false;
    gateway->answer = true;
    if (number <= gateway->applied) {
        engine->counters.repeats++;
        return 0;
    }
    if (number > gateway->applied + 1) {
        engine->counters.gaps++;
        gateway_say(gateway, &(struct frame){.type = FRAME_ENTRIES_MISSING,
                                             .entries_missing.last = gateway->applied});
        return 0;
    }
    gateway->applied = number;
    gateway->applied_changed = true;
    return apply_frames(engine, gateway_id, frames);
}

static int apply_of_gateway(struct engine *engine, struct slice gateway_id, uint64_t number,
                            struct slice frames)
{
    struct gateway *gateway = gateway_find(engine, gateway_id);

    if (number == 0)
        return apply_announcement(engine, gateway_id, frames);
    if (gateway == NULL || gateway->nonce == 0) {
        ask_stranger(engine, gateway_id);
        return 0;
    }
    return apply_numbered(engine, gateway, gateway_id, number, frames);
}

int engine_apply(struct engine *engine, struct slice source, struct number number,
                 struct slice frames, uint64_t now_ms)
{
    uint32_t partition;
    int result;

    if (now_ms > engine->now_ms)
        engine->now_ms = now_ms;
    if (source.length == 0) {
        gateways_on_tick(engine);
        presence_on_tick(engine);
        return 0;
    }
    result = forward_source(engine, source, &partition)
                 ? forward_apply(engine, partition, number, frames)
                 : apply_of_gateway(engine, source, number.epoch, frames);
    if (result < 0)
        engine->counters.malformed++;
    forward_apply_own(engine);
    return result;
}

/* Numbers of a commit are below 2^NUMBER_INDEX_BITS, and what is said to gateways is one command.
 */
#define FULL_NUMBERS (1u << (NUMBER_INDEX_BITS - 2))
#define FULL_OUTPUT (16 * 1024 * 1024)

bool engine_is_full(const struct engine *engine)
{
    size_t said = 0;

    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        said += gateway->output.length;
    return engine->index >= FULL_NUMBERS || said + engine->journaled >= FULL_OUTPUT;
}

size_t engine_finish(struct engine *engine)
{
    forward_apply_own(engine);
    conversations_finish(engine);
    users_finish(engine);
    rooms_finish(engine);
    claims_expire(engine);
    history_finish(engine);
    recent_finish(engine);
    sent_finish(engine);
    gateways_finish(engine);
    forward_finish(engine);
    engine->first_commit = false;
    engine->effects = NULL;
    return 0;
}

uint64_t engine_due_ms(const struct engine *engine)
{
    uint64_t gateways = gateways_due_ms(engine);
    uint64_t presence = presence_due_ms(engine);

    return gateways < presence ? gateways : presence;
}

void engine_forgive_silence(struct engine *engine, uint64_t now_ms)
{
    for (struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        if (gateway->heard_ms < now_ms)
            gateway->heard_ms = now_ms;
}

bool engine_next_page(struct engine *engine, struct engine_page_request *request)
{
    struct user *user = TAILQ_FIRST(&engine->pages);

    if (user == NULL)
        return replay_next_page(engine, request);
    TAILQ_REMOVE(&engine->pages, user, page_link);
    user->page_wanted = false;
    user->page_asked = true;
    user->page_stores = user->stores;
    user->page_after = user->paged;
    *request = (struct engine_page_request){.user = user_slice(user), .after = user->paged};
    return true;
}

struct engine_sizes engine_sizes(const struct engine *engine)
{
    struct engine_sizes sizes = {
        .gateways = HASH_COUNT(engine->gateways),
        .users = HASH_COUNT(engine->users),
        .pending = engine->pending_count,
        .recent = recent_count(engine->recent),
        .members = rooms_members(engine),
    };

    for (const struct gateway *gateway = engine->gateways; gateway; gateway = gateway->hh.next)
        sizes.connections += HASH_COUNT(gateway->connections);
    fanout_sizes(engine, &sizes.topics, &sizes.pattern_sets);
    return sizes;
}
