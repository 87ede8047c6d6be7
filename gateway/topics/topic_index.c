#include "gateway/topics/topic_index.h"

#include "common/xalloc.h"
#include "gateway/session/session.h"

#include <stdlib.h>

void topic_index_init(struct topic_index *index)
{
    *index = (struct topic_index){.patterns = pattern_trie_create()};
}

void topic_index_finish(struct topic_index *index)
{
    while (index->subscriptions)
        topic_index_unsubscribe(index, index->subscriptions);
    pattern_trie_destroy(&index->patterns);
}

struct target *topic_index_find(const struct topic_index *index, enum target_kind kind,
                                struct slice name)
{
    struct target *target;

    HASH_FIND(hh, index->targets[kind], name.data, name.length, target);
    return target;
}

struct target *topic_index_get(struct topic_index *index, enum target_kind kind, struct slice name,
                               uint32_t partition)
{
    struct target *target = topic_index_find(index, kind, name);

    if (target)
        return target;
    target = xcalloc(1, sizeof(*target) + name.length);
    target->kind = kind;
    target->partition = partition;
    target->length = name.length;
    memcpy(target->name, name.data, name.length);
    HASH_ADD_KEYPTR(hh, index->targets[kind], target->name, target->length, target);
    if (kind == TARGET_PATTERN)
        pattern_trie_add(index->patterns, name, target);
    return target;
}

void topic_index_release(struct topic_index *index, struct target *target)
{
    if (target->count > 0 || target->busy > 0)
        return;
    if (target->kind == TARGET_PATTERN)
        pattern_trie_remove(index->patterns, slice_of(target->name, target->length));
    HASH_DEL(index->targets[target->kind], target);
    free(target->receivers);
    free(target);
}

void target_list_append(struct target_list *list, struct target *target)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 16;
        list->targets = xrealloc(list->targets, list->capacity * sizeof(struct target *));
    }
    list->targets[list->count++] = target;
}

static void append_match(void *target, void *list)
{
    target_list_append(list, target);
}

void topic_index_match(const struct topic_index *index, struct slice topic,
                       struct target_list *list)
{
    struct target *target = topic_index_find(index, TARGET_TOPIC, topic);

    if (target)
        target_list_append(list, target);
    pattern_trie_match(index->patterns, topic, append_match, list);
}

struct subscription *topic_index_subscription(const struct topic_index *index,
                                              const struct session *session,
                                              const struct target *target)
{
    const struct {
        const struct session *session;
        const struct target *target;
    } key = {session, target}; /* as in struct subscription_key, but looks only */
    struct subscription *subscription;

    HASH_FIND(hh, index->subscriptions, &key, sizeof(key), subscription);
    return subscription;
}

static void append_receiver(struct target *target, struct subscription *subscription)
{
    if (target->count == target->capacity) {
        target->capacity = target->capacity ? target->capacity * 2 : 2;
        target->receivers = xrealloc(target->receivers, target->capacity * sizeof(struct receiver));
    }
    subscription->at_target = target->count;
    target->receivers[target->count++] =
        (struct receiver){.session = subscription->key.session, .subscription = subscription};
}

static void append_to_session(struct session *session, struct subscription *subscription)
{
    struct session_topics *of = session->topics;

    if (of == NULL)
        of = session->topics = xcalloc(1, sizeof(*of));
    if (of->count == of->capacity) {
        of->capacity = of->capacity ? of->capacity * 2 : 4;
        of->list = xrealloc(of->list, of->capacity * sizeof(struct subscription *));
    }
    subscription->at_session = of->count;
    of->list[of->count++] = subscription;
}

struct subscription *topic_index_subscribe(struct topic_index *index, struct session *session,
                                           struct target *target)
{
    struct subscription *subscription = xcalloc(1, sizeof(*subscription));

    subscription->key.session = session;
    subscription->key.target = target;
    append_receiver(target, subscription);
    append_to_session(session, subscription);
    HASH_ADD(hh, index->subscriptions, key, sizeof(subscription->key), subscription);
    return subscription;
}

/* The last of the list takes its place: a fan-out that walks down from the end skips none and
 * repeats none. */
static void remove_receiver(struct target *target, size_t at)
{
    target->receivers[at] = target->receivers[--target->count];
    target->receivers[at].subscription->at_target = at;
}

static void remove_from_session(struct session *session, size_t at)
{
    struct session_topics *of = session->topics;

    of->list[at] = of->list[--of->count];
    of->list[at]->at_session = at;
    if (of->count > 0)
        return;
    free(of->list);
    free(of);
    session->topics = NULL;
}

void topic_index_settle(struct subscription *subscription)
{
    subscription->key.target->receivers[subscription->at_target].settled =
        subscription->wanted && subscription->pending == 0 && subscription->resume == NULL &&
        subscription->above == 0;
}

void topic_index_unsubscribe(struct topic_index *index, struct subscription *subscription)
{
    struct target *target = subscription->key.target;

    remove_receiver(target, subscription->at_target);
    remove_from_session(subscription->key.session, subscription->at_session);
    HASH_DEL(index->subscriptions, subscription);
    free(subscription->mask);
    free(subscription);
    topic_index_release(index, target);
}
