/*
 * trunkline-auth: accounts, sessions, tokens and keys from the shell. The same program as auth,
 * with a command in front: it does one thing with the same settings, and ends. Passwords and tokens
 * come from a prompt or the standard input, never from the command line.
 */
#ifndef AUTH_CLI_H
#define AUTH_CLI_H

#include "auth/accounts.h"
#include "auth/auth.h"

#include <stdbool.h>

/* Whether the command line is one for cli_main: called trunkline-auth, or with a command. */
bool cli_is_wanted(int argc, char **argv);
/* Returns the exit status: 0, 1 (it could not be done) or 2 (wrong arguments). */
int cli_main(int argc, char **argv);

/* ---- cli_commands.c ---- */

struct cli {
    struct auth auth;
    struct bus_address address;
    uv_timer_t patience;
    const struct cli_command *command;
    int argc; /* what stands behind the command */
    char **argv;
    struct slice user;      /* argv[0] of commands that have one */
    struct buffer password; /* or token: of commands that read one */
    struct ended_tokens revoke;
    int ended_logins;
    int status;
    bool finished;
};

struct cli_command {
    const char *name, *arguments, *sentence;
    int least, most;    /* arguments */
    bool user;          /* the first one is a user id */
    bool redis;         /* it needs Redis */
    const char *secret; /* what it reads from the prompt or standard input; NULL: nothing */
    bool twice;         /* a prompt asks for it twice */
    /* Must end in cli_end or cli_fail, now or later. */
    void (*run)(struct cli *);
};

extern const struct cli_command cli_commands[]; /* ends with a name of NULL */

void cli_end(struct cli *);
/* Says the line on stderr; status 1. */
void cli_fail(struct cli *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
