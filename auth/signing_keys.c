#include "auth/signing_keys.h"

#include "auth/key_files.h"
#include "common/base64url.h"
#include "common/xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <time.h>

#define KEY_BITS 2048
#define KEY_BITS_MAX 8192
#define SUFFIX ".pem"

struct signing_keys {
    struct signing_key keys[SIGNING_KEYS_MAX];
    size_t count;
};

/* ---- one key -----------------------------------------------------------------------------------
 */

static void finish_key(struct signing_key *key)
{
    free(key->kid);
    free(key->modulus);
    free(key->exponent);
    free(key->public_pem);
    key_text_finish(&key->private_pem);
}

static char *text_of(struct buffer *buffer)
{
    char *text = xmemdup0(buffer->data, buffer->length);

    buffer_finish(buffer);
    return text;
}

/* A number of the key as JWK writes it: big-endian, base64url. */
static char *number_text(EVP_PKEY *pkey, const char *name)
{
    unsigned char bytes[KEY_BITS_MAX / 8];
    struct buffer text = {0};
    BIGNUM *number = NULL;

    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1)
        return NULL;
    base64url_append(&text, bytes, (size_t)BN_bn2bin(number, bytes));
    BN_free(number);
    return text_of(&text);
}

static char *thumbprint(const struct signing_key *key)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct buffer text = {0};

    buffer_appendf(&text, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", key->exponent,
                   key->modulus);
    SHA256((const unsigned char *)text.data, text.length, digest);
    buffer_reset(&text, SIZE_MAX);
    base64url_append(&text, digest, sizeof(digest));
    return text_of(&text);
}

static char *public_pem(EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data, *pem = NULL;
    long length;

    if (bio != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1) {
        length = BIO_get_mem_data(bio, &data);
        pem = xmemdup0(data, (size_t)length);
    }
    BIO_free(bio);
    return pem;
}

/* Takes private_pem over. Returns 0 or -EINVAL. */
static int read_key(struct signing_key *key, struct buffer *private_pem)
{
    BIO *bio = BIO_new_mem_buf(private_pem->data, (int)private_pem->length);
    char no_passphrase[] = ""; /* or OpenSSL asks for it on the terminal */
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL;
    bool fits = pkey != NULL && EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA &&
                EVP_PKEY_bits(pkey) >= KEY_BITS && EVP_PKEY_bits(pkey) <= KEY_BITS_MAX;

    *key = (struct signing_key){.private_pem = *private_pem};
    *private_pem = (struct buffer){0};
    if (fits) {
        key->modulus = number_text(pkey, OSSL_PKEY_PARAM_RSA_N);
        key->exponent = number_text(pkey, OSSL_PKEY_PARAM_RSA_E);
        key->public_pem = public_pem(pkey);
        fits = key->modulus != NULL && key->exponent != NULL && key->public_pem != NULL;
    }
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    if (!fits) {
        finish_key(key);
        return -EINVAL;
    }
    key->kid = thumbprint(key);
    return 0;
}

/* ---- files -------------------------------------------------------------------------------------
 */

static int load_file(struct signing_keys *keys, const char *directory, const char *name,
                     struct buffer *error)
{
    char *path = xasprintf("%s/%s", directory, name);
    struct buffer pem = {0};
    int result = key_file_read(path, &pem);

    if (result < 0) {
        key_files_say(error, path, strerror(-result));
    } else if (keys->count == SIGNING_KEYS_MAX) {
        result = -ENOSPC;
        key_files_say(error, directory, "more than 16 keys");
    } else {
        result = read_key(&keys->keys[keys->count], &pem);
        if (result == 0)
            keys->count++;
        else
            key_files_say(error, path,
                          "no RSA private key of 2048 to 8192 bits without a passphrase");
    }
    buffer_finish(&pem);
    free(path);
    return result;
}

static int is_key_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);

    return entry->d_name[0] != '.' && length > suffix &&
           strcmp(entry->d_name + length - suffix, SUFFIX) == 0;
}

static int load_directory(struct signing_keys *keys, const char *directory, struct buffer *error)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key_file, alphasort);
    int result = 0;

    if (count < 0) {
        result = -errno;
        key_files_say(error, directory, strerror(-result));
        return result;
    }
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = load_file(keys, directory, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* ---- making the first key ----------------------------------------------------------------------
 */

/* Names sort by the moment they were made. */
static void name_key(char *name, size_t size)
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(name, size, "%Y%m%dT%H%M%SZ" SUFFIX, &utc);
}

static int make_key(const char *directory, struct buffer *error)
{
    EVP_PKEY *pkey = EVP_RSA_gen(KEY_BITS);
    char name[40];
    int result;

    name_key(name, sizeof(name));
    result = pkey != NULL ? key_file_write(directory, name, pkey) : -ENOMEM;
    EVP_PKEY_free(pkey);
    /* Another auth has made one in the same second. */
    if (result == -EEXIST)
        result = 0;
    if (result < 0)
        key_files_say(error, directory, strerror(-result));
    return result;
}

/* ---- the keys ----------------------------------------------------------------------------------
 */

static int load_or_make(struct signing_keys *keys, const char *directory, struct buffer *error)
{
    int result = key_directory_make(directory, error);

    if (result < 0)
        return result;
    result = load_directory(keys, directory, error);
    if (result == 0 && keys->count == 0)
        result = make_key(directory, error);
    if (result == 0 && keys->count == 0)
        result = load_directory(keys, directory, error);
    return result;
}

struct signing_keys *signing_keys_create(const char *directory, struct buffer *error)
{
    struct signing_keys *keys = xcalloc(1, sizeof(*keys));

    if (load_or_make(keys, directory, error) < 0)
        signing_keys_destroy(&keys);
    return keys;
}

void signing_keys_destroy(struct signing_keys **keys)
{
    if (*keys == NULL)
        return;
    for (size_t i = 0; i < (*keys)->count; i++)
        finish_key(&(*keys)->keys[i]);
    free(*keys);
    *keys = NULL;
}

size_t signing_keys_count(const struct signing_keys *keys)
{
    return keys->count;
}

const struct signing_key *signing_keys_at(const struct signing_keys *keys, size_t index)
{
    return &keys->keys[index];
}

const struct signing_key *signing_keys_current(const struct signing_keys *keys)
{
    return &keys->keys[keys->count - 1];
}

void signing_keys_append_jwks(const struct signing_keys *keys, struct buffer *out)
{
    size_t count = keys ? keys->count : 0;

    buffer_append_text(out, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        const struct signing_key *key = &keys->keys[i];

        buffer_appendf(out,
                       "%s{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\","
                       "\"n\":\"%s\",\"e\":\"%s\"}",
                       i > 0 ? "," : "", key->kid, key->modulus, key->exponent);
    }
    buffer_append_text(out, "]}");
}
