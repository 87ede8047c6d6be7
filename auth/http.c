#include "auth/http.h"

#include "common/client_address.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/xalloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <stdlib.h>

#define HEAD_MAX 16384    /* bytes of a request's head */
#define HEADS_MAX 1024    /* requests being read at a time; more wait */
#define HEADERS_SIZE 1024 /* of an answer's headers */
#define BODY_WITHIN_S 10
#define ANSWER_WITHIN_S 60 /* and then the connection is closed */
#define TOKEN_SIZE 8300

struct http_server {
    struct lws_context *context;
    struct lws_vhost *vhost;
    http_handler_fn *handler;
    void *arg;
    size_t requests;
};

struct http_request {
    struct http_server *server;
    struct lws *wsi; /* NULL: the client is gone */
    enum http_method method;
    bool head_only;  /* HEAD: as GET, without the body */
    bool dispatched; /* the handler has it */
    bool answered;
    bool close;    /* the connection ends with the answer */
    char path[64]; /* a longer one is nobody's */
    char address[CLIENT_ADDRESS_SIZE];
    char *token;
    struct buffer body;
    struct http_answer answer;
    struct buffer answer_body; /* behind LWS_PRE bytes */
};

/* libwebsockets' data of a connection. */
struct http_connection {
    struct http_request *request;
};

/* ---- a request ---------------------------------------------------------------------------------
 */

static void free_request(struct http_request *request)
{
    if (request->token != NULL)
        explicit_bzero(request->token, strlen(request->token));
    if (request->body.data != NULL)
        explicit_bzero(request->body.data, request->body.capacity);
    if (request->answer_body.data != NULL)
        explicit_bzero(request->answer_body.data, request->answer_body.capacity);
    free(request->token);
    buffer_finish(&request->body);
    buffer_finish(&request->answer_body);
    free(request);
}

enum http_method http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

struct slice http_request_body(const struct http_request *request)
{
    return buffer_slice(&request->body);
}

struct slice http_request_token(const struct http_request *request)
{
    return slice_text(request->token);
}

const char *http_request_address(const struct http_request *request)
{
    return request->address;
}

static void read_address(struct http_request *request)
{
    char peer[CLIENT_ADDRESS_SIZE], forwarded[256];
    int length =
        lws_hdr_copy(request->wsi, forwarded, sizeof(forwarded), WSI_TOKEN_X_FORWARDED_FOR);

    lws_get_peer_simple(request->wsi, peer, sizeof(peer));
    client_address_choose(request->address, peer,
                          slice_of(forwarded, length > 0 ? (size_t)length : 0));
}

static void read_token(struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    char text[TOKEN_SIZE];
    int length = lws_hdr_copy(request->wsi, text, sizeof(text), WSI_TOKEN_HTTP_AUTHORIZATION);

    if (length > (int)strlen(scheme) && strncasecmp(text, scheme, strlen(scheme)) == 0)
        request->token = xstrdup(text + strlen(scheme));
    explicit_bzero(text, sizeof(text));
}

static void read_method(struct http_request *request)
{
    static const struct {
        enum lws_token_indexes token;
        enum http_method method;
    } methods[] = {
        {WSI_TOKEN_GET_URI, HTTP_GET},
        {WSI_TOKEN_HEAD_URI, HTTP_GET},
        {WSI_TOKEN_POST_URI, HTTP_POST},
        {WSI_TOKEN_OPTIONS_URI, HTTP_OPTIONS},
    };

    request->method = HTTP_OTHER;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (lws_hdr_total_length(request->wsi, methods[i].token) > 0) {
            request->method = methods[i].method;
            request->head_only = methods[i].token == WSI_TOKEN_HEAD_URI;
        }
    }
}

static struct http_request *make_request(struct http_server *server, struct lws *wsi,
                                         struct slice path)
{
    struct http_request *request = xcalloc(1, sizeof(*request));

    request->server = server;
    request->wsi = wsi;
    if (path.length < sizeof(request->path))
        memcpy(request->path, path.data, path.length);
    read_method(request);
    read_address(request);
    read_token(request);
    return request;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

void http_respond(struct http_request *request, const struct http_answer *answer)
{
    if (request->dispatched)
        request->server->requests--;
    if (request->wsi == NULL) {
        free_request(request);
        return;
    }
    request->answered = true;
    request->answer = *answer;
    buffer_reserve(&request->answer_body, LWS_PRE);
    request->answer_body.length = LWS_PRE;
    if (!request->head_only)
        buffer_append_slice(&request->answer_body, answer->body);
    request->answer.body = slice_of(NULL, answer->body.length);
    lws_callback_on_writable(request->wsi);
}

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                      unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), p, end);
}

static int add_own_headers(struct http_request *request, unsigned char **p, unsigned char *end)
{
    const struct http_answer *answer = &request->answer;
    struct lws *wsi = request->wsi;
    char seconds[16];
    int failed = add_header(wsi, "connection:", "close", p, end) |
                 add_header(wsi, "access-control-allow-origin:", "*", p, end) |
                 add_header(wsi, "access-control-expose-headers:", "retry-after", p, end) |
                 add_header(wsi, "cache-control:", "no-store", p, end);

    if (answer->allow != NULL)
        failed |= add_header(wsi, "allow:", answer->allow, p, end);
    if (request->method == HTTP_OPTIONS)
        failed |= add_header(wsi, "access-control-allow-methods:", answer->allow, p, end) |
                  add_header(wsi, "access-control-allow-headers:", "authorization, content-type", p,
                             end) |
                  add_header(wsi, "access-control-max-age:", "86400", p, end);
    snprintf(seconds, sizeof(seconds), "%u", answer->retry_after_s);
    if (answer->retry_after_s > 0)
        failed |= add_header(wsi, "retry-after:", seconds, p, end);
    return failed;
}

/* Head and body. Returns 0 or -1. */
static int write_answer(struct http_request *request)
{
    unsigned char headers[LWS_PRE + HEADERS_SIZE], *start = headers + LWS_PRE, *p = start;
    unsigned char *end = headers + sizeof(headers) - 1;
    const struct http_answer *answer = &request->answer;
    size_t length = request->answer_body.length - LWS_PRE;

    if (lws_add_http_common_headers(request->wsi, (unsigned)answer->status,
                                    answer->type ? answer->type : "application/json",
                                    answer->body.length, &p, end) != 0 ||
        add_own_headers(request, &p, end) != 0 ||
        lws_finalize_write_http_header(request->wsi, start, &p, end) != 0)
        return -1;
    if (length > 0 && lws_write(request->wsi, (unsigned char *)request->answer_body.data + LWS_PRE,
                                length, LWS_WRITE_HTTP_FINAL) < (int)length)
        return -1;
    return 0;
}

/*
 * Every answer ends its connection: libwebsockets 4.1.6 spins on a second request with a body that
 * came in the same packet as the first. Returns -1: close.
 */
static int on_writable(struct http_connection *connection)
{
    struct http_request *request = connection->request;

    if (request == NULL || !request->answered)
        return 0;
    if (write_answer(request) < 0)
        log_debug("an answer was not written");
    connection->request = NULL;
    free_request(request);
    return -1;
}

/* Refuses before the body was read. */
static void refuse(struct http_request *request, int status, const char *body)
{
    http_respond(request, &(struct http_answer){.status = status, .body = slice_text(body)});
}

/* ---- what libwebsockets says -------------------------------------------------------------------
 */

static void dispatch(struct http_request *request)
{
    if (request->dispatched || request->answered)
        return;
    request->dispatched = true;
    request->server->requests++;
    lws_set_timeout(request->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_WITHIN_S);
    request->server->handler(request->server->arg, request);
}

static int on_head(struct http_server *server, struct lws *wsi, struct http_connection *connection,
                   struct slice path)
{
    struct http_request *request = make_request(server, wsi, path);
    char length[24] = "";

    connection->request = request;
    lws_hdr_copy(wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH);
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
        refuse(request, 411,
               "{\"error\":{\"code\":\"length_required\",\"message\":\"send Content-Length\"}}");
    else if (strtoull(length, NULL, 10) > HTTP_BODY_MAX)
        refuse(request, 413,
               "{\"error\":{\"code\":\"too_large\",\"message\":\"the body is too long\"}}");
    else if (strtoull(length, NULL, 10) == 0)
        dispatch(request);
    else /* libwebsockets' own timeout begins again with each byte */
        lws_set_timer_usecs(wsi, BODY_WITHIN_S * LWS_USEC_PER_SEC);
    return 0;
}

static int on_body(struct http_request *request, struct slice bytes)
{
    if (request == NULL || request->dispatched || request->answered)
        return 0;
    if (request->body.length + bytes.length > HTTP_BODY_MAX)
        return -1;
    buffer_append_slice(&request->body, bytes);
    return 0;
}

static void on_closed(struct http_connection *connection)
{
    struct http_request *request = connection->request;

    connection->request = NULL;
    if (request == NULL)
        return;
    request->wsi = NULL;
    /* What the handler has, it still answers. */
    if (!request->dispatched || request->answered)
        free_request(request);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct http_connection *connection = user;

    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return on_head(lws_context_user(lws_get_context(wsi)), wsi, connection,
                       slice_of(in, length));
    case LWS_CALLBACK_HTTP_BODY:
        return on_body(connection->request, slice_of(in, length));
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        if (connection->request != NULL)
            dispatch(connection->request);
        return 0;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return on_writable(connection);
    case LWS_CALLBACK_CLOSED_HTTP:
        if (connection != NULL)
            on_closed(connection);
        return 0;
    case LWS_CALLBACK_TIMER: /* has the body not come to its end? */
        return connection->request != NULL && !connection->request->dispatched ? -1 : 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return -1; /* no WebSocket, no HTTP/2 */
    default:
        return 0;
    }
}

/* ---- the server --------------------------------------------------------------------------------
 */

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = callback, .per_session_data_size = sizeof(struct http_connection)},
    {0},
};

static void log_library_line(int level, const char *line)
{
    (void)level;
    log_debug("libwebsockets: %.*s", (int)strcspn(line, "\n"), line);
}

/* libwebsockets only logs why it cannot listen. Returns 0 or -errno. */
static int try_address(const char *host, int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    int result = 0, one = 1, fd;

    if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return -EINVAL;
    fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if ((is_v4 ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
               : bind(fd, (struct sockaddr *)&v6, sizeof(v6))) < 0 ||
        listen(fd, 1) < 0)
        result = -errno;
    close(fd);
    return result;
}

/* Opens the context and the listening socket. Returns 0 or -EADDRNOTAVAIL. */
static int open_server(struct http_server *server, uv_loop_t *loop, const char *host, int port)
{
    void *loops[] = {loop};
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    struct lws_context_creation_info info = {
        .port = port,
        .iface = any ? NULL : host,
        .protocols = protocols,
        .gid = -1,
        .uid = -1,
        .user = server,
        .foreign_loops = loops,
        .max_http_header_data = HEAD_MAX,
        .max_http_header_pool = HEADS_MAX,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND,
    };

    if (strchr(host, ':') == NULL)
        info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;
    lws_set_log_level(LLL_ERR | LLL_WARN, log_library_line);
    server->context = lws_create_context(&info);
    if (server->context != NULL)
        server->vhost = lws_create_vhost(server->context, &info);
    return server->vhost != NULL ? 0 : -EADDRNOTAVAIL;
}

struct http_server *http_server_create(uv_loop_t *loop, const char *address,
                                       http_handler_fn *handler, void *arg, struct buffer *error)
{
    struct http_server *server = xcalloc(1, sizeof(*server));
    char host[64];
    int port, result;

    server->handler = handler;
    server->arg = arg;
    result = settings_split_address(address, host, sizeof(host), &port);
    if (result == 0)
        result = try_address(host, port);
    if (result == 0)
        result = open_server(server, loop, host, port);
    if (result == 0)
        return server;
    buffer_appendf(error, "%s: %s", address,
                   result == -EINVAL ? "must be a numeric address and a port, host:port"
                                     : strerror(-result));
    if (server->context != NULL)
        lws_context_destroy(server->context);
    free(server);
    return NULL;
}

void http_server_stop(struct http_server *server)
{
    lws_context_destroy(server->context);
}

/* On a loop that is not its own libwebsockets is destroyed in two steps, by the same call. */
void http_server_destroy(struct http_server **server)
{
    if (*server == NULL)
        return;
    lws_context_destroy((*server)->context);
    free(*server);
    *server = NULL;
}

size_t http_server_requests(const struct http_server *server)
{
    return server->requests;
}
