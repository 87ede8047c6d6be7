/*
 * The relay between a client's TLS and the gateway: a client made of OpenSSL on a real TCP
 * connection, and the gateway's end of the pair, on one loop.
 */
#include "gateway/door/tls_relay.h"

#include "gateway/gateway.h"
#include "gateway/door/peer.h"
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char directory[] = "/tmp/trunkline-tls-XXXXXX";
static char certificate[64], key[64];

static struct {
    struct test_loop loop;
    struct tls *tls;
    struct tls_relays *relays;
    int gateway; /* the gateway's end; -1: none yet */
    char address[64];
    int client; /* the client's TCP */
    SSL_CTX *context;
    SSL *ssl;
} test;

#define run_until(condition) loop_until(&test.loop, condition)

static void write_certificate(void)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    FILE *file;

    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, pkey);
    assert_true(X509_sign(x509, pkey, EVP_sha256()) > 0);
    file = fopen(certificate, "w");
    assert_non_null(file);
    PEM_write_X509(file, x509);
    fclose(file);
    file = fopen(key, "w");
    assert_non_null(file);
    PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(pkey);
}

static void set_nonblocking(int descriptor)
{
    assert_int_equal(fcntl(descriptor, F_SETFL, O_NONBLOCK), 0);
}

/* Both ends of a TCP connection; the client's kernel takes little. */
static void connect_tcp(int *client, int *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), small = 4096;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    *client = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(*client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(*client, (struct sockaddr *)&address, length), 0);
    *server = accept(listener, NULL, NULL);
    assert_true(*server >= 0);
    close(listener);
    set_nonblocking(*client);
    set_nonblocking(*server);
}

static void on_ready(void *arg, int descriptor, const char *address)
{
    (void)arg;
    test.gateway = descriptor;
    snprintf(test.address, sizeof(test.address), "%s", address);
}

/* Returns whether the client's handshake is done; anything but waiting fails. */
static bool shake_hands(void)
{
    int result = SSL_connect(test.ssl);

    if (result != 1)
        assert_int_equal(SSL_get_error(test.ssl, result), SSL_ERROR_WANT_READ);
    return result == 1;
}

static int set_up(void **state)
{
    struct buffer error = {0};
    int server;

    (void)state;
    memset(&test, 0, sizeof(test));
    test.gateway = -1;
    loop_open(&test.loop);
    test.tls = tls_create(&test.loop.loop, certificate, key, &error);
    assert_non_null(test.tls);
    test.relays = tls_relays_create(&(struct tls_relays_options){
        .loop = &test.loop.loop, .tls = test.tls, .handshake_ms = 500, .on_ready = on_ready});
    connect_tcp(&test.client, &server);
    tls_relays_add(test.relays, server, "192.0.2.7");
    test.context = SSL_CTX_new(TLS_client_method());
    test.ssl = SSL_new(test.context);
    SSL_set_fd(test.ssl, test.client);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_free(test.ssl);
    SSL_CTX_free(test.context);
    if (test.client >= 0)
        close(test.client);
    if (test.gateway >= 0)
        close(test.gateway);
    tls_relays_destroy(&test.relays);
    tls_destroy(&test.tls);
    loop_close(&test.loop);
    return 0;
}

static void open_connection(void)
{
    run_until(shake_hands());
    run_until(test.gateway >= 0);
    assert_string_equal(test.address, "192.0.2.7");
}

/* Writes as the gateway does, as much as goes. */
static size_t write_much(size_t most)
{
    static char bytes[8192];
    size_t total = 0;
    int quiet = 0;

    memset(bytes, 'x', sizeof(bytes));
    while (total < most && quiet < 50) {
        size_t wanted = most - total < sizeof(bytes) ? most - total : sizeof(bytes);
        ssize_t length = send(test.gateway, bytes, wanted, MSG_NOSIGNAL);

        quiet = length > 0 ? 0 : quiet + 1;
        total += length > 0 ? (size_t)length : 0;
        uv_run(&test.loop.loop, UV_RUN_NOWAIT);
    }
    return total;
}

static size_t client_reads(size_t most)
{
    static char bytes[16384];
    size_t total = 0;

    run_until(({
        int length = SSL_read(test.ssl, bytes, sizeof(bytes));

        total += length > 0 ? (size_t)length : 0;
        total >= most;
    }));
    return total;
}

/* ---- tests ---- */

static void bytes_go_both_ways(void **state)
{
    char text[16] = "";

    (void)state;
    open_connection();
    assert_int_equal(SSL_write(test.ssl, "hello", 5), 5);
    run_until(recv(test.gateway, text, sizeof(text), 0) == 5);
    assert_string_equal(text, "hello");
    assert_int_equal(send(test.gateway, "there", 5, 0), 5);
    run_until(SSL_read(test.ssl, text, sizeof(text)) == 5);
    assert_string_equal(text, "there");
    run_until(peer_unacknowledged(test.gateway) == 0);
    assert_int_equal(peer_end(test.gateway), 5);
}

/* What nobody reads fills the kernels, the relay and the pair, and all of it counts. */
static void what_waits_anywhere_is_not_taken(void **state)
{
    size_t written, taken;
    uint64_t mark;

    (void)state;
    open_connection();
    written = write_much(64 << 20);
    assert_in_range(written, 64 << 10, 16 << 20);
    assert_true(peer_end(test.gateway) == written);
    assert_true(peer_unacknowledged(test.gateway) <= written + written / 20 + 1000);
    taken = written - peer_unacknowledged(test.gateway);
    assert_true(taken < 65536 || taken > written); /* what fits into the client's kernel */
    mark = peer_end(test.gateway);
    client_reads(written);
    run_until(peer_unacknowledged(test.gateway) == 0);
    /* What follows a mark does not count, what was before it does until it is taken. */
    write_much(100);
    assert_int_equal(peer_end(test.gateway), written + 100);
    assert_true(peer_unacknowledged_before(test.gateway, mark) < 100); /* TLS's own, for a while */
    run_until(peer_unacknowledged_before(test.gateway, mark) == 0);
    run_until(peer_unacknowledged(test.gateway) == 0);
}

static void figures_stay_when_the_client_is_killed(void **state)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    size_t written;
    char byte;

    (void)state;
    open_connection();
    written = write_much(64 << 20);
    setsockopt(test.client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(test.client);
    test.client = -1;
    run_until(recv(test.gateway, &byte, 1, 0) == 0);
    assert_true(peer_end(test.gateway) >= written);
    assert_true(peer_unacknowledged_before(test.gateway, written) + 65536 >= written);
    assert_int_equal(send(test.gateway, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(tls_relays_count(test.relays), 1);
    close(test.gateway);
    test.gateway = -1;
    run_until(tls_relays_count(test.relays) == 0);
}

static void a_cut_resets_the_client(void **state)
{
    size_t written;
    static char bytes[1 << 20];
    int error = 0;

    (void)state;
    open_connection();
    written = write_much(64 << 20);
    peer_cut(test.gateway);
    assert_true(peer_unacknowledged_before(test.gateway, written) + 65536 >= written);
    run_until((error = recv(test.client, bytes, sizeof(bytes), 0) < 0 ? errno : 0) == ECONNRESET);
}

static void the_gateways_end_reaches_the_client(void **state)
{
    (void)state;
    open_connection();
    assert_int_equal(send(test.gateway, "bye", 3, 0), 3);
    close(test.gateway);
    test.gateway = -1;
    assert_int_equal(client_reads(3), 3);
    run_until(SSL_get_error(test.ssl, SSL_read(test.ssl, (char[1]){0}, 1)) ==
              SSL_ERROR_ZERO_RETURN);
    SSL_shutdown(test.ssl);
    close(test.client);
    test.client = -1;
    run_until(tls_relays_count(test.relays) == 0);
}

static void the_clients_end_reaches_the_gateway(void **state)
{
    char byte;

    (void)state;
    open_connection();
    assert_int_equal(SSL_write(test.ssl, "b", 1), 1);
    SSL_shutdown(test.ssl);
    run_until(recv(test.gateway, &byte, 1, 0) == 1);
    run_until(recv(test.gateway, &byte, 1, 0) == 0);
    close(test.gateway);
    test.gateway = -1;
    close(test.client);
    test.client = -1;
    run_until(tls_relays_count(test.relays) == 0);
}

static void a_handshake_that_does_not_end_is_ended(void **state)
{
    char byte;

    (void)state;
    run_until(recv(test.client, &byte, 1, 0) == 0);
    assert_int_equal(tls_relays_count(test.relays), 0);
    assert_int_equal(test.gateway, -1);
}

/* A number that comes again is another connection's. */
static void a_descriptor_is_known_by_more_than_its_number(void **state)
{
    int other[2];

    (void)state;
    open_connection();
    assert_int_not_equal(peer_progress(test.gateway), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    assert_int_equal(dup2(other[0], test.gateway), test.gateway);
    assert_int_equal(peer_progress(test.gateway), 0); /* no TCP socket, and no relay's */
    close(other[0]);
    close(other[1]);
}

static int make_files(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", directory);
    snprintf(key, sizeof(key), "%s/key.pem", directory);
    write_certificate();
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return remove(certificate) | remove(key) | remove(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways),
        TEST(what_waits_anywhere_is_not_taken),
        TEST(figures_stay_when_the_client_is_killed),
        TEST(a_cut_resets_the_client),
        TEST(the_gateways_end_reaches_the_client),
        TEST(the_clients_end_reaches_the_gateway),
        TEST(a_handshake_that_does_not_end_is_ended),
        TEST(a_descriptor_is_known_by_more_than_its_number),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
