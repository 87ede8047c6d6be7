/*
 * Sessions whose user becomes known only after the upgrade (session.c): nobody hears of them before
 * that, and what is kept by user copes. The websocket, the bus and the modules beside are fakes.
 */
#include "common/xalloc.h"
#include "gateway/session/claims.h"
#include "gateway/session/connection.h"
#include "gateway/bus/delivery.h"
#include "gateway/topics/room.h"
#include "gateway/session/session.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

struct metric gateway_metrics[GATEWAY_METRICS];

static struct {
    struct gateway gateway;
    uv_loop_t loop;
    const struct websocket_handlers *handlers;
    void *adopted; /* the last one */
    size_t connects, closed, topics_closed, ticks, opened, drained, writes;
    uint64_t connected_partition;
    char connected_user[64];
    enum session_state state_when_drained;
    bool may_go_on;
} fake;

/* ---- fakes ---- */

struct websocket_server *websocket_server_create(uv_loop_t *loop,
                                                 const struct websocket_handlers *handlers)
{
    (void)loop;
    fake.handlers = handlers;
    return (struct websocket_server *)&fake;
}

void websocket_server_stop(struct websocket_server *server)
{
    (void)server;
}

void websocket_server_destroy(struct websocket_server **server)
{
    *server = NULL;
}

void websocket_adopt(struct websocket_server *server, int descriptor,
                     const struct websocket_upgrade *upgrade, void *owner)
{
    (void)server, (void)descriptor, (void)upgrade;
    fake.adopted = owner;
}

bool websocket_is_closing(const struct websocket *websocket)
{
    (void)websocket;
    return false;
}

void websocket_close(struct websocket *websocket, int code, struct slice text)
{
    (void)websocket, (void)code, (void)text;
}

void websocket_cut(struct websocket *websocket)
{
    (void)websocket;
}

void connection_push(struct connection *connection, struct wire *wire)
{
    outbox_push(&connection->outbox, wire);
}

uint64_t connection_push_urgent(struct connection *connection, struct wire *wire)
{
    (void)connection, (void)wire;
    return 0;
}

void connection_drop(struct connection *connection)
{
    outbox_finish(&connection->outbox);
}

bool connection_may_go_on(const struct connection *connection)
{
    (void)connection;
    return fake.may_go_on;
}

int connection_write(struct connection *connection)
{
    (void)connection;
    fake.writes++;
    return 0;
}

bool connection_is_written(const struct connection *connection)
{
    (void)connection;
    return true;
}

void connection_mark_end(struct connection *connection)
{
    (void)connection;
}

uint64_t connection_taken(struct connection *connection)
{
    (void)connection;
    return 0;
}

enum connection_progress connection_look(struct connection *connection, uint64_t now_ms,
                                         uint64_t stall_ms)
{
    (void)connection, (void)now_ms, (void)stall_ms;
    return CONNECTION_SETTLED;
}

uint64_t connection_silence_ms(const struct connection *connection)
{
    (void)connection;
    return uv_now(&fake.loop); /* never a byte */
}

void uplink_send(struct uplink *uplink, uint32_t partition, const struct frame *frame)
{
    (void)uplink;
    assert_int_equal(frame->type, FRAME_USER_CONNECT);
    fake.connects++;
    fake.connected_partition = partition;
    snprintf(fake.connected_user, sizeof(fake.connected_user), "%.*s",
             (int)frame->user_connect.user.length, frame->user_connect.user.data);
}

/* Each USER_CONNECT is in an entry of its own. */
uint64_t uplink_last(const struct uplink *uplink, uint32_t partition)
{
    (void)uplink, (void)partition;
    return fake.connects;
}

void deliveries_session_closed(struct deliveries *deliveries, struct session *session)
{
    (void)deliveries;
    assert_true(session->partition != SESSION_NOWHERE);
    fake.closed++;
}

void topics_session_closed(struct topics *topics, struct session *session)
{
    (void)topics, (void)session;
    fake.topics_closed++;
}

void rooms_session_closed(struct rooms *rooms, struct session *session)
{
    (void)rooms, (void)session;
}

/* ---- a protocol ---- */

static void on_open(struct session *session)
{
    (void)session;
    fake.opened++;
}

static void on_tick(struct session *session, uint64_t now_ms)
{
    fake.ticks++;
    session->tick_due_ms = now_ms + 3600000;
}

static void on_drain(struct session *session)
{
    fake.drained++;
    fake.state_when_drained = session->state;
}

static const struct protocol protocol = {
    .name = "test",
    .id = FRAME_PROTOCOL_CALLIE,
    .open = on_open,
    .on_tick = on_tick,
    .on_drain = on_drain,
};

/* ---- life ---- */

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    assert_int_equal(uv_loop_init(&fake.loop), 0);
    fake.gateway.loop = &fake.loop;
    fake.gateway.deployment.partitions = 16;
    fake.gateway.settings.rate_limits = true;
    fake.gateway.settings.ping_after_ms = 1;
    fake.gateway.settings.silence_max_ms = 2;
    fake.gateway.settings.stall_ms = 5000;
    fake.gateway.settings.send_budget = 1000;
    fake.gateway.settings.send_frames = 10;
    fake.gateway.rate_users = rate_users_create();
    fake.gateway.sessions = sessions_create(&fake.gateway);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sessions_stop(fake.gateway.sessions);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    sessions_destroy(&fake.gateway.sessions);
    rate_users_destroy(&fake.gateway.rate_users);
    assert_int_equal(uv_loop_close(&fake.loop), 0);
    return 0;
}

static struct session *adopt(const char *user)
{
    struct identity identity = {.user = user ? xstrdup(user) : NULL, .expires_at = INT64_MAX};

    sessions_adopt(fake.gateway.sessions, -1, &(struct websocket_upgrade){0}, &protocol, &identity,
                   0, slice_text(""));
    assert_null(identity.user);
    return fake.adopted;
}

static struct session *open_session(const char *user)
{
    struct session *session = adopt(user);

    fake.handlers->on_open(session, NULL);
    return session;
}

static void end(struct session *session)
{
    fake.handlers->on_end(session);
    sessions_flush(fake.gateway.sessions);
}

static void identify(struct session *session, const char *user, const char *token_id)
{
    struct identity identity = {.user = xstrdup(user), .token_id = xstrdup(token_id)};

    session_identify(session, &identity);
    assert_null(identity.user);
}

static void count_one(struct session *session, void *count)
{
    (void)session;
    ++*(size_t *)count;
}

/* ---- tests ---- */

static void nobody_hears_of_it_before_its_user_is_known(void **state)
{
    struct session *session = open_session(NULL);
    size_t count = 0;

    (void)state;
    assert_int_equal(fake.opened, 1);
    assert_int_equal(fake.connects, 0);
    assert_false(session_is_identified(session));
    assert_int_equal(session->partition, SESSION_NOWHERE);
    assert_int_equal(sessions_unidentified(fake.gateway.sessions), 1);
    sessions_each(fake.gateway.sessions, count_one, &count);
    assert_int_equal(count, 1);
    end(session);
    assert_int_equal(fake.closed, 0);
    assert_int_equal(fake.topics_closed, 1);
    assert_int_equal(sessions_unidentified(fake.gateway.sessions), 0);
    assert_int_equal(sessions_count(fake.gateway.sessions), 0);
}

static void identified_it_is_a_session_like_others(void **state)
{
    struct session *session = open_session(NULL);

    (void)state;
    identify(session, "alice", "t1");
    assert_int_equal(fake.connects, 1);
    assert_string_equal(fake.connected_user, "alice");
    assert_int_equal(fake.connected_partition,
                     partition_of(&fake.gateway.deployment, slice_text("alice")));
    assert_int_equal(session->partition, fake.connected_partition);
    assert_int_equal(sessions_unidentified(fake.gateway.sessions), 0);
    end(session);
    assert_int_equal(fake.closed, 1);
}

static void one_that_never_opened_is_not_counted_any_more(void **state)
{
    struct session *stranger = adopt(NULL), *known = adopt("bob");

    (void)state;
    assert_int_equal(sessions_unidentified(fake.gateway.sessions), 1);
    end(stranger);
    end(known);
    assert_int_equal(sessions_unidentified(fake.gateway.sessions), 0);
    assert_int_equal(fake.connects, 0);
    assert_int_equal(fake.closed, 0);
}

static void revocations_find_it_when_it_is_known(void **state)
{
    struct session *stranger = open_session(NULL), *session = open_session(NULL);

    (void)state;
    sessions_close_token(fake.gateway.sessions, NULL, slice_text("alice"));
    sessions_close_token(fake.gateway.sessions, "t1", slice_text("alice"));
    assert_int_equal(session->state, SESSION_OPEN);
    identify(session, "alice", "t1");
    sessions_close_token(fake.gateway.sessions, "t1", slice_text("alice"));
    assert_int_equal(session->state, SESSION_CLOSING);
    assert_int_equal(stranger->state, SESSION_OPEN);
    end(stranger);
    end(session);
}

static void its_messages_are_counted_by_connection_then_by_user(void **state)
{
    struct session *session = open_session(NULL);
    size_t taken = 0;

    (void)state;
    while (admission_take(session, LIMIT_SUBSCRIBE) == 0)
        taken++;
    assert_int_equal(taken, 200);
    end(session);

    session = open_session(NULL);
    identify(session, "alice", "t1");
    taken = 0;
    while (admission_take(session, LIMIT_SUBSCRIBE) == 0)
        taken++;
    assert_int_equal(taken, 20);
    end(session);
}

/* Silence is its own affair: its protocol closes it, and tells why. */
/* The kernel was full, the peer has taken all, and the loop has not come to it yet. */
static void much_at_once_for_one_who_keeps_up(void **state)
{
    struct session *session = open_session(NULL);

    (void)state;
    fake.gateway.settings.send_frames = 3;
    fake.may_go_on = true;
    for (int i = 0; i < 10; i++)
        assert_true(session_send_text(session, slice_text("more")));
    assert_int_equal(session->state, SESSION_OPEN);
    fake.may_go_on = false;
    assert_false(session_send_text(session, slice_text("too much")));
    assert_int_equal(session->state, SESSION_CLOSING);
    end(session);
}

static void its_ticks_come_and_silence_does_not_close_it(void **state)
{
    struct session *stranger = open_session(NULL), *known = open_session("bob");
    size_t turns = 0;

    (void)state;
    while (known->state == SESSION_OPEN && turns++ < 100)
        uv_run(&fake.loop, UV_RUN_ONCE);
    while (fake.ticks == 0 && turns++ < 100)
        uv_run(&fake.loop, UV_RUN_ONCE);
    assert_int_equal(known->state, SESSION_CLOSING);
    assert_int_equal(stranger->state, SESSION_OPEN);
    assert_int_equal(fake.ticks, 1);
    end(stranger);
    end(known);
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

static struct session *open_on_socket(const char *user)
{
    struct session *session = adopt(user);

    fake.handlers->on_open(session, (struct websocket *)&fake);
    return session;
}

/* How many were written at the end of this turn. */
static size_t written(void)
{
    size_t before = fake.writes;

    sessions_flush(fake.gateway.sessions);
    return fake.writes - before;
}

static void what_is_said_first_waits_for_the_partition(void **state)
{
    struct session *alice = open_on_socket("alice"), *again = open_on_socket("alice");
    uint32_t partition = alice->partition;

    (void)state;
    session_send_text(alice, slice_text("welcome"));
    session_send_text(again, slice_text("welcome"));
    assert_int_equal(written(), 0);
    sessions_on_accepted(fake.gateway.sessions, (partition + 1) % 16, 2);
    assert_int_equal(written(), 0);
    sessions_on_accepted(fake.gateway.sessions, partition, 1);
    assert_int_equal(written(), 1);
    session_send_text(alice, slice_text("more"));
    assert_int_equal(written(), 1);
    /* The goodbye waits for nobody. */
    session_close(again, SESSION_CLOSE_POLICY, NULL);
    assert_int_equal(written(), 1);
    sessions_on_accepted(fake.gateway.sessions, partition, 2);
    assert_int_equal(written(), 0);
    end(again);
    end(alice);
}

static void it_waits_for_a_second_at_most(void **state)
{
    struct session *stranger = open_on_socket(NULL);
    uint64_t begun_ms;

    (void)state;
    session_send_text(stranger, slice_text("who are you"));
    assert_int_equal(written(), 1);
    identify(stranger, "alice", "t1");
    session_send_text(stranger, slice_text("welcome"));
    uv_update_time(&fake.loop);
    begun_ms = uv_now(&fake.loop);
    while (written() == 0)
        uv_run(&fake.loop, UV_RUN_ONCE);
    assert_in_range(uv_now(&fake.loop) - begun_ms, 900, 10000);
    end(stranger);
}

static void a_word_goes_out_before_a_drain_closes(void **state)
{
    struct session *stranger = open_session(NULL), *known = open_session("bob");
    bool done = false;

    (void)state;
    sessions_drain(fake.gateway.sessions, on_drained, &done);
    while (fake.drained < 2)
        uv_run(&fake.loop, UV_RUN_ONCE);
    assert_int_equal(fake.state_when_drained, SESSION_OPEN);
    assert_int_equal(known->state, SESSION_CLOSING);
    end(stranger);
    end(known);
    while (!done)
        uv_run(&fake.loop, UV_RUN_ONCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_hears_of_it_before_its_user_is_known, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(identified_it_is_a_session_like_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_never_opened_is_not_counted_any_more, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(revocations_find_it_when_it_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_messages_are_counted_by_connection_then_by_user, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(much_at_once_for_one_who_keeps_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_ticks_come_and_silence_does_not_close_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_said_first_waits_for_the_partition, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_waits_for_a_second_at_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_word_goes_out_before_a_drain_closes, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
