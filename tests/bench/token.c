#include "tests/bench/token.h"
#include "tests/bench/hash.h"

#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFETIME_S 3600

struct tokens {
    char *text; /* the file */
    size_t length;
    char **lines; /* of a list; NULL: text is the secret */
    size_t count;
};

static void read_file(struct tokens *tokens, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t size = 0;

    if (!file)
        err(1, "%s", path);
    if (getdelim(&tokens->text, &size, '\0', file) <= 0)
        errx(1, "%s: empty", path);
    fclose(file);
    tokens->length = strcspn(tokens->text, "\r\n");
}

static struct tokens *create(const char *path)
{
    struct tokens *tokens = calloc(1, sizeof *tokens);

    if (!tokens)
        err(1, "tokens");
    read_file(tokens, path);
    return tokens;
}

struct tokens *tokens_from_secret(const char *path)
{
    return create(path);
}

struct tokens *tokens_from_list(const char *path)
{
    struct tokens *tokens = create(path);
    char *rest = tokens->text, *line;

    while ((line = strsep(&rest, "\r\n"))) {
        if (*line == '\0' || strlen(line) >= TOKEN_SIZE)
            continue;
        tokens->lines = reallocarray(tokens->lines, tokens->count + 1, sizeof *tokens->lines);
        if (!tokens->lines)
            err(1, "tokens");
        tokens->lines[tokens->count++] = line;
    }
    if (tokens->count == 0)
        errx(1, "%s: no tokens", path);
    return tokens;
}

void tokens_destroy(struct tokens **tokens)
{
    if (!*tokens)
        return;
    free((*tokens)->lines);
    free((*tokens)->text);
    free(*tokens);
    *tokens = NULL;
}

size_t tokens_limit(const struct tokens *tokens)
{
    return tokens->lines ? tokens->count : SIZE_MAX;
}

/* RFC 7515, appendix A.1 */
static void sign(const struct tokens *tokens, const char *user, char *token)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    long long now = time(NULL);
    uint8_t signature[SHA256_SIZE];
    char claims[256];
    size_t length;

    snprintf(claims, sizeof claims, "{\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld}", user, now,
             now + LIFETIME_S);
    length = hash_base64url(header, strlen(header), token);
    token[length++] = '.';
    length += hash_base64url(claims, strlen(claims), token + length);
    hash_hmac_sha256(tokens->text, tokens->length, token, length, signature);
    token[length++] = '.';
    hash_base64url(signature, sizeof signature, token + length);
}

void tokens_write(const struct tokens *tokens, size_t index, const char *user,
                  char token[TOKEN_SIZE])
{
    if (tokens->lines)
        snprintf(token, TOKEN_SIZE, "%s", tokens->lines[index % tokens->count]);
    else
        sign(tokens, user, token);
}
