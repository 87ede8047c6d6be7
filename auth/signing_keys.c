#include "auth/signing_keys.h"

#include "auth/key_files.h"
#include "common/base64.h"
#include "common/xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_BITS 2048
#define KEY_BITS_MAX 8192
#define P256_BYTES 32
#define SUFFIX ".pem"
#define RETIRED ".retired"
/* Clocks differ, and a token is checked some time after it was looked at. */
#define RETIRE_MARGIN_S 120

struct signing_keys {
    char *directory;
    struct signing_key keys[SIGNING_KEYS_MAX];
    size_t count;
    struct timespec changed; /* the directory, when it was read */
    bool settled;            /* that was long enough ago for another change to have another time */
};

/* ---- one key -----------------------------------------------------------------------------------
 */

static void finish_key(struct signing_key *key)
{
    free(key->name);
    free(key->kid);
    free(key->jwk);
    free(key->public_pem);
    key_text_finish(&key->private_pem);
}

static char *text_of(struct buffer *buffer)
{
    char *text = xmemdup0(buffer->data, buffer->length);

    buffer_finish(buffer);
    return text;
}

/* A number of the key as JWK writes it: big-endian, base64url; in width bytes unless that is 0. */
static int append_number(struct buffer *out, EVP_PKEY *pkey, const char *name, int width)
{
    unsigned char bytes[KEY_BITS_MAX / 8];
    BIGNUM *number = NULL;
    int length;

    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1)
        return -EINVAL;
    length = width ? BN_bn2binpad(number, bytes, width) : BN_bn2bin(number, bytes);
    BN_free(number);
    if (length <= 0)
        return -EINVAL;
    base64url_append(out, bytes, (size_t)length);
    return 0;
}

/* The members that say what a key is, in the order of their names: as thumbprints want them. */
static int append_rsa(struct buffer *out, EVP_PKEY *pkey)
{
    buffer_append_text(out, "\"e\":\"");
    if (append_number(out, pkey, OSSL_PKEY_PARAM_RSA_E, 0) < 0)
        return -EINVAL;
    buffer_append_text(out, "\",\"kty\":\"RSA\",\"n\":\"");
    if (append_number(out, pkey, OSSL_PKEY_PARAM_RSA_N, 0) < 0)
        return -EINVAL;
    buffer_append_byte(out, '"');
    return 0;
}

static int append_p256(struct buffer *out, EVP_PKEY *pkey)
{
    buffer_append_text(out, "\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    if (append_number(out, pkey, OSSL_PKEY_PARAM_EC_PUB_X, P256_BYTES) < 0)
        return -EINVAL;
    buffer_append_text(out, "\",\"y\":\"");
    if (append_number(out, pkey, OSSL_PKEY_PARAM_EC_PUB_Y, P256_BYTES) < 0)
        return -EINVAL;
    buffer_append_byte(out, '"');
    return 0;
}

static bool is_rsa(EVP_PKEY *pkey)
{
    return EVP_PKEY_base_id(pkey) == EVP_PKEY_RSA && EVP_PKEY_bits(pkey) >= KEY_BITS &&
           EVP_PKEY_bits(pkey) <= KEY_BITS_MAX;
}

static bool is_p256(EVP_PKEY *pkey)
{
    char curve[32] = "";

    return EVP_PKEY_base_id(pkey) == EVP_PKEY_EC &&
           EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL) == 1 &&
           strcmp(curve, SN_X9_62_prime256v1) == 0;
}

static EVP_PKEY *make_rsa(void)
{
    return EVP_RSA_gen(KEY_BITS);
}

static EVP_PKEY *make_p256(void)
{
    return EVP_EC_gen("P-256");
}

static const struct kind {
    const char *algorithm;
    bool (*is)(EVP_PKEY *);
    int (*append)(struct buffer *, EVP_PKEY *);
    EVP_PKEY *(*make)(void);
} kinds[] = {
    {"RS256", is_rsa, append_rsa, make_rsa},
    {"ES256", is_p256, append_p256, make_p256},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static char *thumbprint(const char *jwk)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct buffer text = {0};

    buffer_appendf(&text, "{%s}", jwk);
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

static int describe(struct signing_key *key, EVP_PKEY *pkey)
{
    struct buffer jwk = {0};

    for (size_t i = 0; i < KINDS; i++) {
        if (!kinds[i].is(pkey))
            continue;
        key->algorithm = kinds[i].algorithm;
        key->public_pem = public_pem(pkey);
        if (key->public_pem == NULL || kinds[i].append(&jwk, pkey) < 0)
            break;
        key->jwk = text_of(&jwk);
        key->kid = thumbprint(key->jwk);
        return 0;
    }
    buffer_finish(&jwk);
    return -EINVAL;
}

/* Takes private_pem over. Returns 0 or -EINVAL. */
static int read_key(struct signing_key *key, struct buffer *private_pem)
{
    BIO *bio = BIO_new_mem_buf(private_pem->data, (int)private_pem->length);
    char no_passphrase[] = ""; /* or OpenSSL asks for it on the terminal */
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL;
    int result;

    *key = (struct signing_key){.private_pem = *private_pem};
    *private_pem = (struct buffer){0};
    result = pkey ? describe(key, pkey) : -EINVAL;
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    if (result < 0)
        finish_key(key);
    return result;
}

/* ---- the directory -----------------------------------------------------------------------------
 */

static int64_t time_of_file(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (int64_t)status.st_mtim.tv_sec : 0;
}

static int load_file(struct signing_keys *keys, const char *name, struct buffer *error)
{
    char *path = xasprintf("%s/%s", keys->directory, name);
    struct signing_key *key = &keys->keys[keys->count];
    struct buffer pem = {0};
    int result = keys->count == SIGNING_KEYS_MAX ? -ENOSPC : key_file_read(path, &pem);

    if (result == -ENOSPC) {
        key_files_say(error, keys->directory, "more than 16 keys");
    } else if (result < 0) {
        key_files_say(error, path, strerror(-result));
    } else if ((result = read_key(key, &pem)) < 0) {
        key_files_say(error, path,
                      "no private key of RSA (2048 to 8192 bits) or P-256, without a "
                      "passphrase");
    } else {
        key->name = xstrdup(name);
        key->made_at = time_of_file(path);
        keys->count++;
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

static void forget_keys(struct signing_keys *keys)
{
    while (keys->count > 0)
        finish_key(&keys->keys[--keys->count]);
}

static struct timespec time_of_directory(const struct signing_keys *keys)
{
    struct stat status;

    return stat(keys->directory, &status) == 0 ? status.st_mtim : (struct timespec){0};
}

static int load_directory(struct signing_keys *keys, struct buffer *error)
{
    struct dirent **entries;
    int result = 0, count;

    keys->changed = time_of_directory(keys);
    keys->settled = keys->changed.tv_sec + 1 < time(NULL);
    count = scandir(keys->directory, &entries, is_key_file, alphasort);
    if (count < 0) {
        result = -errno;
        key_files_say(error, keys->directory, strerror(-result));
        return result;
    }
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = load_file(keys, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* ---- making keys -------------------------------------------------------------------------------
 */

/* Names sort by the moment they were made. */
static void name_key(char *name, size_t size)
{
    struct timespec now;
    struct tm utc;
    char second[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(second, sizeof(second), "%Y%m%dT%H%M%S", &utc);
    snprintf(name, size, "%s%03dZ" SUFFIX, second, (int)(now.tv_nsec / 1000000));
}

static int write_new_key(const char *directory, const char *algorithm)
{
    EVP_PKEY *pkey = NULL;
    char name[40];
    int result;

    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].algorithm, algorithm) == 0)
            pkey = kinds[i].make();
    name_key(name, sizeof(name));
    result = pkey != NULL ? key_file_write(directory, name, pkey) : -ENOMEM;
    EVP_PKEY_free(pkey);
    return result;
}

static bool has_newer_key(const char *directory, int64_t than)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key_file, NULL);
    bool found = false;

    if (count < 0)
        return false;
    for (int i = 0; i < count; i++) {
        char *path = xasprintf("%s/%s", directory, entries[i]->d_name);

        found |= time_of_file(path) >= than;
        free(path);
        free(entries[i]);
    }
    free(entries);
    return found;
}

/* One process at a time: the next sees what this one has made. */
int signing_key_make(const char *directory, const char *algorithm, int64_t older_than,
                     struct buffer *error)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;

    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        result = -errno;
    } else if (has_newer_key(directory, older_than)) {
        result = 0;
    } else {
        result = write_new_key(directory, algorithm);
        if (result == 0)
            result = 1;
        else if (result == -EEXIST)
            result = 0; /* made in this millisecond */
    }
    if (fd >= 0)
        close(fd);
    if (result < 0)
        key_files_say(error, directory, strerror(-result));
    return result;
}

/* ---- the keys ----------------------------------------------------------------------------------
 */

static const struct signing_key *newest(const struct signing_keys *keys)
{
    return keys->count > 0 ? &keys->keys[keys->count - 1] : NULL;
}

static int load_or_make(struct signing_keys *keys, const char *algorithm, struct buffer *error)
{
    int result = key_directory_make(keys->directory, error);
    int64_t now_s = time(NULL);

    if (result == 0)
        result = load_directory(keys, error);
    if (result < 0)
        return result;
    if (newest(keys) != NULL && strcmp(newest(keys)->algorithm, algorithm) == 0)
        return 0;
    /* Of processes that start together the first makes it. */
    result = signing_key_make(keys->directory, algorithm, newest(keys) ? now_s : 0, error);
    if (result < 0)
        return result;
    forget_keys(keys);
    return load_directory(keys, error);
}

struct signing_keys *signing_keys_create(const char *directory, const char *algorithm,
                                         struct buffer *error)
{
    struct signing_keys *keys = xcalloc(1, sizeof(*keys));

    keys->directory = xstrdup(directory);
    if (load_or_make(keys, algorithm, error) < 0)
        signing_keys_destroy(&keys);
    return keys;
}

void signing_keys_destroy(struct signing_keys **keys)
{
    if (*keys == NULL)
        return;
    forget_keys(*keys);
    free((*keys)->directory);
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

/* When none is old enough, the oldest is what is known best. */
const struct signing_key *signing_keys_current(const struct signing_keys *keys, int64_t now_s)
{
    for (size_t i = keys->count; i-- > 0;)
        if (keys->keys[i].made_at + SIGNING_KEY_DELAY_S <= now_s)
            return &keys->keys[i];
    return &keys->keys[0];
}

bool signing_keys_are_old(const struct signing_keys *keys, int64_t seconds, int64_t now_s)
{
    return seconds > 0 && newest(keys)->made_at + seconds <= now_s;
}

static bool are_same(const struct signing_keys *a, const struct signing_keys *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->keys[i].kid, b->keys[i].kid) != 0)
            return false;
    return true;
}

int signing_keys_refresh(struct signing_keys *keys, struct buffer *error)
{
    struct signing_keys read = {.directory = keys->directory};
    struct timespec now = time_of_directory(keys);
    int result;
    bool same;

    if (keys->settled && now.tv_sec == keys->changed.tv_sec && now.tv_nsec == keys->changed.tv_nsec)
        return 0;
    result = load_directory(&read, error);
    if (result == 0 && read.count == 0) {
        key_files_say(error, keys->directory, "all keys are gone");
        result = -ENOENT;
    }
    if (result < 0) {
        forget_keys(&read);
        keys->changed = now; /* said once */
        keys->settled = true;
        return result;
    }
    same = are_same(keys, &read);
    forget_keys(keys);
    *keys = read;
    return same ? 0 : 1;
}

static bool retire(const struct signing_keys *keys, const struct signing_key *key)
{
    char *path = xasprintf("%s/%s", keys->directory, key->name);
    char *aside = xasprintf("%s" RETIRED, path);
    bool done = rename(path, aside) == 0;

    free(path);
    free(aside);
    return done;
}

size_t signing_keys_retire(struct signing_keys *keys, int64_t longest_s, int64_t now_s)
{
    size_t count = 0;

    for (size_t i = 0; i + 1 < keys->count; i++)
        if (keys->keys[i + 1].made_at + SIGNING_KEY_DELAY_S + longest_s + RETIRE_MARGIN_S < now_s)
            count += retire(keys, &keys->keys[i]);
    return count;
}

void signing_keys_append_jwks(const struct signing_keys *keys, struct buffer *out)
{
    size_t count = keys ? keys->count : 0;

    buffer_append_text(out, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        const struct signing_key *key = &keys->keys[i];

        buffer_appendf(out, "%s{\"use\":\"sig\",\"alg\":\"%s\",\"kid\":\"%s\",%s}",
                       i > 0 ? "," : "", key->algorithm, key->kid, key->jwk);
    }
    buffer_append_text(out, "]}");
}
