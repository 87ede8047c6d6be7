#include "common/settings.h"

#include "common/version.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum setting_type { SETTING_TEXT, SETTING_NUMBER, SETTING_SWITCH };

struct setting {
    const char *variable;
    enum setting_type type;
    size_t offset;
    const char *standard;
    int64_t minimum, maximum;
    int processes;
    const char *sentence;
};

#define GATEWAY SETTINGS_GATEWAY
#define ROUTER SETTINGS_ROUTER
#define AUTH SETTINGS_AUTH
#define SETTING(field, type, variable, standard, minimum, maximum, processes, sentence)            \
    {variable,  SETTING_##type, offsetof(struct settings, field), standard, minimum, maximum,      \
     processes, sentence},
static const struct setting settings_table[] = {
#include "common/settings.def"
};
#undef SETTING
#undef GATEWAY
#undef ROUTER
#undef AUTH

#define SETTINGS_COUNT (sizeof(settings_table) / sizeof(settings_table[0]))

static int read_text(const struct setting *row, const char *text, void *field)
{
    size_t length = strlen(text);

    if ((int64_t)length < row->minimum || (int64_t)length > row->maximum)
        return -EINVAL;
    *(const char **)field = text;
    return 0;
}

static int read_number(const struct setting *row, const char *text, void *field)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || end == text || *end != '\0' || value < row->minimum || value > row->maximum)
        return -EINVAL;
    *(int64_t *)field = value;
    return 0;
}

static int read_switch(const struct setting *row, const char *text, void *field)
{
    static const char *const words[] = {"0", "1", "off", "on", "no", "yes", "false", "true"};

    (void)row;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *(bool *)field = i % 2;
            return 0;
        }
    }
    return -EINVAL;
}

static int (*const readers[])(const struct setting *, const char *, void *) = {
    [SETTING_TEXT] = read_text,
    [SETTING_NUMBER] = read_number,
    [SETTING_SWITCH] = read_switch,
};

static void describe_range(struct buffer *out, const struct setting *row)
{
    switch (row->type) {
    case SETTING_TEXT:
        buffer_appendf(out, "a text of %" PRId64 " to %" PRId64 " bytes", row->minimum,
                       row->maximum);
        break;
    case SETTING_NUMBER:
        buffer_appendf(out, "a whole number from %" PRId64 " to %" PRId64, row->minimum,
                       row->maximum);
        break;
    case SETTING_SWITCH:
        buffer_append_text(out, "on or off");
        break;
    }
}

int settings_read(struct settings *settings, enum settings_process process, struct buffer *error)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *row = &settings_table[i];
        const char *text = getenv(row->variable);

        /* A setting of another process may be wrong for all this one cares. */
        if (text == NULL || !(row->processes & (int)process))
            text = row->standard;
        if (readers[row->type](row, text, (char *)settings + row->offset) == 0)
            continue;
        buffer_appendf(error, "%s: must be ", row->variable);
        describe_range(error, row);
        return -EINVAL;
    }
    return 0;
}

void settings_help(struct buffer *out, enum settings_process process)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *row = &settings_table[i];

        if (!(row->processes & (int)process))
            continue;
        buffer_appendf(out, "  %s=%s\n      %s: ", row->variable, row->standard, row->sentence);
        describe_range(out, row);
        buffer_append_byte(out, '\n');
    }
}

int settings_arguments(int argc, char **argv, enum settings_process process)
{
    struct buffer help = {0};

    if (argc < 2)
        return 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("trunkline " TRUNKLINE_VERSION);
        return 1;
    }
    if (argc != 2 || strcmp(argv[1], "--help") != 0) {
        fprintf(stderr, "%s: unknown argument %s; settings are environment variables, see --help\n",
                argv[0], argv[1]);
        return -EINVAL;
    }
    buffer_appendf(&help, "usage: %s [--help | --version]\n\nSettings, from the environment:\n",
                   argv[0]);
    settings_help(&help, process);
    fwrite(help.data, 1, help.length, stdout);
    buffer_finish(&help);
    return 1;
}

int settings_split_address(const char *address, char *host, size_t size, int *port)
{
    const char *colon = strrchr(address, ':');
    size_t length;
    char *end;
    long value;

    if (colon == NULL)
        return -EINVAL;
    length = (size_t)(colon - address);
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    value = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || value < 0 || value > 65535 || length == 0 ||
        length >= size)
        return -EINVAL;
    memcpy(host, address, length);
    host[length] = '\0';
    *port = (int)value;
    return 0;
}
