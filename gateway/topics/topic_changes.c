#include "common/xalloc.h"
#include "gateway/topics/history.h"
#include "gateway/topics/topics_state.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>

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

void topic_change_end(struct topics *topics, struct topic_change *change)
{
    change_detach(topics, change);
    change_destroy(change);
}

static struct topic_change *change_create(struct topics *topics, struct session *session,
                                          size_t names, bool want, uint64_t request)
{
    size_t words = topics_mask_words(topics);
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
        for (uint32_t p = 0; p < topics_partitions(topics); p++)
            wait_for(topics, change, p);
    } else if (!mask_test(change->mask, partition)) {
        mask_set(change->mask, partition, true);
        change->waiting++;
    }
}

/* While it changes, a pattern is in force in some partitions and not in others. */
static void open_mask(const struct topics *topics, struct subscription *subscription)
{
    size_t size = topics_mask_words(topics) * sizeof(uint64_t);

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
        topics_send_watch(topics, target, false, 0);
}

static void change_name(struct topics *topics, struct topic_change *change, struct slice name,
                        const struct history_wish *wish)
{
    struct subscription *subscription = change->want ? topics_get(topics, change->session, name)
                                                     : topics_find(topics, change->session, name);
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
    for (uint32_t p = 0; p < topics_partitions(topics); p++)
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
        topics_end(topics, subscription);
}

/* The state of followed users is asked for here, not earlier: so it comes behind the protocol's own
 * reply. */
static void finish_item(struct topics *topics, const struct topic_change *change,
                        struct subscription *subscription)
{
    const struct target *target = subscription->key.target;

    if (target->kind == TARGET_PRESENCE && change->want && subscription->wanted)
        topics_send_watch(topics, target, true, change->session->id);
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
    for (size_t i = 0; change->follows && i < change->count; i++)
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

        uplink_send(topics->gateway->uplink, target->partition,
                    &(struct frame){.type = FRAME_TOPIC_MARK_ASK,
                                    .topic_mark_ask.topic = target_name(target)});
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
    topic_counts_change(topics, change);
    topic_counts_send(topics);
    if (change->patterns)
        topic_counts_update_set(topics, session->topics);
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
        session->topics ? topics_find(session->gateway->topics, session, name) : NULL;

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
    if (change == NULL || partition >= topics_partitions(topics) ||
        !mask_test(change->mask, partition))
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

void topic_changes_drop(struct topics *topics, struct session_topics *of)
{
    struct topic_change *change;

    while ((change = LIST_FIRST(&of->changes)) != NULL)
        topic_change_end(topics, change);
}

/* The answer may have been lost, or what it was to be an answer to. */
void topic_changes_sync(struct topics *topics, uint32_t partition)
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
