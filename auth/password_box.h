/*
 * The key pair under which gateways send passwords to auth: box.key beside the signing keys, made
 * on the first start. Its public half is in Redis (hash `<prefix>auth:box`).
 */
#ifndef AUTH_PASSWORD_BOX_H
#define AUTH_PASSWORD_BOX_H

#include "common/sealed.h"

#define PASSWORD_BOX_FILE "box.key"

/* Reads directory/box.key, or makes it. NULL with the line for the operator in error. */
struct unsealing_key *password_box_open(const char *directory, struct buffer *error);

#endif
