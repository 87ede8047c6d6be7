#include "gateway/door/tls.h"

#include "common/log.h"
#include "common/xalloc.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/stat.h>

/* How often the files are looked at. */
#define LOOK_MS 2000
/* With forward secrecy; TLS 1.3 has no others. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/* What tells one version of a file from the next. */
struct version {
    struct timespec changed;
    off_t size;
    ino_t inode;
};

struct tls {
    SSL_CTX *context;
    char *certificate, *key;
    struct version versions[2];
    uv_timer_t look;
};

/* ---- loading -----------------------------------------------------------------------------------
 */

static void say(struct buffer *error, const char *setting, const char *path)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    const char *cause = ERR_GET_LIB(code) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(code))
                        : reason                         ? reason
                                                         : "cannot be used";

    buffer_appendf(error, "%s: %s: %s", setting, path, cause);
    ERR_clear_error();
}

/* Browsers ask for h2, too: there is none here. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                           const unsigned char *offered, unsigned offered_length, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";

    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)chosen, length, ours, sizeof(ours) - 1, offered,
                                 offered_length) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

/* Or OpenSSL asks for it on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return 0;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, CIPHERS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* What a record has in memory goes between records: most connections are idle. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

static SSL_CTX *load(const struct tls *tls, struct buffer *error)
{
    SSL_CTX *context = make_context();

    ERR_clear_error();
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1) {
        say(error, "TRUNKLINE_GATEWAY_TLS_CERTIFICATE", tls->certificate);
    } else if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1 ||
               SSL_CTX_check_private_key(context) != 1) {
        say(error, "TRUNKLINE_GATEWAY_TLS_KEY", tls->key);
    } else {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

/* ---- changes -----------------------------------------------------------------------------------
 */

static struct version version_of(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return (struct version){0};
    return (struct version){
        .changed = status.st_mtim, .size = status.st_size, .inode = status.st_ino};
}

/* Whether one of the files is another than at the last look. */
static bool have_changed(struct tls *tls)
{
    const char *const paths[2] = {tls->certificate, tls->key};
    bool changed = false;

    for (int i = 0; i < 2; i++) {
        struct version now = version_of(paths[i]), *then = &tls->versions[i];

        changed |= now.changed.tv_sec != then->changed.tv_sec ||
                   now.changed.tv_nsec != then->changed.tv_nsec || now.size != then->size ||
                   now.inode != then->inode;
        *then = now;
    }
    return changed;
}

void tls_reload(struct tls *tls)
{
    struct buffer error = {0};
    SSL_CTX *context;

    have_changed(tls);
    context = load(tls, &error);
    if (context != NULL) {
        SSL_CTX_free(tls->context);
        tls->context = context;
        log_info("the certificate was loaded again");
    } else {
        log_warn("the certificate stays as it was: %.*s", (int)error.length, error.data);
    }
    buffer_finish(&error);
}

static void on_look(uv_timer_t *timer)
{
    struct tls *tls = timer->data;

    if (have_changed(tls))
        tls_reload(tls);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void free_tls(struct tls *tls)
{
    SSL_CTX_free(tls->context);
    free(tls->certificate);
    free(tls->key);
    free(tls);
}

struct tls *tls_create(uv_loop_t *loop, const char *certificate, const char *key,
                       struct buffer *error)
{
    struct tls *tls = xcalloc(1, sizeof(*tls));

    tls->certificate = xstrdup(certificate);
    tls->key = xstrdup(key);
    have_changed(tls);
    tls->context = load(tls, error);
    if (tls->context == NULL) {
        free_tls(tls);
        return NULL;
    }
    uv_timer_init(loop, &tls->look);
    tls->look.data = tls;
    uv_timer_start(&tls->look, on_look, LOOK_MS, LOOK_MS);
    return tls;
}

static void on_closed(uv_handle_t *handle)
{
    free_tls(handle->data);
}

void tls_destroy(struct tls **tls)
{
    if (*tls != NULL)
        uv_close((uv_handle_t *)&(*tls)->look, on_closed);
    *tls = NULL;
}

SSL *tls_accept(struct tls *tls, int descriptor)
{
    SSL *ssl = SSL_new(tls->context);

    if (ssl != NULL && SSL_set_fd(ssl, descriptor) != 1) {
        SSL_free(ssl);
        ssl = NULL;
    }
    if (ssl != NULL)
        SSL_set_accept_state(ssl);
    return ssl;
}
