#include "common/topic.h"
#include "common/xalloc.h"
#include "gateway/protocols/messaging.h"
#include "gateway/topics/topics.h"

#include <stdlib.h>

/* Of one connection's changes that wait for partitions; beyond it 503. */
#define CHANGES_BYTES_MAX ((size_t)64 << 10)
/* Of a connection's patterns: they cost each partition so much. */
#define PATTERN_BYTES_MAX ((size_t)8 << 10)

struct messaging_change {
    TAILQ_ENTRY(messaging_change) link;
    uint64_t number;
    bool want;
    size_t length;
    char topics[]; /* a JSON array */
};

static const struct messaging_fault fine;

/* Names that change together, and what they add up to. */
struct names {
    struct slice *items;
    size_t count;
    size_t added; /* of them not subscribed to yet */
    size_t pattern_bytes;
    bool idle; /* names were given that change nothing */
};

static size_t change_size(const struct messaging_change *change)
{
    return sizeof(*change) + change->length;
}

static void detach(struct messaging_state *state, struct messaging_change *change)
{
    TAILQ_REMOVE(&state->changes, change, link);
    state->changes_bytes -= change_size(change);
}

void messaging_forget_changes(struct session *session)
{
    struct messaging_state *state = session->protocol_state;
    struct messaging_change *change;

    while ((change = TAILQ_FIRST(&state->changes)) != NULL) {
        detach(state, change);
        free(change);
    }
}

/* ---- what may be asked for ---- */

static struct messaging_fault check_name(const struct session *session,
                                         const struct json_value *value, bool want)
{
    struct slice name = json_text(value);

    if (json_type(value) != JSON_STRING || topic_is_presence(name) || !topic_pattern_valid(name))
        return (struct messaging_fault){MESSAGING_MALFORMED,
                                        "a channel must be the name of a topic"};
    if (want && !topic_permitted(session->identity.subscribe_topics, name))
        return (struct messaging_fault){MESSAGING_FORBIDDEN,
                                        "subscribing to this channel is not permitted"};
    return fine;
}

static bool is_listed(const struct names *names, struct slice name)
{
    for (size_t i = 0; i < names->count; i++)
        if (slice_equal(names->items[i], name))
            return true;
    return false;
}

/* The connection's own limits. */
static struct messaging_fault check_room(const struct session *session, const struct names *names,
                                         struct slice name)
{
    size_t most = (size_t)session->gateway->settings.subscriptions;
    size_t bytes = topic_has_wildcard(name) ? name.length : 0;

    if (topics_count(session) + names->added >= most)
        return (struct messaging_fault){MESSAGING_MALFORMED,
                                        "this connection has all the channels it may have"};
    if (bytes && topics_pattern_bytes(session) + names->pattern_bytes + bytes > PATTERN_BYTES_MAX)
        return (struct messaging_fault){MESSAGING_MALFORMED,
                                        "this connection has all the patterns it may have"};
    return fine;
}

static struct messaging_fault check(const struct session *session, const struct names *names,
                                    const struct json_value *value, bool want)
{
    struct slice name = json_text(value);
    struct messaging_fault fault = check_name(session, value, want);

    if (fault.message == NULL && want && !topics_has(session, name) && !is_listed(names, name))
        fault = check_room(session, names, name);
    if (fault.message == NULL && !topics_has_credit(session->gateway->topics, &name, 1))
        fault = (struct messaging_fault){MESSAGING_UNAVAILABLE, "the service cannot take this now"};
    return fault;
}

/* Leaving what it has not joined changes nothing: at most as many names as it may have remain. */
static void add_name(const struct session *session, struct names *names, struct slice name,
                     bool want)
{
    bool has = topics_has(session, name);

    names->idle = true;
    if ((!want && !has) || is_listed(names, name))
        return;
    if (!has) {
        names->added++;
        names->pattern_bytes += topic_has_wildcard(name) ? name.length : 0;
    }
    names->items[names->count++] = name;
}

/* ---- changes ---- */

static void answer(struct session *session, bool want, struct slice topics)
{
    struct buffer *out = messaging_scratch();

    if (!(session->flags & MESSAGING_FLAG_ACKS))
        return;
    buffer_append_text(out, want ? "{\"subscribed\":" : "{\"unsubscribed\":");
    buffer_append_slice(out, topics);
    buffer_append_byte(out, '}');
    session_send_text(session, buffer_slice(out));
}

/* For the answer to come: its number, 0 when none is wanted. */
static uint64_t remember(struct session *session, const struct names *names, bool want)
{
    static uint64_t last;
    struct messaging_state *state = session->protocol_state;
    struct messaging_change *change;
    struct buffer topics = {0};

    if (!(session->flags & MESSAGING_FLAG_ACKS))
        return 0;
    for (size_t i = 0; i < names->count; i++) {
        buffer_append_byte(&topics, i ? ',' : '[');
        buffer_append_json_string(&topics, names->items[i]);
    }
    buffer_append_byte(&topics, ']');
    change = xmalloc(sizeof(*change) + topics.length);
    change->number = ++last;
    change->want = want;
    change->length = topics.length;
    memcpy(change->topics, topics.data, topics.length);
    buffer_finish(&topics);
    TAILQ_INSERT_TAIL(&state->changes, change, link);
    state->changes_bytes += change_size(change);
    return change->number;
}

static void apply(struct session *session, const struct names *names, bool want)
{
    struct topics *topics = session->gateway->topics;
    uint64_t number = remember(session, names, want);

    if (want)
        topics_subscribe(topics, session, names->items, names->count, number);
    else
        topics_unsubscribe(topics, session, names->items, names->count, number);
}

/* Names the topic, if that is one. */
static void report_name(messaging_report_fn *report, void *arg, const struct json_value *value,
                        struct messaging_fault fault)
{
    struct slice name = json_text(value);
    struct buffer raw = {0};

    if (json_type(value) == JSON_STRING && name.length <= TOPIC_MAX)
        buffer_append_json_string(&raw, name);
    report(arg, buffer_slice(&raw), fault);
    buffer_finish(&raw);
}

void messaging_change_channels(struct session *session, const struct json_value *topics, bool want,
                               messaging_report_fn *report, void *arg)
{
    const struct messaging_state *state = session->protocol_state;
    size_t left = json_count(topics);
    struct names names = {.items = xcalloc(left + 1, sizeof(*names.items))};
    const struct json_value *value = left ? json_first(topics) : NULL;

    for (; left > 0; left--) {
        struct messaging_fault fault = check(session, &names, value, want);

        if (fault.message == NULL && state->changes_bytes >= CHANGES_BYTES_MAX)
            fault = (struct messaging_fault){MESSAGING_UNAVAILABLE, "too many changes at once"};
        if (fault.message)
            report_name(report, arg, value, fault);
        else
            add_name(session, &names, json_text(value), want);
        if (left > 1)
            value = json_next(value);
    }
    if (names.count > 0)
        apply(session, &names, want);
    else if (names.idle)
        answer(session, want, slice_text("[]"));
    free(names.items);
}

static struct messaging_change *find(const struct messaging_state *state, uint64_t number)
{
    struct messaging_change *change = TAILQ_FIRST(&state->changes);

    while (change && change->number != number)
        change = TAILQ_NEXT(change, link);
    return change;
}

void messaging_on_subscribed(struct session *session, uint64_t request)
{
    struct messaging_state *state = session->protocol_state;
    struct messaging_change *change = find(state, request);

    if (change == NULL)
        return;
    detach(state, change); /* sending may close the session */
    answer(session, change->want, slice_of(change->topics, change->length));
    free(change);
}
