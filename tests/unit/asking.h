/*
 * A real Redis of a test's own, asked in words: one server for all tests of a program, emptied
 * before each (asking_start, asking_empty, asking_stop as group setup, setup and group teardown).
 */
#ifndef TESTS_UNIT_ASKING_H
#define TESTS_UNIT_ASKING_H

#include "common/bus.h"
#include "tests/unit/loop.h"
#include "tests/unit/redis.h"

/* What a test's own files may use of it. */
extern struct redis *asking_server;
extern struct test_loop asking_loop;
extern struct bus *asking_bus;

int asking_start(void **state);
int asking_empty(void **state);
int asking_stop(void **state);

/* A script by its file, loaded once; as many of them as ASKING_SCRIPTS. */
struct bus_script *asking_script(const char *path);

/* The words of a command, NULL at the end. Its answer in words, elements of arrays joined by
   spaces, lists in them in brackets; valid until the next. */
const char *ask(const char *word, ...) __attribute__((sentinel));
/* The same of a script: its keys, then its arguments. */
const char *ask_script(struct bus_script *, size_t key_count, const char *word, ...)
    __attribute__((sentinel));
/* The same of commands that run as one (bus_transaction). */
const char *ask_transaction(struct slice commands, size_t count);
/* Everything in Redis, as one number. Owned by the caller. */
char *asking_digest(void);
/* It is what it was; frees before. */
void expect_unchanged(char *before);

#define ASK(...) ask(__VA_ARGS__, NULL)
#define ASK_SCRIPT(script, key_count, ...) ask_script(script, key_count, __VA_ARGS__, NULL)
#define EXPECT(expected, ...) assert_string_equal(ASK(__VA_ARGS__), expected)

bool text_begins(const char *text, const char *beginning);

#endif
