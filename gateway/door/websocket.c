#include "gateway/door/websocket.h"

#include "common/buffer.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "gateway/door/peer.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* libwebsockets composes the 101 here: a request head's worth of subprotocol (the token) must fit.
 */
#define ANSWER_SIZE 20480
/* Kept for every connection; messages are gathered by their session. A read takes no more. */
#define RECEIVE_SIZE 512
/* Reads of one connection in a turn of the loop. */
#define TURN_READS 16
/* Without it libwebsockets writes RECEIVE_SIZE at a time. */
#define WRITE_MAX (64 << 20)

/* Each message by itself: no window is kept for a connection between messages, and one deflated
 * frame serves all its receivers. */
#define DEFLATED 0x40 /* RSV1, of a message's first frame */
#define DEFLATE_OFFER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

struct websocket_server {
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct websocket_handlers handlers;
    /* During websocket_adopt: whose socket it is (until it ends), its descriptor and what to echo.
     */
    void *adopting;
    int descriptor;
    struct slice subprotocol;
    /* Whose read is handled, and the bytes of messages in it so far. */
    struct lws *reader;
    size_t read_bytes;
    struct buffer full; /* descriptors (int) whose last read may have left something */
    uv_check_t turn;
};

static struct lws *wsi_of(const struct websocket *socket)
{
    return (struct lws *)socket;
}

static struct websocket *socket_of(struct lws *wsi)
{
    return (struct websocket *)wsi;
}

/* Callbacks come inside websocket_adopt before it has a wsi to bind its owner to: they find him by
 * the descriptor. */
static void *owner_of(struct websocket_server *server, struct lws *wsi)
{
    void *owner = lws_get_opaque_user_data(wsi);

    if (owner == NULL && server->adopting && lws_get_socket_fd(wsi) == server->descriptor)
        return server->adopting;
    return owner;
}

/* ---- what libwebsockets tells, one small handler each; non-zero ends the connection ---- */

struct event {
    struct websocket_server *server;
    struct lws *wsi;
    void *owner;
    void *in;
    size_t length;
};

static int on_add_headers(struct event *event)
{
    struct lws_process_html_args *args = event->in;
    unsigned char **at = (unsigned char **)&args->p;
    struct slice subprotocol = event->server->subprotocol;

    if (subprotocol.length == 0)
        return 0;
    return lws_add_http_header_by_name(
        event->wsi,
        (const unsigned char *)"sec-websocket-protocol:", (const unsigned char *)subprotocol.data,
        (int)subprotocol.length, at, (unsigned char *)args->p + args->max_len);
}

static int on_established(struct event *event)
{
    event->server->handlers.on_open(event->owner, socket_of(event->wsi));
    return 0;
}

/* The library does not tell how much it has read, and keeps what is no whole frame: but so much
 * does not come of a short read. */
static void count_read(struct websocket_server *server, struct lws *wsi, size_t bytes)
{
    const size_t much = RECEIVE_SIZE / 2;
    int descriptor = lws_get_socket_fd(wsi);

    if (server->reader != wsi)
        server->read_bytes = 0;
    server->reader = wsi;
    server->read_bytes += bytes;
    if (server->read_bytes >= much && server->read_bytes - bytes < much)
        buffer_append(&server->full, &descriptor, sizeof(descriptor));
}

static int on_receive(struct event *event)
{
    size_t remaining = lws_remaining_packet_payload(event->wsi);
    struct websocket_piece piece = {
        .bytes = slice_of(event->in, event->length),
        .remaining = remaining,
        .first = lws_is_first_fragment(event->wsi),
        .last = remaining == 0 && lws_is_final_fragment(event->wsi),
        .binary = lws_frame_is_binary(event->wsi),
        .deflated = (lws_get_reserved_bits(event->wsi) & DEFLATED) != 0,
    };

    count_read(event->server, event->wsi, event->length);
    event->server->handlers.on_piece(event->owner, &piece);
    return 0;
}

static int on_receive_pong(struct event *event)
{
    event->server->handlers.on_pong(event->owner);
    return 0;
}

static int on_peer_close(struct event *event)
{
    event->server->handlers.on_peer_close(event->owner);
    return 0;
}

static int on_writeable(struct event *event)
{
    event->server->handlers.on_writable(event->owner);
    return 0;
}

static int on_gone(struct event *event)
{
    lws_set_opaque_user_data(event->wsi, NULL);
    event->server->adopting = NULL;
    event->server->handlers.on_end(event->owner);
    return 0;
}

/* This server speaks HTTP nowhere: what is adopted is an upgrade. */
static int on_http(struct event *event)
{
    (void)event;
    return -1;
}

static const struct {
    enum lws_callback_reasons reason;
    int (*handle)(struct event *);
} event_table[] = {
    {LWS_CALLBACK_RECEIVE, on_receive},
    {LWS_CALLBACK_SERVER_WRITEABLE, on_writeable},
    {LWS_CALLBACK_RECEIVE_PONG, on_receive_pong},
    {LWS_CALLBACK_ADD_HEADERS, on_add_headers},
    {LWS_CALLBACK_ESTABLISHED, on_established},
    {LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, on_peer_close},
    {LWS_CALLBACK_CLOSED, on_gone},
    {LWS_CALLBACK_WSI_DESTROY, on_gone},
    {LWS_CALLBACK_HTTP, on_http},
};

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct lws_context *context = wsi ? lws_get_context(wsi) : NULL;
    struct websocket_server *server = context ? lws_context_user(context) : NULL;
    struct event event = {.server = server, .wsi = wsi, .in = in, .length = length};

    (void)user;
    if (server == NULL)
        return 0;
    event.owner = owner_of(server, wsi);
    if (event.owner == NULL) /* ended, or not one of ours */
        return 0;
    for (size_t i = 0; i < sizeof(event_table) / sizeof(event_table[0]); i++)
        if (event_table[i].reason == reason)
            return event_table[i].handle(&event);
    return 0;
}

/* ---- more reads in one turn ---- */

/* A descriptor may be another connection's by now: a read without need does no harm. */
static void read_again(struct websocket_server *server, struct slice descriptors)
{
    for (size_t at = 0; at < descriptors.length; at += sizeof(int)) {
        struct lws_pollfd descriptor = {.events = LWS_POLLIN, .revents = LWS_POLLIN};

        memcpy(&descriptor.fd, descriptors.data + at, sizeof(int));
        server->reader = NULL;
        lws_service_fd(server->context, &descriptor);
    }
}

/*
 * What a client sends at once is handled at once, as if connections had a big buffer: in a turn for
 * each read every message would go its way, and be answered, by itself.
 */
static void on_turn(uv_check_t *turn)
{
    struct websocket_server *server = turn->data;
    struct buffer full;

    for (int reads = 1; reads < TURN_READS && server->full.length > 0; reads++) {
        full = server->full;
        server->full = (struct buffer){0};
        read_again(server, buffer_slice(&full));
        buffer_finish(&full);
    }
    server->full.length = 0;
    server->reader = NULL;
}

/* ---- permessage-deflate ---- */

/*
 * The library's own extension can be made to fail an assertion by a peer (4.1), and knows no limit:
 * this one negotiates in its place and lets deflated payloads through; message.c inflates them.
 */
static int let_deflated_through(struct lws_context *context, const struct lws_extension *extension,
                                struct lws *wsi, enum lws_extension_callback_reasons reason,
                                void *user, void *in, size_t length)
{
    static const struct lws_ext_options options[] = {
        {"server_no_context_takeover", EXTARG_NONE},
        {"client_no_context_takeover", EXTARG_NONE},
        {NULL, 0},
    };

    (void)context, (void)extension, (void)wsi, (void)user, (void)length;
    if (reason == LWS_EXT_CB_CONSTRUCT)
        *(const struct lws_ext_options **)in = options;
    return 0;
}

/* ---- the server ---- */

static void on_library_log(int level, const char *line)
{
    int length = (int)strcspn(line, "\n");

    /* It reports each adopted socket as an error. */
    if (strstr(line, "adopt_socket_readbuf"))
        return;
    if (level == LLL_ERR)
        log_warn("libwebsockets: %.*s", length, line);
    else
        log_debug("libwebsockets: %.*s", length, line);
}

struct websocket_server *websocket_server_create(uv_loop_t *loop,
                                                 const struct websocket_handlers *handlers)
{
    /* No library timers for each connection: sessions have their own signs of life. */
    static const lws_retry_bo_t no_idle_policy;
    static const struct lws_extension extensions[] = {
        {"permessage-deflate", let_deflated_through, DEFLATE_OFFER},
        {NULL, NULL, NULL},
    };
    static const struct lws_protocols protocols[] = {
        {.name = "frames",
         .callback = on_event,
         .rx_buffer_size = RECEIVE_SIZE,
         .tx_packet_size = WRITE_MAX},
        {.name = NULL},
    };
    struct websocket_server *server = xcalloc(1, sizeof(*server));
    void *loops[] = {loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .extensions = extensions,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .pt_serv_buf_size = ANSWER_SIZE,
        .retry_and_idle_policy = &no_idle_policy,
        .vhost_name = "gateway",
        .user = server,
    };

    lws_set_log_level(LLL_ERR | LLL_WARN, on_library_log);
    server->handlers = *handlers;
    server->context = lws_create_context(&info);
    if (server->context)
        server->vhost = lws_create_vhost(server->context, &info);
    if (server->vhost == NULL) {
        if (server->context)
            lws_context_destroy(server->context);
        free(server);
        return NULL;
    }
    uv_check_init(loop, &server->turn);
    server->turn.data = server;
    uv_check_start(&server->turn, on_turn);
    return server;
}

void websocket_server_stop(struct websocket_server *server)
{
    uv_close((uv_handle_t *)&server->turn, NULL);
    lws_context_destroy(server->context);
}

/* On a loop that is not its own the library is destroyed in two steps, by the same call. */
void websocket_server_destroy(struct websocket_server **server)
{
    if (*server == NULL)
        return;
    lws_context_destroy((*server)->context);
    buffer_finish(&(*server)->full);
    free(*server);
    *server = NULL;
}

/*
 * libwebsockets gets a request of our own making: it limits lengths of headers and names of
 * subprotocols, and nothing else of the client's matters to it.
 */
static void compose_request(struct buffer *head, const struct websocket_upgrade *upgrade)
{
    buffer_append_text(head, "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n"
                             "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: ");
    buffer_append_slice(head, upgrade->key);
    if (upgrade->deflate)
        buffer_append_text(head, "\r\nSec-WebSocket-Extensions: " DEFLATE_OFFER);
    buffer_append_text(head, "\r\n\r\n");
    buffer_append_slice(head, upgrade->rest);
}

void websocket_adopt(struct websocket_server *server, int descriptor,
                     const struct websocket_upgrade *upgrade, void *owner)
{
    struct buffer head = {0};
    struct lws *wsi;

    compose_request(&head, upgrade);
    server->adopting = owner;
    server->descriptor = descriptor;
    server->subprotocol = upgrade->subprotocol;
    wsi = lws_adopt_socket_vhost_readbuf(server->vhost, descriptor, head.data, head.length);
    buffer_finish(&head);
    if (wsi) {
        lws_set_opaque_user_data(wsi, owner);
        /* What is left of the buffer is read in a turn of the library's own: make one come. */
        if (upgrade->rest.length > 0)
            lws_callback_on_writable(wsi);
    } else if (server->adopting) {
        server->handlers.on_end(owner);
    }
    server->adopting = NULL;
}

/* ---- a connection ---- */

int websocket_write(struct websocket *socket, struct slice frames)
{
    /* As HTTP, bytes go out as they are: no frame header, no copy, no room needed in front. */
    int written =
        lws_write(wsi_of(socket), (unsigned char *)frames.data, frames.length, LWS_WRITE_HTTP);

    if (written >= 0)
        return 0;
    /* Ending it here could be inside one of its own callbacks: let it read the end. */
    shutdown(websocket_descriptor(socket), SHUT_RDWR);
    return -EPIPE;
}

bool websocket_is_writing(const struct websocket *socket)
{
    return lws_partial_buffered(wsi_of(socket)) != 0;
}

/* The reason stays in the connection from lws_close_reason on. */
bool websocket_is_closing(const struct websocket *socket)
{
    return lws_get_close_length(wsi_of(socket)) > 0;
}

int websocket_descriptor(const struct websocket *socket)
{
    return lws_get_socket_fd(wsi_of(socket));
}

/*
 * The documented way, lws_close_reason and -1 from a callback, ends connections without a close
 * frame on libuv in Debian's 4.1.6: it closes a second time at once, to test itself. A synchronous
 * "kill" goes the polite way when there is a reason.
 */
void websocket_close(struct websocket *socket, int code, struct slice text)
{
    lws_close_reason(wsi_of(socket), (enum lws_close_status)code, (unsigned char *)text.data,
                     text.length);
    lws_set_timeout(wsi_of(socket), PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

void websocket_cut(struct websocket *socket)
{
    int descriptor = websocket_descriptor(socket);

    peer_cut(descriptor);
    shutdown(descriptor, SHUT_RDWR);
}
