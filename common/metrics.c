#include "common/metrics.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/version.h"
#include "common/xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MS 2000
#define REPORT_LIFETIME_MS "10000"
#define DIGITS_SIZE 21
/* HSET, the key, and name and value of kind, version and started. */
#define FIXED_WORDS 8

struct metrics_reporter {
    struct bus *bus;
    struct metric *metrics;
    size_t count;
    void (*refresh)(void *arg);
    void *arg;
    uv_timer_t timer;
    struct buffer key; /* NUL-terminated */
    char started[DIGITS_SIZE];
    /* The words of HSET: all but the digits of the metrics stay the same. */
    struct slice *words;
    char (*digits)[DIGITS_SIZE];
};

/* A label's value: as in JSON, but that only three characters may be escaped. */
void metrics_append_label(struct buffer *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            buffer_append_byte(out, '\\');
        if (*value == '\n')
            buffer_append_text(out, "\\n");
        else
            buffer_append_byte(out, *value);
    }
}

/* A metric's name without its label. */
static struct slice base_of(const struct metric *metric)
{
    return slice_of(metric->name, strcspn(metric->name, "/"));
}

static void append_heading(struct buffer *out, const struct metric *metric, struct slice base)
{
    const char *total = metric->gauge ? "" : "_total";

    buffer_appendf(out, "# HELP trunkline_%.*s%s %s\n", (int)base.length, base.data, total,
                   metric->help);
    buffer_appendf(out, "# TYPE trunkline_%.*s%s %s\n", (int)base.length, base.data, total,
                   metric->gauge ? "gauge" : "counter");
}

/* "/reason/error" */
static void append_own_label(struct buffer *out, const char *label)
{
    int length = (int)strcspn(label + 1, "/");

    buffer_appendf(out, "\",%.*s=\"", length, label + 1);
    metrics_append_label(out, label + 1 + length + 1);
}

static void append_value(struct buffer *out, const char *process, const struct metric *metric,
                         struct slice base)
{
    buffer_appendf(out, "trunkline_%.*s%s{process=\"", (int)base.length, base.data,
                   metric->gauge ? "" : "_total");
    metrics_append_label(out, process);
    if (metric->name[base.length])
        append_own_label(out, metric->name + base.length);
    buffer_appendf(out, "\"} %" PRIu64 "\n", metric->value);
}

void metrics_text(struct buffer *out, const char *process, const struct metric *metrics,
                  size_t count)
{
    struct slice last = {0};

    for (const struct metric *metric = metrics; metric < metrics + count; metric++) {
        struct slice base = base_of(metric);

        if (!slice_equal(base, last))
            append_heading(out, metric, base);
        last = base;
        append_value(out, process, metric, base);
    }
}

static void on_report(uv_timer_t *timer)
{
    struct metrics_reporter *reporter = timer->data;

    if (!bus_is_up(reporter->bus))
        return;
    if (reporter->refresh)
        reporter->refresh(reporter->arg);
    for (size_t i = 0; i < reporter->count; i++) {
        int length =
            snprintf(reporter->digits[i], DIGITS_SIZE, "%" PRIu64, reporter->metrics[i].value);

        reporter->words[FIXED_WORDS + 2 * i + 1] = slice_of(reporter->digits[i], (size_t)length);
    }
    /* A refusal (no memory, say) is of no consequence: the next report says the same, and more. */
    if (bus_command(reporter->bus, NULL, NULL, FIXED_WORDS + 2 * reporter->count, reporter->words) <
            0 ||
        bus_command_text(reporter->bus, NULL, NULL, "PEXPIRE", reporter->key.data,
                         REPORT_LIFETIME_MS, NULL) < 0)
        log_debug("metrics: no report, Redis is away");
}

static void words_create(struct metrics_reporter *reporter, const char *kind)
{
    const struct slice fixed[FIXED_WORDS] = {
        slice_text("HSET"),    slice_text(reporter->key.data), slice_text("kind"),
        slice_text(kind),      slice_text("version"),          slice_text(TRUNKLINE_VERSION),
        slice_text("started"), slice_text(reporter->started),
    };

    reporter->words = xcalloc(FIXED_WORDS + 2 * reporter->count, sizeof(*reporter->words));
    reporter->digits = xcalloc(reporter->count, sizeof(*reporter->digits));
    memcpy(reporter->words, fixed, sizeof(fixed));
    for (size_t i = 0; i < reporter->count; i++)
        reporter->words[FIXED_WORDS + 2 * i] = slice_text(reporter->metrics[i].name);
}

struct metrics_reporter *metrics_reporter_create(uv_loop_t *loop, struct bus *bus,
                                                 const struct deployment *deployment,
                                                 const char *kind, const char *name,
                                                 struct metric *metrics, size_t count,
                                                 void (*refresh)(void *arg), void *arg)
{
    struct metrics_reporter *reporter = xcalloc(1, sizeof(*reporter));

    reporter->bus = bus;
    reporter->metrics = metrics;
    reporter->count = count;
    reporter->refresh = refresh;
    reporter->arg = arg;
    snprintf(reporter->started, sizeof(reporter->started), "%" PRIu64, clock_wall_ms());
    key_global(&reporter->key, deployment, "process", slice_text(name));
    buffer_append_byte(&reporter->key, '\0');
    words_create(reporter, kind);
    uv_timer_init(loop, &reporter->timer);
    reporter->timer.data = reporter;
    uv_timer_start(&reporter->timer, on_report, 0, REPORT_MS);
    return reporter;
}

static void on_reporter_closed(uv_handle_t *handle)
{
    struct metrics_reporter *reporter = handle->data;

    buffer_finish(&reporter->key);
    free(reporter->words);
    free(reporter->digits);
    free(reporter);
}

void metrics_reporter_destroy(struct metrics_reporter **pointer)
{
    struct metrics_reporter *reporter = *pointer;

    if (reporter == NULL)
        return;
    *pointer = NULL;
    uv_close((uv_handle_t *)&reporter->timer, on_reporter_closed);
}
