/*
 * Topics: how many connections each gateway has for a topic, exactly, and the fan-out of what is
 * published to the gateways that have any. Patterns are counted by distinct sets, so that nobody is
 * counted twice (delivery.md, Topics). See state.h.
 */
#include "common/pattern_trie.h"
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

/* A topic that somebody subscribes to by its exact name. */
struct topic {
    struct shares exact;
    struct shares wild;        /* of the pattern sets that match: a cache */
    uint64_t patterns_version; /* of which wild is */
    UT_hash_handle hh;
    size_t length;
    char name[];
};

/* A pattern, and the sets that have it. */
struct pattern {
    struct pattern_set **sets;
    size_t set_count;
    UT_hash_handle hh;
    size_t length;
    char name[];
};

struct pattern_set {
    struct shares shares;
    uint64_t gathered; /* the gathering that came by last: a set counts once */
    UT_hash_handle hh;
    size_t length;
    char patterns[]; /* joined by ',' */
};

/* ---- topics and sets ---- */

static struct topic *topic_find(const struct engine *engine, struct slice name)
{
    struct topic *topic;

    HASH_FIND(hh, engine->topics, name.data, name.length, topic);
    return topic;
}

static struct topic *topic_get(struct engine *engine, struct slice name)
{
    struct topic *topic = topic_find(engine, name);

    if (topic != NULL)
        return topic;
    topic = xcalloc(1, sizeof(*topic) + name.length + 1);
    memcpy(topic->name, name.data, name.length);
    topic->length = name.length;
    HASH_ADD_KEYPTR(hh, engine->topics, topic->name, name.length, topic);
    return topic;
}

static void topic_remove(struct engine *engine, struct topic *topic)
{
    HASH_DEL(engine->topics, topic);
    shares_clear(&topic->exact);
    shares_clear(&topic->wild);
    free(topic);
}

static struct pattern *pattern_get(struct engine *engine, struct slice name)
{
    struct pattern *pattern;

    HASH_FIND(hh, engine->patterns, name.data, name.length, pattern);
    if (pattern != NULL)
        return pattern;
    pattern = xcalloc(1, sizeof(*pattern) + name.length + 1);
    memcpy(pattern->name, name.data, name.length);
    pattern->length = name.length;
    HASH_ADD_KEYPTR(hh, engine->patterns, pattern->name, name.length, pattern);
    pattern_trie_add(engine->pattern_trie, name, pattern);
    return pattern;
}

static void pattern_add_set(struct engine *engine, struct slice name, struct pattern_set *set)
{
    struct pattern *pattern = pattern_get(engine, name);

    pattern->sets =
        xrealloc(pattern->sets, (pattern->set_count + 1) * sizeof(struct pattern_set *));
    pattern->sets[pattern->set_count++] = set;
}

static void pattern_remove_set(struct engine *engine, struct slice name, struct pattern_set *set)
{
    struct pattern *pattern = pattern_get(engine, name);

    for (size_t i = 0; i < pattern->set_count; i++)
        if (pattern->sets[i] == set)
            pattern->sets[i--] = pattern->sets[--pattern->set_count];
    if (pattern->set_count)
        return;
    pattern_trie_remove(engine->pattern_trie, name);
    HASH_DEL(engine->patterns, pattern);
    free(pattern->sets);
    free(pattern);
}

/* With each pattern of the set. */
static void each_pattern(struct engine *engine, struct pattern_set *set,
                         void (*visit)(struct engine *, struct slice, struct pattern_set *))
{
    const char *at = set->patterns, *end = set->patterns + set->length;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t length = (size_t)((comma ? comma : end) - at);

        visit(engine, slice_of(at, length), set);
        at += length + 1;
    }
}

static struct pattern_set *set_find(const struct engine *engine, struct slice patterns)
{
    struct pattern_set *set;

    HASH_FIND(hh, engine->pattern_sets, patterns.data, patterns.length, set);
    return set;
}

static struct pattern_set *set_get(struct engine *engine, struct slice patterns)
{
    struct pattern_set *set = set_find(engine, patterns);

    if (set != NULL)
        return set;
    set = xcalloc(1, sizeof(*set) + patterns.length + 1);
    memcpy(set->patterns, patterns.data, patterns.length);
    set->length = patterns.length;
    HASH_ADD_KEYPTR(hh, engine->pattern_sets, set->patterns, patterns.length, set);
    each_pattern(engine, set, pattern_add_set);
    return set;
}

static void set_remove(struct engine *engine, struct pattern_set *set)
{
    each_pattern(engine, set, pattern_remove_set);
    HASH_DEL(engine->pattern_sets, set);
    shares_clear(&set->shares);
    free(set);
}

void fanout_set_count(struct engine *engine, struct gateway *gateway, struct slice name,
                      uint64_t connections)
{
    struct topic *topic = connections ? topic_get(engine, name) : topic_find(engine, name);

    if (topic == NULL)
        return;
    shares_set(&topic->exact, gateway, connections);
    if (topic->exact.count == 0)
        topic_remove(engine, topic);
}

void fanout_set_patterns(struct engine *engine, struct gateway *gateway, struct slice patterns,
                         uint64_t connections)
{
    struct pattern_set *set = set_get(engine, patterns);

    engine->patterns_version++;
    shares_set(&set->shares, gateway, connections);
    if (set->shares.count == 0)
        set_remove(engine, set);
}

static void write_count(struct engine *engine, const struct gateway *gateway, char kind,
                        struct slice name, uint64_t connections)
{
    uint32_t key = effects_key(engine->effects, "subs", slice_text(gateway->id));
    struct buffer field = {0};

    buffer_append_byte(&field, kind);
    buffer_append_slice(&field, name);
    if (connections) {
        effects_open(engine->effects, EFFECT_HSET, key, 2);
        effects_text(engine->effects, buffer_slice(&field));
        effects_u64(engine->effects, connections);
    } else {
        effects_hdel(engine->effects, key, buffer_slice(&field));
    }
    buffer_finish(&field);
}

void fanout_on_count(struct engine *engine, struct gateway *gateway, struct slice topic,
                     uint64_t connections)
{
    fanout_set_count(engine, gateway, topic, connections);
    if (connections)
        history_on_count(engine, gateway, topic);
    write_count(engine, gateway, '=', topic, connections);
}

void fanout_on_patterns(struct engine *engine, struct gateway *gateway, struct slice patterns,
                        uint64_t connections)
{
    fanout_set_patterns(engine, gateway, patterns, connections);
    write_count(engine, gateway, '~', patterns, connections);
}

void fanout_tell(struct engine *engine, struct slice name, const struct frame *frame)
{
    const struct topic *topic = topic_find(engine, name);

    for (size_t i = 0; topic != NULL && i < topic->exact.count; i++)
        gateway_say(topic->exact.items[i].gateway, frame);
}

/* ---- publishing ---- */

struct gathering {
    uint64_t number;
    struct shares *wild;
};

static void gather_pattern(void *value, void *arg)
{
    const struct pattern *pattern = value;
    const struct gathering *gathering = arg;

    for (size_t i = 0; i < pattern->set_count; i++) {
        struct pattern_set *set = pattern->sets[i];

        if (set->gathered == gathering->number)
            continue;
        set->gathered = gathering->number;
        for (size_t j = 0; j < set->shares.count; j++)
            shares_add(gathering->wild, set->shares.items[j].gateway,
                       set->shares.items[j].connections);
    }
}

static void gather_wild(struct engine *engine, struct slice topic, struct shares *wild)
{
    struct gathering gathering = {.number = ++engine->gatherings, .wild = wild};

    wild->count = 0;
    pattern_trie_match(engine->pattern_trie, topic, gather_pattern, &gathering);
}

/* Appends the shares of all that match: *wild belongs to the topic, or is *scratch. */
static const struct shares *wild_of(struct engine *engine, struct topic *topic, struct slice name,
                                    struct shares *scratch)
{
    if (topic == NULL) {
        gather_wild(engine, name, scratch);
        return scratch;
    }
    if (topic->patterns_version != engine->patterns_version) {
        gather_wild(engine, name, &topic->wild);
        topic->patterns_version = engine->patterns_version;
    }
    return &topic->wild;
}

struct publication {
    const struct frame_topic_publish *publish;
    struct gateway *publisher;
    struct frame message;
    uint64_t recipients;
};

static void send_to(struct publication *publication, struct gateway *gateway, uint64_t connections)
{
    const struct frame_topic_publish *publish = publication->publish;
    bool left_out = gateway == publication->publisher && publish->matches && !publish->echo;

    if (left_out && connections)
        connections--;
    if (connections == 0)
        return;
    publication->recipients += connections;
    /* Also where it counts nothing of its own: endpoint topics have it without being asked. */
    publication->message.topic_message.exclude =
        gateway == publication->publisher && !publish->echo ? publish->connection : 0;
    gateway_say(gateway, &publication->message);
}

static uint64_t publish_message(struct engine *engine, struct gateway *publisher,
                                const struct frame_topic_publish *publish)
{
    struct topic *topic = topic_find(engine, publish->topic);
    static const struct shares nobody;
    const struct shares *exact = topic ? &topic->exact : &nobody;
    struct shares scratch = {0};
    const struct shares *wild = wild_of(engine, topic, publish->topic, &scratch);
    struct publication publication = {
        .publish = publish,
        .publisher = publisher,
        .message = {.type = FRAME_TOPIC_MESSAGE,
                    .topic_message = {.number = engine_next_number(engine),
                                      .from = publish->from,
                                      .topic = publish->topic,
                                      .id = publish->id,
                                      .sent_at_ms = engine->now_ms,
                                      .protocol = publish->protocol,
                                      .content = publish->content,
                                      .body = publish->body,
                                      .metadata = publish->metadata}},
    };

    history_on_publish(engine, publisher, publish, &publication.message.topic_message);
    for (size_t i = 0; i < exact->count; i++)
        send_to(&publication, exact->items[i].gateway,
                exact->items[i].connections + shares_of(wild, exact->items[i].gateway));
    for (size_t i = 0; i < wild->count; i++)
        if (shares_of(exact, wild->items[i].gateway) == 0)
            send_to(&publication, wild->items[i].gateway, wild->items[i].connections);
    shares_clear(&scratch);
    return publication.recipients;
}

static uint64_t publish_hash(const struct frame_topic_publish *publish)
{
    uint64_t hash = recent_hash_begin();

    hash = recent_hash_add(hash, publish->topic);
    hash = recent_hash_add(hash, publish->body);
    return recent_hash_add(hash, publish->metadata);
}

static uint64_t recipients_of(struct engine *engine, struct gateway *gateway,
                              const struct frame_topic_publish *publish)
{
    const struct recent_answer *answer;
    struct recent_answer kept = {.kind = RECENT_PUBLISH};
    struct recent_request request;

    if (!publish->retry)
        return publish_message(engine, gateway, publish);
    request = recent_request(engine, publish->from, publish->id);
    kept.content_hash = publish_hash(publish);
    answer = recent_find(engine, &request, kept.content_hash);
    if (answer != NULL && answer->kind == RECENT_PUBLISH) {
        engine->counters.retries_answered++;
        return answer->recipients;
    }
    kept.recipients = publish_message(engine, gateway, publish);
    recent_keep(engine, &request, &kept);
    return kept.recipients;
}

void fanout_on_publish(struct engine *engine, struct gateway *gateway,
                       const struct frame_topic_publish *publish)
{
    uint64_t recipients;

    /* Who came before it is told before it. */
    rooms_settle(engine, publish->topic);
    recipients = recipients_of(engine, gateway, publish);
    engine->counters.publishes++;
    gateway_say(gateway, &(struct frame){.type = FRAME_PUBLISH_REPLY,
                                         .publish_reply = {.connection = publish->connection,
                                                           .request = publish->request,
                                                           .id = publish->id,
                                                           .recipients = recipients}});
}

/* ---- ends ---- */

void fanout_forget_gateway(struct engine *engine, struct gateway *gateway)
{
    struct topic *topic, *next_topic;
    struct pattern_set *set, *next_set;

    engine->patterns_version++;
    HASH_ITER(hh, engine->topics, topic, next_topic)
    {
        shares_remove(&topic->exact, gateway);
        topic->wild.count = 0;
        if (topic->exact.count == 0)
            topic_remove(engine, topic);
    }
    HASH_ITER(hh, engine->pattern_sets, set, next_set)
    {
        shares_remove(&set->shares, gateway);
        if (set->shares.count == 0)
            set_remove(engine, set);
    }
}

void fanout_sizes(const struct engine *engine, size_t *topics, size_t *pattern_sets)
{
    *topics = HASH_COUNT(engine->topics);
    *pattern_sets = HASH_COUNT(engine->pattern_sets);
}

void fanout_destroy(struct engine *engine)
{
    struct topic *topic, *next_topic;
    struct pattern_set *set, *next_set;

    HASH_ITER(hh, engine->topics, topic, next_topic)
    topic_remove(engine, topic);
    HASH_ITER(hh, engine->pattern_sets, set, next_set)
    set_remove(engine, set);
}
