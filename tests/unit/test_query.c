/* Questions to a real Redis for sessions that may be gone when the answer comes. */
#include "gateway/bus/query.h"

#include "tests/unit/fake_gateway.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <errno.h>

static struct bus_script pair_script = {
    .name = "pair",
    .text = "#!lua flags=no-writes\n"
            "return {redis.call('GET', KEYS[1]), KEYS[1], ARGV[1]}",
};
static struct bus_script writing_script = {
    .name = "writing",
    .text = "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], '1')",
};
static const struct protocol protocol_none = {.name = "none"};

static struct test_loop loop;
static struct redis *redis;
static struct session *alice;
static unsigned ups, answers, silences;
static uint64_t last_request;
static char last_text[200];

static void on_up(void *arg)
{
    (void)arg;
    ups++;
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    (void)reason;
}

static void keep(uint64_t request, const struct bus_reply *reply)
{
    struct slice key = bus_reply_text(bus_reply_at(reply, 1));
    struct slice argument = bus_reply_text(bus_reply_at(reply, 2));

    answers++;
    silences += reply == NULL;
    last_request = request;
    snprintf(last_text, sizeof(last_text), "%.*s %.*s", (int)key.length, key.data,
             (int)argument.length, argument.data);
}

static void on_session_answer(struct session *session, uint64_t request,
                              const struct bus_reply *reply)
{
    assert_ptr_equal(session, alice);
    keep(request, reply);
}

static void on_answer(void *arg, uint64_t request, const struct bus_reply *reply)
{
    assert_ptr_equal(arg, &loop);
    keep(request, reply);
}

static int setup(void **state)
{
    char text[64];
    struct bus_address address;

    (void)state;
    redis = redis_start(NULL);
    loop_open(&loop);
    fake_start(4);
    fake.gateway.loop = &loop.loop;
    strcpy(fake.gateway.deployment.prefix, "t:");
    snprintf(text, sizeof(text), "redis://127.0.0.1:%d", redis_port(redis));
    assert_int_equal(bus_address_parse(text, &address), 0);
    fake.gateway.bus = bus_create(&loop.loop, &(struct bus_options){.address = &address,
                                                                    .client_name = "test",
                                                                    .on_up = on_up,
                                                                    .on_down = on_down});
    bus_add_script(fake.gateway.bus, &pair_script);
    bus_add_script(fake.gateway.bus, &writing_script);
    fake.gateway.settings.queries = 32;
    fake.gateway.queries = queries_create(&fake.gateway);
    alice = fake_session(7, "alice", &protocol_none);
    ups = answers = silences = 0;
    loop_until(&loop, ups == 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    queries_destroy(&fake.gateway.queries);
    bus_destroy(&fake.gateway.bus);
    fake_stop();
    loop_close(&loop);
    redis_destroy(&redis);
    return 0;
}

static struct query pair_query(struct query_key *key, struct slice *argument)
{
    *key = (struct query_key){"dialog", slice_text("alice\nbob")};
    *argument = slice_text("word");
    return (struct query){.script = &pair_script,
                          .partition = 3,
                          .keys = key,
                          .key_count = 1,
                          .arguments = argument,
                          .argument_count = 1};
}

static int ask(uint64_t request)
{
    struct query_key key;
    struct slice argument;
    const struct query query = pair_query(&key, &argument);

    return query_ask(fake.gateway.queries, &query, alice, request, on_session_answer);
}

static void an_answer_comes_to_the_session(void **state)
{
    (void)state;
    assert_int_equal(ask(42), 0);
    assert_int_equal(alice->queries, 1);
    assert_int_equal(answers, 0);
    loop_until(&loop, answers == 1);
    assert_int_equal(last_request, 42);
    assert_string_equal(last_text, "t:{3}:dialog:alice|bob word");
    assert_int_equal(alice->queries, 0);
}

static void nobody_hears_of_a_session_that_is_gone(void **state)
{
    struct query_key key;
    struct slice argument;
    const struct query query = pair_query(&key, &argument);

    (void)state;
    assert_int_equal(ask(1), 0);
    fake_end_session(alice);
    assert_int_equal(query_ask_for(fake.gateway.queries, &query, 2, on_answer, &loop, NULL), 0);
    loop_until(&loop, answers == 1);
    assert_int_equal(last_request, 2);
}

static void a_forgotten_question_is_not_answered(void **state)
{
    struct query_key key;
    struct slice argument;
    const struct query query = pair_query(&key, &argument);
    uint64_t number = 0;

    (void)state;
    assert_int_equal(query_ask_for(fake.gateway.queries, &query, 1, on_answer, &loop, &number), 0);
    query_forget(fake.gateway.queries, number);
    query_forget(fake.gateway.queries, number);
    assert_int_equal(ask(2), 0);
    loop_until(&loop, answers == 1);
    assert_int_equal(last_request, 2);
}

static void on_sleep(void *arg, const struct bus_reply *reply)
{
    (void)reply;
    *(bool *)arg = true;
}

static char commands_told[8192];

static void on_stats(void *arg, const struct bus_reply *reply)
{
    struct slice text = bus_reply_text(reply);

    (void)arg;
    snprintf(commands_told, sizeof(commands_told), "%.*s", (int)text.length, text.data);
}

static void a_session_has_so_many_open(void **state)
{
    (void)state;
    for (unsigned i = 0; i < QUERIES_OPEN_MAX; i++)
        assert_int_equal(ask(i), 0);
    assert_int_equal(ask(99), -EBUSY);
    loop_until(&loop, answers == QUERIES_OPEN_MAX);
    assert_int_equal(last_request, QUERIES_OPEN_MAX - 1);
    assert_int_equal(ask(100), 0);
    loop_until(&loop, answers == QUERIES_OPEN_MAX + 1);
    assert_int_equal(silences, 0);
}

/* Redis answers this connection nothing until then. */
static void hold_up_redis(bool *done)
{
    assert_int_equal(
        bus_command_text(fake.gateway.bus, on_sleep, done, "BLPOP", "none", "0.3", NULL), 0);
}

static long long calls(void)
{
    const char *at;

    commands_told[0] = '\0';
    assert_int_equal(
        bus_command_text(fake.gateway.bus, on_stats, NULL, "INFO", "commandstats", NULL), 0);
    loop_until(&loop, commands_told[0] != '\0');
    at = strstr(commands_told, "cmdstat_evalsha:calls=");
    return at ? atoll(at + strlen("cmdstat_evalsha:calls=")) : 0;
}

/* Two are with Redis, the others wait; of a session that goes they are never asked. */
static void so_many_are_asked_at_once(void **state)
{
    struct session *bob = fake_session(8, "bob", &protocol_none);
    struct query_key key;
    struct slice argument;
    const struct query query = pair_query(&key, &argument);
    bool slept = false;
    uint64_t forgotten;

    (void)state;
    fake.gateway.settings.queries = 2;
    hold_up_redis(&slept);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(ask(i), 0);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(query_ask(fake.gateway.queries, &query, bob, i, on_session_answer), 0);
    assert_int_equal(query_ask_for(fake.gateway.queries, &query, 9, on_answer, &loop, &forgotten),
                     0);
    assert_int_equal(query_ask_for(fake.gateway.queries, &query, 10, on_answer, &loop, NULL), 0);
    query_forget(fake.gateway.queries, forgotten);
    fake_end_session(bob);
    assert_int_equal(answers, 0);
    loop_until(&loop, answers == 4);
    assert_true(slept);
    assert_int_equal(last_request, 10);
    assert_int_equal(silences, 0);
    assert_int_equal(calls(), 4);
}

/* Those that wait are told, too, and nothing is asked when Redis is back. */
static void silence_for_those_that_wait(void **state)
{
    bool slept = false;

    (void)state;
    fake.gateway.settings.queries = 1;
    hold_up_redis(&slept);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(ask(i), 0);
    redis_kill(redis);
    loop_until(&loop, answers == 3);
    assert_int_equal(silences, 3);
    assert_int_equal(alice->queries, 0);
}

static void what_writes_is_not_answered(void **state)
{
    struct query_key key;
    struct slice argument;
    struct query query = pair_query(&key, &argument);

    (void)state;
    query.script = &writing_script;
    assert_int_equal(query_ask(fake.gateway.queries, &query, alice, 5, on_session_answer), 0);
    loop_until(&loop, answers == 1);
    assert_int_equal(silences, 1);
}

static void silence_while_redis_is_away(void **state)
{
    (void)state;
    assert_int_equal(ask(1), 0);
    redis_kill(redis);
    loop_until(&loop, !bus_is_up(fake.gateway.bus));
    assert_int_equal(answers, 1);
    assert_int_equal(ask(2), -ENOTCONN);
    assert_int_equal(alice->queries, 0);
}

/* What Redis answers too late goes nowhere. */
static void silence_after_five_seconds(void **state)
{
    bool slept = false;

    (void)state;
    /* Redis is not there for this connection, but the connection is. */
    assert_int_equal(
        bus_command_text(fake.gateway.bus, on_sleep, &slept, "BLPOP", "none", "6.5", NULL), 0);
    assert_int_equal(ask(1), 0);
    loop_until(&loop, answers == 1);
    assert_false(slept);
    assert_int_equal(silences, 1);
    assert_int_equal(alice->queries, 0);
    loop_until(&loop, slept);
    assert_int_equal(ask(2), 0);
    loop_until(&loop, answers == 2);
    assert_int_equal(last_request, 2);
    assert_int_equal(silences, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_comes_to_the_session, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_hears_of_a_session_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_forgotten_question_is_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_has_so_many_open, setup, teardown),
        cmocka_unit_test_setup_teardown(so_many_are_asked_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_for_those_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(what_writes_is_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_while_redis_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_after_five_seconds, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
