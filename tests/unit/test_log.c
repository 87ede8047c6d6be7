#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What one line writes, without its end. */
static const char *logged(const char *spec, const char *text)
{
    static char line[2048];
    int pipes[2], saved = dup(STDERR_FILENO);
    ssize_t length;

    assert_int_equal(log_init("test", spec), 0);
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    log_warn("name %s", text);
    dup2(saved, STDERR_FILENO);
    length = read(pipes[0], line, sizeof(line) - 1);
    close(saved);
    close(pipes[0]);
    close(pipes[1]);
    assert_true(length > 0);
    assert_int_equal(line[length - 1], '\n');
    line[length - 1] = '\0';
    return line;
}

static const char hostile[] = "a\r\n2026-01-01 error\x1b[31m\x7f\xff\"\\";

static void test_nobody_begins_a_line_of_his_own(void **state)
{
    const char *line = logged("text:info", hostile);

    (void)state;
    assert_null(strpbrk(line, "\r\n\x1b\x7f\xff"));
    assert_non_null(strstr(line, "test: name a\\x0d\\x0a2026-01-01 error\\x1b[31m\\x7f\\xff\"\\"));
}

static void test_json_stays_json(void **state)
{
    const char *line = logged("json:info", hostile);

    (void)state;
    assert_non_null(strstr(line, "\"text\":\"name a\\\\x0d\\\\x0a2026-01-01 error\\\\x1b[31m"
                                 "\\\\x7f\\\\xff\\\"\\\\\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_begins_a_line_of_his_own),
        cmocka_unit_test(test_json_stays_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
