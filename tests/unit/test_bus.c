#include "common/bus.h"

#include "common/command.h"
#include "common/xalloc.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A bus on a loop of its own, and what it has said, in order: U up, D down, r a reply, - a lost
 * one. */
static struct {
    struct test_loop loop;
    struct bus *bus;
    char events[4096];
    char reason[1024];
    char reply[1024]; /* the last one's text */
    enum bus_reply_kind kind;
    int64_t integer;
    unsigned replies;
    bool destroy; /* the bus, in the next event */
} test;

static struct redis *server;

static struct bus_script sum = {.name = "sum", .text = "return tonumber(ARGV[1]) + #KEYS"};

static void happened(char event)
{
    size_t length = strlen(test.events);

    if (length + 1 < sizeof(test.events))
        test.events[length] = event;
    if (test.destroy) {
        test.destroy = false;
        bus_destroy(&test.bus);
    }
}

static void on_up(void *arg)
{
    (void)arg;
    happened('U');
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    snprintf(test.reason, sizeof(test.reason), "%s", reason);
    happened('D');
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct slice text = bus_reply_text(reply);

    (void)arg;
    test.replies++;
    test.kind = bus_reply_kind(reply);
    test.integer = bus_reply_integer(reply);
    snprintf(test.reply, sizeof(test.reply), "%.*s", (int)text.length, text.data ? text.data : "");
    happened(reply ? 'r' : '-');
}

#define run_until(condition) loop_until(&test.loop, condition)

static void open_bus_at(const char *url)
{
    struct bus_address address;
    struct bus_options options = {
        .address = &address, .client_name = "test", .on_up = on_up, .on_down = on_down};

    assert_int_equal(bus_address_parse(url, &address), 0);
    memset(&test, 0, sizeof(test));
    loop_open(&test.loop);
    test.bus = bus_create(&test.loop.loop, &options);
    bus_add_script(test.bus, &sum);
    assert_string_equal(test.events, "");
}

static void open_bus(int port)
{
    char url[64];

    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", port);
    open_bus_at(url);
}

static void open_bus_up(void)
{
    open_bus(redis_port(server));
    run_until(bus_is_up(test.bus));
    assert_string_equal(test.events, "U");
    test.events[0] = '\0';
}

/* Everything of the bus must be gone after this, without a word. */
static void close_bus(void)
{
    bus_destroy(&test.bus);
    loop_close(&test.loop);
}

#define say(...) assert_int_equal(bus_command_text(test.bus, on_reply, NULL, __VA_ARGS__, NULL), 0)

static void ask(unsigned count)
{
    test.replies = 0;
    run_until(test.replies == count);
}

static int eval_sum(void)
{
    const struct slice argv[] = {slice_text("a"), slice_text("b"), slice_text("40")};

    return bus_eval(test.bus, &sum, on_reply, NULL, 2, 3, argv);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *url;
        const char *host;
        int port;
        const char *user, *password;
    } good[] = {
        {"redis://127.0.0.1:6379", "127.0.0.1", 6379, "", ""},
        {"redis://redis", "redis", 6379, "", ""},
        {"redis://redis/", "redis", 6379, "", ""},
        {"redis://redis:1/0", "redis", 1, "", ""},
        {"redis://[::1]", "::1", 6379, "", ""},
        {"redis://[::1]:7000/0", "::1", 7000, "", ""},
        {"redis://:secret@redis", "redis", 6379, "", "secret"},
        {"redis://anna:secret@redis:7000", "redis", 7000, "anna", "secret"},
        {"redis://anna:a%40b%3a%2F@redis", "redis", 6379, "anna", "a@b:/"},
        {"redis://anna:a@b@redis", "redis", 6379, "anna", "a@b"},
    };
    static const char *const bad[] = {
        "",
        "127.0.0.1:6379",
        "rediss://redis",
        "redis://",
        "redis://:6379",
        "redis://redis:",
        "redis://redis:0",
        "redis://redis:65536",
        "redis://redis:63x",
        "redis://redis/1",
        "redis://redis/0/",
        "redis://::1:6379",
        "redis://[::1",
        "redis://[]",
        "redis://[::1]6379",
        "redis://anna@redis",
        "redis://anna:@redis",
        "redis://a:%4@redis",
        "redis://a:%00@redis",
        "redis://a:b@",
    };
    struct bus_address address;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(bus_address_parse(good[i].url, &address), 0);
        assert_string_equal(address.host, good[i].host);
        assert_int_equal(address.port, good[i].port);
        assert_string_equal(address.user, good[i].user);
        assert_string_equal(address.password, good[i].password);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(bus_address_parse(bad[i], &address), -EINVAL);
}

static void test_no_reply_reads_as_nothing(void **state)
{
    (void)state;
    assert_int_equal(bus_reply_kind(NULL), BUS_NONE);
    assert_int_equal(bus_reply_integer(NULL), 0);
    assert_int_equal(bus_reply_text(NULL).length, 0);
    assert_int_equal(bus_reply_count(NULL), 0);
    assert_null(bus_reply_at(NULL, 0));
    assert_null(bus_reply_field(NULL, "field"));
    assert_false(bus_reply_not_run(NULL));
}

static void test_no_bus_is_down(void **state)
{
    struct bus *bus = NULL;

    (void)state;
    assert_false(bus_is_up(NULL));
    assert_int_equal(bus_client_id(NULL), 0);
    assert_int_equal(bus_command_text(NULL, NULL, NULL, "PING", NULL), -ENOTCONN);
    bus_destroy(&bus);
}

static void test_kinds_of_replies(void **state)
{
    static const struct {
        const char *command, *argument;
        enum bus_reply_kind kind;
        const char *text;
    } cases[] = {
        {"ECHO", "", BUS_TEXT, ""},
        {"ECHO", "hello", BUS_TEXT, "hello"},
        {"PING", NULL, BUS_STATUS, "PONG"},
        {"INCR", "counter", BUS_INTEGER, ""},
        {"GET", "nothing", BUS_NIL, ""},
        {"HGETALL", "nothing", BUS_ARRAY, ""},
        {"CLIENT", "GETNAME", BUS_TEXT, "test"},
        {"HGETALL", "counter", BUS_ERROR,
         "WRONGTYPE Operation against a key holding the wrong kind of value"},
    };

    (void)state;
    open_bus_up();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(cases[i].command, cases[i].argument);
        ask(1);
        assert_int_equal(test.kind, cases[i].kind);
        assert_string_equal(test.reply, cases[i].text);
    }
    say("CLIENT", "ID");
    ask(1);
    assert_int_equal(test.integer, bus_client_id(test.bus));
    close_bus();
}

static void on_stream(void *arg, const struct bus_reply *reply)
{
    const struct bus_reply *entry = bus_reply_at(reply, 0);

    (void)arg;
    assert_int_equal(bus_reply_count(reply), 1);
    assert_null(bus_reply_at(reply, 1));
    assert_true(slice_is(bus_reply_text(bus_reply_at(entry, 0)), "5-1"));
    entry = bus_reply_at(entry, 1);
    assert_true(slice_is(bus_reply_text(bus_reply_field(entry, "user")), "anna"));
    assert_true(slice_is(bus_reply_text(bus_reply_field(entry, "text")), "user"));
    assert_null(bus_reply_field(entry, "anna"));
    test.replies++;
}

static void test_fields_of_a_stream_entry(void **state)
{
    (void)state;
    open_bus_up();
    say("XADD", "stream", "5-1", "text", "user", "user", "anna");
    assert_int_equal(
        bus_command_text(test.bus, on_stream, NULL, "XRANGE", "stream", "-", "+", NULL), 0);
    ask(2);
    close_bus();
}

static void on_numbered(void *arg, const struct bus_reply *reply)
{
    char expected[24];

    snprintf(expected, sizeof(expected), "%u", test.replies);
    assert_int_equal((uintptr_t)arg, test.replies);
    assert_true(slice_is(bus_reply_text(reply), expected));
    test.replies++;
}

static void test_a_thousand_commands_are_answered_in_order(void **state)
{
    (void)state;
    open_bus_up();
    for (int round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < 1000; i++) {
            char digits[24];
            int length = snprintf(digits, sizeof(digits), "%zu", (size_t)i);
            const struct slice argv[] = {slice_text("ECHO"), slice_of(digits, (size_t)length)};

            assert_int_equal(bus_command(test.bus, on_numbered, (void *)i, 2, argv), 0);
            /* Without a callback an answer is dropped, not mistaken for another's. */
            assert_int_equal(bus_command_text(test.bus, NULL, NULL, "ECHO", "x", NULL), 0);
        }
        ask(1000);
    }
    close_bus();
}

static void on_large(void *arg, const struct bus_reply *reply)
{
    assert_true(slice_equal(bus_reply_text(reply), *(struct slice *)arg));
    test.replies++;
}

static void test_a_body_larger_than_the_socket_takes(void **state)
{
    size_t length = 24 * 1024 * 1024;
    char *body = xmalloc(length);
    struct slice large = slice_of(body, length);
    const struct slice argv[] = {slice_text("SET"), slice_text("large"), large};

    (void)state;
    for (size_t i = 0; i < length; i++)
        body[i] = (char)(i * 31 >> 3);
    open_bus_up();
    assert_int_equal(bus_command(test.bus, on_reply, NULL, 3, argv), 0);
    assert_int_equal(bus_command_text(test.bus, on_large, &large, "GET", "large", NULL), 0);
    say("DEL", "large");
    ask(3);
    close_bus();
    free(body);
}

static void test_scripts(void **state)
{
    (void)state;
    open_bus_up();
    assert_int_equal(strlen(sum.sha), 40);
    assert_int_equal(eval_sum(), 0);
    ask(1);
    assert_int_equal(test.integer, 42);
    close_bus();
}

static void on_refused_then_again(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    assert_int_equal(bus_reply_kind(reply), BUS_ERROR);
    assert_true(bus_reply_not_run(reply));
    assert_int_equal(eval_sum(), 0);
}

static void test_a_forgotten_script_is_loaded_again(void **state)
{
    const struct slice argv[] = {slice_text("1")};

    (void)state;
    open_bus_up();
    say("SCRIPT", "FLUSH");
    for (int i = 0; i < 3; i++)
        assert_int_equal(bus_eval(test.bus, &sum, on_refused_then_again, NULL, 0, 1, argv), 0);
    ask(4);
    assert_int_equal(test.kind, BUS_INTEGER);
    assert_int_equal(test.integer, 42);
    assert_string_equal(test.events, "rrrr");
    close_bus();
}

static void test_a_broken_script_is_named(void **state)
{
    static struct bus_script broken = {.name = "broken", .text = "return ("};

    (void)state;
    open_bus(redis_port(server));
    bus_add_script(test.bus, &broken);
    run_until(test.events[0]);
    assert_string_equal(test.events, "D");
    assert_non_null(strstr(test.reason, "script broken: ERR"));
    close_bus();
}

static void on_judged(void *arg, const struct bus_reply *reply)
{
    *(bool *)arg = bus_reply_not_run(reply);
    on_reply(NULL, reply);
}

static void test_which_errors_mean_not_run(void **state)
{
    static const struct {
        const char *error;
        bool not_run;
    } cases[] = {
        {"NOSCRIPT No matching script", true}, {"READONLY You can't write", true},
        {"LOADING Redis is loading", true},    {"MASTERDOWN Link with MASTER is down", true},
        {"OOM command not allowed", false},    {"ERR LOADING", false},
    };
    struct bus_script script = {.name = "error", .text = "return redis.error_reply(ARGV[1])"};

    (void)state;
    open_bus(redis_port(server));
    bus_add_script(test.bus, &script);
    run_until(bus_is_up(test.bus));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct slice argv[] = {slice_text(cases[i].error)};
        bool not_run = !cases[i].not_run;

        assert_int_equal(bus_eval(test.bus, &script, on_judged, &not_run, 0, 1, argv), 0);
        ask(1);
        assert_int_equal(not_run, cases[i].not_run);
        assert_int_equal(test.kind, BUS_ERROR);
        assert_string_equal(test.reply, cases[i].error);
    }
    close_bus();
}

static void test_redis_dies_and_comes_back(void **state)
{
    uint64_t client_id;

    (void)state;
    open_bus_up();
    client_id = bus_client_id(test.bus);
    assert_true(client_id > 0);
    say("BLPOP", "nothing", "0");
    say("PING");
    assert_int_equal(bus_command_text(test.bus, NULL, NULL, "PING", NULL), 0);
    assert_int_equal(eval_sum(), 0);
    redis_kill(server);
    run_until(strchr(test.events, 'D'));
    assert_string_equal(test.events, "---D");
    assert_non_null(strstr(test.reason, "Redis at 127.0.0.1:"));
    assert_false(bus_is_up(test.bus));
    assert_int_equal(bus_client_id(test.bus), 0);
    assert_int_equal(bus_command_text(test.bus, on_reply, NULL, "PING", NULL), -ENOTCONN);
    assert_int_equal(eval_sum(), -ENOTCONN);
    redis_again(server, NULL);
    run_until(bus_is_up(test.bus));
    memset(test.events, 0, sizeof(test.events));
    assert_int_equal(eval_sum(), 0);
    ask(1);
    assert_int_equal(test.integer, 42);
    assert_string_equal(test.events, "r");
    close_bus();
}

static void test_a_closed_connection_comes_back(void **state)
{
    (void)state;
    open_bus_up();
    say("QUIT");
    run_until(strchr(test.events, 'U'));
    assert_string_equal(test.events, "rDU");
    close_bus();
}

static void test_passwords(void **state)
{
    static const char *const arguments[] = {"--requirepass", "secret", "--user", "anna", "on",
                                            ">anna's",       "~*",     "+@all",  NULL};
    static const struct {
        const char *credentials;
        const char *refusal; /* NULL: it comes up */
    } cases[] = {
        {":secret@", NULL},
        {"default:secret@", NULL},
        {"anna:anna%27s@", NULL},
        {"", "NOAUTH"},
        {":wrong@", "AUTH: WRONGPASS"},
        {"anna:secret@", "AUTH: WRONGPASS"},
        {"nobody:secret@", "AUTH: WRONGPASS"},
    };
    struct redis *guarded = redis_start(arguments);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char url[128];

        snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d", cases[i].credentials,
                 redis_port(guarded));
        open_bus_at(url);
        run_until(strlen(test.events) == (cases[i].refusal ? 2 : 1));
        assert_string_equal(test.events, cases[i].refusal ? "DD" : "U");
        assert_int_equal(bus_is_refused(test.bus), cases[i].refusal != NULL);
        if (cases[i].refusal)
            assert_non_null(strstr(test.reason, cases[i].refusal));
        assert_null(strstr(test.reason, "secret"));
        close_bus();
    }
    redis_destroy(&guarded);
}

static void test_a_refused_port_is_named(void **state)
{
    char expected[64];
    int port = free_port();

    (void)state;
    snprintf(expected, sizeof(expected), "Redis at 127.0.0.1:%d: Connection refused", port);
    open_bus(port);
    run_until(strlen(test.events) == 3);
    assert_string_equal(test.events, "DDD");
    assert_string_equal(test.reason, expected);
    assert_false(bus_is_refused(test.bus));
    close_bus();
}

static void test_names(void **state)
{
    char url[64];

    (void)state;
    /* The server has no IPv6: whichever address is tried first, no attempt fails. */
    snprintf(url, sizeof(url), "redis://localhost:%d", redis_port(server));
    open_bus_at(url);
    run_until(test.events[0]);
    assert_string_equal(test.events, "U");
    close_bus();

    open_bus_at("redis://no-such-host.invalid:7000");
    run_until(test.events[0]);
    assert_string_equal(test.events, "D");
    assert_non_null(strstr(test.reason, "Redis at no-such-host.invalid:7000: "));
    close_bus();

    /* Closed while the name is being resolved. */
    open_bus_at("redis://no-such-host.invalid:7000");
    uv_run(&test.loop.loop, UV_RUN_NOWAIT);
    close_bus();
    assert_string_equal(test.events, "");
}

static int accepted(int listener)
{
    int fd = -1;

    run_until((fd = accept(listener, NULL, NULL)) >= 0);
    return fd;
}

/* Peers that take the connection and then do not speak Redis; each attempt fails once. */
static void test_strange_peers(void **state)
{
    static const struct {
        const char *says;
        bool reset;
        const char *reason;
    } cases[] = {
        {"", true, "onnection reset"},
        {"", false, "closed the connection"},
        {"HTTP/1.0 400 Bad Request\r\n\r\n", false, "Protocol error"},
        {"-ERR max number of clients reached\r\n", false, "max number of clients reached"},
        {"+OK\r\n:7\r\n", false, "closed the connection"},
        {"+OK\r\n:7\r\n$40\r\n0123", true, "onnection reset"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int port, listener = listen_somewhere(&port);
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        char greeting[1024];
        int fd;

        open_bus(port);
        fd = accepted(listener);
        run_until(recv(fd, greeting, sizeof(greeting), MSG_DONTWAIT) > 0);
        assert_int_equal(write(fd, cases[i].says, strlen(cases[i].says)), strlen(cases[i].says));
        if (cases[i].reset)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(fd);
        run_until(test.events[0]);
        assert_string_equal(test.events, "D");
        assert_non_null(strstr(test.reason, cases[i].reason));
        close_bus();
        close(listener);
    }
}

static void test_a_silent_peer_is_given_up(void **state)
{
    int port, listener = listen_somewhere(&port);
    uint64_t start = uv_hrtime();

    (void)state;
    open_bus(port);
    run_until(test.events[0]);
    assert_string_equal(test.events, "D");
    assert_non_null(strstr(test.reason, "no answer within 5 seconds"));
    assert_in_range((uv_hrtime() - start) / 1000000, 4900, 8000);
    close_bus();
    close(listener);
}

static void test_a_loading_redis_is_not_up(void **state)
{
    static const char *const slowly[] = {"--key-load-delay", "1000",
                                         "--loading-process-events-interval-bytes", "1024", NULL};
    struct redis *full = redis_start(NULL), *other = server;

    (void)state;
    server = full;
    open_bus_up();
    say("EVAL", "for i = 1, 1000 do redis.call('SET', i, string.rep('x', 64)) end", "0");
    say("SAVE");
    ask(2);
    close_bus();
    redis_kill(full);
    redis_again(full, slowly);
    open_bus(redis_port(full));
    run_until(test.events[0]);
    assert_string_equal(test.events, "D");
    assert_non_null(strstr(test.reason, "LOADING"));
    run_until(bus_is_up(test.bus));
    close_bus();
    redis_destroy(&full);
    server = other;
}

static void test_destroyed_in_a_reply(void **state)
{
    (void)state;
    open_bus_up();
    say("PING");
    say("PING");
    assert_int_equal(eval_sum(), 0);
    test.destroy = true;
    run_until(test.events[0]);
    assert_null(test.bus);
    assert_string_equal(test.events, "r--");
    close_bus();
    assert_string_equal(test.events, "r--");
}

static void test_destroyed_in_on_up(void **state)
{
    (void)state;
    open_bus(redis_port(server));
    test.destroy = true;
    run_until(test.events[0]);
    close_bus();
    assert_string_equal(test.events, "U");
}

static void test_destroyed_in_on_down(void **state)
{
    (void)state;
    open_bus(free_port());
    test.destroy = true;
    run_until(test.events[0]);
    close_bus();
    assert_string_equal(test.events, "D");
}

static void test_destroyed_in_a_lost_reply(void **state)
{
    (void)state;
    open_bus_up();
    say("BLPOP", "nothing", "0");
    say("PING");
    say("PING");
    uv_run(&test.loop.loop, UV_RUN_NOWAIT);
    test.destroy = true;
    redis_kill(server);
    run_until(test.events[0]);
    assert_string_equal(test.events, "---");
    close_bus();
    assert_string_equal(test.events, "---");
    redis_again(server, NULL);
}

static void on_reply_then_down(void *arg, const struct bus_reply *reply)
{
    on_reply(arg, reply);
    /* The bus is down while its callbacks run with NULL: nothing new gets in between. */
    assert_int_equal(bus_command_text(test.bus, on_reply, NULL, "PING", NULL), -ENOTCONN);
}

static void test_nothing_is_sent_from_a_lost_reply(void **state)
{
    (void)state;
    open_bus_up();
    assert_int_equal(
        bus_command_text(test.bus, on_reply_then_down, NULL, "BLPOP", "nothing", "0", NULL), 0);
    uv_run(&test.loop.loop, UV_RUN_NOWAIT);
    redis_kill(server);
    run_until(strchr(test.events, 'D'));
    assert_string_equal(test.events, "-D");
    close_bus();
    redis_again(server, NULL);
}

static void test_destroyed_with_commands_unsent(void **state)
{
    (void)state;
    open_bus_up();
    say("PING");
    say("PING");
    bus_destroy(&test.bus);
    assert_string_equal(test.events, "--");
    close_bus();
    assert_string_equal(test.events, "--");
}

static void test_destroyed_at_every_step(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        open_bus(redis_port(server));
        for (int i = 0; i < turns; i++)
            uv_run(&test.loop.loop, UV_RUN_NOWAIT);
        close_bus();
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    uv_prepare_stop(prepare);
    say("PING");
}

/* A command given just before the loop polls does not wait for something else to wake it. */
static void test_a_command_of_a_prepare_handle_is_sent(void **state)
{
    uv_prepare_t prepare;

    (void)state;
    open_bus_up();
    uv_timer_stop(&test.loop.wake); /* nothing else wakes it: this would hang */
    uv_prepare_init(&test.loop.loop, &prepare);
    uv_prepare_start(&prepare, on_prepare);
    ask(1);
    uv_close((uv_handle_t *)&prepare, NULL);
    close_bus();
}

/* ---- transactions ---- */

/* Commands of three words each. */
static int transact(const char *text)
{
    struct buffer commands = {0};
    char *copy = xmemdup0(text, strlen(text)), *rest = copy, *word;
    size_t count = 0;
    int result;

    for (; (word = strsep(&rest, " ")) != NULL; count++) {
        if (count % 3 == 0)
            command_begin(&commands, 3);
        command_word(&commands, slice_text(word));
    }
    result = bus_transaction(test.bus, on_reply, NULL, buffer_slice(&commands), count / 3);
    buffer_finish(&commands);
    free(copy);
    return result;
}

static void on_answers(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    assert_int_equal(bus_reply_count(reply), 3);
    assert_true(slice_is(bus_reply_text(bus_reply_at(reply, 0)), "OK"));
    assert_int_equal(bus_reply_kind(bus_reply_at(reply, 1)), BUS_ERROR);
    assert_int_equal(bus_reply_integer(bus_reply_at(reply, 2)), 2);
    test.replies++;
}

static void test_a_transaction_is_answered_once(void **state)
{
    struct buffer commands = {0};

    (void)state;
    open_bus_up();
    say("DEL", "t1");
    for (int i = 0; i < 3; i++) {
        command_begin(&commands, 3);
        command_word(&commands, slice_text((const char *[]){"SET", "LPUSH", "APPEND"}[i]));
        command_word(&commands, slice_text("t1"));
        command_word(&commands, slice_text("x"));
    }
    assert_int_equal(bus_transaction(test.bus, on_answers, NULL, buffer_slice(&commands), 3), 0);
    say("GET", "t1");
    ask(3);
    assert_string_equal(test.reply, "xx");
    assert_string_equal(test.events, "rr");
    buffer_finish(&commands);
    close_bus();
}

/* What is behind it gets its own answers. */
static void test_a_refused_transaction_does_nothing(void **state)
{
    (void)state;
    open_bus_up();
    say("DEL", "t1");
    ask(1);
    assert_int_equal(transact("SET t1 x NOSUCH t1 x NOSUCH t1 y"), 0);
    ask(1);
    assert_int_equal(test.kind, BUS_ERROR);
    assert_non_null(strstr(test.reply, "unknown command"));
    say("EXISTS", "t1");
    ask(1);
    assert_int_equal(test.kind, BUS_INTEGER);
    assert_int_equal(test.integer, 0);
    assert_string_equal(test.events, "rrr");
    close_bus();
}

static void test_a_watched_key_that_changed_ends_a_transaction(void **state)
{
    (void)state;
    open_bus_up();
    say("WATCH", "t2");
    say("SET", "t2", "x");
    ask(2);
    assert_int_equal(transact("SET t1 x SET t2 y"), 0);
    ask(1);
    assert_int_equal(test.kind, BUS_NIL);
    say("GET", "t2");
    ask(1);
    assert_string_equal(test.reply, "x");
    close_bus();
}

static void test_destroyed_in_the_refusal_of_a_transaction(void **state)
{
    (void)state;
    open_bus_up();
    assert_int_equal(transact("NOSUCH t1 x SET t1 x"), 0);
    say("PING");
    test.destroy = true;
    run_until(test.events[0]);
    assert_string_equal(test.events, "r-");
    close_bus();
    assert_string_equal(test.events, "r-");
}

static void test_a_transaction_that_is_lost_is_told_once(void **state)
{
    (void)state;
    assert_int_equal(bus_transaction(NULL, on_reply, NULL, slice_text("x"), 1), -ENOTCONN);
    open_bus_up();
    assert_int_equal(transact("SET t1 x SET t2 y"), 0);
    bus_destroy(&test.bus);
    assert_string_equal(test.events, "-");
    close_bus();
}

static int set_up(void **state)
{
    (void)state;
    server = redis_start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_destroy(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_reply_reads_as_nothing),
        cmocka_unit_test(test_no_bus_is_down),
        cmocka_unit_test(test_kinds_of_replies),
        cmocka_unit_test(test_fields_of_a_stream_entry),
        cmocka_unit_test(test_a_thousand_commands_are_answered_in_order),
        cmocka_unit_test(test_a_body_larger_than_the_socket_takes),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_a_forgotten_script_is_loaded_again),
        cmocka_unit_test(test_a_broken_script_is_named),
        cmocka_unit_test(test_which_errors_mean_not_run),
        cmocka_unit_test(test_redis_dies_and_comes_back),
        cmocka_unit_test(test_a_closed_connection_comes_back),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_a_refused_port_is_named),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strange_peers),
        cmocka_unit_test(test_a_silent_peer_is_given_up),
        cmocka_unit_test(test_a_loading_redis_is_not_up),
        cmocka_unit_test(test_destroyed_in_a_reply),
        cmocka_unit_test(test_destroyed_in_on_up),
        cmocka_unit_test(test_destroyed_in_on_down),
        cmocka_unit_test(test_destroyed_in_a_lost_reply),
        cmocka_unit_test(test_nothing_is_sent_from_a_lost_reply),
        cmocka_unit_test(test_destroyed_with_commands_unsent),
        cmocka_unit_test(test_destroyed_at_every_step),
        cmocka_unit_test(test_a_command_of_a_prepare_handle_is_sent),
        cmocka_unit_test(test_a_transaction_is_answered_once),
        cmocka_unit_test(test_a_refused_transaction_does_nothing),
        cmocka_unit_test(test_a_watched_key_that_changed_ends_a_transaction),
        cmocka_unit_test(test_destroyed_in_the_refusal_of_a_transaction),
        cmocka_unit_test(test_a_transaction_that_is_lost_is_told_once),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
