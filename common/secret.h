/*
 * The secret that auth and gateways share when tokens are HS256 (TRUNKLINE_TOKEN_SECRET_FILE).
 */
#ifndef COMMON_SECRET_H
#define COMMON_SECRET_H

#include "common/buffer.h"

#define SECRET_MIN 32
#define SECRET_MAX 4096

/*
 * Reads the file without the line end at its end. Returns 0, or -errno (-EINVAL: not 32 to 4096
 * bytes) with the line for the operator in error. secret is wiped by secret_finish.
 */
int secret_read(const char *path, struct buffer *secret, struct buffer *error)
    __attribute__((warn_unused_result));
void secret_finish(struct buffer *secret);

#endif
