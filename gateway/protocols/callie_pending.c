/*
 * Requests on their way: what an answer needs of the payload it answers. Bounded, and none stays
 * unanswered: what routers do not answer in time is told to be so.
 */
#include "common/xalloc.h"
#include "gateway/protocols/callie.h"

#include <stdlib.h>

#define OPEN_MAX 2048
#define OPEN_BYTES_MAX (1u << 20)
/* Messages that can still be spoken of without asking where they went. */
#define SENT_MAX 64
#define PATIENCE_MS 30000

static struct callie_state *state_of(const struct session *session)
{
    return session->protocol_state;
}

static bool is_message(const struct callie_pending *pending)
{
    return pending->kind == CALLIE_DIRECT || pending->kind == CALLIE_POST;
}

/* A copy, at *at, which moves on. */
static struct slice copy(struct slice text, char **at)
{
    struct slice copied = slice_of(*at, text.length);

    if (text.length > 0)
        memcpy(*at, text.data, text.length);
    *at += text.length;
    return copied;
}

static void free_pending(struct callie_pending *pending)
{
    free(pending->found_chat);
    free(pending->groups);
    buffer_finish(&pending->result);
    free(pending);
}

/* ---- opening ---- */

static size_t bytes_of(const struct callie_payload *payload, const struct callie_memory *memory)
{
    return sizeof(struct callie_pending) + payload->payload_id.length + memory->message_id.length +
           memory->chat.length + memory->text.length;
}

struct callie_pending *callie_open(const struct callie_payload *payload,
                                   const struct callie_memory *memory)
{
    struct callie_state *state = payload->state;
    size_t bytes = bytes_of(payload, memory);
    struct callie_pending *pending;
    char *at;

    if (state->open_count >= OPEN_MAX || state->open_bytes + bytes > OPEN_BYTES_MAX) {
        callie_unavailable(payload->session, payload->payload_id,
                           slice_is(slice_text(payload->type->name), "CMD"));
        return NULL;
    }
    pending = xcalloc(1, bytes);
    at = pending->texts;
    pending->number = ++state->last_number;
    pending->kind = memory->kind;
    pending->detail = memory->detail;
    pending->asked_ms = uv_now(payload->session->gateway->loop);
    pending->payload_id = copy(payload->payload_id, &at);
    pending->message_id = copy(memory->message_id, &at);
    pending->chat = copy(memory->chat, &at);
    pending->text = copy(memory->text, &at);
    pending->bytes = bytes;
    state->open_count++;
    state->open_bytes += bytes;
    TAILQ_INSERT_TAIL(&state->open, pending, link);
    session_tick_soon(payload->session);
    return pending;
}

void callie_pending_wait(struct session *session, struct callie_pending *pending,
                         const struct callie_pending *message)
{
    pending->waits_for = message->number;
    state_of(session)->waiting_count++;
}

static void wait_no_more(struct callie_state *state, struct callie_pending *pending)
{
    if (pending->waits_for == 0)
        return;
    pending->waits_for = 0;
    state->waiting_count--;
}

/* ---- finding ---- */

struct callie_pending *callie_pending_find(struct session *session, uint64_t number)
{
    struct callie_pending *pending;

    TAILQ_FOREACH(pending, &state_of(session)->open, link)
    if (pending->number == number)
        return pending;
    return NULL;
}

static struct callie_pending *last_message(struct callie_pendings *list, struct slice message_id)
{
    struct callie_pending *pending;

    TAILQ_FOREACH_REVERSE(pending, list, callie_pendings, link)
    if (is_message(pending) && slice_equal(pending->message_id, message_id))
        return pending;
    return NULL;
}

struct callie_pending *callie_pending_sent(struct session *session, struct slice message_id)
{
    struct callie_pending *pending = last_message(&state_of(session)->open, message_id);

    return pending ? pending : last_message(&state_of(session)->sent, message_id);
}

bool callie_pending_is_open(const struct callie_pending *pending)
{
    return pending->bytes > 0;
}

/* ---- the end of one ---- */

static void close_one(struct callie_state *state, struct callie_pending *pending)
{
    wait_no_more(state, pending);
    TAILQ_REMOVE(&state->open, pending, link);
    state->open_count--;
    state->open_bytes -= pending->bytes;
    pending->bytes = 0;
}

static void keep(struct callie_state *state, struct callie_pending *pending)
{
    struct callie_pending *oldest;

    TAILQ_INSERT_TAIL(&state->sent, pending, link);
    if (++state->sent_count <= SENT_MAX)
        return;
    oldest = TAILQ_FIRST(&state->sent);
    TAILQ_REMOVE(&state->sent, oldest, link);
    state->sent_count--;
    free_pending(oldest);
}

/* Each answers later, or removes itself: the list is looked at anew. */
static void go_on(struct session *session, const struct callie_pending *message)
{
    struct callie_state *state = state_of(session);
    struct callie_pending *pending = TAILQ_FIRST(&state->open);

    while (pending && state->waiting_count > 0) {
        if (pending->waits_for != message->number) {
            pending = TAILQ_NEXT(pending, link);
            continue;
        }
        wait_no_more(state, pending);
        callie_change_in_chat(session, pending, message->chat);
        pending = TAILQ_FIRST(&state->open);
    }
}

void callie_pending_done(struct session *session, struct callie_pending *pending)
{
    struct callie_state *state = state_of(session);

    close_one(state, pending);
    if (!is_message(pending)) {
        free_pending(pending);
        return;
    }
    keep(state, pending);
    go_on(session, pending);
}

void callie_pending_fail(struct session *session, struct callie_pending *pending)
{
    callie_unavailable(session, pending->payload_id, !is_message(pending));
    callie_pending_done(session, pending);
}

bool callie_pending_expire(struct session *session, uint64_t now_ms)
{
    struct callie_state *state = state_of(session);
    struct callie_pending *oldest;

    while ((oldest = TAILQ_FIRST(&state->open)) && oldest->asked_ms + PATIENCE_MS <= now_ms)
        callie_pending_fail(session, oldest);
    return oldest != NULL;
}

static void free_all(struct callie_pendings *list)
{
    struct callie_pending *pending;

    while ((pending = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, pending, link);
        free_pending(pending);
    }
}

void callie_pending_finish(struct session *session)
{
    free_all(&state_of(session)->open);
    free_all(&state_of(session)->sent);
}
