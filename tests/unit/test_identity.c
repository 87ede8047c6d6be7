#include "common/identity.h"

#include "common/base64.h"
#include "common/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW 1800000000
#define SECRET "a secret of more than thirty-two bytes"
#define SUB "\"sub\":\"alice\""
#define EXP "\"exp\":1800000060"
#define RS256 "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

enum signer { SIGN_KEY, SIGN_OTHER_KEY, SIGN_PUBLIC_KEY_AS_SECRET, SIGN_SECRET, SIGN_NOTHING };

static EVP_PKEY *key, *other_key;
static struct buffer public_pem;
static struct token_keys *rsa_keys, *secret_keys;
static const struct token_rules no_rules = {.issuer = "", .audience = ""};
static const struct token_rules strict_rules = {.issuer = "us", .audience = "ours"};

/* ---- tokens made here, without the libraries that read them ------------------------------------
 */

static size_t sign_rsa(EVP_PKEY *with, struct slice text, unsigned char *out, size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, with), 1);
    assert_int_equal(
        EVP_DigestSign(context, out, &size, (const unsigned char *)text.data, text.length), 1);
    EVP_MD_CTX_free(context);
    return size;
}

static size_t sign_hmac(struct slice secret, struct slice text, unsigned char *out)
{
    unsigned length;

    HMAC(EVP_sha256(), secret.data, (int)secret.length, (const unsigned char *)text.data,
         text.length, out, &length);
    return length;
}

static void make_token(struct buffer *token, const char *header, const char *payload,
                       enum signer signer)
{
    unsigned char signature[512];
    size_t length = 0;

    base64url_append(token, header, strlen(header));
    buffer_append_byte(token, '.');
    base64url_append(token, payload, strlen(payload));
    if (signer == SIGN_KEY || signer == SIGN_OTHER_KEY)
        length = sign_rsa(signer == SIGN_KEY ? key : other_key, buffer_slice(token), signature,
                          sizeof(signature));
    else if (signer == SIGN_PUBLIC_KEY_AS_SECRET)
        length = sign_hmac(buffer_slice(&public_pem), buffer_slice(token), signature);
    else if (signer == SIGN_SECRET)
        length = sign_hmac(slice_text(SECRET), buffer_slice(token), signature);
    buffer_append_byte(token, '.');
    base64url_append(token, signature, length);
}

static enum verifier_result check(const struct token_keys *keys, const struct token_rules *rules,
                                  struct slice token)
{
    struct identity identity = {0};
    enum verifier_result result = identity_from_token(keys, rules, token, NOW, &identity);

    if (result != VERIFIER_OK)
        assert_null(identity.user);
    identity_finish(&identity);
    return result;
}

/* ---- signature and claims ----------------------------------------------------------------------
 */

static const struct {
    const char *what, *header, *payload;
    enum signer signer;
    enum verifier_result expected;
} rsa_cases[] = {
    {"plain", RS256, "{" SUB "," EXP "}", SIGN_KEY, VERIFIER_OK},
    {"all claims", RS256,
     "{" SUB "," EXP ",\"iat\":1799999999,\"nbf\":1800000000,\"jti\":\"j\",\"admin\":true,"
     "\"sub_topics\":[\"a.*\",\"b\"],\"pub_topics\":[]}",
     SIGN_KEY, VERIFIER_OK},
    {"a guest of auth's", RS256, "{\"sub\":\"guest:1\"," EXP "}", SIGN_KEY, VERIFIER_OK},

    {"none, unsigned", "{\"alg\":\"none\"}", "{" SUB "," EXP "}", SIGN_NOTHING, VERIFIER_MALFORMED},
    {"none, signed", "{\"alg\":\"none\",\"kid\":\"k1\"}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_SIGNATURE},
    {"public key as HMAC secret", "{\"alg\":\"HS256\",\"kid\":\"k1\"}", "{" SUB "," EXP "}",
     SIGN_PUBLIC_KEY_AS_SECRET, VERIFIER_SIGNATURE},
    {"RS256 header over an HMAC", RS256, "{" SUB "," EXP "}", SIGN_PUBLIC_KEY_AS_SECRET,
     VERIFIER_SIGNATURE},
    {"RS512 header", "{\"alg\":\"RS512\",\"kid\":\"k1\"}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_SIGNATURE},
    {"no alg", "{\"kid\":\"k1\"}", "{" SUB "," EXP "}", SIGN_KEY, VERIFIER_MALFORMED},
    {"alg is a number", "{\"alg\":1,\"kid\":\"k1\"}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_MALFORMED},
    {"another key", RS256, "{" SUB "," EXP "}", SIGN_OTHER_KEY, VERIFIER_SIGNATURE},
    {"no kid", "{\"alg\":\"RS256\"}", "{" SUB "," EXP "}", SIGN_KEY, VERIFIER_SIGNATURE},
    {"kid is a number", "{\"alg\":\"RS256\",\"kid\":1}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_SIGNATURE},
    {"unknown kid", "{\"alg\":\"RS256\",\"kid\":\"k2\"}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_UNAVAILABLE},
    {"crit", "{\"alg\":\"RS256\",\"kid\":\"k1\",\"crit\":[\"exp\"]}", "{" SUB "," EXP "}", SIGN_KEY,
     VERIFIER_MALFORMED},

    {"expired", RS256, "{" SUB ",\"exp\":1799999999}", SIGN_KEY, VERIFIER_EXPIRED},
    {"expires now", RS256, "{" SUB ",\"exp\":1800000000}", SIGN_KEY, VERIFIER_EXPIRED},
    {"no exp", RS256, "{" SUB "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp is a text", RS256, "{" SUB ",\"exp\":\"1800000060\"}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp is null", RS256, "{" SUB ",\"exp\":null}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp is a fraction", RS256, "{" SUB ",\"exp\":1800000060.5}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp is negative", RS256, "{" SUB ",\"exp\":-1}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp beyond time", RS256, "{" SUB ",\"exp\":9223372036854775807}", SIGN_KEY, VERIFIER_CLAIMS},
    {"exp beyond 64 bits", RS256, "{" SUB ",\"exp\":99999999999999999999}", SIGN_KEY,
     VERIFIER_MALFORMED},
    {"nbf ahead", RS256, "{" SUB "," EXP ",\"nbf\":1800000050}", SIGN_KEY, VERIFIER_NOT_YET},
    {"nbf within skew", RS256, "{" SUB "," EXP ",\"nbf\":1800000020}", SIGN_KEY, VERIFIER_OK},
    {"nbf is a text", RS256, "{" SUB "," EXP ",\"nbf\":\"1\"}", SIGN_KEY, VERIFIER_CLAIMS},
    {"iat ahead", RS256, "{" SUB "," EXP ",\"iat\":1800000050}", SIGN_KEY, VERIFIER_NOT_YET},

    {"no sub", RS256, "{" EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is empty", RS256, "{\"sub\":\"\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is an array", RS256, "{\"sub\":[\"alice\"]," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is a number", RS256, "{\"sub\":7," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is SERVER", RS256, "{\"sub\":\"SERVER\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is BROADCAST", RS256, "{\"sub\":\"BROADCAST\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is *", RS256, "{\"sub\":\"*\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub is a group", RS256, "{\"sub\":\"group:a\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub has a control", RS256, "{\"sub\":\"a\\u0007\"," EXP "}", SIGN_KEY, VERIFIER_CLAIMS},
    {"sub has a NUL", RS256, "{\"sub\":\"a\\u0000b\"," EXP "}", SIGN_KEY, VERIFIER_MALFORMED},
    {"jti is a number", RS256, "{" SUB "," EXP ",\"jti\":1}", SIGN_KEY, VERIFIER_CLAIMS},
    {"admin is a text", RS256, "{" SUB "," EXP ",\"admin\":\"true\"}", SIGN_KEY, VERIFIER_CLAIMS},
    {"topics are a text", RS256, "{" SUB "," EXP ",\"sub_topics\":\"a\"}", SIGN_KEY,
     VERIFIER_CLAIMS},
    {"topics have a number", RS256, "{" SUB "," EXP ",\"pub_topics\":[\"a\",1]}", SIGN_KEY,
     VERIFIER_CLAIMS},
    {"topics are null", RS256, "{" SUB "," EXP ",\"sub_topics\":null}", SIGN_KEY, VERIFIER_CLAIMS},
    {"payload is an array", RS256, "[1]", SIGN_KEY, VERIFIER_CLAIMS},
    {"payload is no JSON", RS256, "hello", SIGN_KEY, VERIFIER_MALFORMED},
    {"header is no JSON", "hello!", "{" SUB "," EXP "}", SIGN_KEY, VERIFIER_MALFORMED},
};

static void a_key_decides_what_is_a_signature(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rsa_cases) / sizeof(rsa_cases[0]); i++) {
        struct buffer token = {0};
        enum verifier_result result;

        make_token(&token, rsa_cases[i].header, rsa_cases[i].payload, rsa_cases[i].signer);
        result = check(rsa_keys, &no_rules, buffer_slice(&token));
        if (result != rsa_cases[i].expected)
            fail_msg("%s: %d instead of %d", rsa_cases[i].what, result, rsa_cases[i].expected);
        buffer_finish(&token);
    }
}

/* libjwt 1.10 knows the algorithm in any case, 1.17 does not. */
static void an_algorithm_in_lower_case_is_refused(void **state)
{
    struct buffer token = {0};
    enum verifier_result result;

    (void)state;
    make_token(&token, "{\"alg\":\"rs256\",\"kid\":\"k1\"}", "{" SUB "," EXP "}", SIGN_KEY);
    result = check(rsa_keys, &no_rules, buffer_slice(&token));
    assert_true(result == VERIFIER_SIGNATURE || result == VERIFIER_MALFORMED);
    buffer_finish(&token);
}

static const struct {
    const char *what, *header;
    enum signer signer;
    enum verifier_result expected;
} secret_cases[] = {
    {"plain", HS256, SIGN_SECRET, VERIFIER_OK},
    {"a kid changes nothing", "{\"alg\":\"HS256\",\"kid\":\"k1\"}", SIGN_SECRET, VERIFIER_OK},
    {"another secret", HS256, SIGN_PUBLIC_KEY_AS_SECRET, VERIFIER_SIGNATURE},
    {"HS512 header", "{\"alg\":\"HS512\"}", SIGN_SECRET, VERIFIER_SIGNATURE},
    {"RS256", RS256, SIGN_KEY, VERIFIER_SIGNATURE},
    {"RS256 header over the HMAC", RS256, SIGN_SECRET, VERIFIER_SIGNATURE},
    {"none", "{\"alg\":\"none\"}", SIGN_SECRET, VERIFIER_SIGNATURE},
};

static void with_a_secret_only_hs256_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(secret_cases) / sizeof(secret_cases[0]); i++) {
        struct buffer token = {0};
        enum verifier_result result;

        make_token(&token, secret_cases[i].header, "{" SUB "," EXP "}", secret_cases[i].signer);
        result = check(secret_keys, &no_rules, buffer_slice(&token));
        if (result != secret_cases[i].expected)
            fail_msg("%s: %d instead of %d", secret_cases[i].what, result,
                     secret_cases[i].expected);
        buffer_finish(&token);
    }
}

static const struct {
    const char *claims;
    enum verifier_result expected;
} rule_cases[] = {
    {"\"iss\":\"us\",\"aud\":\"ours\"", VERIFIER_OK},
    {"\"iss\":\"us\",\"aud\":[\"theirs\",\"ours\"]", VERIFIER_OK},
    {"\"iss\":\"us\",\"aud\":[\"theirs\"]", VERIFIER_CLAIMS},
    {"\"iss\":\"us\",\"aud\":[]", VERIFIER_CLAIMS},
    {"\"iss\":\"us\",\"aud\":{\"ours\":1}", VERIFIER_CLAIMS},
    {"\"iss\":\"us\"", VERIFIER_CLAIMS},
    {"\"iss\":\"them\",\"aud\":\"ours\"", VERIFIER_CLAIMS},
    {"\"iss\":[\"us\"],\"aud\":\"ours\"", VERIFIER_CLAIMS},
    {"\"aud\":\"ours\"", VERIFIER_CLAIMS},
};

static void issuer_and_audience_are_checked_when_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rule_cases) / sizeof(rule_cases[0]); i++) {
        struct buffer token = {0}, payload = {0};

        buffer_appendf(&payload, "{" SUB "," EXP ",%s}", rule_cases[i].claims);
        buffer_append_byte(&payload, '\0');
        make_token(&token, RS256, payload.data, SIGN_KEY);
        if (check(rsa_keys, &strict_rules, buffer_slice(&token)) != rule_cases[i].expected)
            fail_msg("%s", rule_cases[i].claims);
        assert_int_equal(check(rsa_keys, &no_rules, buffer_slice(&token)), VERIFIER_OK);
        buffer_finish(&token);
        buffer_finish(&payload);
    }
}

static void the_identity_has_all_claims(void **state)
{
    struct identity identity = {0};
    struct buffer token = {0};

    (void)state;
    make_token(&token, RS256, rsa_cases[1].payload, SIGN_KEY);
    assert_int_equal(identity_from_token(rsa_keys, &no_rules, buffer_slice(&token), NOW, &identity),
                     VERIFIER_OK);
    assert_string_equal(identity.user, "alice");
    assert_string_equal(identity.token_id, "j");
    assert_int_equal(identity.issued_at, 1799999999);
    assert_int_equal(identity.expires_at, 1800000060);
    assert_true(identity.admin);
    assert_string_equal(identity.subscribe_topics[0], "a.*");
    assert_string_equal(identity.subscribe_topics[1], "b");
    assert_null(identity.subscribe_topics[2]);
    assert_non_null(identity.publish_topics);
    assert_null(identity.publish_topics[0]);
    identity_finish(&identity);
    buffer_finish(&token);
}

/* ---- form --------------------------------------------------------------------------------------
 */

static void what_is_no_token_is_malformed(void **state)
{
    static const char *const texts[] = {
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "aa.bb.",
        ".bb.cc",
        "aa..cc",
        "aa.bb.cc.",
        "aa.bb.cc.d",
        "aa.bb.cc.dd.ee",
        "a b.cc.dd",
        "aa=.bb.cc",
        "a+.bb.cc",
        "a/.bb.cc",
        "{}.{}.aa",
        "e30.e30.e30",
        "\xff\xfe.aa.bb",
        "aa.bb.cc\n",
        "Bearer aa.bb.cc",
    };

    (void)state;
    assert_int_equal(check(rsa_keys, &no_rules, slice_text("")), VERIFIER_MISSING);
    assert_int_equal(check(rsa_keys, &no_rules, slice_of("aa.bb\0.cc", 9)), VERIFIER_MALFORMED);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (check(rsa_keys, &no_rules, slice_text(texts[i])) != VERIFIER_MALFORMED)
            fail_msg("%s", texts[i]);
}

static void any_changed_byte_is_refused(void **state)
{
    struct buffer token = {0};

    (void)state;
    make_token(&token, RS256, "{" SUB "," EXP "}", SIGN_KEY);
    /* The last letter holds bits that belong to no byte. */
    for (size_t i = 0; i + 1 < token.length; i++) {
        char was = token.data[i];

        token.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(check(rsa_keys, &no_rules, buffer_slice(&token)), VERIFIER_OK);
        token.data[i] = was;
        assert_int_not_equal(check(rsa_keys, &no_rules, slice_of(token.data, i)), VERIFIER_OK);
    }
    assert_int_equal(check(rsa_keys, &no_rules, buffer_slice(&token)), VERIFIER_OK);
    buffer_finish(&token);
}

/* A valid token whose length is about that of a limit: pads with a claim. */
static enum verifier_result check_padded(size_t padding)
{
    struct buffer token = {0}, payload = {0};
    enum verifier_result result;

    buffer_append_text(&payload, "{" SUB "," EXP ",\"x\":\"");
    for (size_t i = 0; i < padding; i++)
        buffer_append_byte(&payload, 'x');
    buffer_append(&payload, "\"}", 3);
    make_token(&token, RS256, payload.data, SIGN_KEY);
    result = check(rsa_keys, &no_rules, buffer_slice(&token));
    buffer_finish(&payload);
    buffer_finish(&token);
    return result;
}

static void a_token_has_a_longest_length(void **state)
{
    (void)state;
    assert_int_equal(check_padded(5000), VERIFIER_OK);
    assert_int_equal(check_padded(6000), VERIFIER_MALFORMED);
    assert_int_equal(check_padded(100000), VERIFIER_MALFORMED);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void only_rsa_public_keys_are_keys(void **state)
{
    struct token_keys *keys = token_keys_create();
    struct buffer pem = {0};

    (void)state;
    assert_true(token_keys_empty(keys));
    assert_int_equal(token_keys_add(keys, slice_text("k"), slice_text("nonsense")), -EINVAL);
    assert_int_equal(token_keys_add(keys, slice_text("k"), slice_text("")), -EINVAL);
    buffer_append(&pem, public_pem.data, public_pem.length / 2);
    assert_int_equal(token_keys_add(keys, slice_text("k"), buffer_slice(&pem)), -EINVAL);
    assert_int_equal(token_keys_add(keys, slice_text(""), buffer_slice(&public_pem)), -EINVAL);
    assert_true(token_keys_empty(keys));
    for (int i = 0; i < 32; i++)
        assert_int_equal(token_keys_add(keys, slice_text("k"), buffer_slice(&public_pem)), 0);
    assert_int_equal(token_keys_add(keys, slice_text("k"), buffer_slice(&public_pem)), -ENOSPC);
    token_keys_destroy(&keys);
    buffer_finish(&pem);
}

static int setup(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long length;

    (void)state;
    key = EVP_RSA_gen(2048);
    other_key = EVP_RSA_gen(2048);
    PEM_write_bio_PUBKEY(bio, key);
    length = BIO_get_mem_data(bio, &text);
    buffer_append(&public_pem, text, (size_t)length);
    BIO_free(bio);
    rsa_keys = token_keys_create();
    secret_keys = token_keys_create();
    token_keys_set_secret(secret_keys, slice_text(SECRET));
    return token_keys_add(rsa_keys, slice_text("k1"), buffer_slice(&public_pem));
}

static int teardown(void **state)
{
    (void)state;
    token_keys_destroy(&rsa_keys);
    token_keys_destroy(&secret_keys);
    buffer_finish(&public_pem);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_decides_what_is_a_signature),
        cmocka_unit_test(an_algorithm_in_lower_case_is_refused),
        cmocka_unit_test(with_a_secret_only_hs256_counts),
        cmocka_unit_test(issuer_and_audience_are_checked_when_set),
        cmocka_unit_test(the_identity_has_all_claims),
        cmocka_unit_test(what_is_no_token_is_malformed),
        cmocka_unit_test(any_changed_byte_is_refused),
        cmocka_unit_test(a_token_has_a_longest_length),
        cmocka_unit_test(only_rsa_public_keys_are_keys),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
