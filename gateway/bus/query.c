#include "gateway/bus/query.h"

#include "common/log.h"
#include "common/table.h"
#include "common/xalloc.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"

#include <errno.h>
#include <stdlib.h>

#define ANSWER_MS 5000
#define LOOK_MS 500
/* Of all sessions together: what Redis has not answered by then, it will not answer in time. */
#define OPEN_MAX 16384

/* Lives until Redis has answered, also when nobody waits any more. */
struct question {
    struct queries *queries; /* NULL: nobody waits for it */
    uint64_t number;
    uint64_t deadline_ms;
    uint64_t session; /* 0: somebody else's */
    uint64_t request;
    const struct bus_script *script;
    query_session_fn *answer_session;
    query_fn *answer;
    void *arg;
    UT_hash_handle hh;
};

struct queries {
    struct gateway *gateway;
    struct question *open; /* hash by number, in the order they were asked */
    uint64_t last;
    bool refused;     /* a script has failed; said once */
    uv_timer_t timer; /* runs while one is open */
};

void queries_add_scripts(struct bus *bus)
{
    for (size_t i = 0; protocols[i]; i++)
        for (struct bus_script *const *script = protocols[i]->scripts; script && *script; script++)
            bus_add_script(bus, *script);
}

/* ---- answers ---- */

static void detach(struct question *question)
{
    HASH_DEL(question->queries->open, question);
    question->queries = NULL;
}

static void answer_session(struct gateway *gateway, const struct question *question,
                           const struct bus_reply *reply)
{
    struct session *session = session_find(gateway->sessions, question->session);

    if (session == NULL)
        return;
    session->queries--;
    question->answer_session(session, question->request, reply);
}

static void answer(struct question *question, const struct bus_reply *reply)
{
    struct gateway *gateway = question->queries->gateway;

    detach(question);
    if (question->session)
        answer_session(gateway, question, reply);
    else
        question->answer(question->arg, question->request, reply);
}

static void on_timer(uv_timer_t *timer)
{
    struct queries *queries = timer->data;

    while (queries->open && queries->open->deadline_ms <= uv_now(queries->gateway->loop))
        answer(queries->open, NULL);
    if (queries->open == NULL)
        uv_timer_stop(timer);
}

static void tell_refusal(struct queries *queries, const struct question *question,
                         const struct bus_reply *reply)
{
    struct slice why = bus_reply_text(reply);

    if (!queries->refused && !bus_reply_not_run(reply))
        log_error("Redis refused the query %s: %.*s", question->script->name, (int)why.length,
                  why.data);
    queries->refused = true;
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct question *question = arg;

    if (question->queries && bus_reply_kind(reply) == BUS_ERROR) {
        tell_refusal(question->queries, question, reply);
        reply = NULL;
    } else if (question->queries && reply) {
        question->queries->refused = false;
    }
    if (question->queries)
        answer(question, reply);
    free(question);
}

/* ---- questions ---- */

static int send_words(struct queries *queries, const struct query *query, struct question *question)
{
    size_t count = query->key_count + query->argument_count;
    struct buffer keys = {0};
    struct slice *words = xcalloc(count + 1, sizeof(*words));
    size_t *ends = xcalloc(query->key_count + 1, sizeof(*ends));
    int result;

    for (size_t i = 0; i < query->key_count; i++) {
        key_partition(&keys, &queries->gateway->deployment, query->partition, query->keys[i].what,
                      query->keys[i].name);
        ends[i + 1] = keys.length;
    }
    for (size_t i = 0; i < query->key_count; i++)
        words[i] = slice_of(keys.data + ends[i], ends[i + 1] - ends[i]);
    for (size_t i = 0; i < query->argument_count; i++)
        words[query->key_count + i] = query->arguments[i];
    result = bus_eval(queries->gateway->bus, query->script, on_reply, question, query->key_count,
                      count, words);
    free(ends);
    free(words);
    buffer_finish(&keys);
    return result;
}

static int ask(struct queries *queries, const struct query *query, const struct question *wanted)
{
    struct question *question;

    if (HASH_COUNT(queries->open) >= OPEN_MAX)
        return -EBUSY;
    question = xmalloc(sizeof(*question));
    *question = *wanted;
    question->queries = queries;
    question->script = query->script;
    question->number = ++queries->last;
    question->deadline_ms = uv_now(queries->gateway->loop) + ANSWER_MS;
    if (send_words(queries, query, question) != 0) {
        free(question);
        return -ENOTCONN;
    }
    HASH_ADD(hh, queries->open, number, sizeof(question->number), question);
    if (!uv_is_active((uv_handle_t *)&queries->timer))
        uv_timer_start(&queries->timer, on_timer, LOOK_MS, LOOK_MS);
    return 0;
}

int query_ask(struct queries *queries, const struct query *query, struct session *session,
              uint64_t request, query_session_fn *callback)
{
    const struct question question = {
        .session = session->id, .request = request, .answer_session = callback};
    int result;

    if (session->queries >= QUERIES_OPEN_MAX)
        return -EBUSY;
    result = ask(queries, query, &question);
    session->queries += result == 0;
    return result;
}

int query_ask_for(struct queries *queries, const struct query *query, uint64_t request,
                  query_fn *callback, void *arg, uint64_t *number)
{
    const struct question question = {.request = request, .answer = callback, .arg = arg};
    int result = ask(queries, query, &question);

    if (result == 0 && number)
        *number = queries->last;
    return result;
}

void query_forget(struct queries *queries, uint64_t number)
{
    struct question *question;

    HASH_FIND(hh, queries->open, &number, sizeof(number), question);
    if (question)
        detach(question);
}

/* ---- life ---- */

struct queries *queries_create(struct gateway *gateway)
{
    struct queries *queries = xcalloc(1, sizeof(*queries));

    queries->gateway = gateway;
    uv_timer_init(gateway->loop, &queries->timer);
    queries->timer.data = queries;
    return queries;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void queries_destroy(struct queries **pointer)
{
    struct queries *queries = *pointer;

    if (queries == NULL)
        return;
    *pointer = NULL;
    while (queries->open)
        detach(queries->open);
    uv_close((uv_handle_t *)&queries->timer, on_closed);
}
