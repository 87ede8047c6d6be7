#include "common/xalloc.h"
#include "gateway/topics/topics_state.h"
#include "gateway/bus/uplink.h"

#include <assert.h>
#include <stdlib.h>

struct frame topic_counts_of_topic(const struct target *target)
{
    return (struct frame){
        .type = FRAME_TOPIC_COUNT,
        .topic_count = {.topic = target_name(target), .connections = target->counted},
    };
}

struct frame topic_counts_of_set(const struct topic_pattern_set *set)
{
    return (struct frame){
        .type = FRAME_PATTERNS_COUNT,
        .patterns_count = {.patterns = slice_of(set->patterns, set->length),
                           .connections = set->connections},
    };
}

void topic_counts_set(struct topics *topics, struct subscription *subscription, bool counted)
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
void topic_counts_send(struct topics *topics)
{
    for (size_t i = 0; i < topics->dirty.count; i++) {
        struct target *target = topics->dirty.targets[i];
        struct frame frame = topic_counts_of_topic(target);

        target->dirty = false;
        topics_send(topics, target->partition, &frame);
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
        buffer_append_slice(&topics->scratch, target_name(patterns[i]));
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
    struct frame frame = topic_counts_of_set(set);

    uplink_send_all(topics->gateway->uplink, &frame);
}

void topic_counts_leave_set(struct topics *topics, struct session_topics *of)
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

void topic_counts_update_set(struct topics *topics, struct session_topics *of)
{
    topic_counts_leave_set(topics, of);
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

bool topic_counts_by_pattern(struct topics *topics, const struct session *session,
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
    topic_counts_set(topics, subscription,
                     subscription->wanted &&
                         !topic_counts_by_pattern(topics, session, target_name(target)));
}

/* With other patterns, any topic of the session may be counted or not. */
void topic_counts_change(struct topics *topics, const struct topic_change *change)
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
