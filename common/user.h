/*
 * User ids: one namespace for all protocols (docs/auth.md).
 */
#ifndef COMMON_USER_H
#define COMMON_USER_H

#include "common/slice.h"

#include <stdbool.h>

#define USER_ID_MAX 128

/* UTF-8 without control characters. */
bool text_is_printable(struct slice text);
/*
 * 1 to 128 bytes of UTF-8, no control characters, no reserved name: "group:*", "SERVER",
 * "BROADCAST", "*". "guest:*" are made by auth only: from_auth says that auth vouches for the name.
 */
bool user_allowed(struct slice user, bool from_auth);

#endif
