/*
 * Keeps the signing keys as they are to be: takes in what changes in their directory, retires those
 * that no live token needs, and makes a new one when the newest is TRUNKLINE_TOKEN_KEY_DAYS old.
 */
#ifndef AUTH_KEY_ROTATION_H
#define AUTH_KEY_ROTATION_H

#include "auth/auth.h"

struct key_rotation;
struct key_rotation *key_rotation_create(struct auth *);
/* A key that is being made is left to itself. NULL-safe; clears the pointer. */
void key_rotation_destroy(struct key_rotation **);
/* Looks now; cheap. */
void key_rotation_look(struct key_rotation *);

#endif
