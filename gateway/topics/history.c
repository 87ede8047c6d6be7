#include "gateway/topics/history.h"

#include "common/embed.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/protocol.h"
#include "gateway/bus/query.h"
#include "gateway/session/session.h"
#include "gateway/topics/topic_metadata.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One page; the next is asked for when no more than so much of what was sent is not taken. */
#define PAGE_ENTRIES "256"
#define PAGE_BYTES "262144"
#define UNTAKEN_BYTES (64u << 10)
/* Questions that are open at once, of all sessions; the others wait. */
#define OPEN_MAX 256
#define LOOK_MS 10
#define RETRY_MS 200

EMBED(history_lua, "gateway/topics/history.lua");
static struct bus_script script = {.name = "history", .text = history_lua};

enum resume_state {
    RESUME_HELD,     /* its subscription is not in force */
    RESUME_ASKING,   /* for where the history is */
    RESUME_ANSWERED, /* its Status has not gone out */
    RESUME_PAGING,   /* reads pages */
};

/* Who asked where the history is. */
struct waiter {
    void (*done)(void *arg, struct subscription *);
    void *arg;
    STAILQ_ENTRY(waiter) link;
};

STAILQ_HEAD(waiters, waiter);

/* A subscription that is behind its topic. */
struct resume {
    struct histories *histories;
    struct subscription *subscription;
    enum resume_state state;
    struct history_wish wish;
    struct history_answer answer;
    bool known;    /* the answer */
    size_t holds;  /* calls of history_hold for which it was not asked yet */
    size_t unsaid; /* for which it was asked, and no Status has gone out */
    struct waiters waiters;
    uint64_t epoch, position; /* of the last message it has, or does not want */
    uint64_t held;            /* the offset before the first one held back; UINT64_MAX: none was */
    bool whole;               /* the next page must begin right behind position */
    uint64_t query;           /* 0: none is open */
    uint64_t look_ms;         /* not asked again before */
    bool is_waiting;
    TAILQ_ENTRY(resume) waiting; /* its turn to ask */
};

struct histories {
    struct gateway *gateway;
    TAILQ_HEAD(, resume) waiting;
    size_t open;
    uv_timer_t timer; /* runs while one waits */
};

void histories_add_script(struct bus *bus)
{
    bus_add_script(bus, &script);
}

static struct slice topic_of(const struct resume *resume)
{
    const struct target *target = resume->subscription->key.target;

    return slice_of(target->name, target->length);
}

/* ---- waiting for one's turn ---- */

static void look(uv_timer_t *);

static void wait_turn(struct resume *resume, uint64_t after_ms)
{
    struct histories *histories = resume->histories;

    resume->look_ms = uv_now(histories->gateway->loop) + after_ms;
    if (!resume->is_waiting)
        TAILQ_INSERT_TAIL(&histories->waiting, resume, waiting);
    resume->is_waiting = true;
    if (!uv_is_active((uv_handle_t *)&histories->timer))
        uv_timer_start(&histories->timer, look, LOOK_MS, LOOK_MS);
}

static void stop_waiting(struct resume *resume)
{
    if (resume->is_waiting)
        TAILQ_REMOVE(&resume->histories->waiting, resume, waiting);
    resume->is_waiting = false;
}

/* ---- beginnings and ends ---- */

static struct resume *resume_create(struct histories *histories, struct subscription *subscription)
{
    struct resume *resume = xcalloc(1, sizeof(*resume));

    resume->histories = histories;
    resume->subscription = subscription;
    resume->held = UINT64_MAX;
    STAILQ_INIT(&resume->waiters);
    subscription->resume = resume;
    topic_index_settle(subscription);
    return resume;
}

static void add_waiter(struct resume *resume, void (*done)(void *arg, struct subscription *),
                       void *arg)
{
    struct waiter *waiter = xmalloc(sizeof(*waiter));

    waiter->done = done;
    waiter->arg = arg;
    STAILQ_INSERT_TAIL(&resume->waiters, waiter, link);
}

/* The last one told may end what the list is part of. */
static void tell(struct waiters *waiters, struct subscription *subscription)
{
    bool more = !STAILQ_EMPTY(waiters);

    while (more) {
        struct waiter *waiter = STAILQ_FIRST(waiters);

        STAILQ_REMOVE_HEAD(waiters, link);
        more = !STAILQ_EMPTY(waiters);
        waiter->done(waiter->arg, subscription);
        free(waiter);
    }
}

static void forget_waiters(struct resume *resume)
{
    struct waiter *waiter;

    while ((waiter = STAILQ_FIRST(&resume->waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(&resume->waiters, link);
        free(waiter);
    }
}

static void end_query(struct resume *resume)
{
    if (resume->query == 0)
        return;
    if (resume->histories->gateway->queries)
        query_forget(resume->histories->gateway->queries, resume->query);
    resume->query = 0;
    resume->histories->open--;
}

static void destroy(struct resume *resume)
{
    end_query(resume);
    stop_waiting(resume);
    free(resume);
}

static void end_resume(struct subscription *subscription)
{
    struct resume *resume = subscription->resume;

    if (resume == NULL)
        return;
    subscription->resume = NULL;
    tell(&resume->waiters, subscription);
    destroy(resume);
}

void history_drop(struct subscription *subscription)
{
    if (subscription->resume)
        forget_waiters(subscription->resume);
    end_resume(subscription);
}

/* Everything up to its position has been sent: what is above comes live. */
static void go_live(struct resume *resume)
{
    struct subscription *subscription = resume->subscription;
    uint64_t position = resume->position;

    end_resume(subscription);
    subscription->above = position > subscription->key.target->offset ? position : 0;
    topic_index_settle(subscription);
}

static void give_up(struct resume *resume, const char *why)
{
    struct session *session = resume->subscription->key.session;

    log_debug("session %" PRIu64 ": history: %s", session->id, why);
    session_close(session, SESSION_CLOSE_RESTART, "messages may have been missed");
    end_resume(resume->subscription);
}

/* The offset before the first live message that the subscription has not been sent. */
static uint64_t held_of(const struct subscription *subscription)
{
    const struct target *target = subscription->key.target;
    const struct resume *resume = subscription->resume;

    if (resume)
        return resume->state == RESUME_PAGING ? resume->position : resume->held;
    if (subscription->in_force && target->epoch)
        return target->offset > subscription->above ? target->offset : subscription->above;
    return UINT64_MAX;
}

/* Those who wait for the one before wait for the new one, which begins when all have asked. */
static void take_over(struct resume *resume, struct resume *before)
{
    resume->holds = before->holds;
    resume->unsaid = before->unsaid;
    resume->known = before->known;
    resume->answer = before->answer;
    STAILQ_CONCAT(&resume->waiters, &before->waiters);
}

void history_hold(struct histories *histories, struct subscription *subscription,
                  const struct history_wish *wish)
{
    struct resume *before = subscription->resume;
    uint64_t held = held_of(subscription);
    struct resume *resume;

    assert(subscription->key.target->kind == TARGET_TOPIC);
    /* What it has not been sent now comes with its history. */
    subscription->above = 0;
    resume = resume_create(histories, subscription);
    resume->wish = *wish;
    resume->held = held;
    if (before) {
        take_over(resume, before);
        destroy(before);
    }
    resume->holds++;
}

bool history_answer_of(const struct subscription *subscription, struct history_answer *answer)
{
    if (subscription->resume == NULL || !subscription->resume->known)
        return false;
    *answer = subscription->resume->answer;
    return true;
}

/* ---- asking Redis ---- */

static void on_reply(void *arg, uint64_t request, const struct bus_reply *reply);

static void ask(struct resume *resume)
{
    struct histories *histories = resume->histories;
    struct slice topic = topic_of(resume);
    char after[24];
    const struct query_key keys[] = {
        {.what = "histories"}, {.what = "state"}, {.what = "topic", .name = topic}};
    const struct slice arguments[] = {
        topic,
        slice_print(after, sizeof(after), "%" PRIu64, resume->position),
        slice_text(resume->state == RESUME_PAGING ? PAGE_ENTRIES : "0"),
        slice_text(PAGE_BYTES),
    };
    const struct query query = {
        .script = &script,
        .partition = resume->subscription->key.target->partition,
        .keys = keys,
        .key_count = sizeof(keys) / sizeof(keys[0]),
        .arguments = arguments,
        .argument_count = sizeof(arguments) / sizeof(arguments[0]),
    };

    if (histories->open >= OPEN_MAX || query_ask_for(histories->gateway->queries, &query, 0,
                                                     on_reply, resume, &resume->query) < 0) {
        wait_turn(resume, 0);
        return;
    }
    histories->open++;
}

/* Where the router says that the history is. */
static void ask_mark(struct histories *histories, const struct target *target)
{
    struct slice topic = slice_of(target->name, target->length);

    uplink_send(histories->gateway->uplink, target->partition,
                &(struct frame){.type = FRAME_TOPIC_MARK_ASK, .topic_mark_ask.topic = topic});
}

void history_ask(struct histories *histories, struct subscription *subscription,
                 void (*done)(void *arg, struct subscription *), void *arg)
{
    struct resume *resume = subscription->resume;

    (void)histories;
    if (resume == NULL || resume->holds == 0) {
        done(arg, subscription);
        return;
    }
    add_waiter(resume, done, arg);
    resume->unsaid++;
    if (--resume->holds > 0)
        return;
    resume->state = RESUME_ASKING;
    ask(resume);
}

static void ask_page(struct resume *resume)
{
    const struct session *session = resume->subscription->key.session;

    resume->state = RESUME_PAGING;
    if (session->state == SESSION_OPEN)
        ask(resume);
}

static bool is_written(struct session *session)
{
    return session_bytes_queued(session) - session_bytes_taken(session) <= UNTAKEN_BYTES;
}

static void look(uv_timer_t *timer)
{
    struct histories *histories = timer->data;
    uint64_t now_ms = uv_now(histories->gateway->loop);
    struct resume *resume, *next;

    for (resume = TAILQ_FIRST(&histories->waiting); resume && histories->open < OPEN_MAX;
         resume = next) {
        struct session *session = resume->subscription->key.session;

        next = TAILQ_NEXT(resume, waiting);
        if (now_ms < resume->look_ms || (session->state == SESSION_OPEN && !is_written(session)))
            continue;
        stop_waiting(resume);
        if (session->state == SESSION_OPEN)
            ask(resume);
    }
    if (TAILQ_EMPTY(&histories->waiting))
        uv_timer_stop(timer);
}

/* ---- answers ---- */

struct page {
    uint64_t epoch, newest, oldest;
    const struct bus_reply *entries;
};

static uint64_t read_u64(const struct bus_reply *reply)
{
    struct number number;

    return number_parse(bus_reply_text(reply), &number) < 0 ? 0 : number.epoch;
}

static struct page read_page(const struct bus_reply *reply)
{
    return (struct page){
        .epoch = read_u64(bus_reply_at(reply, 0)),
        .newest = read_u64(bus_reply_at(reply, 1)),
        .oldest = read_u64(bus_reply_at(reply, 2)),
        .entries = bus_reply_at(reply, 3),
    };
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Where it begins, and whether that is what it asked for. */
static void begin_at(struct resume *resume, const struct page *page)
{
    const struct history_wish *wish = &resume->wish;
    bool known = wish->since && wish->epoch == page->epoch && wish->offset <= page->newest;
    uint64_t position = 0;

    if (known)
        position = wish->offset;
    else if (!wish->since)
        position = least(page->newest - least(wish->count, page->newest), resume->held);
    resume->epoch = page->epoch;
    resume->position = most(position, page->oldest - 1);
    resume->whole = known && resume->position == position;
    resume->answer = (struct history_answer){
        .epoch = page->epoch,
        .offset = page->newest,
        .recovered = resume->whole || !wish->since,
    };
}

static void on_answer(struct resume *resume, struct page *page)
{
    const struct target *target = resume->subscription->key.target;

    /* It keeps none: what Redis has of it may be left over. */
    if (target->epoch == 0)
        *page = (struct page){.oldest = 1};
    if (page->epoch != target->epoch) {
        ask_mark(resume->histories, target);
        wait_turn(resume, RETRY_MS);
        return;
    }
    resume->answer = (struct history_answer){0};
    if (page->epoch)
        begin_at(resume, page);
    resume->state = RESUME_ANSWERED;
    resume->known = true;
    tell(&resume->waiters, resume->subscription);
}

static struct slice field(const struct bus_reply *fields, const char *name)
{
    return bus_reply_text(bus_reply_field(fields, name));
}

/* Its own, without an echo: not for it when it was published either. */
static bool is_own(const struct session *session, const struct bus_reply *fields)
{
    char author[64];
    int length = snprintf(author, sizeof(author), "%" PRIu64 " %" PRIu64, session->gateway->bits,
                          session->id);

    return slice_equal(field(fields, "author"), slice_of(author, (size_t)length));
}

static uint64_t unix_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void send_entry(const struct resume *resume, uint64_t offset, const struct bus_reply *fields)
{
    struct session *session = resume->subscription->key.session;
    const struct frame_topic_message message = {
        .epoch = resume->epoch,
        .offset = offset,
        .from = field(fields, "from"),
        .topic = topic_of(resume),
        .id = field(fields, "id"),
        .sent_at_ms = read_u64(bus_reply_field(fields, "at")),
        .protocol = read_u64(bus_reply_field(fields, "protocol")),
        .content = read_u64(bus_reply_field(fields, "content")),
        .body = field(fields, "body"),
        .metadata = field(fields, "metadata"),
    };
    struct buffer payload = {0};
    int opcode = WIRE_TEXT;
    struct wire *wire;

    if (is_own(session, fields) || topic_message_is_expired(&message, unix_ms()))
        return;
    if (session->protocol->encode_topic_message)
        session->protocol->encode_topic_message(&payload, &message, &opcode);
    if (payload.length) {
        wire = wire_create((enum wire_opcode)opcode, buffer_slice(&payload));
        gateway_count(GATEWAY_TOPIC_DELIVERIES, session_send(session, wire, SEND_NORMAL));
        wire_unref(&wire);
    }
    buffer_finish(&payload);
}

/* False if something between what it has and the page is not kept any more. */
static bool send_entries(struct resume *resume, const struct bus_reply *entries)
{
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *entry = bus_reply_at(entries, i);
        uint64_t offset = read_u64(bus_reply_at(entry, 0));

        if (resume->whole && offset != resume->position + 1)
            return false;
        send_entry(resume, offset, bus_reply_at(entry, 1));
        resume->position = offset;
        resume->whole = true;
    }
    return true;
}

static bool is_live(const struct resume *resume, uint64_t newest)
{
    return resume->position >= most(newest, resume->subscription->key.target->offset);
}

static void on_page(struct resume *resume, const struct page *page)
{
    if (resume->subscription->key.session->state != SESSION_OPEN)
        return;
    if (page->epoch != resume->epoch)
        give_up(resume, "it counts anew");
    else if (!send_entries(resume, page->entries) ||
             (resume->position < page->newest && page->oldest > resume->position + 1))
        give_up(resume, "it does not reach back so far any more");
    else if (is_live(resume, page->newest))
        go_live(resume);
    else
        wait_turn(resume, 0);
}

static void on_reply(void *arg, uint64_t request, const struct bus_reply *reply)
{
    struct resume *resume = arg;
    struct page page = read_page(reply);

    (void)request;
    resume->query = 0;
    resume->histories->open--;
    if (reply == NULL)
        wait_turn(resume, RETRY_MS);
    else if (resume->state == RESUME_ASKING)
        on_answer(resume, &page);
    else
        on_page(resume, &page);
}

void history_go(struct histories *histories, struct subscription *subscription)
{
    struct resume *resume = subscription->resume;

    (void)histories;
    if (resume == NULL || resume->unsaid == 0 || --resume->unsaid > 0 ||
        resume->state != RESUME_ANSWERED)
        return;
    /* Its client may not want it any more. */
    if (resume->epoch == 0 || !subscription->wanted || is_live(resume, resume->answer.offset))
        go_live(resume);
    else
        ask_page(resume);
}

static void begin_resume(struct histories *histories, struct subscription *subscription,
                         uint64_t has, uint64_t offset)
{
    struct resume *resume;

    has = most(has, subscription->above);
    if (subscription->resume || has >= offset)
        return;
    resume = resume_create(histories, subscription);
    resume->epoch = subscription->key.target->epoch;
    resume->position = has;
    resume->whole = true;
    ask_page(resume);
}

/* ---- what is live ---- */

/* From the end down: one that gives up stays in the list. */
static void resume_all(struct histories *histories, const struct target *target, uint64_t offset)
{
    for (size_t i = target->count; i-- > 0;)
        if (target->receivers[i].subscription->in_force)
            begin_resume(histories, target->receivers[i].subscription, target->offset, offset);
}

/* Offsets mean something else from now on. missed: what came in between is not known. */
static void change_epoch(struct target *target, uint64_t epoch, uint64_t offset, bool missed)
{
    for (size_t i = target->count; i-- > 0;) {
        struct subscription *subscription = target->receivers[i].subscription;
        struct resume *resume = subscription->resume;

        subscription->above = 0;
        if (resume && resume->state >= RESUME_ANSWERED && resume->epoch)
            give_up(resume, "it counts anew");
        else if (missed && subscription->in_force)
            session_close(subscription->key.session, SESSION_CLOSE_RESTART,
                          "messages may have been missed");
        topic_index_settle(subscription);
    }
    target->epoch = epoch;
    target->offset = offset;
}

void history_on_message(struct histories *histories, struct target *target,
                        const struct frame_topic_message *message)
{
    if (message->epoch != target->epoch)
        change_epoch(target, message->epoch, message->offset - 1, target->gap);
    else if (message->offset > target->offset + 1)
        resume_all(histories, target, message->offset);
    target->offset = message->offset;
}

bool history_passes(struct subscription *subscription, const struct frame_topic_message *message)
{
    struct resume *resume = subscription->resume;

    if (message->offset == 0)
        return true;
    if (resume) {
        resume->held = least(resume->held, message->offset - 1);
        return false;
    }
    if (message->offset <= subscription->above)
        return false;
    subscription->above = 0;
    topic_index_settle(subscription);
    return true;
}

void history_on_mark(struct histories *histories, struct target *target,
                     const struct frame_topic_mark *mark)
{
    if (mark->epoch != target->epoch || mark->offset < target->offset)
        change_epoch(target, mark->epoch, mark->offset, target->gap);
    else
        resume_all(histories, target, mark->offset);
    target->offset = mark->offset;
    target->gap = false;
}

bool history_on_gap(struct histories *histories, struct target *target)
{
    if (target->epoch == 0)
        return false;
    target->gap = true;
    ask_mark(histories, target);
    return true;
}

/* ---- life ---- */

struct histories *histories_create(struct gateway *gateway)
{
    struct histories *histories = xcalloc(1, sizeof(*histories));

    histories->gateway = gateway;
    TAILQ_INIT(&histories->waiting);
    uv_timer_init(gateway->loop, &histories->timer);
    histories->timer.data = histories;
    return histories;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Topics have ended before it, and with them all that follow. */
void histories_destroy(struct histories **pointer)
{
    struct histories *histories = *pointer;

    if (histories == NULL)
        return;
    *pointer = NULL;
    assert(TAILQ_EMPTY(&histories->waiting));
    uv_close((uv_handle_t *)&histories->timer, on_closed);
}
