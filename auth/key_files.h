/*
 * Private keys in files of one directory (TRUNKLINE_AUTH_KEYS): read, made, written whole or not at
 * all. Messages for the operator name the setting and the path.
 */
#ifndef AUTH_KEY_FILES_H
#define AUTH_KEY_FILES_H

#include "common/buffer.h"

#include <openssl/evp.h>

/* Makes the directory (0700) and what is above it. Returns 0, or -errno with the line in error. */
int key_directory_make(const char *directory, struct buffer *error)
    __attribute__((warn_unused_result));
/* Appends the file's bytes (at most 16 KiB) and a NUL that does not count. Returns 0 or -errno. */
int key_file_read(const char *path, struct buffer *out) __attribute__((warn_unused_result));
/*
 * Writes the private key to directory/name (0600), not lost with the power. Returns 0, -EEXIST (it
 * is there already, and stays), or -errno.
 */
int key_file_write(const char *directory, const char *name, EVP_PKEY *)
    __attribute__((warn_unused_result));
/* Appends "TRUNKLINE_AUTH_KEYS: <path>: <cause>". */
void key_files_say(struct buffer *error, const char *path, const char *cause);
/* Wipes and frees. */
void key_text_finish(struct buffer *);

#endif
