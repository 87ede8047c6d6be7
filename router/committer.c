#include "router/committer.h"

#include "common/command.h"
#include "common/embed.h"
#include "common/log.h"
#include "common/xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

EMBED(commit_lua, "router/commit.lua");

static struct bus_script commit_script = {.name = "commit", .text = commit_lua};

#define RETRY_MS 100

struct committer {
    struct committer_options options;
    struct bus *bus;
    char name[96];
    uint64_t commit;   /* in flight; 0: none */
    bool up;           /* it was connected */
    bool told;         /* that it cannot connect */
    bool watched;      /* Redis watches the state for this connection */
    bool full;         /* it refused the commit because it is at its maxmemory */
    bool ended;        /* on_end was called */
    uint64_t retry_ms; /* loop time; 0: an answer is awaited */
};

static void end(struct committer *committer, enum committer_end how, const char *why)
{
    if (committer->ended)
        return;
    committer->ended = true;
    committer->options.on_end(committer->options.arg, how, why);
}

/* ---- where the partition stands ---- */

static void send_full(struct committer *);

static void on_commit_state(struct committer *committer, uint64_t stands)
{
    uint64_t commit = committer->commit;

    if (stands == commit) {
        committer->commit = 0;
        committer->options.on_committed(committer->options.arg);
    } else if (stands + 1 != commit) {
        end(committer, COMMITTER_LOST, "its commits are out of turn");
    } else if (committer->full) {
        send_full(committer);
    } else {
        committer->retry_ms = uv_now(committer->options.loop) + RETRY_MS;
    }
}

static void on_watched(void *arg, const struct bus_reply *reply)
{
    struct committer *committer = arg;

    if (reply != NULL)
        committer->watched = slice_is(bus_reply_text(reply), "OK");
}

static void on_state(void *arg, const struct bus_reply *reply)
{
    struct committer *committer = arg;
    struct number epoch = {0}, commit = {0};

    if (reply == NULL || committer->ended)
        return;
    if (!committer->watched || bus_reply_kind(reply) != BUS_ARRAY) {
        end(committer, COMMITTER_REFUSED, "its state cannot be watched");
        return;
    }
    if (number_parse(bus_reply_text(bus_reply_at(reply, 0)), &epoch) < 0 ||
        number_parse(bus_reply_text(bus_reply_at(reply, 1)), &commit) < 0 ||
        epoch.epoch != committer->options.epoch)
        end(committer, COMMITTER_LOST, "it is another's");
    else if (committer->commit)
        on_commit_state(committer, commit.epoch);
    else
        committer->options.on_ready(committer->options.arg);
}

/* Not sent: the connection is about to say that it is down. */
static void watch(struct committer *committer)
{
    struct slice state = effects_key_text(committer->options.effects, EFFECT_KEY_STATE);
    const struct slice words[] = {slice_text("WATCH"), state};
    const struct slice asked[] = {slice_text("HMGET"), state, slice_text("epoch"),
                                  slice_text("commit")};

    committer->watched = false;
    if (bus_command(committer->bus, on_watched, committer, 2, words) < 0 ||
        bus_command(committer->bus, on_state, committer, 4, asked) < 0)
        log_debug("the connection of a partition is going");
}

/* ---- what Redis says to a commit ---- */

static bool skip_word(struct slice *text, const char *word)
{
    size_t length = strlen(word);

    if (text->length < length || memcmp(text->data, word, length) != 0)
        return false;
    *text = slice_of(text->data + length, text->length - length);
    return true;
}

/* Redis may come to its maxmemory, or become a replica, between the last effect and EXEC: then that
 * says what an effect would have been told. */
static void on_refused(struct committer *committer, const struct bus_reply *reply)
{
    struct slice problem = bus_reply_text(reply), cause = problem;
    bool at_exec = skip_word(&cause, "EXECABORT Transaction discarded because of: ");

    committer->full = skip_word(&cause, "OOM");
    if (committer->full || bus_reply_not_run(reply) || (at_exec && skip_word(&cause, "READONLY")))
        return;
    log_warn("commit: %.*s", (int)problem.length, problem.data);
    end(committer, COMMITTER_REFUSED, "its commit was refused");
}

/* Nil too: the state, which is asked for behind it, tells. */
static bool answered(struct committer *committer, const struct bus_reply *reply)
{
    if (reply == NULL || committer->ended)
        return false;
    if (bus_reply_kind(reply) == BUS_ERROR)
        on_refused(committer, reply);
    return bus_reply_kind(reply) != BUS_ERROR;
}

/* The effect at the place, which is behind those before; of as many as a commit has. */
static void on_failed(struct committer *committer, struct command_reader *effects, size_t *at,
                      size_t place, struct slice problem)
{
    for (; *at <= place; ++*at)
        command_next(effects);
    committer->options.on_failed(committer->options.arg, effects->words, problem);
}

static void end_failed(struct committer *committer, size_t failed)
{
    if (failed)
        end(committer, COMMITTER_FAILED, "an effect failed");
}

static void on_executed(void *arg, const struct bus_reply *reply)
{
    struct committer *committer = arg;
    struct command_reader effects = {0};
    size_t failed = 0, at = 0;

    if (!answered(committer, reply))
        return;
    effects.rest = effects_commands(committer->options.effects);
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        if (bus_reply_kind(bus_reply_at(reply, i)) != BUS_ERROR)
            continue;
        on_failed(committer, &effects, &at, i, bus_reply_text(bus_reply_at(reply, i)));
        failed++;
    }
    command_reader_finish(&effects);
    end_failed(committer, failed);
}

static void transact(struct committer *committer)
{
    const struct effects *effects = committer->options.effects;

    committer->retry_ms = 0;
    committer->full = false;
    if (bus_transaction(committer->bus, on_executed, committer, effects_commands(effects),
                        effects_count(effects)) == 0)
        watch(committer);
}

/* ---- while Redis is at its maxmemory ---- */

static void on_ran_full(void *arg, const struct bus_reply *reply)
{
    struct committer *committer = arg;
    struct command_reader effects = {0};
    size_t failed = bus_reply_count(reply) / 2, at = 0;

    if (!answered(committer, reply))
        return;
    effects.rest = effects_commands(committer->options.effects);
    for (size_t i = 0; i < failed; i++)
        on_failed(committer, &effects, &at, (size_t)bus_reply_integer(bus_reply_at(reply, 2 * i)),
                  bus_reply_text(bus_reply_at(reply, 2 * i + 1)));
    command_reader_finish(&effects);
    end_failed(committer, failed);
}

static size_t count_words(struct slice commands)
{
    struct command_reader reader = {.rest = commands};
    size_t count = 0;

    while (command_next(&reader))
        count += 1 + reader.count;
    command_reader_finish(&reader);
    return count;
}

/* Each command's words behind their count. digits have room for a count of each command, argv for
 * all of it. Returns how many it wrote. */
static size_t list_words(struct slice commands, char (*digits)[DIGITS_MAX], struct slice *argv)
{
    struct command_reader reader = {.rest = commands};
    size_t argc = 0;

    for (size_t i = 0; command_next(&reader); i++) {
        argv[argc++] = digits_slice(reader.count, digits[i]);
        memcpy(argv + argc, reader.words, reader.count * sizeof(*argv));
        argc += reader.count;
    }
    command_reader_finish(&reader);
    return argc;
}

/* It writes the state, which is under WATCH: that would keep the next transaction from running. */
static void send_full(struct committer *committer)
{
    const struct effects *effects = committer->options.effects;
    struct slice commands = effects_commands(effects);
    char(*digits)[DIGITS_MAX] = xmalloc(effects_count(effects) * sizeof(*digits));
    struct slice *argv = xmalloc((3 + count_words(commands)) * sizeof(*argv));
    char epoch[DIGITS_MAX], before[DIGITS_MAX];
    size_t argc;

    committer->full = false;
    argv[0] = effects_key_text(effects, EFFECT_KEY_STATE);
    argv[1] = digits_slice(committer->options.epoch, epoch);
    argv[2] = digits_slice(committer->commit - 1, before);
    argc = 3 + list_words(commands, digits, argv + 3);
    if (bus_eval(committer->bus, &commit_script, on_ran_full, committer, 1, argc, argv) == 0 &&
        bus_command_text(committer->bus, NULL, NULL, "UNWATCH", NULL) == 0)
        watch(committer);
    free(argv);
    free(digits);
}

/* ---- the whole ---- */

static void on_tried(void *arg, const struct bus_reply *reply)
{
    struct committer *committer = arg;

    if (bus_reply_kind(reply) == BUS_ERROR && !committer->ended)
        end(committer, COMMITTER_REFUSED, "Redis refuses transactions");
}

/* Where MULTI is refused, the effects behind it would run all the same, each by itself: so none is
 * sent before a transaction that changes nothing has run. */
static void try_transaction(struct committer *committer)
{
    struct buffer command = {0};

    command_begin(&command, 2);
    command_word(&command, slice_text("EXISTS"));
    command_word(&command, effects_key_text(committer->options.effects, EFFECT_KEY_STATE));
    if (bus_transaction(committer->bus, on_tried, committer, buffer_slice(&command), 1) == 0)
        watch(committer);
    buffer_finish(&command);
}

static void on_up(void *arg)
{
    struct committer *committer = arg;

    committer->up = true;
    try_transaction(committer);
}

/* One that has never stood is tried again, less and less often: to take the partition anew would
 * not help it, and would keep its lease from others. */
static void on_down(void *arg, const char *reason)
{
    struct committer *committer = arg;

    if (committer->up) {
        end(committer, COMMITTER_DOWN, reason);
    } else if (!committer->told) {
        committer->told = true;
        log_warn("no connection for %s yet: %s", committer->name, reason);
    }
}

struct committer *committer_create(const struct committer_options *options)
{
    struct committer *committer = xcalloc(1, sizeof(*committer));
    const struct bus_options connection = {
        .address = options->address,
        .client_name = options->client_name,
        .on_up = on_up,
        .on_down = on_down,
        .arg = committer,
    };

    committer->options = *options;
    snprintf(committer->name, sizeof(committer->name), "%s", options->client_name);
    committer->bus = bus_create(options->loop, &connection);
    bus_add_script(committer->bus, &commit_script);
    return committer;
}

void committer_destroy(struct committer **committer)
{
    if (*committer == NULL)
        return;
    (*committer)->ended = true;
    bus_destroy(&(*committer)->bus);
    free(*committer);
    *committer = NULL;
}

struct bus *committer_bus(struct committer *committer)
{
    return committer->bus;
}

void committer_send(struct committer *committer, uint64_t commit)
{
    committer->commit = commit;
    transact(committer);
}

bool committer_on_clock(struct committer *committer)
{
    if (committer->retry_ms == 0 || uv_now(committer->options.loop) < committer->retry_ms)
        return false;
    transact(committer);
    return true;
}
