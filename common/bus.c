#include "common/bus.h"

#include "common/buffer.h"
#include "common/command.h"
#include "common/log.h"
#include "common/uid.h"
#include "common/xalloc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ATTEMPT_TIMEOUT_MS 5000
#define BACKOFF_FIRST_MS 50
#define BACKOFF_DOUBLINGS 6
#define BACKOFF_MAX_MS 2000
/* A peer that vanished without a word is noticed after this, whether or not bytes were under way.
 */
#define PEER_TIMEOUT_MS 15000
#define KEEPALIVE_IDLE_S 5
#define KEEPALIVE_INTERVAL_S 3
/* Memory kept between commands, and by hiredis between replies. */
#define FORMAT_KEEP (64 * 1024)
#define READER_KEEP (1024 * 1024)

enum bus_state {
    BUS_STATE_WAITING, /* the timer begins the next attempt */
    BUS_STATE_RESOLVING,
    BUS_STATE_CONNECTING, /* up to the last answer to the greeting */
    BUS_STATE_UP,
    BUS_STATE_CLOSED,
};

static const char *const state_names[] = {"waiting", "resolving", "connecting", "up", "closed"};

/* A command in flight. Replies come in the order of commands, so a queue of these is all there is.
 */
struct bus_command {
    bus_reply_fn *callback;
    void *arg;
    struct bus_load *load; /* of EVALSHA: what to load again after NOSCRIPT */
    size_t queued;         /* answers of a transaction that come before EXEC's */
};

/* A script as this bus loads it. */
struct bus_load {
    struct bus *bus;
    struct bus_script *script;
    bool under_way;
    struct bus_load *next;
};

/* One connection. It outlives its bus for as long as hiredis and libuv hold on to it. */
struct bus_link {
    struct bus *bus;            /* NULL when given up */
    redisAsyncContext *context; /* NULL when hiredis has freed it */
    uv_poll_t poll;
    uv_idle_t flush; /* active when a command waits to be written */
    int events;      /* what poll asks for */
    bool writing;
    int handles; /* not closed yet */
};

/* A name being resolved; libuv's thread may finish after the bus is gone. */
struct bus_resolution {
    uv_getaddrinfo_t request;
    struct bus *bus; /* NULL when given up */
};

struct bus {
    uv_loop_t *loop;
    struct bus_options options;
    struct bus_address address;
    char *client_name;
    enum bus_state state;
    uv_timer_t timer; /* the next attempt, or the end of the present one */
    unsigned failures;
    bool refused; /* the last attempt, by Redis itself, and the next one will be */
    struct bus_resolution *resolution;
    struct addrinfo *addresses;
    const struct addrinfo *candidate; /* the one of them being tried */
    struct bus_link *link;
    uint64_t client_id;
    struct bus_load *loads;
    struct bus_command *commands; /* a ring of command_capacity, a power of two */
    size_t command_first, command_count, command_capacity;
    struct buffer format;
};

static void bus_lost(struct bus *, const char *cause, bool reached);

static void bus_set_state(struct bus *bus, enum bus_state state)
{
    if (bus->state != state)
        log_debug("bus %s: %s -> %s", bus->client_name, state_names[bus->state],
                  state_names[state]);
    bus->state = state;
}

/* ---- commands in flight ---- */

static void command_push(struct bus *bus, struct bus_command command)
{
    if (bus->command_count == bus->command_capacity) {
        size_t old = bus->command_capacity;

        bus->command_capacity = old ? old * 2 : 64;
        bus->commands = xrealloc(bus->commands, bus->command_capacity * sizeof(*bus->commands));
        /* What had wrapped around stands behind the old end now. */
        if (old)
            memcpy(bus->commands + old, bus->commands, bus->command_first * sizeof(*bus->commands));
    }
    bus->commands[(bus->command_first + bus->command_count++) & (bus->command_capacity - 1)] =
        command;
}

static struct bus_command command_pop(struct bus *bus)
{
    struct bus_command command = bus->commands[bus->command_first];

    bus->command_first = (bus->command_first + 1) & (bus->command_capacity - 1);
    bus->command_count--;
    return command;
}

/* A callback may destroy the bus, which drains the rest from inside: the count is read each time.
 */
static void commands_fail(struct bus *bus)
{
    while (bus->command_count) {
        struct bus_command command = command_pop(bus);

        if (command.callback)
            command.callback(command.arg, NULL);
    }
}

/* ---- sending ---- */

static void format_begin(struct bus *bus, size_t argc)
{
    buffer_reset(&bus->format, FORMAT_KEEP);
    command_begin(&bus->format, argc);
}

static void format_argument(struct bus *bus, struct slice argument)
{
    command_word(&bus->format, argument);
}

static void format_words(struct bus *bus, va_list words)
{
    const char *word;
    va_list counted;
    size_t argc = 0;

    va_copy(counted, words);
    while (va_arg(counted, const char *) != NULL)
        argc++;
    va_end(counted);
    format_begin(bus, argc);
    while ((word = va_arg(words, const char *)) != NULL)
        format_argument(bus, slice_text(word));
}

static redisCallbackFn on_reply;

/* Nothing is called from here: hiredis copies the bytes, link_add_write sees to the rest. hiredis
 * looks one byte behind a command of one word. */
static int link_send(struct bus_link *link, struct slice command)
{
    return redisAsyncFormattedCommand(link->context, on_reply, link, command.data,
                                      command.length) == REDIS_OK
               ? 0
               : -ENOTCONN;
}

/* Sends what was formatted. */
static int bus_send(struct bus *bus, struct bus_command command)
{
    *buffer_reserve(&bus->format, 1) = '\0';
    if (link_send(bus->link, buffer_slice(&bus->format)) < 0)
        return -ENOTCONN;
    command_push(bus, command);
    return 0;
}

int bus_command(struct bus *bus, bus_reply_fn *callback, void *arg, size_t argc,
                const struct slice *argv)
{
    assert(argc > 0);
    if (!bus_is_up(bus))
        return -ENOTCONN;
    format_begin(bus, argc);
    for (size_t i = 0; i < argc; i++)
        format_argument(bus, argv[i]);
    return bus_send(bus, (struct bus_command){.callback = callback, .arg = arg});
}

int bus_command_text(struct bus *bus, bus_reply_fn *callback, void *arg, ...)
{
    va_list words;

    if (!bus_is_up(bus))
        return -ENOTCONN;
    va_start(words, arg);
    format_words(bus, words);
    va_end(words);
    return bus_send(bus, (struct bus_command){.callback = callback, .arg = arg});
}

static struct bus_load *load_find(const struct bus *bus, const struct bus_script *script)
{
    struct bus_load *load = bus->loads;

    while (load && load->script != script)
        load = load->next;
    return load;
}

int bus_eval(struct bus *bus, struct bus_script *script, bus_reply_fn *callback, void *arg,
             size_t key_count, size_t argc, const struct slice *argv)
{
    struct bus_load *load;
    char keys[24];

    if (!bus_is_up(bus))
        return -ENOTCONN;
    load = load_find(bus, script);
    assert(key_count <= argc && load != NULL);
    snprintf(keys, sizeof(keys), "%zu", key_count);
    format_begin(bus, argc + 3);
    format_argument(bus, slice_text("EVALSHA"));
    format_argument(bus, slice_text(script->sha));
    format_argument(bus, slice_text(keys));
    for (size_t i = 0; i < argc; i++)
        format_argument(bus, argv[i]);
    return bus_send(bus, (struct bus_command){.callback = callback, .arg = arg, .load = load});
}

/*
 * The bytes go to hiredis in three pieces. For each answer beyond theirs it gets a command of no
 * bytes, so that it has a callback for it. It refuses on a connection that is going, and on no
 * other: the first piece tells.
 */
int bus_transaction(struct bus *bus, bus_reply_fn *callback, void *arg, struct slice commands,
                    size_t count)
{
    const struct slice multi = slice_text("*1\r\n$5\r\nMULTI\r\n");
    const struct slice exec = slice_text("*1\r\n$4\r\nEXEC\r\n");

    assert(count > 0);
    if (!bus_is_up(bus) || link_send(bus->link, multi) < 0)
        return -ENOTCONN;
    (void)link_send(bus->link, commands);
    for (size_t i = 1; i < count; i++)
        (void)link_send(bus->link, slice_of(exec.data, 0));
    (void)link_send(bus->link, exec);
    command_push(bus, (struct bus_command){.callback = callback, .arg = arg, .queued = count + 1});
    return 0;
}

/* ---- one connection: hiredis on libuv ---- */

static void on_link_handle_closed(uv_handle_t *handle)
{
    struct bus_link *link = handle->data;

    if (--link->handles == 0)
        free(link);
}

static void on_poll(uv_poll_t *, int status, int events);

/* uv_poll_start costs two system calls, and hiredis asks for reading after every read. */
static void link_set_events(struct bus_link *link, int events)
{
    if (link->events == events)
        return;
    link->events = events;
    if (events)
        uv_poll_start(&link->poll, events, on_poll);
    else
        uv_poll_stop(&link->poll);
}

static void link_add_read(void *data)
{
    struct bus_link *link = data;

    link_set_events(link, link->events | UV_READABLE);
}

static void link_del_read(void *data)
{
    struct bus_link *link = data;

    link_set_events(link, link->events & ~UV_READABLE);
}

static void link_write(struct bus_link *link)
{
    link->writing = true;
    redisAsyncHandleWrite(link->context);
    link->writing = false;
}

static void on_flush(uv_idle_t *idle)
{
    struct bus_link *link = idle->data;

    uv_idle_stop(idle);
    link_write(link);
}

/*
 * The socket is nearly always writable, so commands are written without asking: once before the
 * loop polls again, everything that was gathered since. An active idle handle also keeps that poll
 * from waiting. Only before the connection stands, and when the socket did not take all, poll for
 * it.
 */
static void link_add_write(void *data)
{
    struct bus_link *link = data;

    if (link->events & UV_WRITABLE)
        return;
    if (link->writing || !(link->context->c.flags & REDIS_CONNECTED))
        link_set_events(link, link->events | UV_WRITABLE);
    else
        uv_idle_start(&link->flush, on_flush);
}

static void link_del_write(void *data)
{
    struct bus_link *link = data;

    uv_idle_stop(&link->flush);
    link_set_events(link, link->events & ~UV_WRITABLE);
}

/* Ends a connection without a word to its bus. hiredis frees the context now, or when its callback
 * has returned. */
static void link_give_up(struct bus_link *link)
{
    link->bus->link = NULL;
    link->bus = NULL;
    redisAsyncFree(link->context);
}

/* hiredis calls this once for each context, whichever way it ends. */
static void link_cleanup(void *data)
{
    struct bus_link *link = data;
    struct bus *bus = link->bus;
    const redisContext *c = &link->context->c;
    char cause[sizeof(c->errstr)];
    bool reached = c->flags & REDIS_CONNECTED;

    snprintf(cause, sizeof(cause), "%s", c->err ? c->errstr : "connection closed");
    link->context = NULL;
    link->bus = NULL;
    uv_close((uv_handle_t *)&link->poll, on_link_handle_closed);
    uv_close((uv_handle_t *)&link->flush, on_link_handle_closed);
    if (bus == NULL)
        return;
    bus->link = NULL;
    bus_lost(bus, cause, reached);
}

static void bus_fail(struct bus *bus, const char *cause)
{
    bool reached = bus->link->context->c.flags & REDIS_CONNECTED;

    link_give_up(bus->link);
    bus_lost(bus, cause, reached);
}

static int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return errno;
    return error;
}

/*
 * libuv has stopped the handle: this connection is over, whatever hiredis finds. Mostly it finds
 * the error; where bytes came before it, it reads these.
 */
static void on_poll_error(struct bus_link *link, int status)
{
    int error;

    link->events = 0;
    redisAsyncHandleRead(link->context);
    if (link->context == NULL)
        return;
    error = socket_error(link->context->c.fd);
    bus_fail(link->bus, error ? strerror(error) : uv_strerror(status));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct bus_link *link = poll->data;

    if (status < 0) {
        on_poll_error(link, status);
        return;
    }
    if (events & UV_READABLE)
        redisAsyncHandleRead(link->context);
    if ((events & UV_WRITABLE) && link->context)
        link_write(link);
}

static void socket_set(int fd, int level, int option, int value)
{
    /* Each of these is a help only: where the system has it not, the connection works all the same.
     */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void socket_prepare(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, PEER_TIMEOUT_MS);
}

/* Puts the context on the loop. It owns nothing of ours until its hooks are set. */
static int link_attach(struct bus *bus, redisAsyncContext *context)
{
    struct bus_link *link = xcalloc(1, sizeof(*link));
    int error = uv_poll_init(bus->loop, &link->poll, context->c.fd);

    if (error < 0) {
        free(link);
        return error;
    }
    uv_idle_init(bus->loop, &link->flush);
    link->bus = bus;
    link->context = context;
    link->handles = 2;
    link->poll.data = link->flush.data = link;
    context->ev.data = link;
    context->ev.addRead = link_add_read;
    context->ev.delRead = link_del_read;
    context->ev.addWrite = link_add_write;
    context->ev.delWrite = link_del_write;
    context->ev.cleanup = link_cleanup;
    context->c.reader->maxbuf = READER_KEEP;
    bus->link = link;
    return 0;
}

/* ---- replies ---- */

static void load_send(struct bus *, struct bus_load *);

/* One of a transaction is in Redis' queue, or is refused: then EXEC will say only that. The
 * callback may push commands, and the ring may move. */
static void on_queued(struct bus_command *command, const struct bus_reply *reply)
{
    struct bus_command told = *command;

    command->queued--;
    if (bus_reply_kind(reply) != BUS_ERROR)
        return;
    command->callback = NULL;
    if (told.callback)
        told.callback(told.arg, reply);
}

static void on_reply(redisAsyncContext *context, void *data, void *link_data)
{
    const struct bus_reply *reply = data;
    struct bus_link *link = link_data;
    struct bus *bus = link->bus;
    struct bus_command command;

    (void)context;
    /* Of a connection that is going: bus_lost or bus_destroy runs the callbacks. */
    if (bus == NULL || reply == NULL)
        return;
    if (bus->commands[bus->command_first].queued) {
        on_queued(&bus->commands[bus->command_first], reply);
        return;
    }
    command = command_pop(bus);
    if (command.load && bus_reply_kind(reply) == BUS_ERROR &&
        strncmp(bus_reply_text(reply).data, "NOSCRIPT", 8) == 0)
        load_send(bus, command.load);
    if (command.callback)
        command.callback(command.arg, reply);
}

/* ---- the greeting ---- */

/* "max number of clients", LOADING and the like pass; what is set wrongly does not. */
static bool is_refusal(const char *error)
{
    static const char *const words[] = {"NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "ERR AUTH "};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncmp(error, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* Returns true when the answer is no error. While greeting, an error ends the attempt. */
static bool greeting_accepted(struct bus *bus, const char *what, const struct bus_reply *reply)
{
    char cause[256];

    if (bus_reply_kind(reply) != BUS_ERROR)
        return reply != NULL;
    if (bus->state == BUS_STATE_CONNECTING) {
        snprintf(cause, sizeof(cause), "%s: %s", what, bus_reply_text(reply).data);
        bus->refused = is_refusal(bus_reply_text(reply).data);
        bus_fail(bus, cause);
    }
    return false;
}

static void on_authenticated(void *arg, const struct bus_reply *reply)
{
    greeting_accepted(arg, "AUTH", reply);
}

static void on_named(void *arg, const struct bus_reply *reply)
{
    greeting_accepted(arg, "CLIENT SETNAME", reply);
}

static void on_client_id(void *arg, const struct bus_reply *reply)
{
    struct bus *bus = arg;

    if (greeting_accepted(bus, "CLIENT ID", reply))
        bus->client_id = (uint64_t)bus_reply_integer(reply);
}

static void on_loaded(void *arg, const struct bus_reply *reply)
{
    struct bus_load *load = arg;
    char what[64];

    load->under_way = false;
    snprintf(what, sizeof(what), "script %s", load->script->name);
    if (greeting_accepted(load->bus, what, reply))
        snprintf(load->script->sha, sizeof(load->script->sha), "%s", bus_reply_text(reply).data);
}

/* The last of the greeting: unlike the others it is refused while Redis loads its data. */
static void on_greeted(void *arg, const struct bus_reply *reply)
{
    struct bus *bus = arg;

    if (!greeting_accepted(bus, "PING", reply))
        return;
    uv_timer_stop(&bus->timer);
    bus->failures = 0;
    bus_set_state(bus, BUS_STATE_UP);
    bus->options.on_up(bus->options.arg);
}

/* Like bus_command_text, for commands of our own: a context that was just made takes them all. */
__attribute__((sentinel)) static void send_words(struct bus *bus, bus_reply_fn *callback, void *arg,
                                                 ...)
{
    va_list words;
    int result;

    va_start(words, arg);
    format_words(bus, words);
    va_end(words);
    result = bus_send(bus, (struct bus_command){.callback = callback, .arg = arg});
    assert(result == 0);
    (void)result;
}

static void load_send(struct bus *bus, struct bus_load *load)
{
    if (load->under_way)
        return;
    load->under_way = true;
    send_words(bus, on_loaded, load, "SCRIPT", "LOAD", load->script->text, NULL);
}

/* Written when the connection stands: one round trip for all of it. */
static void greeting_send(struct bus *bus)
{
    const struct bus_address *address = &bus->address;

    if (address->user[0])
        send_words(bus, on_authenticated, bus, "AUTH", address->user, address->password, NULL);
    else if (address->password[0])
        send_words(bus, on_authenticated, bus, "AUTH", address->password, NULL);
    send_words(bus, on_named, bus, "CLIENT", "SETNAME", bus->client_name, NULL);
    send_words(bus, on_client_id, bus, "CLIENT", "ID", NULL);
    for (struct bus_load *load = bus->loads; load; load = load->next)
        load_send(bus, load);
    send_words(bus, on_greeted, bus, "PING", NULL);
}

/* ---- attempts ---- */

static void on_timer(uv_timer_t *);

static void addresses_forget(struct bus *bus)
{
    if (bus->addresses)
        uv_freeaddrinfo(bus->addresses);
    bus->addresses = NULL;
    bus->candidate = NULL;
}

static void bus_wait(struct bus *bus, uint64_t delay_ms)
{
    bus_set_state(bus, BUS_STATE_WAITING);
    uv_timer_start(&bus->timer, on_timer, delay_ms, 0);
}

/* Half of it is jitter, so that processes that lost Redis together do not come back together. */
static uint64_t backoff_ms(struct bus *bus)
{
    uint64_t delay = BACKOFF_MAX_MS;

    if (bus->failures < BACKOFF_DOUBLINGS)
        delay = (uint64_t)BACKOFF_FIRST_MS << bus->failures++;
    return delay / 2 + uid_random64() % (delay / 2 + 1);
}

/* The connection or the attempt is over; reached: its TCP connection had come about. */
static void bus_lost(struct bus *bus, const char *cause, bool reached)
{
    bool v6 = strchr(bus->address.host, ':') != NULL;
    char reason[1024];

    snprintf(reason, sizeof(reason), "Redis at %s%s%s:%d: %s", v6 ? "[" : "", bus->address.host,
             v6 ? "]" : "", bus->address.port, cause);
    bus->client_id = 0;
    if (!reached && bus->candidate && bus->candidate->ai_next) {
        bus->candidate = bus->candidate->ai_next;
        bus_wait(bus, 0);
        commands_fail(bus); /* the greeting's */
        return;
    }
    addresses_forget(bus);
    bus_wait(bus, backoff_ms(bus));
    commands_fail(bus);
    if (bus->state != BUS_STATE_CLOSED)
        bus->options.on_down(bus->options.arg, reason);
}

static void bus_connect(struct bus *bus)
{
    redisAsyncContext *context;
    char host[NI_MAXHOST];
    char cause[128];
    int error;

    bus->refused = false;
    error = getnameinfo(bus->candidate->ai_addr, bus->candidate->ai_addrlen, host, sizeof(host),
                        NULL, 0, NI_NUMERICHOST);
    if (error) {
        bus_lost(bus, gai_strerror(error), false);
        return;
    }
    bus_set_state(bus, BUS_STATE_CONNECTING);
    uv_timer_start(&bus->timer, on_timer, ATTEMPT_TIMEOUT_MS, 0);
    context = redisAsyncConnect(host, bus->address.port);
    if (context == NULL) {
        bus_lost(bus, strerror(ENOMEM), false);
        return;
    }
    if (context->err == 0) {
        socket_prepare(context->c.fd);
        error = link_attach(bus, context);
        if (error == 0) {
            greeting_send(bus);
            return;
        }
    }
    snprintf(cause, sizeof(cause), "%s", context->err ? context->errstr : uv_strerror(error));
    redisAsyncFree(context);
    bus_lost(bus, cause, false);
}

static void bus_resolved(struct bus *bus, struct addrinfo *addresses)
{
    bus->addresses = addresses;
    bus->candidate = addresses;
    bus_connect(bus);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct bus_resolution *resolution = request->data;
    struct bus *bus = resolution->bus;

    free(resolution);
    if (bus == NULL) {
        uv_freeaddrinfo(addresses);
        return;
    }
    bus->resolution = NULL;
    if (status < 0)
        bus_lost(bus, uv_strerror(status), false);
    else
        bus_resolved(bus, addresses);
}

static void bus_resolve(struct bus *bus)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *addresses;
    int error;

    /* A number needs no thread, whose pool may be busy with passwords. */
    if (getaddrinfo(bus->address.host, NULL, &hints, &addresses) == 0) {
        bus_resolved(bus, addresses);
        return;
    }
    hints.ai_flags = 0;
    bus->resolution = xcalloc(1, sizeof(*bus->resolution));
    bus->resolution->bus = bus;
    bus->resolution->request.data = bus->resolution;
    bus_set_state(bus, BUS_STATE_RESOLVING);
    uv_timer_start(&bus->timer, on_timer, ATTEMPT_TIMEOUT_MS, 0);
    error = uv_getaddrinfo(bus->loop, &bus->resolution->request, on_resolved, bus->address.host,
                           NULL, &hints);
    if (error < 0) {
        free(bus->resolution);
        bus->resolution = NULL;
        bus_lost(bus, uv_strerror(error), false);
    }
}

static void resolution_give_up(struct bus *bus)
{
    if (bus->resolution == NULL)
        return;
    bus->resolution->bus = NULL;
    uv_cancel((uv_req_t *)&bus->resolution->request);
    bus->resolution = NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct bus *bus = timer->data;

    if (bus->state == BUS_STATE_CONNECTING) {
        bus_fail(bus, "no answer within 5 seconds");
    } else if (bus->state == BUS_STATE_RESOLVING) {
        resolution_give_up(bus);
        bus_lost(bus, "name not resolved within 5 seconds", false);
    } else if (bus->candidate) {
        bus_connect(bus);
    } else {
        bus_resolve(bus);
    }
}

/* ---- the bus ---- */

struct bus *bus_create(uv_loop_t *loop, const struct bus_options *options)
{
    struct bus *bus = xcalloc(1, sizeof(*bus));

    bus->loop = loop;
    bus->options = *options;
    bus->address = *options->address;
    bus->client_name = xstrdup(options->client_name);
    uv_timer_init(loop, &bus->timer);
    bus->timer.data = bus;
    bus_wait(bus, 0);
    return bus;
}

/* libuv calls this from its loop, so nothing of the bus is on the stack any more. */
static void on_bus_closed(uv_handle_t *handle)
{
    struct bus *bus = handle->data;

    while (bus->loads) {
        struct bus_load *load = bus->loads;

        bus->loads = load->next;
        free(load);
    }
    free(bus->commands);
    free(bus->client_name);
    buffer_finish(&bus->format);
    free(bus);
}

void bus_destroy(struct bus **pointer)
{
    struct bus *bus = *pointer;

    if (bus == NULL)
        return;
    *pointer = NULL;
    bus_set_state(bus, BUS_STATE_CLOSED);
    if (bus->link)
        link_give_up(bus->link);
    resolution_give_up(bus);
    addresses_forget(bus);
    uv_close((uv_handle_t *)&bus->timer, on_bus_closed);
    commands_fail(bus);
}

bool bus_is_up(const struct bus *bus)
{
    return bus && bus->state == BUS_STATE_UP;
}

bool bus_is_refused(const struct bus *bus)
{
    return bus->refused;
}

uint64_t bus_client_id(const struct bus *bus)
{
    return bus_is_up(bus) ? bus->client_id : 0;
}

void bus_add_script(struct bus *bus, struct bus_script *script)
{
    struct bus_load *load;

    if (load_find(bus, script))
        return;
    load = xcalloc(1, sizeof(*load));
    *load = (struct bus_load){.bus = bus, .script = script, .next = bus->loads};
    bus->loads = load;
}

/* ---- reading replies ---- */

static const redisReply *reply_of(const struct bus_reply *reply)
{
    return (const redisReply *)reply;
}

enum bus_reply_kind bus_reply_kind(const struct bus_reply *reply)
{
    static const enum bus_reply_kind kinds[] = {
        [REDIS_REPLY_STRING] = BUS_TEXT,     [REDIS_REPLY_ARRAY] = BUS_ARRAY,
        [REDIS_REPLY_INTEGER] = BUS_INTEGER, [REDIS_REPLY_NIL] = BUS_NIL,
        [REDIS_REPLY_STATUS] = BUS_STATUS,   [REDIS_REPLY_ERROR] = BUS_ERROR,
    };

    if (reply == NULL || (size_t)reply_of(reply)->type >= sizeof(kinds) / sizeof(kinds[0]))
        return BUS_NONE;
    return kinds[reply_of(reply)->type];
}

int64_t bus_reply_integer(const struct bus_reply *reply)
{
    return bus_reply_kind(reply) == BUS_INTEGER ? reply_of(reply)->integer : 0;
}

struct slice bus_reply_text(const struct bus_reply *reply)
{
    enum bus_reply_kind kind = bus_reply_kind(reply);

    if (kind != BUS_TEXT && kind != BUS_STATUS && kind != BUS_ERROR)
        return slice_of(NULL, 0);
    return slice_of(reply_of(reply)->str, reply_of(reply)->len);
}

size_t bus_reply_count(const struct bus_reply *reply)
{
    return bus_reply_kind(reply) == BUS_ARRAY ? reply_of(reply)->elements : 0;
}

const struct bus_reply *bus_reply_at(const struct bus_reply *reply, size_t index)
{
    if (index >= bus_reply_count(reply))
        return NULL;
    return (const struct bus_reply *)reply_of(reply)->element[index];
}

const struct bus_reply *bus_reply_field(const struct bus_reply *reply, const char *field)
{
    for (size_t i = 0; i + 1 < bus_reply_count(reply); i += 2)
        if (slice_is(bus_reply_text(bus_reply_at(reply, i)), field))
            return bus_reply_at(reply, i + 1);
    return NULL;
}

bool bus_reply_not_run(const struct bus_reply *reply)
{
    static const char *const words[] = {"NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN"};

    if (bus_reply_kind(reply) != BUS_ERROR)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncmp(reply_of(reply)->str, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}
