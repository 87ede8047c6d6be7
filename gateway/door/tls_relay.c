#include "gateway/door/tls_relay.h"

#include "common/client_address.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/gateway.h"
#include "gateway/door/peer.h"
#include "gateway/door/tcp.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWEEP_MS 250
/* Bytes at a time: what a TLS record has. */
#define PIECE 16384
/* Of one direction in one turn of the loop; the others come first then. */
#define TURN_PIECES 16
/* What the gateway writes waits in the pair; the rest in the session's queue, where it is counted.
 * The kernel doubles it. */
#define PAIR_BYTES (64 << 10)
/* The gateway's end is closed: for the rest to go out, and for the client's end. */
#define ENDING_MS 5000

enum relay_state {
    RELAY_HANDSHAKE,
    RELAY_OPEN,
    RELAY_ENDING, /* the gateway writes no more: what there is goes out, then our end */
    RELAY_ENDED,  /* it has: waits for the client's end */
    RELAY_GONE,   /* no client any more: waits for the gateway to close its end of the pair */
};

struct tls_relay {
    struct tls_relays *relays;
    TAILQ_ENTRY(tls_relay) entry;
    enum relay_state state;
    char address[CLIENT_ADDRESS_SIZE];
    uint64_t deadline_ms; /* 0: none */
    SSL *ssl;
    int outer; /* the client's TCP; -1: closed */
    int inner; /* our end of the pair; -1: none yet */
    int other; /* the number of the gateway's end */
    uv_poll_t outer_poll, inner_poll;
    int references;     /* its own, and one for each handle of the loop */
    struct buffer down; /* read from the pair, not taken by OpenSSL */
    struct buffer up;   /* read from the client, not taken by the pair */
    bool up_ended;      /* the client writes no more */
    bool up_refused;    /* the gateway reads no more */
    bool wants_write;   /* OpenSSL waits for the socket to take something */
    uint64_t received;  /* bytes that were ever read from the pair */
    uint64_t lost;      /* of them, in the socket or on the way to it when that broke */
};

TAILQ_HEAD(relay_list, tls_relay);

struct tls_relays {
    struct tls_relays_options options;
    struct relay_list timed, others; /* those with a deadline, and the rest */
    size_t count;
    uv_timer_t *sweep;
};

/* One piece on its way: nothing of it stays here. */
static char piece[PIECE];

static void on_outer(uv_poll_t *, int status, int events);
static void on_inner(uv_poll_t *, int status, int events);

/* ---- what is known of the client's TCP ---------------------------------------------------------
 */

static uint64_t waiting_in_pair(const struct tls_relay *relay)
{
    int bytes = 0;

    return ioctl(relay->inner, FIONREAD, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

/* What TLS adds counts too: that errs on the safe side, until it is acknowledged. */
static uint64_t unacknowledged(void *arg)
{
    const struct tls_relay *relay = arg;
    uint64_t in_socket = relay->outer >= 0 ? tcp_unacknowledged(relay->outer) : 0;

    if (in_socket == UINT64_MAX)
        return UINT64_MAX;
    return waiting_in_pair(relay) + relay->down.length + in_socket + relay->lost;
}

static uint64_t written(void *arg)
{
    const struct tls_relay *relay = arg;

    return relay->received + waiting_in_pair(relay);
}

static uint64_t progress(void *arg)
{
    const struct tls_relay *relay = arg;

    return relay->outer >= 0 ? tcp_look(relay->outer).acknowledged : 0;
}

static uint64_t silence_ms(void *arg)
{
    const struct tls_relay *relay = arg;

    return relay->outer >= 0 ? tcp_look(relay->outer).silence_ms : 0;
}

static void cut(void *arg);

static const struct peer_relay peer_functions = {
    .unacknowledged = unacknowledged,
    .written = written,
    .progress = progress,
    .silence_ms = silence_ms,
    .cut = cut,
};

/* ---- ends --------------------------------------------------------------------------------------
 */

static struct relay_list *list_of(struct tls_relay *relay)
{
    return relay->deadline_ms ? &relay->relays->timed : &relay->relays->others;
}

static void set_deadline(struct tls_relay *relay, uint64_t after_ms)
{
    struct tls_relays *relays = relay->relays;

    TAILQ_REMOVE(list_of(relay), relay, entry);
    relay->deadline_ms = after_ms ? uv_now(relays->options.loop) + after_ms : 0;
    TAILQ_INSERT_TAIL(list_of(relay), relay, entry);
}

static void release(struct tls_relay *relay)
{
    if (--relay->references > 0)
        return;
    buffer_finish(&relay->down);
    buffer_finish(&relay->up);
    free(relay);
}

static void on_handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* In one go: libuv lets go of a handle's descriptor when that is closed, by its number, which may
 * be another connection's in the next turn. */
static void close_both(uv_poll_t *poll, int *descriptor)
{
    uv_close((uv_handle_t *)poll, on_handle_closed);
    close(*descriptor);
    *descriptor = -1;
}

/* Ends the TCP connection; with_reset: what the client has not taken is discarded. */
static void close_outer(struct tls_relay *relay, bool with_reset)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (relay->outer < 0)
        return;
    if (with_reset)
        setsockopt(relay->outer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    SSL_free(relay->ssl);
    relay->ssl = NULL;
    close_both(&relay->outer_poll, &relay->outer);
}

static void destroy(struct tls_relay *relay)
{
    close_outer(relay, relay->down.length > 0);
    TAILQ_REMOVE(list_of(relay), relay, entry);
    relay->relays->count--;
    if (relay->inner >= 0) {
        peer_forget_relay(relay->other, relay);
        close_both(&relay->inner_poll, &relay->inner);
    }
    release(relay);
}

/* What waits in the pair goes to nobody. libwebsockets waits for room to write before it believes
 * in an end. */
static void drain_pair(struct tls_relay *relay)
{
    ssize_t length;

    while ((length = recv(relay->inner, piece, sizeof(piece), 0)) > 0) {
        relay->received += (uint64_t)length;
        relay->lost += (uint64_t)length;
    }
}

/* The client is gone. The gateway reads the end, asks what was taken, and closes; until then the
 * figures stay. A closed end of the pair cannot be told from one that only writes no more, so that
 * is looked for (on_sweep). */
static void leave(struct tls_relay *relay, bool with_reset)
{
    uint64_t in_socket;

    if (relay->inner < 0) {
        destroy(relay);
        return;
    }
    in_socket = tcp_unacknowledged(relay->outer);
    relay->lost += in_socket == UINT64_MAX ? relay->received : in_socket;
    close_outer(relay, with_reset);
    relay->state = RELAY_GONE;
    set_deadline(relay, SWEEP_MS);
    uv_poll_stop(&relay->inner_poll);
    shutdown(relay->inner, SHUT_RDWR);
    drain_pair(relay);
}

static void cut(void *arg)
{
    struct tls_relay *relay = arg;

    if (relay->outer >= 0)
        leave(relay, true);
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

enum flow {
    FLOW_MORE,  /* something went through */
    FLOW_WAITS, /* for one of the sides */
    FLOW_BROKEN,
};

/* After an SSL_ function said no. */
static enum flow judge(struct tls_relay *relay, int result)
{
    switch (SSL_get_error(relay->ssl, result)) {
    case SSL_ERROR_WANT_WRITE:
        relay->wants_write = true;
        return FLOW_WAITS;
    case SSL_ERROR_WANT_READ:
        return FLOW_WAITS;
    case SSL_ERROR_ZERO_RETURN:
        relay->up_ended = true;
        return FLOW_WAITS;
    default:
        ERR_clear_error();
        return FLOW_BROKEN;
    }
}

/* Gives OpenSSL what it takes. */
static enum flow encrypt(struct tls_relay *relay, const char *bytes, size_t length, size_t *taken)
{
    int result = SSL_write(relay->ssl, bytes, (int)length);

    *taken = result > 0 ? (size_t)result : 0;
    return result > 0 ? FLOW_MORE : judge(relay, result);
}

static enum flow move_down(struct tls_relay *relay)
{
    enum flow flow;
    ssize_t length;
    size_t taken;

    if (relay->down.length > 0) {
        flow = encrypt(relay, relay->down.data, relay->down.length, &taken);
        buffer_consume(&relay->down, taken);
        if (relay->down.length == 0)
            buffer_finish(&relay->down);
        return flow;
    }
    if (relay->state != RELAY_OPEN)
        return FLOW_WAITS;
    length = recv(relay->inner, piece, sizeof(piece), 0);
    if (length < 0)
        return errno == EAGAIN || errno == EINTR ? FLOW_WAITS : FLOW_BROKEN;
    if (length == 0) {
        relay->state = RELAY_ENDING;
        set_deadline(relay, ENDING_MS);
        return FLOW_WAITS;
    }
    relay->received += (uint64_t)length;
    flow = encrypt(relay, piece, (size_t)length, &taken);
    buffer_append(&relay->down, piece + taken, (size_t)length - taken);
    return flow;
}

/* Gives the gateway what it takes. */
static size_t hand_over(struct tls_relay *relay, const char *bytes, size_t length)
{
    ssize_t sent =
        relay->up_refused ? (ssize_t)length : send(relay->inner, bytes, length, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        relay->up_refused = true;
        return length;
    }
    return sent > 0 ? (size_t)sent : 0;
}

static enum flow move_up(struct tls_relay *relay)
{
    size_t taken;
    int length;

    if (relay->up.length > 0) {
        taken = hand_over(relay, relay->up.data, relay->up.length);
        buffer_consume(&relay->up, taken);
        if (relay->up.length > 0)
            return FLOW_WAITS;
        buffer_finish(&relay->up);
        return FLOW_MORE;
    }
    if (relay->up_ended)
        return FLOW_WAITS;
    length = SSL_read(relay->ssl, piece, sizeof(piece));
    if (length <= 0)
        return judge(relay, length);
    taken = hand_over(relay, piece, (size_t)length);
    buffer_append(&relay->up, piece + taken, (size_t)length - taken);
    return FLOW_MORE;
}

/* Both directions, as far as they go. Returns whether there may be more at once. */
static enum flow move(struct tls_relay *relay)
{
    enum flow down = FLOW_MORE, up = FLOW_MORE;

    /* Or what others left there would be taken for an error of this connection. */
    ERR_clear_error();
    relay->wants_write = false;
    for (int i = 0; i < TURN_PIECES && (down == FLOW_MORE || up == FLOW_MORE); i++) {
        if (down == FLOW_MORE)
            down = move_down(relay);
        if (up == FLOW_MORE)
            up = move_up(relay);
        if (down == FLOW_BROKEN || up == FLOW_BROKEN)
            return FLOW_BROKEN;
    }
    return down == FLOW_MORE || up == FLOW_MORE ? FLOW_MORE : FLOW_WAITS;
}

/* ---- turns -------------------------------------------------------------------------------------
 */

static void watch(uv_poll_t *poll, int events, uv_poll_cb callback)
{
    if (events)
        uv_poll_start(poll, events, callback);
    else
        uv_poll_stop(poll);
}

static void wait_for_both(struct tls_relay *relay, bool more)
{
    int outer = 0, inner = 0;

    /* Who has more to do comes again in the next turn: a socket that takes something says so. */
    if (relay->wants_write || more)
        outer |= UV_WRITABLE;
    if (relay->up.length == 0 && !relay->up_ended)
        outer |= UV_READABLE;
    if (relay->state == RELAY_OPEN && relay->down.length == 0)
        inner |= UV_READABLE;
    if (relay->up.length > 0)
        inner |= UV_WRITABLE;
    watch(&relay->outer_poll, outer, on_outer);
    watch(&relay->inner_poll, inner, on_inner);
}

/* The last of ours has gone to the socket: the end follows it. */
static void end_outer(struct tls_relay *relay)
{
    relay->state = RELAY_ENDED;
    if (SSL_shutdown(relay->ssl) < 0)
        ERR_clear_error();
    shutdown(relay->outer, SHUT_WR);
}

/* The client writes no more. Not while the gateway has no room to write: libwebsockets would ask
 * again and again for that, before it believes in an end. */
static void pass_end(struct tls_relay *relay)
{
    if (relay->up_refused)
        return;
    relay->up_refused = true;
    shutdown(relay->inner, SHUT_WR);
}

static void turn(struct tls_relay *relay)
{
    enum flow flow = move(relay);
    bool up_done = relay->up_ended && relay->up.length == 0;

    if (flow == FLOW_BROKEN) {
        leave(relay, true);
        return;
    }
    if (up_done && relay->down.length == 0)
        pass_end(relay);
    if (relay->state == RELAY_ENDING && relay->down.length == 0)
        end_outer(relay);
    if (relay->state == RELAY_ENDED && up_done)
        leave(relay, false);
    else
        wait_for_both(relay, flow == FLOW_MORE);
}

static int make_pair(struct tls_relay *relay)
{
    int ends[2], bytes = PAIR_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    if (uv_poll_init(relay->relays->options.loop, &relay->inner_poll, ends[0]) < 0) {
        close(ends[0]);
        close(ends[1]);
        return -EMFILE;
    }
    relay->inner = ends[0];
    relay->other = ends[1];
    relay->inner_poll.data = relay;
    relay->references++;
    return 0;
}

static void open_relay(struct tls_relay *relay)
{
    struct tls_relays *relays = relay->relays;

    if (make_pair(relay) < 0) {
        destroy(relay);
        return;
    }
    relay->state = RELAY_OPEN;
    set_deadline(relay, 0);
    gateway_count(GATEWAY_TLS_HANDSHAKES, 1);
    peer_set_relay(relay->other, &peer_functions, relay);
    /* The first bytes first: mostly the request has come with the end of the handshake. */
    turn(relay);
    if (relay->state == RELAY_OPEN)
        relays->options.on_ready(relays->options.arg, relay->other, relay->address);
    else
        close(relay->other);
}

static void refuse_handshake(struct tls_relay *relay, const char *why)
{
    gateway_count(GATEWAY_TLS_FAILURES, 1);
    log_debug("no TLS with %s: %s", relay->address, why);
    destroy(relay);
}

static void shake_hands(struct tls_relay *relay)
{
    int result;

    ERR_clear_error();
    result = SSL_accept(relay->ssl);
    if (result == 1) {
        open_relay(relay);
        return;
    }
    switch (SSL_get_error(relay->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        uv_poll_start(&relay->outer_poll, UV_READABLE, on_outer);
        break;
    case SSL_ERROR_WANT_WRITE:
        uv_poll_start(&relay->outer_poll, UV_WRITABLE, on_outer);
        break;
    default: {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        ERR_clear_error();
        refuse_handshake(relay, reason ? reason : "the connection ended");
    }
    }
}

static void on_outer(uv_poll_t *poll, int status, int events)
{
    struct tls_relay *relay = poll->data;

    (void)events;
    if (relay->state == RELAY_HANDSHAKE)
        shake_hands(relay);
    else if (status < 0)
        leave(relay, true);
    else
        turn(relay);
}

static void on_inner(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    turn(poll->data);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static void overdue(struct tls_relay *relay)
{
    if (relay->state == RELAY_HANDSHAKE)
        refuse_handshake(relay, "the handshake took too long");
    else if (relay->state != RELAY_GONE)
        leave(relay, relay->down.length > 0);
    else if (!peer_has_relay(relay->other, relay))
        destroy(relay);
}

static void on_sweep(uv_timer_t *timer)
{
    struct tls_relays *relays = timer->data;
    struct tls_relay *relay, *next;

    for (relay = TAILQ_FIRST(&relays->timed); relay; relay = next) {
        next = TAILQ_NEXT(relay, entry);
        if (relay->deadline_ms <= uv_now(timer->loop))
            overdue(relay);
    }
}

void tls_relays_add(struct tls_relays *relays, int descriptor, const char *address)
{
    struct tls_relay *relay = xcalloc(1, sizeof(*relay));

    relay->relays = relays;
    relay->outer = descriptor;
    relay->inner = relay->other = -1;
    snprintf(relay->address, sizeof(relay->address), "%s", address);
    relay->ssl = tls_accept(relays->options.tls, descriptor);
    if (relay->ssl == NULL ||
        uv_poll_init(relays->options.loop, &relay->outer_poll, descriptor) < 0) {
        SSL_free(relay->ssl);
        close(descriptor);
        free(relay);
        return;
    }
    relay->outer_poll.data = relay;
    relay->references = 2;
    relay->deadline_ms = uv_now(relays->options.loop) + relays->options.handshake_ms;
    TAILQ_INSERT_TAIL(&relays->timed, relay, entry);
    relays->count++;
    shake_hands(relay);
}

size_t tls_relays_count(const struct tls_relays *relays)
{
    return relays ? relays->count : 0;
}

struct tls_relays *tls_relays_create(const struct tls_relays_options *options)
{
    struct tls_relays *relays = xcalloc(1, sizeof(*relays));

    relays->options = *options;
    TAILQ_INIT(&relays->timed);
    TAILQ_INIT(&relays->others);
    relays->sweep = xmalloc(sizeof(*relays->sweep));
    uv_timer_init(options->loop, relays->sweep);
    relays->sweep->data = relays;
    uv_timer_start(relays->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return relays;
}

static void on_sweep_closed(uv_handle_t *handle)
{
    free(handle);
}

void tls_relays_destroy(struct tls_relays **pointer)
{
    struct tls_relays *relays = *pointer;
    struct tls_relay *relay;

    if (relays == NULL)
        return;
    *pointer = NULL;
    while ((relay = TAILQ_FIRST(&relays->timed)) || (relay = TAILQ_FIRST(&relays->others)))
        destroy(relay);
    uv_close((uv_handle_t *)relays->sweep, on_sweep_closed);
    free(relays);
}
