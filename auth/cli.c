#include "auth/cli.h"

#include "auth/announcements.h"
#include "auth/passwords.h"
#include "common/user.h"
#include "common/version.h"
#include "common/xalloc.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define SECRET_BYTES_MAX 8192
#define CALLED "trunkline-auth"

/* ---- the command line --------------------------------------------------------------------------
 */

static const struct cli_command *find_command(const char *name)
{
    const struct cli_command *command = cli_commands;

    while (command->name != NULL && strcmp(command->name, name) != 0)
        command++;
    return command->name != NULL ? command : NULL;
}

bool cli_is_wanted(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');

    return strcmp(slash ? slash + 1 : argv[0], CALLED) == 0 ||
           (argc > 1 && find_command(argv[1]) != NULL);
}

static void print_help(FILE *out)
{
    struct buffer settings = {0};

    fputs("usage: " CALLED " COMMAND ...\n\n", out);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        fprintf(out, "  %s %s\n      %s\n", command->name, command->arguments, command->sentence);
    fputs("\nPasswords and tokens are asked for, or read from the standard input: one line.\n"
          "Settings are those of auth, from the environment:\n",
          out);
    settings_help(&settings, SETTINGS_AUTH);
    fwrite(settings.data, 1, settings.length, out);
    buffer_finish(&settings);
}

/* Returns 0, or the exit status plus one. */
static int read_arguments(struct cli *cli, int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? 3 : 1;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("trunkline " TRUNKLINE_VERSION);
        return 1;
    }
    cli->command = find_command(argv[1]);
    if (cli->command == NULL) {
        fprintf(stderr, CALLED ": no command is called %s; see --help\n", argv[1]);
        return 3;
    }
    cli->argc = argc - 2;
    cli->argv = argv + 2;
    if (cli->argc < cli->command->least || cli->argc > cli->command->most) {
        fprintf(stderr, "usage: " CALLED " %s %s\n", cli->command->name, cli->command->arguments);
        return 3;
    }
    if (!cli->command->user)
        return 0;
    cli->user = slice_text(cli->argv[0]);
    if (user_allowed(cli->user, false))
        return 0;
    fprintf(stderr,
            CALLED ": %s: no user can be called so (1 to 128 bytes of UTF-8, no control "
                   "characters, no reserved name)\n",
            cli->argv[0]);
    return 3;
}

/* ---- secrets -----------------------------------------------------------------------------------
 */

/* One line, without its end; an end of file ends it, too. */
static int read_line(struct buffer *line)
{
    char byte = '\0';
    ssize_t length = 1;

    /* In one piece: growing would leave copies. */
    buffer_reserve(line, SECRET_BYTES_MAX + 1);
    while (length > 0 && byte != '\n' && line->length <= SECRET_BYTES_MAX) {
        length = read(STDIN_FILENO, &byte, 1);
        if (length > 0 && byte != '\n')
            buffer_append_byte(line, byte);
    }
    if (line->length > 0 && line->data[line->length - 1] == '\r')
        line->length--;
    return length < 0 || line->length > SECRET_BYTES_MAX ? -EINVAL : 0;
}

static int ask(const char *what, const char *again, struct buffer *line)
{
    struct termios shown, hidden;
    int result;

    fprintf(stderr, "%s%s: ", what, again);
    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return -errno;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    result = read_line(line);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    return result;
}

static void forget(struct buffer *line)
{
    if (line->data != NULL)
        explicit_bzero(line->data, line->capacity);
    buffer_finish(line);
}

static int read_secret(struct cli *cli)
{
    const struct cli_command *command = cli->command;
    struct buffer again = {0};
    int result;

    if (command->secret == NULL)
        return 0;
    if (!isatty(STDIN_FILENO)) {
        result = read_line(&cli->password);
    } else {
        result = ask(command->secret, "", &cli->password);
        if (result == 0 && command->twice) {
            result = ask(command->secret, " again", &again);
            if (result == 0 && !slice_equal(buffer_slice(&again), buffer_slice(&cli->password)))
                result = -EINVAL;
            forget(&again);
        }
    }
    if (result < 0)
        fprintf(stderr, CALLED ": no %s could be read%s\n", command->secret,
                command->twice && isatty(STDIN_FILENO) ? ", or two different ones" : "");
    return result;
}

/* ---- running -----------------------------------------------------------------------------------
 */

void cli_end(struct cli *cli)
{
    if (cli->finished)
        return;
    cli->finished = true;
    bus_destroy(&cli->auth.bus);
    if (cli->command->redis)
        uv_close((uv_handle_t *)&cli->patience, NULL);
}

void cli_fail(struct cli *cli, const char *format, ...)
{
    va_list arguments;

    if (cli->finished)
        return;
    fputs(CALLED ": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    cli->status = 1;
    cli_end(cli);
}

static void on_up(void *arg)
{
    struct cli *cli = arg;

    if (!cli->finished)
        cli->command->run(cli);
}

static void on_down(void *arg, const char *reason)
{
    cli_fail(arg, "TRUNKLINE_REDIS: %s", reason);
}

static void on_patience(uv_timer_t *timer)
{
    cli_fail(timer->data, "Redis does not answer");
}

static void begin(struct cli *cli)
{
    struct auth *auth = &cli->auth;

    if (!cli->command->redis) {
        cli->command->run(cli);
        return;
    }
    uv_timer_init(auth->loop, &cli->patience);
    cli->patience.data = cli;
    uv_timer_start(&cli->patience, on_patience, PATIENCE_MS, 0);
    auth->bus = bus_create(auth->loop, &(struct bus_options){.address = &cli->address,
                                                             .client_name = CALLED,
                                                             .on_up = on_up,
                                                             .on_down = on_down,
                                                             .arg = cli});
    accounts_add_scripts(auth->bus);
    announcements_add_scripts(auth->bus);
}

static int read_settings(struct cli *cli)
{
    struct settings *settings = &cli->auth.settings;
    struct buffer error = {0};
    int result = settings_read(settings, SETTINGS_AUTH, &error);

    if (result == 0) {
        result = bus_address_parse(settings->redis, &cli->address);
        if (result < 0)
            buffer_append_text(&error,
                               "TRUNKLINE_REDIS: must be redis://[user:password@]host[:port]");
    }
    if (result < 0)
        fprintf(stderr, CALLED ": %.*s\n", (int)error.length, error.data);
    buffer_finish(&error);
    snprintf(cli->auth.deployment.prefix, sizeof(cli->auth.deployment.prefix), "%s",
             result == 0 ? settings->prefix : "");
    return result;
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {0};
    int asked = read_arguments(&cli, argc, argv);
    uv_loop_t loop;

    if (asked != 0)
        return asked - 1;
    if (read_settings(&cli) < 0 || read_secret(&cli) < 0) {
        forget(&cli.password);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    cli.auth.loop = &loop;
    cli.auth.passwords = passwords_create(&loop);
    begin(&cli);
    uv_run(&loop, UV_RUN_DEFAULT);
    passwords_destroy(&cli.auth.passwords);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    forget(&cli.password);
    ended_tokens_finish(&cli.revoke);
    return cli.status;
}
