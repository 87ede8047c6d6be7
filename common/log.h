/*
 * The log of a process: one line an event on stderr, as text or JSON. Secrets (tokens, passwords,
 * keys) never come here. Code in common/ does not log above debug: it returns errors.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * name: the process in each line. spec: "text" or "json", optionally ":" and a level (error, warn,
 * info, debug). Returns 0, or -EINVAL when spec is neither.
 */
int log_init(const char *name, const char *spec) __attribute__((warn_unused_result));
bool log_enabled(enum log_level);
void log_line(enum log_level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                          \
            log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                \
    } while (0)

#endif
