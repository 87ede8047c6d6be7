#include "common/sealed.h"

#include "common/uid.h"
#include "common/xalloc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define VERSION 1
#define HEAD_BYTES 3
#define KEY_BYTES 32
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

/* One struct for both: what can be done with it is a matter of its type. */
struct sealing_key {
    EVP_PKEY *key;
};
struct unsealing_key {
    EVP_PKEY *key;
};

/* ---- keys --------------------------------------------------------------------------------------
 */

static EVP_PKEY *keep_if_fit(EVP_PKEY *key)
{
    if (key != NULL && EVP_PKEY_base_id(key) == EVP_PKEY_RSA &&
        EVP_PKEY_bits(key) >= RSA_BITS_MIN && EVP_PKEY_bits(key) <= RSA_BITS_MAX)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

struct sealing_key *sealing_key_read(struct slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    EVP_PKEY *key = keep_if_fit(bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL);
    struct sealing_key *sealing = NULL;

    BIO_free(bio);
    if (key != NULL) {
        sealing = xcalloc(1, sizeof(*sealing));
        sealing->key = key;
    }
    return sealing;
}

void sealing_key_destroy(struct sealing_key **sealing)
{
    if (*sealing == NULL)
        return;
    EVP_PKEY_free((*sealing)->key);
    free(*sealing);
    *sealing = NULL;
}

struct unsealing_key *unsealing_key_read(struct slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    char no_passphrase[] = ""; /* or OpenSSL asks for it on the terminal */
    EVP_PKEY *key =
        keep_if_fit(bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL);
    struct unsealing_key *unsealing = NULL;

    BIO_free(bio);
    if (key != NULL) {
        unsealing = xcalloc(1, sizeof(*unsealing));
        unsealing->key = key;
    }
    return unsealing;
}

void unsealing_key_destroy(struct unsealing_key **unsealing)
{
    if (*unsealing == NULL)
        return;
    EVP_PKEY_free((*unsealing)->key);
    free(*unsealing);
    *unsealing = NULL;
}

void unsealing_key_append_public(const struct unsealing_key *unsealing, struct buffer *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;

    if (bio != NULL && PEM_write_bio_PUBKEY(bio, unsealing->key) == 1) {
        long length = BIO_get_mem_data(bio, &data);

        buffer_append(out, data, (size_t)length);
    }
    BIO_free(bio);
}

/* ---- the key of one text -----------------------------------------------------------------------
 */

typedef int key_operation(EVP_PKEY_CTX *, unsigned char *out, size_t *out_length,
                          const unsigned char *in, size_t in_length);

static int run_oaep(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *), key_operation *operation,
                    struct slice in, unsigned char *out, size_t *length)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    bool done = context != NULL && init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1 &&
                operation(context, out, length, (const unsigned char *)in.data, in.length) == 1;

    EVP_PKEY_CTX_free(context);
    return done ? 0 : -EIO;
}

/* ---- the text ----------------------------------------------------------------------------------
 */

static bool encrypt(EVP_CIPHER_CTX *context, const unsigned char *key, const unsigned char *nonce,
                    struct slice label, struct slice text, unsigned char *tag, unsigned char *out)
{
    int length;

    return EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_EncryptUpdate(context, NULL, &length, (const unsigned char *)label.data,
                             (int)label.length) == 1 &&
           EVP_EncryptUpdate(context, out, &length, (const unsigned char *)text.data,
                             (int)text.length) == 1 &&
           EVP_EncryptFinal_ex(context, out + length, &length) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
}

static bool decrypt(EVP_CIPHER_CTX *context, const unsigned char *key, const unsigned char *nonce,
                    struct slice label, struct slice text, const unsigned char *tag,
                    unsigned char *out)
{
    int length;

    return EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_DecryptUpdate(context, NULL, &length, (const unsigned char *)label.data,
                             (int)label.length) == 1 &&
           EVP_DecryptUpdate(context, out, &length, (const unsigned char *)text.data,
                             (int)text.length) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, (void *)tag) == 1 &&
           EVP_DecryptFinal_ex(context, out + length, &length) == 1;
}

int seal(const struct sealing_key *sealing, struct slice text, struct slice label,
         struct buffer *out)
{
    unsigned char key[KEY_BYTES];
    size_t key_length = (size_t)EVP_PKEY_size(sealing->key), start = out->length;
    unsigned char *head =
        (unsigned char *)buffer_reserve(out, SEALED_OVERHEAD + text.length + TAG_BYTES);
    unsigned char *nonce = head + HEAD_BYTES + key_length;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int result;

    uid_random(key, sizeof(key));
    uid_random(nonce, NONCE_BYTES);
    head[0] = VERSION;
    head[1] = (unsigned char)(key_length >> 8);
    head[2] = (unsigned char)key_length;
    result = run_oaep(sealing->key, EVP_PKEY_encrypt_init, EVP_PKEY_encrypt,
                      slice_of(key, sizeof(key)), head + HEAD_BYTES, &key_length);
    if (result == 0 &&
        (context == NULL || !encrypt(context, key, nonce, label, text, nonce + NONCE_BYTES,
                                     nonce + NONCE_BYTES + TAG_BYTES)))
        result = -EIO;
    EVP_CIPHER_CTX_free(context);
    OPENSSL_cleanse(key, sizeof(key));
    if (result == 0)
        out->length = start + HEAD_BYTES + key_length + NONCE_BYTES + TAG_BYTES + text.length;
    return result;
}

int unseal(const struct unsealing_key *unsealing, struct slice sealed, struct slice label,
           struct buffer *out)
{
    const unsigned char *bytes = (const unsigned char *)sealed.data, *nonce, *tag;
    size_t key_part = (size_t)EVP_PKEY_size(unsealing->key);
    size_t overhead = HEAD_BYTES + key_part + NONCE_BYTES + TAG_BYTES;
    unsigned char key[RSA_BITS_MAX / 8];
    size_t key_length = sizeof(key);
    EVP_CIPHER_CTX *context;
    unsigned char *room;
    int result = -EBADMSG;

    if (sealed.length < overhead || bytes[0] != VERSION ||
        (size_t)(bytes[1] << 8 | bytes[2]) != key_part)
        return -EBADMSG;
    nonce = bytes + HEAD_BYTES + key_part;
    tag = nonce + NONCE_BYTES;
    room = (unsigned char *)buffer_reserve(out, sealed.length - overhead + TAG_BYTES);
    context = EVP_CIPHER_CTX_new();
    if (context != NULL &&
        run_oaep(unsealing->key, EVP_PKEY_decrypt_init, EVP_PKEY_decrypt,
                 slice_of(bytes + HEAD_BYTES, key_part), key, &key_length) == 0 &&
        key_length == KEY_BYTES &&
        decrypt(context, key, nonce, label, slice_of(tag + TAG_BYTES, sealed.length - overhead),
                tag, room)) {
        out->length += sealed.length - overhead;
        result = 0;
    }
    EVP_CIPHER_CTX_free(context);
    OPENSSL_cleanse(key, sizeof(key));
    return result;
}
