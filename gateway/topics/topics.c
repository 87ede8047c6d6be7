#include "gateway/topics/topics.h"

#include "common/xalloc.h"
#include "gateway/topics/endpoint_topic.h"
#include "gateway/topics/history.h"
#include "gateway/topics/topics_state.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>

struct topics *topics_create(struct gateway *gateway)
{
    struct topics *topics = xcalloc(1, sizeof(*topics));

    topics->gateway = gateway;
    topic_index_init(&topics->index);
    return topics;
}

void topics_end(struct topics *topics, struct subscription *subscription)
{
    history_drop(subscription);
    topic_index_unsubscribe(&topics->index, subscription);
}

void topics_destroy(struct topics **given)
{
    struct topics *topics = *given;
    struct topic_change *change;
    struct topic_pattern_set *set;

    if (topics == NULL)
        return;
    while ((change = topics->changes) != NULL)
        topic_change_end(topics, change);
    while ((set = topics->sets) != NULL) {
        HASH_DEL(topics->sets, set);
        free(set);
    }
    while (topics->index.subscriptions)
        topics_end(topics, topics->index.subscriptions);
    topic_index_finish(&topics->index);
    topic_fanout_finish(&topics->fanout);
    free(topics->dirty.targets);
    buffer_finish(&topics->scratch);
    free(topics);
    *given = NULL;
}

/* ---- names ---- */

static enum target_kind kind_of(struct slice name)
{
    if (topic_is_presence(name))
        return TARGET_PRESENCE;
    return topic_has_wildcard(name) ? TARGET_PATTERN : TARGET_TOPIC;
}

/* The name under which a target is kept: of presence the user (empty when it is malformed). Valid
 * until the next call. */
static struct slice key_of(struct topics *topics, enum target_kind kind, struct slice name)
{
    if (kind != TARGET_PRESENCE)
        return name;
    buffer_reset(&topics->scratch, TOPIC_MAX);
    if (topic_presence_user(name, &topics->scratch) != 0)
        return slice_of(NULL, 0);
    return buffer_slice(&topics->scratch);
}

static uint32_t partition_of_target(const struct topics *topics, enum target_kind kind,
                                    struct slice key)
{
    if (kind == TARGET_PATTERN || (kind == TARGET_PRESENCE && slice_is(key, "*")))
        return TARGET_EVERYWHERE;
    return partition_of(&topics->gateway->deployment, key);
}

static struct subscription *find(const struct topics *topics, const struct session *session,
                                 enum target_kind kind, struct slice key)
{
    struct target *target = topic_index_find(&topics->index, kind, key);

    return target ? topic_index_subscription(&topics->index, session, target) : NULL;
}

struct subscription *topics_find(struct topics *topics, const struct session *session,
                                 struct slice name)
{
    enum target_kind kind = kind_of(name);

    return find(topics, session, kind, key_of(topics, kind, name));
}

struct subscription *topics_get(struct topics *topics, struct session *session, struct slice name)
{
    enum target_kind kind = kind_of(name);
    struct slice key = key_of(topics, kind, name);
    uint32_t partition = partition_of_target(topics, kind, key);
    struct target *target = topic_index_get(&topics->index, kind, key, partition);
    struct subscription *found = topic_index_subscription(&topics->index, session, target);

    return found ? found : topic_index_subscribe(&topics->index, session, target);
}

/* ---- frames ---- */

void topics_send(struct topics *topics, uint32_t partition, const struct frame *frame)
{
    if (partition == TARGET_EVERYWHERE)
        uplink_send_all(topics->gateway->uplink, frame);
    else
        uplink_send(topics->gateway->uplink, partition, frame);
}

static struct frame watch_frame(const struct target *target, bool watching, uint64_t request)
{
    return (struct frame){
        .type = FRAME_PRESENCE_WATCH,
        .presence_watch = {.user = target_name(target), .watching = watching, .request = request},
    };
}

void topics_send_watch(struct topics *topics, const struct target *target, bool watching,
                       uint64_t request)
{
    struct frame frame = watch_frame(target, watching, request);

    topics_send(topics, target->partition, &frame);
}

/* ---- questions ---- */

static bool target_has_credit(struct topics *topics, struct slice name)
{
    enum target_kind kind = kind_of(name);
    uint32_t partition = partition_of_target(topics, kind, key_of(topics, kind, name));

    if (partition != TARGET_EVERYWHERE)
        return uplink_has_credit(topics->gateway->uplink, partition);
    for (uint32_t p = 0; p < topics_partitions(topics); p++)
        if (!uplink_has_credit(topics->gateway->uplink, p))
            return false;
    return true;
}

bool topics_has_credit(struct topics *topics, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!target_has_credit(topics, names[i]))
            return false;
    return true;
}

size_t topics_count(const struct session *session)
{
    return session->topics ? session->topics->wanted : 0;
}

size_t topics_pattern_bytes(const struct session *session)
{
    return session->topics ? session->topics->pattern_bytes : 0;
}

bool topics_has(const struct session *session, struct slice name)
{
    const struct subscription *found;

    if (session->topics == NULL)
        return false;
    found = topics_find(session->gateway->topics, session, name);
    return found && found->wanted;
}

/* As a client writes it. */
static struct slice client_name(struct topics *topics, const struct target *target)
{
    if (target->kind != TARGET_PRESENCE)
        return target_name(target);
    if (slice_is(target_name(target), "*"))
        return slice_text("presence.*");
    buffer_reset(&topics->scratch, TOPIC_MAX);
    topic_presence_name(&topics->scratch, target_name(target));
    return buffer_slice(&topics->scratch);
}

void topics_each_wanted(struct topics *topics, const struct session *session,
                        void (*visit)(void *arg, struct slice name), void *arg)
{
    const struct session_topics *of = session->topics;

    for (size_t i = 0; of && i < of->count; i++)
        if (of->list[i]->wanted)
            visit(arg, client_name(topics, of->list[i]->key.target));
}

bool topics_has_presence(const struct session *session, struct slice user)
{
    const struct subscription *found =
        session->topics ? find(session->gateway->topics, session, TARGET_PRESENCE, user) : NULL;

    return found && found->wanted;
}

/* What partitions have been told, not what is in force: a message that follows the counts is
 * counted by them. */
bool topics_session_matches(const struct session *session, struct slice topic)
{
    struct topics *topics = session->gateway->topics;
    struct session *of = (struct session *)(uintptr_t)session;

    return session->topics &&
           (topics_has(session, topic) || topic_counts_by_pattern(topics, of, topic));
}

/* ---- the end of a session ---- */

static void drop(struct topics *topics, struct subscription *subscription)
{
    struct target *target = subscription->key.target;

    topic_counts_set(topics, subscription, false);
    if (!subscription->wanted)
        return;
    target->wanted--;
    if (target->kind == TARGET_PRESENCE && target->wanted == 0)
        topics_send_watch(topics, target, false, 0);
}

void topics_session_closed(struct topics *topics, struct session *session)
{
    struct session_topics *of = session->topics;

    if (of == NULL)
        return;
    for (size_t i = 0; i < of->count; i++)
        history_drop(of->list[i]);
    topic_changes_drop(topics, of);
    topic_counts_leave_set(topics, of);
    for (size_t i = 0; i < of->count; i++)
        drop(topics, of->list[i]);
    topic_counts_send(topics);
    while (session->topics)
        topics_end(topics, of->list[of->count - 1]);
}

/* ---- what routers send ---- */

void topics_on_message(struct topics *topics, uint32_t partition,
                       const struct frame_topic_message *message)
{
    const struct session *exclude = NULL;
    const struct protocol *only;
    struct target *target;

    if (message->exclude)
        exclude = session_find(topics->gateway->sessions, message->exclude);
    if (endpoint_topic_is(message->topic, &only)) {
        topic_fanout_endpoint(&topics->fanout, topics->gateway->sessions, only, exclude, message);
        return;
    }
    target =
        message->offset ? topic_index_find(&topics->index, TARGET_TOPIC, message->topic) : NULL;
    if (target)
        history_on_message(topics->gateway->histories, target, message);
    topic_fanout_message(&topics->fanout, &topics->index, partition, exclude, message);
}

void topics_on_mark(struct topics *topics, const struct frame_topic_mark *mark)
{
    struct target *target = topic_index_find(&topics->index, TARGET_TOPIC, mark->topic);

    if (target)
        history_on_mark(topics->gateway->histories, target, mark);
}

void topics_on_signal(struct topics *topics, const struct frame_signal_delivery *signal)
{
    topic_fanout_signal(&topics->fanout, topics->gateway->sessions, signal);
}

/* The request of a state is the session that asked. */
void topics_on_presence(struct topics *topics, uint32_t partition,
                        const struct frame_presence_state *state)
{
    struct session *session;

    (void)partition;
    if (state->request == 0) {
        topic_fanout_presence(&topics->fanout, &topics->index, state);
        return;
    }
    session = session_find(topics->gateway->sessions, state->request & ~PRESENCE_AGAIN);
    if (session && (topics_has_presence(session, state->user) ||
                    topics_has_presence(session, slice_text("*"))))
        topic_fanout_state(&topics->fanout, session, state);
}

/* ---- announcements ---- */

static bool concerns(const struct target *target, uint32_t partition)
{
    return target->partition == partition || target->partition == TARGET_EVERYWHERE;
}

void topics_announce(struct topics *topics, uint32_t partition, struct buffer *frames)
{
    struct frame frame;

    endpoint_topics_announce(topics->gateway, partition, frames);
    for (struct target *t = topics->index.targets[TARGET_TOPIC]; t; t = t->hh.next) {
        frame = topic_counts_of_topic(t);
        if (t->counted > 0 && t->partition == partition)
            frame_encode(frames, &frame);
    }
    for (struct topic_pattern_set *set = topics->sets; set; set = set->hh.next) {
        frame = topic_counts_of_set(set);
        frame_encode(frames, &frame);
    }
    for (struct target *t = topics->index.targets[TARGET_PRESENCE]; t; t = t->hh.next) {
        frame = watch_frame(t, true, 0);
        if (t->wanted > 0 && concerns(t, partition))
            frame_encode(frames, &frame);
    }
}

static void collect_ids(struct buffer *ids, const struct target *target, uint32_t partition)
{
    for (size_t i = 0; i < target->count; i++)
        if (topic_fanout_in_force(target->receivers[i].subscription, partition))
            buffer_append(ids, &target->receivers[i].session->id, sizeof(uint64_t));
}

/* Changes of presence may be lost as well, but not for good: the state as it is now makes up for
 * them. */
static void ask_states(struct topics *topics, uint32_t partition)
{
    for (struct target *t = topics->index.targets[TARGET_PRESENCE]; t; t = t->hh.next) {
        for (size_t i = 0; concerns(t, partition) && i < t->count; i++) {
            struct frame frame = watch_frame(t, true, t->receivers[i].session->id | PRESENCE_AGAIN);

            if (t->receivers[i].subscription->wanted)
                uplink_send(topics->gateway->uplink, partition, &frame);
        }
    }
}

void topics_on_gap(struct topics *topics, uint32_t partition)
{
    struct buffer ids = {0};

    ask_states(topics, partition);
    topic_changes_sync(topics, partition);
    for (struct target *t = topics->index.targets[TARGET_TOPIC]; t; t = t->hh.next)
        if (t->partition == partition && !history_on_gap(topics->gateway->histories, t))
            collect_ids(&ids, t, partition);
    for (struct target *t = topics->index.targets[TARGET_PATTERN]; t; t = t->hh.next)
        collect_ids(&ids, t, partition);
    for (size_t at = 0; at < ids.length; at += sizeof(uint64_t)) {
        struct session *session;
        uint64_t id;

        memcpy(&id, ids.data + at, sizeof(id));
        session = session_find(topics->gateway->sessions, id);
        if (session)
            session_close(session, SESSION_CLOSE_RESTART, "messages may have been missed");
    }
    buffer_finish(&ids);
}
