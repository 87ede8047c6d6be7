#include "gateway/bus/query.h"

#include "common/log.h"
#include "common/table.h"
#include "common/xalloc.h"
#include "gateway/protocol.h"
#include "gateway/session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#define ANSWER_MS 5000
#define LOOK_MS 500
/* Of all sessions together, those that wait for their turn included: what Redis has not answered by
 * then, it will not answer in time. */
#define OPEN_MAX 16384

/* A command, key by key and word by word. */
struct command {
    struct bus_script *script;
    size_t key_count, count; /* of words, the keys first */
    size_t *ends;            /* of each word in bytes */
    struct buffer bytes;
};

/* Lives until Redis has answered, also when nobody waits any more. */
struct question {
    struct queries *queries;
    uint64_t number;
    uint64_t deadline_ms;
    uint64_t session; /* 0: somebody else's */
    uint64_t request;
    bool sent, wanted;
    struct command command; /* until it is sent */
    const struct bus_script *script;
    query_session_fn *answer_session;
    query_fn *answer;
    void *arg;
    UT_hash_handle hh;          /* as long as it is wanted */
    TAILQ_ENTRY(question) link; /* as long as it is wanted and not sent */
};

struct queries {
    struct gateway *gateway;
    struct question *open;          /* hash by number, in the order they were asked */
    TAILQ_HEAD(, question) waiting; /* those of them that are not sent */
    size_t in_flight;               /* sent and not answered, wanted or not */
    uint64_t last;
    bool refused;     /* a script has failed; said once */
    bool ended;       /* freed with the last that is in flight */
    uv_timer_t timer; /* runs while one is open */
};

void queries_add_scripts(struct bus *bus)
{
    for (size_t i = 0; protocols[i]; i++)
        for (struct bus_script *const *script = protocols[i]->scripts; script && *script; script++)
            bus_add_script(bus, *script);
}

/* ---- commands ---- */

static void add_word(struct command *command)
{
    command->ends[command->count++] = command->bytes.length;
}

static void command_init(struct command *command, const struct queries *queries,
                         const struct query *query)
{
    *command = (struct command){.script = query->script, .key_count = query->key_count};
    command->ends = xcalloc(query->key_count + query->argument_count + 1, sizeof(*command->ends));
    for (size_t i = 0; i < query->key_count; i++) {
        key_partition(&command->bytes, &queries->gateway->deployment, query->partition,
                      query->keys[i].what, query->keys[i].name);
        add_word(command);
    }
    for (size_t i = 0; i < query->argument_count; i++) {
        buffer_append_slice(&command->bytes, query->arguments[i]);
        add_word(command);
    }
}

static void command_finish(struct command *command)
{
    free(command->ends);
    command->ends = NULL;
    buffer_finish(&command->bytes);
}

static int command_send(struct command *command, struct bus *bus, bus_reply_fn *callback, void *arg)
{
    struct slice *words = xcalloc(command->count + 1, sizeof(*words));
    size_t begin = 0;
    int result;

    for (size_t i = 0; i < command->count; i++) {
        words[i] = slice_of(command->bytes.data + begin, command->ends[i] - begin);
        begin = command->ends[i];
    }
    result =
        bus_eval(bus, command->script, callback, arg, command->key_count, command->count, words);
    free(words);
    return result;
}

/* ---- answers ---- */

/* Nobody waits for it any more; one that was not sent is gone. */
static void drop(struct question *question)
{
    struct queries *queries = question->queries;

    HASH_DEL(queries->open, question);
    question->wanted = false;
    if (question->sent)
        return;
    TAILQ_REMOVE(&queries->waiting, question, link);
    command_finish(&question->command);
    free(question);
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
    const struct question asked = *question;

    drop(question);
    if (asked.session)
        answer_session(gateway, &asked, reply);
    else
        asked.answer(asked.arg, asked.request, reply);
}

static void on_reply(void *arg, const struct bus_reply *reply);

static int question_send(struct question *question)
{
    struct queries *queries = question->queries;
    int result = command_send(&question->command, queries->gateway->bus, on_reply, question);

    if (result != 0)
        return result;
    command_finish(&question->command);
    question->sent = true;
    queries->in_flight++;
    return 0;
}

static bool is_full(const struct queries *queries)
{
    return queries->in_flight >= (size_t)queries->gateway->settings.queries;
}

/* Those whose turn it is: none waits where there is room. What a session asked that is gone is not
 * asked. */
static void send_waiting(struct queries *queries)
{
    struct question *question;

    while (!is_full(queries) && (question = TAILQ_FIRST(&queries->waiting)) != NULL) {
        if (question->session &&
            session_find(queries->gateway->sessions, question->session) == NULL) {
            drop(question);
        } else if (question_send(question) == 0) {
            TAILQ_REMOVE(&queries->waiting, question, link);
        } else {
            answer(question, NULL);
        }
    }
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

static void release(struct queries *queries)
{
    if (queries->ended && queries->in_flight == 0)
        free(queries);
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct question *question = arg;
    struct queries *queries = question->queries;

    queries->in_flight--;
    if (question->wanted && bus_reply_kind(reply) == BUS_ERROR) {
        tell_refusal(queries, question, reply);
        reply = NULL;
    } else if (question->wanted && reply) {
        queries->refused = false;
    }
    /* Those that wait have their turn before what this answer makes one ask. */
    send_waiting(queries);
    if (question->wanted)
        answer(question, reply);
    free(question);
    release(queries);
}

/* ---- questions ---- */

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
    question->wanted = true;
    question->sent = false;
    command_init(&question->command, queries, query);
    if (!bus_is_up(queries->gateway->bus) || (!is_full(queries) && question_send(question) != 0)) {
        command_finish(&question->command);
        free(question);
        return -ENOTCONN;
    }
    HASH_ADD(hh, queries->open, number, sizeof(question->number), question);
    if (!question->sent)
        TAILQ_INSERT_TAIL(&queries->waiting, question, link);
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
        drop(question);
}

/* ---- life ---- */

struct queries *queries_create(struct gateway *gateway)
{
    struct queries *queries = xcalloc(1, sizeof(*queries));

    queries->gateway = gateway;
    TAILQ_INIT(&queries->waiting);
    uv_timer_init(gateway->loop, &queries->timer);
    queries->timer.data = queries;
    return queries;
}

static void on_closed(uv_handle_t *handle)
{
    struct queries *queries = handle->data;

    queries->ended = true;
    release(queries);
}

void queries_destroy(struct queries **pointer)
{
    struct queries *queries = *pointer;

    if (queries == NULL)
        return;
    *pointer = NULL;
    while (queries->open)
        drop(queries->open);
    uv_close((uv_handle_t *)&queries->timer, on_closed);
}
