/*
 * The load client: one thread, one scenario against a running server, one result. README.md says
 * what is measured and how.
 */
#include "tests/bench/report.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct scenario {
    const char *name;
    void (*run)(const struct options *, struct result *);
    const char *what;
} scenarios[] = {
    {"fanout", run_fanout, "one publisher, --clients subscribers of one topic"},
    {"pairs", run_pairs, "--clients users in pairs, each delivery is answered"},
    {"idle", run_idle, "--clients connections that do nothing"},
    {"storm", run_storm, "--clients connect at once"},
};

/* ---- options ---- */

static unsigned read_number(const char *text, unsigned min, unsigned max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end || end == text || value < min || value > max)
        errx(2, "%s: not a number from %u to %u", text, min, max);
    return (unsigned)value;
}

static double read_decimal(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || !(value >= 0 && value <= 1e6))
        errx(2, "%s: not a number from 0 to 1000000", text);
    return value;
}

static void set_scenario(struct options *options, const char *value)
{
    options->scenario = value;
}

static void set_label(struct options *options, const char *value)
{
    options->label = value;
}

static void set_build(struct options *options, const char *value)
{
    options->build = value;
}

static void set_json(struct options *options, const char *value)
{
    options->json = value;
}

static void set_ports(struct options *options, const char *value)
{
    char *list = strdup(value), *rest = list, *port;

    while ((port = strsep(&rest, ","))) {
        if (options->ports.count == CONNECTIONS_PORTS_MAX)
            errx(2, "more than %u ports", CONNECTIONS_PORTS_MAX);
        options->ports.port[options->ports.count++] = (uint16_t)read_number(port, 1, 65535);
    }
    free(list);
}

static void set_server(struct options *options, const char *value)
{
    if (processes_parse(&options->processes, value))
        errx(2, "%s: not a list of name:pid", value);
}

static void set_secret(struct options *options, const char *value)
{
    tokens_destroy(&options->tokens);
    options->tokens = tokens_from_secret(value);
}

static void set_tokens(struct options *options, const char *value)
{
    tokens_destroy(&options->tokens);
    options->tokens = tokens_from_list(value);
}

static void set_clients(struct options *options, const char *value)
{
    options->clients = read_number(value, 1, 1000000);
}

static void set_window(struct options *options, const char *value)
{
    options->window = read_number(value, 1, SEQUENCE_WINDOW / 2);
}

static void set_rate(struct options *options, const char *value)
{
    options->rate = read_decimal(value);
}

static void set_size(struct options *options, const char *value)
{
    options->payload_size = read_number(value, PAYLOAD_MIN, PAYLOAD_MAX);
}

static void set_ids(struct options *options, const char *value)
{
    options->with_ids = read_number(value, 0, 1);
}

static void set_protocol(struct options *options, const char *value)
{
    options->dialect = dialect_find(value);
    if (!options->dialect)
        errx(2, "%s: no such protocol", value);
}

static void set_warm(struct options *options, const char *value)
{
    options->warm_s = read_decimal(value);
}

static void set_duration(struct options *options, const char *value)
{
    options->duration_s = read_decimal(value);
}

static void set_hold(struct options *options, const char *value)
{
    options->hold_s = read_decimal(value);
}

static void set_every(struct options *options, const char *value)
{
    options->every_s = read_decimal(value);
}

static const struct setting {
    const char *name, *argument;
    void (*set)(struct options *, const char *value);
    const char *what;
} settings[] = {
    {"scenario", "NAME", set_scenario, "one of those below"},
    {"ports", "P,P...", set_ports, "the gateways' ports on 127.0.0.1"},
    {"secret", "FILE", set_secret, "the secret that tokens are signed with (HS256), or"},
    {"tokens", "FILE", set_tokens, "tokens, one a line"},
    {"server", "NAME:PID,...", set_server, "processes whose CPU and memory are counted"},
    {"clients", "N", set_clients, "subscribers, users or connections (1000)"},
    {"window", "N", set_window, "messages in flight, of the publisher or of a pair (16)"},
    {"rate", "N", set_rate, "fanout: messages a second instead of a window"},
    {"size", "BYTES", set_size, "of a payload (128)"},
    {"ids", "0|1", set_ids, "whether requests carry ids of their own (1)"},
    {"protocol", "NAME", set_protocol,
     "pairs: realtime, messaging, chat, simple or callie (realtime)"},
    {"warm", "SECONDS", set_warm, "before measuring (0.6)"},
    {"duration", "SECONDS", set_duration, "of measuring (4)"},
    {"hold", "SECONDS", set_hold, "idle: how long its CPU is watched (5)"},
    {"every", "SECONDS", set_every, "idle: when it holds for longer, a line of CPU so often"},
    {"label", "TEXT", set_label, "what the result is called"},
    {"build", "TEXT", set_build, "which server this was, for the result's line"},
    {"json", "FILE", set_json, "append the result's line there, not to standard output"},
};
#define SETTINGS (sizeof settings / sizeof *settings)

static void usage(void)
{
    fputs("usage: load --scenario NAME --ports P --secret FILE [options]\n", stderr);
    for (size_t i = 0; i < SETTINGS; i++)
        fprintf(stderr, "  --%-8s %-12s %s\n", settings[i].name, settings[i].argument,
                settings[i].what);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        fprintf(stderr, "  %-23s %s\n", scenarios[i].name, scenarios[i].what);
    exit(2);
}

static void read_options(struct options *options, int argc, char **argv)
{
    struct option table[SETTINGS + 1] = {0};
    int found;

    for (size_t i = 0; i < SETTINGS; i++)
        table[i] = (struct option){
            .name = settings[i].name, .has_arg = required_argument, .val = (int)i + 1};
    while ((found = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (found == '?')
            usage();
        settings[found - 1].set(options, optarg);
    }
    if (!options->scenario || !options->ports.count || !options->tokens || argv[optind])
        usage();
    if (!options->label)
        options->label = options->scenario;
}

/* ---- the run ---- */

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    errx(2, "%s: no such scenario", name);
}

static void write_json(const struct options *options, const struct result *result)
{
    FILE *file = options->json ? fopen(options->json, "a") : stdout;

    if (!file)
        err(1, "%s", options->json);
    report_json(file, options, result);
    if (options->json)
        fclose(file);
}

int main(int argc, char **argv)
{
    static struct result result; /* histograms: large */
    struct options options = {.build = "",
                              .clients = 1000,
                              .window = 16,
                              .payload_size = 128,
                              .with_ids = true,
                              .dialect = &dialect_realtime,
                              .warm_s = 0.6,
                              .duration_s = 4,
                              .hold_s = 5};

    read_options(&options, argc, argv);
    find_scenario(options.scenario)->run(&options, &result);
    report_text(stdout, &options, &result);
    write_json(&options, &result);
    tokens_destroy(&options.tokens);
    return report_flawless(&result) ? 0 : 1;
}
