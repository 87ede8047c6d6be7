#include "common/settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* settings.def once more, as this test wants it. */
enum setting_type { SETTING_TEXT, SETTING_NUMBER, SETTING_SWITCH };

#define GATEWAY SETTINGS_GATEWAY
#define ROUTER SETTINGS_ROUTER
#define AUTH SETTINGS_AUTH
#define SETTING(field, type, variable, standard, minimum, maximum, processes, sentence)            \
    {variable, SETTING_##type, minimum, maximum, processes, standard, sentence},
static const struct setting {
    const char *variable;
    enum setting_type type;
    int64_t minimum, maximum;
    int processes;
    const char *standard;
    const char *sentence;
} table[] = {
#include "common/settings.def"
};
#undef SETTING
#undef GATEWAY
#undef ROUTER
#undef AUTH

#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

static const enum settings_process processes[] = {SETTINGS_GATEWAY, SETTINGS_ROUTER, SETTINGS_AUTH};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < TABLE_SIZE; i++)
        unsetenv(table[i].variable);
    return 0;
}

/* Reads row with this value as each process: those it concerns refuse and name it, others do not
 * care. */
static void assert_refused(const struct setting *row, const char *value)
{
    setenv(row->variable, value, 1);
    for (size_t p = 0; p < sizeof(processes) / sizeof(processes[0]); p++) {
        bool concerned = row->processes & (int)processes[p];
        struct settings settings;
        struct buffer error = {0};

        assert_int_equal(settings_read(&settings, processes[p], &error), concerned ? -EINVAL : 0);
        if (concerned) {
            assert_true(error.length > strlen(row->variable));
            assert_memory_equal(error.data, row->variable, strlen(row->variable));
            assert_null(memchr(error.data, '\n', error.length));
        }
        buffer_finish(&error);
    }
    unsetenv(row->variable);
}

static void assert_accepted(const struct setting *row, const char *value)
{
    struct buffer error = {0};
    struct settings settings;

    setenv(row->variable, value, 1);
    for (size_t p = 0; p < sizeof(processes) / sizeof(processes[0]); p++)
        assert_int_equal(settings_read(&settings, processes[p], &error), 0);
    assert_int_equal(error.length, 0);
    unsetenv(row->variable);
}

static void check_text(const struct setting *row)
{
    size_t length = (size_t)row->maximum;
    char *text = malloc(length + 2);

    assert_non_null(text);
    memset(text, 'x', length + 1);
    text[length + 1] = '\0';
    assert_refused(row, text);
    text[length] = '\0';
    assert_accepted(row, text);
    text[row->minimum] = '\0';
    assert_accepted(row, text);
    if (row->minimum > 0) {
        text[row->minimum - 1] = '\0';
        assert_refused(row, text);
    }
    free(text);
}

static void check_number(const struct setting *row)
{
    static const char *const wrong[] = {
        "", "x", "12x", "1 ", "1.5", "0x10", "--1", "99999999999999999999", "-99999999999999999999",
    };
    char text[32];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_refused(row, wrong[i]);
    snprintf(text, sizeof(text), "%" PRId64, row->maximum + 1);
    assert_refused(row, text);
    snprintf(text, sizeof(text), "%" PRId64, row->minimum - 1);
    assert_refused(row, text);
    snprintf(text, sizeof(text), "%" PRId64, row->maximum);
    assert_accepted(row, text);
    snprintf(text, sizeof(text), "%" PRId64, row->minimum);
    assert_accepted(row, text);
}

static void check_switch(const struct setting *row)
{
    static const char *const wrong[] = {"", "maybe", "2", "ON", "on "};
    static const char *const right[] = {"0", "1", "off", "on", "no", "yes", "false", "true"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_refused(row, wrong[i]);
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        assert_accepted(row, right[i]);
}

static void test_each_wrong_value_names_its_variable(void **state)
{
    static void (*const checks[])(const struct setting *) = {
        [SETTING_TEXT] = check_text,
        [SETTING_NUMBER] = check_number,
        [SETTING_SWITCH] = check_switch,
    };

    (void)state;
    for (size_t i = 0; i < TABLE_SIZE; i++)
        checks[table[i].type](&table[i]);
}

static void test_the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        assert_memory_equal(table[i].variable, "TRUNKLINE_", strlen("TRUNKLINE_"));
        assert_true(table[i].minimum <= table[i].maximum);
        assert_true(table[i].processes != 0);
        assert_true(table[i].sentence[0] != '\0');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(table[i].variable, table[j].variable);
        assert_accepted(&table[i], table[i].standard);
    }
}

static void test_values_arrive(void **state)
{
    struct settings settings;
    struct buffer error = {0};

    (void)state;
    assert_int_equal(settings_read(&settings, SETTINGS_GATEWAY, &error), 0);
    assert_string_equal(settings.redis, "redis://127.0.0.1:6379");
    assert_string_equal(settings.prefix, "trunkline:");
    assert_int_equal(settings.partitions, 16);
    assert_true(settings.rate_limits);
    setenv("TRUNKLINE_REDIS", "redis://redis", 1);
    setenv("TRUNKLINE_PREFIX", "", 1);
    setenv("TRUNKLINE_PARTITIONS", "4", 1);
    setenv("TRUNKLINE_RATE_LIMITS", "off", 1);
    assert_int_equal(settings_read(&settings, SETTINGS_GATEWAY, &error), 0);
    assert_string_equal(settings.redis, "redis://redis");
    assert_string_equal(settings.prefix, "");
    assert_int_equal(settings.partitions, 4);
    assert_false(settings.rate_limits);
    /* The router has no rate limits: it keeps the default whatever the environment says. */
    assert_int_equal(settings_read(&settings, SETTINGS_ROUTER, &error), 0);
    assert_int_equal(settings.partitions, 4);
    assert_true(settings.rate_limits);
}

static void test_the_sentence_says_what_is_allowed(void **state)
{
    static const struct {
        const char *variable, *value, *error;
    } cases[] = {
        {"TRUNKLINE_PARTITIONS", "0",
         "TRUNKLINE_PARTITIONS: must be a whole number from 1 to 1024"},
        {"TRUNKLINE_RATE_LIMITS", "x", "TRUNKLINE_RATE_LIMITS: must be on or off"},
        {"TRUNKLINE_REDIS", "", "TRUNKLINE_REDIS: must be a text of 1 to 1024 bytes"},
    };
    struct settings settings;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer error = {0};

        setenv(cases[i].variable, cases[i].value, 1);
        assert_int_equal(settings_read(&settings, SETTINGS_GATEWAY, &error), -EINVAL);
        assert_true(slice_is(buffer_slice(&error), cases[i].error));
        unsetenv(cases[i].variable);
        buffer_finish(&error);
    }
}

/* The variable as a whole word: TRUNKLINE_TOKEN_TTL is not named by TRUNKLINE_TOKEN_TTL_X. */
static bool names(const char *text, const char *variable)
{
    size_t length = strlen(variable);

    for (const char *at = text; (at = strstr(at, variable)) != NULL; at += length)
        if (strspn(at + length, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == 0)
            return true;
    return false;
}

static void test_help_lists_what_a_process_reads(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof(processes) / sizeof(processes[0]); p++) {
        struct buffer help = {0};

        settings_help(&help, processes[p]);
        buffer_append_byte(&help, '\0');
        for (size_t i = 0; i < TABLE_SIZE; i++) {
            bool concerned = table[i].processes & (int)processes[p];

            assert_int_equal(names(help.data, table[i].variable), concerned);
            if (concerned)
                assert_non_null(strstr(help.data, table[i].sentence));
        }
        buffer_finish(&help);
    }
}

/* Tests are started in the root of the repository. */
static void test_the_readme_names_each_setting(void **state)
{
    FILE *file = fopen("README.md", "r");
    struct buffer text = {0};
    size_t got;

    (void)state;
    if (file == NULL)
        skip();
    while ((got = fread(buffer_reserve(&text, 4096), 1, 4096, file)) > 0)
        text.length += got;
    fclose(file);
    buffer_append_byte(&text, '\0');
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (!names(text.data, table[i].variable))
            fail_msg("README.md does not name %s", table[i].variable);
    buffer_finish(&text);
}

static void test_arguments(void **state)
{
    static const struct {
        const char *argument;
        int result;
    } cases[] = {
        {"--help", 1}, {"--version", 1}, {"-h", -EINVAL}, {"", -EINVAL}, {"x", -EINVAL},
    };
    char program[] = "gateway", extra[] = "more";

    (void)state;
    assert_int_equal(settings_arguments(1, (char *[]){program, NULL}, SETTINGS_GATEWAY), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char argument[16];

        strcpy(argument, cases[i].argument);
        assert_int_equal(
            settings_arguments(2, (char *[]){program, argument, NULL}, SETTINGS_GATEWAY),
            cases[i].result);
        assert_int_equal(
            settings_arguments(3, (char *[]){program, argument, extra, NULL}, SETTINGS_GATEWAY),
            -EINVAL);
    }
}

static void test_addresses(void **state)
{
    static const struct {
        const char *address, *host;
        int port;
    } good[] = {
        {"0.0.0.0:8081", "0.0.0.0", 8081},
        {"localhost:0", "localhost", 0},
        {"[::1]:65535", "::1", 65535},
        {"*:1", "*", 1},
    };
    static const char *const bad[] = {
        "",           "8081",       ":8081", "host:", "host:x",
        "host:8081x", "host:65536", "h:-1",  "[]:1",  "averylonghostname:1",
    };
    char host[16];
    int port;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(settings_split_address(good[i].address, host, sizeof(host), &port), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (settings_split_address(bad[i], host, sizeof(host), &port) != -EINVAL)
            fail_msg("%s was taken for an address", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_sound),
        cmocka_unit_test(test_each_wrong_value_names_its_variable),
        cmocka_unit_test_setup(test_values_arrive, clear_environment),
        cmocka_unit_test_setup(test_the_sentence_says_what_is_allowed, clear_environment),
        cmocka_unit_test(test_help_lists_what_a_process_reads),
        cmocka_unit_test(test_the_readme_names_each_setting),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_addresses),
    };

    return cmocka_run_group_tests(tests, clear_environment, clear_environment);
}
