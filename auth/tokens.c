#include "auth/tokens.h"

#include "common/base64.h"
#include "common/secret.h"
#include "common/uid.h"
#include "common/xalloc.h"

#include <errno.h>
#include <jwt.h>
#include <openssl/sha.h>
#include <stdlib.h>

#define REFRESH_SECRET_BYTES 32

struct tokens {
    const struct settings *settings;
    const struct signing_keys *keys; /* NULL: HS256 with secret */
    struct buffer secret;
    struct token_keys *accepted;
};

static int accept_keys(struct tokens *tokens, const struct signing_keys *keys, struct buffer *error)
{
    tokens->keys = keys;
    for (size_t i = 0; i < signing_keys_count(keys); i++) {
        const struct signing_key *key = signing_keys_at(keys, i);

        if (token_keys_add(tokens->accepted, slice_text(key->kid), slice_text(key->public_pem)) <
            0) {
            buffer_appendf(error, "TRUNKLINE_AUTH_KEYS: key %s is not usable", key->kid);
            return -EINVAL;
        }
    }
    return 0;
}

static int accept_secret(struct tokens *tokens, struct buffer *error)
{
    int result = secret_read(tokens->settings->token_secret_file, &tokens->secret, error);

    if (result == 0)
        token_keys_set_secret(tokens->accepted, buffer_slice(&tokens->secret));
    return result;
}

struct tokens *tokens_create(const struct settings *settings, const struct signing_keys *keys,
                             struct buffer *error)
{
    struct tokens *tokens = xcalloc(1, sizeof(*tokens));
    int result;

    tokens->settings = settings;
    tokens->accepted = token_keys_create();
    result = keys ? accept_keys(tokens, keys, error) : accept_secret(tokens, error);
    if (result < 0)
        tokens_destroy(&tokens);
    return tokens;
}

void tokens_keys_changed(struct tokens *tokens)
{
    struct buffer error = {0};

    token_keys_destroy(&tokens->accepted);
    tokens->accepted = token_keys_create();
    /* What is a signing key is usable. */
    (void)!accept_keys(tokens, tokens->keys, &error);
    buffer_finish(&error);
}

void tokens_destroy(struct tokens **tokens)
{
    if (*tokens == NULL)
        return;
    token_keys_destroy(&(*tokens)->accepted);
    secret_finish(&(*tokens)->secret);
    free(*tokens);
    *tokens = NULL;
}

/* ---- issuing -----------------------------------------------------------------------------------
 */

static void append_hex(char *text, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < length; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

static void random_id(char text[TOKEN_ID_SIZE])
{
    unsigned char bytes[(TOKEN_ID_SIZE - 1) / 2];

    uid_random(bytes, sizeof(bytes));
    append_hex(text, bytes, sizeof(bytes));
}

void token_plan(struct issued_token *token, int64_t now_s, int64_t ttl)
{
    *token = (struct issued_token){.expires_at = now_s + ttl};
    random_id(token->token_id);
}

/* Whether user is in a list separated by commas. */
static bool is_listed(const char *list, struct slice user)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");

        if (slice_equal(slice_of(list, length), user))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* Returns 0 or an errno of libjwt. */
static int add_claims(jwt_t *jwt, const struct settings *settings, const char *user, int64_t now_s,
                      const struct issued_token *token)
{
    int failed = jwt_add_grant(jwt, "sub", user) | jwt_add_grant_int(jwt, "iat", (long)now_s) |
                 jwt_add_grant_int(jwt, "exp", (long)token->expires_at) |
                 jwt_add_grant(jwt, "jti", token->token_id);

    if (settings->token_issuer[0] != '\0')
        failed |= jwt_add_grant(jwt, "iss", settings->token_issuer);
    if (settings->token_audience[0] != '\0')
        failed |= jwt_add_grant(jwt, "aud", settings->token_audience);
    if (is_listed(settings->admins, slice_text(user)))
        failed |= jwt_add_grant_bool(jwt, "admin", 1);
    return failed;
}

static int set_key(jwt_t *jwt, const struct tokens *tokens, int64_t now_s)
{
    const struct signing_key *key;

    if (tokens->keys == NULL)
        return jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)tokens->secret.data,
                           (int)tokens->secret.length);
    key = signing_keys_current(tokens->keys, now_s);
    return jwt_add_header(jwt, "kid", key->kid) |
           jwt_set_alg(jwt, jwt_str_alg(key->algorithm),
                       (const unsigned char *)key->private_pem.data, (int)key->private_pem.length);
}

int token_sign(const struct tokens *tokens, struct slice user, int64_t now_s,
               struct issued_token *token)
{
    char *name = xmemdup0(user.data, user.length);
    jwt_t *jwt = NULL;

    if (jwt_new(&jwt) == 0 && set_key(jwt, tokens, now_s) == 0 &&
        add_claims(jwt, tokens->settings, name, now_s, token) == 0)
        token->text = jwt_encode_str(jwt);
    jwt_free(jwt);
    free(name);
    return token->text != NULL ? 0 : -EIO;
}

enum verifier_result token_check(const struct tokens *tokens, struct slice token, int64_t now_s,
                                 struct identity *identity)
{
    const struct token_rules rules = {.issuer = tokens->settings->token_issuer,
                                      .audience = tokens->settings->token_audience};

    return identity_from_token(tokens->accepted, &rules, token, now_s, identity);
}

/* ---- refresh tokens ----------------------------------------------------------------------------
 */

static void hash_text(struct slice text, char hash[REFRESH_HASH_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)text.data, text.length, digest);
    append_hex(hash, digest, sizeof(digest));
}

void refresh_token_make(struct refresh_token *token, struct slice user, const char *login)
{
    unsigned char secret[REFRESH_SECRET_BYTES];
    struct buffer text = {0};

    if (login != NULL)
        memcpy(token->login, login, TOKEN_ID_SIZE);
    else
        random_id(token->login);
    uid_random(secret, sizeof(secret));
    buffer_append_text(&text, token->login);
    buffer_append_byte(&text, '.');
    base64url_append(&text, secret, sizeof(secret));
    buffer_append_byte(&text, '.');
    base64url_append(&text, user.data, user.length);
    hash_text(buffer_slice(&text), token->hash);
    memcpy(token->text, text.data, text.length);
    token->text[text.length] = '\0';
    memcpy(token->user, user.data, user.length);
    token->user[user.length] = '\0';
    secret_finish(&text);
}

/* The three parts; login has its exact form. */
static int split_refresh(struct slice text, struct slice *login, struct slice *user)
{
    const char *first = memchr(text.data, '.', text.length);
    const char *last = memrchr(text.data, '.', text.length);

    if (first == NULL || first == last)
        return -EINVAL;
    *login = slice_of(text.data, (size_t)(first - text.data));
    *user = slice_of(last + 1, text.length - (size_t)(last + 1 - text.data));
    if (login->length != TOKEN_ID_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < login->length; i++)
        if (login->data[i] == '\0' || strchr("0123456789abcdef", login->data[i]) == NULL)
            return -EINVAL;
    return 0;
}

int refresh_token_read(struct refresh_token *token, struct slice text)
{
    struct slice login, user;
    int length;

    if (text.length == 0 || text.length >= REFRESH_TOKEN_SIZE ||
        split_refresh(text, &login, &user) < 0)
        return -EINVAL;
    length = base64url_decode(user, (unsigned char *)token->user, USER_ID_MAX);
    if (length < 0 || !user_allowed(slice_of(token->user, (size_t)length), false))
        return -EINVAL;
    token->user[length] = '\0';
    memcpy(token->login, login.data, login.length);
    token->login[login.length] = '\0';
    memcpy(token->text, text.data, text.length);
    token->text[text.length] = '\0';
    hash_text(text, token->hash);
    return 0;
}
