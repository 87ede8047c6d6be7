#include "tests/unit/asking.h"

#include "common/buffer.h"
#include "common/xalloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define SCRIPTS_MAX 8

struct redis *asking_server;
struct test_loop asking_loop;
struct bus *asking_bus;

static struct bus_script scripts[SCRIPTS_MAX];
static size_t script_count;
static bool answered;
static struct buffer answer; /* NUL-terminated */

static void flatten(const struct bus_reply *reply, bool outer)
{
    switch (bus_reply_kind(reply)) {
    case BUS_INTEGER:
        buffer_appendf(&answer, "%lld", (long long)bus_reply_integer(reply));
        break;
    case BUS_ARRAY:
        buffer_append_text(&answer, outer ? "" : "[");
        for (size_t i = 0; i < bus_reply_count(reply); i++) {
            buffer_append_text(&answer, i ? " " : "");
            flatten(bus_reply_at(reply, i), false);
        }
        buffer_append_text(&answer, outer ? "" : "]");
        break;
    case BUS_NONE:
    case BUS_NIL:
        buffer_append_text(&answer, "(nil)");
        break;
    default:
        buffer_append_slice(&answer, bus_reply_text(reply));
    }
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    (void)arg;
    buffer_reset(&answer, SIZE_MAX);
    flatten(reply, true);
    buffer_append_byte(&answer, '\0');
    answered = true;
}

static const char *await(void)
{
    loop_until(&asking_loop, answered);
    answered = false;
    return answer.data;
}

static size_t gather(struct slice *argv, const char *word, va_list words)
{
    size_t argc = 0;

    for (; word; word = va_arg(words, const char *)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = slice_text(word);
    }
    return argc;
}

const char *ask(const char *word, ...)
{
    struct slice argv[WORDS_MAX];
    size_t argc;
    va_list words;

    va_start(words, word);
    argc = gather(argv, word, words);
    va_end(words);
    assert_int_equal(bus_command(asking_bus, on_reply, NULL, argc, argv), 0);
    return await();
}

const char *ask_script(struct bus_script *script, size_t key_count, const char *word, ...)
{
    struct slice argv[WORDS_MAX];
    size_t argc;
    va_list words;

    va_start(words, word);
    argc = gather(argv, word, words);
    va_end(words);
    assert_int_equal(bus_eval(asking_bus, script, on_reply, NULL, key_count, argc, argv), 0);
    return await();
}

const char *ask_transaction(struct slice commands, size_t count)
{
    assert_int_equal(bus_transaction(asking_bus, on_reply, NULL, commands, count), 0);
    return await();
}

char *asking_digest(void)
{
    return xstrdup(ASK("DEBUG", "DIGEST"));
}

void expect_unchanged(char *before)
{
    assert_string_equal(ASK("DEBUG", "DIGEST"), before);
    free(before);
}

bool text_begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* ---- set-up ---- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct buffer bytes = {0};
    size_t length;

    if (file == NULL)
        fail_msg("%s: tests run in the root of the repository", path);
    do {
        length = fread(buffer_reserve(&bytes, 4096), 1, 4096, file);
        bytes.length += length;
    } while (length);
    fclose(file);
    buffer_append_byte(&bytes, '\0');
    return bytes.data;
}

/* The connection stands: the bus would load it with the next one only. */
struct bus_script *asking_script(const char *path)
{
    struct bus_script *script = scripts;

    while (script < scripts + script_count && strcmp(script->name, path) != 0)
        script++;
    if (script < scripts + script_count)
        return script;
    assert_true(script_count++ < SCRIPTS_MAX);
    script->name = path;
    script->text = read_file(path);
    snprintf(script->sha, sizeof(script->sha), "%s", ASK("SCRIPT", "LOAD", script->text));
    bus_add_script(asking_bus, script);
    return script;
}

static void on_up(void *arg)
{
    (void)arg;
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    fail_msg("Redis: %s", reason);
}

int asking_start(void **state)
{
    static const char *const arguments[] = {"--enable-debug-command", "local", NULL};
    struct bus_address address;
    struct bus_options options = {
        .address = &address, .client_name = "test", .on_up = on_up, .on_down = on_down};
    char url[64];

    (void)state;
    asking_server = redis_start(arguments);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", redis_port(asking_server));
    assert_int_equal(bus_address_parse(url, &address), 0);
    loop_open(&asking_loop);
    asking_bus = bus_create(&asking_loop.loop, &options);
    loop_until(&asking_loop, bus_is_up(asking_bus));
    return 0;
}

int asking_stop(void **state)
{
    (void)state;
    bus_destroy(&asking_bus);
    loop_close(&asking_loop);
    redis_destroy(&asking_server);
    while (script_count)
        free((char *)scripts[--script_count].text);
    buffer_finish(&answer);
    return 0;
}

int asking_empty(void **state)
{
    (void)state;
    EXPECT("OK", "FLUSHALL");
    return 0;
}
