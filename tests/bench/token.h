/*
 * Bearer tokens for many users: signed here with the deployment's shared secret (HS256), or read
 * from a file with one token a line (what auth gave out; RS256).
 */
#ifndef BENCH_TOKEN_H
#define BENCH_TOKEN_H

#include <stddef.h>

#define TOKEN_SIZE 2048

struct tokens;

/* Both end the program with one line when the file cannot be read or is empty. */
struct tokens *tokens_from_secret(const char *path);
struct tokens *tokens_from_list(const char *path);
void tokens_destroy(struct tokens **);
/* How many different users there can be. */
size_t tokens_limit(const struct tokens *);
/* The token of a user (with a list: of the index-th line, whoever that is). */
void tokens_write(const struct tokens *, size_t index, const char *user, char token[TOKEN_SIZE]);

#endif
