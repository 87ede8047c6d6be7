#include "common/log.h"

#include "common/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static struct {
    char name[64];
    bool json;
    enum log_level level;
} log_state = {.name = "trunkline", .level = LOG_LEVEL_INFO};

static int parse_level(const char *text)
{
    for (int i = 0; i <= LOG_LEVEL_DEBUG; i++)
        if (strcmp(text, level_names[i]) == 0)
            return i;
    return -EINVAL;
}

int log_init(const char *name, const char *spec)
{
    const char *colon = strchr(spec, ':');
    size_t format_length = colon ? (size_t)(colon - spec) : strlen(spec);
    bool json = format_length == 4 && memcmp(spec, "json", 4) == 0;
    int level = colon ? parse_level(colon + 1) : LOG_LEVEL_INFO;

    if (!json && !(format_length == 4 && memcmp(spec, "text", 4) == 0))
        return -EINVAL;
    if (level < 0)
        return level;
    snprintf(log_state.name, sizeof(log_state.name), "%s", name);
    log_state.json = json;
    log_state.level = (enum log_level)level;
    return 0;
}

bool log_enabled(enum log_level level)
{
    return level <= log_state.level;
}

/* Names and errors that others chose must not begin lines of their own, speak to a terminal, or be
   no JSON. */
static void append_printable(struct buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text >= ' ' && *text <= '~')
            buffer_append_byte(out, *text);
        else
            buffer_appendf(out, "\\x%02x", (unsigned char)*text);
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    struct buffer line = {0}, printable = {0};
    char text[1024];
    char stamp[32];
    struct timespec now;
    struct tm utc;
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    append_printable(&printable, text);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    if (log_state.json) {
        buffer_appendf(
            &line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"process\":\"%s\",\"text\":", stamp,
            now.tv_nsec / 1000000, level_names[level], log_state.name);
        buffer_append_json_string(&line, buffer_slice(&printable));
        buffer_append_text(&line, "}\n");
    } else {
        buffer_appendf(&line, "%s.%03ldZ %-5s %s: ", stamp, now.tv_nsec / 1000000,
                       level_names[level], log_state.name);
        buffer_append_slice(&line, buffer_slice(&printable));
        buffer_append_byte(&line, '\n');
    }
    /* One write, so that lines of several processes on one terminal stay whole. */
    if (write(STDERR_FILENO, line.data, line.length) < 0)
        errno = 0;
    buffer_finish(&line);
    buffer_finish(&printable);
}
