/*
 * A gateway without sockets and Redis for tests of what stands between the two: frames to
 * partitions and messages to clients are kept to be looked at. Included by a test's one source
 * file: it defines what uplink.c, session.c, verifier.c and the handshake would.
 */
#ifndef TESTS_UNIT_FAKE_GATEWAY_H
#define TESTS_UNIT_FAKE_GATEWAY_H

#include "common/xalloc.h"
#include "gateway/door/handshake.h"
#include "gateway/topics/history.h"
#include "gateway/bus/query.h"
#include "gateway/topics/room.h"
#include "gateway/session/session.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define FAKE_SESSIONS 16
#define FAKE_FRAMES 20000
#define FAKE_MESSAGES 4096
#define FAKE_QUERY 8
#define FAKE_EVERYWHERE UINT32_MAX

struct fake_frame {
    uint32_t partition; /* or FAKE_EVERYWHERE */
    struct buffer bytes;
};

struct fake_session {
    struct session session;
    char *messages[FAKE_MESSAGES];
    size_t count;
    bool closed;
    enum session_close_reason reason;
};

static struct {
    struct gateway gateway;
    struct fake_frame frames[FAKE_FRAMES];
    size_t frame_count;
    struct frame_reader *reader;
    struct fake_session *sessions[FAKE_SESSIONS];
    bool no_credit;
    uint32_t no_credit_at; /* of one partition, when not 0 */
    bool can_free;
    enum verifier_result token_result;
    const char *token_user;
    bool answered;
    int refused_status; /* of the last handshake; 0: accepted */
    uint64_t accepted_flags;
    char accepted_slot[64], accepted_user[160];
    const char *query_ack;
    struct {
        const char *name, *value;
    } query[FAKE_QUERY]; /* the other parameters of the handshake */
    const char *authorization;
    bool no_token;
    void (*on_abandoned)(void *arg);
    void *on_abandoned_arg;
} fake;

/* ---- frames to partitions ---- */

static void fake_record(uint32_t partition, const struct frame *frame)
{
    struct fake_frame *kept = &fake.frames[fake.frame_count];

    assert_true(fake.frame_count < FAKE_FRAMES);
    fake.frame_count++;
    kept->partition = partition;
    frame_encode(&kept->bytes, frame);
}

void uplink_send(struct uplink *uplink, uint32_t partition, const struct frame *frame)
{
    (void)uplink;
    fake_record(partition, frame);
}

void uplink_send_all(struct uplink *uplink, const struct frame *frame)
{
    (void)uplink;
    fake_record(FAKE_EVERYWHERE, frame);
}

bool uplink_has_credit(const struct uplink *uplink, uint32_t partition)
{
    (void)uplink;
    return !fake.no_credit && (fake.no_credit_at == 0 || fake.no_credit_at != partition);
}

bool gateway_can_free(const struct gateway *gateway)
{
    (void)gateway;
    return fake.can_free;
}

/* The frame, valid until the next call. */
static inline struct frame fake_decode(const struct fake_frame *kept)
{
    struct frame frame;

    frame_reader_start(fake.reader, buffer_slice(&kept->bytes));
    assert_int_equal(frame_reader_next(fake.reader, &frame), 1);
    return frame;
}

static inline struct frame fake_frame_at(size_t index)
{
    assert_true(index < fake.frame_count);
    return fake_decode(&fake.frames[index]);
}

static void fake_forget_frames(void)
{
    for (size_t i = 0; i < fake.frame_count; i++)
        buffer_finish(&fake.frames[i].bytes);
    fake.frame_count = 0;
}

/* ---- messages to clients ---- */

static void fake_keep(struct session *session, const char *data, size_t length)
{
    struct fake_session *of = (struct fake_session *)session;

    assert_true(of->count < FAKE_MESSAGES);
    of->messages[of->count++] = xmemdup0(data, length);
}

void session_tick_soon(struct session *session)
{
    session->tick_due_ms = 0;
}

bool session_send(struct session *session, struct wire *wire, enum send_class class)
{
    size_t header = (wire->bytes[1] & 0x7f) < 126 ? 2 : (wire->bytes[1] & 0x7f) == 126 ? 4 : 10;

    (void)class;
    if (session->state != SESSION_OPEN)
        return false;
    fake_keep(session, wire->bytes + header, wire->length - header);
    return true;
}

/* Nothing waits here: in its turn. */
bool session_send_urgent(struct session *session, struct wire *wire, uint64_t *begin, uint64_t *end)
{
    *begin = *end = 0;
    return session_send(session, wire, SEND_NORMAL);
}

bool session_send_text(struct session *session, struct slice payload)
{
    if (session->state != SESSION_OPEN)
        return false;
    fake_keep(session, payload.data, payload.length);
    return true;
}

void session_close(struct session *session, enum session_close_reason reason, const char *text)
{
    struct fake_session *of = (struct fake_session *)session;

    (void)text;
    of->closed = true;
    of->reason = reason;
    session->state = SESSION_CLOSING;
}

struct session *session_find(struct sessions *sessions, uint64_t id)
{
    (void)sessions;
    for (size_t i = 0; i < FAKE_SESSIONS; i++)
        if (fake.sessions[i] && fake.sessions[i]->session.id == id &&
            fake.sessions[i]->session.state == SESSION_OPEN)
            return &fake.sessions[i]->session;
    return NULL;
}

void sessions_each(struct sessions *sessions, void (*visit)(struct session *, void *arg), void *arg)
{
    (void)sessions;
    for (size_t i = 0; i < FAKE_SESSIONS; i++)
        if (fake.sessions[i] && fake.sessions[i]->session.state == SESSION_OPEN)
            visit(&fake.sessions[i]->session, arg);
}

static void fake_forget_messages(struct session *session)
{
    struct fake_session *of = (struct fake_session *)session;

    for (size_t i = 0; i < of->count; i++)
        free(of->messages[i]);
    of->count = 0;
}

static inline size_t fake_message_count(const struct session *session)
{
    return ((const struct fake_session *)session)->count;
}

/* Compares all messages since the last time. */
static inline void fake_expect_messages(struct session *session, size_t count,
                                        const char *const *expected)
{
    const struct fake_session *of = (const struct fake_session *)session;

    for (size_t i = 0; i < of->count && i < count; i++)
        assert_string_equal(of->messages[i], expected[i]);
    assert_int_equal(of->count, count);
    fake_forget_messages(session);
}

/* Weak: a test that looks at one of them has its own. */
__attribute__((weak)) uint64_t session_bytes_queued(const struct session *session)
{
    (void)session;
    return 0;
}

__attribute__((weak)) uint64_t session_bytes_taken(struct session *session)
{
    (void)session;
    return 0;
}

#ifndef FAKE_QUERIES /* the test has them before this */
__attribute__((weak)) int query_ask_for(struct queries *queries, const struct query *query,
                                        uint64_t request, query_fn *answer, void *arg,
                                        uint64_t *number)
{
    (void)queries, (void)query, (void)request, (void)answer, (void)arg, (void)number;
    return -ENOTCONN;
}

__attribute__((weak)) void query_forget(struct queries *queries, uint64_t number)
{
    (void)queries, (void)number;
}
#endif

/* ---- tokens and handshakes ---- */

enum verifier_result verifier_check(struct verifier *verifier, struct slice token, int64_t now_s,
                                    struct identity *identity)
{
    (void)verifier;
    (void)token;
    if (fake.token_result == VERIFIER_OK)
        *identity = (struct identity){
            .user = xstrdup(fake.token_user), .issued_at = now_s, .expires_at = now_s + 3600};
    return fake.token_result;
}

bool verifier_ready(const struct verifier *verifier)
{
    (void)verifier;
    return true;
}

const char *verifier_reason(enum verifier_result result)
{
    (void)result;
    return "no good token";
}

void identity_finish(struct identity *identity)
{
    free(identity->user);
    *identity = (struct identity){0};
}

struct gateway *handshake_gateway(struct handshake *handshake)
{
    (void)handshake;
    return &fake.gateway;
}

struct slice handshake_token(struct handshake *handshake)
{
    (void)handshake;
    return fake.no_token ? slice_of(NULL, 0) : slice_text("token");
}

struct slice handshake_query(struct handshake *handshake, const char *name)
{
    (void)handshake;
    if (strcmp(name, "ack") == 0)
        return slice_text(fake.query_ack);
    for (size_t i = 0; i < FAKE_QUERY && fake.query[i].name; i++)
        if (strcmp(fake.query[i].name, name) == 0)
            return slice_text(fake.query[i].value);
    return slice_of(NULL, 0);
}

size_t handshake_query_count(struct handshake *handshake, const char *name)
{
    size_t count = 0;

    (void)handshake;
    for (size_t i = 0; i < FAKE_QUERY && fake.query[i].name; i++)
        count += strcmp(fake.query[i].name, name) == 0;
    return count;
}

struct slice handshake_header(struct handshake *handshake, const char *name)
{
    (void)handshake;
    if (fake.authorization && strcmp(name, "authorization") == 0)
        return slice_text(fake.authorization);
    return slice_of(NULL, 0);
}

void handshake_on_abandoned(struct handshake *handshake, void (*callback)(void *arg), void *arg)
{
    (void)handshake;
    fake.on_abandoned = callback;
    fake.on_abandoned_arg = arg;
}

void handshake_address(struct handshake *handshake, char text[CLIENT_ADDRESS_SIZE])
{
    (void)handshake;
    strcpy(text, "192.0.2.1");
}

void handshake_accept(struct handshake *handshake, struct identity *identity, uint64_t flags,
                      struct slice slot)
{
    (void)handshake;
    fake.refused_status = 0;
    fake.answered = true;
    fake.accepted_flags = flags;
    snprintf(fake.accepted_user, sizeof(fake.accepted_user), "%s",
             identity->user ? identity->user : "");
    snprintf(fake.accepted_slot, sizeof(fake.accepted_slot), "%.*s", (int)slot.length,
             slot.length ? slot.data : "");
    identity_finish(identity);
}

void handshake_refuse(struct handshake *handshake, int status, const char *why)
{
    (void)handshake;
    (void)why;
    fake.refused_status = status;
    fake.answered = true;
}

/* ---- life ---- */

static inline void fake_start(uint32_t partitions)
{
    memset(&fake, 0, sizeof(fake));
    fake.reader = frame_reader_create();
    fake.gateway.loop = uv_default_loop();
    fake.gateway.deployment.partitions = partitions;
    fake.gateway.bits = 77;
    fake.gateway.settings.subscriptions = 100;
    fake.gateway.settings.ping_after_ms = 30000;
    fake.gateway.rate_users = rate_users_create();
    fake.gateway.histories = histories_create(&fake.gateway);
    fake.gateway.topics = topics_create(&fake.gateway);
    fake.gateway.rooms = rooms_create(&fake.gateway);
    fake.token_user = "alice";
}

static void fake_set_user(struct session *session, char *user)
{
    session->identity.user = user;
    session->identity.expires_at = INT64_MAX / 2000;
    session->user = slice_text(user);
    session->partition = partition_of(&fake.gateway.deployment, session->user);
    admission_join(session);
}

void session_identify(struct session *session, struct identity *identity)
{
    fake_set_user(session, identity->user);
    session->identity = *identity;
    *identity = (struct identity){0};
}

/* user: NULL while it is not known. */
static inline struct session *fake_session(uint64_t id, const char *user,
                                           const struct protocol *protocol)
{
    struct fake_session *of = xcalloc(1, sizeof(*of));
    struct session *session = &of->session;
    size_t slot = 0;

    while (fake.sessions[slot])
        slot++;
    assert_true(slot < FAKE_SESSIONS);
    fake.sessions[slot] = of;
    session->id = id;
    session->gateway = &fake.gateway;
    session->protocol = protocol;
    session->state = SESSION_OPEN;
    session->partition = SESSION_NOWHERE;
    session->protocol_state = xcalloc(1, protocol->state_size + 1);
    if (user)
        fake_set_user(session, xstrdup(user));
    return session;
}

static inline void fake_end_session(struct session *session)
{
    struct fake_session *of = (struct fake_session *)session;

    topics_session_closed(fake.gateway.topics, session);
    rooms_session_closed(fake.gateway.rooms, session);
    if (session->protocol->close)
        session->protocol->close(session);
    admission_leave(session);
    fake_forget_messages(session);
    for (size_t i = 0; i < FAKE_SESSIONS; i++)
        if (fake.sessions[i] == of)
            fake.sessions[i] = NULL;
    identity_finish(&session->identity);
    free(session->protocol_state);
    free(of);
}

static inline void fake_stop(void)
{
    for (size_t i = 0; i < FAKE_SESSIONS; i++)
        if (fake.sessions[i])
            fake_end_session(&fake.sessions[i]->session);
    rooms_destroy(&fake.gateway.rooms);
    topics_destroy(&fake.gateway.topics);
    histories_destroy(&fake.gateway.histories);
    rate_users_destroy(&fake.gateway.rate_users);
    fake_forget_frames();
    frame_reader_destroy(&fake.reader);
}

#endif
