#include "common/token_keys.h"

#include "common/base64.h"
#include "common/json.h"
#include "common/xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS_MAX 32
#define KID_MAX 128
#define PEM_MAX 16384
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define P256_BYTES 32
#define P256_BITS 256

struct token_key {
    char *kid; /* NULL: nobody knows it */
    EVP_PKEY *key;
    const char *algorithm;
};

struct token_keys {
    struct token_key keys[KEYS_MAX];
    size_t count;
    char *secret;
    size_t secret_length;
};

struct token_keys *token_keys_create(void)
{
    return xcalloc(1, sizeof(struct token_keys));
}

void token_keys_destroy(struct token_keys **keys)
{
    if (*keys == NULL)
        return;
    for (size_t i = 0; i < (*keys)->count; i++) {
        free((*keys)->keys[i].kid);
        EVP_PKEY_free((*keys)->keys[i].key);
    }
    if ((*keys)->secret != NULL)
        OPENSSL_cleanse((*keys)->secret, (*keys)->secret_length);
    free((*keys)->secret);
    free(*keys);
    *keys = NULL;
}

void token_keys_set_secret(struct token_keys *keys, struct slice secret)
{
    free(keys->secret);
    keys->secret = xmemdup0(secret.data, secret.length);
    keys->secret_length = secret.length;
}

bool token_keys_empty(const struct token_keys *keys)
{
    return keys->count == 0 && keys->secret == NULL;
}

/* ---- one key -----------------------------------------------------------------------------------
 */

/* NULL: no key for tokens. */
static const char *algorithm_of(EVP_PKEY *key)
{
    char curve[32] = "";

    switch (EVP_PKEY_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_bits(key) >= RSA_BITS_MIN && EVP_PKEY_bits(key) <= RSA_BITS_MAX ? "RS256"
                                                                                        : NULL;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) == 1 &&
                       strcmp(curve, SN_X9_62_prime256v1) == 0
                   ? "ES256"
                   : NULL;
    default:
        return NULL;
    }
}

/* Takes key over; kid may be empty. Returns 0, -EINVAL or -ENOSPC. */
static int add_key(struct token_keys *keys, struct slice kid, EVP_PKEY *key)
{
    const char *algorithm = key ? algorithm_of(key) : NULL;
    int result = algorithm == NULL || kid.length > KID_MAX ? -EINVAL : 0;

    if (result == 0 && keys->count == KEYS_MAX)
        result = -ENOSPC;
    if (result < 0) {
        EVP_PKEY_free(key);
        return result;
    }
    keys->keys[keys->count++] = (struct token_key){
        .kid = kid.length > 0 ? xmemdup0(kid.data, kid.length) : NULL,
        .key = key,
        .algorithm = algorithm,
    };
    return 0;
}

int token_keys_add(struct token_keys *keys, struct slice kid, struct slice pem)
{
    BIO *bio;
    EVP_PKEY *key;

    if (kid.length == 0 || pem.length > PEM_MAX)
        return -EINVAL;
    bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return add_key(keys, kid, key);
}

/* ---- PEM ---------------------------------------------------------------------------------------
 */

static EVP_PKEY *key_of_certificate(const unsigned char *data, long length)
{
    X509 *certificate = d2i_X509(NULL, &data, length);
    EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;

    X509_free(certificate);
    return key;
}

/* The key of one block; NULL when there is none in it. */
static EVP_PKEY *key_of_block(const char *name, const unsigned char *data, long length)
{
    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        return d2i_PUBKEY(NULL, &data, length);
    if (strcmp(name, PEM_STRING_X509) == 0)
        return key_of_certificate(data, length);
    return NULL;
}

static int read_pem(struct token_keys *keys, struct slice text, struct buffer *error)
{
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.length);
    char *name, *header;
    unsigned char *data;
    long length;
    int result = 0, count = 0;

    while (result == 0 && bio != NULL && PEM_read_bio(bio, &name, &header, &data, &length) == 1) {
        result = add_key(keys, slice_of(NULL, 0), key_of_block(name, data, length));
        count++;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    BIO_free(bio);
    if (result == -ENOSPC) {
        buffer_append_text(error, "more than 32 keys");
        return -ENOSPC;
    }
    if (result == 0 && count > 0)
        return 0;
    buffer_append_text(error, "not only public keys or certificates of RSA (2048 to 8192 bits) or "
                              "P-256, as PEM, and no JWK set");
    return -EBADMSG;
}

/* ---- JWK ---------------------------------------------------------------------------------------
 */

static struct slice member(const struct json_value *jwk, const char *name)
{
    const struct json_value *value = json_member(jwk, name);

    return json_type(value) == JSON_STRING ? json_text(value) : slice_of(NULL, 0);
}

/* A number of the JWK; the caller's to free. */
static BIGNUM *number_of(const struct json_value *jwk, const char *name)
{
    unsigned char bytes[RSA_BITS_MAX / 8];
    int length = base64url_decode(member(jwk, name), bytes, sizeof(bytes));

    return length > 0 ? BN_bin2bn(bytes, length, NULL) : NULL;
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY *key = NULL;

    if (context == NULL || parameters == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    OSSL_PARAM_free(parameters);
    EVP_PKEY_CTX_free(context);
    return key;
}

static EVP_PKEY *rsa_of(const struct json_value *jwk)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = number_of(jwk, "n"), *exponent = number_of(jwk, "e");
    EVP_PKEY *key = NULL;

    if (builder != NULL && modulus != NULL && exponent != NULL &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = key_from("RSA", builder);
    BN_free(modulus);
    BN_free(exponent);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *p256_of(const struct json_value *jwk)
{
    unsigned char point[1 + 2 * P256_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM_BLD *builder;
    EVP_PKEY *key = NULL;

    if (!slice_is(member(jwk, "crv"), "P-256") ||
        base64url_decode(member(jwk, "x"), point + 1, P256_BYTES) != P256_BYTES ||
        base64url_decode(member(jwk, "y"), point + 1 + P256_BYTES, P256_BYTES) != P256_BYTES)
        return NULL;
    builder = OSSL_PARAM_BLD_new();
    if (builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, SN_X9_62_prime256v1,
                                        0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ==
            1)
        key = key_from("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static const struct {
    const char *type, *algorithm;
    EVP_PKEY *(*read)(const struct json_value *jwk);
} jwk_kinds[] = {
    {"RSA", "RS256", rsa_of},
    {"EC", "ES256", p256_of},
};

/* Absent or this. */
static bool may_be(const struct json_value *jwk, const char *name, const char *wanted)
{
    return json_member(jwk, name) == NULL || slice_is(member(jwk, name), wanted);
}

/* Returns 0, also when it is passed over, or -ENOSPC. */
static int add_jwk(struct token_keys *keys, const struct json_value *jwk)
{
    for (size_t i = 0; i < sizeof(jwk_kinds) / sizeof(jwk_kinds[0]); i++) {
        if (slice_is(member(jwk, "kty"), jwk_kinds[i].type) && may_be(jwk, "use", "sig") &&
            may_be(jwk, "alg", jwk_kinds[i].algorithm))
            return add_key(keys, member(jwk, "kid"), jwk_kinds[i].read(jwk)) == -ENOSPC ? -ENOSPC
                                                                                        : 0;
    }
    return 0;
}

static int read_jwks(struct token_keys *keys, struct slice text, struct buffer *error)
{
    struct json *json = json_create();
    const struct json_value *list = NULL, *entry;
    size_t before = keys->count;
    int result = json_read(json, text);

    if (result == 0)
        list = json_member(json_root(json), "keys");
    entry = json_first(list);
    for (size_t i = 0; result == 0 && i < json_count(list); i++, entry = json_next(entry))
        result = add_jwk(keys, entry);
    if (result == -ENOSPC)
        buffer_append_text(error, "more than 32 keys");
    else if (result < 0 || json_type(list) != JSON_ARRAY)
        buffer_append_text(error, "no JWK set");
    else if (keys->count == before)
        buffer_append_text(error,
                           "no key of RSA (2048 to 8192 bits) or P-256 for signatures in it");
    json_destroy(&json);
    if (result == -ENOSPC)
        return -ENOSPC;
    return result == 0 && keys->count > before ? 0 : -EBADMSG;
}

/* ---- files of another issuer -------------------------------------------------------------------
 */

int token_keys_read(struct token_keys *keys, struct slice text, struct buffer *error)
{
    size_t start = 0;

    while (start < text.length && strchr(" \t\r\n", text.data[start]) && text.data[start] != '\0')
        start++;
    if (start < text.length && text.data[start] == '{')
        return read_jwks(keys, text, error);
    return read_pem(keys, text, error);
}

static int read_all(int fd, struct buffer *out)
{
    ssize_t length = 1;

    while (length > 0 && out->length <= TOKEN_KEYS_FILE_MAX) {
        length = read(fd, buffer_reserve(out, 16384), 16384);
        if (length > 0)
            out->length += (size_t)length;
    }
    if (length < 0)
        return -errno;
    return out->length > TOKEN_KEYS_FILE_MAX ? -EFBIG : 0;
}

int token_keys_load_file(const char *path, struct buffer *text, struct buffer *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 ? -errno : read_all(fd, text);

    if (fd >= 0)
        close(fd);
    buffer_appendf(error, "%s: ", path);
    if (result < 0)
        buffer_append_text(error, strerror(-result));
    return result;
}

/* ---- signatures --------------------------------------------------------------------------------
 */

static bool digest_is_right(EVP_PKEY *key, struct slice text, const unsigned char *signature,
                            size_t length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool right = context != NULL &&
                 EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestVerify(context, signature, length, (const unsigned char *)text.data,
                                  text.length) == 1;

    EVP_MD_CTX_free(context);
    return right;
}

/* JWS has r and s as 32 bytes each (RFC 7518, 3.4), OpenSSL as ASN.1. */
static bool p256_signature_is_right(EVP_PKEY *key, struct slice text, struct slice signature)
{
    const unsigned char *bytes = (const unsigned char *)signature.data;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    unsigned char *encoded = NULL;
    BIGNUM *r, *s;
    int length = -1;
    bool right;

    if (pair != NULL && signature.length == 2 * P256_BYTES) {
        r = BN_bin2bn(bytes, P256_BYTES, NULL);
        s = BN_bin2bn(bytes + P256_BYTES, P256_BYTES, NULL);
        if (r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
            length = i2d_ECDSA_SIG(pair, &encoded);
        } else {
            BN_free(r);
            BN_free(s);
        }
    }
    right = length > 0 && digest_is_right(key, text, encoded, (size_t)length);
    OPENSSL_free(encoded);
    ECDSA_SIG_free(pair);
    return right;
}

static bool key_signature_is_right(const struct token_key *key, struct slice text,
                                   struct slice signature)
{
    if (EVP_PKEY_base_id(key->key) == EVP_PKEY_EC)
        return p256_signature_is_right(key->key, text, signature);
    return digest_is_right(key->key, text, (const unsigned char *)signature.data, signature.length);
}

static bool secret_signature_is_right(const struct token_keys *keys, struct slice text,
                                      struct slice signature)
{
    unsigned char expected[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    return HMAC(EVP_sha256(), keys->secret, (int)keys->secret_length,
                (const unsigned char *)text.data, text.length, expected, &length) != NULL &&
           length == signature.length && CRYPTO_memcmp(signature.data, expected, length) == 0;
}

static const struct token_key *find_key(const struct token_keys *keys, const char *kid)
{
    for (size_t i = 0; kid != NULL && i < keys->count; i++)
        if (keys->keys[i].kid != NULL && strcmp(keys->keys[i].kid, kid) == 0)
            return &keys->keys[i];
    return NULL;
}

static enum signature_result check_nameless(const struct token_keys *keys, const char *algorithm,
                                            struct slice text, struct slice signature)
{
    enum signature_result result = SIGNATURE_NO_KEY;

    for (size_t i = 0; i < keys->count; i++) {
        const struct token_key *key = &keys->keys[i];

        if (key->kid != NULL || strcmp(key->algorithm, algorithm) != 0)
            continue;
        if (key_signature_is_right(key, text, signature))
            return SIGNATURE_RIGHT;
        result = SIGNATURE_WRONG;
    }
    return result;
}

enum signature_result token_keys_check(const struct token_keys *keys, const char *algorithm,
                                       const char *kid, struct slice text, struct slice signature)
{
    const struct token_key *key = find_key(keys, kid);
    enum signature_result result;

    if (key != NULL)
        return strcmp(key->algorithm, algorithm) == 0 &&
                       key_signature_is_right(key, text, signature)
                   ? SIGNATURE_RIGHT
                   : SIGNATURE_WRONG;
    if (strcmp(algorithm, "HS256") == 0)
        return keys->secret != NULL && secret_signature_is_right(keys, text, signature)
                   ? SIGNATURE_RIGHT
                   : SIGNATURE_WRONG;
    result = check_nameless(keys, algorithm, text, signature);
    /* A key that may still come has a name, and comes from auth, if that signs with keys. */
    return result == SIGNATURE_NO_KEY && (kid == NULL || keys->secret != NULL) ? SIGNATURE_WRONG
                                                                               : result;
}
