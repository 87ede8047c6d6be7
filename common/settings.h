/*
 * The settings of a process: read from the environment once, at start. One table (settings.def) has
 * name, type, bounds, default and the sentence shown to users.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include "common/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum settings_process {
    SETTINGS_GATEWAY = 1,
    SETTINGS_ROUTER = 2,
    SETTINGS_AUTH = 4,
};

struct settings {
#define TEXT const char *
#define NUMBER int64_t
#define SWITCH bool
#define SETTING(field, type, ...) type field;
#include "common/settings.def"
#undef SETTING
#undef TEXT
#undef NUMBER
#undef SWITCH
};

/*
 * Reads what concerns process from the environment; texts stay the environment's. Returns 0, or
 * -EINVAL with the one line for the operator in error: it names the variable and what it may be.
 */
int settings_read(struct settings *, enum settings_process process, struct buffer *error)
    __attribute__((warn_unused_result));
/* Appends the list for --help. */
void settings_help(struct buffer *, enum settings_process process);
/*
 * Answers --help and --version (returns 1: printed, exit 0), refuses other arguments (-EINVAL, said
 * on stderr), or 0: go on.
 */
int settings_arguments(int argc, char **argv, enum settings_process process);
/* Splits "host:port" or "[v6]:port". Returns 0 or -EINVAL. host has room for size bytes. */
int settings_split_address(const char *address, char *host, size_t size, int *port)
    __attribute__((warn_unused_result));

#endif
