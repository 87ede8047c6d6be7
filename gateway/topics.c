#include "gateway/topics.h"

#include "common/xalloc.h"
#include "gateway/endpoint_topic.h"
#include "gateway/history.h"
#include "gateway/topic_fanout.h"
#include "gateway/topic_index.h"
#include "gateway/uplink.h"

#include <assert.h>
#include <stdlib.h>

/* The distinct sets of patterns that sessions have, as routers count them. */
struct topic_pattern_set {
    uint64_t connections;
    UT_hash_handle hh;
    size_t length;
    char patterns[]; /* sorted, joined by ',' */
};

/* Subscriptions of one session that change together, until all partitions concerned have replied.
 */
struct topic_change {
    uint64_t number; /* SUBSCRIPTION_SYNC's request */
    struct session *session;
    uint64_t request; /* the protocol's */
    bool want;
    bool patterns; /* some of its items are patterns that were not (or were) wanted before */
    struct subscription **items;
    size_t count;
    bool follows;   /* histories: its items hold back what is live */
    size_t asking;  /* of whose histories it is not known where they are */
    size_t waiting; /* partitions that have not replied */
    UT_hash_handle hh;
    LIST_ENTRY(topic_change) link;
    uint64_t mask[]; /* which */
};

struct topics {
    struct gateway *gateway;
    struct topic_index index;
    struct topic_fanout fanout;
    struct topic_pattern_set *sets; /* hash by patterns */
    struct topic_change *changes;   /* hash by number */
    uint64_t last_change;
    struct target_list dirty;
    struct buffer scratch;
};

static uint32_t partitions(const struct topics *topics)
{
    return topics->gateway->deployment.partitions;
}

static size_t mask_words(const struct topics *topics)
{
    return (partitions(topics) + 63) / 64;
}

static bool mask_test(const uint64_t *mask, uint32_t partition)
{
    return mask[partition / 64] >> partition % 64 & 1;
}

static void mask_set(uint64_t *mask, uint32_t partition, bool on)
{
    uint64_t bit = 1ull << partition % 64;

    mask[partition / 64] = on ? mask[partition / 64] | bit : mask[partition / 64] & ~bit;
}

static struct slice name_of(const struct target *target)
{
    return slice_of(target->name, target->length);
}

struct topics *topics_create(struct gateway *gateway)
{
    struct topics *topics = xcalloc(1, sizeof(*topics));

    topics->gateway = gateway;
    topic_index_init(&topics->index);
    return topics;
}

static void change_destroy(struct topic_change *change)
{
    free(change->items);
    free(change);
}

static void change_detach(struct topics *topics, struct topic_change *change)
{
    HASH_DEL(topics->changes, change);
    LIST_REMOVE(change, link);
}

static void end_subscription(struct topics *topics, struct subscription *subscription)
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
    while ((change = topics->changes) != NULL) {
        change_detach(topics, change);
        change_destroy(change);
    }
    while ((set = topics->sets) != NULL) {
        HASH_DEL(topics->sets, set);
        free(set);
    }
    while (topics->index.subscriptions)
        end_subscription(topics, topics->index.subscriptions);
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

static struct subscription *find(struct topics *topics, const struct session *session,
                                 struct slice name)
{
    enum target_kind kind = kind_of(name);
    struct target *target = topic_index_find(&topics->index, kind, key_of(topics, kind, name));

    return target ? topic_index_subscription(&topics->index, session, target) : NULL;
}

static struct subscription *get(struct topics *topics, struct session *session, struct slice name)
{
    enum target_kind kind = kind_of(name);
    struct slice key = key_of(topics, kind, name);
    uint32_t partition = partition_of_target(topics, kind, key);
    struct target *target = topic_index_get(&topics->index, kind, key, partition);
    struct subscription *found = topic_index_subscription(&topics->index, session, target);

    return found ? found : topic_index_subscribe(&topics->index, session, target);
}

/* ---- frames ---- */

static void send_to(struct topics *topics, uint32_t partition, const struct frame *frame)
{
    if (partition == TARGET_EVERYWHERE)
        uplink_send_all(topics->gateway->uplink, frame);
    else
        uplink_send(topics->gateway->uplink, partition, frame);
}

static struct frame topic_count_frame(const struct target *target)
{
    return (struct frame){
        .type = FRAME_TOPIC_COUNT,
        .topic_count = {.topic = name_of(target), .connections = target->counted},
    };
}

static struct frame patterns_count_frame(const struct topic_pattern_set *set)
{
    return (struct frame){
        .type = FRAME_PATTERNS_COUNT,
        .patterns_count = {.patterns = slice_of(set->patterns, set->length),
                           .connections = set->connections},
    };
}

static struct frame watch_frame(const struct target *target, bool watching, uint64_t request)
{
    return (struct frame){
        .type = FRAME_PRESENCE_WATCH,
        .presence_watch = {.user = name_of(target), .watching = watching, .request = request},
    };
}

static void send_watch(struct topics *topics, const struct target *target, bool watching,
                       uint64_t request)
{
    struct frame frame = watch_frame(target, watching, request);

    send_to(topics, target->partition, &frame);
}

static void set_counted(struct topics *topics, struct subscription *subscription, bool counted)
{
    struct target *target = subscription->key.target;

    if (subscription->counted == counted)
        return;
    subscription->counted = counted;
    target->counted = counted ? target->counted + 1 : target->counted - 1;
    if (!target->dirty) {
        target->dirty = true;
        target_list_append(&topics->dirty, target);
    }
}

/* Sends the counts that have changed; all are absolute, so one frame says the last word. */
static void send_counts(struct topics *topics)
{
    for (size_t i = 0; i < topics->dirty.count; i++) {
        struct target *target = topics->dirty.targets[i];
        struct frame frame = topic_count_frame(target);

        target->dirty = false;
        send_to(topics, target->partition, &frame);
    }
    topics->dirty.count = 0;
}

/* ---- sets of patterns ---- */

static int compare_names(const void *left, const void *right)
{
    const struct target *a = *(struct target *const *)left, *b = *(struct target *const *)right;
    int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);

    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* Writes the session's wanted patterns, sorted and joined, into scratch. */
static struct slice join_patterns(struct topics *topics, const struct session_topics *of)
{
    struct target **patterns = xmalloc(of->patterns_wanted * sizeof(struct target *));
    size_t count = 0;

    for (size_t i = 0; i < of->count; i++)
        if (of->list[i]->wanted && of->list[i]->key.target->kind == TARGET_PATTERN)
            patterns[count++] = of->list[i]->key.target;
    assert(count == of->patterns_wanted);
    qsort(patterns, count, sizeof(struct target *), compare_names);
    buffer_reset(&topics->scratch, TOPIC_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&topics->scratch, ',');
        buffer_append_slice(&topics->scratch, name_of(patterns[i]));
    }
    free(patterns);
    return buffer_slice(&topics->scratch);
}

static struct topic_pattern_set *get_set(struct topics *topics, struct slice patterns)
{
    struct topic_pattern_set *set;

    HASH_FIND(hh, topics->sets, patterns.data, patterns.length, set);
    if (set)
        return set;
    set = xcalloc(1, sizeof(*set) + patterns.length);
    set->length = patterns.length;
    memcpy(set->patterns, patterns.data, patterns.length);
    HASH_ADD_KEYPTR(hh, topics->sets, set->patterns, set->length, set);
    return set;
}

static void send_set(struct topics *topics, const struct topic_pattern_set *set)
{
    struct frame frame = patterns_count_frame(set);

    uplink_send_all(topics->gateway->uplink, &frame);
}

static void leave_set(struct topics *topics, struct session_topics *of)
{
    struct topic_pattern_set *set = of->set;

    of->set = NULL;
    if (set == NULL)
        return;
    set->connections--;
    send_set(topics, set);
    if (set->connections > 0)
        return;
    HASH_DEL(topics->sets, set);
    free(set);
}

static void update_set(struct topics *topics, struct session_topics *of)
{
    leave_set(topics, of);
    if (of->patterns_wanted == 0)
        return;
    of->set = get_set(topics, join_patterns(topics, of));
    of->set->connections++;
    send_set(topics, of->set);
}

/* ---- what is counted ---- */

struct pattern_search {
    struct topics *topics;
    const struct session *session;
    bool found;
};

static void search_pattern(void *target, void *arg)
{
    struct pattern_search *search = arg;
    const struct subscription *subscription;

    if (search->found)
        return;
    subscription = topic_index_subscription(&search->topics->index, search->session, target);
    search->found = subscription && subscription->wanted;
}

static bool matches_pattern(struct topics *topics, const struct session *session,
                            struct slice topic)
{
    struct pattern_search search = {.topics = topics, .session = session};

    if (session->topics->patterns_wanted > 0)
        pattern_trie_match(topics->index.patterns, topic, search_pattern, &search);
    return search.found;
}

static void recount(struct topics *topics, struct subscription *subscription)
{
    const struct target *target = subscription->key.target;
    const struct session *session = subscription->key.session;

    if (target->kind != TARGET_TOPIC)
        return;
    set_counted(topics, subscription,
                subscription->wanted && !matches_pattern(topics, session, name_of(target)));
}

/* With other patterns, any topic of the session may be counted or not. */
static void recount_change(struct topics *topics, const struct topic_change *change)
{
    struct subscription **list = change->items;
    size_t count = change->count;

    if (change->patterns) {
        list = change->session->topics->list;
        count = change->session->topics->count;
    }
    for (size_t i = 0; i < count; i++)
        recount(topics, list[i]);
}

/* ---- changes ---- */

static struct topic_change *change_create(struct topics *topics, struct session *session,
                                          size_t names, bool want, uint64_t request)
{
    size_t words = mask_words(topics);
    struct topic_change *change = xcalloc(1, sizeof(*change) + words * sizeof(uint64_t));

    change->number = ++topics->last_change;
    change->session = session;
    change->request = request;
    change->want = want;
    change->items = xcalloc(names ? names : 1, sizeof(struct subscription *));
    return change;
}

static void wait_for(struct topics *topics, struct topic_change *change, uint32_t partition)
{
    if (partition == TARGET_EVERYWHERE) {
        for (uint32_t p = 0; p < partitions(topics); p++)
            wait_for(topics, change, p);
    } else if (!mask_test(change->mask, partition)) {
        mask_set(change->mask, partition, true);
        change->waiting++;
    }
}

/* While it changes, a pattern is in force in some partitions and not in others. */
static void open_mask(const struct topics *topics, struct subscription *subscription)
{
    size_t size = mask_words(topics) * sizeof(uint64_t);

    if (subscription->key.target->kind != TARGET_PATTERN || subscription->mask)
        return;
    subscription->mask = xmalloc(size);
    memset(subscription->mask, subscription->in_force ? 0xff : 0, size);
}

static void add_item(struct topics *topics, struct topic_change *change,
                     struct subscription *subscription)
{
    const struct target *target = subscription->key.target;

    change->items[change->count++] = subscription;
    subscription->pending++;
    subscription->key.target->receivers[subscription->at_target].settled = false;
    open_mask(topics, subscription);
    if (target->kind != TARGET_PRESENCE)
        wait_for(topics, change, target->partition);
}

static void toggle(struct topics *topics, struct topic_change *change,
                   struct subscription *subscription)
{
    struct target *target = subscription->key.target;
    struct session_topics *of = change->session->topics;
    size_t step = change->want ? 1 : (size_t)-1;

    subscription->wanted = change->want;
    target->wanted += step;
    of->wanted += step;
    if (target->kind == TARGET_PATTERN) {
        of->patterns_wanted += step;
        of->pattern_bytes += change->want ? target->length : -target->length;
        change->patterns = true;
    }
    if (target->kind == TARGET_PRESENCE && target->wanted == 0)
        send_watch(topics, target, false, 0);
}

static void change_name(struct topics *topics, struct topic_change *change, struct slice name,
                        const struct history_wish *wish)
{
    struct subscription *subscription =
        change->want ? get(topics, change->session, name) : find(topics, change->session, name);
    bool again;

    if (subscription == NULL)
        return;
    /* Asked for once more: only what is not in force yet, or has a state to tell. */
    again = subscription->wanted == change->want;
    if (again && wish == NULL && subscription->pending == 0 &&
        subscription->key.target->kind != TARGET_PRESENCE)
        return;
    if (!again)
        toggle(topics, change, subscription);
    add_item(topics, change, subscription);
    if (wish)
        history_hold(topics->gateway->histories, subscription, wish);
}

static void send_syncs(struct topics *topics, const struct topic_change *change)
{
    struct frame frame = {
        .type = FRAME_SUBSCRIPTION_SYNC,
        .subscription_sync = {.request = change->number},
    };

    if (change->waiting == 0)
        return;
    for (uint32_t p = 0; p < partitions(topics); p++)
        if (mask_test(change->mask, p))
            uplink_send(topics->gateway->uplink, p, &frame);
}

static void settle(struct topics *topics, struct subscription *subscription)
{
    free(subscription->mask);
    subscription->mask = NULL;
    subscription->in_force = subscription->wanted;
    if (subscription->wanted)
        topic_index_settle(subscription);
    else
        end_subscription(topics, subscription);
}

/* The state of followed users is asked for here, not earlier: so it comes behind the protocol's own
 * reply. */
static void finish_item(struct topics *topics, const struct topic_change *change,
                        struct subscription *subscription)
{
    const struct target *target = subscription->key.target;

    if (target->kind == TARGET_PRESENCE && change->want && subscription->wanted)
        send_watch(topics, target, true, change->session->id);
    if (--subscription->pending == 0)
        settle(topics, subscription);
}

static void finish_change(struct topics *topics, struct topic_change *change)
{
    struct session *session = change->session;
    uint64_t request = change->request;

    change_detach(topics, change);
    /* As long as they are pending, its items stay. */
    session->protocol->on_subscribed(session, request);
    for (size_t i = 0; i < change->count; i++)
        history_go(topics->gateway->histories, change->items[i]);
    for (size_t i = 0; i < change->count; i++)
        finish_item(topics, change, change->items[i]);
    change_destroy(change);
}

static void on_history_known(void *arg, struct subscription *subscription)
{
    struct topic_change *change = arg;

    (void)subscription;
    if (--change->asking == 0)
        finish_change(change->session->gateway->topics, change);
}

/* All partitions have replied. */
static void in_force(struct topics *topics, struct topic_change *change)
{
    if (!change->follows) {
        finish_change(topics, change);
        return;
    }
    /* One more, so that it does not end while this goes on. */
    change->asking = change->count + 1;
    for (size_t i = 0; i < change->count; i++)
        history_ask(topics->gateway->histories, change->items[i], on_history_known, change);
    on_history_known(change, NULL);
}

static void ask_marks(struct topics *topics, const struct topic_change *change)
{
    for (size_t i = 0; change->follows && i < change->count; i++) {
        const struct target *target = change->items[i]->key.target;

        uplink_send(
            topics->gateway->uplink, target->partition,
            &(struct frame){.type = FRAME_TOPIC_MARK_ASK, .topic_mark_ask.topic = name_of(target)});
    }
}

static void change_subscriptions(struct topics *topics, struct session *session,
                                 const struct slice *names, const struct history_wish *wishes,
                                 size_t count, bool want, uint64_t request)
{
    struct topic_change *change = change_create(topics, session, count, want, request);

    change->follows = wishes != NULL;
    for (size_t i = 0; i < count; i++)
        change_name(topics, change, names[i], wishes ? &wishes[i] : NULL);
    if (change->count == 0) {
        change_destroy(change);
        session->protocol->on_subscribed(session, request);
        return;
    }
    HASH_ADD(hh, topics->changes, number, sizeof(change->number), change);
    LIST_INSERT_HEAD(&session->topics->changes, change, link);
    recount_change(topics, change);
    send_counts(topics);
    if (change->patterns)
        update_set(topics, session->topics);
    ask_marks(topics, change);
    send_syncs(topics, change);
    if (change->waiting == 0)
        finish_change(topics, change);
}

void topics_follow(struct topics *topics, struct session *session, const struct slice *names,
                   const struct history_wish *wishes, size_t count, uint64_t request)
{
    change_subscriptions(topics, session, names, wishes, count, true, request);
}

bool topics_history(const struct session *session, struct slice name, struct history_answer *answer)
{
    const struct subscription *found =
        session->topics ? find(session->gateway->topics, session, name) : NULL;

    return found && history_answer_of(found, answer);
}

void topics_subscribe(struct topics *topics, struct session *session, const struct slice *names,
                      size_t count, uint64_t request)
{
    change_subscriptions(topics, session, names, NULL, count, true, request);
}

void topics_unsubscribe(struct topics *topics, struct session *session, const struct slice *names,
                        size_t count, uint64_t request)
{
    change_subscriptions(topics, session, names, NULL, count, false, request);
}

void topics_on_synced(struct topics *topics, uint32_t partition, uint64_t request)
{
    struct topic_change *change;

    HASH_FIND(hh, topics->changes, &request, sizeof(request), change);
    if (change == NULL || partition >= partitions(topics) || !mask_test(change->mask, partition))
        return;
    mask_set(change->mask, partition, false);
    for (size_t i = 0; i < change->count; i++) {
        struct subscription *item = change->items[i];

        if (item->mask)
            mask_set(item->mask, partition, change->want);
        else if (item->key.target->partition == partition)
            item->in_force = change->want;
    }
    if (--change->waiting == 0)
        in_force(topics, change);
}

/* ---- questions ---- */

static bool target_has_credit(struct topics *topics, struct slice name)
{
    enum target_kind kind = kind_of(name);
    uint32_t partition = partition_of_target(topics, kind, key_of(topics, kind, name));

    if (partition != TARGET_EVERYWHERE)
        return uplink_has_credit(topics->gateway->uplink, partition);
    for (uint32_t p = 0; p < partitions(topics); p++)
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
    found = find(session->gateway->topics, session, name);
    return found && found->wanted;
}

/* What partitions have been told, not what is in force: a message that follows the counts is
 * counted by them. */
bool topics_session_matches(const struct session *session, struct slice topic)
{
    struct topics *topics = session->gateway->topics;
    struct session *of = (struct session *)(uintptr_t)session;

    return session->topics && (topics_has(session, topic) || matches_pattern(topics, of, topic));
}

/* ---- the end of a session ---- */

static void drop(struct topics *topics, struct subscription *subscription)
{
    struct target *target = subscription->key.target;

    set_counted(topics, subscription, false);
    if (!subscription->wanted)
        return;
    target->wanted--;
    if (target->kind == TARGET_PRESENCE && target->wanted == 0)
        send_watch(topics, target, false, 0);
}

static void drop_changes(struct topics *topics, struct session_topics *of)
{
    struct topic_change *change;

    while ((change = LIST_FIRST(&of->changes)) != NULL) {
        change_detach(topics, change);
        change_destroy(change);
    }
}

void topics_session_closed(struct topics *topics, struct session *session)
{
    struct session_topics *of = session->topics;

    if (of == NULL)
        return;
    for (size_t i = 0; i < of->count; i++)
        history_drop(of->list[i]);
    drop_changes(topics, of);
    leave_set(topics, of);
    for (size_t i = 0; i < of->count; i++)
        drop(topics, of->list[i]);
    send_counts(topics);
    while (session->topics)
        end_subscription(topics, of->list[of->count - 1]);
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

static bool follows(struct topics *topics, const struct session *session, struct slice user)
{
    struct target *target = topic_index_find(&topics->index, TARGET_PRESENCE, user);
    const struct subscription *found =
        target ? topic_index_subscription(&topics->index, session, target) : NULL;

    return found && found->wanted;
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
    if (session &&
        (follows(topics, session, state->user) || follows(topics, session, slice_text("*"))))
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
        frame = topic_count_frame(t);
        if (t->counted > 0 && t->partition == partition)
            frame_encode(frames, &frame);
    }
    for (struct topic_pattern_set *set = topics->sets; set; set = set->hh.next) {
        frame = patterns_count_frame(set);
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

/* The answer may have been lost, or what it was to be an answer to. */
static void sync_again(struct topics *topics, uint32_t partition)
{
    for (struct topic_change *change = topics->changes; change; change = change->hh.next) {
        struct frame frame = {
            .type = FRAME_SUBSCRIPTION_SYNC,
            .subscription_sync = {.request = change->number},
        };

        if (!mask_test(change->mask, partition))
            continue;
        ask_marks(topics, change);
        uplink_send(topics->gateway->uplink, partition, &frame);
    }
}

void topics_on_gap(struct topics *topics, uint32_t partition)
{
    struct buffer ids = {0};

    ask_states(topics, partition);
    sync_again(topics, partition);
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
