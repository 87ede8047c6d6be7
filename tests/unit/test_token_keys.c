#include "common/token_keys.h"

#include "common/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT "header.payload"

static EVP_PKEY *rsa, *p256, *p384, *short_rsa, *ed25519;

static int set_up(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    short_rsa = EVP_RSA_gen(1024);
    p256 = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return rsa && short_rsa && p256 && p384 && ed25519 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(short_rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(ed25519);
    return 0;
}

static void append_pem(struct buffer *out, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long length;

    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    length = BIO_get_mem_data(bio, &data);
    buffer_append(out, data, (size_t)length);
    BIO_free(bio);
}

/* The signature of TEXT as JWS has it. */
static struct slice sign(EVP_PKEY *key)
{
    static unsigned char out[1024];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t length = sizeof(out);

    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(context, out, &length, (const unsigned char *)TEXT, strlen(TEXT)), 1);
    EVP_MD_CTX_free(context);
    if (EVP_PKEY_base_id(key) == EVP_PKEY_EC) {
        const unsigned char *encoded = out;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &encoded, (long)length);

        BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
        ECDSA_SIG_free(pair);
        length = 64;
    }
    return slice_of(out, length);
}

static enum signature_result check(const struct token_keys *keys, const char *algorithm,
                                   const char *kid, struct slice signature)
{
    return token_keys_check(keys, algorithm, kid, slice_text(TEXT), signature);
}

static void append_number(struct buffer *out, EVP_PKEY *key, const char *parameter,
                          const char *name, int width)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;
    int length;

    assert_int_equal(EVP_PKEY_get_bn_param(key, parameter, &number), 1);
    length = width ? BN_bn2binpad(number, bytes, width) : BN_bn2bin(number, bytes);
    BN_free(number);
    buffer_appendf(out, ",\"%s\":\"", name);
    base64url_append(out, bytes, (size_t)length);
    buffer_append_byte(out, '"');
}

static void append_jwk(struct buffer *out, EVP_PKEY *key, const char *more)
{
    if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) {
        buffer_append_text(out, "{\"kty\":\"RSA\"");
        append_number(out, key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
        append_number(out, key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
    } else {
        buffer_append_text(out, "{\"kty\":\"EC\",\"crv\":\"P-256\"");
        append_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", 32);
        append_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32);
    }
    buffer_appendf(out, "%s}", more);
}

static void the_algorithm_is_the_keys(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer pem = {0};

    (void)state;
    append_pem(&pem, rsa);
    assert_int_equal(token_keys_add(keys, slice_text("r"), buffer_slice(&pem)), 0);
    buffer_reset(&pem, SIZE_MAX);
    append_pem(&pem, p256);
    assert_int_equal(token_keys_add(keys, slice_text("e"), buffer_slice(&pem)), 0);

    assert_int_equal(check(keys, "RS256", "r", sign(rsa)), SIGNATURE_RIGHT);
    assert_int_equal(check(keys, "ES256", "r", sign(rsa)), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "RS256", "e", sign(rsa)), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "ES256", "e", sign(p256)), SIGNATURE_RIGHT);
    assert_int_equal(check(keys, "RS256", "e", sign(p256)), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "ES256", "r", sign(p256)), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "HS256", "r", sign(rsa)), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "none", "e", slice_text("")), SIGNATURE_WRONG);
    assert_int_equal(check(keys, "ES256", "x", sign(p256)), SIGNATURE_NO_KEY);
    assert_int_equal(check(keys, "ES256", NULL, sign(p256)), SIGNATURE_WRONG);
    buffer_finish(&pem);
    token_keys_destroy(&keys);
}

static void a_p256_signature_has_one_form(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer pem = {0};
    struct slice signature = sign(p256);
    unsigned char changed[64] = {0};

    (void)state;
    append_pem(&pem, p256);
    assert_int_equal(token_keys_add(keys, slice_text("e"), buffer_slice(&pem)), 0);
    assert_int_equal(check(keys, "ES256", "e", slice_of(changed, 64)), SIGNATURE_WRONG);
    for (size_t i = 0; i < 64; i++) {
        memcpy(changed, signature.data, 64);
        changed[i] ^= 1;
        assert_int_equal(check(keys, "ES256", "e", slice_of(changed, 64)), SIGNATURE_WRONG);
        assert_int_equal(check(keys, "ES256", "e", slice_of(signature.data, i)), SIGNATURE_WRONG);
    }
    assert_int_equal(check(keys, "ES256", "e", signature), SIGNATURE_RIGHT);
    buffer_finish(&pem);
    token_keys_destroy(&keys);
}

static void a_jwk_set_is_read(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer text = {0}, error = {0};

    (void)state;
    buffer_append_text(&text, " \n{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},7,");
    append_jwk(&text, rsa, ",\"kid\":\"enc\",\"use\":\"enc\"");
    buffer_append_byte(&text, ',');
    append_jwk(&text, rsa, ",\"kid\":\"pss\",\"alg\":\"PS256\"");
    buffer_append_byte(&text, ',');
    append_jwk(&text, short_rsa, ",\"kid\":\"short\"");
    buffer_append_byte(&text, ',');
    append_jwk(&text, rsa, ",\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\"");
    buffer_append_byte(&text, ',');
    append_jwk(&text, p256, ",\"kid\":\"e\"");
    buffer_append_text(&text, "]}");
    assert_int_equal(token_keys_read(keys, buffer_slice(&text), &error), 0);
    assert_int_equal(check(keys, "RS256", "r", sign(rsa)), SIGNATURE_RIGHT);
    assert_int_equal(check(keys, "ES256", "e", sign(p256)), SIGNATURE_RIGHT);
    assert_int_equal(check(keys, "RS256", "enc", sign(rsa)), SIGNATURE_NO_KEY);
    assert_int_equal(check(keys, "RS256", "pss", sign(rsa)), SIGNATURE_NO_KEY);
    assert_int_equal(check(keys, "RS256", "short", sign(short_rsa)), SIGNATURE_NO_KEY);
    buffer_finish(&text);
    buffer_finish(&error);
    token_keys_destroy(&keys);
}

static void a_key_without_a_name_is_tried(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer text = {0}, error = {0};

    (void)state;
    append_pem(&text, rsa);
    append_pem(&text, p256);
    assert_int_equal(token_keys_read(keys, buffer_slice(&text), &error), 0);
    for (int i = 0; i < 2; i++) {
        const char *kid = i ? "theirs" : NULL;

        assert_int_equal(check(keys, "RS256", kid, sign(rsa)), SIGNATURE_RIGHT);
        assert_int_equal(check(keys, "ES256", kid, sign(p256)), SIGNATURE_RIGHT);
        assert_int_equal(check(keys, "RS256", kid, sign(p256)), SIGNATURE_WRONG);
        assert_int_equal(check(keys, "ES256", kid, sign(rsa)), SIGNATURE_WRONG);
        assert_int_equal(check(keys, "HS256", kid, sign(rsa)), SIGNATURE_WRONG);
    }
    buffer_finish(&text);
    buffer_finish(&error);
    token_keys_destroy(&keys);
}

static void what_is_no_key_is_refused(void **state)
{
    EVP_PKEY *const bad[] = {short_rsa, p384, ed25519};
    static const char *const texts[] = {
        "",
        "garbage",
        "{}",
        "{\"keys\":7}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"RSA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"};
    struct token_keys *keys = token_keys_create();
    struct buffer text = {0}, error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buffer_reset(&text, SIZE_MAX);
        append_pem(&text, bad[i]);
        assert_int_equal(token_keys_add(keys, slice_text("k"), buffer_slice(&text)), -EINVAL);
        assert_int_equal(token_keys_read(keys, buffer_slice(&text), &error), -EBADMSG);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buffer_reset(&error, SIZE_MAX);
        assert_int_equal(token_keys_read(keys, slice_text(texts[i]), &error), -EBADMSG);
        assert_true(error.length > 0);
    }
    assert_true(token_keys_empty(keys));
    buffer_finish(&text);
    buffer_finish(&error);
    token_keys_destroy(&keys);
}

static void a_file_is_named_in_the_error(void **state)
{
    struct buffer text = {0}, error = {0};

    (void)state;
    assert_int_equal(token_keys_load_file("/nowhere/keys.pem", &text, &error), -ENOENT);
    assert_non_null(memmem(error.data, error.length, "/nowhere/keys.pem", 17));
    buffer_finish(&error);
}

static void there_is_a_most(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer text = {0}, error = {0};

    (void)state;
    for (int i = 0; i < 33; i++)
        append_pem(&text, p256);
    assert_int_equal(token_keys_read(keys, buffer_slice(&text), &error), -ENOSPC);
    buffer_finish(&text);
    buffer_finish(&error);
    token_keys_destroy(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_algorithm_is_the_keys),
        cmocka_unit_test(a_p256_signature_has_one_form),
        cmocka_unit_test(a_jwk_set_is_read),
        cmocka_unit_test(a_key_without_a_name_is_tried),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(a_file_is_named_in_the_error),
        cmocka_unit_test(there_is_a_most),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
