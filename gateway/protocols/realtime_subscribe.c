#include "common/log.h"
#include "common/number.h"
#include "common/topic.h"
#include "common/xalloc.h"
#include "gateway/protocols/realtime.h"
#include "gateway/topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Of one connection, that wait for partitions; beyond it 503. */
#define CHANGES_BYTES_MAX (256u << 10)

/* Of a connection's patterns: they cost each partition, its Redis and each change of them so much.
 */
#define PATTERN_BYTES_MAX (8u << 10)

struct realtime_change {
    TAILQ_ENTRY(realtime_change) link;
    uint64_t number;
    bool want;
    bool follows;   /* histories: its Status says where they are */
    bool forbidden; /* nobody asked for it: the token does not permit them any more */
    size_t id_length, topics_length;
    char text[]; /* id, then topics as a JSON array */
};

struct names {
    struct slice *names;
    size_t count;
};

/* What data.history or data.since asks for. */
struct follow {
    bool follows;
    uint64_t last;                  /* of history */
    const struct json_value *since; /* NULL: history */
    bool by_topic;                  /* since is an object of places by topic, not one place */
};

static size_t change_size(const struct realtime_change *change)
{
    return sizeof(*change) + change->id_length + change->topics_length;
}

static struct slice change_id(const struct realtime_change *change)
{
    return slice_of(change->id_length ? change->text : NULL, change->id_length);
}

static struct slice change_topics(const struct realtime_change *change)
{
    return slice_of(change->text + change->id_length, change->topics_length);
}

static void detach(struct realtime_state *state, struct realtime_change *change)
{
    TAILQ_REMOVE(&state->changes, change, link);
    state->changes_bytes -= change_size(change);
}

void realtime_forget_changes(struct session *session)
{
    struct realtime_state *state = session->protocol_state;
    struct realtime_change *change;

    while ((change = TAILQ_FIRST(&state->changes)) != NULL) {
        detach(state, change);
        free(change);
    }
}

/* ---- what may be asked for ---- */

/* One bad name refuses all: nothing is half applied. */
static bool check_name(const struct realtime_request *request, const struct json_value *value,
                       bool want)
{
    struct slice name = json_text(value);
    struct buffer user = {0};
    bool valid;

    if (json_type(value) != JSON_STRING)
        return realtime_refuse_field(request, "topics", "each topic must be a string");
    valid = topic_pattern_valid(name) || topic_presence_user(name, &user) == 0;
    buffer_finish(&user);
    if (!valid)
        return realtime_refuse_field(request, "topics", "one of the topics is malformed");
    if (want && !topic_permitted(request->session->identity.subscribe_topics, name))
        return realtime_forbid(request, "topics",
                               "subscribing to one of the topics is not permitted");
    return true;
}

static bool refuse_count(const struct realtime_request *request)
{
    struct buffer details = {0};

    buffer_append_text(&details, "{\"field\":\"topics\",\"limit\":");
    buffer_append_u64(&details, (uint64_t)request->session->gateway->settings.subscriptions);
    buffer_append_text(&details, ",\"active_subscriptions\":");
    buffer_append_u64(&details, topics_count(request->session));
    buffer_append_byte(&details, '}');
    realtime_error(request->session, request->id, REALTIME_BAD_REQUEST,
                   "too many subscriptions on this connection", buffer_slice(&details));
    buffer_finish(&details);
    return false;
}

static int compare_names(const void *left, const void *right)
{
    const struct slice *a = left, *b = right;

    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return memcmp(a->data, b->data, a->length);
}

/* Names that are new to the session, each once, and the bytes of those that are patterns. Sorts
   them. */
static size_t count_new(const struct session *session, struct names *names, size_t *pattern_bytes)
{
    size_t count = 0;

    *pattern_bytes = 0;
    qsort(names->names, names->count, sizeof(*names->names), compare_names);
    for (size_t i = 0; i < names->count; i++)
        if ((i == 0 || !slice_equal(names->names[i - 1], names->names[i])) &&
            !topics_has(session, names->names[i])) {
            count++;
            if (topic_has_wildcard(names->names[i]) && !topic_is_presence(names->names[i]))
                *pattern_bytes += names->names[i].length;
        }
    return count;
}

static bool check_count(const struct realtime_request *request, struct names *names)
{
    size_t limit = (size_t)request->session->gateway->settings.subscriptions;
    size_t pattern_bytes, count = count_new(request->session, names, &pattern_bytes);

    if (topics_count(request->session) + count > limit)
        return refuse_count(request);
    if (topics_pattern_bytes(request->session) + pattern_bytes > PATTERN_BYTES_MAX)
        return realtime_refuse_field(request, "topics", "the patterns are too long together");
    return true;
}

/* Answers and returns false if one of them cannot be; else the names are the caller's to free. */
static bool read_names(const struct realtime_request *request, bool want, struct names *names)
{
    const struct json_value *list = json_member(request->data, "topics");
    const struct json_value *value = json_first(list);
    size_t count = json_count(list);

    if (json_type(list) != JSON_ARRAY)
        return realtime_refuse_field(request, "topics", "topics must be a list of strings");
    if (count > (size_t)request->session->gateway->settings.subscriptions)
        return refuse_count(request);
    names->names = xmalloc((count + 1) * sizeof(*names->names));
    names->count = 0;
    for (; names->count < count; value = json_next(value)) {
        if (!check_name(request, value, want)) {
            free(names->names);
            return false;
        }
        names->names[names->count++] = json_text(value);
    }
    return true;
}

/* ---- histories ---- */

/* A whole number that is passed on as it is. */
static bool read_whole(const struct json_value *value, uint64_t *number)
{
    struct slice digits = json_type(value) == JSON_NUMBER ? json_text(value) : (struct slice){0};
    struct number read;

    if (digits.length == 0 || digits.length > 16 || memchr(digits.data, '-', digits.length) ||
        number_parse(digits, &read) < 0)
        return false;
    *number = read.epoch;
    return true;
}

static bool read_place(const struct json_value *value, struct history_wish *wish)
{
    wish->since = true;
    return read_whole(json_member(value, "epoch"), &wish->epoch) &&
           read_whole(json_member(value, "offset"), &wish->offset);
}

/* Each member of since names one of the topics and a place in its history. */
static bool check_places(const struct realtime_request *request, const struct names *names,
                         const struct json_value *since)
{
    struct json_pair pair = json_first_pair(request->json, since);
    struct history_wish place;

    for (; pair.value; pair = json_next_pair(request->json, &pair)) {
        bool named = false;

        for (size_t i = 0; i < names->count; i++)
            named |= slice_equal(names->names[i], pair.name);
        if (!named || !read_place(pair.value, &place))
            return realtime_refuse_field(request, "since",
                                         "since must name topics with epoch and offset");
    }
    return true;
}

static bool check_since(const struct realtime_request *request, const struct names *names,
                        struct follow *follow)
{
    struct history_wish place;

    if (json_type(follow->since) != JSON_OBJECT)
        return realtime_refuse_field(request, "since", "since must have epoch and offset");
    follow->by_topic = json_type(json_member(follow->since, "epoch")) != JSON_NUMBER;
    if (follow->by_topic)
        return check_places(request, names, follow->since);
    if (!read_place(follow->since, &place))
        return realtime_refuse_field(request, "since", "epoch and offset must be whole numbers");
    if (names->count != 1)
        return realtime_refuse_field(request, "since",
                                     "since must name the topics when they are several");
    return true;
}

/* Answers and returns false if it cannot be done. */
static bool read_follow(const struct realtime_request *request, const struct names *names,
                        struct follow *follow)
{
    const struct json_value *history = json_member(request->data, "history");

    follow->since = json_member(request->data, "since");
    follow->follows = history || follow->since;
    if (!follow->follows)
        return true;
    if (history && follow->since)
        return realtime_refuse_field(request, "since", "history and since exclude each other");
    for (size_t i = 0; i < names->count; i++)
        if (!topic_valid(names->names[i]))
            return realtime_refuse_field(request, "topics",
                                         "patterns and presence have no history");
    if (follow->since)
        return check_since(request, names, follow);
    if (!read_whole(history, &follow->last))
        return realtime_refuse_field(request, "history", "history must be a whole number");
    return true;
}

static struct history_wish wish_of(const struct follow *follow, struct slice name)
{
    struct history_wish wish = {.count = follow->last};
    char text[TOPIC_MAX + 1];

    if (follow->since == NULL)
        return wish;
    snprintf(text, sizeof(text), "%.*s", (int)name.length, name.data);
    /* One that since does not name has nothing to catch up with. */
    if (!read_place(follow->by_topic ? json_member(follow->since, text) : follow->since, &wish))
        wish = (struct history_wish){0};
    return wish;
}

static void subscribe(struct session *session, const struct names *names,
                      const struct follow *follow, uint64_t number)
{
    struct topics *topics = session->gateway->topics;
    struct history_wish *wishes;

    if (!follow->follows) {
        topics_subscribe(topics, session, names->names, names->count, number);
        return;
    }
    wishes = xcalloc(names->count + 1, sizeof(*wishes));
    for (size_t i = 0; i < names->count; i++)
        wishes[i] = wish_of(follow, names->names[i]);
    topics_follow(topics, session, names->names, wishes, names->count, number);
    free(wishes);
}

static bool is_among(struct slice elements, struct slice name)
{
    struct slice other;

    while (json_cut_element(&elements, &other))
        if (slice_equal(other, name))
            return true;
    return false;
}

/* {"news":{"epoch":..,"offset":..,"recovered":true}} of a JSON array of names, each once. */
static void write_histories(struct buffer *out, const struct session *session, struct slice topics)
{
    struct slice rest = json_elements(topics), name;
    const char *separator = "{";

    while (json_cut_element(&rest, &name)) {
        struct history_answer answer = {0};

        if (is_among(rest, name))
            continue;
        topics_history(session, slice_of(name.data + 1, name.length - 2), &answer);
        buffer_append_text(out, separator);
        buffer_append_slice(out, name);
        buffer_appendf(out, ":{\"epoch\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"recovered\":%s}",
                       answer.epoch, answer.offset, answer.recovered ? "true" : "false");
        separator = ",";
    }
    buffer_append_text(out, *separator == '{' ? "{}" : "}");
}

/* ---- the change ---- */

static struct realtime_change *remember(const struct realtime_request *request,
                                        const struct buffer *topics, bool want)
{
    static uint64_t last;
    struct realtime_change *change = xmalloc(sizeof(*change) + request->id.length + topics->length);

    change->number = ++last;
    change->follows = change->forbidden = false;
    change->want = want;
    change->id_length = request->id.length;
    change->topics_length = topics->length;
    if (request->id.length > 0)
        memcpy(change->text, request->id.data, request->id.length);
    memcpy(change->text + request->id.length, topics->data, topics->length);
    TAILQ_INSERT_TAIL(&request->state->changes, change, link);
    request->state->changes_bytes += change_size(change);
    return change;
}

/* Names that are valid need no escapes. */
static void write_names(struct buffer *out, const struct names *names)
{
    buffer_append_byte(out, '[');
    for (size_t i = 0; i < names->count; i++) {
        buffer_append_text(out, i ? ",\"" : "\"");
        buffer_append_slice(out, names->names[i]);
        buffer_append_byte(out, '"');
    }
    buffer_append_byte(out, ']');
}

static bool has_credit(const struct realtime_request *request, const struct names *names, bool want)
{
    const struct gateway *gateway = request->session->gateway;

    return topics_has_credit(gateway->topics, names->names, names->count) ||
           (!want && gateway_can_free(gateway));
}

static bool has_room(const struct realtime_request *request, const struct buffer *topics)
{
    size_t held = request->state->changes_bytes;

    return held == 0 || held + topics->length <= CHANGES_BYTES_MAX;
}

/* Each of them is read from Redis. */
static bool admit_histories(const struct realtime_request *request, const struct names *names)
{
    uint64_t wait_ms = admission_take_own(request->session, LIMIT_READ, names->count);

    if (wait_ms > 0)
        realtime_retry_later(request->session, request->id, REALTIME_RATE_LIMITED,
                             "too many histories are read", wait_ms);
    return wait_ms == 0;
}

static void apply(const struct realtime_request *request, const struct names *names,
                  const struct follow *follow, const struct buffer *written, bool want)
{
    struct session *session = request->session;
    struct topics *topics = session->gateway->topics;
    struct realtime_change *change = remember(request, written, want);

    change->follows = follow->follows;

    /* The change may be in force at once, and gone. */
    if (want)
        subscribe(session, names, follow, change->number);
    else
        topics_unsubscribe(topics, session, names->names, names->count, change->number);
}

static void change_subscriptions(const struct realtime_request *request, bool want)
{
    struct buffer written = {0};
    struct names names = {0};
    struct follow follow = {0};

    if (!read_names(request, want, &names))
        return;
    write_names(&written, &names);
    if (want && !read_follow(request, &names, &follow))
        log_debug("session %" PRIu64 ": this history cannot be followed", request->session->id);
    else if (!has_credit(request, &names, want) || !has_room(request, &written))
        realtime_unavailable(request);
    else if (!want || (check_count(request, &names) &&
                       (!follow.follows || admit_histories(request, &names))))
        apply(request, &names, &follow, &written, want);
    buffer_finish(&written);
    free(names.names);
}

struct forbidden {
    const struct session *session;
    struct buffer bytes; /* of the names, each ended by a newline */
    size_t count;
};

static void add_forbidden(void *arg, struct slice name)
{
    struct forbidden *forbidden = arg;

    if (topic_permitted(forbidden->session->identity.subscribe_topics, name))
        return;
    buffer_append_slice(&forbidden->bytes, name);
    buffer_append_byte(&forbidden->bytes, '\n');
    forbidden->count++;
}

static struct names cut_names(const struct forbidden *forbidden)
{
    struct names names = {.names = xcalloc(forbidden->count, sizeof(*names.names))};
    const char *at = forbidden->bytes.data, *end;

    for (; names.count < forbidden->count; at = end + 1) {
        end = strchr(at, '\n');
        names.names[names.count++] = slice_of(at, (size_t)(end - at));
    }
    return names;
}

/* Credit is not asked for: it cannot wait, and there is no more of it than was subscribed. */
void realtime_end_forbidden(const struct realtime_request *request)
{
    struct session *session = request->session;
    const struct realtime_request nobodys = {.session = session, .state = request->state};
    struct forbidden forbidden = {.session = session};
    struct realtime_change *change;
    struct buffer written = {0};
    struct names names;

    topics_each_wanted(session->gateway->topics, session, add_forbidden, &forbidden);
    if (forbidden.count == 0)
        return;
    names = cut_names(&forbidden);
    write_names(&written, &names);
    change = remember(&nobodys, &written, false);
    change->forbidden = true;
    topics_unsubscribe(session->gateway->topics, session, names.names, names.count, change->number);
    free(names.names);
    buffer_finish(&written);
    buffer_finish(&forbidden.bytes);
}

void realtime_do_subscribe(struct realtime_request *request)
{
    change_subscriptions(request, true);
}

void realtime_do_unsubscribe(struct realtime_request *request)
{
    change_subscriptions(request, false);
}

static struct realtime_change *find(const struct realtime_state *state, uint64_t number)
{
    struct realtime_change *change = TAILQ_FIRST(&state->changes);

    while (change && change->number != number)
        change = TAILQ_NEXT(change, link);
    return change;
}

void realtime_on_subscribed(struct session *session, uint64_t request)
{
    struct realtime_state *state = session->protocol_state;
    struct realtime_change *change = find(state, request);
    struct buffer *out = realtime_scratch();
    struct buffer histories = {0};
    const char *status;

    if (change == NULL)
        return;
    detach(state, change); /* sending may close the session */
    status = change->want ? "subscribed" : "unsubscribed";
    if (change->follows)
        write_histories(&histories, session, change_topics(change));
    realtime_encode_subscriptions(out, change_id(change), status, change_topics(change),
                                  topics_count(session), buffer_slice(&histories),
                                  change->forbidden ? "not_permitted" : NULL);
    buffer_finish(&histories);
    session_send_text(session, buffer_slice(out));
    if (change->id_length > 0)
        realtime_ack(session, change_id(change), status);
    free(change);
}
